//! CRC-32C over record batches, and its adjustment when only the header changes.
//!
//! The checksum of a batch covers everything from `attributes` to the end. It is affine over GF(2):
//! where two batches differ only in their headers, their checksums differ by the raw CRC of the
//! header difference, multiplied by `x^(8m)` modulo the polynomial, for a payload of `m` bytes.
//! So a header can be rewritten without reading the payload, and a payload that was damaged
//! before the rewrite still fails its checksum after it. Recomputing would hide the damage.
//!
//! Polynomials are kept bit-reflected, as CRC-32C is: bit 31 is the coefficient of `x^0`.

/// How many bytes of a batch header the checksum covers.
pub(super) const CHECKED_HEADER_LEN: usize = 40;

/// CRC-32C of the checked part of a header followed by its payload.
pub(super) fn checksum(header: &[u8; CHECKED_HEADER_LEN], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

/// How the checksum changes when the checked header changes from `old` to `new` before a payload
/// of `payload_len` bytes: to be combined with the old checksum by exclusive or.
pub(super) fn change(
    old: &[u8; CHECKED_HEADER_LEN],
    new: &[u8; CHECKED_HEADER_LEN],
    payload_len: u32,
) -> u32 {
    let mut difference = Aligned(*old);
    for (byte, new) in difference.0.iter_mut().zip(new) {
        *byte ^= new;
    }
    shift(raw(&difference.0), payload_len)
}

/// Bytes that the `crc32c` crate takes eight at a time from the first one on.
#[repr(align(8))]
struct Aligned([u8; CHECKED_HEADER_LEN]);

/// The linear part of CRC-32C: no initial value, no final complement.
fn raw(bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(u32::MAX, bytes)
}

/// The CRC register `remainder` after `zeros` more zero bytes: times `x^(8 * zeros)`.
fn shift(remainder: u32, zeros: u32) -> u32 {
    let mut shifted = remainder;
    for (powers, digit) in POWERS.iter().zip(zeros.to_le_bytes()) {
        if digit != 0
            && let Some(&power) = powers.get(usize::from(digit))
        {
            shifted = multiply(shifted, power);
        }
    }
    shifted
}

/// The product of two polynomials modulo CRC-32C's.
fn multiply(a: u32, b: u32) -> u32 {
    // 63 bits, of which bit 62 is x^0; after the shift bit 63 is x^0 and bit 0 is x^63.
    let product = carryless_multiply(a, b) << 1;
    let [low @ .., h0, h1, h2, h3] = product.to_le_bytes();
    let mut reduced = u32::from_le_bytes([h0, h1, h2, h3]);
    for (remainders, byte) in REMAINDERS.iter().zip(low) {
        reduced ^= remainders
            .get(usize::from(byte))
            .copied()
            .unwrap_or_default();
    }
    reduced
}

/// Multiplies without carries, by integer multiplications.
///
/// Each operand is split into four, every fourth bit in each. A column of a product of two such
/// parts then adds up at most eight ones, and the three empty bits beside it take the carries.
fn carryless_multiply(a: u32, b: u32) -> u64 {
    const EVERY_FOURTH: u64 = 0x1111_1111_1111_1111;
    let split = |value: u32| [0, 1, 2, 3].map(|at| u64::from(value) & (EVERY_FOURTH << at));
    let [a0, a1, a2, a3] = split(a);
    let [b0, b1, b2, b3] = split(b);
    let c0 = (a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1);
    let c1 = (a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2);
    let c2 = (a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3);
    let c3 = (a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0);
    (c0 & EVERY_FOURTH)
        | (c1 & (EVERY_FOURTH << 1))
        | (c2 & (EVERY_FOURTH << 2))
        | (c3 & (EVERY_FOURTH << 3))
}

/// CRC-32C's polynomial without its leading term, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `POWERS[j][b]` is `x^(8 * b * 256^j)`: what digit `j` of a length shifts by.
static POWERS: [[u32; 256]; 4] = powers();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at build time, where a wrong index is a build error"
)]
const fn powers() -> [[u32; 256]; 4] {
    let mut table = [[ONE; 256]; 4];
    let mut step = ONE >> 8;
    let mut digit = 0;
    while digit < 4 {
        let mut value = 1;
        while value < 256 {
            table[digit][value] = multiply_slowly(table[digit][value - 1], step);
            value += 1;
        }
        step = multiply_slowly(table[digit][255], step);
        digit += 1;
    }
    table
}

/// `REMAINDERS[k][b]` is what byte `k` of a 64-bit product, of value `b`, leaves modulo the
/// polynomial: bit 0 of byte 0 is `x^63`, bit 7 of byte 3 is `x^32`.
static REMAINDERS: [[u32; 256]; 4] = remainders();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at build time, where a wrong index is a build error"
)]
const fn remainders() -> [[u32; 256]; 4] {
    let mut table = [[0; 256]; 4];
    let mut byte = 0;
    let mut shift = 0;
    while byte < 4 {
        let mut index = 0;
        let mut value = 0_u32;
        while index < 256 {
            // x^32 modulo the polynomial is the polynomial without its leading term.
            table[byte][index] = multiply_slowly(value << shift, POLYNOMIAL);
            index += 1;
            value += 1;
        }
        byte += 1;
        shift += 8;
    }
    table
}

/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// The product of two polynomials modulo CRC-32C's, one bit at a time.
const fn multiply_slowly(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut term = a;
    let mut bit = ONE;
    while bit != 0 {
        if b & bit != 0 {
            product ^= term;
        }
        let overflow = term & 1;
        term >>= 1;
        if overflow != 0 {
            term ^= POLYNOMIAL;
        }
        bit >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_fast_product_equals_the_slow_one(a: u32, b: u32) {
            prop_assert_eq!(multiply(a, b), multiply_slowly(a, b));
        }

        #[test]
        fn a_shift_equals_feeding_zero_bytes(remainder: u32, zeros in 0_u16..5_000) {
            let fed = !crc32c::crc32c_append(!remainder, &vec![0; usize::from(zeros)]);
            prop_assert_eq!(shift(remainder, u32::from(zeros)), fed);
        }

        #[test]
        fn shifts_add_up_at_every_length(remainder: u32, a in 0..1_u32 << 31, b in 0..1_u32 << 31) {
            prop_assert_eq!(shift(shift(remainder, a), b), shift(remainder, a + b));
        }
    }
}
