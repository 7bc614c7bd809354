//! DescribeTopicPartitions (API key 75), version 0: topics and partitions, page by page.
//!
//! Version notes: v0 flexible (KIP-966).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Uuid, message},
};

message! {
    /// Asks for one page.
    pub struct DescribeTopicPartitionsRequest<'a> {
        topics: Array<'a, TopicRequest<'a>>,
        response_partition_limit: i32 = 2000,
        cursor: Option<Cursor<'a>>,
    }
}

message! {
    /// One topic.
    pub struct TopicRequest<'a> {
        name: &'a str,
    }
}

message! {
    /// Where a page begins.
    pub struct Cursor<'a> {
        topic_name: &'a str,
        partition_index: i32,
    }
}

message! {
    /// One page, and where the next begins.
    pub struct DescribeTopicPartitionsResponse<'a> {
        throttle_time_ms: i32,
        topics: Array<'a, DescribeTopicPartitionsResponseTopic<'a>>,
        /// Null on the last page.
        next_cursor: Option<Cursor<'a>>,
    }
}

message! {
    /// One topic.
    pub struct DescribeTopicPartitionsResponseTopic<'a> {
        error_code: ErrorCode,
        name: Option<&'a str>,
        topic_id: Uuid,
        is_internal: bool,
        partitions: Array<'a, DescribeTopicPartitionsResponsePartition<'a>>,
        topic_authorized_operations: i32 = i32::MIN,
    }
}

message! {
    /// One partition.
    pub struct DescribeTopicPartitionsResponsePartition<'a> {
        error_code: ErrorCode,
        partition_index: i32,
        leader_id: i32,
        leader_epoch: i32 = -1,
        replica_nodes: Array<'a, i32>,
        isr_nodes: Array<'a, i32>,
        eligible_leader_replicas: Option<Array<'a, i32>>,
        last_known_elr: Option<Array<'a, i32>>,
        offline_replicas: Array<'a, i32>,
    }
}

api! { DescribeTopicPartitions 0..=0, flexible 0; DescribeTopicPartitionsRequest<'a> => DescribeTopicPartitionsResponse<'r> }
