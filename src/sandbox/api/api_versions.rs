//! ApiVersions: which APIs and versions are served.

use kmirror_protocol::{
    ApiKey, ErrorCode,
    api::IMPLEMENTED,
    frame,
    messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions::ApiVersion},
};

use super::{Call, Outcome, SERVED};
use kmirror_protocol::Request as _;

/// Answers, or says why the connection must be closed.
///
/// A version that is not served is answered in version 0, with the versions of this very API
/// (KIP-511).
pub(super) fn handle(call: &Call<'_>) -> Result<Outcome, String> {
    if !ApiVersionsRequest::VERSIONS.contains(&call.version()) {
        return Ok(refuse(call));
    }
    let request: ApiVersionsRequest<'_> = call.decode()?;
    let is_named = call.version() < 3
        || is_valid_software(request.client_software_name)
            && is_valid_software(request.client_software_version);
    let response = if is_named {
        ApiVersionsResponse {
            api_keys: versions(|key| SERVED.contains(&key)).into(),
            ..Default::default()
        }
    } else {
        ApiVersionsResponse {
            error_code: ErrorCode::INVALID_REQUEST,
            ..Default::default()
        }
    };
    Ok(call.reply::<ApiVersionsRequest<'_>>(&response))
}

fn refuse(call: &Call<'_>) -> Outcome {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: versions(|key| key == ApiKey::ApiVersions).into(),
        ..Default::default()
    };
    let id = call.header.correlation_id;
    match frame::encode_response::<ApiVersionsRequest<'_>>(&response, 0, id) {
        Ok(pieces) => Outcome::Reply(pieces),
        Err(fault) => Outcome::Close(fault.to_string()),
    }
}

fn versions(is_wanted: impl Fn(ApiKey) -> bool) -> Vec<ApiVersion> {
    let wanted = IMPLEMENTED.iter().filter(|api| is_wanted(api.key));
    wanted
        .map(|api| ApiVersion {
            api_key: api.key.number(),
            min_version: *api.versions.start(),
            max_version: *api.versions.end(),
        })
        .collect()
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
