//! What has been seen of the window: how many records of whom, and whether the own ones are a run.

use std::collections::BTreeSet;

use kmirror_protocol::records::{BatchHeader, sequence_after};

use super::target::{Fate, TargetBatch};
use crate::offsets::state::Lineage;

/// Sequence numbers further apart than this are taken for ones that go back: they wrap at 2^31.
const SEQUENCE_DISTANCE_MAX: i32 = 1 << 30;

/// Who wrote a batch, as far as the proof cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// The lineage whose continuation is asked for.
    Own,
    /// A former lineage of this partition.
    Former,
    /// Anyone else.
    Foreign,
    /// Someone with a transaction that is committed.
    Committed,
    /// Someone with a transaction of which nothing is known yet: what it holds may come to count.
    Undecided,
    /// Someone with a transaction that is aborted, or a broker with a marker: counts for nothing.
    Nobody,
}

/// How many sequence numbers `to` is after `from`; `None` when it lies before it.
pub(super) fn sequence_distance(from: i32, to: i32) -> Option<i32> {
    let distance = to.wrapping_sub(from) & i32::MAX;
    (to >= 0 && distance < SEQUENCE_DISTANCE_MAX).then_some(distance)
}

/// Counts records, and follows the lineage's sequence.
#[derive(Debug)]
pub(super) struct Tally {
    lineage: Lineage,
    /// The producer ids of all lineages of this partition.
    pub(super) own_producers: BTreeSet<i64>,
    /// Whether nothing has been seen yet that breaks the run.
    pub(super) is_run: bool,
    /// The next sequence number of the run.
    pub(super) next_sequence: i32,
    pub(super) proven: u64,
    pub(super) own: u64,
    /// Own records without a counterpart, before the first record that has one.
    unmatched_first: u64,
    /// Own records without a counterpart, after it.
    unmatched_later: u64,
    /// Records of transactions without a counterpart, aborted ones left out.
    pub(super) unmatched_transactional: u64,
    /// Records of former lineages without a counterpart.
    unmatched_former: u64,
}

impl Tally {
    pub(super) fn new(lineage: Lineage, next_sequence: Option<i32>) -> Self {
        Self {
            lineage,
            own_producers: BTreeSet::from([lineage.producer_id]),
            is_run: next_sequence.is_some(),
            next_sequence: next_sequence.unwrap_or_default(),
            proven: 0,
            own: 0,
            unmatched_first: 0,
            unmatched_later: 0,
            unmatched_transactional: 0,
            unmatched_former: 0,
        }
    }

    pub(super) fn writer(&self, batch: &TargetBatch) -> Writer {
        let lineage = Lineage {
            producer_id: batch.header.producer_id,
            epoch: batch.header.producer_epoch,
        };
        match batch.fate {
            Fate::Void => Writer::Nobody,
            Fate::Committed => Writer::Committed,
            Fate::Undecided => Writer::Undecided,
            Fate::Plain if lineage == self.lineage => Writer::Own,
            Fate::Plain if self.own_producers.contains(&lineage.producer_id) => Writer::Former,
            Fate::Plain => Writer::Foreign,
        }
    }

    /// Follows the sequence into a batch of the lineage.
    ///
    /// Batches that compaction has thinned, or that reach beyond the window, have no first sequence
    /// number and break the run: nothing vouches for what is missing.
    pub(super) fn follow(&mut self, header: &BatchHeader, first_sequence: Option<i32>) {
        self.is_run &= first_sequence == Some(self.next_sequence);
        if header.base_sequence >= 0 {
            self.next_sequence = sequence_after(header.last_sequence(), 1);
        }
    }

    /// Counts records that are the next ones of the source. When someone else has written one, the
    /// lineage's next sequence number no longer means the source's next record.
    pub(super) fn matched(&mut self, writer: Writer, count: u32) {
        self.count(writer, count);
        self.proven = self.proven.saturating_add(u64::from(count));
        self.is_run &= writer == Writer::Own;
    }

    /// Counts records that are not.
    pub(super) fn unmatched(&mut self, writer: Writer, count: u32) {
        self.count(writer, count);
        let is_first = self.proven == 0;
        let unmatched = match writer {
            Writer::Own if is_first => &mut self.unmatched_first,
            Writer::Own => &mut self.unmatched_later,
            Writer::Former => &mut self.unmatched_former,
            Writer::Committed | Writer::Undecided => &mut self.unmatched_transactional,
            Writer::Foreign | Writer::Nobody => return,
        };
        *unmatched = unmatched.saturating_add(u64::from(count));
    }

    /// Forgets what did not match of others' and former records: they will be seen again.
    pub(super) const fn forget_unmatched_others(&mut self) {
        self.unmatched_transactional = 0;
        self.unmatched_former = 0;
    }

    /// Records of former lineages that nothing asked for: late batches that the target took once
    /// more, unless the source has deleted their counterparts.
    pub(super) const fn unmatched_former(&self, is_source_cut: bool) -> u64 {
        if is_source_cut {
            0
        } else {
            self.unmatched_former
        }
    }

    fn count(&mut self, writer: Writer, count: u32) {
        if writer == Writer::Own {
            self.own = self.own.saturating_add(u64::from(count));
        }
    }

    /// Own records without a counterpart: those that the source may have deleted since, and those
    /// that it has not.
    pub(super) const fn unmatched_own(&self, is_source_cut: bool) -> (u64, u64) {
        if is_source_cut {
            (self.unmatched_first, self.unmatched_later)
        } else {
            (0, self.unmatched_first.saturating_add(self.unmatched_later))
        }
    }
}
