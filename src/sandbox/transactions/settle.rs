//! Carries out what coordinators decided: writes markers and ends transactions.
//!
//! Source: Kafka's `TransactionMarkerChannelManager` and `KafkaApis.handleWriteTxnMarkersRequest`.

use super::{State, TopicPartition, Transaction};
use crate::sandbox::{
    Cluster, Timestamp,
    config::TimestampType,
    control::{Marker, marker_batch},
    coordinators::OFFSETS_TOPIC,
};

/// Ends what has taken too long, and writes the markers of all that is decided and not held back.
///
/// A partition without a leader gets its marker when it has one.
pub(in crate::sandbox) fn settle(cluster: &mut Cluster, now: Timestamp) {
    let Cluster {
        transactions,
        producer_ids,
        ..
    } = cluster;
    transactions.expire(now, producer_ids);
    for id in cluster.transactions.decided() {
        let Some(transaction) = cluster.transactions.transactions.get_mut(&id) else {
            continue;
        };
        let marker = marker(transaction);
        let mut partitions = std::mem::take(&mut transaction.partitions);
        partitions.retain(|partition| !write(cluster, partition, marker, now));
        if let Some(transaction) = cluster.transactions.transactions.get_mut(&id) {
            transaction.partitions = partitions;
            if transaction.partitions.is_empty() {
                transaction.complete();
            }
        }
    }
}

const fn marker(transaction: &Transaction) -> Marker {
    Marker {
        producer: transaction.producer,
        is_commit: matches!(transaction.state, State::PrepareCommit),
        coordinator_epoch: super::COORDINATOR_EPOCH,
    }
}

/// Whether a partition has its marker now, or is gone.
fn write(
    cluster: &mut Cluster,
    (topic, partition): &TopicPartition,
    marker: Marker,
    now: Timestamp,
) -> bool {
    if topic == OFFSETS_TOPIC {
        let groups = &mut cluster.groups;
        groups.complete_transaction(marker.producer.id, marker.is_commit);
        return true;
    }
    let Some(topic) = cluster.topics.get_mut(topic) else {
        return true;
    };
    let (topic_id, rules) = (topic.id, topic.config.rules().clone());
    let is_stamped = rules.timestamp_type == TimestampType::LogAppendTime;
    let Ok(partition) = topic.partition_mut(*partition) else {
        return true;
    };
    let (leader, leader_epoch) = (partition.leader, partition.leader_epoch);
    let Ok(log) = partition.led_log_mut(leader) else {
        return false;
    };
    let batch = marker_batch(marker, now, is_stamped);
    log.append(batch.header, batch.payload, leader_epoch);
    partition.replicate(&rules);
    cluster.parked.wake(topic_id, partition.index);
    true
}
