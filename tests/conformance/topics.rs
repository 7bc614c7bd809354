//! Creating, growing and deleting topics.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
        create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        delete_topics::DeleteTopicState,
        metadata::MetadataRequestTopic,
    },
    wire::{Array, Uuid},
};

use super::broker::{Broker, batch, eventually};

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic<'_> {
    CreatableTopic {
        name,
        num_partitions,
        replication_factor,
        ..Default::default()
    }
}

fn assigned<'a>(name: &'a str, brokers: &[(i32, &[i32])]) -> CreatableTopic<'a> {
    let assignments = brokers
        .iter()
        .map(|(partition_index, ids)| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: ids.to_vec().into(),
        });
    CreatableTopic {
        assignments: assignments.collect(),
        ..topic(name, -1, -1)
    }
}

fn configured<'a>(name: &'a str, config: &'a str, value: Option<&'a str>) -> CreatableTopic<'a> {
    CreatableTopic {
        configs: vec![CreatableTopicConfig {
            name: config,
            value,
        }]
        .into(),
        ..topic(name, 1, 1)
    }
}

/// The id of the only broker.
async fn broker_id(broker: &mut Broker) -> i32 {
    let request = MetadataRequest {
        topics: Some(Vec::new().into()),
        ..Default::default()
    };
    broker
        .ask(&request)
        .await
        .decode()
        .brokers
        .first()
        .unwrap()
        .node_id
}

pub(super) async fn topics_that_cannot_be_are_refused(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let id = broker_id(broker).await;
    broker.create_topic("topics.exists", &[]).await;
    let too_long = "x".repeat(250);
    let longest = "x".repeat(249);
    let both = CreatableTopic {
        num_partitions: 1,
        ..assigned("topics-a", &[(0, &[id])])
    };
    let cases = [
        (topic("topics-fine", 3, 1), 0),
        (topic("topics-defaults", -1, -1), 0),
        (topic("topics.exists", 1, 1), 36),
        (topic("topics_exists", 1, 1), 17),
        (topic("", 1, 1), 17),
        (topic("..", 1, 1), 17),
        (topic("a/b", 1, 1), 17),
        (topic(&too_long, 1, 1), 17),
        (topic(&longest, 1, 1), 0),
        (topic("__cluster_metadata", 1, 1), 42),
        (topic("topics-a", 0, 1), 37),
        (topic("topics-a", -2, 1), 37),
        (topic("topics-a", 1, 0), 38),
        (topic("topics-a", 1, -2), 38),
        (topic("topics-a", 1, 2), 38),
        (topic("topics-a", 0, 0), 38),
        (assigned("topics-a", &[(0, &[id]), (1, &[id])]), 0),
        (assigned("topics-a", &[(0, &[id + 1])]), 39),
        (assigned("topics-a", &[(0, &[id, id])]), 39),
        (assigned("topics-a", &[(0, &[])]), 39),
        (assigned("topics-a", &[(1, &[id])]), 39),
        (assigned("topics-a", &[(0, &[id]), (0, &[id])]), 39),
        (both, 42),
        (configured("topics-a", "retention.ms", Some("1000")), 0),
        (configured("topics-a", "no.such.config", Some("1000")), 40),
        (configured("topics-a", "retention.ms", Some("long")), 40),
        (configured("topics-a", "retention.ms", None), 40),
        (configured("topics-a", "cleanup.policy", Some("shred")), 40),
        (configured("topics-a", "segment.bytes", Some("1000")), 40),
    ];
    for (topic, expected) in cases {
        let request = CreateTopicsRequest {
            topics: vec![topic.clone()].into(),
            validate_only: true,
            ..Default::default()
        };
        let answer = broker.ask(&request).await;
        let created = &answer.decode().topics.first().unwrap();
        assert_eq!(created.error_code.0, expected, "{topic:?}: {created:?}");
        assert_eq!(created.error_message.is_some(), expected != 0, "{topic:?}");
    }
    let request = CreateTopicsRequest {
        topics: vec![topic("topics-twice", 1, 1), topic("topics-twice", 1, 1)].into(),
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let created: Vec<_> = answer
        .decode()
        .topics
        .iter()
        .map(|it| it.error_code.0)
        .collect();
    assert_eq!(created, [42]);
}

pub(super) async fn a_new_topic_is_described_as_it_was_created(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let id = broker_id(broker).await;
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            num_partitions: 4,
            ..configured("topics-described", "retention.ms", Some("77"))
        }]
        .into(),
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let created = answer.decode().topics.first().unwrap().clone();
    assert_eq!(created.error_code, ErrorCode::NONE);
    assert_eq!((created.num_partitions, created.replication_factor), (4, 1));
    let configs = created.configs.unwrap();
    let source = |name: &str| {
        let config = configs.iter().find(|it| it.name == name).unwrap();
        (config.value, config.config_source)
    };
    assert_eq!(source("retention.ms"), (Some("77"), 1));
    assert_eq!(source("compression.type"), (Some("producer"), 5));

    broker.wait_for_topic("topics-described").await;
    let request = MetadataRequest {
        topics: Some(
            vec![MetadataRequestTopic {
                topic_id: Uuid::ZERO,
                name: Some("topics-described"),
            }]
            .into(),
        ),
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let topic = answer.decode().topics.first().unwrap().clone();
    assert_eq!(
        (topic.topic_id, topic.is_internal),
        (created.topic_id, false)
    );
    let mut indexes: Vec<i32> = topic
        .partitions
        .iter()
        .map(|it| it.partition_index)
        .collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2, 3]);
    for partition in &topic.partitions {
        assert_eq!((partition.leader_id, partition.leader_epoch), (id, 0));
        assert_eq!(
            (&partition.replica_nodes, &partition.isr_nodes),
            (&[id].into(), &[id].into())
        );
    }
}

pub(super) async fn a_deleted_topic_takes_its_id_with_it(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("topics-deleted", &[]).await;
    let state = |name, topic_id| DeleteTopicState { name, topic_id };
    let cases = [
        (vec![state(Some("topics-never"), Uuid::ZERO)], vec![3]),
        (vec![state(None, Uuid([7; 16]))], vec![100]),
        (vec![state(None, Uuid::ZERO)], vec![42]),
        (vec![state(Some(topic.name), topic.id)], vec![42]),
        (
            vec![
                state(Some(topic.name), Uuid::ZERO),
                state(Some(topic.name), Uuid::ZERO),
            ],
            vec![42],
        ),
        (vec![state(None, topic.id)], vec![0]),
    ];
    for (topics, expected) in cases {
        let request = DeleteTopicsRequest {
            topics: topics.clone().into(),
            timeout_ms: 30_000,
            ..Default::default()
        };
        let answer = broker.ask(&request).await;
        let deleted: Vec<_> = answer
            .decode()
            .responses
            .iter()
            .map(|it| it.error_code.0)
            .collect();
        assert_eq!(deleted, expected, "{topics:?}");
    }
    eventually(async || broker.fetch(&topic, 0).await.code.0 == 100).await;
    let again = broker.create_topic("topics-deleted", &[]).await;
    assert_ne!(again.id, topic.id);
    let blob = batch(kmirror_protocol::records::Compression::None, 1).to_vec();
    assert_eq!(broker.produce(&topic, &blob).await.brief(), (100, -1));
    assert_eq!(broker.produce(&again, &blob).await.brief(), (0, 0));
}

pub(super) async fn partitions_can_be_added_but_not_taken_away(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let id = broker_id(broker).await;
    broker.create_topic("topics-grown", &[]).await;
    let add = |name, count, assignments| CreatePartitionsTopic {
        name,
        count,
        assignments,
    };
    let on = |ids: &[i32]| {
        let assignments = ids.iter().map(|id| CreatePartitionsAssignment {
            broker_ids: vec![*id].into(),
        });
        Some(assignments.collect::<Array<'_, _>>())
    };
    let cases = [
        (add("topics-grown", 1, None), 37),
        (add("topics-grown", 0, None), 37),
        (add("topics-never", 2, None), 3),
        (add("topics-grown", 3, on(&[id])), 39),
        (add("topics-grown", 2, on(&[id + 1])), 39),
        (add("topics-grown", 2, on(&[id])), 0),
        (add("topics-grown", 5, None), 0),
        (add("topics-grown", 4, None), 37),
    ];
    for (topic, expected) in cases {
        let request = CreatePartitionsRequest {
            topics: vec![topic.clone()].into(),
            timeout_ms: 30_000,
            validate_only: false,
        };
        let answer = broker.ask(&request).await;
        let result = &answer.decode().results.first().unwrap();
        assert_eq!(result.error_code.0, expected, "{topic:?}: {result:?}");
    }
}
