//! Reads and writes the records of the offsets topic.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror_protocol::{
    messages::{
        ProduceRequest,
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{BatchBuilder, Compression, NewRecord},
    wire::Records,
};

use super::{
    admin::millis,
    convert::{failure, refusal},
    now_ms,
    topic_reader::OwnedRecord,
};
use crate::{
    cluster::{Cluster, SendOptions, To, Topics},
    flow::Failure,
    offsets::{murmur2, source_offsets::StoredRecord},
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
    let mut by_node: BTreeMap<i32, Vec<ProduceRequestPartition<'static>>> = BTreeMap::new();
    for (index, records) in by_partition(partition_count, &records) {
        let node = match cluster.metadata().leader(topic, index) {
            Some(leader) => leader.node,
            None => return Err(Failure::NoAnswer(format!("{topic}-{index} has no leader"))),
        };
        let records = Some(batch_of(&records)?);
        by_node
            .entry(node)
            .or_default()
            .push(ProduceRequestPartition { index, records });
    }
    for (node, partition_data) in by_node {
        let result = produce(cluster, node, topic, partition_data, timeout).await;
        if let Err(failure) = result {
            // The leader may have moved; the flow tries again at its next interval.
            let _ = cluster.refresh_metadata(Topics::named([&**topic])).await;
            return Err(failure);
        }
    }
    Ok(())
}

fn by_partition(
    partition_count: i32,
    records: &[StoredRecord],
) -> BTreeMap<i32, Vec<&StoredRecord>> {
    let mut by_partition: BTreeMap<i32, Vec<&StoredRecord>> = BTreeMap::new();
    for record in records {
        let partition = murmur2::partition_of(&record.key, partition_count);
        by_partition.entry(partition).or_default().push(record);
    }
    by_partition
}

fn batch_of(records: &[&StoredRecord]) -> Result<Records<'static>, Failure> {
    // Connect stamps its records with the time of writing.
    let timestamp = now_ms();
    let mut builder = BatchBuilder::new(Compression::None);
    let built = (|| {
        for record in records {
            builder.push(&NewRecord {
                timestamp,
                key: Some(&record.key),
                value: record.value.as_deref(),
                headers: &[],
            })?;
        }
        builder.build()
    })();
    built
        .map(|batch| Records::Batch {
            header: batch.header.encode(),
            payload: batch.payload,
        })
        .map_err(|err| Failure::Unsupported(err.to_string()))
}

async fn produce(
    cluster: &Cluster,
    node: i32,
    topic: &str,
    partition_data: Vec<ProduceRequestPartition<'_>>,
    timeout: Duration,
) -> Result<(), Failure> {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: millis(timeout),
        topic_data: vec![ProduceRequestTopic {
            name: topic,
            partition_data: partition_data.into(),
            ..ProduceRequestTopic::default()
        }]
        .into(),
        ..ProduceRequest::default()
    };
    let options = SendOptions {
        version_max: Some(12),
        ..SendOptions::default()
    };
    let answer = cluster
        .request_with(To::Node(node), &request, options)
        .await
        .map_err(|err| failure(&err))?;
    let response = answer.decode().map_err(|err| failure(&err))?;
    for partition in response
        .responses
        .iter()
        .flat_map(|topic| topic.partition_responses)
    {
        refusal(partition.error_code, partition.error_message)?;
    }
    Ok(())
}
