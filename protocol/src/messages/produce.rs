//! Produce (API key 0), versions 3–13: appends record batches to partitions.
//!
//! Version notes: v3 record batches of magic 2, transactional id · v4 `KAFKA_STORAGE_ERROR` ·
//! v5 log start offset · v7 zstd (KIP-110) · v8 which records are at fault (KIP-467) ·
//! v9 flexible · v10 the current leader (KIP-951) · v11 `TRANSACTION_ABORTABLE` (KIP-890) ·
//! v12 partitions join a transaction implicitly (KIP-890) · v13 topics by id (KIP-516).
//! Not supported: v0–v2 (message formats before magic 2, removed in Kafka 4.0).
//!
//! A request with `acks` 0 is not answered at all.

use super::leaders::{LeaderIdAndEpoch, NodeEndpoint};
use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Records, Uuid, message},
};

message! {
    /// Appends record batches.
    pub struct ProduceRequest<'a> {
        transactional_id: Option<&'a str>,
        /// How many replicas must have the records before the answer: 0, 1, or -1 for all in sync.
        acks: i16,
        timeout_ms: i32,
        topic_data: Array<'a, ProduceRequestTopic<'a>>,
    }
}

message! {
    /// One topic, by name or (from version 13) by id.
    pub struct ProduceRequestTopic<'a> {
        name: &'a str [..=12],
        topic_id: Uuid [13..],
        partition_data: Array<'a, ProduceRequestPartition<'a>>,
    }
}

message! {
    /// One partition, with exactly one record batch.
    pub struct ProduceRequestPartition<'a> {
        index: i32,
        records: Option<Records<'a>>,
    }
}

message! {
    /// What became of each partition's records.
    pub struct ProduceResponse<'a> {
        responses: Array<'a, ProduceResponseTopic<'a>>,
        throttle_time_ms: i32,
        ;
        0 => node_endpoints: Array<'a, NodeEndpoint<'a>> [10..],
    }
}

message! {
    /// One topic, by name or (from version 13) by id.
    pub struct ProduceResponseTopic<'a> {
        name: &'a str [..=12],
        topic_id: Uuid [13..],
        partition_responses: Array<'a, ProduceResponsePartition<'a>>,
    }
}

message! {
    /// One partition.
    pub struct ProduceResponsePartition<'a> {
        index: i32,
        error_code: ErrorCode,
        base_offset: i64,
        /// When the broker appended the batch; -1 for topics that keep the producer's time.
        log_append_time_ms: i64 = -1,
        log_start_offset: i64 [5..] = -1,
        record_errors: Array<'a, ProduceResponseRecordError<'a>> [8..],
        error_message: Option<&'a str> [8..],
        ;
        0 => current_leader: LeaderIdAndEpoch [10..],
    }
}

message! {
    /// One record that made its whole batch fail.
    pub struct ProduceResponseRecordError<'a> {
        batch_index: i32,
        batch_index_error_message: Option<&'a str>,
    }
}

api! { Produce 3..=13, flexible 9; ProduceRequest<'a> => ProduceResponse<'r> }
