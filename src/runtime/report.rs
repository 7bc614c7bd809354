//! What operators read: a line for each notice of a flow, and for where it stands.

use tracing::{debug, error, info, warn};

use crate::{
    flow::{
        FlowStatus, Notice, PartitionNotice, halt::HaltReason, limits, recovery::decide::NewBecause,
    },
    observe::counted,
};

/// Logs a notice of the flow `name`.
pub fn notice(name: &str, notice: &Notice) {
    match notice {
        Notice::Partition {
            source,
            remote_topic,
            notice,
        } => {
            partition(name, &format!("{source} -> {remote_topic}"), notice);
        }
        Notice::Waiting {
            side,
            purpose,
            failure,
        } => {
            warn!(
                flow = name,
                "the {side} cluster was asked for {purpose}: {failure}; trying again"
            );
        }
        Notice::Reached(side) => info!(flow = name, "the {side} cluster answers again"),
        Notice::BrokerReached { side, node } => {
            info!(
                flow = name,
                "broker {node} of the {side} cluster answers again"
            );
        }
        Notice::PositionsLoaded { partitions } => {
            info!(
                flow = name,
                "found stored positions of {}",
                counted(*partitions, "partition")
            );
        }
        Notice::SameCluster { cluster_id } => error!(
            flow = name,
            "source and target are the same cluster ({cluster_id}): copying would never end; \
             check bootstrap.servers of both"
        ),
        topics => topic(name, topics),
    }
}

/// Logs a notice about whole topics.
fn topic(name: &str, notice: &Notice) {
    match notice {
        Notice::TopicCreated {
            remote_topic,
            partition_count,
        } => {
            // A negative count has left the number to the brokers.
            let count = usize::try_from(*partition_count).ok();
            let count = count.map(|count| format!(" with {}", counted(count, "partition")));
            info!(
                flow = name,
                "created topic {remote_topic}{}",
                count.unwrap_or_default()
            );
        }
        Notice::TopicNotCreated {
            remote_topic,
            failure,
        } => error!(
            flow = name,
            "cannot create topic {remote_topic} on the target: {failure}; {} Trying again.",
            creation_hint(failure)
        ),
        Notice::PartitionsAdded { remote_topic } => {
            info!(flow = name, "added partitions to topic {remote_topic}");
        }
        Notice::TooFewPartitions {
            remote_topic,
            failure,
        } => error!(
            flow = name,
            "topic {remote_topic} has fewer partitions than its source and cannot grow: {failure}; \
             the missing partitions are not copied until it has them"
        ),
        Notice::TopicStarted {
            topic,
            remote_topic,
            partition_count,
        } => {
            info!(
                flow = name,
                "copying {} of {topic} to {remote_topic}",
                counted(*partition_count, "partition")
            );
        }
        Notice::ForeignState => warn!(
            flow = name,
            "the state topic holds records that kmirror did not write; they are passed over"
        ),
        Notice::NewerState { version } => error!(
            flow = name,
            "the state topic holds records of format {version}, written by a newer kmirror: nothing \
             is copied; run that one"
        ),
        Notice::UnfitStateTopic { topic, policy } => error!(
            flow = name,
            "{topic} has cleanup.policy={policy} and would forget: nothing is copied until it is \
             compact; kafka-configs --alter --entity-type topics --entity-name {topic} --add-config \
             cleanup.policy=compact"
        ),
        Notice::TopicSkipped { topic, reason } => {
            warn!(flow = name, "topic {topic} is not copied: {reason}");
        }
        _ => {}
    }
}

fn creation_hint(failure: &crate::flow::Failure) -> &'static str {
    use crate::flow::Failure::Refused;
    use kmirror_protocol::ErrorCode;
    match failure {
        Refused(ErrorCode::INVALID_REPLICATION_FACTOR, _) => {
            "the target has fewer brokers than replicas are asked for: set replication.factor (for \
             remote topics) or offset.storage.replication.factor under the target's alias."
        }
        Refused(
            ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            _,
        ) => "grant Create on the cluster or the topic, or create the topic by hand.",
        Refused(ErrorCode::POLICY_VIOLATION | ErrorCode::INVALID_CONFIG, _) => {
            "create the topic by hand, or leave the property out with config.properties.exclude."
        }
        Refused(ErrorCode::TOPIC_ALREADY_EXISTS, _) => {
            "it exists but is not shown to this client: grant Describe on it."
        }
        _ => "records of this topic wait on the source.",
    }
}

fn partition(flow: &str, partition: &str, notice: &PartitionNotice) {
    match notice {
        PartitionNotice::Halted(reason) => {
            let next = if reason.may_pass() {
                format!("looking again in {} s", limits::HALT_RETRY.as_secs())
            } else {
                String::from("waiting for a restart")
            };
            match reason {
                HaltReason::TopicMissing => warn!(flow, partition, "halted: {reason}; {next}"),
                _ => error!(flow, partition, "halted: {reason}; {next}"),
            }
        }
        PartitionNotice::Resumed => info!(flow, partition, "looking again after a halt"),
        PartitionNotice::Gap {
            from_offset,
            to_offset: i64::MAX,
            cause,
        } => error!(
            flow,
            partition,
            "source offsets from {from_offset} on are gone ({cause}); going on with what the topic \
             has now"
        ),
        PartitionNotice::Gap {
            from_offset,
            to_offset,
            cause,
        } => error!(
            flow,
            partition,
            "source offsets {from_offset} to {} are gone, up to {} records ({cause}); going on",
            to_offset - 1,
            to_offset - from_offset
        ),
        PartitionNotice::LineageContinued {
            cause,
            source_offset,
            ..
        } => debug!(
            flow,
            partition, "proven up to source offset {source_offset}, going on there ({cause})"
        ),
        PartitionNotice::LineageOpened {
            because: NewBecause::First,
            source_offset,
            ..
        } => debug!(flow, partition, "starting at source offset {source_offset}"),
        PartitionNotice::LineageOpened {
            because,
            cause,
            source_offset,
            unmatched_records: 0,
        } => info!(
            flow,
            partition,
            "going on at source offset {source_offset} under a new producer epoch: {because} ({cause})"
        ),
        PartitionNotice::LineageOpened {
            because,
            cause,
            source_offset,
            unmatched_records,
        } => warn!(
            flow,
            partition,
            "going on at source offset {source_offset} under a new producer epoch: {because} \
             ({cause}); up to {unmatched_records} records may now be on the target twice"
        ),
    }
}

/// Logs where the flow `name` stands.
pub fn status(name: &str, status: &FlowStatus) {
    let counters = &status.counters;
    info!(
        flow = name,
        "{}, {} records copied, lag {} records, {} halted",
        counted(status.partitions, "partition"),
        counters.records,
        status.lag,
        status.halted.len()
    );
    for side in &status.unreachable {
        warn!(flow = name, "the {side} cluster still does not answer");
    }
    for halted in &status.halted {
        let reason = halted.halted.as_deref().unwrap_or_default();
        warn!(
            flow = name,
            partition = %format_args!("{} -> {}", halted.source, halted.remote_topic),
            "still halted: {reason}"
        );
    }
}
