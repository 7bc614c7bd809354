//! Which topics are copied, and under which names.

use super::{Topic, assert_copied, properties, stop};
use crate::support::{
    java_client::{JavaClient, NewRecord, ProduceOptions},
    kafka::pair,
    kmirror::Kmirror,
};

const IDENTITY: &str = "replication.policy.class = \
    org.apache.kafka.connect.mirror.IdentityReplicationPolicy";

/// Creates topics of one record each.
fn create(java: &JavaClient, topics: &[impl AsRef<str>]) {
    for topic in topics {
        let topic = topic.as_ref();
        java.create_topic(topic, 1, 1, &[]);
        append(java, topic);
    }
}

fn append(java: &JavaClient, topic: &str) {
    let record = NewRecord {
        value: Some(topic.as_bytes().to_vec()),
        ..NewRecord::default()
    };
    java.produce(topic, &[record], ProduceOptions::default());
}

/// The topics of a cluster that have `word` in their names.
fn topics_with(java: &JavaClient, word: &str) -> Vec<String> {
    let mut topics = java.topics();
    topics.retain(|topic| topic.contains(word));
    topics
}

#[test]
fn the_policy_names_the_copies() {
    let Some(pair) = pair() else { return };
    let cases = [
        ("named.by.default", "", "A.named.by.default"),
        (
            "named.by.separator",
            "replication.policy.separator = __",
            "A__named.by.separator",
        ),
        ("named.by.identity", IDENTITY, "named.by.identity"),
    ];
    for (topic, more, copy) in cases {
        create(&pair.source.java(), &[topic]);
        let mut kmirror = Kmirror::run(&properties(pair, topic, more));
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.source, topic),
            Topic::new(&pair.target, copy),
        );
        stop(kmirror);
    }
}

#[test]
fn lists_in_javas_regex_syntax_decide_which_topics_are_copied() {
    let Some(pair) = pair() else { return };
    let topics = [
        "lists.orders",
        "lists.orders.test",
        "lists.payments",
        "lists.payments-old",
        "lists.users",
        "lists.usersx",
        "more.lists.users",
    ];
    create(&pair.source.java(), &topics);
    let more = "A->B.topics = ^(?!.*test)lists\\\\.(orders|pay).*, lists.users\n\
                A->B.topics.exclude = .*[-]old";
    let mut kmirror = Kmirror::run(&properties(pair, "", more));
    for topic in ["lists.orders", "lists.payments", "lists.users"] {
        let copy = format!("A.{topic}");
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.source, topic),
            Topic::new(&pair.target, &copy),
        );
    }
    stop(kmirror);
    let copies = ["A.lists.orders", "A.lists.payments", "A.lists.users"];
    assert_eq!(topics_with(&pair.target.java(), "lists."), copies);
}

#[test]
fn internal_topics_are_not_copied_even_when_they_are_listed() {
    let Some(pair) = pair() else { return };
    let cases = [
        ("hidden", "", "A.hidden.not"),
        ("covert", IDENTITY, "covert.not"),
    ];
    for (word, more, copy) in cases {
        let internal = [
            format!("__{word}"),
            format!(".{word}"),
            format!("mm2-{word}.internal"),
            format!("{word}.checkpoints.internal"),
        ];
        create(&pair.source.java(), &internal);
        let topic = format!("{word}.not");
        create(&pair.source.java(), &[&topic]);
        let more = format!("A->B.topics = .*{word}.*\ntopics.exclude = nothing\n{more}");
        let mut kmirror = Kmirror::run(&properties(pair, "", &more));
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.source, &topic),
            Topic::new(&pair.target, copy),
        );
        stop(kmirror);
        assert_eq!(topics_with(&pair.target.java(), word), [copy]);
    }
}

#[test]
fn two_clusters_that_copy_each_other_do_not_copy_copies_back() {
    let Some(pair) = pair() else { return };
    let (one, other) = (pair.source.java(), pair.target.java());
    create(&one, &["mutual"]);
    create(&other, &["mutual"]);
    let more = "A->B.topics = .*mutual, kmirror-state.*\n\
                B->A.enabled = true\n\
                B->A.topics = .*mutual, kmirror-state.*";
    let mut kmirror = Kmirror::run(&properties(pair, "", more));
    for round in 0..3 {
        if round > 0 {
            append(&one, "mutual");
            append(&other, "mutual");
        }
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.source, "mutual"),
            Topic::new(&pair.target, "A.mutual"),
        );
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.target, "mutual"),
            Topic::new(&pair.source, "B.mutual"),
        );
    }
    // Both directions have seen the copies by now: a topic of the next look is created.
    create(&one, &["later.mutual"]);
    create(&other, &["later.mutual"]);
    assert_copied(
        &mut kmirror,
        Topic::new(&pair.source, "later.mutual"),
        Topic::new(&pair.target, "A.later.mutual"),
    );
    assert_copied(
        &mut kmirror,
        Topic::new(&pair.target, "later.mutual"),
        Topic::new(&pair.source, "B.later.mutual"),
    );
    stop(kmirror);
    let expected = |alias: &str| {
        let copies = ["mutual", "later.mutual"];
        let mut names = vec![format!("{alias}.later.mutual"), format!("{alias}.mutual")];
        names.extend(copies.map(String::from));
        names.sort();
        names
    };
    assert_eq!(topics_with(&other, "mutual"), expected("A"));
    assert_eq!(topics_with(&one, "mutual"), expected("B"));
    // What kmirror keeps on one side is of no use on the other.
    assert_eq!(topics_with(&other, "A.kmirror-state"), [""; 0]);
    assert_eq!(topics_with(&one, "B.kmirror-state"), [""; 0]);
}
