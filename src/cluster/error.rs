//! Why a request has no answer, grouped by what the caller does next.
//!
//! Error codes inside an answer are not here: they are data of the answer. Nothing here is
//! retried by this room.

use std::{io, ops::RangeInclusive, sync::Arc, time::Duration};

use kmirror_protocol::{ApiKey, ErrorCode, Malformed, frame::BadPrefix};

/// A broker, as errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The alias of the cluster in the configuration.
    pub cluster: Arc<str>,
    /// The broker's id; `None` for a bootstrap server, whose id is not known.
    pub node_id: Option<i32>,
    /// Where the broker was looked for; empty when nobody knows where it is.
    pub host: String,
    /// See `host`.
    pub port: u16,
}

impl Broker {
    /// Host and port as Kafka's settings write them.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.node_id, self.host.is_empty()) {
            (Some(id), true) => write!(f, "broker {id}")?,
            (Some(id), false) => write!(f, "broker {id} ({})", self.address())?,
            (None, true) => f.write_str("any broker")?,
            (None, false) => write!(f, "bootstrap server {}", self.address())?,
        }
        write!(f, " of cluster {}", self.cluster)
    }
}

/// What failed: a request, or connecting when there was none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The broker it was meant for; shared, as every waiter of a connection gets it.
    pub broker: Arc<Broker>,
    /// The API of the request.
    pub api: Option<ApiKey>,
}

impl Origin {
    pub(super) const fn new(broker: Arc<Broker>, api: Option<ApiKey>) -> Self {
        Self { broker, api }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.api {
            Some(api) => write!(f, "{api} to {}", self.broker),
            None => write!(f, "connection to {}", self.broker),
        }
    }
}

/// Why a request has no answer.
///
/// An error of `send` or of `Cluster::broker` means that the request never left. An error of
/// `Pending` leaves open whether the broker has acted on it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no connection, or it ended: connect again, after a pause.
    #[error("{origin}: {cause}")]
    Disconnected {
        /// What failed.
        origin: Origin,
        /// Why.
        #[source]
        cause: DisconnectCause,
    },
    /// Nothing came in time; the connection is closed, because answers come in order.
    #[error("{origin}: no answer within {after:?}")]
    TimedOut {
        /// What failed.
        origin: Origin,
        /// The time that was allowed.
        after: Duration,
    },
    /// The broker has no version of the API that this program can use: do without.
    #[error("{origin}: {}", describe_versions(.needed, .offered.as_ref()))]
    Unsupported {
        /// What failed.
        origin: Origin,
        /// The versions that this program and the request can use.
        needed: RangeInclusive<i16>,
        /// The versions that the broker offers; `None` when it does not offer the API.
        offered: Option<RangeInclusive<i16>>,
    },
    /// The other side does not speak the protocol as it must; the connection is closed if what
    /// follows cannot be trusted. Trying again helps only when something was damaged on the way.
    #[error("{origin}: {cause}")]
    Malformed {
        /// What failed.
        origin: Origin,
        /// What is wrong.
        #[source]
        cause: MalformedCause,
    },
    /// The broker refuses this client: slow down, tell the operator.
    #[error("{origin}: denied: {reason}")]
    Denied {
        /// What failed.
        origin: Origin,
        /// The broker's words.
        reason: Arc<str>,
    },
    /// The broker belongs to another cluster than before: stop and tell the operator.
    #[error(
        "{origin}: it is in the cluster with id {found}, but the id of this cluster was {expected}; look at the bootstrap servers and advertised.listeners"
    )]
    WrongCluster {
        /// What failed.
        origin: Origin,
        /// The cluster id so far.
        expected: Arc<str>,
        /// The cluster id of the answer.
        found: Arc<str>,
    },
    /// The request cannot be sent as it is; it never left.
    #[error("{origin}: not sent: {cause}")]
    Unsendable {
        /// What failed.
        origin: Origin,
        /// What is wrong with it.
        #[source]
        cause: UnsendableCause,
    },
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DisconnectCause {
    /// The other side closed the connection between two answers.
    #[error("the other side closed the connection")]
    Closed,
    /// The other side closed the connection on the first request after the handshake.
    #[error(
        "the other side closed the connection at the first request, as a listener does that wants SASL; see security.protocol"
    )]
    ClosedAtOnce,
    /// The other side closed the connection inside an answer.
    #[error("the other side closed the connection inside an answer")]
    ClosedInsideAnswer,
    /// An earlier request on the same connection was not answered in time.
    #[error("the connection was closed because {api} before it was not answered within {after:?}")]
    Stalled {
        /// The API of that request.
        api: ApiKey,
        /// The time that was allowed.
        after: Duration,
    },
    /// This side closed the connection.
    #[error("the connection was closed by this side")]
    ClosedHere,
    /// The operating system reports an error of an open connection.
    #[error("the connection was lost: {0}")]
    Io(Arc<io::Error>),
    /// No address of the broker accepts a connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address that was tried, or the name that could not be resolved.
        address: Arc<str>,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
    /// TLS could not be spoken, or no longer; in words.
    #[error("no TLS: {0}")]
    Tls(Arc<str>),
    /// The advertised address of a broker has never accepted a connection: the broker may be down, or
    /// the address wrong; nothing tells which.
    #[error(
        "{address}, where the broker is said to listen, has not been reachable from here so far ({reason}): the broker is down, or its advertised.listeners names an address that leads nowhere from here"
    )]
    AdvertisedAddress {
        /// Host and port as advertised.
        address: Arc<str>,
        /// The last failure in words.
        reason: Arc<str>,
    },
    /// The metadata knows no broker of this id.
    #[error("the cluster has no such broker at present")]
    UnknownBroker,
    /// The broker answered the handshake, or a refresh of metadata, with an error code.
    #[error("the broker answered {0}")]
    Refused(ErrorCode),
    /// There is no bootstrap server to ask.
    #[error("no bootstrap server is given")]
    NoBootstrapServer,
}

/// What is wrong with what came.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MalformedCause {
    /// The length of an answer is impossible.
    #[error("{0}")]
    Prefix(#[source] BadPrefix),
    /// The fields of an answer do not fit its bytes.
    #[error("the answer cannot be read: {0}")]
    Field(#[source] Malformed),
    /// The answer belongs to another request than the oldest.
    #[error("an answer for correlation id {found} came where {expected} was due")]
    CorrelationId {
        /// The id of the oldest request.
        expected: i32,
        /// The id of the answer.
        found: i32,
    },
    /// Bytes came although nothing was asked.
    #[error("bytes came that answer no request")]
    Unasked,
    /// The broker offers versions that make no range.
    #[error("the broker offers versions {min} to {max} of {api}, which is no range")]
    VersionRange {
        /// The API.
        api: ApiKey,
        /// The lowest version.
        min: i16,
        /// The highest version.
        max: i16,
    },
    /// Metadata names no broker that could be asked.
    #[error("the metadata names no broker")]
    NoBrokers,
    /// Metadata is larger than this program takes.
    #[error("the metadata has {found} {what}, above the limit of {limit}")]
    TooMany {
        /// Brokers or partitions.
        what: &'static str,
        /// How many came.
        found: usize,
        /// How many are accepted.
        limit: usize,
    },
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsendableCause {
    /// A field or the frame is longer than the protocol can express.
    #[error("a field is longer than the protocol can express")]
    TooLong,
    /// Too many requests of this connection wait for their answers.
    #[error("{0} requests already wait for answers on this connection")]
    TooManyInFlight(usize),
}

impl RequestError {
    /// What failed.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        match self {
            Self::Disconnected { origin, .. }
            | Self::TimedOut { origin, .. }
            | Self::Unsupported { origin, .. }
            | Self::Malformed { origin, .. }
            | Self::Denied { origin, .. }
            | Self::WrongCluster { origin, .. }
            | Self::Unsendable { origin, .. } => origin,
        }
    }

    /// The same cause for another request of the same connection.
    pub(super) fn for_api(mut self, api: ApiKey) -> Self {
        match &mut self {
            Self::Disconnected { origin, .. }
            | Self::TimedOut { origin, .. }
            | Self::Unsupported { origin, .. }
            | Self::Malformed { origin, .. }
            | Self::Denied { origin, .. }
            | Self::WrongCluster { origin, .. }
            | Self::Unsendable { origin, .. } => origin.api = Some(api),
        }
        self
    }
}

fn describe_versions(
    needed: &RangeInclusive<i16>,
    offered: Option<&RangeInclusive<i16>>,
) -> String {
    let (min, max) = (needed.start(), needed.end());
    offered.map_or_else(
        || format!("version {min} to {max} is needed, the broker does not offer the API"),
        |offered| {
            format!(
                "version {min} to {max} is needed, the broker offers {} to {}",
                offered.start(),
                offered.end()
            )
        },
    )
}
