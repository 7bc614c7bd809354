//! Offset syncs: which offset of a source partition is which on the target, for MM2's readers.
//!
//! kmirror translates by its own map and reads no syncs. It publishes them so that MM2's checkpoint
//! task can go on where kmirror stops: for each partition that has moved, the newest pair, as often as
//! positions are stored. That is more often than MM2 where records come quickly, and as often as its
//! flush of what it held back elsewhere, so that `offset.lag.max` has no use here. A pair is never
//! beyond the truth: MM2 reads it as "who is behind this record goes on after its copy at the most".
//! Source: `OffsetSyncWriter`, `OffsetSyncStore.translateDownstream`.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Action, Failure, Flow, PartitionId, PublishedKind, Side, Translated,
    event::wait_for,
    published::{Published, PublishedTopic, Step},
};
use crate::offsets::{mirror_records::OffsetSync, source_offsets::StoredRecord};

/// Where syncs are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncsTopic {
    /// On which cluster (`offset-syncs.topic.location`).
    pub side: Side,
    /// The topic there.
    pub topic: PublishedTopic,
}

/// What is published of a flow, and what is to be.
#[derive(Debug)]
pub(super) struct OffsetSyncs {
    side: Side,
    topic: Published,
    moved: BTreeSet<PartitionId>,
    /// Of the write under way.
    writing: BTreeSet<PartitionId>,
    write_at: Instant,
}

impl OffsetSyncs {
    pub(super) fn new(topic: &SyncsTopic, write_at: Instant) -> Self {
        Self {
            side: topic.side,
            topic: Published::new(topic.topic.clone(), write_at),
            moved: BTreeSet::new(),
            writing: BTreeSet::new(),
            write_at,
        }
    }

    /// Notes that a partition stands elsewhere now.
    pub(super) fn moved(&mut self, id: PartitionId) {
        self.moved.insert(id);
    }

    /// Publishes without waiting for the interval.
    pub(super) const fn write_soon(&mut self, now: Instant) {
        self.write_at = now;
    }

    /// When something is to be done. Whoever stops creates no topic in which there will be nothing.
    pub(super) fn deadline(&self, is_stopping: bool) -> Option<Instant> {
        let due = self.due();
        (!is_stopping || due.is_some())
            .then(|| self.topic.deadline(due))
            .flatten()
    }

    /// When there is something to write, if there is.
    fn due(&self) -> Option<Instant> {
        (!self.moved.is_empty()).then_some(self.write_at)
    }

    /// Whether a stop need not wait: everything is published, or will not be before long.
    pub(super) fn is_settled(&self) -> bool {
        !self.topic.is_busy() && (self.moved.is_empty() || self.topic.is_failing())
    }

    /// What is to be done now.
    fn next(&mut self, now: Instant, is_stopping: bool) -> Option<Step> {
        self.deadline(is_stopping)?;
        self.topic.next(now, self.due())
    }

    /// Takes the outcome of a write; returns what to tell the operator.
    fn written(&mut self, now: Instant, result: Result<(), Failure>) -> Option<Failure> {
        let writing = std::mem::take(&mut self.writing);
        if result.is_err() {
            self.moved.extend(writing);
        }
        self.topic.written(now, result)
    }
}

impl Flow {
    pub(super) fn schedule_offset_syncs(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let interval = self.options.positions_interval;
        let is_stopping = self.drain.is_some();
        let Some(syncs) = &mut self.offset_syncs else {
            return;
        };
        let (side, kind) = (syncs.side, PublishedKind::OffsetSyncs);
        match syncs.next(now, is_stopping) {
            None => {}
            Some(Step::Create(topic)) => {
                actions.push(Action::CreatePublished { kind, side, topic });
            }
            Some(Step::Write) => {
                syncs.write_at = now
                    + if is_stopping {
                        Duration::ZERO
                    } else {
                        interval
                    };
                syncs.writing = std::mem::take(&mut syncs.moved);
                let (topic, writing) = (Arc::clone(syncs.topic.name()), syncs.writing.clone());
                let records = writing.iter().filter_map(|id| self.newest_sync(*id));
                actions.push(Action::Publish {
                    kind,
                    side,
                    topic,
                    records: records.collect(),
                });
            }
        }
    }

    /// The pair for where a partition stands: the offset before its position, on both sides. Whoever
    /// is at the position or behind it goes on after that on the target, which is just its place there.
    fn newest_sync(&self, id: PartitionId) -> Option<StoredRecord> {
        let partition = &self.slot(id)?.partition;
        let position = partition.copied_offset()?;
        let Translated::At(found) = self.translate(&partition.source, position) else {
            return None;
        };
        let upstream_offset = position.checked_sub(1).filter(|offset| *offset >= 0)?;
        let downstream_offset = found.target_offset.checked_sub(1)?;
        let sync = OffsetSync {
            topic: partition.source.topic.to_string(),
            partition: partition.source.partition,
            upstream_offset,
            downstream_offset: (downstream_offset >= 0).then_some(downstream_offset)?,
        };
        sync.encode()
    }

    pub(super) fn offset_syncs_created(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let syncs = self.offset_syncs.as_mut();
        let news = syncs.and_then(|syncs| syncs.topic.created(now, result));
        self.tell_of_syncs(news, actions);
    }

    pub(super) fn offset_syncs_published(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let syncs = self.offset_syncs.as_mut();
        let news = syncs.and_then(|syncs| syncs.written(now, result));
        self.tell_of_syncs(news, actions);
    }

    fn tell_of_syncs(&self, news: Option<Failure>, actions: &mut Vec<Action>) {
        if let Some(syncs) = &self.offset_syncs {
            wait_for(syncs.side, "storing offset syncs", news, actions);
        }
    }
}
