//! DeleteRecords (API key 21), versions 0–2: moves the start of logs forward (KIP-107).
//!
//! Version notes: v2 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Deletes records; each partition's leader must be asked.
    pub struct DeleteRecordsRequest<'a> {
        topics: Array<'a, DeleteRecordsTopic<'a>>,
        timeout_ms: i32,
    }
}

message! {
    /// One topic.
    pub struct DeleteRecordsTopic<'a> {
        name: &'a str,
        partitions: Array<'a, DeleteRecordsPartition>,
    }
}

message! {
    /// One partition.
    pub struct DeleteRecordsPartition {
        partition_index: i32,
        /// The first offset to keep; -1 for the high watermark.
        offset: i64,
    }
}

message! {
    /// Where each log starts now.
    pub struct DeleteRecordsResponse<'a> {
        throttle_time_ms: i32,
        topics: Array<'a, DeleteRecordsTopicResult<'a>>,
    }
}

message! {
    /// One topic.
    pub struct DeleteRecordsTopicResult<'a> {
        name: &'a str,
        partitions: Array<'a, DeleteRecordsPartitionResult>,
    }
}

message! {
    /// One partition.
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32,
        /// The least log start offset among the replicas.
        low_watermark: i64,
        error_code: ErrorCode,
    }
}

api! { DeleteRecords 0..=2, flexible 2; DeleteRecordsRequest<'a> => DeleteRecordsResponse<'r> }
