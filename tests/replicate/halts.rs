//! What the target refuses stops one partition, says why, and nothing else.

use super::{Topic, assert_copied, properties, stop};
use crate::support::{
    java_client::{Load, NewRecord, ProduceOptions},
    kafka::{Kafka, KafkaOptions, pair},
    kmirror::Kmirror,
};

#[test]
fn a_batch_too_large_for_the_target_halts_its_partition_until_the_limit_is_raised() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("large.refused", 2, 1, &[]);
    target.create_topic("A.large.refused", 2, 1, &[("max.message.bytes", "10000")]);
    source.create_topic("large.other", 1, 1, &[]);
    let record = |partition, length| NewRecord {
        partition,
        value: Some(vec![7; length]),
        ..NewRecord::default()
    };
    for (partition, length) in [(0, 10), (0, 50_000), (0, 20), (1, 30)] {
        let records = [record(partition, length)];
        source.produce("large.refused", &records, ProduceOptions::default());
    }
    let mut kmirror = Kmirror::run(&properties(pair, "large", ""));
    kmirror.wait_for_log("halted: the target refuses the batch of ");
    kmirror.wait_for_log("bytes at offset 1: raise max.message.bytes of the remote topic");

    source.generate("large.other", load(1), ProduceOptions::default());
    assert_copied(
        &mut kmirror,
        Topic::new(&pair.source, "large.other"),
        Topic::new(&pair.target, "A.large.other"),
    );
    let copy = Topic::new(&pair.target, "A.large.refused");
    kmirror.wait_until("the records before it and beside it", |_| {
        (copy.count() == 2).then_some(())
    });

    target.alter_config(copy.name, &[("max.message.bytes", None)]);
    let refused = Topic::new(&pair.source, "large.refused");
    assert_copied(&mut kmirror, refused, copy);
    let log = stop(kmirror);
    assert!(log.contains("looking again after a halt"), "{log}");
}

#[test]
fn missing_rights_on_a_topic_stop_that_topic_alone() {
    let Some(pair) = pair() else { return };
    let options = KafkaOptions {
        properties: &[
            (
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ),
            ("allow.everyone.if.no.acl.found", "true"),
        ],
        ..KafkaOptions::default()
    };
    let Some(guarded) = Kafka::start(&options) else {
        return;
    };
    let (source, target) = (pair.source.java(), guarded.java());
    let topics = [
        ("rights.write", 1),
        ("rights.alter", 2),
        ("rights.describe", 1),
    ];
    for (topic, partitions) in topics.into_iter().chain([("rights.all", 1)]) {
        source.create_topic(topic, partitions, 1, &[]);
        source.generate(topic, load(partitions), ProduceOptions::default());
    }
    for operation in ["write", "alter", "describe"] {
        let topic = format!("A.rights.{operation}");
        target.create_topic(&topic, 1, 1, &[]);
        target.deny(&topic, operation);
    }

    let bootstrap = format!("B.bootstrap.servers = {}", guarded.bootstrap());
    let mut kmirror = Kmirror::run(&properties(pair, "rights", &bootstrap));
    kmirror.wait_for_log("halted: the target answers TOPIC_AUTHORIZATION_FAILED");
    kmirror.wait_for_log(
        "topic A.rights.alter has fewer partitions than its source and cannot grow: \
         TOPIC_AUTHORIZATION_FAILED",
    );
    kmirror.wait_for_log(
        "cannot create topic A.rights.describe on the target: TOPIC_ALREADY_EXISTS: Topic \
         'A.rights.describe' already exists.; it is there, but this client has not been shown it: \
         unless it has just been created, grant Describe on it",
    );
    assert_copied(
        &mut kmirror,
        Topic::new(&pair.source, "rights.all"),
        Topic::new(&guarded, "A.rights.all"),
    );

    for (topic, _) in topics {
        let copy = format!("A.{topic}");
        target.undeny(&copy);
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.source, topic),
            Topic::new(&guarded, &copy),
        );
    }
    stop(kmirror);
}

fn load(partitions: i32) -> Load {
    Load {
        seed: 9,
        partitions,
        count: 200,
        value_size_max: 300,
        odd: false,
        keyed: false,
    }
}
