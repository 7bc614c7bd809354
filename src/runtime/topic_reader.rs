//! Reads small topics, from their start or from given offsets to the end they have when reading
//! begins.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::{ErrorCode, wire::Uuid};
use tokio::task::JoinSet;

pub use super::exchange::reading::OwnedRecord;
use super::{
    admin,
    convert::{ask, ask_on, decoded, failure, lost},
    exchange::{Name, Named, offsets::ANY_EPOCH, reading::Reading},
};
use crate::{
    cluster::{Cluster, Lane, To, Topics},
    flow::{Failure, LogRange, PartitionId, Side, StateLogRecord, StateRead, limits},
};

/// Reads all records of `topic`, partition by partition in offset order. What an open transaction
/// hides is left out.
///
/// # Errors
///
/// The first [`Failure`]; nothing is retried here.
pub async fn read_all(cluster: &Cluster, topic: &str) -> Result<Vec<OwnedRecord>, Failure> {
    let mut read = Vec::new();
    for (node, mut reading) in readings(cluster, topic, &BTreeMap::new()).await? {
        drain(cluster, node, &mut reading, &mut read).await?;
    }
    Ok(read)
}

/// Reads the records of `topic` from these offsets, by partition; from its start where a partition
/// is not named, or where what is asked for has been deleted. Where nothing is new, waits up to
/// `wait` for something. Records without a key are left out.
///
/// # Errors
///
/// The first [`Failure`]: `OFFSET_OUT_OF_RANGE` when a partition ends before the offset asked for,
/// so that it is not the log that was read before; `UNKNOWN_TOPIC_OR_PARTITION` or
/// `UNKNOWN_TOPIC_ID` when the topic is gone; `NoAnswer` while an open transaction hides records.
pub async fn read_from(
    cluster: &Cluster,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    wait: Duration,
) -> Result<StateRead, Failure> {
    let deadline = Instant::now() + wait;
    let readings = readings(cluster, topic, from).await?;
    let is_new = readings.values().any(|reading| !reading.is_done());
    let mut read = Vec::new();
    let mut next_offsets = BTreeMap::new();
    let mut polls = JoinSet::new();
    for (node, mut reading) in readings {
        if is_new {
            drain(cluster, node, &mut reading, &mut read).await?;
            if let Some((partition, offset)) = reading.held_back() {
                return Err(Failure::NoAnswer(format!(
                    "{topic}-{partition} cannot be read beyond offset {offset}: a transaction is \
                     open there"
                )));
            }
        } else {
            let following = reading.go_on();
            polls.spawn(follow(cluster.clone(), node, following, deadline));
        }
        next_offsets.extend(reading.next_offsets());
    }
    while let Some(poll) = polls.join_next().await {
        let (reading, found) = poll.map_err(|error| lost(&error))??;
        next_offsets.extend(reading.next_offsets());
        if !found.is_empty() {
            read = found;
            break;
        }
    }
    Ok(StateRead {
        records: read.into_iter().filter_map(keyed).collect(),
        next_offsets,
    })
}

fn keyed(record: OwnedRecord) -> Option<StateLogRecord> {
    Some(StateLogRecord {
        partition: record.partition,
        offset: record.offset,
        key: record.key?,
        value: record.value,
    })
}

/// What there is to read, by the broker that leads it.
async fn readings(
    cluster: &Cluster,
    topic: &str,
    from: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, Reading>, Failure> {
    let mut readings = BTreeMap::new();
    for (node, partitions) in leaders(cluster, topic).await? {
        // What can be read, whichever side the cluster is of.
        let ranges = admin::log_ranges(cluster, Side::Source, node, &partitions).await?;
        let mut ranges: BTreeMap<PartitionId, _> = ranges.into_iter().collect();
        let mut left = BTreeMap::new();
        let mut topic_id = Uuid::ZERO;
        for Named { id, name, .. } in partitions {
            let Some(range) = ranges.remove(&id) else {
                return Err(Failure::Malformed(format!(
                    "broker {node} left {topic}-{} out of its answer",
                    name.partition
                )));
            };
            let LogRange {
                start_offset,
                end_offset,
            } = range?;
            let wanted = from.get(&name.partition).copied().unwrap_or(start_offset);
            if wanted > end_offset {
                let words = format!(
                    "{topic}-{} was read up to offset {wanted} before and ends at {end_offset} now",
                    name.partition
                );
                return Err(Failure::Refused(
                    ErrorCode::OFFSET_OUT_OF_RANGE,
                    Some(words),
                ));
            }
            left.insert(name.partition, wanted.max(start_offset)..end_offset);
            topic_id = name.topic_id;
        }
        readings.insert(node, Reading::new(Arc::from(topic), topic_id, left));
    }
    Ok(readings)
}

async fn drain(
    cluster: &Cluster,
    node: i32,
    reading: &mut Reading,
    read: &mut Vec<OwnedRecord>,
) -> Result<(), Failure> {
    while !reading.is_done() {
        let question = reading.request(limits::FETCH_WAIT);
        let answer = ask(cluster, To::Node(node), question).await?;
        reading.take(&decoded(&answer)?, read)?;
    }
    Ok(())
}

/// Waits for records until there are some or the time is over.
///
/// Each request waits for a short while only: the connection is soon free again when another
/// broker's records end the waiting.
async fn follow(
    cluster: Cluster,
    node: i32,
    mut reading: Reading,
    deadline: Instant,
) -> Result<(Reading, Vec<OwnedRecord>), Failure> {
    let mut read = Vec::new();
    while read.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let question = reading.request(left.min(limits::FETCH_WAIT));
        let answer = ask_on(&cluster, node, Lane::Watch, question).await?;
        reading.take(&decoded(&answer)?, &mut read)?;
    }
    Ok((reading, read))
}

/// The partitions of a topic by their leader.
async fn leaders(
    cluster: &Cluster,
    topic: &str,
) -> Result<BTreeMap<i32, Vec<Named<i32>>>, Failure> {
    let metadata = cluster
        .refresh_metadata(Topics::named([topic]))
        .await
        .map_err(|error| failure(&error))?;
    let Some(view) = metadata.topic(topic) else {
        let code = metadata.topic_error(topic);
        let code = code.unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        return Err(Failure::Refused(code, Some(format!("topic {topic}"))));
    };
    let mut by_node: BTreeMap<i32, Vec<Named<i32>>> = BTreeMap::new();
    for (number, partition) in (0..).zip(&view.partitions) {
        let index = partition.index;
        let leader = partition
            .leader
            .ok_or_else(|| Failure::NoAnswer(format!("partition {topic}-{index} has no leader")))?;
        by_node.entry(leader.node).or_default().push(Named {
            id: PartitionId(number),
            name: Name {
                topic: Arc::clone(&view.name),
                topic_id: view.id.unwrap_or_default(),
                partition: index,
            },
            ask: ANY_EPOCH,
        });
    }
    Ok(by_node)
}
