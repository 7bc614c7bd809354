//! From the cluster's words to the flow's.

use std::sync::Arc;

use kmirror_protocol::ErrorCode;

use crate::{
    cluster::{Metadata, RequestError},
    flow::{ClusterView, Failure, PartitionView, TopicView},
};

/// What a request without an answer means to a flow.
pub(super) fn failure(error: &RequestError) -> Failure {
    let text = error.to_string();
    match error {
        RequestError::Disconnected { .. }
        | RequestError::TimedOut { .. }
        | RequestError::WrongCluster { .. }
        | RequestError::Denied { .. } => Failure::NoAnswer(text),
        RequestError::Unsupported { .. } | RequestError::Unsendable { .. } => {
            Failure::Unsupported(text)
        }
        RequestError::Malformed { .. } => Failure::Malformed(text),
    }
}

/// An error code inside an answer, with the broker's words if there are any.
pub(super) fn refusal(code: ErrorCode, message: Option<&str>) -> Result<(), Failure> {
    code.ok().map_err(|code| {
        let words = message.filter(|text| !text.is_empty()).map(String::from);
        Failure::Refused(code, words)
    })
}

/// The topics and leaders of a cluster.
pub(super) fn cluster_view(metadata: &Metadata) -> ClusterView {
    let topics = metadata.topics().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let view = PartitionView {
                leader: partition.leader.map(|leader| leader.node),
                leader_epoch: partition.leader_epoch.unwrap_or(-1),
                replica_count: 0,
            };
            (partition.index, view)
        });
        let view = TopicView {
            topic_id: topic.id.unwrap_or_default(),
            partitions: partitions.collect(),
        };
        (Arc::clone(&topic.name), view)
    });
    ClusterView {
        cluster_id: metadata.cluster_id().map(ToString::to_string),
        topics: topics.collect(),
    }
}
