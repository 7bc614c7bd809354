//! Delivery in transactions: batches and the positions they lead to are committed together.
//!
//! One transactional id per flow, one transaction at a time. A reader of committed records sees
//! each record once, and a restart goes on at the committed positions, as with MM2's exactly-once
//! source support (KIP-618). What the target loses after it has acknowledged it is not noticed.
//!
//! ```text
//!  Starting --id granted--> Loading --positions--> Running --due--> Draining --all acknowledged--> Storing
//!   ^    ^                                         ^                                                |
//!   |    '--nothing open-- Aborting <--unclear--  (any of these)        Committing <--positions in--'
//!   |                         | fenced             '-------ended------------'
//!   '--nobody else-- Looking <'
//!                       '--somebody else--> Taken
//! ```
//!
//! * `machine` is that automaton: what to ask the coordinator, and what its answers mean.
//! * `commit` lets partitions into the transaction, ends it, and sends all of them back to their
//!   committed positions when it cannot be known whether it holds what was sent.
//!
//! After anything unclear the open transaction is aborted by EndTxn first, and then the producer's
//! epoch is raised by an InitProducerId that names the epoch known here (KIP-360). An
//! InitProducerId alone would do both, but one that names no epoch takes the id away from a
//! process that has rightly taken over, and under the old protocol one that names an epoch while
//! a transaction is open shuts its own producer out (`TransactionMetadata.prepareFenceProducerEpoch`).

pub(super) mod commit;
pub(super) mod machine;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Failure, RecoveryCause, TopicPartition};
use crate::offsets::state::Lineage;

/// What a flow needs to know for its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionOptions {
    /// Under which the flow writes; the process that was started last has it.
    pub transactional_id: Arc<str>,
    /// After which the coordinator aborts a transaction.
    pub timeout: Duration,
}

/// How partitions enter a transaction and what its end does: the finalized level of the target's
/// feature `transaction.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionProtocol {
    /// AddPartitionsToTxn lets them in; the producer's epoch stays (levels 0 and 1).
    V1,
    /// Produce lets them in; each end raises the producer's epoch (level 2, KIP-890).
    V2,
}

impl TransactionProtocol {
    /// The protocol of a level of the feature.
    #[must_use]
    pub const fn of_level(level: i16) -> Self {
        if level >= 2 { Self::V2 } else { Self::V1 }
    }
}

/// What a Produce within a transaction says beside its batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTransaction {
    /// The flow's transactional id.
    pub transactional_id: Arc<str>,
    /// The protocol of its transactions.
    pub protocol: TransactionProtocol,
}

/// What positions need to be part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionsInTransaction {
    /// The transaction.
    pub transaction: InTransaction,
    /// Its producer.
    pub producer: Lineage,
    /// The sequence number of the next record, by partition of the offsets topic; 0 where none is
    /// named.
    pub next_sequences: BTreeMap<i32, i32>,
}

/// A question about a transactional id, to its coordinator but for the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionQuestion {
    /// Which broker is the coordinator?
    FindCoordinator,
    /// Gives the producer id and the next epoch; shuts out whoever had the one before.
    Init {
        /// The coordinator.
        node: i32,
        /// After which a transaction is aborted.
        timeout: Duration,
        /// Refused unless this is the epoch before (KIP-360); `None` takes it from anybody.
        expected: Option<Lineage>,
    },
    /// Lets partitions into the transaction (the old protocol).
    Enter {
        /// The coordinator.
        node: i32,
        /// The transaction's producer.
        producer: Lineage,
        /// Of the target.
        partitions: Vec<TopicPartition>,
    },
    /// Ends the transaction.
    End {
        /// The coordinator.
        node: i32,
        /// The transaction's producer.
        producer: Lineage,
        /// The protocol of the transaction.
        protocol: TransactionProtocol,
        /// Whether to commit it; else it is aborted.
        commits: bool,
    },
    /// Who has the id (KIP-664)?
    Describe {
        /// The coordinator.
        node: i32,
    },
}

/// The answer to a [`TransactionQuestion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionAnswer {
    /// The coordinator's broker.
    Coordinator(i32),
    /// The producer id and its epoch, and the protocol that the target has now.
    Producer(Lineage, TransactionProtocol),
    /// What became of each partition.
    Entered(Vec<(TopicPartition, Result<(), Failure>)>),
    /// The transaction has ended; what the producer goes on with if that is something else.
    Ended(Option<Lineage>),
    /// Who has the id, and what it did last.
    Described {
        /// The producer.
        producer: Lineage,
        /// How its last transaction has ended, or is ending; `None` when one is open, or none has
        /// been begun under this epoch.
        end: Option<TransactionEnd>,
    },
}

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    /// `PrepareCommit` or `CompleteCommit`.
    Committed,
    /// `PrepareAbort` or `CompleteAbort`.
    Aborted,
}

/// Why a transaction is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortCause {
    /// What became of a partition's batch is not known, or can only be aborted.
    Batch(TopicPartition, RecoveryCause),
    /// The same of the stored positions.
    Positions(Failure),
    /// The coordinator's answer, or that there was none.
    Coordinator(Failure),
    /// A batch was acknowledged behind one that was not.
    Torn(TopicPartition),
    /// Committing took too long.
    TookTooLong,
}

impl std::fmt::Display for AbortCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Batch(partition, cause) => write!(f, "{partition}: {cause}"),
            Self::Positions(failure) => write!(f, "storing the positions: {failure}"),
            Self::Coordinator(failure) => write!(f, "the coordinator: {failure}"),
            Self::Torn(partition) => write!(
                f,
                "{partition}: the target has stored a batch behind one that it refused"
            ),
            Self::TookTooLong => f.write_str("committing took too long"),
        }
    }
}
