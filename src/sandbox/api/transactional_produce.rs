//! What lets a transactional batch into a partition (KIP-890).
//!
//! The coordinator is asked before the batch is looked into, so that a batch that is refused may
//! have begun a transaction. Source: `ReplicaManager.handleProduceAppend` and
//! `AddPartitionsToTxnManager`.

use std::collections::BTreeSet;

use kmirror_protocol::{ErrorCode, messages::ProduceRequest, records::BatchHeader};

use super::{Call, Cluster, produce};
use crate::sandbox::{
    transactions::ProducerIdAndEpoch,
    validate::{self, Rejection},
};

/// The first version of Produce that adds partitions to a transaction implicitly.
const ADDING_VERSION: i16 = 12;

/// The first version of Produce whose clients know [`ErrorCode::TRANSACTION_ABORTABLE`].
const ABORTABLE_VERSION: i16 = 11;

/// Whether a batch is one of a transaction; one without producer id never is.
const fn is_of_transaction(batch: &BatchHeader) -> bool {
    batch.attributes.is_transactional() && batch.producer_id >= 0
}

/// Whether all transactional batches of a request have one producer.
///
/// # Errors
///
/// [`ErrorCode::INVALID_PRODUCER_ID_MAPPING`] when they have not.
pub(super) fn ensure_one_producer(
    request: &ProduceRequest<'_>,
    version: i16,
) -> Result<(), Rejection> {
    let mut producers = BTreeSet::new();
    for topic in &request.topic_data {
        for partition in &topic.partition_data {
            let batch = validate::single_batch(produce::blob(&partition), version);
            if let Ok(batch) = batch
                && is_of_transaction(&batch.header)
            {
                producers.insert((batch.header.producer_id, batch.header.producer_epoch));
            }
        }
    }
    if producers.len() <= 1 {
        return Ok(());
    }
    let message = "Transactional records contained more than one producer ID";
    Err(Rejection {
        message: Some(message.to_owned()),
        ..ErrorCode::INVALID_PRODUCER_ID_MAPPING.into()
    })
}

/// Lets the coordinator know of a transactional batch, or asks whether it knows; only the
/// partition's leader does.
///
/// # Errors
///
/// Why the batch may not be appended.
pub(super) fn verify(
    cluster: &mut Cluster,
    call: &Call<'_>,
    transactional_id: Option<&str>,
    (topic, index): (&str, i32),
    batch: &BatchHeader,
) -> Result<(), Rejection> {
    let Some(transactional_id) = transactional_id.filter(|_| is_of_transaction(batch)) else {
        return Ok(());
    };
    let adds = call.version() >= ADDING_VERSION;
    let partition = cluster.partition_mut(topic, index)?;
    let Ok(log) = partition.led_log_mut(call.broker_id) else {
        return Ok(());
    };
    if !log.producers.begin_verification(batch, adds, call.now)? {
        return Ok(());
    }
    if transactional_id.is_empty() {
        return Err(ErrorCode::INVALID_REQUEST.into());
    }
    let producer = ProducerIdAndEpoch {
        id: batch.producer_id,
        epoch: batch.producer_epoch,
    };
    let partition = (topic.to_owned(), index);
    let transactions = &mut cluster.transactions;
    let known = if adds {
        transactions.add(transactional_id, producer, [partition], call.now)
    } else {
        transactions.verify(transactional_id, producer, &partition)
    };
    known.map_err(|code| as_produce_error(call.version(), code))
}

/// What producers expect instead of a coordinator's own errors.
fn as_produce_error(version: i16, code: ErrorCode) -> Rejection {
    let with_message = |code: ErrorCode, message: &str| Rejection {
        message: Some(message.to_owned()),
        ..code.into()
    };
    match code {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH.into(),
        ErrorCode::TRANSACTION_ABORTABLE if version < ABORTABLE_VERSION => with_message(
            ErrorCode::INVALID_TXN_STATE,
            "Partition was not added to the transaction",
        ),
        ErrorCode::CONCURRENT_TRANSACTIONS if version < ADDING_VERSION => with_message(
            ErrorCode::NOT_ENOUGH_REPLICAS,
            "Unable to verify the partition has been added to the transaction. Underlying error: \
             CONCURRENT_TRANSACTIONS",
        ),
        code => code.into(),
    }
}
