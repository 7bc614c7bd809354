//! ListTransactions (API key 66), versions 0–2: the transactions of one coordinator.
//!
//! Version notes: v0 flexible (KIP-664) · v1 filter by duration (KIP-994) · v2 filter by pattern
//! (KIP-1152).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Filters; an empty one matches all.
    pub struct ListTransactionsRequest<'a> {
        state_filters: Array<'a, &'a str>,
        producer_id_filters: Array<'a, i64>,
        /// Only those that have run longer, in milliseconds; negative for all.
        duration_filter: i64 [1..] = -1,
        transactional_id_pattern: Option<&'a str> [2..],
    }
}

message! {
    /// The transactions that match.
    pub struct ListTransactionsResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        /// States of the filter that the broker does not know.
        unknown_state_filters: Array<'a, &'a str>,
        transaction_states: Array<'a, TransactionState<'a>>,
    }
}

message! {
    /// One transactional id.
    pub struct TransactionState<'a> {
        transactional_id: &'a str,
        producer_id: i64,
        transaction_state: &'a str,
    }
}

api! { ListTransactions 0..=2, flexible 0; ListTransactionsRequest<'a> => ListTransactionsResponse<'r> }
