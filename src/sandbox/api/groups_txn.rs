//! TxnOffsetCommit: offsets that count once a transaction commits.
//!
//! Source: `KafkaApis.handleTxnOffsetCommitRequest`, `GroupCoordinatorService`.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        txn_offset_commit::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
    },
};

use super::{Call, Cluster, Outcome, groups, groups_offsets::SentOffset};
use crate::sandbox::groups::Committer;

pub(super) fn commit(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &TxnOffsetCommitRequest<'_>,
) -> Outcome {
    let begun = begin(cluster, call, request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|partition| {
            let sent = SentOffset {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata,
            };
            let at = (topic.name, partition.partition_index);
            let result = commit_one(cluster, request, begun, at, &sent);
            TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: result.err().unwrap_or_default(),
            }
        });
        topics.push(TxnOffsetCommitResponseTopic {
            name: topic.name,
            partitions: partitions.collect(),
        });
    }
    call.reply::<TxnOffsetCommitRequest<'_>>(&TxnOffsetCommitResponse {
        throttle_time_ms: 0,
        topics: topics.into(),
    })
}

fn begin(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &TxnOffsetCommitRequest<'_>,
) -> Result<(), ErrorCode> {
    groups::check_group(cluster, call, request.group_id)?;
    check_producer(cluster, request)?;
    let committer = Committer {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    cluster
        .groups
        .begin_commit_in_transaction(request.group_id, committer)
}

/// Checks that the producer has an open transaction; there are none, so nobody has.
fn check_producer(_: &Cluster, _: &TxnOffsetCommitRequest<'_>) -> Result<(), ErrorCode> {
    Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
}

fn commit_one(
    cluster: &mut Cluster,
    request: &TxnOffsetCommitRequest<'_>,
    begun: Result<(), ErrorCode>,
    (topic, partition): (&str, i32),
    sent: &SentOffset<'_>,
) -> Result<(), ErrorCode> {
    cluster.partition(topic, partition)?;
    begun?;
    let committed = sent.check()?;
    let (producer_id, group_id) = (request.producer_id, request.group_id);
    cluster
        .groups
        .commit_in_transaction(producer_id, group_id, (topic, partition), committed);
    Ok(())
}
