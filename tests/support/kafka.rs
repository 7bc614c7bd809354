//! Real Apache Kafka clusters and MirrorMaker 2 on loopback.
//!
//! Every node is broker and controller (KRaft), so a cluster of three goes on without any one of them. A test gets a
//! cluster of its own, to harm as it likes, or the pair all tests share, under topic names of its own.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    java::{Installation, Jvm, JvmOptions},
    java_client::JavaClient,
    metadata_probe, wait_for,
};

/// How long a cluster may take to answer, on a machine busy with other things.
const START_MAX: Duration = Duration::from_secs(120);

/// How often a start is tried when another process takes a port first.
const START_ATTEMPTS_MAX: u32 = 5;

/// Below the ports Linux gives to outgoing connections (from 32768), lest one of those sits on the port of a broker
/// that is down for a moment.
const PORTS: RangeInclusive<u16> = 12_000..=31_999;

/// What is spoken at the listeners that every cluster may have.
const PROTOCOLS: &str = "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT";

const BROKER_HEAP_MIB: u32 = 384;
const MIRROR_MAKER_HEAP_MIB: u32 = 512;
const MEMBER_HEAP_MIB: u32 = 128;

/// What differs from cluster to cluster.
pub(crate) struct KafkaOptions<'a> {
    /// Nodes, each broker and controller, with ids from 1.
    pub(crate) brokers: u16,
    /// Server properties; they win over the defaults.
    pub(crate) properties: &'a [(&'a str, &'a str)],
    /// Features that are formatted at another level than is usual, as `name=level`.
    pub(crate) features: &'a [&'a str],
    /// Starts a proxy before a node, given its id and one more address it listens at, and answers
    /// where the proxy listens: clients that come by it are sent to proxies only. The brokers
    /// themselves, and clients that come by [`Kafka::bootstrap`], keep to the other addresses.
    pub(crate) proxied: Option<&'a dyn Fn(i32, SocketAddr) -> SocketAddr>,
    /// More listeners of every node: name and security protocol, as `("MTLS", "SSL")`.
    pub(crate) listeners: &'a [(&'a str, &'a str)],
}

impl Default for KafkaOptions<'_> {
    fn default() -> Self {
        Self {
            brokers: 1,
            properties: &[],
            features: &[],
            proxied: None,
            listeners: &[],
        }
    }
}

/// A cluster. It ends with this value, and at the latest with the test process.
pub(crate) struct Kafka {
    installation: &'static Installation,
    cluster_id: String,
    dir: PathBuf,
    features: Vec<String>,
    nodes: Vec<Node>,
}

struct Node {
    id: i32,
    port: u16,
    /// Of the listeners that this cluster has more than others.
    listeners: BTreeMap<String, u16>,
    dir: PathBuf,
    /// `None` while the node is down.
    jvm: Option<Jvm>,
}

/// Settings for clusters of one node: no topic of kmirror can have more replicas there.
pub(crate) const ONE_BROKER: &str = "replication.factor = 1
offset.storage.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset-syncs.topic.replication.factor = 1
checkpoints.topic.replication.factor = 1
";

/// The same for the topics that Connect keeps beside, which MirrorMaker 2 is made of.
pub(crate) const CONNECT_ONE_BROKER: &str = "status.storage.replication.factor = 1
config.storage.replication.factor = 1
";

/// Two independent clusters of one node each.
pub(crate) struct Pair {
    pub(crate) source: Kafka,
    pub(crate) target: Kafka,
}

/// The pair that all tests of this process share, started on first use; `None` skips the test.
pub(crate) fn pair() -> Option<&'static Pair> {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    Installation::or_skip()?;
    Some(PAIR.get_or_init(|| Pair::start().expect("Java is installed")))
}

impl Pair {
    /// Two clusters of one broker each, of the test's own; `None` skips the test.
    pub(crate) fn start() -> Option<Self> {
        let start = || Kafka::start(&KafkaOptions::default());
        thread::scope(|scope| {
            let source = scope.spawn(start);
            let target = start();
            Some(Self {
                source: source.join().unwrap()?,
                target: target?,
            })
        })
    }
}

impl Kafka {
    /// Starts a cluster and waits until every node knows all of them; `None` skips the test.
    pub(crate) fn start(options: &KafkaOptions<'_>) -> Option<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let installation = Installation::or_skip()?;
        for _ in 0..START_ATTEMPTS_MAX {
            let number = STARTED.fetch_add(1, Ordering::Relaxed);
            let mut kafka = Self {
                installation,
                cluster_id: cluster_id(number),
                dir: installation.run_dir(&format!("cluster-{number}")),
                features: options.features.iter().map(ToString::to_string).collect(),
                nodes: Vec::new(),
            };
            kafka.configure(options);
            for node in &mut kafka.nodes {
                node.start(installation, &kafka.cluster_id, &kafka.features);
            }
            match kafka.wait_until_complete() {
                Ok(()) => return Some(kafka),
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("a node ended while it started\n{log}"),
            }
        }
        panic!("no free ports after {START_ATTEMPTS_MAX} attempts");
    }

    /// The brokers' addresses, as in `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        addresses.join(",")
    }

    /// The brokers' addresses at one of the [`KafkaOptions::listeners`].
    pub(crate) fn listener(&self, name: &str) -> String {
        let ports = self.nodes.iter().map(|node| node.listeners[name]);
        let addresses: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        addresses.join(",")
    }

    /// One broker's address, as in `bootstrap.servers`.
    pub(crate) fn address(&self, node_id: i32) -> String {
        let node = self.nodes.iter().find(|node| node.id == node_id).unwrap();
        format!("127.0.0.1:{}", node.port)
    }

    /// Apache Kafka's own clients, connected to this cluster.
    pub(crate) fn java(&self) -> JavaClient {
        JavaClient::new(self.installation, self.bootstrap())
    }

    /// An application: a member of `group` that reads the topics of a pattern from their beginning, and commits as
    /// it goes, until it is dropped.
    pub(crate) fn join(&self, group: &str, pattern: &str) -> Member {
        let bootstrap = self.bootstrap();
        let arguments = [
            ["--bootstrap-server", &bootstrap],
            ["--group", group],
            ["--include", pattern],
            ["--command-property", "auto.commit.interval.ms=200"],
        ];
        let arguments = arguments.as_flattened().iter().chain(&["--from-beginning"]);
        let options = JvmOptions {
            class: "org.apache.kafka.tools.consumer.ConsoleConsumer",
            arguments: arguments.map(ToString::to_string).collect(),
            heap_mib: MEMBER_HEAP_MIB,
            log_level: "WARN",
            log: self.installation.run_dir("members").join(group),
            piped: false,
        };
        Member {
            _jvm: Jvm::start(self.installation, options),
        }
    }

    /// Ends a node at once, as a crash would (SIGKILL).
    pub(crate) fn kill9(&mut self, node_id: i32) {
        self.node(node_id).jvm = None;
    }

    /// Shuts a node down in order (SIGTERM).
    pub(crate) fn stop(&mut self, node_id: i32) {
        if let Some(mut jvm) = self.node(node_id).jvm.take() {
            jvm.stop();
        }
    }

    /// Freezes a node: its connections stay open and nothing answers (SIGSTOP).
    pub(crate) fn freeze(&mut self, node_id: i32) {
        let node = self.node(node_id);
        node.signal(Signal::STOP);
        let is_frozen = || node.jvm.as_ref()?.is_frozen().then_some(());
        wait_for(START_MAX, is_frozen).expect("a stopped process stops");
    }

    /// Lets a frozen node go on (SIGCONT).
    pub(crate) fn thaw(&mut self, node_id: i32) {
        self.node(node_id).signal(Signal::CONT);
    }

    /// Starts a node again on its data and ports, and waits until it and all that run know each other.
    pub(crate) fn restart(&mut self, node_id: i32) {
        self.kill9(node_id);
        let (installation, cluster_id) = (self.installation, self.cluster_id.clone());
        let features = self.features.clone();
        self.node(node_id)
            .start(installation, &cluster_id, &features);
        if let Err(log) = self.wait_until_complete() {
            panic!("a node ended while it started\n{log}");
        }
    }

    /// Whether the node answers a client now.
    pub(crate) fn answers(&self, node_id: i32) -> bool {
        let node = self.nodes.iter().find(|node| node.id == node_id).unwrap();
        metadata_probe::ask(node.port).is_some_and(|view| view.cluster_id == self.cluster_id)
    }

    fn node(&mut self, node_id: i32) -> &mut Node {
        self.nodes
            .iter_mut()
            .find(|node| node.id == node_id)
            .unwrap()
    }

    /// Chooses ports and writes every node's properties file.
    fn configure(&mut self, options: &KafkaOptions<'_>) {
        let ids = 1..=i32::from(options.brokers);
        let ports: Vec<(i32, u16, u16)> = ids.map(|id| (id, free_port(), free_port())).collect();
        let voters: Vec<String> = ports
            .iter()
            .map(|(id, _, port)| format!("{id}@127.0.0.1:{port}"))
            .collect();
        for &(id, port, controller_port) in &ports {
            let dir = self.dir.join(format!("node-{id}"));
            fs::create_dir_all(&dir).unwrap();
            let mut text = server_properties(options.brokers);
            let mut listeners =
                format!("BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}");
            let mut advertised = format!("BROKER://127.0.0.1:{port}");
            if let Some(proxied) = options.proxied {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
                listeners += &format!(",PROXIED://{address}");
                advertised += &format!(",PROXIED://{}", proxied(id, address));
            }
            let mut more = BTreeMap::new();
            let mut protocols = PROTOCOLS.to_owned();
            for (name, protocol) in options.listeners {
                let port = free_port();
                let address = format!(",{name}://127.0.0.1:{port}");
                listeners += &address;
                advertised += &address;
                protocols += &format!(",{name}:{protocol}");
                more.insert((*name).to_owned(), port);
            }
            let own = [
                ("listener.security.protocol.map", protocols),
                ("node.id", id.to_string()),
                ("log.dirs", dir.join("data").display().to_string()),
                ("controller.quorum.voters", voters.join(",")),
                ("listeners", listeners),
                ("advertised.listeners", advertised),
            ];
            for (name, value) in own {
                text += &format!("{name}={value}\n");
            }
            for (name, value) in options.properties {
                text += &format!("{name}={value}\n"); // The last of equal names counts.
            }
            fs::write(dir.join("server.properties"), text).unwrap();
            self.nodes.push(Node {
                id,
                port,
                listeners: more,
                dir,
                jvm: None,
            });
        }
    }

    /// Waits until every running node lists all running nodes; fails with the log of one that ended instead.
    fn wait_until_complete(&mut self) -> Result<(), String> {
        let answer = wait_for(START_MAX, || match self.is_complete() {
            Ok(false) => None,
            answer => Some(answer.map(|_| ())),
        });
        answer.unwrap_or_else(|| panic!("the nodes do not know each other after {START_MAX:?}"))
    }

    fn is_complete(&mut self) -> Result<bool, String> {
        let running: Vec<i32> = self
            .nodes
            .iter()
            .filter(|node| node.jvm.is_some())
            .map(|node| node.id)
            .collect();
        for node in &mut self.nodes {
            let Some(jvm) = &mut node.jvm else { continue };
            if jvm.has_ended() {
                return Err(jvm.log_tail());
            }
            let view = metadata_probe::ask(node.port);
            if view.is_none_or(|view| {
                view.cluster_id != self.cluster_id
                    || !running.iter().all(|id| view.node_ids.contains(id))
            }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.jvm = None;
        }
        if thread::panicking() {
            eprintln!(
                "the files of the cluster stay in {} until the next run",
                self.dir.display()
            );
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Node {
    fn start(&mut self, installation: &Installation, cluster_id: &str, features: &[String]) {
        let properties = self.dir.join("server.properties").display().to_string();
        let arguments = [&[cluster_id.to_owned(), properties], features].concat();
        let options = JvmOptions {
            class: "FormattedKafka",
            arguments,
            heap_mib: BROKER_HEAP_MIB,
            log_level: "INFO",
            log: self.dir.join("log"),
            piped: false,
        };
        self.jvm = Some(Jvm::start(installation, options));
    }

    fn signal(&self, signal: Signal) {
        self.jvm
            .as_ref()
            .expect("only a running node takes signals")
            .signal(signal);
    }
}

/// The defaults of every cluster: no waiting, small internal topics, and nothing thrown away because it looks old.
///
/// A killed node may register again only when its session is over, hence the short session.
fn server_properties(brokers: u16) -> String {
    let replicas = brokers.min(3);
    let in_sync = if brokers < 3 { 1 } else { 2 };
    format!(
        "process.roles=broker,controller
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
auto.create.topics.enable=false
num.partitions=1
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=2
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
log.message.timestamp.before.max.ms={forever}
log.message.timestamp.after.max.ms={forever}
log.roll.ms={forever}
log.retention.ms=-1
log.cleaner.threads=1
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=2
background.threads=2
",
        forever = i64::MAX
    )
}

/// A cluster id of this process: 16 bytes in URL-safe Base64 that do not begin with `-`, which
/// `kafka.tools.StorageTool` takes for an option.
fn cluster_id(number: u32) -> String {
    format!("kmirror{:07}{number:07}A", std::process::id())
}

/// A loopback port nobody listens on now. Distinct for every call until the range is used up.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end() - PORTS.start() + 1;
    // Test processes that run side by side begin at different places.
    let first = u16::try_from(std::process::id() * 32 % u32::from(count)).unwrap();
    for _ in 0..count {
        let port = PORTS.start() + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// MirrorMaker 2 in dedicated mode. It ends with this value, and at the latest with the test process.
pub(crate) struct MirrorMaker {
    jvm: Jvm,
}

impl MirrorMaker {
    /// Starts MirrorMaker 2 on the text of its properties file; `None` skips the test. It takes seconds to begin, so
    /// wait for what it is to do.
    pub(crate) fn start(properties: &str) -> Option<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let installation = Installation::or_skip()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = installation.run_dir(&format!("mirror-maker-{number}"));
        let file = dir.join("mm2.properties");
        fs::write(&file, properties).unwrap();
        let options = JvmOptions {
            class: "org.apache.kafka.connect.mirror.MirrorMaker",
            arguments: vec![file.display().to_string()],
            heap_mib: MIRROR_MAKER_HEAP_MIB,
            log_level: "INFO",
            log: dir.join("log"),
            piped: false,
        };
        Some(Self {
            jvm: Jvm::start(installation, options),
        })
    }

    /// Shuts it down in order (SIGTERM), so that it commits its positions.
    pub(crate) fn stop(mut self) {
        self.jvm.stop();
    }

    /// Ends it at once, as a crash would (SIGKILL).
    pub(crate) fn kill9(self) {
        drop(self);
    }

    /// Freezes it (SIGSTOP).
    pub(crate) fn freeze(&self) {
        self.jvm.signal(Signal::STOP);
        let is_frozen = || self.jvm.is_frozen().then_some(());
        wait_for(START_MAX, is_frozen).expect("a stopped process stops");
    }

    /// Lets it go on after a [`Self::freeze`] (SIGCONT).
    pub(crate) fn thaw(&self) {
        self.jvm.signal(Signal::CONT);
    }
}

/// A member of a consumer group, in a process of its own; see [`Kafka::join`].
pub(crate) struct Member {
    _jvm: Jvm,
}
