//! AddPartitionsToTxn (API key 24), versions 0–3: adds partitions to a transaction (KIP-98).
//!
//! Version notes: v1–v2 other error codes and throttling only · v3 flexible. Not supported: v4–v5
//! (batched, between brokers only, KIP-890).

use crate::{
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the partitions that are about to be written.
    pub struct AddPartitionsToTxnRequest<'a> {
        v3_and_below_transactional_id: &'a str,
        v3_and_below_producer_id: i64,
        v3_and_below_producer_epoch: i16,
        v3_and_below_topics: Array<'a, AddPartitionsToTxnTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct AddPartitionsToTxnTopic<'a> {
        name: &'a str,
        partitions: Array<'a, i32>,
    }
}

message! {
    /// What became of each.
    pub struct AddPartitionsToTxnResponse<'a> {
        throttle_time_ms: i32,
        results_by_topic_v3_and_below: Array<'a, AddPartitionsToTxnTopicResult<'a>>,
    }
}

message! {
    /// One topic.
    pub struct AddPartitionsToTxnTopicResult<'a> {
        name: &'a str,
        results_by_partition: Array<'a, AddPartitionsToTxnPartitionResult>,
    }
}

message! {
    /// One partition.
    pub struct AddPartitionsToTxnPartitionResult {
        partition_index: i32,
        partition_error_code: i16,
    }
}

api! { AddPartitionsToTxn 0..=3, flexible 3; AddPartitionsToTxnRequest<'a> => AddPartitionsToTxnResponse<'r> }
