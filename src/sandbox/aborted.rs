//! Which transactions of a log were aborted, as a reader of a range of it must know.
//!
//! Source: Kafka's `TransactionIndex`, and `OffsetIndex` for the end of a range: Kafka knows the
//! offsets of positions only every few kilobytes, so that what it lists may begin after the range.
//! Segments are not imitated: the log is one.

use std::collections::VecDeque;

use kmirror_protocol::records::BatchHeader;

/// After how many bytes an offset is indexed (`index.interval.bytes`).
const INDEX_INTERVAL: usize = 4096;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbortedTransaction {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
    /// Where its marker lies.
    pub(super) last_offset: i64,
}

/// An offset whose place in the log is known.
#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    /// The last of its batch.
    offset: i64,
    /// Where the batch begins.
    position: u64,
}

/// The aborted transactions of one log.
#[derive(Clone, Debug, Default)]
pub(super) struct AbortedTransactions {
    /// In the order of their markers.
    transactions: VecDeque<AbortedTransaction>,
    offsets: VecDeque<IndexEntry>,
    bytes_since_entry: usize,
}

impl AbortedTransactions {
    /// Notes a batch that begins `position` bytes after the beginning of the log.
    pub(super) fn index(&mut self, header: &BatchHeader, position: u64) {
        if self.bytes_since_entry > INDEX_INTERVAL {
            self.offsets.push_back(IndexEntry {
                offset: header.last_offset(),
                position,
            });
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(header.size());
    }

    pub(super) fn extend(&mut self, aborted: Option<AbortedTransaction>) {
        self.transactions.extend(aborted);
    }

    /// Those that a reader from `fetch_offset` on is told of, when it gets the bytes up to
    /// `end_position` of a log that ends at `end_offset`.
    pub(super) fn overlapping(
        &self,
        fetch_offset: i64,
        end_position: u64,
        end_offset: i64,
    ) -> impl Iterator<Item = &AbortedTransaction> {
        let beyond = self
            .offsets
            .partition_point(|it| it.position < end_position);
        let beyond = self.offsets.get(beyond);
        let upper_bound = beyond.map_or(end_offset, |entry| entry.offset);
        self.transactions
            .iter()
            .filter(move |it| it.last_offset >= fetch_offset && it.first_offset < upper_bound)
    }

    /// Forgets what lies before `offset`.
    pub(super) fn delete_before(&mut self, offset: i64) {
        while self
            .transactions
            .pop_front_if(|it| it.last_offset < offset)
            .is_some()
        {}
        while self.offsets.pop_front_if(|it| it.offset < offset).is_some() {}
    }

    /// Forgets what ends at or after `offset`.
    pub(super) fn truncate_to(&mut self, offset: i64) {
        while self
            .transactions
            .pop_back_if(|it| it.last_offset >= offset)
            .is_some()
        {}
        while self.offsets.pop_back_if(|it| it.offset >= offset).is_some() {}
    }

    /// Forgets the places of all offsets, which are to be noted anew.
    pub(super) fn clear_index(&mut self) {
        self.offsets.clear();
        self.bytes_since_entry = 0;
    }
}
