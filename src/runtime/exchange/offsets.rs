//! ListOffsets and OffsetForLeaderEpoch: where logs start and end, and where times and epochs do.

use std::collections::BTreeMap;

use kmirror_protocol::{
    messages::{
        ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
        OffsetForLeaderEpochResponse,
        list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    wire::Uuid,
};

use super::{Named, Names, Question, names::by_topic, refusal};
use crate::flow::{EpochEnd, EpochQuestion, Failure, LogRange, PartitionId, PerPartition, Side};

/// The timestamp that stands for the oldest offset.
const EARLIEST: i64 = -2;

/// The timestamp that stands for the next offset.
const LATEST: i64 = -1;

/// `ListOffsetsRequest.CONSUMER_REPLICA_ID`.
const CONSUMER: i32 = -1;

/// `ListOffsetsRequest.DEBUGGING_REPLICA_ID`: sees the log end. Any replica answers it of its own
/// log, so that only the leader epoch of the question makes sure that a leader did.
const DEBUGGING: i32 = -2;

/// Any leader epoch.
pub const ANY_EPOCH: i32 = -1;

/// Asks for the oldest offsets of logs; what is asked of each is that its leader have this epoch.
#[must_use]
pub fn log_starts(partitions: &[Named<i32>]) -> Question<ListOffsetsRequest<'_>> {
    list_offsets(CONSUMER, partitions, |epoch| (*epoch, EARLIEST))
}

/// Asks for the next offsets of logs, whatever transactions are open below them; what is asked of
/// each is that its leader have this epoch.
///
/// Of the source that is the high watermark, beyond which nothing can be read; of the target the
/// log end, up to which the leader has written.
#[must_use]
pub fn log_ends(side: Side, partitions: &[Named<i32>]) -> Question<ListOffsetsRequest<'_>> {
    let replica_id = match side {
        Side::Source => CONSUMER,
        Side::Target => DEBUGGING,
    };
    list_offsets(replica_id, partitions, |epoch| (*epoch, LATEST))
}

/// Asks for the first offsets whose timestamps are not below those asked for, in milliseconds
/// since 1970; negative ones are asked for as 0, since they would mean something else.
#[must_use]
pub fn for_times(partitions: &[Named<i64>]) -> Question<ListOffsetsRequest<'_>> {
    list_offsets(CONSUMER, partitions, |time| (ANY_EPOCH, (*time).max(0)))
}

fn list_offsets<'a, T>(
    replica_id: i32,
    partitions: &'a [Named<T>],
    epoch_and_timestamp: impl Fn(&T) -> (i32, i64),
) -> Question<ListOffsetsRequest<'a>> {
    let topics = by_topic(partitions, |named| {
        let (current_leader_epoch, timestamp) = epoch_and_timestamp(&named.ask);
        ListOffsetsRequestPartition {
            partition_index: named.name.partition,
            current_leader_epoch,
            timestamp,
        }
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

/// The offsets that were found; `None` where there is none.
///
/// # Errors
///
/// None for the whole request: a broker refuses partitions one by one.
pub fn listed(response: &ListOffsetsResponse<'_>, names: &Names) -> PerPartition<Option<i64>> {
    let mut results = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let index = partition.partition_index;
            if let Some(id) = names.find(topic.name, Uuid::ZERO, index) {
                let found = Some(partition.offset).filter(|offset| *offset >= 0);
                let result = refusal(partition.error_code, None);
                results.push((id, result.map(|()| found)));
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
pub fn log_ranges(
    starts: PerPartition<Option<i64>>,
    ends: PerPartition<Option<i64>>,
) -> PerPartition<LogRange> {
    let mut starts: BTreeMap<PartitionId, _> = starts?.into_iter().collect();
    let ranges = ends?.into_iter().filter_map(|(id, end)| {
        let range = match (starts.remove(&id)?, end) {
            (Ok(Some(start_offset)), Ok(Some(end_offset))) => Ok(LogRange {
                start_offset,
                end_offset,
            }),
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
            _ => Err(Failure::Malformed(String::from(
                "the broker does not tell where the log starts or ends",
            ))),
        };
        Some((id, range))
    });
    Ok(ranges.collect())
}

/// Asks leaders up to where their logs agree with leader epochs (KIP-320).
#[must_use]
pub fn for_epochs(
    partitions: &[Named<EpochQuestion>],
) -> Question<OffsetForLeaderEpochRequest<'_>> {
    let topics = by_topic(partitions, |named| OffsetForLeaderPartition {
        partition: named.name.partition,
        current_leader_epoch: named.ask.current_epoch,
        leader_epoch: named.ask.epoch,
    });
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| OffsetForLeaderTopic {
            topic: &name.topic,
            partitions: partitions.into(),
        });
    Question::from(OffsetForLeaderEpochRequest {
        replica_id: CONSUMER,
        topics: topics.collect(),
    })
}

/// Where the epochs end.
///
/// # Errors
///
/// None for the whole request: a broker refuses partitions one by one.
pub fn epoch_ends(
    response: &OffsetForLeaderEpochResponse<'_>,
    names: &Names,
) -> PerPartition<EpochEnd> {
    let mut results = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            if let Some(id) = names.find(topic.topic, Uuid::ZERO, partition.partition) {
                let end = EpochEnd {
                    epoch: partition.leader_epoch,
                    end_offset: partition.end_offset,
                };
                results.push((id, refusal(partition.error_code, None).map(|()| end)));
            }
        }
    }
    Ok(results)
}
