//! DescribeProducers: what partitions remember of producers.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse,
        describe_producers::{
            DescribeProducersResponsePartition, DescribeProducersResponseTopic, ProducerState,
        },
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message};
use crate::sandbox::{
    acls::{Operation, Resource},
    topic::invalid_topic_name,
};

/// Whoever may write to some topic may do so without duplicates (KIP-679), except in old times.
pub(super) fn may_be_idempotent(cluster: &Cluster, call: &Call<'_>) -> Result<(), ErrorCode> {
    let needs_right = cluster.options.profile.needs_idempotent_write();
    if !needs_right && cluster.may_with_any_topic(call.client, Operation::Write) {
        return Ok(());
    }
    call.check(cluster, Operation::IdempotentWrite, Resource::Cluster)
}

pub(super) fn describe(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeProducersRequest<'_>,
) -> Outcome {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let indexes = topic.partition_indexes.iter();
        let partitions = indexes.map(|index| {
            let producers = active_producers(cluster, call, topic.name, index);
            (index, producers)
        });
        topics.push((topic.name, partitions.collect::<Vec<_>>()));
    }
    let topics = topics.iter();
    let topics = topics.map(|(name, partitions)| DescribeProducersResponseTopic {
        name,
        partitions: partitions
            .iter()
            .map(|(partition_index, producers)| {
                let (error_code, error_message) = code_and_message(producers);
                DescribeProducersResponsePartition {
                    partition_index: *partition_index,
                    error_code,
                    error_message,
                    active_producers: producers.iter().flatten().cloned().collect(),
                }
            })
            .collect(),
    });
    call.reply::<DescribeProducersRequest<'_>>(&DescribeProducersResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    })
}

/// Any replica answers, of its own log (`ReplicaManager.activeProducerState`).
fn active_producers(
    cluster: &Cluster,
    call: &Call<'_>,
    topic: &str,
    partition: i32,
) -> Result<Vec<ProducerState>, ApiError> {
    if let Some(fault) = invalid_topic_name(topic) {
        return Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, fault));
    }
    call.check(cluster, Operation::Read, Resource::Topic(topic))?;
    let partition = cluster.partition(topic, partition)?;
    let log = partition.local_log(call.broker_id, -1)?;
    let producers = log.producers.iter();
    let producers = producers.map(|(producer_id, producer)| ProducerState {
        producer_id,
        producer_epoch: i32::from(producer.epoch),
        last_sequence: producer.last_sequence(),
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.txn_first_offset.unwrap_or(-1),
    });
    Ok(producers.collect())
}
