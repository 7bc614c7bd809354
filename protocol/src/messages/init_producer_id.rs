//! InitProducerId (API key 22), versions 0–5: an id for an idempotent or transactional producer.
//!
//! Version notes: v2 flexible · v3 a producer's own id and epoch, so that it may go on with them
//! (KIP-360) · v4 `PRODUCER_FENCED` (KIP-588) · v5 `TRANSACTION_ABORTABLE` (KIP-890).
//! Not supported: v6 (two-phase commit, KIP-939).

use crate::{ErrorCode, api::api, wire::message};

message! {
    /// Asks for a producer id.
    pub struct InitProducerIdRequest<'a> {
        /// Null for a producer that is idempotent only.
        transactional_id: Option<&'a str>,
        transaction_timeout_ms: i32,
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }
}

message! {
    /// The producer id, or why there is none.
    pub struct InitProducerIdResponse {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        producer_id: i64 = -1,
        producer_epoch: i16,
    }
}

api! { InitProducerId 0..=5, flexible 2; InitProducerIdRequest<'a> => InitProducerIdResponse }
