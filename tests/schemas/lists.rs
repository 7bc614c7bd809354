//! Where this program knowingly has less than Kafka's schemas.

use std::ops::RangeInclusive;

/// Requests that brokers take and this program does not know: why, and which.
pub(super) const NOT_IMPLEMENTED: &[(&str, &[&str])] = &[
    (
        "a replicator joins groups by the classic protocol, and reads those of the newer one (KIP-848)",
        &["ConsumerGroupHeartbeatRequest"],
    ),
    (
        "share groups have no offsets to carry over (KIP-932)",
        &[
            "AlterShareGroupOffsetsRequest",
            "DeleteShareGroupOffsetsRequest",
            "DescribeShareGroupOffsetsRequest",
            "ShareAcknowledgeRequest",
            "ShareFetchRequest",
            "ShareGroupDescribeRequest",
            "ShareGroupHeartbeatRequest",
        ],
    ),
    (
        "the state of share groups goes from broker to broker",
        &[
            "DeleteShareGroupStateRequest",
            "InitializeShareGroupStateRequest",
            "ReadShareGroupStateRequest",
            "ReadShareGroupStateSummaryRequest",
            "WriteShareGroupStateRequest",
        ],
    ),
    (
        "streams groups belong to applications that run on one cluster (KIP-1071)",
        &[
            "StreamsGroupDescribeRequest",
            "StreamsGroupHeartbeatRequest",
        ],
    ),
    (
        "transaction markers go from coordinator to leader",
        &["WriteTxnMarkersRequest"],
    ),
    (
        "where replicas lie and who leads them is each cluster's own affair",
        &[
            "AlterPartitionReassignmentsRequest",
            "AlterReplicaLogDirsRequest",
            "ElectLeadersRequest",
            "ListPartitionReassignmentsRequest",
        ],
    ),
    (
        "so are its quorum, its brokers and its features",
        &[
            "AddRaftVoterRequest",
            "DescribeQuorumRequest",
            "RemoveRaftVoterRequest",
            "UnregisterBrokerRequest",
            "UpdateFeaturesRequest",
        ],
    ),
    (
        "delegation tokens are secrets of one cluster",
        &[
            "CreateDelegationTokenRequest",
            "DescribeDelegationTokenRequest",
            "ExpireDelegationTokenRequest",
            "RenewDelegationTokenRequest",
        ],
    ),
    (
        "this program sends no metrics to brokers (KIP-714)",
        &["GetTelemetrySubscriptionsRequest", "PushTelemetryRequest"],
    ),
];

/// APIs with fewer versions than Kafka: ours, Kafka's, and why.
pub(super) const NARROWER: &[(&str, RangeInclusive<i16>, RangeInclusive<i16>, &str)] = &[
    (
        "Fetch",
        4..=17,
        4..=18,
        "v18 adds what a follower knows of the high watermark (KIP-1166)",
    ),
    (
        "ListOffsets",
        1..=10,
        1..=11,
        "v11 adds a timestamp for tiered storage only (KIP-1023)",
    ),
    (
        "Metadata",
        1..=13,
        0..=13,
        "v0 cannot ask for no topic, and nothing speaks only v0",
    ),
    (
        "FindCoordinator",
        0..=4,
        0..=6,
        "v5 adds an error code, v6 the coordinators of share groups",
    ),
    (
        "InitProducerId",
        0..=5,
        0..=6,
        "v6 is unstable (two-phase commit, KIP-939)",
    ),
    (
        "AddPartitionsToTxn",
        0..=3,
        0..=5,
        "v4 and later are for brokers (KIP-890)",
    ),
    (
        "DescribeLogDirs",
        1..=4,
        1..=5,
        "v5 adds which directories take no new replicas",
    ),
];

/// Fields that may be null from some version on, and the earlier versions in which null is taken
/// all the same: a table has one type for all versions.
pub(super) const LAX_NULLS: &[(&str, &str, &[i16])] = &[
    ("DeleteTopicsResponse", "responses.name", &[1, 2, 3, 4, 5]),
    ("JoinGroupResponse", "protocol_name", &[0, 1, 2, 3, 4, 5, 6]),
    (
        "MetadataRequest",
        "topics.name",
        &[1, 2, 3, 4, 5, 6, 7, 8, 9],
    ),
    (
        "MetadataResponse",
        "topics.name",
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    ),
    ("OffsetFetchRequest", "topics", &[1]),
];
