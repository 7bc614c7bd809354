//! One connection with its negotiated versions: typed requests out, typed answers back.
//!
//! Never retries and never reconnects: a connection that has ended stays ended.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use kmirror_protocol::{Request, frame};
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    channel::{Channel, Expected, Outcome},
    error::{Broker, DisconnectCause, MalformedCause, RequestError},
    handshake::ApiRanges,
    limits::{ANSWER_LEN_MAX, answer_len_max},
};

/// A connection to one broker; a clone is the same connection. The socket is closed when the last
/// clone and the last [`Pending`] are gone.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Arc<Channel>,
    ranges: Arc<ApiRanges>,
    client_id: Arc<str>,
    request_timeout: Duration,
    /// What keeps the session alive, where it would end.
    _session: Option<Arc<JoinSet<()>>>,
}

/// How one request differs from what its connection does by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOptions {
    /// From the call until the whole answer is here; `None` is the connection's own. For a
    /// request that the broker holds back (Fetch, JoinGroup), add what it may hold.
    pub timeout: Option<Duration>,
    /// The longest answer in bytes that the caller has room for; longer ones end the connection.
    /// Memory for an answer of this size is taken at once. At most 256 MiB.
    pub answer_len_max: Option<usize>,
    /// The highest version that can say what the request says, such as 12 for a Fetch by name.
    pub version_max: Option<i16>,
}

impl Connection {
    pub(super) fn new(
        channel: Arc<Channel>,
        ranges: Arc<ApiRanges>,
        client_id: Arc<str>,
        request_timeout: Duration,
        session: Option<JoinSet<()>>,
    ) -> Self {
        Self {
            channel,
            ranges,
            client_id,
            request_timeout,
            _session: session.map(Arc::new),
        }
    }

    /// Sends a request; see [`Connection::send_with`].
    ///
    /// # Errors
    ///
    /// As [`Connection::send_with`].
    pub fn send<R: Request>(&self, request: &R) -> Result<Pending<R>, RequestError> {
        self.send_with(request, SendOptions::default())
    }

    /// Encodes a request in the highest common version and queues it for the socket.
    ///
    /// Payloads go out by reference. The order of calls is the order on the wire and of answers.
    /// Dropping the [`Pending`] does not take the request back.
    ///
    /// # Errors
    ///
    /// The request was not sent: `Unsupported`, `Unsendable`, or why the connection has ended.
    pub fn send_with<R: Request>(
        &self,
        request: &R,
        options: SendOptions,
    ) -> Result<Pending<R>, RequestError> {
        let version = self.version_up_to::<R>(options.version_max)?;
        let expected = Expected {
            api: R::KEY,
            len_max: options
                .answer_len_max
                .unwrap_or_else(|| answer_len_max(R::KEY))
                .min(ANSWER_LEN_MAX),
            trusted: options.answer_len_max.is_some(),
            timeout: options.timeout.unwrap_or(self.request_timeout),
        };
        Pending::enqueue(&self.channel, request, version, &self.client_id, expected)
    }

    /// The version that a request of type `R` would be sent in.
    ///
    /// # Errors
    ///
    /// `Unsupported` when there is no common version.
    pub fn version<R: Request>(&self) -> Result<i16, RequestError> {
        self.version_up_to::<R>(None)
    }

    fn version_up_to<R: Request>(&self, version_max: Option<i16>) -> Result<i16, RequestError> {
        let needed = *R::VERSIONS.start()
            ..=version_max.map_or(*R::VERSIONS.end(), |max| max.min(*R::VERSIONS.end()));
        self.ranges
            .pick(R::KEY, &needed)
            .ok_or_else(|| RequestError::Unsupported {
                origin: self.channel.origin(R::KEY),
                needed,
                offered: self.ranges.offered(R::KEY),
            })
    }

    /// What the broker offers.
    #[must_use]
    pub fn ranges(&self) -> &Arc<ApiRanges> {
        &self.ranges
    }

    /// The broker at the other end.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        self.channel.broker()
    }

    /// Whether requests can be sent, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.channel.closed().is_none()
    }

    /// Why the connection has ended; `None` while it is open.
    #[must_use]
    pub fn ended(&self) -> Option<RequestError> {
        self.channel.closed()
    }

    /// How many requests wait for their answers.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.channel.in_flight()
    }
}

/// An answer that is to come.
///
/// The lifetime in `R` is that of the request, which has been encoded: a
/// `Pending<FetchRequest<'_>>` is also a `Pending<FetchRequest<'static>>`.
#[derive(Debug)]
#[must_use = "the answer is lost unless this is awaited"]
pub struct Pending<R> {
    answer: oneshot::Receiver<Outcome>,
    channel: Arc<Channel>,
    version: i16,
    request: PhantomData<fn(R)>,
}

impl<R: Request> Pending<R> {
    pub(super) fn enqueue(
        channel: &Arc<Channel>,
        request: &R,
        version: i16,
        client_id: &str,
        expected: Expected,
    ) -> Result<Self, RequestError> {
        let answer = channel.enqueue(expected, |correlation_id| {
            frame::encode_request(request, version, correlation_id, client_id)
        })?;
        Ok(Self {
            answer,
            channel: Arc::clone(channel),
            version,
            request: PhantomData,
        })
    }

    /// The version that the request was sent in.
    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }
}

impl<R: Request> Future for Pending<R> {
    type Output = Result<Answer<R>, RequestError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = ready!(Pin::new(&mut this.answer).poll(cx));
        let origin = || this.channel.origin(R::KEY);
        Poll::Ready(match outcome {
            Ok(Ok(body)) => Ok(Answer {
                body,
                version: this.version,
                broker: Arc::clone(this.channel.broker()),
                request: PhantomData,
            }),
            Ok(Err(error)) => Err(error),
            // The task was dropped with its runtime.
            Err(_) => Err(RequestError::Disconnected {
                origin: origin(),
                cause: DisconnectCause::ClosedHere,
            }),
        })
    }
}

/// The answer to a request of type `R`, still as bytes.
#[derive(Clone, Debug)]
pub struct Answer<R> {
    body: Bytes,
    version: i16,
    broker: Arc<Broker>,
    request: PhantomData<fn(R)>,
}

impl<R: Request> Answer<R> {
    /// An answer of these bytes, from the response header on, to a request of that version.
    #[must_use]
    pub const fn new(body: Bytes, version: i16, broker: Arc<Broker>) -> Self {
        Self {
            body,
            version,
            broker,
            request: PhantomData,
        }
    }

    /// Decodes the answer, borrowing from its bytes.
    ///
    /// # Errors
    ///
    /// `Malformed` names the field. The connection stays: its framing has held.
    pub fn decode(&self) -> Result<R::Response<'_>, RequestError> {
        frame::decode_response::<R>(&self.body, self.version).map_err(|err| {
            RequestError::Malformed {
                origin: super::error::Origin::new(Arc::clone(&self.broker), Some(R::KEY)),
                cause: MalformedCause::Field(err),
            }
        })
    }

    /// The bytes from the response header on; `Bytes::slice_ref` turns a decoded borrow into a
    /// slice that may outlive the answer.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The version that the request was sent in.
    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// The broker that answered.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.broker
    }
}
