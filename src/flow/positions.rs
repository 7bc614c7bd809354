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

use super::{Action, Failure, Flow, Notice, PartitionId, Side, TopicPartition};
use crate::offsets::source_offsets::{StoredRecord, decode_all, encode};

/// What a flow knows of stored positions.
#[derive(Debug)]
pub(super) struct Positions {
    partition_count: Option<i32>,
    is_loading: bool,
    load_at: Option<Instant>,
    loaded: Option<BTreeMap<(String, i32), i64>>,
    changed: BTreeSet<PartitionId>,
    storing: BTreeSet<PartitionId>,
    is_storing: bool,
    store_at: Instant,
    is_failing: bool,
}

impl Positions {
    pub(super) const fn new(store_at: Instant) -> Self {
        Self {
            partition_count: None,
            is_loading: false,
            load_at: None,
            loaded: None,
            changed: BTreeSet::new(),
            storing: BTreeSet::new(),
            is_storing: false,
            store_at,
            is_failing: false,
        }
    }

    pub(super) const fn topic_found(&mut self, partition_count: i32) {
        self.partition_count = Some(partition_count);
    }

    /// Notes that nothing can be stored, because the offsets topic has just been created.
    pub(super) fn none_stored(&mut self) {
        self.loaded.get_or_insert_default();
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

    pub(super) fn deadline(&self) -> Option<Instant> {
        let store_at = (!self.changed.is_empty() && !self.is_storing).then_some(self.store_at);
        let load_at = self
            .load_at
            .filter(|_| !self.is_loading && self.loaded.is_none());
        [store_at, load_at].into_iter().flatten().min()
    }
}

impl Flow {
    pub(super) fn schedule_positions(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.load_positions(now, actions);
        let positions = &mut self.positions;
        let is_due = now >= positions.store_at || self.drain_until.is_some();
        let Some(partition_count) = positions.partition_count else {
            return;
        };
        if !is_due || positions.is_storing || positions.changed.is_empty() {
            return;
        }
        positions.storing = std::mem::take(&mut positions.changed);
        positions.is_storing = true;
        positions.store_at = now + self.options.positions_interval;
        let records = positions.storing.iter().filter_map(|id| {
            let partition = &self.slots.get(usize::try_from(id.0).ok()?)?.partition;
            let TopicPartition {
                topic,
                partition: number,
            } = &partition.source;
            encode(
                &self.options.source_alias,
                topic,
                *number,
                partition.copied_offset()?,
            )
        });
        actions.push(Action::StorePositions {
            topic: Arc::clone(&self.options.offsets_topic.name),
            partition_count,
            records: records.collect(),
        });
    }

    fn load_positions(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let positions = &mut self.positions;
        let may = positions.loaded.is_none()
            && !positions.is_loading
            && positions.partition_count.is_some()
            && positions.load_at.is_none_or(|at| at <= now);
        if may {
            positions.is_loading = true;
            actions.push(Action::LoadPositions(Arc::clone(
                &self.options.offsets_topic.name,
            )));
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
                positions.is_failing = false;
                actions.push(Action::Report(Notice::PositionsLoaded { partitions }));
                self.compare(now, actions);
            }
            Err(failure) => {
                positions.load_at = Some(now + super::retry::backoff(2, 0));
                if !std::mem::replace(&mut positions.is_failing, true) {
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
        let positions = &mut self.positions;
        positions.is_storing = false;
        let stored = std::mem::take(&mut positions.storing);
        match result {
            Ok(()) => positions.is_failing = false,
            Err(failure) => {
                positions.changed.extend(stored);
                positions.store_at = now + self.options.positions_interval;
                if !std::mem::replace(&mut positions.is_failing, true) {
                    let (side, purpose) = (Side::Target, "storing positions");
                    actions.push(Action::Report(Notice::Waiting {
                        side,
                        purpose,
                        failure,
                    }));
                }
            }
        }
    }
}
