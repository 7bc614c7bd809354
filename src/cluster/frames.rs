//! Frames off a stream and pieces onto it: the two loops that touch a socket.
//!
//! Per frame on the way in: a small one is copied out of the read-ahead buffer (one allocation);
//! a large one is read straight into a block of the pool, but for the first bytes that came with
//! its length (at most 16 KiB are copied; one small allocation for the shared handle). On the way
//! out nothing is copied: the pieces of all queued requests go to the socket by reference.

use std::{collections::VecDeque, io, io::IoSlice, pin::Pin};

use bytes::{Buf, Bytes};
use kmirror_protocol::frame::PREFIX_LEN;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

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
            } else if READ_AHEAD_LEN.saturating_sub(self.start) < len {
                self.ahead.drain(..self.start);
                self.start = 0;
            }
            let room = READ_AHEAD_LEN.saturating_sub(self.ahead.len());
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

/// Writes `pieces` in order, dropping each as soon as it is written, until none is left anywhere.
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
    // TLS takes more than the socket does.
    stream.flush().await
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// A stream that hands out at most `step` bytes at a time.
    struct Trickle {
        rest: Bytes,
        step: usize,
    }

    impl AsyncRead for Trickle {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let len = self.step.min(self.rest.len()).min(buffer.remaining());
            buffer.put_slice(&self.rest.split_to(len));
            Poll::Ready(Ok(()))
        }
    }

    fn frame(len: usize) -> Vec<u8> {
        let prefix = u32::try_from(len).unwrap().to_be_bytes();
        let body = (0..len).map(|at| u8::try_from(at % 251).unwrap());
        prefix.into_iter().chain(body).collect()
    }

    #[tokio::test]
    async fn frames_survive_however_the_stream_is_cut() {
        let lens = [
            0, 1, 12, 16_380, 16_381, 16_384, 16_385, 40, 65_536, 9, 1_200_000, 1, 16_000, 700,
        ];
        let stream: Bytes = lens.iter().copied().flat_map(frame).collect();
        for step in [1, 4, 5, 1000, 16_383, 16_384, 16_388, 100_000, usize::MAX] {
            for trusted in [true, false] {
                let rest = stream.clone();
                let mut frames = FrameReader::new(Trickle { rest, step }, Pool::default());
                for len in lens {
                    let prefix = frames.prefix().await.unwrap();
                    assert_eq!(prefix, u32::try_from(len).unwrap().to_be_bytes());
                    let body = frames.body(len, trusted).await.unwrap();
                    assert!(*body == frame(len)[4..], "{len} in steps of {step}");
                }
                assert!(matches!(frames.prefix().await, Err(ReadError::End)));
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_says_whether_a_frame_was_cut() {
        let whole = frame(20_000);
        for (kept, is_between) in [
            (0, true),
            (1, false),
            (4, false),
            (900, false),
            (20_003, false),
        ] {
            let mut frames = FrameReader::new(&whole[..kept], Pool::default());
            let error = match frames.prefix().await {
                Ok(_) => frames.body(20_000, true).await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(
                matches!(error, ReadError::End),
                is_between,
                "{kept}: {error:?}"
            );
            assert_eq!(
                matches!(error, ReadError::EndInsideFrame),
                !is_between,
                "{kept}"
            );
        }
    }

    #[test]
    fn what_was_written_in_part_goes_on_where_it_stopped() {
        let pieces = ["abc", "d", "efgh"];
        for written in 0..=8 {
            let mut rest: VecDeque<_> = pieces.iter().map(|piece| Bytes::from(*piece)).collect();
            advance(&mut rest, written);
            let rest: Vec<u8> = rest.into_iter().flatten().collect();
            assert_eq!(rest, b"abcdefgh"[written..], "{written}");
        }
    }
}
