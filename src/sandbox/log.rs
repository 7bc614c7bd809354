//! The log of one replica of a partition.
//!
//! Batches lie here as they are sent: the header with the offset and leader epoch the broker gave
//! it, and the payload, mostly still a slice of the request that brought it. Reading hands out
//! references, never copies.

use std::collections::VecDeque;

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    records::{BatchHeader, HEADER_LEN, decompress, records},
};

use super::{
    Timestamp,
    aborted::{AbortedTransaction, AbortedTransactions},
    leader_epochs::LeaderEpochs,
    producers::Producers,
    validate,
};

/// Payloads up to this length are stored beside their header, in one piece: an own piece would
/// cost more than the copy.
const JOINED_PAYLOAD_MAX: usize = 2048;

/// A batch in the log.
#[derive(Clone, Debug)]
pub(super) struct StoredBatch {
    pub(super) header: BatchHeader,
    /// How many bytes the log has had before it.
    position: u64,
    /// Header and payload, or header with payload and nothing.
    pieces: [Bytes; 2],
}

impl StoredBatch {
    pub(super) fn new(header: BatchHeader, payload: Bytes) -> Self {
        let head = header.encode();
        let pieces = if payload.len() <= JOINED_PAYLOAD_MAX {
            [
                Bytes::from([&head, payload.as_ref()].concat()),
                Bytes::new(),
            ]
        } else {
            [Bytes::copy_from_slice(&head), payload]
        };
        Self {
            header,
            position: 0,
            pieces,
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        let [first, second] = &self.pieces;
        if second.is_empty() {
            first.get(HEADER_LEN..).unwrap_or_default()
        } else {
            second
        }
    }

    /// The first record, at or after an offset, whose timestamp passes: its timestamp and offset.
    fn find_record(&self, from_offset: i64, passes: impl Fn(i64) -> bool) -> Option<(i64, i64)> {
        let codec = self.header.attributes.compression().ok()?;
        let payload = decompress(codec, self.payload(), validate::DECOMPRESSED_LEN_MAX).ok()?;
        records(&payload, self.header.record_count)
            .map_while(Result::ok)
            .map(|record| (record.timestamp(&self.header), record.offset(&self.header)))
            .find(|(timestamp, offset)| *offset >= from_offset && passes(*timestamp))
    }
}

/// A place in the log that a time led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimestampAndOffset {
    pub(super) timestamp: i64,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
}

/// The log of one replica.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Ascending, without overlaps.
    batches: VecDeque<StoredBatch>,
    start_offset: i64,
    end_offset: i64,
    high_watermark: i64,
    /// What `batches` take, in bytes.
    size: usize,
    /// How many bytes it has ever had.
    end_position: u64,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: Producers,
    aborted: AbortedTransactions,
    snapshot: Snapshot,
}

/// What was known of producers when the log ended at an offset (Kafka's `.snapshot` files).
#[derive(Clone, Debug, Default)]
struct Snapshot {
    end_offset: i64,
    producers: Producers,
}

impl Log {
    /// The first offset that may be read.
    pub(super) const fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset the next record will get.
    pub(super) const fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// What the batches take, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// The offset up to which all in-sync replicas have the log, as far as this one knows;
    /// consumers may read up to it.
    pub(super) const fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Moves the high watermark up to `offset`, never back and never beyond the log end.
    pub(super) fn raise_high_watermark(&mut self, offset: i64) {
        self.high_watermark = self.high_watermark.max(offset.min(self.end_offset));
        self.producers
            .ongoing
            .forget_replicated(self.high_watermark);
    }

    /// The batches by ascending offset.
    pub(super) fn batches(&self) -> impl Iterator<Item = &StoredBatch> {
        self.batches.iter()
    }

    /// Puts in the place of all batches those that compaction leaves of them.
    pub(super) fn replace_batches(&mut self, batches: Vec<StoredBatch>) {
        self.size = batches.iter().map(|batch| batch.header.size()).sum();
        self.batches = batches.into();
        self.end_position = 0;
        self.aborted.clear_index();
        for batch in &mut self.batches {
            batch.position = self.end_position;
            self.aborted.index(&batch.header, batch.position);
            let size = u64::try_from(batch.header.size()).unwrap_or_default();
            self.end_position = self.end_position.saturating_add(size);
        }
    }

    /// The offset up to which consumers of committed records may read: up to there all is decided.
    ///
    /// Source: `UnifiedLog.fetchLastStableOffsetMetadata`.
    pub(super) fn last_stable_offset(&self) -> i64 {
        let high_watermark = self.high_watermark();
        let first_unstable = self.producers.ongoing.first_unstable(high_watermark);
        first_unstable.map_or(high_watermark, |offset| {
            offset.max(self.start_offset).min(high_watermark)
        })
    }

    /// Appends a validated batch or a marker and answers the offset of its first record.
    pub(super) fn append(&mut self, header: BatchHeader, payload: Bytes, leader_epoch: i32) -> i64 {
        let header = BatchHeader {
            base_offset: self.end_offset,
            partition_leader_epoch: leader_epoch,
            ..header
        };
        self.push(StoredBatch::new(header, payload));
        header.base_offset
    }

    /// Appends what `leader` has beyond the end of this log, as a follower does; payloads are
    /// shared.
    pub(super) fn copy_from(&mut self, leader: &Self) {
        for batch in leader.batches.range(leader.first_batch(self.end_offset)..) {
            self.push(batch.clone());
        }
    }

    fn push(&mut self, mut batch: StoredBatch) {
        batch.position = self.end_position;
        let header = &batch.header;
        self.epochs
            .begin(header.partition_leader_epoch, header.base_offset);
        self.aborted.index(header, batch.position);
        let aborted = self.producers.note(header, batch.payload());
        self.aborted.extend(aborted);
        self.end_offset = header.next_offset();
        self.size = self.size.saturating_add(header.size());
        let size = u64::try_from(header.size()).unwrap_or_default();
        self.end_position = self.end_position.saturating_add(size);
        self.batches.push_back(batch);
    }

    /// The aborted transactions that a reader of committed records is told of when it gets `len`
    /// bytes from the batch that holds `offset` on.
    pub(super) fn aborted_transactions(
        &self,
        offset: i64,
        len: usize,
    ) -> impl Iterator<Item = &AbortedTransaction> {
        let from = self.first_batch(offset);
        let position = self.batches.get(from).map_or(0, |batch| batch.position);
        let end_position = position.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        self.aborted
            .overlapping(offset, end_position, self.end_offset)
    }

    /// The index of the first batch that ends at or after `offset`.
    fn first_batch(&self, offset: i64) -> usize {
        let is_before = |batch: &StoredBatch| batch.header.last_offset() < offset;
        self.batches.partition_point(is_before)
    }

    /// The batches from the one that holds `offset` on and before `end`, at most `len_max` bytes of
    /// them.
    ///
    /// The last one may be cut off. When not even the first fits, it is returned whole if
    /// `min_one_batch`, else nothing is (KIP-74).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::OFFSET_OUT_OF_RANGE`] outside the log.
    pub(super) fn read(
        &self,
        offset: i64,
        end: i64,
        len_max: usize,
        min_one_batch: bool,
    ) -> Result<Vec<Bytes>, ErrorCode> {
        if !(self.start_offset..=self.end_offset).contains(&offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let batches = &self.batches;
        let to = batches.partition_point(|batch| batch.header.base_offset < end);
        let from = self.first_batch(offset).min(to);
        let mut readable = batches.range(from..to).peekable();
        let mut pieces = Vec::new();
        if offset >= end {
            return Ok(pieces);
        }
        let Some(first) = readable.peek() else {
            return Ok(pieces);
        };
        let mut rest = match first.header.size() {
            size if size <= len_max => len_max,
            size if min_one_batch => size,
            _ => return Ok(pieces),
        };
        for piece in readable.flat_map(|batch| &batch.pieces) {
            if rest == 0 {
                break;
            }
            let len = piece.len().min(rest);
            rest = rest.saturating_sub(len);
            pieces.push(piece.slice(..len));
        }
        Ok(pieces)
    }

    /// Moves the start of the log forward and drops the batches that lie before it.
    ///
    /// A batch around the new start stays whole. Producers are remembered (KIP-360).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::OFFSET_OUT_OF_RANGE`] beyond the high watermark.
    pub(super) fn delete_before(&mut self, offset: i64) -> Result<(), ErrorCode> {
        if offset > self.high_watermark() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if offset <= self.start_offset {
            return Ok(());
        }
        self.start_offset = offset;
        self.epochs.truncate_from_start(offset);
        self.aborted.delete_before(offset);
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.header.last_offset() < offset)
        {
            if let Some(dropped) = self.batches.pop_front() {
                self.size = self.size.saturating_sub(dropped.header.size());
            }
        }
        Ok(())
    }

    /// Cuts off the end of the log at `offset`; what was known of producers is found out again
    /// from the newest snapshot and the batches that remain. An epoch that began at `offset` is
    /// forgotten even if no batch goes.
    ///
    /// Source: `UnifiedLog.truncateTo`, `ProducerStateManager.truncateAndReload`.
    pub(super) fn truncate_to(&mut self, offset: i64) {
        self.epochs.truncate_from_end(offset);
        if offset >= self.end_offset {
            return;
        }
        if offset < self.start_offset {
            self.restart_at(offset);
            return;
        }
        while let Some(batch) = self
            .batches
            .pop_back_if(|batch| batch.header.last_offset() >= offset)
        {
            self.size = self.size.saturating_sub(batch.header.size());
        }
        self.end_offset = offset;
        self.high_watermark = self.high_watermark.min(offset);
        self.aborted.truncate_to(offset);
        self.reload_producers();
    }

    /// Empties the log, which goes on at `offset`.
    ///
    /// Source: `UnifiedLog.truncateFullyAndStartAt`.
    pub(super) fn restart_at(&mut self, offset: i64) {
        *self = Self {
            start_offset: offset,
            end_offset: offset,
            high_watermark: offset,
            ..Self::default()
        };
    }

    /// Notes what is known of producers now, as Kafka does when it begins a segment and when a
    /// broker stops in order.
    pub(super) fn take_producer_snapshot(&mut self) {
        self.snapshot = Snapshot {
            end_offset: self.end_offset,
            producers: self.producers.newest_batches(),
        };
    }

    /// Reads the log again as a broker does that starts.
    ///
    /// Source: `LogLoader.recoverSegment`, which takes a snapshot at the log end.
    pub(super) fn reload(&mut self) {
        self.take_producer_snapshot();
        self.reload_producers();
    }

    /// Finds out from the newest snapshot and the batches of the log what is known of producers.
    ///
    /// Those of which neither has anything are forgotten: their batches were deleted.
    fn reload_producers(&mut self) {
        if self.snapshot.end_offset > self.end_offset {
            self.snapshot = Snapshot::default();
        }
        self.producers = self.snapshot.producers.clone();
        let from = self.snapshot.end_offset.max(self.start_offset);
        let batches = self.batches.iter();
        for batch in batches.filter(|batch| batch.header.last_offset() >= from) {
            self.producers.note(&batch.header, batch.payload());
        }
    }

    /// Deletes the oldest batches for as long as at least `len_min` bytes remain without them.
    pub(super) fn retain_bytes(&mut self, len_min: usize) {
        self.delete_while(|log, oldest| log.size.saturating_sub(oldest.size()) >= len_min);
    }

    /// Deletes the oldest batches until at most `len_max` bytes remain, or a single batch.
    pub(super) fn limit_bytes(&mut self, len_max: usize) {
        self.delete_while(|log, _| log.size > len_max && log.batches.len() > 1);
    }

    /// Deletes the oldest batches for as long as their newest record is before `time`.
    pub(super) fn retain_since(&mut self, time: Timestamp) {
        self.delete_while(|_, oldest| oldest.max_timestamp < time.0);
    }

    fn delete_while(&mut self, is_deletable: impl Fn(&Self, &BatchHeader) -> bool) {
        while let Some(oldest) = self.batches.front().map(|batch| batch.header)
            && is_deletable(self, &oldest)
            && self.delete_before(oldest.next_offset()).is_ok()
        {}
    }

    /// The first record whose timestamp is at least `timestamp`.
    ///
    /// Trusts the greatest timestamp of each batch header, as Kafka's time index does.
    pub(super) fn find_timestamp(&self, timestamp: i64) -> Option<TimestampAndOffset> {
        self.batches
            .iter()
            .filter(|batch| batch.header.max_timestamp >= timestamp)
            .find_map(|batch| {
                let found = batch.find_record(self.start_offset, |it| it >= timestamp)?;
                Some(place(&batch.header, found))
            })
    }

    /// The first record that has the greatest timestamp of all (KIP-734).
    pub(super) fn find_max_timestamp(&self) -> Option<TimestampAndOffset> {
        // `max_by_key` answers the last of equals, so the search runs backwards.
        let newest = self.batches.iter().rev();
        let newest = newest.max_by_key(|batch| batch.header.max_timestamp)?;
        let max_timestamp = newest.header.max_timestamp;
        let found = newest.find_record(i64::MIN, |it| it == max_timestamp)?;
        Some(place(&newest.header, found))
    }
}

const fn place(header: &BatchHeader, (timestamp, offset): (i64, i64)) -> TimestampAndOffset {
    TimestampAndOffset {
        timestamp,
        offset,
        leader_epoch: header.partition_leader_epoch,
    }
}
