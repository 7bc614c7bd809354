//! Stands in for a codec that is compiled out; `Compression::is_supported` keeps callers away.

use std::io;

/// Fails.
pub(super) fn decompress(_: &[u8], _: usize) -> io::Result<Option<Vec<u8>>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails.
#[cfg(not(feature = "lz4"))]
pub(super) fn decompress_v0(_: &[u8], _: usize) -> io::Result<Option<Vec<u8>>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails.
pub(super) fn compress(_: &[u8], _: Option<i32>) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}
