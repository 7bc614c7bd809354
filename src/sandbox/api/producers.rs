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
use crate::sandbox::topic::invalid_topic_name;

pub(super) fn describe(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeProducersRequest<'_>,
) -> Outcome {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let indexes = topic.partition_indexes.iter();
        let partitions = indexes.map(|index| {
            let producers = active_producers(cluster, call.broker_id, topic.name, index);
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
    broker_id: i32,
    topic: &str,
    partition: i32,
) -> Result<Vec<ProducerState>, ApiError> {
    if let Some(fault) = invalid_topic_name(topic) {
        return Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, fault));
    }
    let partition = cluster.partition(topic, partition)?;
    let producers = partition.local_log(broker_id, -1)?.producers.iter();
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
