//! The coordinator of a flow's transactions, and what readers of committed records see.

use std::collections::{BTreeMap, BTreeSet};

use kmirror::flow::Notice;
use kmirror_protocol::records::{ControlType, LogEntry, batches, records};

use super::{
    clusters::{ClusterSide, LogRecord, Place},
    faults::HEAL_TIME,
    network::InstanceId,
    options::TRANSACTIONAL_ID,
    plan::{MS, Micros},
    world::{Phase, STOP_TIME, Step, World},
};

impl World {
    /// Writes the markers of what has ended, and holds back those of the next for a while: Kafka
    /// answers EndTxn before it writes them.
    pub(super) fn write_markers(&mut self) {
        let time = self.target.time(self.now);
        let cluster = &mut self.target.cluster;
        cluster.release_markers(time, TRANSACTIONAL_ID);
        cluster.hold_markers(TRANSACTIONAL_ID);
        let longest = [3, 60, 400][self.rng.usize(0..3)];
        let at = self.now + self.rng.u64(1..=longest) * MS;
        self.at(at, Step::Markers);
    }

    /// Whether a process has given a transaction up while it stopped: a request of a dead one came
    /// late (B13). Nothing is lost, but not everything is copied until the next start.
    pub(super) fn has_aborted(&self, id: InstanceId, stop_until: Micros) -> bool {
        let stopped_at = stop_until - STOP_TIME;
        let mut notices = self.instances[id].notices.iter();
        notices.any(|(at, notice)| {
            *at >= stopped_at && matches!(notice, Notice::TransactionAborted { .. })
        })
    }

    /// Starts a process in the place of one that has ended too early.
    pub(super) fn copy_again(&mut self, id: InstanceId) {
        self.restarts += 1;
        self.kill(id);
        self.start();
        self.phase = Phase::Healing {
            until: self.now + HEAL_TIME,
        };
        self.at(self.now, Step::Look);
    }

    /// Writes those that are still held back when a run has ended.
    pub(super) fn write_last_markers(&mut self) {
        let time = self.target.time(self.now);
        self.target.cluster.release_markers(time, TRANSACTIONAL_ID);
    }
}

/// What a log says about its transactions.
#[derive(Debug, Default)]
struct Fates {
    /// First and last offset of each batch, by producer.
    open: BTreeMap<i64, Vec<(i64, i64)>>,
    aborted: BTreeSet<(i64, i64)>,
}

impl ClusterSide {
    /// The records of a partition that a reader of committed ones sees, and whether a transaction
    /// is still open there.
    pub(super) fn read_committed(&self, (topic, partition): (&str, i32)) -> (Vec<LogRecord>, bool) {
        let pieces = self.cluster.log_batches(topic, partition);
        let blob = pieces.unwrap_or_default().concat();
        let mut fates = Fates::default();
        for entry in batches(&blob) {
            let Ok(LogEntry::Batch(batch)) = entry else {
                panic!("{topic}-{partition} holds what is no batch");
            };
            let header = &batch.header;
            let producer = header.producer_id;
            if header.attributes.is_control() {
                let record = records(batch.payload, header.record_count).next();
                let key = record.unwrap().unwrap().key.unwrap();
                let written = fates.open.remove(&producer).unwrap_or_default();
                if ControlType::parse(key).unwrap() == ControlType::Abort {
                    fates.aborted.extend(written);
                }
            } else if header.attributes.is_transactional() {
                let range = (header.base_offset, header.last_offset());
                fates.open.entry(producer).or_default().push(range);
            }
        }
        let is_open = !fates.open.is_empty();
        fates.aborted.extend(fates.open.into_values().flatten());
        let is_hidden = |offset: i64| {
            let before = fates.aborted.range(..=(offset, i64::MAX)).next_back();
            before.is_some_and(|(_, last)| offset <= *last)
        };
        let mut read = self.read(topic, partition);
        read.retain(|record| !is_hidden(record.offset));
        (read, is_open)
    }

    /// What is wrong with a partition when a run has ended.
    pub(super) fn hanging_transaction(&self, (topic, partition): &Place) -> Option<String> {
        let (_, is_open) = self.read_committed((topic, *partition));
        is_open.then(|| format!("{topic}-{partition}: a transaction is open for ever"))
    }
}
