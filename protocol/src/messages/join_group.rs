//! JoinGroup (API key 11), versions 0–9: makes a member take part in a group's next generation.
//!
//! Version notes: v1 rebalance timeout · v2 throttling · v4 a member id is asked for first
//! (KIP-394) · v5 static members (KIP-345) · v6 flexible · v7 protocol type in answers (KIP-559) ·
//! v8 reason (KIP-800) · v9 the leader may skip the assignment (KIP-814).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// A member and what it can do.
    pub struct JoinGroupRequest<'a> {
        group_id: &'a str,
        session_timeout_ms: i32,
        rebalance_timeout_ms: i32 [1..] = -1,
        /// Empty when the member joins for the first time.
        member_id: &'a str,
        group_instance_id: Option<&'a str> [5..],
        protocol_type: &'a str,
        /// By preference, the best first.
        protocols: Array<'a, JoinGroupRequestProtocol<'a>>,
        reason: Option<&'a str> [8..],
    }
}

message! {
    /// A way of assigning, with what the member says for it.
    pub struct JoinGroupRequestProtocol<'a> {
        name: &'a str,
        metadata: &'a [u8],
    }
}

message! {
    /// The generation; for its leader also all members.
    pub struct JoinGroupResponse<'a> {
        throttle_time_ms: i32 [2..],
        error_code: ErrorCode,
        generation_id: i32 = -1,
        protocol_type: Option<&'a str> [7..],
        protocol_name: Option<&'a str>,
        leader: &'a str,
        /// The leader keeps the assignment of the last generation.
        skip_assignment: bool [9..],
        member_id: &'a str,
        /// Empty but for the leader.
        members: Array<'a, JoinGroupResponseMember<'a>>,
    }
}

message! {
    /// One member.
    pub struct JoinGroupResponseMember<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str> [5..],
        metadata: &'a [u8],
    }
}

api! { JoinGroup 0..=9, flexible 6; JoinGroupRequest<'a> => JoinGroupResponse<'r> }
