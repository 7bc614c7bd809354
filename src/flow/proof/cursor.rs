//! One decompressed batch, read record by record, and what makes records and batches equal.
//!
//! Records are compared as they are, not by a digest: both sides are in memory, so there is no
//! collision to argue about.

use bytes::Bytes;
use kmirror_protocol::{
    records::{BatchHeader, Record, decompress},
    wire::{Malformed, Reader},
};
use std::borrow::Cow;

use crate::flow::limits;

/// The records of a batch and the place of the next one.
#[derive(Debug)]
pub(super) struct Cursor {
    plain: Bytes,
    mark: Mark,
}

/// A place among the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    at: usize,
    /// Records from here on.
    pub(super) left: u32,
}

impl Cursor {
    /// Decompresses a batch, at most [`limits::DECOMPRESSED_BYTES_MAX`] bytes of it.
    ///
    /// # Errors
    ///
    /// Why that fails, in the words of the codec.
    pub(super) fn new(header: &BatchHeader, payload: &Bytes) -> Result<Self, String> {
        let codec = header
            .attributes
            .compression()
            .map_err(|error| error.to_string())?;
        let plain = decompress(codec, payload, limits::DECOMPRESSED_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            plain: match plain {
                Cow::Borrowed(_) => payload.clone(),
                Cow::Owned(plain) => Bytes::from(plain),
            },
            mark: Mark {
                at: 0,
                left: record_count(header),
            },
        })
    }

    /// Keeps only the records with offsets from `from` to below `to`.
    ///
    /// # Errors
    ///
    /// When a record cannot be read.
    pub(super) fn narrow(
        &mut self,
        header: &BatchHeader,
        from: i64,
        to: i64,
    ) -> Result<(), Malformed> {
        let mut mark = self.mark;
        let (mut start, mut count) = (None, 0);
        while let Some((record, next)) = peek(&self.plain, mark)? {
            let offset = record.offset(header);
            if offset >= to {
                break;
            }
            if offset >= from {
                start.get_or_insert(mark);
                count += 1;
            }
            mark = next;
        }
        self.mark = Mark {
            left: count,
            ..start.unwrap_or(mark)
        };
        Ok(())
    }

    /// Passes over `count` records.
    ///
    /// # Errors
    ///
    /// When a record cannot be read.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), Malformed> {
        for _ in 0..count {
            let Some((_, next)) = peek(&self.plain, self.mark)? else {
                break;
            };
            self.mark = next;
        }
        Ok(())
    }

    /// The bytes, shared, and the place of the next record, for [`peek`].
    pub(super) fn parts(&self) -> (Bytes, Mark) {
        (self.plain.clone(), self.mark)
    }

    /// Goes to a place that [`peek`] gave.
    pub(super) const fn go_to(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// How many records are left.
    pub(super) const fn left(&self) -> u32 {
        self.mark.left
    }
}

/// The record at `mark` and the place after it; `None` at the end.
///
/// # Errors
///
/// When the record cannot be read.
pub(super) fn peek(plain: &[u8], mark: Mark) -> Result<Option<(Record<'_>, Mark)>, Malformed> {
    let Some(left) = mark.left.checked_sub(1) else {
        return Ok(None);
    };
    let mut reader = Reader::new(plain.get(mark.at..).unwrap_or_default());
    let record = Record::read(&mut reader)?;
    let at = plain.len().saturating_sub(reader.remaining());
    Ok(Some((record, Mark { at, left })))
}

/// The records that a header promises.
pub(super) fn record_count(header: &BatchHeader) -> u32 {
    u32::try_from(header.record_count).unwrap_or_default()
}

/// Whether two batches hold the same records because their bytes say the same.
///
/// The bytes themselves are compared, which is cheaper than a checksum of them and leaves no doubt.
/// `false` says nothing: another codec, another level of compression or another base timestamp
/// makes the same records look different.
pub(super) fn is_same_batch(
    (source, source_payload): (&BatchHeader, &[u8]),
    (target, target_payload): (&BatchHeader, &[u8]),
) -> bool {
    let same_times =
        target.attributes.is_log_append_time() || source.base_timestamp == target.base_timestamp;
    same_times
        && !source.attributes.is_log_append_time()
        && source.attributes.codec_only() == target.attributes.codec_only()
        && source.record_count == target.record_count
        && source_payload == target_payload
}

/// Whether a target record is the copy of a source record: key, value, headers, and the timestamp
/// that a reader sees, which a target with `LogAppendTime` has replaced.
pub(super) fn is_same_record(
    (source_header, source): (&BatchHeader, &Record<'_>),
    (target_header, target): (&BatchHeader, &Record<'_>),
) -> bool {
    let same_time = target_header.attributes.is_log_append_time()
        || source.timestamp(source_header) == target.timestamp(target_header);
    same_time
        && source.key == target.key
        && source.value == target.value
        && source.headers.count() == target.headers.count()
        && source.headers.iter().eq(target.headers.iter())
}
