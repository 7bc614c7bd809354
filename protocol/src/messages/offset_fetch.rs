//! OffsetFetch (API key 9), versions 1–10: a group's committed offsets.
//!
//! Version notes: v2 null asks for all topics, error code of the whole answer · v3 throttling · v5
//! leader epoch · v6 flexible · v7 only stable offsets (KIP-447) · v8 several groups (KIP-709) · v9
//! member and epoch (KIP-848) · v10 topics by id. Not supported: v0 (offsets in ZooKeeper, removed
//! in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Uuid, message},
};

message! {
    /// Names one group, or (from version 8) several.
    pub struct OffsetFetchRequest<'a> {
        group_id: &'a str [..=7],
        /// The topics; null (from version 2) for all that have offsets.
        topics: Option<Array<'a, OffsetFetchRequestTopic<'a>>> [..=7] = Some(Array::default()),
        groups: Array<'a, OffsetFetchRequestGroup<'a>> [8..],
        /// Refuse offsets that an open transaction may still change.
        require_stable: bool [7..],
    }
}

message! {
    /// One topic.
    pub struct OffsetFetchRequestTopic<'a> {
        name: &'a str,
        partition_indexes: Array<'a, i32>,
    }
}

message! {
    /// One group.
    pub struct OffsetFetchRequestGroup<'a> {
        group_id: &'a str,
        member_id: Option<&'a str> [9..],
        member_epoch: i32 [9..] = -1,
        /// The topics; null for all that have offsets.
        topics: Option<Array<'a, OffsetFetchRequestTopics<'a>>>,
    }
}

message! {
    /// One topic.
    pub struct OffsetFetchRequestTopics<'a> {
        name: &'a str [..=9],
        topic_id: Uuid [10..],
        partition_indexes: Array<'a, i32>,
    }
}

message! {
    /// The offsets.
    pub struct OffsetFetchResponse<'a> {
        throttle_time_ms: i32 [3..],
        topics: Array<'a, OffsetFetchResponseTopic<'a>> [..=7],
        error_code: ErrorCode [2..=7],
        groups: Array<'a, OffsetFetchResponseGroup<'a>> [8..],
    }
}

message! {
    /// One topic.
    pub struct OffsetFetchResponseTopic<'a> {
        name: &'a str,
        partitions: Array<'a, OffsetFetchResponsePartition<'a>>,
    }
}

message! {
    /// One partition.
    pub struct OffsetFetchResponsePartition<'a> {
        partition_index: i32,
        /// -1 when there is none.
        committed_offset: i64,
        committed_leader_epoch: i32 [5..] = -1,
        metadata: Option<&'a str>,
        error_code: ErrorCode,
    }
}

message! {
    /// One group.
    pub struct OffsetFetchResponseGroup<'a> {
        group_id: &'a str,
        topics: Array<'a, OffsetFetchResponseTopics<'a>>,
        error_code: ErrorCode,
    }
}

message! {
    /// One topic.
    pub struct OffsetFetchResponseTopics<'a> {
        name: &'a str [..=9],
        topic_id: Uuid [10..],
        partitions: Array<'a, OffsetFetchResponsePartitions<'a>>,
    }
}

message! {
    /// One partition.
    pub struct OffsetFetchResponsePartitions<'a> {
        partition_index: i32,
        /// -1 when there is none.
        committed_offset: i64,
        committed_leader_epoch: i32 = -1,
        metadata: Option<&'a str>,
        error_code: ErrorCode,
    }
}

api! { OffsetFetch 1..=10, flexible 6; OffsetFetchRequest<'a> => OffsetFetchResponse<'r> }
