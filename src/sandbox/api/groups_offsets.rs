//! OffsetCommit, OffsetFetch and OffsetDelete: where groups go on.
//!
//! Source, beside `KafkaApis`: `OffsetMetadataManager`. Partitions that do not exist are refused
//! one by one before the group is looked at.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
        OffsetFetchRequest, OffsetFetchResponse,
        offset_commit::{
            OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponsePartition,
            OffsetCommitResponseTopic,
        },
        offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
        offset_fetch::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
            OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
            OffsetFetchResponseTopics,
        },
    },
    wire::Uuid,
};

use super::{Call, Cluster, Outcome, groups};
use crate::sandbox::{
    acls::{Operation, Resource},
    coordinators,
    groups::{CommittedOffset, Committer, FetchedOffset},
};

/// The longest metadata of an offset, in UTF-16 units (`offset.metadata.max.bytes`, which Kafka
/// compares with the length of a Java string).
const METADATA_LEN_MAX: usize = 4096;

/// From this version on topics are named by id.
const TOPIC_ID_VERSION: i16 = 10;

/// An offset as it was sent.
pub(super) struct SentOffset<'a> {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Option<&'a str>,
}

impl SentOffset<'_> {
    /// What is to be kept of it.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::OFFSET_METADATA_TOO_LARGE`].
    pub(super) fn check(&self) -> Result<CommittedOffset, ErrorCode> {
        let metadata = self.metadata.unwrap_or_default();
        if metadata.encode_utf16().count() > METADATA_LEN_MAX {
            return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        }
        Ok(CommittedOffset {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: metadata.to_owned(),
        })
    }
}

pub(super) fn commit(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &OffsetCommitRequest<'_>,
) -> Outcome {
    let topics = request.topics.iter();
    let names: Vec<_> = topics.map(|it| topic_name(cluster, call, &it)).collect();
    let topics = || request.topics.iter().zip(&names);
    let allowed = call.check(cluster, Operation::Read, Resource::Group(request.group_id));
    // Kafka asks the coordinator only about partitions that exist.
    let begun = if allowed.is_err() {
        allowed
    } else if topics().any(|(topic, name)| has_partition(cluster, &topic, name)) {
        begin_commit(cluster, call, request)
    } else {
        Ok(())
    };
    let topics = topics();
    let topics = topics.map(|(topic, name)| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| {
                let name = name.as_deref().map_err(|code| *code);
                let committed = allowed.and(name).and_then(|name| {
                    call.check(cluster, Operation::Read, Resource::Topic(name))?;
                    commit_one(cluster, request.group_id, name, &partition, begun)
                });
                OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: committed.err().unwrap_or_default(),
                }
            })
            .collect(),
    });
    let topics = topics.collect();
    call.reply::<OffsetCommitRequest<'_>>(&OffsetCommitResponse {
        throttle_time_ms: 0,
        topics,
    })
}

/// Whether any of the partitions that are named exists.
fn has_partition(
    cluster: &Cluster,
    topic: &OffsetCommitRequestTopic<'_>,
    name: &Result<String, ErrorCode>,
) -> bool {
    let mut indexes = topic.partitions.iter().map(|it| it.partition_index);
    let exists = |name: &String| indexes.any(|index| cluster.partition(name, index).is_ok());
    name.as_ref().is_ok_and(exists)
}

/// Commits one offset, if the group lets it.
fn commit_one(
    cluster: &mut Cluster,
    group_id: &str,
    topic: &str,
    partition: &OffsetCommitRequestPartition<'_>,
    begun: Result<(), ErrorCode>,
) -> Result<(), ErrorCode> {
    let index = partition.partition_index;
    cluster.partition(topic, index)?;
    begun?;
    let sent = SentOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata,
    };
    cluster
        .groups
        .commit(group_id, (topic, index), sent.check()?);
    Ok(())
}

fn topic_name(
    cluster: &Cluster,
    call: &Call<'_>,
    topic: &OffsetCommitRequestTopic<'_>,
) -> Result<String, ErrorCode> {
    let found = if call.version() >= TOPIC_ID_VERSION {
        cluster.topic_by_id(topic.topic_id)
    } else {
        cluster.topic(topic.name)
    };
    found.map(|topic| topic.name.clone())
}

fn begin_commit(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &OffsetCommitRequest<'_>,
) -> Result<(), ErrorCode> {
    coordinators::ensure_coordinator(cluster, call.broker_id, request.group_id)?;
    let committer = Committer {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id_or_member_epoch,
    };
    let begun = cluster
        .groups
        .begin_commit(call.now, request.group_id, committer);
    begun.map_err(|code| match code {
        ErrorCode::GROUP_ID_NOT_FOUND if call.version() < 9 => ErrorCode::ILLEGAL_GENERATION,
        code => code,
    })
}

/// Up to version 7 a request names one group, and topics by name; the answer is that of a group
/// of a later version in another shape.
pub(super) fn fetch(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &OffsetFetchRequest<'_>,
) -> Outcome {
    if call.version() >= 8 {
        let groups = request.groups.iter();
        let groups = groups.map(|group| fetch_group(cluster, call, &group, request.require_stable));
        return call.reply::<OffsetFetchRequest<'_>>(&OffsetFetchResponse {
            groups: groups.collect(),
            ..Default::default()
        });
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topics = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            topic_id: Uuid::ZERO,
            partition_indexes: topic.partition_indexes.clone(),
        });
        topics.collect()
    });
    let wanted = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    };
    let group = fetch_group(cluster, call, &wanted, request.require_stable);
    let topics = group.topics.iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    });
    call.reply::<OffsetFetchRequest<'_>>(&OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..Default::default()
    })
}

fn fetch_group<'a>(
    cluster: &'a Cluster,
    call: &Call<'_>,
    wanted: &OffsetFetchRequestGroup<'a>,
    require_stable: bool,
) -> OffsetFetchResponseGroup<'a> {
    let group_id = wanted.group_id;
    let checked = groups::check_any_group(cluster, call, Operation::Describe, group_id);
    if let Err(error_code) = checked {
        return OffsetFetchResponseGroup {
            group_id,
            error_code,
            ..Default::default()
        };
    }
    let fetched = |topic: Result<&str, ErrorCode>, index: i32| match topic {
        Ok(topic) => {
            let groups = &cluster.groups;
            let offset = groups.offset(group_id, (topic, index), require_stable);
            fetched_partition(index, offset)
        }
        Err(error_code) => OffsetFetchResponsePartitions {
            error_code,
            ..fetched_partition(index, FetchedOffset::Absent)
        },
    };
    let topics = match &wanted.topics {
        None => {
            let topics = cluster.groups.partitions_with_offsets(group_id);
            let topics = topics.map(|(name, partitions)| OffsetFetchResponseTopics {
                name,
                topic_id: cluster.topic(name).map_or(Uuid::ZERO, |topic| topic.id),
                partitions: partitions
                    .into_iter()
                    .map(|index| fetched(Ok(name), index))
                    .collect(),
            });
            topics.collect()
        }
        Some(topics) => {
            let topics = topics.iter().map(|topic| OffsetFetchResponseTopics {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions: topic
                    .partition_indexes
                    .iter()
                    .map(|index| fetched(name_to_fetch(cluster, call, &topic), index))
                    .collect(),
            });
            topics.collect()
        }
    };
    OffsetFetchResponseGroup {
        group_id,
        topics,
        error_code: ErrorCode::NONE,
    }
}

/// A topic that does not exist has no offsets; only its id must be known.
fn name_to_fetch<'a>(
    cluster: &'a Cluster,
    call: &Call<'_>,
    topic: &OffsetFetchRequestTopics<'a>,
) -> Result<&'a str, ErrorCode> {
    let name = if call.version() < TOPIC_ID_VERSION {
        topic.name
    } else {
        &cluster.topic_by_id(topic.topic_id)?.name
    };
    call.check(cluster, Operation::Describe, Resource::Topic(name))?;
    Ok(name)
}

fn fetched_partition(
    partition_index: i32,
    offset: FetchedOffset<'_>,
) -> OffsetFetchResponsePartitions<'_> {
    let absent = OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        metadata: Some(""),
        ..Default::default()
    };
    match offset {
        FetchedOffset::Absent => absent,
        FetchedOffset::Unstable => OffsetFetchResponsePartitions {
            error_code: ErrorCode::UNSTABLE_OFFSET_COMMIT,
            ..absent
        },
        FetchedOffset::Committed(committed) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(&committed.metadata),
            error_code: ErrorCode::NONE,
        },
    }
}

pub(super) fn delete(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &OffsetDeleteRequest<'_>,
) -> Outcome {
    let checked = groups::check_group(cluster, call, Operation::Delete, request.group_id)
        .and_then(|()| cluster.groups.check_offset_delete(request.group_id));
    if let Err(error_code) = checked {
        return call.reply::<OffsetDeleteRequest<'_>>(&OffsetDeleteResponse {
            error_code,
            ..Default::default()
        });
    }
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let deleted = call
                .check(cluster, Operation::Read, Resource::Topic(topic.name))
                .and_then(|()| delete_one(cluster, request.group_id, topic.name, index));
            OffsetDeleteResponsePartition {
                partition_index: index,
                error_code: deleted.err().unwrap_or_default(),
            }
        });
        OffsetDeleteResponseTopic {
            name: topic.name,
            partitions: partitions.collect(),
        }
    });
    let topics = topics.collect();
    call.reply::<OffsetDeleteRequest<'_>>(&OffsetDeleteResponse {
        topics,
        ..Default::default()
    })
}

fn delete_one(
    cluster: &mut Cluster,
    group_id: &str,
    topic: &str,
    partition: i32,
) -> Result<(), ErrorCode> {
    cluster.partition(topic, partition)?;
    cluster.groups.delete_offset(group_id, topic, partition)
}
