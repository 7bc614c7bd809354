//! From the cluster's words to the flow's.

use kmirror_protocol::Request;

use super::exchange::Question;
use crate::{
    cluster::{Answer, RequestError, SendOptions},
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

/// How a question is sent.
pub(super) fn options<R>(question: &Question<R>) -> SendOptions {
    SendOptions {
        answer_len_max: question.answer_len_max,
        version_max: question.version_max,
        ..SendOptions::default()
    }
}

/// What an answer says.
///
/// # Errors
///
/// [`Failure::Malformed`] names the field.
pub fn decoded<R: Request>(answer: &Answer<R>) -> Result<R::Response<'_>, Failure> {
    answer.decode().map_err(|error| failure(&error))
}
