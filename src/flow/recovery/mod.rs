//! How a partition finds out where it stands: from the target's log, never from a note alone.
//!
//! After a start, an answer that was lost, a leader that moved or a long pause, nothing is written
//! before the position is proven. The rules (R1 to R13) each have one place:
//!
//! ```text
//!  own ------> source --------> target ---------> anchor --------> proof -----> lineage ----> run
//!  R1 R9 R13   topic, policy,   producer state,   newest true      by content   continue, or
//!  who writes  log range        log end (R4)      one (R10)        (R5)         new (R2 R3 R6 R12)
//! ```
//!
//! * `machine` goes through these stages for one partition; it asks one question after another.
//! * [`anchors`] says which anchors are worth believing, and how that is checked.
//! * [`decide`] draws the conclusion: where copying goes on, and under which lineage.
//! * `questions` puts the questions of many partitions into few requests.
//!
//! What follows while running is elsewhere: the base offset of each acknowledgement is checked
//! (R7), at most five batches are in flight (R11) and a moved leader leads back here (R8) in
//! [`super::partition`].

pub mod anchors;
pub mod decide;
mod machine;
mod questions;

use std::time::Instant;

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{Failure, FlowOptions, Footing, state::State};
use crate::{
    offsets::{
        exact_map::ExactMap,
        state::{Anchor, Place},
    },
    policy::StartAt,
};

pub(in crate::flow) use self::{
    machine::Recovery,
    questions::{Questions, place},
};

/// Why a partition has to find out where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryCause {
    /// It has just been added.
    Started,
    /// It is not known whether the target has what was sent (R11 is not enough when the target may
    /// have forgotten the producer).
    Ambiguous(Failure),
    /// The target refuses the sequence or the epoch (R9).
    Refused(Failure),
    /// An acknowledgement came for another place in the log than the one expected (R7).
    BaseOffset {
        /// The base offset in the acknowledgement.
        base_offset: i64,
        /// The one expected.
        expected: i64,
        /// Whether a batch before it was refused, or the same place was named before, although what the
        /// target remembers was gone by: it has forgotten the producer in between, and what it
        /// remembers of it now is not what was sent.
        voids_memory: bool,
    },
    /// The target's leader epoch is not the one under which the position was proven (R8).
    LeaderMoved,
    /// The source no longer has the position, or has another record there.
    SourceMoved,
    /// The source has a new leader, and the epochs of the producer id are used up.
    EpochsUsedUp,
    /// The process was paused for longer than its lease (R13).
    Paused,
    /// The state topic is another one than before.
    StateLost,
    /// The process that had taken it over gives no sign of life.
    OwnerSilent,
    /// The target gives out producer ids after all.
    ProducerIdsOffered,
}

impl RecoveryCause {
    /// Whether the target says that it has forgotten the producer (brokers before 2.5, KIP-360).
    #[must_use]
    pub const fn is_forgotten(&self) -> bool {
        matches!(
            self,
            Self::Refused(Failure::Refused(
                ErrorCode::UNKNOWN_PRODUCER_ID | ErrorCode::INVALID_PRODUCER_ID_MAPPING,
                _,
            ))
        )
    }

    /// Whether what the target remembers of the producer is known not to be what was sent.
    #[must_use]
    pub const fn voids_memory(&self) -> bool {
        matches!(
            self,
            Self::BaseOffset {
                voids_memory: true,
                ..
            }
        )
    }

    /// Whether the target takes no batches with sequence numbers from this client.
    #[must_use]
    pub const fn is_idempotence_refused(&self) -> bool {
        match self {
            Self::Refused(failure) => failure.is_idempotence_refused(),
            _ => false,
        }
    }
}

impl std::fmt::Display for RecoveryCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Started => f.write_str("it has just been started"),
            Self::Ambiguous(failure) => {
                write!(
                    f,
                    "it is not known whether the target has what was sent: {failure}"
                )
            }
            Self::Refused(failure) => write!(f, "the target answers {failure}"),
            Self::BaseOffset {
                base_offset,
                expected,
                ..
            } => write!(
                f,
                "the target stored a batch at offset {base_offset} where {expected} was expected"
            ),
            Self::LeaderMoved => f.write_str("the target has a new leader"),
            Self::SourceMoved => f.write_str("the source no longer has what was to be read next"),
            Self::EpochsUsedUp => f.write_str("the epochs of the producer id are used up"),
            Self::Paused => f.write_str("the process was paused"),
            Self::StateLost => f.write_str("the state topic was replaced"),
            Self::OwnerSilent => f.write_str("the kmirror that had taken it over is silent"),
            Self::ProducerIdsOffered => f.write_str("the target gives out producer ids now"),
        }
    }
}

/// What a proven partition starts from.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The point itself: positions on both sides, the lineage and its next sequence number.
    pub anchor: Anchor,
    /// The leader epoch of the target under which that was found.
    pub target_epoch: i32,
    /// Whether the target remembers the lineage's producer.
    pub is_established: bool,
    /// Whether others write to the remote partition too.
    pub is_shared: bool,
    /// What the guarantee rests on.
    pub footing: Footing,
    /// Records of others that the proof met for the first time.
    pub foreign_records: u64,
}

/// What a recovery may look at.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The time.
    pub now: Instant,
    /// Milliseconds since 1970, for people only.
    pub wall_ms: i64,
    /// The flow's options.
    pub options: &'a FlowOptions,
    /// The state topic.
    pub state: &'a mut State,
    /// The partition.
    pub place: Place,
    /// What spreads the waits of many partitions.
    pub seed: u64,
    /// The id of the source topic; zero when unknown.
    pub source_topic_id: Uuid,
    /// The id of the remote topic; zero when unknown.
    pub target_topic_id: Uuid,
    /// The leader epoch of the source partition; -1 when unknown.
    pub source_epoch: i32,
    /// The leader epoch of the remote partition; -1 when unknown.
    pub target_epoch: i32,
    /// The generation under which this process has owned the partition, if it has.
    pub own_generation: Option<u64>,
    /// Up to where this process knows the target's log; 0 when it has not proven anything yet.
    pub known_target_offset: i64,
    /// The next offset by MM2's positions.
    pub stored_offset: Option<i64>,
    /// Where the partition begins when nothing is known of it.
    pub start_at: &'a StartAt,
    /// Where what this process has copied is on the target, if it has copied anything.
    pub map: Option<&'a ExactMap>,
}

/// What became of a recovery.
#[derive(Debug)]
pub(super) enum Progress {
    /// It waits for an answer, a time or the state topic.
    Waits,
    /// The partition may run.
    Done(Start),
    /// It cannot go on as things are.
    Halted(super::halt::HaltReason),
}
