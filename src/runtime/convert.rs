//! From the cluster's words to the flow's, and one question with one answer.

use kmirror_protocol::Request;
use tokio::task::JoinError;

use super::exchange::Question;
use crate::{
    cluster::{Answer, Cluster, Lane, RequestError, SendOptions, To},
    flow::Failure,
};

/// What a request without an answer means to a flow.
pub(super) fn failure(error: &RequestError) -> Failure {
    let text = error.to_string();
    match error {
        RequestError::Disconnected { .. }
        | RequestError::TimedOut { .. }
        | RequestError::WrongCluster { .. }
        | RequestError::Denied { .. } => Failure::NoAnswer(text),
        RequestError::Unsupported { .. } | RequestError::Unsendable { .. } => {
            Failure::Unsupported(text)
        }
        RequestError::Malformed { .. } => Failure::Malformed(text),
    }
}

/// What it means to a flow that a request was not sent for want of a connection.
pub(super) fn unreached(error: &RequestError) -> Failure {
    match failure(error) {
        Failure::NoAnswer(text) => Failure::Unreached(text),
        other => other,
    }
}

/// What a question that ended with its task means to a flow.
pub(super) fn lost(error: &JoinError) -> Failure {
    Failure::NoAnswer(format!("the request was given up: {error}"))
}

/// How a question is sent.
pub(super) fn options<R>(question: &Question<R>) -> SendOptions {
    SendOptions {
        answer_len_max: question.answer_len_max,
        version_max: question.version_max,
        ..SendOptions::default()
    }
}

/// Asks on a control connection, once.
pub(super) async fn ask<R: Request>(
    cluster: &Cluster,
    to: To,
    question: Question<R>,
) -> Result<Answer<R>, Failure> {
    let options = options(&question);
    let answer = cluster.request_with(to, &question.request, options).await;
    answer.map_err(|error| failure(&error))
}

/// Asks a broker on a connection of its own kind, once.
pub(super) async fn ask_on<R: Request>(
    cluster: &Cluster,
    node: i32,
    lane: Lane,
    question: Question<R>,
) -> Result<Answer<R>, Failure> {
    let options = options(&question);
    let connection = cluster.broker(node, lane).await;
    let connection = connection.map_err(|error| unreached(&error))?;
    let answer = async { connection.send_with(&question.request, options)?.await };
    answer.await.map_err(|error| failure(&error))
}

/// What an answer says.
pub(super) fn decoded<R: Request>(answer: &Answer<R>) -> Result<R::Response<'_>, Failure> {
    answer.decode().map_err(|error| failure(&error))
}
