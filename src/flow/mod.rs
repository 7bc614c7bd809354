//! One flow, source to target, as a state machine.
//!
//! Answers and time go in ([`Flow::handle`]), requests to be made come out ([`Action`]). Nothing
//! here waits, connects, reads a clock or starts a task; `runtime` does that, and decides nothing.
//!
//! ```text
//!          Metadata, Configs, TopicsCreated          Fetched              Produced
//!   discovery ------------------------> partitions ----------> queues ----------> positions
//!   (which topics, created as needed)   (one machine each)     (byte budget)      (stored each second)
//! ```
//!
//! * [`discovery`] compares both clusters and says what to create and what to copy.
//! * [`partition`] is the machine of one partition; [`batch`] decides about one batch.
//! * `transfer` puts what partitions want into requests, one broker at a time, within the budget.
//! * [`starts`] finds where a new partition begins.
//! * `positions` keeps what has been copied in MM2's own format.
//! * [`guarantee`] says how sure it is that each record comes once, and what is weaker than asked.
//! * [`transaction`] commits both together, where that is how the flow delivers.
//! * [`topic_configs`] keeps the properties of remote topics as their sources have them.
//! * [`acls`] gives rights on remote topics to who has them on their sources.
//! * [`groups`] tells on the target where consumer groups stand, and takes them along.
//! * [`offset_syncs`] and [`heartbeats`] tell MM2's readers what they expect, in [`published`] topics.
//! * `translation` says where a position in the source is on the target.
//! * [`retry`] is the one place that says what a failure means; [`limits`] has every bound.

pub mod aborted;
pub mod acls;
pub mod batch;
mod carrying;
pub mod delivery;
pub mod discovery;
mod ends;
mod event;
pub mod groups;
pub mod guarantee;
pub mod halt;
pub mod heartbeats;
pub mod intake;
mod lease;
pub mod limits;
pub mod offset_syncs;
pub mod partition;
mod positions;
pub mod proof;
pub mod published;
mod rebuild;
pub mod recovery;
pub mod retry;
pub mod starts;
mod state;
pub mod status;
pub mod topic_configs;
pub mod transaction;
mod transfer;
mod translation;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::wire::Uuid;

use self::{
    acls::{AclOptions, Acls},
    discovery::Discovery,
    ends::{End, Leader},
    groups::{GroupOptions, Groups},
    guarantee::Watch,
    offset_syncs::{OffsetSyncs, SyncsTopic},
    partition::Partition,
    positions::Positions,
    recovery::{Questions, Recovery, RecoveryCause},
    starts::Starts,
    state::{State, Ticket},
    topic_configs::TopicConfigs,
    transaction::commit::Transactions,
    transfer::{Held, Transfer},
};
pub use self::{
    delivery::{Adopt, Delivery, OnGap, OnRecreated},
    discovery::{
        ClusterView, ConfigEntry, ConfigOrigin, NewTopic, PartitionView, PartitionViews,
        TopicConfig, TopicView,
    },
    event::{
        Action, ActiveProducer, EpochEnd, EpochQuestion, Event, FetchPartition, Notice,
        PerPartition, PerTopicConfig, PublishedKind, StateLogRecord, StateRead,
    },
    guarantee::{Footing, Guarantee, Refusal, Weakness},
    partition::{FetchedRecords, LogRange, Outgoing, PartitionNotice},
    rebuild::RebuildError,
    retry::Failure,
    status::{CheckpointStatus, Counters, FlowStatus, PartitionStatus},
    transaction::{
        AbortCause, InTransaction, PositionsInTransaction, TransactionAnswer, TransactionEnd,
        TransactionOptions, TransactionProtocol, TransactionQuestion,
    },
    translation::Translated,
};
use crate::offsets::state::Anchor;
use crate::policy::{PropertyFilter, ReplicationPolicy, StartRules, TopicFilter};

/// One of a flow's two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Where records come from.
    Source,
    /// Where they go.
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// A topic and a partition of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition's place in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

/// Ties an answer to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a flow needs to know from the configuration.
#[derive(Clone, Debug)]
pub struct FlowOptions {
    /// The alias of the source cluster.
    pub source_alias: String,
    /// The alias of the target cluster.
    pub target_alias: String,
    /// How remote topics are called.
    pub policy: ReplicationPolicy,
    /// Which topics are copied.
    pub topics: TopicFilter,
    /// Which topic properties a new remote topic gets.
    pub properties: PropertyFilter,
    /// Whether a new remote topic also gets the values that are mere defaults on the source.
    pub copies_source_defaults: bool,
    /// Replicas of a new remote topic; `None` or -1 leaves it to the target.
    pub replication_factor: Option<i16>,
    /// Where positions are kept on the target.
    pub offsets_topic: OffsetsTopic,
    /// Where offset syncs are published, if they are.
    pub offset_syncs: Option<SyncsTopic>,
    /// Which groups are told of on the target, if they are.
    pub groups: Option<GroupOptions>,
    /// How often properties of remote topics are compared with their sources', if they are.
    pub topic_configs_interval: Option<Duration>,
    /// How ACLs follow the source's, if they do.
    pub acls: Option<AclOptions>,
    /// The guarantee.
    pub delivery: Delivery,
    /// What happens when the source no longer has what was not copied.
    pub on_gap: OnGap,
    /// What happens when a source topic was deleted and created again.
    pub on_recreated: OnRecreated,
    /// What happens with a remote partition whose records no state explains.
    pub adopt: Adopt,
    /// Where kmirror's own state is kept on the target.
    pub state_topic: OffsetsTopic,
    /// This process, in the owner's records.
    pub instance: Uuid,
    /// When the flow was made, in milliseconds since 1970; for people only.
    pub started_ms: i64,
    /// Of the transactions, where that is how it delivers.
    pub transactions: TransactionOptions,
    /// Whether only committed records are copied.
    pub read_committed: bool,
    /// After a pause longer than this, positions are proven again before anything is written (R13).
    pub lease: Duration,
    /// How long late batches of a former process are given before a lineage is opened on a flow
    /// whose source is compacted (R12).
    pub quiesce: Duration,
    /// The longest time between two anchors of a partition that moves.
    pub anchor_interval: Duration,
    /// The most record bytes between two anchors of a partition.
    pub anchor_bytes: u64,
    /// Records after which a write to the state topic is full.
    pub state_write_records_max: usize,
    /// Where partitions start of which nothing is known.
    pub starts: StartRules,
    /// How often both clusters are asked for their topics.
    pub discovery_interval: Duration,
    /// How often changed positions are stored.
    pub positions_interval: Duration,
    /// How long a stop waits for acknowledgements.
    pub drain_timeout: Duration,
    /// Record bytes held for all partitions together.
    pub memory_bytes: usize,
    /// Record bytes in one Fetch answer.
    pub fetch_bytes_max: usize,
    /// Record bytes of one partition in one Fetch answer.
    pub partition_fetch_bytes_max: usize,
    /// Fetch requests that may be under way to one broker.
    pub fetch_lanes: u8,
}

/// The topic in which positions are kept, and how it is created when it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsTopic {
    /// Its name, `mm2-offsets.<source>.internal` by default.
    pub name: Arc<str>,
    /// Partitions of a new one.
    pub partition_count: i32,
    /// Replicas of a new one.
    pub replication_factor: i16,
    /// Properties of a new one, beside that it is compacted.
    pub properties: Vec<(String, String)>,
}

/// One flow.
#[derive(Debug)]
pub struct Flow {
    options: FlowOptions,
    discovery: Discovery,
    slots: Vec<Slot>,
    by_source: BTreeMap<TopicPartition, PartitionId>,
    /// Source topics of which at least one partition is copied.
    started_topics: BTreeSet<Arc<str>>,
    transfer: Transfer,
    positions: Positions,
    starts: Starts,
    /// `None` where they are not published.
    offset_syncs: Option<OffsetSyncs>,
    /// `None` where remote topics stay as they were created.
    topic_configs: Option<TopicConfigs>,
    /// `None` where they are nobody's business here.
    acls: Option<Acls>,
    /// `None` where groups are not looked after.
    groups: Option<Groups>,
    /// `None` where there are none.
    transactions: Option<Transactions>,
    state: State,
    watch: Watch,
    /// Partitions that find out where they stand.
    recovering: BTreeSet<PartitionId>,
    questions: Questions,
    /// Partitions of which a lineage waits for the anchor that names what it carries.
    carrying: BTreeSet<PartitionId>,
    /// Partitions that have moved since their newest anchor.
    unanchored: BTreeSet<PartitionId>,
    anchors_at: Instant,
    anchored_at: Instant,
    /// Since when anchors wait for the target to confirm its leaders.
    confirming_since: Option<Instant>,
    /// When this process next says that it is alive.
    presence_at: Instant,
    started: Instant,
    /// When the flow was last given the time.
    seen: Instant,
    /// Partitions about which something changed since requests were last made.
    touched: BTreeSet<PartitionId>,
    /// When partitions want to be looked at; entries may be out of date.
    timers: BTreeSet<(Instant, PartitionId)>,
    drain: Option<Drain>,
    is_stopped: bool,
}

/// The end of a flow that was asked to stop.
#[derive(Debug)]
struct Drain {
    /// When it ends at the latest.
    until: Instant,
    /// Partitions that have sent what is not answered yet.
    waiting: BTreeSet<PartitionId>,
}

/// A partition and its two ends.
#[derive(Debug)]
struct Slot {
    partition: Partition,
    source: End,
    target: End,
    /// The target broker that has the batches in flight.
    sent_to: Option<i32>,
    /// How it finds out where it stands, while it does.
    recovery: Option<Box<Recovery>>,
    /// The anchor that names what its lineage carries, while that is being written.
    carrying: Option<(Ticket, Anchor)>,
    /// The target's leader when the position was proven.
    proven_under: Option<Leader>,
    /// When it last acknowledged something of which it is not certain that it still led as then.
    acknowledged_at: Option<Instant>,
}

impl Flow {
    /// Starts a flow: its first actions ask both clusters what they have.
    #[must_use]
    pub fn new(options: FlowOptions, now: Instant) -> Self {
        Self {
            discovery: Discovery::new(now),
            slots: Vec::new(),
            by_source: BTreeMap::new(),
            started_topics: BTreeSet::new(),
            transfer: Transfer::default(),
            positions: Positions::new(now + options.positions_interval),
            starts: Starts::default(),
            offset_syncs: options
                .offset_syncs
                .as_ref()
                .map(|topic| OffsetSyncs::new(topic, now + options.positions_interval)),
            topic_configs: options
                .topic_configs_interval
                .map(|interval| TopicConfigs::new(interval, now)),
            acls: options.acls.map(|acls| Acls::new(acls, now)),
            groups: options
                .groups
                .clone()
                .map(|groups| Groups::new(groups, now)),
            transactions: (options.delivery == Delivery::Transactional)
                .then(|| Transactions::new(options.transactions.clone())),
            state: State::new(options.instance, options.state_write_records_max),
            watch: Watch::default(),
            recovering: BTreeSet::new(),
            questions: Questions::default(),
            carrying: BTreeSet::new(),
            unanchored: BTreeSet::new(),
            anchored_at: now,
            confirming_since: None,
            anchors_at: now + options.anchor_interval,
            presence_at: now + options.lease / 2,
            started: now,
            seen: now,
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            drain: None,
            is_stopped: false,
            options,
        }
    }

    /// Takes one event. What follows from it comes out of [`Flow::schedule`].
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        self.notice_time(now, actions);
        match event {
            Event::DeadlineReached => self.deadline_reached(now, actions),
            Event::Metadata { side, result } => self.metadata(now, side, result, actions),
            Event::Configs(result) => self.configs(now, result, actions),
            Event::TopicsCreated(results) => self.topics_created(now, results, actions),
            Event::PartitionsAdded(results) => self.partitions_added(now, results, actions),
            Event::PositionsLoaded(result) => self.positions_loaded(now, result, actions),
            Event::PositionsStored(result) => self.positions_stored(now, result, actions),
            Event::StateRead(result) => self.state_read(now, result, actions),
            Event::StateWritten(result) => self.state_written(now, result, actions),
            Event::TopicsInspected { side, result } => {
                self.topics_inspected(now, side, result, actions);
            }
            Event::PublishedCreated { kind, result } => match kind {
                PublishedKind::OffsetSyncs => self.offset_syncs_created(now, result, actions),
                PublishedKind::Checkpoints => self.checkpoints_created(now, result, actions),
            },
            Event::Published { kind, result } => match kind {
                PublishedKind::OffsetSyncs => self.offset_syncs_published(now, result, actions),
                PublishedKind::Checkpoints => self.checkpoints_published(now, result, actions),
            },
            Event::TopicConfigs { side, result } => {
                self.topic_configs(now, side, result, actions);
            }
            Event::TopicConfigsAltered(results) => {
                self.topic_configs_altered(now, results, actions);
            }
            Event::Acls { side, result } => self.acls_described(now, side, result, actions),
            Event::AclsChanged(results) => self.acls_changed(now, results, actions),
            Event::CheckpointsLoaded(result) => self.checkpoints_loaded(now, result, actions),
            Event::Groups { side, result } => self.groups_listed(now, side, result, actions),
            Event::GroupOffsets { side, result } => {
                self.group_offsets(now, side, result, actions);
            }
            Event::GroupOffsetsCommitted(results) => {
                self.group_offsets_committed(results, actions);
            }
            Event::TransactionAnswered { request, result } => {
                self.transaction_answered(now, request, result, actions);
            }
            Event::Paused(pause) => self.paused(now, pause, actions),
            Event::Committed { group, result } => {
                self.group_position(now, &group, result, actions);
            }
            event @ (Event::LogRanges { .. }
            | Event::OffsetsForTimes { .. }
            | Event::Producers { .. }
            | Event::EpochEnds { .. }
            | Event::WindowFetched { .. }) => self.question_answered(now, event, actions),
            Event::ProducerId { partition, result } => match self.options.delivery {
                Delivery::ExactlyOnce => {
                    self.producer_id_for_recovery(now, partition, result, actions);
                }
                Delivery::AtLeastOnce | Delivery::Transactional => {
                    self.producer_id(now, partition, result, actions);
                }
            },
            Event::Fetched { request, result } => self.fetched(now, request, result, actions),
            Event::Produced { request, result } => self.produced(now, request, result, actions),
            Event::Stop => self.stop(now, actions),
        }
    }

    /// Hands an answer about partitions to who asked: a recovery, or a partition that needs none.
    fn question_answered(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::LogRanges { request, result } if !self.is_asked_for_recovery(request) => {
                self.log_ranges(now, request, result, actions);
            }
            Event::OffsetsForTimes { request, result } if !self.is_asked_for_recovery(request) => {
                self.start_times(now, request, result, actions);
            }
            event => self.recovery_answered(now, event, actions),
        }
    }

    /// Makes the requests that are due. Call after one or several [`Flow::handle`]: several events
    /// taken together make fuller requests.
    pub fn schedule(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.is_stopped {
            return;
        }
        self.notice_time(now, actions);
        // However busy the flow is with answers, what waits for its time gets its turn.
        self.deadline_reached(now, actions);
        self.schedule_recoveries(now, actions);
        self.schedule_carrying(now, actions);
        self.schedule_transfer(now, actions);
        self.schedule_anchors(now);
        self.schedule_presence(now, actions);
        self.schedule_guarantee(now, actions);
        self.schedule_state(now, actions);
        self.schedule_positions(now, actions);
        self.schedule_transaction(now, actions);
        self.schedule_offset_syncs(now, actions);
        self.schedule_groups(now, actions);
        self.schedule_topic_configs(now, actions);
        self.schedule_acls(now, actions);
        // Last, for others want to know who leads.
        self.schedule_discovery(now, actions);
        self.finish_stop(now, actions);
    }

    /// The earliest time at which [`Event::DeadlineReached`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_stopped {
            return None;
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        [
            timer,
            self.discovery.deadline(),
            self.positions_deadline(),
            self.offset_syncs
                .as_ref()
                .and_then(|syncs| syncs.deadline(self.drain.is_some())),
            self.groups_deadline(),
            self.topic_configs_deadline(),
            self.acls_deadline(),
            self.state.deadline(self.drain.is_some()),
            self.anchors_deadline(),
            self.lease_deadline(),
            self.presence_deadline(),
            self.watch.deadline().filter(|_| self.drain.is_none()),
            self.drain.as_ref().map(|drain| drain.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn positions_deadline(&self) -> Option<Instant> {
        let Some(transactions) = &self.transactions else {
            return self.positions.deadline();
        };
        let load = self.positions.deadline();
        let load = load.filter(|_| transactions.is_loading());
        // One that is over waits for something else.
        let store = self.positions.retry_at().filter(|at| *at > self.seen);
        let store = store.filter(|_| transactions.is_storing());
        let own = transactions
            .deadline()
            .filter(|_| self.positions.is_topic_known());
        [load, store, own].into_iter().flatten().min()
    }

    /// Both names of a partition, for requests.
    #[must_use]
    pub fn names(&self, id: PartitionId) -> Option<PartitionNames<'_>> {
        let slot = self.slot(id)?;
        Some(PartitionNames {
            topic: &slot.partition.source.topic,
            remote_topic: &slot.partition.remote_topic,
            partition: slot.partition.source.partition,
            topic_id: slot.source.topic_id,
            remote_topic_id: slot.target.topic_id,
        })
    }

    fn slot(&self, id: PartitionId) -> Option<&Slot> {
        self.slots.get(usize::try_from(id.0).ok()?)
    }

    fn slot_mut(&mut self, id: PartitionId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(id.0).ok()?)
    }

    fn deadline_reached(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((at, id)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.with_partition(now, id, actions, |partition| partition.retry_halted(now));
        }
    }

    /// Changes one partition, and keeps the books that depend on it: bytes held, timers, positions.
    fn with_partition(
        &mut self,
        now: Instant,
        id: PartitionId,
        actions: &mut Vec<Action>,
        change: impl FnOnce(&mut Partition) -> Option<PartitionNotice>,
    ) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let partition = &mut slot.partition;
        let (held, copied) = (Held::of(partition), partition.copied_offset());
        let guarantee = partition.guarantee();
        let notice = change(partition);
        if let Some(notice) = &notice {
            partition.count_notice(notice);
        }
        partition.look_at_lag(now);
        let cause = partition.take_recovery_cause();
        let unanchored_bytes = partition.unanchored_bytes();
        let (held_after, copied_after) = (Held::of(partition), partition.copied_offset());
        let (deadline, is_drained) = (partition.deadline(now), partition.is_drained());
        let guarantee_after = partition.guarantee();
        if let Some(notice) = notice {
            actions.push(Action::Report(Notice::Partition {
                source: partition.source.clone(),
                remote_topic: Arc::clone(&partition.remote_topic),
                notice,
            }));
        }
        if copied != copied_after {
            slot.acknowledged_at = Some(now);
        }
        self.watch.moved(now, guarantee, guarantee_after);
        self.transfer.held.replace(held, held_after);
        if let Some(drain) = self.drain.as_mut().filter(|_| is_drained) {
            drain.waiting.remove(&id);
        }
        if copied != copied_after {
            self.positions.changed(id);
            if let Some(syncs) = &mut self.offset_syncs {
                syncs.moved(id);
            }
        }
        if let Some(bytes) = unanchored_bytes {
            self.unanchored.insert(id);
            if bytes >= self.options.anchor_bytes {
                self.anchor_soon();
            }
        }
        if let Some(at) = deadline {
            self.timers.insert((at, id));
        }
        self.touched.insert(id);
        let Some(cause) = cause else { return };
        if self.transactions.is_none() {
            self.recover(now, id, cause, actions);
        } else if let Some(slot) = self.slot(id) {
            let cause = AbortCause::Batch(slot.partition.source.clone(), cause);
            self.start_over(now, cause, actions);
        }
    }

    fn stop(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.drain.is_some() {
            return;
        }
        let ids: BTreeSet<PartitionId> = self.by_source.values().copied().collect();
        self.drain = Some(Drain {
            until: now + self.options.drain_timeout,
            waiting: ids.clone(),
        });
        self.positions.store_soon(now);
        if let Some(syncs) = &mut self.offset_syncs {
            syncs.write_soon(now);
        }
        for id in ids {
            self.with_partition(now, id, actions, |partition| {
                partition.stop();
                None
            });
        }
    }

    /// Ends the flow once everything sent is answered and stored, or the time for that is over.
    fn finish_stop(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(drain) = &self.drain else {
            return;
        };
        if drain.waiting.is_empty() {
            self.anchor_all();
        }
        let Some(drain) = &self.drain else {
            return;
        };
        let are_stored = match &self.transactions {
            Some(transactions) => transactions.is_settled(self.positions.has_changes()),
            None => self.positions.is_settled(),
        };
        let syncs = self.offset_syncs.as_ref();
        let are_published = syncs.is_none_or(OffsetSyncs::is_settled);
        let is_done =
            drain.waiting.is_empty() && are_stored && are_published && self.state.is_settled();
        if is_done || now >= drain.until {
            self.is_stopped = true;
            actions.push(Action::Stopped);
        }
    }
}

/// How requests call a partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionNames<'a> {
    /// The topic on the source.
    pub topic: &'a Arc<str>,
    /// The topic on the target.
    pub remote_topic: &'a Arc<str>,
    /// The partition's number, on both.
    pub partition: i32,
    /// The topic's id on the source; zero when the source has no topic ids.
    pub topic_id: Uuid,
    /// The topic's id on the target; zero when the target has no topic ids.
    pub remote_topic_id: Uuid,
}

#[cfg(test)]
mod tests;
