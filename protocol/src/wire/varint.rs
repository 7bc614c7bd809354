//! Variable-length integers: unsigned (lengths, tags) and zig-zag (record fields).
//!
//! Seven bits a byte, low bits first, at most five bytes for 32 bits and ten for 64.

use super::{Malformed, Reader, Why};

/// Reads an unsigned varint of at most five bytes.
///
/// # Errors
///
/// [`Why::Truncated`], [`Why::VarintTooLong`] after five bytes, [`Why::OutOfRange`] above 32 bits.
#[inline]
pub fn read_u32(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    // Most lengths and counts are below 128.
    if let Some((&byte @ ..0x80, _)) = reader.rest().split_first() {
        reader.byte()?;
        return Ok(u32::from(byte));
    }
    let value = read(reader, 5)?;
    u32::try_from(value).map_err(|_| Malformed::new(Why::OutOfRange))
}

/// Reads a zig-zag varint of at most five bytes.
///
/// # Errors
///
/// As [`read_u32`].
pub fn read_i32(reader: &mut Reader<'_>) -> Result<i32, Malformed> {
    let value = read_u32(reader)?;
    Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
}

/// Reads a zig-zag varint of at most ten bytes.
///
/// # Errors
///
/// [`Why::Truncated`], [`Why::VarintTooLong`] after ten bytes.
pub fn read_i64(reader: &mut Reader<'_>) -> Result<i64, Malformed> {
    let value = read(reader, 10)?;
    Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
}

fn read(reader: &mut Reader<'_>, len_max: u32) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for index in 0..len_max {
        let byte = reader.byte()?;
        value |= u64::from(byte & 0x7f) << index.saturating_mul(7);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::new(Why::VarintTooLong))
}

/// Appends an unsigned varint.
pub fn write_u32(out: &mut Vec<u8>, value: u32) {
    write(out, u64::from(value));
}

/// Appends a zig-zag varint of 32 bits.
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write(
        out,
        u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()),
    );
}

/// Appends a zig-zag varint of 64 bits.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_values_survive_and_take_the_expected_length() {
        for (value, len) in [
            (0, 1),
            (-1, 1),
            (63, 1),
            (64, 2),
            (i64::MAX, 10),
            (i64::MIN, 10),
        ] {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            assert_eq!(out.len(), len, "{value}");
            assert_eq!(read_i64(&mut Reader::new(&out)), Ok(value));
        }
        for value in [0, -1, i32::MIN, i32::MAX] {
            let mut out = Vec::new();
            write_i32(&mut out, value);
            assert_eq!(read_i32(&mut Reader::new(&out)), Ok(value));
        }
    }

    #[test]
    fn overlong_and_cut_varints_are_refused() {
        assert_eq!(
            read_u32(&mut Reader::new(&[0xff; 6])).unwrap_err().why,
            Why::VarintTooLong
        );
        assert_eq!(
            read_u32(&mut Reader::new(&[0xff; 4])).unwrap_err().why,
            Why::Truncated
        );
        let above = [0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(
            read_u32(&mut Reader::new(&above)).unwrap_err().why,
            Why::OutOfRange
        );
    }
}
