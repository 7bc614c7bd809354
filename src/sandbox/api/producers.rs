//! InitProducerId and DescribeProducers.
//!
//! A producer id is given out anew for every request; whether it was ever given out is not
//! checked when it is used. There is no transaction coordinator.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest,
        InitProducerIdResponse,
        describe_producers::{
            DescribeProducersResponsePartition, DescribeProducersResponseTopic, ProducerState,
        },
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message};
use crate::sandbox::topic::invalid_topic_name;

pub(super) fn init(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &InitProducerIdRequest<'_>,
) -> Outcome {
    let has_half = (request.producer_id == -1) != (request.producer_epoch == -1);
    let error_code = match request.transactional_id {
        _ if has_half => ErrorCode::INVALID_REQUEST,
        Some("") => ErrorCode::INVALID_REQUEST,
        Some(_) => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        None => ErrorCode::NONE,
    };
    let response = if error_code.is_ok() {
        let producer_id = cluster.next_producer_id;
        cluster.next_producer_id = producer_id.saturating_add(1);
        InitProducerIdResponse {
            producer_id,
            ..Default::default()
        }
    } else {
        InitProducerIdResponse {
            error_code,
            producer_epoch: -1,
            ..Default::default()
        }
    };
    call.reply::<InitProducerIdRequest<'_>>(&response)
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
        coordinator_epoch: -1,
        current_txn_start_offset: -1,
    });
    Ok(producers.collect())
}
