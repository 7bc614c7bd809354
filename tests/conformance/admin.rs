//! What a broker offers and what administrators ask: versions, pages of topics, configs, sizes,
//! quotas, SCRAM users.

use kmirror_protocol::{
    ApiKey,
    messages::{
        AlterClientQuotasRequest, AlterConfigsRequest, AlterUserScramCredentialsRequest,
        ApiVersionsRequest, CreateTopicsRequest, DescribeClientQuotasRequest,
        DescribeConfigsRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
        DescribeUserScramCredentialsRequest, ListConfigResourcesRequest,
        alter_client_quotas::{EntityData, EntryData, OpData},
        alter_configs::{AlterConfigsResource, AlterableConfig},
        alter_user_scram_credentials::{ScramCredentialDeletion, ScramCredentialUpsertion},
        create_topics::CreatableTopic,
        describe_client_quotas::ComponentData,
        describe_configs::DescribeConfigsResource,
        describe_log_dirs::DescribableLogDirTopic,
        describe_topic_partitions::{Cursor, TopicRequest},
        describe_user_scram_credentials::UserName,
    },
    records::Compression,
    wire::Secret,
};

use super::broker::{Broker, batch, eventually};

/// A config and its value.
type Setting<'a> = (&'a str, Option<&'a str>);

/// An entity's type, how it must match, and what.
type Component<'a> = (&'a str, i8, Option<&'a str>);

/// What kmirror and its users need, and the versions of it that Kafka 4.3 must offer.
const NEEDED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 0, 13),
    (ApiKey::Fetch, 4, 17),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 1, 13),
    (ApiKey::SaslHandshake, 0, 1),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeAcls, 1, 3),
    (ApiKey::CreateAcls, 1, 3),
    (ApiKey::DeleteAcls, 1, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::DescribeLogDirs, 1, 4),
    (ApiKey::SaslAuthenticate, 0, 2),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::DescribeClientQuotas, 0, 1),
    (ApiKey::AlterClientQuotas, 0, 1),
    (ApiKey::DescribeUserScramCredentials, 0, 0),
    (ApiKey::AlterUserScramCredentials, 0, 0),
    (ApiKey::DescribeCluster, 0, 2),
    (ApiKey::DescribeProducers, 0, 0),
    (ApiKey::ListConfigResources, 0, 1),
    (ApiKey::DescribeTopicPartitions, 0, 0),
];

pub(super) async fn versions_and_features_are_those_of_kafka_4_3(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let request = ApiVersionsRequest {
        client_software_name: "kmirror",
        client_software_version: "1",
    };
    // From which version on a feature is told whose lowest level is 0.
    for (version, tells_all) in [(3, false), (4, true)] {
        let answer = broker.ask_in(version, &request).await;
        let answer = answer.decode();
        for (key, first, last) in NEEDED {
            let offered = answer.api_keys.iter().find(|it| it.api_key == key.number());
            let offered = offered.map(|it| (it.min_version <= *first, it.max_version >= *last));
            assert_eq!(offered, Some((true, true)), "{key}");
        }
        let supported = answer.supported_features.iter();
        let supported: Vec<_> = supported
            .map(|it| (it.name, it.min_version, it.max_version))
            .collect();
        assert!(
            supported.contains(&("metadata.version", 7, 30)),
            "{supported:?}"
        );
        let transactions = ("transaction.version", 0, 2);
        assert_eq!(
            supported.contains(&transactions),
            tells_all,
            "{supported:?}"
        );
        let finalized = answer.finalized_features.iter();
        let finalized: Vec<_> = finalized
            .map(|it| (it.name, it.min_version_level, it.max_version_level))
            .collect();
        assert!(
            finalized.contains(&("metadata.version", 30, 30)),
            "{finalized:?}"
        );
        assert!(
            finalized.contains(&("transaction.version", 2, 2)),
            "{finalized:?}"
        );
        assert!(answer.finalized_features_epoch >= 0);
    }
}

/// Creates a topic of several partitions and waits until the broker leads them.
async fn create_wide(broker: &mut Broker, name: &'static str, count: i32) {
    let request = CreateTopicsRequest {
        topics: [CreatableTopic {
            name,
            num_partitions: count,
            replication_factor: 1,
            ..Default::default()
        }]
        .into(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    assert_eq!(answer.decode().topics.first().unwrap().error_code.0, 0);
    broker.wait_for_topic(name).await;
}

/// Error code, name and partitions of each topic, and where the next page begins.
type Page = (Vec<(i16, String, Vec<i32>)>, Option<(String, i32)>);

async fn page(broker: &mut Broker, names: &[&str], limit: i32, from: Option<(&str, i32)>) -> Page {
    let request = DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| TopicRequest { name }).collect(),
        response_partition_limit: limit,
        cursor: from.map(|(topic_name, partition_index)| Cursor {
            topic_name,
            partition_index,
        }),
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let topics = answer.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|it| it.partition_index);
        let mut partitions: Vec<i32> = partitions.collect();
        partitions.sort_unstable();
        let name = topic.name.unwrap_or_default().to_owned();
        (topic.error_code.0, name, partitions)
    });
    let next = answer.next_cursor.as_ref();
    let next = next.map(|it| (it.topic_name.to_owned(), it.partition_index));
    (topics.collect(), next)
}

pub(super) async fn topics_are_described_page_by_page(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let (first, second) = ("admin-pages-1", "admin-pages-2");
    create_wide(broker, first, 5).await;
    create_wide(broker, second, 2).await;
    let both = [second, first];
    let of = |code, name: &str, partitions: &[i32]| (code, name.to_owned(), partitions.to_vec());
    let at = |name: &str, index| Some((name.to_owned(), index));
    let cases = [
        (
            100,
            None,
            vec![of(0, first, &[0, 1, 2, 3, 4]), of(0, second, &[0, 1])],
            None,
        ),
        (3, None, vec![of(0, first, &[0, 1, 2])], at(first, 3)),
        (
            3,
            Some((first, 3)),
            vec![of(0, first, &[3, 4]), of(0, second, &[0])],
            at(second, 1),
        ),
        (5, None, vec![of(0, first, &[0, 1, 2, 3, 4])], at(second, 0)),
        (3, Some((second, 1)), vec![of(0, second, &[1])], None),
        (
            0,
            Some((second, 0)),
            vec![of(0, second, &[0])],
            at(second, 1),
        ),
        (9, Some((second, 7)), vec![of(0, second, &[])], None),
    ];
    for (limit, from, topics, next) in cases {
        let found = page(broker, &both, limit, from).await;
        assert_eq!(found, (topics, next), "{limit} from {from:?}");
    }
    let unknown = page(broker, &["admin-pages-none", "a/b"], 9, None).await;
    let expected = vec![of(17, "a/b", &[]), of(3, "admin-pages-none", &[])];
    assert_eq!(unknown, (expected, None));
    // All topics, of which there are those of other probes as well.
    let (all, _) = page(broker, &[], 2_000, None).await;
    assert!(all.contains(&of(0, second, &[0, 1])));
}

pub(super) async fn resources_with_configs_are_listed_by_type(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("admin-resources", &[]).await.name;
    // Types asked for; whether the topic, the broker and its logger are listed.
    let cases: [(&[i8], [bool; 3]); 4] = [
        (&[], [true, true, true]),
        (&[2], [true, false, false]),
        (&[4], [false, true, false]),
        (&[8, 2], [true, false, true]),
    ];
    for (types, expected) in cases {
        let request = ListConfigResourcesRequest {
            resource_types: types.iter().copied().collect(),
        };
        let answer = broker.ask(&request).await;
        let answer = answer.decode();
        assert_eq!(answer.error_code.0, 0, "{types:?}");
        let found = [(topic, 2), ("1", 4), ("1", 8)].map(|(name, kind)| {
            let mut all = answer.config_resources.iter();
            all.any(|it| (it.resource_name, it.resource_type) == (name, kind))
        });
        assert_eq!(found, expected, "{types:?}");
    }
    let unknown = ListConfigResourcesRequest {
        resource_types: [64].into_iter().collect(),
    };
    assert_eq!(broker.ask(&unknown).await.decode().error_code.0, 35);
    let metrics_only = broker
        .ask_in(0, &ListConfigResourcesRequest::default())
        .await;
    assert_eq!(metrics_only.decode().config_resources.len(), 0);
}

/// What is set on a topic itself, as one line.
async fn set_configs(broker: &mut Broker, topic: &str) -> String {
    let request = DescribeConfigsRequest {
        resources: [DescribeConfigsResource {
            resource_type: 2,
            resource_name: topic,
            configuration_keys: None,
        }]
        .into(),
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let configs = answer.results.iter().flat_map(|it| it.configs);
    let set = configs.filter(|it| it.config_source == 1);
    let mut set: Vec<String> = set
        .map(|it| format!("{}={}", it.name, it.value.unwrap_or("null")))
        .collect();
    set.sort();
    set.join(" ")
}

pub(super) async fn configs_can_be_replaced_as_a_whole(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let set = [("retention.ms", "1000"), ("segment.ms", "2000")];
    let topic = broker.create_topic("admin-replace", &set).await.name;
    let both = "retention.ms=1000 segment.ms=2000";
    // Topic, configs, error code, what is set then.
    let cases: [(&str, &[Setting<'_>], i16, &str); 6] = [
        (topic, &[("retention.ms", Some("x"))], 40, both),
        (topic, &[("no.such.config", Some("1"))], 40, both),
        (topic, &[("retention.ms", None)], 42, both),
        (topic, &[("segment.ms", Some("3000"))], 0, "segment.ms=3000"),
        (topic, &[], 0, ""),
        ("admin-never", &[("segment.ms", Some("1"))], 3, ""),
    ];
    for (name, configs, expected, then) in cases {
        let configs = configs.iter();
        let request = AlterConfigsRequest {
            resources: [AlterConfigsResource {
                resource_type: 2,
                resource_name: name,
                configs: configs
                    .map(|(name, value)| AlterableConfig {
                        name,
                        value: *value,
                    })
                    .collect(),
            }]
            .into(),
            validate_only: false,
        };
        let answer = broker.ask(&request).await;
        assert_eq!(
            answer.decode().responses.first().unwrap().error_code.0,
            expected,
            "{then}"
        );
        eventually(async || set_configs(broker, name).await == then).await;
    }
}

pub(super) async fn log_dirs_tell_how_much_partitions_hold(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("admin-sizes", &[]).await;
    let made = batch(Compression::None, 3).to_vec();
    for count in 0..3 {
        let ask_for = |partitions: Vec<i32>| DescribeLogDirsRequest {
            topics: Some(
                [DescribableLogDirTopic {
                    topic: topic.name,
                    partitions: partitions.into(),
                }]
                .into(),
            ),
        };
        for version in 1..=4 {
            let answer = broker.ask_in(version, &ask_for(vec![0, 7])).await;
            let answer = answer.decode();
            assert_eq!(answer.error_code.0, 0);
            let dirs = answer.results.iter().flat_map(|it| it.topics);
            let sizes = dirs.flat_map(|topic| {
                let partitions = topic.partitions.into_iter();
                partitions.map(move |it| {
                    (
                        topic.name,
                        it.partition_index,
                        it.partition_size,
                        it.offset_lag,
                    )
                })
            });
            let size = i64::try_from(made.len() * count).unwrap();
            let sizes: Vec<_> = sizes.collect();
            assert_eq!(sizes, [(topic.name, 0, size, 0)], "version {version}");
        }
        assert_eq!(broker.produce(&topic, &made).await.code.0, 0);
    }
    let none = DescribeLogDirsRequest {
        topics: Some([].into()),
    };
    let answer = broker.ask(&none).await;
    assert_eq!(answer.decode().results.first().unwrap().topics.len(), 0);
}

/// Changes quotas of a user: key, and a value or none to remove it. Answers the error code.
async fn alter_quotas(
    broker: &mut Broker,
    entity: &[(&str, Option<&str>)],
    ops: &[(&str, Option<f64>)],
) -> i16 {
    let entity = entity.iter().map(|(entity_type, entity_name)| EntityData {
        entity_type,
        entity_name: *entity_name,
    });
    let ops = ops.iter().map(|(key, value)| OpData {
        key,
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    });
    let request = AlterClientQuotasRequest {
        entries: [EntryData {
            entity: entity.collect(),
            ops: ops.collect(),
        }]
        .into(),
        validate_only: false,
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    assert_eq!(answer.entries.len(), 1);
    answer.entries.first().unwrap().error_code.0
}

/// Error code, and entities with their quotas, as one line each.
async fn quotas(
    broker: &mut Broker,
    filter: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> (i16, Vec<String>) {
    let components = filter
        .iter()
        .map(|(entity_type, match_type, r#match)| ComponentData {
            entity_type,
            match_type: *match_type,
            r#match: *r#match,
        });
    let request = DescribeClientQuotasRequest {
        components: components.collect(),
        strict,
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let entries = answer.entries.iter().flat_map(|it| it.iter()).map(|entry| {
        let parts = entry.entity.iter();
        let mut parts: Vec<String> = parts
            .map(|it| {
                format!(
                    "{}={}",
                    it.entity_type,
                    it.entity_name.unwrap_or("<default>")
                )
            })
            .collect();
        parts.sort();
        let values = entry.values.iter();
        let mut values: Vec<String> = values
            .map(|it| format!("{}={}", it.key, it.value))
            .collect();
        values.sort();
        format!("{}: {}", parts.join(" "), values.join(" "))
    });
    let mut entries: Vec<String> = entries.collect();
    entries.sort();
    (answer.error_code.0, entries)
}

pub(super) async fn quotas_are_set_described_and_removed(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let user = ("user", Some("admin-quota"));
    let client = ("client-id", Some("admin-app"));
    let rate = ("producer_byte_rate", Some(1e9));
    let share = ("request_percentage", Some(12.5));
    assert_eq!(alter_quotas(broker, &[user], &[rate, share]).await, 0);
    assert_eq!(alter_quotas(broker, &[user, client], &[rate]).await, 0);
    let of_user = "user=admin-quota: producer_byte_rate=1000000000 request_percentage=12.5";
    let of_both = "client-id=admin-app user=admin-quota: producer_byte_rate=1000000000";
    let is_user = ("user", 0, Some("admin-quota"));
    let is_client = ("client-id", 0, Some("admin-app"));
    eventually(async || quotas(broker, &[is_user], false).await.1.len() == 2).await;
    let cases: [(&[Component<'_>], bool, &[&str]); 5] = [
        (&[is_user], false, &[of_both, of_user]),
        (&[is_user], true, &[of_user]),
        (&[is_user, ("client-id", 2, None)], true, &[of_both]),
        (&[is_client], false, &[of_both]),
        (&[is_client, ("user", 1, None)], false, &[]),
    ];
    for (filter, strict, expected) in cases {
        let (code, found) = quotas(broker, filter, strict).await;
        assert_eq!(
            (code, found.as_slice()),
            (0, expected.map_strings().as_slice()),
            "{filter:?}"
        );
    }
    let gone = ("producer_byte_rate", None);
    assert_eq!(alter_quotas(broker, &[user], &[gone]).await, 0);
    assert_eq!(alter_quotas(broker, &[user, client], &[gone]).await, 0);
    // What is not there can be removed.
    assert_eq!(alter_quotas(broker, &[user, client], &[gone]).await, 0);
    let left = ["user=admin-quota: request_percentage=12.5".to_owned()];
    eventually(async || quotas(broker, &[is_user], false).await.1 == left).await;
}

/// Words that can be compared with what a broker says.
trait MapStrings {
    fn map_strings(&self) -> Vec<String>;
}

impl MapStrings for &[&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|it| (*it).to_owned()).collect()
    }
}

pub(super) async fn quotas_that_cannot_be_are_refused(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let user = ("user", Some("admin-refused"));
    let ip = ("ip", Some("127.0.0.1"));
    let rate = ("producer_byte_rate", Some(1.0));
    type Case<'a> = (
        &'a [(&'a str, Option<&'a str>)],
        &'a [(&'a str, Option<f64>)],
    );
    let cases: [Case<'_>; 9] = [
        (&[user], &[("no_such_rate", Some(1.0))]),
        (&[user], &[("producer_byte_rate", Some(0.0))]),
        (&[user], &[("producer_byte_rate", Some(-1.0))]),
        (&[user], &[("producer_byte_rate", Some(1.5))]),
        (&[user], &[("connection_creation_rate", Some(1.0))]),
        (&[ip], &[rate]),
        (&[user, ip], &[rate]),
        (&[("host", Some("h"))], &[rate]),
        (&[], &[rate]),
    ];
    for (entity, ops) in cases {
        assert_eq!(
            alter_quotas(broker, entity, ops).await,
            42,
            "{entity:?} {ops:?}"
        );
    }
    let filters: [(&[Component<'_>], i16); 6] = [
        (&[("", 2, None)], 42),
        (&[("host", 2, None)], 35),
        (&[("user", 0, None)], 42),
        (&[("user", 1, Some("u"))], 42),
        (&[("user", 3, None)], 42),
        (&[("user", 2, None), ("ip", 2, None)], 42),
    ];
    for (filter, expected) in filters {
        assert_eq!(
            quotas(broker, filter, false).await.0,
            expected,
            "{filter:?}"
        );
    }
    let found = quotas(broker, &[("user", 0, Some("admin-refused"))], false).await;
    assert_eq!(found, (0, vec![]));
}

/// A change of a user's SCRAM credential: mechanism, and iterations or none to delete it.
type Credential<'a> = (&'a str, i8, Option<i32>);

/// Error code of each user, by name.
async fn alter_scram(broker: &mut Broker, changes: &[Credential<'_>]) -> Vec<(String, i16)> {
    let deletions = changes.iter().filter(|it| it.2.is_none());
    let upsertions = changes.iter().filter(|it| it.2.is_some());
    let request = AlterUserScramCredentialsRequest {
        deletions: deletions
            .map(|(name, mechanism, _)| ScramCredentialDeletion {
                name,
                mechanism: *mechanism,
            })
            .collect(),
        upsertions: upsertions
            .map(|(name, mechanism, iterations)| ScramCredentialUpsertion {
                name,
                mechanism: *mechanism,
                iterations: iterations.unwrap(),
                salt: Secret(&[1; 16]),
                salted_password: Secret(&[2; 32]),
            })
            .collect(),
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let results = answer.results.iter();
    let mut codes: Vec<_> = results
        .map(|it| (it.user.to_owned(), it.error_code.0))
        .collect();
    codes.sort();
    codes
}

/// Error code and credentials of each user that is asked for.
async fn scram(broker: &mut Broker, users: &[&str]) -> Vec<(i16, Vec<(i8, i32)>)> {
    let request = DescribeUserScramCredentialsRequest {
        users: Some(users.iter().map(|name| UserName { name }).collect()),
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    assert_eq!(answer.error_code.0, 0);
    let mut results: Vec<_> = answer.results.iter().collect();
    results.sort_by_key(|it| it.user.to_owned());
    let results = results.iter().map(|it| {
        let infos = it.credential_infos.iter();
        let mut infos: Vec<_> = infos.map(|it| (it.mechanism, it.iterations)).collect();
        infos.sort_unstable();
        (it.error_code.0, infos)
    });
    results.collect()
}

pub(super) async fn scram_users_are_told_without_their_secrets(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let (alice, bob) = ("admin-alice", "admin-bob");
    let cases: [(&[Credential<'_>], i16); 8] = [
        (&[(alice, 1, Some(4_095))], 93),
        (&[(alice, 1, Some(16_385))], 93),
        (&[(alice, 0, Some(8_192))], 33),
        (&[(alice, 3, Some(8_192))], 33),
        (&[("", 1, Some(8_192))], 93),
        (&[(alice, 1, None)], 91),
        (&[(alice, 1, Some(8_192)), (alice, 2, Some(8_192))], 92),
        (&[(alice, 1, Some(8_192))], 0),
    ];
    for (changes, expected) in cases {
        let codes = alter_scram(broker, changes).await;
        let user = changes[0].0.to_owned();
        assert_eq!(codes, [(user, expected)], "{changes:?}");
    }
    assert_eq!(
        alter_scram(broker, &[(alice, 2, Some(4_096))]).await[0].1,
        0
    );
    let both = [(0, vec![(1, 8_192), (2, 4_096)])];
    eventually(async || scram(broker, &[alice]).await == both).await;
    assert_eq!(scram(broker, &[bob]).await, [(91, vec![])]);
    assert_eq!(scram(broker, &[alice, alice]).await, [(92, vec![])]);
    let mixed = alter_scram(broker, &[(alice, 1, None), (bob, 1, None)]).await;
    assert_eq!(mixed, [(alice.to_owned(), 0), (bob.to_owned(), 91)]);
    eventually(async || scram(broker, &[alice]).await == [(0, vec![(2, 4_096)])]).await;
}
