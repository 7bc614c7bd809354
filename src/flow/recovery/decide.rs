//! Under which lineage copying goes on (R2, R6, R12), and which source records are gone for good.
//!
//! A lineage goes on only with complete evidence: the producer state of the target's leader, the
//! own records in its log and the source's records all say the same. Whatever is missing or
//! contradicts leads to a new lineage at the last proven record: that may copy records twice, and
//! says how many, but it never skips one.

use super::super::{ActiveProducer, LogRange};
use crate::{
    flow::limits,
    offsets::state::{Anchor, GapCause, Lineage},
};

/// What the target's leader remembers of the lineage's producer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerState {
    /// The target cannot tell (it has no DescribeProducers, KIP-664).
    Unknown,
    /// Nothing: it has expired, was evicted, or never was.
    Forgotten,
    /// The epoch and the sequence number of its last record; -1 when the epoch has none.
    Known {
        /// The producer's epoch.
        epoch: i32,
        /// The sequence number of its last record.
        last_sequence: i32,
    },
}

impl ProducerState {
    /// What a leader says of one producer id among those it remembers.
    #[must_use]
    pub fn of(producers: Option<&[ActiveProducer]>, producer_id: i64) -> Self {
        let Some(producers) = producers else {
            return Self::Unknown;
        };
        let found = producers
            .iter()
            .find(|producer| producer.producer_id == producer_id);
        found.map_or(Self::Forgotten, |producer| Self::Known {
            epoch: producer.producer_epoch,
            last_sequence: producer.last_sequence,
        })
    }
}

/// What the prefix proof found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The anchor's lineage and its next sequence number there; the lineage is the newest.
    pub lineage: Lineage,
    /// The next sequence number at the anchor.
    pub anchored_sequence: i32,
    /// Whether the anchor belongs to the newest lineage.
    pub is_newest: bool,
    /// Own records since are contiguous, and equal to the source's.
    pub is_continuous: bool,
    /// After the last own record.
    pub next_sequence: i32,
    /// Own records are missing between those that the log has.
    pub is_torn: bool,
    /// What the leader remembers.
    pub state: ProducerState,
    /// Equal sequence numbers mean equal source records: nothing was compacted, filtered
    /// differently, or lost since the anchor.
    pub is_deterministic: bool,
    /// The target has just refused sequence numbers from this client.
    pub is_refused: bool,
    /// The target has just shown that what it remembers of the producer is not what was sent.
    pub is_contradicted: bool,
}

/// What to do about the lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on: the next record gets this sequence number.
    Continue {
        /// The next sequence number.
        next_sequence: i32,
        /// Whether the leader remembers the producer id; otherwise it takes any sequence (B5).
        is_remembered: bool,
    },
    /// The evidence contradicts itself, or the state, in a way that may pass: gather it again, once
    /// all that owners have stored until now has been read.
    Again,
    /// A new one starts at the proven position.
    New(NewBecause),
}

/// Why a new lineage is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NewBecause {
    /// There was none before.
    First,
    /// Sequence numbers may stand for other records than before (R12).
    Nondeterministic,
    /// The log does not hold one unbroken run of the lineage's records.
    Broken,
    /// The target has forgotten the producer: it would take any sequence (B5).
    Forgotten,
    /// The target knows another state of the producer than its log shows.
    Contradiction,
    /// The source has a new leader, and with it perhaps other records than those on their way (B3).
    SourceLed,
    /// Source records are gone, so that what follows is other than what may be on its way (B3).
    Gap,
    /// An operator has set the position.
    Reset,
    /// The batches before had no sequence numbers, or the target does not take them any more.
    Unsequenced,
}

impl NewBecause {
    /// Its name as the label of a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Nondeterministic => "nondeterministic",
            Self::Broken => "broken",
            Self::Forgotten => "forgotten",
            Self::Contradiction => "contradiction",
            Self::SourceLed => "source-led",
            Self::Gap => "gap",
            Self::Reset => "reset",
            Self::Unsequenced => "unsequenced",
        }
    }
}

impl std::fmt::Display for NewBecause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::First => "there was none before",
            Self::Nondeterministic => "the source may have compacted the topic meanwhile",
            Self::Broken => "the target does not hold one unbroken run of what was sent",
            Self::Forgotten => "the target has forgotten the producer",
            Self::Contradiction => "the target's memory of the producer contradicts its log",
            Self::SourceLed => "the source has a new leader",
            Self::Gap => "source records are gone",
            Self::Reset => "the position was reset",
            Self::Unsequenced => "the target takes or took no sequence numbers",
        })
    }
}

/// Decides about the lineage (R2, R6, R12). `looks` is how often evidence has been gathered again
/// already: the leader's memory is asked for before the log, and the state was read before both, so
/// that a process which still writes, or has taken over, makes them disagree at first.
#[must_use]
pub fn decide(evidence: &Evidence, looks: u32) -> Verdict {
    let unless_it_passes = |looks_max, because| {
        if looks < looks_max {
            Verdict::Again
        } else {
            Verdict::New(because)
        }
    };
    if evidence.is_refused || (evidence.is_newest && !evidence.lineage.is_sequenced()) {
        return Verdict::New(NewBecause::Unsequenced);
    }
    if !evidence.is_deterministic {
        return Verdict::New(NewBecause::Nondeterministic);
    }
    if evidence.is_contradicted {
        return Verdict::New(NewBecause::Contradiction);
    }
    if evidence.is_newest && evidence.is_torn {
        // The log that shows it may be deleted before it is looked at again: the target's memory would
        // tell of no hole.
        return Verdict::New(NewBecause::Broken);
    }
    if !evidence.is_newest || !evidence.is_continuous {
        return unless_it_passes(1, NewBecause::Broken);
    }
    let has_written = evidence.next_sequence != evidence.anchored_sequence;
    let is_fresh = evidence.anchored_sequence == 0 && !has_written;
    let goes_on = |is_remembered| Verdict::Continue {
        next_sequence: evidence.next_sequence,
        is_remembered,
    };
    match evidence.state {
        ProducerState::Unknown => goes_on(false),
        // Nothing was written under it: whichever batch comes first, the others are refused (B4).
        ProducerState::Forgotten if is_fresh => goes_on(false),
        ProducerState::Known { epoch, .. }
            if is_fresh && epoch < i32::from(evidence.lineage.epoch) =>
        {
            goes_on(false)
        }
        ProducerState::Forgotten => unless_it_passes(1, NewBecause::Forgotten),
        ProducerState::Known {
            epoch,
            last_sequence,
        } => {
            // The log may show more than the leader remembered, never less.
            let remembered = kmirror_protocol::records::sequence_after(last_sequence, 1);
            let is_same = epoch == i32::from(evidence.lineage.epoch)
                && last_sequence >= 0
                && distance(evidence.anchored_sequence, remembered)
                    <= distance(evidence.anchored_sequence, evidence.next_sequence);
            if is_same {
                goes_on(true)
            } else {
                unless_it_passes(limits::EVIDENCE_ATTEMPTS, NewBecause::Contradiction)
            }
        }
    }
}

/// From one sequence number forward to another.
const fn distance(from: i32, to: i32) -> i32 {
    to.wrapping_sub(from) & i32::MAX
}

/// The epoch of the next lineage of a producer id; `None` when they are used up, so that it takes
/// a new id (KIP-360 has the same bound).
#[must_use]
pub fn next_epoch<'a>(
    producer_id: i64,
    anchors: impl Iterator<Item = &'a Anchor>,
    state: ProducerState,
) -> Option<i16> {
    let anchored = anchors
        .filter(|anchor| anchor.lineage.producer_id == producer_id)
        .map(|anchor| i32::from(anchor.lineage.epoch));
    let remembered = match state {
        ProducerState::Known { epoch, .. } => Some(epoch),
        ProducerState::Unknown | ProducerState::Forgotten => None,
    };
    let next = anchored
        .chain(remembered)
        .max()
        .map_or(0, |epoch| epoch + 1);
    i16::try_from(next)
        .ok()
        .filter(|epoch| *epoch <= limits::PRODUCER_EPOCH_MAX)
}

/// Source offsets that will never be on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first of them.
    pub from_offset: i64,
    /// The first after them.
    pub to_offset: i64,
    /// Why.
    pub cause: GapCause,
}

/// What the source no longer has of what was still to be copied.
///
/// `reached_offset` is the least offset that can be the next one: everything below it is known to
/// be on the target. With holes in the source's offsets it may be too low, and then the gap names
/// too much, never too little. `has_matched` tells that something the source still has is on the
/// target: then everything before it had been copied.
#[must_use]
pub fn deleted(reached_offset: i64, source: LogRange, has_matched: bool) -> Option<Missing> {
    (reached_offset < source.start_offset && !has_matched).then_some(Missing {
        from_offset: reached_offset,
        to_offset: source.start_offset,
        cause: GapCause::Deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAGE: Lineage = Lineage {
        producer_id: 7,
        epoch: 3,
    };

    /// All evidence says that the lineage goes on at sequence number 50.
    const SOUND: Evidence = Evidence {
        lineage: LINEAGE,
        anchored_sequence: 40,
        is_newest: true,
        is_continuous: true,
        next_sequence: 50,
        state: known(3, 49),
        is_deterministic: true,
        is_torn: false,
        is_refused: false,
        is_contradicted: false,
    };

    const fn known(epoch: i32, last_sequence: i32) -> ProducerState {
        ProducerState::Known {
            epoch,
            last_sequence,
        }
    }

    const fn goes_on(next_sequence: i32, is_remembered: bool) -> Verdict {
        Verdict::Continue {
            next_sequence,
            is_remembered,
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table of cases")]
    fn a_lineage_goes_on_only_with_complete_evidence() {
        let fresh = Evidence {
            anchored_sequence: 0,
            next_sequence: 0,
            ..SOUND
        };
        let wrapped = Evidence {
            anchored_sequence: i32::MAX - 1,
            next_sequence: 0,
            state: known(3, i32::MAX),
            ..SOUND
        };
        let with = |state| Evidence { state, ..SOUND };
        let fresh_with = |state| Evidence { state, ..fresh };
        let new = Verdict::New;
        let cases = [
            ("all agrees", SOUND, goes_on(50, true)),
            (
                "the target cannot tell",
                with(ProducerState::Unknown),
                goes_on(50, false),
            ),
            ("after the wrap", wrapped, goes_on(0, true)),
            (
                "nothing written yet",
                fresh_with(ProducerState::Forgotten),
                goes_on(0, false),
            ),
            (
                "only the former epoch was written",
                fresh_with(known(2, 90)),
                goes_on(0, false),
            ),
            (
                "something arrived meanwhile",
                fresh_with(known(3, 4)),
                Verdict::Again,
            ),
            (
                "more than the log shows",
                with(known(3, 55)),
                Verdict::Again,
            ),
            (
                "the log has grown since",
                with(known(3, 44)),
                goes_on(50, true),
            ),
            (
                "less than the anchor says",
                with(known(3, 30)),
                Verdict::Again,
            ),
            ("a later epoch", with(known(4, 49)), Verdict::Again),
            (
                "an epoch without records",
                with(known(3, -1)),
                Verdict::Again,
            ),
            (
                "forgotten, or asked before it was written",
                with(ProducerState::Forgotten),
                Verdict::Again,
            ),
            (
                "the target refuses sequence numbers",
                Evidence {
                    is_refused: true,
                    ..SOUND
                },
                new(NewBecause::Unsequenced),
            ),
            (
                "written without sequence numbers",
                Evidence {
                    lineage: Lineage::UNSEQUENCED,
                    ..SOUND
                },
                new(NewBecause::Unsequenced),
            ),
            (
                "the target takes a batch for another one",
                Evidence {
                    is_contradicted: true,
                    ..SOUND
                },
                new(NewBecause::Contradiction),
            ),
            (
                "not one run",
                Evidence {
                    is_continuous: false,
                    ..SOUND
                },
                Verdict::Again,
            ),
            (
                "a hole",
                Evidence {
                    is_continuous: false,
                    is_torn: true,
                    ..SOUND
                },
                new(NewBecause::Broken),
            ),
            (
                "anchored in a former lineage",
                Evidence {
                    is_newest: false,
                    ..SOUND
                },
                Verdict::Again,
            ),
            (
                "compacted",
                Evidence {
                    is_deterministic: false,
                    ..SOUND
                },
                new(NewBecause::Nondeterministic),
            ),
        ];
        for (case, evidence, expected) in cases {
            assert_eq!(decide(&evidence, 0), expected, "{case}");
        }
    }

    #[test]
    fn evidence_that_stays_contradictory_ends_in_a_new_lineage() {
        let evidence = Evidence {
            state: known(3, 55),
            ..SOUND
        };
        assert_eq!(
            decide(&evidence, limits::EVIDENCE_ATTEMPTS - 1),
            Verdict::Again
        );
        let last = decide(&evidence, limits::EVIDENCE_ATTEMPTS);
        assert_eq!(last, Verdict::New(NewBecause::Contradiction));
        let broken = Evidence {
            is_continuous: false,
            ..SOUND
        };
        assert_eq!(decide(&broken, 1), Verdict::New(NewBecause::Broken));
        let forgotten = Evidence {
            state: ProducerState::Forgotten,
            ..SOUND
        };
        assert_eq!(decide(&forgotten, 1), Verdict::New(NewBecause::Forgotten));
    }

    fn anchor(producer_id: i64, epoch: i16) -> Anchor {
        Anchor {
            lineage: Lineage { producer_id, epoch },
            source_epoch: 0,
            ..Anchor::BLANK
        }
    }

    #[test]
    fn the_next_epoch_is_above_every_epoch_ever_seen() {
        let cases = [
            ("nothing yet", vec![], ProducerState::Forgotten, Some(0)),
            (
                "anchored",
                vec![(7, 2), (7, 4)],
                ProducerState::Forgotten,
                Some(5),
            ),
            (
                "of another id",
                vec![(8, 9)],
                ProducerState::Unknown,
                Some(0),
            ),
            ("remembered", vec![(7, 2)], known(6, 1), Some(7)),
            (
                "the last one",
                vec![(7, i16::MAX - 2)],
                ProducerState::Unknown,
                Some(i16::MAX - 1),
            ),
            (
                "used up",
                vec![(7, i16::MAX - 1)],
                ProducerState::Unknown,
                None,
            ),
            (
                "used up elsewhere",
                vec![],
                known(i32::from(i16::MAX), 0),
                None,
            ),
            ("beyond any", vec![], known(i32::MAX - 1, 0), None),
        ];
        for (case, anchored, state, expected) in cases {
            let anchors: Vec<_> = anchored
                .into_iter()
                .map(|(id, epoch)| anchor(id, epoch))
                .collect();
            assert_eq!(next_epoch(7, anchors.iter(), state), expected, "{case}");
        }
    }

    #[test]
    fn a_gap_is_what_lies_between_what_was_reached_and_what_is_left() {
        let source = LogRange {
            start_offset: 100,
            end_offset: 200,
        };
        let gap = |from_offset| {
            Some(Missing {
                from_offset,
                to_offset: 100,
                cause: GapCause::Deleted,
            })
        };
        assert_eq!(deleted(60, source, false), gap(60));
        assert_eq!(deleted(99, source, false), gap(99));
        assert_eq!(deleted(100, source, false), None);
        assert_eq!(deleted(150, source, false), None);
        // What is left is on the target already: so was everything before it.
        assert_eq!(deleted(60, source, true), None);
    }
}
