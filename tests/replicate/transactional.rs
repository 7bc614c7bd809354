//! Delivery in transactions: whatever is killed, a reader of committed records sees each once.

use std::collections::BTreeMap;

use super::{
    Topic, properties,
    restart::{PARTITIONS, assert_same, kill_under_load, numbers_as},
};
use crate::support::{
    java_client::{Blob, Isolation},
    kafka::{Kafka, KafkaOptions, pair},
};

#[test]
fn kills_double_nothing_for_readers_of_committed_records() {
    let Some(pair) = pair() else { return };
    kill_and_compare(&pair.target, "transacted");
}

#[test]
fn kills_double_nothing_under_the_old_protocol_either() {
    let old = KafkaOptions {
        features: &["transaction.version=0"],
        ..KafkaOptions::default()
    };
    let Some(target) = Kafka::start(&old) else {
        return;
    };
    kill_and_compare(&target, "transacted.old");
}

/// Kills under load in the middle of transactions, and compares what was committed.
fn kill_and_compare(target: &Kafka, name: &'static str) {
    let pair = pair().expect("Java is installed");
    let remote = format!("A.{name}");
    let (topic, copy) = (Topic::new(&pair.source, name), Topic::new(target, &remote));
    let more = format!(
        "B.bootstrap.servers = {}\n\
         A->B.topics = {name}\n\
         kmirror.delivery = transactional\n\
         kmirror.positions.interval.ms = 300",
        target.bootstrap()
    );
    let logs = kill_under_load(pair, &properties(pair, name, &more), topic, copy);

    let written = numbers_as(topic, Isolation::ReadUncommitted);
    let committed = numbers_as(copy, Isolation::ReadCommitted);
    for (partition, written) in &written {
        assert_same(*partition, &committed[partition], written);
    }
    for log in logs {
        assert!(
            !log.contains("given up") && !log.contains("halted"),
            "{log}"
        );
    }
    let expected = (0..i32::try_from(PARTITIONS).unwrap()).map(|partition| {
        (
            partition,
            format!(r#"{{"offset":{}}}"#, written[&partition].len() - 1),
        )
    });
    assert_eq!(positions(target, name), expected.collect());
}

/// The last position of each partition that a reader of committed records sees, as MirrorMaker 2
/// writes it.
fn positions(target: &Kafka, topic: &str) -> BTreeMap<i32, String> {
    let mut positions = BTreeMap::new();
    let java = target.java();
    for record in java.read("mm2-offsets.A.internal", Isolation::ReadCommitted) {
        let (Some(Blob::Bytes(key)), Some(Blob::Bytes(value))) =
            (record.content.key, record.content.value)
        else {
            continue;
        };
        let (key, value) = (text(key), text(value));
        for partition in 0..i32::try_from(PARTITIONS).unwrap() {
            let own = format!(
                r#"["MirrorSourceConnector",{{"cluster":"A","partition":{partition},"topic":"{topic}"}}]"#
            );
            if key == own {
                positions.insert(partition, value.clone());
            }
        }
    }
    positions
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
