//! DescribeTransactions (API key 65), version 0: what a transaction coordinator knows of
//! transactions.
//!
//! Version notes: v0 flexible (KIP-664).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the transactional ids.
    pub struct DescribeTransactionsRequest<'a> {
        transactional_ids: Array<'a, &'a str>,
    }
}

message! {
    /// What is known of each.
    pub struct DescribeTransactionsResponse<'a> {
        throttle_time_ms: i32,
        transaction_states: Array<'a, TransactionState<'a>>,
    }
}

message! {
    /// One transactional id.
    pub struct TransactionState<'a> {
        error_code: ErrorCode,
        transactional_id: &'a str,
        transaction_state: &'a str,
        transaction_timeout_ms: i32,
        transaction_start_time_ms: i64,
        producer_id: i64,
        producer_epoch: i16,
        topics: Array<'a, TopicData<'a>>,
    }
}

message! {
    /// One topic that the transaction writes.
    pub struct TopicData<'a> {
        topic: &'a str,
        partitions: Array<'a, i32>,
    }
}

api! { DescribeTransactions 0..=0, flexible 0; DescribeTransactionsRequest<'a> => DescribeTransactionsResponse<'r> }
