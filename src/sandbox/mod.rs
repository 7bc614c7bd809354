//! An in-memory Kafka cluster: for the demo, tests, benches and the simulator.
//!
//! ```text
//!  client ⇄ server ──frame──▶ Cluster::handle ──▶ api ──▶ topic ▶ partition ▶ replica ▶ log
//!              ▲                    │              │ │       ▲       └─ elections      ├─ producers
//!              │               Outcome:            │ └─ validate                       ├─ leader epochs
//!              └── Reply, Parked, NoReply, Close   │         │                         ├─ aborted transactions
//!                                                  ├─ transactions                     └─ batches as Bytes
//!                                   commands ──────┴─ groups
//! ```
//!
//! [`Cluster`] is a state machine: requests and time go in, answers come out. It does no I/O,
//! reads no clock, starts no task, and two clusters given the same inputs answer the same bytes.
//! [`server`] is the only file here that knows sockets.
//!
//! It answers as Apache Kafka 4 does, error code for error code, for what it serves; it is a
//! broker to test against, not one to keep data in. Deliberate differences:
//!
//! * Replication takes no time: followers have a batch, and know that it is committed, as soon
//!   as their leader has it, unless a follower is held back by command. A replica leaves the ISR
//!   and enters it by command, or with its broker.
//! * Brokers fail and return by command, and the controller learns of it at once. A broker that
//!   returns is not suspected to have lost what it had: it stays an eligible leader. Nothing that
//!   it had deleted comes back; in Kafka it does when the broker crashes soon after DeleteRecords.
//! * DeleteRecords does not wait for followers that are held back.
//! * Groups are of the classic protocol only (no KIP-848), their state is in memory and not in a
//!   topic, and committed offsets never expire.
//! * Transactions end at once: Kafka answers EndTxn before the markers are written, and may answer
//!   `CONCURRENT_TRANSACTIONS` until they are; here it does so only while a command holds them
//!   back, or a partition has no leader or followers that are held back. Ids are never forgotten (`transactional.id.expiration.ms`).
//! * Profiles of other brokers differ in the APIs, versions and request length they offer, not in
//!   what they check.
//! * A request for an API or version that is not served closes the connection with a reason, as
//!   Kafka does.
//!
//! Offsets count records, sizes bytes, and times are milliseconds since 1970.

mod aborted;
mod acls;
mod api;
mod client;
mod commands;
mod compaction;
mod config;
mod control;
mod coordinators;
mod elections;
mod groups;
mod leader_epochs;
mod log;
mod ongoing;
mod parked;
mod producers;
mod profiles;
mod quotas;
mod random;
mod replica;
pub mod server;
mod sessions;
mod topic;
mod transactions;
mod validate;
mod verification;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kmirror_protocol::{ErrorCode, wire::Uuid};

pub use acls::AuthorizerOptions;
pub use client::{Client, User};
pub use parked::Ticket;
pub use profiles::{Feature, Profile};

use acls::Acls;
use groups::Groups;
use parked::ParkedRequests;
use quotas::Quotas;
use random::Random;
use sessions::FetchSessions;
use topic::{Partition, Topic};
use transactions::{Coordinator, ProducerIds, Protocol};

/// A moment, in milliseconds since 1970: the only notion of time in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `ms` milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Where a broker of the cluster can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The node id.
    pub id: i32,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
}

/// What a cluster is made of, and its limits.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The cluster id.
    pub cluster_id: String,
    /// At least one broker; the first is the controller.
    pub brokers: Vec<Broker>,
    /// What topic ids and replica placement are drawn from.
    pub seed: u64,
    /// How many bytes of batches a partition keeps; beyond it the oldest batches are deleted.
    pub retained_bytes_max: usize,
    /// How long a partition remembers a producer after its newest record
    /// (`producer.id.expiration.ms`), in milliseconds.
    pub producer_id_expiration_ms: i64,
    /// The finalized level of the feature `transaction.version`, from 0 to 2: from 2 on producer
    /// epochs are bumped with each transaction (KIP-890).
    pub transaction_version: i16,
    /// The broker to pass for.
    pub profile: Profile,
    /// Whether asking for the metadata of a topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// How many partitions a topic gets whose creator does not say (`num.partitions`), at least 1.
    pub partition_count_default: i32,
    /// Who may connect; if there is anybody, clients must say who they are with SASL PLAIN.
    pub users: Vec<User>,
    /// Whether access is restricted by rules; without it everybody may do everything.
    pub authorizer: Option<AuthorizerOptions>,
    /// How long an empty group waits for more members once the first has joined
    /// (`group.initial.rebalance.delay.ms`), in milliseconds; 0 here, 3000 in Kafka.
    pub group_initial_rebalance_delay_ms: i64,
    /// The shortest session timeout of a member (`group.min.session.timeout.ms`), in milliseconds.
    pub group_min_session_timeout_ms: i32,
    /// The longest (`group.max.session.timeout.ms`), in milliseconds.
    pub group_max_session_timeout_ms: i32,
}

impl ClusterOptions {
    /// A cluster of `broker_count` brokers with ids from 0, advertised as `localhost:9092` and up.
    ///
    /// At least one broker is made whatever the count.
    #[must_use]
    pub fn new(cluster_id: &str, broker_count: u16) -> Self {
        let broker = |index: u16| Broker {
            id: i32::from(index),
            host: "localhost".to_owned(),
            port: 9092_u16.saturating_add(index),
        };
        Self {
            cluster_id: cluster_id.to_owned(),
            brokers: (0..broker_count.max(1)).map(broker).collect(),
            seed: 0,
            retained_bytes_max: 1 << 30,
            producer_id_expiration_ms: 86_400_000,
            transaction_version: 2,
            profile: Profile::default(),
            auto_create_topics: false,
            partition_count_default: 1,
            users: Vec::new(),
            authorizer: None,
            group_initial_rebalance_delay_ms: 0,
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The frame that answers it, length prefix included, in pieces to be sent in order.
    Reply(Vec<Bytes>),
    /// It waits; [`Cluster::poll`] will answer it.
    Parked {
        /// Which answer of [`Cluster::poll`] will be the one.
        ticket: Ticket,
        /// When to call [`Cluster::poll`] at the latest, unless [`Cluster::deadline`] changes.
        deadline: Timestamp,
    },
    /// The same, from somebody who went over a quota: nothing more of the connection may be read
    /// until then.
    Throttled {
        /// The answer.
        pieces: Vec<Bytes>,
        /// When reading may go on.
        until: Timestamp,
    },
    /// It is never answered (Produce with `acks` 0).
    NoReply,
    /// The connection must be closed, for this reason.
    Close(String),
}

/// A Kafka cluster as a state machine.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    topics: BTreeMap<String, Topic>,
    names: BTreeMap<Uuid, String>,
    producer_ids: ProducerIds,
    transactions: Coordinator,
    groups: Groups,
    parked: ParkedRequests,
    sessions: FetchSessions,
    acls: Acls,
    quotas: Quotas,
    /// How long clients of a broker must wait after each Produce and Fetch, in milliseconds.
    throttle_ms: BTreeMap<i32, i32>,
    /// Iterations by user and SCRAM mechanism.
    scram_iterations: BTreeMap<(String, i8), i32>,
    random: Random,
    /// The brokers that are down.
    stopped: BTreeSet<i32>,
}

impl Cluster {
    /// An empty cluster.
    #[must_use]
    pub fn new(options: ClusterOptions) -> Self {
        Self {
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            producer_ids: ProducerIds::default(),
            transactions: Coordinator::new(Protocol::of_level(options.transaction_version)),
            groups: Groups::new(options.group_initial_rebalance_delay_ms),
            parked: ParkedRequests::default(),
            sessions: FetchSessions::default(),
            acls: Acls::default(),
            quotas: Quotas::default(),
            throttle_ms: BTreeMap::new(),
            scram_iterations: BTreeMap::new(),
            random: Random::new(options.seed),
            stopped: BTreeSet::new(),
            options,
        }
    }

    /// Handles one request that arrived at a broker; `body` is its frame without the length.
    ///
    /// Payloads of produced batches are kept as slices of `body`. Call [`Cluster::poll`]
    /// afterwards: the request may have completed others.
    /// A broker that is down closes the connection.
    pub fn handle(&mut self, now: Timestamp, broker_id: i32, body: &Bytes) -> Outcome {
        self.handle_from(now, broker_id, &mut Client::default(), body)
    }

    /// The same for a connection that is kept from request to request, so that it can say who it
    /// is and be told apart from others.
    pub fn handle_from(
        &mut self,
        now: Timestamp,
        broker_id: i32,
        client: &mut Client,
        body: &Bytes,
    ) -> Outcome {
        if !self.is_running(broker_id) {
            return Outcome::Close(format!("broker {broker_id} is down"));
        }
        transactions::settle(self, now);
        self.groups.advance(now);
        let outcome = api::handle(self, now, broker_id, client, body);
        transactions::settle(self, now);
        outcome
    }

    /// Answers the parked requests that have what they waited for, or whose deadline has come.
    pub fn poll(&mut self, now: Timestamp) -> Vec<(Ticket, Outcome)> {
        transactions::settle(self, now);
        parked::poll(self, now)
    }

    /// When [`Cluster::poll`] must be called again, if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let deadlines = [
            self.parked.deadline(),
            self.groups.deadline(),
            self.transactions.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Drops a parked request whose connection is gone; its member stays in its group.
    pub fn forget(&mut self, ticket: Ticket) {
        // It may have been answered already.
        let _ = self.parked.remove(ticket);
        let _ = self.parked.remove_member(ticket);
    }

    /// The options it was made with.
    #[must_use]
    pub const fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The brokers, the controller first.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.options.brokers
    }

    /// The names of the topics, sorted.
    pub fn topic_names(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// How many partitions a topic has, if there is such a topic.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic).map(|topic| topic.partitions.len())
    }

    /// The first and the next offset of a partition's log on its leader, if there is such a
    /// partition; without a leader, of the preferred one.
    #[must_use]
    pub fn log_range(&self, topic: &str, partition: i32) -> Option<std::ops::Range<i64>> {
        let log = self.partition(topic, partition).ok()?.log()?;
        Some(log.start_offset()..log.end_offset())
    }

    /// The batches that the leader of a partition has, committed or not, in pieces to be read in
    /// order; for those who check what became of a run. Without a leader as [`Cluster::log_range`].
    #[must_use]
    pub fn log_batches(&self, topic: &str, partition: i32) -> Option<Vec<Bytes>> {
        let log = self.partition(topic, partition).ok()?.log()?;
        let range = log.start_offset()..log.end_offset();
        log.read(range.start, range.end, usize::MAX, true).ok()
    }

    /// The broker that leads a partition, if there is such a partition and anybody does.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let leader = self.partition(topic, partition).ok()?.leader;
        (leader != -1).then_some(leader)
    }

    /// Makes clients of a broker wait after each Produce and Fetch, whatever the quotas say; 0 ends
    /// it.
    pub fn throttle(&mut self, broker_id: i32, ms: i32) {
        self.throttle_ms.insert(broker_id, ms.max(0));
    }

    /// Tells clients from now on that a broker is at another address, such as that of a proxy.
    ///
    /// A broker that does not exist changes nothing.
    pub fn advertise(&mut self, broker_id: i32, host: &str, port: u16) {
        let mut brokers = self.options.brokers.iter_mut();
        if let Some(broker) = brokers.find(|broker| broker.id == broker_id) {
            host.clone_into(&mut broker.host);
            broker.port = port;
        }
    }

    /// Whether a broker runs, as one does that nobody has stopped.
    #[must_use]
    pub fn is_running(&self, broker_id: i32) -> bool {
        !self.stopped.contains(&broker_id)
    }

    fn running_brokers(&self) -> impl Iterator<Item = &Broker> {
        let brokers = self.options.brokers.iter();
        brokers.filter(|broker| self.is_running(broker.id))
    }

    fn broker(&self, id: i32) -> Option<&Broker> {
        self.options.brokers.iter().find(|broker| broker.id == id)
    }

    fn topic(&self, name: &str) -> Result<&Topic, ErrorCode> {
        let topic = self.topics.get(name);
        topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    fn topic_by_id(&self, id: Uuid) -> Result<&Topic, ErrorCode> {
        let name = self.names.get(&id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
        self.topic(name)
    }

    fn partition(&self, topic: &str, index: i32) -> Result<&Partition, ErrorCode> {
        self.topic(topic)?.partition(index)
    }

    fn partition_mut(&mut self, topic: &str, index: i32) -> Result<&mut Partition, ErrorCode> {
        let topic = self.topics.get_mut(topic);
        let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        topic.partition_mut(index)
    }

    fn add_topic(&mut self, topic: Topic) {
        self.names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), topic);
    }

    fn remove_topic(&mut self, name: &str) -> Option<Topic> {
        let topic = self.topics.remove(name)?;
        self.names.remove(&topic.id);
        self.groups.delete_topic(name);
        for partition in &topic.partitions {
            self.parked.wake(topic.id, partition.index);
        }
        Some(topic)
    }
}
