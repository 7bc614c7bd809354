//! DescribeConfigs (API key 32), versions 1–4: configs of topics, brokers and other resources.
//!
//! Version notes: v1 where a value comes from, synonyms (KIP-226) · v3 type and documentation
//! (KIP-569) · v4 flexible. Not supported: v0 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Asks for configs.
    pub struct DescribeConfigsRequest<'a> {
        resources: Array<'a, DescribeConfigsResource<'a>>,
        include_synonyms: bool,
        include_documentation: bool [3..],
    }
}

message! {
    /// One resource.
    pub struct DescribeConfigsResource<'a> {
        /// 2 for a topic, 4 for a broker.
        resource_type: i8,
        resource_name: &'a str,
        /// Which configs; null for all.
        configuration_keys: Option<Array<'a, &'a str>>,
    }
}

message! {
    /// The configs.
    pub struct DescribeConfigsResponse<'a> {
        throttle_time_ms: i32,
        results: Array<'a, DescribeConfigsResult<'a>>,
    }
}

message! {
    /// One resource.
    pub struct DescribeConfigsResult<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        resource_type: i8,
        resource_name: &'a str,
        configs: Array<'a, DescribeConfigsResourceResult<'a>>,
    }
}

message! {
    /// One config.
    pub struct DescribeConfigsResourceResult<'a> {
        name: &'a str,
        /// Null for values that are secret, and for those that have none.
        value: Option<&'a str>,
        read_only: bool,
        /// 1 for a value set on the topic itself, 5 for the default of the software.
        config_source: i8 = -1,
        is_sensitive: bool,
        synonyms: Array<'a, DescribeConfigsSynonym<'a>>,
        config_type: i8 [3..],
        documentation: Option<&'a str> [3..] = Some(""),
    }
}

message! {
    /// A place that the value could have come from, the effective one first.
    pub struct DescribeConfigsSynonym<'a> {
        name: &'a str,
        value: Option<&'a str>,
        source: i8,
    }
}

api! { DescribeConfigs 1..=4, flexible 4; DescribeConfigsRequest<'a> => DescribeConfigsResponse<'r> }
