//! Compression of record payloads: which codecs there are, and bounded decompression.
//!
//! A payload that arrives is never trusted to be as small as it should be: output stops at a limit
//! that the caller sets, long before a decompression bomb fills the memory. Each codec is a Cargo
//! feature of its name; what is compiled out is refused, not misread. Codec ids and framing:
//! `CompressionType` and the stream classes in Kafka's `common.compress` package.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(not(all(
    feature = "gzip",
    feature = "lz4",
    feature = "snappy",
    feature = "zstd"
)))]
mod absent;
#[cfg(not(feature = "gzip"))]
use absent as gzip;
#[cfg(not(feature = "lz4"))]
use absent as lz4;
#[cfg(not(feature = "snappy"))]
use absent as snappy;
#[cfg(not(feature = "zstd"))]
use absent as zstd;

use std::{borrow::Cow, io};

/// A codec of record payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// gzip; several members in a row are one payload.
    Gzip,
    /// Snappy, in the block framing of xerial's Java library; read raw as well.
    Snappy,
    /// LZ4 frames (KIP-57).
    Lz4,
    /// Zstandard frames (KIP-110): Produce 7, Fetch 10 and later.
    Zstd,
}

impl Compression {
    /// Every codec, by ascending id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of an id in a batch's attributes.
    ///
    /// # Errors
    ///
    /// [`CompressionError::UnknownCodec`] for 5 and above.
    pub const fn from_id(id: i16) -> Result<Self, CompressionError> {
        Ok(match id {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            id => return Err(CompressionError::UnknownCodec { id }),
        })
    }

    /// The id in a batch's attributes.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Whether this program was built with the codec.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    const fn ensure_supported(self) -> Result<(), CompressionError> {
        if self.is_supported() {
            Ok(())
        } else {
            Err(CompressionError::Unsupported(self))
        }
    }

    /// The name in Kafka's `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a payload could not be compressed or decompressed.
#[derive(Debug)]
pub enum CompressionError {
    /// A codec id that Kafka has not assigned.
    UnknownCodec {
        /// The id in the batch's attributes.
        id: i16,
    },
    /// This program was built without the codec.
    Unsupported(Compression),
    /// The payload unfolds to more than the caller accepts.
    TooLarge {
        /// The codec.
        codec: Compression,
        /// What the caller accepts, in bytes.
        output_len_max: usize,
    },
    /// The payload is not what the codec expects.
    Corrupt {
        /// The codec.
        codec: Compression,
        /// What its decoder says.
        cause: io::Error,
    },
    /// The compressor refused, for its level above all.
    Refused {
        /// The codec.
        codec: Compression,
        /// What its encoder says.
        cause: io::Error,
    },
}

impl std::fmt::Display for CompressionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownCodec { id } => write!(f, "compression codec {id} is unknown"),
            Self::Unsupported(codec) => write!(f, "{codec} is unsupported in this build"),
            Self::TooLarge {
                codec,
                output_len_max,
            } => write!(
                f,
                "a {codec} payload unfolds to more than {output_len_max} bytes"
            ),
            Self::Corrupt { codec, cause } => write!(f, "a {codec} payload is corrupt: {cause}"),
            Self::Refused { codec, cause } => write!(f, "cannot compress with {codec}: {cause}"),
        }
    }
}

impl std::error::Error for CompressionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Corrupt { cause, .. } | Self::Refused { cause, .. } => Some(cause),
            Self::UnknownCodec { .. } | Self::Unsupported(_) | Self::TooLarge { .. } => None,
        }
    }
}

/// Decompresses `payload`, borrowing it if it is not compressed.
///
/// Memory stays near `output_len_max` bytes plus the window of the codec, however large the
/// payload claims to be.
///
/// # Errors
///
/// [`CompressionError`]; [`CompressionError::TooLarge`] also for an uncompressed payload.
pub fn decompress(
    codec: Compression,
    payload: &[u8],
    output_len_max: usize,
) -> Result<Cow<'_, [u8]>, CompressionError> {
    codec.ensure_supported()?;
    let unfolded = match codec {
        Compression::None => {
            let fits = payload.len() <= output_len_max;
            return fits
                .then_some(Cow::Borrowed(payload))
                .ok_or(CompressionError::TooLarge {
                    codec,
                    output_len_max,
                });
        }
        Compression::Gzip => gzip::decompress(payload, output_len_max),
        Compression::Snappy => snappy::decompress(payload, output_len_max),
        Compression::Lz4 => lz4::decompress(payload, output_len_max),
        Compression::Zstd => zstd::decompress(payload, output_len_max),
    };
    match unfolded {
        Ok(Some(bytes)) => Ok(Cow::Owned(bytes)),
        Ok(None) => Err(CompressionError::TooLarge {
            codec,
            output_len_max,
        }),
        Err(cause) => Err(CompressionError::Corrupt { codec, cause }),
    }
}

/// Compresses `payload`; `level` is the codec's own scale, `None` its default.
///
/// Levels: gzip 1 to 9, zstd 1 to 22 and negative ones; snappy and lz4 have one speed and ignore it.
///
/// # Errors
///
/// [`CompressionError::Unsupported`] or [`CompressionError::Refused`].
pub fn compress(
    codec: Compression,
    payload: &[u8],
    level: Option<i32>,
) -> Result<Vec<u8>, CompressionError> {
    codec.ensure_supported()?;
    let folded = match codec {
        Compression::None => Ok(payload.to_vec()),
        Compression::Gzip => gzip::compress(payload, level),
        Compression::Snappy => snappy::compress(payload, level),
        Compression::Lz4 => lz4::compress(payload, level),
        Compression::Zstd => zstd::compress(payload, level),
    };
    folded.map_err(|cause| CompressionError::Refused { codec, cause })
}

/// Reads all of `reader`, or `None` as soon as it gives more than `len_max` bytes.
#[cfg(any(feature = "gzip", feature = "lz4", feature = "zstd"))]
fn read_bounded(mut reader: impl io::Read, len_max: usize) -> io::Result<Option<Vec<u8>>> {
    const FIRST_LEN: usize = 16 * 1024;
    let mut out = Vec::new();
    let mut filled = 0_usize;
    loop {
        if filled > len_max {
            return Ok(None);
        }
        if filled == out.len() {
            // One byte more than accepted tells a payload that fits from one that does not.
            let len = out.len().saturating_mul(2).max(FIRST_LEN);
            let len = len.min(len_max.saturating_add(1));
            out.reserve_exact(len.saturating_sub(filled));
            out.resize(len, 0);
        }
        let read = reader.read(out.get_mut(filled..).unwrap_or_default())?;
        if read == 0 {
            out.truncate(filled);
            return Ok(Some(out));
        }
        filled = filled.saturating_add(read);
    }
}
