//! What `kmirror check` finds out: can each flow of a configuration work, and what would it do?
//!
//! Asks the clusters, changes nothing on them. [`gather`] collects facts, [`examine`] judges them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kmirror_protocol::{
    frame::BadPrefix,
    messages::{
        DescribeProducersRequest, FetchRequest, InitProducerIdRequest, MetadataRequest,
        ProduceRequest, metadata::MetadataRequestTopic,
    },
};

use super::{admin, connect, exchange::topics, groups};
use crate::{
    cluster::{Cluster, DisconnectCause, MalformedCause, RequestError, To, Topics},
    config::{Config, Delivery, FlowConfig, HeartbeatConfig, Location},
    flow::{ClusterView, TransactionProtocol},
    observe::counted,
    offsets::state,
    policy::{Decision, HEARTBEATS_TOPIC, SkipReason},
};

/// `AclOperation` codes, which are bit numbers in Metadata answers.
const READ: u32 = 3;
const WRITE: u32 = 4;

/// The first version of InitProducerId by which a producer can go on with its own epoch (KIP-360).
const RECOVERING_INIT: i16 = 3;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The flow cannot work until this is mended.
    Error,
    /// The flow works, but perhaps not as expected.
    Warning,
}

/// One thing that stands in the way, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong, with what.
    pub problem: String,
    /// What the reader can do.
    pub fix: String,
}

/// What one cluster answered.
#[derive(Debug)]
pub struct ClusterFacts {
    /// Its topics and leaders.
    pub view: ClusterView,
    /// How many brokers it has.
    pub broker_count: usize,
    /// Per topic the operations that are allowed, as bits; a topic without an entry was not asked.
    pub operations: BTreeMap<Arc<str>, i32>,
    /// `cleanup.policy` of topics that hold positions or state.
    pub cleanup_policies: BTreeMap<String, String>,
    /// APIs that are needed or useful and that the brokers lack.
    pub missing_apis: Vec<&'static str>,
    /// What the brokers offer for transactions.
    pub transactions: TransactionFacts,
    /// For how many partitions groups have committed something at which copying is to begin; a group
    /// without an entry may not be asked about.
    pub start_groups: BTreeMap<Arc<str>, usize>,
}

/// What brokers offer for transactions.
#[derive(Clone, Copy, Debug)]
pub struct TransactionFacts {
    /// The newest version of InitProducerId; `None` when they lack it.
    pub init_version: Option<i16>,
    /// The finalized level of the feature `transaction.version`.
    pub protocol_level: i16,
}

/// What was found out about every cluster of a configuration, by alias.
pub type Facts = BTreeMap<String, Result<ClusterFacts, RequestError>>;

/// What one flow would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Whether the topics of both clusters are known, so that the numbers mean something.
    pub is_compared: bool,
    /// Source topics that would be copied, with their remote names and partition counts.
    pub topics: Vec<(Arc<str>, String, usize)>,
    /// How many of them would have to be created.
    pub created: usize,
    /// How many topics would not be copied, by reason.
    pub skipped: BTreeMap<SkipReason, usize>,
    /// What stands in the way.
    pub findings: Vec<Finding>,
}

/// Asks every cluster of `config`.
pub async fn gather(config: &Config) -> Facts {
    let mut facts = BTreeMap::new();
    for cluster in &config.clusters {
        let connected = connect(cluster, &config.limits);
        let stores = config
            .flows
            .iter()
            .filter(|flow| flow.target == cluster.alias)
            .flat_map(stores);
        let of_source = |flow: &&FlowConfig| flow.source == cluster.alias;
        let groups = config.flows.iter().filter(of_source).flat_map(start_groups);
        let result = ask(&connected, stores.collect(), groups.collect()).await;
        facts.insert(cluster.alias.clone(), result);
    }
    facts
}

/// The topics on the target in which a flow stores what it must not lose.
fn stores(flow: &FlowConfig) -> [String; 2] {
    [
        flow.offsets_topic.name.clone(),
        state::topic_name(&flow.source),
    ]
}

/// The groups of the source at whose positions a flow's partitions begin.
fn start_groups(flow: &FlowConfig) -> impl Iterator<Item = Arc<str>> {
    flow.starts.groups().map(|(group, _)| Arc::clone(group))
}

async fn ask(
    cluster: &Cluster,
    stores: Vec<String>,
    start_groups: BTreeSet<Arc<str>>,
) -> Result<ClusterFacts, RequestError> {
    let metadata = cluster.refresh_metadata(Topics::All).await?;
    let view = topics::cluster_view(&metadata);
    let missing = [
        ("Produce", cluster.supports::<ProduceRequest<'_>>()),
        ("Fetch", cluster.supports::<FetchRequest<'_>>()),
        (
            "InitProducerId",
            cluster.supports::<InitProducerIdRequest<'_>>(),
        ),
        (
            "DescribeProducers",
            cluster.supports::<DescribeProducersRequest<'_>>(),
        ),
    ];
    let mut cleanup_policies = BTreeMap::new();
    for topic in stores {
        if !view.topics.contains_key(topic.as_str()) {
            continue;
        }
        // What may not be described cannot be judged; `run` will say what comes of it.
        let configs = admin::topic_configs(cluster, &[Arc::from(topic.as_str())]).await;
        let entries = configs
            .unwrap_or_default()
            .into_iter()
            .flat_map(|config| config.entries);
        for entry in entries.filter(|entry| entry.name == "cleanup.policy") {
            let value = entry.value.unwrap_or_default();
            cleanup_policies.insert(topic.clone(), value);
        }
    }
    Ok(ClusterFacts {
        broker_count: metadata.brokers().len(),
        operations: allowed_operations(cluster, &view).await?,
        cleanup_policies,
        missing_apis: missing
            .into_iter()
            .filter(|(_, version)| version.is_none())
            .map(|(name, _)| name)
            .collect(),
        transactions: TransactionFacts {
            init_version: cluster.supports::<InitProducerIdRequest<'_>>(),
            protocol_level: cluster.transaction_version(),
        },
        start_groups: committed(cluster, start_groups).await,
        view,
    })
}

/// For how many partitions each group has committed something, as far as that may be known.
async fn committed(cluster: &Cluster, asked: BTreeSet<Arc<str>>) -> BTreeMap<Arc<str>, usize> {
    let asked: Vec<Arc<str>> = asked.into_iter().collect();
    let answers = groups::offsets(cluster, &asked).await.into_iter();
    let counts = answers.filter_map(|(group, offsets)| {
        let offsets = offsets.ok()?;
        Some((group, offsets.iter().filter(|at| at.offset >= 0).count()))
    });
    counts.collect()
}

async fn allowed_operations(
    cluster: &Cluster,
    view: &ClusterView,
) -> Result<BTreeMap<Arc<str>, i32>, RequestError> {
    let topics = view.topics.keys().map(|name| MetadataRequestTopic {
        name: Some(name),
        ..MetadataRequestTopic::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        include_topic_authorized_operations: true,
        ..MetadataRequest::default()
    };
    let answer = cluster.request(To::Any, &request).await?;
    let response = answer.decode()?;
    let operations = response.topics.iter().filter_map(|topic| {
        let (name, _) = view.topics.get_key_value(topic.name?)?;
        Some((Arc::clone(name), topic.topic_authorized_operations))
    });
    Ok(operations.collect())
}

/// Whether an operation is allowed; brokers that do not tell are believed to allow it.
fn is_allowed(operations: Option<&i32>, operation: u32) -> bool {
    operations.is_none_or(|bits| *bits == i32::MIN || (bits >> operation) & 1 == 1)
}

/// A cluster that says nothing of itself; why is told beside it.
fn unreachable(alias: &str, error: &RequestError) -> Finding {
    let (problem, settings) = match error {
        RequestError::Denied { .. } => (
            "does not let kmirror in",
            format!("{alias}.sasl.mechanism and {alias}.sasl.jaas.config"),
        ),
        RequestError::Disconnected {
            cause: DisconnectCause::Tls(_) | DisconnectCause::ClosedAtOnce,
            ..
        }
        | RequestError::Malformed {
            cause: MalformedCause::Prefix(BadPrefix::Tls),
            ..
        } => (
            "does not talk to kmirror",
            format!("{alias}.security.protocol and the ssl settings of {alias}"),
        ),
        _ => ("does not answer", format!("{alias}.bootstrap.servers")),
    };
    error_finding(
        format!("cluster {alias} {problem}"),
        format!("check {settings}; `kmirror run` would wait for it"),
    )
}

/// What `flow` would do, as far as the facts tell.
#[must_use]
pub fn examine(config: &Config, flow: &FlowConfig, facts: &Facts) -> Outlook {
    let mut outlook = Outlook::default();
    let mut end = |alias: &str| match facts.get(alias) {
        Some(Ok(facts)) => Some(facts),
        Some(Err(error)) => {
            outlook.findings.push(unreachable(alias, error));
            None
        }
        None => None,
    };
    let (source, target) = (end(&flow.source), end(&flow.target));
    if let (Some(source), Some(target)) = (source, target) {
        examine_pair(flow, source, target, &mut outlook);
        examine_heartbeats(config, flow, (source, target), &mut outlook);
    }
    outlook
}

fn error_finding(problem: String, fix: String) -> Finding {
    Finding {
        severity: Severity::Error,
        problem,
        fix,
    }
}

fn warning(problem: String, fix: String) -> Finding {
    Finding {
        severity: Severity::Warning,
        problem,
        fix,
    }
}

fn examine_pair(
    flow: &FlowConfig,
    source: &ClusterFacts,
    target: &ClusterFacts,
    outlook: &mut Outlook,
) {
    if source.view.cluster_id.is_some() && source.view.cluster_id == target.view.cluster_id {
        outlook.findings.push(error_finding(
            format!("{} and {} are the same cluster", flow.source, flow.target),
            String::from("point bootstrap.servers of one of them at another cluster"),
        ));
        return;
    }
    examine_apis((&flow.source, source), (&flow.target, target), outlook);
    outlook.is_compared = true;
    select_topics(flow, source, target, outlook);
    examine_start_groups(flow, source, outlook);
    examine_replication(flow, source, target, outlook);
    if flow.delivery == Delivery::Transactional {
        examine_transactions(flow, target.transactions, outlook);
    }
    examine_rights(flow, source, target, outlook);
    let state_topic = state::topic_name(&flow.source);
    let view = target.view.topics.get(state_topic.as_str());
    if let Some(replicas) = view.and_then(|view| view.too_few_replicas(target.broker_count)) {
        outlook.findings.push(warning(
            format!(
                "topic {state_topic} on {} has {} on {} brokers: with its broker kmirror loses what \
                 it knows",
                flow.target,
                counted(replicas, "replica"),
                target.broker_count
            ),
            String::from("give it more with kafka-reassign-partitions"),
        ));
    }
    for name in stores(flow) {
        let policy = target.cleanup_policies.get(&name);
        let Some(policy) = policy.filter(|policy| *policy != "compact") else {
            continue;
        };
        outlook.findings.push(error_finding(
            format!(
                "topic {name} on {} has cleanup.policy={policy}: positions would be lost",
                flow.target
            ),
            format!("set cleanup.policy=compact on {name}"),
        ));
    }
}

/// What brokers lack; producers are asked about on the target only.
fn examine_apis(
    (source_alias, source): (&str, &ClusterFacts),
    (target_alias, target): (&str, &ClusterFacts),
    outlook: &mut Outlook,
) {
    let of_source = source.missing_apis.iter().map(|api| (source_alias, *api));
    let of_source = of_source.filter(|(_, api)| matches!(*api, "Produce" | "Fetch"));
    let of_target = target.missing_apis.iter().map(|api| (target_alias, *api));
    let findings = of_source.chain(of_target).map(|(alias, api)| {
        let problem = format!("the brokers of {alias} do not offer {api}");
        match api {
            "InitProducerId" => warning(
                format!("{problem}: batches go without sequence numbers, and may come twice"),
                String::from("use a target with idempotent producers for exactly once"),
            ),
            "DescribeProducers" => warning(
                format!("{problem}: producers that they forget go unnoticed"),
                String::from("Apache Kafka 2.8 and later offer it"),
            ),
            _ => error_finding(
                problem,
                String::from("kmirror needs Apache Kafka 2.1 at least"),
            ),
        }
    });
    outlook.findings.extend(findings);
}

fn select_topics(
    flow: &FlowConfig,
    source: &ClusterFacts,
    target: &ClusterFacts,
    outlook: &mut Outlook,
) {
    for (topic, view) in &source.view.topics {
        match flow.topic_filter.wanted(&flow.policy, &flow.target, topic) {
            Ok(Decision::Wanted) => {
                let remote = flow.policy.remote_topic(&flow.source, topic);
                outlook.created += usize::from(!target.view.topics.contains_key(remote.as_str()));
                outlook
                    .topics
                    .push((Arc::clone(topic), remote, view.partitions.len()));
            }
            Ok(Decision::Skipped(reason)) => *outlook.skipped.entry(reason).or_default() += 1,
            Err(undecided) => outlook.findings.push(error_finding(
                format!("topic {topic} cannot be decided about: {undecided}"),
                String::from("simplify the regular expressions of topics and topics.exclude"),
            )),
        }
    }
    if outlook.topics.is_empty() {
        outlook.findings.push(warning(
            format!("no topic of {} is selected", flow.source),
            String::from("check topics and topics.exclude: patterns match whole names"),
        ));
    }
}

/// A setting that says how many replicas a new topic gets, whose cluster is looked at.
struct Factor<'a> {
    name: &'a str,
    wanted: Option<i16>,
    /// Where it is to be set.
    key: String,
    cluster: (&'a str, &'a ClusterFacts),
}

impl Factor<'_> {
    /// What is wrong with it: the cluster has too few brokers.
    fn examine(&self) -> Option<Finding> {
        let (alias, facts) = self.cluster;
        let brokers = facts.broker_count;
        let wanted = usize::try_from(self.wanted?).ok()?;
        let name = self.name;
        (wanted > brokers).then(|| {
            error_finding(
                format!("{name} is {wanted}, more than {alias} has brokers ({brokers})"),
                format!("set {} to {brokers} or less", self.key),
            )
        })
    }
}

/// The topics for MM2's readers: which setting, on which cluster, unless it is there already.
fn published_factors<'a>(
    flow: &'a FlowConfig,
    source: &'a ClusterFacts,
    target: &'a ClusterFacts,
) -> impl Iterator<Item = Factor<'a>> {
    let factor = |name: &'a str,
                  topic: &str,
                  wanted: Option<i16>,
                  cluster: (&'a str, &'a ClusterFacts)| Factor {
        name,
        wanted: wanted.filter(|_| !cluster.1.view.topics.contains_key(topic)),
        key: String::from(name),
        cluster,
    };
    let checkpoints = flow.groups.as_ref().map(|groups| {
        let name = "checkpoints.topic.replication.factor";
        let wanted = groups.replication_factor;
        factor(
            name,
            &groups.checkpoints_topic,
            wanted,
            (&flow.target, target),
        )
    });
    let syncs = flow.offset_syncs.as_ref().map(|syncs| {
        let name = "offset-syncs.topic.replication.factor";
        let cluster = match syncs.location {
            Location::Source => (flow.source.as_str(), source),
            Location::Target => (flow.target.as_str(), target),
        };
        factor(name, &syncs.topic, syncs.replication_factor, cluster)
    });
    checkpoints.into_iter().chain(syncs)
}

fn examine_replication(
    flow: &FlowConfig,
    source: &ClusterFacts,
    target: &ClusterFacts,
    outlook: &mut Outlook,
) {
    let offsets_topic = &flow.offsets_topic;
    let is_missing = |topic: &str| !target.view.topics.contains_key(topic);
    let offsets_factor = offsets_topic
        .replication_factor
        .filter(|_| is_missing(&offsets_topic.name));
    // A factor that the state topic has from the offsets topic is named once.
    let state_factor = flow.state_replication_factor.filter(|_| {
        is_missing(&state::topic_name(&flow.source))
            && flow.state_replication_factor != offsets_factor
    });
    let on_target = |name, wanted, key| Factor {
        name,
        wanted,
        key,
        cluster: (&flow.target, target),
    };
    let asked = [
        on_target(
            "replication.factor",
            flow.replication_factor.filter(|_| outlook.created > 0),
            String::from("replication.factor"),
        ),
        on_target(
            "offset.storage.replication.factor",
            offsets_factor,
            format!("{}.offset.storage.replication.factor", flow.target),
        ),
        on_target(
            "kmirror.state.topic.replication.factor",
            state_factor,
            String::from("kmirror.state.topic.replication.factor"),
        ),
    ];
    let published = published_factors(flow, source, target);
    let findings = asked.into_iter().chain(published);
    let findings = findings.filter_map(|factor| factor.examine());
    outlook.findings.extend(findings);
}

/// The heartbeats of a flow, and those back where no flow leads back.
fn examine_heartbeats(
    config: &Config,
    flow: &FlowConfig,
    (source, target): (&ClusterFacts, &ClusterFacts),
    outlook: &mut Outlook,
) {
    let is_flow = |pair: &HeartbeatConfig| {
        let mut flows = config.flows.iter();
        flows.any(|flow| (&flow.source, &flow.target) == (&pair.source, &pair.target))
    };
    for pair in &config.heartbeats {
        let cluster = if (&pair.source, &pair.target) == (&flow.source, &flow.target) {
            (flow.target.as_str(), target)
        } else if (&pair.target, &pair.source) == (&flow.source, &flow.target) && !is_flow(pair) {
            (flow.source.as_str(), source)
        } else {
            continue;
        };
        let is_missing = !cluster.1.view.topics.contains_key(HEARTBEATS_TOPIC);
        let name = "heartbeats.topic.replication.factor";
        let factor = Factor {
            name,
            wanted: pair.replication_factor.filter(|_| is_missing),
            key: String::from(name),
            cluster,
        };
        outlook.findings.extend(factor.examine());
    }
}

/// Groups that tell nothing of where copying is to begin.
fn examine_start_groups(flow: &FlowConfig, source: &ClusterFacts, outlook: &mut Outlook) {
    let silent = flow
        .starts
        .groups()
        .filter(|(group, _)| source.start_groups.get(*group) == Some(&0));
    outlook.findings.extend(silent.map(|(group, otherwise)| {
        warning(
            format!(
                "group {group} has committed nothing on {}: new partitions begin at {otherwise}",
                flow.source
            ),
            String::from("check the name in kmirror.start and kmirror.start.topics"),
        )
    }));
}

/// What delivery in transactions needs of the target.
fn examine_transactions(flow: &FlowConfig, facts: TransactionFacts, outlook: &mut Outlook) {
    let target = &flow.target;
    if facts
        .init_version
        .is_none_or(|version| version < RECOVERING_INIT)
    {
        outlook.findings.push(error_finding(
            format!(
                "the brokers of {target} cannot raise the epoch of a producer that names its own"
            ),
            String::from(
                "transactional delivery needs Kafka 2.5 or later; leave out kmirror.delivery",
            ),
        ));
    } else if TransactionProtocol::of_level(facts.protocol_level) == TransactionProtocol::V1 {
        outlook.findings.push(warning(
            format!(
                "transactions of {target} have the old protocol: a request that comes late can \
                 touch the next transaction"
            ),
            String::from(
                "from Kafka 4.0 on: kafka-features upgrade --feature transaction.version=2",
            ),
        ));
    }
}

fn examine_rights(
    flow: &FlowConfig,
    source: &ClusterFacts,
    target: &ClusterFacts,
    outlook: &mut Outlook,
) {
    let denied = |facts: &ClusterFacts, topic: &str, operation| {
        !is_allowed(facts.operations.get(topic), operation)
    };
    for (topic, remote_topic, _) in &outlook.topics {
        if denied(source, topic, READ) {
            outlook.findings.push(error_finding(
                format!("reading topic {topic} of {} is not allowed", flow.source),
                String::from("grant Read on the topic; until then it is not copied"),
            ));
        }
        if denied(target, remote_topic, WRITE) {
            outlook.findings.push(error_finding(
                format!(
                    "writing topic {remote_topic} of {} is not allowed",
                    flow.target
                ),
                String::from("grant Write on the topic; until then it is not copied"),
            ));
        }
    }
}
