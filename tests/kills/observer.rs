//! Asks the brokers of one cluster what is where, past all proxies.

use std::{cell::RefCell, thread, time::Duration};

use kmirror::cluster::{Answer, Cluster, ClusterOptions, To, Topics};
use kmirror_protocol::{
    Request,
    messages::{
        ElectLeadersRequest, ListOffsetsRequest, MetadataRequest,
        list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
        metadata::MetadataRequestTopic,
    },
    wire::Array,
};
use tokio::runtime::{Builder, Runtime};

/// Frozen brokers count as ones that do not answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// ListOffsets' timestamp that stands for the high watermark.
const LATEST: i64 = -1;

/// A client with a runtime of its own.
pub(super) struct Observer {
    runtime: Runtime,
    cluster: Cluster,
    /// Of a request, whether or not later ones went well.
    last_failure: RefCell<Option<String>>,
}

/// Who keeps a partition. Ids are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// -1: nobody leads.
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
}

impl Observer {
    /// A client of the cluster at these addresses.
    pub(super) fn new(bootstrap: &str) -> Self {
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            cluster: cluster(bootstrap, REQUEST_TIMEOUT),
            last_failure: RefCell::default(),
        }
    }

    /// The high watermark of each partition, in order; `None` while one of them cannot be told.
    pub(super) fn ends(&self, topic: &str) -> Option<Vec<i64>> {
        let refresh = self.cluster.refresh_metadata(Topics::named([topic]));
        let view = self.runtime.block_on(refresh);
        let view = view.map_err(|error| self.failed(&error)).ok()?;
        let partitions = &view.topic(topic)?.partitions;
        let ends = partitions.iter().map(|partition| {
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: Array::from([ListOffsetsRequestTopic {
                    name: topic,
                    partitions: Array::from([ListOffsetsRequestPartition {
                        partition_index: partition.index,
                        timestamp: LATEST,
                        ..ListOffsetsRequestPartition::default()
                    }]),
                }]),
                ..ListOffsetsRequest::default()
            };
            let answer = self.ask(To::Node(partition.leader?.node), &request)?;
            let answered = answer.decode().ok()?.topics.first()?.partitions.first()?;
            let offset = answered.error_code.ok().map(|()| answered.offset);
            offset.map_err(|error| self.failed(&error)).ok()
        });
        ends.collect()
    }

    /// Who keeps each partition, in order, as some broker knows it; `None` when none answers.
    pub(super) fn keepers(&self, topic: &str) -> Option<Vec<Kept>> {
        let request = MetadataRequest {
            topics: Some(Array::from([MetadataRequestTopic {
                name: Some(topic),
                ..MetadataRequestTopic::default()
            }])),
            ..MetadataRequest::default()
        };
        let answer = self.ask(To::Any, &request)?;
        let sorted = |ids: &Array<'_, i32>| {
            let mut ids: Vec<i32> = ids.iter().collect();
            ids.sort_unstable();
            ids
        };
        let described = answer.decode().ok()?.topics.first()?;
        let mut partitions: Vec<_> = described.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        let kept = partitions.iter().map(|partition| Kept {
            leader: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            replicas: sorted(&partition.replica_nodes),
            isr: sorted(&partition.isr_nodes),
        });
        Some(kept.collect())
    }

    /// Has every partition led by the first of its replicas, where that is in sync.
    pub(super) fn elect_preferred(&self) {
        // Whoever is not elected leads no worse.
        let _ = self.ask(To::Controller, &ElectLeadersRequest::default());
    }

    fn ask<R: Request>(&self, to: To, request: &R) -> Option<Answer<R>> {
        let answer = self.runtime.block_on(self.cluster.request(to, request));
        answer.map_err(|error| self.failed(&error)).ok()
    }

    fn failed(&self, error: &dyn std::fmt::Display) {
        self.last_failure.replace(Some(error.to_string()));
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let failure = self.last_failure.take();
        if thread::panicking()
            && let Some(failure) = failure
        {
            eprintln!("the last that an observer did not learn: {failure}");
        }
    }
}

/// A client of the cluster at these addresses.
pub(super) fn cluster(bootstrap: &str, request_timeout: Duration) -> Cluster {
    let servers = bootstrap.split(',').map(|server| {
        let (host, port) = server.rsplit_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    });
    Cluster::new(ClusterOptions {
        request_timeout,
        ..ClusterOptions::new("asked-by-test", servers.collect())
    })
}
