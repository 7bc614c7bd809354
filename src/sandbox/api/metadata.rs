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

use super::{Call, Cluster, Outcome};
use crate::sandbox::topic::{Partition, Topic, invalid_topic_name, is_internal_topic};

/// What anybody may do with the cluster where nobody authorises, one bit per operation
/// (`AclEntry.supportedOperations`): create, alter, describe, cluster action, describe and alter
/// configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// The same with a topic: read, write, create, delete, alter, describe, describe and alter configs.
const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

/// Stands for operations that were not asked for.
const NOT_ASKED: i32 = i32::MIN;

const fn when(is_asked: bool, operations: i32) -> i32 {
    if is_asked { operations } else { NOT_ASKED }
}

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &MetadataRequest<'_>,
) -> Outcome {
    let operations = when(
        request.include_topic_authorized_operations,
        TOPIC_OPERATIONS,
    );
    let topics = match &request.topics {
        None => {
            let all = cluster.topics.values();
            all.map(|topic| described(topic, operations)).collect()
        }
        Some(wanted) => {
            let wanted = wanted.iter();
            wanted
                .map(|topic| find(cluster, call.version(), &topic, operations))
                .collect()
        }
    };
    let brokers = cluster
        .running_brokers()
        .map(|broker| MetadataResponseBroker {
            node_id: broker.id,
            host: &broker.host,
            port: i32::from(broker.port),
            rack: None,
        });
    call.reply::<MetadataRequest<'_>>(&MetadataResponse {
        throttle_time_ms: 0,
        brokers: brokers.collect(),
        cluster_id: Some(&cluster.options.cluster_id),
        controller_id: controller_id(cluster),
        topics,
        cluster_authorized_operations: when(
            request.include_cluster_authorized_operations,
            CLUSTER_OPERATIONS,
        ),
        error_code: ErrorCode::NONE,
    })
}

fn controller_id(cluster: &Cluster) -> i32 {
    let first = cluster.running_brokers().next();
    first.map_or(-1, |broker| broker.id)
}

/// A topic that was asked for by name, or from version 12 on by id.
fn find<'a>(
    cluster: &'a Cluster,
    version: i16,
    wanted: &MetadataRequestTopic<'a>,
    operations: i32,
) -> MetadataResponseTopic<'a> {
    let failed = |error_code| MetadataResponseTopic {
        error_code,
        name: wanted.name,
        topic_id: wanted.topic_id,
        ..Default::default()
    };
    if version < 12 && (wanted.name.is_none() || !wanted.topic_id.is_zero()) {
        return failed(ErrorCode::INVALID_REQUEST);
    }
    let found = match wanted.name {
        _ if !wanted.topic_id.is_zero() => cluster.topic_by_id(wanted.topic_id),
        Some(name) if invalid_topic_name(name).is_some() => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
        Some(name) => cluster.topic(name),
        None => Err(ErrorCode::INVALID_REQUEST),
    };
    match found {
        Ok(topic) => described(topic, operations),
        Err(error_code) => MetadataResponseTopic {
            name: wanted.name.filter(|_| wanted.topic_id == Uuid::ZERO),
            is_internal: wanted.name.is_some_and(is_internal_topic),
            ..failed(error_code)
        },
    }
}

fn described(topic: &Topic, operations: i32) -> MetadataResponseTopic<'_> {
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: topic.partitions.iter().map(described_partition).collect(),
        topic_authorized_operations: operations,
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
        cluster_authorized_operations: when(
            request.include_cluster_authorized_operations,
            CLUSTER_OPERATIONS,
        ),
        ..Default::default()
    })
}
