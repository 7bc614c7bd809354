//! LZ4 frames: independent blocks of 64 KiB without checksums, as `Lz4BlockOutputStream` writes them.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// See [`super::decompress`]; `None` stands for too large.
pub(super) fn decompress(payload: &[u8], len_max: usize) -> io::Result<Option<Vec<u8>>> {
    super::read_bounded(FrameDecoder::new(payload), len_max)
}

/// See [`super::compress`]; there is one level.
pub(super) fn compress(payload: &[u8], _: Option<i32>) -> io::Result<Vec<u8>> {
    let frame = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(payload)?;
    Ok(encoder.finish()?)
}
