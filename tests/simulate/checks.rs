//! What must hold at every moment of a run (the invariants of the design by their numbers).

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use kmirror::{
    flow::{
        Action, Delivery, Event, Flow, Notice, Outgoing, PartitionId, PartitionNotice, RequestId,
        limits,
    },
    offsets::{
        source_offsets::decode_all,
        state::{self, Entry},
    },
};
use kmirror_protocol::records::{BatchHeader, check_outgoing};

use super::{
    clusters::{ClusterSide, Content, LogRecord, Place},
    network::InstanceId,
    options::remote,
    plan::{Kind, Micros, Plan, SECOND},
    trust::Trust,
    workload::Workload,
};

/// Requests of one process within one virtual second (I13): more is a loop.
const REQUESTS_PER_SECOND_MAX: u32 = 4_000;

/// How often the bytes held are counted: once in so many looks.
const HELD_ONE_IN: u32 = 32;

/// What a flow may hold beyond its budget: an answer always brings at least one batch per request.
const HELD_BEYOND_BUDGET: usize = 16 << 10;

/// A batch as the target would recognise it again: partition, producer, epoch, first sequence.
type Key = (PartitionId, i64, i16, i32);

/// What one process has sent.
#[derive(Debug, Default)]
struct Seen {
    under_way: BTreeMap<RequestId, Vec<PartitionId>>,
    sent: BTreeMap<Key, ([u8; 61], Bytes)>,
    second: Micros,
    requests: u32,
}

/// What has been seen of a run.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Whether what the target has acknowledged stays there.
    is_target_safe: bool,
    pub(super) violations: Vec<String>,
    /// Why the run did not come to its end.
    pub(super) stuck: Option<String>,
    /// The most requests of one process in a second.
    pub(super) requests_max: u32,
    /// The most record bytes held beyond the budget.
    pub(super) held_beyond_max: usize,
    memory_bytes: usize,
    looks: u32,
    seen: BTreeMap<InstanceId, Seen>,
    /// Up to where stored positions have been compared with the target.
    compared: BTreeMap<Place, i64>,
    /// The generation under which a process last said that it owns a partition.
    owned: BTreeMap<(InstanceId, Place), u64>,
    /// Who has written under a generation.
    writers: BTreeMap<(Place, u64), InstanceId>,
    /// Lineages that are known to have a durable anchor: place, producer, epoch.
    anchored: BTreeSet<(Place, i64, i16)>,
    is_state_safe: bool,
    pub(super) target_losses: BTreeSet<Place>,
    /// Copies that the target had acknowledged and lost in unclean elections.
    pub(super) acknowledged_lost: u64,
    trust: Trust,
    /// Whether positions are proven at all.
    proves: bool,
}

impl Checks {
    pub(super) fn new(plan: &Plan, memory_bytes: usize) -> Self {
        Self {
            memory_bytes,
            // Once the state is lost, own lineages of before are others', too.
            trust: Trust::new(plan.has(Kind::Foreign) || plan.has(Kind::StateLoss)),
            proves: plan.class.delivery() == Delivery::ExactlyOnce,
            is_state_safe: !plan.has(Kind::StateLoss)
                && plan.class.delivery() == Delivery::ExactlyOnce,
            is_target_safe: !plan.has(Kind::Unclean)
                && !plan.has(Kind::StateLoss)
                && !plan.has(Kind::SourceLoss)
                && !plan.has(Kind::Recreate)
                && !plan.is_compacted,
            ..Self::default()
        }
    }

    pub(super) fn violation(&mut self, now: Micros, what: &str) {
        if self.violations.len() < 20 {
            self.violations
                .push(format!("at {} ms: {what}", now / 1_000));
        }
    }

    pub(super) fn stuck(&mut self, now: Micros, what: &str) {
        self.stuck = Some(format!("at {} ms: {what}", now / 1_000));
    }

    /// Notes what an unclean election has taken from a partition of the target; `source` is what
    /// was copied there.
    pub(super) fn target_lost_records(
        &mut self,
        place: &Place,
        source: Option<&Place>,
        records: &[LogRecord],
    ) {
        self.target_losses.insert(place.clone());
        if let Some(source) = source {
            self.acknowledged_lost += self.trust.count_acknowledged(source, records);
        }
    }

    /// Counts a request.
    pub(super) fn request(&mut self, now: Micros, id: InstanceId) {
        let seen = self.seen.entry(id).or_default();
        if seen.second != now / SECOND {
            seen.second = now / SECOND;
            seen.requests = 0;
        }
        seen.requests += 1;
        let requests = seen.requests;
        self.requests_max = self.requests_max.max(requests);
        if requests == REQUESTS_PER_SECOND_MAX {
            self.violation(now, &format!("I13: process {id} asks without end"));
        }
    }

    /// A flow that waits for a time in the past would never sleep; memory has its bound (I12).
    pub(super) fn between_events(
        &mut self,
        (now, id): (Micros, InstanceId),
        instant: Instant,
        flow: &Flow,
    ) {
        if self.proves
            && let Some(what) = self.trust.look(id, flow)
        {
            self.violation(now, &what);
        }
        if flow.deadline().is_some_and(|at| at <= instant) {
            self.violation(now, "I13: the flow wants to be woken in the past");
        }
        self.looks += 1;
        if self.looks.is_multiple_of(HELD_ONE_IN) {
            let held = flow.status().queued_bytes;
            let beyond = held.saturating_sub(self.memory_bytes);
            self.held_beyond_max = self.held_beyond_max.max(beyond);
            if beyond > HELD_BEYOND_BUDGET {
                let budget = self.memory_bytes;
                self.violation(now, &format!("I12: {held} bytes held of {budget}"));
            }
        }
    }

    /// Notes what a process is about to hear.
    pub(super) fn event(&mut self, id: InstanceId, event: &Event, flow: &Flow) {
        self.trust.event(id, event, flow);
        if let Event::Produced { request, .. } = event {
            let seen = self.seen.entry(id).or_default();
            seen.under_way.remove(request);
        }
    }

    pub(super) fn action(
        &mut self,
        (now, id): (Micros, InstanceId),
        action: &Action,
        view: View<'_>,
    ) {
        for what in self.trust.action(id, action, view.flow) {
            if self.proves {
                self.violation(now, &what);
            }
        }
        match action {
            Action::Produce {
                request, batches, ..
            } => {
                let ids: BTreeSet<PartitionId> = batches.iter().map(|(id, _)| *id).collect();
                if ids.len() != batches.len() {
                    self.violation(now, "B11: a partition twice in one Produce");
                }
                for (partition, batch) in batches {
                    self.batch((now, id), *partition, batch);
                    self.lineage((now, id), view, *partition, batch);
                }
                let seen = self.seen.entry(id).or_default();
                seen.under_way
                    .insert(*request, batches.iter().map(|(id, _)| *id).collect());
            }
            Action::StorePositions { records, .. } => {
                for ((topic, partition), next) in decode_all("A", records) {
                    self.position(now, view, &(topic, partition), next);
                }
            }
            Action::WriteState { records, .. } => {
                for record in records {
                    let decoded = state::decode(&record.key, record.value.as_deref());
                    if let Ok((key, Some(entry))) = decoded {
                        self.state((now, id), view, &key.place, &entry);
                    }
                }
            }
            // What was under way belongs to nothing any more.
            Action::Report(Notice::TransactionAborted { .. }) => {
                self.seen.entry(id).or_default().under_way.clear();
            }
            // What a proof has found needs no acknowledgement any more.
            Action::Report(Notice::Partition {
                source,
                notice:
                    PartitionNotice::LineageContinued { .. } | PartitionNotice::LineageOpened { .. },
                ..
            }) => {
                let is_of = |partition: &PartitionId| {
                    view.flow.names(*partition).is_some_and(|names| {
                        *names.topic == source.topic && names.partition == source.partition
                    })
                };
                let seen = self.seen.entry(id).or_default();
                for partitions in seen.under_way.values_mut() {
                    partitions.retain(|partition| !is_of(partition));
                }
            }
            _ => {}
        }
    }

    fn state(
        &mut self,
        (now, id): (Micros, InstanceId),
        view: View<'_>,
        place: &state::Place,
        entry: &Entry,
    ) {
        let place: Place = (place.topic.to_string(), place.partition);
        match entry {
            Entry::Owner(owner) => {
                self.owned.insert((id, place), owner.generation);
            }
            // I4: an anchor says no more than is true.
            Entry::Anchor(anchor) => self.position(now, view, &place, anchor.source_offset),
            Entry::Claim(_) | Entry::Gap(_) | Entry::Map(_) | Entry::Reset(_) => {}
        }
    }

    /// I5: the lineage of a batch has a durable anchor. I14: nobody else writes as this owner.
    fn lineage(
        &mut self,
        (now, id): (Micros, InstanceId),
        view: View<'_>,
        partition: PartitionId,
        batch: &Outgoing,
    ) {
        let Some(names) = view.flow.names(partition).filter(|_| self.is_state_safe) else {
            return;
        };
        let place: Place = (names.topic.to_string(), names.partition);
        let header = BatchHeader::parse(&batch.header).unwrap();
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let lineage = (place.clone(), producer_id, epoch);
        if !self.anchored.contains(&lineage) && view.target.is_state_led() {
            if !is_anchored(view.target, &place, producer_id, epoch) {
                let what = format!("I5: {place:?}: {producer_id}/{epoch} has no durable anchor");
                self.violation(now, &what);
            }
            self.anchored.insert(lineage);
        }
        match self.owned.get(&(id, place.clone())) {
            Some(generation) => {
                let writer = self
                    .writers
                    .entry((place.clone(), *generation))
                    .or_insert(id);
                if *writer != id {
                    let what = format!(
                        "I14: {place:?}: processes {writer} and {id} write as owner {generation}"
                    );
                    self.violation(now, &what);
                }
            }
            None => {
                let what = format!("I14: {place:?}: process {id} writes and owns nothing");
                self.violation(now, &what);
            }
        }
    }

    /// I6: few under way, and the same bytes again.
    fn batch(&mut self, (now, id): (Micros, InstanceId), partition: PartitionId, batch: &Outgoing) {
        let header = BatchHeader::parse(&batch.header).unwrap();
        if let Err(violation) = check_outgoing(&header, batch.payload.len()) {
            self.violation(now, &format!("a batch that no broker takes: {violation}"));
        }
        let seen = self.seen.entry(id).or_default();
        let under_way = seen.under_way.values().flatten();
        let in_flight = under_way.filter(|other| **other == partition).count() + 1;
        let key = (
            partition,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        );
        let bytes = (batch.header, batch.payload.clone());
        let first = seen.sent.entry(key).or_insert_with(|| bytes.clone());
        // Without sequence numbers all batches go by one name, and one by one.
        let is_sequenced = header.producer_id >= 0;
        let is_same = *first == bytes;
        if is_sequenced && !is_same {
            self.violation(now, &format!("I6: another batch under {key:?}"));
        }
        let most = if is_sequenced {
            limits::IN_FLIGHT_PER_PARTITION_MAX
        } else {
            1
        };
        if in_flight > most && (is_sequenced || self.is_state_safe) {
            self.violation(
                now,
                &format!("I6: {in_flight} batches of a partition under way"),
            );
        }
    }

    /// I2: everything below a stored position is on the target.
    fn position(&mut self, now: Micros, view: View<'_>, place: &Place, next: i64) {
        let from = self.compared.get(place).copied().unwrap_or(0);
        let remote = remote(&place.0);
        // Where nobody leads there is nothing to look at.
        let is_led = view.target.cluster.leader(&remote, place.1).is_some();
        if !self.is_target_safe || !is_led || next <= from {
            return;
        }
        self.compared.insert(place.clone(), next);
        let remote = view.target.read_ever(&remote, place.1).into_iter();
        let copied: BTreeSet<Rc<Content>> = remote.map(|record| record.content).collect();
        for record in view.source.read(&place.0, place.1) {
            let is_below = (from..next).contains(&record.offset);
            if is_below && !copied.contains(&record.content) {
                let ledger = view.workload.ledgers.get(place);
                let entry = ledger.and_then(|ledger| ledger.get(&record.content));
                if !entry.is_some_and(|entry| entry.is_aborted) {
                    let (topic, partition) = place;
                    let what = format!(
                        "I2: position {next} of {topic}-{partition} stored, {} not copied",
                        record.offset
                    );
                    self.violation(now, &what);
                }
            }
        }
    }
}

/// Both clusters, and what was written.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) source: &'a ClusterSide,
    pub(super) target: &'a ClusterSide,
    pub(super) workload: &'a Workload,
    /// That of the process at hand.
    pub(super) flow: &'a Flow,
}

fn is_anchored(target: &ClusterSide, place: &Place, producer_id: i64, epoch: i16) -> bool {
    let mut records = target.state_records();
    records.any(|(other, entry)| match entry {
        Entry::Anchor(anchor) => {
            other == *place
                && anchor.lineage.producer_id == producer_id
                && anchor.lineage.epoch == epoch
        }
        _ => false,
    })
}
