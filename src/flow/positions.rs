//! What has been copied, kept where MirrorMaker 2 keeps it.
//!
//! Positions are loaded once, before anything is copied, and stored whenever they have moved and
//! the interval has passed. One store is under way at a time; what moves meanwhile goes with the
//! next. A position is stored only after the target acknowledged everything below it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    Action, Failure, Flow, Notice, PartitionId, Side, TopicPartition, retry::Backoff,
    transaction::commit::Transactions,
};
use crate::offsets::source_offsets::{StoredRecord, decode_all, encode};

/// What a flow knows of stored positions.
#[derive(Debug)]
pub(super) struct Positions {
    partition_count: Option<i32>,
    is_loading: bool,
    loaded: Option<BTreeMap<(String, i32), i64>>,
    changed: BTreeSet<PartitionId>,
    storing: BTreeSet<PartitionId>,
    /// Partitions of stores that failed: a broker may still take one after the next.
    doubtful: BTreeSet<PartitionId>,
    is_storing: bool,
    /// Whether what is being stored belongs to a transaction that has been given up.
    is_stale: bool,
    store_at: Instant,
    failures: Backoff,
}

impl Positions {
    pub(super) const fn new(store_at: Instant) -> Self {
        Self {
            partition_count: None,
            is_loading: false,
            loaded: None,
            changed: BTreeSet::new(),
            storing: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            is_storing: false,
            is_stale: false,
            store_at,
            failures: Backoff::new(),
        }
    }

    /// Notes how many partitions the offsets topic has, or that it is missing; tells whether it
    /// is there again after having been missing.
    pub(super) fn topic_seen(&mut self, partition_count: Option<i32>) -> bool {
        let was_missing = self.partition_count.is_none();
        self.partition_count = partition_count;
        was_missing && partition_count.is_some() && self.is_loaded()
    }

    /// Stores what has changed without waiting for the interval.
    pub(super) fn store_soon(&mut self, now: Instant) {
        self.store_at = self.failures.until().unwrap_or(now);
    }

    pub(super) const fn is_loaded(&self) -> bool {
        self.loaded.is_some()
    }

    /// Whether nothing waits to be stored.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_storing && self.changed.is_empty()
    }

    pub(super) fn stored(&self, source: &TopicPartition) -> Option<i64> {
        let key = (source.topic.to_string(), source.partition);
        self.loaded.as_ref()?.get(&key).copied()
    }

    pub(super) fn changed(&mut self, id: PartitionId) {
        self.changed.insert(id);
    }

    fn can_store(&self) -> bool {
        self.partition_count.is_some() && !self.is_storing && !self.changed.is_empty()
    }

    fn can_load(&self) -> bool {
        self.partition_count.is_some() && !self.is_loading && self.loaded.is_none()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.can_load() {
            return self.failures.until();
        }
        self.can_store().then_some(self.store_at)
    }

    /// Whether the offsets topic has been seen.
    pub(super) const fn is_topic_known(&self) -> bool {
        self.partition_count.is_some()
    }

    /// How many partitions the offsets topic has.
    pub(super) fn partition_count(&self) -> i32 {
        self.partition_count.unwrap_or(1)
    }

    /// Whether a position has moved since the last one was taken to be stored.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn take_changes(&mut self) -> BTreeSet<PartitionId> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn unchanged(&mut self, id: PartitionId) {
        self.changed.remove(&id);
    }

    /// Forgets what was read and what has moved: both are read again.
    pub(super) fn forget(&mut self) {
        self.loaded = None;
        self.changed.clear();
        self.failures.succeed();
        self.is_stale = self.is_storing;
    }

    pub(super) fn may_store(&self, now: Instant) -> bool {
        !self.is_storing && !self.failures.is_waiting(now)
    }

    pub(super) const fn store_begun(&mut self) {
        self.is_storing = true;
    }

    /// Notes an answer; tells whether it is about what is to be stored now.
    pub(super) const fn store_ended(&mut self) -> bool {
        self.is_storing = false;
        !std::mem::replace(&mut self.is_stale, false)
    }

    pub(super) const fn store_succeeded(&mut self) {
        self.failures.succeed();
    }

    /// When positions that could not be stored within a transaction are sent again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failures.until().filter(|_| !self.is_storing)
    }

    /// Notes a failure; returns when to try again, and whether to tell: once, and only if it
    /// happens twice, since the brokers of a new topic need a moment to learn who leads it.
    fn failed(&mut self, now: Instant) -> (Instant, bool) {
        let at = self.failures.fail(now, 0);
        (at, self.failures.attempt() == 2)
    }
}

impl Flow {
    pub(super) fn schedule_positions(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.load_positions(now, actions);
        if self.transactions.is_some() {
            return;
        }
        let positions = &mut self.positions;
        let Some(partition_count) = positions.partition_count else {
            return;
        };
        if !positions.can_store() || now < positions.store_at {
            return;
        }
        positions.storing = std::mem::take(&mut positions.changed);
        let interval = self.options.positions_interval;
        // A flow that stops stores whatever comes in at once.
        positions.store_at = now + interval * u32::from(self.drain.is_none());
        let storing = self.positions.storing.iter();
        let records: Vec<_> = storing.filter_map(|id| self.position_record(*id)).collect();
        self.positions.is_storing = !records.is_empty();
        if self.positions.is_storing {
            actions.push(Action::StorePositions {
                topic: Arc::clone(&self.options.offsets_topic.name),
                partition_count,
                records,
                within: None,
            });
        }
    }

    /// Where a partition stands, as MM2 keeps it; `None` before its first record is copied.
    pub(super) fn position_record(&self, id: PartitionId) -> Option<StoredRecord> {
        let partition = &self.slot(id)?.partition;
        let TopicPartition {
            topic,
            partition: number,
        } = &partition.source;
        let next_offset = partition.copied_offset()?;
        encode(&self.options.source_alias, topic, *number, next_offset)
    }

    fn load_positions(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let transactions = self.transactions.as_ref();
        let may_load = transactions.is_none_or(Transactions::is_loading);
        let positions = &mut self.positions;
        if may_load
            && positions.can_load()
            && !positions.failures.is_waiting(now)
            && self.drain.is_none()
        {
            positions.is_loading = true;
            actions.push(Action::LoadPositions {
                topic: Arc::clone(&self.options.offsets_topic.name),
                // What an open transaction hides could be the newest of them.
                is_whole: transactions.is_some(),
            });
        }
    }

    pub(super) fn positions_loaded(
        &mut self,
        now: Instant,
        result: Result<Vec<StoredRecord>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let positions = &mut self.positions;
        positions.is_loading = false;
        match result {
            Ok(records) => {
                let loaded = decode_all(&self.options.source_alias, &records);
                let partitions = loaded.len();
                positions.loaded = Some(loaded);
                positions.failures.succeed();
                actions.push(Action::Report(Notice::PositionsLoaded { partitions }));
                self.go_back(now, actions);
                self.compare(now, actions);
                self.look_again(now);
            }
            Err(failure) => {
                if let (_, true) = positions.failed(now) {
                    let (side, purpose) = (Side::Target, "the stored positions");
                    actions.push(Action::Report(Notice::Waiting {
                        side,
                        purpose,
                        failure,
                    }));
                }
            }
        }
    }

    pub(super) fn positions_stored(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        if self.transactions.is_some() {
            self.stored_in_transaction(now, result, actions);
            return;
        }
        let positions = &mut self.positions;
        positions.is_storing = false;
        let stored = std::mem::take(&mut positions.storing);
        match result {
            Ok(()) => {
                positions.failures.succeed();
                // Once more, so that a late arrival is not the last word.
                let doubtful = std::mem::take(&mut positions.doubtful);
                positions.changed.extend(doubtful);
            }
            Err(failure) => {
                positions.changed.extend(stored.iter().copied());
                positions.doubtful.extend(stored);
                self.store_failed(now, failure, actions);
            }
        }
    }

    /// Waits before positions are stored again, and tells, once.
    pub(super) fn store_failed(
        &mut self,
        now: Instant,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let (retry_at, is_first) = self.positions.failed(now);
        self.positions.store_at = retry_at;
        if is_first {
            let (side, purpose) = (Side::Target, "storing positions");
            actions.push(Action::Report(Notice::Waiting {
                side,
                purpose,
                failure,
            }));
        }
    }
}
