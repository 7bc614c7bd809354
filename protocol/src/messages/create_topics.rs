//! CreateTopics (API key 19), versions 2–7.
//!
//! Version notes: v4 partition count and replication factor may be left to the broker, as -1
//! (KIP-464) · v5 flexible, answers carry the topic's configs (KIP-525) ·
//! v6 `THROTTLING_QUOTA_EXCEEDED` (KIP-599) · v7 topic id in answers (KIP-516).
//! Not supported: v0–v1 (removed in Kafka 4.0).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Uuid, message},
};

message! {
    /// Creates topics.
    pub struct CreateTopicsRequest<'a> {
        topics: Array<'a, CreatableTopic<'a>>,
        timeout_ms: i32 = 60_000,
        validate_only: bool,
    }
}

message! {
    /// One topic.
    pub struct CreatableTopic<'a> {
        name: &'a str,
        /// -1 with assignments, and from version 4 for the broker's own default.
        num_partitions: i32,
        /// -1 with assignments, and from version 4 for the broker's own default.
        replication_factor: i16,
        assignments: Array<'a, CreatableReplicaAssignment<'a>>,
        configs: Array<'a, CreatableTopicConfig<'a>>,
    }
}

message! {
    /// The brokers that shall hold one partition.
    pub struct CreatableReplicaAssignment<'a> {
        partition_index: i32,
        broker_ids: Array<'a, i32>,
    }
}

message! {
    /// One config.
    pub struct CreatableTopicConfig<'a> {
        name: &'a str,
        value: Option<&'a str>,
    }
}

message! {
    /// What became of each topic.
    pub struct CreateTopicsResponse<'a> {
        throttle_time_ms: i32,
        topics: Array<'a, CreatableTopicResult<'a>>,
    }
}

message! {
    /// One topic.
    pub struct CreatableTopicResult<'a> {
        name: &'a str,
        topic_id: Uuid [7..],
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        num_partitions: i32 [5..] = -1,
        replication_factor: i16 [5..] = -1,
        /// Null when they may not be read, for which `topic_config_error_code` is the reason.
        configs: Option<Array<'a, CreatableTopicResultConfig<'a>>> [5..] = Some(Array::default()),
        ;
        0 => topic_config_error_code: ErrorCode [5..],
    }
}

message! {
    /// One config of a topic that has been created.
    pub struct CreatableTopicResultConfig<'a> {
        name: &'a str,
        value: Option<&'a str>,
        read_only: bool,
        config_source: i8 = -1,
        is_sensitive: bool,
    }
}

api! { CreateTopics 2..=7, flexible 5; CreateTopicsRequest<'a> => CreateTopicsResponse<'r> }
