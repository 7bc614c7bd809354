//! One open connection, without types: frames out in the order of calls, answers back in the same
//! order, a deadline for each.
//!
//! Never negotiates, never reconnects. The first thing that goes wrong closes the channel, and
//! everyone who waits gets that cause: answers carry nothing but their order and a correlation
//! id, so behind a fault nothing can be trusted.

use std::{
    collections::VecDeque,
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use kmirror_protocol::{
    ApiKey,
    frame::{self, TooLong},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    error::{Broker, DisconnectCause, MalformedCause, Origin, RequestError, UnsendableCause},
    frames::{FrameReader, ReadError, write_pieces},
    limits::{IN_FLIGHT_MAX, LAST_WORDS_TIMEOUT},
    lock,
    pool::Pool,
    security::{is_of_sasl, is_of_tls, reason},
};

/// What a request allows its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Names the request in errors.
    pub(super) api: ApiKey,
    /// The longest answer, in bytes.
    pub(super) len_max: usize,
    /// Whether the caller has room for `len_max` bytes, so that memory may be taken at once.
    pub(super) trusted: bool,
    /// From now until the whole answer is here: queueing and writing included.
    pub(super) timeout: Duration,
}

/// The body of an answer (from its correlation id on), or why there is none.
pub(super) type Outcome = Result<Bytes, RequestError>;

/// An open connection; dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Channel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    broker: Arc<Broker>,
    state: Mutex<State>,
    /// Something to write.
    writable: Notify,
    /// The channel was closed from outside its task.
    ended: Notify,
    /// A deadline earlier than the one being waited for.
    rearmed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next_correlation_id: i32,
    /// Encoded requests that the writer has not taken yet.
    outgoing: VecDeque<Bytes>,
    /// Requests without an answer, oldest first.
    waiting: VecDeque<Waiting>,
    /// An answer to more than the handshake has come.
    is_accepted: bool,
    /// Requests that wait until this program has said again who it is.
    held: Option<Vec<(Vec<Bytes>, Waiting)>>,
    /// When the waiting deadlines are looked at next; at or before the earliest of them.
    watch_at: Option<Instant>,
    closed: Option<RequestError>,
}

impl State {
    fn in_flight(&self) -> usize {
        let held = self.held.as_ref().map_or(0, Vec::len);
        self.waiting.len().saturating_add(held)
    }

    fn send(&mut self, pieces: Vec<Bytes>, waiting: Waiting) {
        self.outgoing.extend(pieces);
        self.waiting.push_back(waiting);
    }
}

#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    expected: Expected,
    deadline: Instant,
    answer: oneshot::Sender<Outcome>,
}

impl Channel {
    /// Takes over a connected stream, in a task of its own.
    ///
    /// Must be called within a tokio runtime.
    pub(super) fn start<R, W>(reading: R, writing: W, broker: Arc<Broker>, pool: Pool) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared {
            broker,
            state: Mutex::default(),
            writable: Notify::new(),
            ended: Notify::new(),
            rearmed: Notify::new(),
        });
        let running = Arc::clone(&shared);
        tokio::spawn(async move {
            let frames = FrameReader::new(reading, pool);
            let error = running.run(frames, writing).await;
            running.close(error);
        });
        Self(shared)
    }

    /// Encodes a request and queues it: the order of calls is the order on the wire.
    ///
    /// `encode` gets the correlation id. An error means that the request was not sent.
    pub(super) fn enqueue(
        &self,
        expected: Expected,
        encode: impl FnOnce(i32) -> Result<Vec<Bytes>, TooLong>,
    ) -> Result<oneshot::Receiver<Outcome>, RequestError> {
        let deadline = Instant::now() + expected.timeout;
        let mut state = self.0.state();
        if let Some(error) = &state.closed {
            return Err(error.clone().for_api(expected.api));
        }
        let unsendable = |cause| RequestError::Unsendable {
            origin: self.0.origin(Some(expected.api)),
            cause,
        };
        if state.in_flight() >= IN_FLIGHT_MAX {
            return Err(unsendable(UnsendableCause::TooManyInFlight(IN_FLIGHT_MAX)));
        }
        let correlation_id = state.next_correlation_id;
        let pieces =
            encode(correlation_id).map_err(|TooLong| unsendable(UnsendableCause::TooLong))?;
        state.next_correlation_id = correlation_id.checked_add(1).unwrap_or_default();
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting {
            correlation_id,
            expected,
            deadline,
            answer,
        };
        match &mut state.held {
            Some(held) if !is_of_sasl(expected.api) => {
                held.push((pieces, waiting));
                return Ok(receiver);
            }
            _ => state.send(pieces, waiting),
        }
        let rearm = state.watch_at.is_none_or(|at| deadline < at);
        if rearm {
            state.watch_at = Some(deadline);
        }
        drop(state);
        self.0.writable.notify_one();
        if rearm {
            self.0.rearmed.notify_one();
        }
        Ok(receiver)
    }

    /// Holds back every request but those of SASL until [`Channel::release`]. Their time runs on, and
    /// is looked at again then: the requests of SASL have deadlines of their own.
    pub(super) fn hold(&self) {
        self.0.state().held.get_or_insert_default();
    }

    /// Sends what was held back, in the order of calls.
    pub(super) fn release(&self) {
        let mut state = self.0.state();
        for (pieces, waiting) in state.held.take().unwrap_or_default() {
            state.send(pieces, waiting);
        }
        // Earlier than any deadline among them.
        state.watch_at = Some(Instant::now());
        drop(state);
        self.0.writable.notify_one();
        self.0.rearmed.notify_one();
    }

    /// Ends the channel for this reason.
    pub(super) fn end(&self, error: RequestError) {
        self.0.close(error);
    }

    /// Ends the channel because nobody here goes on with it.
    pub(super) fn give_up(&self) {
        self.0.close(RequestError::Disconnected {
            origin: self.0.origin(None),
            cause: DisconnectCause::ClosedHere,
        });
    }

    /// Why the channel is closed; `None` while it is open.
    pub(super) fn closed(&self) -> Option<RequestError> {
        self.0.state().closed.clone()
    }

    /// How many requests wait for their answers.
    pub(super) fn in_flight(&self) -> usize {
        self.0.state().in_flight()
    }

    /// The broker at the other end.
    pub(super) fn broker(&self) -> &Arc<Broker> {
        &self.0.broker
    }

    /// What an error of a request through this channel says failed.
    pub(super) fn origin(&self, api: ApiKey) -> Origin {
        self.0.origin(Some(api))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn origin(&self, api: Option<ApiKey>) -> Origin {
        Origin::new(Arc::clone(&self.broker), api)
    }

    fn malformed(&self, cause: MalformedCause) -> RequestError {
        RequestError::Malformed {
            origin: self.origin(None),
            cause,
        }
    }

    fn disconnected(&self, cause: DisconnectCause) -> RequestError {
        RequestError::Disconnected {
            origin: self.origin(None),
            cause,
        }
    }

    fn read_error(&self, error: ReadError) -> RequestError {
        self.disconnected(match error {
            ReadError::End if self.is_turned_away() => DisconnectCause::ClosedAtOnce,
            ReadError::End => DisconnectCause::Closed,
            ReadError::EndInsideFrame => DisconnectCause::ClosedInsideAnswer,
            ReadError::Io(err) => lost(err),
        })
    }

    /// Whether the other side has answered nothing but the handshake, and owes something else.
    fn is_turned_away(&self) -> bool {
        let state = self.state();
        let oldest = state.waiting.front();
        !state.is_accepted && oldest.is_some_and(|it| it.expected.api != ApiKey::ApiVersions)
    }

    /// Reads, writes and watches the time until one of them ends.
    ///
    /// Each direction makes progress while the other is stuck. When writing fails, the answers
    /// that have arrived are still read: they may settle what would else stay open, and the other
    /// side may have said why it closed.
    async fn run<R, W>(&self, frames: FrameReader<R>, writing: W) -> RequestError
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut reading = pin!(self.read(frames));
        tokio::select! {
            error = &mut reading => error,
            error = self.write(writing) => {
                match tokio::time::timeout(LAST_WORDS_TIMEOUT, reading).await {
                    Ok(last_words @ RequestError::Malformed { .. }) => last_words,
                    _ => error,
                }
            }
            error = self.watch_deadlines() => error,
            () = self.ended.notified() => self.disconnected(DisconnectCause::ClosedHere),
        }
    }

    /// Hands answers to those who wait, until something is wrong.
    async fn read(&self, mut frames: FrameReader<impl AsyncRead + Unpin>) -> RequestError {
        loop {
            if let Err(error) = self.read_answer(&mut frames).await {
                return error;
            }
        }
    }

    async fn read_answer(
        &self,
        frames: &mut FrameReader<impl AsyncRead + Unpin>,
    ) -> Result<(), RequestError> {
        let prefix = frames.prefix().await.map_err(|err| self.read_error(err))?;
        let expected = self.state().waiting.front().map(|oldest| oldest.expected);
        let len_max = expected.map_or(0, |expected| expected.len_max);
        let len = frame::body_len(prefix, len_max).map_err(|err| match (expected, err) {
            (None, frame::BadPrefix::TooLarge { .. }) => self.malformed(MalformedCause::Unasked),
            (_, err) => self.malformed(MalformedCause::Prefix(err)),
        })?;
        let trusted = expected.is_some_and(|expected| expected.trusted);
        let body = frames
            .body(len, trusted)
            .await
            .map_err(|err| self.read_error(err))?;
        self.answer(body)
    }

    fn answer(&self, body: Bytes) -> Result<(), RequestError> {
        let found = frame::correlation_id(&body)
            .map_err(|err| self.malformed(MalformedCause::Field(err)))?;
        let mut state = self.state();
        let Some(oldest) = state.waiting.front() else {
            return Err(self.malformed(MalformedCause::Unasked));
        };
        let expected = oldest.correlation_id;
        if expected != found {
            return Err(self.malformed(MalformedCause::CorrelationId { expected, found }));
        }
        let oldest = state.waiting.pop_front();
        let api = oldest.as_ref().map(|oldest| oldest.expected.api);
        state.is_accepted |= api != Some(ApiKey::ApiVersions);
        drop(state);
        if let Some(oldest) = oldest {
            // Whoever has stopped waiting does not want the answer.
            let _ = oldest.answer.send(Ok(body));
        }
        Ok(())
    }

    /// Writes what is queued, all that has gathered at a time, until that fails.
    async fn write(&self, mut writing: impl AsyncWrite + Unpin) -> RequestError {
        let mut pieces = VecDeque::new();
        loop {
            std::mem::swap(&mut self.state().outgoing, &mut pieces);
            if pieces.is_empty() {
                self.writable.notified().await;
            } else if let Err(err) = write_pieces(&mut writing, &mut pieces).await {
                return self.disconnected(lost(err));
            }
        }
    }

    /// Waits until a request is overdue.
    async fn watch_deadlines(&self) -> RequestError {
        loop {
            let watch_at = self.state().watch_at;
            match watch_at {
                None => self.rearmed.notified().await,
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {
                        if let Some(error) = self.overdue(Instant::now()) {
                            return error;
                        }
                    }
                    () = self.rearmed.notified() => {}
                },
            }
        }
    }

    /// The error when a deadline has passed; else sets when to look again.
    fn overdue(&self, now: Instant) -> Option<RequestError> {
        let mut state = self.state();
        let earliest = state.waiting.iter().min_by_key(|waiting| waiting.deadline);
        let watch_at = earliest.map(|waiting| waiting.deadline);
        let expected = earliest.map(|waiting| waiting.expected);
        state.watch_at = watch_at;
        drop(state);
        (watch_at? <= now).then_some(())?;
        let expected = expected?;
        Some(RequestError::TimedOut {
            origin: self.origin(Some(expected.api)),
            after: expected.timeout,
        })
    }

    /// Ends the channel for everyone who waits and for all who come; the first cause stays.
    fn close(&self, error: RequestError) {
        let mut state = self.state();
        if state.closed.is_some() {
            return;
        }
        state.closed = Some(after_the_end(&error));
        state.outgoing.clear();
        let mut waiting = std::mem::take(&mut state.waiting);
        let held = state.held.take().unwrap_or_default();
        drop(state);
        waiting.extend(held.into_iter().map(|(_, waiting)| waiting));
        self.ended.notify_one();
        let now = Instant::now();
        for request in waiting {
            let overdue = matches!(error, RequestError::TimedOut { .. }) && request.deadline <= now;
            let error = if overdue {
                RequestError::TimedOut {
                    origin: self.origin(None),
                    after: request.expected.timeout,
                }
            } else {
                after_the_end(&error)
            };
            let _ = request
                .answer
                .send(Err(error.for_api(request.expected.api)));
        }
    }
}

/// Why an open connection was lost.
fn lost(error: io::Error) -> DisconnectCause {
    if is_of_tls(&error) {
        DisconnectCause::Tls(reason(&error).into())
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        // A broker that ends does not always end TLS first.
        DisconnectCause::Closed
    } else {
        DisconnectCause::Io(Arc::new(error))
    }
}

/// What the end of a channel is to requests other than the one that timed out.
fn after_the_end(error: &RequestError) -> RequestError {
    match error {
        RequestError::TimedOut { origin, after } => RequestError::Disconnected {
            cause: origin.api.map_or(DisconnectCause::ClosedHere, |api| {
                DisconnectCause::Stalled { api, after: *after }
            }),
            origin: Origin::new(Arc::clone(&origin.broker), None),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Fails every write, and says when the first has failed.
    struct Broken(Option<oneshot::Sender<()>>);

    impl AsyncWrite for Broken {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            if let Some(failed) = self.0.take() {
                failed.send(()).unwrap();
            }
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn after_a_failed_write_the_last_words_of_the_other_side_still_count() {
        let broker = Broker {
            cluster: "A".into(),
            node_id: Some(1),
            host: "b1".into(),
            port: 9092,
        };
        let (reading, mut other_side) = tokio::io::duplex(64);
        let (failed, has_failed) = oneshot::channel();
        let writing = Broken(Some(failed));
        let channel = Channel::start(reading, writing, broker.into(), Pool::default());
        let expected = Expected {
            api: ApiKey::Metadata,
            len_max: 1024,
            trusted: false,
            timeout: Duration::from_secs(30),
        };
        let [first, second] = [(); 2].map(|()| {
            let encode = |_| Ok(vec![Bytes::from_static(b"request")]);
            channel.enqueue(expected, encode).unwrap()
        });
        has_failed.await.unwrap();
        let answer = b"\0\0\0\x04\0\0\0\0";
        other_side.write_all(answer).await.unwrap();
        other_side.write_all(b"HTTP/1.1 400").await.unwrap();

        assert_eq!(first.await.unwrap().unwrap(), answer[4..]);
        let cause = MalformedCause::Prefix(frame::BadPrefix::Http);
        let error = second.await.unwrap().unwrap_err();
        assert!(error.to_string().ends_with(&cause.to_string()), "{error}");
    }
}
