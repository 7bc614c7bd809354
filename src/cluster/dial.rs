//! From a host and port to a connection that is ready for requests: TCP, TLS, versions, SASL.
//!
//! Names are resolved on every attempt, and every address is tried: clusters move, and a name may
//! have an address that this machine cannot reach.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{
    channel::Channel,
    connection::Connection,
    error::{Broker, DisconnectCause, Origin, RequestError},
    handshake::{ApiRanges, FIRST_VERSION, LAST_VERSION, negotiate},
    limits::{ADDRESSES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIME},
    lock,
    pool::Pool,
    security::{Security, Session, Talk, Tls, reason},
};

/// Makes connections to the brokers of one cluster.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) alias: Arc<str>,
    pub(super) client_id: Arc<str>,
    pub(super) pool: Pool,
    pub(super) security: Arc<Security>,
    /// For resolving, for connecting to one address, and for each request of the handshake.
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    /// What the last broker offered that was connected to.
    pub(super) last_ranges: Mutex<Option<Arc<ApiRanges>>>,
}

impl Dialer {
    /// Connects to `broker` at the first of its addresses that answers the handshake.
    pub(super) async fn dial(&self, broker: &Arc<Broker>) -> Result<Connection, RequestError> {
        let addresses = self.resolve(broker).await?;
        self.dial_addresses(broker, &addresses).await
    }

    pub(super) async fn dial_addresses(
        &self,
        broker: &Arc<Broker>,
        addresses: &[SocketAddr],
    ) -> Result<Connection, RequestError> {
        let mut last_error = None;
        for address in addresses.iter().take(ADDRESSES_MAX) {
            match self.dial_address(broker, *address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| {
            let source = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            unreachable(broker, &broker.host, source)
        }))
    }

    /// An error of a broker whose address is not known, or of no broker in particular.
    pub(super) fn error_without_broker(
        &self,
        node_id: Option<i32>,
        cause: DisconnectCause,
    ) -> RequestError {
        let broker = Broker {
            cluster: Arc::clone(&self.alias),
            node_id,
            host: String::new(),
            port: 0,
        };
        RequestError::Disconnected {
            origin: Origin::new(Arc::new(broker), None),
            cause,
        }
    }

    async fn resolve(&self, broker: &Arc<Broker>) -> Result<Vec<SocketAddr>, RequestError> {
        let host = (broker.host.as_str(), broker.port);
        let failed = |source| unreachable(broker, &broker.host, source);
        match timeout(self.connect_timeout, lookup_host(host)).await {
            Ok(Ok(addresses)) => Ok(addresses.collect()),
            Ok(Err(err)) => Err(failed(err)),
            Err(_) => Err(failed(timed_out(
                "resolving the name",
                self.connect_timeout,
            ))),
        }
    }

    async fn dial_address(
        &self,
        broker: &Arc<Broker>,
        address: SocketAddr,
    ) -> Result<Connection, RequestError> {
        let channel = self.open(broker, address).await?;
        let shaken = self.shake_hands(&channel, FIRST_VERSION).await;
        if !matches!(shaken, Err(RequestError::Disconnected { .. })) {
            return self.connection(channel, shaken?).await;
        }
        // Old brokers close the connection on a version that they do not know.
        let channel = self.open(broker, address).await?;
        let ranges = self.shake_hands(&channel, LAST_VERSION).await?;
        self.connection(channel, ranges).await
    }

    async fn shake_hands(
        &self,
        channel: &Arc<Channel>,
        version: i16,
    ) -> Result<ApiRanges, RequestError> {
        negotiate(channel, &self.client_id, version, self.connect_timeout).await
    }

    /// Says on the channel who this is, if the broker wants to know.
    async fn connection(
        &self,
        channel: Arc<Channel>,
        ranges: ApiRanges,
    ) -> Result<Connection, RequestError> {
        let ranges = Arc::new(ranges);
        let lifetime = match &self.security.sasl {
            None => None,
            Some(sasl) => {
                let talk = Talk {
                    channel: &channel,
                    ranges: &ranges,
                    client_id: &self.client_id,
                    timeout: self.connect_timeout,
                };
                sasl.authenticate(&talk).await?
            }
        };
        *lock(&self.last_ranges) = Some(Arc::clone(&ranges));
        let session = lifetime.map(|lifetime| {
            let session = Session {
                security: Arc::clone(&self.security),
                channel: Arc::downgrade(&channel),
                ranges: Arc::clone(&ranges),
                client_id: Arc::clone(&self.client_id),
                timeout: self.connect_timeout,
            };
            session.keep(lifetime)
        });
        let client_id = Arc::clone(&self.client_id);
        let timeout = self.request_timeout;
        Ok(Connection::new(
            channel, ranges, client_id, timeout, session,
        ))
    }

    async fn open(
        &self,
        broker: &Arc<Broker>,
        address: SocketAddr,
    ) -> Result<Arc<Channel>, RequestError> {
        let failed = |source| unreachable(broker, &address.to_string(), source);
        let stream = match timeout(self.connect_timeout, TcpStream::connect(address)).await {
            Ok(connected) => connected.and_then(prepared).map_err(failed)?,
            Err(_) => return Err(failed(timed_out("connecting", self.connect_timeout))),
        };
        let (broker, pool) = (Arc::clone(broker), self.pool.clone());
        Ok(Arc::new(match &self.security.tls {
            None => {
                let (reading, writing) = stream.into_split();
                Channel::start(reading, writing, broker, pool)
            }
            Some(tls) => {
                let stream = Box::pin(self.speak_tls(tls, &broker, stream)).await?;
                let (reading, writing) = tokio::io::split(stream);
                Channel::start(reading, writing, broker, pool)
            }
        }))
    }

    async fn speak_tls(
        &self,
        tls: &Tls,
        broker: &Arc<Broker>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, RequestError> {
        let spoken = timeout(self.connect_timeout, tls.connect(&broker.host, stream)).await;
        let error = match spoken {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => timed_out("the TLS handshake", self.connect_timeout),
        };
        Err(RequestError::Disconnected {
            origin: Origin::new(Arc::clone(broker), None),
            cause: DisconnectCause::Tls(reason(&error).into()),
        })
    }
}

/// Sets what every connection has; refuses one that this machine has made to itself, which
/// happens when the port of a dead broker on loopback is picked as the local one.
fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

fn timed_out(what: &str, after: Duration) -> io::Error {
    let text = format!("{what} took longer than {after:?}");
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn unreachable(broker: &Arc<Broker>, address: &str, source: io::Error) -> RequestError {
    RequestError::Disconnected {
        origin: Origin::new(Arc::clone(broker), None),
        cause: DisconnectCause::Connect {
            address: address.into(),
            source: Arc::new(source),
        },
    }
}
