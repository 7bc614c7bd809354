//! The worked examples of the README, carried out: their own files, real clusters one of which
//! crashes, and applications that go from one to the other and back.

use std::{collections::BTreeSet, fs};

use super::stop;
use crate::support::{
    java_client::{NewRecord, ProduceOptions},
    kafka::{Kafka, ONE_BROKER, Pair},
    kmirror::Kmirror,
    own_reader,
};

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const PARTITIONS: i32 = 2;
const NODE: i32 = 1;

/// The properties file of an example in the README, for these clusters of one broker each.
fn example(heading: &str, pair: &Pair) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, rest) = readme.split_once(&format!("### {heading}\n")).unwrap();
    let (_, rest) = rest.split_once("```properties\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let file = file
        .replace("a1.example.com:9092", &pair.source.bootstrap())
        .replace("b1.example.com:9092", &pair.target.bootstrap());
    assert!(!file.contains("example.com"), "{file}");
    format!(
        "{file}\n\
         {ONE_BROKER}\
         kmirror.http.listen = \n"
    )
}

/// Records of which each can be told from all others.
fn names(word: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{word}-{number}"))
        .collect()
}

fn produce(cluster: &Kafka, topic: &str, values: &[String]) {
    let records = values.iter().zip((0..PARTITIONS).cycle());
    let records = records.map(|(value, partition)| NewRecord {
        partition,
        value: Some(value.clone().into_bytes()),
        ..NewRecord::default()
    });
    let records: Vec<NewRecord> = records.collect();
    (cluster.java()).produce(topic, &records, ProduceOptions::default());
}

/// What an application reads of some topics: each record once, or the test fails.
#[derive(Default)]
struct Read(BTreeSet<(String, String)>);

impl Read {
    fn on(&mut self, cluster: &Kafka, pattern: &str, limit: Option<usize>) -> usize {
        let records = cluster.java().consume("billing", pattern, limit);
        let count = records.len();
        for record in records {
            assert!(self.0.insert(record.clone()), "{record:?} came twice");
        }
        count
    }

    fn values(&self) -> BTreeSet<&str> {
        self.0.iter().map(|(_, value)| value.as_str()).collect()
    }
}

/// How far a group is in a topic, all partitions together.
fn committed(cluster: &Kafka, topic: &str) -> i64 {
    let offsets = cluster.java().committed("billing");
    let own = offsets.iter().filter(|it| it.topic == topic);
    own.map(|it| it.offset).sum()
}

fn wait_for_group(kmirror: &mut Kmirror, cluster: &Kafka, topic: &str, offset: i64) {
    kmirror.wait_until(&format!("the group at {offset} of {topic}"), |_| {
        (committed(cluster, topic) == offset).then_some(())
    });
}

fn wait_for_records(kmirror: &mut Kmirror, cluster: &Kafka, topic: &str, count: usize) {
    kmirror.wait_until(&format!("{count} records in {topic}"), |_| {
        (own_reader::count(&cluster.bootstrap(), topic) == count).then_some(())
    });
}

/// Topics that are not there for the brokers' or anybody's own purposes.
fn data_topics(cluster: &Kafka) -> Vec<String> {
    let topics = cluster.java().topics().into_iter();
    let mut topics: Vec<String> = topics.filter(|it| it.ends_with("orders")).collect();
    topics.sort();
    topics
}

fn expect_no_trouble(log: &str) {
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn active_passive_consumers_fail_over_and_come_back() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    for cluster in [&pair.source, &pair.target] {
        cluster.java().create_topic("orders", PARTITIONS, 1, &[]);
    }
    let (before, tail, outage) = (names("before", 100), names("tail", 10), names("outage", 30));
    let mut billing = Read::default();
    produce(&pair.source, "orders", &before);
    let mut kmirror = Kmirror::run(&example("Active-passive", &pair));
    assert_eq!(billing.on(&pair.source, "orders", Some(60)), 60);
    wait_for_records(&mut kmirror, &pair.target, "A.orders", 100);
    wait_for_group(&mut kmirror, &pair.target, "A.orders", 60);

    // A crashes, with records that were not copied yet.
    kmirror.kill9();
    produce(&pair.source, "orders", &tail);
    pair.source.kill9(NODE);
    assert_eq!(billing.on(&pair.target, r"(A\.)?orders", None), 40);
    produce(&pair.target, "orders", &outage);
    assert_eq!(billing.on(&pair.target, r"(A\.)?orders", None), 30);

    // A is back: what it still had comes over, and what was written meanwhile goes back.
    pair.source.restart(NODE);
    let mut kmirror = Kmirror::run(&example("Switching back", &pair));
    wait_for_records(&mut kmirror, &pair.target, "A.orders", 110);
    wait_for_records(&mut kmirror, &pair.source, "B.orders", 30);
    assert_eq!(billing.on(&pair.target, r"(A\.)?orders", None), 10);
    wait_for_group(&mut kmirror, &pair.source, "B.orders", 30);
    let reset = ["--reset-offsets", "--to-latest", "--execute"];
    let whose = ["--group", "billing", "--topic", "orders"];
    (pair.source.java()).tool(GROUPS, &[&whose[..], &reset].concat(), "");
    assert_eq!(billing.on(&pair.source, r"(B\.)?orders", None), 0);
    produce(&pair.source, "orders", &names("after", 20));
    assert_eq!(billing.on(&pair.source, r"(B\.)?orders", None), 20);

    let after = names("after", 20);
    let all = [before, tail, outage, after].concat();
    assert_eq!(billing.values(), all.iter().map(String::as_str).collect());
    assert_eq!(data_topics(&pair.source), ["B.orders", "orders"]);
    assert_eq!(data_topics(&pair.target), ["A.orders", "orders"]);
    expect_no_trouble(&stop(kmirror));
}

#[test]
fn under_the_identity_policy_consumers_find_their_topic_on_the_other_side() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    pair.source
        .java()
        .create_topic("orders", PARTITIONS, 1, &[]);
    let before = names("before", 100);
    let mut billing = Read::default();
    produce(&pair.source, "orders", &before);
    let identity = "replication.policy.class = \
                    org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n";
    let file = example("Active-passive", &pair) + identity;
    let mut kmirror = Kmirror::run(&file);
    assert_eq!(billing.on(&pair.source, "orders", Some(60)), 60);
    wait_for_records(&mut kmirror, &pair.target, "orders", 100);
    wait_for_group(&mut kmirror, &pair.target, "orders", 60);
    pair.source.kill9(NODE);
    assert_eq!(billing.on(&pair.target, "orders", None), 40);
    assert_eq!(
        billing.values(),
        before.iter().map(String::as_str).collect()
    );
    assert_eq!(data_topics(&pair.target), ["orders"]);
}

#[test]
fn active_active_consumers_move_to_the_region_that_is_left_and_back() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    for cluster in [&pair.source, &pair.target] {
        cluster.java().create_topic("orders", PARTITIONS, 1, &[]);
    }
    let mut billing = Read::default();
    produce(&pair.source, "orders", &names("a", 50));
    produce(&pair.target, "orders", &names("b", 50));
    let mut kmirror = Kmirror::run(&example("Active-active", &pair));
    wait_for_records(&mut kmirror, &pair.source, "B.orders", 50);
    wait_for_records(&mut kmirror, &pair.target, "A.orders", 50);
    assert_eq!(billing.on(&pair.source, r"(B\.)?orders", None), 100);
    wait_for_group(&mut kmirror, &pair.target, "A.orders", 50);
    // Region A is gone. Of `orders` on B the group has no place there: it begins at its start.
    pair.source.kill9(NODE);
    produce(&pair.target, "orders", &names("outage", 30));
    assert_eq!(billing.on(&pair.target, r"(A\.)?orders", None), 80);

    // Region A is back, and what it missed comes to it; nothing goes round.
    pair.source.restart(NODE);
    wait_for_records(&mut kmirror, &pair.source, "B.orders", 80);
    wait_for_group(&mut kmirror, &pair.source, "B.orders", 80);
    // Each is upstream of the other, and has heard of it.
    for (cluster, other) in [(&pair.source, "B"), (&pair.target, "A")] {
        kmirror.wait_until("heartbeats of the other side", |_| {
            let seen = cluster.java().mirror(other, "billing");
            let copied = [format!("{other}.heartbeats"), String::from("heartbeats")];
            let is_there = seen.upstream == [other] && seen.heartbeats == copied;
            (is_there && seen.hops == 1).then_some(())
        });
    }
    assert_eq!(billing.on(&pair.source, r"(B\.)?orders", None), 0);
    produce(&pair.source, "orders", &names("after", 20));
    assert_eq!(billing.on(&pair.source, r"(B\.)?orders", None), 20);
    wait_for_records(&mut kmirror, &pair.target, "A.orders", 70);

    let all = [
        names("a", 50),
        names("b", 50),
        names("outage", 30),
        names("after", 20),
    ]
    .concat();
    assert_eq!(billing.values(), all.iter().map(String::as_str).collect());
    assert_eq!(data_topics(&pair.source), ["B.orders", "orders"]);
    assert_eq!(data_topics(&pair.target), ["A.orders", "orders"]);
    expect_no_trouble(&stop(kmirror));
}
