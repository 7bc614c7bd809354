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
use crate::offsets::state::{Anchor, Lineage, RecordIdentity};

/// The anchors that may be true, the one that spares most first.
///
/// Left out are those of other topics of the same name, those beyond the end of a log, and those
/// before whose place on the target somebody has begun again later: the log had ended there, which
/// is all that tells of a loss when what was written since has been deleted. What a
/// consumer sees as the end of the source may be behind: a new leader learns late how far its log
/// is committed, and another process may have copied more meanwhile. Where the epoch can tell, it
/// does ([`Check::SourceEpoch`]).
#[must_use]
pub fn candidates<'a>(
    anchors: impl Iterator<Item = &'a Anchor>,
    (source_topic_id, target_topic_id): (Uuid, Uuid),
    source: LogRange,
    target: LogRange,
) -> Vec<Anchor> {
    let is_same = |a: Uuid, b: Uuid| a.is_zero() || b.is_zero() || a == b;
    let of_target: Vec<&Anchor> = anchors
        .filter(|anchor| is_same(anchor.target_topic_id, target_topic_id))
        .collect();
    let mut possible: Vec<Anchor> = of_target
        .iter()
        .filter(|anchor| !of_target.iter().any(|other| is_void_after(anchor, other)))
        .copied()
        .filter(|anchor| is_same(anchor.source_topic_id, source_topic_id))
        .filter(|anchor| has_source_epoch(anchor) || anchor.source_offset <= source.end_offset)
        .filter(|anchor| anchor.target_offset <= target.end_offset)
        .cloned()
        .collect();
    possible.sort_by_key(|anchor| {
        let place = (anchor.source_offset, anchor.target_offset);
        std::cmp::Reverse((place, anchor.generation, anchor.counter))
    });
    possible
}

/// Whether a later anchor shows that the target's log has ended before this one's place since.
fn is_void_after(anchor: &Anchor, other: &Anchor) -> bool {
    let is_later = (other.generation, other.counter) > (anchor.generation, anchor.counter);
    is_later && other.target_offset < anchor.target_offset
}

/// The anchor written last, whatever it is worth: it names the newest lineage.
#[must_use]
pub fn newest<'a>(anchors: impl Iterator<Item = &'a Anchor>) -> Option<&'a Anchor> {
    anchors.max_by_key(|anchor| (anchor.generation, anchor.counter))
}

/// The leader epoch of the source records that a lineage carries, as its anchors say; -1 while it
/// has carried none.
#[must_use]
pub fn carried_epoch<'a>(anchors: impl Iterator<Item = &'a Anchor>, lineage: Lineage) -> i32 {
    let own = anchors.filter(|anchor| anchor.lineage == lineage);
    own.map(|anchor| anchor.carried_epoch).max().unwrap_or(-1)
}

/// What is to be checked next of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether the source still has the epoch of the last batch below, up to the anchor.
    SourceEpoch(i32),
    /// Whether what the source has of this leader's epoch and earlier ones still goes up to the
    /// anchor: the last batch below is gone, and its epoch with it.
    SourceLeader(i32),
    /// Which record comes before it on the target, at this offset.
    Previous(i64),
    /// Whether the target still has that epoch up to the anchor: the record itself is gone.
    TargetEpoch(i32),
    /// Where the target's records of that epoch end, under which the anchor was written: it has
    /// the record before the anchor under a later one.
    LaterEpoch(i32),
    /// Whether nothing but the lineage's records is between this target offset, where later epochs
    /// begin, and the anchor.
    Dense(i64),
}

/// The first check of an anchor, if it needs any.
#[must_use]
pub fn first_check(anchor: &Anchor, target: LogRange) -> Option<Check> {
    if has_source_epoch(anchor) {
        return Some(Check::SourceEpoch(anchor.source_epoch));
    }
    if anchor.source_leader_epoch >= 0 && anchor.source_offset > 0 {
        return Some(Check::SourceLeader(anchor.source_leader_epoch));
    }
    target_check(anchor, target)
}

/// Whether the source can be asked for the epoch of the last batch below an anchor.
#[must_use]
pub const fn has_source_epoch(anchor: &Anchor) -> bool {
    anchor.source_epoch >= 0 && anchor.source_offset > 0
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

/// Whether the target has the record before an anchor, but under a later leader epoch than the one
/// the anchor knew of: a leader may move away and back without its being noticed.
#[must_use]
pub fn is_later(found: &RecordIdentity, previous: &RecordIdentity) -> bool {
    let of_epoch = RecordIdentity {
        leader_epoch: previous.leader_epoch,
        ..*found
    };
    of_epoch == *previous && found.sequence >= 0 && found.leader_epoch > previous.leader_epoch
}

/// From where on the target's records are of later epochs than the one the anchor knew of, if the
/// log has that one; the prefix below is the one that the anchor was written about.
#[must_use]
pub fn later_from(asked_epoch: i32, end: EpochEnd, anchor: &Anchor) -> Option<i64> {
    let is_below = end.epoch == asked_epoch && end.end_offset < anchor.target_offset;
    is_below.then_some(end.end_offset)
}

/// Whether the records from `first_offset` on, of which `first` is the first, up to the anchor are
/// all the lineage's: then they are those that were there when the anchor was written, or their
/// equals in the same places (R2). The target takes no sequence number before the one below it is
/// there (B4), so counting tells.
#[must_use]
pub fn is_dense(first: &RecordIdentity, first_offset: i64, anchor: &Anchor) -> bool {
    let Some(last) = anchor.previous else {
        return false;
    };
    let is_one_lineage = first.producer_id == last.producer_id
        && first.producer_epoch == last.producer_epoch
        && first.sequence >= 0;
    let numbers = last.sequence.wrapping_sub(first.sequence) & i32::MAX;
    let offsets = anchor.target_offset.saturating_sub(1) - first_offset;
    is_one_lineage && i64::from(numbers) == offsets
}

/// Whether a log agrees with an epoch up to an offset.
///
/// The answer names the largest epoch that is not above the one asked for: another one means that
/// the log never had it, or lost it.
#[must_use]
pub const fn agrees(asked_epoch: i32, end: EpochEnd, offset: i64) -> bool {
    end.epoch == asked_epoch && end.end_offset >= offset
}

/// Whether a log still goes up to an offset with what a leader had that went as far.
///
/// Records of later epochs below the offset would have taken the place of others. Where the log has
/// no epoch at all, it has deleted everything or its batches carry none: nothing can be told then.
#[must_use]
pub const fn reaches(end: EpochEnd, offset: i64) -> bool {
    end.epoch < 0 || end.end_offset >= offset
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

#[cfg(test)]
mod tests {
    use kmirror_protocol::records::{BatchBuilder, BatchProducer, Compression, NewRecord};

    use super::*;

    const RANGE: LogRange = LogRange {
        start_offset: 10,
        end_offset: 100,
    };

    const PREVIOUS: RecordIdentity = RecordIdentity {
        producer_id: 7,
        producer_epoch: 0,
        sequence: 29,
        leader_epoch: 4,
    };

    fn anchor(counter: u64, source_offset: i64, target_offset: i64) -> Anchor {
        Anchor {
            counter,
            lineage: Lineage {
                producer_id: 7,
                epoch: 0,
            },
            next_sequence: 30,
            source_offset,
            source_epoch: 2,
            source_topic_id: Uuid([1; 16]),
            target_offset,
            target_topic_id: Uuid([2; 16]),
            previous: Some(PREVIOUS),
            ..Anchor::BLANK
        }
    }

    #[test]
    fn the_anchor_furthest_along_is_tried_first_and_impossible_ones_never() {
        let other_source = Anchor {
            source_topic_id: Uuid([9; 16]),
            ..anchor(9, 60, 100)
        };
        let other_target = Anchor {
            target_topic_id: Uuid([9; 16]),
            ..anchor(10, 60, 60)
        };
        let without_ids = Anchor {
            source_topic_id: Uuid::ZERO,
            target_topic_id: Uuid::ZERO,
            ..anchor(4, 50, 50)
        };
        let beyond_without_epoch = Anchor {
            source_epoch: -1,
            ..anchor(8, 101, 100)
        };
        let all = [
            anchor(1, 20, 20),
            anchor(2, 40, 41),
            anchor(3, 40, 42),
            without_ids,
            anchor(5, 101, 50),
            anchor(6, 50, 101),
            anchor(7, 100, 100),
            beyond_without_epoch,
            other_source,
            other_target,
        ];
        let ids = (Uuid([1; 16]), Uuid([2; 16]));
        let order = candidates(all.iter(), ids, RANGE, RANGE);
        let counters: Vec<u64> = order.iter().map(|anchor| anchor.counter).collect();
        assert_eq!(counters, [5, 7, 4, 3, 2, 1]);
    }

    #[test]
    fn an_anchor_is_void_when_copying_has_begun_before_it_again() {
        let later = Anchor {
            generation: 9,
            ..anchor(1, 0, 31)
        };
        let of_another_topic = Anchor {
            target_topic_id: Uuid([9; 16]),
            ..anchor(9, 0, 5)
        };
        let all = [
            anchor(4, 32, 30),
            anchor(5, 41, 38),
            later,
            of_another_topic,
        ];
        let ids = (Uuid([1; 16]), Uuid([2; 16]));
        let order = candidates(all.iter(), ids, RANGE, RANGE);
        let places: Vec<i64> = order.iter().map(|anchor| anchor.target_offset).collect();
        assert_eq!(places, [30, 31]);
    }

    #[test]
    fn the_newest_anchor_is_that_of_the_latest_owner() {
        let late = Anchor {
            generation: 2,
            ..anchor(1, 5, 5)
        };
        let all = [anchor(8, 90, 90), late];
        assert_eq!(newest(all.iter()), Some(&late));
        assert_eq!(newest([].iter()), None);
    }

    #[test]
    fn an_anchor_is_checked_on_the_source_first_and_by_what_the_target_still_has() {
        let known = anchor(1, 40, 41);
        assert_eq!(first_check(&known, RANGE), Some(Check::SourceEpoch(2)));
        assert_eq!(target_check(&known, RANGE), Some(Check::Previous(40)));
        let deleted = anchor(1, 40, 10);
        assert_eq!(target_check(&deleted, RANGE), Some(Check::TargetEpoch(4)));
        let first = Anchor {
            previous: None,
            source_epoch: -1,
            ..known
        };
        assert_eq!(first_check(&first, RANGE), None);
        let behind_a_gap = Anchor {
            source_leader_epoch: 6,
            ..first
        };
        let check = first_check(&behind_a_gap, RANGE);
        assert_eq!(check, Some(Check::SourceLeader(6)));
    }

    #[test]
    fn a_position_of_unknown_epoch_holds_while_the_log_goes_as_far_without_later_epochs() {
        let end = |epoch, end_offset| EpochEnd { epoch, end_offset };
        let cases = [
            ("the leader's epoch has records", end(6, 50), true),
            ("it has none, and the log ends there", end(4, 40), true),
            ("later epochs begin below", end(4, 39), false),
            ("the log knows no epochs", end(-1, -1), true),
        ];
        for (what, end, holds) in cases {
            assert_eq!(reaches(end, 40), holds, "{what}");
        }
    }

    #[test]
    fn an_anchor_holds_under_a_later_epoch_when_only_the_lineage_wrote_in_between() {
        let anchor = anchor(1, 40, 41);
        let later = RecordIdentity {
            leader_epoch: 6,
            ..PREVIOUS
        };
        assert!(is_later(&later, &PREVIOUS));
        assert!(!is_later(&PREVIOUS, &PREVIOUS));
        assert!(!is_later(&PREVIOUS, &later), "an earlier one");
        let other = RecordIdentity {
            sequence: 28,
            ..later
        };
        assert!(!is_later(&other, &PREVIOUS), "another record");
        let end = |epoch, end_offset| EpochEnd { epoch, end_offset };
        assert_eq!(later_from(4, end(4, 30), &anchor), Some(30));
        assert_eq!(later_from(4, end(3, 30), &anchor), None, "it has lost it");
        assert_eq!(
            later_from(4, end(4, 41), &anchor),
            None,
            "then it is not later"
        );
        // Offsets 30 to 40 are eleven records, and so are sequence numbers 19 to 29.
        let first = |sequence| RecordIdentity { sequence, ..later };
        let cases = [
            ("all of the lineage", first(19), true),
            ("one record of others", first(20), false),
            ("one twice", first(18), false),
            ("after the anchor", first(30), false),
            ("without a number", first(-1), false),
            (
                "of another epoch",
                RecordIdentity {
                    producer_epoch: 1,
                    ..first(19)
                },
                false,
            ),
        ];
        for (case, first, expected) in cases {
            assert_eq!(is_dense(&first, 30, &anchor), expected, "{case}");
        }
    }

    #[test]
    fn a_log_agrees_with_an_epoch_that_it_has_up_to_the_offset() {
        let cases = [
            ("beyond", (3, 50), true),
            ("just up to it", (3, 40), true),
            ("cut before it", (3, 39), false),
            ("a former epoch", (2, 50), false),
            ("unknown", (-1, -1), false),
        ];
        for (case, (epoch, end_offset), expected) in cases {
            let end = EpochEnd { epoch, end_offset };
            assert_eq!(agrees(3, end, 40), expected, "{case}");
        }
    }

    #[test]
    fn a_record_is_known_by_its_batch_and_its_place_in_it() {
        let mut records = Vec::new();
        for (base_offset, base_sequence, count) in [(20, i32::MAX - 1, 4), (30, 2, 1)] {
            let producer = BatchProducer {
                producer_id: 7,
                producer_epoch: 1,
                base_sequence,
            };
            let mut builder = BatchBuilder::new(Compression::None)
                .producer(producer)
                .appended_at(base_offset, 5);
            for _ in 0..count {
                builder.push(&NewRecord::default()).unwrap();
            }
            records.extend(builder.build().unwrap().to_vec());
        }
        let sequence = |offset| identity_at(&records, offset).map(|identity| identity.sequence);
        assert_eq!(sequence(20), Some(i32::MAX - 1));
        assert_eq!(sequence(23), Some(1));
        assert_eq!(sequence(24), None, "compaction took it");
        assert_eq!(sequence(30), Some(2));
        assert_eq!(sequence(31), None, "the answer does not reach it");
        assert_eq!(identity_at(&records, 30).unwrap().leader_epoch, 5);
    }
}
