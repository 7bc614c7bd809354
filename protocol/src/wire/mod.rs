//! Primitive types of the protocol, and the two traits every message implements.
//!
//! Lengths count bytes, everything is big-endian. Null and empty are kept apart wherever the
//! protocol can tell them apart. Source: Kafka's protocol guide and KIP-482 (flexible versions:
//! compact lengths and tagged fields).

mod array;
pub(crate) mod macros;
mod reader;
mod types;
pub mod varint;
mod writer;

pub use array::{Array, IntoIter, Iter};
pub(crate) use macros::{field_in_version, message};
pub use reader::Reader;
pub use types::{Nullable, Records, Secret, Uuid};
pub(crate) use types::{struct_is_present, write_struct_presence};
pub use writer::{TooLong, Writer};

/// The version of one message, and whether that version is flexible (KIP-482).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The API version of the request that is written, read or answered.
    pub number: i16,
    /// Whether strings and arrays are compact and structs carry tagged fields.
    pub flexible: bool,
}

/// Reads a value from the bytes of a frame, borrowing from them.
pub trait Decode<'a>: Sized {
    /// The least number of bytes a value takes in a version.
    ///
    /// Bounds how many elements of an array are believed before they have been read.
    fn min_len(version: Version) -> usize;

    /// Reads one value.
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the first field that cannot be read.
    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Malformed>;
}

/// Writes a value as the bytes of a frame.
pub trait Encode {
    /// Appends the value; a length that its type cannot hold makes [`Writer::finish`] fail.
    fn write(&self, writer: &mut Writer, version: Version);
}

/// Bytes that are not what the protocol says they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field that could not be read, as `Struct.field`; empty outside a message.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a [`Malformed`] field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The bytes end before the value does.
    Truncated,
    /// A length or count below -1, or -1 where nothing can be absent.
    NegativeLength,
    /// Null in a field that is never null.
    UnexpectedNull,
    /// A string that is not UTF-8.
    NotUtf8,
    /// A variable-length integer of more bytes than its type can take.
    VarintTooLong,
    /// Bytes after the end of the value.
    TrailingBytes,
    /// A value outside what the field can mean.
    OutOfRange,
}

impl Malformed {
    /// A fault that does not know its field yet.
    #[must_use]
    pub const fn new(why: Why) -> Self {
        Self { what: "", why }
    }

    /// Names the field, unless an inner one has been named already.
    #[must_use]
    pub const fn at(self, what: &'static str) -> Self {
        if self.what.is_empty() {
            Self {
                what,
                why: self.why,
            }
        } else {
            self
        }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let why = match self.why {
            Why::Truncated => "the bytes end too early",
            Why::NegativeLength => "a length is negative",
            Why::UnexpectedNull => "null where a value must be",
            Why::NotUtf8 => "a string is not UTF-8",
            Why::VarintTooLong => "a variable-length integer is too long",
            Why::TrailingBytes => "bytes remain after the end",
            Why::OutOfRange => "a value is out of range",
        };
        if self.what.is_empty() {
            f.write_str(why)
        } else {
            write!(f, "{}: {why}", self.what)
        }
    }
}

impl std::error::Error for Malformed {}
