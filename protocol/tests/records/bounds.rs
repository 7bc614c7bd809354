//! What holds for any bytes at all: nothing panics, nothing takes more memory or more steps than the
//! input pays for. The bytes are golden files, cut, lengthened and damaged.
//!
//! `KMIRROR_SEEDS=100000 cargo test -p kmirror-protocol bounds` tries more damages.

use kmirror_protocol::{
    generate::Source,
    records::{
        Batch, BatchHeader, CompressionError, ConvertLimits, LegacyConverter, LegacyError,
        LegacyMessage, LogEntry, RECORD_LEN_MIN, RecordViolation, batches, check_outgoing,
        check_records, records,
    },
};

use super::describe::{Golden, OUTPUT_LEN_MAX, golden, unfolded};

/// How many damaged files an ordinary run reads.
const SEEDS: u64 = 4_000;

/// What reading may take beside twice its input, in bytes.
const HEAP_FIXED: u64 = 64 << 10;

/// The most that decoders of compressed payloads may take beside their output: an LZ4 frame may ask
/// for blocks of 4 MiB that refer to each other.
const CODEC_STATE: u64 = 13 << 20;

fn all_golden() -> Vec<Golden> {
    let mut all = golden("batches");
    all.extend(golden("legacy"));
    all
}

fn seeds() -> u64 {
    let asked = std::env::var("KMIRROR_SEEDS").ok();
    asked.map_or(SEEDS, |seeds| seeds.parse().unwrap())
}

/// Reads all there is to read, and counts the steps: entries, records and headers.
fn read_all(bytes: &[u8]) -> Steps {
    let mut steps = Steps::default();
    let mut entries = batches(bytes);
    let mut whole = 0;
    for entry in entries.by_ref() {
        steps.entries += 1;
        match entry {
            Ok(LogEntry::Batch(batch)) => {
                whole += batch.header.size();
                read_batch(&batch, &mut steps);
            }
            Ok(LogEntry::Legacy(message)) => {
                whole += message.bytes.len();
                read_message(&message, &mut steps);
            }
            Err(_) => return steps,
        }
    }
    assert_eq!(whole + entries.incomplete_len(), bytes.len());
    steps
}

#[derive(Default)]
struct Steps {
    entries: usize,
    records: usize,
    headers: usize,
    /// Bytes that were read, unfolded ones included.
    bytes: usize,
}

fn read_batch(batch: &Batch<'_>, steps: &mut Steps) {
    let Batch { header, payload } = *batch;
    let _ = check_outgoing(&header, payload.len());
    let _ = check_records(&header, payload, OUTPUT_LEN_MAX);
    steps.bytes += payload.len();
    for record in records(payload, header.record_count) {
        steps.records += 1;
        let Ok(record) = record else { return };
        let _ = (record.offset(&header), record.timestamp(&header));
        steps.headers += record.headers.iter().count();
    }
}

fn read_message(message: &LegacyMessage<'_>, steps: &mut Steps) {
    let Ok(all) = message.records(OUTPUT_LEN_MAX) else {
        return;
    };
    let count = all.iter().count();
    assert_eq!(count, usize::try_from(all.record_count()).unwrap());
    steps.records += count;
    steps.bytes += all
        .iter()
        .map(|record| {
            RECORD_LEN_MIN + record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
        })
        .sum::<usize>();
}

/// Makes batches of all old messages of a blob, as far as they are sound.
fn convert_all(bytes: &[u8]) {
    let limits = ConvertLimits {
        output_len_max: OUTPUT_LEN_MAX,
        batch_len: 200,
    };
    let mut converter = LegacyConverter::new(limits);
    let mut next_offset = 0;
    let mut check = |batch: BatchHeader| {
        assert!(batch.base_offset >= next_offset);
        next_offset = batch.next_offset();
    };
    for entry in batches(bytes).map_while(Result::ok) {
        if let LogEntry::Legacy(message) = entry
            && let Ok(Some(built)) = converter.push(&message)
        {
            assert!(built.as_batch().verify_crc());
            check(built.header);
        }
    }
    if let Some(built) = converter.finish().unwrap() {
        check(built.header);
    }
}

#[test]
fn every_strict_prefix_of_a_golden_file_gives_its_whole_entries() {
    for file in all_golden() {
        let whole: Vec<_> = batches(&file.bytes).map(Result::unwrap).collect();
        for len in 0..file.bytes.len() {
            let mut cut = batches(&file.bytes[..len]);
            let mut count = 0;
            for (entry, expected) in cut.by_ref().zip(&whole) {
                assert_eq!(entry.as_ref(), Ok(expected), "{} cut at {len}", file.name);
                count += 1;
            }
            let left = cut.incomplete_len();
            assert!(left > 0 || count < whole.len(), "{} at {len}", file.name);
        }
    }
}

#[test]
fn one_byte_more_is_an_incomplete_entry() {
    for file in all_golden() {
        for byte in [0, 1, 0x7f, 0xff] {
            let longer = [&*file.bytes, &[byte]].concat();
            let mut entries = batches(&longer);
            let count = entries.by_ref().map(Result::unwrap).count();
            assert_eq!(count, batches(&file.bytes).count(), "{}", file.name);
            assert_eq!(entries.incomplete_len(), 1, "{}", file.name);
        }
    }
}

#[test]
fn every_strict_prefix_and_one_byte_more_of_a_payload_is_refused() {
    for file in all_golden() {
        for entry in batches(&file.bytes).map(Result::unwrap) {
            let LogEntry::Batch(batch) = entry else {
                continue;
            };
            let plain = unfolded(&batch);
            let count = batch.header.record_count;
            let is_read = |bytes: &[u8]| records(bytes, count).all(|record| record.is_ok());
            assert!(is_read(&plain));
            // All of a small payload, and the ends of a large one.
            let lens = (0..plain.len()).filter(|len| *len < 300 || plain.len() - len < 300);
            for len in lens {
                assert!(!is_read(&plain[..len]), "{} cut at {len}", file.name);
            }
            assert!(!is_read(&[&*plain, &[0]].concat()), "{}", file.name);
        }
    }
}

/// Damages a copy of a file in one to eight places, or cuts it, or repeats a part of it.
fn damaged(file: &Golden, source: &mut Source) -> Vec<u8> {
    let mut bytes = file.bytes.clone();
    for _ in 0..=source.below(8) {
        let at = source.below(bytes.len());
        match source.below(8) {
            0 => bytes[at] = [0, 0x7f, 0x80, 0xff][source.below(4)],
            1 => bytes.truncate(at.max(1)),
            2 => bytes.insert(at, u8::try_from(source.below(256)).unwrap()),
            3 => {
                let end = (at + 1 + source.below(40)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes[at] ^= 1 << source.below(8),
        }
    }
    bytes
}

/// Gives every entry that can be found the checksum of its bytes, so that damage gets further.
fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(entry) = bytes.get_mut(at..)
        && let Some((head, _)) = entry.split_first_chunk::<17>()
        && let Ok(len) = usize::try_from(i32::from_be_bytes([head[8], head[9], head[10], head[11]]))
        && let Some(entry) = entry.get_mut(..len + 12)
        && len >= 14
    {
        if entry[16] == 2 && len > 49 {
            let crc = BatchHeader::parse(entry).map(|header| header.computed_crc(&entry[61..]));
            entry[17..21].copy_from_slice(&crc.unwrap_or_default().to_be_bytes());
        } else {
            let crc = crc32fast::hash(&entry[16..]).to_be_bytes();
            entry[12..16].copy_from_slice(&crc);
        }
        at += len + 12;
    }
}

#[test]
fn damaged_files_never_panic_nor_take_more_than_they_pay_for() {
    let files = all_golden();
    for seed in 0..seeds() {
        let mut source = Source::new(seed);
        let file = &files[source.below(files.len())];
        let mut bytes = damaged(file, &mut source);
        if source.below(4) > 0 {
            mend_checksums(&mut bytes);
        }
        let mut steps = Steps::default();
        let heap = allocation_counter::measure(|| steps = read_all(&bytes));
        let what = (&file.name, seed);
        let len = u64::try_from(bytes.len()).unwrap();
        let output = u64::try_from(OUTPUT_LEN_MAX).unwrap();
        let allowed = 2 * len + HEAP_FIXED + 2 * output + CODEC_STATE;
        assert!(heap.bytes_max <= allowed, "{what:?}: {heap:?}");
        // Each step takes at least the least length of what it reads.
        assert!(steps.entries <= bytes.len() / 26 + 1, "{what:?}");
        let records_max = (bytes.len() + steps.bytes) / RECORD_LEN_MIN + steps.entries;
        assert!(steps.records <= records_max, "{what:?}");
        assert!(steps.headers <= steps.bytes / 2, "{what:?}");
        convert_all(&bytes);
    }
}

#[test]
fn what_is_not_compressed_is_read_without_any_heap() {
    for file in all_golden() {
        let mut source = Source::new(7);
        for round in 0..50 {
            let bytes = match round {
                0 => file.bytes.clone(),
                _ => damaged(&file, &mut source),
            };
            let heap = allocation_counter::measure(|| {
                for entry in batches(&bytes).map_while(Result::ok) {
                    match entry {
                        LogEntry::Batch(batch) => {
                            let header = batch.header;
                            let _ = header.verify_crc(batch.payload);
                            let all = records(batch.payload, header.record_count);
                            let headers = all.flatten().map(|record| record.headers.iter().count());
                            let _ = headers.sum::<usize>();
                        }
                        LogEntry::Legacy(message) => {
                            let _ = message.verify_crc();
                        }
                    }
                }
            });
            assert_eq!(heap.count_total, 0, "{} round {round}", file.name);
        }
    }
}

#[test]
fn counts_and_lengths_that_lie_cost_nothing() {
    // As many records, and as many headers, as the fields can claim, and one byte of them.
    let heap = allocation_counter::measure(|| {
        assert_eq!(records(&[0], i32::MAX).count(), 1);
        let headers = [22, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0];
        let mut all = records(&headers, 1);
        assert!(all.next().unwrap().is_err());
        assert!(all.next().is_none());
    });
    assert_eq!(heap.count_total, 0);

    // A message that says it is as long as a length can say.
    let mut bytes = [0; 40];
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let heap = allocation_counter::measure(|| {
        let mut entries = batches(&bytes);
        assert_eq!(entries.next(), None);
        assert_eq!(entries.incomplete_len(), 40);
    });
    assert_eq!(heap.count_total, 0);
}

#[test]
fn the_cap_of_the_caller_holds_for_every_golden_file() {
    for file in all_golden() {
        let len = u64::try_from(file.bytes.len()).unwrap();
        for cap in [0, 10, 100] {
            for entry in batches(&file.bytes).map(Result::unwrap) {
                let mut is_refused = None;
                let heap = allocation_counter::measure(|| {
                    is_refused = Some(match entry {
                        LogEntry::Batch(Batch { header, payload }) => matches!(
                            check_records(&header, payload, cap),
                            Err(RecordViolation::Compression(
                                CompressionError::TooLarge { .. }
                            ))
                        ),
                        LogEntry::Legacy(message) => matches!(
                            message.records(cap),
                            Err(LegacyError::Compression(CompressionError::TooLarge { .. }))
                        ),
                    });
                });
                let is_larger = match entry {
                    LogEntry::Batch(batch) => unfolded(&batch).len() > cap,
                    // A message that is no wrapper unfolds to nothing new.
                    LogEntry::Legacy(message) => message.bytes[17] & 7 != 0,
                };
                assert_eq!(is_refused, Some(is_larger), "{} under {cap}", file.name);
                let allowed = 2 * len + HEAP_FIXED + CODEC_STATE;
                assert!(heap.bytes_max <= allowed, "{heap:?}");
            }
        }
    }
}
