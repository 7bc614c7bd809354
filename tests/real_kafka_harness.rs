//! The harness for real Kafka does what the other tests rely on.

use std::time::Duration;

use crate::support::{
    java_client::{
        Blob, Content, Isolation, JavaClient, JavaRecord, Load, NewRecord, ProduceOptions,
        Transaction,
    },
    kafka::{Kafka, KafkaOptions, MirrorMaker, pair},
    wait_for,
};

/// For what another process is sure to do, if slowly.
const WAIT_MAX: Duration = Duration::from_secs(120);

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

#[test]
fn records_of_every_codec_read_back_as_they_were_produced() {
    let Some(pair) = pair() else { return };
    let java = pair.source.java();
    for codec in CODECS {
        let topic = format!("harness-codec-{codec}");
        java.create_topic(&topic, 1, 1, &[]);
        let offsets = java.produce(&topic, &odd_records(), compressed(codec));
        let expected: Vec<JavaRecord> = offsets.iter().zip(odd_records()).map(stored).collect();
        assert_eq!(
            java.read(&topic, Isolation::ReadUncommitted),
            expected,
            "{codec}"
        );
    }
}

/// A record of every kind that has been forgotten somewhere before.
fn odd_records() -> Vec<NewRecord> {
    let ordinary = NewRecord {
        timestamp_ms: Some(1_700_000_000_000),
        key: Some(b"key".to_vec()),
        value: Some(b"value".to_vec()),
        ..NewRecord::default()
    };
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let twice = [
        ("twice", bytes("2")),
        ("null", None),
        ("twice", bytes("1")),
        ("größe", bytes("")),
    ];
    let headers = twice.map(|(key, value)| (key.to_owned(), value)).to_vec();
    let noise: Vec<u8> = (0..900_000_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let mut records = vec![
        ordinary.clone(),
        ordinary.clone(),
        NewRecord {
            key: None,
            ..ordinary.clone()
        },
        NewRecord {
            value: None,
            ..ordinary.clone()
        },
        NewRecord {
            key: None,
            value: None,
            ..ordinary.clone()
        },
        NewRecord {
            key: bytes(""),
            value: bytes(""),
            ..ordinary.clone()
        },
        NewRecord {
            value: Some(noise),
            ..ordinary.clone()
        },
        NewRecord {
            headers,
            ..ordinary.clone()
        },
    ];
    for timestamp_ms in [0, 1, 100_000_000_000_000, i64::MAX] {
        records.push(NewRecord {
            timestamp_ms: Some(timestamp_ms),
            ..ordinary.clone()
        });
    }
    records
}

/// What the broker makes of a record it is given.
fn stored((&offset, record): (&i64, NewRecord)) -> JavaRecord {
    let blob = |bytes: Option<Vec<u8>>| bytes.map(|bytes| Blob::of(&bytes));
    JavaRecord {
        partition: record.partition,
        offset,
        content: Content {
            timestamp_ms: record.timestamp_ms.unwrap(),
            timestamp_type: "CreateTime".to_owned(),
            key: blob(record.key),
            value: blob(record.value),
            headers: record
                .headers
                .into_iter()
                .map(|(key, value)| (key, blob(value)))
                .collect(),
        },
    }
}

fn compressed(codec: &'static str) -> ProduceOptions<'static> {
    let config: &[_] = match codec {
        "none" => &[("compression.type", "none")],
        "gzip" => &[("compression.type", "gzip")],
        "snappy" => &[("compression.type", "snappy")],
        "lz4" => &[("compression.type", "lz4")],
        _ => &[("compression.type", "zstd")],
    };
    ProduceOptions {
        config,
        transaction: None,
    }
}

#[test]
fn the_same_load_is_the_same_on_both_clusters_and_another_seed_differs() {
    let Some(pair) = pair() else { return };
    let topic = "harness-load";
    let load = Load {
        seed: 1,
        partitions: 3,
        count: 2000,
        value_size_max: 500,
        odd: true,
        keyed: false,
    };
    let (source, target) = (pair.source.java(), pair.target.java());
    let digest = |java: &JavaClient, load, options| {
        java.create_topic(topic, 3, 1, &[]);
        java.generate(topic, load, options);
        let digest = java.digest(topic, Isolation::ReadUncommitted);
        java.delete_topic(topic);
        digest
    };
    let first = digest(&source, load, compressed("lz4"));
    assert_eq!(
        first.iter().map(|partition| partition.count).sum::<u64>(),
        2000
    );
    assert_eq!(
        first
            .iter()
            .map(|partition| partition.partition)
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(digest(&target, load, compressed("zstd")), first);

    let other = digest(&target, Load { seed: 2, ..load }, compressed("zstd"));
    assert!(
        first
            .iter()
            .zip(&other)
            .all(|(first, other)| first.sha256 != other.sha256)
    );
}

#[test]
fn a_keyed_load_has_a_key_in_every_record() {
    let Some(pair) = pair() else { return };
    let java = pair.source.java();
    java.create_topic("harness-keyed", 1, 1, &[("cleanup.policy", "compact")]);
    let load = Load {
        seed: 3,
        partitions: 1,
        count: 500,
        value_size_max: 50,
        odd: true,
        keyed: true,
    };
    java.generate("harness-keyed", load, ProduceOptions::default());
    let records = java.read("harness-keyed", Isolation::ReadUncommitted);
    assert_eq!(records.len(), 500);
    assert!(records.iter().all(|record| record.content.key.is_some()));
    assert!(records.iter().any(|record| record.content.value.is_none()));
}

#[test]
fn a_committed_reader_skips_an_aborted_transaction() {
    let Some(pair) = pair() else { return };
    let java = pair.source.java();
    java.create_topic("harness-transactions", 1, 1, &[]);
    for (value, commit) in [("kept", true), ("dropped", false)] {
        let record = NewRecord {
            value: Some(value.as_bytes().to_vec()),
            ..NewRecord::default()
        };
        let transaction = Some(Transaction {
            transactional_id: "harness",
            commit,
        });
        java.produce(
            "harness-transactions",
            &[record],
            ProduceOptions {
                config: &[],
                transaction,
            },
        );
    }
    let values = |isolation| -> Vec<_> {
        let records = java.read("harness-transactions", isolation);
        records
            .into_iter()
            .map(|record| (record.offset, record.content.value.unwrap()))
            .collect()
    };
    let kept = (0, Blob::of(b"kept"));
    assert_eq!(
        values(Isolation::ReadCommitted),
        std::slice::from_ref(&kept)
    );
    assert_eq!(
        values(Isolation::ReadUncommitted),
        [kept, (2, Blob::of(b"dropped"))]
    );
}

#[test]
fn topics_are_administered() {
    let Some(pair) = pair() else { return };
    let java = pair.source.java();
    let topic = "harness-topic";
    java.create_topic(
        topic,
        1,
        1,
        &[("retention.ms", "1000000"), ("segment.bytes", "2000000")],
    );
    java.create_partitions(topic, 3);
    java.alter_config(
        topic,
        &[
            ("retention.ms", None),
            ("max.message.bytes", Some("3000000")),
        ],
    );

    assert!(java.topics().iter().any(|name| name == topic));
    let config = [
        ("max.message.bytes", "3000000"),
        ("segment.bytes", "2000000"),
    ];
    assert_eq!(
        java.config(topic),
        config.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let description = java.describe_topic(topic);
    assert_eq!(description.id.len(), 22);
    assert_eq!(description.partitions.len(), 3);
    assert!(
        description
            .partitions
            .iter()
            .all(|partition| partition.leader == 1)
    );

    java.delete_topic(topic);
    assert!(!java.topics().iter().any(|name| name == topic));
}

#[test]
fn a_broker_killed_stopped_or_frozen_comes_back_with_its_data() {
    let Some(mut kafka) = Kafka::start(&KafkaOptions::default()) else {
        return;
    };
    let java = kafka.java();
    java.create_topic("harness-kept", 1, 1, &[]);
    java.produce("harness-kept", &odd_records(), compressed("gzip"));
    let before = java.read("harness-kept", Isolation::ReadUncommitted);

    kafka.kill9(1);
    assert!(!kafka.answers(1));
    kafka.restart(1);
    assert_eq!(
        java.read("harness-kept", Isolation::ReadUncommitted),
        before,
        "killed"
    );

    kafka.stop(1);
    assert!(!kafka.answers(1));
    kafka.restart(1);
    assert_eq!(
        java.read("harness-kept", Isolation::ReadUncommitted),
        before,
        "stopped"
    );

    kafka.freeze(1);
    assert!(!kafka.answers(1));
    kafka.thaw(1);
    assert_eq!(
        java.read("harness-kept", Isolation::ReadUncommitted),
        before,
        "frozen"
    );
}

#[test]
fn three_brokers_go_on_without_one() {
    let options = KafkaOptions {
        brokers: 3,
        properties: &[("min.insync.replicas", "2")],
        ..KafkaOptions::default()
    };
    let Some(mut kafka) = Kafka::start(&options) else {
        return;
    };
    let java = kafka.java();
    java.create_topic("harness-replicated", 1, 3, &[]);
    let leader = java
        .describe_topic("harness-replicated")
        .partitions
        .first()
        .unwrap()
        .leader;
    java.produce(
        "harness-replicated",
        &odd_records(),
        ProduceOptions::default(),
    );

    let leader = i32::try_from(leader).unwrap();
    kafka.kill9(leader);
    java.produce(
        "harness-replicated",
        &odd_records(),
        ProduceOptions::default(),
    );
    assert_eq!(
        java.read("harness-replicated", Isolation::ReadUncommitted)
            .len(),
        2 * odd_records().len()
    );
    assert_ne!(
        java.describe_topic("harness-replicated")
            .partitions
            .first()
            .unwrap()
            .leader,
        i64::from(leader)
    );

    kafka.restart(leader);
    assert!(kafka.answers(leader));
}

#[test]
fn mirror_maker_copies_records_unchanged() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("harness-mirrored", 1, 1, &[]);
    source.produce("harness-mirrored", &odd_records(), compressed("snappy"));
    let properties = format!(
        "clusters=harness,target
harness.bootstrap.servers={}
target.bootstrap.servers={}
harness->target.enabled=true
harness->target.topics=harness-mirrored
replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset-syncs.topic.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
config.storage.replication.factor=1
",
        pair.source.bootstrap(),
        pair.target.bootstrap(),
    );
    let Some(mirror_maker) = MirrorMaker::start(&properties) else {
        return;
    };

    let copy = "harness.harness-mirrored".to_owned();
    let created = wait_for(WAIT_MAX, || target.topics().contains(&copy).then_some(()));
    assert!(created.is_some(), "MirrorMaker 2 does not create {copy}");
    let expected = source.read("harness-mirrored", Isolation::ReadUncommitted);
    let copied = wait_for(WAIT_MAX, || {
        let copied = target.read(&copy, Isolation::ReadUncommitted);
        (copied.len() >= expected.len()).then_some(copied)
    });
    mirror_maker.stop();
    assert_eq!(copied, Some(expected));
}
