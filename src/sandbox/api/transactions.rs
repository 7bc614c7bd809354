//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn and EndTxn: the life of a transaction.
//!
//! A broker that does not coordinate a transactional id refuses it. Source, beside `KafkaApis`: `TransactionCoordinator`.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
        InitProducerIdResponse,
        add_partitions_to_txn::{AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult},
    },
};

use super::{Call, Cluster, Outcome, producers};
use crate::sandbox::{
    acls::{Operation, Resource},
    coordinators::{self, OFFSETS_TOPIC},
    topic::is_internal_topic,
    transactions::{ProducerIdAndEpoch, Protocol, TopicPartition, is_valid_timeout},
};

/// The first version of EndTxn whose clients know that epochs are bumped (KIP-890).
const BUMPING_END_TXN: i16 = 5;

/// Whether a client may write under a transactional id, and this broker answers for it.
///
/// # Errors
///
/// [`ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED`], or as [`ensure_coordinator`].
fn ensure_writable(
    cluster: &Cluster,
    call: &Call<'_>,
    transactional_id: &str,
) -> Result<(), ErrorCode> {
    let resource = Resource::TransactionalId(transactional_id);
    call.check(cluster, Operation::Write, resource)?;
    ensure_coordinator(cluster, call.broker_id, transactional_id)
}

/// Whether a broker may answer for a transactional id.
///
/// # Errors
///
/// [`ErrorCode::INVALID_REQUEST`] for an empty id, [`ErrorCode::NOT_COORDINATOR`].
pub(super) fn ensure_coordinator(
    cluster: &Cluster,
    broker_id: i32,
    transactional_id: &str,
) -> Result<(), ErrorCode> {
    if transactional_id.is_empty() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    coordinators::ensure_coordinator(cluster, broker_id, transactional_id)
}

/// Clients of old versions know only the other name of being fenced (KIP-588).
fn known_to_client(version: i16, first_version: i16, code: ErrorCode) -> ErrorCode {
    if version < first_version && code == ErrorCode::PRODUCER_FENCED {
        ErrorCode::INVALID_PRODUCER_EPOCH
    } else {
        code
    }
}

pub(super) fn init_producer_id(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &InitProducerIdRequest<'_>,
) -> Outcome {
    let response = match init(cluster, call, request) {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(code) => InitProducerIdResponse {
            error_code: known_to_client(call.version(), 4, code),
            producer_epoch: -1,
            ..Default::default()
        },
    };
    call.reply::<InitProducerIdRequest<'_>>(&response)
}

fn init(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &InitProducerIdRequest<'_>,
) -> Result<ProducerIdAndEpoch, ErrorCode> {
    match request.transactional_id {
        Some(id) => call.check(cluster, Operation::Write, Resource::TransactionalId(id))?,
        None => producers::may_be_idempotent(cluster, call)?,
    }
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ErrorCode::INVALID_REQUEST),
        (id, epoch) => Some(ProducerIdAndEpoch { id, epoch }),
    };
    let Some(transactional_id) = request.transactional_id else {
        let id = cluster.producer_ids.allocate();
        return Ok(ProducerIdAndEpoch { id, epoch: 0 });
    };
    if transactional_id.is_empty() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let timeout_ms = request.transaction_timeout_ms;
    if !is_valid_timeout(timeout_ms) {
        return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
    }
    ensure_coordinator(cluster, call.broker_id, transactional_id)?;
    let ids = &mut cluster.producer_ids;
    cluster
        .transactions
        .init(transactional_id, expected, timeout_ms, ids)
}

/// All partitions are added or none.
pub(super) fn add_partitions(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &AddPartitionsToTxnRequest<'_>,
) -> Outcome {
    let topics = &request.v3_and_below_topics;
    let id = Resource::TransactionalId(request.v3_and_below_transactional_id);
    let allowed = call.check(cluster, Operation::Write, id);
    let is_faultless = topics.iter().all(|topic| {
        let mut indexes = topic.partitions.iter();
        indexes.all(|index| fault(cluster, call, topic.name, index).is_none())
    });
    let added = match allowed {
        Ok(()) if is_faultless => add(cluster, call, request),
        Ok(()) => Err(ErrorCode::OPERATION_NOT_ATTEMPTED),
        Err(code) => Err(code),
    };
    let common = added.map_err(|code| known_to_client(call.version(), 2, code));
    let common = common.err().unwrap_or_default();
    let own = |topic: &str, index| fault(cluster, call, topic, index).filter(|_| allowed.is_ok());
    let code = |topic: &str, index| own(topic, index).unwrap_or(common);
    let results = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|index| AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: code(topic.name, index).0,
        });
        AddPartitionsToTxnTopicResult {
            name: topic.name,
            results_by_partition: partitions.collect(),
        }
    });
    let results_by_topic_v3_and_below = results.collect();
    call.reply::<AddPartitionsToTxnRequest<'_>>(&AddPartitionsToTxnResponse {
        throttle_time_ms: 0,
        results_by_topic_v3_and_below,
    })
}

/// What keeps a partition from being added.
fn fault(cluster: &Cluster, call: &Call<'_>, topic: &str, index: i32) -> Option<ErrorCode> {
    if is_internal_topic(topic) {
        return Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    let allowed = call.check(cluster, Operation::Write, Resource::Topic(topic));
    allowed
        .and_then(|()| cluster.partition(topic, index).map(drop))
        .err()
}

fn add(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &AddPartitionsToTxnRequest<'_>,
) -> Result<(), ErrorCode> {
    let topics = request.v3_and_below_topics.iter();
    let mut partitions: Vec<TopicPartition> = Vec::new();
    for topic in topics {
        let indexes = topic.partitions.iter();
        partitions.extend(indexes.map(|index| (topic.name.to_owned(), index)));
    }
    let transactional_id = request.v3_and_below_transactional_id;
    ensure_writable(cluster, call, transactional_id)?;
    let producer = ProducerIdAndEpoch {
        id: request.v3_and_below_producer_id,
        epoch: request.v3_and_below_producer_epoch,
    };
    cluster
        .transactions
        .add(transactional_id, producer, partitions, call.now)
}

/// Adds the partition of the offsets topic that a group belongs to.
pub(super) fn add_offsets(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &AddOffsetsToTxnRequest<'_>,
) -> Outcome {
    let transactional_id = request.transactional_id;
    let group_partition = coordinators::partition_of(request.group_id);
    let producer = ProducerIdAndEpoch {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let added = ensure_writable(cluster, call, transactional_id).and_then(|()| {
        call.check(cluster, Operation::Read, Resource::Group(request.group_id))?;
        let partition = (OFFSETS_TOPIC.to_owned(), group_partition);
        let transactions = &mut cluster.transactions;
        transactions.add(transactional_id, producer, [partition], call.now)
    });
    let code = added.err().unwrap_or_default();
    call.reply::<AddOffsetsToTxnRequest<'_>>(&AddOffsetsToTxnResponse {
        throttle_time_ms: 0,
        error_code: known_to_client(call.version(), 2, code),
    })
}

pub(super) fn end(cluster: &mut Cluster, call: &Call<'_>, request: &EndTxnRequest<'_>) -> Outcome {
    let transactional_id = request.transactional_id;
    let protocol = if call.version() >= BUMPING_END_TXN {
        Protocol::V2
    } else {
        Protocol::V1
    };
    let producer = ProducerIdAndEpoch {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let ended = ensure_writable(cluster, call, transactional_id).and_then(|()| {
        cluster.transactions.end(
            transactional_id,
            producer,
            (request.committed, protocol),
            call.now,
            &mut cluster.producer_ids,
        )
    });
    let response = match ended {
        Ok(producer) => EndTxnResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(code) => EndTxnResponse {
            error_code: known_to_client(call.version(), 2, code),
            ..Default::default()
        },
    };
    call.reply::<EndTxnRequest<'_>>(&response)
}
