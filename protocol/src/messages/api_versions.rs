//! ApiVersions (API key 18), versions 0–4: which APIs a broker serves, and which features it has.
//!
//! Version notes: v1 throttle time · v3 flexible, client software, features (KIP-511, KIP-584) ·
//! v4 features whose lowest version is 0 (KIP-1022). The response header is always version 0; a
//! broker answers a version it does not know with a v0 body and `UNSUPPORTED_VERSION`.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Asks for what a broker serves.
    pub struct ApiVersionsRequest<'a> {
        client_software_name: &'a str [3..],
        client_software_version: &'a str [3..],
    }
}

message! {
    /// What a broker serves.
    pub struct ApiVersionsResponse<'a> {
        error_code: ErrorCode,
        api_keys: Array<'a, ApiVersion>,
        throttle_time_ms: i32 [1..],
        ;
        0 => supported_features: Array<'a, SupportedFeature<'a>>,
        1 => finalized_features_epoch: i64 = -1,
        2 => finalized_features: Array<'a, FinalizedFeature<'a>>,
        3 => zk_migration_ready: bool,
    }
}

message! {
    /// The versions of one API, both ends included.
    pub struct ApiVersion {
        api_key: i16,
        min_version: i16,
        max_version: i16,
    }
}

message! {
    /// A feature that the broker could run.
    pub struct SupportedFeature<'a> {
        name: &'a str,
        min_version: i16,
        max_version: i16,
    }
}

message! {
    /// A feature that the whole cluster runs.
    pub struct FinalizedFeature<'a> {
        name: &'a str,
        max_version_level: i16,
        min_version_level: i16,
    }
}

api! { ApiVersions 0..=4, flexible 3; ApiVersionsRequest<'a> => ApiVersionsResponse<'r> }
