//! What a flow does, event by event, in virtual time.

mod acls;
mod brokers;
mod checks;
mod cluster;
mod discovery;
mod ends;
mod failures;
mod groups;
mod halting;
mod offset_syncs;
mod old_formats;
mod partition;
mod positions;
mod random;
mod starts;
mod stop;
mod topic_configs;
mod transactional;
mod transfer;
mod world;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::wire::Uuid;

use super::{
    Adopt, Delivery, FlowOptions, OffsetsTopic, OnGap, OnRecreated, Side, SyncsTopic,
    TransactionOptions, published::PublishedTopic,
};
use crate::policy::{NameFilter, PropertyFilter, ReplicationPolicy, StartRules, TopicFilter};

/// Some instant to start from; only differences matter.
#[expect(
    clippy::disallowed_methods,
    reason = "an instant cannot be made otherwise"
)]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

/// A flow `A->B` of all topics that begin with `t`.
pub(super) fn options() -> FlowOptions {
    let none: [&str; 0] = [];
    FlowOptions {
        source_alias: String::from("A"),
        target_alias: String::from("B"),
        policy: ReplicationPolicy::prefixing(),
        topics: TopicFilter {
            include: NameFilter::new(&["t.*"]).unwrap(),
            exclude: NameFilter::new(&none).unwrap(),
            heartbeats_replication_enabled: true,
            hops: Vec::new(),
        },
        properties: PropertyFilter {
            exclude: NameFilter::new(&none).unwrap(),
        },
        copies_source_defaults: false,
        replication_factor: None,
        offsets_topic: OffsetsTopic {
            name: Arc::from("mm2-offsets.A.internal"),
            partition_count: 25,
            replication_factor: 3,
            properties: Vec::new(),
        },
        offset_syncs: Some(SyncsTopic {
            side: Side::Source,
            topic: PublishedTopic {
                name: Arc::from("mm2-offset-syncs.B.internal"),
                replication_factor: 3,
            },
        }),
        groups: None,
        topic_configs_interval: None,
        acls: None,
        delivery: Delivery::AtLeastOnce,
        on_gap: OnGap::Continue,
        on_recreated: OnRecreated::Halt,
        adopt: Adopt::Ask,
        state_topic: OffsetsTopic {
            name: Arc::from("kmirror-state.A.internal"),
            partition_count: 1,
            replication_factor: 3,
            properties: Vec::new(),
        },
        instance: Uuid([7; 16]),
        started_ms: 0,
        transactions: TransactionOptions {
            transactional_id: Arc::from("kmirror-A-B"),
            timeout: Duration::from_secs(60),
        },
        read_committed: true,
        lease: Duration::from_secs(10),
        quiesce: Duration::from_secs(5),
        anchor_interval: Duration::from_secs(5),
        anchor_bytes: 8 << 20,
        state_write_records_max: 100,
        starts: StartRules::default(),
        discovery_interval: Duration::from_secs(5),
        positions_interval: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(9),
        memory_bytes: 1 << 20,
        fetch_bytes_max: 1 << 18,
        partition_fetch_bytes_max: 1 << 14,
        fetch_lanes: 2,
    }
}

/// So many values, each of them different from every other of the run.
fn values(rng: &mut fastrand::Rng, count: usize) -> Vec<bytes::Bytes> {
    let one = |_| format!("{:032x}", rng.u128(..)).into();
    (0..count).map(one).collect()
}
