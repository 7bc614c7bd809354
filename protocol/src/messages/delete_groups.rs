//! DeleteGroups (API key 42), versions 0–2: deletes groups that have no members (KIP-229).
//!
//! Version notes: v1 throttling only · v2 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the groups.
    pub struct DeleteGroupsRequest<'a> {
        groups_names: Array<'a, &'a str>,
    }
}

message! {
    /// What became of each.
    pub struct DeleteGroupsResponse<'a> {
        throttle_time_ms: i32,
        results: Array<'a, DeletableGroupResult<'a>>,
    }
}

message! {
    /// One group.
    pub struct DeletableGroupResult<'a> {
        group_id: &'a str,
        error_code: ErrorCode,
    }
}

api! { DeleteGroups 0..=2, flexible 2; DeleteGroupsRequest<'a> => DeleteGroupsResponse<'r> }
