//! InitProducerId: new producer ids.

use kmirror_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::{Question, refusal};
use crate::flow::Failure;

/// Asks for a producer id that is not tied to a transactional id; any broker gives one.
#[must_use]
pub fn init_producer_id() -> Question<InitProducerIdRequest<'static>> {
    Question::from(InitProducerIdRequest {
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    })
}

/// The new id and its epoch.
///
/// # Errors
///
/// The broker's refusal; one in its first seconds answers `COORDINATOR_LOAD_IN_PROGRESS`.
pub fn producer_id(response: &InitProducerIdResponse) -> Result<(i64, i16), Failure> {
    refusal(response.error_code, None)?;
    Ok((response.producer_id, response.producer_epoch))
}
