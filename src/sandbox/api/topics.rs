//! CreateTopics and DeleteTopics.
//!
//! Every broker answers as the controller: Kafka's brokers forward to it.
//! Source: `ControllerApis`, `ReplicationControlManager.createTopics` and `.deleteTopics`.

use std::collections::BTreeSet;

use kmirror_protocol::{
    ErrorCode,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        create_topics::{
            CreatableReplicaAssignment, CreatableTopic, CreatableTopicResult,
            CreatableTopicResultConfig,
        },
        delete_topics::{DeletableTopicResult, DeleteTopicState},
    },
    wire::Uuid,
};

use super::{ApiError, Call, Cluster, Outcome, configs::DEFAULT_CONFIG, configs::TOPIC_CONFIG};
use crate::sandbox::{
    acls::{Operation, Resource},
    config::{Change, KEYS, TopicConfig},
    topic::{Partition, Topic, invalid_topic_name},
};

/// How many partitions one request may ask for (`ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`).
const NEW_PARTITIONS_MAX: i64 = 10_000;

/// How many replicas a client that leaves it to the broker gets (`default.replication.factor`).
const DEFAULT_REPLICATION_FACTOR: i16 = 1;

pub(super) fn create(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &CreateTopicsRequest<'_>,
) -> Outcome {
    let duplicates = duplicates(request.topics.iter().map(|topic| topic.name));
    let excess = too_many_partitions(request);
    let mut topics: Vec<(&str, Result<Topic, ApiError>)> = Vec::new();
    for wanted in &request.topics {
        if duplicates.contains(wanted.name) {
            if topics.iter().all(|(name, _)| *name != wanted.name) {
                let error = ApiError::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name.");
                topics.push((wanted.name, Err(error)));
            }
            continue;
        }
        let result = match &excess {
            Some(error) => Err(error.clone()),
            None => check_creation(cluster, call, wanted.name)
                .map_err(ApiError::from)
                .and_then(|()| new_topic(cluster, &wanted)),
        };
        topics.push((wanted.name, result));
    }
    let results = topics.iter().map(|(name, result)| created(name, result));
    let outcome = call.reply::<CreateTopicsRequest<'_>>(&CreateTopicsResponse {
        throttle_time_ms: 0,
        topics: results.collect(),
    });
    if !request.validate_only {
        for topic in topics.into_iter().filter_map(|(_, result)| result.ok()) {
            cluster.add_topic(topic);
        }
    }
    outcome
}

/// Whether the client may create a topic: this one, or any.
pub(super) fn check_creation(
    cluster: &Cluster,
    call: &Call<'_>,
    name: &str,
) -> Result<(), ErrorCode> {
    call.check(cluster, Operation::Create, Resource::Cluster)
        .or_else(|_| call.check(cluster, Operation::Create, Resource::Topic(name)))
}

fn duplicates<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

fn too_many_partitions(request: &CreateTopicsRequest<'_>) -> Option<ApiError> {
    let counts = request.topics.iter().map(|topic| {
        let assigned = i64::try_from(topic.assignments.len()).unwrap_or(i64::MAX);
        i64::from(topic.num_partitions).max(assigned).max(0)
    });
    (counts.sum::<i64>() > NEW_PARTITIONS_MAX).then(|| {
        ApiError::new(
            ErrorCode::POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        )
    })
}

/// A topic as it was asked for, not yet part of the cluster.
pub(super) fn new_topic(
    cluster: &mut Cluster,
    wanted: &CreatableTopic<'_>,
) -> Result<Topic, ApiError> {
    check_name(cluster, wanted.name)?;
    let config = new_config(wanted)?;
    let partitions = if wanted.assignments.is_empty() {
        placed(cluster, wanted)?
    } else {
        assigned(cluster, wanted)?
    };
    Ok(Topic {
        name: wanted.name.to_owned(),
        id: cluster.random.uuid(),
        config,
        partitions,
    })
}

fn check_name(cluster: &Cluster, name: &str) -> Result<(), ApiError> {
    if name == "__cluster_metadata" {
        return Err(ApiError::new(
            ErrorCode::INVALID_REQUEST,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ));
    }
    if let Some(fault) = invalid_topic_name(name) {
        return Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, fault));
    }
    if cluster.topics.contains_key(name) {
        return Err(ApiError::new(
            ErrorCode::TOPIC_ALREADY_EXISTS,
            format!("Topic '{name}' already exists."),
        ));
    }
    // Metrics cannot tell '.' from '_' (`Topic.hasCollision`).
    let unified = |name: &str| name.replace('.', "_");
    let collides = |other: &&String| name.contains(['.', '_']) && unified(other) == unified(name);
    match cluster.topics.keys().find(collides) {
        Some(other) => Err(ApiError::new(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("Topic '{name}' collides with existing topic: {other}"),
        )),
        None => Ok(()),
    }
}

fn new_config(wanted: &CreatableTopic<'_>) -> Result<TopicConfig, ApiError> {
    let mut changes = Vec::with_capacity(wanted.configs.len());
    for config in &wanted.configs {
        let value = config.value.ok_or_else(|| {
            let message = format!(
                "Null value not supported for topic configs: {}",
                config.name
            );
            ApiError::new(ErrorCode::INVALID_CONFIG, message)
        })?;
        changes.push((config.name, Change::Set(value)));
    }
    TopicConfig::default()
        .changed(changes)
        .map_err(|message| ApiError::new(ErrorCode::INVALID_CONFIG, message))
}

/// Partitions on brokers of our choice.
fn placed(cluster: &mut Cluster, wanted: &CreatableTopic<'_>) -> Result<Vec<Partition>, ApiError> {
    let replication_factor = match wanted.replication_factor {
        -1 => DEFAULT_REPLICATION_FACTOR,
        factor @ 1.. => factor,
        _ => {
            return Err(ApiError::new(
                ErrorCode::INVALID_REPLICATION_FACTOR,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
    };
    let count = match wanted.num_partitions {
        -1 => cluster.options.partition_count_default,
        count @ 1.. => count,
        _ => {
            return Err(ApiError::new(
                ErrorCode::INVALID_PARTITIONS,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
    };
    place(cluster, 0..count, replication_factor)
}

/// New partitions, their leaders spread over the brokers from a random one on.
pub(super) fn place(
    cluster: &mut Cluster,
    indexes: std::ops::Range<i32>,
    replication_factor: i16,
) -> Result<Vec<Partition>, ApiError> {
    let ids = cluster.brokers().iter().map(|broker| broker.id);
    let (running, stopped): (Vec<i32>, Vec<i32>) = ids.partition(|id| cluster.is_running(*id));
    let broker_count = running.len().saturating_add(stopped.len());
    let replica_count = usize::try_from(replication_factor).unwrap_or_default();
    if replica_count > broker_count || running.is_empty() {
        return Err(ApiError::new(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            format!(
                "Unable to replicate the partition {replication_factor} time(s): The target \
                 replication factor of {replication_factor} cannot be reached because only \
                 {broker_count} broker(s) are registered."
            ),
        ));
    }
    let first = cluster.random.below(running.len());
    let partitions = (first..).zip(indexes).map(|(leader_at, index)| {
        let replicas = running.iter().cycle().skip(leader_at % running.len());
        let replicas = replicas.take(running.len()).chain(&stopped);
        let replicas = replicas.take(replica_count).copied();
        Partition::new(index, replicas, |id| cluster.is_running(id))
    });
    Ok(partitions.collect())
}

/// Partitions on the brokers that the client names.
fn assigned(cluster: &Cluster, wanted: &CreatableTopic<'_>) -> Result<Vec<Partition>, ApiError> {
    let invalid = |message: String| ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message);
    for (is_set, what) in [
        (wanted.replication_factor != -1, "replication factor"),
        (wanted.num_partitions != -1, "numPartitions"),
    ] {
        if is_set {
            let message = format!(
                "A manual partition assignment was specified, but {what} was not set to -1."
            );
            return Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
        }
    }
    let mut assignments: Vec<CreatableReplicaAssignment<'_>> = wanted.assignments.iter().collect();
    assignments.sort_by_key(|assignment| assignment.partition_index);
    let mut partitions: Vec<Partition> = Vec::with_capacity(assignments.len());
    for (expected, assignment) in (0..).zip(assignments) {
        let index = assignment.partition_index;
        if partitions.last().is_some_and(|last| last.index == index) {
            return Err(invalid(format!(
                "Found multiple manual partition assignments for partition {index}"
            )));
        }
        let factor = partitions.first().map(|first| first.replicas.len());
        let broker_ids: Vec<_> = assignment.broker_ids.iter().collect();
        check_replicas(cluster, &broker_ids, factor)?;
        if index != expected {
            return Err(invalid(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            ));
        }
        let is_online = |id| cluster.is_running(id);
        partitions.push(Partition::new(index, broker_ids, is_online));
    }
    Ok(partitions)
}

/// Checks the brokers that a client names for a partition.
///
/// Source: `ReplicationControlManager.validateManualPartitionAssignment`.
pub(super) fn check_replicas(
    cluster: &Cluster,
    broker_ids: &[i32],
    factor: Option<usize>,
) -> Result<(), ApiError> {
    let distinct: BTreeSet<i32> = broker_ids.iter().copied().collect();
    let unknown = distinct.iter().find(|id| cluster.broker(**id).is_none());
    let fault = if broker_ids.is_empty() {
        "includes an empty replica list.".to_owned()
    } else if let Some(id) = unknown {
        format!("includes broker {id}, but no such broker is registered.")
    } else if distinct.len() < broker_ids.len() {
        "includes a broker more than once.".to_owned()
    } else if let Some(factor) = factor.filter(|factor| *factor != broker_ids.len()) {
        format!(
            "includes a partition with {} replica(s), but this is not consistent with previous \
             partitions, which have {factor} replica(s).",
            broker_ids.len()
        )
    } else if !broker_ids.iter().any(|id| cluster.is_running(*id)) {
        "includes only brokers that are down.".to_owned()
    } else {
        return Ok(());
    };
    Err(ApiError::new(
        ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        format!("The manual partition assignment {fault}"),
    ))
}

fn created<'a>(name: &'a str, result: &'a Result<Topic, ApiError>) -> CreatableTopicResult<'a> {
    let topic = match result {
        Ok(topic) => topic,
        Err(error) => {
            return CreatableTopicResult {
                name,
                error_code: error.code,
                error_message: error.message.as_deref(),
                ..Default::default()
            };
        }
    };
    let configs = KEYS.iter().map(|key| CreatableTopicResultConfig {
        name: key.name,
        value: Some(topic.config.value(key)),
        read_only: false,
        config_source: match topic.config.set_value(key.name) {
            Some(_) => TOPIC_CONFIG,
            None => DEFAULT_CONFIG,
        },
        is_sensitive: false,
    });
    CreatableTopicResult {
        name,
        topic_id: topic.id,
        num_partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: topic.replication_factor(),
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

pub(super) fn delete(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DeleteTopicsRequest<'_>,
) -> Outcome {
    let by_name = request.topic_names.iter().map(|name| DeleteTopicState {
        name: Some(name),
        topic_id: Uuid::ZERO,
    });
    let wanted: Vec<DeleteTopicState<'_>> = by_name.chain(request.topics.iter()).collect();
    let found: Vec<_> = wanted
        .iter()
        .map(|it| to_delete(cluster, call, it))
        .collect();
    let names = found.iter().flatten().map(|(name, _)| name.as_str());
    let duplicates = duplicates(names);
    let mut refused = BTreeSet::new();
    let mut responses = Vec::with_capacity(wanted.len());
    for (wanted, found) in wanted.iter().zip(&found) {
        let deleted = match found {
            Ok((name, _)) if duplicates.contains(name.as_str()) => {
                if !refused.insert(name) {
                    continue;
                }
                Err(&DUPLICATE)
            }
            Ok((name, id)) => Ok((name.as_str(), *id)),
            Err(refusal) => Err(refusal),
        };
        responses.push(match deleted {
            Ok((name, topic_id)) => DeletableTopicResult {
                name: Some(name),
                topic_id,
                ..Default::default()
            },
            Err((error_code, error_message)) => DeletableTopicResult {
                name: wanted.name,
                topic_id: wanted.topic_id,
                error_code: *error_code,
                error_message: *error_message,
            },
        });
    }
    let outcome = call.reply::<DeleteTopicsRequest<'_>>(&DeleteTopicsResponse {
        throttle_time_ms: 0,
        responses: responses.into(),
    });
    for (name, _) in found.iter().flatten() {
        if !duplicates.contains(name.as_str()) {
            cluster.remove_topic(name);
        }
    }
    outcome
}

type Refusal = (ErrorCode, Option<&'static str>);

const DUPLICATE: Refusal = (ErrorCode::INVALID_REQUEST, Some("Duplicate topic name."));

fn to_delete(
    cluster: &Cluster,
    call: &Call<'_>,
    wanted: &DeleteTopicState<'_>,
) -> Result<(String, Uuid), Refusal> {
    let found = match (wanted.name, wanted.topic_id.is_zero()) {
        (None, true) => {
            let message = "Neither topic name nor id were specified.";
            return Err((ErrorCode::INVALID_REQUEST, Some(message)));
        }
        (Some(_), false) => {
            let message = "You may not specify both topic name and topic id.";
            return Err((ErrorCode::INVALID_REQUEST, Some(message)));
        }
        (Some(name), true) => cluster.topic(name),
        (None, false) => cluster.topic_by_id(wanted.topic_id),
    };
    let name = found.map_or(wanted.name, |topic| Some(topic.name.as_str()));
    let checked = name.map(|name| call.check(cluster, Operation::Delete, Resource::Topic(name)));
    let found = checked.unwrap_or(Ok(())).and(found);
    let topic = found.map_err(|code| (code, None))?;
    Ok((topic.name.clone(), topic.id))
}
