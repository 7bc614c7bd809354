//! Where copying begins, and where it is set to go on, on real brokers.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::{Topic, assert_copied, properties, stop};
use crate::support::{
    java_client::{Blob, GroupOffset, JavaClient, NewRecord, ProduceOptions},
    kafka::{Kafka, pair},
    kmirror::Kmirror,
    own_reader,
};

/// Record 0 of a topic is as old as this, and each later one a second younger.
const FIRST_MS: i64 = 1_772_344_800_000;

fn append(source: &JavaClient, topic: &str, numbers: std::ops::Range<i64>) {
    let records = numbers.map(|number| NewRecord {
        timestamp_ms: Some(FIRST_MS + number * 1000),
        value: Some(number.to_string().into_bytes()),
        ..NewRecord::default()
    });
    let records: Vec<NewRecord> = records.collect();
    source.produce(topic, &records, ProduceOptions::default());
}

/// The numbers of a topic's only partition, in the order of its log.
fn numbers(cluster: &Kafka, topic: &str) -> Vec<i64> {
    let all: Vec<Blob> = (0..40)
        .map(|number: i64| Blob::of(number.to_string().as_bytes()))
        .collect();
    let records = own_reader::read(&cluster.bootstrap(), topic).into_iter();
    let number = |value: Option<Blob>| all.iter().position(|blob| value.as_ref() == Some(blob));
    records
        .map(|record| i64::try_from(number(record.content.value).unwrap()).unwrap())
        .collect()
}

/// `kmirror offsets` with these arguments and the file at the end; its code and what it printed.
fn offsets(properties: &str, arguments: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mm2.properties");
    fs::write(&file, properties).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kmirror"))
        .arg("offsets")
        .args(arguments)
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    (output.status.code().unwrap(), text)
}

#[test]
fn a_time_and_a_group_of_the_source_say_where_copying_begins() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    for topic in ["begins-time", "begins-group", "begins-nobody"] {
        source.create_topic(topic, 1, 1, &[]);
        append(&source, topic, 0..20);
    }
    let committed = GroupOffset {
        topic: String::from("begins-group"),
        partition: 0,
        offset: 15,
        metadata: String::new(),
    };
    source.commit("begins-readers", &[committed]);
    let more = "kmirror.start = offset:18\n\
                kmirror.start.topics = begins-time=timestamp:2026-03-01T06:00:07Z, \
                .*=group:begins-readers";
    let mut kmirror = Kmirror::run(&properties(pair, "begins", more));
    for (topic, start) in [("time", 7), ("group", 15), ("nobody", 18)] {
        let remote = format!("A.begins-{topic}");
        let expected: Vec<i64> = (start..20).collect();
        kmirror.wait_until(&remote, |_| {
            let found = pair.target.java().topics().contains(&remote);
            (found && numbers(&pair.target, &remote) == expected).then_some(())
        });
    }
    let log = stop(kmirror);
    assert!(
        log.contains("begins at source offset 7 (timestamp:2026-03-01T06:00:07Z)"),
        "{log}"
    );
}

#[test]
fn positions_are_set_in_both_directions_and_never_while_kmirror_runs() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    source.create_topic("moved", 1, 1, &[]);
    append(&source, "moved", 0..20);
    let (topic, copy) = (
        Topic::new(&pair.source, "moved"),
        Topic::new(&pair.target, "A.moved"),
    );
    let properties = properties(pair, "moved", "kmirror.lease.ms = 1000");
    let mut kmirror = Kmirror::run(&properties);
    assert_copied(&mut kmirror, topic, copy);

    let reset = |to: &str| {
        let arguments = [
            "reset", "--flow", "A->B", "--topic", "moved", "--to", to, "--yes",
        ];
        offsets(&properties, &arguments)
    };
    let (code, text) = reset("offset:12");
    assert_eq!(code, 75, "{text}");
    assert!(text.contains("kmirror is copying this flow"), "{text}");
    let (code, text) = offsets(&properties, &["list"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("A.moved"), "{text}");
    let is_stored = || {
        let (_, text) = offsets(&properties, &["list", "--json"]);
        text.contains("\"mirrorMakerOffset\": 20").then_some(())
    };
    kmirror.wait_until("the position to be stored", |_| is_stored());
    kmirror.kill9();

    let (code, text) = reset("offset:12");
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("20 -> 12: up to 8 records will be on the target twice"),
        "{text}"
    );
    let back: Vec<i64> = (0..20).chain(12..20).collect();
    // Killed as soon as it has begun, and started again: it begins there once.
    let mut kmirror = Kmirror::run(&properties);
    kmirror.wait_until("the records from 12 on", |_| {
        (copy.count() >= back.len()).then_some(())
    });
    kmirror.kill9();
    let mut kmirror = Kmirror::run(&properties);
    kmirror.wait_until("the position to be stored", |_| is_stored());
    kmirror.kill9();
    assert_eq!(numbers(&pair.target, "A.moved"), back);

    append(&source, "moved", 20..40);
    let (code, text) = reset("2026-03-01T06:00:35Z");
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("20 -> 35: up to 15 records will be missing"),
        "{text}"
    );
    let expected: Vec<i64> = back.into_iter().chain(35..40).collect();
    let mut kmirror = Kmirror::run(&properties);
    kmirror.wait_until("the records from 35 on", |_| {
        (copy.count() >= expected.len()).then_some(())
    });
    stop(kmirror);
    assert_eq!(numbers(&pair.target, "A.moved"), expected);
    let (_, text) = offsets(&properties, &["list"]);
    assert!(
        text.contains("moved-0 lacks offsets from 20 to 34: skipped by a reset of the position"),
        "{text}"
    );
}
