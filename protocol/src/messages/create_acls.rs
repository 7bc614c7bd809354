//! CreateAcls (API key 30), versions 1–3: adds access rules (KIP-140).
//!
//! Version notes: v1 pattern types (KIP-290) · v2 flexible · v3 user resources (KIP-373). Not
//! supported: v0 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// The rules to add.
    pub struct CreateAclsRequest<'a> {
        creations: Array<'a, AclCreation<'a>>,
    }
}

message! {
    /// One rule.
    pub struct AclCreation<'a> {
        resource_type: i8,
        resource_name: &'a str,
        /// 3 literal, 4 prefixed.
        resource_pattern_type: i8 = 3,
        principal: &'a str,
        host: &'a str,
        operation: i8,
        /// 2 deny, 3 allow.
        permission_type: i8,
    }
}

message! {
    /// What became of each, in the order of the request.
    pub struct CreateAclsResponse<'a> {
        throttle_time_ms: i32,
        results: Array<'a, AclCreationResult<'a>>,
    }
}

message! {
    /// One rule.
    pub struct AclCreationResult<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
    }
}

api! { CreateAcls 1..=3, flexible 2; CreateAclsRequest<'a> => CreateAclsResponse<'r> }
