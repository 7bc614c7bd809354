//! A MirrorMaker 2 properties file, read and validated whole.
//!
//! Reports every mistake at once, each with file, line and key. Does no I/O but reading the file and
//! what its config providers refer to. Values of secrets never leave it: no error, notice or `Debug`
//! output holds one. What came out of a config provider counts as a secret in every text; only the
//! typed values of a [`Config`] hold it where they must, as addresses or names of topics.
//!
//! Sources: `MirrorMakerConfig` (how one flat file becomes many configurations), `ConfigDef`
//! (types), `ConfigTransformer` (config providers), `MirrorSourceConfig` and its siblings (keys) of Apache Kafka.

mod effective;
mod error;
mod flow;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod jaas;
mod layers;
pub mod properties;
mod providers;
mod reader;
mod security;
pub mod settings;
mod usage;

use std::{collections::BTreeMap, path::Path, time::Duration};

pub use effective::{Effective, Origin, Section, Shown};
pub use error::{ConfigError, Finding, Mistakes, Notice};
use providers::{Nowhere, System};
pub use security::{SaslConfig, SecurityConfig, StoreConfig, TlsConfig};

use crate::policy::{NameFilter, PropertyFilter, ReplicationPolicy, StartRules, TopicFilter};

/// What to replicate between which clusters.
#[derive(Debug, Clone)]
pub struct Config {
    /// The clusters that take part in a flow or have heartbeats, in the order of `clusters`.
    pub clusters: Vec<ClusterConfig>,
    /// The flows to run; empty only where all that is to be done is to emit heartbeats. Source and
    /// target name members of `clusters`.
    pub flows: Vec<FlowConfig>,
    /// The heartbeats to emit, from and to members of `clusters`; MM2 emits them between all
    /// clusters, whether records are copied between them or not.
    pub heartbeats: Vec<HeartbeatConfig>,
    /// Bounds of the whole process.
    pub limits: Limits,
    /// Where HTTP is served, if it is.
    pub http_listen: Option<HostPort>,
    /// Every setting as it holds and where it stands, for people to read.
    pub effective: Effective,
}

/// How to reach one cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Its alias in the file.
    pub alias: String,
    /// Where to ask for the cluster's brokers; never empty.
    pub bootstrap: Vec<HostPort>,
    /// The same as reports show it: what came out of a config provider as the reference to it.
    pub bootstrap_shown: String,
    /// What this program calls itself towards the cluster.
    pub client_id: String,
    /// How connections to it are made safe.
    pub security: SecurityConfig,
}

/// A broker address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// One flow `source->target`.
#[derive(Debug, Clone)]
pub struct FlowConfig {
    /// Alias of the cluster read from.
    pub source: String,
    /// Alias of the cluster written to.
    pub target: String,
    /// How remote topics are named.
    pub policy: ReplicationPolicy,
    /// Which topics are replicated.
    pub topic_filter: TopicFilter,
    /// Which topic properties are copied.
    pub property_filter: PropertyFilter,
    /// Whose value a property left at its default gets on a new remote topic.
    pub use_defaults_from: DefaultsFrom,
    /// Replication factor of new remote topics; `None` leaves it to the target's brokers.
    pub replication_factor: Option<i16>,
    /// Where positions in the source are stored, on the target.
    pub offsets_topic: OffsetsTopic,
    /// Where offset syncs are published, if they are.
    pub offset_syncs: Option<OffsetSyncsConfig>,
    /// Which groups are told of on the target, if they are.
    pub groups: Option<GroupsConfig>,
    /// How often the properties of remote topics are compared with their sources', at least a second;
    /// `None` never.
    pub topic_configs_interval: Option<Duration>,
    /// How ACLs follow the source's; `None` not at all.
    pub acls: Option<AclsConfig>,
    /// Where partitions start of which nothing is stored.
    pub starts: StartRules,
    /// Whether records of open and aborted transactions are read.
    pub isolation: Isolation,
    /// How much is fetched at once.
    pub fetch: FetchLimits,
    /// How often new topics and partitions are looked for; `None` only at the start.
    pub discovery_interval: Option<Duration>,
    /// How often positions are stored.
    pub positions_interval: Duration,
    /// How often a record may be on the target.
    pub delivery: Delivery,
    /// Of transactions, where that is how it delivers.
    pub transactions: Transactions,
    /// What a partition does when source records are gone before they were copied.
    pub on_gap: OnGap,
    /// What a partition does when its source topic was created again.
    pub on_recreated: OnRecreated,
    /// What becomes of a remote partition with records that no stored state explains.
    pub adopt: Adopt,
    /// Replication factor of the state topic; `None` leaves it to the target's brokers.
    pub state_replication_factor: Option<i16>,
    /// How long a flow whose source topic is compacted waits before it writes under a new lineage.
    pub quiesce: Duration,
    /// A process that was paused for longer proves its positions again before it writes.
    pub lease: Duration,
    /// How often anchors are stored.
    pub anchors: AnchorSpacing,
}

impl FlowConfig {
    /// How logs and messages call it: `source->target`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}->{}", self.source, self.target)
    }
}

/// Heartbeats from `source` to `target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Alias of the cluster that they speak of.
    pub source: String,
    /// Alias of the cluster that they are written to.
    pub target: String,
    /// Replication factor of a new topic; `None` leaves it to the target's brokers.
    pub replication_factor: Option<i16>,
    /// How often, at least a second.
    pub interval: Duration,
}

/// `kmirror.delivery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Once, for every reader: the target's sequence check and proofs against its log.
    ExactlyOnce,
    /// Once or, after a failure, more often.
    AtLeastOnce,
    /// Once, for readers of committed records: with the positions in the target's transactions.
    Transactional,
}

/// What transactions are written under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transactions {
    /// `kmirror.transactional.id`.
    pub transactional_id: String,
    /// After which the target aborts one, at least twice as long as positions wait to be stored.
    pub timeout: Duration,
}

/// `kmirror.on-gap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// The gap is recorded and reported, and copying goes on behind it.
    Continue,
    /// The partition halts.
    Halt,
}

/// `kmirror.on-recreated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRecreated {
    /// The partition halts.
    Halt,
    /// The new topic is copied from its start, behind the records of the old one.
    Append,
}

/// `kmirror.adopt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// The partition halts; the operator chooses.
    Ask,
    /// The position is found by comparing the records on both sides.
    Prove,
    /// The stored position is believed; without one copying starts at the source's first record.
    Stored,
    /// Copying starts at the source's first record.
    Earliest,
    /// Copying starts behind the source's last record.
    Latest,
}

/// How often anchors are stored: whatever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorSpacing {
    /// Time between two anchors of a partition that is copied.
    pub interval: Duration,
    /// Record bytes between two, at least 1.
    pub bytes: u64,
}

/// `use.defaults.from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultsFrom {
    /// Properties at the source's default are left out, so the target's default holds.
    Target,
    /// Properties at the source's default are copied as if they were set.
    Source,
}

/// The topic of stored positions; compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetsTopic {
    /// Its name.
    pub name: String,
    /// Partitions when it is created, at least 1; `None` leaves the number to the brokers.
    pub partitions: Option<i32>,
    /// Replication factor when it is created; `None` leaves it to the brokers.
    pub replication_factor: Option<i16>,
    /// Properties when it is created, beside its cleanup policy, by name.
    pub properties: BTreeMap<String, String>,
}

/// Where offset syncs are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetSyncsConfig {
    /// On which cluster.
    pub location: Location,
    /// The topic there.
    pub topic: String,
    /// Replication factor of a new topic; `None` leaves it to the brokers.
    pub replication_factor: Option<i16>,
}

/// Which consumer groups are told of on the target.
#[derive(Debug, Clone)]
pub struct GroupsConfig {
    /// Groups to tell of.
    pub include: NameFilter,
    /// Groups not to tell of, although included.
    pub exclude: NameFilter,
    /// The topic of checkpoints, on the target.
    pub checkpoints_topic: String,
    /// Replication factor of a new topic; `None` leaves it to the brokers.
    pub replication_factor: Option<i16>,
    /// How often checkpoints are published, at least a second.
    pub checkpoints_interval: Duration,
    /// How often positions are committed on the target, at least a second; `None` never.
    pub sync_interval: Option<Duration>,
}

/// How ACLs follow the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclsConfig {
    /// How often both sides are compared, at least a second.
    pub interval: Duration,
    /// `kmirror.sync.acls.prefixed`.
    pub prefixed: bool,
    /// `kmirror.sync.acls.groups`; without checkpoints no group is told of, and none is taken.
    pub groups: bool,
    /// `kmirror.sync.acls.remove`; never under the identity policy.
    pub remove: bool,
}

/// `offset-syncs.topic.location`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// On the cluster that is read.
    Source,
    /// On the cluster that is written.
    Target,
}

/// `isolation.level` of the source consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Every record.
    ReadUncommitted,
    /// Records of committed transactions, and those of none.
    ReadCommitted,
}

/// How much one flow fetches at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes in one fetch response, at least 1.
    pub bytes_max: i32,
    /// Bytes of one partition in one fetch response, at least 1.
    pub partition_bytes_max: i32,
    /// Connections that fetch from one broker, at least 1.
    pub connections_per_broker: usize,
}

/// Bounds of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes fetched and not yet acknowledged by a target, at least 1.
    pub memory_bytes: usize,
    /// How long a broker may take to answer one request.
    pub request_timeout: Duration,
    /// How long a stop may take until what is in flight is given up.
    pub shutdown_timeout: Duration,
}

/// What the command line adds to the file.
#[derive(Debug, Clone, Default)]
pub struct ParseOptions {
    /// `--clusters`: run only flows whose target is one of these; `None` runs all.
    pub clusters_served: Option<Vec<String>>,
}

impl Config {
    /// Reads and validates the file at `path`, with what its config providers refer to.
    ///
    /// # Errors
    /// Every mistake in the file, in the order of its lines; or that it cannot be read.
    pub fn load(path: &Path, options: &ParseOptions) -> Result<(Self, Vec<Notice>), Mistakes> {
        let file = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => reader::read(&file, &bytes, options, &System),
            Err(error) => Err(Mistakes {
                errors: vec![ConfigError(Finding {
                    file,
                    line: None,
                    key: None,
                    problem: format!("cannot read the file: {error}"),
                    hint: None,
                })],
                notices: Vec::new(),
            }),
        }
    }

    /// Validates the file `file` with the content `bytes`. Reads nothing else: its config providers
    /// find no files and no variables.
    ///
    /// # Errors
    /// Every mistake in the file, in the order of its lines.
    pub fn parse(
        file: &str,
        bytes: &[u8],
        options: &ParseOptions,
    ) -> Result<(Self, Vec<Notice>), Mistakes> {
        reader::read(file, bytes, options, &Nowhere)
    }

    /// Finds a cluster by its alias.
    #[must_use]
    pub fn cluster(&self, alias: &str) -> Option<&ClusterConfig> {
        self.clusters.iter().find(|cluster| cluster.alias == alias)
    }
}

#[cfg(test)]
mod tests;
