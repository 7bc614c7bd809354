//! ListOffsets: where logs start and end.

use std::collections::BTreeMap;

use kmirror_protocol::{
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
    },
    wire::Uuid,
};

use super::{Named, Names, Question, names::by_topic, refusal};
use crate::flow::{LogRange, PartitionId, PerPartition};

/// The timestamp that stands for the oldest offset.
const EARLIEST: i64 = -2;

/// The timestamp that stands for the next offset.
const LATEST: i64 = -1;

/// The replica id of consumers.
const CONSUMER: i32 = -1;

/// Asks for the oldest offsets.
#[must_use]
pub fn log_starts<T>(partitions: &[Named<T>]) -> Question<ListOffsetsRequest<'_>> {
    list_offsets(CONSUMER, partitions, |_| EARLIEST)
}

/// Asks for the next offsets: the high watermarks, whatever transactions are open below them.
#[must_use]
pub fn log_ends<T>(partitions: &[Named<T>]) -> Question<ListOffsetsRequest<'_>> {
    list_offsets(CONSUMER, partitions, |_| LATEST)
}

fn list_offsets<'a, T>(
    replica_id: i32,
    partitions: &'a [Named<T>],
    timestamp: impl Fn(&T) -> i64,
) -> Question<ListOffsetsRequest<'a>> {
    let topics = by_topic(partitions, |named| ListOffsetsRequestPartition {
        partition_index: named.name.partition,
        timestamp: timestamp(&named.ask),
        ..ListOffsetsRequestPartition::default()
    });
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| ListOffsetsRequestTopic {
            name: &name.topic,
            partitions: partitions.into(),
        });
    Question::from(ListOffsetsRequest {
        replica_id,
        topics: topics.collect(),
        ..ListOffsetsRequest::default()
    })
}

/// The offsets that were found.
///
/// # Errors
///
/// None for the whole request: a broker refuses partitions one by one.
pub fn listed(response: &ListOffsetsResponse<'_>, names: &Names) -> PerPartition<i64> {
    let mut results = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let index = partition.partition_index;
            if let Some(id) = names.find(topic.name, Uuid::ZERO, index) {
                let result = refusal(partition.error_code, None);
                results.push((id, result.map(|()| partition.offset)));
            }
        }
    }
    Ok(results)
}

/// Both ends of each log, of the answers to [`log_starts`] and [`log_ends`]. A partition that one
/// of them leaves out is left out.
///
/// # Errors
///
/// That of the first answer that failed as a whole.
pub fn log_ranges(starts: PerPartition<i64>, ends: PerPartition<i64>) -> PerPartition<LogRange> {
    let mut starts: BTreeMap<PartitionId, _> = starts?.into_iter().collect();
    let ranges = ends?.into_iter().filter_map(|(id, end)| {
        let range = match (starts.remove(&id)?, end) {
            (Ok(start_offset), Ok(end_offset)) => Ok(LogRange {
                start_offset,
                end_offset,
            }),
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        };
        Some((id, range))
    });
    Ok(ranges.collect())
}
