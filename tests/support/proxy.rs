//! A TCP proxy before a broker that does what networks do: stall, damage, cut.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// They pass.
    Open,
    /// They wait, and are lost if their connection is cut meanwhile.
    Shut,
    /// They pass with every bit turned over: lengths become negative.
    Garbling,
}

/// A proxy on a free port of 127.0.0.1; it and its connections end when it is dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    controls: Arc<Controls>,
    _listener: JoinSet<()>,
}

struct Controls {
    requests: watch::Sender<Gate>,
    answers: watch::Sender<Gate>,
    cuts: watch::Sender<usize>,
    connections: AtomicUsize,
}

impl Proxy {
    /// Starts one before the broker at `upstream`, both gates open.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let controls = Arc::new(Controls {
            requests: watch::Sender::new(Gate::Open),
            answers: watch::Sender::new(Gate::Open),
            cuts: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let mut listener = JoinSet::new();
        listener.spawn(accept(socket, upstream, Arc::clone(&controls)));
        Self {
            address,
            controls,
            _listener: listener,
        }
    }

    /// Sets the gate of what goes to the broker.
    pub(crate) fn requests(&self, gate: Gate) {
        self.controls.requests.send_replace(gate);
    }

    /// Sets the gate of what comes from the broker.
    pub(crate) fn answers(&self, gate: Gate) {
        self.controls.answers.send_replace(gate);
    }

    /// Closes every connection, with whatever waits at a gate.
    pub(crate) fn cut(&self) {
        self.controls.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.controls.connections.load(Ordering::Relaxed)
    }
}

async fn accept(socket: TcpListener, upstream: SocketAddr, controls: Arc<Controls>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = socket.accept().await.unwrap();
        controls.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(join(client, upstream, Arc::clone(&controls)));
    }
}

/// Carries bytes both ways until one side closes or the connection is cut.
async fn join(client: TcpStream, upstream: SocketAddr, controls: Arc<Controls>) {
    let mut cuts = controls.cuts.subscribe();
    let broker = TcpStream::connect(upstream).await.unwrap();
    client.set_nodelay(true).unwrap();
    broker.set_nodelay(true).unwrap();
    let ((from_client, to_client), (from_broker, to_broker)) =
        (client.into_split(), broker.into_split());
    tokio::select! {
        () = carry(from_client, to_broker, controls.requests.subscribe()) => {}
        () = carry(from_broker, to_client, controls.answers.subscribe()) => {}
        _ = cuts.changed() => {}
    }
}

/// Carries bytes one way; ends with either connection.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<Gate>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(len @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let Ok(gate) = gate
            .wait_for(|gate| *gate != Gate::Shut)
            .await
            .map(|it| *it)
        else {
            return;
        };
        let bytes = &mut buffer[..len];
        if gate == Gate::Garbling {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
