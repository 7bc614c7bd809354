//! DescribeAcls (API key 29), versions 1–3: the access rules that match a filter (KIP-140).
//!
//! Version notes: v1 pattern types (KIP-290) · v2 flexible · v3 user resources (KIP-373). Not
//! supported: v0 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// The filter; null matches anything.
    pub struct DescribeAclsRequest<'a> {
        resource_type_filter: i8,
        resource_name_filter: Option<&'a str>,
        /// 3 literal, 4 prefixed, 1 any, 2 whatever matches the name.
        pattern_type_filter: i8 = 3,
        principal_filter: Option<&'a str>,
        host_filter: Option<&'a str>,
        operation: i8,
        permission_type: i8,
    }
}

message! {
    /// The rules that match.
    pub struct DescribeAclsResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        resources: Array<'a, DescribeAclsResource<'a>>,
    }
}

message! {
    /// One resource and its rules.
    pub struct DescribeAclsResource<'a> {
        resource_type: i8,
        resource_name: &'a str,
        pattern_type: i8 = 3,
        acls: Array<'a, AclDescription<'a>>,
    }
}

message! {
    /// One rule.
    pub struct AclDescription<'a> {
        principal: &'a str,
        host: &'a str,
        operation: i8,
        permission_type: i8,
    }
}

api! { DescribeAcls 1..=3, flexible 2; DescribeAclsRequest<'a> => DescribeAclsResponse<'r> }
