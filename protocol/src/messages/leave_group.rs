//! LeaveGroup (API key 13), versions 0–5: takes members out of a group.
//!
//! Version notes: v1–v2 throttling · v3 several members, static ones too (KIP-345) · v4 flexible ·
//! v5 reason (KIP-800).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names one member, or (from version 3) several.
    pub struct LeaveGroupRequest<'a> {
        group_id: &'a str,
        member_id: &'a str [..=2],
        members: Array<'a, MemberIdentity<'a>> [3..],
    }
}

message! {
    /// One member.
    pub struct MemberIdentity<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str>,
        reason: Option<&'a str> [5..],
    }
}

message! {
    /// What became of each.
    pub struct LeaveGroupResponse<'a> {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
        members: Array<'a, MemberResponse<'a>> [3..],
    }
}

message! {
    /// One member.
    pub struct MemberResponse<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str>,
        error_code: ErrorCode,
    }
}

api! { LeaveGroup 0..=5, flexible 4; LeaveGroupRequest<'a> => LeaveGroupResponse<'r> }
