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
    /// The request was not sent, because the connection could not be made.
    Unreached(String),
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
            Self::NoAnswer(text)
            | Self::Unreached(text)
            | Self::Unsupported(text)
            | Self::Malformed(text) => f.write_str(text),
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

/// What happens next after a transaction coordinator's [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionRemedy {
    /// Wait and ask the same again.
    Retry,
    /// The coordinator is elsewhere: find it, wait, and ask the same again.
    FindCoordinator,
    /// What has become of the transaction is open, or it can only be aborted.
    StartOver,
    /// The producer's epoch is over: the coordinator has aborted its transaction, or another
    /// process has the transactional id.
    Fenced,
    /// Only somebody else can mend it: wait for long, and ask the same again.
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

    /// Whether a group's coordinator refuses a commit from outside because the group has members.
    #[must_use]
    pub const fn is_about_members(&self) -> bool {
        matches!(
            self,
            Self::Refused(
                ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::ILLEGAL_GENERATION
                    | ErrorCode::REBALANCE_IN_PROGRESS
                    | ErrorCode::FENCED_MEMBER_EPOCH
                    | ErrorCode::STALE_MEMBER_EPOCH,
                _
            )
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
            Self::NoAnswer(_) | Self::Unreached(_) | Self::Malformed(_) => true,
            Self::Unsupported(_) => false,
        }
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

    /// Whether a Produce that failed so is certainly not in the log.
    ///
    /// A leader that loses its office while it waits for its followers answers
    /// `NOT_LEADER_OR_FOLLOWER` after the append (`Partition.checkEnoughReplicasReachOffset`).
    #[must_use]
    pub fn is_before_append(&self) -> bool {
        match self {
            Self::Refused(code, _) => {
                let is_early = matches!(
                    *code,
                    ErrorCode::NOT_ENOUGH_REPLICAS
                        | ErrorCode::CONCURRENT_TRANSACTIONS
                        | ErrorCode::CORRUPT_MESSAGE
                        | ErrorCode::THROTTLING_QUOTA_EXCEEDED
                );
                is_early || self.remedy() == Remedy::Halt
            }
            Self::Unreached(_) | Self::Unsupported(_) => true,
            Self::NoAnswer(_) | Self::Malformed(_) => false,
        }
    }

    /// Whether a Produce that failed so leaves no way to commit the transaction it was part of:
    /// what the log has of it is open, or its producer's epoch is over.
    #[must_use]
    pub fn breaks_transaction(&self) -> bool {
        let is_over = match self {
            Self::Refused(code, _) => matches!(
                *code,
                ErrorCode::INVALID_TXN_STATE
                    | ErrorCode::TRANSACTION_ABORTABLE
                    | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                    | ErrorCode::TRANSACTION_COORDINATOR_FENCED
            ),
            _ => false,
        };
        let is_sequence = matches!(
            self.remedy(),
            Remedy::SequenceBroken | Remedy::RestartProducer
        );
        let is_open = self.is_ambiguous() && !self.is_before_append();
        is_over || is_sequence || is_open
    }

    /// Whether a coordinator says that the transactional id has no transaction to end so.
    #[must_use]
    pub const fn is_transaction_over(&self) -> bool {
        matches!(self, Self::Refused(ErrorCode::INVALID_TXN_STATE, _))
    }

    /// Whether a coordinator did not look at a partition because of another one.
    #[must_use]
    pub const fn is_not_attempted(&self) -> bool {
        matches!(self, Self::Refused(ErrorCode::OPERATION_NOT_ATTEMPTED, _))
    }

    /// Whether a coordinator refuses one topic, and nothing is wrong with the transaction.
    #[must_use]
    pub const fn is_about_topic(&self) -> bool {
        matches!(
            self,
            Self::Refused(
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                    | ErrorCode::TOPIC_AUTHORIZATION_FAILED
                    | ErrorCode::INVALID_TOPIC_EXCEPTION,
                _
            )
        )
    }

    /// Whether a coordinator knows nothing of the transactional id.
    #[must_use]
    pub const fn is_unknown_transactional_id(&self) -> bool {
        matches!(
            self,
            Self::Refused(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND, _)
        )
    }

    /// The remedy for this failure of FindCoordinator, InitProducerId, AddPartitionsToTxn or EndTxn.
    #[must_use]
    pub fn transaction_remedy(&self) -> TransactionRemedy {
        match self {
            Self::Refused(code, _) => transaction_remedy_of_code(*code),
            Self::Unreached(_) => TransactionRemedy::FindCoordinator,
            Self::NoAnswer(_) | Self::Malformed(_) => TransactionRemedy::StartOver,
            Self::Unsupported(_) => TransactionRemedy::Halt,
        }
    }

    /// The remedy for this failure.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Refused(code, _) => remedy_of_code(*code),
            Self::NoAnswer(_) | Self::Unreached(_) => Remedy::RefreshMetadata,
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

/// Source: Kafka's `TransactionManager`, handler by handler.
fn transaction_remedy_of_code(code: ErrorCode) -> TransactionRemedy {
    match code {
        ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
            TransactionRemedy::FindCoordinator
        }
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::INVALID_PRODUCER_ID_MAPPING => TransactionRemedy::Fenced,
        ErrorCode::REQUEST_TIMED_OUT
        | ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::UNKNOWN_SERVER_ERROR
        | ErrorCode::INVALID_TXN_STATE
        | ErrorCode::TRANSACTION_ABORTABLE
        | ErrorCode::TRANSACTION_COORDINATOR_FENCED => TransactionRemedy::StartOver,
        code if code.is_retriable() => TransactionRemedy::Retry,
        _ => TransactionRemedy::Halt,
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

/// Failures in a row of something that goes along with the records: an operator is told of them once,
/// until it succeeds.
///
/// What fails once is no news unless it is for good: the brokers of a new topic need a moment to
/// learn who leads it.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    pub(super) is_told: bool,
}

impl Attempts {
    pub(super) const fn new() -> Self {
        Self {
            backoff: Backoff::new(),
            is_told: false,
        }
    }

    /// Notes a failure; returns it if it is new to the operator.
    pub(super) fn fail(&mut self, now: Instant, failure: Failure) -> Option<Failure> {
        self.backoff.fail(now, 0);
        let is_news = failure.remedy() == Remedy::Halt || self.backoff.attempt() >= 2;
        (is_news && !std::mem::replace(&mut self.is_told, true)).then_some(failure)
    }

    pub(super) const fn succeed(&mut self) {
        self.backoff.succeed();
        self.is_told = false;
    }

    /// When the wait after the last failure ends, if there is one.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.backoff.until()
    }

    /// Whether the last attempt has failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.backoff.attempt() > 0
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
    fn what_is_certainly_not_in_the_log_breaks_no_transaction() {
        for code in ErrorCode::ALL {
            let failure = Failure::Refused(*code, None);
            assert!(
                !(failure.is_before_append() && failure.is_ambiguous()),
                "{code} says both"
            );
        }
        let words = || String::from("words");
        assert!(!Failure::Unreached(words()).breaks_transaction());
        assert!(Failure::NoAnswer(words()).breaks_transaction());
        let moved = Failure::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER, None);
        assert!(!moved.breaks_transaction() && !moved.is_before_append());
    }

    #[test]
    fn every_known_error_code_of_a_coordinator_has_a_considered_remedy() {
        for code in ErrorCode::ALL {
            let failure = Failure::Refused(*code, None);
            match failure.transaction_remedy() {
                TransactionRemedy::Halt => {
                    assert!(!code.is_retriable(), "{code} may pass by itself")
                }
                TransactionRemedy::Retry | TransactionRemedy::FindCoordinator => {
                    assert!(code.is_retriable(), "{code} does not pass by itself");
                }
                // Whatever ends an epoch for a coordinator also ends it for a leader.
                TransactionRemedy::Fenced => assert!(failure.breaks_transaction(), "{code}"),
                TransactionRemedy::StartOver => {}
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
