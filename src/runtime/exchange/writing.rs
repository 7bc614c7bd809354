//! Writes records to a small compacted topic, each to the partition of its key.
//!
//! Writing a record twice does no harm there, so nothing here is idempotent.

use std::{collections::BTreeMap, time::Duration};

use kmirror_protocol::{
    messages::{
        ProduceRequest, ProduceResponse,
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{BatchBuilder, BuildError, BuiltBatch, Compression, NewRecord},
    wire::Records,
};

use super::{Question, millis, names::BY_NAME_MAX, refusal};
use crate::{
    flow::Failure,
    offsets::{murmur2, source_offsets::StoredRecord},
};

/// One batch for each partition that gets records, in their order.
///
/// Keys choose partitions as Kafka's own producer lets them; `timestamp` is the time of writing in
/// milliseconds since 1970, with which Connect stamps its records too.
///
/// # Errors
///
/// [`Failure::Unsupported`] when records are too large for a batch.
pub fn batches(
    partition_count: i32,
    records: &[StoredRecord],
    timestamp: i64,
) -> Result<BTreeMap<i32, BuiltBatch>, Failure> {
    let mut by_partition: BTreeMap<i32, Vec<&StoredRecord>> = BTreeMap::new();
    for record in records {
        let partition = murmur2::partition_of(&record.key, partition_count);
        by_partition.entry(partition).or_default().push(record);
    }
    let batches = by_partition.into_iter().map(|(partition, records)| {
        let batch = batch_of(&records, timestamp);
        Ok((partition, batch.map_err(|error| too_large(&error))?))
    });
    batches.collect()
}

fn batch_of(records: &[&StoredRecord], timestamp: i64) -> Result<BuiltBatch, BuildError> {
    let mut builder = BatchBuilder::new(Compression::None);
    for record in records {
        builder.push(&NewRecord {
            timestamp,
            key: Some(&record.key),
            value: record.value.as_deref(),
            headers: &[],
        })?;
    }
    builder.build()
}

fn too_large(error: &BuildError) -> Failure {
    Failure::Unsupported(error.to_string())
}

/// Appends batches, by partition, to those partitions that one broker leads, and waits for all
/// replicas in sync.
#[must_use]
pub fn produce<'a>(
    topic: &'a str,
    timeout: Duration,
    batches: &BTreeMap<i32, BuiltBatch>,
) -> Question<ProduceRequest<'a>> {
    let partitions = batches.iter();
    let partitions = partitions.map(|(index, batch)| ProduceRequestPartition {
        index: *index,
        records: Some(Records::Batch {
            header: batch.header.encode(),
            payload: batch.payload.clone(),
        }),
    });
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: millis(timeout),
        topic_data: vec![ProduceRequestTopic {
            name: topic,
            partition_data: partitions.collect(),
            ..ProduceRequestTopic::default()
        }]
        .into(),
        ..ProduceRequest::default()
    };
    Question {
        version_max: Some(BY_NAME_MAX),
        ..Question::from(request)
    }
}

/// That every batch was appended.
///
/// # Errors
///
/// The first refusal; other batches of the request may have been appended.
pub fn produced(response: &ProduceResponse<'_>) -> Result<(), Failure> {
    let partitions = response.responses.iter();
    for partition in partitions.flat_map(|topic| topic.partition_responses) {
        refusal(partition.error_code, partition.error_message)?;
    }
    Ok(())
}
