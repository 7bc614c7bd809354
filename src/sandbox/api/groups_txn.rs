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
use crate::sandbox::{
    acls::{Operation, Resource},
    coordinators::{self, OFFSETS_TOPIC},
    groups::Committer,
    transactions::ProducerIdAndEpoch,
};

/// The first version that adds the group's offsets to the transaction implicitly.
const ADDING_VERSION: i16 = 5;

/// The first version whose clients know [`ErrorCode::TRANSACTION_ABORTABLE`].
const ABORTABLE_VERSION: i16 = 4;

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
            let result = call
                .check(cluster, Operation::Read, Resource::Topic(topic.name))
                .and_then(|()| commit_one(cluster, request, begun, at, &sent));
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
    let id = Resource::TransactionalId(request.transactional_id);
    call.check(cluster, Operation::Write, id)?;
    groups::check_group(cluster, call, Operation::Read, request.group_id)?;
    check_producer(cluster, call, request)?;
    let committer = Committer {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    cluster
        .groups
        .begin_commit_in_transaction(request.group_id, committer)
}

/// Checks that the offsets belong to the transaction that the producer has open, or adds them.
///
/// Source: `CoordinatorPartitionWriter.maybeStartTransactionVerification` (KIP-890).
fn check_producer(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &TxnOffsetCommitRequest<'_>,
) -> Result<(), ErrorCode> {
    let producer = ProducerIdAndEpoch {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let group_partition = coordinators::partition_of(request.group_id);
    let partition = (OFFSETS_TOPIC.to_owned(), group_partition);
    let transactions = &mut cluster.transactions;
    let id = request.transactional_id;
    let known = if call.version() >= ADDING_VERSION {
        transactions.add(id, producer, [partition], call.now)
    } else {
        transactions.verify(id, producer, &partition)
    };
    known.map_err(|code| match code {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::TRANSACTION_ABORTABLE if call.version() < ABORTABLE_VERSION => {
            ErrorCode::INVALID_TXN_STATE
        }
        code => code,
    })
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
