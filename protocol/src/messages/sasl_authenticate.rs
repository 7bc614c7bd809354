//! SaslAuthenticate (API key 36), versions 0–2: carries one token of a SASL exchange.
//!
//! Version notes: v1 session lifetime (KIP-368) · v2 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Secret, message},
};

message! {
    /// A token of the client.
    pub struct SaslAuthenticateRequest<'a> {
        auth_bytes: Secret<'a>,
    }
}

message! {
    /// A token of the broker, or why it refuses.
    pub struct SaslAuthenticateResponse<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        auth_bytes: Secret<'a>,
        /// After how long the client must authenticate again; 0 is never.
        session_lifetime_ms: i64 [1..],
    }
}

api! { SaslAuthenticate 0..=2, flexible 2; SaslAuthenticateRequest<'a> => SaslAuthenticateResponse<'r> }
