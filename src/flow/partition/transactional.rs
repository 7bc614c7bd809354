//! A partition whose batches are part of its flow's transactions.

use std::time::Instant;

use kmirror_protocol::records::{BatchHeader, HEADER_LEN};

use super::{Partition, PartitionNotice, Producer};
use crate::{
    flow::{
        halt::HaltReason,
        retry::{Failure, Remedy},
    },
    offsets::{
        exact_map::{ExactMap, Point, TopicIds},
        state::Lineage,
    },
};

/// What a transaction that is open has of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uncommitted {
    records: u64,
    bytes: u64,
}

impl Uncommitted {
    /// As [`Counters::acknowledged`](crate::flow::Counters).
    pub(super) fn acknowledged(&mut self, header: &BatchHeader, payload_len: usize) {
        self.records += u64::from(header.record_count.unsigned_abs());
        self.bytes += u64::try_from(HEADER_LEN + payload_len).unwrap_or(u64::MAX);
    }
}

impl Partition {
    /// Writes under the flow's producer, as part of its transactions.
    #[must_use]
    pub fn transacting(mut self, producer: Lineage) -> Self {
        self.is_transactional = true;
        self.committed_offset = self.copied_offset;
        self.producer = Some(Producer::new(producer));
        self
    }

    /// Whether there is a batch that could be sent now, if its transaction lets it.
    #[must_use]
    pub fn has_batch(&self, now: Instant) -> bool {
        let mut unsent = self.queue.iter();
        let has_unsent = unsent.any(|batch| !batch.is_in_flight && batch.acknowledged_at.is_none());
        has_unsent && !self.is_barred() && !self.produce_backoff.is_waiting(now)
    }

    /// Whether there is one of those that were refused and may be in the log.
    #[must_use]
    pub fn has_doubtful_batch(&self, now: Instant) -> bool {
        let mut batches = self.queue.iter();
        let has_one = batches.any(|batch| {
            batch.is_doubtful && !batch.is_in_flight && batch.acknowledged_at.is_none()
        });
        has_one && self.has_batch(now)
    }

    /// Whether a batch that was refused may be in the transaction: it is sent again, to be told.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        let mut batches = self.queue.iter();
        batches.any(|batch| batch.is_doubtful && batch.acknowledged_at.is_none())
    }

    /// Whether a batch is, or may be, in the transaction and not below the position, and nothing
    /// that is sent can change that: the transaction must not be committed.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.in_flight == 0 && (self.has_acknowledged() || self.is_barred() && self.is_in_doubt())
    }

    /// The transaction is committed, with this position if it had moved; the next one has this
    /// producer. Sequences begin anew under a new epoch.
    pub fn committed(&mut self, next_offset: Option<i64>, producer: Lineage) {
        self.uncommitted = Uncommitted::default();
        self.committed_offset = next_offset.or(self.committed_offset);
        if self.producer.is_some_and(|own| own.lineage != producer) {
            self.producer = Some(Producer::new(producer));
            for batch in &mut self.queue {
                batch.base_sequence = None;
            }
            if self.is_barred() || self.is_stopping {
                self.drop_unsent();
            }
        }
    }

    /// Goes on at the committed position after a transaction that was given up: the stored one, or
    /// where copying had begun if none is stored.
    pub fn go_back(&mut self, stored_offset: Option<i64>, producer: Lineage) {
        let offset = stored_offset.or(self.committed_offset);
        if offset != self.committed_offset {
            // Whose records lie in between is not known.
            self.map = None;
        }
        if offset < self.copied_offset {
            let Uncommitted { records, bytes } = std::mem::take(&mut self.uncommitted);
            self.counters.records = self.counters.records.saturating_sub(records);
            self.counters.bytes = self.counters.bytes.saturating_sub(bytes);
        }
        self.uncommitted = Uncommitted::default();
        self.is_suspended = false;
        self.fetch_offset = offset;
        self.copied_offset = offset;
        self.committed_offset = offset;
        self.needs_log_range = offset.is_none();
        self.search = None;
        self.producer = Some(Producer::new(producer));
    }

    /// Begins the map with the first batch that is on the target, at `base_offset`: where the
    /// records before it are is not kept in this mode.
    pub(super) fn begin_map(&mut self, base_offset: i64) {
        if self.proves || self.map.is_some() {
            return;
        }
        self.map = self.copied_offset.map(|source_offset| {
            let start = Point {
                source_offset,
                target_offset: base_offset,
            };
            ExactMap::new(TopicIds::default(), 0, start)
        });
    }

    /// What may be told of a position: nothing is told of what is not committed.
    pub(super) fn told_offset(&self, source_offset: i64) -> i64 {
        if self.is_transactional {
            source_offset.min(self.committed_offset.unwrap_or(0))
        } else {
            source_offset
        }
    }

    /// The partition may not enter the transaction: looks again later, or halts.
    pub fn entry_refused(&mut self, now: Instant, failure: Failure) -> Option<PartitionNotice> {
        self.produce_backoff.fail(now, self.seed());
        if self.is_stalled() {
            self.drop_unsent();
        }
        match failure.remedy() {
            Remedy::Halt => self.halt(now, HaltReason::TargetRefuses(failure)),
            _ => None,
        }
    }
}

impl Producer {
    /// One under which nothing has been written yet.
    pub(super) const fn new(lineage: Lineage) -> Self {
        Self {
            lineage,
            next_sequence: 0,
            is_established: false,
        }
    }
}
