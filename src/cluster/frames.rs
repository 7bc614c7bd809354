//! Frames off a stream and pieces onto it: the two loops that touch a socket.
//!
//! Per frame on the way in: a small one is copied out of the read-ahead buffer (one allocation);
//! a large one is read straight into a block of the pool, but for the first bytes that came with
//! its length (at most 16 KiB are copied; one small allocation for the shared handle). On the way
//! out nothing is copied: the pieces of all queued requests go to the socket by reference.

use std::{collections::VecDeque, io, io::IoSlice, pin::Pin};

use bytes::{Buf, Bytes};
use kmirror_protocol::frame::PREFIX_LEN;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{
    limits::{PIECES_PER_WRITE_MAX, READ_AHEAD_LEN, TRUSTED_LEN},
    pool::Pool,
};

/// Why no frame could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The stream ended between two frames.
    End,
    /// The stream ended inside a frame.
    EndInsideFrame,
    /// The stream failed.
    Io(io::Error),
}

/// Cuts a stream into frames: first [`FrameReader::prefix`], then [`FrameReader::body`].
#[derive(Debug)]
pub(super) struct FrameReader<S> {
    stream: S,
    pool: Pool,
    /// What has been read; everything before `start` has been handed out.
    ahead: Vec<u8>,
    start: usize,
}

impl<S: AsyncRead + Unpin> FrameReader<S> {
    /// Reads from `stream` into blocks of `pool`.
    pub(super) fn new(stream: S, pool: Pool) -> Self {
        Self {
            stream,
            pool,
            ahead: Vec::with_capacity(READ_AHEAD_LEN),
            start: 0,
        }
    }

    /// Reads the length that opens the next frame, unjudged.
    pub(super) async fn prefix(&mut self) -> Result<[u8; PREFIX_LEN], ReadError> {
        self.fill(PREFIX_LEN).await?;
        let prefix = self.unread().first_chunk().copied();
        self.start = self.start.saturating_add(PREFIX_LEN);
        Ok(prefix.expect("`fill` returned as many bytes"))
    }

    /// Reads the `len` bytes of a frame.
    ///
    /// `trusted` says that the caller expected that many bytes: then memory for all is taken at
    /// once, else at most [`TRUSTED_LEN`] ahead of the bytes that arrive.
    pub(super) async fn body(&mut self, len: usize, trusted: bool) -> Result<Bytes, ReadError> {
        let inside = |err| match err {
            ReadError::End => ReadError::EndInsideFrame,
            other => other,
        };
        if len <= READ_AHEAD_LEN {
            self.fill(len).await.map_err(inside)?;
            let body = Bytes::copy_from_slice(self.unread().get(..len).unwrap_or_default());
            self.start = self.start.saturating_add(len);
            return Ok(body);
        }
        let first = if trusted { len } else { len.min(TRUSTED_LEN) };
        let mut block = self.pool.take(first);
        block.extend(self.unread());
        self.ahead.clear();
        self.start = 0;
        while block.len() < len {
            match block.read_up_to(len, &mut self.stream).await {
                Ok(0) => return Err(ReadError::EndInsideFrame),
                Ok(_) => {}
                Err(err) => return Err(ReadError::Io(err)),
            }
        }
        Ok(block.freeze())
    }

    fn unread(&self) -> &[u8] {
        self.ahead.get(self.start..).unwrap_or_default()
    }

    /// Reads until at least `len` bytes are unread, at most the capacity of the buffer.
    async fn fill(&mut self, len: usize) -> Result<(), ReadError> {
        while self.unread().len() < len {
            if self.start == self.ahead.len() {
                self.ahead.clear();
                self.start = 0;
            } else if self.ahead.capacity().saturating_sub(self.start) < len {
                self.ahead.drain(..self.start);
                self.start = 0;
            }
            let room = self.ahead.capacity().saturating_sub(self.ahead.len());
            let mut tail = bytes::BufMut::limit(&mut self.ahead, room);
            match self.stream.read_buf(&mut tail).await {
                Ok(0) if self.unread().is_empty() => return Err(ReadError::End),
                Ok(0) => return Err(ReadError::EndInsideFrame),
                Ok(_) => {}
                Err(err) => return Err(ReadError::Io(err)),
            }
        }
        Ok(())
    }
}

/// Writes `pieces` in order, dropping each as soon as it is written.
pub(super) async fn write_pieces(
    stream: &mut (impl AsyncWrite + Unpin),
    pieces: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !pieces.is_empty() {
        let written = std::future::poll_fn(|cx| {
            let slices: Vec<IoSlice<'_>> = pieces
                .iter()
                .take(PIECES_PER_WRITE_MAX)
                .map(|piece| IoSlice::new(piece))
                .collect();
            Pin::new(&mut *stream).poll_write_vectored(cx, &slices)
        })
        .await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(pieces, written);
    }
    Ok(())
}

/// Removes the first `written` bytes.
fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(piece) = pieces.front_mut() {
        if written < piece.len() {
            piece.advance(written);
            return;
        }
        written = written.saturating_sub(piece.len());
        pieces.pop_front();
    }
}
