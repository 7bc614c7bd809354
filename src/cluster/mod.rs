//! One Kafka cluster: connections, metadata, and the broker that must answer a request.
//!
//! ```text
//! Cluster ──▶ refresh   who shares which metadata request
//!    │   └──▶ metadata  brokers, topics, leaders (pure)
//!    ▼
//!  peers ──▶ backoff    who is left alone, and how long (pure)
//!    │
//!    ▼
//!   dial ──▶ handshake  resolve, connect, agree on versions
//!    │ └───▶ security   TLS, and who this program is
//!    ▼
//! connection ──▶ channel ──▶ frames ──▶ pool
//!  typed requests  order,     bytes      memory
//!                  deadlines
//! ```
//!
//! Never imports `flow`, `policy` or `config`, and never retries: an error says what happened,
//! the caller decides. Every bound is in `limits`.

mod backoff;
mod channel;
mod connection;
mod dial;
mod error;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod limits;
mod metadata;
mod peers;
mod pool;
mod refresh;
pub mod security;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kmirror_protocol::{ApiKey, ErrorCode, Request, messages::MetadataRequest};
use tokio::time::Instant;

pub use connection::{Answer, Connection, Pending, SendOptions};
pub use error::{Broker, DisconnectCause, MalformedCause, Origin, RequestError, UnsendableCause};
pub use handshake::ApiRanges;
pub use metadata::{BrokerAddress, Leader, MergeError, Metadata, Partition, Scope, Topic};
pub use pool::Pool;
pub use refresh::Topics;

use dial::Dialer;
use peers::{Peer, Peers};
use refresh::{NEVER_CREATES_FROM, Refreshes};
use security::{Security, SecurityOptions};

/// What a [`Cluster`] needs to know.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The cluster's alias, as errors name it.
    pub alias: String,
    /// Hosts and ports to ask first (`bootstrap.servers`).
    pub bootstrap: Vec<(String, u16)>,
    /// What brokers log and apply quotas to (`client.id`).
    pub client_id: String,
    /// From sending a request to its whole answer (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// For one address: to connect, and for each step of the handshake
    /// (`socket.connection.setup.timeout.ms`).
    pub connect_timeout: Duration,
    /// The age at which metadata should be refreshed (`metadata.max.age.ms`).
    pub metadata_max_age: Duration,
    /// How connections are made safe.
    pub security: SecurityOptions,
    /// Where frames are read into; clusters may share one.
    pub pool: Pool,
}

impl ClusterOptions {
    /// Kafka's own defaults.
    #[must_use]
    pub fn new(alias: impl Into<String>, bootstrap: Vec<(String, u16)>) -> Self {
        Self {
            alias: alias.into(),
            bootstrap,
            client_id: env!("CARGO_PKG_NAME").to_owned(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(300),
            security: SecurityOptions::default(),
            pool: Pool::default(),
        }
    }
}

/// Which of several connections to one broker; a broker serves each of them one request at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Everything that brokers answer at once.
    Control,
    /// Fetch; the broker holds a request back while it waits for records.
    Fetch(u8),
    /// Produce.
    Produce(u8),
    /// Fetch of what is looked at beside all that is copied.
    Window,
    /// Fetch that waits for news in small topics.
    Watch,
}

/// Who must answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Any broker.
    Any,
    /// The controller, or a broker that forwards to it.
    Controller,
    /// The broker of this id.
    Node(i32),
}

/// One Kafka cluster; a clone is the same cluster. Connections are made when they are needed.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    alias: Arc<str>,
    bootstrap: Vec<Arc<Broker>>,
    metadata_max_age: Duration,
    request_timeout: Duration,
    peers: Peers,
    view: Mutex<View>,
    refreshes: Mutex<Refreshes>,
}

#[derive(Debug, Default)]
struct View {
    metadata: Arc<Metadata>,
    refreshed_at: Option<Instant>,
}

impl Cluster {
    /// Takes note of a cluster; nothing is sent yet.
    #[must_use]
    pub fn new(options: ClusterOptions) -> Self {
        let alias: Arc<str> = options.alias.into();
        let broker = |(host, port)| {
            Arc::new(Broker {
                cluster: Arc::clone(&alias),
                node_id: None,
                host,
                port,
            })
        };
        let bootstrap = options.bootstrap.into_iter().map(broker).collect();
        let dialer = Dialer {
            alias: Arc::clone(&alias),
            client_id: options.client_id.into(),
            pool: options.pool,
            security: Arc::new(Security::new(options.security)),
            connect_timeout: options.connect_timeout,
            request_timeout: options.request_timeout,
            last_ranges: Mutex::default(),
        };
        Self(Arc::new(Inner {
            alias,
            bootstrap,
            metadata_max_age: options.metadata_max_age,
            request_timeout: options.request_timeout,
            peers: Peers::new(dialer),
            view: Mutex::default(),
            refreshes: Mutex::default(),
        }))
    }

    /// The cluster's alias.
    #[must_use]
    pub fn alias(&self) -> &Arc<str> {
        &self.0.alias
    }

    /// How long an answer is waited for: a broker must not be asked to hold a request for longer.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    /// What is known now; empty before the first refresh.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&lock(&self.0.view).metadata)
    }

    /// When the metadata is due for a refresh; `None`: at once. The caller sees to
    /// it: this room refreshes only when told.
    #[must_use]
    pub fn metadata_due_at(&self) -> Option<Instant> {
        let refreshed_at = lock(&self.0.view).refreshed_at?;
        Some(refreshed_at + self.0.metadata_max_age)
    }

    /// Asks any broker for brokers, topics and leaders, and takes in what it says.
    ///
    /// One request is under way at a time; callers share one that covers what they ask for.
    /// Topics are never created by this. Dropping the future does not end the request.
    ///
    /// # Errors
    ///
    /// `WrongCluster` when the broker belongs to another cluster than before; else as
    /// [`Cluster::any_broker`] and [`Connection::send`]. What is known of topics stays as it was.
    pub async fn refresh_metadata(&self, topics: Topics) -> Result<Arc<Metadata>, RequestError> {
        let (mut outcome, is_first) = lock(&self.0.refreshes).join(topics);
        if is_first {
            let cluster = self.clone();
            tokio::spawn(async move { cluster.run_refreshes().await });
        }
        let ended = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        // None: the task was dropped with its runtime.
        ended.unwrap_or_else(|| Err(self.without_broker(None, DisconnectCause::ClosedHere)))
    }

    async fn run_refreshes(&self) {
        let mut next = lock(&self.0.refreshes).start();
        while let Some(topics) = next {
            let outcome = self.refresh(&topics).await;
            next = lock(&self.0.refreshes).finish(outcome);
        }
    }

    async fn refresh(&self, topics: &Topics) -> Result<Arc<Metadata>, RequestError> {
        let connection = self.any_broker().await?;
        let version = connection.version::<MetadataRequest<'_>>()?;
        if version < NEVER_CREATES_FROM {
            return Err(RequestError::Unsupported {
                origin: Origin::new(
                    Arc::new(connection.broker().clone()),
                    Some(ApiKey::Metadata),
                ),
                needed: NEVER_CREATES_FROM..=*MetadataRequest::VERSIONS.end(),
                offered: connection.ranges().offered(ApiKey::Metadata),
            });
        }
        let answer = connection.send(&topics.request())?.await?;
        self.take_in(&answer, topics)
    }

    fn take_in(
        &self,
        answer: &Answer<MetadataRequest<'_>>,
        topics: &Topics,
    ) -> Result<Arc<Metadata>, RequestError> {
        let response = answer.decode()?;
        let mut metadata = Metadata::clone(&self.metadata());
        match metadata.merge(&response, topics.scope()) {
            Ok(()) => Ok(self.show(metadata, Some(Instant::now()))),
            Err(error) => {
                if error == MergeError::Refused(ErrorCode::REBOOTSTRAP_REQUIRED) {
                    metadata.forget_brokers();
                    self.show(metadata, None);
                }
                Err(not_merged(answer, error))
            }
        }
    }

    /// Replaces what is known, and forgets the brokers that it no longer names.
    fn show(&self, metadata: Metadata, refreshed_at: Option<Instant>) -> Arc<Metadata> {
        let metadata = Arc::new(metadata);
        *lock(&self.0.view) = View {
            metadata: Arc::clone(&metadata),
            refreshed_at,
        };
        self.0.peers.retain(metadata.brokers());
        metadata
    }

    /// A connection to the broker of an id, made if there is none.
    ///
    /// # Errors
    ///
    /// Why there is none. A broker that could not be reached is left alone for a moment (50 ms,
    /// doubling to 1 s); until then its last error is returned at once.
    pub async fn broker(&self, node_id: i32, lane: Lane) -> Result<Connection, RequestError> {
        let metadata = self.metadata();
        let Some(address) = metadata.brokers().get(&node_id) else {
            return Err(self.without_broker(Some(node_id), DisconnectCause::UnknownBroker));
        };
        let broker = Arc::new(Broker {
            cluster: Arc::clone(&self.0.alias),
            node_id: Some(node_id),
            host: address.host.to_string(),
            port: address.port,
        });
        let peer = Peer::Node(node_id);
        self.0.peers.connect(peer, lane, &[broker]).await
    }

    /// A control connection to any broker: an open one, else to one that is known, else to a
    /// bootstrap server (KIP-899), in random order.
    ///
    /// # Errors
    ///
    /// Why the last one tried did not answer.
    pub async fn any_broker(&self) -> Result<Connection, RequestError> {
        if let Some(connection) = self.0.peers.open_control() {
            return Ok(connection);
        }
        let now = Instant::now();
        let mut known: Vec<i32> = self.metadata().brokers().keys().copied().collect();
        known.retain(|id| self.0.peers.backing_off(Peer::Node(*id), now).is_none());
        fastrand::shuffle(&mut known);
        for node_id in known.into_iter().take(limits::ANY_BROKER_ATTEMPTS) {
            if let Ok(connection) = self.broker(node_id, Lane::Control).await {
                self.0.peers.forget_bootstrap();
                return Ok(connection);
            }
        }
        let mut bootstrap = self.0.bootstrap.clone();
        fastrand::shuffle(&mut bootstrap);
        self.0
            .peers
            .connect(Peer::Bootstrap, Lane::Control, &bootstrap)
            .await
    }

    /// A control connection to the controller; to any broker when none is known.
    ///
    /// # Errors
    ///
    /// As [`Cluster::broker`].
    pub async fn controller(&self) -> Result<Connection, RequestError> {
        match self.metadata().controller_id() {
            Some(id) => self.broker(id, Lane::Control).await,
            None => self.any_broker().await,
        }
    }

    /// Sends a request on a control connection and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`Cluster::broker`] and [`Connection::send_with`], or why no answer came.
    pub async fn request<R: Request>(
        &self,
        to: To,
        request: &R,
    ) -> Result<Answer<R>, RequestError> {
        self.request_with(to, request, SendOptions::default()).await
    }

    /// As [`Cluster::request`], with options.
    ///
    /// # Errors
    ///
    /// As [`Cluster::request`].
    pub async fn request_with<R: Request>(
        &self,
        to: To,
        request: &R,
        options: SendOptions,
    ) -> Result<Answer<R>, RequestError> {
        let connection = match to {
            To::Any => self.any_broker().await?,
            To::Controller => self.controller().await?,
            To::Node(id) => self.broker(id, Lane::Control).await?,
        };
        connection.send_with(request, options)?.await
    }

    /// The version of `R` that the broker connected to last has in common with this program;
    /// `None` when it has none, or before the first connection.
    #[must_use]
    pub fn supports<R: Request>(&self) -> Option<i16> {
        lock(&self.0.peers.dialer().last_ranges)
            .as_ref()?
            .version::<R>()
    }

    /// The finalized level of the feature `transaction.version`, as the broker connected to last
    /// told it; 0 where there is none, or before the first connection.
    #[must_use]
    pub fn transaction_version(&self) -> i16 {
        let ranges = lock(&self.0.peers.dialer().last_ranges);
        ranges
            .as_ref()
            .map_or(0, |ranges| ranges.transaction_version())
    }

    fn without_broker(&self, node_id: Option<i32>, cause: DisconnectCause) -> RequestError {
        self.0.peers.dialer().error_without_broker(node_id, cause)
    }
}

fn not_merged(answer: &Answer<MetadataRequest<'_>>, error: MergeError) -> RequestError {
    let broker = Arc::new(answer.broker().clone());
    let origin = Origin::new(broker, Some(ApiKey::Metadata));
    match error {
        MergeError::OtherCluster { expected, found } => RequestError::WrongCluster {
            origin,
            expected,
            found,
        },
        MergeError::NoBrokers => RequestError::Malformed {
            origin,
            cause: MalformedCause::NoBrokers,
        },
        MergeError::TooMany { what, found, limit } => RequestError::Malformed {
            origin,
            cause: MalformedCause::TooMany { what, found, limit },
        },
        MergeError::Refused(code) => RequestError::Disconnected {
            origin,
            cause: DisconnectCause::Refused(code),
        },
    }
}

/// Locks what no panic can have left half-done: nothing that panics runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
