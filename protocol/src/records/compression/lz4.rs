//! One LZ4 frame: independent blocks of 64 KiB without checksums, as `Lz4BlockOutputStream` writes.

use std::io::{self, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use crate::wire::{Malformed, Reader, Why};

/// What a frame begins with; the descriptor follows.
const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

/// See [`super::decompress`]; `None` stands for too large.
pub(super) fn decompress(payload: &[u8], len_max: usize) -> io::Result<Option<Vec<u8>>> {
    check_frame(&mut Reader::new(payload)).map_err(invalid)?;
    super::read_bounded(FrameDecoder::new(payload), len_max)
}

/// The same for messages of magic 0.
///
/// Their writers took the header's checksum over the frame's magic as well (KAFKA-3160), so it is
/// replaced before the decoder looks at it.
pub(super) fn decompress_v0(payload: &[u8], len_max: usize) -> io::Result<Option<Vec<u8>>> {
    let header_len = check_frame(&mut Reader::new(payload)).map_err(invalid)?;
    let reader = &mut Reader::new(payload);
    let magic = reader.take(MAGIC.len()).map_err(invalid)?;
    let descriptor_len = header_len.saturating_sub(MAGIC.len()).saturating_sub(1);
    let descriptor = reader.take(descriptor_len).map_err(invalid)?;
    reader.byte().map_err(invalid)?;
    let [_, checksum, _, _] = XxHash32::oneshot(0, descriptor).to_le_bytes();
    let mended = [magic, descriptor, &[checksum]].concat();
    super::read_bounded(FrameDecoder::new(mended.chain(reader.rest())), len_max)
}

/// Checks that the payload is one frame, from its magic to its end mark; answers the length of its
/// header.
///
/// The decoder neither insists on the end mark nor looks behind it. Layout: the LZ4 frame format.
fn check_frame(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    const BLOCK_CHECKSUM: u8 = 1 << 4;
    const CONTENT_SIZE: u8 = 1 << 3;
    const CONTENT_CHECKSUM: u8 = 1 << 2;
    const DICTIONARY_ID: u8 = 1;
    const NOT_COMPRESSED: u32 = 1 << 31;

    let len = reader.remaining();
    if reader.array()? != MAGIC {
        return Err(Malformed::new(Why::OutOfRange));
    }
    let flags = reader.byte()?;
    let len_if = |flag, len| if flags & flag != 0 { len } else { 0 };
    reader.array::<1>()?;
    reader.take(len_if(CONTENT_SIZE, 8))?;
    reader.take(len_if(DICTIONARY_ID, 4))?;
    reader.array::<1>()?;
    let header_len = len.saturating_sub(reader.remaining());
    loop {
        let len = u32::from_le_bytes(reader.array()?) & !NOT_COMPRESSED;
        if len == 0 {
            break;
        }
        let len = usize::try_from(len).map_err(|_| Malformed::new(Why::OutOfRange))?;
        reader.take(len)?;
        reader.take(len_if(BLOCK_CHECKSUM, 4))?;
    }
    reader.take(len_if(CONTENT_CHECKSUM, 4))?;
    reader.end()?;
    Ok(header_len)
}

fn invalid(fault: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
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
