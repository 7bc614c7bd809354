//! How long a broker that could not be reached is left alone. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    error::RequestError,
    limits::{BACKOFF_FIRST, BACKOFF_MAX, DENIED_BACKOFF_FIRST, DENIED_BACKOFF_MAX},
};

/// What is remembered of the last failed attempts to connect to one broker.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    failed_at: Instant,
    until: Instant,
    error: RequestError,
}

impl Backoff {
    /// Remembers a failure of an attempt that began at `began`, at `now`.
    ///
    /// Attempts that ran side by side count as one failure. `jitter` is 0.0 to 1.0.
    pub(super) fn failed(
        before: Option<&Self>,
        (began, now): (Instant, Instant),
        jitter: f64,
        error: RequestError,
    ) -> Self {
        let failures = before.map_or(1, |before| {
            let side_by_side = began < before.failed_at;
            before.failures.saturating_add(u32::from(!side_by_side))
        });
        let is_denied = matches!(error, RequestError::Denied { .. });
        Self {
            failures,
            failed_at: now,
            until: now + pause(failures, jitter, is_denied),
            error,
        }
    }

    /// The last error while it is too early for another attempt.
    pub(super) fn error(&self, now: Instant) -> Option<&RequestError> {
        (now < self.until).then_some(&self.error)
    }
}

/// The pause after so many failures: doubles from 50 ms to 1 s, 20 % more or less, as Kafka's
/// `ExponentialBackoff` has it. Longer where this program was not let in. `jitter` is 0.0 to 1.0.
fn pause(failures: u32, jitter: f64, is_denied: bool) -> Duration {
    let (first, longest) = if is_denied {
        (DENIED_BACKOFF_FIRST, DENIED_BACKOFF_MAX)
    } else {
        (BACKOFF_FIRST, BACKOFF_MAX)
    };
    let doublings = failures.saturating_sub(1).min(16);
    let pause = first.saturating_mul(1_u32 << doublings);
    pause.min(longest).mul_f64(0.8 + 0.4 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::error::{Broker, DisconnectCause, Origin};

    #[test]
    fn the_pause_doubles_up_to_a_second_and_varies_by_a_fifth() {
        let cases = [
            (1, 50),
            (2, 100),
            (5, 800),
            (6, 1000),
            (7, 1000),
            (u32::MAX, 1000),
        ];
        for (failures, millis) in cases {
            let expected = Duration::from_millis(millis);
            assert_eq!(pause(failures, 0.5, false), expected, "{failures}");
            assert_eq!(
                pause(failures, 0.0, false),
                expected.mul_f64(0.8),
                "{failures}"
            );
            assert_eq!(
                pause(failures, 1.0, false),
                expected.mul_f64(1.2),
                "{failures}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_side_by_side_count_as_one_failure() {
        let broker = Broker {
            cluster: "A".into(),
            node_id: Some(1),
            host: "b1".into(),
            port: 9092,
        };
        let error = RequestError::Disconnected {
            origin: Origin::new(broker.into(), None),
            cause: DisconnectCause::Closed,
        };
        let (start, step) = (Instant::now(), Duration::from_secs(1));
        let first = Backoff::failed(None, (start, start + step), 0.5, error.clone());
        assert!(first.error(start + step).is_some());
        assert!(
            first
                .error(start + step + Duration::from_millis(50))
                .is_none()
        );

        let beside = Backoff::failed(Some(&first), (start, start + step), 0.5, error.clone());
        assert_eq!(beside.failures, 1);
        let after = Backoff::failed(Some(&beside), (start + step, start + 2 * step), 0.5, error);
        assert_eq!(after.failures, 2);
    }
}
