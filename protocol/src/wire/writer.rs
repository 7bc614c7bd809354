//! The one cursor for writing.
//!
//! What it writes is a list of pieces: its own bytes, and between them payloads that belong to
//! somebody else and are only referenced. A relay thus sends record batches that it never copied.

use bytes::Bytes;

use super::{Reader, Version, varint};

/// Collects the bytes of one frame.
#[derive(Debug, Default)]
pub struct Writer {
    own: Vec<u8>,
    /// Foreign payloads, each with the position in `own` that it precedes.
    gathered: Vec<(usize, Bytes)>,
    gathered_len: usize,
    too_long: bool,
}

/// A string, array or payload is longer than its length field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field is longer than the protocol can express")
    }
}

impl std::error::Error for TooLong {}

impl Writer {
    /// Starts with nothing written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes the frame has so far, gathered payloads included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.own.len().saturating_add(self.gathered_len)
    }

    /// Whether nothing has been written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a copy of `bytes`.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
    }

    /// Appends `payload` by reference: its bytes are sent from where they are.
    pub fn gather(&mut self, payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        self.gathered_len = self.gathered_len.saturating_add(payload.len());
        self.gathered.push((self.own.len(), payload));
    }

    /// Appends an unsigned varint.
    pub fn unsigned_varint(&mut self, value: u32) {
        varint::write_u32(&mut self.own, value);
    }

    /// Appends the length of an array, or of bytes where that is four bytes wide; `None` is null.
    pub fn array_length(&mut self, len: Option<usize>, version: Version) {
        if version.flexible {
            self.compact_length(len);
        } else {
            let len = len.map_or(-1, |len| self.narrow(i32::try_from(len)));
            self.bytes(&len.to_be_bytes());
        }
    }

    /// Appends the length of a string, two bytes wide before flexible versions; `None` is null.
    pub fn string_length(&mut self, len: Option<usize>, version: Version) {
        if version.flexible {
            self.compact_length(len);
        } else {
            let len = len.map_or(-1, |len| self.narrow(i16::try_from(len)));
            self.bytes(&len.to_be_bytes());
        }
    }

    fn compact_length(&mut self, len: Option<usize>) {
        let len = len.map_or(0, |len| self.narrow(u32::try_from(len.saturating_add(1))));
        self.unsigned_varint(len);
    }

    fn narrow<T: Default, E>(&mut self, len: Result<T, E>) -> T {
        len.unwrap_or_else(|_| {
            self.too_long = true;
            T::default()
        })
    }

    /// Appends one tagged field: its tag, its length, then what `field` writes.
    pub fn tagged_field(&mut self, tag: u32, field: impl FnOnce(&mut Self)) {
        let mut inner = Self::new();
        field(&mut inner);
        self.unsigned_varint(tag);
        let len = self.narrow(u32::try_from(inner.len()));
        self.unsigned_varint(len);
        self.append(inner);
    }

    fn append(&mut self, other: Self) {
        let start = self.own.len();
        self.own.extend_from_slice(&other.own);
        self.gathered.extend(
            other
                .gathered
                .into_iter()
                .map(|(at, payload)| (start.saturating_add(at), payload)),
        );
        self.gathered_len = self.gathered_len.saturating_add(other.gathered_len);
        self.too_long |= other.too_long;
    }

    /// Ends the frame: its pieces in the order they go out.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when a length did not fit its field.
    pub fn finish(self) -> Result<Vec<Bytes>, TooLong> {
        if self.too_long {
            return Err(TooLong);
        }
        let mut own = Bytes::from(self.own);
        let mut pieces =
            Vec::with_capacity(self.gathered.len().saturating_mul(2).saturating_add(1));
        let mut written = 0_usize;
        for (at, payload) in self.gathered {
            let before = own.split_to(at.saturating_sub(written).min(own.len()));
            written = at;
            if !before.is_empty() {
                pieces.push(before);
            }
            pieces.push(payload);
        }
        if !own.is_empty() {
            pieces.push(own);
        }
        Ok(pieces)
    }

    /// Ends the frame as one run of bytes, copying what was gathered.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when a length did not fit its field.
    pub fn finish_contiguous(self) -> Result<Vec<u8>, TooLong> {
        Ok(self.finish()?.concat())
    }

    /// Overwrites the first four bytes, which the caller reserved for a length.
    pub(crate) fn set_prefix(&mut self, prefix: [u8; 4]) {
        if let Some(start) = self.own.first_chunk_mut::<4>() {
            *start = prefix;
        }
    }
}

/// Counts what a reader consumed; used where a length must be known before it is written.
impl Reader<'_> {
    /// How many bytes lie between an `earlier` state of this reader and now.
    #[must_use]
    pub const fn consumed_since(&self, earlier: &Self) -> usize {
        earlier.remaining().saturating_sub(self.remaining())
    }
}
