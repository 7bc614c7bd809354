//! Decompression of what no compressor wrote, and compression of anything.

use super::OUTPUT_LEN_MAX;
use crate::records::{self, Compression, CompressionError};

/// A decoder of another make: what a payload unfolds to; `None` when it refuses the payload, or
/// does not tell within the given number of bytes.
pub type Reference = fn(&[u8], usize) -> Option<Vec<u8>>;

/// A payload unfolds to what `reference` makes of it, never to more than the limit, and what is
/// folded unfolds again, here and there.
///
/// The first byte says whether the rest is folded or to be folded, and at which level.
pub fn decompress(codec: Compression, bytes: &[u8], reference: Reference) {
    let Some((&mode, payload)) = bytes.split_first() else {
        return;
    };
    if mode & 1 == 0 {
        unfold(codec, payload, reference);
    } else {
        fold(codec, payload, i32::from(mode >> 1), reference);
    }
}

fn unfold(codec: Compression, payload: &[u8], reference: Reference) {
    let expected = reference(payload, OUTPUT_LEN_MAX);
    match records::decompress(codec, payload, OUTPUT_LEN_MAX) {
        Ok(plain) => {
            assert!(plain.len() <= OUTPUT_LEN_MAX, "{}", plain.len());
            assert!(
                expected.is_some_and(|expected| *expected == *plain),
                "{codec}"
            );
            unfold_within(codec, payload, plain.len());
        }
        Err(CompressionError::TooLarge { .. }) => assert!(expected.is_none()),
        Err(error) => assert!(expected.is_none() || is_lenient(codec), "{error}"),
    }
}

/// Whether the decoder of other make may accept what is damaged: `libflate` passes over a wrong
/// checksum when it is built for a fuzzer and over a cut member, the C library of LZ4 over a copy
/// from offset 0, `ruzstd` over a payload of nothing.
const fn is_lenient(codec: Compression) -> bool {
    !matches!(codec, Compression::Snappy)
}

/// The limit is exact: `len` bytes are enough, one less is not.
fn unfold_within(codec: Compression, payload: &[u8], len: usize) {
    assert!(records::decompress(codec, payload, len).is_ok());
    if let Some(less) = len.checked_sub(1) {
        let refused = records::decompress(codec, payload, less);
        assert!(matches!(refused, Err(CompressionError::TooLarge { .. })));
    }
}

fn fold(codec: Compression, plain: &[u8], level: i32, reference: Reference) {
    // Level 0 stands for the default; high levels of zstd take too long for a fuzzer.
    let level = (level > 0).then_some(level % 10);
    let Ok(payload) = records::compress(codec, plain, level) else {
        assert_eq!(level, Some(0), "{codec} refuses a level of its own");
        return;
    };
    let unfolded = records::decompress(codec, &payload, plain.len());
    assert!(unfolded.is_ok_and(|unfolded| *unfolded == *plain));
    let expected = reference(&payload, plain.len());
    assert!(expected.is_some_and(|expected| *expected == *plain));
}
