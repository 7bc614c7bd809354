//! Reads a whole topic, from its start to the end it has when reading begins.

use std::{collections::BTreeMap, sync::Arc};

pub use super::exchange::reading::OwnedRecord;
use super::{
    admin,
    convert::{ask, decoded, failure},
    exchange::{Name, Named, reading::Reading},
};
use crate::{
    cluster::{Cluster, To, Topics},
    flow::{Failure, LogRange, PartitionId, limits},
};

/// Reads all records of `topic`, partition by partition in offset order.
///
/// # Errors
///
/// The first [`Failure`]; nothing is retried here.
pub async fn read_all(cluster: &Cluster, topic: &str) -> Result<Vec<OwnedRecord>, Failure> {
    let mut read = Vec::new();
    for (node, partitions) in leaders(cluster, topic).await? {
        let ranges = admin::log_ranges(cluster, node, &partitions).await?;
        let mut ranges: BTreeMap<PartitionId, _> = ranges.into_iter().collect();
        let mut left = BTreeMap::new();
        for Named { id, name, .. } in partitions {
            if let Some(range) = ranges.remove(&id) {
                let LogRange {
                    start_offset,
                    end_offset,
                } = range?;
                left.insert(name.partition, start_offset..end_offset);
            }
        }
        let mut reading = Reading::new(Arc::from(topic), left);
        while !reading.is_done() {
            let question = reading.request(limits::FETCH_WAIT);
            let answer = ask(cluster, To::Node(node), question).await?;
            reading.take(&decoded(&answer)?, &mut read)?;
        }
    }
    Ok(read)
}

/// The partitions of a topic by their leader.
async fn leaders(cluster: &Cluster, topic: &str) -> Result<BTreeMap<i32, Vec<Named<()>>>, Failure> {
    let metadata = cluster
        .refresh_metadata(Topics::named([topic]))
        .await
        .map_err(|err| failure(&err))?;
    let view = metadata
        .topic(topic)
        .ok_or_else(|| Failure::NoAnswer(format!("topic {topic} is not in the metadata")))?;
    let mut by_node: BTreeMap<i32, Vec<Named<()>>> = BTreeMap::new();
    for (number, partition) in (0..).zip(&view.partitions) {
        let leader = partition.leader.ok_or_else(|| {
            Failure::NoAnswer(format!(
                "partition {topic}-{} has no leader",
                partition.index
            ))
        })?;
        by_node.entry(leader.node).or_default().push(Named {
            id: PartitionId(number),
            name: Name {
                topic: Arc::clone(&view.name),
                topic_id: view.id.unwrap_or_default(),
                partition: partition.index,
            },
            ask: (),
        });
    }
    Ok(by_node)
}
