//! Metadata and DescribeCluster: brokers, topics and leaders.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse,
        describe_cluster::DescribeClusterBroker,
        metadata::{
            MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition,
            MetadataResponseTopic,
        },
    },
    wire::Uuid,
};

use super::{Call, Cluster, Outcome, auto_create};
use crate::sandbox::{
    acls::{Operation, Resource},
    topic::{Partition, Topic, invalid_topic_name, is_internal_topic},
};

/// What can be done with the cluster (`AclEntry.supportedOperations`).
const CLUSTER_OPERATIONS: [Operation; 7] = [
    Operation::Create,
    Operation::Alter,
    Operation::Describe,
    Operation::ClusterAction,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::IdempotentWrite,
];

/// The same with a topic.
const TOPIC_OPERATIONS: [Operation; 8] = [
    Operation::Read,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Alter,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

/// Stands for operations that were not asked for.
const NOT_ASKED: i32 = i32::MIN;

/// What the client may do with the cluster, one bit for each operation.
fn cluster_operations(cluster: &Cluster, call: &Call<'_>, is_asked: bool) -> i32 {
    if !is_asked {
        return NOT_ASKED;
    }
    if call
        .check(cluster, Operation::Describe, Resource::Cluster)
        .is_err()
    {
        return 0;
    }
    operations(cluster, call, &CLUSTER_OPERATIONS, Resource::Cluster)
}

/// The same with a topic.
pub(super) fn topic_operations(cluster: &Cluster, call: &Call<'_>, topic: &str) -> i32 {
    operations(cluster, call, &TOPIC_OPERATIONS, Resource::Topic(topic))
}

fn operations(
    cluster: &Cluster,
    call: &Call<'_>,
    all: &[Operation],
    resource: Resource<'_>,
) -> i32 {
    let may = |it: &&Operation| call.check(cluster, **it, resource).is_ok();
    let bits = all.iter().filter(may).map(|it| 1 << it.number());
    bits.fold(0, |bits, bit: i32| bits | bit)
}

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &MetadataRequest<'_>,
) -> Outcome {
    let may_see = |name: &str| {
        let checked = call.check(cluster, Operation::Describe, Resource::Topic(name));
        checked.is_ok()
    };
    let mut topics: Vec<_> = match &request.topics {
        None => {
            let all = cluster.topics.values();
            all.filter(|topic| may_see(&topic.name))
                .map(described)
                .collect()
        }
        Some(wanted) => {
            let wanted = wanted.iter();
            wanted.map(|topic| find(cluster, call, &topic)).collect()
        }
    };
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code.is_ok()) {
            let name = topic.name.unwrap_or_default();
            topic.topic_authorized_operations = topic_operations(cluster, call, name);
        }
    }
    let brokers = cluster
        .running_brokers()
        .map(|broker| MetadataResponseBroker {
            node_id: broker.id,
            host: &broker.host,
            port: i32::from(broker.port),
            rack: None,
        });
    let outcome = call.reply::<MetadataRequest<'_>>(&MetadataResponse {
        throttle_time_ms: 0,
        brokers: brokers.collect(),
        cluster_id: Some(&cluster.options.cluster_id),
        controller_id: controller_id(cluster),
        topics: topics.into(),
        cluster_authorized_operations: cluster_operations(
            cluster,
            call,
            request.include_cluster_authorized_operations,
        ),
        error_code: ErrorCode::NONE,
    });
    auto_create::create_unknown(cluster, call, request);
    outcome
}

fn controller_id(cluster: &Cluster) -> i32 {
    let first = cluster.running_brokers().next();
    first.map_or(-1, |broker| broker.id)
}

/// A topic that was asked for by name, or from version 12 on by id.
fn find<'a>(
    cluster: &'a Cluster,
    call: &Call<'_>,
    wanted: &MetadataRequestTopic<'a>,
) -> MetadataResponseTopic<'a> {
    let failed = |error_code| MetadataResponseTopic {
        error_code,
        name: wanted.name,
        topic_id: wanted.topic_id,
        ..Default::default()
    };
    if call.version() < 12 && (wanted.name.is_none() || !wanted.topic_id.is_zero()) {
        return failed(ErrorCode::INVALID_REQUEST);
    }
    let found = match wanted.name {
        _ if !wanted.topic_id.is_zero() => cluster.topic_by_id(wanted.topic_id),
        Some(name) if invalid_topic_name(name).is_some() => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
        Some(name) => cluster.topic(name),
        None => Err(ErrorCode::INVALID_REQUEST),
    };
    let name = found.map_or(wanted.name, |topic| Some(topic.name.as_str()));
    if let Some(Err(refusal)) =
        name.map(|name| call.check(cluster, Operation::Describe, Resource::Topic(name)))
    {
        return failed(refusal);
    }
    match found {
        Ok(topic) => described(topic),
        Err(error_code) => MetadataResponseTopic {
            name: wanted.name.filter(|_| wanted.topic_id == Uuid::ZERO),
            is_internal: wanted.name.is_some_and(is_internal_topic),
            ..failed(error_code)
        },
    }
}

fn described(topic: &Topic) -> MetadataResponseTopic<'_> {
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: topic.partitions.iter().map(described_partition).collect(),
        topic_authorized_operations: NOT_ASKED,
    }
}

fn described_partition<'a>(partition: &Partition) -> MetadataResponsePartition<'a> {
    let replicas = partition.replicas.iter();
    let offline = replicas.clone().filter(|replica| !replica.is_online);
    MetadataResponsePartition {
        error_code: match partition.leader {
            -1 => ErrorCode::LEADER_NOT_AVAILABLE,
            _ => ErrorCode::NONE,
        },
        partition_index: partition.index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: replicas.map(|replica| replica.broker_id).collect(),
        isr_nodes: partition.isr.clone().into(),
        offline_replicas: offline.map(|replica| replica.broker_id).collect(),
    }
}

/// Brokers only: a request for controllers is refused, as by a broker of Kafka.
pub(super) fn describe_cluster(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeClusterRequest,
) -> Outcome {
    if request.endpoint_type != 1 {
        return call.reply::<DescribeClusterRequest>(&DescribeClusterResponse {
            error_code: match request.endpoint_type {
                2 => ErrorCode::MISMATCHED_ENDPOINT_TYPE,
                _ => ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
            },
            endpoint_type: request.endpoint_type,
            ..Default::default()
        });
    }
    let brokers = cluster
        .running_brokers()
        .map(|broker| DescribeClusterBroker {
            broker_id: broker.id,
            host: &broker.host,
            port: i32::from(broker.port),
            rack: None,
            is_fenced: false,
        });
    call.reply::<DescribeClusterRequest>(&DescribeClusterResponse {
        cluster_id: &cluster.options.cluster_id,
        controller_id: controller_id(cluster),
        brokers: brokers.collect(),
        cluster_authorized_operations: cluster_operations(
            cluster,
            call,
            request.include_cluster_authorized_operations,
        ),
        ..Default::default()
    })
}
