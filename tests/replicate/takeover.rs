//! Positions are MirrorMaker 2's own, byte for byte: either may go on where the other stopped.

use std::collections::BTreeMap;

use super::{CODECS, Topic, assert_copied, assert_same_contents, properties, stop};
use crate::support::{
    java_client::{Blob, Isolation, JavaClient, Load, NewRecord, ProduceOptions},
    kafka::{CONNECT_ONE_BROKER, MirrorMaker, ONE_BROKER, Pair, pair},
    kmirror::{Kmirror, wait_until},
};

#[test]
fn mirror_maker_and_kmirror_take_over_from_each_other_without_gap_or_duplicate() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    source.create_topic("takeover", 4, 1, &[]);
    let (topic, copy) = (
        Topic::new(&pair.source, "takeover"),
        Topic::new(&pair.target, "M.takeover"),
    );
    let properties = mirror_maker_properties(pair, ("M", "N"), "takeover");

    append(&source, "takeover", 1);
    mirror(&properties, topic, copy);
    let by_mirror_maker = positions(&pair.target.java());
    assert_eq!(last_values(&by_mirror_maker), expected_values(topic));

    append(&source, "takeover", 2);
    let mut kmirror = Kmirror::run(&properties);
    assert_copied(&mut kmirror, topic, copy);
    append(&source, "takeover", 3);
    assert_copied(&mut kmirror, topic, copy);
    stop(kmirror);
    let by_both = positions(&pair.target.java());
    assert_eq!(last_values(&by_both), expected_values(topic));
    assert_eq!(
        by_both.keys().collect::<Vec<_>>(),
        by_mirror_maker.keys().collect::<Vec<_>>(),
        "the same keys in the same partitions"
    );

    append(&source, "takeover", 4);
    mirror(&properties, topic, copy);
    assert_same_contents(topic, copy);
}

/// One file for both programs.
fn mirror_maker_properties(pair: &Pair, (source, target): (&str, &str), topic: &str) -> String {
    format!(
        "clusters = {source}, {target}\n\
         {source}.bootstrap.servers = {}\n\
         {target}.bootstrap.servers = {}\n\
         {source}->{target}.enabled = true\n\
         {source}->{target}.topics = {topic}\n\
         {ONE_BROKER}{CONNECT_ONE_BROKER}",
        pair.source.bootstrap(),
        pair.target.bootstrap(),
    )
}

/// MM2 with exactly-once source support: what it has committed proves where it was.
#[test]
fn a_mirror_maker_that_writes_in_transactions_is_taken_over_and_takes_back() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    source.create_topic("takeover.exactly", 4, 1, &[]);
    let (topic, copy) = (
        Topic::new(&pair.source, "takeover.exactly"),
        Topic::new(&pair.target, "E.takeover.exactly"),
    );
    let properties = mirror_maker_properties(pair, ("E", "F"), topic.name)
        + "F.exactly.once.source.support = enabled\n\
           E.consumer.isolation.level = read_committed\n\
           emit.heartbeats.enabled = false\n\
           dedicated.mode.enable.internal.rest = true\n\
           listeners = http://127.0.0.1:0\n\
           kmirror.http.listen = \n";
    for (seed, delivery) in [
        (1, "exactly-once"),
        (3, "transactional"),
        (5, "exactly-once"),
    ] {
        append(&source, topic.name, seed);
        mirror(&properties, topic, copy);
        assert_same_contents(topic, copy);
        append(&source, topic.name, seed + 1);
        let file = format!("{properties}kmirror.delivery = {delivery}\n");
        let mut kmirror = Kmirror::run(&file);
        assert_copied(&mut kmirror, topic, copy);
        stop(kmirror);
    }
}

fn append(source: &JavaClient, topic: &str, seed: u64) {
    let load = Load {
        seed,
        partitions: 4,
        count: 300,
        value_size_max: 500,
        odd: false,
        keyed: false,
    };
    source.generate(topic, load, ProduceOptions::default());
}

/// Lets MirrorMaker 2 copy what there is.
fn mirror(properties: &str, topic: Topic<'_>, copy: Topic<'_>) {
    let mirror_maker = MirrorMaker::start(properties).expect("Java is installed");
    let count = topic.count();
    wait_until("MirrorMaker 2", || (copy.count() >= count).then_some(()));
    mirror_maker.stop();
}

/// The stored positions of the topic, by key and the partition they lie in: their
/// values, oldest first.
fn positions(target: &JavaClient) -> BTreeMap<(Vec<u8>, i32), Vec<Vec<u8>>> {
    let mut positions: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for record in target.read("mm2-offsets.M.internal", Isolation::ReadCommitted) {
        let (Some(Blob::Bytes(key)), Some(Blob::Bytes(value))) =
            (record.content.key, record.content.value)
        else {
            panic!("a key or value that neither program writes");
        };
        // Both copy heartbeats too.
        if key.starts_with(b"[\"MirrorSourceConnector\"") && key.ends_with(b"\"takeover\"}]") {
            let key = (key, record.partition);
            positions.entry(key).or_default().push(value);
        }
    }
    positions
}

fn last_values(positions: &BTreeMap<(Vec<u8>, i32), Vec<Vec<u8>>>) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    positions
        .iter()
        .map(|((key, _), values)| (text(key), text(values.last().unwrap())))
        .collect()
}

/// The very bytes that MirrorMaker 2 writes when all of a topic is copied.
fn expected_values(topic: Topic<'_>) -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    let records = topic
        .cluster
        .java()
        .read(topic.name, Isolation::ReadCommitted);
    for record in records {
        let key = format!(
            r#"["MirrorSourceConnector",{{"cluster":"M","partition":{},"topic":"takeover"}}]"#,
            record.partition
        );
        expected.insert(key, format!(r#"{{"offset":{}}}"#, record.offset));
    }
    expected
}

#[test]
fn a_position_inside_a_batch_is_gone_on_from() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    let compact = [("cleanup.policy", "compact")];
    target.create_topic("inside.positions", 1, 1, &compact);
    for codec in CODECS {
        let topic = format!("inside.{codec}");
        source.create_topic(&topic, 1, 1, &[]);
        append_one_batch(&source, &topic, codec);
        target.create_topic(&format!("A.{topic}"), 1, 1, &[]);
        // As MirrorMaker 2 writes it after record 41.
        let key = format!(
            r#"["MirrorSourceConnector",{{"cluster":"A","partition":0,"topic":"{topic}"}}]"#
        );
        let position = NewRecord {
            key: Some(key.into_bytes()),
            value: Some(br#"{"offset":41}"#.to_vec()),
            ..NewRecord::default()
        };
        target.produce("inside.positions", &[position], ProduceOptions::default());
    }

    // Written by hand: the target has nothing of what the positions say it has.
    let more = "offset.storage.topic = inside.positions\nkmirror.adopt = stored";
    let mut kmirror = Kmirror::run(&properties(pair, "inside", more));
    for codec in CODECS {
        let (topic, copy) = (format!("inside.{codec}"), format!("A.inside.{codec}"));
        let copy = Topic::new(&pair.target, &copy);
        kmirror.wait_until("the tail of the batch", |_| {
            (copy.count() >= 58).then_some(())
        });
        let whole = Topic::new(&pair.source, &topic).own_contents();
        assert_eq!(copy.own_contents(), whole.split_at(42).1, "{codec}");
    }
    stop(kmirror);
}

fn append_one_batch(source: &JavaClient, topic: &str, codec: &str) {
    let records = (0..100_u8).map(|number| NewRecord {
        timestamp_ms: Some(1_700_000_000_000 + i64::from(number)),
        value: Some(vec![number; 20]),
        ..NewRecord::default()
    });
    let records: Vec<NewRecord> = records.collect();
    let config = [("compression.type", codec), ("linger.ms", "1000")];
    let options = ProduceOptions {
        config: &config,
        transaction: None,
    };
    source.produce(topic, &records, options);
}
