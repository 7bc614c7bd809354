//! A flow's partitions and positions in its transactions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use kmirror_protocol::records::sequence_after;

use super::{
    AbortCause, InTransaction, PositionsInTransaction, TransactionAnswer, TransactionOptions,
    machine::{Machine, Outcome, Stage},
};
use crate::{
    flow::{
        Action, Failure, Flow, Notice, PartitionId, RequestId, Side, TopicPartition,
        halt::HaltReason, partition::Partition,
    },
    offsets::{murmur2, source_offsets::StoredRecord, state::Lineage},
};

/// The transactions of a flow.
#[derive(Debug)]
pub(in crate::flow) struct Transactions {
    machine: Machine,
    /// The positions that are being committed.
    commit: Option<Commit>,
    /// The next sequence number by partition of the offsets topic, under this producer.
    next_sequences: BTreeMap<i32, i32>,
    producer: Option<Lineage>,
}

/// Positions on their way into a transaction: the same records however often they are sent.
#[derive(Debug)]
struct Commit {
    partition_count: i32,
    records: Vec<StoredRecord>,
    /// Up to where each partition will be committed.
    next_offsets: Vec<(PartitionId, i64)>,
}

impl Commit {
    fn partitions(&self) -> BTreeSet<i32> {
        let keys = self.records.iter().map(|record| &record.key);
        keys.map(|key| murmur2::partition_of(key, self.partition_count))
            .collect()
    }
}

impl Transactions {
    pub(in crate::flow) const fn new(options: TransactionOptions) -> Self {
        Self {
            machine: Machine::new(options),
            commit: None,
            next_sequences: BTreeMap::new(),
            producer: None,
        }
    }

    /// Whether it is time to read the positions: nobody else can write any more.
    pub(in crate::flow) fn is_loading(&self) -> bool {
        self.machine.stage == Stage::Loading
    }

    /// Whether positions are being written.
    pub(in crate::flow) fn is_storing(&self) -> bool {
        self.machine.stage == Stage::Storing
    }

    /// Under what partitions write, while they may be given something to write.
    pub(in crate::flow) fn producer(&self) -> Option<Lineage> {
        self.machine.producer()
    }

    pub(in crate::flow) const fn is_settled(&self, has_changes: bool) -> bool {
        self.machine.is_settled(has_changes)
    }

    pub(in crate::flow) fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    /// What a Produce of the transaction says.
    pub(in crate::flow) fn membership(&self) -> InTransaction {
        self.machine.membership()
    }
}

/// What happens while all goes well.
impl Flow {
    /// Whether the partition's batches may go out now; always where there are no transactions.
    pub(in crate::flow) fn admits(&mut self, now: Instant, id: PartitionId) -> bool {
        let Self {
            transactions,
            slots,
            ..
        } = self;
        let Some(transactions) = transactions else {
            return true;
        };
        let slot = usize::try_from(id.0).ok().and_then(|at| slots.get(at));
        let Some(partition) = slot.map(|slot| &slot.partition) else {
            return false;
        };
        let is_repetition = transactions.machine.stage == Stage::Draining;
        if is_repetition {
            return partition.has_doubtful_batch(now);
        }
        partition.has_batch(now)
            && transactions.machine.admits(|| TopicPartition {
                topic: Arc::clone(&partition.remote_topic),
                partition: partition.source.partition,
            })
    }

    /// Notes record bytes that are sent.
    pub(in crate::flow) const fn note_sent(&mut self, bytes: usize) {
        if let Some(transactions) = &mut self.transactions {
            transactions.machine.sent(bytes);
        }
    }

    /// Goes on with the transaction: commits it when it is time, and asks what is to be asked.
    pub(in crate::flow) fn schedule_transaction(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        // Without an offsets topic nothing can begin: nobody is shut out before.
        if self.transactions.is_none() || !self.positions.is_topic_known() {
            return;
        }
        if self.is_commit_overdue(now) {
            self.start_over(now, AbortCause::TookTooLong, actions);
        }
        self.begin_commit(now);
        self.drain_transaction(now, actions);
        self.store_in_transaction(now, actions);
        let Self {
            transactions,
            transfer,
            ..
        } = self;
        let Some(Transactions { machine, .. }) = transactions else {
            return;
        };
        if let Some((request, question)) = machine.question(now, || transfer.next_request_id()) {
            actions.push(Action::AskTransaction {
                request,
                transactional_id: Arc::clone(machine.transactional_id()),
                question,
            });
        }
    }

    fn is_commit_overdue(&self, now: Instant) -> bool {
        let transactions = self.transactions.as_ref();
        transactions.is_some_and(|transactions| transactions.machine.is_overdue(now))
    }

    fn begin_commit(&mut self, now: Instant) {
        let has_changes = self.positions.has_changes();
        let drain = self.drain.as_ref();
        let is_urgent = drain.is_some_and(|drain| drain.waiting.is_empty());
        if let Some(Transactions { machine, .. }) = &mut self.transactions {
            let interval = self.options.positions_interval;
            machine.begin_commit(now, interval, (has_changes, is_urgent));
        }
    }

    /// Once the fate of every batch is known, takes the positions that go with them.
    fn drain_transaction(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let is_answered = self.transfer.held.in_flight == 0;
        if self.stage() != Some(Stage::Draining) || !is_answered {
            return;
        }
        let mut partitions = self.slots.iter().map(|slot| &slot.partition);
        if let Some(torn) = partitions.clone().find(|partition| partition.is_torn()) {
            let cause = AbortCause::Torn(torn.source.clone());
            self.start_over(now, cause, actions);
            return;
        }
        if partitions.any(Partition::is_in_doubt) {
            return;
        }
        let commit = self.next_commit();
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        transactions.machine.drained(!commit.records.is_empty());
        transactions.commit = Some(commit);
        if transactions.machine.stage == Stage::Running {
            self.touch_all();
        }
    }

    fn next_commit(&mut self) -> Commit {
        let mut commit = Commit {
            partition_count: self.positions.partition_count(),
            records: Vec::new(),
            next_offsets: Vec::new(),
        };
        for id in self.positions.take_changes() {
            let record = self.position_record(id);
            let copied = self
                .slot(id)
                .and_then(|slot| slot.partition.copied_offset());
            commit.records.extend(record);
            commit
                .next_offsets
                .extend(copied.map(|copied| (id, copied)));
        }
        commit
    }

    /// Writes the positions, once their partitions are in the transaction.
    fn store_in_transaction(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.stage() != Some(Stage::Storing) || !self.positions.may_store(now) {
            return;
        }
        let topic = Arc::clone(&self.options.offsets_topic.name);
        let Some(Transactions {
            machine,
            commit: Some(commit),
            next_sequences,
            ..
        }) = &mut self.transactions
        else {
            return;
        };
        let partitions = commit
            .partitions()
            .into_iter()
            .map(|partition| TopicPartition {
                topic: Arc::clone(&topic),
                partition,
            });
        let (true, Some(producer)) = (machine.admits_positions(partitions), machine.producer())
        else {
            return;
        };
        machine.sent(0);
        self.positions.store_begun();
        actions.push(Action::StorePositions {
            topic,
            partition_count: commit.partition_count,
            records: commit.records.clone(),
            within: Some(PositionsInTransaction {
                transaction: machine.membership(),
                producer,
                next_sequences: next_sequences.clone(),
            }),
        });
    }

    /// Takes the outcome of storing positions within a transaction.
    pub(in crate::flow) fn stored_in_transaction(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        // What belonged to a transaction that has been given up says nothing about this one.
        if !self.positions.store_ended() {
            return;
        }
        match result {
            Ok(()) => {
                self.positions.store_succeeded();
                if let Some(transactions) = &mut self.transactions {
                    transactions.stored();
                }
            }
            Err(failure) if failure.breaks_transaction() => {
                self.start_over(now, AbortCause::Positions(failure), actions);
            }
            Err(failure) => self.store_failed(now, failure, actions),
        }
    }

    /// Takes a coordinator's answer.
    pub(in crate::flow) fn transaction_answered(
        &mut self,
        now: Instant,
        request: RequestId,
        result: Result<TransactionAnswer, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(Transactions { machine, .. }) = &mut self.transactions else {
            return;
        };
        match machine.answered(now, request, result) {
            None => {}
            Some(Outcome::Entered) => self.touch_all(),
            Some(Outcome::Refused(refused)) => self.entries_refused(now, refused, actions),
            Some(Outcome::Committed(producer)) => self.committed(now, producer, actions),
            Some(Outcome::Broken(failure)) => {
                self.start_over(now, AbortCause::Coordinator(failure), actions);
            }
            Some(Outcome::Taken) => self.id_taken(now, actions),
            Some(Outcome::Waiting(failure)) => {
                let transactional_id = Arc::clone(machine.transactional_id());
                actions.push(Action::Report(Notice::TransactionsWait {
                    transactional_id,
                    failure,
                }));
            }
        }
    }

    fn committed(&mut self, now: Instant, producer: Lineage, actions: &mut Vec<Action>) {
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        let commit = transactions.commit.take();
        transactions.go_on_as(producer);
        let mut next_offsets: BTreeMap<PartitionId, i64> = BTreeMap::new();
        next_offsets.extend(commit.into_iter().flat_map(|commit| commit.next_offsets));
        for id in self.all_ids() {
            let next_offset = next_offsets.get(&id).copied();
            self.with_partition(now, id, actions, |partition| {
                partition.committed(next_offset, producer);
                None
            });
        }
    }

    fn entries_refused(
        &mut self,
        now: Instant,
        refused: Vec<(TopicPartition, Failure)>,
        actions: &mut Vec<Action>,
    ) {
        for (remote, failure) in refused {
            self.note_failure(now, Side::Target, Some(&failure));
            let slot = self.slots.iter().find(|slot| {
                let partition = &slot.partition;
                *partition.remote_topic == *remote.topic
                    && partition.source.partition == remote.partition
            });
            match slot.map(|slot| slot.partition.id) {
                Some(id) => self.with_partition(now, id, actions, |partition| {
                    partition.entry_refused(now, failure)
                }),
                None => self.store_failed(now, failure, actions),
            }
        }
    }
}

/// What happens when it does not.
impl Flow {
    /// Gives the transaction up: forgets all that is not committed. Partitions go on when the
    /// positions have been read again.
    pub(in crate::flow) fn start_over(
        &mut self,
        now: Instant,
        cause: AbortCause,
        actions: &mut Vec<Action>,
    ) {
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        if !transactions.machine.start_over(now) {
            return;
        }
        transactions.commit = None;
        self.positions.forget();
        actions.push(Action::Report(Notice::TransactionAborted { cause }));
        for id in self.all_ids() {
            self.with_partition(now, id, actions, |partition| {
                partition.suspend();
                None
            });
        }
    }

    /// The positions have been read: every partition goes on at its own.
    pub(in crate::flow) fn go_back(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(transactions) = &mut self.transactions else {
            return;
        };
        let Some(producer) = transactions.machine.loaded() else {
            return;
        };
        transactions.go_on_as(producer);
        for id in self.all_ids() {
            let slot = self.slot(id);
            let source = slot.map(|slot| slot.partition.source.clone());
            let stored = source.and_then(|source| self.positions.stored(&source));
            self.with_partition(now, id, actions, |partition| {
                partition.go_back(stored, producer);
                None
            });
            let copied = self
                .slot(id)
                .and_then(|slot| slot.partition.copied_offset());
            if copied == stored {
                self.positions.unchanged(id);
            }
        }
    }

    fn id_taken(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(transactions) = &self.transactions else {
            return;
        };
        let transactional_id = Arc::clone(transactions.machine.transactional_id());
        for id in self.all_ids() {
            let transactional_id = Arc::clone(&transactional_id);
            self.with_partition(now, id, actions, |partition: &mut Partition| {
                partition.halt(now, HaltReason::TransactionalIdTaken { transactional_id })
            });
        }
    }

    fn stage(&self) -> Option<Stage> {
        self.transactions.as_ref().map(|it| it.machine.stage)
    }

    fn all_ids(&self) -> Vec<PartitionId> {
        self.by_source.values().copied().collect()
    }

    /// What could not be sent while a transaction was being committed goes out now.
    fn touch_all(&mut self) {
        self.touched.extend(self.by_source.values());
    }
}

impl Transactions {
    /// The positions are in: their partitions' sequences go on behind them.
    fn stored(&mut self) {
        let Some(commit) = &self.commit else { return };
        for record in &commit.records {
            let partition = murmur2::partition_of(&record.key, commit.partition_count);
            let next = self.next_sequences.entry(partition).or_insert(0);
            *next = sequence_after(*next, 1);
        }
        self.machine.stored();
    }

    /// Under a new epoch every sequence begins anew.
    fn go_on_as(&mut self, producer: Lineage) {
        if self.producer.replace(producer) != Some(producer) {
            self.next_sequences.clear();
        }
    }
}
