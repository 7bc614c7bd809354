//! Message sets of magic 0 and 1, whole or damaged, alone or wrapped.

use super::OUTPUT_LEN_MAX;
use crate::records::{
    Batch, BuiltBatch, Compression, ConvertLimits, LegacyConverter, LegacyMessage, LogEntry,
    batches, compress, decompress, records,
};

/// What converting must keep: offset, timestamp, key and value.
type Kept = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Converting messages to batches keeps offset, timestamp, key and value of every record, in
/// their order; a message that is refused takes nothing with it.
///
/// The first byte says whether the rest is a log or a set to be wrapped first, in which format and
/// by which codec; the second how large batches get. Checksums are made right, since no fuzzer
/// would find them.
pub fn legacy_message_set(bytes: &[u8]) {
    let Some((&[mode, batch_len], log)) = bytes.split_first_chunk() else {
        return;
    };
    let mut log = with_checksums(log);
    if let Some(codec) = wrapper_codec(mode) {
        log = with_checksums(&wrapped(codec, mode >> 7, &log));
    }
    let mut converter = LegacyConverter::new(ConvertLimits {
        output_len_max: OUTPUT_LEN_MAX,
        batch_len: usize::from(batch_len).saturating_mul(16),
    });
    let (mut expected, mut converted) = (Vec::new(), Vec::new());
    for entry in batches(&log).map_while(Result::ok) {
        let LogEntry::Legacy(message) = entry else {
            continue;
        };
        if let Ok(done) = converter.push(&message) {
            expected.extend(records_of(&message));
            converted.extend(done.iter().flat_map(records_in));
        }
    }
    let last = converter.finish().expect("nothing is too long");
    converted.extend(last.iter().flat_map(records_in));
    assert!(converted == expected);
}

fn wrapper_codec(mode: u8) -> Option<Compression> {
    match mode & 3 {
        0 => None,
        id => Compression::from_id(i16::from(id)).ok(),
    }
}

/// What is read of a message that a converter has accepted.
fn records_of(message: &LegacyMessage<'_>) -> Vec<Kept> {
    let records = message.records(OUTPUT_LEN_MAX).expect("it was read before");
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    records
        .iter()
        .map(|record| {
            (
                record.offset,
                record.timestamp,
                owned(record.key),
                owned(record.value),
            )
        })
        .collect()
}

/// What is read of a batch that a converter has made.
fn records_in(built: &BuiltBatch) -> Vec<Kept> {
    let bytes = built.to_vec();
    let Batch { header, payload } = Batch::parse(&bytes).expect("what is built can be read");
    assert!(header.verify_crc(payload));
    let codec = header
        .attributes
        .compression()
        .expect("the builder has set it");
    // A wrapper of many messages without content unfolds to more than they took.
    let plain = decompress(codec, payload, usize::MAX).expect("what is folded unfolds");
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let kept: Vec<_> = records(&plain, header.record_count)
        .map(|record| {
            let record = record.expect("what this crate writes, it reads");
            assert!(record.headers.is_empty());
            let place = (record.offset(&header), record.timestamp(&header));
            (place.0, place.1, owned(record.key), owned(record.value))
        })
        .collect();
    let last = kept.last().expect("a batch that was built is not empty");
    assert!(last.0 <= header.last_offset());
    kept
}

/// The log with the checksum of every message that can be found in it.
fn with_checksums(log: &[u8]) -> Vec<u8> {
    let mut mended = Vec::with_capacity(log.len());
    for entry in batches(log).map_while(Result::ok) {
        match entry {
            LogEntry::Legacy(message) => {
                let (place, fields) = message.bytes.split_at_checked(12).unwrap_or_default();
                let checked = fields.get(4..).unwrap_or_default();
                mended.extend_from_slice(place);
                mended.extend_from_slice(&crc32fast::hash(checked).to_be_bytes());
                mended.extend_from_slice(checked);
            }
            LogEntry::Batch(Batch { header, payload }) => {
                mended.extend_from_slice(&header.encode());
                mended.extend_from_slice(payload);
            }
        }
    }
    let rest = log.get(mended.len()..).unwrap_or_default();
    mended.extend_from_slice(rest);
    mended
}

/// One message around `set`, its checksum left out.
fn wrapped(codec: Compression, magic: u8, set: &[u8]) -> Vec<u8> {
    let Ok(value) = compress(codec, set, None) else {
        return Vec::new();
    };
    let attributes = u8::try_from(codec.id()).unwrap_or_default();
    let mut fields = vec![0, 0, 0, 0, magic, attributes];
    if magic > 0 {
        fields.extend(1_700_000_000_000_i64.to_be_bytes());
    }
    fields.extend((-1_i32).to_be_bytes());
    fields.extend(len(&value));
    fields.extend(value);
    let offset = 1_000_000_i64.to_be_bytes();
    [offset.as_slice(), &len(&fields), &fields].concat()
}

fn len(bytes: &[u8]) -> [u8; 4] {
    i32::try_from(bytes.len()).unwrap_or_default().to_be_bytes()
}
