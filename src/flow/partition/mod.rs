//! One partition on its way from source to target, as a state machine.
//!
//! No socket, task or clock: the flow tells it what was answered and asks it what it wants next.
//!
//! ```text
//! position unknown --log range--> fetching <---------------------.
//!                                    | batches                    | window has room
//!                                    v                            |
//!                     queue: [sent | sent | ready | ready] --acknowledged--> position moves
//!                                    |
//!                                    '--refused--> halted (reason, perhaps looked at again)
//! ```
//!
//! The queue holds batches in source order; those at its front have been sent. A sequence number
//! is given when a batch is first sent and stays with it, bytes and all, until the target has
//! acknowledged it: a broker recognises a resend by its sequence range alone.

mod proven;
mod source;
mod target;
mod transactional;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kmirror_protocol::{messages::fetch::FetchResponseAbortedTransaction, records::HEADER_LEN};

use super::{
    Counters, EpochEnd, Guarantee, PartitionId, Side, TopicPartition,
    halt::HaltReason,
    intake::Prepared,
    limits,
    recovery::{RecoveryCause, Start, decide::NewBecause},
    retry::Backoff,
    starts::Search,
};
use crate::{
    offsets::{
        exact_map::ExactMap,
        state::{GapCause, Lineage},
    },
    policy::StartAt,
};

/// What one partition's part of a Fetch answer holds.
#[derive(Clone, Debug)]
pub struct FetchedRecords {
    /// Whole batches, and perhaps a cut one at the end.
    pub records: Bytes,
    /// The first offset that is not yet replicated on the source.
    pub high_watermark: i64,
    /// The first offset that a `read_committed` reader may not see yet.
    pub last_stable_offset: i64,
    /// Aborted transactions among the records, in no particular order.
    pub aborted: Vec<FetchResponseAbortedTransaction>,
    /// Where the source's log parts from what was fetched before, when it does: everything from
    /// there on was lost by the source (KIP-595).
    pub diverging: Option<EpochEnd>,
}

impl FetchedRecords {
    /// Where the source's readers must stop at present: at what is not replicated, and at open
    /// transactions.
    #[must_use]
    pub const fn readable_end(&self) -> i64 {
        let Self {
            high_watermark,
            last_stable_offset,
            ..
        } = *self;
        // -1 stands for no transactions known.
        if last_stable_offset < 0 || high_watermark < last_stable_offset {
            high_watermark
        } else {
            last_stable_offset
        }
    }
}

/// The first and the next offset of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The oldest offset.
    pub start_offset: i64,
    /// The offset that the next record will get.
    pub end_offset: i64,
}

/// A batch on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The header, whole, as it goes on the wire.
    pub header: [u8; HEADER_LEN],
    /// What follows it: the bytes that came from the source, unless the batch was rebuilt.
    pub payload: Bytes,
    /// Ties the acknowledgement to the batch.
    pub base_sequence: i32,
    /// And to the time between two recoveries in which it was sent.
    pub stint: u32,
}

/// Something that happened to a partition and that an operator should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionNotice {
    /// It stands still now.
    Halted(HaltReason),
    /// It goes on after a halt.
    Resumed,
    /// The source no longer has records that were not copied.
    Gap {
        /// The first offset that is missing.
        from_offset: i64,
        /// The first offset that is there again.
        to_offset: i64,
        /// Why.
        cause: GapCause,
    },
    /// Copying of a new partition begins, and not with the oldest record or not where it was asked
    /// for.
    Begins {
        /// Where it was to begin.
        wanted: StartAt,
        /// What held in its place, because the group has committed nothing.
        instead: Option<StartAt>,
        /// The first offset that is copied.
        source_offset: i64,
        /// What the source had at that time.
        source: LogRange,
    },
    /// The target stored a batch at another place than the one expected (R7): others write there
    /// too, or the batch is there twice. The position is proven before anything else is sent.
    StoredElsewhere {
        /// Where the target stored it.
        base_offset: i64,
        /// Where it was expected.
        expected: i64,
    },
    /// Its position is proven, and it goes on as it was.
    LineageContinued {
        /// Why it had to be proven.
        cause: RecoveryCause,
        /// Where copying goes on.
        source_offset: i64,
        /// Whether the target remembers the producer, so that it refuses a late repetition.
        is_remembered: bool,
        /// Records of former lineages that came late: they are on the target twice.
        unmatched_records: u64,
    },
    /// Copying goes on at the last proven record under a new producer epoch.
    LineageOpened {
        /// Why a new one.
        because: NewBecause,
        /// Why the position had to be proven.
        cause: RecoveryCause,
        /// Whether it has a producer id and sequence numbers.
        is_sequenced: bool,
        /// Where copying goes on.
        source_offset: i64,
        /// Own records on the target behind the last proven one: they may be there twice now.
        unmatched_records: u64,
    },
}

/// A decided batch that waits for its turn or its acknowledgement.
#[derive(Debug)]
struct Queued {
    prepared: Prepared,
    base_sequence: Option<i32>,
    is_in_flight: bool,
    /// The base offset that the target gave it.
    acknowledged_at: Option<i64>,
    /// Its checksum is wrong, and the target refused it for that.
    is_damaged: bool,
    /// It was refused, and may be in the log all the same.
    is_doubtful: bool,
}

impl Queued {
    const fn new(prepared: Prepared) -> Self {
        Self {
            prepared,
            base_sequence: None,
            is_in_flight: false,
            acknowledged_at: None,
            is_damaged: false,
            is_doubtful: false,
        }
    }

    fn size(&self) -> usize {
        self.prepared.size()
    }
}

/// The identity under which the target takes the partition's batches.
#[derive(Clone, Copy, Debug)]
pub struct Producer {
    /// The producer id and its epoch.
    pub lineage: Lineage,
    /// The sequence number of the next record.
    pub next_sequence: i32,
    /// Whether the target remembers a batch of this identity. Until then one batch at a time: a
    /// broker that does not know an id takes any sequence, so a second batch could be stored
    /// although the first was not (B5, KIP-360).
    pub is_established: bool,
}

/// What has been acknowledged since a proof.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: Start,
    /// After the last acknowledged record; `None` before the first.
    acknowledged: Option<Acknowledged>,
    anchor_counter: u64,
    unanchored_bytes: Option<u64>,
}

/// The point after the last acknowledged record.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    lineage: Lineage,
    next_sequence: i32,
}

/// One partition of one topic of a flow.
#[derive(Debug)]
pub struct Partition {
    /// Its place in the flow.
    pub id: PartitionId,
    /// What is copied.
    pub source: TopicPartition,
    /// The topic it is copied to, into the partition of the same number.
    pub remote_topic: Arc<str>,
    start_at: StartAt,
    /// The next offset to fetch; `None` until it is known where copying starts.
    fetch_offset: Option<i64>,
    /// Everything below is on the target.
    copied_offset: Option<i64>,
    /// The leader epoch of the source's last batch below that, also of one without records; -1 when
    /// unknown.
    copied_epoch: i32,
    /// The offset that the Fetch under way asked for, and the stint in which it did.
    fetching: Option<(i64, u32)>,
    /// The leader epoch of the last batch fetched; -1 when unknown.
    fetch_epoch: i32,
    is_idle: bool,
    fetch_bytes_max: usize,
    fetch_backoff: Backoff,
    /// How often in a row a fetched batch was found damaged.
    damaged_fetches: u32,
    /// Whether its position is proven from the target's log, and nothing is sent before.
    proves: bool,
    /// Whether its batches are part of transactions.
    is_transactional: bool,
    /// Where it goes on when a transaction is given up and no position is stored.
    committed_offset: Option<i64>,
    uncommitted: transactional::Uncommitted,
    /// Whether a proof is under way, or a transaction has been given up.
    is_suspended: bool,
    /// Counts the times between two proofs.
    stint: u32,
    run: Option<Run>,
    /// Where what has been copied is on the target; `None` where positions are neither proven nor
    /// committed with their batches, and before either has begun.
    map: Option<ExactMap>,
    /// Why the position has to be proven again.
    recovery_cause: Option<RecoveryCause>,
    /// The last acknowledgement's base offset that was not the expected one, while none was since.
    stored_elsewhere: Option<i64>,
    needs_log_range: bool,
    is_finding_log_range: bool,
    /// What finds the start of a new partition once the log's range is known, and whether its
    /// question has been asked.
    search: Option<(Search, bool)>,
    /// How often the start was found beyond the end of the log.
    start_looks: u32,
    producer: Option<Producer>,
    is_asking_for_producer: bool,
    /// The target has forgotten the producer id: a new one is needed once every answer is in.
    is_producer_lost: bool,
    /// Whether a target broker leads the partition.
    has_target: bool,
    produce_backoff: Backoff,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    in_flight: usize,
    /// A sent batch failed: nothing goes out until every answer is in, then all is sent again.
    is_resending: bool,
    /// The least base offset that the next acknowledgement can carry.
    target_offset_min: i64,
    halt: Option<Halt>,
    is_stopping: bool,
    high_watermark: Option<i64>,
    /// When it was last seen that nothing of the source was missing; at first, when it was added.
    caught_up_at: Option<Instant>,
    newest: Option<Newest>,
    counters: Counters,
}

/// The newest record on the target, and when the target had it.
#[derive(Clone, Copy, Debug)]
struct Newest {
    timestamp_ms: i64,
    acknowledged_at: Instant,
}

#[derive(Debug)]
struct Halt {
    reason: HaltReason,
    retry_at: Option<Instant>,
}

impl Partition {
    /// A partition that goes on at `stored_offset`, or starts as `start_at` says.
    #[must_use]
    pub fn new(
        id: PartitionId,
        source: TopicPartition,
        remote_topic: Arc<str>,
        stored_offset: Option<i64>,
        start_at: StartAt,
        fetch_bytes_max: usize,
    ) -> Self {
        Self {
            id,
            source,
            remote_topic,
            start_at,
            fetch_offset: stored_offset,
            copied_offset: stored_offset,
            copied_epoch: -1,
            fetching: None,
            fetch_epoch: -1,
            is_idle: false,
            fetch_bytes_max,
            fetch_backoff: Backoff::default(),
            damaged_fetches: 0,
            proves: false,
            is_transactional: false,
            committed_offset: None,
            uncommitted: transactional::Uncommitted::default(),
            is_suspended: false,
            stint: 0,
            run: None,
            map: None,
            recovery_cause: None,
            stored_elsewhere: None,
            needs_log_range: stored_offset.is_none(),
            is_finding_log_range: false,
            search: None,
            start_looks: 0,
            producer: None,
            is_asking_for_producer: false,
            is_producer_lost: false,
            has_target: false,
            produce_backoff: Backoff::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: 0,
            is_resending: false,
            target_offset_min: 0,
            halt: None,
            is_stopping: false,
            high_watermark: None,
            caught_up_at: None,
            newest: None,
            counters: Counters::default(),
        }
    }

    /// Where it starts when nothing is known of it.
    #[must_use]
    pub(in crate::flow) const fn start_at(&self) -> &StartAt {
        &self.start_at
    }

    /// Everything below is on the target; `None` while copying has not found its start.
    #[must_use]
    pub const fn copied_offset(&self) -> Option<i64> {
        self.copied_offset
    }

    /// Record bytes held for this partition.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Why the partition stands still, if it does.
    #[must_use]
    pub fn halt_reason(&self) -> Option<&HaltReason> {
        self.halt.as_ref().map(|halt| &halt.reason)
    }

    /// Records on the source that are not yet on the target; `None` while that is not known, above
    /// all while the position is being proven.
    #[must_use]
    pub fn lag(&self) -> Option<i64> {
        if self.is_suspended {
            return None;
        }
        Some(
            self.high_watermark?
                .saturating_sub(self.copied_offset?)
                .max(0),
        )
    }

    /// Notes whether anything of the source is missing on the target.
    pub(in crate::flow) fn look_at_lag(&mut self, now: Instant) {
        if self.lag() == Some(0) {
            self.caught_up_at = Some(now);
        } else {
            self.caught_up_at.get_or_insert(now);
        }
    }

    /// For how long records of the source have been missing on the target; zero when none are.
    ///
    /// Timestamps of records have no part in it: they may be anything.
    #[must_use]
    pub fn behind(&self, now: Instant) -> Duration {
        if self.lag() == Some(0) {
            return Duration::ZERO;
        }
        let since = self.caught_up_at;
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The newest timestamp of the batch acknowledged last, in milliseconds since 1970, and when that
    /// was; `None` before the first, and where records have no timestamps.
    #[must_use]
    pub fn newest_record(&self) -> Option<(i64, Instant)> {
        let newest = self.newest?;
        Some((newest.timestamp_ms, newest.acknowledged_at))
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts what an operator is told of.
    pub(in crate::flow) fn count_notice(&mut self, notice: &PartitionNotice) {
        self.counters.noted(notice);
    }

    /// How sure it is that each record comes once. While a position is being proven nothing is
    /// written, and what held before holds.
    #[must_use]
    pub fn guarantee(&self) -> Guarantee {
        if !self.proves {
            return Guarantee::AtLeastOnce;
        }
        let is_established = self.producer.is_some_and(|it| it.is_established);
        let footing = self.run.map(|run| run.start.footing);
        footing.map_or(Guarantee::ExactlyOnce, |it| it.guarantee(is_established))
    }

    /// Whether it is written without sequence numbers although exactly once is asked for.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        matches!(self.guarantee(), Guarantee::Weaker(weakness) if weakness.is_forced())
    }

    /// Whether what it sends has sequence numbers.
    #[must_use]
    pub fn is_sequenced(&self) -> bool {
        self.producer.is_some_and(|it| it.lineage.is_sequenced())
    }

    /// Batches sent and not yet answered.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a shutdown need not wait for this partition: the fate of all it sent is known, or
    /// it is halted and will not find out.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() || (self.in_flight == 0 && self.is_barred())
    }

    /// Whether what is held stays held until the target takes batches again.
    ///
    /// A stalled partition neither fetches nor keeps what it has not sent, so that the byte budget
    /// goes to those that move. One that has nothing left to send again must fetch to find out.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let has_nothing = self.is_transactional && self.queue.is_empty();
        let has_failed = self.produce_backoff.attempt() >= limits::STALLED_AFTER;
        !self.has_target || (has_failed && !has_nothing) || self.is_barred()
    }

    /// Stops fetching, and forgets what has not been sent: it is fetched again after a restart.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        self.drop_unsent();
    }

    fn is_active(&self) -> bool {
        self.halt.is_none() && !self.is_stopping && !self.is_suspended
    }

    /// Whether it has been asked to stop.
    #[must_use]
    pub const fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Whether nothing may be sent to the target.
    fn is_barred(&self) -> bool {
        self.halt
            .as_ref()
            .is_some_and(|halt| halt.reason.bars_producing())
    }

    fn seed(&self) -> u64 {
        u64::from(self.id.0)
    }
}

/// Halting and going on.
impl Partition {
    /// Stops the partition for `reason`. A halt that only a restart ends outlasts one that may pass.
    ///
    /// Batches that were sent keep their place and their sequence numbers, because the target may
    /// have them; what was not sent is fetched again. When the reason lies with the source alone,
    /// what was read before it still goes out.
    pub fn halt(&mut self, now: Instant, reason: HaltReason) -> Option<PartitionNotice> {
        if let Some(halt) = &self.halt
            && (reason.may_pass() || !halt.reason.may_pass())
        {
            return None;
        }
        let retry_at = reason.retries().then(|| now + limits::HALT_RETRY);
        if reason.bars_producing() {
            self.drop_unsent();
        }
        self.halt = Some(Halt {
            reason: reason.clone(),
            retry_at,
        });
        Some(PartitionNotice::Halted(reason))
    }

    /// When the partition wants to be looked at again although nothing was answered.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let retry_at = self.halt.as_ref().and_then(|halt| halt.retry_at);
        let waits = [
            retry_at,
            self.fetch_backoff.until(),
            self.produce_backoff.until(),
        ];
        waits.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Goes on after a halt whose time has come.
    pub fn retry_halted(&mut self, now: Instant) -> Option<PartitionNotice> {
        let halt = self.halt.as_mut()?;
        if halt.retry_at? > now {
            return None;
        }
        if self.in_flight > 0 {
            // The answers decide what is sent again.
            halt.retry_at = Some(now + limits::BACKOFF_MAX);
            return None;
        }
        self.resume()
    }

    /// Goes on if all that was wrong is that this topic was missing.
    pub(in crate::flow) fn topic_found(&mut self, side: Side) -> Option<PartitionNotice> {
        match (side, self.halt_reason()?) {
            (Side::Source, HaltReason::TopicMissing)
            | (Side::Target, HaltReason::RemoteTopicMissing) => self.resume(),
            _ => None,
        }
    }

    /// Goes on after a halt, with what was sent and is not acknowledged under its old numbers.
    fn resume(&mut self) -> Option<PartitionNotice> {
        // Codes that no broker should give say nothing about what it has stored, and it may have
        // forgotten the producer meanwhile: it would take the batch a second time (B5).
        if let Some(halt) = self.halt.take()
            && let HaltReason::TargetRefuses(failure) = halt.reason
            && self.proves
            && self.producer.is_some()
        {
            self.want_recovery(RecoveryCause::Ambiguous(failure));
        }
        self.fetch_backoff.succeed();
        self.produce_backoff.succeed();
        Some(PartitionNotice::Resumed)
    }

    /// Forgets the batches that were never sent, to fetch them again; those that were sent still
    /// await their answers.
    fn drop_unsent(&mut self) {
        while let Some(batch) = self.queue.back()
            && batch.base_sequence.is_none()
        {
            self.drop_last();
        }
    }

    fn drop_last(&mut self) {
        if let Some(batch) = self.queue.pop_back() {
            self.queued_bytes -= batch.size();
            self.fetch_offset = Some(batch.prepared.first_offset);
        }
    }
}
