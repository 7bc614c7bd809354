//! SaslHandshake (API key 17), versions 0–1: opens authentication with a SASL mechanism.
//!
//! Version notes: v1 the mechanism's tokens travel in `SaslAuthenticate` requests (KIP-152); after
//! v0 they follow as bare frames.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the mechanism.
    pub struct SaslHandshakeRequest<'a> {
        mechanism: &'a str,
    }
}

message! {
    /// Whether the broker has it, and which ones it has.
    pub struct SaslHandshakeResponse<'a> {
        error_code: ErrorCode,
        /// The mechanisms that the broker has.
        mechanisms: Array<'a, &'a str>,
    }
}

api! { SaslHandshake 0..=1, flexible i16::MAX; SaslHandshakeRequest<'a> => SaslHandshakeResponse<'r> }
