//! DescribeCluster (API key 60), versions 0–2: cluster id, controller and brokers (KIP-700).
//!
//! Version notes: v1 endpoint type (KIP-919) · v2 fenced brokers (KIP-1073).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, message},
};

message! {
    /// Asks what the cluster consists of.
    pub struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool,
        /// 1 for brokers, 2 for controllers.
        endpoint_type: i8 [1..] = 1,
        include_fenced_brokers: bool [2..],
    }
}

message! {
    /// What the cluster consists of.
    pub struct DescribeClusterResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        /// 1 for brokers, 2 for controllers.
        endpoint_type: i8 [1..] = 1,
        cluster_id: &'a str,
        controller_id: i32 = -1,
        brokers: Array<'a, DescribeClusterBroker<'a>>,
        cluster_authorized_operations: i32 = i32::MIN,
    }
}

message! {
    /// Where a broker listens.
    pub struct DescribeClusterBroker<'a> {
        broker_id: i32,
        host: &'a str,
        port: i32,
        rack: Option<&'a str>,
        is_fenced: bool [2..],
    }
}

api! { DescribeCluster 0..=2, flexible 0; DescribeClusterRequest => DescribeClusterResponse<'r> }
