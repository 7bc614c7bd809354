//! Where a flow stands with its transactional id: what to ask the coordinator, and what follows.
//!
//! Pure, and without partitions' queues: it knows names and stages only. One question is under way
//! at a time; answers to one that has been given up are not looked at.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    InTransaction, TransactionAnswer, TransactionEnd, TransactionOptions, TransactionProtocol,
    TransactionQuestion,
};
use crate::{
    flow::{
        Failure, RequestId, TopicPartition, limits,
        retry::{Backoff, TransactionRemedy},
    },
    offsets::state::Lineage,
};

/// Where a transactional id stands, seen from its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow) enum Stage {
    /// A producer epoch is asked for; at the start from whoever has it, later only from its own.
    Starting { expected: Option<Lineage> },
    /// The positions are read.
    Loading,
    /// Batches are sent.
    Running,
    /// Nothing new is sent; what is in flight is awaited.
    Draining,
    /// The positions are written.
    Storing,
    /// The coordinator is asked to commit.
    Committing,
    /// The coordinator is asked to abort.
    Aborting,
    /// The epoch is over: is that its own doing, or somebody else's?
    Looking,
    /// Another process has the id.
    Taken,
}

/// What follows from an answer for the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::flow) enum Outcome {
    /// Partitions have entered the transaction.
    Entered,
    /// Some may not: each says why.
    Refused(Vec<(TopicPartition, Failure)>),
    /// The transaction is committed, and the next one has this producer.
    Committed(Lineage),
    /// The transaction must be given up.
    Broken(Failure),
    /// Another process has the id.
    Taken,
    /// Nothing goes on for a while; to be told once.
    Waiting(Failure),
}

/// One transactional id.
#[derive(Debug)]
pub(in crate::flow) struct Machine {
    options: TransactionOptions,
    pub(in crate::flow) stage: Stage,
    coordinator: Option<i32>,
    asked: Option<RequestId>,
    failures: Backoff,
    retry_at: Option<Instant>,
    /// Transactions given up in a row; the next one is not begun at once.
    restarts: Backoff,
    is_reported: bool,
    protocol: TransactionProtocol,
    producer: Option<Lineage>,
    wanted: BTreeSet<TopicPartition>,
    entered: BTreeSet<TopicPartition>,
    /// Whether anything has been sent.
    is_begun: bool,
    /// Whether the coordinator has had a transaction open under the producer's epoch, and has had no
    /// word from here that might have ended it.
    is_open: bool,
    bytes: usize,
    /// When to commit; `None` while there is nothing to.
    commit_at: Option<Instant>,
    /// When a commit under way has taken too long.
    give_up_at: Option<Instant>,
}

impl Machine {
    pub(in crate::flow) const fn new(options: TransactionOptions) -> Self {
        Self {
            options,
            stage: Stage::Starting { expected: None },
            coordinator: None,
            asked: None,
            failures: Backoff::new(),
            retry_at: None,
            restarts: Backoff::new(),
            is_reported: false,
            protocol: TransactionProtocol::V1,
            producer: None,
            wanted: BTreeSet::new(),
            entered: BTreeSet::new(),
            is_begun: false,
            is_open: false,
            bytes: 0,
            commit_at: None,
            give_up_at: None,
        }
    }

    /// The flow's transactional id.
    pub(in crate::flow) const fn transactional_id(&self) -> &Arc<str> {
        &self.options.transactional_id
    }

    /// What a Produce of the transaction says.
    pub(in crate::flow) fn membership(&self) -> InTransaction {
        InTransaction {
            transactional_id: Arc::clone(&self.options.transactional_id),
            protocol: self.protocol,
        }
    }

    /// Under what partitions write, while they may be given something to write.
    pub(in crate::flow) fn producer(&self) -> Option<Lineage> {
        let has_one = matches!(
            self.stage,
            Stage::Running | Stage::Draining | Stage::Storing | Stage::Committing
        );
        self.producer.filter(|_| has_one)
    }

    /// Whether a shutdown need not wait: nothing is open, or nothing more can be done about it.
    pub(in crate::flow) const fn is_settled(&self, has_changes: bool) -> bool {
        match self.stage {
            Stage::Running => !self.is_begun && !has_changes,
            Stage::Draining | Stage::Storing | Stage::Committing | Stage::Aborting => false,
            Stage::Starting { .. } | Stage::Loading | Stage::Looking | Stage::Taken => true,
        }
    }

    /// Whether a batch for a partition of the target may be sent now. If only its entry is missing,
    /// that is asked for.
    pub(in crate::flow) fn admits(&mut self, partition: impl FnOnce() -> TopicPartition) -> bool {
        match (self.stage, self.protocol) {
            (Stage::Running, TransactionProtocol::V2) => true,
            (Stage::Running, TransactionProtocol::V1) => self.has_entered(partition()),
            _ => false,
        }
    }

    fn has_entered(&mut self, partition: TopicPartition) -> bool {
        let has_entered = self.entered.contains(&partition);
        if !has_entered {
            self.wanted.insert(partition);
        }
        has_entered
    }

    /// Notes that record bytes are on their way in the transaction.
    pub(in crate::flow) const fn sent(&mut self, bytes: usize) {
        self.is_begun = true;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Begins to commit if it is time: a while after there was something to, or when that has
    /// become much, or at once for a flow that stops.
    pub(in crate::flow) fn begin_commit(
        &mut self,
        now: Instant,
        interval: Duration,
        (has_changes, is_urgent): (bool, bool),
    ) {
        if self.stage != Stage::Running || !(self.is_begun || has_changes) {
            return;
        }
        let commit_at = *self.commit_at.get_or_insert(now + interval);
        if commit_at <= now || is_urgent || self.bytes >= limits::TRANSACTION_BYTES_MAX {
            self.stage = Stage::Draining;
            self.wanted.clear();
            let time = self.options.timeout / limits::COMMIT_TIMEOUT_PART;
            self.give_up_at = Some(now + time);
        }
    }

    /// The fate of all that was sent is known: positions are next, if there are any.
    ///
    /// Without positions nothing has been acknowledged. The coordinator may then know of no
    /// transaction, and would refuse to end one.
    pub(in crate::flow) fn drained(&mut self, has_positions: bool) {
        self.stage = if has_positions {
            Stage::Storing
        } else if self.entered.is_empty() {
            self.clear();
            Stage::Running
        } else {
            Stage::Committing
        };
    }

    /// Whether positions may be written to these partitions now. Where an entry is missing, it is
    /// asked for.
    pub(in crate::flow) fn admits_positions(
        &mut self,
        partitions: impl Iterator<Item = TopicPartition>,
    ) -> bool {
        if self.protocol == TransactionProtocol::V1 {
            for partition in partitions {
                self.has_entered(partition);
            }
        }
        self.wanted.is_empty()
    }

    /// The positions are in the transaction.
    pub(in crate::flow) const fn stored(&mut self) {
        self.stage = Stage::Committing;
    }

    /// The positions have been read: batches may be sent.
    pub(in crate::flow) fn loaded(&mut self) -> Option<Lineage> {
        self.stage = Stage::Running;
        self.is_reported = false;
        self.failures.succeed();
        self.producer
    }

    /// Whether a commit has taken too long.
    pub(in crate::flow) fn is_overdue(&self, now: Instant) -> bool {
        self.give_up_at.is_some_and(|at| at <= now)
    }

    /// Gives the transaction up: it is aborted before anything else. Whether there was one to give
    /// up, as far as this flow can know.
    pub(in crate::flow) fn start_over(&mut self, now: Instant) -> bool {
        if self.producer().is_none() {
            return false;
        }
        self.stage = Stage::Aborting;
        self.asked = None;
        self.retry_at = None;
        self.restarts.fail(now, 0);
        self.clear();
        true
    }

    /// Forgets the transaction.
    fn clear(&mut self) {
        self.wanted.clear();
        self.entered.clear();
        self.is_begun = false;
        self.bytes = 0;
        self.commit_at = None;
        self.give_up_at = None;
    }

    /// When something is to be done although nothing was answered.
    pub(in crate::flow) fn deadline(&self) -> Option<Instant> {
        let asks_at = (self.asked.is_none() && self.has_question()).then(|| self.asks_at());
        let commit_at = self.commit_at.filter(|_| self.stage == Stage::Running);
        [asks_at.flatten(), commit_at, self.give_up_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn asks_at(&self) -> Option<Instant> {
        let is_start = matches!(self.stage, Stage::Starting { .. });
        let held_until = self.restarts.until().filter(|_| is_start);
        self.retry_at.max(held_until)
    }

    fn has_question(&self) -> bool {
        match self.stage {
            Stage::Starting { .. } | Stage::Committing | Stage::Aborting | Stage::Looking => true,
            Stage::Running | Stage::Storing => !self.wanted.is_empty(),
            Stage::Loading | Stage::Draining | Stage::Taken => false,
        }
    }

    /// What to ask now, if anything; `request` ties the answer to it.
    pub(in crate::flow) fn question(
        &mut self,
        now: Instant,
        request: impl FnOnce() -> RequestId,
    ) -> Option<(RequestId, TransactionQuestion)> {
        let is_waiting = self.asks_at().is_some_and(|at| at > now);
        if self.asked.is_some() || is_waiting || !self.has_question() {
            return None;
        }
        let question = match self.coordinator {
            None => TransactionQuestion::FindCoordinator,
            Some(node) => self.question_to(node)?,
        };
        let request = request();
        self.asked = Some(request);
        Some((request, question))
    }

    fn question_to(&mut self, node: i32) -> Option<TransactionQuestion> {
        let end = |commits| {
            self.producer.map(|producer| TransactionQuestion::End {
                node,
                producer,
                protocol: self.protocol,
                commits,
            })
        };
        match self.stage {
            Stage::Starting { expected } => Some(TransactionQuestion::Init {
                node,
                timeout: self.options.timeout,
                expected,
            }),
            Stage::Committing => end(true),
            Stage::Aborting => end(false),
            Stage::Looking => Some(TransactionQuestion::Describe { node }),
            _ => {
                self.is_begun = true;
                Some(TransactionQuestion::Enter {
                    node,
                    producer: self.producer?,
                    partitions: self.wanted.iter().cloned().collect(),
                })
            }
        }
    }

    /// Takes an answer.
    pub(in crate::flow) fn answered(
        &mut self,
        now: Instant,
        request: RequestId,
        result: Result<TransactionAnswer, Failure>,
    ) -> Option<Outcome> {
        if self.asked != Some(request) {
            return None;
        }
        self.asked = None;
        self.retry_at = None;
        match (self.stage, result) {
            (_, Err(failure)) => self.failed(now, failure),
            (_, Ok(TransactionAnswer::Coordinator(node))) => {
                self.coordinator = Some(node);
                None
            }
            // That was the question.
            (_, Ok(other)) if self.coordinator.is_none() => self.misunderstood(now, &other),
            (Stage::Starting { .. }, Ok(TransactionAnswer::Producer(producer, protocol))) => {
                self.failures.succeed();
                self.producer = Some(producer);
                self.is_open = false;
                self.protocol = protocol;
                self.stage = Stage::Loading;
                None
            }
            (_, Ok(TransactionAnswer::Entered(results))) => self.entered(now, results),
            (Stage::Committing, Ok(TransactionAnswer::Ended(next))) => {
                self.failures.succeed();
                self.is_open = false;
                self.restarts.succeed();
                self.producer = next.or(self.producer);
                self.clear();
                self.stage = Stage::Running;
                self.producer.map(Outcome::Committed)
            }
            (Stage::Aborting, Ok(TransactionAnswer::Ended(next))) => {
                self.failures.succeed();
                self.is_open = false;
                self.producer = next.or(self.producer);
                self.aborted();
                None
            }
            (Stage::Looking, Ok(TransactionAnswer::Described { producer, end })) => {
                self.described(producer, end)
            }
            (_, Ok(other)) => self.misunderstood(now, &other),
        }
    }

    fn misunderstood(&mut self, now: Instant, answer: &TransactionAnswer) -> Option<Outcome> {
        let words = format!("an answer to another question: {answer:?}");
        self.failed(now, Failure::Malformed(words))
    }

    const fn aborted(&mut self) {
        self.stage = Stage::Starting {
            expected: self.producer,
        };
    }

    /// Whether the epoch ended by the coordinator's own doing: it raises the epoch by one when it
    /// aborts a transaction that took too long, and under the new protocol with every end. An
    /// InitProducerId of another process raises it once more where a transaction is open, and leaves
    /// no end behind where none is; but under the old protocol that process may have ended one of
    /// its own since (`TransactionCoordinator.abortTimedOutTransactions`, `TransactionMetadata`).
    fn described(&mut self, found: Lineage, end: Option<TransactionEnd>) -> Option<Outcome> {
        let own = self.producer?;
        let is_next =
            found.producer_id == own.producer_id && own.epoch.checked_add(1) == Some(found.epoch);
        let is_own_end = match end {
            Some(TransactionEnd::Aborted) => {
                self.is_open || self.protocol == TransactionProtocol::V2
            }
            Some(TransactionEnd::Committed) => self.protocol == TransactionProtocol::V2,
            None => false,
        };
        if found == own || is_next && is_own_end {
            self.producer = Some(found);
            self.aborted();
            return None;
        }
        self.stage = Stage::Taken;
        Some(Outcome::Taken)
    }

    /// All partitions enter, or none: where one may not, the others are asked for again.
    fn entered(
        &mut self,
        now: Instant,
        results: Vec<(TopicPartition, Result<(), Failure>)>,
    ) -> Option<Outcome> {
        let mut refused = Vec::new();
        let mut has_entered = false;
        for (partition, result) in results {
            match result {
                Ok(()) => {
                    self.wanted.remove(&partition);
                    self.entered.insert(partition);
                    has_entered = true;
                }
                Err(failure) if failure.is_not_attempted() => {}
                Err(failure) if failure.is_about_topic() => {
                    self.wanted.remove(&partition);
                    refused.push((partition, failure));
                }
                Err(failure) => return self.failed(now, failure),
            }
        }
        if has_entered {
            self.is_open = true;
            self.failures.succeed();
            return Some(Outcome::Entered);
        }
        self.retry_at = Some(self.failures.fail(now, 0));
        Some(Outcome::Refused(refused))
    }

    fn failed(&mut self, now: Instant, failure: Failure) -> Option<Outcome> {
        let retry_at = self.failures.fail(now, 0);
        self.retry_at = Some(retry_at);
        // Without a coordinator, that was the question: the transaction is as it was.
        let is_search = self.coordinator.is_none();
        let has_producer = self.producer().is_some();
        let is_end = matches!(self.stage, Stage::Committing | Stage::Aborting) && !is_search;
        if is_end && failure.transaction_remedy() == TransactionRemedy::StartOver {
            // It may have been heard.
            self.is_open = false;
        }
        match (self.stage, failure.transaction_remedy()) {
            (Stage::Aborting, _) if failure.is_transaction_over() => {
                self.retry_at = None;
                self.aborted();
                return None;
            }
            (Stage::Looking, _) if failure.is_unknown_transactional_id() => {
                self.stage = Stage::Starting { expected: None };
                return None;
            }
            (Stage::Looking, _) if matches!(failure, Failure::Unsupported(_)) => {
                self.stage = Stage::Taken;
                return Some(Outcome::Taken);
            }
            (_, TransactionRemedy::Retry) => {}
            (_, TransactionRemedy::FindCoordinator) => self.coordinator = None,
            (
                Stage::Aborting
                | Stage::Starting {
                    expected: Some(_), ..
                },
                TransactionRemedy::Fenced,
            ) if !is_search => self.stage = Stage::Looking,
            (_, TransactionRemedy::Halt) if is_search || !has_producer => {
                self.coordinator = None;
                self.retry_at = Some(now + limits::HALT_RETRY);
                return self.report(failure);
            }
            _ if is_search || !has_producer => self.coordinator = None,
            _ => {
                self.coordinator = None;
                return Some(Outcome::Broken(failure));
            }
        }
        if self.failures.attempt() < limits::COORDINATOR_ATTEMPTS {
            return None;
        }
        self.report(failure)
    }

    fn report(&mut self, failure: Failure) -> Option<Outcome> {
        let is_first = !std::mem::replace(&mut self.is_reported, true);
        is_first.then_some(Outcome::Waiting(failure))
    }
}
