//! AddOffsetsToTxn (API key 25), versions 0–4: adds a group's committed offsets to a transaction
//! (KIP-98).
//!
//! Version notes: v1–v2 other error codes and throttling only · v3 flexible · v4
//! `TRANSACTION_ABORTABLE` (KIP-890).

use crate::{ErrorCode, api::api, wire::message};

message! {
    /// Names the group.
    pub struct AddOffsetsToTxnRequest<'a> {
        transactional_id: &'a str,
        producer_id: i64,
        producer_epoch: i16,
        group_id: &'a str,
    }
}

message! {
    /// What became of it.
    pub struct AddOffsetsToTxnResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
    }
}

api! { AddOffsetsToTxn 0..=4, flexible 3; AddOffsetsToTxnRequest<'a> => AddOffsetsToTxnResponse }
