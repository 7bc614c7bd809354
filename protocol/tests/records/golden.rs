//! Golden bytes: what other programs wrote, read as they read it. `golden/README.md` says where each
//! file comes from.

use std::fs;

use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;
use kmirror_protocol::records::{
    Attributes, Batch, BatchBuilder, BatchProducer, BuiltBatch, Compression, ConvertLimits, Header,
    LegacyConverter, LogEntry, NewRecord, check_records, compress, records,
};

use super::describe::{Golden, OUTPUT_LEN_MAX, describe, entries, golden, golden_dir, unfolded};

#[test]
fn old_messages_read_as_kafka_reads_them() {
    for file in golden("legacy") {
        assert_eq!(describe(&file.bytes), file.text, "{}", file.name);
    }
}

#[test]
fn batches_read_as_kafka_reads_them() {
    for file in golden("batches") {
        assert_eq!(describe(&file.bytes), file.text, "{}", file.name);
    }
}

/// The batches of a file, of which there must be nothing else.
fn only_batches(file: &Golden) -> Vec<Batch<'_>> {
    let all = entries(&file.bytes).into_iter().map(|entry| match entry {
        LogEntry::Batch(batch) => batch,
        LogEntry::Legacy(message) => panic!("{}: {message:?}", file.name),
    });
    all.collect()
}

/// The same records in a batch of our own, not compressed.
fn rebuilt(batch: &Batch<'_>) -> BuiltBatch {
    let header = batch.header;
    let mut builder = BatchBuilder::new(Compression::None)
        .appended_at(header.base_offset, header.partition_leader_epoch)
        .producer(header.producer())
        .flags(header.attributes.0)
        .base_timestamp(header.base_timestamp)
        .last_offset_delta_min(header.last_offset_delta);
    if header.attributes.is_log_append_time() {
        builder = builder.log_append_time(header.max_timestamp);
    }
    for record in records(&unfolded(batch), header.record_count) {
        let record = record.unwrap();
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        let new = NewRecord {
            timestamp: record.producer_timestamp(&header),
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        builder.push_at(record.offset_delta, &new).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn batches_encode_to_the_same_bytes() {
    for file in golden("batches") {
        for batch in only_batches(&file) {
            let (name, header) = (&file.name, batch.header);
            let encoded = [&header.encode(), batch.payload].concat();
            let whole = file
                .bytes
                .windows(encoded.len())
                .any(|part| part == encoded);
            assert!(whole, "{name} at {}", header.base_offset);
            if header.record_count == 0 {
                assert!(batch.payload.is_empty(), "{name}");
                continue;
            }
            let built = rebuilt(&batch);
            let at = format!("{name} at {}", header.base_offset);
            assert_eq!(built.payload.as_ref(), &*unfolded(&batch), "{at}");
            if header.attributes.compression().unwrap() == Compression::None {
                assert_eq!(built.header, header, "{at}");
            }
        }
    }
}

#[test]
fn batches_read_as_the_other_codec_reads_them() {
    for file in golden("batches") {
        let ours = only_batches(&file);
        let theirs = RecordBatchDecoder::decode_all(&mut Bytes::copy_from_slice(&file.bytes));
        let name = &file.name;
        let theirs = theirs.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            let (header, payload) = (ours.header, unfolded(ours));
            let attributes = header.attributes;
            let all: Vec<_> = records(&payload, header.record_count)
                .map(Result::unwrap)
                .collect();
            assert_eq!(all.len(), theirs.records.len(), "{name}");
            for (ours, theirs) in all.iter().zip(theirs.records) {
                assert_eq!(ours.offset(&header), theirs.offset, "{name}");
                // It does not apply the append time.
                let timestamp = ours.producer_timestamp(&header);
                assert_eq!(timestamp, theirs.timestamp, "{name}");
                assert_eq!(ours.key, theirs.key.as_deref(), "{name}");
                assert_eq!(ours.value, theirs.value.as_deref(), "{name}");
                for (key, value) in theirs.headers {
                    // It keeps the last of equal keys.
                    let ours = ours
                        .headers
                        .iter()
                        .filter(|ours| ours.key == key.as_bytes());
                    assert_eq!(ours.last().unwrap().value, value.as_deref(), "{name}");
                }
                let bits = [
                    (Attributes::TRANSACTIONAL, theirs.transactional),
                    (Attributes::CONTROL, theirs.control),
                    (Attributes::DELETE_HORIZON, theirs.delete_horizon),
                ];
                for (bit, is_set) in bits {
                    assert_eq!(attributes.0 & bit != 0, is_set, "{name}");
                }
            }
        }
    }
}

#[test]
fn every_batch_is_checked_as_a_broker_checks_it_and_holes_are_seen() {
    for file in golden("batches") {
        for Batch { header, payload } in only_batches(&file) {
            if header.record_count == 0 {
                continue;
            }
            let is_dense = header.record_count == header.last_offset_delta + 1;
            let checked = check_records(&header, payload, OUTPUT_LEN_MAX);
            let is_plain = header.attributes.compression().unwrap() == Compression::None;
            assert_eq!(checked.is_ok(), is_dense || is_plain, "{}", file.name);
            let Ok(checked) = checked else { continue };
            assert_eq!(checked.summary.is_dense, is_dense, "{}", file.name);
            if !header.attributes.is_log_append_time() {
                assert_eq!(checked.max_timestamp, header.max_timestamp, "{}", file.name);
            }
        }
    }
}

#[test]
fn readdressed_batches_keep_a_right_checksum_and_only_the_codec() {
    let producer = BatchProducer {
        producer_id: 1 << 40,
        producer_epoch: 7,
        base_sequence: 1_234_567,
    };
    for file in golden("batches") {
        for batch in only_batches(&file) {
            let sent = batch.header.readdressed(producer);
            assert!(sent.verify_crc(batch.payload), "{}", file.name);
            assert!(sent.has_same_payload(&batch.header), "{}", file.name);
            assert_eq!(sent.attributes, batch.header.attributes.codec_only());
        }
    }
}

#[test]
fn what_we_compress_is_no_larger_than_twice_what_others_made_of_the_same_records() {
    for file in golden("batches") {
        for batch in only_batches(&file) {
            let codec = batch.header.attributes.compression().unwrap();
            let ours = compress(codec, &unfolded(&batch), None).unwrap();
            let len = ours.len();
            assert!(len <= 2 * batch.payload.len() + 32, "{} {len}", file.name);
        }
    }
}

#[test]
fn golden_files_are_small_and_each_is_named_in_the_table() {
    let readme = fs::read_to_string(golden_dir().join("README.md")).unwrap();
    let mut total = 0;
    for folder in ["legacy", "batches", "frames", "payloads"] {
        for entry in fs::read_dir(golden_dir().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let len = fs::metadata(&path).unwrap().len();
            assert!(len < 8 << 10, "{}", path.display());
            total += len;
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_named = readme
                .lines()
                .filter_map(|line| line.strip_prefix("| `"))
                .any(|line| stands_for(line.split('`').next().unwrap(), name));
            assert!(is_named, "README.md says nothing of {folder}/{name}");
        }
    }
    assert!(total < 400 << 10, "{total}");
}

/// Whether `pattern`, in which `<word>` stands for anything, is a name for `name`.
fn stands_for(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('<') else {
        return pattern == name;
    };
    let (_, tail) = rest.split_once('>').unwrap();
    let Some(name) = name.strip_prefix(head) else {
        return false;
    };
    (1..=name.len()).any(|len| name.is_char_boundary(len) && stands_for(tail, &name[len..]))
}

/// The record lines of a description.
fn record_lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with(' ')).collect()
}

/// All entries as batches, in the order of the log.
fn converted(bytes: &[u8], batch_len: usize) -> Vec<u8> {
    let limits = ConvertLimits {
        output_len_max: OUTPUT_LEN_MAX,
        batch_len,
    };
    let mut out = Vec::new();
    let mut converter = LegacyConverter::new(limits);
    for entry in entries(bytes) {
        let done = match entry {
            LogEntry::Legacy(message) => converter.push(&message).unwrap(),
            LogEntry::Batch(_) => converter.finish().unwrap(),
        };
        out.extend(done.iter().flat_map(|batch| batch.to_vec()));
        if let LogEntry::Batch(batch) = entry {
            out.extend(batch.header.encode());
            out.extend(batch.payload);
        }
    }
    let done = converter.finish().unwrap();
    out.extend(done.iter().flat_map(|batch| batch.to_vec()));
    out
}

#[test]
fn converted_messages_keep_offset_timestamp_key_and_value() {
    for file in golden("legacy") {
        for batch_len in [0, 100, 1 << 20] {
            let batches = converted(&file.bytes, batch_len);
            let text = describe(&batches);
            let name = &file.name;
            assert_eq!(record_lines(&text), record_lines(&file.text), "{name}");
            for entry in entries(&batches) {
                let LogEntry::Batch(batch) = entry else {
                    panic!("{name} keeps an old message");
                };
                assert_eq!(
                    batch.header.attributes,
                    batch.header.attributes.codec_only()
                );
            }
        }
    }
}

#[test]
fn a_run_of_plain_messages_is_one_batch_and_a_wrapper_is_one_batch_of_its_codec() {
    let shapes = |name: &str| -> Vec<String> {
        let files = golden("legacy");
        let file = files.iter().find(|file| file.name == name).unwrap();
        let batches = converted(&file.bytes, 1 << 20);
        entries(&batches)
            .into_iter()
            .map(|entry| {
                let LogEntry::Batch(batch) = entry else {
                    panic!("{name} keeps an old message");
                };
                let header = batch.header;
                let codec = header.attributes.compression().unwrap();
                let (base, last) = (header.base_offset, header.last_offset());
                format!("{codec} {base}..={last} count {}", header.record_count)
            })
            .collect()
    };
    assert_eq!(
        shapes("java-mixed"),
        [
            "none 0..=4 count 5",
            "gzip 5..=9 count 5",
            "none 10..=14 count 5",
            "lz4 15..=19 count 5",
            "none 20..=24 count 5",
            "snappy 25..=29 count 5",
            "none 30..=34 count 5",
        ]
    );
    for codec in ["none", "gzip", "snappy", "lz4"] {
        for magic in [0, 1] {
            let shape = shapes(&format!("java-v{magic}-{codec}-holes"));
            assert_eq!(shape, [format!("{codec} 1000..=1020 count 5")]);
        }
    }
}
