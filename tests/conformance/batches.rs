//! What a broker demands of a batch, and what it changes before storing it.

use kmirror_protocol::{
    ErrorCode,
    records::{Attributes, BatchBuilder, BatchHeader, BuiltBatch, Compression, NewRecord, records},
};

use super::{
    broker::{Broker, Topic, batch, record, with_header},
    now_ms,
};

/// A batch of three records at offset deltas 0, 2 and 5 with an honest number of offsets.
fn with_holes(codec: Compression) -> BuiltBatch {
    let mut builder = BatchBuilder::new(codec);
    let timestamp = now_ms();
    for delta in [0, 2, 5] {
        builder.push_at(delta, &record(timestamp)).unwrap();
    }
    builder.build().unwrap()
}

/// Produces each blob and compares the error codes of all.
async fn compare(broker: &mut Broker, topic: &Topic, cases: Vec<(&str, Vec<u8>, i16)>) {
    let mut answers = Vec::new();
    for (name, blob, _) in &cases {
        answers.push((*name, broker.produce(topic, blob).await.code.0));
    }
    let expected: Vec<_> = cases.iter().map(|(name, _, code)| (*name, *code)).collect();
    assert_eq!(answers, expected);
}

pub(super) async fn a_header_that_breaks_a_rule_is_refused(bootstrap: &str) {
    type Change = fn(&mut BatchHeader);
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("batches-headers", &[]).await;
    let made = batch(Compression::None, 2);
    let cases: [(&str, Change, i16); 16] = [
        ("as it should be", |_| {}, 0),
        ("base offset 1", |it| it.base_offset = 1, 87),
        ("base offset -1", |it| it.base_offset = -1, 87),
        ("last offset delta 2", |it| it.last_offset_delta = 2, 87),
        ("last offset delta -1", |it| it.last_offset_delta = -1, 87),
        ("no records", |it| it.record_count = 0, 87),
        ("-1 records", |it| it.record_count = -1, 87),
        ("control", |it| it.attributes.0 |= Attributes::CONTROL, 87),
        (
            "transactional",
            |it| it.attributes.0 |= Attributes::TRANSACTIONAL,
            53,
        ),
        ("id without sequence", |it| it.producer_id = 5, 87),
        ("sequence without id", |it| it.base_sequence = 5, 0),
        ("leader epoch 99", |it| it.partition_leader_epoch = 99, 0),
        (
            "delete horizon",
            |it| it.attributes.0 |= Attributes::DELETE_HORIZON,
            0,
        ),
        (
            "log append time",
            |it| it.attributes.0 |= Attributes::LOG_APPEND_TIME,
            0,
        ),
        ("unknown bits", |it| it.attributes.0 |= 1 << 7 | 1 << 9, 0),
        ("not its codec", |it| it.attributes.0 |= 1, -1),
    ];
    let cases = cases.map(|(name, change, code)| (name, with_header(&made, change), code));
    compare(broker, &topic, cases.to_vec()).await;
}

pub(super) async fn a_payload_that_breaks_a_rule_is_refused(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("batches-payloads", &[]).await;
    let [none, gzip] = [Compression::None, Compression::Gzip].map(|codec| batch(codec, 2));
    let counted = |made: &BuiltBatch, count: i32| {
        with_header(made, |it| {
            it.record_count = count;
            it.last_offset_delta = count - 1;
        })
    };
    let holes = with_holes(Compression::None);
    let packed_holes = with_holes(Compression::Gzip);
    let cases = vec![
        ("one record more than there is", counted(&none, 3), 87),
        ("one record less than there is", counted(&none, 1), 87),
        ("one compressed record less", counted(&gzip, 1), 87),
        ("holes, counted honestly", holes.to_vec(), 87),
        (
            "compressed holes, counted honestly",
            packed_holes.to_vec(),
            87,
        ),
        ("holes, hidden", counted(&holes, 3), 0),
        ("compressed holes, hidden", counted(&packed_holes, 3), -1),
    ];
    compare(broker, &topic, cases).await;
}

pub(super) async fn a_request_carries_one_whole_batch_per_partition(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("batches-single", &[]).await;
    let whole = batch(Compression::None, 2).to_vec();
    let last = whole.len() - 1;
    let cases = vec![
        ("one batch", whole.clone(), 0),
        ("two batches", [whole.clone(), whole.clone()].concat(), 87),
        ("no batch", Vec::new(), 87),
        ("half a batch", whole[..last].to_vec(), 87),
        ("a batch and a bit", [whole.as_slice(), &[0; 9]].concat(), 0),
        ("magic 1", with_byte(&whole, 16, 1), 87),
        ("magic 3", with_byte(&whole, 16, 3), 2),
        ("a length of 13", with_byte(&whole[..29], 11, 13), 2),
        ("a flipped bit", with_byte(&whole, last, whole[last] ^ 1), 2),
    ];
    compare(broker, &topic, cases).await;
}

fn with_byte(blob: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut blob = blob.to_vec();
    blob[at] = byte;
    blob
}

pub(super) async fn what_is_stored_differs_only_where_the_broker_must_change_it(bootstrap: &str) {
    const UNKNOWN: i16 = 1 << 7 | 1 << 9;
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("batches-stored", &[]).await;
    for codec in Compression::ALL {
        let made = batch(codec, 3);
        let times = made.header;
        let id = codec.id();
        // What is sent, and attributes and greatest timestamp as they are stored.
        type Change = fn(&mut BatchHeader);
        let cases: [(&str, Change, i16, i64); 6] = [
            ("as it should be", |_| {}, id, times.max_timestamp),
            (
                "unknown bits",
                |it| it.attributes.0 |= UNKNOWN,
                id | UNKNOWN,
                times.max_timestamp,
            ),
            (
                "delete horizon",
                |it| it.attributes.0 |= Attributes::DELETE_HORIZON,
                id | Attributes::DELETE_HORIZON,
                times.max_timestamp,
            ),
            (
                "no greatest timestamp",
                |it| it.max_timestamp = -1,
                id,
                times.max_timestamp,
            ),
            (
                "wrong greatest timestamp and unknown bits",
                |it| {
                    it.max_timestamp += 5;
                    it.attributes.0 |= UNKNOWN | Attributes::DELETE_HORIZON;
                },
                id | Attributes::DELETE_HORIZON,
                times.max_timestamp,
            ),
            (
                "a claim to be stamped, later than any record",
                |it| {
                    it.max_timestamp += 5;
                    it.attributes.0 |= Attributes::LOG_APPEND_TIME;
                },
                id,
                times.max_timestamp + 5,
            ),
        ];
        for (name, change, attributes, max_timestamp) in cases {
            let produced = broker.produce(&topic, &with_header(&made, change)).await;
            assert_eq!(produced.code, ErrorCode::NONE, "{codec}: {name}");
            let stored = broker.stored(&topic, produced.base_offset).await;
            let expected = BatchHeader {
                base_offset: produced.base_offset,
                partition_leader_epoch: 0,
                attributes: Attributes(attributes),
                max_timestamp,
                crc: stored.crc,
                ..made.header
            };
            assert_eq!(stored, expected, "{codec}: {name}");
        }
    }
}

pub(super) async fn a_compacted_topic_refuses_records_without_key(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let compact = [("cleanup.policy", "compact")];
    let topic = broker.create_topic("batches-compacted", &compact).await;
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        for key in [Some(b"a".as_slice()), None, Some(b""), None] {
            let record = NewRecord {
                timestamp: now_ms(),
                key,
                ..Default::default()
            };
            builder.push(&record).unwrap();
        }
        let blob = builder.build().unwrap().to_vec();
        let refused = broker.produce(&topic, &blob).await;
        assert_eq!(refused.brief(), (87, -1), "{codec}");
        assert_eq!(refused.record_errors, [1, 3], "{codec}");
        assert_eq!(
            (refused.log_start_offset, refused.has_message),
            (0, true),
            "{codec}"
        );
        let accepted = broker.produce(&topic, &batch(codec, 2).to_vec()).await;
        assert_eq!(accepted.code, ErrorCode::NONE, "{codec}");
    }
}

pub(super) async fn timestamps_out_of_range_are_refused_by_record(bootstrap: &str) {
    const HOUR: i64 = 3_600_000;
    let broker = &mut Broker::connect(bootstrap).await;
    let default = broker.create_topic("batches-times", &[]).await;
    let before = [("message.timestamp.before.max.ms", "3600000")];
    let before = broker.create_topic("batches-times-before", &before).await;
    let after = [("message.timestamp.after.max.ms", "36000000")];
    let after = broker.create_topic("batches-times-after", &after).await;
    let now = now_ms();
    let cases = [
        (&default, [now, now - 1000 * HOUR, -1], (0, vec![])),
        (
            &default,
            [now + 2 * HOUR, now, now + 3 * HOUR],
            (32, vec![0, 2]),
        ),
        (&before, [now, now - HOUR / 2, -1], (0, vec![])),
        (&before, [now - 2 * HOUR, now, -1], (32, vec![0])),
        (&after, [now + 9 * HOUR, now, 0], (0, vec![])),
        (&after, [now + 11 * HOUR, now, 0], (32, vec![0])),
    ];
    for (at, (topic, times, expected)) in cases.into_iter().enumerate() {
        let mut builder = BatchBuilder::new(Compression::Lz4);
        for time in times {
            builder.push(&record(time)).unwrap();
        }
        let blob = builder.build().unwrap().to_vec();
        let produced = broker.produce(topic, &blob).await;
        let actual = (produced.code.0, produced.record_errors);
        assert_eq!(actual, expected, "case {at}");
    }
}

pub(super) async fn a_topic_can_stamp_its_records_itself(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let stamped = [("message.timestamp.type", "LogAppendTime")];
    let topic = broker.create_topic("batches-stamped", &stamped).await;
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        builder.push(&record(5)).unwrap();
        builder.push(&record(i64::MAX)).unwrap();
        let made = builder.build().unwrap();
        let produced = broker.produce(&topic, &made.to_vec()).await;
        assert_eq!(produced.code, ErrorCode::NONE, "{codec}");
        let time = produced.log_append_time_ms;
        let age_ms = now_ms() - time;
        assert!(age_ms.abs() < 60_000, "{codec}: stamped {age_ms} ms ago");
        let stored = broker.stored(&topic, produced.base_offset).await;
        assert!(stored.attributes.is_log_append_time(), "{codec}");
        assert_eq!(stored.max_timestamp, time, "{codec}");
        assert_eq!(stored.base_timestamp, 5, "{codec}");
        let claims = with_header(&made, |it| it.attributes.0 |= Attributes::LOG_APPEND_TIME);
        let refused = broker.produce(&topic, &claims).await;
        assert_eq!(
            (refused.code.0, refused.record_errors),
            (32, vec![0, 1]),
            "{codec}"
        );
    }
}

pub(super) async fn a_topic_can_have_a_codec_of_its_own(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let names = ["batches-as-none", "batches-as-gzip", "batches-as-zstd"];
    let types = ["uncompressed", "gzip", "zstd"];
    let targets = [Compression::None, Compression::Gzip, Compression::Zstd];
    for ((name, compression_type), target) in names.into_iter().zip(types).zip(targets) {
        let topic = broker
            .create_topic(name, &[("compression.type", compression_type)])
            .await;
        for source in Compression::ALL {
            let made = batch(source, 3);
            let sent = with_header(&made, |it| it.attributes.0 |= Attributes::DELETE_HORIZON);
            let produced = broker.produce(&topic, &sent).await;
            assert_eq!(produced.code, ErrorCode::NONE, "{source} to {target}");
            let stored = broker.stored(&topic, produced.base_offset).await;
            // A batch that is built anew loses the flag.
            let horizon = if source == target {
                Attributes::DELETE_HORIZON
            } else {
                0
            };
            assert_eq!(
                stored.attributes.0,
                target.id() | horizon,
                "{source} to {target}"
            );
            assert_eq!(stored.record_count, 3, "{source} to {target}");
            assert_eq!(
                stored.max_timestamp, made.header.max_timestamp,
                "{source} to {target}"
            );
        }
        let holes = with_holes(Compression::Lz4);
        let holes = with_header(&holes, |it| it.last_offset_delta = 2);
        let produced = broker.produce(&topic, &holes).await;
        assert_eq!(produced.code, ErrorCode::NONE, "holes to {target}");
        let fetched = broker.fetch(&topic, produced.base_offset).await;
        let header = BatchHeader::parse(&fetched.records).unwrap();
        let payload = &fetched.records[kmirror_protocol::records::HEADER_LEN..];
        let payload = kmirror_protocol::records::decompress(target, payload, 1 << 20).unwrap();
        let deltas = records(&payload, header.record_count).map(|it| it.unwrap().offset_delta);
        assert_eq!(deltas.collect::<Vec<_>>(), [0, 1, 2], "holes to {target}");
    }
}

pub(super) async fn batches_above_the_limit_are_refused(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let made = batch(Compression::None, 5);
    let size = made.header.size();
    let fits: &str = &size.to_string();
    let topic = broker
        .create_topic("batches-fits", &[("max.message.bytes", fits)])
        .await;
    assert_eq!(broker.produce(&topic, &made.to_vec()).await.brief(), (0, 0));
    let tight: &str = &(size - 1).to_string();
    let topic = broker
        .create_topic("batches-tight", &[("max.message.bytes", tight)])
        .await;
    let refused = broker.produce(&topic, &made.to_vec()).await;
    assert_eq!((refused.brief(), refused.log_start_offset), ((10, -1), -1));
    // A batch may be too large only once the broker has unpacked it.
    let configs = [
        ("max.message.bytes", "500"),
        ("compression.type", "uncompressed"),
    ];
    let topic = broker.create_topic("batches-unpacked", &configs).await;
    let packed = batch(Compression::Zstd, 100);
    assert!(packed.header.size() < 500);
    assert_eq!(
        broker.produce(&topic, &packed.to_vec()).await.brief(),
        (10, -1)
    );
}
