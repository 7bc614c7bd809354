//! Messages of magic 0 and 1: what is refused, what is kept, and how batches are cut.

use kmirror_protocol::{
    Malformed,
    records::{
        Batch, BuildError, BuiltBatch, Compression, CompressionError, ConvertLimits,
        LegacyConverter, LegacyError, LegacyMessage, LogEntry, NO_TIMESTAMP, batches, compress,
        records,
    },
    wire::Why,
};
use proptest::{collection, option, prelude::*, sample};

use super::describe::{OUTPUT_LEN_MAX, entries, unfolded};

const LIMITS: ConvertLimits = ConvertLimits {
    output_len_max: OUTPUT_LEN_MAX,
    batch_len: 1 << 16,
};

const LOG_APPEND_TIME: u8 = 1 << 3;

/// What one message says; the checksum is always right.
#[derive(Clone, Debug)]
struct Message {
    magic: u8,
    offset: i64,
    attributes: u8,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Message {
    fn new(magic: u8, offset: i64) -> Self {
        Self {
            magic,
            offset,
            attributes: 0,
            timestamp: 1_000,
            key: Some(b"key".to_vec()),
            value: Some(b"value".to_vec()),
        }
    }

    fn wrapper(magic: u8, offset: i64, codec: Compression, inner: &[u8]) -> Self {
        Self {
            attributes: u8::try_from(codec.id()).unwrap(),
            key: None,
            value: Some(compress(codec, inner, None).unwrap()),
            ..Self::new(magic, offset)
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut checked = vec![self.magic, self.attributes];
        if self.magic > 0 {
            checked.extend(self.timestamp.to_be_bytes());
        }
        for field in [&self.key, &self.value] {
            let len = field
                .as_ref()
                .map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap());
            checked.extend(len.to_be_bytes());
            checked.extend(field.iter().flatten());
        }
        let crc = crc32fast::hash(&checked);
        entry(self.offset, &[&crc.to_be_bytes(), &*checked].concat())
    }
}

/// An entry around what follows the length.
fn entry(offset: i64, rest: &[u8]) -> Vec<u8> {
    let len = i32::try_from(rest.len()).unwrap();
    [&offset.to_be_bytes()[..], &len.to_be_bytes(), rest].concat()
}

/// The same entry with one more byte inside, and a right checksum.
fn with_trailing_byte(bytes: &[u8]) -> Vec<u8> {
    let checked = [&bytes[16..], &[0]].concat();
    let crc = crc32fast::hash(&checked);
    let offset = i64::from_be_bytes(bytes[..8].try_into().unwrap());
    entry(offset, &[&crc.to_be_bytes(), &*checked].concat())
}

fn only(bytes: &[u8]) -> LegacyMessage<'_> {
    match *entries(bytes) {
        [LogEntry::Legacy(message)] => message,
        ref other => panic!("{other:?}"),
    }
}

/// Offset, timestamp, key and value of a record.
type Fields = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn read(bytes: &[u8]) -> Result<Vec<Fields>, LegacyError> {
    let all = only(bytes).records(OUTPUT_LEN_MAX)?;
    let fields: Vec<_> = all
        .iter()
        .map(|record| {
            let key = record.key.map(<[u8]>::to_vec);
            let value = record.value.map(<[u8]>::to_vec);
            (record.offset, record.timestamp, key, value)
        })
        .collect();
    assert_eq!(fields.len(), usize::try_from(all.record_count()).unwrap());
    Ok(fields)
}

fn offsets(bytes: &[u8]) -> Vec<i64> {
    let all = read(bytes).unwrap();
    all.into_iter().map(|fields| fields.0).collect()
}

fn convert(messages: &[Vec<u8>], limits: ConvertLimits) -> Result<Vec<BuiltBatch>, LegacyError> {
    let mut converter = LegacyConverter::new(limits);
    let mut out = Vec::new();
    for bytes in messages {
        out.extend(converter.push(&only(bytes))?);
    }
    out.extend(converter.finish()?);
    assert!(converter.finish()?.is_none());
    Ok(out)
}

fn batch_fields(batch: &Batch<'_>) -> Vec<Fields> {
    records(&unfolded(batch), batch.header.record_count)
        .map(|record| {
            let record = record.unwrap();
            assert!(record.headers.is_empty());
            (
                record.offset(&batch.header),
                record.timestamp(&batch.header),
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
            )
        })
        .collect()
}

#[test]
fn offsets_inside_a_wrapper_are_absolute_in_magic_0_and_count_to_the_wrappers_in_magic_1() {
    let set = |magic, offsets: &[i64]| -> Vec<u8> {
        let messages = offsets.iter().map(|&o| Message::new(magic, o).to_bytes());
        messages.collect::<Vec<_>>().concat()
    };
    #[rustfmt::skip]
    let cases = [
        (0, 12, &[10, 11, 12][..], &[10, 11, 12][..], 12),
        (0, 15, &[10, 12], &[10, 12], 15),
        (1, 12, &[0, 1, 2], &[10, 11, 12], 12),
        (1, 12, &[0, 2, 5], &[7, 9, 12], 12),
        (1, 12, &[10, 11, 12], &[10, 11, 12], 12),
        (1, 2, &[0, 1, 2], &[0, 1, 2], 2),
        // Never numbered by a broker.
        (1, 0, &[0, 1, 2], &[0, 1, 2], 2),
    ];
    for (magic, offset, inner, expected, last_offset) in cases {
        let inner = set(magic, inner);
        let bytes = Message::wrapper(magic, offset, Compression::Gzip, &inner).to_bytes();
        assert_eq!(offsets(&bytes), expected, "magic {magic} at {offset}");
        let all = only(&bytes).records(OUTPUT_LEN_MAX).unwrap();
        assert_eq!(all.last_offset(), last_offset);
    }
}

#[test]
fn the_append_time_of_a_wrapper_is_that_of_all_messages_inside() {
    let inner = [Message::new(1, 0), Message::new(1, 1)].map(|m| m.to_bytes());
    let times = |attributes| -> Vec<i64> {
        let mut wrapper = Message::wrapper(1, 1, Compression::Snappy, &inner.concat());
        wrapper.attributes |= attributes;
        wrapper.timestamp = 5_000;
        let all = read(&wrapper.to_bytes()).unwrap();
        all.into_iter().map(|fields| fields.1).collect()
    };
    assert_eq!(times(0), [1_000, 1_000]);
    assert_eq!(times(LOG_APPEND_TIME), [5_000, 5_000]);

    // Magic 0 has neither timestamps nor the flag.
    let inner = Message::new(0, 0).to_bytes();
    let mut wrapper = Message::wrapper(0, 0, Compression::Gzip, &inner);
    wrapper.attributes |= LOG_APPEND_TIME;
    assert_eq!(read(&wrapper.to_bytes()).unwrap()[0].1, NO_TIMESTAMP);
}

#[test]
fn malformed_messages_name_their_field() {
    let gzip = |magic, offset, inner: &[u8]| {
        Message::wrapper(magic, offset, Compression::Gzip, inner).to_bytes()
    };
    let with = |mut bytes: Vec<u8>, at: usize, new: &[u8]| {
        bytes.splice(at..at + new.len(), new.iter().copied());
        let crc = crc32fast::hash(&bytes[16..]).to_be_bytes();
        bytes.splice(12..16, crc);
        bytes
    };
    let (v0, v1) = (Message::new(0, 3).to_bytes(), Message::new(1, 3).to_bytes());
    let no_value = Message {
        attributes: 1,
        value: None,
        ..Message::new(1, 3)
    };
    let batch = [&7_i64.to_be_bytes()[..], &49_i32.to_be_bytes(), &[0; 49]].concat();
    let batch = with(batch, 16, &[2]);
    let cut = &v1[..v1.len() - 1];
    #[rustfmt::skip]
    let cases = [
        ("LegacyMessage.key", Why::NegativeLength, with(v0.clone(), 18, &(-2_i32).to_be_bytes())),
        ("LegacyMessage.key", Why::Truncated, with(v0.clone(), 18, &i32::MAX.to_be_bytes())),
        ("LegacyMessage.key", Why::NegativeLength, with(v1.clone(), 26, &i32::MIN.to_be_bytes())),
        ("LegacyMessage.value", Why::Truncated, with(v1.clone(), 33, &6_i32.to_be_bytes())),
        ("LegacyMessage.value", Why::NegativeLength, with(v1.clone(), 33, &(-9_i32).to_be_bytes())),
        ("LegacyMessage", Why::TrailingBytes, with_trailing_byte(&v0)),
        ("LegacyMessage", Why::TrailingBytes, with_trailing_byte(&v1)),
        ("LegacyMessage.key", Why::Truncated, entry(3, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("LegacyMessage.offset", Why::OutOfRange, Message::new(1, -1).to_bytes()),
        ("LegacyMessage.value", Why::UnexpectedNull, no_value.to_bytes()),
        ("LegacyMessage.magic", Why::OutOfRange, gzip(1, 3, &v0)),
        ("LegacyMessage.magic", Why::OutOfRange, gzip(0, 3, &v1)),
        ("LegacyMessage.magic", Why::OutOfRange, gzip(1, 3, &batch)),
        ("LegacyMessage.offset", Why::OutOfRange, gzip(1, 2, &v1)),
        ("LegacyMessage.offset", Why::OutOfRange, gzip(0, 3, &Message::new(0, -5).to_bytes())),
        ("LegacyMessage.messages", Why::Truncated, gzip(1, 3, cut)),
        ("LegacyMessage.messages", Why::Truncated, gzip(1, 3, &[&*v1, &[0]].concat())),
        ("RecordBatch.batch_length", Why::OutOfRange, gzip(1, 3, &entry(3, &[0; 13]))),
        ("RecordBatch.magic", Why::OutOfRange, gzip(1, 3, &entry(3, &[9; 30]))),
    ];
    for (what, why, bytes) in cases {
        match read(&bytes) {
            Err(LegacyError::Malformed(fault)) => assert_eq!(fault, Malformed { what, why }),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn every_flipped_bit_behind_the_length_is_noticed_by_a_checksum_or_by_the_reader() {
    let inner = [Message::new(1, 0), Message::new(1, 1)].map(|m| m.to_bytes());
    let plain = Message::new(0, 7).to_bytes();
    let wrapper = Message::wrapper(1, 7, Compression::Lz4, &inner.concat()).to_bytes();
    for bytes in [plain, wrapper] {
        for bit in 12 * 8..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Other magics are other formats, found where entries are told apart.
            if bit / 8 != 16 {
                assert!(!only(&damaged).verify_crc(), "{bit}");
                assert!(read(&damaged).is_err(), "{bit}");
            }
        }
    }
}

#[test]
fn a_damaged_message_inside_a_sound_wrapper_is_named() {
    let mut inner = [Message::new(1, 0), Message::new(1, 1)].map(|m| m.to_bytes());
    *inner[1].last_mut().unwrap() ^= 1;
    let bytes = Message::wrapper(1, 9, Compression::Gzip, &inner.concat()).to_bytes();
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, LegacyError::Checksum { offset: 1 }));
    assert_eq!(
        error.to_string(),
        "the CRC-32 of the message at offset 1 is wrong"
    );
}

#[test]
fn wrappers_of_wrappers_of_nothing_and_of_zstd_are_refused() {
    for magic in [0, 1] {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
            let inner = Message::new(magic, 4).to_bytes();
            let wrapper = Message::wrapper(magic, 4, codec, &inner).to_bytes();
            assert_eq!(offsets(&wrapper), [4]);
            let nested = Message::wrapper(magic, 4, codec, &wrapper).to_bytes();
            let error = read(&nested).unwrap_err();
            assert!(matches!(error, LegacyError::NestedWrapper { offset: 4 }));

            let empty = Message::wrapper(magic, 4, codec, &[]).to_bytes();
            let error = read(&empty).unwrap_err();
            assert!(matches!(error, LegacyError::EmptyWrapper { offset: 4 }));
        }
        let inner = Message::new(magic, 4).to_bytes();
        let zstd = Message::wrapper(magic, 4, Compression::Zstd, &inner).to_bytes();
        let error = read(&zstd).unwrap_err();
        assert!(matches!(error, LegacyError::CodecTooNew(Compression::Zstd)));

        let unknown = Message {
            attributes: 5,
            ..Message::new(magic, 4)
        };
        let error = read(&unknown.to_bytes()).unwrap_err();
        let LegacyError::Compression(CompressionError::UnknownCodec { id: 5 }) = error else {
            panic!("{error}");
        };
    }
}

#[test]
fn a_bomb_stops_at_the_limit_of_the_caller() {
    let large = Message {
        value: Some(vec![0; 8 << 20]),
        ..Message::new(1, 0)
    };
    let inner = large.to_bytes();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
        let bytes = Message::wrapper(1, 0, codec, &inner).to_bytes();
        let message = only(&bytes);
        assert!(message.records(inner.len()).is_ok());
        let error = message.records(inner.len() - 1).unwrap_err();
        let LegacyError::Compression(CompressionError::TooLarge { .. }) = error else {
            panic!("{error}");
        };
    }
}

#[test]
fn only_magic_0_may_have_a_wrong_checksum_in_the_header_of_an_lz4_frame() {
    for magic in [0, 1] {
        let inner = Message::new(magic, 0).to_bytes();
        let mut wrapper = Message::wrapper(magic, 0, Compression::Lz4, &inner);
        wrapper.value.as_mut().unwrap()[6] ^= 0x55;
        assert_eq!(read(&wrapper.to_bytes()).is_ok(), magic == 0);
    }
}

#[test]
fn raw_snappy_is_read_as_well_as_framed() {
    let inner = Message::new(1, 0).to_bytes();
    let raw = snap::raw::Encoder::new().compress_vec(&inner).unwrap();
    let wrapper = Message {
        value: Some(raw),
        ..Message::wrapper(1, 8, Compression::Snappy, &inner)
    };
    assert_eq!(offsets(&wrapper.to_bytes()), [8]);
}

#[test]
fn a_run_is_cut_where_it_is_long_enough_and_where_offsets_are_too_far_apart() {
    let far = 1_i64 << 40;
    let all: Vec<_> = [0, 1, 2, far, far + 1]
        .map(|offset| Message::new(1, offset).to_bytes())
        .into();
    let ranges = |batch_len| -> Vec<(i64, i64)> {
        let limits = ConvertLimits {
            batch_len,
            ..LIMITS
        };
        let built = convert(&all, limits).unwrap();
        let ranges = built
            .iter()
            .map(|batch| (batch.header.base_offset, batch.header.last_offset()));
        ranges.collect()
    };
    assert_eq!(ranges(1 << 16), [(0, 2), (far, far + 1)]);
    assert_eq!(
        ranges(0),
        [(0, 0), (1, 1), (2, 2), (far, far), (far + 1, far + 1)]
    );
    assert_eq!(ranges(77), [(0, 1), (2, 2), (far, far + 1)]);
}

#[test]
fn a_batch_covers_the_offset_of_its_wrapper_though_the_last_record_is_gone() {
    let inner = Message::new(0, 10).to_bytes();
    let bytes = Message::wrapper(0, 14, Compression::Gzip, &inner).to_bytes();
    let built = convert(&[bytes], LIMITS).unwrap();
    let header = built[0].header;
    assert_eq!((header.base_offset, header.next_offset()), (10, 15));
    assert_eq!(header.record_count, 1);
    assert!(header.verify_crc(&built[0].payload));
}

#[test]
fn offsets_that_do_not_ascend_are_refused() {
    let plain = |offset| Message::new(0, offset).to_bytes();
    let wrapper =
        |inner: &[Vec<u8>]| Message::wrapper(0, 9, Compression::Gzip, &inner.concat()).to_bytes();
    for messages in [
        vec![plain(5), plain(5)],
        vec![plain(5), plain(4)],
        vec![plain(9), wrapper(&[plain(8), plain(9)])],
        vec![wrapper(&[plain(8), plain(8)])],
        vec![wrapper(&[plain(9), plain(8)])],
        vec![wrapper(&[plain(7)]), plain(9)],
    ] {
        let error = convert(&messages, LIMITS).unwrap_err();
        let LegacyError::Malformed(fault) = error else {
            panic!("{error}");
        };
        assert_eq!(fault.what, "LegacyMessage.offset");
    }
}

#[test]
fn what_came_before_a_damaged_message_is_still_handed_out() {
    let mut damaged = Message::new(1, 2).to_bytes();
    damaged[20] ^= 1;
    let mut converter = LegacyConverter::new(LIMITS);
    for offset in [0, 1] {
        let bytes = Message::new(1, offset).to_bytes();
        assert!(converter.push(&only(&bytes)).unwrap().is_none());
    }
    assert!(converter.push(&only(&damaged)).is_err());
    let built = converter.finish().unwrap().unwrap();
    assert_eq!(built.header.next_offset(), 2);
}

#[test]
fn a_wrapper_too_far_from_its_messages_is_refused_and_takes_nothing_with_it() {
    let mut converter = LegacyConverter::new(LIMITS);
    let plain = Message::new(0, 5).to_bytes();
    assert!(converter.push(&only(&plain)).unwrap().is_none());
    // The offset lies outside the checksum.
    let inner = [Message::new(0, 6), Message::new(0, 6 + (1 << 31))].map(|m| m.to_bytes());
    let far = Message::wrapper(0, 1 << 40, Compression::Gzip, &inner[0]).to_bytes();
    let wide = Message::wrapper(0, 6 + (1 << 31), Compression::Gzip, &inner.concat()).to_bytes();
    for bytes in [far, wide] {
        let error = converter.push(&only(&bytes)).unwrap_err();
        let LegacyError::Build(BuildError::TooManyRecords) = error else {
            panic!("{error}");
        };
    }
    let next = Message::new(0, 6).to_bytes();
    assert!(converter.push(&only(&next)).unwrap().is_none());
    let built = converter.finish().unwrap().unwrap();
    assert_eq!(
        (built.header.base_offset, built.header.record_count),
        (5, 2)
    );
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(collection::vec(any::<u8>(), 0..60))
}

/// Messages at ascending offsets, some of them wrapped together, and the fields that must survive.
fn log() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Fields>)> {
    let record = (1_i64..4, any::<u32>(), field(), field());
    let codec = sample::select(&Compression::ALL[..4]);
    let group = (0_u8..2, codec, any::<bool>(), collection::vec(record, 1..6));
    collection::vec(group, 1..6).prop_map(|groups| {
        let (mut log, mut expected, mut next) = (Vec::new(), Vec::new(), 100_i64);
        for (magic, codec, is_stamped, all) in groups {
            let flags = if is_stamped { LOG_APPEND_TIME } else { 0 };
            let base = next;
            let mut inner = Vec::new();
            for (step, timestamp, key, value) in all {
                let offset = next + step - 1;
                next = offset + 1;
                let is_relative = codec != Compression::None && magic == 1;
                let message = Message {
                    magic,
                    offset: if is_relative { offset - base } else { offset },
                    attributes: 0,
                    timestamp: i64::from(timestamp),
                    key: key.clone(),
                    value: value.clone(),
                };
                inner.push(message.to_bytes());
                let seen = match (magic, codec, is_stamped) {
                    (0, _, _) => NO_TIMESTAMP,
                    (_, Compression::None, _) | (_, _, false) => i64::from(timestamp),
                    _ => 77,
                };
                expected.push((offset, seen, key, value));
            }
            if codec == Compression::None {
                log.extend(inner);
                continue;
            }
            let mut wrapper = Message::wrapper(magic, next - 1, codec, &inner.concat());
            wrapper.attributes |= flags;
            wrapper.timestamp = 77;
            log.push(wrapper.to_bytes());
        }
        (log, expected)
    })
}

proptest! {
    #[test]
    fn conversion_keeps_offset_timestamp_key_and_value(
        (log, expected) in log(),
        batch_len in 0_usize..400,
    ) {
        let limits = ConvertLimits { batch_len, ..LIMITS };
        let built = convert(&log, limits).unwrap();
        let mut seen = Vec::new();
        let mut next_offset = 0;
        for batch in &built {
            prop_assert!(batch.as_batch().verify_crc());
            prop_assert!(batch.header.base_offset >= next_offset);
            next_offset = batch.header.next_offset();
            seen.extend(batch_fields(&batch.as_batch()));
        }
        prop_assert_eq!(next_offset, expected.last().unwrap().0 + 1);
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_set_cut_anywhere_gives_its_whole_messages((log, _) in log(), cut in any::<sample::Index>()) {
        let bytes = log.concat();
        let cut = cut.index(bytes.len());
        let mut entries = batches(&bytes[..cut]);
        let whole: usize = entries
            .by_ref()
            .map(|entry| match entry.unwrap() {
                LogEntry::Legacy(message) => message.bytes.len(),
                LogEntry::Batch(_) => unreachable!("none was written"),
            })
            .sum();
        prop_assert_eq!(whole + entries.incomplete_len(), cut);
        prop_assert!(log.iter().any(|message| entries.incomplete_len() < message.len()));
    }
}
