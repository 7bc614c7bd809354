//! The source's side: live records from a position on, exactly those that copying would copy.

use std::collections::VecDeque;

use bytes::Bytes;
use kmirror_protocol::records::{BatchHeader, LogEntry, batches, decompress, records};

use super::cursor::{Cursor, Mark, peek, record_count};
use crate::{
    flow::{Counters, FetchedRecords, halt::HaltReason, intake, intake::Prepared, limits},
    offsets::exact_map::Run,
};

/// Reads the source in order; holds one answer, with what `intake` had to build anew of it, and at
/// most one decompressed batch.
#[derive(Debug)]
pub(super) struct Source {
    /// Where reading goes on.
    pub(super) next_offset: i64,
    /// Nothing more can be read at present.
    pub(super) is_ended: bool,
    /// The leader epoch of the last batch below the held answer; -1 when unknown.
    epoch_before: i32,
    /// Where that batch ends.
    end_before: i64,
    /// The held answer, as it came.
    records: Bytes,
    /// What of it is live and not yet passed; the first is the current one.
    batches: VecDeque<Prepared>,
    /// Whether the current batch is known to be undamaged.
    is_checked: bool,
    /// The current batch, when it is read record by record.
    cursor: Option<Cursor>,
    /// Why nothing after `batches` can be read.
    stopped: Option<HaltReason>,
}

impl Source {
    pub(super) fn new(next_offset: i64) -> Self {
        Self {
            next_offset,
            is_ended: false,
            epoch_before: -1,
            end_before: 0,
            records: Bytes::new(),
            batches: VecDeque::new(),
            is_checked: false,
            cursor: None,
            stopped: None,
        }
    }

    /// Takes an answer to a question for `next_offset`; only when nothing is held any more.
    /// Answers whether it held bytes, but not one whole batch.
    pub(super) fn take(&mut self, fetched: FetchedRecords) -> bool {
        if fetched.diverging.is_some() {
            return false;
        }
        if fetched.records.is_empty() {
            self.is_ended = self.next_offset >= fetched.readable_end();
            return false;
        }
        self.epoch_before = self.epoch_below(self.next_offset);
        self.end_before = self.next_offset;
        self.records = fetched.records.clone();
        let taken = intake::take(self.next_offset, fetched, &mut Counters::default());
        self.next_offset = taken.next_offset;
        self.batches = taken.batches.into();
        self.stopped = taken.stopped;
        taken.is_cut
    }

    /// Makes a live record the current one; `false` when more must be read first.
    ///
    /// # Errors
    ///
    /// The batch that comes next is damaged, or cannot be read.
    pub(super) fn load(&mut self) -> Result<bool, HaltReason> {
        let Some(batch) = self.batches.front() else {
            return self.stopped.take().map_or(Ok(false), Err);
        };
        if !self.is_checked && !batch.header.verify_crc(&batch.payload) {
            return Err(unreadable(batch.first_offset, "its checksum is wrong"));
        }
        self.is_checked = true;
        Ok(true)
    }

    /// The current batch, if it is whole: none of its records has been passed.
    pub(super) fn whole(&self) -> Option<(&BatchHeader, &[u8])> {
        let batch = self.batches.front()?;
        (self.left() == record_count(&batch.header)).then_some((&batch.header, &*batch.payload))
    }

    /// The leader epoch of the current batch.
    pub(super) fn batch_epoch(&self) -> Option<i32> {
        self.batches.front().map(|batch| batch.source_epoch)
    }

    /// Records of the current batch that are not yet passed.
    pub(super) fn left(&self) -> u32 {
        self.cursor.as_ref().map_or_else(
            || {
                self.batches
                    .front()
                    .map_or(0, |batch| record_count(&batch.header))
            },
            Cursor::left,
        )
    }

    /// The current batch, decompressed.
    ///
    /// # Errors
    ///
    /// It cannot be decompressed.
    pub(super) fn unfold(&mut self) -> Result<Option<(BatchHeader, Bytes, Mark)>, HaltReason> {
        let Some(batch) = self.batches.front() else {
            return Ok(None);
        };
        let cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => Cursor::new(&batch.header, &batch.payload)
                .map_err(|error| unreadable(batch.first_offset, &error))?,
        };
        let (plain, mark) = self.cursor.insert(cursor).parts();
        Ok(Some((batch.header, plain, mark)))
    }

    /// Makes the record at `mark` of the current batch the current one.
    pub(super) fn go_to(&mut self, mark: Mark) {
        if mark.left == 0 {
            self.pass();
        } else if let Some(cursor) = &mut self.cursor {
            cursor.go_to(mark);
        }
    }

    /// Passes the rest of the current batch.
    pub(super) fn pass(&mut self) {
        self.batches.pop_front();
        self.cursor = None;
        self.is_checked = false;
    }

    /// Passes at most `count` records of the current batch; answers how many.
    ///
    /// # Errors
    ///
    /// The batch cannot be read.
    pub(super) fn skip(&mut self, count: u64) -> Result<u32, HaltReason> {
        let left = self.left();
        let Some(count) = u32::try_from(count).ok().filter(|count| *count < left) else {
            self.pass();
            return Ok(left);
        };
        let offset = self.position();
        self.unfold()?;
        if let Some(cursor) = &mut self.cursor {
            cursor
                .skip(count)
                .map_err(|fault| unreadable(offset, &fault.to_string()))?;
        }
        Ok(count)
    }

    /// What is wrong with the current batch.
    pub(super) fn fault(&self, error: &str) -> HaltReason {
        unreadable(self.position(), error)
    }

    /// The offset of the current record; where reading goes on when there is none.
    pub(super) fn position(&self) -> i64 {
        let Some(batch) = self.batches.front() else {
            return self.next_offset;
        };
        self.offset_in(batch, self.left())
    }

    /// The offset of the record of a batch from which on there are so many.
    fn offset_in(&self, batch: &Prepared, left: u32) -> i64 {
        let count = record_count(&batch.header);
        let passed = count.saturating_sub(left);
        if batch.next_offset.saturating_sub(batch.first_offset) == i64::from(count) {
            return batch.first_offset.saturating_add(i64::from(passed));
        }
        // Built anew without its holes: only the answer itself knows the offsets.
        let offset = nth_offset(&self.records, batch.first_offset, batch.next_offset, passed);
        offset.unwrap_or(batch.first_offset)
    }

    /// Where so many records of the current batch are on the target, when the first of them has
    /// `left` records of the batch from there on. As when copying, a whole batch takes its holes
    /// along.
    pub(super) fn run(
        &self,
        left: u32,
        count: u32,
        (target_first, target_next): (i64, i64),
    ) -> Run {
        let (source_first, source_next) = match self.batches.front() {
            Some(batch) if count == record_count(&batch.header) => {
                (batch.first_offset, batch.next_offset)
            }
            Some(batch) => {
                let last = left.saturating_sub(count.saturating_sub(1));
                let next = self.offset_in(batch, last).saturating_add(1);
                (self.offset_in(batch, left), next)
            }
            None => (self.next_offset, self.next_offset),
        };
        Run {
            source_first,
            source_next,
            target_first,
            target_next,
            count: i64::from(count),
        }
    }

    /// The leader epoch of the last batch that starts below `position`, in the held answer or
    /// before it; -1 when unknown, and when the batch does not reach up to the position: the cleaner
    /// took out what lay between, and that may have been of a later epoch.
    pub(super) fn epoch_below(&self, position: i64) -> i32 {
        let (mut epoch, mut end) = (self.epoch_before, self.end_before);
        for entry in batches(&self.records).map_while(Result::ok) {
            let (base_offset, next_offset, of_entry) = match entry {
                LogEntry::Batch(batch) => (
                    batch.header.base_offset,
                    batch.header.next_offset(),
                    batch.header.partition_leader_epoch,
                ),
                LogEntry::Legacy(message) => (message.offset, message.offset, -1),
            };
            if base_offset >= position {
                break;
            }
            (epoch, end) = (of_entry, next_offset);
        }
        if end < position { -1 } else { epoch }
    }
}

/// What the beginning of an answer of the source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLive {
    /// Not even one whole batch, although it holds bytes.
    Cut,
    /// A record that copying would copy, the first one.
    Record {
        /// Its offset.
        offset: i64,
        /// Its timestamp, as readers see it.
        timestamp: i64,
    },
    /// Nothing of the kind.
    None {
        /// Where reading goes on.
        next_offset: i64,
    },
}

/// The first record that copying would take from an answer to a question for `asked_offset`.
///
/// # Errors
///
/// A batch that comes before any is damaged, or cannot be read.
pub fn first_live(asked_offset: i64, fetched: FetchedRecords) -> Result<FirstLive, HaltReason> {
    let mut source = Source::new(asked_offset);
    if source.take(fetched) {
        return Ok(FirstLive::Cut);
    }
    let next_offset = source.next_offset;
    if !source.load()? {
        return Ok(FirstLive::None { next_offset });
    }
    let offset = source.position();
    let first = match source.unfold()? {
        Some((header, plain, mark)) => peek(&plain, mark)
            .map_err(|fault| source.fault(&fault.to_string()))?
            .map(|(record, _)| record.timestamp(&header)),
        None => None,
    };
    Ok(match first {
        Some(timestamp) => FirstLive::Record { offset, timestamp },
        None => FirstLive::None { next_offset },
    })
}

/// The offset of a record in an answer, counted from 0 among those with offsets from `from` to
/// below `to`; `None` when it cannot be found.
fn nth_offset(answer: &[u8], from: i64, to: i64, index: u32) -> Option<i64> {
    let mut left = index;
    let mut is_wanted = |offset: &i64| {
        let is_counted = (from..to).contains(offset);
        let is_wanted = is_counted && left == 0;
        left = left.saturating_sub(is_counted.into());
        is_wanted
    };
    batches(answer)
        .map_while(Result::ok)
        .filter(|entry| overlaps(entry, from, to))
        .find_map(|entry| find_offset(&entry, &mut is_wanted))
}

/// Whether an entry can hold records with offsets from `from` to below `to`.
fn overlaps(entry: &LogEntry<'_>, from: i64, to: i64) -> bool {
    match entry {
        LogEntry::Batch(batch) => {
            batch.header.last_offset() >= from && batch.header.base_offset < to
        }
        // A message's offset is that of the last record it wraps.
        LogEntry::Legacy(message) => message.offset >= from,
    }
}

/// The first offset of an entry's records that is wanted; `None` also when they cannot be read.
fn find_offset(entry: &LogEntry<'_>, mut is_wanted: impl FnMut(&i64) -> bool) -> Option<i64> {
    match entry {
        LogEntry::Batch(batch) => {
            let header = &batch.header;
            let codec = header.attributes.compression().ok()?;
            let plain = decompress(codec, batch.payload, limits::DECOMPRESSED_BYTES_MAX).ok()?;
            records(&plain, header.record_count)
                .map_while(Result::ok)
                .map(|record| record.offset(header))
                .find(|offset| is_wanted(offset))
        }
        LogEntry::Legacy(message) => message
            .records(limits::DECOMPRESSED_BYTES_MAX)
            .ok()?
            .iter()
            .map(|record| record.offset)
            .find(|offset| is_wanted(offset)),
    }
}

fn unreadable(offset: i64, error: &str) -> HaltReason {
    HaltReason::Unreadable {
        offset,
        error: error.to_owned(),
    }
}
