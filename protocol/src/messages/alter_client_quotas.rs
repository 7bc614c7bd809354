//! AlterClientQuotas (API key 49), versions 0–1: sets and removes quotas (KIP-546).
//!
//! Version notes: v1 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// The changes.
    pub struct AlterClientQuotasRequest<'a> {
        entries: Array<'a, EntryData<'a>>,
        validate_only: bool,
    }
}

message! {
    /// One entity.
    pub struct EntryData<'a> {
        entity: Array<'a, EntityData<'a>>,
        ops: Array<'a, OpData<'a>>,
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
    /// One quota to set or remove.
    pub struct OpData<'a> {
        key: &'a str,
        value: f64,
        remove: bool,
    }
}

message! {
    /// What became of each entity.
    pub struct AlterClientQuotasResponse<'a> {
        throttle_time_ms: i32,
        entries: Array<'a, EntryResult<'a>>,
    }
}

message! {
    /// One entity.
    pub struct EntryResult<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        entity: Array<'a, EntityData<'a>>,
    }
}

api! { AlterClientQuotas 0..=1, flexible 1; AlterClientQuotasRequest<'a> => AlterClientQuotasResponse<'r> }
