//! EndTxn (API key 26), versions 0–5: commits or aborts a transaction (KIP-98).
//!
//! Version notes: v1–v2 other error codes and throttling only · v3 flexible · v4
//! `TRANSACTION_ABORTABLE` · v5 the answer brings the producer id and epoch to go on with
//! (KIP-890). Version 5 may be used only where the feature `transaction.version` is finalized at 2
//! or above.

use crate::{ErrorCode, api::api, wire::message};

message! {
    /// Ends the transaction that is open.
    pub struct EndTxnRequest<'a> {
        transactional_id: &'a str,
        producer_id: i64,
        producer_epoch: i16,
        /// Whether to commit; else it is aborted.
        committed: bool,
    }
}

message! {
    /// What became of it.
    pub struct EndTxnResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        producer_id: i64 [5..] = -1,
        producer_epoch: i16 [5..] = -1,
    }
}

api! { EndTxn 0..=5, flexible 3; EndTxnRequest<'a> => EndTxnResponse }
