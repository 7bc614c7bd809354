//! What MM2's own tests prove of MM2 and no other file here does; their names for the scenarios, from
//! Kafka's connect/mirror, stand at each test.

use super::{Topic, assert_copied, stop};
use crate::support::{
    java_client::{GroupOffset, JavaClient, Load, NewRecord, ProduceOptions, Transaction},
    kafka::{Kafka, ONE_BROKER, Pair, pair},
    kmirror::Kmirror,
};

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const IDENTITY: &str = "replication.policy.class = \
    org.apache.kafka.connect.mirror.IdentityReplicationPolicy";

/// A file of its own aliases, so that the internal topics are its own too: everything on, once a
/// second, for topics and groups that begin with a word.
fn file(pair: &Pair, (source, target): (&str, &str), word: &str, more: &str) -> String {
    format!(
        "clusters = {source}, {target}\n\
         {source}.bootstrap.servers = {}\n\
         {target}.bootstrap.servers = {}\n\
         {source}->{target}.enabled = true\n\
         topics = {word}.*\n\
         groups = {word}.*\n\
         {ONE_BROKER}\
         sync.topic.configs.interval.seconds = 1\n\
         emit.checkpoints.interval.seconds = 1\n\
         sync.group.offsets.enabled = true\n\
         sync.group.offsets.interval.seconds = 1\n\
         kmirror.http.listen = \n\
         {more}\n",
        pair.source.bootstrap(),
        pair.target.bootstrap(),
    )
}

fn append(java: &JavaClient, topic: &str, partitions: i32, seed: u64) {
    let load = Load {
        seed,
        partitions,
        count: u32::try_from(partitions).unwrap() * 100,
        value_size_max: 50,
        odd: false,
        keyed: false,
    };
    java.generate(topic, load, ProduceOptions::default());
}

fn commit(java: &JavaClient, group: &str, topic: &str, offsets: &[i64]) {
    let offsets = (0..).zip(offsets).map(|(partition, offset)| GroupOffset {
        topic: topic.to_owned(),
        partition,
        offset: *offset,
        metadata: String::new(),
    });
    java.commit(group, &offsets.collect::<Vec<_>>());
}

/// Where a group is in a topic, by partition.
fn committed(cluster: &Kafka, group: &str, topic: &str) -> Vec<i64> {
    places(cluster.java().committed(group), topic)
}

fn places(mut offsets: Vec<GroupOffset>, topic: &str) -> Vec<i64> {
    offsets.retain(|at| at.topic == topic);
    offsets.sort_by_key(|at| at.partition);
    offsets.into_iter().map(|at| at.offset).collect()
}

fn names_with(cluster: &Kafka, words: &[&str]) -> Vec<String> {
    let mut names = cluster.java().topics();
    names.retain(|name| words.iter().any(|word| name.contains(word)));
    names
}

/// testReplicationWithEmptyPartition, testNoCheckpointsIfNoRecordsAreMirrored: MM2 tells nothing of a
/// partition without records, so that a group that starts at the latest record when it knows no
/// better misses those that come while it moves.
#[test]
fn a_group_has_a_place_in_partitions_without_records_and_misses_nothing_there() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("vacant", 3, 1, &[]);
    append(&source, "vacant", 2, 1);
    commit(&source, "vacant-group", "vacant", &[100, 100, 0]);
    let mut kmirror = Kmirror::run(&file(pair, ("A3", "B3"), "vacant", ""));
    kmirror.wait_until("all three places", |_| {
        (committed(&pair.target, "vacant-group", "A3.vacant") == [100, 100, 0]).then_some(())
    });
    let told = target.mirror("A3", "vacant-group").offsets;
    assert_eq!(places(told, "A3.vacant"), [100, 100, 0]);

    // The group goes to the other side, and while it is on its way there are records.
    let late = |number: u8| NewRecord {
        partition: 2,
        value: Some(vec![b'0' + number]),
        ..NewRecord::default()
    };
    let late: Vec<NewRecord> = (0..5).map(late).collect();
    source.produce("vacant", &late, ProduceOptions::default());
    let (topic, copy) = (
        Topic::new(&pair.source, "vacant"),
        Topic::new(&pair.target, "A3.vacant"),
    );
    assert_copied(&mut kmirror, topic, copy);
    stop(kmirror);
    let arguments = [
        ["--topic", "A3.vacant"],
        ["--group", "vacant-group"],
        ["--max-messages", "5"],
        ["--timeout-ms", "60000"],
    ];
    let read = target.tool(CONSOLE_CONSUMER, arguments.as_flattened(), "");
    assert_eq!(read, "0\n1\n2\n3\n4\n");
}

/// testOffsetSyncsTopicsDisabled, and DedicatedMirrorIntegrationTest.testSingleNodeClusterWithOffsetSyncsDisabled;
/// places of groups, which MM2 cannot tell then, do not depend on it here.
#[test]
fn without_offset_syncs_there_is_no_topic_of_them_and_groups_are_told_all_the_same() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    source.create_topic("unsynced", 1, 1, &[]);
    append(&source, "unsynced", 1, 1);
    commit(&source, "unsynced-group", "unsynced", &[42]);
    let more = "emit.offset-syncs.enabled = false";
    let mut kmirror = Kmirror::run(&file(pair, ("A5", "B5"), "unsynced", more));
    kmirror.wait_until("the group", |_| {
        (committed(&pair.target, "unsynced-group", "A5.unsynced") == [42]).then_some(())
    });
    let (topic, copy) = (
        Topic::new(&pair.source, "unsynced"),
        Topic::new(&pair.target, "A5.unsynced"),
    );
    assert_copied(&mut kmirror, topic, copy);
    stop(kmirror);
    let words = ["syncs.A5", "syncs.B5"];
    for cluster in [&pair.source, &pair.target] {
        assert_eq!(names_with(cluster, &words), [""; 0]);
    }
}

/// testSyncTopicConfigUseSourceDefault.
#[test]
fn defaults_of_the_source_are_kept_up_when_they_are_asked_for() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("upheld", 1, 1, &[]);
    let more = "use.defaults.from = source\n\
                config.properties.exclude = delete\\\\.retention\\\\..*";
    let mut kmirror = Kmirror::run(&file(pair, ("A11", "B11"), "upheld", more));
    kmirror.wait_for_log("copying 1 partition of upheld");
    let by_hand = [
        ("retention.bytes", Some("2000")),
        ("delete.retention.ms", Some("2000")),
    ];
    target.alter_config("A11.upheld", &by_hand);
    let has = |name: &str, value: &str| {
        let config = target.config("A11.upheld");
        config.contains(&(name.to_owned(), value.to_owned()))
    };
    kmirror.wait_until("the source's default", |_| {
        has("retention.bytes", "-1").then_some(())
    });
    assert!(has("delete.retention.ms", "2000"), "what is excluded stays");
    stop(kmirror);
}

/// IdentityReplicationIntegrationTest: topics keep their names, what is there already gets the
/// source's settings, heartbeats are renamed all the same, and groups find their places.
#[test]
fn under_the_identity_policy_a_topic_that_is_there_already_follows_the_source() {
    let Some(pair) = Pair::start() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("kept", 2, 1, &[("cleanup.policy", "compact")]);
    target.create_topic("kept", 2, 1, &[]);
    append_keyed(&source, "kept");
    commit(&source, "kept-group", "kept", &[10, 100]);
    let mut kmirror = Kmirror::run(&file(&pair, ("A", "B"), "kept", IDENTITY));
    let (topic, copy) = (
        Topic::new(&pair.source, "kept"),
        Topic::new(&pair.target, "kept"),
    );
    assert_copied(&mut kmirror, topic, copy);
    kmirror.wait_until("the source's settings", |_| {
        let compact = (String::from("cleanup.policy"), String::from("compact"));
        target.config("kept").contains(&compact).then_some(())
    });
    kmirror.wait_until("the group", |_| {
        (committed(&pair.target, "kept-group", "kept") == [10, 100]).then_some(())
    });
    for copied in ["A.heartbeats", "A.checkpoints.internal"] {
        kmirror.wait_until(copied, |_| {
            (Topic::new(&pair.target, copied).count() > 0).then_some(())
        });
    }
    let syncs = Topic::new(&pair.source, "mm2-offset-syncs.B.internal");
    kmirror.wait_until("offset syncs", |_| (syncs.count() > 0).then_some(()));
    stop(kmirror);
    let names = [
        "A.checkpoints.internal",
        "A.heartbeats",
        "__consumer_offsets",
        "heartbeats",
        "kept",
        "kmirror-state.A.internal",
        "mm2-offsets.A.internal",
    ];
    let mut topics = target.topics();
    topics.retain(|name| name != "__transaction_state");
    assert_eq!(topics, names);
    let names = [
        "__consumer_offsets",
        "heartbeats",
        "kept",
        "mm2-offset-syncs.B.internal",
    ];
    assert_eq!(source.topics(), names);
}

fn append_keyed(java: &JavaClient, topic: &str) {
    let load = Load {
        seed: 1,
        partitions: 2,
        count: 200,
        value_size_max: 50,
        odd: false,
        keyed: true,
    };
    java.generate(topic, load, ProduceOptions::default());
}

/// KIP-690 and KIP-949: the separator is in the names of internal topics too, unless that is
/// switched off.
#[test]
fn the_separator_is_in_the_names_that_mm2_gives() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    let cases = [
        (
            ("A7", "B7"),
            "",
            "A7_checkpoints_internal",
            "mm2-offset-syncs_B7_internal",
        ),
        (
            ("A8", "B8"),
            "replication.policy.internal.topic.separator.enabled = false",
            "A8.checkpoints.internal",
            "mm2-offset-syncs.B8.internal",
        ),
    ];
    for (aliases, more, checkpoints, syncs) in cases {
        let word = format!("apart{}", aliases.0.to_lowercase());
        source.create_topic(&word, 1, 1, &[]);
        append(&source, &word, 1, 1);
        commit(&source, &format!("{word}-group"), &word, &[42]);
        let more = format!("replication.policy.separator = _\n{more}");
        let mut kmirror = Kmirror::run(&file(pair, aliases, &word, &more));
        let copy = format!("{}_{word}", aliases.0);
        kmirror.wait_until("the group", |_| {
            let group = format!("{word}-group");
            (committed(&pair.target, &group, &copy) == [42]).then_some(())
        });
        let heartbeats = format!("{}_heartbeats", aliases.0);
        kmirror.wait_until("the heartbeats of the source", |_| {
            (Topic::new(&pair.target, &heartbeats).count() > 0).then_some(())
        });
        let synced = Topic::new(&pair.source, syncs);
        kmirror.wait_until("offset syncs", |_| (synced.count() > 0).then_some(()));
        kmirror.wait_until("the checkpoints", |_| {
            (Topic::new(&pair.target, checkpoints).count() > 0).then_some(())
        });
        stop(kmirror);
        let mut own = vec![
            copy,
            heartbeats,
            checkpoints.to_owned(),
            format!("kmirror-state.{}.internal", aliases.0),
            format!("mm2-offsets.{}.internal", aliases.0),
        ];
        own.sort();
        let words = [aliases.0, aliases.1];
        assert_eq!(names_with(&pair.target, &words), own);
        assert_eq!(names_with(&pair.source, &words), [syncs]);
    }
}

/// MirrorConnectorsIntegrationTransactionsTest and ...ExactlyOnceTest, as far as they are about
/// groups: markers punch holes into the offsets of the source, and with transactional delivery into
/// those of the target as well.
#[test]
fn groups_are_translated_across_the_markers_of_transactions() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    let cases = [
        (("A9", "B9"), "marked9", ""),
        (
            ("A10", "B10"),
            "marked10",
            "kmirror.delivery = transactional",
        ),
    ];
    for (aliases, word, more) in cases {
        source.create_topic(word, 1, 1, &[]);
        let offsets = append_in_transactions(&source, word);
        let mut kmirror = Kmirror::run(&file(pair, aliases, word, more));
        let copy = format!("{}.{word}", aliases.0);
        let (topic, copied) = (
            Topic::new(&pair.source, word),
            Topic::new(&pair.target, &copy),
        );
        assert_copied(&mut kmirror, topic, copied);
        let group = format!("{word}-group");
        // In the middle of a transaction, at a marker, and at the end.
        let (middle, marker, end) = (offsets[1], offsets[2] + 1, offsets[14] + 2);
        for (at, next) in [(middle, 1), (marker, 3), (end, 15)] {
            commit(&source, &group, word, &[at]);
            let found = kmirror.wait_until(&format!("the group at {at}"), |_| {
                let told = pair.target.java().mirror(aliases.0, &group).offsets;
                let told = *places(told, &copy).first()?;
                (read_below(copied, told) == next).then_some(told)
            });
            kmirror.wait_until("its commit", |_| {
                (committed(&pair.target, &group, &copy) == [found]).then_some(())
            });
        }
        stop(kmirror);
    }
}

/// How many records a reader has behind it at an offset.
fn read_below(topic: Topic<'_>, offset: i64) -> usize {
    let records = crate::support::own_reader::read(&topic.cluster.bootstrap(), topic.name);
    records
        .iter()
        .filter(|record| record.offset < offset)
        .count()
}

/// Five transactions of three records, each with a marker behind it; where the records are.
fn append_in_transactions(java: &JavaClient, topic: &str) -> Vec<i64> {
    let append = |number: u8| {
        let record = NewRecord {
            value: Some(vec![number]),
            ..NewRecord::default()
        };
        let options = ProduceOptions {
            config: &[],
            transaction: Some(Transaction {
                transactional_id: topic,
                commit: true,
            }),
        };
        java.produce(topic, &vec![record; 3], options)
    };
    (0..5).flat_map(append).collect()
}
