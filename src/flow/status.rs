//! What a flow has done and where it stands, as numbers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror_protocol::records::{BatchHeader, HEADER_LEN};

use super::{
    Flow, Guarantee, PartitionNotice, Side, Slot, TopicPartition, Weakness,
    batch::{Decision, DropReason, RebuildReason},
    groups::Groups,
    recovery::decide::NewBecause,
};

/// What has been done for one partition, or for many together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches whose payload passed as it came.
    pub passed: u64,
    /// Batches that were decoded and built anew, by reason.
    pub rebuilt: BTreeMap<RebuildReason, u64>,
    /// Batches of which nothing was copied, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Records on the target, acknowledged.
    pub records: u64,
    /// Bytes of batches on the target, acknowledged, headers included.
    pub bytes: u64,
    /// Offsets that the source no longer had when their turn came; of a topic that was created
    /// again nobody knows how many, and they are not in it.
    pub gap_records: u64,
    /// Lineages opened, by reason: each but the first marks a moment of a weaker guarantee.
    pub lineages_opened: BTreeMap<NewBecause, u64>,
    /// Own records found on the target behind the last proven one: they may be there twice.
    pub unmatched_records: u64,
    /// Records of others on the remote partitions, as far as proofs and acknowledgements have met
    /// them; a transaction's marker between two batches counts as one.
    pub foreign_records: u64,
    /// Times the target had forgotten a producer, its state expired or evicted.
    pub producers_forgotten: u64,
}

impl Counters {
    pub(super) fn count(&mut self, decision: Decision) {
        match decision {
            Decision::Pass => self.passed += 1,
            Decision::Rebuild(reason) => *self.rebuilt.entry(reason).or_default() += 1,
            Decision::Drop(reason) => *self.dropped.entry(reason).or_default() += 1,
        }
    }

    pub(super) fn acknowledged(&mut self, header: &BatchHeader, payload_len: usize) {
        self.records += u64::from(header.record_count.unsigned_abs());
        self.bytes += u64::try_from(HEADER_LEN + payload_len).unwrap_or(u64::MAX);
    }

    /// Counts what an operator is told of.
    pub(super) fn noted(&mut self, notice: &PartitionNotice) {
        match notice {
            // `i64::MAX` stands for all that a former topic had.
            PartitionNotice::Gap {
                from_offset,
                to_offset,
                ..
            } if *to_offset < i64::MAX => {
                self.gap_records += to_offset.abs_diff(*from_offset);
            }
            PartitionNotice::LineageOpened {
                because,
                cause,
                unmatched_records,
                ..
            } => {
                *self.lineages_opened.entry(*because).or_default() += 1;
                self.unmatched_records += unmatched_records;
                let is_forgotten = *because == NewBecause::Forgotten || cause.is_forgotten();
                self.producers_forgotten += u64::from(is_forgotten);
            }
            PartitionNotice::LineageContinued {
                cause,
                unmatched_records,
                ..
            } => {
                self.unmatched_records += unmatched_records;
                self.producers_forgotten += u64::from(cause.is_forgotten());
            }
            PartitionNotice::Gap { .. }
            | PartitionNotice::Begins { .. }
            | PartitionNotice::StoredElsewhere { .. }
            | PartitionNotice::Halted(_)
            | PartitionNotice::Resumed => {}
        }
    }

    /// Adds what another partition has done.
    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.records += other.records;
        self.bytes += other.bytes;
        self.gap_records += other.gap_records;
        self.unmatched_records += other.unmatched_records;
        self.foreign_records += other.foreign_records;
        self.producers_forgotten += other.producers_forgotten;
        for (because, count) in &other.lineages_opened {
            *self.lineages_opened.entry(*because).or_default() += count;
        }
        for (reason, count) in &other.rebuilt {
            *self.rebuilt.entry(*reason).or_default() += count;
        }
        for (reason, count) in &other.dropped {
            *self.dropped.entry(*reason).or_default() += count;
        }
    }
}

/// Where one partition stands.
#[derive(Clone, Debug)]
pub struct PartitionStatus {
    /// What is copied.
    pub source: TopicPartition,
    /// Where to.
    pub remote_topic: Arc<str>,
    /// Everything below is on the target.
    pub copied_offset: Option<i64>,
    /// Records on the source that are not yet on the target.
    pub lag: Option<i64>,
    /// Why it stands still, if it does.
    pub halted: Option<String>,
    /// How sure it is that each record comes once.
    pub guarantee: Guarantee,
    /// Records on the target, acknowledged.
    pub records: u64,
    /// Bytes of batches on the target, acknowledged, headers included.
    pub bytes: u64,
    /// For how long records of the source have been missing on the target.
    pub behind: Duration,
    /// How old the newest record of the batch acknowledged last was then, by its own timestamp, in
    /// milliseconds; negative when that lies in the future.
    pub latency_ms: Option<i64>,
}

/// The newest checkpoint of a group on a remote partition.
#[derive(Clone, Debug)]
pub struct CheckpointStatus {
    /// The group.
    pub group: String,
    /// The topic on the target.
    pub remote_topic: String,
    /// The partition's number.
    pub partition: i32,
    /// From asking the source for its groups until the checkpoint was on the target.
    pub latency: Duration,
}

/// Where a flow stands.
#[derive(Clone, Debug, Default)]
pub struct FlowStatus {
    /// All partitions together.
    pub counters: Counters,
    /// Records on the target, acknowledged, by source topic.
    pub records_by_topic: BTreeMap<Arc<str>, u64>,
    /// Partitions that are copied or halted.
    pub partitions: usize,
    /// Whether both clusters have said which topics they have.
    pub is_discovered: bool,
    /// Partitions whose position is still to be proven.
    pub unproven: usize,
    /// Records on the source that are not yet on the target, as far as known.
    pub lag: i64,
    /// The partitions that stand still.
    pub halted: Vec<PartitionStatus>,
    /// Record bytes held.
    pub queued_bytes: usize,
    /// Which clusters do not answer.
    pub unreachable: Vec<Side>,
    /// The weakest guarantee of its partitions.
    pub guarantee: Guarantee,
    /// Partitions whose guarantee is weaker than the one asked for, by reason.
    pub weaker: BTreeMap<Weakness, usize>,
    /// Checkpoints of groups on the target.
    pub checkpoints_published: u64,
    /// Positions of groups committed on the target.
    pub group_offsets_committed: u64,
}

impl FlowStatus {
    /// Partitions that are written without sequence numbers although exactly once is asked for.
    #[must_use]
    pub fn forced_at_least_once(&self) -> usize {
        let forced = self.weaker.iter();
        let forced = forced.filter(|(weakness, _)| weakness.is_forced());
        forced.map(|(_, partitions)| partitions).sum()
    }
}

impl Flow {
    /// Where every partition stood when the flow last heard anything.
    pub fn partition_statuses(&self) -> impl Iterator<Item = PartitionStatus> {
        self.slots.iter().map(|slot| self.partition_status(slot))
    }

    /// Where checkpoints have been published, and how long each took.
    pub fn checkpoint_statuses(&self) -> impl Iterator<Item = CheckpointStatus> {
        self.groups.iter().flat_map(Groups::latencies)
    }

    fn partition_status(&self, slot: &Slot) -> PartitionStatus {
        PartitionStatus {
            source: slot.partition.source.clone(),
            remote_topic: Arc::clone(&slot.partition.remote_topic),
            copied_offset: slot.partition.copied_offset(),
            lag: slot.partition.lag(),
            halted: slot.partition.halt_reason().map(ToString::to_string),
            guarantee: slot.partition.guarantee(),
            records: slot.partition.counters().records,
            bytes: slot.partition.counters().bytes,
            behind: slot.partition.behind(self.seen),
            latency_ms: (slot.partition.newest_record())
                .map(|(timestamp_ms, at)| self.wall_ms(at).saturating_sub(timestamp_ms)),
        }
    }

    /// Where the flow stands.
    #[must_use]
    pub fn status(&self) -> FlowStatus {
        let (checkpoints, commits) = self.groups.as_ref().map_or((0, 0), Groups::counts);
        let mut status = FlowStatus {
            partitions: self.slots.len(),
            is_discovered: self.discovery.is_complete(),
            queued_bytes: self.transfer.held.bytes,
            weaker: self.watch.counts(),
            checkpoints_published: checkpoints,
            group_offsets_committed: commits,
            ..FlowStatus::default()
        };
        for slot in &self.slots {
            let counters = slot.partition.counters();
            status.counters.add(counters);
            status.guarantee = status.guarantee.max(slot.partition.guarantee());
            let topic = Arc::clone(&slot.partition.source.topic);
            *status.records_by_topic.entry(topic).or_default() += counters.records;
            status.lag += slot.partition.lag().unwrap_or(0);
            status.unproven += usize::from(!slot.partition.is_proven());
        }
        let slots = self.slots.iter();
        let halted = slots.filter(|slot| slot.partition.halt_reason().is_some());
        status.halted = halted.map(|slot| self.partition_status(slot)).collect();
        let sides = [Side::Source, Side::Target];
        status.unreachable = sides
            .into_iter()
            .filter(|side| self.discovery.is_unreachable(*side))
            .collect();
        status
    }
}
