//! Questions about a flow's transactional id: each one request, on the control connection.

use kmirror_protocol::messages::InitProducerIdRequest;

use super::{
    convert::{ask, ask_on, decoded, failure, options, unreached},
    exchange::{Question, transactions},
};
use crate::{
    cluster::{Cluster, Lane, To},
    flow::{Failure, TransactionAnswer, TransactionQuestion},
};

/// Asks once. What a failure means is the flow's business.
///
/// # Errors
///
/// [`Failure`] of the request, or the coordinator's refusal.
pub(super) async fn answer(
    cluster: &Cluster,
    transactional_id: &str,
    question: &TransactionQuestion,
) -> Result<TransactionAnswer, Failure> {
    match question {
        TransactionQuestion::FindCoordinator => {
            let question = transactions::find_coordinator(transactional_id);
            transactions::coordinator(&decoded(&ask(cluster, To::Any, question).await?)?)
        }
        TransactionQuestion::Init {
            node,
            timeout,
            expected,
        } => {
            let question = transactions::init(transactional_id, *timeout, *expected);
            init(cluster, *node, question).await
        }
        TransactionQuestion::Enter {
            node,
            producer,
            partitions,
        } => {
            let question = transactions::enter(transactional_id, *producer, partitions);
            let answer = ask_on(cluster, *node, Lane::Control, question).await?;
            transactions::entered(&decoded(&answer)?, partitions)
        }
        TransactionQuestion::End {
            node,
            producer,
            protocol,
            commits,
        } => {
            let question = transactions::end(transactional_id, *producer, *protocol, *commits);
            let answer = ask_on(cluster, *node, Lane::Control, question).await?;
            transactions::ended(&decoded(&answer)?)
        }
        TransactionQuestion::Describe { node } => {
            let question = transactions::describe(transactional_id);
            let answer = ask_on(cluster, *node, Lane::Control, question).await?;
            transactions::described(&decoded(&answer)?)
        }
    }
}

/// Asks the coordinator for a producer, and what protocol its cluster has.
async fn init(
    cluster: &Cluster,
    node: i32,
    question: Question<InitProducerIdRequest<'_>>,
) -> Result<TransactionAnswer, Failure> {
    let options = options(&question);
    let connection = cluster.broker(node, Lane::Control).await;
    let connection = connection.map_err(|error| unreached(&error))?;
    let answer = async { connection.send_with(&question.request, options)?.await };
    let answer = answer.await.map_err(|error| failure(&error))?;
    let level = connection.ranges().transaction_version();
    transactions::producer(&decoded(&answer)?, level)
}
