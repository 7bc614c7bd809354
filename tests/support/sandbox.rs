//! In-memory clusters behind TCP, and what tests do with a pair of them.

use std::{sync::Arc, time::Duration};

use kmirror::{
    cluster::{Cluster, ClusterOptions, Topics},
    config::{Config, ParseOptions},
    demo::load::{Load, produce},
    flow::{FlowStatus, NewTopic},
    runtime::{Engine, FlowEnd, admin, now_ms, topic_reader},
    sandbox::{self, Timestamp, server::Server},
};
use kmirror_protocol::{
    ErrorCode,
    messages::{
        DeleteRecordsRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
    },
    records::Compression,
};

pub(crate) use kmirror::runtime::topic_reader::OwnedRecord;

use super::proxy::Proxy;

/// For what is sure to happen, if slowly on a machine busy with other things.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// For one request of a test's own client.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A load of small batches, so that a test gets many of them from few bytes.
pub(crate) const LOAD: Load = Load {
    value_bytes: 200,
    batch_bytes: 2_000,
    codec: Compression::None,
    first_timestamp: 1_700_000_000_000,
};

/// One cluster, with a client of it.
pub(crate) struct Side {
    pub(crate) server: Server,
    pub(crate) client: Cluster,
}

impl Side {
    /// Starts a cluster of `broker_count` brokers.
    pub(crate) async fn start(cluster_id: &str, broker_count: u16) -> Self {
        Self::start_with(sandbox::ClusterOptions::new(cluster_id, broker_count)).await
    }

    /// Starts a cluster that is made so.
    pub(crate) async fn start_with(options: sandbox::ClusterOptions) -> Self {
        let cluster_id = options.cluster_id.clone();
        let server = Server::start(options, Timestamp(now_ms())).await.unwrap();
        let addresses = server.addresses();
        let bootstrap = addresses.map(|it| (it.ip().to_string(), it.port()));
        let client = Cluster::new(ClusterOptions::new(&cluster_id, bootstrap.collect()));
        client.refresh_metadata(Topics::All).await.unwrap();
        Self { server, client }
    }

    /// Puts a proxy before the first broker; clients learn only of the proxy from now on.
    pub(crate) async fn proxy(&self) -> Proxy {
        let proxy = Proxy::start(self.server.addresses().next().unwrap()).await;
        let (host, port) = (proxy.address.ip().to_string(), proxy.address.port());
        let cluster = self.server.cluster();
        cluster.lock().unwrap().advertise(0, &host, port);
        proxy
    }

    /// Creates a topic with a replica on every broker.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter();
        let topic = NewTopic {
            name: Arc::from(name),
            partition_count: partitions,
            replication_factor: i16::try_from(self.server.addresses().count()).unwrap(),
            configs: configs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let created = admin::create_topics(&self.client, &[topic], REQUEST_TIMEOUT).await;
        assert!(created[0].1.is_ok(), "{created:?}");
    }

    /// Raises a topic's partitions to `count`.
    pub(crate) async fn add_partitions(&self, name: &str, count: i32) {
        let topic = (Arc::from(name), count);
        let added = admin::add_partitions(&self.client, &[topic], REQUEST_TIMEOUT).await;
        assert!(added[0].1.is_ok(), "{added:?}");
    }

    /// Produces `count` records of a load to a partition, the first of them number `first`.
    pub(crate) async fn produce(
        &self,
        (topic, partition): (&str, i32),
        load: Load,
        first: u64,
        count: u64,
    ) {
        self.client.refresh_metadata(Topics::All).await.unwrap();
        let mut next = first;
        while next < first + count {
            let batch = load.batch(next, first + count - next).unwrap();
            next += u64::from(batch.header.record_count.unsigned_abs());
            let produced = produce(&self.client, topic, partition, batch, REQUEST_TIMEOUT).await;
            produced.unwrap().unwrap();
        }
    }

    /// Deletes a partition's records below an offset. The only broker leads it.
    pub(crate) async fn delete_records(&self, (topic, partition): (&str, i32), before_offset: i64) {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: topic,
                partitions: vec![DeleteRecordsPartition {
                    partition_index: partition,
                    offset: before_offset,
                }]
                .into(),
            }]
            .into(),
            timeout_ms: 30_000,
        };
        let connection = self.client.any_broker().await.unwrap();
        let answer = connection.send(&request).unwrap().await.unwrap();
        let response = answer.decode().unwrap();
        let topic = response.topics.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        assert_eq!(partition.error_code, ErrorCode::NONE);
    }

    /// The next offset of each partition; empty while there is no such topic.
    pub(crate) fn ends(&self, topic: &str) -> Vec<i64> {
        let cluster = self.server.cluster();
        let cluster = cluster.lock().unwrap();
        let count = cluster.partition_count(topic).unwrap_or_default();
        (0..i32::try_from(count).unwrap())
            .map(|partition| cluster.log_range(topic, partition).unwrap().end)
            .collect()
    }

    /// Every record of a topic, by partition and offset.
    pub(crate) async fn read(&self, topic: &str) -> Vec<OwnedRecord> {
        self.client.refresh_metadata(Topics::All).await.unwrap();
        let mut records = topic_reader::read_all(&self.client, topic).await.unwrap();
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

/// Two clusters, A to be copied to B.
pub(crate) struct Pair {
    pub(crate) source: Side,
    pub(crate) target: Side,
}

impl Pair {
    /// Starts both, each of `broker_count` brokers.
    pub(crate) async fn start(broker_count: u16) -> Self {
        Self {
            source: Side::start("source-cluster", broker_count).await,
            target: Side::start("target-cluster", broker_count).await,
        }
    }

    /// Starts both, each of one broker; B has this level of the feature `transaction.version`.
    pub(crate) async fn with_transaction_version(level: i16) -> Self {
        let mut options = sandbox::ClusterOptions::new("target-cluster", 1);
        options.transaction_version = level;
        Self {
            source: Side::start("source-cluster", 1).await,
            target: Side::start_with(options).await,
        }
    }

    /// A file as MM2 users have it, but quicker to look for topics; a key in `more` takes the place
    /// of one here.
    pub(crate) fn properties(&self, more: &str) -> String {
        let usual = format!(
            "clusters = A, B\n\
             A.bootstrap.servers = {}\n\
             B.bootstrap.servers = {}\n\
             A->B.enabled = true\n\
             replication.factor = 1\n\
             offset.storage.replication.factor = 1\n\
             emit.heartbeats.enabled = false\n\
             kmirror.http.listen = \n\
             emit.checkpoints.enabled = false\n\
             emit.offset-syncs.enabled = false\n\
             sync.topic.configs.enabled = false\n\
             kmirror.discovery.interval.ms = 100\n\
             kmirror.positions.interval.ms = 50\n",
            self.source.server.bootstrap(),
            self.target.server.bootstrap(),
        );
        let key = |line: &str| line.split(" = ").next().map(str::to_owned);
        let is_kept = |line: &&str| more.lines().all(|other| key(other) != key(line));
        let kept: Vec<&str> = usual.lines().filter(is_kept).collect();
        format!("{}\n{more}\n", kept.join("\n"))
    }

    /// Starts the engine with such a file.
    pub(crate) fn engine(&self, more: &str) -> Engine {
        engine_of(&self.properties(more))
    }

    /// Waits until B has as many records of a topic as A.
    pub(crate) async fn wait_for_copy(&self, topic: &str) {
        let remote_topic = format!("A.{topic}");
        let what = format!("{remote_topic} ends where {topic} does");
        let is_copied = || {
            let (copied, there) = (self.target.ends(&remote_topic), self.source.ends(topic));
            let mut both = copied.iter().zip(&there);
            let is_within = both.all(|(copied, there)| copied <= there);
            assert!(
                is_within,
                "{topic}: records came twice: {copied:?} of {there:?}"
            );
            copied == there
        };
        eventually(&what, is_copied).await;
    }

    /// Waits until topics are copied, stops the engine, and compares every record: same partition,
    /// offset, key, value, headers and timestamp. Offsets are equal only if nothing came twice.
    pub(crate) async fn finish(&self, engine: Engine, topics: &[&str]) {
        for topic in topics {
            self.wait_for_copy(topic).await;
        }
        stop(engine).await;
        for topic in topics {
            let copied = self.target.read(&format!("A.{topic}")).await;
            let records = self.source.read(topic).await;
            assert!(!records.is_empty(), "{topic} has records");
            assert_eq!(copied, records, "{topic}");
        }
    }
}

/// Starts the engine with this file.
pub(crate) fn engine_of(properties: &str) -> Engine {
    let options = ParseOptions::default();
    let parsed = Config::parse("mm2.properties", properties.as_bytes(), &options);
    Engine::start(&parsed.unwrap().0)
}

/// Stops an engine of one flow, in order.
pub(crate) async fn stop(engine: Engine) {
    engine.stop();
    let ends = tokio::time::timeout(WAIT_MAX, engine.ended()).await;
    assert_eq!(ends.unwrap(), [FlowEnd::Stopped]);
}

/// Waits until the status of the only flow of an engine is so, and returns it.
pub(crate) async fn status_when(
    engine: &Engine,
    is_so: impl FnMut(&FlowStatus) -> bool,
) -> FlowStatus {
    let mut status = engine.flows[0].status.clone();
    let found = tokio::time::timeout(WAIT_MAX, status.wait_for(is_so)).await;
    match found {
        Ok(found) => found.unwrap().clone(),
        Err(_) => panic!("waited {WAIT_MAX:?}: {:?}", engine.flows[0].status.borrow()),
    }
}

/// The next status of the only flow of an engine.
pub(crate) async fn next_status(engine: &Engine) -> FlowStatus {
    let mut status = engine.flows[0].status.clone();
    status.mark_unchanged();
    let changed = tokio::time::timeout(WAIT_MAX, status.changed()).await;
    changed.unwrap().unwrap();
    status.borrow().clone()
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(POLL).await;
        }
    };
    let waited = tokio::time::timeout(WAIT_MAX, wait).await;
    assert!(waited.is_ok(), "waited {WAIT_MAX:?} until {what}");
}
