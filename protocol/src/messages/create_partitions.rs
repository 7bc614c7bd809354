//! CreatePartitions (API key 37), versions 0–3: adds partitions to topics (KIP-195).
//!
//! Version notes: v2 flexible · v3 `THROTTLING_QUOTA_EXCEEDED` (KIP-599).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Adds partitions.
    pub struct CreatePartitionsRequest<'a> {
        topics: Array<'a, CreatePartitionsTopic<'a>>,
        timeout_ms: i32,
        validate_only: bool,
    }
}

message! {
    /// One topic.
    pub struct CreatePartitionsTopic<'a> {
        name: &'a str,
        /// How many partitions there shall be in all.
        count: i32,
        /// One for each new partition; null to leave it to the broker.
        assignments: Option<Array<'a, CreatePartitionsAssignment<'a>>>,
    }
}

message! {
    /// The brokers that shall hold one partition.
    pub struct CreatePartitionsAssignment<'a> {
        broker_ids: Array<'a, i32>,
    }
}

message! {
    /// What became of each topic.
    pub struct CreatePartitionsResponse<'a> {
        throttle_time_ms: i32,
        results: Array<'a, CreatePartitionsTopicResult<'a>>,
    }
}

message! {
    /// One topic.
    pub struct CreatePartitionsTopicResult<'a> {
        name: &'a str,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
    }
}

api! { CreatePartitions 0..=3, flexible 2; CreatePartitionsRequest<'a> => CreatePartitionsResponse<'r> }
