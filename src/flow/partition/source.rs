//! The source side of a partition: where to read, and what becomes of what was read.

use std::time::Instant;

use bytes::Bytes;
use kmirror_protocol::{
    Malformed,
    records::{
        BatchHeader, BatchProducer, BuiltBatch, LegacyConverter, LegacyError, LegacyMessage,
        LogEntry, batches, check_outgoing,
    },
};

use super::{FetchedRecords, LogRange, Partition, PartitionNotice, Queued, StartAt};
use crate::flow::{
    aborted::AbortedFilter,
    batch::{Decision, RebuildReason, decide},
    halt::HaltReason,
    limits,
    rebuild::rebuild,
    retry::{Failure, Remedy},
};

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
            && self.fetching_offset.is_none()
            && !self.is_stalled()
            && !self.needs_log_range
            && !self.fetch_backoff.is_waiting(now);
        self.fetch_offset
            .filter(|_| may)
            .map(|offset| (offset, self.fetch_bytes_max))
    }

    /// Whether the last Fetch found nothing.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Notes that a Fetch is under way.
    pub const fn fetch_sent(&mut self) {
        self.fetching_offset = self.fetch_offset;
    }

    /// Takes what the source returned for the Fetch under way.
    pub fn fetched(
        &mut self,
        now: Instant,
        result: Result<FetchedRecords, Failure>,
    ) -> Option<PartitionNotice> {
        let asked = self.fetching_offset.take();
        // A halt or a stop may have gone back behind what was asked for.
        if !self.is_active() || asked != self.fetch_offset {
            return None;
        }
        match result {
            Ok(fetched) => {
                self.fetch_backoff.succeed();
                self.high_watermark = Some(fetched.high_watermark);
                self.is_idle = fetched.records.is_empty();
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
        let mut old = LegacyConverter::new(limits::CONVERSION);
        let mut complete = 0_usize;
        for entry in batches(&records) {
            complete += 1;
            if let Err(reason) = self.take_entry(entry, &records, &mut aborted, &mut old) {
                return self.halt(now, reason);
            }
        }
        if let Err(reason) = self.take_converted(old.finish()) {
            return self.halt(now, reason);
        }
        self.skip_copied_without_records();
        if complete == 0 && !records.is_empty() {
            return self.widen_fetch(now, start);
        }
        None
    }

    /// Takes one entry; what came before it in an old format is taken first, whatever becomes of it.
    fn take_entry(
        &mut self,
        entry: Result<LogEntry<'_>, Malformed>,
        records: &Bytes,
        aborted: &mut AbortedFilter,
        old: &mut LegacyConverter,
    ) -> Result<(), HaltReason> {
        let batch = match entry {
            Ok(LogEntry::Legacy(message)) => return self.take_legacy(&message, old),
            Ok(LogEntry::Batch(batch)) => Ok(batch),
            Err(fault) => Err(fault),
        };
        self.take_converted(old.finish())?;
        let next_offset = self.fetch_offset.unwrap_or_default();
        let batch = batch.map_err(|fault| HaltReason::Unreadable {
            offset: next_offset,
            error: fault.to_string(),
        })?;
        let is_aborted = aborted.is_aborted(&batch.header, batch.payload);
        let decision = decide(&batch.header, next_offset, is_aborted);
        self.counters.count(decision);
        self.carry_out(decision, &batch.header, &records.slice_ref(batch.payload))
    }

    fn take_legacy(
        &mut self,
        message: &LegacyMessage<'_>,
        old: &mut LegacyConverter,
    ) -> Result<(), HaltReason> {
        let pushed = old.push(message);
        if pushed.is_err() {
            self.take_converted(old.finish())?;
        }
        self.take_converted(pushed)
    }

    /// Takes a batch made of messages of an old format, as if it had been fetched.
    fn take_converted(
        &mut self,
        converted: Result<Option<BuiltBatch>, LegacyError>,
    ) -> Result<(), HaltReason> {
        let next_offset = self.fetch_offset.unwrap_or_default();
        let converted = converted.map_err(|error| HaltReason::NotRebuilt {
            offset: next_offset,
            error: error.into(),
        })?;
        let Some(BuiltBatch { header, payload }) = converted else {
            return Ok(());
        };
        let decision = decide(&header, next_offset, false);
        self.counters.count(match decision {
            Decision::Pass => Decision::Rebuild(RebuildReason::OldFormat),
            other => other,
        });
        self.carry_out(decision, &header, &payload)
    }

    fn carry_out(
        &mut self,
        decision: Decision,
        header: &BatchHeader,
        payload: &Bytes,
    ) -> Result<(), HaltReason> {
        let next_offset = self.fetch_offset.unwrap_or_default();
        match decision {
            Decision::Drop(_) => {}
            Decision::Pass => {
                self.enqueue(*header, payload.clone(), header.next_offset())?;
            }
            Decision::Rebuild(_) => {
                let rebuilt = rebuild(header, payload, next_offset).map_err(|error| {
                    HaltReason::NotRebuilt {
                        offset: header.base_offset,
                        error,
                    }
                })?;
                if let Some((rebuilt, payload)) = rebuilt {
                    self.enqueue(rebuilt, payload, header.next_offset())?;
                }
            }
        }
        self.fetch_offset = Some(next_offset.max(header.next_offset()));
        Ok(())
    }

    /// Queues a batch, unless a broker would refuse its header.
    fn enqueue(
        &mut self,
        header: BatchHeader,
        payload: Bytes,
        next_offset: i64,
    ) -> Result<(), HaltReason> {
        let first_offset = self
            .fetch_offset
            .unwrap_or_default()
            .max(header.base_offset);
        let producer = BatchProducer {
            producer_id: 0,
            producer_epoch: 0,
            base_sequence: 0,
        };
        check_outgoing(&header.readdressed(producer), payload.len()).map_err(|violation| {
            HaltReason::Unreadable {
                offset: first_offset,
                error: violation.to_string(),
            }
        })?;
        let batch = Queued {
            header,
            payload,
            first_offset,
            next_offset,
            base_sequence: None,
            is_in_flight: false,
            acknowledged_at: None,
            is_damaged: false,
        };
        self.queued_bytes += batch.size();
        self.queue.push_back(batch);
        Ok(())
    }

    /// Markers and empty batches at the end of a log move the position without an acknowledgement.
    pub(super) fn skip_copied_without_records(&mut self) {
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
