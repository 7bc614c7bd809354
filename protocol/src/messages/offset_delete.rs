//! OffsetDelete (API key 47), version 0: deletes committed offsets of a group (KIP-496).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the partitions.
    pub struct OffsetDeleteRequest<'a> {
        group_id: &'a str,
        topics: Array<'a, OffsetDeleteRequestTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct OffsetDeleteRequestTopic<'a> {
        name: &'a str,
        partitions: Array<'a, OffsetDeleteRequestPartition>,
    }
}

message! {
    /// One partition.
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32,
    }
}

message! {
    /// What became of each.
    pub struct OffsetDeleteResponse<'a> {
        error_code: ErrorCode,
        throttle_time_ms: i32,
        topics: Array<'a, OffsetDeleteResponseTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct OffsetDeleteResponseTopic<'a> {
        name: &'a str,
        partitions: Array<'a, OffsetDeleteResponsePartition>,
    }
}

message! {
    /// One partition.
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32,
        error_code: ErrorCode,
    }
}

api! { OffsetDelete 0..=0, flexible i16::MAX; OffsetDeleteRequest<'a> => OffsetDeleteResponse<'r> }
