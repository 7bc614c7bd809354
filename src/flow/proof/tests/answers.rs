//! What answers do to a proof: useful ones, useless ones, damaged ones.

use bytes::Bytes;
use kmirror_protocol::records::{Compression, LogEntry, batches};

use super::{
    logs::{PLAIN, Seen, Style, TargetLog},
    prove,
    rules::{GZIP, Own, found, six, start, target, verdict},
};
use crate::flow::{
    Counters, EpochEnd, FetchedRecords, Side,
    halt::HaltReason,
    intake, limits,
    proof::{Progress, Proof, ProofStart, Wants},
};

/// A log through three formats, offsets 0 to 34.
const MIXED: &[u8] = include_bytes!("../../../../protocol/tests/golden/legacy/java-mixed.bin");

/// A wrapper of magic 1 around five records at offsets 1000 to 1020.
const HOLES: &[u8] =
    include_bytes!("../../../../protocol/tests/golden/legacy/java-v1-gzip-holes.bin");

/// A proof at its first question to the source.
fn at_source(target: &TargetLog) -> Proof {
    let mut proof = Proof::new(start(target));
    assert_eq!(proof.wants(), Wants::Decided { offset: 0 });
    assert_eq!(
        proof.take_target(target.fetch_decided(0, usize::MAX)),
        Ok(Progress::Made)
    );
    assert_eq!(proof.wants(), Wants::Source { offset: 0 });
    proof
}

fn nothing(high_watermark: i64, last_stable_offset: i64) -> FetchedRecords {
    FetchedRecords {
        records: Bytes::new(),
        high_watermark,
        last_stable_offset,
        aborted: Vec::new(),
        diverging: None,
    }
}

#[test]
fn an_empty_answer_ends_the_source_only_at_its_readable_end() {
    for (high_watermark, last_stable_offset, is_end) in [
        (1, -1, false),
        (1, 1, false),
        (0, -1, true),
        (5, 0, true),
        (0, 5, true),
        (-1, -1, true),
    ] {
        let mut proof = at_source(&target(&[Own(PLAIN, 10, &[1])]));
        let progress = proof.take_source(nothing(high_watermark, last_stable_offset));
        let expected = if is_end {
            Progress::Made
        } else {
            Progress::None
        };
        assert_eq!(
            progress,
            Ok(expected),
            "{high_watermark} {last_stable_offset}"
        );
        let short = proof.verdict().map(|verdict| verdict.is_source_short);
        assert_eq!(short, is_end.then_some(true));
    }
}

#[test]
fn answers_of_no_use_change_nothing_and_say_so() {
    let (source, target) = (six(), target(&[Own(PLAIN, 10, &[1, 2])]));
    let mut proof = at_source(&target);
    assert_eq!(proof.verdict(), None);
    assert_eq!(
        proof.take_target(target.fetch_decided(0, usize::MAX)),
        Ok(Progress::None)
    );
    assert_eq!(proof.nothing_left(Side::Target), Ok(Progress::None));
    assert_eq!(proof.take_source(source.fetch(0, 70)), Ok(Progress::Cut));
    let diverging = Some(EpochEnd {
        epoch: 1,
        end_offset: 0,
    });
    let parted = FetchedRecords {
        diverging,
        ..nothing(0, 0)
    };
    assert_eq!(proof.take_source(parted.clone()), Ok(Progress::None));
    assert_eq!(proof.wants(), Wants::Source { offset: 0 });
    assert_eq!(
        proof.take_source(source.fetch(0, usize::MAX)),
        Ok(Progress::Made)
    );
    assert_eq!(proof.wants(), Wants::Nothing);
    assert_eq!(
        proof.take_source(source.fetch(0, usize::MAX)),
        Ok(Progress::None)
    );

    let mut proof = Proof::new(start(&target));
    assert_eq!(
        proof.take_source(source.fetch(0, usize::MAX)),
        Ok(Progress::None)
    );
    assert_eq!(proof.take_target(parted), Ok(Progress::None));
    assert_eq!(proof.take_target(nothing(9, 9)), Ok(Progress::None));
    assert_eq!(
        proof.take_target(target.fetch_decided(0, 70)),
        Ok(Progress::Cut)
    );
    assert_eq!(proof.wants(), Wants::Decided { offset: 0 });
}

#[test]
fn a_log_that_lost_its_last_batches_ends_where_the_caller_says() {
    let mut target = target(&[Own(PLAIN, 10, &[1, 2]), Own(PLAIN, 12, &[3])]);
    let start = start(&target);
    target.truncate(2);
    target.skip(1);
    let mut proof = Proof::new(start);
    proof
        .take_target(target.fetch_decided(0, usize::MAX))
        .unwrap();
    proof.take_source(six().fetch(0, usize::MAX)).unwrap();
    assert_eq!(proof.wants(), Wants::Decided { offset: 2 });
    assert_eq!(proof.nothing_left(Side::Target), Ok(Progress::Made));
    assert_eq!(found(&proof.verdict().unwrap()), (2, true, 2, 0));

    target.truncate(2);
    let mut proof = at_source(&target);
    assert_eq!(proof.nothing_left(Side::Source), Ok(Progress::Made));
    assert_eq!(found(&proof.verdict().unwrap()), (0, false, 0, 2));
}

#[test]
fn damage_halts_the_proof_that_meets_it() {
    let full = &[
        Own(PLAIN, 10, &[1, 2]),
        Own(GZIP, 12, &[3]),
        Own(PLAIN, 13, &[4]),
    ];
    let mut rng = fastrand::Rng::with_seed(2);
    let (mut source, target) = (six(), target(full));
    source.damage(2);
    let halted = prove(start(&target), &source, &target, &mut rng);
    assert!(
        matches!(halted, Err(HaltReason::Unreadable { offset: 2, .. })),
        "{halted:?}"
    );
    // Counting does not pass over it either.
    let counting = ProofStart {
        is_target_cut: true,
        target_offset: 3,
        ..start(&target)
    };
    let halted = prove(counting, &source, &target, &mut rng);
    assert!(
        matches!(halted, Err(HaltReason::Unreadable { offset: 2, .. })),
        "{halted:?}"
    );

    for base_offset in [0, 2, 3] {
        let mut damaged = target.clone();
        damaged.damage(base_offset);
        let halted = prove(start(&target), &six(), &damaged, &mut rng);
        let Err(HaltReason::Unreadable { offset, error }) = halted else {
            panic!("{halted:?}");
        };
        assert_eq!(offset, base_offset);
        assert_eq!(error, "on the target: its checksum is wrong");
    }
    // What nothing has to be compared with is left to copying.
    let mut source = six();
    source.damage(3);
    let short = self::target(&[Own(PLAIN, 10, &[1, 2])]);
    assert_eq!(
        found(&verdict(start(&short), &source, &short)),
        (2, true, 2, 0)
    );
}

#[test]
fn a_bomb_halts_the_proof_before_it_fills_the_memory() {
    let zeros = Seen {
        value: Some(vec![0; limits::DECOMPRESSED_BYTES_MAX]),
        ..Seen::numbered(0)
    };
    let zstd = Style {
        codec: Compression::Zstd,
        ..PLAIN
    };
    let mut target = TargetLog::default();
    target.write_own(zstd, &[zeros], 10);
    let halted = prove(
        start(&target),
        &six(),
        &target,
        &mut fastrand::Rng::with_seed(3),
    );
    assert!(
        matches!(halted, Err(HaltReason::Unreadable { offset: 0, .. })),
        "{halted:?}"
    );
}

fn old(records: &'static [u8], end_offset: i64) -> FetchedRecords {
    FetchedRecords {
        records: Bytes::from_static(records),
        ..nothing(end_offset, -1)
    }
}

#[test]
fn old_formats_are_what_copying_makes_of_them() {
    for (bytes, from, end_offset) in [(MIXED, 0, 35), (HOLES, 1_000, 1_021)] {
        let taken = intake::take(from, old(bytes, end_offset), &mut Counters::default());
        let mut target = TargetLog::default();
        let mut sequence = 10;
        for batch in &taken.batches {
            let count = usize::try_from(batch.header.record_count).unwrap();
            let records = vec![Seen::numbered(0); count];
            target.pass_own(
                (batch.header, batch.payload.clone()),
                &records,
                sequence,
                None,
            );
            sequence += batch.header.record_count;
        }
        let start = ProofStart {
            source_offset: from,
            ..start(&target)
        };
        let mut proof = Proof::new(start);
        proof
            .take_target(target.fetch_decided(0, usize::MAX))
            .unwrap();
        proof.take_source(old(bytes, end_offset)).unwrap();
        let found = proof.verdict().unwrap();
        assert_eq!((found.source_offset, found.continues), (end_offset, true));
        assert_eq!(found.next_sequence, sequence);
    }
}

#[test]
fn a_position_among_holes_of_an_old_format_is_that_of_the_record_itself() {
    let Some(Ok(LogEntry::Legacy(wrapper))) = batches(HOLES).next() else {
        panic!("not a message of an old format");
    };
    let wrapped = wrapper.records(1 << 20).unwrap();
    let offsets: Vec<i64> = wrapped.iter().map(|record| record.offset).collect();
    let records: Vec<Seen> = wrapped
        .iter()
        .map(|record| Seen {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        })
        .collect();
    assert_eq!(offsets.len(), 5);
    assert!(offsets.windows(2).any(|pair| pair[0] + 1 < pair[1]));
    for (count, offset) in offsets.iter().enumerate().skip(1) {
        let mut target = TargetLog::default();
        target.write_own(PLAIN, &records[..count], 10);
        let mut proof = Proof::new(ProofStart {
            source_offset: 1_000,
            ..start(&target)
        });
        proof
            .take_target(target.fetch_decided(0, usize::MAX))
            .unwrap();
        proof.take_source(old(HOLES, 1_021)).unwrap();
        let found = proof.verdict().unwrap();
        assert_eq!((found.source_offset, found.continues), (*offset, true));
    }
}

#[test]
fn old_formats_on_the_target_match_too() {
    let start = ProofStart {
        target_end: 35,
        ..start(&TargetLog::default())
    };
    let mut proof = Proof::new(start);
    proof.take_target(old(MIXED, 35)).unwrap();
    proof.take_source(old(MIXED, 35)).unwrap();
    assert_eq!(found(&proof.verdict().unwrap()), (35, false, 35, 0));
}

#[test]
fn whatever_bytes_come_the_proof_does_not_panic() {
    let (source, window) = (
        six(),
        target(&[Own(PLAIN, 10, &[1, 2]), Own(GZIP, 12, &[3, 9])]),
    );
    for seed in 0..4_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut proof = Proof::new(ProofStart {
            is_target_cut: rng.bool(),
            is_source_cut: rng.bool(),
            next_sequence: rng.bool().then(|| rng.i32(..)),
            skip_to_sequence: rng.bool().then(|| rng.i32(..)),
            deleted_max: rng.u64(..),
            counted_epoch: rng.i32(-1..2),
            source_offset: rng.choice([-1, 0, 2, i64::MAX]).unwrap(),
            target_offset: rng.choice([i64::MIN, 0, 1, i64::MAX]).unwrap(),
            target_end: rng.choice([i64::MIN, 0, 3, 4, i64::MAX]).unwrap(),
            ..start(&window)
        });
        for _ in 0..8 {
            let mut fetched = match rng.bool() {
                true => source.fetch(rng.i64(0..4), usize::MAX),
                false => window.fetch_decided(rng.i64(0..4), usize::MAX),
            };
            let mut bytes = fetched.records.to_vec();
            for _ in 0..rng.usize(0..4) {
                // Headers are more interesting than what a checksum protects.
                let reach = if rng.bool() { 21 } else { 400 };
                let at = rng.usize(0..bytes.len().min(reach));
                bytes[at] = rng.u8(..);
            }
            fetched.records = bytes.into();
            fetched.high_watermark = rng.i64(-1..9);
            fetched.last_stable_offset = rng.i64(-1..9);
            let outcome = match proof.wants() {
                Wants::Source { .. } => proof.take_source(fetched),
                Wants::Decided { .. } | Wants::Target { .. } => proof.take_target(fetched),
                Wants::Nothing => break,
            };
            if outcome.is_err() {
                break;
            }
        }
        assert_eq!(proof.verdict().is_some(), proof.wants() == Wants::Nothing);
    }
}
