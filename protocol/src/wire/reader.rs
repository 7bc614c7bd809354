//! The one cursor for reading.

use super::{Malformed, Why, varint};

/// A cursor over the bytes of one frame; what it hands out borrows from them.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not yet read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes are not yet read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    ///
    /// [`Why::Truncated`] when fewer remain.
    pub const fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(Malformed::new(Why::Truncated));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// [`Why::Truncated`] when fewer remain.
    pub const fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Malformed::new(Why::Truncated));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// [`Why::Truncated`] at the end.
    pub const fn byte(&mut self) -> Result<u8, Malformed> {
        match self.array::<1>() {
            Ok([byte]) => Ok(byte),
            Err(err) => Err(err),
        }
    }

    /// Takes an unsigned varint of at most five bytes.
    ///
    /// # Errors
    ///
    /// [`Why::Truncated`] or [`Why::VarintTooLong`].
    pub fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        varint::read_u32(self)
    }

    /// Checks that everything has been read.
    ///
    /// # Errors
    ///
    /// [`Why::TrailingBytes`] when something remains.
    pub const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::new(Why::TrailingBytes))
        }
    }

    /// Passes over the tagged fields that end a flexible struct.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the section does not fit its own lengths.
    pub fn skip_tagged_fields(&mut self) -> Result<(), Malformed> {
        self.tagged_fields(|_, _| Ok(()))
    }

    /// Hands each tagged field of a flexible struct to `field`, in a reader of its own.
    ///
    /// What `field` does not read is passed over: unknown tags are not errors.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the section does not fit its own lengths, or what `field` returns.
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let len = length(self.unsigned_varint()?)?;
            field(tag, &mut Reader::new(self.take(len)?))?;
        }
        Ok(())
    }
}

/// Widens a length that was read from the wire.
pub(super) fn length(len: u32) -> Result<usize, Malformed> {
    usize::try_from(len).map_err(|_| Malformed::new(Why::OutOfRange))
}
