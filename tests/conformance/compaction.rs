//! What compaction leaves of a log.

use kmirror_protocol::records::{
    Attributes, BatchBuilder, BatchHeader, BatchProducer, Compression, HEADER_LEN, LogEntry,
    NewRecord, batches, decompress, records,
};

use super::{
    broker::{Broker, Topic, eventually},
    brokers::Brokers,
    now_ms,
};

/// A record by offset delta, key and value; no value is a tombstone.
type Held = (i32, &'static str, Option<&'static str>);

/// A batch as it lies in the log.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    offsets: (i64, i64),
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: (i64, i16, i32),
    records: Vec<(i32, i64, String, Option<String>)>,
}

/// All batches; a fetch reads no further than the end of a segment.
async fn stored(broker: &mut Broker, topic: &Topic) -> Vec<Stored> {
    let mut stored: Vec<Stored> = Vec::new();
    loop {
        let next_offset = stored.last().map_or(0, |last| last.offsets.1 + 1);
        let fetched = broker.fetch(topic, next_offset).await;
        if fetched.records.is_empty() {
            return stored;
        }
        stored.extend(parse(&fetched.records));
    }
}

/// Takes batches apart, their checksums proven.
fn parse(blob: &[u8]) -> Vec<Stored> {
    let entries = batches(blob).map(|entry| match entry.unwrap() {
        LogEntry::Batch(batch) => batch,
        LogEntry::Legacy(_) => panic!("an old batch"),
    });
    let stored = entries.map(|batch| {
        assert!(batch.verify_crc(), "{:?}", batch.header);
        let header = &batch.header;
        let codec = header.attributes.compression().unwrap();
        let payload = decompress(codec, batch.payload, 1 << 20).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let held = records(&payload, header.record_count).map(|record| {
            let record = record.unwrap();
            let timestamp = record.timestamp(header);
            let key = text(record.key.unwrap());
            (record.offset_delta, timestamp, key, record.value.map(text))
        });
        Stored {
            offsets: (header.base_offset, header.last_offset()),
            attributes: header.attributes.0,
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            producer: (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
            ),
            records: held.collect(),
        }
    });
    stored.collect()
}

/// A batch of the given records, each a millisecond after the one before.
fn batch(codec: Compression, timestamp: i64, producer: BatchProducer, held: &[Held]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec).producer(producer);
    for (delta, key, value) in held {
        let record = NewRecord {
            timestamp: timestamp + i64::from(*delta),
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap().to_vec()
}

/// What is expected to be left of such a batch.
fn left(
    codec: Compression,
    (timestamp, last_delta): (i64, i32),
    base_offset: i64,
    producer: BatchProducer,
    held: &[Held],
) -> Stored {
    let times = held.iter().map(|(delta, ..)| timestamp + i64::from(*delta));
    Stored {
        offsets: (base_offset, base_offset + i64::from(last_delta)),
        attributes: codec.id(),
        base_timestamp: times.clone().min().unwrap(),
        max_timestamp: times.max().unwrap(),
        producer: (
            producer.producer_id,
            producer.producer_epoch,
            producer.base_sequence,
        ),
        records: held
            .iter()
            .map(|(delta, key, value)| {
                let timestamp = timestamp + i64::from(*delta);
                (
                    *delta,
                    timestamp,
                    (*key).to_owned(),
                    value.map(str::to_owned),
                )
            })
            .collect(),
    }
}

/// Begins a new segment, by the time of its first record.
const SEGMENT_MS: i64 = 1_000;

const NONE: BatchProducer = BatchProducer::NONE;
const FIRST: BatchProducer = producer(7_000_001, 40);
const SECOND: BatchProducer = producer(7_000_002, 9);

const PLAIN: Compression = Compression::None;
const ZSTD: Compression = Compression::Zstd;

const ONE: &[Held] = &[
    (0, "a", Some("1")),
    (1, "b", Some("1")),
    (2, "c", Some("1")),
];
const TWO: &[Held] = &[(0, "a", Some("2")), (1, "d", None), (2, "a", Some("3"))];
/// The newest batch of its producer; its only record is not the newest of its key.
const THREE: &[Held] = &[(0, "c", Some("4"))];
const FOUR: &[Held] = &[(0, "c", Some("5")), (1, "e", None)];
/// In the next segment.
const FIVE: &[Held] = &[(0, "e", Some("6")), (1, "b", Some("6"))];
/// In the segment after that.
const SIX: &[Held] = &[(0, "f", Some("7"))];

const fn producer(producer_id: i64, base_sequence: i32) -> BatchProducer {
    BatchProducer {
        producer_id,
        producer_epoch: 0,
        base_sequence,
    }
}

/// What is left of the third batch: its producer's sequence.
fn emptied(t: i64) -> Stored {
    Stored {
        attributes: 0,
        base_timestamp: -1,
        records: Vec::new(),
        ..left(ZSTD, (t + 20, 0), 6, FIRST, THREE)
    }
}

fn with_horizon(stored: Stored) -> Stored {
    Stored {
        attributes: Attributes::DELETE_HORIZON,
        ..stored
    }
}

/// Takes the ends of tombstones out of batches, so that they compare.
fn take_horizons(stored: &mut [Stored]) -> Vec<i64> {
    let has_horizon = |it: &&mut Stored| it.attributes == Attributes::DELETE_HORIZON;
    let batches = stored.iter_mut().filter(has_horizon);
    let horizons = batches.map(|batch| {
        let first = batch.records[0].1;
        std::mem::replace(&mut batch.base_timestamp, first)
    });
    horizons.collect()
}

pub(super) async fn the_newest_record_of_each_key_is_left(brokers: &mut Brokers) {
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("segment.ms", "1000"),
        ("delete.retention.ms", "1"),
    ];
    let topic = brokers
        .create_topic("compaction-newest", &[1], &configs)
        .await;
    let mut broker = brokers.connect(1).await;
    let t = now_ms() - 60_000;
    for (codec, timestamp, producer, held) in [
        (ZSTD, t, NONE, ONE),
        (PLAIN, t + 10, NONE, TWO),
        (ZSTD, t + 20, FIRST, THREE),
        (PLAIN, t + 30, SECOND, FOUR),
        (PLAIN, t + 2 * SEGMENT_MS, NONE, FIVE),
    ] {
        let blob = batch(codec, timestamp, producer, held);
        assert_eq!(broker.produce(&topic, &blob).await.code.0, 0);
    }
    let before = now_ms();
    brokers.compact(&topic);
    eventually(async || stored(&mut broker, &topic).await[0].records.len() < 3).await;
    let after = now_ms();
    let mut found = stored(&mut broker, &topic).await;
    for horizon in take_horizons(&mut found) {
        let window = before..=after + 1;
        assert!(window.contains(&horizon), "{horizon}, {window:?}");
    }
    // The newest segment is not cleaned, and its keys do not count.
    let expected = [
        left(ZSTD, (t, 2), 0, NONE, &ONE[1..2]),
        with_horizon(left(PLAIN, (t + 10, 2), 3, NONE, &TWO[1..])),
        emptied(t),
        with_horizon(left(PLAIN, (t + 30, 1), 7, SECOND, FOUR)),
        left(PLAIN, (t + 2 * SEGMENT_MS, 1), 9, NONE, FIVE),
    ];
    assert_eq!(found, expected);
    eventually(async || now_ms() > after + 1).await;
    tombstones_are_over(brokers, &mut broker, &topic, t).await;
}

/// The time of the tombstones is over with the next cleaning, and one segment more is closed.
async fn tombstones_are_over(brokers: &mut Brokers, broker: &mut Broker, topic: &Topic, t: i64) {
    let blob = batch(PLAIN, t + 4 * SEGMENT_MS, NONE, SIX);
    assert_eq!(broker.produce(topic, &blob).await.brief(), (0, 11));
    brokers.compact(topic);
    eventually(async || stored(broker, topic).await[0].offsets != (0, 2)).await;
    let mut found = stored(broker, topic).await;
    assert_eq!(take_horizons(&mut found).len(), 2);
    let expected = [
        with_horizon(left(PLAIN, (t + 10, 2), 3, NONE, &TWO[2..])),
        emptied(t),
        with_horizon(left(PLAIN, (t + 30, 1), 7, SECOND, &FOUR[..1])),
        left(PLAIN, (t + 2 * SEGMENT_MS, 1), 9, NONE, FIVE),
        left(PLAIN, (t + 4 * SEGMENT_MS, 0), 11, NONE, SIX),
    ];
    assert_eq!(found, expected);
    let sequences = broker.last_sequences(topic).await;
    assert_eq!(sequences, [(7_000_001, 40), (7_000_002, 10)]);
    // What lies in a hole is read from the next batch on.
    let fetched = broker.fetch(topic, 1).await;
    let first = BatchHeader::parse(&fetched.records[..HEADER_LEN]).unwrap();
    assert_eq!(first.base_offset, 3);
}
