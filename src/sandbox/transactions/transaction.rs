//! One transactional id at its coordinator: producer id, epoch, and the transaction under way.
//!
//! ```text
//! Empty ──partition added──▶ Ongoing ──EndTxn──▶ PrepareCommit ──markers──▶ CompleteCommit
//!   ▲                          ▲  └─EndTxn, fence─▶ PrepareAbort ──markers──▶ CompleteAbort
//!   └── InitProducerId ────────┴───── partition added ─────────────────────────────┘
//! ```
//!
//! A transition here takes no time, so there is never one pending, as there is in Kafka.
//! Source: Kafka's `TransactionMetadata` and `TransactionCoordinator` of 4.3 (KIP-98, KIP-360,
//! KIP-890). Timeouts and times are in milliseconds.

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::ErrorCode;

use crate::sandbox::Timestamp;

/// A partition by topic and index.
pub(in crate::sandbox) type TopicPartition = (String, i32);

/// What a producer writes under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct ProducerIdAndEpoch {
    pub(in crate::sandbox) id: i64,
    pub(in crate::sandbox) epoch: i16,
}

impl ProducerIdAndEpoch {
    const fn is_exhausted(self) -> bool {
        self.epoch >= i16::MAX - 1
    }

    /// The greatest epoch is reserved for fencing, and stays.
    const fn bumped(self) -> Self {
        Self {
            id: self.id,
            epoch: self.epoch.saturating_add(1),
        }
    }
}

/// Producer ids, each given out once in a cluster.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct ProducerIds {
    next: i64,
}

impl ProducerIds {
    pub(in crate::sandbox) const fn allocate(&mut self) -> i64 {
        let id = self.next;
        self.next = id.saturating_add(1);
        id
    }
}

/// Which protocol ends a transaction (the feature `transaction.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Protocol {
    /// The producer epoch stays until the next InitProducerId.
    V1,
    /// Each end of a transaction bumps the producer epoch (KIP-890).
    V2,
}

impl Protocol {
    /// The protocol of a level of the feature.
    pub(in crate::sandbox) const fn of_level(level: i16) -> Self {
        if level >= 2 { Self::V2 } else { Self::V1 }
    }
}

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Kafka's name for it.
    pub(in crate::sandbox) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether Kafka has a state of this name; two of them are never seen here.
    pub(in crate::sandbox) fn is_known(name: &str) -> bool {
        matches!(name, "Dead" | "PrepareEpochFence") || Self::ALL.iter().any(|it| it.name() == name)
    }

    /// Whether markers are being written.
    pub(in crate::sandbox) const fn is_preparing(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }
}

/// Where a leader has written a marker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WrittenMarker {
    pub(super) leader_epoch: i32,
    pub(super) offset: i64,
}

/// One transactional id.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Transaction {
    pub(in crate::sandbox) state: State,
    /// Its epoch is -1 until the first InitProducerId is through.
    pub(in crate::sandbox) producer: ProducerIdAndEpoch,
    pub(in crate::sandbox) timeout_ms: i32,
    /// When the transaction began; -1 before the first.
    pub(in crate::sandbox) started_at: Timestamp,
    /// The partitions it writes, and those whose marker is still to be written.
    pub(in crate::sandbox) partitions: BTreeSet<TopicPartition>,
    /// Of those, where leaders have written the marker.
    pub(super) written: BTreeMap<TopicPartition, WrittenMarker>,
    /// The producer id before the latest transition.
    previous_producer_id: i64,
    /// The id to go on with after the markers, when the epochs of this one are used up.
    next_producer_id: Option<i64>,
    /// The epoch that a retried InitProducerId may still name; -1 is none.
    last_epoch: i16,
}

impl Transaction {
    /// One that is about to be initialised for the first time.
    pub(super) const fn new(producer_id: i64, timeout_ms: i32) -> Self {
        Self {
            state: State::Empty,
            producer: ProducerIdAndEpoch {
                id: producer_id,
                epoch: -1,
            },
            timeout_ms,
            started_at: Timestamp(-1),
            partitions: BTreeSet::new(),
            written: BTreeMap::new(),
            previous_producer_id: -1,
            next_producer_id: None,
            last_epoch: -1,
        }
    }

    /// Gives a new incarnation its id and epoch; `expected` is what a producer that goes on after
    /// an error believes to have (KIP-360).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::PRODUCER_FENCED`]; [`ErrorCode::CONCURRENT_TRANSACTIONS`] while markers are
    /// being written, and when a transaction was open, which is aborted now.
    pub(super) fn init(
        &mut self,
        expected: Option<ProducerIdAndEpoch>,
        timeout_ms: i32,
        server: Protocol,
        ids: &mut ProducerIds,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        if expected.is_some_and(|expected| !self.may_go_on_as(expected)) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        match self.state {
            State::PrepareCommit | State::PrepareAbort => {
                return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
            }
            State::Ongoing => {
                self.fence(server, ids);
                return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {}
        }
        let (producer, last_epoch) = self.next_incarnation(expected, ids)?;
        self.previous_producer_id = self.producer.id;
        self.producer = producer;
        self.last_epoch = last_epoch;
        self.timeout_ms = timeout_ms;
        self.started_at = Timestamp(-1);
        self.state = State::Empty;
        Ok(producer)
    }

    fn may_go_on_as(&self, expected: ProducerIdAndEpoch) -> bool {
        self.producer.epoch == -1
            || expected.id == self.producer.id
            || expected.id == self.previous_producer_id && expected.is_exhausted()
    }

    /// The producer of the next incarnation, and the epoch before it.
    fn next_incarnation(
        &self,
        expected: Option<ProducerIdAndEpoch>,
        ids: &mut ProducerIds,
    ) -> Result<(ProducerIdAndEpoch, i16), ErrorCode> {
        let current = self.producer;
        let expected = expected.map(|expected| expected.epoch);
        if current.is_exhausted() {
            if expected.is_some_and(|epoch| epoch != current.epoch) {
                return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
            }
            let id = ids.allocate();
            let last_epoch = expected.unwrap_or(-1);
            return Ok((ProducerIdAndEpoch { id, epoch: 0 }, last_epoch));
        }
        match expected {
            None => Ok((current.bumped(), -1)),
            Some(epoch) if current.epoch == -1 || epoch == current.epoch => {
                Ok((current.bumped(), current.epoch))
            }
            // The answer to the same request was lost.
            Some(epoch) if epoch == self.last_epoch => Ok((current, self.last_epoch)),
            Some(_) => Err(ErrorCode::PRODUCER_FENCED),
        }
    }

    /// Adds partitions to the transaction under way, or to a new one.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::check_producer`]; [`ErrorCode::CONCURRENT_TRANSACTIONS`] while
    /// markers are being written.
    pub(super) fn add(
        &mut self,
        producer: ProducerIdAndEpoch,
        partitions: impl IntoIterator<Item = TopicPartition>,
        now: Timestamp,
    ) -> Result<(), ErrorCode> {
        self.check_producer(producer)?;
        if self.state.is_preparing() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        if self.state != State::Ongoing {
            self.started_at = now;
        }
        self.previous_producer_id = self.producer.id;
        self.partitions.extend(partitions);
        self.state = State::Ongoing;
        Ok(())
    }

    /// Whether the transaction under way writes a partition.
    ///
    /// # Errors
    ///
    /// As [`Transaction::add`]; [`ErrorCode::TRANSACTION_ABORTABLE`] when it does not.
    pub(super) fn verify(
        &self,
        producer: ProducerIdAndEpoch,
        partition: &TopicPartition,
    ) -> Result<(), ErrorCode> {
        self.check_producer(producer)?;
        if self.state.is_preparing() {
            Err(ErrorCode::CONCURRENT_TRANSACTIONS)
        } else if self.partitions.contains(partition) {
            Ok(())
        } else {
            Err(ErrorCode::TRANSACTION_ABORTABLE)
        }
    }

    /// Whether a request comes from the current incarnation.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_PRODUCER_ID_MAPPING`] or [`ErrorCode::PRODUCER_FENCED`].
    const fn check_producer(&self, producer: ProducerIdAndEpoch) -> Result<(), ErrorCode> {
        if producer.id != self.producer.id {
            Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
        } else if producer.epoch != self.producer.epoch {
            Err(ErrorCode::PRODUCER_FENCED)
        } else {
            Ok(())
        }
    }

    /// Decides the transaction under way; answers what the producer goes on with.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::check_producer`]; [`ErrorCode::INVALID_TXN_STATE`] when there is
    /// none to decide so, [`ErrorCode::CONCURRENT_TRANSACTIONS`] while markers are being written.
    pub(super) fn end(
        &mut self,
        producer: ProducerIdAndEpoch,
        is_commit: bool,
        protocol: Protocol,
        now: Timestamp,
        ids: &mut ProducerIds,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        match protocol {
            Protocol::V1 => self.end_v1(producer, is_commit),
            Protocol::V2 => self.end_v2(producer, is_commit, now, ids),
        }
    }

    fn end_v1(
        &mut self,
        producer: ProducerIdAndEpoch,
        is_commit: bool,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        self.check_producer(producer)?;
        match self.state {
            State::Ongoing => {
                self.prepare(is_commit);
                Ok(self.producer)
            }
            State::CompleteCommit if is_commit => Ok(self.producer),
            State::CompleteAbort if !is_commit => Ok(self.producer),
            _ => self.refuse_end(is_commit),
        }
    }

    /// Source: `TransactionCoordinator.endTransaction`.
    fn end_v2(
        &mut self,
        producer: ProducerIdAndEpoch,
        is_commit: bool,
        now: Timestamp,
        ids: &mut ProducerIds,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let current = self.producer;
        let is_retry_of_last_epoch = self.previous_producer_id == producer.id
            && producer.epoch == i16::MAX - 1
            && current.epoch == 0;
        let is_retry_of_bump = producer.epoch.checked_add(1) == Some(current.epoch);
        if producer.id != current.id && !is_retry_of_last_epoch {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        let is_retry = is_retry_of_bump || is_retry_of_last_epoch;
        let is_current = producer.epoch == current.epoch;
        let is_valid_epoch = match self.state {
            State::Empty | State::Ongoing => is_current,
            State::PrepareCommit | State::PrepareAbort => is_retry_of_bump,
            State::CompleteCommit | State::CompleteAbort => is_retry || is_current,
        };
        if !is_valid_epoch {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        match (self.state, is_commit) {
            (State::Ongoing, _) => {}
            // Nothing was written, but the producer does not know; its epoch is bumped all the same.
            (State::Empty, false) => self.started_at = now,
            (State::CompleteCommit | State::CompleteAbort, false) if !is_retry => {
                self.started_at = now;
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) if is_retry => {
                return Ok(current);
            }
            _ => return self.refuse_end(is_commit),
        }
        self.prepare_v2(is_commit, ids);
        Ok(self.after_markers())
    }

    const fn refuse_end(&self, is_commit: bool) -> Result<ProducerIdAndEpoch, ErrorCode> {
        match (self.state, is_commit) {
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Err(ErrorCode::CONCURRENT_TRANSACTIONS)
            }
            _ => Err(ErrorCode::INVALID_TXN_STATE),
        }
    }

    /// Aborts the transaction under way and shuts its producer out.
    pub(super) fn fence(&mut self, server: Protocol, ids: &mut ProducerIds) {
        match server {
            Protocol::V1 => {
                self.producer = self.producer.bumped();
                self.last_epoch = -1;
                self.prepare(false);
            }
            Protocol::V2 => self.prepare_v2(false, ids),
        }
    }

    fn prepare_v2(&mut self, is_commit: bool, ids: &mut ProducerIds) {
        self.next_producer_id = self.producer.is_exhausted().then(|| ids.allocate());
        self.last_epoch = self.producer.epoch;
        self.producer = self.producer.bumped();
        self.prepare(is_commit);
    }

    const fn prepare(&mut self, is_commit: bool) {
        self.previous_producer_id = self.producer.id;
        self.state = if is_commit {
            State::PrepareCommit
        } else {
            State::PrepareAbort
        };
    }

    /// What the producer is once the markers are written.
    fn after_markers(&self) -> ProducerIdAndEpoch {
        match self.next_producer_id {
            Some(id) => ProducerIdAndEpoch { id, epoch: 0 },
            None => self.producer,
        }
    }

    /// Ends the transaction once the marker of its last partition is written.
    pub(super) fn complete(&mut self) {
        let producer = self.after_markers();
        self.previous_producer_id = self.producer.id;
        self.producer = producer;
        self.next_producer_id = None;
        self.partitions.clear();
        self.written.clear();
        self.state = match self.state {
            State::PrepareCommit => State::CompleteCommit,
            _ => State::CompleteAbort,
        };
    }

    /// When it is aborted unless it has ended by then; `None` without a transaction.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let due = self.started_at.plus_ms(i64::from(self.timeout_ms));
        (self.state == State::Ongoing).then(|| due.plus_ms(1))
    }
}
