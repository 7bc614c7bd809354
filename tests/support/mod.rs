//! What the integration tests share.

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) mod external;
pub(crate) mod golden;
pub(crate) mod java;
pub(crate) mod java_client;
pub(crate) mod kafka;
pub(crate) mod kmirror;
mod metadata_probe;
pub(crate) mod own_reader;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod sandbox;
pub(crate) mod scripted_listener;

/// How often a condition of another process is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Answers what `look` finds, as soon as it finds something; `None` when it has not within `max`.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes live in real time"
)]
pub(crate) fn wait_for<T>(max: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + max;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(POLL);
    }
}
