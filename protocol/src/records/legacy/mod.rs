//! Messages of the formats before record batches (magic 0 and 1), read and turned into batches.
//!
//! Kafka 4 writes neither, but a log keeps what was once written to it, and a Fetch answer returns
//! the log as it is, old and new entries mixed. Nothing here writes an old message.
//!
//! ```text
//!  at  len  field
//!   0    8  offset        of a wrapper: that of the last message inside
//!   8    4  length        bytes after this field
//!  12    4  crc           CRC-32 (IEEE 802.3) of all that follows, not CRC-32C
//!  16    1  magic         0, or 1 since Kafka 0.10 (KIP-32)
//!  17    1  attributes    bits 0-2 codec, bit 3 log append time (magic 1)
//!  18    8  timestamp     ms, magic 1 only
//!        4  key length    -1 null, then the key
//!        4  value length  -1 null, then the value
//! ```
//!
//! A message with a codec is a wrapper: its value is a compressed message set, whose messages are
//! not wrappers themselves. Offsets inside are absolute in magic 0. In magic 1 they are relative,
//! and the last one stands for the wrapper's offset (KIP-31). A wrapper that the broker stamped
//! (log append time) gives its own timestamp to every message inside. Source: `LegacyRecord` and
//! `AbstractLegacyRecordBatch`.

mod convert;
mod message;
mod wrapper;

use super::{BuildError, CompressionError, compression::Compression};
use crate::wire::Malformed;

pub use convert::{ConvertLimits, LegacyConverter};
pub use message::{LegacyMessage, LegacyRecord};
pub use wrapper::{LegacyRecordIter, LegacyRecords};

/// Why a message of an old format could not be read or converted.
#[derive(Debug)]
pub enum LegacyError {
    /// The bytes are not a message set.
    Malformed(Malformed),
    /// The CRC-32 of a message is not that of its bytes.
    Checksum {
        /// The offset that the message carries, relative inside a wrapper of magic 1.
        offset: i64,
    },
    /// A wrapper could not be unfolded.
    Compression(CompressionError),
    /// A codec that only record batches may use: zstd (KIP-110).
    CodecTooNew(Compression),
    /// A wrapper inside a wrapper.
    NestedWrapper {
        /// The offset that the inner wrapper carries.
        offset: i64,
    },
    /// A wrapper around nothing.
    EmptyWrapper {
        /// The offset of the wrapper.
        offset: i64,
    },
    /// The batch could not be built.
    Build(BuildError),
}

impl std::fmt::Display for LegacyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(cause) => cause.fmt(f),
            Self::Checksum { offset } => {
                write!(f, "the CRC-32 of the message at offset {offset} is wrong")
            }
            Self::Compression(cause) => cause.fmt(f),
            Self::CodecTooNew(codec) => {
                write!(f, "a message of magic 0 or 1 is compressed with {codec}")
            }
            Self::NestedWrapper { offset } => {
                write!(f, "the message at offset {offset} is compressed twice")
            }
            Self::EmptyWrapper { offset } => {
                write!(f, "the compressed message at offset {offset} holds nothing")
            }
            Self::Build(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for LegacyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(cause) => Some(cause),
            Self::Compression(cause) => Some(cause),
            Self::Build(cause) => Some(cause),
            Self::Checksum { .. }
            | Self::CodecTooNew(_)
            | Self::NestedWrapper { .. }
            | Self::EmptyWrapper { .. } => None,
        }
    }
}

impl From<Malformed> for LegacyError {
    fn from(cause: Malformed) -> Self {
        Self::Malformed(cause)
    }
}
