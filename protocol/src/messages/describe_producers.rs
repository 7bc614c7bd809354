//! DescribeProducers (API key 61), version 0: the producers that a partition remembers (KIP-664).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Asks for producers; any replica of a partition answers, by rights its leader.
    pub struct DescribeProducersRequest<'a> {
        topics: Array<'a, DescribeProducersRequestTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct DescribeProducersRequestTopic<'a> {
        name: &'a str,
        partition_indexes: Array<'a, i32>,
    }
}

message! {
    /// The producers.
    pub struct DescribeProducersResponse<'a> {
        throttle_time_ms: i32,
        topics: Array<'a, DescribeProducersResponseTopic<'a>>,
    }
}

message! {
    /// One topic.
    pub struct DescribeProducersResponseTopic<'a> {
        name: &'a str,
        partitions: Array<'a, DescribeProducersResponsePartition<'a>>,
    }
}

message! {
    /// One partition.
    pub struct DescribeProducersResponsePartition<'a> {
        partition_index: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        active_producers: Array<'a, ProducerState>,
    }
}

message! {
    /// One producer; -1 stands for "none" or "not known".
    pub struct ProducerState {
        producer_id: i64,
        producer_epoch: i32,
        last_sequence: i32 = -1,
        last_timestamp: i64 = -1,
        coordinator_epoch: i32,
        current_txn_start_offset: i64 = -1,
    }
}

api! { DescribeProducers 0..=0, flexible 0; DescribeProducersRequest<'a> => DescribeProducersResponse<'r> }
