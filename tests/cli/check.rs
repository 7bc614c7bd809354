//! `kmirror check`: every report whole.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{kmirror_in, kmirror_with};
use crate::support::{
    golden::assert_golden,
    sandbox::{LOAD, Pair},
};

/// A report with names for the addresses, which differ from run to run.
fn with_names(report: &str, pair: &Pair) -> String {
    report
        .replace(&pair.source.server.bootstrap(), "SOURCE")
        .replace(&pair.target.server.bootstrap(), "TARGET")
}

#[tokio::test]
async fn a_good_file_passes_without_and_with_its_clusters() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("orders", 2, &[]).await;
    pair.source.create_topic("customers", 1, &[]).await;
    pair.source.create_topic("scratch.tmp", 1, &[]).await;
    pair.source.create_topic("B.back", 1, &[]).await;
    pair.target.create_topic("A.customers", 1, &[]).await;
    pair.source.produce(("orders", 0), LOAD, 0, 50).await;
    let file = pair.properties("topics.exclude = .*tmp");

    let offline = kmirror_with(&file, &["check", "--offline"]).await;
    let (code, report) = offline.report();
    let expected = "\
cluster A at SOURCE: not asked
cluster B at TARGET: not asked
flow A->B
no mistake in the file; what the clusters say was not asked
";
    assert_eq!((code, with_names(report, &pair).as_str()), (0, expected));

    let online = kmirror_with(&file, &["check"]).await;
    let (code, report) = online.report();
    let expected = "\
cluster A at SOURCE: 1 broker, 4 topics, id source-cluster
cluster B at TARGET: 1 broker, 1 topic, id target-cluster
flow A->B
  copies 2 topics with 3 partitions; creates 1 topic on B
    customers -> A.customers (1 partition)
    orders -> A.orders (2 partitions)
  leaves out 1 topic: in topics.exclude
  leaves out 1 topic: came from the target cluster
nothing stands in the way
";
    assert_eq!((code, with_names(report, &pair).as_str()), (0, expected));
    assert_eq!(pair.target.ends("A.orders"), [0; 0], "it changes nothing");
}

#[test]
fn a_file_with_many_mistakes_gets_one_report() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for command in ["check", "run"] {
        let output = kmirror_in(&dir, &[command, "mistakes.properties"]);
        let expected = r#"mistakes.properties: a.sasl.mechanism: GSSAPI, which is also the default, needs Kerberos libraries, and a static binary can load none; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, or certificates with SSL
mistakes.properties: b.bootstrap.servers: is missing; write b.bootstrap.servers = host:9092
mistakes.properties: b.sasl.mechanism: GSSAPI, which is also the default, needs Kerberos libraries, and a static binary can load none; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, or certificates with SSL
mistakes.properties:1: clusters: "c d" cannot be an alias; use letters, digits, '.', '_' and '-'
mistakes.properties:1: clusters: the alias "b" is listed twice
mistakes.properties:2: a.bootstrap.servers: "a-2" has no port; write host:port
mistakes.properties:3: a.bootstrap.servers: "a-3:0" has a bad port, which must be a number from 1 to 65535; write host:port
mistakes.properties:6: a->b.topics: item 2, character 8: malformed repetition; a plain '{' is written '\{'; a comma ends the item, even in {1,3}
mistakes.properties:8: a->b.topics.exclude: item 1, character 3: the flag 'x' is not supported
mistakes.properties:9: a->b.replication.factor: "two # as many as brokers" must be a whole number from -1 to 32767; a comment needs a line of its own
mistakes.properties:9: a->b.replication.factor: a comment after a value is part of the value; give the comment a line of its own
mistakes.properties:10: a->b.replication.policy.separator: ":" cannot stand in a topic name; use letters, digits, '.', '_' or '-', and no blank after them
mistakes.properties:11: a->a.enabled: source and target of a flow are the same cluster; remove the line
mistakes.properties:12: kmirror.memory.byts: is not a setting; did you mean kmirror.memory.bytes?
mistakes.properties:13: kmirror.request.timeout.ms: "0" must be a number of milliseconds, at least 1
mistakes.properties:17: config.providers.vault.class: the config provider "com.example.Vault" is not known, and Java classes cannot be loaded; have the values put into a file, a directory or the environment, and use org.apache.kafka.common.config.provider.FileConfigProvider, DirectoryConfigProvider or EnvVarConfigProvider
kmirror: mistakes.properties: 15 mistakes, nothing was started
"#;
        assert_eq!(output.code, 78);
        assert_eq!(output.stdout, "");
        assert_eq!(output.stderr, expected);
    }
}

#[test]
fn what_holds_is_shown_with_its_place() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let arguments = ["check", "effective.properties", "--effective"];
    let output = kmirror_in(&dir, &arguments);
    let (code, report) = output.report();
    assert_eq!(code, 0);
    assert_golden("tests/fixtures/cli/effective.txt", report);
    // The file's secrets, and those of the file that it refers to.
    for secret in ["hunter2", "8000000", "broker-7"] {
        assert!(!report.contains(secret), "{report}");
    }
    // It implies what --offline says, which may be said too.
    let both = kmirror_in(&dir, &[&arguments[..], &["--offline"]].concat());
    assert_eq!(both.report(), (0, report));
    // It may be more than its reader wants.
    let mut pipe = Command::new(env!("CARGO_BIN_EXE_kmirror"))
        .args(arguments)
        .current_dir(&dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(pipe.stdout.take());
    assert_eq!(pipe.wait().unwrap().code(), Some(0));
    // With mistakes nothing holds.
    let output = kmirror_in(&dir, &["check", "mistakes.properties", "--effective"]);
    assert_eq!((output.code, output.stdout.as_str()), (78, ""));
}

#[test]
fn values_from_files_and_the_environment_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let properties = "\
clusters = A, B
A.bootstrap.servers = ${file:./secret.properties:servers}
B.bootstrap.servers = 127.0.0.1:1
A->B.enabled = true
replication.factor = ${file:./secret.properties:factor}
B.client.id = ${dir:.:id}
kmirror.transactional.id = ${vault:x:y}
config.providers = file, dir
config.providers.file.class = org.apache.kafka.common.config.provider.FileConfigProvider
config.providers.dir.class = org.apache.kafka.common.config.provider.DirectoryConfigProvider
";
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("mm2.properties", properties);
    write("secret.properties", "servers = 127.0.0.1:2\nfactor = three");
    let check = || kmirror_in(dir.path(), &["check", "--offline", "mm2.properties"]);
    let expected = "\
mm2.properties:5: replication.factor: the value of ${file:./secret.properties:factor} must be \
a whole number from -1 to 32767
mm2.properties:6: B.client.id: ${dir:.:id} stays as it is: the directory does not have this file
mm2.properties:7: kmirror.transactional.id: a reference stays as it is: its provider is not in \
config.providers; config.providers has dir, file
kmirror: mm2.properties: 1 mistake, nothing was started
";
    let output = check();
    assert_eq!((output.code, output.stderr.as_str()), (78, expected));

    write("secret.properties", "servers = 127.0.0.1:2\nfactor = 3");
    write("id", "mirror\n");
    let expected = "\
note   mm2.properties:7: kmirror.transactional.id: a reference stays as it is: its provider is not in \
config.providers; config.providers has dir, file
cluster A at ${file:./secret.properties:servers}: not asked
cluster B at 127.0.0.1:1: not asked
flow A->B
no mistake in the file; what the clusters say was not asked
";
    assert_eq!(check().report(), (0, expected));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = kmirror_in(dir.path(), &["check", "nowhere.properties"]);
    assert_eq!(output.code, 78);
    let expected =
        "nowhere.properties: cannot read the file: No such file or directory (os error 2)\n";
    assert!(output.stderr.starts_with(expected), "{}", output.stderr);
}

#[tokio::test]
async fn an_alias_that_is_not_in_the_file_is_named() {
    let pair = Pair::start(1).await;
    let output = kmirror_with(
        &pair.properties(""),
        &["check", "--clusters=C", "--offline"],
    )
    .await;
    assert_eq!(output.code, 78);
    let expected = "mm2.properties: --clusters: \"C\" is not in clusters; known: A, B\n";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}

#[tokio::test]
async fn clusters_that_do_not_answer_may_answer_later() {
    let pair = Pair::start(1).await;
    // Nobody can listen there.
    let file = pair.properties("B.bootstrap.servers = 127.0.0.1:1");
    let output = kmirror_with(&file, &["check"]).await;
    let (code, report) = output.report();
    let expected = "\
cluster A at SOURCE: 1 broker, 0 topics, id source-cluster
cluster B at 127.0.0.1:1: no answer: connection to bootstrap server 127.0.0.1:1 of cluster B: \
cannot connect to 127.0.0.1:1: Connection refused (os error 111)
flow A->B
  error   cluster B does not answer; check B.bootstrap.servers; `kmirror run` would wait for it
1 error stands in the way
";
    assert_eq!((code, with_names(report, &pair).as_str()), (75, expected));
}

#[tokio::test]
async fn what_would_go_wrong_is_found_before_it_does() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    let report = async |more: &str| {
        let output = kmirror_with(&pair.properties(more), &["check"]).await;
        let (code, report) = output.report();
        (code, with_names(report, &pair))
    };
    let expected = "\
cluster A at SOURCE: 1 broker, 1 topic, id source-cluster
cluster B at TARGET: 1 broker, 0 topics, id target-cluster
flow A->B
  copies 1 topic with 1 partition; creates 1 topic on B
    t -> A.t (1 partition)
  error   replication.factor is 2, more than B has brokers (1); set replication.factor to 1 or less
  error   offset.storage.replication.factor is 3, more than B has brokers (1); set \
B.offset.storage.replication.factor to 1 or less
2 errors stand in the way
";
    let more = "replication.factor = 2\noffset.storage.replication.factor = 3";
    assert_eq!(report(more).await, (78, expected.to_owned()));
    let (code, state_too) = report("kmirror.state.topic.replication.factor = 2\ntopics = x").await;
    let error = "  error   kmirror.state.topic.replication.factor is 2, more than B has brokers (1); \
                 set kmirror.state.topic.replication.factor to 1 or less\n1 error";
    assert!(code == 78 && state_too.contains(error), "{state_too}");

    let delete = [("cleanup.policy", "delete")];
    for topic in ["mm2-offsets.A.internal", "kmirror-state.A.internal"] {
        pair.target.create_topic(topic, 1, &delete).await;
    }
    let expected = "\
cluster A at SOURCE: 1 broker, 1 topic, id source-cluster
cluster B at TARGET: 1 broker, 2 topics, id target-cluster
flow A->B
  copies 0 topics with 0 partitions; creates 0 topics on B
  leaves out 1 topic: not in topics
  warning no topic of A is selected; check topics and topics.exclude: patterns match whole names
  error   topic mm2-offsets.A.internal on B has cleanup.policy=delete: positions would be lost; \
set cleanup.policy=compact on mm2-offsets.A.internal
  error   topic kmirror-state.A.internal on B has cleanup.policy=delete: positions would be lost; \
set cleanup.policy=compact on kmirror-state.A.internal
2 errors stand in the way
";
    assert_eq!(report("topics = x").await, (78, expected.to_owned()));

    let expected = "\
cluster A at SOURCE: 1 broker, 1 topic, id source-cluster
cluster B at SOURCE: 1 broker, 1 topic, id source-cluster
flow A->B
  error   A and B are the same cluster; point bootstrap.servers of one of them at another cluster
1 error stands in the way
";
    let same = format!("B.bootstrap.servers = {}", pair.source.server.bootstrap());
    assert_eq!(report(&same).await, (78, expected.to_owned()));
}

#[tokio::test]
async fn groups_that_tell_no_beginning_and_heartbeats_without_brokers_are_found() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    let more = "emit.heartbeats.enabled = true\n\
                kmirror.start = group:nobody";
    let output = kmirror_with(&pair.properties(more), &["check"]).await;
    let (code, report) = output.report();
    let expected = "\
cluster A at SOURCE: 1 broker, 1 topic, id source-cluster
cluster B at TARGET: 1 broker, 0 topics, id target-cluster
flow A->B
  copies 1 topic with 1 partition; creates 1 topic on B
    t -> A.t (1 partition)
  warning group nobody has committed nothing on A: new partitions begin at earliest; check the name \
in kmirror.start and kmirror.start.topics
  error   heartbeats.topic.replication.factor is 3, more than B has brokers (1); set \
heartbeats.topic.replication.factor to 1 or less
  error   heartbeats.topic.replication.factor is 3, more than A has brokers (1); set \
heartbeats.topic.replication.factor to 1 or less
2 errors stand in the way
";
    assert_eq!((code, with_names(report, &pair)), (78, expected.to_owned()));
}

#[tokio::test]
async fn transactions_of_the_old_protocol_are_warned_of() {
    for (level, is_warned) in [(1, true), (2, false)] {
        let pair = Pair::with_transaction_version(level).await;
        pair.source.create_topic("t", 1, &[]).await;
        let file = pair.properties("kmirror.delivery = transactional");
        let output = kmirror_with(&file, &["check"]).await;
        let (code, report) = output.report();
        let warning = "transactions of B have the old protocol";
        assert_eq!(report.contains(warning), is_warned, "{report}");
        assert_eq!(code, 0, "{report}");
    }
}
