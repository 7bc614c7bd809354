//! AlterConfigs (API key 33), versions 0–2: replaces all configs of a resource;
//! `IncrementalAlterConfigs` is its successor.
//!
//! Version notes: v1 throttling only · v2 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Whole sets of configs.
    pub struct AlterConfigsRequest<'a> {
        resources: Array<'a, AlterConfigsResource<'a>>,
        validate_only: bool,
    }
}

message! {
    /// One resource.
    pub struct AlterConfigsResource<'a> {
        resource_type: i8,
        resource_name: &'a str,
        configs: Array<'a, AlterableConfig<'a>>,
    }
}

message! {
    /// One config.
    pub struct AlterableConfig<'a> {
        name: &'a str,
        value: Option<&'a str>,
    }
}

message! {
    /// What became of each resource.
    pub struct AlterConfigsResponse<'a> {
        throttle_time_ms: i32,
        responses: Array<'a, AlterConfigsResourceResponse<'a>>,
    }
}

message! {
    /// One resource.
    pub struct AlterConfigsResourceResponse<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        resource_type: i8,
        resource_name: &'a str,
    }
}

api! { AlterConfigs 0..=2, flexible 2; AlterConfigsRequest<'a> => AlterConfigsResponse<'r> }
