//! SaslHandshake and SaslAuthenticate: who is at the other end (KIP-43, KIP-152).
//!
//! The only mechanism is PLAIN. Source: `SaslServerAuthenticator`, `PlainSaslServer`.

use bytes::Bytes;
use kmirror_protocol::{
    ApiKey, ErrorCode,
    messages::{
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse,
    },
};

use super::{Call, Outcome};
use crate::sandbox::client::{Client, Sasl, User};

const PLAIN: &str = "PLAIN";

/// What a client hears whose name or password is wrong; it does not say which.
const FAILED: &str = "Authentication failed: Invalid username or password";

/// Whether a connection may send this request now, where clients must say who they are.
///
/// # Errors
///
/// Why the connection must be closed.
pub(super) fn check(users: &[User], client: &Client, key: ApiKey) -> Result<(), String> {
    if users.is_empty() || client.sasl == Sasl::Done {
        return Ok(());
    }
    match (client.sasl, key) {
        (Sasl::Begun, ApiKey::ApiVersions | ApiKey::SaslHandshake)
        | (Sasl::Chosen, ApiKey::SaslAuthenticate) => Ok(()),
        (state, key) => Err(format!("{key} is not expected while SASL is {state:?}")),
    }
}

/// Answers a handshake; also how far the connection has come then.
pub(super) fn handshake(
    users: &[User],
    call: &Call<'_>,
    request: &SaslHandshakeRequest<'_>,
) -> (Outcome, Sasl) {
    let state = call.client.sasl;
    let (error_code, state) = match request.mechanism {
        _ if users.is_empty() || state == Sasl::Done => (ErrorCode::ILLEGAL_SASL_STATE, state),
        PLAIN if call.version() == 0 => (ErrorCode::NONE, Sasl::ChosenBare),
        PLAIN => (ErrorCode::NONE, Sasl::Chosen),
        _ => (ErrorCode::UNSUPPORTED_SASL_MECHANISM, Sasl::Refused),
    };
    let mechanisms = if users.is_empty() {
        vec![]
    } else {
        vec![PLAIN]
    };
    let response = SaslHandshakeResponse {
        error_code,
        mechanisms: mechanisms.into_iter().collect(),
    };
    (call.reply::<SaslHandshakeRequest<'_>>(&response), state)
}

/// Answers a token; also the principal, if it is right.
pub(super) fn authenticate(
    users: &[User],
    call: &Call<'_>,
    request: &SaslAuthenticateRequest<'_>,
) -> (Outcome, Option<String>) {
    let illegal = users.is_empty() || call.client.sasl == Sasl::Done;
    let principal = principal(users, request.auth_bytes.0).filter(|_| !illegal);
    let (error_code, error_message) = match &principal {
        _ if illegal => (
            ErrorCode::ILLEGAL_SASL_STATE,
            Some("SASL is not under way."),
        ),
        Some(_) => (ErrorCode::NONE, None),
        None => (ErrorCode::SASL_AUTHENTICATION_FAILED, Some(FAILED)),
    };
    let response = SaslAuthenticateResponse {
        error_code,
        error_message,
        ..Default::default()
    };
    let outcome = call.reply::<SaslAuthenticateRequest<'_>>(&response);
    (outcome, principal)
}

/// Answers a token that comes as a bare frame: with an empty one, or not at all.
pub(super) fn authenticate_bare(users: &[User], client: &mut Client, token: &[u8]) -> Outcome {
    match principal(users, token) {
        Some(principal) => {
            client.principal = principal;
            client.sasl = Sasl::Done;
            Outcome::Reply(vec![Bytes::from_static(&[0; 4])])
        }
        None => Outcome::Close(FAILED.to_owned()),
    }
}

/// Whose token it is: an identity to act as, a name and a password, parted by zero bytes (RFC 4616).
fn principal(users: &[User], token: &[u8]) -> Option<String> {
    let mut parts = token.split(|byte| *byte == 0);
    let parts = [parts.next()?, parts.next()?, parts.next()?];
    let [act_as, name, password] = parts;
    let user = users.iter().find(|user| user.name.as_bytes() == name)?;
    let is_right = user.password.as_bytes() == password
        && (act_as.is_empty() || act_as == name)
        && token.len() == act_as.len() + name.len() + password.len() + 2;
    is_right.then(|| format!("User:{}", user.name))
}
