//! How each primitive type is read and written.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{Array, Decode, Encode, Malformed, Reader, Version, Why, Writer, reader::length};
use crate::records::HEADER_LEN;

/// A type that has a null of its own on the wire; `Option` of it is the nullable field.
pub trait Nullable<'a>: Sized {
    /// See [`Decode::min_len`].
    fn min_len(version: Version) -> usize;

    /// Reads a value or null.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the bytes are neither.
    fn read_nullable(reader: &mut Reader<'a>, version: Version) -> Result<Option<Self>, Malformed>;
}

impl<'a, T: Nullable<'a>> Decode<'a> for Option<T> {
    fn min_len(version: Version) -> usize {
        T::min_len(version)
    }

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Malformed> {
        T::read_nullable(reader, version)
    }
}

/// Implements reading the never-null field of a [`Nullable`] type.
macro_rules! never_null {
    ($([$($generics:tt)*] $ty:ty),+ $(,)?) => {$(
        impl<'a, $($generics)*> Decode<'a> for $ty {
            fn min_len(version: Version) -> usize {
                <Self as Nullable<'a>>::min_len(version)
            }

            fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Malformed> {
                Self::read_nullable(reader, version)?.ok_or(Malformed::new(Why::UnexpectedNull))
            }
        }
    )+};
}

never_null!([] &'a str, [] &'a [u8], [T: Decode<'a>] Array<'a, T>, [] Records<'a>);

/// Implements writing the nullable field: null for `None`, else as the value writes itself.
macro_rules! nullable_encode {
    ($([$($generics:tt)*] $ty:ty: $length:ident),+ $(,)?) => {$(
        impl<$($generics)*> Encode for Option<$ty> {
            fn write(&self, writer: &mut Writer, version: Version) {
                match self {
                    Some(value) => value.write(writer, version),
                    None => writer.$length(None, version),
                }
            }
        }
    )+};
}

nullable_encode!(
    [] &str: string_length,
    [] &[u8]: array_length,
    ['a, T: Decode<'a> + Encode] Array<'a, T>: array_length,
    [] Records<'_>: array_length,
);

/// Implements integers, which are big-endian and of fixed width.
macro_rules! integers {
    ($($ty:ty),+) => {$(
        impl Decode<'_> for $ty {
            fn min_len(_: Version) -> usize {
                size_of::<$ty>()
            }

            fn read(reader: &mut Reader<'_>, _: Version) -> Result<Self, Malformed> {
                reader.array().map(<$ty>::from_be_bytes)
            }
        }

        impl Encode for $ty {
            fn write(&self, writer: &mut Writer, _: Version) {
                writer.bytes(&self.to_be_bytes());
            }
        }
    )+};
}

integers!(i8, i16, i32, i64, u16, u32, f64);

impl Decode<'_> for bool {
    fn min_len(_: Version) -> usize {
        1
    }

    /// Any byte but 0 is true, as in Kafka's own reader.
    fn read(reader: &mut Reader<'_>, _: Version) -> Result<Self, Malformed> {
        reader.byte().map(|byte| byte != 0)
    }
}

impl Encode for bool {
    fn write(&self, writer: &mut Writer, _: Version) {
        writer.bytes(&[u8::from(*self)]);
    }
}

/// A 16-byte identifier, of a topic above all (KIP-516).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The id that stands for "none".
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is the id that stands for "none".
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Reads what `Display` writes and nothing else: the bits that pad the last digit are zero.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (leading, last) = text.as_bytes().split_at_checked(21)?;
        let [last] = last else { return None };
        let value = |byte: u8| {
            let mut digits = UUID_DIGITS.iter().zip(0_u128..);
            digits
                .find(|(digit, _)| **digit == byte)
                .map(|(_, value)| value)
        };
        let mut bits = 0;
        for byte in leading {
            bits = (bits << 6) | value(*byte)?;
        }
        let last = value(*last)?;
        (last & 15 == 0).then(|| Self(((bits << 2) | (last >> 4)).to_be_bytes()))
    }
}

/// The digits of URL-safe Base64 (RFC 4648, section 5).
const UUID_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl std::fmt::Display for Uuid {
    /// URL-safe Base64 without padding, as Kafka's own tools print ids (`Uuid.toString`).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // 128 bits are 21 digits of six bits and one of the last two, padded with zeros.
        let bits = u128::from_be_bytes(self.0);
        for shift in (2..=122_u32).rev().step_by(6) {
            let six = usize::try_from((bits >> shift) & 63).unwrap_or_default();
            let digit = UUID_DIGITS.get(six).copied().unwrap_or_default();
            f.write_char(char::from(digit))?;
        }
        let last = usize::try_from((bits & 3) << 4).unwrap_or_default();
        f.write_char(char::from(
            UUID_DIGITS.get(last).copied().unwrap_or_default(),
        ))
    }
}

impl std::fmt::Debug for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Uuid({self})")
    }
}

impl Decode<'_> for Uuid {
    fn min_len(_: Version) -> usize {
        16
    }

    fn read(reader: &mut Reader<'_>, _: Version) -> Result<Self, Malformed> {
        reader.array().map(Self)
    }
}

impl Encode for Uuid {
    fn write(&self, writer: &mut Writer, _: Version) {
        writer.bytes(&self.0);
    }
}

/// Reads whether a struct that may be null follows: 1 if it does, -1 for null (KIP-893).
pub(crate) fn struct_is_present(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    let [presence] = reader.array()?;
    match i8::from_be_bytes([presence]) {
        -1 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::new(Why::OutOfRange)),
    }
}

/// Writes what [`struct_is_present`] reads.
pub(crate) fn write_struct_presence(writer: &mut Writer, is_present: bool) {
    writer.bytes(&(if is_present { 1_i8 } else { -1 }).to_be_bytes());
}

/// How many bytes a length takes at least: one as a varint, else its fixed width.
pub(super) const fn length_len(version: Version, plain: usize) -> usize {
    if version.flexible { 1 } else { plain }
}

/// Reads a length that may be null, and checks that the bytes could hold that many `unit`s.
pub(super) fn nullable_length(
    reader: &mut Reader<'_>,
    version: Version,
    plain: impl FnOnce(&mut Reader<'_>) -> Result<i32, Malformed>,
    unit: usize,
) -> Result<Option<usize>, Malformed> {
    let len = if version.flexible {
        let Some(len) = reader.unsigned_varint()?.checked_sub(1) else {
            return Ok(None);
        };
        length(len)?
    } else {
        let len = plain(reader)?;
        if len == -1 {
            return Ok(None);
        }
        usize::try_from(len).map_err(|_| Malformed::new(Why::NegativeLength))?
    };
    if len.saturating_mul(unit.max(1)) > reader.remaining() {
        return Err(Malformed::new(Why::Truncated));
    }
    Ok(Some(len))
}

fn plain_i16(reader: &mut Reader<'_>) -> Result<i32, Malformed> {
    reader
        .array()
        .map(|bytes| i32::from(i16::from_be_bytes(bytes)))
}

pub(super) fn plain_i32(reader: &mut Reader<'_>) -> Result<i32, Malformed> {
    reader.array().map(i32::from_be_bytes)
}

impl<'a> Nullable<'a> for &'a str {
    fn min_len(version: Version) -> usize {
        length_len(version, size_of::<i16>())
    }

    fn read_nullable(reader: &mut Reader<'a>, version: Version) -> Result<Option<Self>, Malformed> {
        let Some(len) = nullable_length(reader, version, plain_i16, 1)? else {
            return Ok(None);
        };
        str::from_utf8(reader.take(len)?)
            .map(Some)
            .map_err(|_| Malformed::new(Why::NotUtf8))
    }
}

impl Encode for &str {
    fn write(&self, writer: &mut Writer, version: Version) {
        writer.string_length(Some(self.len()), version);
        writer.bytes(self.as_bytes());
    }
}

impl<'a> Nullable<'a> for &'a [u8] {
    fn min_len(version: Version) -> usize {
        length_len(version, size_of::<i32>())
    }

    fn read_nullable(reader: &mut Reader<'a>, version: Version) -> Result<Option<Self>, Malformed> {
        let Some(len) = nullable_length(reader, version, plain_i32, 1)? else {
            return Ok(None);
        };
        reader.take(len).map(Some)
    }
}

impl Encode for &[u8] {
    fn write(&self, writer: &mut Writer, version: Version) {
        writer.array_length(Some(self.len()), version);
        writer.bytes(self);
    }
}

/// Bytes that may be a password or a token: never printed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a [u8]);

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl<'a> Decode<'a> for Secret<'a> {
    fn min_len(version: Version) -> usize {
        <&[u8] as Decode<'_>>::min_len(version)
    }

    fn read(reader: &mut Reader<'a>, version: Version) -> Result<Self, Malformed> {
        Decode::read(reader, version).map(Self)
    }
}

impl Encode for Secret<'_> {
    fn write(&self, writer: &mut Writer, version: Version) {
        self.0.write(writer, version);
    }
}

/// The record batches of one partition in a Produce request or Fetch response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records<'a> {
    /// Bytes of a frame, as decoded. Written as a copy.
    Slice(&'a [u8]),
    /// One batch with a header of its own and a payload that is sent from where it lies.
    Batch {
        /// The whole batch header, as it goes on the wire.
        header: [u8; HEADER_LEN],
        /// What follows the header; referenced, never copied.
        payload: Bytes,
    },
    /// Whole batches that are sent from where they lie.
    Gathered(Vec<Bytes>),
}

impl Records<'_> {
    /// How many bytes the records take.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Slice(bytes) => bytes.len(),
            Self::Batch { header, payload } => header.len().saturating_add(payload.len()),
            Self::Gathered(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Records<'a> {
    /// The bytes of decoded records; empty for records that are about to be sent.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        match self {
            Self::Slice(bytes) => bytes,
            Self::Batch { .. } | Self::Gathered(_) => &[],
        }
    }
}

impl<'a> Nullable<'a> for Records<'a> {
    fn min_len(version: Version) -> usize {
        length_len(version, size_of::<i32>())
    }

    fn read_nullable(reader: &mut Reader<'a>, version: Version) -> Result<Option<Self>, Malformed> {
        Ok(<&[u8]>::read_nullable(reader, version)?.map(Records::Slice))
    }
}

impl Encode for Records<'_> {
    fn write(&self, writer: &mut Writer, version: Version) {
        writer.array_length(Some(self.len()), version);
        match self {
            Self::Slice(bytes) => writer.bytes(bytes),
            Self::Batch { header, payload } => {
                writer.bytes(header);
                writer.gather(payload.clone());
            }
            Self::Gathered(pieces) => pieces.iter().for_each(|piece| writer.gather(piece.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_kafkas_tools_print_them() {
        // The second is `org.apache.kafka.common.Uuid.METADATA_TOPIC_ID`.
        let one = u128::to_be_bytes(1);
        let cases = [
            (Uuid::ZERO, "AAAAAAAAAAAAAAAAAAAAAA"),
            (Uuid(one), "AAAAAAAAAAAAAAAAAAAAAQ"),
            (Uuid([0xff; 16]), "_____________________w"),
            (Uuid(*b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg"),
        ];
        for (id, expected) in cases {
            assert_eq!(id.to_string(), expected);
            assert_eq!(Uuid::from_text(expected), Some(id));
        }
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAA+AAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAA\u{e9}",
        ] {
            assert_eq!(Uuid::from_text(text), None, "{text}");
        }
    }
}
