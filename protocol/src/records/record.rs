//! Records inside an uncompressed payload, read lazily.

use super::batch::BatchHeader;
use crate::wire::{Malformed, Reader, Why, varint};

/// The least length of a record: one byte for its length and for each of its six other fields.
pub const RECORD_LEN_MIN: usize = 7;

/// One record, borrowed from the payload. Null and empty are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka; 0.
    pub attributes: i8,
    /// Added to the batch's base timestamp, in milliseconds.
    pub timestamp_delta: i64,
    /// Added to the batch's base offset.
    pub offset_delta: i32,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, a tombstone on compacted topics.
    pub value: Option<&'a [u8]>,
    /// The headers, in their order; keys may repeat.
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// Reads one record, its headers included.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the fields do not fill the record's length exactly.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let len = length(varint::read_i32(reader)?)
            .map_err(|fault| fault.at("Record.length"))?
            .ok_or(Malformed::new(Why::NegativeLength).at("Record.length"))?;
        let reader = &mut Reader::new(reader.take(len)?);
        let attributes = i8::from_be_bytes(reader.array()?);
        let timestamp_delta = varint::read_i64(reader)?;
        let offset_delta = varint::read_i32(reader)?;
        let key = nullable_bytes(reader).map_err(|fault| fault.at("Record.key"))?;
        let value = nullable_bytes(reader).map_err(|fault| fault.at("Record.value"))?;
        let headers = Headers::read(reader).map_err(|fault| fault.at("Record.headers"))?;
        reader.end()?;
        Ok(Self {
            attributes,
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        })
    }

    /// The record's offset in the batch of `header`.
    #[must_use]
    pub fn offset(&self, header: &BatchHeader) -> i64 {
        header
            .base_offset
            .saturating_add(i64::from(self.offset_delta))
    }

    /// The timestamp that a consumer sees, in milliseconds; -1 is none.
    #[must_use]
    pub const fn timestamp(&self, header: &BatchHeader) -> i64 {
        if header.attributes.is_log_append_time() {
            header.max_timestamp
        } else {
            self.producer_timestamp(header)
        }
    }

    /// The timestamp that the producer gave, whatever the broker stamped; -1 is none.
    ///
    /// Wraps around as Java's addition does, so that any delta can be written.
    #[must_use]
    pub const fn producer_timestamp(&self, header: &BatchHeader) -> i64 {
        header.base_timestamp.wrapping_add(self.timestamp_delta)
    }
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key, never null. UTF-8 by the protocol; brokers do not check, so the bytes are kept.
    pub key: &'a [u8],
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// The key as text, if it is text.
    #[must_use]
    pub const fn key_str(&self) -> Option<&'a str> {
        match str::from_utf8(self.key) {
            Ok(key) => Some(key),
            Err(_) => None,
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            key: nullable_bytes(reader)?.ok_or(Malformed::new(Why::UnexpectedNull))?,
            value: nullable_bytes(reader)?,
        })
    }
}

/// The headers of a record: checked when the record was read, decoded when iterated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u32,
    encoded: &'a [u8],
}

impl<'a> Headers<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = u32::try_from(varint::read_i32(reader)?)
            .map_err(|_| Malformed::new(Why::NegativeLength))?;
        let start = reader.rest();
        for _ in 0..count {
            Header::read(reader)?;
        }
        let len = start.len().saturating_sub(reader.remaining());
        let encoded = Reader::new(start).take(len)?;
        Ok(Self { count, encoded })
    }

    /// How many headers there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers one after another, as they lie in the record; without their count.
    #[must_use]
    pub const fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Iterates over the headers.
    #[must_use]
    pub const fn iter(&self) -> HeaderIter<'a> {
        HeaderIter {
            reader: Reader::new(self.encoded),
        }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates over the headers of a record.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        (self.reader.remaining() > 0)
            .then(|| Header::read(&mut self.reader).ok())
            .flatten()
    }
}

/// Iterates over the records of an uncompressed payload.
///
/// The payload must hold exactly the promised number of records: too few is
/// [`Why::Truncated`], anything after the last is [`Why::TrailingBytes`]. An error ends the
/// iteration.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    reader: Reader<'a>,
    count: u32,
    has_failed: bool,
}

/// Iterates over the `record_count` records of an uncompressed `payload`.
///
/// A negative count is taken for 0.
#[must_use]
pub fn records(payload: &[u8], record_count: i32) -> RecordIter<'_> {
    RecordIter {
        reader: Reader::new(payload),
        count: u32::try_from(record_count).unwrap_or_default(),
        has_failed: false,
    }
}

impl<'a> RecordIter<'a> {
    fn take(&mut self) -> Result<Option<Record<'a>>, Malformed> {
        let Some(count) = self.count.checked_sub(1) else {
            return self.reader.end().map(|()| None);
        };
        self.count = count;
        Record::read(&mut self.reader).map(Some)
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let record = self
            .take()
            .map_err(|fault| fault.at("RecordBatch.records"))
            .transpose();
        self.has_failed = matches!(record, Some(Err(_)));
        record
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// Reads a length and that many bytes; a length of -1 is null.
fn nullable_bytes<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match length(varint::read_i32(reader)?)? {
        Some(len) => reader.take(len).map(Some),
        None => Ok(None),
    }
}

/// A length of which -1 is null and nothing below it is meant.
fn length(len: i32) -> Result<Option<usize>, Malformed> {
    if len == -1 {
        return Ok(None);
    }
    usize::try_from(len)
        .map(Some)
        .map_err(|_| Malformed::new(Why::NegativeLength))
}
