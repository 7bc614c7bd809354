//! Configs of topics.

use kmirror_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    describe_configs::DescribeConfigsResource,
    incremental_alter_configs::{IncrementalAlterConfigsResource, IncrementalAlterableConfig},
};

use super::broker::{Broker, eventually};

/// The resource type of topics.
const TOPIC: i8 = 2;

/// Every config of a topic.
const NAMES: [&str; 33] = [
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Name, value, source and the sources of the synonyms.
type Config = (String, Option<String>, i8, Vec<i8>);

/// Error code and configs of a topic, sorted by name.
async fn describe(
    broker: &mut Broker,
    resource_type: i8,
    name: &str,
    keys: Option<Vec<&str>>,
) -> (i16, Vec<Config>) {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name,
            configuration_keys: keys.map(Into::into),
        }]
        .into(),
        include_synonyms: true,
        include_documentation: false,
    };
    let answer = broker.ask(&request).await;
    let result = &answer.decode().results.first().unwrap();
    let configs = result.configs.iter().map(|it| {
        let synonyms = it.synonyms.iter().map(|synonym| synonym.source).collect();
        (
            it.name.to_owned(),
            it.value.map(str::to_owned),
            it.config_source,
            synonyms,
        )
    });
    let mut configs: Vec<Config> = configs.collect();
    configs.sort();
    (result.error_code.0, configs)
}

pub(super) async fn configs_tell_where_they_come_from(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let set = [
        ("delete.retention.ms", "77"),
        ("cleanup.policy", "compact,delete"),
    ];
    let topic = broker.create_topic("configs-source", &set).await;
    let keys = [
        "delete.retention.ms",
        "cleanup.policy",
        "max.message.bytes",
        "no.such.config",
    ];
    let (code, configs) = describe(broker, TOPIC, topic.name, Some(keys.to_vec())).await;
    let config = |name: &str, value: &str, source, synonyms: &[i8]| {
        (
            name.to_owned(),
            Some(value.to_owned()),
            source,
            synonyms.to_vec(),
        )
    };
    let expected = [
        config("cleanup.policy", "compact,delete", 1, &[1, 5]),
        config("delete.retention.ms", "77", 1, &[1, 5]),
        config("max.message.bytes", "1048588", 5, &[5]),
    ];
    assert_eq!((code, configs.as_slice()), (0, expected.as_slice()));

    let (_, all) = describe(broker, TOPIC, topic.name, None).await;
    let names: Vec<&str> = all.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(names, NAMES);
    // Without those that the broker of the tests is configured with.
    let defaults = [
        ("compression.type", "producer"),
        ("compression.gzip.level", "-1"),
        ("compression.lz4.level", "9"),
        ("compression.zstd.level", "3"),
        ("file.delete.delay.ms", "60000"),
        ("flush.messages", "9223372036854775807"),
        ("flush.ms", "9223372036854775807"),
        ("follower.replication.throttled.replicas", ""),
        ("index.interval.bytes", "4096"),
        ("local.retention.bytes", "-2"),
        ("max.compaction.lag.ms", "9223372036854775807"),
        ("min.compaction.lag.ms", "0"),
        ("preallocate", "false"),
        ("segment.bytes", "1073741824"),
        ("segment.index.bytes", "10485760"),
        ("segment.jitter.ms", "0"),
        ("unclean.leader.election.enable", "false"),
        ("local.retention.ms", "-2"),
        ("message.timestamp.type", "CreateTime"),
        ("min.cleanable.dirty.ratio", "0.5"),
        ("remote.storage.enable", "false"),
        ("retention.bytes", "-1"),
    ];
    for (name, value) in defaults {
        let found = all.iter().find(|it| it.0 == name);
        let found = found.map(|it| (it.1.as_deref(), it.2));
        assert_eq!(found, Some((Some(value), 5)), "{name}");
    }
    for (resource_type, name, expected) in [
        (TOPIC, "configs-never", 3),
        (TOPIC, "a/b", 17),
        (4, "99", 42),
    ] {
        let (code, configs) = describe(broker, resource_type, name, None).await;
        assert_eq!((code, configs), (expected, Vec::new()), "{name}");
    }
}

pub(super) async fn configs_change_one_by_one(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let set = [("retention.ms", "1000")];
    let topic = broker.create_topic("configs-change", &set).await.name;
    let never = "configs-never";
    // Topic, operation, config, value; error code; what the topic has set then.
    let steps = [
        (topic, "set retention.ms 2000", 0, "retention.ms=2000"),
        (
            topic,
            "append cleanup.policy compact",
            0,
            "cleanup.policy=delete,compact retention.ms=2000",
        ),
        (
            topic,
            "subtract cleanup.policy delete",
            0,
            "cleanup.policy=compact retention.ms=2000",
        ),
        (topic, "delete retention.ms", 0, "cleanup.policy=compact"),
        (topic, "delete retention.ms", 0, "cleanup.policy=compact"),
        (topic, "set retention.ms", 42, "cleanup.policy=compact"),
        (
            topic,
            "set retention.ms 1 set retention.ms 1",
            42,
            "cleanup.policy=compact",
        ),
        (topic, "set retention.ms x", 40, "cleanup.policy=compact"),
        (topic, "append retention.ms 1", 40, "cleanup.policy=compact"),
        (topic, "set no.such.config 1", 40, "cleanup.policy=compact"),
        (
            topic,
            "set max.message.bytes -1",
            40,
            "cleanup.policy=compact",
        ),
        (never, "set retention.ms 1", 3, ""),
        (never, "set retention.ms x", 40, ""),
    ];
    for (topic, change, expected, then) in steps {
        assert_eq!(alter(broker, topic, change).await, expected, "{change}");
        if expected == 0 {
            eventually(async || set_configs(broker, topic).await == then).await;
        }
        assert_eq!(set_configs(broker, topic).await, then, "{change}");
    }
}

/// Changes configs of a topic, each given as operation, name and value; answers the error code.
async fn alter(broker: &mut Broker, topic: &str, changes: &str) -> i16 {
    let operations = ["set", "delete", "append", "subtract"];
    let words: Vec<&str> = changes.split(' ').collect();
    let configs = words.chunks(3).map(|words| {
        let mut operations = (0..).zip(operations);
        IncrementalAlterableConfig {
            name: words[1],
            config_operation: operations.find(|it| it.1 == words[0]).unwrap().0,
            value: words.get(2).copied(),
        }
    });
    let request = IncrementalAlterConfigsRequest {
        resources: vec![IncrementalAlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic,
            configs: configs.collect(),
        }]
        .into(),
        validate_only: false,
    };
    let answer = broker.ask(&request).await;
    answer.decode().responses.first().unwrap().error_code.0
}

/// What is set on a topic itself, as one line.
async fn set_configs(broker: &mut Broker, topic: &str) -> String {
    let (_, configs) = describe(broker, TOPIC, topic, None).await;
    let set = configs.iter().filter(|it| it.2 == 1);
    let set = set.map(|it| format!("{}={}", it.0, it.1.as_deref().unwrap_or("null")));
    set.collect::<Vec<_>>().join(" ")
}
