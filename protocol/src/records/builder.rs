//! Building record batches: those this program writes itself and those it must rebuild.
//!
//! Offsets count up from 0 and deltas are chosen so that a broker keeps the bytes as they are.

use bytes::Bytes;

use super::{
    CompressionError, HEADER_LEN,
    batch::{Attributes, BatchHeader, BatchProducer, LOG_OVERHEAD, MAGIC},
    compression::{Compression, compress},
    control::{ControlType, EndTxnMarker},
    entries::Batch,
    record::{Header, Record},
};
use crate::wire::varint;

/// No timestamp, in milliseconds (`RecordBatch.NO_TIMESTAMP`).
pub const NO_TIMESTAMP: i64 = -1;

/// Why a batch could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// A record or the batch is longer than its length field can express.
    TooLong,
    /// More records, or offsets further apart, than 31 bits can count.
    TooManyRecords,
    /// The payload could not be compressed.
    Compression(CompressionError),
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => f.write_str("a record or batch is longer than 2 GiB"),
            Self::TooManyRecords => f.write_str("a batch has more than 2^31 - 1 records"),
            Self::Compression(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compression(cause) => Some(cause),
            Self::TooLong | Self::TooManyRecords => None,
        }
    }
}

/// A record to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// In milliseconds; [`NO_TIMESTAMP`] is none.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    /// The headers, in their order.
    pub headers: &'a [Header<'a>],
}

/// Collects records into one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    level: Option<i32>,
    base_offset: i64,
    partition_leader_epoch: i32,
    flags: i16,
    producer: BatchProducer,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    log_append_time: Option<i64>,
    last_offset_delta: Option<i32>,
    last_offset_delta_min: i32,
    record_count: i32,
    /// The records so far, not compressed.
    payload: Vec<u8>,
    /// The fields of one record before its length is known; kept for its memory.
    scratch: Vec<u8>,
}

impl BatchBuilder {
    /// Starts an empty batch whose payload will be compressed with `compression`.
    ///
    /// Without further settings it is a batch to be produced: base offset 0, leader epoch -1, no
    /// flags, [`BatchProducer::NONE`].
    #[must_use]
    pub const fn new(compression: Compression) -> Self {
        Self {
            compression,
            level: None,
            base_offset: 0,
            partition_leader_epoch: -1,
            flags: 0,
            producer: BatchProducer::NONE,
            base_timestamp: None,
            max_timestamp: NO_TIMESTAMP,
            log_append_time: None,
            last_offset_delta: None,
            last_offset_delta_min: 0,
            record_count: 0,
            payload: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Sets the level of compression; see [`compress`].
    #[must_use]
    pub const fn level(mut self, level: i32) -> Self {
        self.level = Some(level);
        self
    }

    /// Sets producer id, epoch and first sequence number.
    #[must_use]
    pub const fn producer(mut self, producer: BatchProducer) -> Self {
        self.producer = producer;
        self
    }

    /// Sets the base offset and the leader's epoch, as a broker does when it appends.
    #[must_use]
    pub const fn appended_at(mut self, base_offset: i64, partition_leader_epoch: i32) -> Self {
        self.base_offset = base_offset;
        self.partition_leader_epoch = partition_leader_epoch;
        self
    }

    /// Sets flags such as [`Attributes::TRANSACTIONAL`]; the codec's bits are ignored.
    #[must_use]
    pub const fn flags(mut self, flags: i16) -> Self {
        self.flags |= flags & !Attributes::CODEC;
        self
    }

    /// Stamps the whole batch with `timestamp` in milliseconds, as a broker does on topics with
    /// `message.timestamp.type=LogAppendTime`.
    #[must_use]
    pub const fn log_append_time(mut self, timestamp: i64) -> Self {
        self.log_append_time = Some(timestamp);
        self.flags |= Attributes::LOG_APPEND_TIME;
        self
    }

    /// Sets what timestamp deltas count from, in milliseconds, instead of the first record's.
    ///
    /// Must precede the first record.
    #[must_use]
    pub const fn base_timestamp(mut self, timestamp: i64) -> Self {
        self.base_timestamp = Some(timestamp);
        self
    }

    /// Sets the least last offset delta: a batch covers offsets past its last record when compaction
    /// took the records there.
    #[must_use]
    pub const fn last_offset_delta_min(mut self, last_offset_delta: i32) -> Self {
        self.last_offset_delta_min = last_offset_delta;
        self
    }

    /// How many records there are so far.
    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.record_count
    }

    /// How many bytes the batch would take now if it were not compressed.
    #[must_use]
    pub const fn uncompressed_size(&self) -> usize {
        self.payload.len().saturating_add(HEADER_LEN)
    }

    /// Appends a record at the next offset.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooLong`], [`BuildError::TooManyRecords`]; the batch is then as before.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        self.push_at(self.next_offset_delta()?, record)
    }

    /// Appends a record at an offset of its own, leaving a hole as compaction does.
    ///
    /// Brokers refuse such batches from clients, or worse, accept them.
    ///
    /// # Errors
    ///
    /// As [`BatchBuilder::push`].
    pub fn push_at(&mut self, offset_delta: i32, record: &NewRecord<'_>) -> Result<(), BuildError> {
        self.begin(0, offset_delta, record.timestamp);
        write_nullable(&mut self.scratch, record.key)?;
        write_nullable(&mut self.scratch, record.value)?;
        varint::write_i32(&mut self.scratch, narrow(record.headers.len())?);
        for header in record.headers {
            write_nullable(&mut self.scratch, Some(header.key))?;
            write_nullable(&mut self.scratch, header.value)?;
        }
        self.end(offset_delta, record.timestamp)
    }

    /// Appends a record of another batch at the next offset, with `timestamp` in milliseconds.
    ///
    /// Key, value and headers keep their very bytes.
    ///
    /// # Errors
    ///
    /// As [`BatchBuilder::push`].
    pub fn copy(&mut self, record: &Record<'_>, timestamp: i64) -> Result<(), BuildError> {
        let offset_delta = self.next_offset_delta()?;
        self.begin(record.attributes, offset_delta, timestamp);
        write_nullable(&mut self.scratch, record.key)?;
        write_nullable(&mut self.scratch, record.value)?;
        let header_count = i32::try_from(record.headers.count());
        varint::write_i32(
            &mut self.scratch,
            header_count.map_err(|_| BuildError::TooLong)?,
        );
        self.scratch.extend_from_slice(record.headers.encoded());
        self.end(offset_delta, timestamp)
    }

    /// Appends a commit or abort marker, which only a broker may write.
    ///
    /// # Errors
    ///
    /// As [`BatchBuilder::push`].
    pub fn push_marker(
        &mut self,
        control: ControlType,
        marker: EndTxnMarker,
        timestamp: i64,
    ) -> Result<(), BuildError> {
        self.push(&NewRecord {
            timestamp,
            key: Some(&control.key()),
            value: Some(&marker.value()),
            headers: &[],
        })
    }

    fn next_offset_delta(&self) -> Result<i32, BuildError> {
        self.last_offset_delta
            .map_or(Some(0), |last| last.checked_add(1))
            .ok_or(BuildError::TooManyRecords)
    }

    fn begin(&mut self, attributes: i8, offset_delta: i32, timestamp: i64) {
        let base = self.base_timestamp.unwrap_or(timestamp);
        self.scratch.clear();
        self.scratch.extend_from_slice(&attributes.to_be_bytes());
        varint::write_i64(&mut self.scratch, timestamp.wrapping_sub(base));
        varint::write_i32(&mut self.scratch, offset_delta);
    }

    fn end(&mut self, offset_delta: i32, timestamp: i64) -> Result<(), BuildError> {
        let len = narrow(self.scratch.len())?;
        let record_count = self.record_count.checked_add(1);
        self.record_count = record_count.ok_or(BuildError::TooManyRecords)?;
        varint::write_i32(&mut self.payload, len);
        self.payload.extend_from_slice(&self.scratch);
        self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = self.last_offset_delta.max(Some(offset_delta));
        Ok(())
    }

    /// Compresses the payload and completes the header, checksum included.
    ///
    /// A batch without records is what compaction leaves of one; brokers refuse it from clients.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooLong`] or [`BuildError::Compression`].
    pub fn build(self) -> Result<BuiltBatch, BuildError> {
        let payload = match self.compression {
            Compression::None => self.payload,
            codec => compress(codec, &self.payload, self.level).map_err(BuildError::Compression)?,
        };
        let size = HEADER_LEN.saturating_add(payload.len());
        let mut header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: narrow(size.saturating_sub(LOG_OVERHEAD))?,
            partition_leader_epoch: self.partition_leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes(self.flags | self.compression.id()),
            last_offset_delta: self
                .last_offset_delta
                .unwrap_or_default()
                .max(self.last_offset_delta_min),
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: self.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: self.producer.producer_id,
            producer_epoch: self.producer.producer_epoch,
            base_sequence: self.producer.base_sequence,
            record_count: self.record_count,
        };
        header.crc = header.computed_crc(&payload);
        Ok(BuiltBatch {
            header,
            payload: Bytes::from(payload),
        })
    }
}

/// A complete batch that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltBatch {
    /// The header, its checksum correct.
    pub header: BatchHeader,
    /// The records, compressed if the header says so.
    pub payload: Bytes,
}

impl BuiltBatch {
    /// The batch as one that is borrowed.
    #[must_use]
    pub fn as_batch(&self) -> Batch<'_> {
        Batch {
            header: self.header,
            payload: &self.payload,
        }
    }

    /// The batch as it lies in a log: header and payload in one run of bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [&self.header.encode(), self.payload.as_ref()].concat()
    }
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), BuildError> {
    let len = bytes.map_or(Ok(-1), |bytes| narrow(bytes.len()))?;
    varint::write_i32(out, len);
    out.extend_from_slice(bytes.unwrap_or_default());
    Ok(())
}

fn narrow(len: usize) -> Result<i32, BuildError> {
    i32::try_from(len).map_err(|_| BuildError::TooLong)
}
