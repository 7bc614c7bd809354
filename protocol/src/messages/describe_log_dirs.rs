//! DescribeLogDirs (API key 35), versions 1–4: what a broker's log directories hold (KIP-113).
//!
//! Version notes: v2 flexible · v3 error code of the whole answer · v4 size of the volume
//! (KIP-827). Not supported: v0 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the partitions; null for all.
    pub struct DescribeLogDirsRequest<'a> {
        topics: Option<Array<'a, DescribableLogDirTopic<'a>>>,
    }
}

message! {
    /// One topic.
    pub struct DescribableLogDirTopic<'a> {
        topic: &'a str,
        partitions: Array<'a, i32>,
    }
}

message! {
    /// The directories.
    pub struct DescribeLogDirsResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode [3..],
        results: Array<'a, DescribeLogDirsResult<'a>>,
    }
}

message! {
    /// One directory.
    pub struct DescribeLogDirsResult<'a> {
        error_code: ErrorCode,
        log_dir: &'a str,
        topics: Array<'a, DescribeLogDirsTopic<'a>>,
        total_bytes: i64 [4..] = -1,
        usable_bytes: i64 [4..] = -1,
    }
}

message! {
    /// One topic.
    pub struct DescribeLogDirsTopic<'a> {
        name: &'a str,
        partitions: Array<'a, DescribeLogDirsPartition>,
    }
}

message! {
    /// One partition.
    pub struct DescribeLogDirsPartition {
        partition_index: i32,
        partition_size: i64,
        /// How far the replica's log end is behind the high watermark.
        offset_lag: i64,
        is_future_key: bool,
    }
}

api! { DescribeLogDirs 1..=4, flexible 2; DescribeLogDirsRequest<'a> => DescribeLogDirsResponse<'r> }
