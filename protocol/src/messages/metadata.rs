//! Metadata (API key 3), versions 1–13: brokers, topics, partitions and their leaders.
//!
//! Version notes: v2 cluster id · v4 auto-creation can be refused · v5 offline replicas ·
//! v7 leader epoch · v8–v10 authorised operations · v9 flexible · v10 topic ids in answers
//! (KIP-516) · v11 no cluster operations · v12 topics by id · v13 error code of the whole answer.
//! Not supported: v0 (neither controller nor racks).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Uuid, message},
};

message! {
    /// Asks for brokers and topics.
    pub struct MetadataRequest<'a> {
        /// The topics; null for all.
        topics: Option<Array<'a, MetadataRequestTopic<'a>>>,
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }
}

message! {
    /// One topic, by name or (from version 10) by id.
    pub struct MetadataRequestTopic<'a> {
        topic_id: Uuid [10..],
        name: Option<&'a str>,
    }
}

message! {
    /// Brokers, topics and leaders as one broker knows them.
    pub struct MetadataResponse<'a> {
        throttle_time_ms: i32 [3..],
        brokers: Array<'a, MetadataResponseBroker<'a>>,
        cluster_id: Option<&'a str> [2..],
        controller_id: i32 = -1,
        topics: Array<'a, MetadataResponseTopic<'a>>,
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        error_code: ErrorCode [13..],
    }
}

message! {
    /// Where a broker listens.
    pub struct MetadataResponseBroker<'a> {
        node_id: i32,
        host: &'a str,
        port: i32,
        rack: Option<&'a str>,
    }
}

message! {
    /// One topic.
    pub struct MetadataResponseTopic<'a> {
        error_code: ErrorCode,
        name: Option<&'a str>,
        topic_id: Uuid [10..],
        is_internal: bool,
        partitions: Array<'a, MetadataResponsePartition<'a>>,
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }
}

message! {
    /// One partition.
    pub struct MetadataResponsePartition<'a> {
        error_code: ErrorCode,
        partition_index: i32,
        leader_id: i32,
        leader_epoch: i32 [7..] = -1,
        replica_nodes: Array<'a, i32>,
        isr_nodes: Array<'a, i32>,
        offline_replicas: Array<'a, i32> [5..],
    }
}

api! { Metadata 1..=13, flexible 9; MetadataRequest<'a> => MetadataResponse<'r> }
