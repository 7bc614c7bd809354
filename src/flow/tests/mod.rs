//! What a flow does, event by event, in virtual time.

use std::time::Instant;

/// Some instant to start from; only differences matter.
#[expect(
    clippy::disallowed_methods,
    reason = "an instant cannot be made otherwise"
)]
pub(super) fn epoch() -> Instant {
    Instant::now()
}
