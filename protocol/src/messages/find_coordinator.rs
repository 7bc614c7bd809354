//! FindCoordinator (API key 10), versions 0–4: which broker coordinates a group or a transactional
//! id.
//!
//! Version notes: v1 transaction coordinators, throttling · v2 throttling only · v3 flexible · v4
//! several keys in one request (KIP-699). Not supported: v5–v6 (error codes and share groups).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names groups or transactional ids.
    pub struct FindCoordinatorRequest<'a> {
        key: &'a str [..=3],
        /// 0 for a group, 1 for a transactional id.
        key_type: i8 [1..],
        coordinator_keys: Array<'a, &'a str> [4..],
    }
}

message! {
    /// The coordinators.
    pub struct FindCoordinatorResponse<'a> {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [..=3],
        error_message: Option<&'a str> [1..=3] = Some(""),
        node_id: i32 [..=3],
        host: &'a str [..=3],
        port: i32 [..=3],
        coordinators: Array<'a, Coordinator<'a>> [4..],
    }
}

message! {
    /// The coordinator of one key.
    pub struct Coordinator<'a> {
        key: &'a str,
        node_id: i32,
        host: &'a str,
        port: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
    }
}

api! { FindCoordinator 0..=4, flexible 3; FindCoordinatorRequest<'a> => FindCoordinatorResponse<'r> }
