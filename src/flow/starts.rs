//! Where copying of a new partition begins: from what is wanted and what the source says to an
//! offset.
//!
//! The log's range comes first, then, where a time or a group is wanted, one question more. The
//! order matters: records that come in between are above the range, and are copied.
//!
//! | wanted | in the log | below its start | above its end |
//! |---|---|---|---|
//! | `offset:N`, `group:NAME` | there | at the start, and what is missing counts as a gap | the partition halts: what will be there is not what was meant |
//! | `timestamp:T` | the first record that is not older | | at the end, when every record is older |
//!
//! What is below the beginning is not missing: it was not wanted. It is told with its offsets, and
//! nowhere recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    Action, Failure, Flow, LogRange, PartitionId, PartitionNotice, Side, groups::CommittedOffset,
    halt::HaltReason,
};
use crate::policy::StartAt;

/// What the source is asked, beside the range of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartQuestion {
    /// The first offset with this timestamp or a later one, in milliseconds since 1970.
    Time(i64),
    /// What this group has committed.
    Committed(Arc<str>),
}

impl StartQuestion {
    /// What a beginning takes more than the range of the log.
    #[must_use]
    pub fn of(wanted: &StartAt) -> Option<Self> {
        match wanted {
            StartAt::Timestamp(millis) => Some(Self::Time(*millis)),
            StartAt::Group { group, .. } => Some(Self::Committed(Arc::clone(group))),
            StartAt::Earliest | StartAt::Latest | StartAt::Offset(_) => None,
        }
    }
}

/// What is known of a beginning.
#[derive(Clone, Debug)]
pub struct Search {
    wanted: StartAt,
    /// What holds now: another one where a group has committed nothing.
    now: StartAt,
    range: LogRange,
    /// The answer to the question that belongs to it.
    found: Option<Option<i64>>,
}

/// What follows from what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A question comes first.
    Ask,
    /// Copying begins.
    At(FoundStart),
    /// It was to begin beyond the end of the log.
    Beyond(HaltReason),
}

/// The offset at which copying begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundStart {
    /// The first offset to copy.
    pub source_offset: i64,
    /// The one that was wanted, where the source has deleted it.
    pub deleted_from: Option<i64>,
}

impl Search {
    /// What is wanted of a log that had this range.
    #[must_use]
    pub fn new(wanted: StartAt, range: LogRange) -> Self {
        Self {
            now: wanted.clone(),
            wanted,
            range,
            found: None,
        }
    }

    /// What is to be asked, if anything is.
    #[must_use]
    pub fn question(&self) -> Option<StartQuestion> {
        let is_open = self.found.is_none();
        is_open.then(|| StartQuestion::of(&self.now)).flatten()
    }

    /// Takes the answer: an offset, if there is one. Another question may follow.
    pub fn answered(&mut self, found: Option<i64>) {
        match (&self.now, found) {
            (StartAt::Group { otherwise, .. }, None) => self.now = (**otherwise).clone(),
            _ => self.found = Some(found),
        }
    }

    /// What follows.
    #[must_use]
    pub fn begin(&self) -> Begin {
        let LogRange {
            start_offset,
            end_offset,
        } = self.range;
        let at = |source_offset: i64| {
            Begin::At(FoundStart {
                source_offset,
                deleted_from: None,
            })
        };
        match (&self.now, self.found) {
            (StartAt::Timestamp(_) | StartAt::Group { .. }, None) => Begin::Ask,
            (StartAt::Earliest, _) => at(start_offset),
            (StartAt::Latest, _) | (_, Some(None)) => at(end_offset),
            // Deleted since the range was asked for.
            (StartAt::Timestamp(_), Some(Some(found))) => at(found.max(start_offset)),
            (StartAt::Offset(offset), _) => self.begin_at(*offset),
            (StartAt::Group { .. }, Some(Some(offset))) => self.begin_at(offset),
        }
    }

    fn begin_at(&self, offset: i64) -> Begin {
        if offset > self.range.end_offset {
            return Begin::Beyond(HaltReason::StartBeyondEnd {
                wanted: self.now.clone(),
                start_offset: offset,
                log_end_offset: self.range.end_offset,
            });
        }
        let is_deleted = offset < self.range.start_offset;
        Begin::At(FoundStart {
            source_offset: offset.max(self.range.start_offset),
            deleted_from: is_deleted.then_some(offset),
        })
    }

    /// What there is to tell: that records are left out, or that another rule held than the one that
    /// was wanted.
    #[must_use]
    pub fn notice(&self, start: FoundStart) -> Option<PartitionNotice> {
        let instead = (self.now != self.wanted).then(|| self.now.clone());
        let is_worth_telling = start.source_offset > self.range.start_offset || instead.is_some();
        is_worth_telling.then(|| PartitionNotice::Begins {
            wanted: self.wanted.clone(),
            instead,
            source_offset: start.source_offset,
            source: self.range,
        })
    }
}

/// Who waits for what a group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiter {
    /// A partition that goes on without a proof.
    Partition(PartitionId),
    /// A recovery, and the stint in which it asked.
    Recovery(PartitionId, u32),
}

/// Groups whose positions are being asked for.
#[derive(Debug, Default)]
pub(super) struct Starts {
    groups: BTreeMap<Arc<str>, BTreeSet<Waiter>>,
}

impl Flow {
    /// Asks what a group has committed, for a partition or for its recovery; one question serves
    /// all that wait for the answer.
    pub(super) fn ask_committed(
        &mut self,
        group: Arc<str>,
        id: PartitionId,
        stint: Option<u32>,
        actions: &mut Vec<Action>,
    ) {
        let waiter = match stint {
            Some(stint) => Waiter::Recovery(id, stint),
            None => Waiter::Partition(id),
        };
        let waiting = self.starts.groups.entry(Arc::clone(&group)).or_default();
        if waiting.is_empty() {
            actions.push(Action::AskCommitted { group });
        }
        waiting.insert(waiter);
    }

    /// Takes what a group has committed on the source.
    pub(super) fn group_position(
        &mut self,
        now: Instant,
        group: &Arc<str>,
        result: Result<Vec<CommittedOffset>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let waiting = self.starts.groups.remove(group).unwrap_or_default();
        let result = result.map(|offsets| {
            let each = offsets.into_iter();
            let each = each.map(|it| ((it.topic, it.partition), it.offset));
            each.collect::<BTreeMap<_, _>>()
        });
        self.note_failure(now, Side::Source, result.as_ref().err());
        for waiter in waiting {
            let (Waiter::Partition(id) | Waiter::Recovery(id, _)) = waiter;
            let Some(slot) = self.slot(id) else { continue };
            let source = &slot.partition.source;
            let key = (Arc::clone(&source.topic), source.partition);
            let found = result.as_ref().map_err(Clone::clone);
            // A group that has committed nothing for a partition may say so with -1.
            let found = found.map(|offsets| offsets.get(&key).copied().filter(|it| *it >= 0));
            match waiter {
                Waiter::Partition(_) => self.with_partition(now, id, actions, |partition| {
                    partition.start_found(now, found)
                }),
                Waiter::Recovery(_, stint) => {
                    self.recovery_committed(now, id, stint, found, actions);
                }
            }
        }
    }
}
