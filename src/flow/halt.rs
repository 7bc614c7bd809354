//! Why a partition stands still, in words that say what the operator can do.

use std::sync::Arc;

use kmirror_protocol::wire::Uuid;

use super::{rebuild::RebuildError, retry::Failure};
use crate::{
    offsets::state::{GapCause, Owner},
    policy::StartAt,
};

/// The cause of a halt. Nothing is skipped while a partition is halted; the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaltReason {
    /// The source refuses to serve the partition.
    SourceRefuses(Failure),
    /// The target refuses to take the partition's records.
    TargetRefuses(Failure),
    /// The target refuses one batch, of which the size is known.
    BatchTooLarge {
        /// Where the batch starts on the source.
        first_offset: i64,
        /// Its size in bytes.
        batch_bytes: usize,
    },
    /// The topic on the source is not the one that was being copied.
    TopicRecreated,
    /// The topic on the target is not the one that was being written.
    RemoteTopicRecreated,
    /// The source topic is gone.
    TopicMissing,
    /// The remote topic is gone.
    RemoteTopicMissing,
    /// The position lies beyond the end of the source's log.
    SourceTruncated {
        /// The first offset not yet copied.
        next_offset: i64,
        /// Where the source's log ends.
        log_end_offset: i64,
    },
    /// A new partition was to begin beyond the end of the source's log.
    StartBeyondEnd {
        /// Where it was to begin, as it is configured.
        wanted: StartAt,
        /// The offset that this stands for.
        start_offset: i64,
        /// Where the source's log ends.
        log_end_offset: i64,
    },
    /// The target's log does not continue where this producer left it.
    TargetDiverged(Failure),
    /// The target acknowledged a batch below one that it had acknowledged before.
    TargetWentBack {
        /// The base offset in the acknowledgement.
        base_offset: i64,
        /// The least base offset that is possible.
        expected_min: i64,
    },
    /// A batch that cannot be read.
    Unreadable {
        /// Where it starts on the source, as far as that is known.
        offset: i64,
        /// What is wrong with it.
        error: String,
    },
    /// A batch that needed rebuilding and could not be.
    NotRebuilt {
        /// Where it starts on the source.
        offset: i64,
        /// Why not.
        error: RebuildError,
    },
    /// The target does not let its log be looked at.
    TargetRefusesProof(Failure),
    /// Another process has taken the partition over.
    Superseded {
        /// Its generation.
        generation: u64,
        /// Its id.
        instance: Uuid,
    },
    /// The state topic holds records of a newer kmirror.
    StateNewer {
        /// Their format version.
        version: u64,
    },
    /// The target does not have what a stored position says it has.
    Unproven {
        /// The stored position.
        stored_offset: i64,
        /// Up to where it is proven.
        proven_offset: i64,
    },
    /// The target has the source's next records in a transaction that may yet be aborted.
    Undecided {
        /// The first of them, on the target.
        offset: i64,
        /// Who writes the transaction.
        producer_id: i64,
    },
    /// The remote partition has records, and nothing says where they come from.
    Unexplained {
        /// The first of them.
        start_offset: i64,
        /// The first offset after them.
        end_offset: i64,
    },
    /// The source no longer has records that were not copied, and that is to be decided by people.
    Gap {
        /// The first of them.
        from_offset: i64,
        /// The first offset after them.
        to_offset: i64,
        /// Why.
        cause: GapCause,
    },
    /// Another process writes under the flow's transactional id.
    TransactionalIdTaken {
        /// The id.
        transactional_id: Arc<str>,
    },
    /// One batch is larger than a Fetch answer may be.
    FetchLimit {
        /// Where the batch starts on the source.
        offset: i64,
        /// The limit, in bytes.
        bytes_max: usize,
    },
}

impl HaltReason {
    /// Another process owns the partition.
    #[must_use]
    pub const fn superseded_by(owner: &Owner) -> Self {
        Self::Superseded {
            generation: owner.generation,
            instance: owner.instance,
        }
    }

    /// Whether looking again later can find the cause gone.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::SourceRefuses(_)
            | Self::TargetRefuses(_)
            | Self::BatchTooLarge { .. }
            | Self::TopicMissing
            | Self::RemoteTopicMissing
            | Self::StartBeyondEnd { .. }
            | Self::Unreadable { .. }
            | Self::NotRebuilt { .. }
            | Self::Undecided { .. }
            | Self::TargetRefusesProof(_) => true,
            Self::Superseded { .. }
            | Self::StateNewer { .. }
            | Self::Unproven { .. }
            | Self::Unexplained { .. }
            | Self::Gap { .. }
            | Self::TopicRecreated
            | Self::RemoteTopicRecreated
            | Self::SourceTruncated { .. }
            | Self::TargetDiverged(_)
            | Self::TargetWentBack { .. }
            | Self::TransactionalIdTaken { .. }
            | Self::FetchLimit { .. } => false,
        }
    }

    /// Whether trying is the way to find out; a missing topic is seen in metadata instead.
    #[must_use]
    pub const fn retries(&self) -> bool {
        self.may_pass() && !matches!(self, Self::TopicMissing | Self::RemoteTopicMissing)
    }

    /// Whether nothing more may be sent to the target. Otherwise only reading has ended, and what
    /// was read before still goes out.
    #[must_use]
    pub const fn bars_producing(&self) -> bool {
        match self {
            Self::TargetRefuses(_)
            | Self::BatchTooLarge { .. }
            | Self::TopicRecreated
            | Self::RemoteTopicRecreated
            | Self::RemoteTopicMissing
            | Self::TargetDiverged(_)
            | Self::TargetRefusesProof(_)
            | Self::Superseded { .. }
            | Self::StateNewer { .. }
            | Self::Unproven { .. }
            | Self::Undecided { .. }
            | Self::Unexplained { .. }
            | Self::Gap { .. }
            | Self::TransactionalIdTaken { .. }
            | Self::TargetWentBack { .. } => true,
            Self::SourceRefuses(_)
            | Self::TopicMissing
            | Self::SourceTruncated { .. }
            | Self::StartBeyondEnd { .. }
            | Self::Unreadable { .. }
            | Self::NotRebuilt { .. }
            | Self::FetchLimit { .. } => false,
        }
    }
}

impl std::fmt::Display for HaltReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SourceRefuses(failure) => write!(f, "the source answers {failure}"),
            Self::TargetRefuses(failure) => write!(f, "the target answers {failure}"),
            Self::BatchTooLarge {
                first_offset,
                batch_bytes,
            } => write!(
                f,
                "the target refuses the batch of {batch_bytes} bytes at offset {first_offset}: \
                 raise max.message.bytes of the remote topic"
            ),
            Self::TopicRecreated => f.write_str(
                "the source topic was deleted and created again: what is copied and stored belongs to \
                 the old one; to copy the new one, stop kmirror, delete the remote topic, write \
                 null values for the topic's keys in the offsets topic, and start again",
            ),
            Self::RemoteTopicRecreated => f.write_str(
                "the remote topic was deleted and created again: restart to go on from the \
                 stored position, or delete the stored position to copy everything again",
            ),
            Self::TopicMissing => {
                f.write_str("the source topic is gone; what was copied of it stays on the target")
            }
            Self::RemoteTopicMissing => {
                f.write_str("the remote topic is missing on the target; it is not created again")
            }
            Self::SourceTruncated { .. } | Self::StartBeyondEnd { .. } => self.fmt_beyond(f),
            Self::TargetDiverged(failure) => write!(
                f,
                "the target answers {failure} to a batch that continues what it acknowledged: \
                 it may have lost records; compare both sides before restarting"
            ),
            Self::TargetWentBack {
                base_offset,
                expected_min,
            } => write!(
                f,
                "the target stored a batch at offset {base_offset} after acknowledging everything \
                 below {expected_min}: it has lost records; compare both sides before restarting"
            ),
            Self::Unreadable { offset, error } => {
                write!(f, "the batch at offset {offset} cannot be read: {error}")
            }
            Self::NotRebuilt { offset, error } => {
                write!(f, "the batch at offset {offset} cannot be rebuilt: {error}")
            }
            Self::FetchLimit { offset, bytes_max } => write!(
                f,
                "the batch at offset {offset} is larger than the {bytes_max} bytes that one \
                 answer may have"
            ),
            other => other.fmt_unproven(f),
        }
    }
}

impl HaltReason {
    /// The reasons that name an offset beyond the end of the source's log.
    fn fmt_beyond(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SourceTruncated {
                next_offset,
                log_end_offset,
            } => write!(
                f,
                "the source's log ends at offset {log_end_offset}, below the position \
                 {next_offset}: it was truncated, or the topic was created again"
            ),
            Self::StartBeyondEnd {
                wanted,
                start_offset,
                log_end_offset,
            } => write!(
                f,
                "it was to begin at offset {start_offset} ({wanted}), but the source's log ends at \
                 {log_end_offset}: what comes there later is not what was meant, and nothing is \
                 copied; set another start for this partition in kmirror.start.topics, or wait for \
                 the log to grow so far"
            ),
            _ => Ok(()),
        }
    }

    /// The reasons that come of proving a position, and of sharing it with other processes.
    fn fmt_unproven(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TargetRefusesProof(failure) => write!(
                f,
                "the target answers {failure} when its log is to be read, and without reading it \
                 nobody knows what it has: grant Read on the remote topic, or set \
                 kmirror.delivery=at-least-once"
            ),
            Self::Superseded {
                generation,
                instance,
            } => write!(
                f,
                "another kmirror ({instance}, generation {generation}) has taken it over: this one \
                 stands by, and goes on when the other falls silent"
            ),
            Self::TransactionalIdTaken { transactional_id } => write!(
                f,
                "another process writes under the transactional id {transactional_id}: this one \
                 has stopped; end one of them, or give this flow another kmirror.transactional.id, \
                 and restart it"
            ),
            Self::StateNewer { version } => write!(
                f,
                "the state topic holds records of format {version}, written by a newer kmirror: \
                 run that one"
            ),
            Self::Unproven {
                stored_offset,
                proven_offset,
            } => write!(
                f,
                "the stored position is {stored_offset}, but the remote partition has the source's \
                 records only up to {proven_offset}: set kmirror.adopt to prove (copy what is \
                 missing), stored (believe the position), earliest (copy everything again) or \
                 latest (skip to the end)"
            ),
            Self::Undecided {
                offset,
                producer_id,
            } => write!(
                f,
                "the remote partition has the source's next records from offset {offset} on, in a \
                 transaction of producer {producer_id} that is neither committed nor aborted: this \
                 is looked at again until it is; kafka-transactions.sh find-hanging and abort end one that \
                 hangs"
            ),
            Self::Unexplained {
                start_offset,
                end_offset,
            } => write!(
                f,
                "the remote partition has records from {start_offset} to {end_offset} and neither \
                 kmirror's state nor a position says what they are: set kmirror.adopt to prove \
                 (copy what is missing), earliest (copy everything behind them) or latest (copy \
                 only what is new)"
            ),
            Self::Gap {
                from_offset,
                to_offset,
                cause,
            } => write!(
                f,
                "source offsets {from_offset} to {to_offset} are gone and were not copied ({cause}): \
                 set kmirror.on-gap=continue to go on behind them"
            ),
            _ => Ok(()),
        }
    }
}
