//! IncrementalAlterConfigs (API key 44), versions 0–1: changes single configs (KIP-339).
//!
//! Version notes: v1 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Changes configs; those not named stay as they are.
    pub struct IncrementalAlterConfigsRequest<'a> {
        resources: Array<'a, IncrementalAlterConfigsResource<'a>>,
        validate_only: bool,
    }
}

message! {
    /// One resource.
    pub struct IncrementalAlterConfigsResource<'a> {
        /// 2 for a topic, 4 for a broker.
        resource_type: i8,
        resource_name: &'a str,
        configs: Array<'a, IncrementalAlterableConfig<'a>>,
    }
}

message! {
    /// One config.
    pub struct IncrementalAlterableConfig<'a> {
        name: &'a str,
        /// 0 sets, 1 deletes, 2 appends to a list, 3 takes from a list.
        config_operation: i8,
        value: Option<&'a str>,
    }
}

message! {
    /// What became of each resource.
    pub struct IncrementalAlterConfigsResponse<'a> {
        throttle_time_ms: i32,
        responses: Array<'a, IncrementalAlterConfigsResourceResponse<'a>>,
    }
}

message! {
    /// One resource.
    pub struct IncrementalAlterConfigsResourceResponse<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        resource_type: i8,
        resource_name: &'a str,
    }
}

api! { IncrementalAlterConfigs 0..=1, flexible 1; IncrementalAlterConfigsRequest<'a> => IncrementalAlterConfigsResponse<'r> }
