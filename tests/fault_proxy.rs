//! The fault proxy does what the other tests rely on.

use std::{io::ErrorKind, time::Duration};

use kmirror_protocol::records::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, NewRecord};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::support::{
    proxy::{Gate, Proxy},
    sandbox::eventually,
};

/// A listener that stands for a broker, and a proxy before it.
struct Scene {
    broker: TcpListener,
    proxy: Proxy,
}

impl Scene {
    async fn start() -> Self {
        let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(broker.local_addr().unwrap()).await;
        Self { broker, proxy }
    }

    /// Connects through the proxy: the client's end and the broker's.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.address).await.unwrap();
        let (broker, _) = self.broker.accept().await.unwrap();
        (client, broker)
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

async fn receive(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Everything up to the end of the stream.
async fn receive_rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn has_nothing(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test]
async fn open_gates_carry_everything_and_each_end_of_a_stream() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    let long: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_be_bytes()[2]).collect();
    let (sent, received) = tokio::join!(client.write_all(&long), receive(&mut broker, long.len()));
    sent.unwrap();
    assert!(received == long);
    client.shutdown().await.unwrap();
    assert_eq!(receive_rest(&mut broker).await, b"");
    // The client's end is no end of the answers.
    send(&mut broker, b"answer").await;
    drop(broker);
    assert_eq!(receive_rest(&mut client).await, b"answer");
}

#[tokio::test]
async fn a_shut_gate_holds_bytes_until_it_opens() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    scene.proxy.requests(Gate::Shut);
    send(&mut client, b"request").await;
    send(&mut broker, b"answer").await;
    assert_eq!(receive(&mut client, 6).await, b"answer");
    assert!(has_nothing(&broker));
    scene.proxy.answers(Gate::Shut);
    scene.proxy.requests(Gate::Open);
    send(&mut broker, b"another").await;
    assert_eq!(receive(&mut broker, 7).await, b"request");
    assert!(has_nothing(&client));
    scene.proxy.answers(Gate::Open);
    assert_eq!(receive(&mut client, 7).await, b"another");
}

#[tokio::test]
async fn present_requests_come_late_after_their_sender_is_gone_and_new_ones_at_once() {
    let scene = Scene::start().await;
    let (mut old, mut old_broker) = scene.connect().await;
    scene.proxy.present_requests(Gate::Shut);
    send(&mut old, b"late").await;
    drop(old);
    let (mut new, mut new_broker) = scene.connect().await;
    send(&mut new, b"at once").await;
    assert_eq!(receive(&mut new_broker, 7).await, b"at once");
    assert!(has_nothing(&old_broker));
    scene.proxy.requests(Gate::Open);
    assert_eq!(receive_rest(&mut old_broker).await, b"late");
}

#[tokio::test]
async fn cut_connections_end_and_lose_what_waited() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    scene.proxy.requests(Gate::Shut);
    send(&mut client, b"lost").await;
    scene.proxy.cut();
    scene.proxy.requests(Gate::Open);
    assert_eq!(receive_rest(&mut broker).await, b"");
    // The proxy may have closed before it had read all; TCP answers that with a reset.
    let end = client.read(&mut [0]).await;
    let is_reset = |error: std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(end.map_or_else(is_reset, |len| len == 0));
    scene.connect().await;
    assert_eq!(scene.proxy.connections(), 2);
}

#[tokio::test]
async fn reset_connections_are_reset_on_both_sides() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    scene.proxy.reset();
    for stream in [&mut client, &mut broker] {
        let end = stream.read(&mut [0]).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_cutting_gate_lets_so_many_bytes_pass_and_no_more() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    send(&mut client, b"before").await;
    assert_eq!(receive(&mut broker, 6).await, b"before");
    scene.proxy.requests(Gate::Cutting(10));
    send(&mut client, b"01234").await;
    assert_eq!(receive(&mut broker, 5).await, b"01234");
    send(&mut client, b"56789abc").await;
    assert_eq!(receive_rest(&mut broker).await, b"56789");
    // And the next connection as many.
    let (mut client, mut broker) = scene.connect().await;
    send(&mut client, b"0123456789abc").await;
    assert_eq!(receive_rest(&mut broker).await, b"0123456789");
}

#[tokio::test]
async fn a_late_gate_delays_each_byte_and_no_byte_twice() {
    const LATENCY: Duration = Duration::from_millis(50);
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    scene.proxy.requests(Gate::Late(LATENCY));
    let started_at = Instant::now();
    for byte in 0..10 {
        send(&mut client, &[byte]).await;
    }
    assert_eq!(receive(&mut broker, 10).await, Vec::from_iter(0..10));
    assert!(started_at.elapsed() >= LATENCY);
}

#[tokio::test]
async fn a_slow_gate_keeps_to_its_rate() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    scene.proxy.answers(Gate::Slow(10_000));
    let started_at = Instant::now();
    send(&mut broker, &[7; 1_000]).await;
    assert_eq!(receive(&mut client, 1_000).await, [7; 1_000]);
    assert!(started_at.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_garbling_gate_turns_every_bit_over() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    scene.proxy.answers(Gate::Garbling);
    send(&mut broker, &[0, 0, 1, 255]).await;
    assert_eq!(receive(&mut client, 4).await, [255, 255, 254, 0]);
}

#[tokio::test]
async fn a_damaging_gate_turns_over_a_bit_of_each_batch_that_its_checksum_covers() {
    let scene = Scene::start().await;
    let (mut client, mut broker) = scene.connect().await;
    scene.proxy.answers(Gate::Damaging);
    let batch = |value: &[u8]| {
        let mut builder = BatchBuilder::new(Compression::None);
        let record = NewRecord {
            value: Some(value),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
        builder.build().unwrap().to_vec()
    };
    let batches = [batch(b"first"), batch(&[0; 500])];
    let sent = [
        b"around",
        batches[0].as_slice(),
        batches[1].as_slice(),
        &[2; 99],
    ]
    .concat();
    send(&mut broker, &sent).await;
    let received = receive(&mut client, sent.len()).await;
    let differing = sent.iter().zip(&received).enumerate();
    let flips: Vec<(usize, u32)> = differing
        .map(|(at, (sent, received))| (at, (sent ^ received).count_ones()))
        .filter(|(_, bits)| *bits > 0)
        .collect();
    let [(first, 1), (second, 1)] = flips[..] else {
        panic!("{flips:?}");
    };
    let mut from = b"around".len();
    for (batch, flip) in batches.iter().zip([first, second]) {
        let damaged = &received[from..from + batch.len()];
        assert!((21..batch.len()).contains(&(flip - from)), "{flip}");
        let header = BatchHeader::parse(damaged);
        assert!(!header.is_ok_and(|header| header.verify_crc(&damaged[HEADER_LEN..])));
        from += batch.len();
    }
}

#[tokio::test]
async fn a_proxy_that_accepts_nothing_lets_connections_wait() {
    let scene = Scene::start().await;
    scene.proxy.accepting(false);
    // One accept may have been under way.
    let _first = TcpStream::connect(scene.proxy.address).await.unwrap();
    let mut second = TcpStream::connect(scene.proxy.address).await.unwrap();
    send(&mut second, b"request").await;
    assert!(scene.proxy.connections() <= 1);
    scene.proxy.accepting(true);
    eventually("both are accepted", || scene.proxy.connections() == 2).await;
}

#[tokio::test]
async fn a_broker_that_is_down_is_no_broker_behind_the_proxy_either() {
    let Scene { broker, proxy } = Scene::start().await;
    drop(broker);
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let end = client.read(&mut [0]).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
