//! Offset syncs, checkpoints and heartbeats, byte for byte as MirrorMaker 2 writes them.
//!
//! The fields of a key or a value follow each other without tags or padding, big-endian; a string is
//! its length in bytes as an INT16, then UTF-8. Whoever reads ignores what follows the last field.
//! All three kinds go to partition 0 of their topic, and never with a null value: Java's readers do
//! not expect one. Source: `OffsetSync`, `Checkpoint` and `Heartbeat` of `connect/mirror` and
//! `connect/mirror-client`.

use super::source_offsets::StoredRecord;

/// The version that the values of checkpoints and heartbeats begin with; there is no other.
const VERSION: i16 = 0;

/// That a record of the source is this record of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetSync {
    /// The topic on the source.
    pub topic: String,
    /// The partition, on both.
    pub partition: i32,
    /// The record's offset on the source.
    pub upstream_offset: i64,
    /// Its offset on the target.
    pub downstream_offset: i64,
}

/// Where a group goes on reading a partition of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The group.
    pub group: String,
    /// The topic on the target.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What the group has committed on the source: the offset that it reads next.
    pub upstream_offset: i64,
    /// The same place on the target.
    pub downstream_offset: i64,
    /// What the group has noted beside its offset; empty when nothing.
    pub metadata: String,
}

/// That a flow from `source` to `target` was alive at a time, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The alias of the source.
    pub source: String,
    /// The alias of the target.
    pub target: String,
    /// When.
    pub timestamp_ms: i64,
}

impl OffsetSync {
    /// Writes it; `None` when the topic's name is longer than the format can say (32,767 bytes).
    #[must_use]
    pub fn encode(&self) -> Option<StoredRecord> {
        let key = Fields::default().string(&self.topic)?.i32(self.partition);
        let value = Fields::default().i64(self.upstream_offset);
        Some(record(key, value.i64(self.downstream_offset)))
    }

    /// Reads one; `None` for anything else.
    #[must_use]
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (mut key, mut value) = (Reader(key), Reader(value));
        Some(Self {
            topic: key.string()?,
            partition: key.i32()?,
            upstream_offset: value.i64()?,
            downstream_offset: value.i64()?,
        })
    }
}

impl Checkpoint {
    /// Writes it; `None` when one of its texts is longer than the format can say (32,767 bytes).
    #[must_use]
    pub fn encode(&self) -> Option<StoredRecord> {
        let key = Fields::default().string(&self.group)?.string(&self.topic)?;
        let value = Fields::default().i16(VERSION).i64(self.upstream_offset);
        let value = value.i64(self.downstream_offset).string(&self.metadata)?;
        Some(record(key.i32(self.partition), value))
    }

    /// Reads one, whatever version it names, as Java does; `None` for anything else.
    #[must_use]
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (mut key, mut value) = (Reader(key), Reader(value));
        value.i16()?;
        Some(Self {
            group: key.string()?,
            topic: key.string()?,
            partition: key.i32()?,
            upstream_offset: value.i64()?,
            downstream_offset: value.i64()?,
            metadata: value.string()?,
        })
    }
}

impl Heartbeat {
    /// Writes it; `None` when an alias is longer than the format can say (32,767 bytes).
    #[must_use]
    pub fn encode(&self) -> Option<StoredRecord> {
        let key = Fields::default().string(&self.source)?;
        let key = key.string(&self.target)?;
        let value = Fields::default().i16(VERSION).i64(self.timestamp_ms);
        Some(record(key, value))
    }

    /// Reads one, whatever version it names, as Java does; `None` for anything else.
    #[must_use]
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (mut key, mut value) = (Reader(key), Reader(value));
        value.i16()?;
        Some(Self {
            source: key.string()?,
            target: key.string()?,
            timestamp_ms: value.i64()?,
        })
    }
}

fn record(key: Fields, value: Fields) -> StoredRecord {
    StoredRecord {
        key: key.0,
        value: Some(value.0),
        ordered_by: None,
    }
}

/// Fields one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn i16(self, value: i16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn i32(self, value: i32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn i64(self, value: i64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn string(self, text: &str) -> Option<Self> {
        let len = i16::try_from(text.len()).ok()?;
        Some(self.i16(len).bytes(text.as_bytes()))
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn string(&mut self) -> Option<String> {
        let len = usize::try_from(self.i16()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn shown(record: &StoredRecord) -> (String, String) {
        (hex(&record.key), hex(record.value.as_deref().unwrap()))
    }

    #[test]
    fn records_are_the_very_bytes_that_mirror_maker_writes() {
        let sync = OffsetSync {
            topic: "orders".into(),
            partition: 3,
            upstream_offset: 1_000,
            downstream_offset: 1_042,
        };
        let (key, value) = shown(&sync.encode().unwrap());
        assert_eq!(key, "00066f726465727300000003");
        assert_eq!(value, "00000000000003e80000000000000412");

        let checkpoint = Checkpoint {
            group: "billing".into(),
            topic: "A.orders".into(),
            partition: 3,
            upstream_offset: 1_000,
            downstream_offset: 1_042,
            metadata: String::new(),
        };
        let (key, value) = shown(&checkpoint.encode().unwrap());
        assert_eq!(key, "000762696c6c696e670008412e6f726465727300000003");
        assert_eq!(value, "000000000000000003e800000000000004120000");

        let heartbeat = Heartbeat {
            source: "A".into(),
            target: "B".into(),
            timestamp_ms: 1_700_000_000_000,
        };
        let (key, value) = shown(&heartbeat.encode().unwrap());
        assert_eq!(key, "000141000142");
        assert_eq!(value, "00000000018bcfe56800");
    }

    #[test]
    fn what_the_format_cannot_say_is_not_written() {
        let long = "x".repeat(32_768);
        let checkpoint = |group: &str, metadata: &str| Checkpoint {
            group: group.into(),
            topic: "A.t".into(),
            partition: 0,
            upstream_offset: 0,
            downstream_offset: 0,
            metadata: metadata.into(),
        };
        assert_eq!(checkpoint(&long, "").encode(), None);
        assert_eq!(checkpoint("g", &long).encode(), None);
        assert!(checkpoint(&long[1..], &long[1..]).encode().is_some());
    }

    #[test]
    fn a_negative_length_or_bad_text_is_nothing() {
        let value = [0; 16];
        for key in [
            &b"\xff\xff\0\0\0\0"[..],
            b"\0\x01\xff\0\0\0\0",
            b"\0\x09t\0\0\0\0",
            b"",
        ] {
            assert_eq!(OffsetSync::decode(key, &value), None, "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_more_behind_it_is_ignored(
            group in ".{0,20}", topic in ".{0,20}", metadata in ".{0,20}",
            partition: i32, upstream_offset: i64, downstream_offset: i64,
            rest in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let checkpoint = Checkpoint {
                group, topic, partition, upstream_offset, downstream_offset, metadata,
            };
            let StoredRecord { mut key, value, .. } = checkpoint.encode().unwrap();
            let mut value = value.unwrap();
            let cut = value.len() - 1;
            prop_assert_eq!(Checkpoint::decode(&key, &value[..cut]), None);
            key.extend(&rest);
            value.extend(&rest);
            prop_assert_eq!(Checkpoint::decode(&key, &value), Some(checkpoint));
        }

        #[test]
        fn rubbish_never_panics(
            key in prop::collection::vec(any::<u8>(), 0..40),
            value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = Checkpoint::decode(&key, &value);
            let _ = OffsetSync::decode(&key, &value);
            let _ = Heartbeat::decode(&key, &value);
        }
    }
}
