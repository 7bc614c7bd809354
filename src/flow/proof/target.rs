//! The target's side: every batch of the window, whoever wrote it.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use kmirror_protocol::records::{
    BatchHeader, BuiltBatch, LegacyConverter, LegacyMessage, LogEntry, batches, sequence_after,
};

use super::cursor::{Cursor, Mark, record_count};
use crate::{
    flow::{FetchedRecords, aborted::AbortedFilter, halt::HaltReason, limits},
    offsets::state::RecordIdentity,
};

/// Reads the window in order; holds one answer and at most one decompressed batch.
#[derive(Debug)]
pub(super) struct Target {
    /// Where reading goes on: all below has been seen.
    pub(super) next_offset: i64,
    /// Where the window ends.
    end_offset: i64,
    /// Below, every transaction was committed or aborted when the target last answered a reader
    /// that gets nothing else.
    stable_end: i64,
    /// The aborted transactions of the held answer.
    aborted: AbortedFilter,
    /// The last record of the window so far.
    pub(super) tail: Option<RecordIdentity>,
    /// What is left of the held answer.
    records: Bytes,
    /// Batches made of a message of an old format.
    converted: VecDeque<BuiltBatch>,
    pub(super) current: Option<TargetBatch>,
}

/// Whether the records of a batch are there for readers that get nothing undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They belong to no transaction.
    Plain,
    /// Their transaction is committed.
    Committed,
    /// Their transaction is neither committed nor aborted, as far as is known.
    Undecided,
    /// Their transaction is aborted, or they are the marker of one.
    Void,
}

/// A batch of the window.
#[derive(Debug)]
pub(super) struct TargetBatch {
    pub(super) header: BatchHeader,
    pub(super) payload: Bytes,
    pub(super) fate: Fate,
    /// Whether all of it lies in the window.
    is_whole: bool,
    /// The sequence number of its first record in the window, if from there on none is missing: a
    /// log may start within a batch, and still shows the whole of it.
    pub(super) first_sequence: Option<i32>,
    /// When it is read record by record.
    cursor: Option<Cursor>,
}

impl TargetBatch {
    /// Records of the window that are not yet passed.
    pub(super) fn left(&self) -> u32 {
        self.cursor
            .as_ref()
            .map_or_else(|| record_count(&self.header), Cursor::left)
    }

    /// Its first offset and the first after it.
    pub(super) fn range(&self) -> (i64, i64) {
        (self.header.base_offset, self.header.next_offset())
    }

    /// Header and payload, if none of its records has been passed or lies outside.
    pub(super) fn whole(&self) -> Option<(&BatchHeader, &[u8])> {
        let is_whole = self.is_whole && self.left() == record_count(&self.header);
        is_whole.then_some((&self.header, &*self.payload))
    }

    /// The batch, decompressed.
    ///
    /// # Errors
    ///
    /// It cannot be decompressed.
    pub(super) fn unfold(&mut self) -> Result<(BatchHeader, Bytes, Mark), HaltReason> {
        let cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => Cursor::new(&self.header, &self.payload).map_err(|error| self.fault(&error))?,
        };
        let (plain, mark) = self.cursor.insert(cursor).parts();
        Ok((self.header, plain, mark))
    }

    /// What is wrong with it.
    pub(super) fn fault(&self, error: &str) -> HaltReason {
        unreadable(self.header.base_offset, error)
    }

    fn sequence_from(&self, offset: i64, to: i64) -> Option<i32> {
        let (header, left) = (&self.header, i64::from(self.left()));
        let has_all = header.next_offset() <= to
            && header.next_offset().saturating_sub(offset) == left
            && header.base_sequence >= 0;
        let passed = i32::try_from(offset.saturating_sub(header.base_offset)).ok()?;
        has_all.then(|| sequence_after(header.base_sequence, passed))
    }

    fn narrow(&mut self, from: i64, to: i64) -> Result<(), HaltReason> {
        self.unfold()?;
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        let narrowed = cursor.narrow(&self.header, from, to);
        narrowed.map_err(|fault| self.fault(&fault.to_string()))
    }
}

impl Target {
    pub(super) fn new(start_offset: i64, end_offset: i64) -> Self {
        Self {
            next_offset: start_offset,
            end_offset,
            stable_end: i64::MAX,
            aborted: AbortedFilter::new(Vec::new()),
            tail: None,
            records: Bytes::new(),
            converted: VecDeque::new(),
            current: None,
        }
    }

    /// Takes an answer to a question for `next_offset`; only when nothing is held any more.
    /// Answers whether it held bytes, but not one whole batch.
    pub(super) fn take(&mut self, fetched: FetchedRecords) -> bool {
        let records = fetched.records;
        let is_cut = !records.is_empty() && batches(&records).next().is_none();
        if self.asks_decided() {
            self.stable_end = fetched.last_stable_offset;
        }
        self.aborted = AbortedFilter::new(fetched.aborted);
        self.records = records;
        is_cut
    }

    /// Whether what comes next is asked for as a `read_committed` reader asks, who learns which
    /// transactions were aborted and gets nothing from the first undecided one on.
    pub(super) const fn asks_decided(&self) -> bool {
        self.next_offset < self.stable_end
    }

    /// Whether the window has been read.
    pub(super) const fn is_ended(&self) -> bool {
        self.current.is_none() && self.next_offset >= self.end_offset
    }

    /// Takes the rest of the window for empty.
    pub(super) fn end(&mut self) {
        self.next_offset = self.next_offset.max(self.end_offset);
        self.records = Bytes::new();
        self.converted.clear();
    }

    /// Makes the next batch of the window the current one; `false` when more must be read first.
    ///
    /// # Errors
    ///
    /// The batch is damaged, or cannot be read.
    pub(super) fn load(&mut self) -> Result<bool, HaltReason> {
        while self.next_offset < self.end_offset {
            let Some((header, payload)) = self.next_batch()? else {
                return Ok(false);
            };
            let fate = self.fate(&header, &payload);
            if header.base_offset >= self.end_offset {
                self.end();
            } else if header.last_offset() >= self.next_offset {
                self.enter(header, payload, fate)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What became of a batch, which is the next one of the held answer.
    fn fate(&mut self, header: &BatchHeader, payload: &[u8]) -> Fate {
        let is_aborted = self.aborted.is_aborted(header, payload);
        if header.attributes.is_control() || is_aborted {
            Fate::Void
        } else if !header.attributes.is_transactional() {
            Fate::Plain
        } else if header.last_offset() < self.stable_end {
            Fate::Committed
        } else {
            Fate::Undecided
        }
    }

    fn enter(&mut self, header: BatchHeader, payload: Bytes, fate: Fate) -> Result<(), HaltReason> {
        if !header.verify_crc(&payload) {
            return Err(unreadable(header.base_offset, "its checksum is wrong"));
        }
        let (from, to) = (self.next_offset, self.end_offset);
        let is_whole = header.base_offset >= from && header.next_offset() <= to;
        let mut batch = TargetBatch {
            header,
            payload,
            fate,
            is_whole,
            first_sequence: None,
            cursor: None,
        };
        if !is_whole {
            batch.narrow(from, to)?;
        }
        batch.first_sequence = batch.sequence_from(from.max(header.base_offset), to);
        self.next_offset = header.next_offset();
        self.tail = Some(RecordIdentity {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            sequence: header.last_sequence(),
            leader_epoch: header.partition_leader_epoch,
        });
        self.current = Some(batch);
        Ok(())
    }

    /// Makes the record at `mark` of the current batch the current one.
    pub(super) fn go_to(&mut self, mark: Mark) {
        if mark.left == 0 {
            self.current = None;
        } else if let Some(cursor) = self
            .current
            .as_mut()
            .and_then(|batch| batch.cursor.as_mut())
        {
            cursor.go_to(mark);
        }
    }

    fn next_batch(&mut self) -> Result<Option<(BatchHeader, Bytes)>, HaltReason> {
        loop {
            if let Some(built) = self.converted.pop_front() {
                return Ok(Some((built.header, built.payload)));
            }
            let records = self.records.clone();
            let mut entries = batches(&records);
            let Some(entry) = entries.next() else {
                return Ok(None);
            };
            let entry = entry.map_err(|fault| unreadable(self.next_offset, &fault.to_string()))?;
            let read = records.len().saturating_sub(entries.incomplete_len());
            self.records.advance(read);
            match entry {
                LogEntry::Batch(batch) => {
                    return Ok(Some((batch.header, records.slice_ref(batch.payload))));
                }
                LogEntry::Legacy(message) => self.convert(&message)?,
            }
        }
    }

    /// What a target held from old times may still be in an old format; one message at a time.
    fn convert(&mut self, message: &LegacyMessage<'_>) -> Result<(), HaltReason> {
        let mut converter = LegacyConverter::new(limits::CONVERSION);
        for built in [converter.push(message), converter.finish()] {
            let built = built.map_err(|error| unreadable(message.offset, &error.to_string()))?;
            self.converted.extend(built);
        }
        Ok(())
    }
}

fn unreadable(offset: i64, error: &str) -> HaltReason {
    HaltReason::Unreadable {
        offset,
        error: format!("on the target: {error}"),
    }
}
