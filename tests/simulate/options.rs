//! How the flow of a run is configured: its luck decides, so that rare branches are common here.

use std::{sync::Arc, time::Duration};

use kmirror::{
    flow::{
        Adopt, Delivery, FlowOptions, OffsetsTopic, OnGap, OnRecreated, Side, TransactionOptions,
        groups::GroupOptions, offset_syncs::SyncsTopic, published::PublishedTopic,
    },
    policy::{NameFilter, PropertyFilter, ReplicationPolicy, StartRules, TopicFilter},
};
use kmirror_protocol::wire::Uuid;

use super::{
    clusters::START_MS,
    plan::{Class, Kind, Micros, Plan, SECOND},
};

/// What a run's luck decides about the flow and the network.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub(super) delivery: Delivery,
    /// One in so many frames is slow.
    pub(super) slow_one_in: u32,
    /// Whether a process that wakes is told that it has slept.
    pub(super) tells_pauses: bool,
    /// Whether the newest process goes on when faults end, in place of a fresh one.
    pub(super) keeps_survivor: bool,
    pub(super) memory_bytes: usize,
    fetch_bytes_max: usize,
    partition_fetch_bytes_max: usize,
    fetch_lanes: u8,
    positions_interval: Duration,
    transaction_timeout: Duration,
    discovery_interval: Duration,
    anchor_interval: Duration,
    anchor_bytes: u64,
    state_write_records_max: usize,
    lease: Duration,
    quiesce: Duration,
    pub(super) state_partitions: i32,
    /// How often groups are looked at, if they are.
    groups_interval: Option<Duration>,
    adopt: Adopt,
}

impl Knobs {
    pub(super) fn new(rng: &mut fastrand::Rng, plan: &Plan) -> Self {
        Self {
            delivery: plan.class.delivery(),
            slow_one_in: rng.u32(5..200),
            tells_pauses: rng.bool(),
            keeps_survivor: rng.bool(),
            memory_bytes: 1 << rng.usize(8..20),
            fetch_bytes_max: 1 << rng.usize(9..18),
            partition_fetch_bytes_max: 1 << rng.usize(8..15),
            fetch_lanes: rng.u8(1..3),
            positions_interval: Duration::from_millis(rng.u64(100..2_000)),
            discovery_interval: Duration::from_millis(rng.u64(500..8_000)),
            anchor_interval: Duration::from_millis(rng.u64(50..6_000)),
            anchor_bytes: 1 << rng.u32(7..24),
            state_write_records_max: if plan.seed.is_multiple_of(2) { 1 } else { 100 },
            lease: Duration::from_millis(rng.u64(500..12_000)),
            quiesce: Duration::from_millis(rng.u64(0..6_000)),
            state_partitions: rng.i32(1..3),
            groups_interval: (plan.class == Class::Groups)
                .then(|| Duration::from_millis(rng.u64(50..3_000))),
            // Others may have written before the flow's first record.
            adopt: if plan.has(Kind::Foreign) {
                Adopt::Prove
            } else {
                Adopt::Ask
            },
            // Short enough to be over now and then.
            transaction_timeout: Duration::from_millis(rng.u64(4_000..20_000)),
        }
    }

    /// The options of the process that starts after `started` others.
    pub(super) fn options(&self, started: usize) -> FlowOptions {
        let none: [&str; 0] = [];
        FlowOptions {
            offset_syncs: self.groups_interval.map(|_| syncs_topic()),
            groups: self.groups_interval.map(group_options),
            topic_configs_interval: None,
            acls: None,
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
                name: Arc::from(OFFSETS_TOPIC),
                partition_count: OFFSETS_PARTITIONS,
                replication_factor: 3,
                properties: Vec::new(),
            },
            delivery: self.delivery,
            on_gap: OnGap::Continue,
            on_recreated: OnRecreated::Halt,
            adopt: self.adopt,
            state_topic: OffsetsTopic {
                name: Arc::from(STATE_TOPIC),
                partition_count: self.state_partitions,
                replication_factor: 3,
                properties: Vec::new(),
            },
            instance: instance_id(started),
            started_ms: START_MS,
            transactions: TransactionOptions {
                transactional_id: Arc::from(TRANSACTIONAL_ID),
                timeout: self.transaction_timeout,
            },
            read_committed: true,
            lease: self.lease,
            quiesce: self.quiesce,
            anchor_interval: self.anchor_interval,
            anchor_bytes: self.anchor_bytes,
            state_write_records_max: self.state_write_records_max,
            starts: StartRules::default(),
            discovery_interval: self.discovery_interval,
            positions_interval: self.positions_interval,
            drain_timeout: Duration::from_secs(9),
            memory_bytes: self.memory_bytes,
            fetch_bytes_max: self.fetch_bytes_max,
            partition_fetch_bytes_max: self.partition_fetch_bytes_max,
            fetch_lanes: self.fetch_lanes,
        }
    }

    /// After how long a process has seen who leads.
    pub(super) fn sight(&self) -> Micros {
        u64::try_from(self.discovery_interval.as_micros()).unwrap() + SECOND
    }

    /// Whether a partition may end halted: somebody must decide about it.
    pub(super) fn may_halt(&self, plan: &Plan, is_recreated: bool) -> bool {
        match self.delivery {
            // This mode halts at whatever it does not understand.
            Delivery::AtLeastOnce => true,
            // Without its state nobody can tell whose records those on the target are.
            _ => is_recreated || plan.has(Kind::StateLoss),
        }
    }
}

fn syncs_topic() -> SyncsTopic {
    SyncsTopic {
        side: Side::Source,
        topic: PublishedTopic {
            name: Arc::from("mm2-offset-syncs.B.internal"),
            replication_factor: 3,
        },
    }
}

/// All groups, told and committed.
fn group_options(interval: Duration) -> GroupOptions {
    let none: [&str; 0] = [];
    GroupOptions {
        include: NameFilter::new(&["g.*"]).unwrap(),
        exclude: NameFilter::new(&none).unwrap(),
        topic: PublishedTopic {
            name: Arc::from("A.checkpoints.internal"),
            replication_factor: 3,
        },
        checkpoints_interval: interval,
        sync_interval: Some(interval),
    }
}

/// Under which the flow writes transactions.
pub(super) const TRANSACTIONAL_ID: &str = "kmirror-A-B";

/// Where positions are kept.
pub(super) const OFFSETS_TOPIC: &str = "mm2-offsets.A.internal";

/// How many partitions that topic has.
pub(super) const OFFSETS_PARTITIONS: i32 = 2;

/// Where kmirror keeps its own state.
pub(super) const STATE_TOPIC: &str = "kmirror-state.A.internal";

/// The copy of a source topic.
pub(super) fn remote(topic: &str) -> String {
    format!("A.{topic}")
}

/// The source topic of a copy.
pub(super) fn source_of(remote: &str) -> Option<&str> {
    remote.strip_prefix("A.")
}

/// What must be true of a run's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) no_loss: bool,
    pub(super) no_duplicates: bool,
}

impl Expected {
    pub(super) fn of(delivery: Delivery, plan: &Plan) -> Self {
        match delivery {
            // What the target loses after it has acknowledged it is lost; what a process had not
            // stored before it died comes again.
            Delivery::AtLeastOnce => Self {
                no_loss: !LOSING.iter().any(|kind| plan.has(*kind)),
                no_duplicates: false,
            },
            // What the target loses is lost here too, and so are markers.
            Delivery::Transactional => Self {
                no_loss: !LOSING.iter().any(|kind| plan.has(*kind)),
                no_duplicates: !LOSING.iter().any(|kind| plan.has(*kind)),
            },
            // Duplicates are the price of lost evidence, never of anything else.
            _ => Self {
                no_loss: true,
                no_duplicates: !is_evidence_lost(plan),
            },
        }
    }
}

/// Whether something may happen to a plan after which nobody can tell what has been copied.
fn is_evidence_lost(plan: &Plan) -> bool {
    match plan.class {
        // Nothing but sequence numbers keeps out what comes late (B13).
        Class::S9 | Class::S9b => true,
        // Nor can anything but the target's memory count copies that are gone.
        Class::Old if plan.has(Kind::TargetDeletion) => true,
        _ => LOSING.iter().chain(&FORGETTING).any(|kind| plan.has(*kind)),
    }
}

/// Faults by which a cluster loses what it had acknowledged.
const LOSING: [Kind; 4] = [
    Kind::Unclean,
    Kind::SourceLoss,
    Kind::StateLoss,
    Kind::Recreate,
];

/// Faults by which a cluster loses what could tell what has been copied.
const FORGETTING: [Kind; 3] = [Kind::Forget, Kind::Compact, Kind::Deletion];

/// The id of the process that starts after `started` others.
pub(super) fn instance_id(started: usize) -> Uuid {
    Uuid([u8::try_from(started + 1).unwrap_or(u8::MAX); 16])
}
