//! What to do about a failure, and how long to wait before doing it again.

use std::time::{Duration, Instant};

use kmirror_protocol::ErrorCode;

use super::limits;

/// Why a request, or one partition's part of it, did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The broker answered with an error code, and perhaps with words.
    Refused(ErrorCode, Option<String>),
    /// No answer: the connection could not be made, broke, or stayed silent.
    NoAnswer(String),
    /// The broker lacks the API or every version of it that is spoken here.
    Unsupported(String),
    /// The answer was not what the protocol allows.
    Malformed(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code, None) => write!(f, "{code}"),
            Self::Refused(code, Some(message)) => write!(f, "{code}: {message}"),
            Self::NoAnswer(text) | Self::Unsupported(text) | Self::Malformed(text) => {
                f.write_str(text)
            }
        }
    }
}

/// What happens next after a [`Failure`] of a Fetch, Produce, ListOffsets or InitProducerId.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Wait and send the same again.
    Retry,
    /// The leader is elsewhere: ask for metadata, wait, and send the same again.
    RefreshMetadata,
    /// The position is outside the log: find out where the log is.
    FindLogRange,
    /// The target's log does not continue where this producer left it.
    SequenceBroken,
    /// The target knows nothing of this producer id: start a new one.
    RestartProducer,
    /// Only somebody else can mend it: stop the partition and look again later.
    Halt,
}

impl Failure {
    /// Whether the broker says that there is no such topic.
    #[must_use]
    pub const fn is_missing_topic(&self) -> bool {
        matches!(
            self,
            Self::Refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _)
        )
    }

    /// Whether the broker found a checksum wrong.
    #[must_use]
    pub const fn is_corrupt_message(&self) -> bool {
        matches!(self, Self::Refused(ErrorCode::CORRUPT_MESSAGE, _))
    }

    /// Whether a Produce that failed so may be in the log all the same.
    ///
    /// `ReplicaManager.appendRecords` answers these after the append, or they say nothing of it.
    #[must_use]
    pub const fn is_ambiguous(&self) -> bool {
        match self {
            Self::Refused(code, _) => matches!(
                *code,
                ErrorCode::REQUEST_TIMED_OUT
                    | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                    | ErrorCode::KAFKA_STORAGE_ERROR
                    | ErrorCode::NETWORK_EXCEPTION
                    | ErrorCode::UNKNOWN_SERVER_ERROR
            ),
            Self::NoAnswer(_) | Self::Malformed(_) => true,
            Self::Unsupported(_) => false,
        }
    }

    /// Whether a Produce without sequence numbers that failed so may be in the log all the same, or
    /// come to be: nothing tells the target that it has seen the batch before.
    ///
    /// A leader that is deposed while it waits for its followers answers so after the append
    /// (`DelayedProduce.tryComplete`), and what the answer says depends on what it is by then. What
    /// is refused for good is refused before the append, as are `NOT_ENOUGH_REPLICAS` and a wrong
    /// checksum (`Partition.appendRecordsToLeader`, `LogValidator`).
    #[must_use]
    pub fn may_be_appended(&self) -> bool {
        let is_before_append = matches!(
            self,
            Self::Refused(
                ErrorCode::NOT_ENOUGH_REPLICAS
                    | ErrorCode::CORRUPT_MESSAGE
                    | ErrorCode::THROTTLING_QUOTA_EXCEEDED,
                _
            )
        );
        self.is_ambiguous() || (self.remedy() != Remedy::Halt && !is_before_append)
    }

    /// Whether brokers before 2.8 answer so to a Produce with a producer id when the right
    /// IdempotentWrite on the cluster is missing (KIP-679); nothing else makes them answer it.
    #[must_use]
    pub const fn is_idempotence_refused(&self) -> bool {
        matches!(
            self,
            Self::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, _)
        )
    }

    /// The remedy for this failure.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Refused(code, _) => remedy_of_code(*code),
            Self::NoAnswer(_) => Remedy::RefreshMetadata,
            Self::Malformed(_) => Remedy::Retry,
            Self::Unsupported(_) => Remedy::Halt,
        }
    }
}

fn remedy_of_code(code: ErrorCode) -> Remedy {
    match code {
        ErrorCode::OFFSET_OUT_OF_RANGE => Remedy::FindLogRange,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        | ErrorCode::DUPLICATE_SEQUENCE_NUMBER
        | ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED => Remedy::SequenceBroken,
        // Brokers before 2.5 that have dropped the producer's state (KIP-360).
        ErrorCode::UNKNOWN_PRODUCER_ID | ErrorCode::INVALID_PRODUCER_ID_MAPPING => {
            Remedy::RestartProducer
        }
        // A newer id or epoch may just not have reached this broker yet.
        ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH => Remedy::RefreshMetadata,
        code if code.needs_metadata_refresh() => Remedy::RefreshMetadata,
        code if code.is_retriable() => Remedy::Retry,
        ErrorCode::UNKNOWN_SERVER_ERROR => Remedy::Retry,
        _ => Remedy::Halt,
    }
}

/// Exponential waits with jitter, reset by success.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    attempt: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            attempt: 0,
            until: None,
        }
    }

    /// Notes a failure at `now`; returns when to try again.
    ///
    /// `seed` spreads partitions that failed together over the second half of the wait.
    pub fn fail(&mut self, now: Instant, seed: u64) -> Instant {
        let wait = backoff(self.attempt, seed);
        self.attempt = self.attempt.saturating_add(1);
        let until = now + wait;
        self.until = Some(until);
        until
    }

    /// Notes a success.
    pub const fn succeed(&mut self) {
        self.attempt = 0;
        self.until = None;
    }

    /// Whether the wait is still on.
    #[must_use]
    pub fn is_waiting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// When the wait ends, if there is one.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How many failures there have been since the last success.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// The wait before attempt `attempt + 1`: doubling up to a cap, the second half of it jittered.
#[must_use]
pub fn backoff(attempt: u32, seed: u64) -> Duration {
    let full = limits::BACKOFF_FIRST
        .saturating_mul(1 << attempt.min(16))
        .min(limits::BACKOFF_MAX);
    let half = full / 2;
    // A multiplicative hash spreads neighbouring seeds; its top 16 bits choose the jitter.
    let spread = seed
        .wrapping_add(u64::from(attempt))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        >> 48;
    let part = u32::try_from(spread).unwrap_or(0);
    half + half.saturating_mul(part) / 65_536
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_error_code_has_a_considered_remedy() {
        // What is not named here must be what Kafka itself calls retriable, or a halt.
        for code in ErrorCode::ALL {
            let remedy = Failure::Refused(*code, None).remedy();
            let retriable = code.is_retriable() || code.needs_metadata_refresh();
            match remedy {
                Remedy::Halt => assert!(!retriable, "{code} may pass by itself"),
                Remedy::Retry => assert!(
                    retriable || *code == ErrorCode::UNKNOWN_SERVER_ERROR,
                    "{code} does not pass by itself"
                ),
                Remedy::RefreshMetadata
                | Remedy::FindLogRange
                | Remedy::SequenceBroken
                | Remedy::RestartProducer => {}
            }
        }
    }

    #[test]
    fn backoff_grows_to_its_cap_and_stays_between_half_and_whole() {
        for seed in 0..50 {
            for attempt in 0..80 {
                let wait = backoff(attempt, seed);
                assert!(wait >= limits::BACKOFF_FIRST / 2 && wait <= limits::BACKOFF_MAX);
            }
            assert!(backoff(40, seed) >= limits::BACKOFF_MAX / 2);
        }
    }

    #[test]
    fn success_ends_the_wait() {
        let (mut wait, now) = (Backoff::default(), super::super::tests::epoch());
        let until = wait.fail(now, 1);
        assert!(wait.is_waiting(now) && !wait.is_waiting(until));
        wait.succeed();
        assert!(!wait.is_waiting(now));
        assert_eq!(wait.attempt(), 0);
    }
}
