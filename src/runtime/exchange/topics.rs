//! Metadata, DescribeConfigs, IncrementalAlterConfigs, CreateTopics, CreatePartitions: what topics
//! there are, how they are configured, and more of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kmirror_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    create_partitions::CreatePartitionsTopic,
    create_topics::{CreatableTopic, CreatableTopicConfig},
    describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult},
    incremental_alter_configs::{IncrementalAlterConfigsResource, IncrementalAlterableConfig},
};

use super::{Question, millis, refusal};
use crate::{
    cluster::Metadata,
    flow::{
        ClusterView, ConfigEntry, ConfigOrigin, Failure, NewTopic, PartitionView, PerTopicConfig,
        TopicConfig, TopicView, topic_configs::ConfigChanges,
    },
};

/// `ConfigResource.Type.TOPIC`.
const TOPIC_RESOURCE: i8 = 2;

/// What an answer says of each topic.
pub type PerTopic = Vec<(Arc<str>, Result<(), Failure>)>;

/// The topics and leaders of a cluster, as [`Metadata::merge`] has put them together.
#[must_use]
pub fn cluster_view(metadata: &Metadata) -> ClusterView {
    let topics = metadata.topics().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let view = PartitionView {
                leader: partition.leader.map(|leader| leader.node),
                leader_epoch: partition.leader_epoch.unwrap_or(-1),
                replica_count: partition.replica_count,
            };
            (partition.index, view)
        });
        let view = TopicView {
            topic_id: topic.id.unwrap_or_default(),
            partitions: partitions.collect(),
        };
        (Arc::clone(&topic.name), view)
    });
    ClusterView {
        cluster_id: metadata.cluster_id().map(ToString::to_string),
        broker_count: metadata.brokers().len(),
        topics: topics.collect(),
    }
}

/// Asks for the configuration of topics; any broker has it.
#[must_use]
pub fn describe_configs(topics: &[Arc<str>]) -> Question<DescribeConfigsRequest<'_>> {
    let resources = topics.iter().map(|topic| DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: topic,
        configuration_keys: None,
    });
    Question::from(DescribeConfigsRequest {
        resources: resources.collect(),
        ..DescribeConfigsRequest::default()
    })
}

/// The configuration of each of `topics`, or why it may not be seen; those that are gone are left
/// out, and those that the broker leaves out as well.
#[must_use]
pub fn described_configs(
    response: &DescribeConfigsResponse<'_>,
    topics: &[Arc<str>],
) -> PerTopicConfig {
    let asked: BTreeSet<Arc<str>> = topics.iter().map(Arc::clone).collect();
    let results = response.results.iter().filter_map(|result| {
        let topic = asked.get::<str>(result.resource_name)?;
        let described = refusal(result.error_code, result.error_message).map(|()| TopicConfig {
            topic: Arc::clone(topic),
            entries: result.configs.iter().map(config_entry).collect(),
        });
        Some((Arc::clone(topic), described))
    });
    let is_gone = |failure: &Failure| failure.is_missing_topic();
    results
        .filter(|(_, described)| !described.as_ref().is_err_and(is_gone))
        .collect()
}

fn config_entry(entry: DescribeConfigsResourceResult<'_>) -> ConfigEntry {
    ConfigEntry {
        name: entry.name.to_owned(),
        value: entry.value.map(String::from),
        // `DescribeConfigsResponse.ConfigSource`: 1 topic, 2 and 3 dynamic, 4 static, 5 default.
        origin: match entry.config_source {
            1 => ConfigOrigin::Topic,
            2 | 3 => ConfigOrigin::DynamicBroker,
            5 => ConfigOrigin::Default,
            _ => ConfigOrigin::StaticBroker,
        },
        is_read_only: entry.read_only,
        is_sensitive: entry.is_sensitive,
    }
}

/// Changes single properties of topics; the others stay.
#[must_use]
pub fn alter_configs(changes: &ConfigChanges) -> Question<IncrementalAlterConfigsRequest<'_>> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let resources = changes.iter().map(|(topic, changes)| {
        let configs = changes.iter().map(|change| IncrementalAlterableConfig {
            name: &change.name,
            config_operation: if change.value.is_some() { SET } else { DELETE },
            value: change.value.as_deref(),
        });
        IncrementalAlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic,
            configs: configs.collect(),
        }
    });
    Question::from(IncrementalAlterConfigsRequest {
        resources: resources.collect(),
        validate_only: false,
    })
}

/// What became of each topic; one that the answer leaves out has not been changed.
#[must_use]
pub fn altered_configs(
    response: &IncrementalAlterConfigsResponse<'_>,
    changes: &ConfigChanges,
) -> PerTopic {
    let results: BTreeMap<&str, Result<(), Failure>> = response
        .responses
        .iter()
        .map(|it| (it.resource_name, refusal(it.error_code, it.error_message)))
        .collect();
    let results = changes.iter().map(|(topic, _)| {
        let result = results.get(&**topic).cloned();
        let missing = || Err(Failure::Malformed(format!("no answer about {topic}")));
        (Arc::clone(topic), result.unwrap_or_else(missing))
    });
    results.collect()
}

/// Creates topics; the controller must be asked.
#[must_use]
pub fn create_topics(topics: &[NewTopic], timeout: Duration) -> Question<CreateTopicsRequest<'_>> {
    let wanted = topics.iter().map(|topic| CreatableTopic {
        name: &topic.name,
        num_partitions: topic.partition_count,
        replication_factor: topic.replication_factor,
        configs: topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name,
                value: Some(value),
            })
            .collect(),
        ..CreatableTopic::default()
    });
    Question::from(CreateTopicsRequest {
        topics: wanted.collect(),
        timeout_ms: millis(timeout),
        ..CreateTopicsRequest::default()
    })
}

/// What became of each of `topics`.
#[must_use]
pub fn created_topics(response: &CreateTopicsResponse<'_>, topics: &[NewTopic]) -> PerTopic {
    let results = response.topics.iter();
    let results = results.map(|topic| {
        let outcome = refusal(topic.error_code, topic.error_message);
        (topic.name, outcome)
    });
    per_topic(topics.iter().map(|topic| &topic.name), results.collect())
}

/// Raises partition counts, each to the given number; the controller must be asked.
#[must_use]
pub fn create_partitions(
    topics: &[(Arc<str>, i32)],
    timeout: Duration,
) -> Question<CreatePartitionsRequest<'_>> {
    let wanted = topics.iter().map(|(name, count)| CreatePartitionsTopic {
        name,
        count: *count,
        assignments: None,
    });
    Question::from(CreatePartitionsRequest {
        topics: wanted.collect(),
        timeout_ms: millis(timeout),
        ..CreatePartitionsRequest::default()
    })
}

/// What became of each of `topics`.
#[must_use]
pub fn created_partitions(
    response: &CreatePartitionsResponse<'_>,
    topics: &[(Arc<str>, i32)],
) -> PerTopic {
    let results = response.results.iter();
    let results = results.map(|topic| {
        let outcome = refusal(topic.error_code, topic.error_message);
        (topic.name, outcome)
    });
    per_topic(topics.iter().map(|(name, _)| name), results.collect())
}

fn per_topic<'a>(
    asked: impl Iterator<Item = &'a Arc<str>>,
    mut results: BTreeMap<&str, Result<(), Failure>>,
) -> PerTopic {
    let left_out = || {
        let words = "the broker left the topic out of its answer";
        Err(Failure::Malformed(String::from(words)))
    };
    let each = asked.map(|name| {
        let result = results.remove(&**name);
        (Arc::clone(name), result.unwrap_or_else(left_out))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::ErrorCode;
    use kmirror_protocol::{
        messages::{
            MetadataResponse,
            describe_configs::DescribeConfigsResult,
            metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        },
        wire::{Array, Uuid},
    };

    use super::*;
    use crate::cluster::Scope;

    #[test]
    fn a_view_tells_ids_leaders_and_replicas() {
        let partition = |partition_index, leader_id, replicas: &[i32]| MetadataResponsePartition {
            partition_index,
            leader_id,
            leader_epoch: 4,
            replica_nodes: replicas.to_vec().into(),
            ..MetadataResponsePartition::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("t"),
            topic_id: Uuid([3; 16]),
            partitions: vec![partition(0, 1, &[1, 2, 3]), partition(1, -1, &[2])].into(),
            ..MetadataResponseTopic::default()
        };
        let response = MetadataResponse {
            brokers: Array::from([MetadataResponseBroker {
                node_id: 1,
                host: "b1",
                port: 9092,
                rack: None,
            }]),
            cluster_id: Some("c"),
            topics: vec![topic].into(),
            ..MetadataResponse::default()
        };
        let mut metadata = Metadata::default();
        metadata.merge(&response, Scope::All).unwrap();
        let view = cluster_view(&metadata);
        assert_eq!(view.cluster_id.as_deref(), Some("c"));
        assert_eq!(view.broker_count, 1);
        let topic = &view.topics["t"];
        assert_eq!(topic.topic_id, Uuid([3; 16]));
        let partitions = topic.partitions.views();
        let found = partitions.map(|it| (it.leader, it.leader_epoch, it.replica_count));
        assert!(found.eq([(Some(1), 4, 3), (None, 4, 1)]));
    }

    #[test]
    fn of_topics_described_together_only_the_secret_one_is_refused() {
        let describe = |resource_name, error_code| DescribeConfigsResult {
            error_code,
            resource_type: TOPIC_RESOURCE,
            resource_name,
            ..DescribeConfigsResult::default()
        };
        let response = DescribeConfigsResponse {
            results: vec![
                describe("a", ErrorCode::NONE),
                describe("secret", ErrorCode::TOPIC_AUTHORIZATION_FAILED),
                describe("gone", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                describe("unasked", ErrorCode::NONE),
                describe("b", ErrorCode::NONE),
            ]
            .into(),
            ..DescribeConfigsResponse::default()
        };
        let asked = ["a", "b", "gone", "secret", "silent"].map(Arc::from);
        let described = described_configs(&response, &asked);
        let found = described.iter();
        let found: Vec<_> = found.map(|(name, it)| (&**name, it.is_ok())).collect();
        assert_eq!(found, [("a", true), ("secret", false), ("b", true)]);
    }

    #[test]
    fn topics_left_out_of_an_answer_are_not_taken_for_created() {
        let wanted = [(Arc::from("a"), 3), (Arc::from("b"), 3)];
        let outcome = created_partitions(&CreatePartitionsResponse::default(), &wanted);
        assert_eq!(outcome.len(), 2);
        for (topic, result) in outcome {
            assert!(matches!(result, Err(Failure::Malformed(_))), "{topic}");
        }
    }
}
