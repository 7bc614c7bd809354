//! Three brokers that a probe can stop, start and freeze, of the sandbox or of Apache Kafka.

use std::{sync::OnceLock, time::Duration};

use kmirror::sandbox::{ClusterOptions, Timestamp, server::Server};
use kmirror_protocol::{
    ErrorCode, Request,
    messages::{
        CreateTopicsRequest, MetadataRequest,
        create_topics::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        metadata::MetadataRequestTopic,
    },
    wire::Array,
};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    broker::{Answer, Broker, Topic, WAIT_MAX, eventually},
    now_ms,
};
use crate::support::kafka::{Kafka, KafkaOptions};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The brokers' ids.
pub(super) const IDS: [i32; 3] = [1, 2, 3];

/// A cluster of three brokers, all running when a probe begins.
pub(super) enum Brokers {
    Sandbox(Server),
    Kafka(MutexGuard<'static, Kafka>),
}

/// What Metadata tells of a partition; ids are sorted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Led {
    pub(super) code: i16,
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    pub(super) isr: Vec<i32>,
    pub(super) offline: Vec<i32>,
}

/// A partition that is led by `leader`.
pub(super) fn led(leader: i32, leader_epoch: i32, isr: &[i32], offline: &[i32]) -> Led {
    Led {
        code: 0,
        leader,
        leader_epoch,
        isr: isr.to_vec(),
        offline: offline.to_vec(),
    }
}

impl Brokers {
    /// Brokers of the sandbox, whose clock is right.
    pub(super) async fn sandbox() -> Self {
        let mut options = ClusterOptions::new("conformance", 3);
        for (broker, id) in options.brokers.iter_mut().zip(IDS) {
            broker.id = id;
        }
        let server = Server::start(options, Timestamp(now_ms())).await;
        Self::Sandbox(server.unwrap())
    }

    /// The cluster of Kafka that all probes share, one after the other; `None` where Java or
    /// Maven is missing.
    pub(super) async fn kafka() -> Option<Self> {
        static KAFKA: OnceLock<Option<Mutex<Kafka>>> = OnceLock::new();
        let start = || {
            let kafka = Kafka::start(&KafkaOptions {
                brokers: 3,
                properties: &[
                    // Elections happen when a probe asks for one or harms a broker.
                    ("auto.leader.rebalance.enable", "false"),
                ],
                ..KafkaOptions::default()
            });
            kafka.map(Mutex::new)
        };
        let kafka = KAFKA.get_or_init(start).as_ref()?;
        let mut kafka = kafka.lock().await;
        // A probe that failed leaves brokers as they were then.
        for id in IDS {
            if !kafka.answers(id) {
                kafka.restart(id);
            }
        }
        Some(Self::Kafka(kafka))
    }

    /// Ends a broker at once, by SIGKILL.
    pub(super) async fn stop(&mut self, id: i32) {
        match self {
            Self::Sandbox(server) => server.stop_broker(id).await,
            Self::Kafka(kafka) => kafka.kill9(id),
        }
    }

    /// Starts a broker on the logs it had.
    pub(super) async fn start(&mut self, id: i32) {
        match self {
            Self::Sandbox(server) => server.start_broker(id).await.unwrap(),
            Self::Kafka(kafka) => kafka.restart(id),
        }
    }

    /// Lets a follower fetch nothing more for a while: a broker that is frozen for longer than
    /// its session leaves the ISR.
    pub(super) fn freeze(&mut self, id: i32, topic: &Topic) {
        match self {
            Self::Sandbox(server) => server
                .command(|cluster| cluster.hold_back(topic.name, 0, id))
                .unwrap(),
            Self::Kafka(kafka) => kafka.freeze(id),
        }
    }

    /// Lets a frozen follower go on.
    pub(super) fn thaw(&mut self, id: i32, topic: &Topic) {
        match self {
            Self::Sandbox(server) => server
                .command(|cluster| cluster.catch_up(topic.name, 0, id))
                .unwrap(),
            Self::Kafka(kafka) => kafka.thaw(id),
        }
    }

    /// Has a topic compacted; Kafka does so by itself, a moment later.
    pub(super) fn compact(&mut self, topic: &Topic) {
        if let Self::Sandbox(server) = self {
            let now = server.now();
            server
                .command(|cluster| cluster.compact(topic.name, now))
                .unwrap();
        }
    }

    /// A broker's host and port.
    pub(super) fn address(&self, id: i32) -> String {
        match self {
            Self::Sandbox(server) => {
                let mut addresses = IDS.into_iter().zip(server.addresses());
                let (_, address) = addresses.find(|(it, _)| *it == id).unwrap();
                address.to_string()
            }
            Self::Kafka(kafka) => kafka.address(id),
        }
    }

    /// A new connection to a broker.
    pub(super) async fn connect(&self, id: i32) -> Broker {
        Broker::connect(&self.address(id)).await
    }

    /// Asks a broker in the newest version of the message tables.
    pub(super) async fn ask<R: Request>(&self, id: i32, request: &R) -> Answer<R> {
        self.connect(id).await.ask(request).await
    }

    /// Creates a topic of one partition on the given replicas, and waits until all brokers know
    /// who leads it and the leader does.
    pub(super) async fn create_topic(
        &self,
        name: &'static str,
        replicas: &[i32],
        configs: &[(&str, &str)],
    ) -> Topic {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name,
            value: Some(value),
        });
        let assignment = CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: replicas.to_vec().into(),
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name,
                num_partitions: -1,
                replication_factor: -1,
                assignments: vec![assignment].into(),
                configs: configs.collect(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask(replicas[0], &request).await;
        let created = answer.decode().topics.first().unwrap();
        assert_eq!(created.error_code, ErrorCode::NONE, "{created:?}");
        let id = created.topic_id;
        let topic = Topic { name, id };
        let mut isr = replicas.to_vec();
        isr.sort_unstable();
        for broker in IDS {
            self.wait_until(broker, &topic, &led(replicas[0], 0, &isr, &[]))
                .await;
        }
        topic
    }

    /// Waits until a broker tells exactly this of a topic's partition, and the leader knows it.
    pub(super) async fn wait_until(&self, id: i32, topic: &Topic, expected: &Led) {
        let mut seen = None;
        let look = async {
            while seen.as_ref() != Some(expected) {
                tokio::time::sleep(POLL).await;
                seen = self.view(id, topic).await;
            }
        };
        let waited = tokio::time::timeout(WAIT_MAX, look).await;
        let name = topic.name;
        assert!(
            waited.is_ok(),
            "{name} on broker {id}: {seen:?}, not {expected:?}"
        );
        if expected.leader != -1 {
            let mut leader = self.connect(expected.leader).await;
            let epoch = expected.leader_epoch;
            eventually(async || leader.log_start(topic, epoch).await.error_code.is_ok()).await;
        }
    }

    /// Waits until a broker tells that another leads a topic's partition: the leader epoch.
    pub(super) async fn wait_for_leader(&self, id: i32, topic: &Topic, leader: i32) -> i32 {
        let look = async {
            loop {
                match self.view(id, topic).await {
                    Some(seen) if seen.leader == leader => return seen.leader_epoch,
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        };
        tokio::time::timeout(WAIT_MAX, look).await.unwrap()
    }

    /// What a broker tells of a topic's partition; `None` while it does not know the topic.
    pub(super) async fn view(&self, id: i32, topic: &Topic) -> Option<Led> {
        let request = MetadataRequest {
            topics: Some(Array::from([MetadataRequestTopic {
                topic_id: topic.id,
                name: None,
            }])),
            ..Default::default()
        };
        let answer = self.ask(id, &request).await;
        let metadata = answer.decode();
        let partition = metadata.topics.first()?.partitions.first()?;
        let sorted = |ids: &Array<'_, i32>| {
            let mut ids: Vec<i32> = ids.iter().collect();
            ids.sort_unstable();
            ids
        };
        Some(Led {
            code: partition.error_code.0,
            leader: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            isr: sorted(&partition.isr_nodes),
            offline: sorted(&partition.offline_replicas),
        })
    }
}
