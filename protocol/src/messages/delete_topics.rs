//! DeleteTopics (API key 20), versions 1–6.
//!
//! Version notes: v3 `TOPIC_DELETION_DISABLED` (KIP-322) · v4 flexible · v5 error messages,
//! `THROTTLING_QUOTA_EXCEEDED` (KIP-599) · v6 topics by name or id (KIP-516).
//! Not supported: v0 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Uuid, message},
};

message! {
    /// Deletes topics.
    pub struct DeleteTopicsRequest<'a> {
        topics: Array<'a, DeleteTopicState<'a>> [6..],
        topic_names: Array<'a, &'a str> [..=5],
        timeout_ms: i32,
    }
}

message! {
    /// One topic: a name, or null and an id.
    pub struct DeleteTopicState<'a> {
        name: Option<&'a str>,
        topic_id: Uuid,
    }
}

message! {
    /// What became of each topic.
    pub struct DeleteTopicsResponse<'a> {
        throttle_time_ms: i32,
        responses: Array<'a, DeletableTopicResult<'a>>,
    }
}

message! {
    /// One topic.
    pub struct DeletableTopicResult<'a> {
        /// Null from version 6 on, when an id was asked for that may not be seen.
        name: Option<&'a str>,
        topic_id: Uuid [6..],
        error_code: ErrorCode,
        error_message: Option<&'a str> [5..],
    }
}

api! { DeleteTopics 1..=6, flexible 4; DeleteTopicsRequest<'a> => DeleteTopicsResponse<'r> }
