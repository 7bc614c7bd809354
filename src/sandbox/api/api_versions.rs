//! ApiVersions: which APIs and versions are served, and the features of the cluster.

use kmirror_protocol::{
    ApiKey, ErrorCode,
    api::IMPLEMENTED,
    frame,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse,
        api_versions::{ApiVersion, FinalizedFeature, SupportedFeature},
    },
};

use super::{Call, Outcome, unsupported};
use crate::sandbox::{ClusterOptions, profiles::Profile};

/// From this version on a feature whose lowest level is 0 may be named: older clients cannot read
/// it (KIP-1022).
const LEVEL_0_VERSION: i16 = 4;

/// The feature whose level is an option of the cluster.
const TRANSACTION_VERSION: &str = "transaction.version";

/// The lowest offset of metadata that all features are known at; any will do.
const FEATURES_EPOCH: i64 = 0;

/// Answers, or says why the connection must be closed.
///
/// A version that is not served is answered in version 0, with the versions of this very API
/// (KIP-511), unless the profile drops the connection.
pub(super) fn handle(options: &ClusterOptions, call: &Call<'_>) -> Result<Outcome, String> {
    let profile = options.profile;
    let is_served = profile
        .versions(ApiKey::ApiVersions)
        .is_some_and(|versions| versions.contains(&call.version()));
    if !is_served && profile.drops_unknown_api_versions() {
        return Err(unsupported(&call.header));
    }
    if !is_served {
        return Ok(refuse(profile, call));
    }
    let request: ApiVersionsRequest<'_> = call.decode()?;
    let is_named = call.version() < 3
        || is_valid_software(request.client_software_name)
            && is_valid_software(request.client_software_version);
    let response = if is_named {
        described(options, call.version())
    } else {
        ApiVersionsResponse {
            error_code: ErrorCode::INVALID_REQUEST,
            ..Default::default()
        }
    };
    Ok(call.reply::<ApiVersionsRequest<'_>>(&response))
}

fn described(options: &ClusterOptions, version: i16) -> ApiVersionsResponse<'static> {
    let profile = options.profile;
    let features = profile.features().iter();
    let is_told = |level: i16| level > 0 || version >= LEVEL_0_VERSION;
    let supported = features.clone().filter(|feature| is_told(feature.min));
    let supported = supported.map(|feature| SupportedFeature {
        name: feature.name,
        min_version: feature.min,
        max_version: feature.max,
    });
    let finalized = features.filter_map(|feature| {
        let level = if feature.name == TRANSACTION_VERSION {
            options.transaction_version
        } else {
            feature.finalized
        };
        // A feature at level 0 is not run, and not named.
        (level > 0).then_some(FinalizedFeature {
            name: feature.name,
            max_version_level: level,
            min_version_level: level,
        })
    });
    let all = IMPLEMENTED.iter().map(|api| api.key);
    ApiVersionsResponse {
        api_keys: all.filter_map(|key| announced(profile, key)).collect(),
        supported_features: supported.collect(),
        finalized_features: finalized.collect(),
        finalized_features_epoch: match profile.features() {
            [] => -1,
            _ => FEATURES_EPOCH,
        },
        ..Default::default()
    }
}

fn refuse(profile: Profile, call: &Call<'_>) -> Outcome {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: announced(profile, ApiKey::ApiVersions)
            .into_iter()
            .collect(),
        ..Default::default()
    };
    let id = call.header.correlation_id;
    match frame::encode_response::<ApiVersionsRequest<'_>>(&response, 0, id) {
        Ok(pieces) => Outcome::Reply(pieces),
        Err(fault) => Outcome::Close(fault.to_string()),
    }
}

fn announced(profile: Profile, key: ApiKey) -> Option<ApiVersion> {
    let (first, last) = profile.versions(key)?.into_inner();
    Some(ApiVersion {
        api_key: key.number(),
        min_version: Profile::announced_from(key, first),
        max_version: last,
    })
}

/// Whether a name or version of client software has the form of `ApiVersionsRequest.isValid`.
fn is_valid_software(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.bytes().all(is_inner)
        && ends
            .iter()
            .all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}
