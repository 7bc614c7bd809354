//! ListConfigResources (API key 74), versions 0–1: the resources that have configs.
//!
//! Version notes: v0 client metrics only (KIP-714), flexible · v1 any resource type (KIP-1142).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the types; none asks for all.
    pub struct ListConfigResourcesRequest<'a> {
        resource_types: Array<'a, i8> [1..],
    }
}

message! {
    /// The resources.
    pub struct ListConfigResourcesResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        config_resources: Array<'a, ConfigResource<'a>>,
    }
}

message! {
    /// One resource.
    pub struct ConfigResource<'a> {
        resource_name: &'a str,
        /// 16 for client metrics.
        resource_type: i8 [1..] = 16,
    }
}

api! { ListConfigResources 0..=1, flexible 0; ListConfigResourcesRequest<'a> => ListConfigResourcesResponse<'r> }
