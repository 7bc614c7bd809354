//! The cluster behind TCP sockets on loopback: one listener per broker.
//!
//! One request at a time per connection, in the order of arrival, as Kafka's muted channels have
//! it; what a closed connection had already sent is still handled. The only file of the sandbox
//! that knows tokio and its clock.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, IoSlice},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use kmirror_protocol::frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::oneshot,
    task::JoinSet,
    time::Instant,
};

use super::{Broker, Client, Cluster, ClusterOptions, Outcome, Ticket, Timestamp};

/// What one read takes at least; longer requests are read straight to where they stay.
const READ_BUFFER_LEN: usize = 16 << 10;

/// How many pieces one write gathers.
const PIECES_MAX: usize = 256;

/// A running cluster; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    brokers: Vec<Broker>,
    /// One task per broker that runs, each with the tasks of its connections.
    listeners: Mutex<BTreeMap<i32, JoinSet<()>>>,
}

#[derive(Debug)]
struct Shared {
    cluster: Arc<Mutex<Cluster>>,
    started_at: Timestamp,
    started: Instant,
    /// Where the answers to parked requests go.
    waiting: Mutex<BTreeMap<Ticket, oneshot::Sender<Outcome>>>,
    /// Bytes.
    request_len_max: usize,
}

impl Server {
    /// Starts a cluster on free ports of 127.0.0.1; hosts and ports of the options are replaced.
    ///
    /// `started_at` is the wall-clock time of now: the cluster's time goes on from there.
    ///
    /// # Errors
    ///
    /// When a port cannot be opened.
    pub async fn start(options: ClusterOptions, started_at: Timestamp) -> io::Result<Self> {
        Self::start_at(options, 0, started_at).await
    }

    /// The same on `first_port` and those after it, one for each broker; 0 is any free ports.
    ///
    /// # Errors
    ///
    /// When a port cannot be opened; the error names it.
    pub async fn start_at(
        mut options: ClusterOptions,
        first_port: u16,
        started_at: Timestamp,
    ) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(options.brokers.len());
        let mut port = first_port;
        for broker in &mut options.brokers {
            let socket = listen(port).await?;
            port = if port == 0 { 0 } else { port.saturating_add(1) };
            broker.host = Ipv4Addr::LOCALHOST.to_string();
            broker.port = socket.local_addr()?.port();
            sockets.push((broker.id, socket));
        }
        let brokers = options.brokers.clone();
        let request_len_max = options.profile.request_len_max();
        let shared = Arc::new(Shared {
            cluster: Arc::new(Mutex::new(Cluster::new(options))),
            started_at,
            started: Instant::now(),
            waiting: Mutex::new(BTreeMap::new()),
            request_len_max,
        });
        let server = Self {
            shared,
            brokers,
            listeners: Mutex::default(),
        };
        for (broker_id, socket) in sockets {
            server.listen(broker_id, socket);
        }
        Ok(server)
    }

    fn listen(&self, broker_id: i32, socket: TcpListener) {
        let mut listener = JoinSet::new();
        listener.spawn(accept(Arc::clone(&self.shared), broker_id, socket));
        lock(&self.listeners).insert(broker_id, listener);
    }

    /// Ends a broker as a crash would: see [`Cluster::stop_broker`]. It is gone from its port when
    /// this returns, and its connections are closed then or a moment later.
    pub async fn stop_broker(&self, broker_id: i32) {
        let listener = lock(&self.listeners).remove(&broker_id);
        self.command(|cluster| cluster.stop_broker(broker_id));
        if let Some(mut listener) = listener {
            listener.shutdown().await;
        }
    }

    /// Starts a broker again on the port it had: see [`Cluster::start_broker`].
    ///
    /// # Errors
    ///
    /// When the port cannot be opened; the broker is then still down.
    pub async fn start_broker(&self, broker_id: i32) -> io::Result<()> {
        let mut brokers = self.brokers.iter();
        let broker = brokers.find(|broker| broker.id == broker_id);
        if let Some(broker) = broker
            && !lock(&self.listeners).contains_key(&broker_id)
        {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, broker.port)).await?;
            self.command(|cluster| cluster.start_broker(broker_id));
            self.listen(broker_id, socket);
        }
        Ok(())
    }

    /// Commands the cluster, and answers whatever waited for what the command does.
    pub fn command<T>(&self, command: impl FnOnce(&mut Cluster) -> T) -> T {
        let mut cluster = lock(&self.shared.cluster);
        let result = command(&mut cluster);
        self.shared.deliver(&mut cluster);
        result
    }

    /// The brokers' addresses, as `bootstrap.servers` takes them.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses = self.addresses().map(|address| address.to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The brokers' addresses, in the order of the options.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let ports = self.brokers.iter().map(|broker| broker.port);
        ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// The cluster, to look into or to command.
    ///
    /// What waited for what a command does is answered with the next request, whichever it is;
    /// [`Server::command`] answers it at once.
    #[must_use]
    pub fn cluster(&self) -> Arc<Mutex<Cluster>> {
        Arc::clone(&self.shared.cluster)
    }

    /// Deletes records that the topics' retention says are too old, and forgets idle producers.
    ///
    /// Kafka's brokers do so by themselves every few minutes.
    pub fn clean_up(&self) {
        let (mut cluster, now) = (lock(&self.shared.cluster), self.now());
        cluster.apply_retention(now);
        cluster.expire_producers(now);
    }

    /// The cluster's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }
}

/// What a panicking task left is still consistent enough to look at in a test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed().as_millis();
        self.started_at
            .plus_ms(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    /// Rounded up: a deadline has then passed when it is reported.
    fn instant(&self, at: Timestamp) -> Instant {
        let ms = at.0.saturating_sub(self.started_at.0).saturating_add(1);
        self.started + Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }

    /// Lets the cluster handle a request and answers whatever it completes.
    ///
    /// `Err` is where the request's own answer will arrive, and when to poll at the latest.
    fn handle(&self, broker_id: i32, client: &mut Client, body: &Bytes) -> Result<Outcome, Wait> {
        let mut cluster = lock(&self.cluster);
        let outcome = cluster.handle_from(self.now(), broker_id, client, body);
        let result = match outcome {
            Outcome::Parked { ticket, deadline } => {
                let (sender, answer) = oneshot::channel();
                lock(&self.waiting).insert(ticket, sender);
                Err(Wait {
                    ticket,
                    deadline,
                    answer,
                })
            }
            outcome => Ok(outcome),
        };
        self.deliver(&mut cluster);
        result
    }

    fn deliver(&self, cluster: &mut Cluster) {
        for (ticket, outcome) in cluster.poll(self.now()) {
            if let Some(sender) = lock(&self.waiting).remove(&ticket) {
                // The receiver is gone only if its connection is.
                let _ = sender.send(outcome);
            }
        }
    }
}

/// A request that waits in the cluster.
struct Wait {
    ticket: Ticket,
    deadline: Timestamp,
    answer: oneshot::Receiver<Outcome>,
}

/// Takes a request out of the cluster if its connection ends before its answer comes.
struct Forget<'a>(&'a Shared, Ticket);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let Self(shared, ticket) = self;
        lock(&shared.cluster).forget(*ticket);
        lock(&shared.waiting).remove(ticket);
    }
}

impl Wait {
    async fn answer(mut self, shared: &Shared) -> Outcome {
        let _forget = Forget(shared, self.ticket);
        let mut deadline = shared.instant(self.deadline);
        loop {
            tokio::select! {
                outcome = &mut self.answer => {
                    return outcome.unwrap_or(Outcome::Close("the server stops".to_owned()));
                }
                () = tokio::time::sleep_until(deadline) => {
                    shared.deliver(&mut lock(&shared.cluster));
                    deadline += Duration::from_millis(1);
                }
            }
        }
    }
}

async fn listen(port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listening = TcpListener::bind(address).await;
    listening.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

async fn accept(shared: Arc<Shared>, broker_id: i32, socket: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(Arc::clone(&shared), broker_id, stream));
                }
                Err(error) => {
                    tracing::warn!(%error, broker_id, "sandbox cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn serve(shared: Arc<Shared>, broker_id: i32, stream: TcpStream) {
    // Without it the answer to a small request would wait for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, broker_id, "sandbox connection");
    }
    let (read_half, mut write_half) = stream.into_split();
    let mut reader = BufReader::with_capacity(READ_BUFFER_LEN, read_half);
    let mut client = Client::default();
    loop {
        let body = match read_frame(&mut reader, shared.request_len_max).await {
            Ok(Some(body)) => body,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, broker_id, "sandbox closes a connection");
                return;
            }
        };
        let outcome = match shared.handle(broker_id, &mut client, &body) {
            Ok(outcome) => outcome,
            Err(wait) => wait.answer(&shared).await,
        };
        drop(body);
        match outcome {
            // An answer that nobody reads is no reason to leave the next request unhandled.
            Outcome::Reply(pieces) => drop(write_pieces(&mut write_half, pieces.into()).await),
            Outcome::Throttled { pieces, until } => {
                drop(write_pieces(&mut write_half, pieces.into()).await);
                tokio::time::sleep_until(shared.instant(until)).await;
            }
            Outcome::NoReply => {}
            Outcome::Close(reason) => {
                tracing::warn!(%reason, broker_id, "sandbox closes a connection");
                return;
            }
            Outcome::Parked { .. } => unreachable!("a parked request was waited for"),
        }
    }
}

/// Reads one frame without its length; `None` at the end of the stream.
async fn read_frame(
    reader: &mut BufReader<OwnedReadHalf>,
    len_max: usize,
) -> io::Result<Option<Bytes>> {
    let mut prefix = [0; frame::PREFIX_LEN];
    match reader.read_exact(&mut prefix).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let len = frame::body_len(prefix, len_max).map_err(io::Error::other)?;
    let mut body = BytesMut::with_capacity(len);
    while body.len() < len {
        let rest = u64::try_from(len.saturating_sub(body.len())).unwrap_or(u64::MAX);
        if (&mut *reader).take(rest).read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(body.freeze()))
}

async fn write_pieces(socket: &mut OwnedWriteHalf, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .take(PIECES_MAX)
            .map(|piece| IoSlice::new(piece))
            .collect();
        let mut written = socket.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = pieces.front_mut()
            && written >= first.len()
        {
            written = written.saturating_sub(first.len());
            pieces.pop_front();
        }
        if let Some(first) = pieces.front_mut() {
            first.advance(written);
        }
    }
    Ok(())
}
