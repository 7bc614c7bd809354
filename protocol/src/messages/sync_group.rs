//! SyncGroup (API key 14), versions 0–5: brings a member its assignment, and the coordinator the
//! leader's.
//!
//! Version notes: v1–v2 throttling · v3 static members (KIP-345) · v4 flexible · v5 protocol type
//! and name (KIP-559).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// A member; from the leader also all assignments.
    pub struct SyncGroupRequest<'a> {
        group_id: &'a str,
        generation_id: i32,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [3..],
        protocol_type: Option<&'a str> [5..],
        protocol_name: Option<&'a str> [5..],
        assignments: Array<'a, SyncGroupRequestAssignment<'a>>,
    }
}

message! {
    /// The assignment of one member.
    pub struct SyncGroupRequestAssignment<'a> {
        member_id: &'a str,
        assignment: &'a [u8],
    }
}

message! {
    /// The member's assignment.
    pub struct SyncGroupResponse<'a> {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
        protocol_type: Option<&'a str> [5..],
        protocol_name: Option<&'a str> [5..],
        assignment: &'a [u8],
    }
}

api! { SyncGroup 0..=5, flexible 4; SyncGroupRequest<'a> => SyncGroupResponse<'r> }
