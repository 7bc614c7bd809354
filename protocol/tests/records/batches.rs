//! Record batches against an independent codec, and properties of reading, readdressing and
//! building them.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{
        Compression as TheirCompression, Record as TheirRecord, RecordBatchDecoder,
        RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    },
};
use kmirror_protocol::records::{
    Attributes, Batch, BatchBuilder, BatchHeader, BatchProducer, BuiltBatch, Compression,
    ControlType, EndTxnMarker, HEADER_LEN, Header, LogEntry, MAGIC, NewRecord, batches,
    check_outgoing, check_records, decompress, records,
};
use proptest::{collection, option, prelude::*, sample};

const OUTPUT_LEN_MAX: usize = 1 << 20;

const PRODUCER: BatchProducer = BatchProducer {
    producer_id: 4_000,
    producer_epoch: 3,
    base_sequence: 70,
};

/// What must survive every codec: the fields of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn blob() -> impl Strategy<Value = Option<Vec<u8>>> {
    let short = collection::vec(any::<u8>(), 0..40);
    let long = collection::vec(0_u8..4, 0..3_000);
    option::of(prop_oneof![4 => short, 1 => long])
}

fn fields() -> impl Strategy<Value = Fields> {
    let timestamp = prop_oneof![Just(-1), 0..1_i64 << 42];
    // The other codec keeps headers in a map, so keys are distinct.
    let headers = collection::btree_map(".{0,6}", blob(), 0..4);
    (timestamp, blob(), blob(), headers).prop_map(|(timestamp, key, value, headers)| Fields {
        timestamp,
        key,
        value,
        headers: headers.into_iter().collect(),
    })
}

fn many() -> impl Strategy<Value = Vec<Fields>> {
    collection::vec(fields(), 1..12)
}

fn codec() -> impl Strategy<Value = Compression> {
    sample::select(Compression::ALL.as_slice())
}

fn header() -> impl Strategy<Value = BatchHeader> {
    let offsets = (0..1_i64 << 60, 0..i32::MAX, any::<i32>(), 0..i32::MAX);
    let producer = any::<(i64, i16, i32)>();
    let rest = any::<(i16, i64, i64, u32)>();
    (offsets, producer, rest).prop_map(|(offsets, producer, rest)| BatchHeader {
        base_offset: offsets.0,
        batch_length: 49,
        partition_leader_epoch: offsets.2,
        magic: MAGIC,
        crc: rest.3,
        attributes: Attributes(rest.0),
        last_offset_delta: offsets.1,
        base_timestamp: rest.1,
        max_timestamp: rest.2,
        producer_id: producer.0,
        producer_epoch: producer.1,
        base_sequence: producer.2,
        record_count: offsets.3,
    })
}

/// A header with the length and checksum that `payload` asks for.
fn sealed(mut header: BatchHeader, payload: &[u8]) -> BatchHeader {
    header.batch_length = 49 + i32::try_from(payload.len()).unwrap();
    header.crc = header.computed_crc(payload);
    header
}

fn build(codec: Compression, all: &[Fields]) -> BuiltBatch {
    let mut builder = BatchBuilder::new(codec).producer(PRODUCER);
    for fields in all {
        let headers: Vec<_> = fields
            .headers
            .iter()
            .map(|(key, value)| Header {
                key: key.as_bytes(),
                value: value.as_deref(),
            })
            .collect();
        let record = NewRecord {
            timestamp: fields.timestamp,
            key: fields.key.as_deref(),
            value: fields.value.as_deref(),
            headers: &headers,
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

/// Reads a whole batch with the codec under test.
fn read(bytes: &[u8]) -> (BatchHeader, Vec<Fields>) {
    let mut entries = batches(bytes);
    let Some(Ok(LogEntry::Batch(Batch { header, payload }))) = entries.next() else {
        panic!("not a batch");
    };
    assert_eq!(entries.next(), None);
    assert_eq!(entries.incomplete_len(), 0);
    assert!(header.verify_crc(payload));
    let codec = header.attributes.compression().unwrap();
    let payload = decompress(codec, payload, OUTPUT_LEN_MAX).unwrap();
    let all = records(&payload, header.record_count)
        .enumerate()
        .map(|(index, record)| {
            let record = record.unwrap();
            assert_eq!(usize::try_from(record.offset_delta).unwrap(), index);
            let headers = record.headers.iter().map(|header| {
                let value = header.value.map(<[u8]>::to_vec);
                (header.key_str().unwrap().to_owned(), value)
            });
            Fields {
                timestamp: record.timestamp(&header),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers.collect(),
            }
        })
        .collect();
    (header, all)
}

const fn theirs(codec: Compression) -> TheirCompression {
    match codec {
        Compression::None => TheirCompression::None,
        Compression::Gzip => TheirCompression::Gzip,
        Compression::Snappy => TheirCompression::Snappy,
        Compression::Lz4 => TheirCompression::Lz4,
        Compression::Zstd => TheirCompression::Zstd,
    }
}

fn to_theirs(all: &[Fields]) -> Vec<TheirRecord> {
    let to_theirs = |(offset, fields): (i32, &Fields)| {
        let headers: IndexMap<_, _> = fields
            .headers
            .iter()
            .map(|(key, value)| {
                let key = StrBytes::from_string(key.clone());
                (key, value.clone().map(Bytes::from))
            })
            .collect();
        TheirRecord {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: PRODUCER.producer_id,
            producer_epoch: PRODUCER.producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(offset),
            sequence: PRODUCER.base_sequence + offset,
            timestamp: fields.timestamp,
            key: fields.key.clone().map(Bytes::from),
            value: fields.value.clone().map(Bytes::from),
            headers,
        }
    };
    (0..).zip(all).map(to_theirs).collect()
}

proptest! {
    #[test]
    fn what_we_build_the_other_codec_reads(codec in codec(), all in many()) {
        let mut bytes = Bytes::from(build(codec, &all).to_vec());
        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(set.compression, theirs(codec));
        prop_assert_eq!(set.records, to_theirs(&all));
    }

    #[test]
    fn what_the_other_codec_builds_we_read(codec in codec(), all in many()) {
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: theirs(codec) };
        RecordBatchEncoder::encode(&mut bytes, &to_theirs(&all), &options).unwrap();

        let (header, actual) = read(&bytes);
        prop_assert_eq!(actual, all);
        prop_assert_eq!(header.producer(), PRODUCER);
        prop_assert_eq!(header.attributes.compression().unwrap(), codec);
        prop_assert_eq!(check_outgoing(&header, bytes.len() - HEADER_LEN), Ok(()));
    }

    #[test]
    fn what_we_build_may_be_produced_and_is_read_back(codec in codec(), all in many()) {
        let built = build(codec, &all);
        let (header, actual) = read(&built.to_vec());
        prop_assert_eq!(header, built.header);
        prop_assert_eq!(&actual, &all);

        prop_assert_eq!(check_outgoing(&header, built.payload.len()), Ok(()));
        let checked = check_records(&header, &built.payload, OUTPUT_LEN_MAX).unwrap();
        let max_timestamp = all.iter().map(|fields| fields.timestamp).max().unwrap();
        prop_assert_eq!(checked.max_timestamp, max_timestamp);
        prop_assert_eq!(header.max_timestamp, max_timestamp);
        prop_assert!(checked.summary.is_dense);
        let has_all_keys = all.iter().all(|fields| fields.key.is_some());
        prop_assert_eq!(checked.summary.has_all_keys, has_all_keys);
    }

    #[test]
    fn copied_records_are_the_same_records(codec in codec(), all in many()) {
        let built = build(Compression::None, &all);
        let mut builder = BatchBuilder::new(codec).producer(PRODUCER);
        for record in records(&built.payload, built.header.record_count) {
            let record = record.unwrap();
            builder.copy(&record, record.timestamp(&built.header)).unwrap();
        }
        prop_assert_eq!(builder.build().unwrap(), build(codec, &all));
    }

    #[test]
    fn mutated_bytes_never_panic_and_never_pass_the_checksum(
        codec in codec(),
        all in many(),
        at: sample::Index,
        flip in 1..=255_u8,
    ) {
        let mut bytes = build(codec, &all).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        for entry in batches(&bytes) {
            let Ok(LogEntry::Batch(Batch { header, payload })) = entry else {
                continue;
            };
            // Base offset and leader epoch are the broker's and outside the checksum.
            let is_checked = !(0..8).contains(&at) && !(12..16).contains(&at);
            prop_assert_eq!(header.verify_crc(payload), !is_checked);
            if let Ok(checked) = check_records(&header, payload, OUTPUT_LEN_MAX) {
                prop_assert_eq!(checked.summary.record_count, header.record_count);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_end_and_account_for_every_byte(
        mut bytes in collection::vec(any::<u8>(), 0..400),
        magic in 0..3_u8,
        len in 0..200_i32,
    ) {
        // Made plausible at the front, so that more than the first check is reached.
        if let Some(front) = bytes.get_mut(8..17) {
            front[..4].copy_from_slice(&len.to_be_bytes());
            front[8] = magic;
        }
        let mut entries = batches(&bytes);
        let mut len = 0;
        for entry in entries.by_ref() {
            match entry {
                Ok(LogEntry::Batch(batch)) => len += batch.header.size(),
                Ok(LogEntry::Legacy(message)) => len += message.bytes.len(),
                Err(_) => {}
            }
        }
        prop_assert_eq!(len + entries.incomplete_len(), bytes.len());
        prop_assert_eq!(entries.next(), None);
    }

    #[test]
    fn arbitrary_payloads_never_panic(
        codec in codec(),
        payload in collection::vec(any::<u8>(), 0..300),
        count: i32,
    ) {
        let mut read = 0;
        for record in records(&payload, count) {
            read += 1;
            if let Ok(record) = record {
                let headers = u32::try_from(record.headers.iter().count()).unwrap();
                prop_assert_eq!(headers, record.headers.count());
            }
        }
        prop_assert!(read <= payload.len() / 7 + 1);
        if let Ok(bytes) = decompress(codec, &payload, 10_000) {
            prop_assert!(bytes.len() <= 10_000);
        }
    }

    #[test]
    fn headers_survive(header in header()) {
        prop_assert_eq!(BatchHeader::parse(&header.encode()), Ok(header));
    }

    #[test]
    fn readdressing_equals_recomputing(
        header in header(),
        payload in collection::vec(any::<u8>(), 0..2_000),
        (producer_id, producer_epoch, base_sequence) in any::<(i64, i16, i32)>(),
        bit: sample::Index,
    ) {
        let source = sealed(header, &payload);
        let producer = BatchProducer { producer_id, producer_epoch, base_sequence };
        let sent = source.readdressed(producer);
        prop_assert_eq!(sent.crc, sent.computed_crc(&payload));
        prop_assert!(sent.has_same_payload(&source));

        if !payload.is_empty() {
            let mut damaged = payload.clone();
            let bit = bit.index(payload.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!sent.verify_crc(&damaged));
            prop_assert!(!sealed(sent, &damaged).has_same_payload(&source));
        }
    }

    #[test]
    fn any_change_of_the_header_can_be_followed(
        (from, to) in (header(), header()),
        payload in collection::vec(any::<u8>(), 0..300),
    ) {
        let original = sealed(from, &payload);
        let batch_length = original.batch_length;
        let changed = BatchHeader { batch_length, ..to }.with_crc_from(&original);
        prop_assert!(changed.verify_crc(&payload));
    }
}

proptest! {
    // Each case looks at every length.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_strict_prefix_is_incomplete_or_refused(
        codec in codec(),
        all in collection::vec(fields(), 1..3),
    ) {
        let built = build(codec, &all);
        let bytes = built.to_vec();
        for len in 0..bytes.len() {
            let mut entries = batches(&bytes[..len]);
            prop_assert_eq!(entries.next(), None);
            prop_assert_eq!(entries.incomplete_len(), len);
        }
        for len in 0..built.payload.len() {
            let cut = &built.payload[..len];
            prop_assert!(!built.header.verify_crc(cut));
            prop_assert!(check_records(&built.header, cut, OUTPUT_LEN_MAX).is_err(), "{}", len);
        }
    }
}

#[test]
fn readdressing_equals_recomputing_at_every_size_class() {
    let all = [Fields {
        timestamp: 5,
        key: None,
        value: None,
        headers: vec![],
    }];
    let header = build(Compression::None, &all).header;
    let payload = vec![0x5a; (1 << 24) + 257];
    for len in [
        0,
        1,
        255,
        256,
        257,
        (1 << 16) - 1,
        1 << 16,
        (1 << 16) + 1,
        (1 << 24) - 1,
        1 << 24,
        (1 << 24) + 257,
    ] {
        let payload = &payload[..len];
        let source = sealed(header, payload);
        let sent = source.readdressed(BatchProducer::NONE);
        assert_ne!(sent.crc, source.crc);
        assert!(sent.verify_crc(payload), "{len}");
    }
}

#[test]
fn a_batch_that_needs_no_change_keeps_its_checksum() {
    let mut builder = BatchBuilder::new(Compression::None).appended_at(900, 12);
    builder.push(&NewRecord::default()).unwrap();
    let source = builder.build().unwrap().header;
    let sent = source.readdressed(BatchProducer::NONE);
    assert_eq!(sent.crc, source.crc);
    assert_eq!((sent.base_offset, sent.partition_leader_epoch), (0, -1));
}

#[test]
fn null_and_empty_are_kept_apart() {
    for (key, value) in [
        (None, None),
        (None, Some(vec![])),
        (Some(vec![]), None),
        (Some(vec![]), Some(vec![])),
    ] {
        let headers = vec![
            (String::new(), None),
            ("a".to_owned(), Some(vec![])),
            ("a".to_owned(), None),
        ];
        let all = [Fields {
            timestamp: -1,
            key,
            value,
            headers,
        }];
        let built = build(Compression::None, &all);
        assert_eq!(read(&built.to_vec()).1, all);
        assert_eq!(built.header.max_timestamp, -1);
    }
}

#[test]
fn header_keys_that_are_not_text_keep_their_bytes() {
    let headers = [Header {
        key: &[0xff, 0xfe],
        value: None,
    }];
    let mut builder = BatchBuilder::new(Compression::None);
    let record = NewRecord {
        headers: &headers,
        ..NewRecord::default()
    };
    builder.push(&record).unwrap();
    let built = builder.build().unwrap();
    let record = records(&built.payload, 1).next().unwrap().unwrap();
    assert_eq!(record.headers.iter().collect::<Vec<_>>(), headers);
    assert_eq!(record.headers.iter().next().unwrap().key_str(), None);
}

#[test]
fn a_log_append_time_stands_for_every_record() {
    let mut builder = BatchBuilder::new(Compression::None).log_append_time(9_000);
    for timestamp in [10, 20] {
        let record = NewRecord {
            timestamp,
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
    }
    let built = builder.build().unwrap();
    assert!(built.header.attributes.is_log_append_time());
    assert_eq!(built.header.max_timestamp, 9_000);
    let seen: Vec<_> = records(&built.payload, 2)
        .map(|record| {
            let record = record.unwrap();
            let producer_timestamp = record.producer_timestamp(&built.header);
            (record.timestamp(&built.header), producer_timestamp)
        })
        .collect();
    assert_eq!(seen, [(9_000, 10), (9_000, 20)]);
}

#[test]
fn deltas_count_from_the_base_timestamp_that_was_set() {
    let mut builder = BatchBuilder::new(Compression::None).base_timestamp(100);
    for timestamp in [90, 110, i64::MIN] {
        let record = NewRecord {
            timestamp,
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
    }
    let built = builder.build().unwrap();
    assert_eq!(built.header.base_timestamp, 100);
    assert_eq!(built.header.max_timestamp, 110);
    let seen: Vec<_> = records(&built.payload, 3)
        .map(|record| record.unwrap().timestamp(&built.header))
        .collect();
    assert_eq!(seen, [90, 110, i64::MIN]);
}

#[test]
fn a_marker_is_a_control_batch_that_may_not_be_produced() {
    let marker = EndTxnMarker {
        version: 0,
        coordinator_epoch: 5,
    };
    let mut builder = BatchBuilder::new(Compression::None)
        .appended_at(40, 2)
        .flags(Attributes::TRANSACTIONAL | Attributes::CONTROL);
    builder
        .push_marker(ControlType::Abort, marker, 1_000)
        .unwrap();
    let built = builder.build().unwrap();
    assert!(built.header.attributes.is_control());
    assert!(built.header.attributes.is_transactional());
    assert_eq!(built.header.next_offset(), 41);

    let record = records(&built.payload, 1).next().unwrap().unwrap();
    let control = ControlType::parse(record.key.unwrap()).unwrap();
    assert_eq!(control, ControlType::Abort);
    assert_eq!(EndTxnMarker::parse(record.value.unwrap()), Ok(marker));

    let sent = BatchHeader {
        base_offset: 0,
        ..built.header
    };
    assert!(check_outgoing(&sent, built.payload.len()).is_err());
}

#[test]
fn a_batch_without_records_keeps_its_place_in_the_log() {
    let built = BatchBuilder::new(Compression::None)
        .appended_at(40, 2)
        .build()
        .unwrap();
    let (header, all) = read(&built.to_vec());
    assert_eq!((header.record_count, all), (0, vec![]));
    assert_eq!(header.next_offset(), 41);
}
