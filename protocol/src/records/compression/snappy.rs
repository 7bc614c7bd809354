//! Snappy, in the framing of xerial's Java library, which Java clients write, or raw, which some
//! others do.
//!
//! ```text
//! 82 53 4e 41 50 50 59 00   magic: 0x82 "SNAPPY" 0
//! version: i32 = 1          compatible version: i32 = 1
//! then blocks               length: i32, raw snappy of at most 32 KiB
//! ```
//!
//! A raw stream cannot begin with the magic: read as snappy, it would be a length and then a copy
//! from before the beginning.

use std::io;

use snap::raw::{Decoder, Encoder, decompress_len};

use crate::wire::Reader;

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";

/// Magic, then the version of the writer and the oldest version that can read it.
const STREAM_HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// What one block unfolds to (`SnappyOutputStream.DEFAULT_BLOCK_SIZE`).
const BLOCK_LEN: usize = 32 * 1024;

/// Above what any snappy element makes of its bytes (three bytes copy at most 64), so that a
/// length is not believed which the input cannot fill.
const EXPANSION_MAX: usize = 32;

/// See [`super::decompress`]; `None` stands for too large.
pub(super) fn decompress(payload: &[u8], len_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    if !payload.starts_with(MAGIC) {
        let fits = append_block(&mut out, payload, len_max)?;
        return Ok(fits.then_some(out));
    }
    let mut reader = Reader::new(payload);
    while reader.remaining() > 0 {
        // Java's reader accepts several streams in a row.
        if reader.rest().starts_with(MAGIC) {
            reader.take(STREAM_HEADER.len()).map_err(invalid)?;
            continue;
        }
        let len = i32::from_be_bytes(reader.array().map_err(invalid)?);
        let len = usize::try_from(len).map_err(invalid)?;
        let block = reader.take(len).map_err(invalid)?;
        if !append_block(&mut out, block, len_max)? {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

/// Appends what raw snappy unfolds to; false, and nothing appended, if that is too large.
fn append_block(out: &mut Vec<u8>, block: &[u8], len_max: usize) -> io::Result<bool> {
    let start = out.len();
    let len = decompress_len(block)?;
    let end = start.saturating_add(len);
    if end > len_max {
        return Ok(false);
    }
    if len > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(invalid("the length is more than the input can fill"));
    }
    out.resize(end, 0);
    let written = Decoder::new().decompress(block, out.get_mut(start..).unwrap_or_default())?;
    out.truncate(start.saturating_add(written));
    Ok(true)
}

/// See [`super::compress`]; there is one level.
pub(super) fn compress(payload: &[u8], _: Option<i32>) -> io::Result<Vec<u8>> {
    let mut out = STREAM_HEADER.to_vec();
    let mut encoder = Encoder::new();
    for chunk in payload.chunks(BLOCK_LEN) {
        let block = encoder.compress_vec(chunk)?;
        let len = i32::try_from(block.len()).map_err(invalid)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(out)
}

fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}
