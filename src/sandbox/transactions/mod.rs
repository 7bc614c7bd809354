//! Transaction coordinators: who writes under which transactional id, and how transactions end.
//!
//! ```text
//! InitProducerId ┐                                 ┌─▶ marker in each partition ▶ log
//! AddPartitions  ├─▶ Coordinator ▶ Transaction ────┤
//! EndTxn, time   ┘   (by transactional id)         └─▶ pending offsets of groups
//! ```
//!
//! Pure state: it knows no message types and no logs. [`settle()`] alone carries decisions out, and
//! writes markers at once unless a command holds them back. What Kafka keeps in
//! `__transaction_state` is kept here for the whole cluster; [`coordinators`](super::coordinators)
//! says which broker answers for which id.

mod commands;
mod settle;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::ErrorCode;

use super::Timestamp;

pub(super) use settle::settle;
pub(super) use transaction::{
    ProducerIdAndEpoch, ProducerIds, Protocol, State, TopicPartition, Transaction,
};

/// The longest timeout a producer may ask for, in milliseconds (`transaction.max.timeout.ms`).
const TIMEOUT_MS_MAX: i32 = 900_000;

/// The epoch that markers carry: that of the first leader of a partition of
/// `__transaction_state`, which never changes here.
pub(super) const COORDINATOR_EPOCH: i32 = 0;

/// The transactional ids of a cluster.
#[derive(Debug)]
pub(super) struct Coordinator {
    server: Protocol,
    transactions: BTreeMap<String, Transaction>,
    /// Ids whose markers wait for a command.
    held_back: BTreeSet<String>,
}

impl Coordinator {
    pub(super) const fn new(server: Protocol) -> Self {
        Self {
            server,
            transactions: BTreeMap::new(),
            held_back: BTreeSet::new(),
        }
    }

    /// Gives the next incarnation of a transactional producer its id and epoch.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_TRANSACTION_TIMEOUT`], or as [`Transaction::init`].
    pub(super) fn init(
        &mut self,
        transactional_id: &str,
        expected: Option<ProducerIdAndEpoch>,
        timeout_ms: i32,
        ids: &mut ProducerIds,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let transaction = self
            .transactions
            .entry(transactional_id.to_owned())
            .or_insert_with(|| Transaction::new(ids.allocate(), timeout_ms));
        transaction.init(expected, timeout_ms, self.server, ids)
    }

    /// Adds partitions to a transaction.
    ///
    /// # Errors
    ///
    /// As [`Transaction::add`].
    pub(super) fn add(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: impl IntoIterator<Item = TopicPartition>,
        now: Timestamp,
    ) -> Result<(), ErrorCode> {
        self.known(transactional_id)?.add(producer, partitions, now)
    }

    /// Whether a transaction writes a partition.
    ///
    /// # Errors
    ///
    /// As [`Transaction::verify`].
    pub(super) fn verify(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partition: &TopicPartition,
    ) -> Result<(), ErrorCode> {
        self.known(transactional_id)?.verify(producer, partition)
    }

    /// Decides a transaction; [`settle()`] has its markers written.
    ///
    /// # Errors
    ///
    /// As [`Transaction::end`].
    pub(super) fn end(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        (is_commit, protocol): (bool, Protocol),
        now: Timestamp,
        ids: &mut ProducerIds,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        self.known(transactional_id)?
            .end(producer, is_commit, protocol, now, ids)
    }

    fn known(&mut self, transactional_id: &str) -> Result<&mut Transaction, ErrorCode> {
        let known = self.transactions.get_mut(transactional_id);
        known.ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
    }

    /// Decides to abort the transactions that have taken too long, and shuts their producers out.
    fn expire(&mut self, now: Timestamp, ids: &mut ProducerIds) {
        for transaction in self.transactions.values_mut() {
            if transaction.deadline().is_some_and(|due| due <= now) {
                transaction.fence(self.server, ids);
            }
        }
    }

    /// When the first transaction will have taken too long.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let open = self.transactions.values();
        open.filter_map(Transaction::deadline).min()
    }

    pub(super) fn get(&self, transactional_id: &str) -> Option<&Transaction> {
        self.transactions.get(transactional_id)
    }

    /// All transactional ids, sorted.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.transactions.iter().map(|(id, it)| (id.as_str(), it))
    }

    /// See [`Cluster::hold_markers`](super::Cluster::hold_markers).
    pub(super) fn hold_back(&mut self, transactional_id: &str) {
        self.held_back.insert(transactional_id.to_owned());
    }

    /// See [`Cluster::release_markers`](super::Cluster::release_markers).
    pub(super) fn release(&mut self, transactional_id: &str) {
        self.held_back.remove(transactional_id);
    }

    /// See [`Cluster::forget_transaction`](super::Cluster::forget_transaction).
    pub(super) fn forget(&mut self, transactional_id: &str) {
        self.transactions.remove(transactional_id);
        self.held_back.remove(transactional_id);
    }

    /// The ids whose markers may be written now.
    fn decided(&self) -> Vec<String> {
        let decided = self.transactions.iter();
        let decided =
            decided.filter(|(id, it)| it.state.is_preparing() && !self.held_back.contains(*id));
        decided.map(|(id, _)| id.clone()).collect()
    }
}

/// Whether a producer may ask for a timeout.
pub(super) const fn is_valid_timeout(timeout_ms: i32) -> bool {
    0 < timeout_ms && timeout_ms <= TIMEOUT_MS_MAX
}
