//! A TCP proxy before a broker that does what networks do: delay, stall, damage, cut.
//!
//! It keeps the order and, but for what it is told to damage, the content of what it carries.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kmirror_protocol::records::{BatchHeader, HEADER_LEN};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// The checksum of a record batch covers what follows it: the attributes come first.
const CRC_COVERS_FROM: usize = 21;

/// Bytes that are carried as one.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Chunks of one direction of one connection that wait in the proxy.
const CHUNKS_MAX: usize = 16;

/// How often a [`Gate::Slow`] lets something pass.
const STEPS_PER_SECOND: u32 = 50;

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// They pass.
    Open,
    /// They wait, as does the end of their connection: a network that loses all, until it works
    /// again. They are lost if their connection is cut meanwhile.
    Shut,
    /// They pass so much later than they came.
    Late(Duration),
    /// So many bytes of each connection pass in a second.
    Slow(u32),
    /// They pass with every bit turned over: lengths become negative.
    Garbling,
    /// They pass, but in each record batch that comes in one piece a bit is turned over, where the
    /// batch's checksum covers it. What it does not cover nobody could find out.
    Damaging,
    /// So many more bytes of each connection pass, then it is cut.
    Cutting(usize),
}

/// A proxy on a free port of 127.0.0.1; it and its connections end when it is dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    controls: Arc<Controls>,
    _listener: JoinSet<()>,
}

struct Controls {
    requests: watch::Sender<Rule>,
    answers: watch::Sender<Rule>,
    cuts: watch::Sender<Cut>,
    is_accepting: watch::Sender<bool>,
    connections: AtomicUsize,
}

/// A gate, and the connections it holds for: those with a number below this.
#[derive(Clone, Copy)]
struct Rule {
    gate: Gate,
    below: usize,
}

impl Rule {
    const fn for_all(gate: Gate) -> Self {
        Self {
            gate,
            below: usize::MAX,
        }
    }

    const fn of(self, number: usize) -> Gate {
        if number < self.below {
            self.gate
        } else {
            Gate::Open
        }
    }
}

/// How often connections were cut, and how the last time.
#[derive(Clone, Copy, Default)]
struct Cut {
    count: usize,
    is_reset: bool,
}

/// A connection that is to be cut.
struct Severed;

impl Proxy {
    /// Starts one before the broker at `upstream`, both gates open.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let controls = Arc::new(Controls {
            requests: watch::Sender::new(Rule::for_all(Gate::Open)),
            answers: watch::Sender::new(Rule::for_all(Gate::Open)),
            cuts: watch::Sender::default(),
            is_accepting: watch::Sender::new(true),
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
        self.controls.requests.send_replace(Rule::for_all(gate));
    }

    /// Sets the gate of what goes to the broker on the connections there are; others are open.
    pub(crate) fn present_requests(&self, gate: Gate) {
        let below = self.connections();
        self.controls.requests.send_replace(Rule { gate, below });
    }

    /// Sets the gate of what comes from the broker.
    pub(crate) fn answers(&self, gate: Gate) {
        self.controls.answers.send_replace(Rule::for_all(gate));
    }

    /// Whether connections are accepted; they wait until they are.
    pub(crate) fn accepting(&self, is_accepting: bool) {
        self.controls.is_accepting.send_replace(is_accepting);
    }

    /// Closes every connection, with whatever waits at a gate.
    pub(crate) fn cut(&self) {
        self.end_all(false);
    }

    /// Resets every connection (RST): both sides lose what they have not read yet.
    pub(crate) fn reset(&self) {
        self.end_all(true);
    }

    fn end_all(&self, is_reset: bool) {
        self.controls.cuts.send_modify(|cut| {
            cut.count += 1;
            cut.is_reset = is_reset;
        });
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.controls.connections.load(Ordering::Relaxed)
    }
}

async fn accept(socket: TcpListener, upstream: SocketAddr, controls: Arc<Controls>) {
    let mut connections = JoinSet::new();
    let mut is_accepting = controls.is_accepting.subscribe();
    loop {
        // The sender lives as long as this task.
        let _ = is_accepting.wait_for(|is_accepting| *is_accepting).await;
        let (client, _) = tokio::select! {
            accepted = socket.accept() => accepted.unwrap(),
            _ = is_accepting.changed() => continue,
            Some(_) = connections.join_next() => continue,
        };
        let number = controls.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(join(client, upstream, number, Arc::clone(&controls)));
    }
}

/// Carries bytes both ways until both are at their end or the connection is cut.
async fn join(mut client: TcpStream, upstream: SocketAddr, number: usize, controls: Arc<Controls>) {
    let mut cuts = controls.cuts.subscribe();
    let Ok(mut broker) = TcpStream::connect(upstream).await else {
        // The broker is down, so its port would not have answered either.
        let _ = client.set_zero_linger();
        return;
    };
    client.set_nodelay(true).unwrap();
    broker.set_nodelay(true).unwrap();
    {
        let ((from_client, to_client), (from_broker, to_broker)) = (client.split(), broker.split());
        let requests = Way::new(&controls.requests, number);
        let answers = Way::new(&controls.answers, number);
        let both = async {
            tokio::try_join!(
                requests.carry(from_client, to_broker),
                answers.carry(from_broker, to_client)
            )
        };
        tokio::select! {
            // What waits is lost even where its gate opens the same moment.
            biased;
            _ = cuts.changed() => {}
            _ = both => {}
        }
    }
    if cuts.borrow().is_reset {
        // One side or both may be gone already.
        let _ = client.set_zero_linger();
        let _ = broker.set_zero_linger();
    }
}

/// A part of a stream, and when it came.
struct Chunk {
    came_at: Instant,
    bytes: Vec<u8>,
}

/// One direction of one connection.
struct Way {
    rule: watch::Receiver<Rule>,
    number: usize,
    /// Bytes that a [`Gate::Cutting`] has let pass.
    passed: usize,
}

impl Way {
    fn new(rule: &watch::Sender<Rule>, number: usize) -> Self {
        Self {
            rule: rule.subscribe(),
            number,
            passed: 0,
        }
    }

    /// Carries bytes to the end of the stream, and then that end. When the receiver is gone, what
    /// it does not take is thrown away.
    async fn carry(mut self, from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Severed> {
        let (queue, mut arrivals) = mpsc::channel(CHUNKS_MAX);
        let deliver = async {
            let mut is_gone = false;
            while let Some(chunk) = arrivals.recv().await {
                is_gone = is_gone || self.deliver(chunk, &mut to).await?.is_err();
            }
            self.gate().await;
            // A receiver that is gone needs no end.
            let _ = to.shutdown().await;
            Ok(())
        };
        let read = async {
            read(from, queue).await;
            Ok(())
        };
        tokio::try_join!(read, deliver).map(|_| ())
    }

    /// The gate, once it lets anything pass.
    async fn gate(&mut self) -> Gate {
        let number = self.number;
        let rule = self.rule.wait_for(|rule| rule.of(number) != Gate::Shut);
        // Without a sender the proxy is gone, and this with it.
        rule.await.map_or(Gate::Open, |rule| rule.of(number))
    }

    /// Delivers one chunk piece by piece, each as the gate wants it then.
    async fn deliver(
        &mut self,
        mut chunk: Chunk,
        to: &mut WriteHalf<'_>,
    ) -> Result<io::Result<()>, Severed> {
        let mut left = chunk.bytes.as_mut_slice();
        while !left.is_empty() {
            let gate = self.gate().await;
            let len = match gate {
                Gate::Slow(per_second) => {
                    (per_second / STEPS_PER_SECOND).max(1).try_into().unwrap()
                }
                Gate::Cutting(after) => after.saturating_sub(self.passed),
                _ => left.len(),
            };
            if len == 0 {
                return Err(Severed);
            }
            let piece;
            (piece, left) = left.split_at_mut(len.min(left.len()));
            match gate {
                Gate::Late(latency) => sleep_until(chunk.came_at + latency).await,
                Gate::Slow(_) => sleep(Duration::from_secs(1) / STEPS_PER_SECOND).await,
                Gate::Garbling => piece.iter_mut().for_each(|byte| *byte = !*byte),
                Gate::Damaging => damage(piece),
                Gate::Open | Gate::Shut | Gate::Cutting(_) => {}
            }
            if let Err(error) = to.write_all(piece).await {
                return Ok(Err(error));
            }
            self.passed = match gate {
                Gate::Cutting(_) => self.passed + piece.len(),
                _ => 0,
            };
        }
        Ok(Ok(()))
    }
}

/// Queues what comes, to the end of the stream or until its queue is gone. A stream that breaks has
/// ended.
async fn read(mut from: ReadHalf<'_>, queue: mpsc::Sender<Chunk>) {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let chunk = Chunk {
            came_at: Instant::now(),
            bytes: buffer[..len].to_vec(),
        };
        if queue.send(chunk).await.is_err() {
            return;
        }
    }
}

/// Turns over a bit of every whole record batch among these bytes; its checksum tells which.
fn damage(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = bytes.get(at..).filter(|rest| rest.len() > HEADER_LEN) {
        let batch = BatchHeader::parse(header).ok().filter(|header| {
            let payload = bytes.get(at + HEADER_LEN..at + header.size());
            payload.is_some_and(|payload| header.verify_crc(payload))
        });
        let Some(batch) = batch else {
            at += 1;
            continue;
        };
        let covered = &mut bytes[at + CRC_COVERS_FROM..at + batch.size()];
        let place = usize::try_from(batch.crc).unwrap() % covered.len();
        covered[place] ^= 1 << (batch.crc % 8);
        at += batch.size();
    }
}
