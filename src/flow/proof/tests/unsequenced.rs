//! Targets without producer ids, where nothing but content tells own records; and records of others.

use std::collections::BTreeSet;

use kmirror_protocol::records::BatchProducer;

use super::logs::{LINEAGE, PLAIN};
use super::rules::{Found, Other, Own, Step, Transaction, found, six, start, target, verdict};
use crate::{
    flow::{
        Side,
        proof::{Progress, Proof, ProofStart, Wants},
    },
    offsets::state::Lineage,
};

/// Somebody whom kmirror does not know.
const STRANGER: BatchProducer = BatchProducer {
    producer_id: 4_711,
    producer_epoch: 0,
    base_sequence: 0,
};

#[test]
fn without_sequence_numbers_the_position_is_found_by_content_alone() {
    let none = BatchProducer::NONE;
    #[rustfmt::skip]
    let cases: &[(&str, &[Step], Found)] = &[
        ("nothing", &[], (0, false, 0, 0)),
        ("all", &[Other(none, &[1, 2, 3, 4, 5, 6])], (6, false, 6, 0)),
        ("some", &[Other(none, &[1, 2]), Other(none, &[3])], (3, false, 3, 0)),
        ("a late batch", &[Other(none, &[1, 2]), Other(none, &[3]), Other(none, &[1, 2])], (3, false, 3, 2)),
        ("late between", &[Other(none, &[1, 2]), Other(none, &[1, 2]), Other(none, &[3])], (3, false, 3, 2)),
        ("one lost in between", &[Other(none, &[1, 2]), Other(none, &[4, 5, 6])], (2, false, 2, 3)),
        ("of a stranger", &[Other(none, &[1, 2]), Other(STRANGER, &[9])], (2, false, 2, 0)),
        ("of a time with producer ids", &[Own(PLAIN, 10, &[1, 2]), Other(none, &[3])], (3, false, 3, 0)),
    ];
    for (case, steps, expected) in cases {
        let log = target(steps);
        let start = ProofStart {
            lineage: Lineage::UNSEQUENCED,
            next_sequence: None,
            ..start(&log)
        };
        assert_eq!(found(&verdict(start, &six(), &log)), *expected, "{case}");
    }
}

fn others(steps: &[Step], from_offset: i64) -> u64 {
    let (source, target) = (six(), target(steps));
    let mut proof = Proof::new(start(&target));
    proof.count_others(from_offset, BTreeSet::from([LINEAGE.producer_id]));
    loop {
        let (side, progress) = match proof.wants() {
            Wants::Source { offset } => {
                let fetched = source.fetch(offset, 1 << 20);
                (Side::Source, proof.take_source(fetched))
            }
            Wants::Decided { offset } | Wants::Target { offset } => {
                let fetched = target.fetch_decided(offset, 1 << 20);
                (Side::Target, proof.take_target(fetched))
            }
            Wants::Nothing => return proof.others_records(),
        };
        if progress.unwrap() == Progress::None {
            proof.nothing_left(side).unwrap();
        }
    }
}

#[test]
fn records_of_others_are_counted_once_and_neither_markers_nor_former_lineages_are() {
    let older = BatchProducer {
        producer_id: LINEAGE.producer_id,
        producer_epoch: LINEAGE.epoch - 1,
        base_sequence: 0,
    };
    let steps = [
        Own(PLAIN, 10, &[1, 2]),
        Other(STRANGER, &[8, 9]),
        Other(older, &[1]),
        Other(BatchProducer::NONE, &[7]),
        Transaction(&[5], Some(true)),
    ];
    assert_eq!(others(&steps, 0), 4);
    assert_eq!(others(&steps, 4), 2, "what lies below has been counted");
    assert_eq!(others(&steps[..1], 0), 0);
}
