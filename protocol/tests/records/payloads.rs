//! Compressed payloads in every framing that a writer may choose, and what Kafka's readers say of them.

use std::fs;

use kmirror_protocol::records::{Compression, decompress};

use super::describe::{OUTPUT_LEN_MAX, golden_dir};

/// Where this crate refuses what Kafka accepts: bytes that Kafka's readers do not look at, and so
/// would lose in silence, and checks that they leave out.
const STRICTER: [&str; 10] = [
    "gzip-trailing-garbage",
    "gzip-trailing-one-byte",
    "gzip-trailing-zeros",
    "lz4-lying-content-size",
    "lz4-skippable-last",
    "lz4-trailing",
    "lz4-two-frames",
    "lz4-wrong-content-checksum",
    "snappy-cut-length",
    "zstd-nothing",
];

/// Where this crate accepts what Kafka refuses: blocks that refer to each other, sound otherwise.
const MORE_LENIENT: [&str; 1] = ["lz4-64k-linked"];

/// "accepted", length and CRC-32 of the output, or "refused".
fn verdict(name: &str, payload: &[u8]) -> String {
    let codec = name.split('-').next().unwrap();
    let codec = Compression::ALL.into_iter().find(|one| one.name() == codec);
    match decompress(codec.unwrap(), payload, OUTPUT_LEN_MAX) {
        Ok(out) => format!("accepted {} {:08x}", out.len(), crc32fast::hash(&out)),
        Err(_) => String::from("refused"),
    }
}

#[test]
fn payloads_are_read_as_kafka_reads_them_but_for_named_exceptions() {
    let dir = golden_dir().join("payloads");
    let text = fs::read_to_string(dir.join("kafka.txt")).unwrap();
    for line in text.lines() {
        let (name, kafka) = line.split_once(' ').unwrap();
        let payload = fs::read(dir.join(name).with_extension("bin")).unwrap();
        let ours = verdict(name, &payload);
        if STRICTER.contains(&name) {
            assert_eq!(ours, "refused", "{name}");
            assert_ne!(kafka, "refused", "{name}");
        } else if MORE_LENIENT.contains(&name) {
            assert_eq!(ours, "accepted 150000 0425708f", "{name}");
            assert_eq!(kafka, "refused", "{name}");
        } else {
            assert_eq!(ours, kafka, "{name}");
        }
    }
    let files = fs::read_dir(dir).unwrap().count();
    assert_eq!(files, text.lines().count() + 1, "each file has its line");
}
