//! InitProducerId and DescribeProducers: new producer ids, and those that partitions remember.

use kmirror_protocol::{
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest,
        InitProducerIdResponse, describe_producers::DescribeProducersRequestTopic,
    },
    wire::Uuid,
};

use super::{Named, Names, Question, names::by_topic, refusal};
use crate::flow::{ActiveProducer, Failure, PerPartition};

/// Asks for a producer id that is not tied to a transactional id; any broker gives one.
#[must_use]
pub fn init_producer_id() -> Question<InitProducerIdRequest<'static>> {
    Question::from(InitProducerIdRequest {
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    })
}

/// The new id and its epoch.
///
/// # Errors
///
/// The broker's refusal; one in its first seconds answers `COORDINATOR_LOAD_IN_PROGRESS`.
pub fn producer_id(response: &InitProducerIdResponse) -> Result<(i64, i16), Failure> {
    refusal(response.error_code, None)?;
    Ok((response.producer_id, response.producer_epoch))
}

/// Asks a broker which producers its logs remember, up to their ends (KIP-664).
///
/// Any replica answers of its own log, and the request carries no leader epoch: an answer is a
/// leader's only if the broker proves before and after it that it leads, in one and the same epoch.
#[must_use]
pub fn describe<T>(partitions: &[Named<T>]) -> Question<DescribeProducersRequest<'_>> {
    let topics = by_topic(partitions, |named| named.name.partition);
    let topics = topics
        .into_iter()
        .map(|(name, indexes)| DescribeProducersRequestTopic {
            name: &name.topic,
            partition_indexes: indexes.into(),
        });
    Question::from(DescribeProducersRequest {
        topics: topics.collect(),
    })
}

/// The producers that are remembered.
///
/// # Errors
///
/// None for the whole request: a broker refuses partitions one by one.
pub fn described(
    response: &DescribeProducersResponse<'_>,
    names: &Names,
) -> PerPartition<Vec<ActiveProducer>> {
    let mut results = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let Some(id) = names.find(topic.name, Uuid::ZERO, partition.partition_index) else {
                continue;
            };
            let producers = partition.active_producers.iter();
            let producers = producers.map(|producer| ActiveProducer {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                last_sequence: producer.last_sequence,
                transaction_start_offset: producer.current_txn_start_offset,
            });
            let result = refusal(partition.error_code, partition.error_message);
            results.push((id, result.map(|()| producers.collect())));
        }
    }
    Ok(results)
}
