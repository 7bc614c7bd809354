//! DescribeTransactions and ListTransactions: what coordinators know.
//!
//! Source: `TransactionCoordinator.handleDescribeTransactions` and
//! `TransactionStateManager.listTransactionStates`.

use std::collections::BTreeMap;

use fancy_regex::Regex;
use kmirror_protocol::{
    ErrorCode,
    messages::{
        DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest,
        ListTransactionsResponse, describe_transactions, list_transactions,
    },
};

use super::{Call, Cluster, Outcome, transactions::ensure_coordinator};
use crate::sandbox::{
    acls::{Operation, Resource},
    coordinators,
    transactions::{State, Transaction},
};

pub(super) fn describe(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &DescribeTransactionsRequest<'_>,
) -> Outcome {
    let ids = request.transactional_ids.iter();
    let states = ids.map(|id| {
        let resource = Resource::TransactionalId(id);
        let allowed = call.check(cluster, Operation::Describe, resource);
        let found = allowed.and_then(|()| {
            ensure_coordinator(cluster, call.broker_id, id)?;
            let transaction = cluster.transactions.get(id);
            transaction.ok_or(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND)
        });
        match found {
            Ok(transaction) => described(id, transaction),
            Err(error_code) => describe_transactions::TransactionState {
                error_code,
                transactional_id: id,
                ..Default::default()
            },
        }
    });
    call.reply::<DescribeTransactionsRequest<'_>>(&DescribeTransactionsResponse {
        throttle_time_ms: 0,
        transaction_states: states.collect(),
    })
}

fn described<'a>(
    transactional_id: &'a str,
    transaction: &'a Transaction,
) -> describe_transactions::TransactionState<'a> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &transaction.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics.into_iter();
    let topics = topics.map(|(topic, partitions)| describe_transactions::TopicData {
        topic,
        partitions: partitions.into(),
    });
    describe_transactions::TransactionState {
        error_code: ErrorCode::NONE,
        transactional_id,
        transaction_state: transaction.state.name(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: transaction.started_at.0,
        producer_id: transaction.producer.id,
        producer_epoch: transaction.producer.epoch,
        topics: topics.collect(),
    }
}

/// Tells of the transactional ids that the broker coordinates.
pub(super) fn list(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &ListTransactionsRequest<'_>,
) -> Outcome {
    let Ok(pattern) = pattern(request) else {
        return call.reply::<ListTransactionsRequest<'_>>(&ListTransactionsResponse {
            error_code: ErrorCode::INVALID_REGULAR_EXPRESSION,
            ..Default::default()
        });
    };
    let is_here = |id: &str| coordinators::coordinator_of(cluster, id) == call.broker_id;
    let transactions = cluster.transactions.iter();
    let wanted = transactions.filter(|(id, transaction)| {
        let resource = Resource::TransactionalId(id);
        is_here(id)
            && call.check(cluster, Operation::Describe, resource).is_ok()
            && matches_filters(call, request, transaction)
            && pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(id).unwrap_or(false))
    });
    let states = wanted.map(|(id, transaction)| list_transactions::TransactionState {
        transactional_id: id,
        producer_id: transaction.producer.id,
        transaction_state: transaction.state.name(),
    });
    let unknown = request.state_filters.iter();
    let unknown = unknown.filter(|name| !State::is_known(name));
    call.reply::<ListTransactionsRequest<'_>>(&ListTransactionsResponse {
        unknown_state_filters: unknown.collect(),
        transaction_states: states.collect(),
        ..Default::default()
    })
}

/// What a whole transactional id must match, if anything.
fn pattern(request: &ListTransactionsRequest<'_>) -> Result<Option<Regex>, fancy_regex::Error> {
    let pattern = request.transactional_id_pattern;
    let pattern = pattern.filter(|pattern| !pattern.is_empty());
    let whole = pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$")));
    whole.transpose()
}

fn matches_filters(
    call: &Call<'_>,
    request: &ListTransactionsRequest<'_>,
    transaction: &Transaction,
) -> bool {
    let ids = &request.producer_id_filters;
    let states = &request.state_filters;
    let age_ms = call.now.0.saturating_sub(transaction.started_at.0);
    (ids.is_empty() || ids.iter().any(|id| id == transaction.producer.id))
        && (states.is_empty() || states.iter().any(|it| it == transaction.state.name()))
        && (request.duration_filter < 0 || age_ms > request.duration_filter)
}
