//! ListGroups (API key 16), versions 0–5: the groups of one coordinator.
//!
//! Version notes: v1–v2 throttling only · v3 flexible · v4 filter by state (KIP-518) · v5 filter by
//! type (KIP-848).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Filters; an empty one matches all.
    pub struct ListGroupsRequest<'a> {
        states_filter: Array<'a, &'a str> [4..],
        types_filter: Array<'a, &'a str> [5..],
    }
}

message! {
    /// The groups that match.
    pub struct ListGroupsResponse<'a> {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode,
        groups: Array<'a, ListedGroup<'a>>,
    }
}

message! {
    /// One group.
    pub struct ListedGroup<'a> {
        group_id: &'a str,
        protocol_type: &'a str,
        group_state: &'a str [4..],
        group_type: &'a str [5..],
    }
}

api! { ListGroups 0..=5, flexible 3; ListGroupsRequest<'a> => ListGroupsResponse<'r> }
