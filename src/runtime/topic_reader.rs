//! Reads small topics, from their start or from given offsets to the end they have when reading
//! begins.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::select_all;

pub use super::exchange::reading::OwnedRecord;
use super::{
    admin,
    client::Client,
    convert::decoded,
    exchange::reading::{Reading, leaders},
};
use crate::{
    cluster::{Lane, To, Topics},
    flow::{Failure, Side, StateRead, limits},
};

/// Answers without records after which a broker is not believed to have any; one that throttles
/// gives a few (KIP-219).
const EMPTY_ANSWERS_MAX: u32 = 100;

/// Reads all records of `topic`, partition by partition in offset order. What an open transaction
/// hides is left out.
///
/// # Errors
///
/// The first [`Failure`]; nothing is retried here.
pub async fn read_all(cluster: &impl Client, topic: &str) -> Result<Vec<OwnedRecord>, Failure> {
    read(cluster, topic, false).await
}

/// The same, but what an open transaction hides is waited for by whoever asks again.
///
/// # Errors
///
/// As [`read_all`]; `NoAnswer` while an open transaction hides records.
pub async fn read_whole(cluster: &impl Client, topic: &str) -> Result<Vec<OwnedRecord>, Failure> {
    read(cluster, topic, true).await
}

async fn read(
    cluster: &impl Client,
    topic: &str,
    is_whole: bool,
) -> Result<Vec<OwnedRecord>, Failure> {
    let mut read = Vec::new();
    for (node, mut reading) in readings(cluster, topic, &BTreeMap::new()).await? {
        drain(cluster, node, &mut reading, &mut read).await?;
        if is_whole {
            reading.check_whole()?;
        }
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
    cluster: &impl Client,
    topic: &str,
    from: &BTreeMap<i32, i64>,
    wait: Duration,
) -> Result<StateRead, Failure> {
    let deadline = cluster.now() + wait;
    let readings = readings(cluster, topic, from).await?;
    let is_new = readings.values().any(|reading| !reading.is_done());
    let mut read = Vec::new();
    let mut next_offsets = BTreeMap::new();
    let mut polls = Vec::new();
    for (node, mut reading) in readings {
        if is_new {
            drain(cluster, node, &mut reading, &mut read).await?;
            reading.check_whole()?;
        } else {
            polls.push(Box::pin(follow(cluster, node, reading.go_on(), deadline)));
        }
        next_offsets.extend(reading.next_offsets());
    }
    while !polls.is_empty() {
        let (poll, _, others) = select_all(polls).await;
        polls = others;
        let (reading, found) = poll?;
        next_offsets.extend(reading.next_offsets());
        if !found.is_empty() {
            read = found;
            break;
        }
    }
    Ok(StateRead {
        records: read.into_iter().filter_map(OwnedRecord::keyed).collect(),
        next_offsets,
    })
}

/// What there is to read, by the broker that leads it.
async fn readings(
    cluster: &impl Client,
    topic: &str,
    from: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, Reading>, Failure> {
    let metadata = cluster.refresh(Topics::named([topic])).await?;
    let mut readings = BTreeMap::new();
    for (node, partitions) in leaders(&metadata, topic)? {
        // What can be read, whichever side the cluster is of.
        let ranges = admin::log_ranges(cluster, Side::Source, node, &partitions).await;
        readings.insert(node, Reading::from(&partitions, ranges, from)?);
    }
    Ok(readings)
}

async fn drain(
    cluster: &impl Client,
    node: i32,
    reading: &mut Reading,
    read: &mut Vec<OwnedRecord>,
) -> Result<(), Failure> {
    let mut empty_answers = 0;
    while !reading.is_done() {
        let question = reading.request(limits::FETCH_WAIT);
        let answer = cluster.ask(To::Node(node), question).await?;
        if reading.take(&decoded(&answer)?, read)? {
            empty_answers = 0;
            continue;
        }
        empty_answers += 1;
        if empty_answers > EMPTY_ANSWERS_MAX {
            return Err(Failure::NoAnswer(format!(
                "broker {node} returns no records although it has some"
            )));
        }
        cluster.sleep(limits::BACKOFF_FIRST).await;
    }
    Ok(())
}

/// Waits for records until there are some or the time is over.
///
/// Each request waits for a short while only: the connection is soon free again when another
/// broker's records end the waiting.
async fn follow(
    cluster: &impl Client,
    node: i32,
    mut reading: Reading,
    deadline: Instant,
) -> Result<(Reading, Vec<OwnedRecord>), Failure> {
    let mut read = Vec::new();
    while read.is_empty() {
        let left = deadline.saturating_duration_since(cluster.now());
        if left.is_zero() {
            break;
        }
        let wait = limits::FETCH_WAIT.min(cluster.request_timeout() / 2);
        let question = reading.request(left.min(wait));
        let pause = cluster.sleep(limits::BACKOFF_FIRST.min(left));
        let answer = cluster.ask_on(node, Lane::Watch, question).await?;
        if !reading.take(&decoded(&answer)?, &mut read)? {
            // Over, already, unless the broker did not wait.
            pause.await;
        }
    }
    Ok((reading, read))
}
