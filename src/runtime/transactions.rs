//! Questions about a flow's transactional id: each one request, on the control connection.

use kmirror_protocol::messages::InitProducerIdRequest;

use super::{
    client::Client,
    convert::decoded,
    exchange::{Question, transactions},
};
use crate::{
    cluster::{Lane, To},
    flow::{Failure, TransactionAnswer, TransactionQuestion},
};

/// Asks once. What a failure means is the flow's business.
///
/// # Errors
///
/// [`Failure`] of the request, or the coordinator's refusal.
pub(super) async fn answer(
    cluster: &impl Client,
    transactional_id: &str,
    question: &TransactionQuestion,
) -> Result<TransactionAnswer, Failure> {
    match question {
        TransactionQuestion::FindCoordinator => {
            let question = transactions::find_coordinator(transactional_id);
            transactions::coordinator(&decoded(&cluster.ask(To::Any, question).await?)?)
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
            let answer = cluster.ask_on(*node, Lane::Control, question).await?;
            transactions::entered(&decoded(&answer)?, partitions)
        }
        TransactionQuestion::End {
            node,
            producer,
            protocol,
            commits,
        } => {
            let question = transactions::end(transactional_id, *producer, *protocol, *commits);
            let answer = cluster.ask_on(*node, Lane::Control, question).await?;
            transactions::ended(&decoded(&answer)?)
        }
        TransactionQuestion::Describe { node } => {
            let question = transactions::describe(transactional_id);
            let answer = cluster.ask_on(*node, Lane::Control, question).await?;
            transactions::described(&decoded(&answer)?)
        }
    }
}

/// Asks the coordinator for a producer, and what protocol its cluster has.
async fn init(
    cluster: &impl Client,
    node: i32,
    question: Question<InitProducerIdRequest<'_>>,
) -> Result<TransactionAnswer, Failure> {
    let level = cluster.transaction_version(node).await?;
    let answer = cluster.ask_on(node, Lane::Control, question).await?;
    transactions::producer(&decoded(&answer)?, level)
}
