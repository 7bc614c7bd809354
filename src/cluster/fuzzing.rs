//! What must hold for any bytes off a socket; `fuzz/` has a target for it.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use kmirror_protocol::{
    frame::{self, PREFIX_LEN},
    header::RequestHeader,
    wire::Reader,
};
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    frames::{FrameReader, ReadError},
    pool::Pool,
};

/// The largest frame that is accepted, in bytes.
const FRAME_LEN_MAX: usize = 1 << 20;

/// What one frame may take in memory beside its bytes: a block, and handles to it.
const ALLOWANCE: u64 = 65 * 1024;

/// Frames come off a stream whole and in order however it is cut; memory follows the bytes that
/// arrive, whatever length a frame claims.
///
/// At most three times as much as came: a block that grows twofold is there twice while it is
/// copied. `heap_max` calls a function and tells how many bytes it held at a time. The first two
/// bytes say how the stream is cut.
pub fn frame(bytes: &[u8], heap_max: fn(&mut dyn FnMut()) -> u64) {
    let Some((&[step, pause], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let cut = Cut {
        rest: stream,
        step: usize::from(step).saturating_mul(usize::from(step)).max(1),
        pause,
        turn: 0,
    };
    // A read-ahead buffer belongs to the connection, not to a frame.
    let mut frames = FrameReader::new(cut, Pool::new(0));
    let heap = heap_max(&mut || read_all(&mut frames, stream));
    let len = u64::try_from(stream.len()).unwrap_or(u64::MAX);
    let bound = len.saturating_mul(3).saturating_add(ALLOWANCE);
    assert!(heap <= bound, "{heap} bytes for a stream of {len}");
}

/// Reads `frames` to the end, comparing with what `rest` plainly says.
fn read_all(frames: &mut FrameReader<Cut<'_>>, mut rest: &[u8]) {
    loop {
        let prefix = finish(frames.prefix());
        let Some((expected, behind)) = rest.split_first_chunk::<PREFIX_LEN>() else {
            let is_end = matches!(prefix, Err(ReadError::End));
            let is_cut = matches!(prefix, Err(ReadError::EndInsideFrame));
            assert!(if rest.is_empty() { is_end } else { is_cut }, "{prefix:?}");
            return;
        };
        assert!(prefix.is_ok_and(|prefix| prefix == *expected));
        let Ok(len) = frame::body_len(*expected, FRAME_LEN_MAX) else {
            return;
        };
        assert!(len <= FRAME_LEN_MAX);
        let body = finish(frames.body(len, false));
        let Some((expected, behind)) = behind.split_at_checked(len) else {
            assert!(matches!(body, Err(ReadError::EndInsideFrame)), "{body:?}");
            return;
        };
        assert!(body.is_ok_and(|body| body == expected));
        open(expected);
        rest = behind;
    }
}

/// Reads the headers that open a frame.
fn open(body: &[u8]) {
    let mut reader = Reader::new(body);
    let request = RequestHeader::read(&mut reader);
    assert!(request.is_err() || reader.remaining() <= body.len().saturating_sub(10));
    let _ = reader.skip_tagged_fields();
    assert_eq!(frame::correlation_id(body).is_ok(), body.len() >= 4);
}

/// Runs a future whose stream always has something, if not at the first time of asking.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// A stream that comes in pieces, and not at once.
struct Cut<'a> {
    rest: &'a [u8],
    /// The most bytes of a piece.
    step: usize,
    /// Before which of eight pieces the reader must ask twice, one bit for each.
    pause: u8,
    turn: u32,
}

impl AsyncRead for Cut<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        if turn.is_multiple_of(2) && self.pause.rotate_right(turn / 2) & 1 == 1 {
            return Poll::Pending;
        }
        let len = self.step.min(buffer.remaining()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(len);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}
