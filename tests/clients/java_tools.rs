//! Kafka's command line tools, as its scripts run them.

use crate::support::{
    java::Installation,
    java_client::{Isolation, JavaClient, NewRecord, ProduceOptions, Transaction},
};

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";

/// How long the console consumer waits for a record; it fails when none comes.
const TIMEOUT_MS: &str = "120000";

/// Runs one scenario against a cluster; skips it without Java.
pub(super) fn run(bootstrap: &str, scenario: &str) {
    let Some(installation) = Installation::or_skip() else {
        return;
    };
    let java = JavaClient::new(installation, bootstrap.to_owned());
    let name = format!("java-{scenario}");
    match scenario {
        "console" => console(&java, &name),
        "topics" => topics(&java, &name),
        "configs" => configs(&java, &name),
        "offsets" => offsets(&java, &name),
        "groups" => groups(&java, &name),
        _ => transactions(&java, &name),
    }
}

/// What is typed into the producer comes out of the consumer, whatever the codec.
fn console(java: &JavaClient, name: &str) {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = &format!("{name}-{codec}");
        java.create_topic(topic, 1, 1, &[]);
        produce(java, topic, codec, 0..300);
        let expected: String = (0..300)
            .map(|number| format!("Offset:{number}\tkey {number}\tvalue {number}\n"))
            .collect();
        let arguments = ["--topic", topic, "--partition", "0", "--offset", "earliest"];
        assert_eq!(consume(java, &arguments, 300), expected, "{codec}");
    }
}

fn topics(java: &JavaClient, name: &str) {
    let create = [
        "--create",
        "--topic",
        name,
        "--partitions",
        "3",
        "--replication-factor",
        "1",
    ];
    let config = ["--config", "max.message.bytes=54321"];
    let out = java.tool(TOPICS, &[&create[..], &config].concat(), "");
    assert!(out.contains(&format!("Created topic {name}.")), "{out}");
    let list = || java.tool(TOPICS, &["--list"], "");
    assert!(list().lines().any(|line| line == name), "{}", list());
    let describe = || java.tool(TOPICS, &["--describe", "--topic", name], "");
    assert!(describe().contains("PartitionCount: 3"), "{}", describe());
    assert!(
        describe().contains("max.message.bytes=54321"),
        "{}",
        describe()
    );
    java.tool(
        TOPICS,
        &["--alter", "--topic", name, "--partitions", "4"],
        "",
    );
    eventually("4 partitions", || describe().contains("PartitionCount: 4"));
    java.tool(TOPICS, &["--delete", "--topic", name], "");
    eventually("the topic to go", || {
        !list().lines().any(|line| line == name)
    });
}

fn configs(java: &JavaClient, name: &str) {
    java.create_topic(name, 1, 1, &[("cleanup.policy", "compact")]);
    let entity = ["--entity-type", "topics", "--entity-name", name];
    let configs = |more: &[&str]| java.tool(CONFIGS, &[&entity[..], more].concat(), "");
    let out = configs(&["--alter", "--add-config", "max.message.bytes=54321"]);
    assert!(out.contains("Completed updating config"), "{out}");
    let describe = || configs(&["--describe"]);
    eventually("the change", || {
        describe().contains("max.message.bytes=54321")
    });
    assert!(
        describe().contains("cleanup.policy=compact"),
        "{}",
        describe()
    );
    configs(&["--alter", "--delete-config", "cleanup.policy"]);
    eventually("the deletion", || !describe().contains("cleanup.policy"));
    assert!(
        describe().contains("max.message.bytes=54321"),
        "{}",
        describe()
    );
}

fn offsets(java: &JavaClient, name: &str) {
    java.create_topic(name, 2, 1, &[]);
    let record = |number: i64| NewRecord {
        partition: i32::try_from(number % 2).unwrap(),
        timestamp_ms: Some(1_700_000_000_000 + number),
        value: Some(b"value".to_vec()),
        ..NewRecord::default()
    };
    let records: Vec<_> = (0..10).map(record).collect();
    java.produce(name, &records, ProduceOptions::default());
    java.delete_records(name, 1, 3);
    let cases = [
        ("latest", [5, 5]),
        ("earliest", [0, 3]),
        ("max-timestamp", [4, 4]),
        ("1700000000006", [3, 3]),
    ];
    for (time, [first, second]) in cases {
        let out = java.tool(OFFSETS, &["--topic", name, "--time", time], "");
        let expected = format!("{name}:0:{first}\n{name}:1:{second}\n");
        assert_eq!(out, expected, "{time}");
    }
}

/// The tool lists, describes, moves and deletes the group of a console consumer.
fn groups(java: &JavaClient, name: &str) {
    java.create_topic(name, 1, 1, &[]);
    produce(java, name, "none", 0..10);
    let group = ["--group", name];
    let consume = |count| {
        let arguments = [&["--topic", name, "--from-beginning"], &group[..]].concat();
        consume(java, &arguments, count)
    };
    let first = consume(4);
    assert!(
        first.starts_with("Offset:0\t") && first.lines().count() == 4,
        "{first}"
    );
    let tool = |arguments: &[&str]| java.tool(GROUPS, arguments, "");
    assert!(tool(&["--list"]).lines().any(|line| line == name));
    assert_eq!(
        place(&tool(&["--describe", "--group", name]), name),
        ["4", "10", "6"]
    );
    let second = consume(6);
    assert!(
        second.starts_with("Offset:4\t") && second.lines().count() == 6,
        "{second}"
    );
    assert_eq!(
        place(&tool(&["--describe", "--group", name]), name),
        ["10", "10", "0"]
    );
    let state = tool(&["--describe", "--state", "--group", name]);
    assert!(state.contains("Empty"), "{state}");

    let reset = [
        "--reset-offsets",
        "--topic",
        name,
        "--to-offset",
        "7",
        "--execute",
    ];
    tool(&[&reset[..], &group].concat());
    let third = consume(3);
    assert!(
        third.starts_with("Offset:7\t") && third.lines().count() == 3,
        "{third}"
    );
    let deleted = tool(&["--delete", "--group", name]);
    assert!(deleted.contains("successful"), "{deleted}");
    assert!(!tool(&["--list"]).lines().any(|line| line == name));
}

/// The current offset, end offset and lag of the only partition of a described group.
fn place<'a>(described: &'a str, topic: &str) -> Vec<&'a str> {
    let mut lines = described
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.get(1) == Some(&topic));
    line.unwrap_or_else(|| panic!("{topic} is not in {described}"))[3..6].to_vec()
}

/// What the Java producer commits is read, what it aborts only by readers of everything.
fn transactions(java: &JavaClient, name: &str) {
    java.create_topic(name, 1, 1, &[]);
    let run = |value: &str, commit| {
        let value = Some(value.as_bytes().to_vec());
        let record = NewRecord {
            value,
            ..NewRecord::default()
        };
        let transaction = Some(Transaction {
            transactional_id: name,
            commit,
        });
        let options = ProduceOptions {
            transaction,
            ..ProduceOptions::default()
        };
        java.produce(name, &[record.clone(), record], options)
    };
    // Each transaction ends with a marker, which takes an offset.
    assert_eq!(run("dropped", false), [0, 1]);
    assert_eq!(run("kept", true), [3, 4]);
    let offsets = |isolation| {
        let records = java.read(name, isolation).into_iter();
        records.map(|record| record.offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(Isolation::ReadCommitted), [3, 4]);
    assert_eq!(offsets(Isolation::ReadUncommitted), [0, 1, 3, 4]);
    let arguments = [
        "--topic",
        name,
        "--from-beginning",
        "--isolation-level",
        "read_committed",
    ];
    let group = format!("{name}-committed");
    let read = consume(java, &[&arguments[..], &["--group", &group]].concat(), 2);
    assert_eq!(read, "Offset:3\tnull\tkept\nOffset:4\tnull\tkept\n");
}

/// Types lines of `key N:value N` into the console producer.
fn produce(java: &JavaClient, topic: &str, codec: &str, numbers: std::ops::Range<u32>) {
    let input: String = numbers
        .map(|number| format!("key {number}:value {number}\n"))
        .collect();
    let arguments = [
        ["--topic", topic],
        ["--compression-codec", codec],
        ["--reader-property", "parse.key=true"],
        ["--reader-property", "key.separator=:"],
    ];
    java.tool(CONSOLE_PRODUCER, arguments.as_flattened(), &input);
}

/// What the console consumer prints of `count` records.
fn consume(java: &JavaClient, arguments: &[&str], count: u32) -> String {
    let count = count.to_string();
    let printed = [
        ["--max-messages", &count],
        ["--timeout-ms", TIMEOUT_MS],
        ["--formatter-property", "print.key=true"],
        ["--formatter-property", "print.offset=true"],
    ];
    java.tool(
        CONSOLE_CONSUMER,
        &[arguments, printed.as_flattened()].concat(),
        "",
    )
}

/// Looks again until it is so: a change is not everywhere at once.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    crate::support::kmirror::wait_until(what, || is_so().then_some(()));
}
