//! Questions to a cluster that have one answer: topics, configurations, offsets, producer ids.
//!
//! Each function makes its request once. What a failure means is the flow's business.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DescribeConfigsRequest, InitProducerIdRequest,
    ListOffsetsRequest,
    create_partitions::CreatePartitionsTopic,
    create_topics::{CreatableTopic, CreatableTopicConfig},
    describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult},
    list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
};

use super::{
    convert::{failure, refusal},
    lane::Name,
};
use crate::{
    cluster::{Cluster, RequestError, To},
    flow::{
        ConfigEntry, ConfigOrigin, Failure, LogRange, NewTopic, PartitionId, PerPartition,
        TopicConfig,
    },
};

/// `ConfigResource.Type.TOPIC`.
const TOPIC_RESOURCE: i8 = 2;

/// ListOffsets' timestamp that stands for the oldest offset.
const EARLIEST: i64 = -2;
/// ListOffsets' timestamp that stands for the next offset.
const LATEST: i64 = -1;

type PerTopic = Vec<(Arc<str>, Result<(), Failure>)>;

/// The configuration of topics; those that are gone are left out.
///
/// # Errors
///
/// [`Failure`] of the whole request, or of the first topic that may not be described.
pub async fn topic_configs(
    cluster: &Cluster,
    topics: Vec<Arc<str>>,
) -> Result<Vec<TopicConfig>, Failure> {
    let resources = topics.iter().map(|topic| DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: topic,
        configuration_keys: None,
    });
    let request = DescribeConfigsRequest {
        resources: resources.collect(),
        ..DescribeConfigsRequest::default()
    };
    let answer = cluster
        .request(To::Any, &request)
        .await
        .map_err(|err| failure(&err))?;
    let response = answer.decode().map_err(|err| failure(&err))?;
    let mut configs = Vec::with_capacity(response.results.len());
    for result in &response.results {
        let Some(topic) = topics
            .iter()
            .find(|topic| &***topic == result.resource_name)
        else {
            continue;
        };
        match refusal(result.error_code, result.error_message) {
            Ok(()) => configs.push(TopicConfig {
                topic: Arc::clone(topic),
                entries: result.configs.iter().map(config_entry).collect(),
            }),
            Err(failure) if failure.is_missing_topic() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(configs)
}

fn config_entry(entry: DescribeConfigsResourceResult<'_>) -> ConfigEntry {
    ConfigEntry {
        name: entry.name.to_owned(),
        value: entry.value.map(String::from),
        // `DescribeConfigsResponse.ConfigSource`: 1 topic, 2 and 3 dynamic, 4 static, 5 default.
        origin: match entry.config_source {
            1..=3 => ConfigOrigin::Set,
            5 => ConfigOrigin::Default,
            _ => ConfigOrigin::StaticBroker,
        },
        is_read_only: entry.read_only,
        is_sensitive: entry.is_sensitive,
    }
}

/// Creates topics; each gets its own outcome.
pub async fn create_topics(cluster: &Cluster, topics: &[NewTopic], timeout: Duration) -> PerTopic {
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
    let request = CreateTopicsRequest {
        topics: wanted.collect(),
        timeout_ms: millis(timeout),
        ..CreateTopicsRequest::default()
    };
    let names = topics.iter().map(|topic| &topic.name);
    let outcome = async {
        let answer = cluster.request(To::Controller, &request).await?;
        let response = answer.decode()?;
        let results = response.topics.iter().map(|topic| {
            (
                topic.name.to_owned(),
                refusal(topic.error_code, topic.error_message),
            )
        });
        Ok(results.collect())
    };
    per_topic(names, outcome.await)
}

/// Raises partition counts; each topic gets its own outcome.
pub async fn add_partitions(
    cluster: &Cluster,
    topics: &[(Arc<str>, i32)],
    timeout: Duration,
) -> PerTopic {
    let wanted = topics.iter().map(|(name, count)| CreatePartitionsTopic {
        name,
        count: *count,
        assignments: None,
    });
    let request = CreatePartitionsRequest {
        topics: wanted.collect(),
        timeout_ms: millis(timeout),
        ..CreatePartitionsRequest::default()
    };
    let names = topics.iter().map(|(name, _)| name);
    let outcome = async {
        let answer = cluster.request(To::Controller, &request).await?;
        let response = answer.decode()?;
        let results = response.results.iter().map(|topic| {
            (
                topic.name.to_owned(),
                refusal(topic.error_code, topic.error_message),
            )
        });
        Ok(results.collect())
    };
    per_topic(names, outcome.await)
}

/// What each topic was answered; one failure for all when there is no answer.
fn per_topic<'a>(
    names: impl Iterator<Item = &'a Arc<str>>,
    outcome: Result<BTreeMap<String, Result<(), Failure>>, RequestError>,
) -> PerTopic {
    let results = outcome.map_err(|err| failure(&err));
    let of = |name: &Arc<str>| match &results {
        Ok(results) => results.get(&**name).cloned().unwrap_or_else(|| {
            Err(Failure::Malformed(String::from(
                "the broker left the topic out of its answer",
            )))
        }),
        Err(failure) => Err(failure.clone()),
    };
    names.map(|name| (Arc::clone(name), of(name))).collect()
}

/// A new producer id and its epoch, not tied to a transactional id.
///
/// # Errors
///
/// [`Failure`]; a broker in its first seconds answers `COORDINATOR_LOAD_IN_PROGRESS`.
pub async fn producer_id(cluster: &Cluster) -> Result<(i64, i16), Failure> {
    let request = InitProducerIdRequest {
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let answer = cluster
        .request(To::Any, &request)
        .await
        .map_err(|err| failure(&err))?;
    let response = answer.decode().map_err(|err| failure(&err))?;
    refusal(response.error_code, None)?;
    Ok((response.producer_id, response.producer_epoch))
}

/// Where the logs of partitions start and end, as their leader `node` tells.
///
/// The end is the high watermark, whatever transactions are open below it.
pub(super) async fn log_ranges(
    cluster: &Cluster,
    node: i32,
    names: &[(PartitionId, Name)],
) -> PerPartition<LogRange> {
    // A request names each partition once, so each end of the logs needs its own.
    let starts = list_offsets(cluster, node, names, EARLIEST).await?;
    let ends = list_offsets(cluster, node, names, LATEST).await?;
    let ranges = names.iter().filter_map(|(id, _)| {
        let range = match (starts.get(id)?.clone(), ends.get(id)?.clone()) {
            (Ok(start_offset), Ok(end_offset)) => Ok(LogRange {
                start_offset,
                end_offset,
            }),
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        };
        Some((*id, range))
    });
    Ok(ranges.collect())
}

async fn list_offsets(
    cluster: &Cluster,
    node: i32,
    names: &[(PartitionId, Name)],
    timestamp: i64,
) -> Result<BTreeMap<PartitionId, Result<i64, Failure>>, Failure> {
    let topics = names.iter().map(|(_, name)| ListOffsetsRequestTopic {
        name: &name.topic,
        partitions: vec![ListOffsetsRequestPartition {
            partition_index: name.partition,
            timestamp,
            ..ListOffsetsRequestPartition::default()
        }]
        .into(),
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: merged(topics.collect()).into(),
        ..ListOffsetsRequest::default()
    };
    let answer = cluster
        .request(To::Node(node), &request)
        .await
        .map_err(|err| failure(&err))?;
    let response = answer.decode().map_err(|err| failure(&err))?;
    let mut offsets = BTreeMap::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let named = names.iter().find(|(_, name)| {
                name.partition == partition.partition_index && &*name.topic == topic.name
            });
            if let Some((id, _)) = named {
                let result = refusal(partition.error_code, None).map(|()| partition.offset);
                offsets.insert(*id, result);
            }
        }
    }
    Ok(offsets)
}

/// Names each topic once, with all its partitions.
fn merged(topics: Vec<ListOffsetsRequestTopic<'_>>) -> Vec<ListOffsetsRequestTopic<'_>> {
    let mut by_name: BTreeMap<&str, Vec<ListOffsetsRequestPartition>> = BTreeMap::new();
    for topic in topics {
        by_name
            .entry(topic.name)
            .or_default()
            .extend(topic.partitions);
    }
    by_name
        .into_iter()
        .map(|(name, partitions)| ListOffsetsRequestTopic {
            name,
            partitions: partitions.into(),
        })
        .collect()
}

/// A duration as the protocol has it.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
