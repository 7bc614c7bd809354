//! A port on loopback that behaves as no broker should, or as one that knows its place wrongly.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use kmirror::sandbox::{Broker, Cluster, ClusterOptions, Outcome, Timestamp};

const NODE_ID: i32 = 0;

/// Nothing here depends on the time.
const NOW: Timestamp = Timestamp(0);

/// What becomes of a connection.
#[derive(Clone)]
pub(crate) enum Script {
    /// It is closed after the first request.
    Close,
    /// Requests are read and never answered.
    Stall,
    /// The first request is answered with these bytes.
    Answer(&'static [u8]),
    /// A broker of this cluster answers.
    Serve(Arc<Mutex<Cluster>>),
}

/// The port. It closes with this value.
pub(crate) struct ScriptedListener {
    port: u16,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
}

impl ScriptedListener {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(script));
        let (connections, is_stopped) = (Arc::default(), Arc::default());
        let this = Self {
            port,
            script: Arc::clone(&script),
            connections: Arc::clone(&connections),
            is_stopped: Arc::clone(&is_stopped),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let script = script.lock().unwrap().clone();
                thread::spawn(move || play(script, stream.unwrap()));
            }
        });
        this
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Behaves otherwise from the next connection on.
    pub(crate) fn change(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }
}

impl Drop for ScriptedListener {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn play(script: Script, mut stream: TcpStream) {
    match script {
        Script::Close => {
            let _ = read_frame(&mut stream);
        }
        Script::Stall => while read_frame(&mut stream).is_some() {},
        Script::Answer(bytes) => {
            let _ = read_frame(&mut stream);
            let _ = stream.write_all(bytes);
            while read_frame(&mut stream).is_some() {}
        }
        Script::Serve(cluster) => serve(&cluster, stream),
    }
}

fn serve(cluster: &Mutex<Cluster>, mut stream: TcpStream) {
    while let Some(request) = read_frame(&mut stream) {
        let outcome = cluster
            .lock()
            .unwrap()
            .handle(NOW, NODE_ID, &request.into());
        match outcome {
            Outcome::Reply(pieces) | Outcome::Throttled { pieces, .. } => {
                for piece in pieces {
                    let _ = stream.write_all(&piece);
                }
            }
            Outcome::Parked { .. } | Outcome::NoReply => {}
            Outcome::Close(_) => return,
        }
    }
}

/// A cluster of one broker that advertises a port of loopback.
pub(crate) fn cluster_advertising(port: u16) -> Arc<Mutex<Cluster>> {
    let options = ClusterOptions {
        brokers: vec![Broker {
            id: NODE_ID,
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
        }],
        ..ClusterOptions::new(&format!("cluster-at-{port}"), 1)
    };
    Arc::new(Mutex::new(Cluster::new(options)))
}

/// `None` when the other side has closed.
fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}
