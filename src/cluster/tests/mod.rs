//! This room against a scripted broker on loopback: every byte that the broker sends is the
//! test's own. Time is paused only while nothing but a deadline is waited for.

mod connections;
mod discovery;
mod faults;
mod sasl;
mod versions;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use kmirror_protocol::{
    ApiKey, ErrorCode, Request,
    frame::encode_response,
    header::RequestHeader,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse,
        api_versions::ApiVersion, metadata::MetadataResponseBroker,
    },
    wire::{Encode, Reader, Version, Writer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Cluster, ClusterOptions, Connection, RequestError};

/// A broker that does what the test says.
struct FakeBroker {
    listener: TcpListener,
    address: SocketAddr,
}

/// The broker's end of one connection.
struct Conversation {
    stream: TcpStream,
}

/// A request as it came.
struct Incoming {
    api: Option<ApiKey>,
    version: i16,
    correlation_id: i32,
    body: Vec<u8>,
}

impl FakeBroker {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    fn bootstrap(&self) -> (String, u16) {
        (self.address.ip().to_string(), self.address.port())
    }

    fn advertised(&self, node_id: i32) -> (i32, SocketAddr) {
        (node_id, self.address)
    }

    async fn accept(&self) -> Conversation {
        let (stream, _) = self.listener.accept().await.unwrap();
        Conversation { stream }
    }

    /// Accepts a connection and agrees on versions.
    async fn accept_and_shake_hands(&self) -> Conversation {
        let mut conversation = self.accept().await;
        conversation.shake_hands().await;
        conversation
    }
}

impl Conversation {
    async fn request(&mut self) -> Incoming {
        let len = self.stream.read_u32().await.unwrap();
        let mut body = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        let header = RequestHeader::read(&mut Reader::new(&body)).unwrap();
        Incoming {
            api: ApiKey::from_number(header.api_key),
            version: header.api_version,
            correlation_id: header.correlation_id,
            body,
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn answer<R: Request>(&mut self, incoming: &Incoming, response: &R::Response<'_>) {
        assert_eq!(incoming.api, Some(R::KEY));
        let bytes = answer_bytes::<R>(incoming, response);
        self.send(&bytes).await;
    }

    async fn shake_hands(&mut self) {
        let incoming = self.request().await;
        assert_eq!(incoming.version, 3);
        self.answer::<ApiVersionsRequest<'_>>(&incoming, &offer())
            .await;
    }

    /// Answers one Metadata request with these brokers.
    async fn tell_brokers(&mut self, cluster_id: &str, brokers: &[(i32, SocketAddr)]) {
        let incoming = self.request().await;
        let hosts: Vec<_> = brokers.iter().map(|(_, at)| at.ip().to_string()).collect();
        let broker = |((node_id, at), host): (&(i32, SocketAddr), _)| MetadataResponseBroker {
            node_id: *node_id,
            host,
            port: at.port().into(),
            rack: None,
        };
        let hosts = hosts.iter().map(String::as_str);
        let response = MetadataResponse {
            brokers: brokers.iter().zip(hosts).map(broker).collect(),
            cluster_id: Some(cluster_id),
            ..MetadataResponse::default()
        };
        self.answer::<MetadataRequest<'_>>(&incoming, &response)
            .await;
    }

    /// Waits until the other side has closed the connection; it must have sent nothing more.
    async fn expect_end(mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest).await {
            Ok(_) => assert_eq!(rest, Vec::<u8>::new()),
            Err(err) => assert_eq!(err.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

fn answer_bytes<R: Request>(incoming: &Incoming, response: &R::Response<'_>) -> Vec<u8> {
    encode_response::<R>(response, incoming.version, incoming.correlation_id)
        .unwrap()
        .concat()
}

/// What a broker offers that knows just enough.
fn offer() -> ApiVersionsResponse<'static> {
    let range = |(api, max_version): (ApiKey, i16)| ApiVersion {
        api_key: api.number(),
        min_version: 0,
        max_version,
    };
    ApiVersionsResponse {
        api_keys: [
            (ApiKey::ApiVersions, 3),
            (ApiKey::Metadata, 12),
            (ApiKey::Produce, 9),
            (ApiKey::SaslHandshake, 1),
            (ApiKey::SaslAuthenticate, 2),
        ]
        .map(range)
        .into(),
        ..ApiVersionsResponse::default()
    }
}

/// A Produce request made of these pieces, none of which is copied.
#[derive(Debug)]
struct Pieces(Vec<Bytes>);

impl Encode for Pieces {
    fn write(&self, writer: &mut Writer, _: Version) {
        self.0.iter().for_each(|piece| writer.gather(piece.clone()));
    }
}

impl Request for Pieces {
    const KEY: ApiKey = ApiKey::Produce;
    const VERSIONS: std::ops::RangeInclusive<i16> = 3..=7;
    const FLEXIBLE_FROM: i16 = i16::MAX;
    type Response<'a> = ErrorCode;
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

fn cluster(bootstrap: Vec<(String, u16)>) -> Cluster {
    let mut options = ClusterOptions::new("A", bootstrap);
    options.request_timeout = REQUEST_TIMEOUT;
    Cluster::new(options)
}

/// A connection and the broker's end of it, versions agreed.
async fn connected() -> (Connection, Conversation) {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let (connection, conversation) =
        tokio::join!(cluster.any_broker(), broker.accept_and_shake_hands());
    (connection.unwrap(), conversation)
}

/// An address that nobody listens on.
async fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.3:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn ask() -> MetadataRequest<'static> {
    MetadataRequest::default()
}

fn text(result: Result<impl Sized, RequestError>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    }
}
