//! Compression of record payloads: which codecs there are, and bounded decompression.
//!
//! A payload that arrives is never trusted to be as small as it should be: output stops at a limit
//! that the caller sets, long before a decompression bomb fills the memory. Each codec is a Cargo
//! feature of its name; what is compiled out is refused, not misread. Codec ids and framing:
//! `CompressionType` and the stream classes in Kafka's `common.compress` package.
//!
//! What Kafka's readers accept is accepted, with few exceptions: bytes behind the end of a gzip member
//! or an LZ4 frame, or after the last block of snappy, which Kafka drops in silence, are refused, and
//! so is an LZ4 frame whose content checksum or content size is wrong, which Kafka does not check.

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
    owned(codec, unfolded, output_len_max)
}

/// Decompresses what a wrapper message of `magic` 0 or 1 holds.
///
/// As [`decompress`], but in magic 0 the checksum of an LZ4 frame's header is not believed.
pub(super) fn decompress_wrapped(
    codec: Compression,
    magic: i8,
    payload: &[u8],
    output_len_max: usize,
) -> Result<Cow<'_, [u8]>, CompressionError> {
    if (codec, magic) != (Compression::Lz4, 0) {
        return decompress(codec, payload, output_len_max);
    }
    codec.ensure_supported()?;
    let unfolded = lz4::decompress_v0(payload, output_len_max);
    owned(codec, unfolded, output_len_max)
}

/// What a decoder says, as the result for the caller.
fn owned<'a>(
    codec: Compression,
    unfolded: io::Result<Option<Vec<u8>>>,
    output_len_max: usize,
) -> Result<Cow<'a, [u8]>, CompressionError> {
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

#[cfg(test)]
#[cfg(all(
    feature = "gzip",
    feature = "lz4",
    feature = "snappy",
    feature = "zstd"
))]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"to be, or not to be, or to be and not to be";

    fn fold(codec: Compression, payload: &[u8]) -> Vec<u8> {
        compress(codec, payload, None).unwrap()
    }

    #[test]
    fn ids_and_names_are_kafkas() {
        let names = Compression::ALL.map(Compression::name);
        assert_eq!(names, ["none", "gzip", "snappy", "lz4", "zstd"]);
        for codec in Compression::ALL {
            assert!(codec.is_supported());
            assert_eq!(Compression::from_id(codec.id()).unwrap(), codec);
        }
        for id in 5..8 {
            let error = Compression::from_id(id).unwrap_err().to_string();
            assert_eq!(error, format!("compression codec {id} is unknown"));
        }
    }

    #[test]
    fn every_length_around_block_limits_survives() {
        for codec in Compression::ALL {
            for len in [0, 1, 43, 32_767, 32_768, 32_769, 65_536, 65_537, 300_000] {
                let payload: Vec<u8> = TEXT.iter().copied().cycle().take(len).collect();
                let folded = fold(codec, &payload);
                let unfolded = decompress(codec, &folded, len).unwrap();
                assert!(unfolded == payload, "{codec} {len}");
            }
        }
    }

    #[test]
    fn the_limit_is_exact() {
        for codec in Compression::ALL {
            let folded = fold(codec, TEXT);
            assert!(decompress(codec, &folded, TEXT.len()).is_ok(), "{codec}");
            let error = decompress(codec, &folded, TEXT.len() - 1).unwrap_err();
            let CompressionError::TooLarge { output_len_max, .. } = error else {
                panic!("{codec}: {error}");
            };
            assert_eq!(output_len_max, TEXT.len() - 1);
        }
    }

    #[test]
    fn bombs_are_refused_at_the_limit() {
        let zeros = vec![0; 64 << 20];
        for codec in Compression::ALL {
            let bomb = fold(codec, &zeros);
            let error = decompress(codec, &bomb, 1 << 20).unwrap_err();
            assert!(
                matches!(error, CompressionError::TooLarge { .. }),
                "{error}"
            );
        }
        let raw = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
        let error = decompress(Compression::Snappy, &raw, 1 << 20).unwrap_err();
        assert!(
            matches!(error, CompressionError::TooLarge { .. }),
            "{error}"
        );
    }

    #[test]
    fn the_buffer_never_outgrows_the_limit() {
        for (len, len_max) in [(100_000, 100_000), (100_000, 140_000), (0, 0), (1, 1)] {
            let reader = io::Read::take(io::repeat(0), len);
            let read = read_bounded(reader, len_max).unwrap().unwrap();
            assert_eq!(u64::try_from(read.len()).unwrap(), len);
            assert!(read.capacity() <= len_max + 1, "{}", read.capacity());
        }
        assert_eq!(read_bounded(io::repeat(0), 100_000).unwrap(), None);
    }

    #[test]
    fn what_is_cut_or_foreign_is_refused() {
        for codec in Compression::ALL.into_iter().skip(1) {
            let folded = fold(codec, TEXT);
            for len in 1..folded.len() {
                let cut = folded.get(..len).unwrap();
                // Framed snappy has no end mark: its bare header is a stream of nothing.
                if (codec, len) == (Compression::Snappy, 16) {
                    assert!(decompress(codec, cut, 1000).unwrap().is_empty());
                    continue;
                }
                assert!(decompress(codec, cut, 1000).is_err(), "{codec} {len}");
            }
            assert!(decompress(codec, b"not compressed at all", 1000).is_err());
        }
    }

    #[test]
    fn several_streams_in_a_row_are_one_payload() {
        for codec in Compression::ALL {
            let twice = [fold(codec, TEXT), fold(codec, TEXT)].concat();
            // Kafka reads one LZ4 frame and ignores what follows; here nothing is lost in silence.
            if codec == Compression::Lz4 {
                assert!(decompress(codec, &twice, 1000).is_err());
                continue;
            }
            let unfolded = decompress(codec, &twice, 1000).unwrap();
            assert_eq!(unfolded, [TEXT, TEXT].concat(), "{codec}");
        }
    }

    #[test]
    fn snappy_is_written_in_javas_framing_and_read_raw_too() {
        let framed = fold(Compression::Snappy, TEXT);
        let raw = snap::raw::Encoder::new().compress_vec(TEXT).unwrap();
        let len = u32::try_from(raw.len()).unwrap().to_be_bytes();
        let header = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".as_slice();
        assert_eq!(framed, [header, &len, &raw].concat());
        assert_eq!(decompress(Compression::Snappy, &raw, 1000).unwrap(), TEXT);
    }

    #[test]
    fn a_snappy_length_that_the_input_cannot_fill_allocates_nothing() {
        let forged = [0xff, 0xff, 0xff, 0x7f, 0];
        let error = decompress(Compression::Snappy, &forged, usize::MAX).unwrap_err();
        assert!(matches!(error, CompressionError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn levels_are_obeyed_or_refused() {
        let payload: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| n.wrapping_mul(n).to_be_bytes())
            .collect();
        for (codec, least, most, beyond) in [
            (Compression::Gzip, 1, 9, 10),
            (Compression::Zstd, 1, 19, 23),
        ] {
            let fast = compress(codec, &payload, Some(least)).unwrap();
            let small = compress(codec, &payload, Some(most)).unwrap();
            assert!(small.len() < fast.len(), "{codec}");
            assert!(decompress(codec, &small, payload.len()).unwrap() == payload);
            let error = compress(codec, &payload, Some(beyond)).unwrap_err();
            let is_refused = matches!(error, CompressionError::Refused { .. });
            assert!(is_refused, "{codec}: {error}");
        }
    }
}
