//! One message of an old format: its fields and its checksum.

use super::{LegacyError, LegacyRecords};
use crate::{
    records::{
        NO_TIMESTAMP,
        batch::{Attributes, LOG_OVERHEAD},
    },
    wire::{Malformed, Reader, Why},
};

/// A message of the formats before record batches, alone or as the wrapper of others; not yet read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyMessage<'a> {
    /// Its offset; of a wrapper, the offset of the last message inside.
    pub offset: i64,
    /// 0 or 1.
    pub magic: i8,
    /// The whole entry, offset and length included.
    pub bytes: &'a [u8],
}

/// A record in an old format. Null and empty are kept apart; there are no headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyRecord<'a> {
    /// The offset in the log.
    pub offset: i64,
    /// The timestamp that a consumer sees, in milliseconds; -1 is none, as always in magic 0.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, a tombstone on compacted topics.
    pub value: Option<&'a [u8]>,
}

impl<'a> LegacyMessage<'a> {
    /// Whether the checksum is that of the message.
    #[must_use]
    pub fn verify_crc(&self) -> bool {
        self.fields().is_ok_and(|fields| fields.verify_crc())
    }

    /// Reads the message, or all that it wraps, into at most `output_len_max` bytes.
    ///
    /// # Errors
    ///
    /// [`LegacyError`]; every checksum is checked, inside a wrapper too.
    pub fn records(&self, output_len_max: usize) -> Result<LegacyRecords<'a>, LegacyError> {
        LegacyRecords::read(self, output_len_max)
    }

    /// The fields of a message that must fill its length exactly.
    pub(super) fn fields(&self) -> Result<Fields<'a>, Malformed> {
        let reader = &mut Reader::new(self.bytes);
        let fields = Fields::read(reader, self.magic);
        fields.map_err(|fault| fault.at("LegacyMessage"))
    }

    /// The fields, once their checksum and offset have been checked.
    pub(super) fn checked_fields(&self) -> Result<Fields<'a>, LegacyError> {
        let fields = self.fields()?;
        if !fields.verify_crc() {
            let offset = self.offset;
            return Err(LegacyError::Checksum { offset });
        }
        if self.offset < 0 {
            return Err(Malformed::new(Why::OutOfRange)
                .at("LegacyMessage.offset")
                .into());
        }
        Ok(fields)
    }
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    crc: u32,
    /// What the checksum covers.
    checked: &'a [u8],
    /// The bits mean what they mean for a batch.
    pub(super) attributes: Attributes,
    pub(super) timestamp: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(reader: &mut Reader<'a>, magic: i8) -> Result<Self, Malformed> {
        reader.take(LOG_OVERHEAD)?;
        let crc = u32::from_be_bytes(reader.array()?);
        let checked = reader.rest();
        reader.byte()?; // The magic, which whoever found the message has read.
        let attributes = Attributes(i16::from(reader.byte()?));
        let timestamp = match magic {
            0 => NO_TIMESTAMP,
            _ => i64::from_be_bytes(reader.array()?),
        };
        let key = nullable_bytes(reader).map_err(|fault| fault.at("LegacyMessage.key"))?;
        let value = nullable_bytes(reader).map_err(|fault| fault.at("LegacyMessage.value"))?;
        reader.end()?;
        Ok(Self {
            crc,
            checked,
            attributes,
            timestamp,
            key,
            value,
        })
    }

    fn verify_crc(&self) -> bool {
        crc32fast::hash(self.checked) == self.crc
    }
}

/// Reads a length and that many bytes; a length of -1 is null.
fn nullable_bytes<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    let len = i32::from_be_bytes(reader.array()?);
    if len == -1 {
        return Ok(None);
    }
    let len = usize::try_from(len).map_err(|_| Malformed::new(Why::NegativeLength))?;
    reader.take(len).map(Some)
}
