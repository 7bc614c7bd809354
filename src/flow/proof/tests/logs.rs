//! A source's log and a target's log, with what every record of them is, noted when it is written.

use bytes::Bytes;
use kmirror_protocol::{
    messages::fetch::FetchResponseAbortedTransaction,
    records::{
        Attributes, BatchBuilder, BatchHeader, BatchProducer, BuiltBatch, Compression, ControlType,
        EndTxnMarker, Header, NewRecord, sequence_after,
    },
};

use crate::{flow::FetchedRecords, offsets::state::Lineage};

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Seen {
    /// A record that differs from all with another number.
    pub(super) fn numbered(number: usize) -> Self {
        Self {
            timestamp: 1_000,
            key: None,
            value: Some(format!("value {number}").into_bytes()),
            headers: Vec::new(),
        }
    }

    fn push(&self, builder: &mut BatchBuilder, offset_delta: i32) {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        let record = NewRecord {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        };
        builder.push_at(offset_delta, &record).unwrap();
    }
}

/// How a batch is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) codec: Compression,
    pub(super) base_timestamp: Option<i64>,
    /// The time at which the broker appends, where that is what readers see.
    pub(super) append_time: Option<i64>,
}

pub(super) const PLAIN: Style = Style {
    codec: Compression::None,
    base_timestamp: None,
    append_time: None,
};

impl Style {
    fn builder(self, base_offset: i64, epoch: i32, producer: BatchProducer) -> BatchBuilder {
        let mut builder = BatchBuilder::new(self.codec)
            .appended_at(base_offset, epoch)
            .producer(producer);
        if let Some(timestamp) = self.base_timestamp {
            builder = builder.base_timestamp(timestamp);
        }
        if let Some(timestamp) = self.append_time {
            builder = builder.log_append_time(timestamp);
        }
        builder
    }
}

/// Batches one after another, and how to fetch from them.
#[derive(Clone, Debug, Default)]
struct Log {
    batches: Vec<BuiltBatch>,
    end_offset: i64,
}

impl Log {
    fn push(&mut self, batch: BuiltBatch) {
        self.end_offset = batch.header.next_offset();
        self.batches.push(batch);
    }

    /// What lies from the batch of `offset` on, below `end_offset`, cut anywhere.
    fn fetch(&self, offset: i64, end_offset: i64, bytes_max: usize) -> Bytes {
        let mut bytes = Vec::new();
        for batch in &self.batches {
            let header = &batch.header;
            if header.next_offset() > offset && header.next_offset() <= end_offset {
                bytes.extend(batch.to_vec());
            }
        }
        bytes.truncate(bytes_max);
        bytes.into()
    }
}

fn marker(base_offset: i64, epoch: i32, producer_id: i64, control: ControlType) -> BuiltBatch {
    let mut builder = PLAIN
        .builder(base_offset, epoch, transactional(producer_id, -1))
        .flags(Attributes::CONTROL | Attributes::TRANSACTIONAL);
    let marker = EndTxnMarker {
        version: 0,
        coordinator_epoch: 0,
    };
    builder.push_marker(control, marker, 0).unwrap();
    builder.build().unwrap()
}

fn transactional(producer_id: i64, base_sequence: i32) -> BatchProducer {
    BatchProducer {
        producer_id,
        producer_epoch: 0,
        base_sequence,
    }
}

/// The source's log.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceLog {
    log: Log,
    pub(super) epoch: i32,
    /// What copying copies, with its offset.
    pub(super) live: Vec<(i64, Seen)>,
    /// First offset, producer id, offset of the marker.
    aborted: Vec<(i64, i64, i64)>,
    /// Below the log's end when something is not replicated, or a transaction open.
    pub(super) readable_end: Option<i64>,
    pub(super) is_read_committed: bool,
}

impl SourceLog {
    /// Appends records at these offsets from the end on, covering `offset_count` offsets.
    pub(super) fn write(&mut self, style: Style, records: &[(i32, Seen)], offset_count: i32) {
        let base_offset = self.log.end_offset;
        let mut builder = style
            .builder(base_offset, self.epoch, BatchProducer::NONE)
            .last_offset_delta_min(offset_count - 1);
        for (delta, record) in records {
            record.push(&mut builder, *delta);
            let timestamp = style.append_time.unwrap_or(record.timestamp);
            let seen = Seen {
                timestamp,
                ..record.clone()
            };
            self.live.push((base_offset + i64::from(*delta), seen));
        }
        self.log.push(builder.build().unwrap());
    }

    /// Appends records without holes.
    pub(super) fn append(&mut self, style: Style, records: &[Seen]) {
        let records: Vec<_> = (0..).zip(records.iter().cloned()).collect();
        let count = i32::try_from(records.len()).unwrap();
        self.write(style, &records, count);
    }

    /// Appends a transaction and its marker.
    pub(super) fn transact(&mut self, records: &[Seen], is_committed: bool) {
        let first_offset = self.log.end_offset;
        let producer_id = 1_000 + first_offset;
        let mut builder = PLAIN
            .builder(first_offset, self.epoch, transactional(producer_id, 0))
            .flags(Attributes::TRANSACTIONAL);
        for (delta, record) in (0..).zip(records) {
            record.push(&mut builder, delta);
            if is_committed {
                self.live
                    .push((first_offset + i64::from(delta), record.clone()));
            }
        }
        self.log.push(builder.build().unwrap());
        let control = if is_committed {
            ControlType::Commit
        } else {
            self.aborted
                .push((first_offset, producer_id, self.log.end_offset));
            ControlType::Abort
        };
        self.mark(producer_id, control);
    }

    pub(super) fn mark(&mut self, producer_id: i64, control: ControlType) {
        let marker = marker(self.log.end_offset, self.epoch, producer_id, control);
        self.log.push(marker);
    }

    pub(super) fn end(&self) -> i64 {
        self.readable_end.unwrap_or(self.log.end_offset)
    }

    /// The offset after each batch.
    pub(super) fn boundaries(&self) -> Vec<i64> {
        let headers = self.log.batches.iter().map(|batch| batch.header);
        headers.map(|header| header.next_offset()).collect()
    }

    /// The leader epoch of the last batch that starts below `offset`; -1 when there is none.
    pub(super) fn epoch_below(&self, offset: i64) -> i32 {
        let headers = self.log.batches.iter().map(|batch| batch.header);
        let below = headers.filter(|header| header.base_offset < offset);
        below
            .last()
            .map_or(-1, |header| header.partition_leader_epoch)
    }

    /// Flips a bit in the payload of the batch that starts at `base_offset`.
    pub(super) fn damage(&mut self, base_offset: i64) {
        damage(&mut self.log, base_offset);
    }

    pub(super) fn fetch(&self, offset: i64, bytes_max: usize) -> FetchedRecords {
        let aborted = self.aborted.iter().filter(|(_, _, end)| *end >= offset);
        let (high_watermark, last_stable_offset) = if self.is_read_committed {
            (self.log.end_offset, self.end())
        } else {
            (self.end(), -1)
        };
        FetchedRecords {
            records: self.log.fetch(offset, self.end(), bytes_max),
            high_watermark,
            last_stable_offset,
            aborted: aborted
                .map(
                    |(first_offset, producer_id, _)| FetchResponseAbortedTransaction {
                        producer_id: *producer_id,
                        first_offset: *first_offset,
                    },
                )
                .collect(),
            diverging: None,
        }
    }
}

fn damage(log: &mut Log, base_offset: i64) {
    let damaged = log
        .batches
        .iter_mut()
        .find(|batch| batch.header.base_offset == base_offset)
        .unwrap();
    let mut payload = damaged.payload.to_vec();
    *payload.last_mut().unwrap() ^= 1;
    damaged.payload = payload.into();
}

/// Who wrote a record of the target's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The lineage, under this sequence number.
    Own(i32),
    /// The lineage: a sequence number without a record.
    OwnNothing(i32),
    /// Anyone else.
    Other,
    /// Anyone else, in a transaction that may yet be aborted, as far as a reader can know.
    Undecided,
    /// A transaction that was aborted, or a marker.
    Nobody,
}

/// A record of the target's log.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) offset: i64,
    pub(super) by: By,
    /// `None` for a marker, and for nothing.
    pub(super) record: Option<Seen>,
    /// Whether its timestamp is the broker's.
    pub(super) has_append_time: bool,
}

/// The target's log.
#[derive(Clone, Debug, Default)]
pub(super) struct TargetLog {
    log: Log,
    pub(super) epoch: i32,
    pub(super) written: Vec<Written>,
    transactions: Vec<Transaction>,
}

/// A transaction of one batch.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    producer_id: i64,
    first_offset: i64,
    /// The offset of its marker, and whether it is committed.
    end: Option<(i64, bool)>,
}

pub(super) const LINEAGE: Lineage = Lineage {
    producer_id: 7,
    epoch: 3,
};

fn own(base_sequence: i32) -> BatchProducer {
    BatchProducer {
        producer_id: LINEAGE.producer_id,
        producer_epoch: LINEAGE.epoch,
        base_sequence,
    }
}

impl TargetLog {
    pub(super) fn end(&self) -> i64 {
        self.log.end_offset
    }

    /// Appends records of the lineage.
    pub(super) fn write_own(&mut self, style: Style, records: &[Seen], sequence: i32) {
        let batch = self.build(style, records, own(sequence), 0);
        self.push(batch, records, |index| {
            By::Own(sequence_after(sequence, index))
        });
    }

    /// Appends a batch of the source under the lineage, its payload untouched.
    pub(super) fn pass_own(
        &mut self,
        (header, payload): (BatchHeader, Bytes),
        records: &[Seen],
        sequence: i32,
        append_time: Option<i64>,
    ) {
        let sent = header.readdressed(own(sequence));
        let mut stored = BatchHeader {
            base_offset: self.end(),
            partition_leader_epoch: self.epoch,
            ..sent
        };
        if let Some(timestamp) = append_time {
            stored.attributes.0 |= Attributes::LOG_APPEND_TIME;
            stored.max_timestamp = timestamp;
            stored = stored.with_crc_from(&sent);
        }
        let batch = BuiltBatch {
            header: stored,
            payload,
        };
        self.push(batch, records, |index| {
            By::Own(sequence_after(sequence, index))
        });
    }

    /// Appends a batch of the lineage out of which compaction has taken all records.
    pub(super) fn empty_own(&mut self, count: i32, sequence: i32) {
        let builder = PLAIN.builder(self.end(), self.epoch, own(sequence));
        let batch = builder.last_offset_delta_min(count - 1).build().unwrap();
        let base_offset = self.end();
        self.log.push(batch);
        self.written.extend((0..count).map(|index| Written {
            offset: base_offset + i64::from(index),
            by: By::OwnNothing(sequence_after(sequence, index)),
            record: None,
            has_append_time: false,
        }));
    }

    /// Appends records of someone else.
    pub(super) fn write_other(&mut self, style: Style, records: &[Seen], producer: BatchProducer) {
        let batch = self.build(style, records, producer, 0);
        self.push(batch, records, |_| By::Other);
    }

    /// Appends a transaction, and its marker if it is committed or not.
    pub(super) fn transact(&mut self, records: &[Seen], is_committed: Option<bool>) {
        let first_offset = self.end();
        let producer_id = 900 + first_offset;
        let producer = transactional(producer_id, 0);
        let batch = self.build(PLAIN, records, producer, Attributes::TRANSACTIONAL);
        self.push(batch, records, |_| By::Undecided);
        let end = is_committed.map(|is_committed| (self.end(), is_committed));
        self.transactions.push(Transaction {
            producer_id,
            first_offset,
            end,
        });
        match is_committed {
            Some(true) => self.mark(producer_id, ControlType::Commit),
            Some(false) => self.mark(producer_id, ControlType::Abort),
            None => {}
        }
    }

    pub(super) fn mark(&mut self, producer_id: i64, control: ControlType) {
        let offset = self.end();
        self.log
            .push(marker(offset, self.epoch, producer_id, control));
        self.written.push(Written {
            offset,
            by: By::Nobody,
            record: None,
            has_append_time: false,
        });
    }

    /// Where the first transaction starts that is not decided.
    pub(super) fn stable_end(&self) -> i64 {
        let open = self.transactions.iter().find(|it| it.end.is_none());
        open.map_or_else(|| self.end(), |open| open.first_offset)
    }

    /// What was written from one offset on to another, by whom as a reader can know.
    pub(super) fn window(&self, from: i64, to: i64) -> Vec<Written> {
        let written = self.written.iter();
        let window = written.filter(|written| (from..to).contains(&written.offset));
        window.map(|written| self.as_known(written)).collect()
    }

    fn as_known(&self, written: &Written) -> Written {
        let decided = self.transactions.iter().find_map(|transaction| {
            let (marker, is_committed) = transaction.end?;
            let is_in = (transaction.first_offset..marker).contains(&written.offset);
            (is_in && written.offset < self.stable_end()).then_some(is_committed)
        });
        let by = match decided {
            Some(true) => By::Other,
            Some(false) => By::Nobody,
            None => written.by,
        };
        Written {
            by,
            ..written.clone()
        }
    }

    /// Leaves out offsets, as the cleaner does when it removes whole batches.
    pub(super) fn skip(&mut self, offset_count: i64) {
        self.log.end_offset += offset_count;
    }

    /// Loses everything from `offset` on.
    pub(super) fn truncate(&mut self, offset: i64) {
        self.log
            .batches
            .retain(|batch| batch.header.next_offset() <= offset);
        self.log.end_offset = offset;
        self.written.retain(|written| written.offset < offset);
        self.transactions.retain(|it| it.first_offset < offset);
        for transaction in &mut self.transactions {
            transaction.end = transaction.end.filter(|(marker, _)| *marker < offset);
        }
    }

    /// The offset after each batch, from `from` on.
    pub(super) fn boundaries(&self, from: i64) -> Vec<i64> {
        let headers = self.log.batches.iter().map(|batch| batch.header);
        let ends = headers.map(|header| header.next_offset());
        ends.filter(|offset| *offset >= from).collect()
    }

    pub(super) fn header_ending_at(&self, offset: i64) -> Option<BatchHeader> {
        let mut headers = self.log.batches.iter().map(|batch| batch.header);
        headers.find(|header| header.next_offset() == offset)
    }

    pub(super) fn damage(&mut self, base_offset: i64) {
        damage(&mut self.log, base_offset);
    }

    /// What is there, for readers who want everything.
    pub(super) fn fetch(&self, offset: i64, bytes_max: usize) -> FetchedRecords {
        FetchedRecords {
            records: self.log.fetch(offset, self.end(), bytes_max),
            high_watermark: self.end(),
            last_stable_offset: self.stable_end(),
            aborted: Vec::new(),
            diverging: None,
        }
    }

    /// What is there for `read_committed` readers.
    pub(super) fn fetch_decided(&self, offset: i64, bytes_max: usize) -> FetchedRecords {
        let stable_end = self.stable_end();
        let aborted = self.transactions.iter().filter(
            |it| matches!(it.end, Some((marker, false)) if marker >= offset && marker < stable_end),
        );
        let aborted = aborted.map(|it| FetchResponseAbortedTransaction {
            producer_id: it.producer_id,
            first_offset: it.first_offset,
        });
        FetchedRecords {
            records: self.log.fetch(offset, stable_end, bytes_max),
            aborted: aborted.collect(),
            ..self.fetch(offset, 0)
        }
    }

    fn build(
        &self,
        style: Style,
        records: &[Seen],
        producer: BatchProducer,
        flags: i16,
    ) -> BuiltBatch {
        let builder = style.builder(self.end(), self.epoch, producer);
        let mut builder = builder.flags(flags);
        for (delta, record) in (0..).zip(records) {
            record.push(&mut builder, delta);
        }
        builder.build().unwrap()
    }

    fn push(&mut self, batch: BuiltBatch, records: &[Seen], by: impl Fn(i32) -> By) {
        assert!(batch.header.verify_crc(&batch.payload));
        let base_offset = self.end();
        let has_append_time = batch.header.attributes.is_log_append_time();
        self.log.push(batch);
        self.written
            .extend((0..).zip(records).map(|(index, record)| Written {
                offset: base_offset + i64::from(index),
                by: by(index),
                record: Some(record.clone()),
                has_append_time,
            }));
    }
}
