//! gzip, as `java.util.zip` writes it.

use std::io::{self, Write};

use flate2::{bufread::MultiGzDecoder, write::GzEncoder};

/// See [`super::decompress`]; `None` stands for too large.
pub(super) fn decompress(payload: &[u8], len_max: usize) -> io::Result<Option<Vec<u8>>> {
    super::read_bounded(MultiGzDecoder::new(payload), len_max)
}

/// See [`super::compress`].
pub(super) fn compress(payload: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    let level = match level {
        None => flate2::Compression::default(),
        Some(level) => u32::try_from(level)
            .ok()
            .filter(|level| (1..=9).contains(level))
            .map(flate2::Compression::new)
            .ok_or_else(|| io::Error::other(format!("level {level} is not within 1 to 9")))?,
    };
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(payload)?;
    encoder.finish()
}
