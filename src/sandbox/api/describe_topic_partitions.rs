//! DescribeTopicPartitions: topics and partitions, page by page (KIP-966).
//!
//! Source: `DescribeTopicPartitionsRequestHandler` and
//! `KRaftMetadataCache.describeTopicResponse`.

use std::collections::BTreeSet;

use kmirror_protocol::{
    ErrorCode,
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
    wire::Array,
};

use super::{Call, Cluster, Outcome, metadata};
use crate::sandbox::{
    acls::{Operation, Resource},
    replica::Replica,
    topic::{Partition, Topic, invalid_topic_name, is_internal_topic},
};

/// How many partitions one page may have (`max.request.partition.size.limit`).
const PARTITIONS_MAX: i32 = 2_000;

/// Answers, or says why the connection must be closed.
pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeTopicPartitionsRequest<'_>,
) -> Outcome {
    let is_all = request.topics.is_empty();
    let cursor = request.cursor.as_ref();
    let (first_topic, first_partition) = match cursor {
        Some(cursor) => (cursor.topic_name, cursor.partition_index),
        None => ("", 0),
    };
    let wanted: BTreeSet<&str> = if is_all {
        cluster.topic_names().collect()
    } else {
        request.topics.iter().map(|topic| topic.name).collect()
    };
    let is_foreign = cursor.is_some() && !is_all && !wanted.contains(first_topic);
    if is_foreign || first_partition < 0 {
        return refuse(call, request);
    }
    let limit = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut rest = usize::try_from(limit).unwrap_or(1);
    let (mut topics, mut hidden, mut next_cursor) = (Vec::new(), Vec::new(), None);
    for name in wanted.range(first_topic..) {
        if call
            .check(cluster, Operation::Describe, Resource::Topic(name))
            .is_err()
        {
            if !is_all {
                hidden.push(failed(name, ErrorCode::TOPIC_AUTHORIZATION_FAILED));
            }
            continue;
        }
        if rest == 0 {
            next_cursor = Some(at(name, 0));
            break;
        }
        match cluster.topics.get(*name) {
            Some(topic) => {
                let first = if *name == first_topic {
                    first_partition
                } else {
                    0
                };
                let (page, next) = page(topic, first, rest);
                rest = rest.saturating_sub(page.len());
                topics.push(described(cluster, call, topic, page));
                next_cursor = next.map(|index| at(&topic.name, index));
            }
            None if is_all => {}
            None => topics.push(failed(name, missing(name))),
        }
        if next_cursor.is_some() {
            break;
        }
    }
    topics.append(&mut hidden);
    call.reply::<DescribeTopicPartitionsRequest<'_>>(&DescribeTopicPartitionsResponse {
        throttle_time_ms: 0,
        topics: topics.into_iter().collect(),
        next_cursor,
    })
}

/// A cursor that leads nowhere: every topic fails, as Kafka has it.
fn refuse(call: &Call<'_>, request: &DescribeTopicPartitionsRequest<'_>) -> Outcome {
    let topics = request.topics.iter();
    let topics = topics.map(|topic| failed(topic.name, ErrorCode::INVALID_REQUEST));
    call.reply::<DescribeTopicPartitionsRequest<'_>>(&DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..Default::default()
    })
}

const fn at(topic_name: &str, partition_index: i32) -> Cursor<'_> {
    Cursor {
        topic_name,
        partition_index,
    }
}

fn missing(name: &str) -> ErrorCode {
    match invalid_topic_name(name) {
        Some(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

fn failed(name: &str, error_code: ErrorCode) -> DescribeTopicPartitionsResponseTopic<'_> {
    DescribeTopicPartitionsResponseTopic {
        error_code,
        name: Some(name),
        is_internal: is_internal_topic(name),
        ..Default::default()
    }
}

/// At most `len_max` partitions from one on, and the one that the next page begins with.
fn page(topic: &Topic, first: i32, len_max: usize) -> (Vec<&Partition>, Option<i32>) {
    let rest = topic.partitions.iter().filter(|it| it.index >= first);
    let mut page: Vec<_> = rest.take(len_max.saturating_add(1)).collect();
    let next = page.get(len_max).map(|partition| partition.index);
    page.truncate(len_max);
    (page, next)
}

fn described<'a>(
    cluster: &Cluster,
    call: &Call<'_>,
    topic: &'a Topic,
    partitions: Vec<&Partition>,
) -> DescribeTopicPartitionsResponseTopic<'a> {
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.into_iter().map(described_partition).collect(),
        topic_authorized_operations: metadata::topic_operations(cluster, call, &topic.name),
    }
}

fn described_partition(partition: &Partition) -> DescribeTopicPartitionsResponsePartition<'static> {
    let replicas = |is_wanted: fn(&Replica) -> bool| {
        let replicas = partition.replicas.iter().filter(|it| is_wanted(it));
        replicas.map(|replica| replica.broker_id).collect()
    };
    DescribeTopicPartitionsResponsePartition {
        error_code: match partition.leader {
            -1 => ErrorCode::LEADER_NOT_AVAILABLE,
            _ => ErrorCode::NONE,
        },
        partition_index: partition.index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: replicas(|_| true),
        isr_nodes: partition.isr.clone().into(),
        eligible_leader_replicas: Some(partition.elr.clone().into()),
        last_known_elr: Some(Array::default()),
        offline_replicas: replicas(|replica| !replica.is_online),
    }
}
