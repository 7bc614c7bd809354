//! The records of one message: itself, or what it wraps.

use std::borrow::Cow;

use super::{LegacyError, LegacyMessage, LegacyRecord, message::Fields};
use crate::{
    records::{
        compression::{Compression, decompress_wrapped},
        entries::{Batches, LogEntry, batches},
    },
    wire::{Malformed, Why},
};

/// The records of one message, read and checked; the unfolded ones of a wrapper are owned.
#[derive(Clone, Debug)]
pub struct LegacyRecords<'a> {
    compression: Compression,
    /// One message, or the unfolded set.
    messages: Cow<'a, [u8]>,
    /// What the offsets in `messages` add to.
    base_offset: i64,
    /// The timestamp of all, if the broker stamped their wrapper.
    append_time: Option<i64>,
    last_offset: i64,
    record_count: u32,
}

impl<'a> LegacyRecords<'a> {
    pub(super) fn read(
        message: &LegacyMessage<'a>,
        output_len_max: usize,
    ) -> Result<Self, LegacyError> {
        let fields = message.checked_fields()?;
        let codec = fields.attributes.compression();
        match codec.map_err(LegacyError::Compression)? {
            Compression::None => Ok(Self {
                compression: Compression::None,
                messages: Cow::Borrowed(message.bytes),
                base_offset: 0,
                append_time: None,
                last_offset: message.offset,
                record_count: 1,
            }),
            codec => Self::unfold(message, &fields, codec, output_len_max),
        }
    }

    fn unfold(
        wrapper: &LegacyMessage<'a>,
        fields: &Fields<'a>,
        codec: Compression,
        output_len_max: usize,
    ) -> Result<Self, LegacyError> {
        if codec == Compression::Zstd {
            return Err(LegacyError::CodecTooNew(codec));
        }
        let value = fields
            .value
            .ok_or(Malformed::new(Why::UnexpectedNull).at("LegacyMessage.value"))?;
        let messages = decompress_wrapped(codec, wrapper.magic, value, output_len_max)
            .map_err(LegacyError::Compression)?;
        let (record_count, last_inner) = check_inner(wrapper, &messages)?;
        let base_offset = base_offset(wrapper, last_inner)?;
        // In magic 0 the bit means nothing, and the timestamp is none either way.
        let is_stamped = fields.attributes.is_log_append_time();
        Ok(Self {
            compression: codec,
            messages,
            base_offset,
            append_time: is_stamped.then_some(fields.timestamp),
            last_offset: wrapper.offset.max(base_offset.saturating_add(last_inner)),
            record_count,
        })
    }

    /// The codec of the wrapper; [`Compression::None`] for a message alone.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// The last offset that the message covers: where to fetch next is one more.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.last_offset
    }

    /// How many records there are, at least one.
    #[must_use]
    pub const fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Iterates over the records.
    #[must_use]
    pub fn iter(&self) -> LegacyRecordIter<'_> {
        LegacyRecordIter {
            messages: batches(&self.messages),
            base_offset: self.base_offset,
            append_time: self.append_time,
        }
    }
}

/// Checks every message of an unfolded set; answers how many there are and the last one's offset.
///
/// A set that ends within a message is refused. (Kafka's readers pass over such a rest in silence.)
fn check_inner(wrapper: &LegacyMessage<'_>, messages: &[u8]) -> Result<(u32, i64), LegacyError> {
    let mut entries = batches(messages);
    let mut last = None;
    let mut count = 0_u32;
    for entry in entries.by_ref() {
        let LogEntry::Legacy(inner) = entry? else {
            return Err(wrong_magic());
        };
        if inner.magic != wrapper.magic {
            return Err(wrong_magic());
        }
        if inner.checked_fields()?.attributes.codec_only().0 != 0 {
            let offset = inner.offset;
            return Err(LegacyError::NestedWrapper { offset });
        }
        last = Some(inner.offset);
        count = count.saturating_add(1);
    }
    if entries.incomplete_len() > 0 {
        return Err(Malformed::new(Why::Truncated)
            .at("LegacyMessage.messages")
            .into());
    }
    let offset = wrapper.offset;
    let last = last.ok_or(LegacyError::EmptyWrapper { offset })?;
    Ok((count, last))
}

/// What the offsets inside `wrapper` add to, when the last of them is `last_inner`.
///
/// Magic 0 has absolute offsets. A wrapper at offset 0 was never numbered by a broker, as in Produce
/// requests of some clients (`AbstractLegacyRecordBatch.DeepRecordsIterator`).
fn base_offset(wrapper: &LegacyMessage<'_>, last_inner: i64) -> Result<i64, LegacyError> {
    if wrapper.magic == 0 || wrapper.offset == 0 {
        return Ok(0);
    }
    let base = wrapper.offset.checked_sub(last_inner);
    base.filter(|base| *base >= 0).ok_or_else(|| {
        Malformed::new(Why::OutOfRange)
            .at("LegacyMessage.offset")
            .into()
    })
}

fn wrong_magic() -> LegacyError {
    Malformed::new(Why::OutOfRange)
        .at("LegacyMessage.magic")
        .into()
}

/// Iterates over the records of a message.
#[derive(Clone, Debug)]
pub struct LegacyRecordIter<'a> {
    messages: Batches<'a>,
    base_offset: i64,
    append_time: Option<i64>,
}

impl<'a> Iterator for LegacyRecordIter<'a> {
    type Item = LegacyRecord<'a>;

    /// The next record; all of them were read before, so that nothing is left out here.
    fn next(&mut self) -> Option<LegacyRecord<'a>> {
        let Some(Ok(LogEntry::Legacy(message))) = self.messages.next() else {
            return None;
        };
        let fields = message.fields().ok()?;
        Some(LegacyRecord {
            offset: self.base_offset.saturating_add(message.offset),
            timestamp: self.append_time.unwrap_or(fields.timestamp),
            key: fields.key,
            value: fields.value,
        })
    }
}

impl<'a> IntoIterator for &'a LegacyRecords<'_> {
    type Item = LegacyRecord<'a>;
    type IntoIter = LegacyRecordIter<'a>;

    fn into_iter(self) -> LegacyRecordIter<'a> {
        self.iter()
    }
}
