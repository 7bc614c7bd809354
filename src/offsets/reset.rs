//! What is written when an operator says where copying of a partition goes on.
//!
//! A reset is a wish that is stored, not an anchor that claims something about the target: the
//! process that starts next opens a new lineage there, behind whatever the target has by then. So
//! nothing is lost when the machine that resets dies at any point, when the remote log moves
//! before the start, or when two processes start at once: the wish holds until an owner of a higher
//! generation has stored an anchor of its own, and from then on it says only that older anchors
//! are void.
//!
//! The owner's record that goes with it makes a process stop that should not be there: it has been
//! superseded, proves its position when it takes over again, and finds the reset.

use kmirror_protocol::wire::Uuid;

use super::{
    ledger::Stored,
    source_offsets::{self, StoredRecord},
    state::{
        Entry, Gap, GapCause, Kind, Owner, Place, Reset, StateKey, StateRecord, encode,
        encode_deletion,
    },
};

/// Where copying of one partition stood, and where it is to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The source partition.
    pub place: Place,
    /// The id of its topic; zero when the source has none.
    pub source_topic_id: Uuid,
    /// The next offset to copy as it is stored; `None` when nothing is.
    pub from: Option<i64>,
    /// The next offset to copy from now on.
    pub to: i64,
}

impl Move {
    /// How many offsets will be copied a second time: records that are on the target will be there
    /// twice.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        let from = self.from.filter(|from| *from > self.to);
        from.map_or(0, |from| from.abs_diff(self.to))
    }

    /// How many offsets will not be copied.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        let from = self.from.filter(|from| *from < self.to);
        from.map_or(0, |from| from.abs_diff(self.to))
    }
}

/// Who resets, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// A random id of the process.
    pub instance: Uuid,
    /// Milliseconds since 1970, for people only.
    pub now_ms: i64,
}

/// What is written to the state topic, in this order and in one batch where it has one partition.
///
/// Offsets that are skipped become a gap of their own cause; gaps that somebody skipped before are
/// taken back as far as copying begins below them. `resets` is false where positions are kept in
/// MirrorMaker 2's topic alone: only the gap is written then.
#[must_use]
pub fn state_records(change: &Move, stored: &Stored, by: By, resets: bool) -> Vec<StoredRecord> {
    let Move {
        place,
        source_topic_id,
        to,
        ..
    } = change;
    let record = |entry| {
        encode(&StateRecord {
            place: place.clone(),
            entry,
        })
    };
    let mut records = Vec::new();
    if resets {
        let generation = stored.generation() + 1;
        records.push(record(Entry::Owner(Owner {
            generation,
            instance: by.instance,
            since_ms: by.now_ms,
        })));
        records.push(record(Entry::Reset(Reset {
            generation,
            source_offset: *to,
            source_topic_id: *source_topic_id,
            since_ms: by.now_ms,
        })));
    }
    for gap in &stored.gaps {
        let is_taken_back = gap.cause == GapCause::Skipped && gap.to_offset > *to;
        if is_taken_back && gap.from_offset < *to {
            records.push(record(Entry::Gap(Gap {
                to_offset: *to,
                ..gap.clone()
            })));
        } else if is_taken_back {
            records.push(encode_deletion(&StateKey {
                place: place.clone(),
                kind: Kind::Gap {
                    from_offset: gap.from_offset,
                },
            }));
        }
    }
    if let Some(from_offset) = change.from.filter(|from| from < to) {
        records.push(record(Entry::Gap(Gap {
            from_offset,
            to_offset: *to,
            cause: GapCause::Skipped,
            source_topic_id: *source_topic_id,
            noticed_ms: by.now_ms,
        })));
    }
    records
}

/// What is written to MirrorMaker 2's offsets topic. Its format has no way to say "before offset
/// 0": the position is deleted then.
#[must_use]
pub fn position_record(source_alias: &str, change: &Move) -> StoredRecord {
    let Place { topic, partition } = &change.place;
    let at = |next_offset| source_offsets::encode(source_alias, topic, *partition, next_offset);
    at(change.to)
        .unwrap_or_else(|| source_offsets::encode_deletion(source_alias, topic, *partition))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::offsets::{ledger::Ledger, state::Anchor};

    const BY: By = By {
        instance: Uuid([9; 16]),
        now_ms: 77,
    };

    fn place() -> Place {
        Place {
            topic: Arc::from("t"),
            partition: 3,
        }
    }

    fn change(from: Option<i64>, to: i64) -> Move {
        Move {
            place: place(),
            source_topic_id: Uuid([1; 16]),
            from,
            to,
        }
    }

    fn records(entries: Vec<Entry>) -> Vec<StoredRecord> {
        let record = |entry| {
            encode(&StateRecord {
                place: place(),
                entry,
            })
        };
        entries.into_iter().map(record).collect()
    }

    fn skipped(from_offset: i64, to_offset: i64) -> Gap {
        Gap {
            from_offset,
            to_offset,
            cause: GapCause::Skipped,
            source_topic_id: Uuid([1; 16]),
            noticed_ms: 77,
        }
    }

    fn owner(generation: u64, instance: u8) -> Entry {
        Entry::Owner(Owner {
            generation,
            instance: Uuid([instance; 16]),
            since_ms: 5,
        })
    }

    fn anchor(generation: u64, counter: u64, source_offset: i64) -> Entry {
        Entry::Anchor(Anchor {
            generation,
            counter,
            source_offset,
            ..Anchor::BLANK
        })
    }

    /// What is stored after a log of records.
    fn stored(log: &[StoredRecord]) -> Stored {
        Ledger::of("A", log, &[]).stored(&place())
    }

    #[test]
    fn what_is_repeated_and_what_is_skipped_is_counted() {
        for (from, to, repeated, skipped) in [
            (Some(100), 20, 80, 0),
            (Some(20), 100, 0, 80),
            (Some(20), 20, 0, 0),
            (None, 50, 0, 0),
        ] {
            let change = change(from, to);
            assert_eq!((change.repeated(), change.skipped()), (repeated, skipped));
        }
    }

    #[test]
    fn a_reset_holds_until_an_owner_of_a_higher_generation_has_begun_there() {
        let mut log = records(vec![owner(4, 1), anchor(4, 1, 90), anchor(4, 2, 100)]);
        let before = stored(&log);
        assert_eq!((before.next_offset(), before.generation()), (Some(100), 4));
        log.extend(state_records(&change(Some(100), 20), &before, BY, true));
        let reset = stored(&log);
        assert_eq!((reset.next_offset(), reset.generation()), (Some(20), 5));
        assert_eq!(reset.pending_reset().unwrap().generation, 5);
        // What the former owner had on its way changes nothing, wherever it arrives.
        log.extend(records(vec![anchor(4, 4, 110), owner(4, 1)]));
        assert_eq!(stored(&log).next_offset(), Some(20));
        // Nor does one that took the same generation at the same moment.
        log.extend(records(vec![owner(5, 2), anchor(5, 8, 105)]));
        let contested = stored(&log);
        assert_eq!(contested.next_offset(), Some(20));
        assert!(contested.is_contested);
        log.extend(records(vec![owner(6, 2), anchor(6, 9, 30)]));
        let begun = stored(&log);
        assert_eq!(
            (begun.next_offset(), begun.pending_reset()),
            (Some(30), None)
        );
        // Another one may follow.
        log.extend(state_records(&change(Some(30), 0), &begun, BY, true));
        assert_eq!(stored(&log).next_offset(), Some(0));
    }

    #[test]
    fn offsets_that_are_skipped_are_a_gap_until_they_are_asked_for_again() {
        let deleted = Gap {
            cause: GapCause::Deleted,
            ..skipped(2, 9)
        };
        let mut log = records(vec![Entry::Gap(deleted.clone())]);
        let gaps = |log: &[StoredRecord]| stored(log).gaps;
        for (from, to, expected) in [
            (100, 150, vec![skipped(100, 150)]),
            (150, 160, vec![skipped(100, 150), skipped(150, 160)]),
            (160, 155, vec![skipped(100, 150), skipped(150, 155)]),
            (155, 120, vec![skipped(100, 120)]),
            (120, 100, vec![]),
            (100, 0, vec![]),
        ] {
            let written = state_records(&change(Some(from), to), &stored(&log), BY, true);
            log.extend(written);
            let expected: Vec<Gap> = [deleted.clone()].into_iter().chain(expected).collect();
            assert_eq!(gaps(&log), expected, "{from} to {to}");
        }
        // Where positions are kept elsewhere only the gap is written.
        let written = state_records(&change(Some(5), 7), &Stored::default(), BY, false);
        assert_eq!(gaps(&written), [skipped(5, 7)]);
        assert_eq!(stored(&written).next_offset(), None);
    }

    #[test]
    fn the_position_of_mirror_maker_follows() {
        let positions = |to| {
            let written = position_record("A", &change(Some(5), to));
            let former = source_offsets::encode("A", "t", 3, 5).unwrap();
            Ledger::of("A", &[], &[former, written]).positions
        };
        assert_eq!(positions(7).get(&(String::from("t"), 3)), Some(&7));
        assert!(positions(0).is_empty());
    }
}
