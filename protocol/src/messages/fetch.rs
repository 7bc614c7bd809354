//! Fetch (API key 1), versions 4–17: reads record batches from partitions.
//!
//! Version notes: v4 isolation level, record batches of magic 2 · v5 log start offset ·
//! v7 fetch sessions (KIP-227) · v9 current leader epoch (KIP-320) · v10 zstd (KIP-110) ·
//! v11 rack and preferred read replica (KIP-392) · v12 flexible, last fetched epoch, diverging
//! epoch and current leader (KIP-595) · v13 topics by id (KIP-516) ·
//! v14 `OFFSET_MOVED_TO_TIERED_STORAGE` (KIP-405) · v15 replica state in place of the replica id
//! (KIP-903) · v16 node endpoints (KIP-951) · v17 replica directory id (KIP-853).
//! Not supported: v0–v3 (removed in Kafka 4.0).

use super::leaders::{LeaderIdAndEpoch, NodeEndpoint};
use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Records, Uuid, message},
};

message! {
    /// Asks for record batches; partitions are served in the order in which they stand.
    pub struct FetchRequest<'a> {
        /// The broker that fetches as a follower; -1 for consumers.
        replica_id: i32 [..=14] = -1,
        max_wait_ms: i32,
        min_bytes: i32,
        max_bytes: i32 = i32::MAX,
        /// 0 reads everything, 1 only up to the last stable offset.
        isolation_level: i8,
        /// The fetch session; 0 together with epoch 0 asks for a new one.
        session_id: i32 [7..],
        /// -1 asks for everything and for no session.
        session_epoch: i32 [7..] = -1,
        topics: Array<'a, FetchRequestTopic<'a>>,
        forgotten_topics_data: Array<'a, FetchRequestForgottenTopic<'a>> [7..],
        rack_id: &'a str [11..],
        ;
        0 => cluster_id: Option<&'a str> [12..],
        1 => replica_state: FetchRequestReplicaState [15..],
    }
}

message! {
    /// The broker that fetches as a follower; -1 for consumers.
    pub struct FetchRequestReplicaState {
        replica_id: i32 = -1,
        replica_epoch: i64 = -1,
    }
}

message! {
    /// One topic, by name or (from version 13) by id.
    pub struct FetchRequestTopic<'a> {
        topic: &'a str [..=12],
        topic_id: Uuid [13..],
        partitions: Array<'a, FetchRequestPartition>,
    }
}

message! {
    /// One partition.
    pub struct FetchRequestPartition {
        partition: i32,
        current_leader_epoch: i32 [9..] = -1,
        fetch_offset: i64,
        last_fetched_epoch: i32 [12..] = -1,
        /// The follower's own log start offset; -1 for consumers.
        log_start_offset: i64 [5..] = -1,
        partition_max_bytes: i32,
        ;
        0 => replica_directory_id: Uuid [17..],
    }
}

message! {
    /// Partitions to take out of the fetch session.
    pub struct FetchRequestForgottenTopic<'a> {
        topic: &'a str [..=12],
        topic_id: Uuid [13..],
        partitions: Array<'a, i32>,
    }
}

message! {
    /// Record batches; in a fetch session only of partitions that changed.
    pub struct FetchResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode [7..],
        session_id: i32 [7..],
        responses: Array<'a, FetchResponseTopic<'a>>,
        ;
        0 => node_endpoints: Array<'a, NodeEndpoint<'a>> [16..],
    }
}

message! {
    /// One topic, by name or (from version 13) by id.
    pub struct FetchResponseTopic<'a> {
        topic: &'a str [..=12],
        topic_id: Uuid [13..],
        partitions: Array<'a, FetchResponsePartition<'a>>,
    }
}

message! {
    /// One partition.
    pub struct FetchResponsePartition<'a> {
        partition_index: i32,
        error_code: ErrorCode,
        high_watermark: i64,
        last_stable_offset: i64 = -1,
        log_start_offset: i64 [5..] = -1,
        /// Transactions whose records a reader of committed ones must leave out.
        aborted_transactions: Option<Array<'a, FetchResponseAbortedTransaction>>,
        /// The replica that should be asked instead; -1 when this one is right.
        preferred_read_replica: i32 [11..] = -1,
        /// Whole batches but for the last, which may be cut off.
        records: Option<Records<'a>>,
        ;
        0 => diverging_epoch: FetchResponseEpochEndOffset [12..],
        1 => current_leader: LeaderIdAndEpoch [12..],
        2 => snapshot_id: FetchResponseSnapshotId [12..],
    }
}

message! {
    /// Where the leader's log and the follower's part; -1 when they do not.
    pub struct FetchResponseEpochEndOffset {
        epoch: i32 = -1,
        end_offset: i64 = -1,
    }
}

message! {
    /// The snapshot that a follower must fetch first; -1 when there is none.
    pub struct FetchResponseSnapshotId {
        end_offset: i64 = -1,
        epoch: i32 = -1,
    }
}

message! {
    /// A transaction that was aborted, and where its first record lies.
    pub struct FetchResponseAbortedTransaction {
        producer_id: i64,
        first_offset: i64,
    }
}

api! { Fetch 4..=17, flexible 12; FetchRequest<'a> => FetchResponse<'r> }
