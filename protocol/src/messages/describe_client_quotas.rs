//! DescribeClientQuotas (API key 48), versions 0–1: the quotas that match a filter (KIP-546).
//!
//! Version notes: v1 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// The filter.
    pub struct DescribeClientQuotasRequest<'a> {
        components: Array<'a, ComponentData<'a>>,
        /// Leave out entities that have further parts.
        strict: bool,
    }
}

message! {
    /// What one part of an entity must be.
    pub struct ComponentData<'a> {
        entity_type: &'a str,
        /// 0 exactly the name, 1 the default, 2 any.
        match_type: i8,
        r#match: Option<&'a str>,
    }
}

message! {
    /// The quotas that match.
    pub struct DescribeClientQuotasResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        entries: Option<Array<'a, EntryData<'a>>>,
    }
}

message! {
    /// One entity and its quotas.
    pub struct EntryData<'a> {
        entity: Array<'a, EntityData<'a>>,
        values: Array<'a, ValueData<'a>>,
    }
}

message! {
    /// One part of an entity, such as a user; null is the default one.
    pub struct EntityData<'a> {
        entity_type: &'a str,
        entity_name: Option<&'a str>,
    }
}

message! {
    /// One quota.
    pub struct ValueData<'a> {
        key: &'a str,
        value: f64,
    }
}

api! { DescribeClientQuotas 0..=1, flexible 1; DescribeClientQuotasRequest<'a> => DescribeClientQuotasResponse<'r> }
