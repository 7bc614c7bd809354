//! Where a partition is led, as Produce and Fetch answers tell it.
//!
//! With these a client that asked the wrong broker need not ask for metadata first (KIP-951).

use crate::wire::message;

message! {
    /// The broker that leads a partition; -1 where it is unknown.
    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1,
        leader_epoch: i32 = -1,
    }
}

message! {
    /// Where a broker that leads one of the answer's partitions listens.
    pub struct NodeEndpoint<'a> {
        node_id: i32,
        host: &'a str,
        port: i32,
        rack: Option<&'a str>,
    }
}
