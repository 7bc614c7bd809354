//! OffsetForLeaderEpoch (API key 23), versions 2–4: where a leader epoch ends (KIP-320).
//!
//! Version notes: v2 current leader epoch · v3 replica id · v4 flexible.
//! Not supported: v0–v1 (between brokers only, removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Asks where epochs end; each partition's leader must be asked.
    pub struct OffsetForLeaderEpochRequest<'a> {
        /// The broker that asks as a follower; -1 for consumers, -2 to see past the high watermark.
        replica_id: i32 [3..] = -2,
        topics: Array<'a, OffsetForLeaderTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct OffsetForLeaderTopic<'a> {
        topic: &'a str,
        partitions: Array<'a, OffsetForLeaderPartition>,
    }
}

message! {
    /// One partition.
    pub struct OffsetForLeaderPartition {
        partition: i32,
        current_leader_epoch: i32 = -1,
        /// The epoch whose end is wanted.
        leader_epoch: i32,
    }
}

message! {
    /// Where epochs end.
    pub struct OffsetForLeaderEpochResponse<'a> {
        throttle_time_ms: i32,
        topics: Array<'a, OffsetForLeaderTopicResult<'a>>,
    }
}

message! {
    /// One topic.
    pub struct OffsetForLeaderTopicResult<'a> {
        topic: &'a str,
        partitions: Array<'a, OffsetForLeaderEpochEndOffset>,
    }
}

message! {
    /// One partition; epoch and offset are -1 where the leader does not know the epoch.
    pub struct OffsetForLeaderEpochEndOffset {
        error_code: ErrorCode,
        partition: i32,
        /// The greatest epoch not above the one asked for.
        leader_epoch: i32 = -1,
        /// The offset after that epoch's last record.
        end_offset: i64 = -1,
    }
}

api! { OffsetForLeaderEpoch 2..=4, flexible 4; OffsetForLeaderEpochRequest<'a> => OffsetForLeaderEpochResponse<'r> }
