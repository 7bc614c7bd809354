//! ListOffsets (API key 2), versions 1–10: the offset that goes with a time or an end of the log.
//!
//! Version notes: v2 isolation level, throttle time · v4 leader epochs (KIP-320) ·
//! v5 `OFFSET_NOT_AVAILABLE` (KIP-207) · v6 flexible · v7 the greatest timestamp, -3 (KIP-734) ·
//! v8 the earliest local offset, -4 (KIP-405) · v9 the last tiered offset, -5 (KIP-1005) ·
//! v10 timeout (KIP-1075). Not supported: v0 (several offsets per partition, removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Asks for offsets; each partition's leader must be asked.
    pub struct ListOffsetsRequest<'a> {
        /// The broker that asks as a follower; -1 for consumers.
        replica_id: i32,
        /// 0 takes the high watermark as the end, 1 the last stable offset.
        isolation_level: i8 [2..],
        topics: Array<'a, ListOffsetsRequestTopic<'a>>,
        timeout_ms: i32 [10..],
    }
}

message! {
    /// One topic.
    pub struct ListOffsetsRequestTopic<'a> {
        name: &'a str,
        partitions: Array<'a, ListOffsetsRequestPartition>,
    }
}

message! {
    /// One partition.
    pub struct ListOffsetsRequestPartition {
        partition_index: i32,
        current_leader_epoch: i32 [4..] = -1,
        /// Milliseconds since 1970; -1 for the end of the log, -2 for its start.
        timestamp: i64,
    }
}

message! {
    /// The offsets.
    pub struct ListOffsetsResponse<'a> {
        throttle_time_ms: i32 [2..],
        topics: Array<'a, ListOffsetsResponseTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct ListOffsetsResponseTopic<'a> {
        name: &'a str,
        partitions: Array<'a, ListOffsetsResponsePartition>,
    }
}

message! {
    /// One partition; timestamp and offset are -1 where there is no such record.
    pub struct ListOffsetsResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
        timestamp: i64 = -1,
        offset: i64 = -1,
        leader_epoch: i32 [4..] = -1,
    }
}

api! { ListOffsets 1..=10, flexible 6; ListOffsetsRequest<'a> => ListOffsetsResponse<'r> }
