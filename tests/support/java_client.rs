//! Apache Kafka's Java clients as a peer to compare with, through `tests/kafka/KafkaTool.java`.
//!
//! One JVM serves the whole test process, one command after the other. A command that fails panics with Java's words.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout},
    sync::{Mutex, OnceLock},
};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::java::{Installation, Jvm, JvmOptions};

const TOOL_HEAP_MIB: u32 = 512;

/// Longer runs of bytes are compared by length and hash; the same number is in `Read.java`.
const BLOB_BYTES_MAX: usize = 1024;

/// A key, value or header value that is not null.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blob {
    Bytes(Vec<u8>),
    Hashed { length: u64, sha256: String },
}

impl Blob {
    /// What Java answers for these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        if bytes.len() <= BLOB_BYTES_MAX {
            return Self::Bytes(bytes.to_vec());
        }
        Self::Hashed {
            length: u64::try_from(bytes.len()).unwrap(),
            sha256: to_hex(&Sha256::digest(bytes)),
        }
    }

    fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::String(hex) => Some(Self::Bytes(from_hex(hex))),
            digest => Some(Self::Hashed {
                length: digest["length"].as_u64().unwrap(),
                sha256: text(&digest["sha256"]),
            }),
        }
    }
}

/// A record as the Java consumer returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JavaRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) content: Content,
}

/// What a copy of a record has in common with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) timestamp_ms: i64,
    /// "CreateTime" or "LogAppendTime".
    pub(crate) timestamp_type: String,
    pub(crate) key: Option<Blob>,
    pub(crate) value: Option<Blob>,
    pub(crate) headers: Vec<(String, Option<Blob>)>,
}

/// A record to produce.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewRecord {
    pub(crate) partition: i32,
    /// `None`: now.
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// How records are produced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProduceOptions<'a> {
    /// The Java producer's properties, such as `compression.type`, `batch.size`, `linger.ms`.
    pub(crate) config: &'a [(&'a str, &'a str)],
    pub(crate) transaction: Option<Transaction<'a>>,
}

/// One transaction around all records of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) commit: bool,
}

/// A varied load, the same for equal values; `tests/kafka/Load.java` says what is in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) partitions: i32,
    pub(crate) count: u32,
    /// The largest ordinary value, in bytes.
    pub(crate) value_size_max: u32,
    /// Whether one record in four is unusual: nulls, empty, huge, odd timestamps, odd headers.
    pub(crate) odd: bool,
    /// Whether every record has a key, as compacted topics demand.
    pub(crate) keyed: bool,
}

/// Which records of transactions a reader sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// The contents of one partition in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionDigest {
    pub(crate) partition: i32,
    pub(crate) count: u64,
    /// Over the records without their offsets; the layout is in `tests/kafka/Read.java`.
    pub(crate) sha256: String,
}

/// A topic as the Java admin client describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicDescription {
    /// In Kafka's URL-safe Base64.
    pub(crate) id: String,
    /// By partition number.
    pub(crate) partitions: Vec<PartitionDescription>,
}

/// Who keeps a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionDescription {
    /// -1: nobody leads.
    pub(crate) leader: i64,
    pub(crate) replicas: Vec<i64>,
    pub(crate) isr: Vec<i64>,
}

/// The Java clients, for one cluster.
pub(crate) struct JavaClient {
    installation: &'static Installation,
    bootstrap: String,
}

impl JavaClient {
    pub(crate) fn new(installation: &'static Installation, bootstrap: String) -> Self {
        Self {
            installation,
            bootstrap,
        }
    }

    /// Creates a topic and waits until all its partitions have leaders.
    pub(crate) fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        replicas: i16,
        config: &[(&str, &str)],
    ) {
        self.call(json!({
            "command": "create", "topic": topic, "partitions": partitions, "replication_factor": replicas,
            "config": object(config),
        }));
    }

    /// Grows a topic to so many partitions.
    pub(crate) fn create_partitions(&self, topic: &str, partitions: i32) {
        self.call(json!({"command": "partitions", "topic": topic, "partitions": partitions}));
    }

    /// Sets properties of a topic; `None` deletes one.
    pub(crate) fn alter_config(&self, topic: &str, config: &[(&str, Option<&str>)]) {
        let config: Map<String, Value> = config
            .iter()
            .map(|&(name, value)| (name.to_owned(), Value::from(value)))
            .collect();
        self.call(json!({"command": "alter", "topic": topic, "config": config}));
    }

    /// The properties set on the topic itself, by name.
    pub(crate) fn config(&self, topic: &str) -> Vec<(String, String)> {
        let answer = self.call(json!({"command": "config", "topic": topic}));
        answer
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    pub(crate) fn describe_topic(&self, topic: &str) -> TopicDescription {
        let answer = self.call(json!({"command": "describe", "topic": topic}));
        let partitions = list(&answer["partitions"])
            .iter()
            .map(|partition| PartitionDescription {
                leader: partition["leader"].as_i64().unwrap(),
                replicas: integers(&partition["replicas"]),
                isr: integers(&partition["isr"]),
            });
        TopicDescription {
            id: text(&answer["id"]),
            partitions: partitions.collect(),
        }
    }

    /// Deletes a topic and waits until it is gone.
    pub(crate) fn delete_topic(&self, topic: &str) {
        self.call(json!({"command": "delete", "topic": topic}));
    }

    /// Deletes the records of a partition below an offset.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before_offset: i64) {
        self.call(json!({
            "command": "truncate", "topic": topic, "partition": partition, "before_offset": before_offset,
        }));
    }

    /// Forbids everybody one operation on a topic, such as "WRITE"; the brokers need an authorizer.
    pub(crate) fn deny(&self, topic: &str, operation: &str) {
        self.call(json!({"command": "deny", "topic": topic, "operation": operation}));
    }

    /// Takes a [`Self::deny`] back.
    pub(crate) fn undeny(&self, topic: &str) {
        self.call(json!({"command": "undeny", "topic": topic}));
    }

    /// The names of all topics, internal ones too, sorted.
    pub(crate) fn topics(&self) -> Vec<String> {
        list(&self.call(json!({"command": "topics"})))
            .iter()
            .map(text)
            .collect()
    }

    /// Appends records, all acknowledged; answers their offsets.
    pub(crate) fn produce(
        &self,
        topic: &str,
        records: &[NewRecord],
        options: ProduceOptions<'_>,
    ) -> Vec<i64> {
        let records: Vec<Value> = records.iter().map(describe).collect();
        let command = json!({"command": "produce", "topic": topic, "records": records});
        integers(&self.call(with_options(command, options)))
    }

    /// Appends a varied load, all acknowledged.
    pub(crate) fn generate(&self, topic: &str, load: Load, options: ProduceOptions<'_>) {
        let command = json!({"command": "generate", "topic": topic, "load": {
            "seed": load.seed, "partitions": load.partitions, "count": load.count,
            "value_size": load.value_size_max, "odd": load.odd, "keyed": load.keyed,
        }});
        let count = self.call(with_options(command, options));
        assert_eq!(count, load.count);
    }

    /// Every record of a topic, ordered by partition and offset.
    pub(crate) fn read(&self, topic: &str, isolation: Isolation) -> Vec<JavaRecord> {
        let answer =
            self.call(json!({"command": "read", "topic": topic, "isolation": isolation.name()}));
        list(&answer).iter().map(parse_record).collect()
    }

    /// The contents of a topic in short, for volumes too large for [`Self::read`]. Empty partitions are left out.
    pub(crate) fn digest(&self, topic: &str, isolation: Isolation) -> Vec<PartitionDigest> {
        let answer =
            self.call(json!({"command": "digest", "topic": topic, "isolation": isolation.name()}));
        let partitions = list(&answer).iter().map(|digest| PartitionDigest {
            partition: int32(&digest["partition"]),
            count: digest["count"].as_u64().unwrap(),
            sha256: text(&digest["sha256"]),
        });
        partitions.collect()
    }

    /// Commits for a group without members.
    pub(crate) fn commit(&self, group: &str, offsets: &[GroupOffset]) {
        let offsets = offsets.iter().map(|it| {
            json!({
                "topic": it.topic, "partition": it.partition, "offset": it.offset,
                "metadata": it.metadata,
            })
        });
        let offsets: Vec<Value> = offsets.collect();
        self.call(json!({"command": "commit", "group": group, "offsets": offsets}));
    }

    /// What a group has committed.
    pub(crate) fn committed(&self, group: &str) -> Vec<GroupOffset> {
        group_offsets(&self.call(json!({"command": "committed", "group": group})))
    }

    /// What a member of a group reads that subscribes to a pattern, goes on where the group was,
    /// commits and leaves after `limit` records, or at the end: topics and values.
    pub(crate) fn consume(
        &self,
        group: &str,
        pattern: &str,
        limit: Option<usize>,
    ) -> Vec<(String, String)> {
        let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap());
        let answer = self.call(json!({
            "command": "consume", "group": group, "pattern": pattern, "limit": limit,
        }));
        let records = list(&answer).iter();
        records
            .map(|record| (text(&record["topic"]), text(&record["value"])))
            .collect()
    }

    /// What `RemoteClusterUtils` says of this cluster as a target: about a source, and about a group
    /// of it.
    pub(crate) fn mirror(&self, source: &str, group: &str) -> MirrorView {
        let answer = self.call(json!({"command": "mirror", "remote": source, "group": group}));
        let names = |name: &str| list(&answer[name]).iter().map(text).collect();
        MirrorView {
            hops: int32(&answer["hops"]),
            upstream: names("upstream"),
            heartbeats: names("heartbeats"),
            checkpoints: names("checkpoints"),
            offsets: group_offsets(&answer["offsets"]),
        }
    }

    /// Runs one of Kafka's command line tools; `class` is what its script in `bin` names.
    ///
    /// `--bootstrap-server` is added. Answers what it printed; panics unless it ends well.
    pub(crate) fn tool(&self, class: &str, arguments: &[&str], input: &str) -> String {
        let arguments = [&["--bootstrap-server", &self.bootstrap], arguments].concat();
        let command = json!({
            "command": "tool", "class": class, "arguments": arguments, "input": input,
        });
        let answer = self.call(command);
        assert_eq!(answer["status"], 0, "{class} {arguments:?}: {answer:#}");
        text(&answer["out"])
    }

    fn call(&self, mut command: Value) -> Value {
        command["bootstrap"] = Value::from(self.bootstrap.as_str());
        call(self.installation, &command)
    }
}

/// What a group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupOffset {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// A target as MirrorMaker 2's own client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MirrorView {
    pub(crate) hops: i32,
    pub(crate) upstream: Vec<String>,
    pub(crate) heartbeats: Vec<String>,
    pub(crate) checkpoints: Vec<String>,
    /// Where the group is, translated.
    pub(crate) offsets: Vec<GroupOffset>,
}

fn group_offsets(answer: &Value) -> Vec<GroupOffset> {
    let offsets = list(answer).iter().map(|it| GroupOffset {
        topic: text(&it["topic"]),
        partition: int32(&it["partition"]),
        offset: it["offset"].as_i64().unwrap(),
        metadata: text(&it["metadata"]),
    });
    offsets.collect()
}

/// What Kafka's own jar says the protocol is: "schemas" of messages, or "errors"; `None` skips the test.
pub(crate) fn definitions(of: &str) -> Option<Value> {
    let installation = Installation::or_skip()?;
    Some(call(installation, &json!({"command": of})))
}

fn call(installation: &'static Installation, command: &Value) -> Value {
    static TOOL: OnceLock<Mutex<Tool>> = OnceLock::new();
    let tool = TOOL.get_or_init(|| Mutex::new(Tool::start(installation)));
    let mut answer = tool.lock().unwrap().exchange(command);
    if let Some(error) = answer.get("error") {
        panic!("{} of {}: {error}", command["command"], command["topic"]);
    }
    answer["ok"].take()
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read_uncommitted",
            Self::ReadCommitted => "read_committed",
        }
    }
}

/// The process behind all clients.
struct Tool {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    jvm: Jvm,
}

impl Tool {
    fn start(installation: &Installation) -> Self {
        let mut jvm = Jvm::start(
            installation,
            JvmOptions {
                class: "KafkaTool",
                arguments: Vec::new(),
                heap_mib: TOOL_HEAP_MIB,
                log_level: "WARN",
                log: installation.run_dir("java-client").join("log"),
                piped: true,
            },
        );
        let (commands, answers) = jvm.pipes();
        Self {
            commands,
            answers: BufReader::new(answers),
            jvm,
        }
    }

    fn exchange(&mut self, command: &Value) -> Value {
        let mut answer = String::new();
        let sent = writeln!(self.commands, "{command}");
        let received = sent.and_then(|()| self.answers.read_line(&mut answer));
        assert!(
            received.is_ok_and(|length| length > 0),
            "the Java client ended\n{}",
            self.jvm.log_tail()
        );
        serde_json::from_str(&answer).unwrap()
    }
}

fn with_options(mut command: Value, options: ProduceOptions<'_>) -> Value {
    let mut config = object(options.config);
    if let Some(transaction) = options.transaction {
        config.insert(
            "transactional.id".to_owned(),
            Value::from(transaction.transactional_id),
        );
        command["transaction"] = Value::from(if transaction.commit {
            "commit"
        } else {
            "abort"
        });
    }
    command["config"] = Value::Object(config);
    command
}

fn describe(record: &NewRecord) -> Value {
    let hex = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(to_hex);
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(key, value)| json!([key, hex(value)]))
        .collect();
    json!({
        "partition": record.partition, "timestamp": record.timestamp_ms,
        "key": hex(&record.key), "value": hex(&record.value), "headers": headers,
    })
}

fn parse_record(value: &Value) -> JavaRecord {
    let headers = list(&value["headers"])
        .iter()
        .map(|header| (text(&header[0]), Blob::parse(&header[1])));
    JavaRecord {
        partition: int32(&value["partition"]),
        offset: value["offset"].as_i64().unwrap(),
        content: Content {
            timestamp_ms: value["timestamp"].as_i64().unwrap(),
            timestamp_type: text(&value["timestamp_type"]),
            key: Blob::parse(&value["key"]),
            value: Blob::parse(&value["value"]),
            headers: headers.collect(),
        },
    }
}

fn object(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn int32(value: &Value) -> i32 {
    i32::try_from(value.as_i64().unwrap()).unwrap()
}

fn integers(value: &Value) -> Vec<i64> {
    list(value)
        .iter()
        .map(|number| number.as_i64().unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
