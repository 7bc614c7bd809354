//! DescribeGroups (API key 15), versions 0–6: members and state of classic groups.
//!
//! Version notes: v1–v2 throttling only · v3 authorised operations · v4 static members (KIP-345) ·
//! v5 flexible · v6 `GROUP_ID_NOT_FOUND` instead of state `Dead` (KIP-1043).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the groups.
    pub struct DescribeGroupsRequest<'a> {
        groups: Array<'a, &'a str>,
        include_authorized_operations: bool [3..],
    }
}

message! {
    /// The groups.
    pub struct DescribeGroupsResponse<'a> {
        throttle_time_ms: i32 [1..],
        groups: Array<'a, DescribedGroup<'a>>,
    }
}

message! {
    /// One group.
    pub struct DescribedGroup<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str> [6..],
        group_id: &'a str,
        group_state: &'a str,
        protocol_type: &'a str,
        protocol_data: &'a str,
        members: Array<'a, DescribedGroupMember<'a>>,
        authorized_operations: i32 [3..] = i32::MIN,
    }
}

message! {
    /// One member.
    pub struct DescribedGroupMember<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str> [4..],
        client_id: &'a str,
        client_host: &'a str,
        member_metadata: &'a [u8],
        member_assignment: &'a [u8],
    }
}

api! { DescribeGroups 0..=6, flexible 5; DescribeGroupsRequest<'a> => DescribeGroupsResponse<'r> }
