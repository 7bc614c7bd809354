//! Rights on remote topics follow those on their sources, as Kafka's own tool sets and shows them.

use super::{properties, stop};
use crate::support::{
    java_client::JavaClient,
    kafka::{Kafka, KafkaOptions, Pair},
    kmirror::Kmirror,
};

/// What `bin/kafka-acls.sh` runs.
const ACLS: &str = "org.apache.kafka.tools.AclCommand";

/// A pair of clusters where kmirror may do everything, as ANONYMOUS, and others what they are allowed.
fn guarded_pair() -> Option<Pair> {
    let options = KafkaOptions {
        properties: &[
            (
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ),
            ("super.users", "User:ANONYMOUS"),
        ],
        ..KafkaOptions::default()
    };
    Some(Pair {
        source: Kafka::start(&options)?,
        target: Kafka::start(&options)?,
    })
}

fn add(cluster: &JavaClient, arguments: &[&str]) {
    cluster.tool(ACLS, &[&["--add"], arguments].concat(), "");
}

fn remove(cluster: &JavaClient, arguments: &[&str]) {
    cluster.tool(ACLS, &[&["--remove", "--force"], arguments].concat(), "");
}

/// What is known of a topic or prefix, one ACL a line, sorted.
fn acls(cluster: &JavaClient, topic: &str, pattern: &str) -> Vec<String> {
    let arguments = [
        "--list",
        "--topic",
        topic,
        "--resource-pattern-type",
        pattern,
    ];
    let listed = cluster.tool(ACLS, &arguments, "");
    let lines = listed.lines().map(str::trim);
    let mut lines: Vec<String> = lines
        .filter(|line| line.starts_with("(principal="))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

fn right(principal: &str, operation: &str, permission: &str) -> String {
    format!("(principal={principal}, host=*, operation={operation}, permissionType={permission})")
}

/// The ACL part of MM2's own tests with a forwarding admin client, and what goes beyond it.
#[test]
fn rights_on_remote_topics_follow_those_on_their_sources() {
    let Some(pair) = guarded_pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    source.create_topic("test-topic-1", 1, 1, &[]);
    let topic = ["--topic", "test-topic-1"];
    let dummy = ["--allow-principal", "User:dummy", "--operation", "Describe"];
    let writer = ["--allow-principal", "User:writer", "--operation", "Write"];
    let all = ["--allow-principal", "User:all", "--operation", "All"];
    let denied = ["--deny-principal", "User:denied", "--operation", "Read"];
    for right in [dummy, writer, all, denied] {
        add(&source, &[&topic[..], &right].concat());
    }
    add(
        &source,
        &["--topic", "other", dummy[0], dummy[1], dummy[2], dummy[3]],
    );
    let prefix = ["--topic", "test-", "--resource-pattern-type", "prefixed"];
    let wide = ["--allow-principal", "User:wide", "--operation", "Read"];
    add(&source, &[prefix, wide].concat());

    let more = "sync.topic.acls.interval.seconds = 1";
    let mut kmirror = Kmirror::run(&properties(&pair, "test", more));
    let on_copy = || acls(&target, "A.test-topic-1", "literal");
    let rights = [
        right("User:all", "READ", "ALLOW"),
        right("User:denied", "READ", "DENY"),
        right("User:dummy", "DESCRIBE", "ALLOW"),
    ];
    kmirror.wait_until("the rights", |_| (on_copy() == rights).then_some(()));
    assert_eq!(acls(&target, "A.other", "literal"), [""; 0]);
    assert_eq!(acls(&target, "A.test-", "prefixed"), [""; 0]);
    remove(&source, &[&topic[..], &dummy].concat());
    add(&source, &[&topic[..], &wide].concat());
    kmirror.wait_for_log("ALLOW User:wide READ on topic A.test-topic-1 from host *");
    let kept = [&rights[..], &[right("User:wide", "READ", "ALLOW")]].concat();
    // The one that the source has lost stays.
    kmirror.wait_until("all of them", |_| (on_copy() == kept).then_some(()));
    let log = stop(kmirror);
    assert!(log.contains("created 3 ACLs on the target"), "{log}");
    assert!(log.contains("1 ACL of the source on prefixes"), "{log}");

    let more = "sync.topic.acls.interval.seconds = 1\n\
                kmirror.sync.acls.prefixed = true\n\
                kmirror.sync.acls.remove = true";
    let mut kmirror = Kmirror::run(&properties(&pair, "test", more));
    kmirror.wait_until("the right that has gone to go", |_| {
        (!on_copy().contains(&rights[2])).then_some(())
    });
    kmirror.wait_until("the rights on the prefix", |_| {
        let found = acls(&target, "A.test-", "prefixed");
        (found == [right("User:wide", "READ", "ALLOW")]).then_some(())
    });
    assert_eq!(on_copy(), [&rights[..2], &kept[3..]].concat());
    let log = stop(kmirror);
    let removed = "removed an ACL from the target that the source does not give: ALLOW User:dummy \
                   DESCRIBE on topic A.test-topic-1 from host *";
    assert!(log.contains(removed), "{log}");
}

#[test]
fn clusters_without_an_authorizer_are_told_of_once() {
    let Some(pair) = crate::support::kafka::pair() else {
        return;
    };
    pair.source.java().create_topic("unguarded", 1, 1, &[]);
    let more = "sync.topic.acls.interval.seconds = 1";
    let mut kmirror = Kmirror::run(&properties(pair, "unguarded", more));
    kmirror.wait_for_log("copying 1 partition of unguarded");
    let text = "the source cluster has no authorizer: no ACLs are copied";
    kmirror.wait_for_log(text);
    let log = stop(kmirror);
    assert_eq!(log.matches(text).count(), 1, "{log}");
}
