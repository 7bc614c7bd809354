//! Zstandard frames.
//!
//! A frame may ask for a window of up to 128 MiB, as the highest levels do; it is reserved, but
//! memory is used only as far as output fills it, and output is bounded.

use std::io::{self, Read};

use zstd::stream::read::{Decoder, Encoder};

/// See [`super::decompress`]; `None` stands for too large.
pub(super) fn decompress(payload: &[u8], len_max: usize) -> io::Result<Option<Vec<u8>>> {
    super::read_bounded(Decoder::with_buffer(payload)?, len_max)
}

/// See [`super::compress`].
pub(super) fn compress(payload: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    if !zstd::compression_level_range().contains(&level) {
        let message = format!("level {level} is not one of zstd's");
        return Err(io::Error::other(message));
    }
    let mut out = Vec::new();
    Encoder::with_buffer(payload, level)?.read_to_end(&mut out)?;
    Ok(out)
}
