//! FindCoordinator, InitProducerId, AddPartitionsToTxn, EndTxn and DescribeTransactions for one
//! transactional id.

use std::{collections::BTreeMap, time::Duration};

use kmirror_protocol::{
    ErrorCode,
    messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, DescribeTransactionsRequest,
        DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, FindCoordinatorRequest,
        FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
        add_partitions_to_txn::AddPartitionsToTxnTopic,
    },
};

use super::{Question, millis, refusal};
use crate::{
    flow::{
        Failure, InTransaction, TopicPartition, TransactionAnswer, TransactionEnd,
        TransactionProtocol,
    },
    offsets::state::Lineage,
};

/// The feature whose finalized level says which protocol the transactions of a cluster have.
pub const FEATURE: &str = "transaction.version";

/// `FindCoordinatorRequest.CoordinatorType.TRANSACTION`.
const TRANSACTIONAL_ID: i8 = 1;

/// `ProduceRequest.LAST_STABLE_VERSION_BEFORE_TRANSACTION_V2`.
const PRODUCE_V1: i16 = 11;

/// `EndTxnRequest.LAST_STABLE_VERSION_BEFORE_TRANSACTION_V2`.
const END_V1: i16 = 4;

/// The newest version of Produce that goes with a transaction; any where there is none.
#[must_use]
pub fn produce_version_max(within: Option<&InTransaction>) -> i16 {
    match within.map(|transaction| transaction.protocol) {
        Some(TransactionProtocol::V1) => PRODUCE_V1,
        Some(TransactionProtocol::V2) | None => i16::MAX,
    }
}

/// Asks any broker for the coordinator of a transactional id.
#[must_use]
pub fn find_coordinator(transactional_id: &str) -> Question<FindCoordinatorRequest<'_>> {
    Question::from(FindCoordinatorRequest {
        // Each of the two in the versions that have it.
        key: transactional_id,
        coordinator_keys: vec![transactional_id].into(),
        key_type: TRANSACTIONAL_ID,
    })
}

/// The coordinator's broker.
///
/// # Errors
///
/// The broker's refusal; `COORDINATOR_NOT_AVAILABLE` while there is none.
pub fn coordinator(response: &FindCoordinatorResponse<'_>) -> Result<TransactionAnswer, Failure> {
    let node = match response.coordinators.first() {
        Some(found) => {
            refusal(found.error_code, found.error_message)?;
            found.node_id
        }
        None => {
            refusal(response.error_code, response.error_message)?;
            response.node_id
        }
    };
    if node < 0 {
        return Err(Failure::Refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, None));
    }
    Ok(TransactionAnswer::Coordinator(node))
}

/// Asks for the next epoch of a transactional id; of one that is expected to be current, if named.
#[must_use]
pub fn init(
    transactional_id: &str,
    timeout: Duration,
    expected: Option<Lineage>,
) -> Question<InitProducerIdRequest<'_>> {
    let (producer_id, producer_epoch) =
        expected.map_or((-1, -1), |expected| (expected.producer_id, expected.epoch));
    Question::from(InitProducerIdRequest {
        transactional_id: Some(transactional_id),
        transaction_timeout_ms: millis(timeout),
        producer_id,
        producer_epoch,
    })
}

/// The producer; `level` is the finalized one of [`FEATURE`], 0 where there is none.
///
/// # Errors
///
/// The coordinator's refusal.
pub fn producer(
    response: &InitProducerIdResponse,
    level: i16,
) -> Result<TransactionAnswer, Failure> {
    refusal(response.error_code, None)?;
    let producer = Lineage {
        producer_id: response.producer_id,
        epoch: response.producer_epoch,
    };
    let protocol = TransactionProtocol::of_level(level);
    Ok(TransactionAnswer::Producer(producer, protocol))
}

/// Lets partitions into the transaction.
#[must_use]
pub fn enter<'a>(
    transactional_id: &'a str,
    producer: Lineage,
    partitions: &'a [TopicPartition],
) -> Question<AddPartitionsToTxnRequest<'a>> {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        by_topic.entry(topic).or_default().push(*partition);
    }
    let topics = by_topic.into_iter();
    let topics = topics.map(|(name, partitions)| AddPartitionsToTxnTopic {
        name,
        partitions: partitions.into(),
    });
    Question::from(AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: transactional_id,
        v3_and_below_producer_id: producer.producer_id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: topics.collect(),
    })
}

/// What became of each partition.
///
/// # Errors
///
/// `Malformed` when the answer leaves one out.
pub fn entered(
    response: &AddPartitionsToTxnResponse<'_>,
    asked: &[TopicPartition],
) -> Result<TransactionAnswer, Failure> {
    let mut codes: BTreeMap<(&str, i32), i16> = BTreeMap::new();
    for topic in &response.results_by_topic_v3_and_below {
        for result in &topic.results_by_partition {
            let place = (topic.name, result.partition_index);
            codes.entry(place).or_insert(result.partition_error_code);
        }
    }
    let results = asked.iter().map(|asked| {
        let code = codes.get(&(&*asked.topic, asked.partition));
        let code = code.ok_or_else(|| {
            let words = format!("the coordinator left {asked} out of its answer");
            Failure::Malformed(words)
        })?;
        Ok((asked.clone(), refusal(ErrorCode(*code), None)))
    });
    let results: Result<Vec<_>, Failure> = results.collect();
    results.map(TransactionAnswer::Entered)
}

/// Ends the transaction.
#[must_use]
pub fn end(
    transactional_id: &str,
    producer: Lineage,
    protocol: TransactionProtocol,
    commits: bool,
) -> Question<EndTxnRequest<'_>> {
    Question {
        version_max: (protocol == TransactionProtocol::V1).then_some(END_V1),
        ..Question::from(EndTxnRequest {
            transactional_id,
            producer_id: producer.producer_id,
            producer_epoch: producer.epoch,
            committed: commits,
        })
    }
}

/// That it has ended, and what the producer goes on with if the answer says so.
///
/// # Errors
///
/// The coordinator's refusal.
pub fn ended(response: &EndTxnResponse) -> Result<TransactionAnswer, Failure> {
    refusal(response.error_code, None)?;
    let next = Lineage {
        producer_id: response.producer_id,
        epoch: response.producer_epoch,
    };
    let is_named = next.producer_id >= 0 && next.epoch >= 0;
    Ok(TransactionAnswer::Ended(is_named.then_some(next)))
}

/// Asks who has a transactional id (KIP-664).
#[must_use]
pub fn describe(transactional_id: &str) -> Question<DescribeTransactionsRequest<'_>> {
    Question::from(DescribeTransactionsRequest {
        transactional_ids: vec![transactional_id].into(),
    })
}

/// Who has it.
///
/// # Errors
///
/// The coordinator's refusal: `TRANSACTIONAL_ID_NOT_FOUND` when nobody has.
pub fn described(
    response: &DescribeTransactionsResponse<'_>,
) -> Result<TransactionAnswer, Failure> {
    let words = "the coordinator left the transactional id out of its answer";
    let state = response.transaction_states.first();
    let state = state.ok_or_else(|| Failure::Malformed(String::from(words)))?;
    refusal(state.error_code, None)?;
    Ok(TransactionAnswer::Described {
        producer: Lineage {
            producer_id: state.producer_id,
            epoch: state.producer_epoch,
        },
        end: match state.transaction_state {
            "PrepareAbort" | "CompleteAbort" => Some(TransactionEnd::Aborted),
            "PrepareCommit" | "CompleteCommit" => Some(TransactionEnd::Committed),
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kmirror_protocol::messages::{
        add_partitions_to_txn::{AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult},
        describe_transactions::TransactionState,
        find_coordinator::Coordinator,
    };

    use super::*;

    #[test]
    fn coordinators_are_found_in_both_forms_of_the_answer() {
        let old = |node_id, error_code| FindCoordinatorResponse {
            node_id,
            error_code,
            ..FindCoordinatorResponse::default()
        };
        let new = |node_id, error_code| FindCoordinatorResponse {
            coordinators: vec![Coordinator {
                node_id,
                error_code,
                ..Coordinator::default()
            }]
            .into(),
            ..FindCoordinatorResponse::default()
        };
        for answer in [old, new] {
            let found = coordinator(&answer(7, ErrorCode::NONE));
            assert_eq!(found, Ok(TransactionAnswer::Coordinator(7)));
            let missing = Failure::Refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, None);
            assert_eq!(coordinator(&answer(-1, ErrorCode::NONE)), Err(missing));
            assert!(coordinator(&answer(7, ErrorCode::GROUP_AUTHORIZATION_FAILED)).is_err());
        }
    }

    #[test]
    fn a_partition_that_an_answer_leaves_out_has_not_entered() {
        let place = |partition| TopicPartition {
            topic: Arc::from("t"),
            partition,
        };
        let result = |partition_index, partition_error_code| AddPartitionsToTxnPartitionResult {
            partition_index,
            partition_error_code,
        };
        let response = AddPartitionsToTxnResponse {
            throttle_time_ms: 0,
            results_by_topic_v3_and_below: vec![AddPartitionsToTxnTopicResult {
                name: "t",
                results_by_partition: vec![result(0, 0), result(1, 55), result(1, 0)].into(),
            }]
            .into(),
        };
        let refused = Failure::Refused(ErrorCode::OPERATION_NOT_ATTEMPTED, None);
        let answer = entered(&response, &[place(0), place(1)]);
        let expected = vec![(place(0), Ok(())), (place(1), Err(refused))];
        assert_eq!(answer, Ok(TransactionAnswer::Entered(expected)));
        assert!(entered(&response, &[place(0), place(2)]).is_err());
    }

    #[test]
    fn states_tell_how_the_last_transaction_ended() {
        let states = [
            ("Empty", None),
            ("Ongoing", None),
            ("PrepareCommit", Some(TransactionEnd::Committed)),
            ("PrepareAbort", Some(TransactionEnd::Aborted)),
            ("CompleteCommit", Some(TransactionEnd::Committed)),
            ("CompleteAbort", Some(TransactionEnd::Aborted)),
        ];
        for (transaction_state, expected) in states {
            let state = TransactionState {
                transaction_state,
                ..TransactionState::default()
            };
            let answer = described(&DescribeTransactionsResponse {
                throttle_time_ms: 0,
                transaction_states: vec![state].into(),
            });
            let Ok(TransactionAnswer::Described { end, .. }) = answer else {
                panic!("{answer:?}");
            };
            assert_eq!(end, expected, "{transaction_state}");
        }
        assert!(described(&DescribeTransactionsResponse::default()).is_err());
    }

    #[test]
    fn an_end_of_the_old_protocol_names_no_next_producer() {
        let producer = Lineage {
            producer_id: 5,
            epoch: 2,
        };
        let answer = |next: Option<Lineage>| {
            ended(&EndTxnResponse {
                producer_id: next.map_or(-1, |next| next.producer_id),
                producer_epoch: next.map_or(-1, |next| next.epoch),
                ..EndTxnResponse::default()
            })
        };
        for next in [None, Some(producer)] {
            assert_eq!(answer(next), Ok(TransactionAnswer::Ended(next)));
        }
        let version = |protocol| end("x", producer, protocol, true).version_max;
        assert_eq!(version(TransactionProtocol::V1), Some(END_V1));
        assert_eq!(version(TransactionProtocol::V2), None);
    }
}
