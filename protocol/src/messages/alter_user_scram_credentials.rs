//! AlterUserScramCredentials (API key 51), version 0: sets and deletes SCRAM credentials.
//!
//! Version notes: v0 flexible (KIP-554).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Secret, message},
};

message! {
    /// What to delete and what to set.
    pub struct AlterUserScramCredentialsRequest<'a> {
        deletions: Array<'a, ScramCredentialDeletion<'a>>,
        upsertions: Array<'a, ScramCredentialUpsertion<'a>>,
    }
}

message! {
    /// One credential to delete.
    pub struct ScramCredentialDeletion<'a> {
        name: &'a str,
        mechanism: i8,
    }
}

message! {
    /// One credential to set.
    pub struct ScramCredentialUpsertion<'a> {
        name: &'a str,
        mechanism: i8,
        iterations: i32,
        salt: Secret<'a>,
        salted_password: Secret<'a>,
    }
}

message! {
    /// What became of each user.
    pub struct AlterUserScramCredentialsResponse<'a> {
        throttle_time_ms: i32,
        results: Array<'a, AlterUserScramCredentialsResult<'a>>,
    }
}

message! {
    /// One user.
    pub struct AlterUserScramCredentialsResult<'a> {
        user: &'a str,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
    }
}

api! { AlterUserScramCredentials 0..=0, flexible 0; AlterUserScramCredentialsRequest<'a> => AlterUserScramCredentialsResponse<'r> }
