//! TxnOffsetCommit (API key 28), versions 0–5: commits a group's offsets within a transaction.
//!
//! Version notes: v2 leader epoch · v3 flexible, member and generation (KIP-447) · v4
//! `TRANSACTION_ABORTABLE` · v5 the partition of the offsets topic is added to the transaction
//! implicitly (KIP-890).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// The offsets, valid once the transaction commits.
    pub struct TxnOffsetCommitRequest<'a> {
        transactional_id: &'a str,
        group_id: &'a str,
        producer_id: i64,
        producer_epoch: i16,
        /// -1 without a member.
        generation_id: i32 [3..] = -1,
        member_id: &'a str [3..],
        group_instance_id: Option<&'a str> [3..],
        topics: Array<'a, TxnOffsetCommitRequestTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct TxnOffsetCommitRequestTopic<'a> {
        name: &'a str,
        partitions: Array<'a, TxnOffsetCommitRequestPartition<'a>>,
    }
}

message! {
    /// One partition.
    pub struct TxnOffsetCommitRequestPartition<'a> {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [2..] = -1,
        committed_metadata: Option<&'a str>,
    }
}

message! {
    /// What became of each.
    pub struct TxnOffsetCommitResponse<'a> {
        throttle_time_ms: i32,
        topics: Array<'a, TxnOffsetCommitResponseTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct TxnOffsetCommitResponseTopic<'a> {
        name: &'a str,
        partitions: Array<'a, TxnOffsetCommitResponsePartition>,
    }
}

message! {
    /// One partition.
    pub struct TxnOffsetCommitResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
    }
}

api! { TxnOffsetCommit 0..=5, flexible 3; TxnOffsetCommitRequest<'a> => TxnOffsetCommitResponse<'r> }
