//! What is in a record arrives as it was, however the record was packed.

use super::{CODECS, Topic, assert_copied, properties, stop};
use crate::support::{
    java_client::{Isolation, Load, NewRecord, ProduceOptions},
    kafka::pair,
    kmirror::Kmirror,
    own_reader,
};

#[test]
fn every_codec_and_batch_size_arrives_as_it_was() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    let mut topics = Vec::new();
    for (seed, codec) in (1..).zip(CODECS) {
        for batch_size in ["1", "16384", "1000000"] {
            let topic = format!("codecs.{codec}.{batch_size}");
            source.create_topic(&topic, 4, 1, &[("max.message.bytes", "2000000")]);
            let load = Load {
                seed,
                partitions: 4,
                count: 400,
                value_size_max: 2_000,
                odd: true,
                keyed: false,
            };
            let config = [
                ("compression.type", codec),
                ("batch.size", batch_size),
                ("linger.ms", "5"),
            ];
            source.generate(
                &topic,
                load,
                ProduceOptions {
                    config: &config,
                    transaction: None,
                },
            );
            topics.push(topic);
        }
    }
    let mut kmirror = Kmirror::run(&properties(pair, "codecs", ""));
    for topic in &topics {
        let copy = format!("A.{topic}");
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.source, topic),
            Topic::new(&pair.target, &copy),
        );
    }
    stop(kmirror);
}

#[test]
fn odd_records_arrive_one_by_one_as_they_were() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("odd.records", 4, 1, &[("max.message.bytes", "2000000")]);
    let config = [("compression.type", "lz4"), ("max.request.size", "2000000")];
    let options = ProduceOptions {
        config: &config,
        transaction: None,
    };
    source.produce("odd.records", &odd_records(), options);
    let mut kmirror = Kmirror::run(&properties(pair, "odd", ""));
    assert_copied(
        &mut kmirror,
        Topic::new(&pair.source, "odd.records"),
        Topic::new(&pair.target, "A.odd.records"),
    );
    stop(kmirror);

    let written = source.read("odd.records", Isolation::ReadUncommitted);
    assert_eq!(written.len(), odd_records().len());
    // The copy started empty, so that even the offsets are the same.
    let copied = target.read("A.odd.records", Isolation::ReadUncommitted);
    assert_eq!(copied, written);
    let own = own_reader::read(&pair.target.bootstrap(), "A.odd.records");
    assert_eq!(own, written, "the two readers agree");
}

/// One of each kind in every partition.
fn odd_records() -> Vec<NewRecord> {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let ordinary = NewRecord {
        timestamp_ms: Some(1_700_000_000_000),
        key: bytes("key"),
        value: bytes("value"),
        ..NewRecord::default()
    };
    let headers = |pairs: &[(&str, Option<Vec<u8>>)]| NewRecord {
        headers: pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        ..ordinary.clone()
    };
    let large: Vec<u8> = (0..900_000_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let with = |key: Option<Vec<u8>>, value: Option<Vec<u8>>| NewRecord {
        key,
        value,
        ..ordinary.clone()
    };
    let mut kinds = vec![
        ordinary.clone(),
        with(None, bytes("a null key")),
        with(bytes("a tombstone"), None),
        with(None, None),
        with(bytes(""), bytes("")),
        with(bytes("large"), Some(large)),
        headers(&[("twice", bytes("2")), ("twice", bytes("1")), ("null", None)]),
        headers(&[("", bytes("")), ("größe", bytes("groß"))]),
        headers(&[("twice", None), ("other", bytes("x")), ("twice", bytes(""))]),
    ];
    // Java's producer refuses times before the epoch.
    let odd_times = [0, 1, 604_800_000, 100_000_000_000_000, i64::MAX];
    kinds.extend(odd_times.map(|time| NewRecord {
        timestamp_ms: Some(time),
        ..ordinary.clone()
    }));
    let repeated = (0..4).flat_map(|partition| {
        kinds.iter().map(move |kind| NewRecord {
            partition,
            ..kind.clone()
        })
    });
    repeated.collect()
}
