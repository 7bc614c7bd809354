//! Heartbeat (API key 12), versions 0–4: keeps a member of a group alive.
//!
//! Version notes: v1–v2 throttling · v3 static members (KIP-345) · v4 flexible.

use crate::{ErrorCode, api::api, wire::message};

message! {
    /// A sign of life of one member.
    pub struct HeartbeatRequest<'a> {
        group_id: &'a str,
        generation_id: i32,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [3..],
    }
}

message! {
    /// Whether the member may go on as it is.
    pub struct HeartbeatResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
    }
}

api! { Heartbeat 0..=4, flexible 4; HeartbeatRequest<'a> => HeartbeatResponse }
