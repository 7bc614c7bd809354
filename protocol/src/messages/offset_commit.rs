//! OffsetCommit (API key 8), versions 2–10: commits a group's offsets.
//!
//! Version notes: v2–v4 retention time · v3 throttling · v5 no retention time · v6 leader epoch ·
//! v7 static members (KIP-345) · v8 flexible · v9 groups of the new protocol (KIP-848) · v10 topics
//! by id. Not supported: v0–v1 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Uuid, message},
};

message! {
    /// The offsets to commit.
    pub struct OffsetCommitRequest<'a> {
        group_id: &'a str,
        /// -1 without a member, as administrators commit.
        generation_id_or_member_epoch: i32 = -1,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [7..],
        retention_time_ms: i64 [..=4] = -1,
        topics: Array<'a, OffsetCommitRequestTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct OffsetCommitRequestTopic<'a> {
        name: &'a str [..=9],
        topic_id: Uuid [10..],
        partitions: Array<'a, OffsetCommitRequestPartition<'a>>,
    }
}

message! {
    /// One partition.
    pub struct OffsetCommitRequestPartition<'a> {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<&'a str>,
    }
}

message! {
    /// What became of each.
    pub struct OffsetCommitResponse<'a> {
        throttle_time_ms: i32 [3..],
        topics: Array<'a, OffsetCommitResponseTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct OffsetCommitResponseTopic<'a> {
        name: &'a str [..=9],
        topic_id: Uuid [10..],
        partitions: Array<'a, OffsetCommitResponsePartition>,
    }
}

message! {
    /// One partition.
    pub struct OffsetCommitResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
    }
}

api! { OffsetCommit 2..=10, flexible 8; OffsetCommitRequest<'a> => OffsetCommitResponse<'r> }
