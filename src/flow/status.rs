//! What a flow has done and where it stands, as numbers.

use std::{collections::BTreeMap, sync::Arc};

use kmirror_protocol::records::{BatchHeader, HEADER_LEN};

use super::{
    Flow, Side, TopicPartition,
    batch::{Decision, DropReason, RebuildReason},
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
    /// Offsets that the source no longer had when their turn came.
    pub gap_records: u64,
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

    /// Adds what another partition has done.
    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.records += other.records;
        self.bytes += other.bytes;
        self.gap_records += other.gap_records;
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
    /// Records on the source that are not yet on the target, as far as known.
    pub lag: i64,
    /// The partitions that stand still.
    pub halted: Vec<PartitionStatus>,
    /// Record bytes held.
    pub queued_bytes: usize,
    /// Which clusters do not answer.
    pub unreachable: Vec<Side>,
}

impl Flow {
    /// Where every partition stands.
    pub fn partition_statuses(&self) -> impl Iterator<Item = PartitionStatus> {
        self.slots.iter().map(|slot| PartitionStatus {
            source: slot.partition.source.clone(),
            remote_topic: Arc::clone(&slot.partition.remote_topic),
            copied_offset: slot.partition.copied_offset(),
            lag: slot.partition.lag(),
            halted: slot.partition.halt_reason().map(ToString::to_string),
        })
    }

    /// Where the flow stands.
    #[must_use]
    pub fn status(&self) -> FlowStatus {
        let mut status = FlowStatus {
            partitions: self.slots.len(),
            queued_bytes: self.transfer.held.bytes,
            ..FlowStatus::default()
        };
        for slot in &self.slots {
            let counters = slot.partition.counters();
            status.counters.add(counters);
            let topic = Arc::clone(&slot.partition.source.topic);
            *status.records_by_topic.entry(topic).or_default() += counters.records;
            status.lag += slot.partition.lag().unwrap_or(0);
        }
        status.halted = self
            .partition_statuses()
            .filter(|one| one.halted.is_some())
            .collect();
        let sides = [Side::Source, Side::Target];
        status.unreachable = sides
            .into_iter()
            .filter(|side| self.discovery.is_unreachable(*side))
            .collect();
        status
    }
}
