//! ElectLeaders (API key 43), versions 0–2: elects leaders of partitions (KIP-183, KIP-460).
//!
//! Version notes: v1 election type, error code of the whole answer · v2 flexible.

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Elects leaders.
    pub struct ElectLeadersRequest<'a> {
        /// 0 elects the preferred replica, 1 any running one where there is no leader.
        election_type: i8 [1..],
        /// Null for all partitions.
        topic_partitions: Option<Array<'a, TopicPartitions<'a>>>,
        timeout_ms: i32 = 60_000,
    }
}

message! {
    /// One topic.
    pub struct TopicPartitions<'a> {
        topic: &'a str,
        partitions: Array<'a, i32>,
    }
}

message! {
    /// What became of each partition.
    pub struct ElectLeadersResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode [1..],
        replica_election_results: Array<'a, ReplicaElectionResult<'a>>,
    }
}

message! {
    /// One topic.
    pub struct ReplicaElectionResult<'a> {
        topic: &'a str,
        partition_result: Array<'a, PartitionResult<'a>>,
    }
}

message! {
    /// One partition.
    pub struct PartitionResult<'a> {
        partition_id: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
    }
}

api! { ElectLeaders 0..=2, flexible 2; ElectLeadersRequest<'a> => ElectLeadersResponse<'r> }
