//! The cheap proof, condition by condition.

use bytes::Bytes;
use kmirror_protocol::records::{Attributes, Batch, BatchHeader, BuiltBatch, Compression};

use super::logs::{LINEAGE, PLAIN, Seen, SourceLog, Style, TargetLog};
use crate::{
    flow::{
        ActiveProducer,
        proof::{TailEvidence, tail_proves},
    },
    offsets::state::{Anchor, Lineage, RecordIdentity},
};

/// Everything that can be said, and may be said wrongly.
#[derive(Clone, Debug)]
struct Case {
    anchor: Anchor,
    target_end: i64,
    producer: ActiveProducer,
    target: BuiltBatch,
    source: BuiltBatch,
}

impl Case {
    fn proves(&self) -> Option<i64> {
        tail_proves(&TailEvidence {
            anchor: &self.anchor,
            target_end: self.target_end,
            producer: self.producer,
            target: self.target.as_batch(),
            source: self.source.as_batch(),
        })
    }

    /// Changes a header and its checksum with it.
    fn header(batch: &mut BuiltBatch, change: impl FnOnce(&mut BatchHeader)) {
        change(&mut batch.header);
        batch.header.crc = batch.header.computed_crc(&batch.payload);
    }
}

fn numbered(numbers: &[usize]) -> Vec<Seen> {
    numbers.iter().copied().map(Seen::numbered).collect()
}

fn last_batch(bytes: &Bytes) -> BuiltBatch {
    let Batch { header, payload } = kmirror_protocol::records::batches(bytes)
        .filter_map(|entry| match entry.unwrap() {
            kmirror_protocol::records::LogEntry::Batch(batch) => Some(batch),
            kmirror_protocol::records::LogEntry::Legacy(_) => None,
        })
        .last()
        .unwrap();
    BuiltBatch {
        header,
        payload: Bytes::copy_from_slice(payload),
    }
}

/// Since the anchor at source 100 and target 40: five records, the last three in one batch.
fn proven() -> Case {
    let style = Style {
        codec: Compression::Lz4,
        ..PLAIN
    };
    let (mut source, mut target) = (SourceLog::default(), TargetLog::default());
    let filler: Vec<usize> = (0..100).collect();
    source.append(PLAIN, &numbered(&filler));
    target.write_own(PLAIN, &numbered(&filler[..40]), 0);
    for records in [&[1, 2][..], &[3, 4, 5]] {
        source.append(style, &numbered(records));
    }
    target.write_own(style, &numbered(&[1, 2]), 10);
    target.write_own(style, &numbered(&[3, 4, 5]), 12);
    Case {
        anchor: Anchor {
            lineage: LINEAGE,
            next_sequence: 10,
            source_offset: 100,
            source_epoch: 0,
            target_offset: 40,
            previous: Some(RecordIdentity {
                producer_id: LINEAGE.producer_id,
                producer_epoch: LINEAGE.epoch,
                sequence: 9,
                leader_epoch: 0,
            }),
            ..Anchor::BLANK
        },
        target_end: 45,
        producer: ActiveProducer {
            producer_id: LINEAGE.producer_id,
            producer_epoch: i32::from(LINEAGE.epoch),
            last_sequence: 14,
            transaction_start_offset: -1,
        },
        target: last_batch(&target.fetch(0, usize::MAX).records),
        source: last_batch(&source.fetch(0, usize::MAX).records),
    }
}

#[test]
fn a_tail_with_which_all_arithmetic_agrees_proves_the_position() {
    assert_eq!(proven().proves(), Some(105));
    // The only batch since the anchor.
    let mut case = proven();
    case.anchor.next_sequence = 12;
    case.anchor.source_offset = 102;
    case.anchor.target_offset = 42;
    assert_eq!(case.proves(), Some(105));
    // The target's own times do not matter.
    let mut case = proven();
    Case::header(&mut case.target, |header| {
        header.attributes.0 |= Attributes::LOG_APPEND_TIME;
        header.max_timestamp = 99_999;
    });
    assert_eq!(case.proves(), Some(105));
    // Nothing came before the anchor.
    let mut case = proven();
    case.anchor.previous = None;
    assert_eq!(case.proves(), Some(105));
    // Sequence numbers wrap.
    let mut case = proven();
    case.anchor.next_sequence = i32::MAX - 1;
    case.producer.last_sequence = 2;
    Case::header(&mut case.target, |header| header.base_sequence = 0);
    assert_eq!(case.proves(), Some(105));
}

#[test]
fn each_condition_is_needed() {
    type Change = fn(&mut Case);
    #[rustfmt::skip]
    let changes: &[(&str, Change)] = &[
        ("the producer remembered is another", |case| case.producer.producer_id += 1),
        ("the epoch remembered is another", |case| case.producer.producer_epoch += 1),
        ("a transaction is open", |case| case.producer.transaction_start_offset = 3),
        ("one sequence number more", |case| case.producer.last_sequence += 1),
        ("one sequence number less", |case| case.producer.last_sequence -= 1),
        ("no sequence number", |case| case.producer.last_sequence = -1),
        ("an impossible sequence number", |case| case.producer.last_sequence = i32::MIN),
        ("the anchor's lineage is another", |case| case.anchor.lineage = Lineage { epoch: 2, ..LINEAGE }),
        ("the anchor's number is another", |case| case.anchor.next_sequence += 1),
        ("the log ends later: others write", |case| case.target_end += 1),
        ("the log ends earlier", |case| case.target_end -= 1),
        ("the anchor's target offset is another", |case| case.anchor.target_offset += 1),
        ("the anchor's target offset is absurd", |case| case.anchor.target_offset = i64::MAX),
        ("the anchor's source offset is another", |case| case.anchor.source_offset += 1),
        ("the anchor's source offset is absurd", |case| case.anchor.source_offset = i64::MAX),
        ("all three agree on one record more", |case| { case.producer.last_sequence += 1; case.target_end += 1; case.anchor.source_offset -= 1; }),
        ("the anchor lies inside the tail", |case| { case.anchor.next_sequence = 13; case.anchor.source_offset = 103; case.anchor.target_offset = 43; }),
        ("nothing since the anchor", |case| { case.anchor.next_sequence = 15; case.anchor.source_offset = 105; case.anchor.target_offset = 45; }),
        ("the tail is another producer's", |case| Case::header(&mut case.target, |header| header.producer_id += 1)),
        ("the tail is another epoch's", |case| Case::header(&mut case.target, |header| header.producer_epoch += 1)),
        ("the tail has another number", |case| Case::header(&mut case.target, |header| header.base_sequence += 1)),
        ("the tail has no number", |case| Case::header(&mut case.target, |header| header.base_sequence = -1)),
        ("the tail was written under a later leader", |case| case.target.header.partition_leader_epoch += 1),
        ("the tail is elsewhere", |case| Case::header(&mut case.target, |header| header.base_offset -= 1)),
        ("the tail is in a transaction", |case| Case::header(&mut case.target, |header| header.attributes.0 |= Attributes::TRANSACTIONAL)),
        ("the tail is a marker", |case| Case::header(&mut case.target, |header| header.attributes.0 |= Attributes::CONTROL)),
        ("the tail is thinned", |case| Case::header(&mut case.target, |header| header.record_count = 2)),
        ("the tail is damaged", |case| case.target.header.crc ^= 1),
        ("the source's batch is damaged", |case| case.source.header.crc ^= 1),
        ("the source's batch is a marker", |case| Case::header(&mut case.source, |header| header.attributes.0 |= Attributes::CONTROL)),
        ("the source's batch is elsewhere", |case| Case::header(&mut case.source, |header| header.base_offset -= 1)),
        ("the source's batch is thinned", |case| Case::header(&mut case.source, |header| header.record_count = 2)),
        ("the source's batch is longer", |case| Case::header(&mut case.source, |header| { header.base_offset -= 1; header.last_offset_delta += 1; header.record_count += 1; })),
        ("the source's batch has other times", |case| Case::header(&mut case.source, |header| header.base_timestamp += 1)),
        ("the source's readers see the append time", |case| Case::header(&mut case.source, |header| header.attributes.0 |= Attributes::LOG_APPEND_TIME)),
        ("the source's batch has another codec", |case| Case::header(&mut case.source, |header| header.attributes.0 ^= 1)),
        ("the source's batch holds something else", |case| {
            let mut other = SourceLog::default();
            other.append(PLAIN, &numbered(&[3, 4, 6]));
            let other = last_batch(&other.fetch(0, usize::MAX).records);
            case.source.payload = other.payload;
            Case::header(&mut case.source, |_| ());
        }),
    ];
    for (case, change) in changes {
        let mut changed = proven();
        change(&mut changed);
        assert_eq!(changed.proves(), None, "{case}");
    }
}

#[test]
fn the_source_batch_to_fetch_ends_where_counting_says() {
    let Case {
        anchor, producer, ..
    } = proven();
    for (last_sequence, target_end, source_end) in [
        (14, 45, Some(105)),
        (9, 40, Some(100)),
        (14, 46, None),
        (8, 39, None),
    ] {
        let producer = ActiveProducer {
            last_sequence,
            ..producer
        };
        let found = TailEvidence::source_end(&anchor, target_end, &producer);
        assert_eq!(found, source_end, "{last_sequence} {target_end}");
    }
}
