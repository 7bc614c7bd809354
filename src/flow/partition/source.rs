//! The source side of a partition: where to read, and what becomes of what was read.

use std::time::Instant;

use super::{FetchedRecords, LogRange, Partition, PartitionNotice, Queued};
use crate::flow::{
    halt::HaltReason,
    intake, limits,
    recovery::RecoveryCause,
    retry::{Failure, Remedy},
    starts::{Begin, Search, StartQuestion},
};

use crate::offsets::state::GapCause;

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
        // Where it goes on is found elsewhere.
        if self.is_suspended {
            return None;
        }
        let range = match result {
            Ok(range) => range,
            Err(failure) => return self.source_failed(now, failure),
        };
        self.needs_log_range = false;
        let Some(next_offset) = self.fetch_offset else {
            let search = Search::new(self.start_at.clone(), range);
            return self.begin(now, search);
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
        self.fetch_offset = Some(range.start_offset);
        if self.queue.is_empty() {
            self.copied_offset = Some(range.start_offset);
        }
        Some(PartitionNotice::Gap {
            from_offset: next_offset,
            to_offset: range.start_offset,
            cause: GapCause::Deleted,
        })
    }

    /// Starts a new partition, unless a question comes first.
    fn begin(&mut self, now: Instant, search: Search) -> Option<PartitionNotice> {
        match search.begin() {
            Begin::Ask => {
                self.search = Some((search, false));
                None
            }
            Begin::At(start) => {
                self.search = None;
                self.fetch_offset = Some(start.source_offset);
                self.copied_offset = Some(start.source_offset);
                self.committed_offset = Some(start.source_offset);
                self.fetch_backoff.succeed();
                match start.deleted_from {
                    Some(from_offset) => Some(PartitionNotice::Gap {
                        from_offset,
                        to_offset: start.source_offset,
                        cause: GapCause::Deleted,
                    }),
                    None => search.notice(start),
                }
            }
            Begin::Beyond(reason) => {
                self.search = None;
                self.needs_log_range = true;
                self.start_looks += 1;
                if self.start_looks > limits::EVIDENCE_ATTEMPTS {
                    return self.halt(now, reason);
                }
                // The log may have grown since it was looked at.
                self.fetch_backoff.fail(now, self.seed());
                None
            }
        }
    }

    /// What must be asked now to find the start of a new partition.
    #[must_use]
    pub fn wants_start(&self, now: Instant) -> Option<StartQuestion> {
        let (search, is_asked) = self.search.as_ref()?;
        let may_ask = self.is_active() && !is_asked && !self.fetch_backoff.is_waiting(now);
        search.question().filter(|_| may_ask)
    }

    /// Notes that this has been asked.
    pub fn start_asked(&mut self) {
        if let Some((_, is_asked)) = &mut self.search {
            *is_asked = true;
        }
    }

    /// Takes the answer: an offset, if there is one.
    pub fn start_found(
        &mut self,
        now: Instant,
        result: Result<Option<i64>, Failure>,
    ) -> Option<PartitionNotice> {
        // What was asked within a transaction that has been given up since is asked again.
        let (mut search, _) = self.search.take_if(|(_, is_asked)| *is_asked)?;
        match result {
            Ok(found) => {
                search.answered(found);
                self.begin(now, search)
            }
            Err(failure) => {
                self.search = Some((search, false));
                self.source_failed(now, failure)
            }
        }
    }

    /// The offset and the byte limit of the next Fetch, when one should be sent now.
    #[must_use]
    pub fn wants_fetch(&self, now: Instant) -> Option<(i64, usize)> {
        let has_room = self.queued_bytes < self.fetch_bytes_max;
        let may = self.is_active()
            && has_room
            && self.fetching.is_none()
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
    pub fn fetch_sent(&mut self) {
        self.fetching = self.fetch_offset.map(|offset| (offset, self.stint));
    }

    /// The leader epoch of the last batch fetched, if positions are proven; -1 otherwise.
    #[must_use]
    pub const fn last_fetched_epoch(&self) -> i32 {
        if self.proves { self.fetch_epoch } else { -1 }
    }

    /// Takes what the source returned for the Fetch under way.
    pub fn fetched(
        &mut self,
        now: Instant,
        result: Result<FetchedRecords, Failure>,
    ) -> Option<PartitionNotice> {
        let asked = self.fetching.take();
        let expected = self.fetch_offset.map(|offset| (offset, self.stint));
        // A halt, a stop or a proof may have gone back behind what was asked for.
        if !self.is_active() || asked != expected {
            return None;
        }
        match result {
            // The source lost what was fetched before: what it has now is something else (KIP-320).
            Ok(fetched) if self.proves && fetched.diverging.is_some() => {
                self.want_recovery(RecoveryCause::SourceMoved);
                None
            }
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
            Remedy::FindLogRange if self.proves => {
                self.want_recovery(RecoveryCause::SourceMoved);
                None
            }
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
        let start = self.fetch_offset?;
        let taken = intake::take(start, fetched, &mut self.counters);
        for batch in taken.batches {
            self.queued_bytes += batch.size();
            self.queue.push_back(Queued::new(batch));
        }
        self.fetch_offset = Some(taken.next_offset);
        if taken.last_epoch >= 0 {
            self.fetch_epoch = taken.last_epoch;
        }
        if let Some(reason) = taken.stopped {
            return self.halt(now, reason);
        }
        self.skip_copied_without_records();
        if taken.is_cut {
            return self.widen_fetch(now, start);
        }
        None
    }

    /// Markers and empty batches at the end of a log move the position without an acknowledgement.
    pub(super) fn skip_copied_without_records(&mut self) {
        if self.queue.is_empty() && self.copied_offset < self.fetch_offset {
            self.copied_offset = self.fetch_offset;
            self.copied_epoch = self.fetch_epoch;
            if let (Some(map), Some(copied_offset)) = (&mut self.map, self.copied_offset) {
                map.passed(copied_offset);
            }
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
