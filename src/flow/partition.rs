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

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode, Malformed,
    messages::fetch::FetchResponseAbortedTransaction,
    records::{BatchHeader, BatchProducer, HEADER_LEN, LogEntry, batches, sequence_after},
};

use super::{
    Counters, PartitionId, TopicPartition,
    aborted::AbortedFilter,
    batch::{Decision, decide},
    halt::HaltReason,
    limits,
    rebuild::rebuild,
    retry::{Backoff, Failure, Remedy},
};

/// Where copying of a partition starts when no position is stored for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record that the source still has.
    #[default]
    Earliest,
    /// After the newest record that the source has when the partition is first seen.
    Latest,
}

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
    },
}

/// A decided batch that waits for its turn or its acknowledgement.
#[derive(Debug)]
struct Queued {
    header: BatchHeader,
    payload: Bytes,
    /// The source position once this batch is on the target.
    next_offset: i64,
    base_sequence: Option<i32>,
    is_in_flight: bool,
    is_acknowledged: bool,
}

/// The identity under which the target takes the partition's batches.
#[derive(Clone, Copy, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
    next_sequence: i32,
    /// Whether the target has acknowledged a batch of this identity. Until then one batch at a
    /// time: a broker that does not know an id takes any sequence, so a second batch could be
    /// stored although the first was not (KIP-360).
    is_established: bool,
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
    is_fetching: bool,
    fetch_bytes_max: usize,
    fetch_backoff: Backoff,
    needs_log_range: bool,
    is_finding_log_range: bool,
    producer: Option<Producer>,
    is_asking_for_producer: bool,
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
    counters: Counters,
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
            is_fetching: false,
            fetch_bytes_max,
            fetch_backoff: Backoff::default(),
            needs_log_range: stored_offset.is_none(),
            is_finding_log_range: false,
            producer: None,
            is_asking_for_producer: false,
            produce_backoff: Backoff::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: 0,
            is_resending: false,
            target_offset_min: 0,
            halt: None,
            is_stopping: false,
            high_watermark: None,
            counters: Counters::default(),
        }
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

    /// Records on the source that are not yet on the target, once that is known.
    #[must_use]
    pub fn lag(&self) -> Option<i64> {
        Some(
            self.high_watermark?
                .saturating_sub(self.copied_offset?)
                .max(0),
        )
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether nothing is under way, so that a shutdown need not wait for this partition.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.in_flight == 0
    }

    /// Stops fetching, and forgets what has not been sent: it is fetched again after a restart.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        self.drop_unsent();
    }

    fn is_active(&self) -> bool {
        self.halt.is_none() && !self.is_stopping
    }

    fn seed(&self) -> u64 {
        u64::from(self.id.0)
    }
}

/// The source side.
impl Partition {
    /// Whether the log's range must be asked for now.
    #[must_use]
    pub fn wants_log_range(&self, now: Instant) -> bool {
        self.is_active()
            && self.needs_log_range
            && !self.is_finding_log_range
            && !self.fetch_backoff.is_waiting(now)
    }

    /// Notes that the log's range has been asked for.
    pub const fn log_range_asked(&mut self) {
        self.is_finding_log_range = true;
    }

    /// Takes the log's range: finds the start of a new partition, or explains a lost position.
    pub fn log_range_found(
        &mut self,
        now: Instant,
        result: Result<LogRange, Failure>,
    ) -> Option<PartitionNotice> {
        self.is_finding_log_range = false;
        let range = match result {
            Ok(range) => range,
            Err(failure) => return self.source_failed(now, failure),
        };
        self.fetch_backoff.succeed();
        self.needs_log_range = false;
        let Some(next_offset) = self.fetch_offset else {
            let start = match self.start_at {
                StartAt::Earliest => range.start_offset,
                StartAt::Latest => range.end_offset,
            };
            self.fetch_offset = Some(start);
            self.copied_offset = Some(start);
            return None;
        };
        if next_offset > range.end_offset {
            return self.halt(
                now,
                HaltReason::SourceTruncated {
                    next_offset,
                    log_end_offset: range.end_offset,
                },
            );
        }
        if next_offset >= range.start_offset {
            return None;
        }
        self.counters.gap_records += range.start_offset.abs_diff(next_offset);
        self.fetch_offset = Some(range.start_offset);
        if self.queue.is_empty() {
            self.copied_offset = Some(range.start_offset);
        }
        Some(PartitionNotice::Gap {
            from_offset: next_offset,
            to_offset: range.start_offset,
        })
    }

    /// The offset and the byte limit of the next Fetch, when one should be sent now.
    #[must_use]
    pub fn wants_fetch(&self, now: Instant) -> Option<(i64, usize)> {
        let has_room = self.queued_bytes < self.fetch_bytes_max;
        let may = self.is_active()
            && has_room
            && !self.is_fetching
            && !self.needs_log_range
            && !self.fetch_backoff.is_waiting(now);
        self.fetch_offset
            .filter(|_| may)
            .map(|offset| (offset, self.fetch_bytes_max))
    }

    /// Notes that a Fetch is under way.
    pub const fn fetch_sent(&mut self) {
        self.is_fetching = true;
    }

    /// Takes what the source returned for the Fetch under way.
    pub fn fetched(
        &mut self,
        now: Instant,
        result: Result<FetchedRecords, Failure>,
    ) -> Option<PartitionNotice> {
        self.is_fetching = false;
        if !self.is_active() {
            return None;
        }
        match result {
            Ok(fetched) => {
                self.fetch_backoff.succeed();
                self.high_watermark = Some(fetched.high_watermark);
                self.take_batches(now, fetched)
            }
            Err(failure) => self.source_failed(now, failure),
        }
    }

    fn source_failed(&mut self, now: Instant, failure: Failure) -> Option<PartitionNotice> {
        self.fetch_backoff.fail(now, self.seed());
        match failure.remedy() {
            Remedy::FindLogRange => {
                // The position in question is the fetch position; what is queued below it stays.
                self.needs_log_range = true;
                self.fetch_backoff.succeed();
                None
            }
            Remedy::Retry | Remedy::RefreshMetadata => None,
            Remedy::Halt | Remedy::SequenceBroken | Remedy::RestartProducer => {
                self.halt(now, HaltReason::SourceRefuses(failure))
            }
        }
    }

    fn take_batches(&mut self, now: Instant, fetched: FetchedRecords) -> Option<PartitionNotice> {
        let FetchedRecords {
            records, aborted, ..
        } = fetched;
        let start = self.fetch_offset?;
        let mut aborted = AbortedFilter::new(aborted);
        let mut complete = 0_usize;
        for entry in batches(&records) {
            complete += 1;
            if let Err(reason) = self.take_entry(entry, &records, &mut aborted) {
                return self.halt(now, reason);
            }
        }
        self.skip_copied_without_records();
        if complete == 0 && !records.is_empty() {
            return self.widen_fetch(now, start);
        }
        None
    }

    fn take_entry(
        &mut self,
        entry: Result<LogEntry<'_>, Malformed>,
        records: &Bytes,
        aborted: &mut AbortedFilter,
    ) -> Result<(), HaltReason> {
        let next_offset = self.fetch_offset.unwrap_or_default();
        let unreadable = |offset: i64, error: &dyn std::fmt::Display| HaltReason::Unreadable {
            offset,
            error: error.to_string(),
        };
        let batch = match entry.map_err(|err| unreadable(next_offset, &err))? {
            LogEntry::Batch(batch) => batch,
            LogEntry::Legacy(message) => {
                return Err(HaltReason::Unsupported {
                    offset: message.offset,
                    what: "conversion from message format v0 or v1",
                });
            }
        };
        let header = batch.header;
        let is_aborted = aborted.is_aborted(&header, batch.payload);
        let decision = decide(&header, next_offset, is_aborted);
        self.counters.count(decision);
        match decision {
            Decision::Drop(_) => {}
            Decision::Pass => {
                let payload = records.slice_ref(batch.payload);
                self.enqueue(header, payload, header.next_offset());
            }
            Decision::Rebuild(_) => {
                let rebuilt = rebuild(&header, batch.payload, next_offset).map_err(|error| {
                    HaltReason::NotRebuilt {
                        offset: header.base_offset,
                        error,
                    }
                })?;
                if let Some((rebuilt, payload)) = rebuilt {
                    self.enqueue(rebuilt, payload, header.next_offset());
                }
            }
        }
        self.fetch_offset = Some(next_offset.max(header.next_offset()));
        Ok(())
    }

    fn enqueue(&mut self, header: BatchHeader, payload: Bytes, next_offset: i64) {
        self.queued_bytes += HEADER_LEN + payload.len();
        self.queue.push_back(Queued {
            header,
            payload,
            next_offset,
            base_sequence: None,
            is_in_flight: false,
            is_acknowledged: false,
        });
    }

    /// Markers and empty batches at the end of a log move the position without an acknowledgement.
    fn skip_copied_without_records(&mut self) {
        if self.queue.is_empty() && self.copied_offset < self.fetch_offset {
            self.copied_offset = self.fetch_offset;
        }
    }

    /// Brokers before KIP-74 cut even the first batch when it is larger than the limit.
    fn widen_fetch(&mut self, now: Instant, offset: i64) -> Option<PartitionNotice> {
        if self.fetch_bytes_max >= limits::PARTITION_FETCH_BYTES_CAP {
            let bytes_max = self.fetch_bytes_max;
            return self.halt(now, HaltReason::FetchLimit { offset, bytes_max });
        }
        self.fetch_bytes_max = (self.fetch_bytes_max * 2).min(limits::PARTITION_FETCH_BYTES_CAP);
        None
    }
}

/// The target side.
impl Partition {
    /// Whether a producer id must be asked for now.
    #[must_use]
    pub fn wants_producer_id(&self, now: Instant) -> bool {
        self.is_active()
            && self.producer.is_none()
            && !self.is_asking_for_producer
            && !self.produce_backoff.is_waiting(now)
    }

    /// Notes that a producer id has been asked for.
    pub const fn producer_id_asked(&mut self) {
        self.is_asking_for_producer = true;
    }

    /// Takes a new producer id and epoch, under which nothing has been written yet.
    pub fn producer_id_granted(
        &mut self,
        now: Instant,
        result: Result<(i64, i16), Failure>,
    ) -> Option<PartitionNotice> {
        self.is_asking_for_producer = false;
        match result {
            Ok((id, epoch)) => {
                self.produce_backoff.succeed();
                self.producer = Some(Producer {
                    id,
                    epoch,
                    next_sequence: 0,
                    is_established: false,
                });
                None
            }
            Err(failure) => {
                self.produce_backoff.fail(now, self.seed());
                match failure.remedy() {
                    Remedy::Halt => self.halt(now, HaltReason::TargetRefuses(failure)),
                    _ => None,
                }
            }
        }
    }

    /// The next batch to send, when one may be sent now; it counts as sent.
    pub fn next_batch(&mut self, now: Instant) -> Option<Outgoing> {
        let producer = self.producer.as_mut()?;
        if self.halt.is_some() || self.produce_backoff.is_waiting(now) {
            return None;
        }
        if self.is_resending {
            if self.in_flight > 0 {
                return None;
            }
            self.is_resending = false;
        }
        let in_flight_max = if producer.is_established {
            limits::IN_FLIGHT_PER_PARTITION_MAX
        } else {
            1
        };
        if self.in_flight >= in_flight_max {
            return None;
        }
        let batch = self
            .queue
            .iter_mut()
            .find(|batch| !batch.is_in_flight && !batch.is_acknowledged)?;
        let base_sequence = *batch.base_sequence.get_or_insert(producer.next_sequence);
        let producer_fields = BatchProducer {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence,
        };
        let header = batch.header.readdressed(producer_fields);
        if producer.next_sequence == base_sequence {
            producer.next_sequence = sequence_after(base_sequence, header.record_count);
        }
        batch.is_in_flight = true;
        self.in_flight += 1;
        Some(Outgoing {
            header: header.encode(),
            payload: batch.payload.clone(),
            base_sequence,
        })
    }

    /// Takes the target's answer to the batch with that base sequence: its base offset, or why not.
    pub fn produced(
        &mut self,
        now: Instant,
        base_sequence: i32,
        result: Result<i64, Failure>,
    ) -> Option<PartitionNotice> {
        let index = self
            .queue
            .iter()
            .position(|batch| batch.is_in_flight && batch.base_sequence == Some(base_sequence))?;
        self.in_flight -= 1;
        let batch = self.queue.get_mut(index)?;
        batch.is_in_flight = false;
        match result {
            Ok(base_offset) => {
                batch.is_acknowledged = true;
                let count = i64::from(batch.header.record_count);
                self.acknowledged(now, base_offset, count)
            }
            Err(failure) => self.target_failed(now, index, failure),
        }
    }

    fn acknowledged(
        &mut self,
        now: Instant,
        base_offset: i64,
        count: i64,
    ) -> Option<PartitionNotice> {
        self.produce_backoff.succeed();
        if let Some(producer) = &mut self.producer {
            producer.is_established = true;
        }
        while let Some(batch) = self.queue.pop_front_if(|batch| batch.is_acknowledged) {
            self.queued_bytes -= HEADER_LEN + batch.payload.len();
            self.copied_offset = Some(batch.next_offset);
            self.counters
                .acknowledged(&batch.header, batch.payload.len());
        }
        self.skip_copied_without_records();
        // The first answer after a resend may report an older batch: it is below no newer one,
        // because answers to resends come before anything new is sent.
        if base_offset < self.target_offset_min {
            let expected_min = self.target_offset_min;
            return self.halt(
                now,
                HaltReason::TargetWentBack {
                    base_offset,
                    expected_min,
                },
            );
        }
        self.target_offset_min = base_offset + count;
        None
    }

    fn target_failed(
        &mut self,
        now: Instant,
        index: usize,
        failure: Failure,
    ) -> Option<PartitionNotice> {
        let remedy = failure.remedy();
        // Behind a batch that failed, every later one is out of sequence: that says nothing new.
        if self.is_resending && remedy == Remedy::SequenceBroken {
            return None;
        }
        self.is_resending = true;
        match remedy {
            Remedy::Retry | Remedy::RefreshMetadata | Remedy::FindLogRange => {
                self.produce_backoff.fail(now, self.seed());
                None
            }
            Remedy::RestartProducer => {
                self.produce_backoff.fail(now, self.seed());
                self.forget_producer();
                None
            }
            Remedy::SequenceBroken => self.halt(now, HaltReason::TargetDiverged(failure)),
            Remedy::Halt => {
                let reason = self.refusal(index, failure);
                self.halt(now, reason)
            }
        }
    }

    fn refusal(&self, index: usize, failure: Failure) -> HaltReason {
        let too_large = matches!(
            failure,
            Failure::Refused(
                ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE,
                _
            )
        );
        match self.queue.get(index) {
            Some(batch) if too_large => HaltReason::BatchTooLarge {
                first_offset: batch.header.base_offset,
                batch_bytes: HEADER_LEN + batch.payload.len(),
            },
            _ => HaltReason::TargetRefuses(failure),
        }
    }

    fn forget_producer(&mut self) {
        self.producer = None;
        for batch in &mut self.queue {
            batch.base_sequence = None;
        }
    }
}

/// Halting and going on.
impl Partition {
    /// Stops the partition for `reason`. What has not been acknowledged will be fetched again.
    pub fn halt(&mut self, now: Instant, reason: HaltReason) -> Option<PartitionNotice> {
        if self.halt.is_some() {
            return None;
        }
        let retry_at = reason.may_pass().then(|| now + limits::HALT_RETRY);
        self.halt = Some(Halt {
            reason: reason.clone(),
            retry_at,
        });
        self.drop_unsent();
        Some(PartitionNotice::Halted(reason))
    }

    /// When the partition wants to be looked at again although nothing was answered.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if let Some(halt) = &self.halt {
            return halt.retry_at.filter(|_| self.in_flight == 0);
        }
        [self.fetch_backoff.until(), self.produce_backoff.until()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Goes on after a halt whose time has come, from the last acknowledged position.
    pub fn retry_halted(&mut self, now: Instant) -> Option<PartitionNotice> {
        let retry_at = self.halt.as_ref()?.retry_at?;
        if now < retry_at || self.in_flight > 0 || self.is_fetching {
            return None;
        }
        self.halt = None;
        self.queue.clear();
        self.queued_bytes = 0;
        self.fetch_offset = self.copied_offset;
        self.needs_log_range = self.fetch_offset.is_none();
        self.producer = None;
        self.is_resending = false;
        self.fetch_backoff.succeed();
        self.produce_backoff.succeed();
        Some(PartitionNotice::Resumed)
    }

    /// Forgets the batches that were never sent, and that they were fetched: otherwise the position
    /// would move past them with the last acknowledgement. Those in flight still await their answers.
    fn drop_unsent(&mut self) {
        while let Some(batch) = self
            .queue
            .pop_back_if(|batch| batch.base_sequence.is_none())
        {
            self.queued_bytes -= HEADER_LEN + batch.payload.len();
            let kept = self.queue.back().map(|batch| batch.next_offset);
            self.fetch_offset = kept.or(self.copied_offset);
        }
    }
}
