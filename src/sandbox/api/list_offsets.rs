//! ListOffsets: the offset that goes with a time or an end of the log.
//!
//! Source: `ReplicaManager.fetchOffset`, `UnifiedLog.fetchOffsetByTimestamp`.

use std::collections::BTreeSet;

use kmirror_protocol::{
    ErrorCode,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets::{
            ListOffsetsRequestPartition, ListOffsetsResponsePartition, ListOffsetsResponseTopic,
        },
    },
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::{
    acls::{Operation, Resource},
    log::TimestampAndOffset,
};

/// Asks for the end of the log.
const LATEST: i64 = -1;
/// Asks for its start.
const EARLIEST: i64 = -2;
/// Asks for the record with the greatest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// Asks for the first offset that is not only in tiered storage (KIP-405): the start, here.
const EARLIEST_LOCAL: i64 = -4;
/// Asks for the last offset in tiered storage (KIP-1005), of which there is none here.
const LATEST_TIERED: i64 = -5;

/// The isolation level of somebody who sees only what is decided.
const READ_COMMITTED: i8 = 1;

/// The replica id of a consumer.
const CONSUMER_REPLICA_ID: i32 = -1;
/// The replica id of somebody who may ask any replica, and sees the log end.
const DEBUGGING_REPLICA_ID: i32 = -2;

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &ListOffsetsRequest<'_>,
) -> Outcome {
    let duplicates = duplicates(request);
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let found = if duplicates.contains(&(topic.name, wanted.partition_index)) {
                Err(ErrorCode::INVALID_REQUEST)
            } else {
                find(cluster, call, request, topic.name, &wanted)
            };
            response(wanted.partition_index, call.version(), found)
        });
        ListOffsetsResponseTopic {
            name: topic.name,
            partitions: partitions.collect(),
        }
    });
    let topics = topics.collect();
    call.reply::<ListOffsetsRequest<'_>>(&ListOffsetsResponse {
        throttle_time_ms: 0,
        topics,
    })
}

fn duplicates<'a>(request: &ListOffsetsRequest<'a>) -> BTreeSet<(&'a str, i32)> {
    let mut seen = BTreeSet::new();
    let partitions = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.into_iter();
        partitions.map(move |partition| (topic.name, partition.partition_index))
    });
    partitions
        .filter(|partition| !seen.insert(*partition))
        .collect()
}

fn response(
    partition_index: i32,
    version: i16,
    found: Result<Option<TimestampAndOffset>, ErrorCode>,
) -> ListOffsetsResponsePartition {
    match found {
        Ok(Some(found)) => ListOffsetsResponsePartition {
            partition_index,
            error_code: ErrorCode::NONE,
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: if version >= 4 { found.leader_epoch } else { -1 },
        },
        Ok(None) => ListOffsetsResponsePartition {
            partition_index,
            ..Default::default()
        },
        Err(error_code) => ListOffsetsResponsePartition {
            partition_index,
            error_code,
            ..Default::default()
        },
    }
}

fn find(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &ListOffsetsRequest<'_>,
    topic: &str,
    wanted: &ListOffsetsRequestPartition,
) -> Result<Option<TimestampAndOffset>, ErrorCode> {
    if call.version() < first_version(wanted.timestamp) {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    call.check(cluster, Operation::Describe, Resource::Topic(topic))?;
    let partition = cluster.partition(topic, wanted.partition_index)?;
    let (log, last_fetchable, is_lagging) = if request.replica_id == DEBUGGING_REPLICA_ID {
        let log = partition.local_log(call.broker_id, wanted.current_leader_epoch)?;
        (log, log.end_offset(), false)
    } else {
        let log = partition.led_log(call.broker_id, wanted.current_leader_epoch)?;
        let last_fetchable = match (request.replica_id, request.isolation_level) {
            (CONSUMER_REPLICA_ID, READ_COMMITTED) => log.last_stable_offset(),
            _ => log.high_watermark(),
        };
        // A new leader does not know yet what its predecessor had committed (KIP-207).
        let is_lagging = log.high_watermark() < partition.epoch_start_offset;
        (log, last_fetchable, is_lagging)
    };
    let lagging = match call.version() {
        5.. => ErrorCode::OFFSET_NOT_AVAILABLE,
        _ => ErrorCode::LEADER_NOT_AVAILABLE,
    };
    let at = |offset, leader_epoch| {
        Some(TimestampAndOffset {
            timestamp: -1,
            offset,
            leader_epoch,
        })
    };
    Ok(match wanted.timestamp {
        LATEST if is_lagging => return Err(lagging),
        LATEST => at(last_fetchable, partition.leader_epoch),
        EARLIEST | EARLIEST_LOCAL => {
            let start = log.start_offset();
            at(start, log.epochs.at_start(start).unwrap_or(-1))
        }
        LATEST_TIERED => at(-1, -1),
        timestamp => {
            let found = match timestamp {
                MAX_TIMESTAMP => log.find_max_timestamp(),
                timestamp => log.find_timestamp(timestamp),
            };
            let readable = found.filter(|found| found.offset < last_fetchable);
            if readable.is_none() && is_lagging {
                return Err(lagging);
            }
            readable
        }
    })
}

/// The first version that may ask for a time; beyond all versions for one that means nothing.
const fn first_version(timestamp: i64) -> i16 {
    match timestamp {
        0.. | LATEST | EARLIEST => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => i16::MAX,
    }
}
