//! Reads and writes the records of the offsets topic.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror_protocol::records::BuiltBatch;

use super::{
    convert::{ask, decoded},
    exchange::{reading::OwnedRecord, writing},
    now_ms,
};
use crate::{
    cluster::{Cluster, To, Topics},
    flow::Failure,
    offsets::source_offsets::StoredRecord,
};

/// The records of the offsets topic; those without a key mean nothing.
pub(super) fn stored_records(read: Vec<OwnedRecord>) -> Vec<StoredRecord> {
    read.into_iter()
        .filter_map(|record| {
            Some(StoredRecord {
                key: record.key?,
                value: record.value,
            })
        })
        .collect()
}

/// Writes records, each to the partition of its key, and waits until all replicas have them.
///
/// Writing one twice does no harm, so nothing here is idempotent.
///
/// # Errors
///
/// The first [`Failure`]; what was written before it stays.
pub(super) async fn store(
    cluster: &Cluster,
    topic: &Arc<str>,
    partition_count: i32,
    records: Vec<StoredRecord>,
    timeout: Duration,
) -> Result<(), Failure> {
    let mut by_node: BTreeMap<i32, BTreeMap<i32, BuiltBatch>> = BTreeMap::new();
    for (index, batch) in writing::batches(partition_count, &records, now_ms())? {
        let node = match cluster.metadata().leader(topic, index) {
            Some(leader) => leader.node,
            None => return Err(Failure::NoAnswer(format!("{topic}-{index} has no leader"))),
        };
        by_node.entry(node).or_default().insert(index, batch);
    }
    for (node, batches) in by_node {
        let result = produce(cluster, node, topic, &batches, timeout).await;
        if let Err(failure) = result {
            // The leader may have moved; the flow tries again at its next interval.
            let _ = cluster.refresh_metadata(Topics::named([&**topic])).await;
            return Err(failure);
        }
    }
    Ok(())
}

async fn produce(
    cluster: &Cluster,
    node: i32,
    topic: &str,
    batches: &BTreeMap<i32, BuiltBatch>,
    timeout: Duration,
) -> Result<(), Failure> {
    let question = writing::produce(topic, timeout, batches);
    let answer = ask(cluster, To::Node(node), question).await?;
    writing::produced(&decoded(&answer)?)
}
