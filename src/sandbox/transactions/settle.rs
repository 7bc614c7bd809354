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
pub(in crate::sandbox) fn settle(cluster: &mut Cluster, now: Timestamp) {
    let Cluster {
        transactions,
        producer_ids,
        ..
    } = cluster;
    transactions.expire(now, producer_ids);
    while let Some(id) = cluster.transactions.next_to_complete() {
        let Some(transaction) = cluster.transactions.transactions.get_mut(&id) else {
            return;
        };
        let marker = marker(transaction);
        let partitions = std::mem::take(&mut transaction.partitions);
        transaction.complete();
        for partition in partitions {
            write(cluster, &partition, marker, now);
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

/// A partition that is gone gets none.
fn write(
    cluster: &mut Cluster,
    (topic, partition): &TopicPartition,
    marker: Marker,
    now: Timestamp,
) {
    if topic == OFFSETS_TOPIC {
        return;
    }
    let Some(topic) = cluster.topics.get_mut(topic) else {
        return;
    };
    let is_stamped = topic.config.rules().timestamp_type == TimestampType::LogAppendTime;
    let (topic_id, batch) = (topic.id, marker_batch(marker, now, is_stamped));
    let Ok(partition) = topic.partition_mut(*partition) else {
        return;
    };
    let leader_epoch = partition.leader_epoch;
    partition
        .log
        .append(batch.header, batch.payload, leader_epoch);
    cluster.parked.wake(topic_id, partition.index);
}
