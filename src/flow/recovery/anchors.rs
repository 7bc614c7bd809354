//! Which anchors are worth believing (R10).
//!
//! An anchor is true when both logs still have what was below it. Same offset and same leader epoch
//! imply the same prefix, on either side; the identity of a record alone does not, because a late
//! resend can put the same batch at the same offset of another log.

use kmirror_protocol::{
    records::{BatchHeader, LogEntry, batches},
    wire::Uuid,
};

use super::super::{EpochEnd, LogRange};
use crate::offsets::state::{Anchor, RecordIdentity};

/// The anchors that may be true, the one that spares most first.
///
/// Left out are those of other topics of the same name, and those beyond the end of a log.
#[must_use]
pub fn candidates<'a>(
    anchors: impl Iterator<Item = &'a Anchor>,
    (source_topic_id, target_topic_id): (Uuid, Uuid),
    source: LogRange,
    target: LogRange,
) -> Vec<Anchor> {
    let is_same = |a: Uuid, b: Uuid| a.is_zero() || b.is_zero() || a == b;
    let mut possible: Vec<Anchor> = anchors
        .filter(|anchor| is_same(anchor.source_topic_id, source_topic_id))
        .filter(|anchor| is_same(anchor.target_topic_id, target_topic_id))
        .filter(|anchor| anchor.source_offset <= source.end_offset)
        .filter(|anchor| anchor.target_offset <= target.end_offset)
        .cloned()
        .collect();
    possible.sort_by_key(|anchor| {
        let place = (anchor.source_offset, anchor.target_offset);
        std::cmp::Reverse((place, anchor.generation, anchor.counter))
    });
    possible
}

/// The anchor written last, whatever it is worth: it names the newest lineage.
#[must_use]
pub fn newest<'a>(anchors: impl Iterator<Item = &'a Anchor>) -> Option<&'a Anchor> {
    anchors.max_by_key(|anchor| (anchor.generation, anchor.counter))
}

/// What is to be checked next of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether the source still has the epoch of the last batch below, up to the anchor.
    SourceEpoch(i32),
    /// Which record comes before it on the target, at this offset.
    Previous(i64),
    /// Whether the target still has that epoch up to the anchor: the record itself is gone.
    TargetEpoch(i32),
}

/// The first check of an anchor, if it needs any.
#[must_use]
pub fn first_check(anchor: &Anchor, target: LogRange) -> Option<Check> {
    if anchor.source_epoch >= 0 && anchor.source_offset > 0 {
        return Some(Check::SourceEpoch(anchor.source_epoch));
    }
    target_check(anchor, target)
}

/// The check on the target's side, if it needs one.
#[must_use]
pub fn target_check(anchor: &Anchor, target: LogRange) -> Option<Check> {
    let previous = anchor.previous?;
    let offset = anchor.target_offset.checked_sub(1)?;
    Some(if offset >= target.start_offset {
        Check::Previous(offset)
    } else {
        Check::TargetEpoch(previous.leader_epoch)
    })
}

/// Whether a log agrees with an epoch up to an offset.
///
/// The answer names the largest epoch that is not above the one asked for: another one means that
/// the log never had it, or lost it.
#[must_use]
pub const fn agrees(asked_epoch: i32, end: EpochEnd, offset: i64) -> bool {
    end.epoch == asked_epoch && end.end_offset >= offset
}

/// The record at `offset` as a Fetch at that offset shows it; `None` when compaction took it, or
/// the answer does not reach it.
#[must_use]
pub fn identity_at(records: &[u8], offset: i64) -> Option<RecordIdentity> {
    let entries = batches(records).filter_map(Result::ok);
    let mut headers = entries.filter_map(|entry| match entry {
        LogEntry::Batch(batch) => Some(batch.header),
        LogEntry::Legacy(_) => None,
    });
    let header = headers.find(|header| header.last_offset() >= offset)?;
    (header.base_offset <= offset).then(|| identity(&header, offset))
}

/// The identity of the record at `offset` of a batch.
#[must_use]
pub fn identity(header: &BatchHeader, offset: i64) -> RecordIdentity {
    let delta = i32::try_from(offset.saturating_sub(header.base_offset)).unwrap_or(i32::MAX);
    let sequence = if header.base_sequence < 0 {
        -1
    } else {
        kmirror_protocol::records::sequence_after(header.base_sequence, delta)
    };
    RecordIdentity {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        sequence,
        leader_epoch: header.partition_leader_epoch,
    }
}
