//! Joins the pure flows with the clusters: actions become requests, answers become events.
//!
//! Owns tasks, the clock and shutdown. Decides nothing about replication: every decision is in
//! [`crate::flow`], every byte on a socket in [`crate::cluster`].
//!
//! ```text
//!            Event                    Action
//!  driver ----------> flow::Flow ----------------> driver
//!    ^                                               |  one queue per broker and lane
//!    '---- answers ---- lane ---- cluster <----------'
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock and hands the time on"
)]

pub mod admin;
pub mod check;
pub mod client;
mod convert;
mod driver;
pub mod exchange;
mod groups;
mod heartbeats;
mod lane;
mod numbers;
mod pause;
pub mod questions;
pub mod report;
pub mod stored;
pub mod topic_reader;
pub mod topic_writer;
mod transactions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror_protocol::wire::Uuid;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    cluster::{Cluster, ClusterOptions},
    config::{
        AclsConfig, Adopt, ClusterConfig, Config, DefaultsFrom, Delivery, FlowConfig, GroupsConfig,
        HeartbeatConfig, Isolation, Limits, Location, OffsetSyncsConfig, OnGap, OnRecreated,
    },
    flow::{
        self, FlowOptions, FlowStatus, TransactionOptions, acls::AclOptions, groups::GroupOptions,
        heartbeats::HeartbeatOptions, offset_syncs::SyncsTopic, published::PublishedTopic,
    },
    observe::metrics::Reporter,
    offsets::state::topic_name,
    policy::HEARTBEATS_TOPIC,
};
use driver::Driver;

/// How a flow came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// It was asked to stop, and everything acknowledged is stored.
    Stopped,
    /// It was asked to stop, and time ran out: the tail will be copied again.
    Cut,
    /// It cannot run as configured.
    Refused,
}

/// One flow at work.
#[derive(Debug)]
pub struct RunningFlow {
    /// The alias of its source.
    pub source: String,
    /// The alias of its target.
    pub target: String,
    /// Where it stands, about once a second.
    pub status: watch::Receiver<FlowStatus>,
    task: JoinHandle<FlowEnd>,
}

impl RunningFlow {
    /// How logs call it: `source->target`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}->{}", self.source, self.target)
    }
}

/// All flows of a configuration at work.
#[derive(Debug)]
pub struct Engine {
    /// The flows, in the order of the configuration.
    pub flows: Vec<RunningFlow>,
    emitters: Vec<JoinHandle<()>>,
    numbers: Arc<numbers::Flows>,
    stop: watch::Sender<bool>,
}

impl Engine {
    /// Starts every flow of `config` on the current runtime. Never fails: a cluster that cannot be
    /// reached is asked again until it answers.
    #[must_use]
    pub fn start(config: &Config) -> Self {
        let clusters: BTreeMap<&str, Cluster> = config
            .clusters
            .iter()
            .map(|cluster| (cluster.alias.as_str(), connect(cluster, &config.limits)))
            .collect();
        // The budget is the process's: each flow gets an equal share.
        let limits = Limits {
            memory_bytes: config.limits.memory_bytes / config.flows.len().max(1),
            ..config.limits
        };
        let (stop, stopping) = watch::channel(false);
        let mut numbers = numbers::Flows::default();
        let running = config.flows.iter().filter_map(|flow| {
            let source = clusters.get(flow.source.as_str())?.clone();
            let target = clusters.get(flow.target.as_str())?.clone();
            let (status_out, status) = watch::channel(FlowStatus::default());
            let (questions, asked) = mpsc::channel(numbers::QUESTIONS_MAX);
            numbers.add(&flow.source, &flow.target, questions);
            let driver = Driver::new(
                flow_options(flow, &limits),
                questions::Ends { source, target },
                driver::DriverOptions {
                    name: flow.name(),
                    isolation_level: match flow.isolation {
                        Isolation::ReadUncommitted => 0,
                        Isolation::ReadCommitted => 1,
                    },
                    request_timeout: config.limits.request_timeout,
                },
                driver::Watchers {
                    status: status_out,
                    asked,
                },
            );
            Some(RunningFlow {
                source: flow.source.clone(),
                target: flow.target.clone(),
                status,
                task: tokio::spawn(driver.run(stopping.clone())),
            })
        });
        let flows = running.collect();
        let numbers = Arc::new(numbers);
        let emitters = config.heartbeats.iter().filter_map(|heartbeats| {
            let target = clusters.get(heartbeats.target.as_str())?.clone();
            let timeout = config.limits.request_timeout;
            let options = heartbeat_options(heartbeats);
            let emission = heartbeats::emit(options, target, timeout, stopping.clone());
            Some(tokio::spawn(emission))
        });
        let emitters = emitters.collect();
        Self {
            flows,
            emitters,
            numbers,
            stop,
        }
    }

    /// Tells where the flows stand whenever it is asked, until they have ended.
    #[must_use]
    pub fn reporter(&self) -> Arc<dyn Reporter> {
        Arc::<numbers::Flows>::clone(&self.numbers)
    }

    /// Asks every flow to stop; [`Engine::ended`] tells when they have.
    pub fn stop(&self) {
        // Without receivers every flow has ended already.
        let _ = self.stop.send(true);
    }

    /// Waits until every flow has ended.
    pub async fn ended(self) -> Vec<FlowEnd> {
        let mut ends = Vec::with_capacity(self.flows.len());
        for flow in self.flows {
            // A task that panicked has aborted the process; one that was cancelled was cut.
            ends.push(flow.task.await.unwrap_or(FlowEnd::Cut));
        }
        for emitter in self.emitters {
            // Nothing is lost with a heartbeat.
            let _ = emitter.await;
        }
        ends
    }
}

/// A cluster of the configuration, not yet connected.
#[must_use]
pub fn connect(cluster: &ClusterConfig, limits: &Limits) -> Cluster {
    let bootstrap = cluster
        .bootstrap
        .iter()
        .map(|server| (server.host.clone(), server.port))
        .collect();
    let defaults = ClusterOptions::new(&cluster.alias, bootstrap);
    Cluster::new(ClusterOptions {
        client_id: cluster.client_id.clone(),
        request_timeout: limits.request_timeout,
        connect_timeout: defaults.connect_timeout.min(limits.request_timeout),
        security: convert::security(&cluster.security),
        ..defaults
    })
}

/// Milliseconds since the Unix epoch, as this machine has it.
#[must_use]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// How long a flow without a discovery interval waits: as good as never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

fn heartbeat_options(heartbeats: &HeartbeatConfig) -> HeartbeatOptions {
    HeartbeatOptions {
        source_alias: heartbeats.source.clone(),
        target_alias: heartbeats.target.clone(),
        topic: PublishedTopic {
            name: Arc::from(HEARTBEATS_TOPIC),
            replication_factor: heartbeats.replication_factor.unwrap_or(-1),
        },
        interval: heartbeats.interval,
    }
}

fn syncs_topic(syncs: &OffsetSyncsConfig) -> SyncsTopic {
    SyncsTopic {
        side: match syncs.location {
            Location::Source => flow::Side::Source,
            Location::Target => flow::Side::Target,
        },
        topic: PublishedTopic {
            name: Arc::from(syncs.topic.as_str()),
            replication_factor: syncs.replication_factor.unwrap_or(-1),
        },
    }
}

fn group_options(groups: &GroupsConfig) -> GroupOptions {
    GroupOptions {
        include: groups.include.clone(),
        exclude: groups.exclude.clone(),
        topic: PublishedTopic {
            name: Arc::from(groups.checkpoints_topic.as_str()),
            replication_factor: groups.replication_factor.unwrap_or(-1),
        },
        checkpoints_interval: groups.checkpoints_interval,
        sync_interval: groups.sync_interval,
    }
}

fn acl_options(acls: AclsConfig) -> AclOptions {
    AclOptions {
        interval: acls.interval,
        takes_prefixes: acls.prefixed,
        takes_groups: acls.groups,
        removes: acls.remove,
    }
}

fn flow_options(flow: &FlowConfig, limits: &Limits) -> FlowOptions {
    let bytes = |value: i32| usize::try_from(value).unwrap_or(usize::MAX);
    FlowOptions {
        source_alias: flow.source.clone(),
        target_alias: flow.target.clone(),
        policy: flow.policy.clone(),
        topics: flow.topic_filter.clone(),
        properties: flow.property_filter.clone(),
        copies_source_defaults: flow.use_defaults_from == DefaultsFrom::Source,
        replication_factor: flow.replication_factor,
        offsets_topic: flow::OffsetsTopic {
            name: Arc::from(flow.offsets_topic.name.as_str()),
            partition_count: flow.offsets_topic.partitions.unwrap_or(-1),
            replication_factor: flow.offsets_topic.replication_factor.unwrap_or(-1),
            properties: flow.offsets_topic.properties.clone().into_iter().collect(),
        },
        offset_syncs: flow.offset_syncs.as_ref().map(syncs_topic),
        groups: flow.groups.as_ref().map(group_options),
        topic_configs_interval: flow.topic_configs_interval,
        acls: flow.acls.map(acl_options),
        delivery: match flow.delivery {
            Delivery::ExactlyOnce => flow::Delivery::ExactlyOnce,
            Delivery::AtLeastOnce => flow::Delivery::AtLeastOnce,
            Delivery::Transactional => flow::Delivery::Transactional,
        },
        on_gap: match flow.on_gap {
            OnGap::Continue => flow::OnGap::Continue,
            OnGap::Halt => flow::OnGap::Halt,
        },
        on_recreated: match flow.on_recreated {
            OnRecreated::Halt => flow::OnRecreated::Halt,
            OnRecreated::Append => flow::OnRecreated::Append,
        },
        adopt: match flow.adopt {
            Adopt::Ask => flow::Adopt::Ask,
            Adopt::Prove => flow::Adopt::Prove,
            Adopt::Stored => flow::Adopt::Stored,
            Adopt::Earliest => flow::Adopt::Earliest,
            Adopt::Latest => flow::Adopt::Latest,
        },
        state_topic: flow::OffsetsTopic {
            name: Arc::from(topic_name(&flow.source)),
            partition_count: 1,
            replication_factor: flow.state_replication_factor.unwrap_or(-1),
            properties: Vec::new(),
        },
        instance: Uuid(fastrand::u128(..).to_be_bytes()),
        started_ms: now_ms(),
        transactions: TransactionOptions {
            transactional_id: Arc::from(flow.transactions.transactional_id.as_str()),
            timeout: flow.transactions.timeout,
        },
        read_committed: flow.isolation == Isolation::ReadCommitted,
        lease: flow.lease,
        quiesce: flow.quiesce,
        anchor_interval: flow.anchors.interval,
        anchor_bytes: flow.anchors.bytes,
        state_write_records_max: flow::limits::STATE_RECORDS_AT_ONCE,
        starts: flow.starts.clone(),
        discovery_interval: flow.discovery_interval.unwrap_or(NEVER),
        positions_interval: flow.positions_interval,
        drain_timeout: limits
            .shutdown_timeout
            .saturating_sub(Duration::from_secs(1)),
        memory_bytes: limits.memory_bytes,
        fetch_bytes_max: bytes(flow.fetch.bytes_max),
        partition_fetch_bytes_max: bytes(flow.fetch.partition_bytes_max),
        fetch_lanes: u8::try_from(flow.fetch.connections_per_broker).unwrap_or(u8::MAX),
    }
}
