//! The entries of a partition's log, as a broker returns them.

use super::{
    HEADER_LEN,
    batch::{BatchHeader, LOG_OVERHEAD, MAGIC},
    legacy::LegacyMessage,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, Compression, NewRecord};

    fn batch(base_offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None).appended_at(base_offset, 3);
        builder.push(&NewRecord::default()).unwrap();
        builder.build().unwrap().to_vec()
    }

    /// An entry of `len` bytes after the length field.
    fn legacy(offset: i64, magic: u8, len: i32) -> Vec<u8> {
        let mut bytes = [&offset.to_be_bytes()[..], &len.to_be_bytes()].concat();
        bytes.extend([9, 9, 9, 9, magic]);
        bytes.resize(LOG_OVERHEAD + usize::try_from(len).unwrap(), 0);
        bytes
    }

    #[test]
    fn formats_may_follow_each_other_in_one_blob() {
        let (first, last) = (batch(2), batch(6));
        let (v0, v1) = (legacy(4, 0, 14), legacy(5, 1, 60));
        let blob = [&first, &v0, &v1, &last].map(Vec::as_slice).concat();
        let mut entries = batches(&blob);
        let read: Vec<_> = entries.by_ref().map(Result::unwrap).collect();
        let legacy = |offset, magic, bytes| {
            LogEntry::Legacy(LegacyMessage {
                offset,
                magic,
                bytes,
            })
        };
        let expected = [
            LogEntry::Batch(Batch::parse(&first).unwrap()),
            legacy(4, 0, v0.as_slice()),
            legacy(5, 1, v1.as_slice()),
            LogEntry::Batch(Batch::parse(&last).unwrap()),
        ];
        assert_eq!(read, expected);
        assert_eq!(entries.incomplete_len(), 0);
    }

    #[test]
    fn a_cut_entry_ends_the_iteration_and_is_reported() {
        for last in [batch(3), legacy(3, 1, 20)] {
            for len in 0..last.len() {
                let blob = [batch(2).as_slice(), last.get(..len).unwrap()].concat();
                let mut entries = batches(&blob);
                assert!(matches!(entries.next(), Some(Ok(LogEntry::Batch(_)))));
                assert_eq!(entries.next(), None);
                assert_eq!(entries.incomplete_len(), len);
            }
        }
    }

    #[test]
    fn impossible_entries_are_malformed_and_end_the_iteration() {
        let with = |at: usize, bytes: &[u8]| {
            let mut blob = batch(2);
            blob.splice(at..at + bytes.len(), bytes.iter().copied());
            blob
        };
        for (what, blob) in [
            ("RecordBatch.batch_length", with(8, &(-1_i32).to_be_bytes())),
            ("RecordBatch.batch_length", with(8, &0_i32.to_be_bytes())),
            ("RecordBatch.batch_length", with(8, &13_i32.to_be_bytes())),
            ("RecordBatch.batch_length", with(8, &i32::MIN.to_be_bytes())),
            ("RecordBatch.magic", with(16, &[3])),
            ("RecordBatch.magic", with(16, &[0xff])),
        ] {
            let blob = [blob, batch(3)].concat();
            let mut entries = batches(&blob);
            let fault = Malformed::new(Why::OutOfRange).at(what);
            assert_eq!(entries.next(), Some(Err(fault)));
            assert_eq!(entries.next(), None);
        }
        // Long enough for an old message, too short for a batch.
        let mut short = batch(2);
        short.truncate(LOG_OVERHEAD + 40);
        short.splice(8..12, 40_i32.to_be_bytes());
        let fault = batches(&short).next().unwrap().unwrap_err();
        assert_eq!(fault.why, Why::Truncated);
    }
}
