//! The rules of the proof, case by case.

use std::collections::BTreeSet;

use kmirror_protocol::records::{BatchProducer, Compression, ControlType};

use super::{
    logs::{LINEAGE, PLAIN, Seen, SourceLog, Style, TargetLog},
    prove,
};
use crate::{
    flow::proof::{Progress, Proof, ProofStart, Undecided, Verdict, Wants},
    offsets::state::RecordIdentity,
};

pub(super) const GZIP: Style = Style {
    codec: Compression::Gzip,
    ..PLAIN
};

/// Another lineage of the same partition.
const OLDER: BatchProducer = BatchProducer {
    producer_id: LINEAGE.producer_id,
    producer_epoch: LINEAGE.epoch - 1,
    base_sequence: 0,
};

pub(super) fn numbered(numbers: &[usize]) -> Vec<Seen> {
    numbers.iter().copied().map(Seen::numbered).collect()
}

/// Records 1 to 6 at offsets 0 to 5, in batches of two, one and three.
pub(super) fn six() -> SourceLog {
    let mut source = SourceLog::default();
    source.append(PLAIN, &numbered(&[1, 2]));
    source.append(GZIP, &numbered(&[3]));
    source.append(PLAIN, &numbered(&[4, 5, 6]));
    source
}

/// A window over all of the target, whose lineage was at sequence number 10.
pub(super) fn start(target: &TargetLog) -> ProofStart {
    ProofStart {
        source_offset: 0,
        target_offset: 0,
        target_end: target.end(),
        lineage: LINEAGE,
        next_sequence: Some(10),
        is_source_cut: false,
        is_target_cut: false,
        skip_to_sequence: None,
        deleted_max: 10,
        counted_epoch: 0,
    }
}

pub(super) fn verdict(start: ProofStart, source: &SourceLog, target: &TargetLog) -> Verdict {
    let mut rng = fastrand::Rng::with_seed(1);
    prove(start, source, target, &mut rng).unwrap()
}

/// The verdict, and whether there may be more.
fn prove_all(start: ProofStart, source: &SourceLog, target: &TargetLog) -> (Verdict, bool) {
    let mut proof = Proof::new(start);
    proof.count_others(0, BTreeSet::from([LINEAGE.producer_id]));
    loop {
        let progress = match proof.wants() {
            Wants::Nothing => break,
            Wants::Source { offset } => proof.take_source(source.fetch(offset, usize::MAX)),
            Wants::Decided { offset } => {
                proof.take_target(target.fetch_decided(offset, usize::MAX))
            }
            Wants::Target { offset } => proof.take_target(target.fetch(offset, usize::MAX)),
        };
        assert_eq!(progress, Ok(Progress::Made));
    }
    let verdict = proof.verdict().unwrap();
    (verdict, proof.may_have_more())
}

/// One step of writing a window.
pub(super) enum Step {
    Own(Style, i32, &'static [usize]),
    Other(BatchProducer, &'static [usize]),
    /// Records, and whether it is committed or aborted, if it is over.
    Transaction(&'static [usize], Option<bool>),
    /// Offsets and sequence numbers without records.
    Emptied(i32, i32),
}
pub(super) use Step::{Emptied, Other, Own, Transaction};

pub(super) fn target(steps: &[Step]) -> TargetLog {
    let mut target = TargetLog::default();
    for step in steps {
        match step {
            Own(style, sequence, records) => {
                target.write_own(*style, &numbered(records), *sequence);
            }
            Other(producer, records) => target.write_other(PLAIN, &numbered(records), *producer),
            Transaction(records, is_committed) => {
                target.transact(&numbered(records), *is_committed);
            }
            Emptied(sequence, count) => target.empty_own(*count, *sequence),
        }
    }
    target
}

/// Position, whether the lineage goes on, proven, unmatched.
pub(super) type Found = (i64, bool, u64, u64);

/// The same and the lead-in.
type FoundCut = (i64, bool, u64, u64, u64);

pub(super) fn found(verdict: &Verdict) -> Found {
    (
        verdict.source_offset,
        verdict.continues,
        verdict.proven_records,
        verdict.unmatched_own_records,
    )
}

#[test]
fn what_is_found_in_an_open_transaction_leaves_the_question_open() {
    let at = |offset, producer_id| {
        Some(Undecided {
            offset,
            producer_id,
        })
    };
    let (committed, aborted, open) = (Some(true), Some(false), None);
    #[rustfmt::skip]
    let cases: &[(&str, &[Step], Option<Undecided>, bool)] = &[
        ("none", &[Transaction(&[1, 2], committed)], None, false),
        ("open", &[Transaction(&[1, 2], open)], at(0, 900), false),
        ("open, with records of others before", &[Transaction(&[77, 1, 2], open)], at(1, 900), true),
        ("open behind a committed one", &[Transaction(&[1, 2], committed), Transaction(&[3, 4], open)], at(3, 903), false),
        ("committed behind an open one: not known", &[Transaction(&[77], open), Transaction(&[1, 2], committed)], at(1, 901), true),
        ("aborted behind an open one: not known", &[Transaction(&[77], open), Transaction(&[1, 2], aborted)], at(1, 901), true),
        ("records that come later", &[Transaction(&[3, 4], open)], None, true),
        ("records that came before", &[Own(PLAIN, 10, &[1, 2]), Transaction(&[1, 2], open)], None, true),
        ("what others did not do in vain", &[Transaction(&[77, 78], committed), Transaction(&[79], aborted)], None, true),
    ];
    for (case, steps, expected, has_more) in cases {
        let target = target(steps);
        let (found, may_have_more) = prove_all(start(&target), &six(), &target);
        assert_eq!(found.undecided, *expected, "{case}");
        assert_eq!(may_have_more, *has_more, "{case}");
    }
}

#[test]
fn the_position_is_the_first_record_that_the_window_lacks() {
    let none = BatchProducer::NONE;
    #[rustfmt::skip]
    let cases: &[(&str, &[Step], Found)] = &[
        ("nothing", &[], (0, true, 0, 0)),
        ("all as it was", &[Own(PLAIN, 10, &[1, 2]), Own(GZIP, 12, &[3]), Own(PLAIN, 13, &[4, 5, 6])], (6, true, 6, 0)),
        ("merged", &[Own(PLAIN, 10, &[1, 2, 3, 4, 5, 6])], (6, true, 6, 0)),
        ("split", &[Own(PLAIN, 10, &[1]), Own(PLAIN, 11, &[2]), Own(GZIP, 12, &[3, 4])], (4, true, 4, 0)),
        ("compressed otherwise", &[Own(GZIP, 10, &[1, 2]), Own(PLAIN, 12, &[3])], (3, true, 3, 0)),
        ("one lost in between", &[Own(PLAIN, 10, &[1, 2]), Own(PLAIN, 12, &[4, 5, 6])], (2, false, 2, 3)),
        ("one lost inside", &[Own(PLAIN, 10, &[1, 3])], (1, false, 1, 1)),
        ("first one lost", &[Own(PLAIN, 10, &[2, 3])], (0, false, 0, 2)),
        ("copied twice", &[Own(PLAIN, 10, &[1, 2]), Own(PLAIN, 12, &[1, 2]), Own(PLAIN, 14, &[3])], (3, false, 3, 2)),
        ("out of order", &[Own(PLAIN, 10, &[2, 1])], (1, false, 1, 1)),
        ("a number left out", &[Own(PLAIN, 10, &[1, 2]), Own(GZIP, 13, &[3])], (3, false, 3, 0)),
        ("a number twice", &[Own(PLAIN, 10, &[1, 2]), Own(GZIP, 11, &[3])], (3, false, 3, 0)),
        ("not the first number", &[Own(PLAIN, 11, &[1, 2])], (2, false, 2, 0)),
        ("numbers without records", &[Own(PLAIN, 10, &[1, 2]), Emptied(12, 1)], (2, false, 2, 0)),
        ("others between", &[Own(PLAIN, 10, &[1, 2]), Other(none, &[77]), Own(GZIP, 12, &[3])], (3, true, 3, 0)),
        ("others with our records", &[Other(none, &[1, 2]), Own(GZIP, 10, &[3])], (3, false, 3, 0)),
        ("others after us", &[Own(PLAIN, 10, &[1, 2]), Other(none, &[3])], (3, false, 3, 0)),
        ("an older lineage", &[Other(OLDER, &[1, 2])], (2, false, 2, 0)),
        ("a transaction with our records", &[Transaction(&[1, 2], Some(true))], (2, false, 2, 0)),
        ("transactions, one after another", &[Transaction(&[1, 2], Some(true)), Transaction(&[3, 4], Some(true))], (4, false, 4, 0)),
        ("one that was aborted and came again", &[Transaction(&[1, 2], Some(false)), Transaction(&[1], Some(true)), Transaction(&[2], Some(true))], (2, false, 2, 0)),
        ("an aborted transaction with our records", &[Transaction(&[1, 2], Some(false))], (0, true, 0, 0)),
        ("an aborted transaction between", &[Own(PLAIN, 10, &[1, 2]), Transaction(&[3], Some(false)), Own(GZIP, 12, &[3])], (3, true, 3, 0)),
        ("a transaction of others between", &[Own(PLAIN, 10, &[1, 2]), Transaction(&[77], Some(true)), Own(GZIP, 12, &[3])], (3, true, 3, 0)),
        ("an open transaction of others between", &[Own(PLAIN, 10, &[1, 2]), Transaction(&[77], None), Own(GZIP, 12, &[3])], (3, true, 3, 0)),
        ("more than the source has", &[Own(PLAIN, 10, &[1, 2, 3, 4, 5, 6]), Own(PLAIN, 16, &[7])], (6, false, 6, 1)),
    ];
    for (case, steps, expected) in cases {
        let target = target(steps);
        let verdict = verdict(start(&target), &six(), &target);
        assert_eq!(found(&verdict), *expected, "{case}");
    }
}

#[test]
fn equal_records_are_told_apart_by_their_number() {
    let mut source = SourceLog::default();
    source.append(PLAIN, &numbered(&[1, 1, 1, 1]));
    for count in 1..=4 {
        let mut target = TargetLog::default();
        target.write_own(PLAIN, &numbered(&[1; 4][..count]), 10);
        let verdict = verdict(start(&target), &source, &target);
        let count = i64::try_from(count).unwrap();
        assert_eq!((verdict.source_offset, verdict.continues), (count, true));
    }
}

#[test]
fn sequence_numbers_wrap() {
    let target = target(&[Own(PLAIN, i32::MAX, &[1, 2]), Own(GZIP, 1, &[3])]);
    let start = ProofStart {
        next_sequence: Some(i32::MAX),
        ..start(&target)
    };
    let verdict = verdict(start, &six(), &target);
    assert_eq!(found(&verdict), (3, true, 3, 0));
    assert_eq!(verdict.next_sequence, 2);
}

#[test]
fn a_hint_finds_the_position_but_continues_nothing() {
    let target = target(&[Own(PLAIN, 10, &[1, 2])]);
    let start = ProofStart {
        next_sequence: None,
        ..start(&target)
    };
    assert_eq!(found(&verdict(start, &six(), &target)), (2, false, 2, 0));
}

#[test]
fn the_tail_is_the_last_record_whoever_wrote_it() {
    let mut target = TargetLog::default();
    let identity = |target: &TargetLog| verdict(start(target), &six(), target).tail;
    assert_eq!(identity(&target), None);
    target.epoch = 4;
    target.write_own(PLAIN, &numbered(&[1, 2]), 10);
    let own = RecordIdentity {
        producer_id: LINEAGE.producer_id,
        producer_epoch: LINEAGE.epoch,
        sequence: 11,
        leader_epoch: 4,
    };
    assert_eq!(identity(&target), Some(own));
    target.epoch = 5;
    target.write_other(PLAIN, &numbered(&[9]), BatchProducer::NONE);
    let none = RecordIdentity {
        producer_id: -1,
        producer_epoch: -1,
        sequence: -1,
        leader_epoch: 5,
    };
    assert_eq!(identity(&target), Some(none));
    target.mark(900, ControlType::Commit);
    let marker = RecordIdentity {
        producer_id: 900,
        producer_epoch: 0,
        ..none
    };
    assert_eq!(identity(&target), Some(marker));
}

#[test]
fn a_position_among_holes_is_that_of_the_record_itself() {
    let mut source = SourceLog::default();
    let at = |delta, number| (delta, Seen::numbered(number));
    source.write(GZIP, &[at(1, 1), at(4, 2), at(8, 3)], 12);
    source.mark(1, ControlType::Commit);
    for (window, position) in [
        (&[][..], 0),
        (&[1], 4),
        (&[1, 2], 8),
        // What follows the last proven record was read with it.
        (&[1, 2, 3], 13),
    ] {
        let target = target(&[Own(PLAIN, 10, window)]);
        let start = start(&target);
        let verdict = verdict(start, &source, &target);
        // An empty batch does not make it read the source.
        assert_eq!(verdict.source_offset, position, "{window:?}");
    }
    let target = target(&[Own(PLAIN, 10, &[77])]);
    assert_eq!(verdict(start(&target), &source, &target).source_offset, 1);
}

#[test]
fn the_epoch_is_that_of_the_last_batch_below_the_position() {
    let mut source = SourceLog::default();
    for (epoch, records) in [(3, &[1, 2][..]), (5, &[3]), (8, &[4, 5])] {
        source.epoch = epoch;
        source.append(PLAIN, &numbered(records));
    }
    for (window, epoch) in [
        (&[77][..], -1),
        (&[1], 3),
        (&[1, 2], 3),
        (&[1, 2, 3], 5),
        (&[1, 2, 3, 4], 8),
        (&[1, 2, 3, 4, 5], 8),
    ] {
        let target = target(&[Own(PLAIN, 10, window)]);
        let verdict = verdict(start(&target), &source, &target);
        assert_eq!(verdict.source_epoch, epoch, "{window:?}");
    }
}

#[test]
fn a_target_with_its_own_times_matches_whatever_the_time() {
    let own_times = Style {
        append_time: Some(99),
        ..PLAIN
    };
    for style in [
        own_times,
        Style {
            codec: Compression::Zstd,
            ..own_times
        },
    ] {
        let target = target(&[Own(style, 10, &[1, 2, 3])]);
        assert_eq!(
            found(&verdict(start(&target), &six(), &target)),
            (3, true, 3, 0)
        );
    }
    let mut target = TargetLog::default();
    let later = Seen {
        timestamp: 99,
        ..Seen::numbered(1)
    };
    target.write_own(PLAIN, &[later], 10);
    assert_eq!(
        found(&verdict(start(&target), &six(), &target)),
        (0, false, 0, 1)
    );
}

#[test]
fn records_outside_the_window_do_not_count() {
    let target = target(&[Own(PLAIN, 10, &[1, 2, 3, 4]), Own(PLAIN, 14, &[5, 6])]);
    for (from, to, expected) in [
        (0, 4, (4, true, 4, 0)),
        (0, 0, (0, true, 0, 0)),
        (5, 3, (0, true, 0, 0)),
        // Only what is no batch boundary of the target can be meant; nothing is vouched for.
        (0, 3, (3, false, 3, 0)),
        (1, 6, (0, false, 0, 5)),
        (3, 5, (0, false, 0, 2)),
    ] {
        let start = ProofStart {
            target_offset: from,
            target_end: to,
            ..start(&target)
        };
        assert_eq!(
            found(&verdict(start, &six(), &target)),
            expected,
            "{from} {to}"
        );
    }
    let mut target = self::target(&[Own(PLAIN, 10, &[1, 2])]);
    target.skip(1);
    let start = start(&target);
    target.write_own(PLAIN, &numbered(&[3]), 12);
    assert_eq!(found(&verdict(start, &six(), &target)), (2, true, 2, 0));
}

#[test]
fn the_first_records_may_lack_counterparts_when_the_source_deleted_them() {
    let none = BatchProducer::NONE;
    // The source starts at record 3 now. Position, goes on, proven, unmatched, lead-in.
    #[rustfmt::skip]
    let cases: &[(&str, &[Step], FoundCut)] = &[
        ("two deleted", &[Own(PLAIN, 10, &[1, 2]), Own(PLAIN, 12, &[3, 4])], (4, true, 2, 0, 2)),
        ("in one batch", &[Own(PLAIN, 10, &[1, 2, 3])], (3, true, 1, 0, 2)),
        ("with others before", &[Other(none, &[77]), Own(PLAIN, 10, &[1, 2, 3])], (3, true, 1, 0, 2)),
        ("a number left out", &[Own(PLAIN, 10, &[1, 2]), Own(PLAIN, 13, &[3])], (3, false, 1, 0, 2)),
        ("a later one unmatched", &[Own(PLAIN, 10, &[1, 2, 3, 3, 4])], (4, false, 2, 1, 2)),
        ("nothing meets", &[Own(PLAIN, 10, &[1, 2])], (2, false, 0, 0, 2)),
        ("nothing written", &[], (2, false, 0, 0, 0)),
    ];
    for (case, steps, expected) in cases {
        let target = target(steps);
        let start = ProofStart {
            source_offset: 2,
            is_source_cut: true,
            ..start(&target)
        };
        let verdict = verdict(start, &six(), &target);
        let (position, continues, proven, unmatched) = found(&verdict);
        let found = (
            position,
            continues,
            proven,
            unmatched,
            verdict.lead_in_records,
        );
        assert_eq!(found, *expected, "{case}");
    }
}

#[test]
fn source_records_are_counted_when_the_target_deleted_their_copies() {
    let none = BatchProducer::NONE;
    #[rustfmt::skip]
    let cases: &[(&str, &[Step], Option<i32>, Found)] = &[
        ("none deleted", &[Own(PLAIN, 10, &[1, 2])], None, (2, true, 2, 0)),
        ("one deleted", &[Own(PLAIN, 11, &[2, 3])], None, (3, true, 2, 0)),
        ("three deleted", &[Own(PLAIN, 13, &[4, 5])], None, (5, true, 2, 0)),
        ("with others before", &[Other(none, &[1]), Own(PLAIN, 13, &[4])], None, (4, true, 1, 0)),
        ("not what counting says", &[Own(PLAIN, 12, &[4, 5])], None, (0, false, 0, 2)),
        ("more than the source has", &[Own(PLAIN, 17, &[4])], None, (0, false, 0, 1)),
        ("before the anchor", &[Own(PLAIN, 9, &[1])], None, (0, false, 0, 1)),
        ("a number left out later", &[Own(PLAIN, 12, &[3]), Own(PLAIN, 14, &[4])], None, (0, false, 0, 2)),
        ("only others", &[Other(none, &[1])], None, (0, false, 0, 0)),
        ("only others, remembered", &[Other(none, &[1])], Some(12), (3, true, 0, 0)),
        ("others went on from there", &[Other(none, &[77, 4, 5])], Some(12), (5, false, 2, 0)),
        ("a transaction went on from there", &[Transaction(&[4], Some(true)), Other(none, &[5])], Some(12), (5, false, 2, 0)),
        ("others went on, who knows from where", &[Other(none, &[4, 5])], None, (0, false, 0, 0)),
        ("all deleted", &[], Some(12), (3, true, 0, 0)),
        ("all deleted, nothing new", &[], Some(9), (0, true, 0, 0)),
        ("all deleted, too many", &[], Some(16), (0, false, 0, 0)),
        ("all deleted, going back", &[], Some(8), (0, false, 0, 0)),
        ("all deleted, no number", &[], Some(-1), (0, false, 0, 0)),
        ("all deleted and forgotten", &[], None, (0, false, 0, 0)),
    ];
    for (case, steps, skip_to_sequence, expected) in cases {
        let target = target(steps);
        let start = ProofStart {
            is_target_cut: true,
            skip_to_sequence: *skip_to_sequence,
            ..start(&target)
        };
        let verdict = verdict(start, &six(), &target);
        assert_eq!(found(&verdict), *expected, "{case}");
        let after = skip_to_sequence.filter(|_| verdict.continues);
        if let Some(last) = after {
            assert_eq!(verdict.next_sequence, last + 1, "{case}");
        }
    }
}

#[test]
fn records_of_former_lineages_that_came_late_are_counted() {
    let cases: [(&[Step], u64); 4] = [
        (&[Own(PLAIN, 10, &[1, 2])], 0),
        (&[Other(OLDER, &[1, 2])], 0),
        (&[Own(PLAIN, 10, &[1, 2]), Other(OLDER, &[1, 2])], 2),
        (&[Other(BatchProducer::NONE, &[9]), Other(OLDER, &[9])], 1),
    ];
    for (steps, expected) in cases {
        let target = target(steps);
        let found = prove_all(start(&target), &six(), &target).0;
        assert_eq!(found.unmatched_former_records, expected);
    }
    // A window that is read twice counts them once.
    let target = target(&[Other(OLDER, &[1]), Other(BatchProducer::NONE, &[4])]);
    let start = ProofStart {
        is_target_cut: true,
        skip_to_sequence: Some(12),
        ..start(&target)
    };
    let found = prove_all(start, &six(), &target).0;
    assert_eq!(found.unmatched_former_records, 1);
}

#[test]
fn others_may_have_copied_what_the_target_has_deleted() {
    let none = BatchProducer::NONE;
    let cases: [(&[Step], bool, bool); 4] = [
        (&[Other(none, &[4])], true, true),
        (&[Other(none, &[4])], false, false),
        (&[Own(PLAIN, 13, &[4])], true, false),
        (&[Transaction(&[4], Some(false))], true, false),
    ];
    for (steps, is_target_cut, expected) in cases {
        let target = target(steps);
        let start = ProofStart {
            is_target_cut,
            ..start(&target)
        };
        assert_eq!(prove_all(start, &six(), &target).1, expected);
    }
}

#[test]
fn more_copies_than_the_target_has_lost_offsets_were_never_there() {
    for (deleted_max, is_believed) in [(3, true), (2, false)] {
        let target = target(&[Own(PLAIN, 13, &[4, 5])]);
        let start = ProofStart {
            is_target_cut: true,
            deleted_max,
            ..start(&target)
        };
        let verdict = verdict(start, &six(), &target);
        let position = if is_believed { 5 } else { 0 };
        let found = (verdict.source_offset, verdict.continues);
        assert_eq!(found, (position, is_believed), "{deleted_max}");
    }
}

#[test]
fn what_took_the_place_of_copied_records_is_not_passed_by_counting() {
    for (steps, skip_to_sequence) in [(&[Own(PLAIN, 13, &[4, 5])][..], None), (&[], Some(12))] {
        for (counted_epoch, is_believed) in [(0, true), (1, false), (-1, false)] {
            let target = target(steps);
            let start = ProofStart {
                is_target_cut: true,
                skip_to_sequence,
                counted_epoch,
                ..start(&target)
            };
            let verdict = verdict(start, &six(), &target);
            let is_passed = (verdict.source_offset > 0, verdict.continues);
            assert_eq!(is_passed, (is_believed, is_believed), "{counted_epoch}");
        }
    }
}

#[test]
fn a_log_that_starts_within_a_batch_shows_the_number_of_what_is_left() {
    let target = target(&[Own(PLAIN, 10, &[1, 2, 3, 4]), Own(PLAIN, 14, &[5])]);
    for deleted in 1..=4 {
        let start = ProofStart {
            target_offset: deleted,
            is_target_cut: true,
            ..start(&target)
        };
        let left = 5 - u64::try_from(deleted).unwrap();
        let expected = (5, true, left, 0);
        let verdict = verdict(start, &six(), &target);
        assert_eq!(found(&verdict), expected, "{deleted} deleted");
        assert_eq!(verdict.next_sequence, 15);
    }
}

#[test]
fn both_ends_cut_leave_only_the_records_themselves() {
    let target = target(&[Own(PLAIN, 12, &[3, 4])]);
    let start = ProofStart {
        source_offset: 2,
        is_source_cut: true,
        is_target_cut: true,
        ..start(&target)
    };
    assert_eq!(found(&verdict(start, &six(), &target)), (4, false, 2, 0));
}
