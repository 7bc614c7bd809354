//! The entries of a partition's log, as a broker returns them.

use super::{
    HEADER_LEN,
    batch::{BatchHeader, LOG_OVERHEAD, MAGIC},
};
use crate::wire::{Malformed, Reader, Why};

/// The least length of any entry; magic 0 has the smallest (`LegacyRecord.RECORD_OVERHEAD_V0`).
const ENTRY_LENGTH_MIN: usize = 14;

/// A record batch, borrowed from the frame it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The header.
    pub header: BatchHeader,
    /// What follows the header: records, compressed if the attributes say so.
    pub payload: &'a [u8],
}

/// A message of the formats before record batches (magic 0 and 1), recognised but not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyMessage<'a> {
    /// Its offset; of a compressed wrapper, the offset of the last message inside.
    pub offset: i64,
    /// 0 or 1.
    pub magic: i8,
    /// The whole entry, offset and length included.
    pub bytes: &'a [u8],
}

/// One entry of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEntry<'a> {
    /// A record batch.
    Batch(Batch<'a>),
    /// A message of an older format.
    Legacy(LegacyMessage<'a>),
}

/// Iterates over the entries of a partition in a Fetch response; checksums are not checked.
///
/// A broker cuts the log at a byte limit, so the last entry may be incomplete. That ends the
/// iteration without an error; [`Batches::incomplete_len`] tells. An error ends it too, since
/// nothing after a wrong length can be found.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    has_failed: bool,
}

/// Iterates over the entries of `blob`, the records of one partition in a Fetch response.
#[must_use]
pub const fn batches(blob: &[u8]) -> Batches<'_> {
    Batches {
        rest: blob,
        has_failed: false,
    }
}

impl<'a> Batches<'a> {
    /// How many bytes have not been handed out.
    ///
    /// After the iteration: the length of the incomplete entry at the end, or 0. If no entry was
    /// complete, the fetch limits are too small for the next batch.
    #[must_use]
    pub const fn incomplete_len(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next entry, or `None` if what remains is incomplete.
    fn take(&mut self) -> Result<Option<LogEntry<'a>>, Malformed> {
        let reader = &mut Reader::new(self.rest);
        let (Ok(offset), Ok(len)) = (reader.array(), reader.array()) else {
            return Ok(None);
        };
        let len = usize::try_from(i32::from_be_bytes(len))
            .ok()
            .filter(|len| *len >= ENTRY_LENGTH_MIN)
            .ok_or(Malformed::new(Why::OutOfRange).at("RecordBatch.batch_length"))?;
        // Formats differ in what the next four bytes are, but not in where the magic is.
        let (Ok(_), Ok(magic)) = (reader.array::<4>(), reader.array()) else {
            return Ok(None);
        };
        let magic = i8::from_be_bytes(magic);
        if !(0..=MAGIC).contains(&magic) {
            return Err(Malformed::new(Why::OutOfRange).at("RecordBatch.magic"));
        }
        let Some((bytes, rest)) = self.rest.split_at_checked(len.saturating_add(LOG_OVERHEAD))
        else {
            return Ok(None);
        };
        let entry = if magic == MAGIC {
            LogEntry::Batch(Batch::parse(bytes)?)
        } else {
            let offset = i64::from_be_bytes(offset);
            LogEntry::Legacy(LegacyMessage {
                offset,
                magic,
                bytes,
            })
        };
        self.rest = rest;
        Ok(Some(entry))
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<LogEntry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let entry = self.take().transpose();
        self.has_failed = matches!(entry, Some(Err(_)));
        entry
    }
}

impl std::iter::FusedIterator for Batches<'_> {}

impl<'a> Batch<'a> {
    /// Reads exactly one batch.
    ///
    /// # Errors
    ///
    /// As [`BatchHeader::parse`], and when `bytes` is not as long as the header says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header = BatchHeader::parse(bytes)?;
        let mut reader = Reader::new(bytes);
        reader.take(HEADER_LEN)?;
        let payload = reader.take(header.payload_len())?;
        reader.end()?;
        Ok(Self { header, payload })
    }

    /// Whether the checksum is that of header and payload.
    #[must_use]
    pub fn verify_crc(&self) -> bool {
        self.header.verify_crc(self.payload)
    }
}
