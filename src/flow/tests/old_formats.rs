//! What becomes of messages of magic 0 and 1, which the source may still hold.

use kmirror_protocol::records::{BatchHeader, decompress, records};

use super::partition::{Bench, halted};
use crate::flow::{
    batch::{DropReason, RebuildReason},
    halt::HaltReason,
    limits,
};

/// A log through three formats, offsets 0 to 34: magic 0, 0 gzip, 1, 1 LZ4, 1 stamped, 2 snappy, 1.
const MIXED: &[u8] = include_bytes!("../../../protocol/tests/golden/legacy/java-mixed.bin");

/// A wrapper of magic 1 around five records at offsets 1000 to 1020.
const HOLES: &[u8] = include_bytes!("../../../protocol/tests/golden/legacy/java-v1-gzip-holes.bin");

/// Sends and acknowledges all; returns the timestamp and key of every record that went out.
fn copied(bench: &mut Bench) -> Vec<(i64, Option<String>)> {
    let mut all = Vec::new();
    loop {
        let sent = bench.send_batches();
        if sent.is_empty() {
            return all;
        }
        for batch in sent {
            let header = BatchHeader::parse(&batch.header).unwrap();
            assert!(header.verify_crc(&batch.payload));
            let codec = header.attributes.compression().unwrap();
            let plain = decompress(codec, &batch.payload, limits::DECOMPRESSED_BYTES_MAX).unwrap();
            for (delta, record) in (0..).zip(records(&plain, header.record_count)) {
                let record = record.unwrap();
                assert_eq!(record.offset_delta, delta);
                let key = record
                    .key
                    .map(|key| String::from_utf8(key.to_vec()).unwrap());
                all.push((record.timestamp(&header), key));
            }
            bench.acknowledge(batch.base_sequence);
        }
    }
}

fn times(all: &[(i64, Option<String>)]) -> Vec<i64> {
    all.iter().map(|(time, _)| *time).collect()
}

#[test]
fn every_record_of_every_format_is_copied_once_and_in_order() {
    let mut bench = Bench::new(0);
    assert_eq!(bench.fetched(MIXED.to_vec()), None);
    let all = copied(&mut bench);
    let keys: Vec<_> = all.iter().map(|(_, key)| key.as_deref()).collect();
    let five = [
        None,
        Some("no value"),
        Some(""),
        Some("no timestamp"),
        Some("k"),
    ];
    assert_eq!(keys, five.repeat(7));
    let (none, own) = (
        [-1; 5],
        [0, 5, 3, -1_700_000_000_001, 4].map(|ms| ms + 1_700_000_000_000),
    );
    let append = [1_700_000_999_999; 5];
    assert_eq!(
        times(&all),
        [none, none, own, own, append, own, own].concat()
    );
    assert_eq!(bench.partition.copied_offset(), Some(35));
    let counters = bench.partition.counters();
    assert_eq!(counters.passed, 1);
    assert_eq!(counters.rebuilt.get(&RebuildReason::OldFormat), Some(&6));
}

#[test]
fn a_position_inside_a_wrapper_leaves_out_what_lies_below() {
    for next_offset in 0..35 {
        let mut bench = Bench::at(next_offset);
        assert_eq!(bench.fetched(MIXED.to_vec()), None);
        let count = usize::try_from(35 - next_offset).unwrap();
        assert_eq!(copied(&mut bench).len(), count, "from {next_offset}");
        assert_eq!(bench.partition.copied_offset(), Some(35));
    }
    let bench = {
        let mut bench = Bench::at(7);
        bench.fetched(MIXED.to_vec());
        bench
    };
    let counters = bench.partition.counters();
    assert_eq!(counters.dropped.get(&DropReason::AlreadyCopied), Some(&1));
    assert_eq!(counters.rebuilt.get(&RebuildReason::Trim), Some(&1));
}

#[test]
fn holes_that_compaction_left_in_a_wrapper_close() {
    let mut bench = Bench::at(1_000);
    assert_eq!(bench.fetched(HOLES.to_vec()), None);
    assert_eq!(copied(&mut bench).len(), 5);
    assert_eq!(bench.partition.copied_offset(), Some(1_021));
    let counters = bench.partition.counters();
    assert_eq!(counters.rebuilt.get(&RebuildReason::Holes), Some(&1));
}

#[test]
fn a_damaged_message_halts_the_partition_behind_what_came_before_it() {
    // The third message of magic 0.
    let mut damaged = MIXED.to_vec();
    damaged[32 + 34 + 16] ^= 1;
    let mut bench = Bench::new(0);
    let reason = halted(bench.fetched(damaged));
    assert!(
        matches!(reason, HaltReason::NotRebuilt { offset: 2, .. }),
        "{reason}"
    );
    assert!(!reason.bars_producing());
    assert_eq!(copied(&mut bench).len(), 2);
    assert_eq!(bench.partition.copied_offset(), Some(2));
}
