//! Golden files of log entries, and the words in which Kafka's own reader describes them.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use kmirror_protocol::records::{
    Batch, Compression, ControlType, EndTxnMarker, Header, LegacyMessage, LogEntry, batches,
    decompress, records,
};

/// More than any golden file unfolds to, in bytes.
pub(crate) const OUTPUT_LEN_MAX: usize = 1 << 20;

/// Above this length a key or value is described by its length and CRC-32.
const TEXT_LEN_MAX: usize = 64;

/// One golden file.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// What Kafka's reader found in it.
    pub(crate) text: String,
}

/// The golden files of one folder, by name; there are some.
pub(crate) fn golden(folder: &str) -> Vec<Golden> {
    let dir = golden_dir().join(folder);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| Golden {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            bytes: fs::read(&path).unwrap(),
            text: fs::read_to_string(path.with_extension("txt")).unwrap(),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!files.is_empty(), "{}", dir.display());
    files
}

pub(crate) fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every entry of a blob that must hold nothing else.
pub(crate) fn entries(bytes: &[u8]) -> Vec<LogEntry<'_>> {
    let mut entries = batches(bytes);
    let all = entries.by_ref().map(Result::unwrap).collect();
    assert_eq!(entries.incomplete_len(), 0);
    all
}

/// Describes all entries of a blob.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let mut out = String::new();
    for entry in entries(bytes) {
        match entry {
            LogEntry::Batch(batch) => describe_batch(&mut out, &batch),
            LogEntry::Legacy(message) => describe_message(&mut out, &message),
        }
    }
    out
}

fn describe_message(out: &mut String, message: &LegacyMessage<'_>) {
    assert!(message.verify_crc());
    let all = message.records(OUTPUT_LEN_MAX).unwrap();
    let crc = u32::from_be_bytes(message.bytes[12..16].try_into().unwrap());
    writeln!(
        out,
        "batch magic={} base_offset={} last_offset={} codec={} crc={crc:08x}",
        message.magic,
        all.iter().next().unwrap().offset,
        message.offset,
        all.compression(),
    )
    .unwrap();
    for record in &all {
        record_line(
            out,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
        );
        out.push('\n');
    }
}

fn describe_batch(out: &mut String, batch: &Batch<'_>) {
    assert!(batch.verify_crc());
    let header = batch.header;
    let codec = header.attributes.compression().unwrap();
    let horizon = header.delete_horizon();
    writeln!(
        out,
        "batch magic={} base_offset={} last_offset={} codec={codec} leader_epoch={} producer_id={} \
         producer_epoch={} base_sequence={} last_sequence={} count={} max_timestamp={} append_time={} \
         transactional={} control={} delete_horizon={} crc={:08x}",
        header.magic,
        header.base_offset,
        header.last_offset(),
        header.partition_leader_epoch,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence(),
        header.record_count,
        header.max_timestamp,
        header.attributes.is_log_append_time(),
        header.attributes.is_transactional(),
        header.attributes.is_control(),
        horizon.map_or_else(|| String::from("none"), |horizon| horizon.to_string()),
        header.crc,
    )
    .unwrap();
    for record in records(&unfolded(batch), header.record_count) {
        let record = record.unwrap();
        let (offset, timestamp) = (record.offset(&header), record.timestamp(&header));
        record_line(out, offset, timestamp, record.key, record.value);
        for Header { key, value } in record.headers {
            write!(out, " {}={}", text(Some(key)), text(value)).unwrap();
        }
        if header.attributes.is_control() {
            control(out, record.key.unwrap(), record.value.unwrap());
        }
        out.push('\n');
    }
}

/// The payload of a batch, not compressed.
pub(crate) fn unfolded<'a>(batch: &Batch<'a>) -> std::borrow::Cow<'a, [u8]> {
    let codec = batch.header.attributes.compression().unwrap();
    // The cleaner writes no frame around nothing.
    if batch.header.record_count == 0 && batch.payload.is_empty() {
        return decompress(Compression::None, batch.payload, OUTPUT_LEN_MAX).unwrap();
    }
    decompress(codec, batch.payload, OUTPUT_LEN_MAX).unwrap()
}

fn control(out: &mut String, key: &[u8], value: &[u8]) {
    let control = ControlType::parse(key).unwrap();
    let name = match control {
        ControlType::Abort => "ABORT",
        ControlType::Commit => "COMMIT",
        ControlType::LeaderChange => "LEADER_CHANGE",
        ControlType::SnapshotHeader => "SNAPSHOT_HEADER",
        ControlType::SnapshotFooter => "SNAPSHOT_FOOTER",
        ControlType::KRaftVersion => "KRAFT_VERSION",
        ControlType::KRaftVoters => "KRAFT_VOTERS",
        ControlType::Other(_) => "UNKNOWN",
    };
    write!(out, " type={name}").unwrap();
    if matches!(control, ControlType::Abort | ControlType::Commit) {
        let epoch = EndTxnMarker::parse(value).unwrap().coordinator_epoch;
        write!(out, " coordinator_epoch={epoch}").unwrap();
    }
}

fn record_line(
    out: &mut String,
    offset: i64,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    write!(out, "  {offset} {timestamp} {} {}", text(key), text(value)).unwrap();
}

fn text(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return String::from("null");
    };
    if bytes.len() > TEXT_LEN_MAX {
        let crc = crc32fast::hash(bytes);
        return format!("<{} bytes, crc32 {crc:08x}>", bytes.len());
    }
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => write!(out, "\\x{byte:02x}").unwrap(),
            0x21..0x7f => out.push(char::from(byte)),
            _ => write!(out, "\\x{byte:02x}").unwrap(),
        }
    }
    out.push('"');
    out
}
