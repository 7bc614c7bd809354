//! Decoders of other makes: what a payload unfolds to, `None` when they refuse it or when it is
//! more than `len_max` bytes. None shares code with the decoders under test.

use std::io::Read;

use lz4::Decoder as Lz4Decoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// gzip members in a row, by `libflate`.
pub fn gzip(payload: &[u8], len_max: usize) -> Option<Vec<u8>> {
    read_bounded(libflate::gzip::MultiDecoder::new(payload).ok()?, len_max)
}

/// One LZ4 frame and nothing behind it, by the C library.
pub fn lz4(payload: &[u8], len_max: usize) -> Option<Vec<u8>> {
    let mut decoder = Lz4Decoder::new(payload).ok()?;
    let plain = read_bounded(&mut decoder, len_max)?;
    let (rest, outcome) = decoder.finish();
    outcome.ok()?;
    rest.is_empty().then_some(plain)
}

/// Zstandard frames in a row, by `ruzstd`, which leaves skipping and checksums to its caller.
pub fn zstd(mut payload: &[u8], len_max: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut decoder = FrameDecoder::new();
    while !payload.is_empty() {
        match decoder.init(&mut payload) {
            Ok(()) => zstd_frame(&mut decoder, &mut payload, len_max, &mut plain)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => payload = payload.get(usize::try_from(length).ok()?..)?,
            Err(_) => return None,
        }
    }
    Some(plain)
}

fn zstd_frame(
    decoder: &mut FrameDecoder,
    payload: &mut &[u8],
    len_max: usize,
    plain: &mut Vec<u8>,
) -> Option<()> {
    while !decoder.is_finished() {
        let one = BlockDecodingStrategy::UptoBlocks(1);
        decoder.decode_blocks(&mut *payload, one).ok()?;
        decoder.collect_to_writer(&mut *plain).ok()?;
        if plain.len() > len_max {
            return None;
        }
    }
    decoder.collect_to_writer(&mut *plain).ok()?;
    let stored = decoder.get_checksum_from_data();
    let is_right = stored.is_none() || stored == decoder.get_calculated_checksum();
    (is_right && plain.len() <= len_max).then_some(())
}

/// Snappy in xerial's framing, or raw, written from the two formats' descriptions.
pub fn snappy(payload: &[u8], len_max: usize) -> Option<Vec<u8>> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    let mut plain = Vec::new();
    if !payload.starts_with(MAGIC) {
        raw_snappy(payload, len_max, &mut plain)?;
        return Some(plain);
    }
    let mut rest = payload;
    while !rest.is_empty() {
        if rest.starts_with(MAGIC) {
            rest = rest.get(16..)?;
            continue;
        }
        let (len, blocks) = rest.split_first_chunk()?;
        let len = usize::try_from(i32::from_be_bytes(*len)).ok()?;
        let (block, behind) = blocks.split_at_checked(len)?;
        raw_snappy(block, len_max, &mut plain)?;
        rest = behind;
    }
    Some(plain)
}

/// Appends what one raw stream unfolds to: a length, then literals and copies.
fn raw_snappy(mut rest: &[u8], len_max: usize, plain: &mut Vec<u8>) -> Option<()> {
    let start = plain.len();
    let len = snappy_length(&mut rest)?;
    while let Some(tag) = take(&mut rest, 1) {
        let (kind, bits) = (tag & 3, tag >> 2);
        if kind == 0 {
            let len = match bits {
                60..=63 => take(&mut rest, bits - 59)?,
                short => short,
            };
            let (literal, behind) = rest.split_at_checked(len.checked_add(1)?)?;
            plain.extend_from_slice(literal);
            rest = behind;
        } else {
            let (len, offset) = match kind {
                1 => ((bits & 7) + 4, ((bits >> 3) << 8) | take(&mut rest, 1)?),
                2 => (bits + 1, take(&mut rest, 2)?),
                _ => (bits + 1, take(&mut rest, 4)?),
            };
            if offset == 0 || offset > plain.len() - start {
                return None;
            }
            for _ in 0..len {
                plain.push(plain[plain.len() - offset]);
            }
        }
        if plain.len() > len_max {
            return None;
        }
    }
    (plain.len() - start == len).then_some(())
}

/// A varint of at most 32 bits.
fn snappy_length(rest: &mut &[u8]) -> Option<usize> {
    let mut len = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = take(rest, 1)?;
        len |= (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(len).is_ok().then_some(len);
        }
    }
    None
}

/// A little-endian number of `len` bytes, at most 4.
fn take(rest: &mut &[u8], len: usize) -> Option<usize> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    let shifted = taken
        .iter()
        .rev()
        .fold(0, |number, &byte| (number << 8) | usize::from(byte));
    Some(shifted)
}

fn read_bounded(reader: impl Read, len_max: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let limit = u64::try_from(len_max).ok()?.checked_add(1)?;
    reader.take(limit).read_to_end(&mut plain).ok()?;
    (plain.len() <= len_max).then_some(plain)
}
