//! DescribeUserScramCredentials (API key 50), version 0: which users have SCRAM credentials; never
//! the credentials.
//!
//! Version notes: v0 flexible (KIP-554).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Names the users; null or empty for all.
    pub struct DescribeUserScramCredentialsRequest<'a> {
        users: Option<Array<'a, UserName<'a>>>,
    }
}

message! {
    /// One user.
    pub struct UserName<'a> {
        name: &'a str,
    }
}

message! {
    /// The users.
    pub struct DescribeUserScramCredentialsResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        results: Array<'a, DescribeUserScramCredentialsResult<'a>>,
    }
}

message! {
    /// One user.
    pub struct DescribeUserScramCredentialsResult<'a> {
        user: &'a str,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        credential_infos: Array<'a, CredentialInfo>,
    }
}

message! {
    /// One mechanism that the user can use.
    pub struct CredentialInfo {
        mechanism: i8,
        iterations: i32,
    }
}

api! { DescribeUserScramCredentials 0..=0, flexible 0; DescribeUserScramCredentialsRequest<'a> => DescribeUserScramCredentialsResponse<'r> }
