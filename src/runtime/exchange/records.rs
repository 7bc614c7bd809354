//! Fetch and Produce.

use std::time::Duration;

use bytes::Bytes;
use kmirror_protocol::{
    messages::{
        FetchRequest, FetchResponse, ProduceRequest, ProduceResponse,
        fetch::{FetchRequestPartition, FetchRequestTopic, FetchResponsePartition},
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    wire::Records,
};

use super::{
    Named, Names, Question, millis,
    names::{by_topic, version_max},
    refusal,
    transactions::produce_version_max,
};
use crate::flow::{
    EpochEnd, FetchPartition, FetchedRecords, InTransaction, Outgoing, PerPartition,
};

/// What an answer may have beyond its record bytes: one batch that is let through although it is
/// larger than the limit (KIP-74), and the fields around the records.
const FETCH_ANSWER_OVERHEAD: usize = 16 << 20;

/// What a Fetch asks for, beside its partitions.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// 0 reads everything, 1 only what is committed.
    pub isolation_level: i8,
    /// How long the broker may hold the request while there is nothing to return.
    pub wait: Duration,
    /// Record bytes in the whole answer.
    pub bytes_max: usize,
}

/// Asks for records of partitions, all led by one broker.
#[must_use]
pub fn fetch(
    limits: FetchLimits,
    partitions: &[Named<FetchPartition>],
) -> Question<FetchRequest<'_>> {
    let topics = by_topic(partitions, |named| FetchRequestPartition {
        partition: named.name.partition,
        current_leader_epoch: named.ask.leader_epoch,
        fetch_offset: named.ask.fetch_offset,
        last_fetched_epoch: named.ask.last_fetched_epoch,
        partition_max_bytes: i32::try_from(named.ask.bytes_max).unwrap_or(i32::MAX),
        ..FetchRequestPartition::default()
    });
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| FetchRequestTopic {
            topic: &name.topic,
            topic_id: name.topic_id,
            partitions: partitions.into(),
        });
    Question {
        request: FetchRequest {
            max_wait_ms: millis(limits.wait),
            min_bytes: 1,
            max_bytes: i32::try_from(limits.bytes_max).unwrap_or(i32::MAX),
            isolation_level: limits.isolation_level,
            topics: topics.collect(),
            ..FetchRequest::default()
        },
        version_max: version_max(partitions),
        answer_len_max: Some(limits.bytes_max.saturating_add(FETCH_ANSWER_OVERHEAD)),
    }
}

/// The records that came. `body` holds the bytes that `response` was decoded from: records are
/// slices of it, not copies.
///
/// # Errors
///
/// The refusal of the whole request.
pub fn fetched(
    response: FetchResponse<'_>,
    body: &Bytes,
    names: &Names,
) -> PerPartition<FetchedRecords> {
    refusal(response.error_code, None)?;
    let mut results = Vec::new();
    for topic in response.responses {
        for partition in topic.partitions {
            let index = partition.partition_index;
            if let Some(id) = names.find(topic.topic, topic.topic_id, index) {
                let result = refusal(partition.error_code, None);
                results.push((id, result.map(|()| fetched_records(partition, body))));
            }
        }
    }
    Ok(results)
}

fn fetched_records(partition: FetchResponsePartition<'_>, body: &Bytes) -> FetchedRecords {
    let aborted = partition.aborted_transactions.into_iter().flatten();
    let diverging = EpochEnd {
        epoch: partition.diverging_epoch.epoch,
        end_offset: partition.diverging_epoch.end_offset,
    };
    FetchedRecords {
        records: partition
            .records
            .map(|records| body.slice_ref(records.as_slice()))
            .unwrap_or_default(),
        high_watermark: partition.high_watermark,
        last_stable_offset: partition.last_stable_offset,
        aborted: aborted.collect(),
        diverging: Some(diverging).filter(|at| at.epoch >= 0 || at.end_offset >= 0),
    }
}

/// Appends batches, to wait until all replicas in sync have them; `timeout` is how long the
/// leader waits for those. All are part of one transaction, or none of any.
#[must_use]
pub fn produce<'a>(
    timeout: Duration,
    batches: &'a [Named<Outgoing>],
    within: Option<&'a InTransaction>,
) -> Question<ProduceRequest<'a>> {
    let topics = by_topic(batches, |named| ProduceRequestPartition {
        index: named.name.partition,
        records: Some(Records::Batch {
            header: named.ask.header,
            payload: named.ask.payload.clone(),
        }),
    });
    let topics = topics
        .into_iter()
        .map(|(name, partition_data)| ProduceRequestTopic {
            name: &name.topic,
            topic_id: name.topic_id,
            partition_data: partition_data.into(),
        });
    Question {
        request: ProduceRequest {
            transactional_id: within.map(|transaction| &*transaction.transactional_id),
            acks: -1,
            timeout_ms: millis(timeout),
            topic_data: topics.collect(),
        },
        version_max: Some(
            version_max(batches)
                .unwrap_or(i16::MAX)
                .min(produce_version_max(within)),
        ),
        answer_len_max: None,
    }
}

/// The base offset that each batch got.
///
/// # Errors
///
/// None for the whole request: a broker refuses batches one by one.
pub fn produced(response: ProduceResponse<'_>, names: &Names) -> PerPartition<i64> {
    let mut results = Vec::new();
    for topic in response.responses {
        for partition in topic.partition_responses {
            let Some(id) = names.find(topic.name, topic.topic_id, partition.index) else {
                continue;
            };
            let words = partition
                .record_errors
                .first()
                .and_then(|record| record.batch_index_error_message)
                .or(partition.error_message);
            let result = refusal(partition.error_code, words).map(|()| partition.base_offset);
            results.push((id, result));
        }
    }
    Ok(results)
}
