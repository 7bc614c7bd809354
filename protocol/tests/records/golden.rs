//! Golden bytes: what other programs wrote, read as they read it. `golden/README.md` says where each
//! file comes from.

use kmirror_protocol::records::{ConvertLimits, LegacyConverter, LogEntry};

use super::describe::{OUTPUT_LEN_MAX, describe, entries, golden};

#[test]
fn old_messages_read_as_kafka_reads_them() {
    for file in golden("legacy") {
        assert_eq!(describe(&file.bytes), file.text, "{}", file.name);
    }
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
