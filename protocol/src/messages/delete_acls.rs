//! DeleteAcls (API key 31), versions 1–3: removes the access rules that match filters (KIP-140).
//!
//! Version notes: v1 pattern types (KIP-290) · v2 flexible · v3 user resources (KIP-373). Not
//! supported: v0 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// The filters.
    pub struct DeleteAclsRequest<'a> {
        filters: Array<'a, DeleteAclsFilter<'a>>,
    }
}

message! {
    /// One filter; null matches anything.
    pub struct DeleteAclsFilter<'a> {
        resource_type_filter: i8,
        resource_name_filter: Option<&'a str>,
        pattern_type_filter: i8 = 3,
        principal_filter: Option<&'a str>,
        host_filter: Option<&'a str>,
        operation: i8,
        permission_type: i8,
    }
}

message! {
    /// What each filter removed, in the order of the request.
    pub struct DeleteAclsResponse<'a> {
        throttle_time_ms: i32,
        filter_results: Array<'a, DeleteAclsFilterResult<'a>>,
    }
}

message! {
    /// One filter.
    pub struct DeleteAclsFilterResult<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        matching_acls: Array<'a, DeleteAclsMatchingAcl<'a>>,
    }
}

message! {
    /// One rule that matched.
    pub struct DeleteAclsMatchingAcl<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        resource_type: i8,
        resource_name: &'a str,
        pattern_type: i8 = 3,
        principal: &'a str,
        host: &'a str,
        operation: i8,
        permission_type: i8,
    }
}

api! { DeleteAcls 1..=3, flexible 2; DeleteAclsRequest<'a> => DeleteAclsResponse<'r> }
