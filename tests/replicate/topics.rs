//! Topics and partitions appear on the target as they do on the source, while it runs.

use super::{Topic, assert_copied, properties, stop};
use crate::support::{
    java_client::{Content, JavaClient, Load, NewRecord, ProduceOptions},
    kafka::{Kafka, pair},
    kmirror::Kmirror,
};

#[test]
fn a_topic_created_while_running_is_copied_from_its_first_record() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    source.create_topic("appears.early", 1, 1, &[]);
    let mut kmirror = Kmirror::run(&properties(pair, "appears", ""));
    kmirror.wait_for_log("copying 1 partition of appears.early");

    source.create_topic("appears.late", 4, 1, &[]);
    source.generate("appears.late", load(4), ProduceOptions::default());
    assert_copied(
        &mut kmirror,
        Topic::new(&pair.source, "appears.late"),
        Topic::new(&pair.target, "A.appears.late"),
    );
    assert_eq!(partition_count(&pair.target, "A.appears.late"), 4);
    stop(kmirror);
}

/// B10 to B12 of MM2's own tests.
#[test]
fn properties_follow_the_source_and_what_is_excluded_stays() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    let both = |value| {
        [
            ("delete.retention.ms", Some(value)),
            ("retention.bytes", Some(value)),
        ]
    };
    source.create_topic("configured", 1, 1, &[]);
    source.alter_config("configured", &both("1000"));
    let more = "sync.topic.configs.enabled = true\n\
                sync.topic.configs.interval.seconds = 1\n\
                config.properties.exclude = delete\\\\.retention\\\\..*";
    let mut kmirror = Kmirror::run(&properties(pair, "configured", more));
    let retention = |cluster: &JavaClient, name: &str| {
        let config = cluster.config("A.configured");
        config
            .into_iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    };
    let follows = |value: &str| {
        (retention(&target, "retention.bytes").as_deref() == Some(value)).then_some(())
    };
    kmirror.wait_for_log("copying 1 partition of configured");
    assert_eq!(follows("1000"), Some(()), "as created");
    target.alter_config("A.configured", &both("2000"));
    // A broker may show a change later than its controller has taken it.
    kmirror.wait_for_log("retention.bytes = 1000 (was 2000)");
    kmirror.wait_until("what was set by hand to go", |_| follows("1000"));
    source.alter_config("configured", &[("retention.bytes", None)]);
    kmirror.wait_until("the target's default", |_| {
        retention(&target, "retention.bytes")
            .is_none()
            .then_some(())
    });
    let excluded = retention(&target, "delete.retention.ms");
    assert_eq!(excluded.as_deref(), Some("2000"));
    stop(kmirror);
}

#[test]
fn partitions_added_while_running_are_copied() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    source.create_topic("grows", 1, 1, &[]);
    source.generate("grows", load(1), ProduceOptions::default());
    let mut kmirror = Kmirror::run(&properties(pair, "grows", ""));
    let (topic, copy) = (
        Topic::new(&pair.source, "grows"),
        Topic::new(&pair.target, "A.grows"),
    );
    assert_copied(&mut kmirror, topic, copy);

    source.create_partitions("grows", 3);
    source.generate("grows", load(3), ProduceOptions::default());
    assert_copied(&mut kmirror, topic, copy);
    assert_eq!(partition_count(&pair.target, "A.grows"), 3);
    stop(kmirror);
}

#[test]
fn a_start_at_the_latest_record_skips_nothing_of_partitions_added_later() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    let append = |value: &str| {
        let record = NewRecord {
            value: Some(value.into()),
            ..NewRecord::default()
        };
        source.produce("latest", &[record], ProduceOptions::default());
    };
    source.create_topic("latest", 1, 1, &[]);
    append("old");
    let more = "A.consumer.auto.offset.reset = latest";
    let mut kmirror = Kmirror::run(&properties(pair, "latest", more));
    let (topic, copy) = (
        Topic::new(&pair.source, "latest"),
        Topic::new(&pair.target, "A.latest"),
    );
    kmirror.wait_until("a record that came after the start", |_| {
        append("new");
        (copy.count() > 0).then_some(())
    });

    source.create_partitions("latest", 3);
    source.generate("latest", load(3), ProduceOptions::default());
    let expected = contents_of(topic, 1..3);
    kmirror.wait_until("the records of the added partitions", |_| {
        (contents_of(copy, 1..3).len() >= expected.len()).then_some(())
    });
    stop(kmirror);
    assert_eq!(contents_of(copy, 1..3), expected);
    let old = contents_of(topic, 0..1).swap_remove(0);
    assert!(!contents_of(copy, 0..1).contains(&old));
}

#[test]
fn a_new_topic_gets_the_settings_of_its_source_unless_they_are_excluded() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    let set = [
        ("cleanup.policy", "compact,delete"),
        ("max.message.bytes", "2000000"),
        ("retention.ms", "604800001"),
        ("unclean.leader.election.enable", "true"),
    ];
    let cases = [
        (
            "settings.plain",
            "",
            vec!["cleanup.policy", "max.message.bytes", "retention.ms"],
        ),
        (
            "settings.listed",
            "config.properties.exclude = retention\\\\..*, max.*, min.*",
            vec!["cleanup.policy", "unclean.leader.election.enable"],
        ),
    ];
    for (topic, more, expected) in cases {
        source.create_topic(topic, 1, 1, &set);
        let mut kmirror = Kmirror::run(&properties(pair, topic, more));
        kmirror.wait_for_log(&format!("copying 1 partition of {topic}"));
        stop(kmirror);
        let expected: Vec<(String, String)> = set
            .iter()
            .filter(|(name, _)| expected.contains(name))
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(target.config(&format!("A.{topic}")), expected, "{topic}");
    }
}

#[test]
fn a_new_topic_gets_the_defaults_of_its_source_when_they_are_asked_for() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("defaults", 1, 1, &[("retention.ms", "604800001")]);
    let more = "use.defaults.from = source";
    let mut kmirror = Kmirror::run(&properties(pair, "defaults", more));
    kmirror.wait_for_log("copying 1 partition of defaults");
    stop(kmirror);
    let config = target.config("A.defaults");
    let value = |name: &str| {
        let found = config.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(value("retention.ms"), Some("604800001"), "set");
    assert_eq!(value("cleanup.policy"), Some("delete"), "a default");
    assert_eq!(value("segment.ms"), None, "of the broker's own file");
    assert_eq!(value("min.insync.replicas"), None, "excluded");
}

fn load(partitions: i32) -> Load {
    Load {
        seed: 7,
        partitions,
        count: 300,
        value_size_max: 500,
        odd: false,
        keyed: false,
    }
}

fn partition_count(cluster: &Kafka, topic: &str) -> usize {
    cluster.java().describe_topic(topic).partitions.len()
}

fn contents_of(topic: Topic<'_>, partitions: std::ops::Range<i32>) -> Vec<(i32, Content)> {
    let mut contents = topic.own_contents();
    contents.retain(|(partition, _)| partitions.contains(partition));
    contents
}
