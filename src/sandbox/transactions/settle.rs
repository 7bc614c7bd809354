//! Carries out what coordinators decided: writes markers and ends transactions.
//!
//! A marker counts when it is committed. One that a leader has written and lost to another leader
//! before that is written again, so that a log may have it twice; a second one ends nothing.
//!
//! Source: Kafka's `TransactionMarkerChannelManager` and `KafkaApis.handleWriteTxnMarkersRequest`.

use super::{State, TopicPartition, Transaction, transaction::WrittenMarker};
use crate::sandbox::{
    Cluster, Timestamp,
    config::TimestampType,
    control::{Marker, marker_batch},
    coordinators::OFFSETS_TOPIC,
    log::Log,
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
        let mut written = std::mem::take(&mut transaction.written);
        partitions.retain(|place| {
            if !is_committed(cluster, place, written.get(place).copied())
                && let Some(at) = write(cluster, place, marker, written.get(place).copied(), now)
            {
                written.insert(place.clone(), at);
            }
            !is_committed(cluster, place, written.get(place).copied())
        });
        if let Some(transaction) = cluster.transactions.transactions.get_mut(&id) {
            transaction.partitions = partitions;
            transaction.written = written;
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

/// Whether a partition has its marker for good, or is gone.
fn is_committed(
    cluster: &Cluster,
    (topic, partition): &TopicPartition,
    written: Option<WrittenMarker>,
) -> bool {
    let Ok(partition) = cluster.partition(topic, *partition) else {
        // Groups have theirs at once.
        return topic != OFFSETS_TOPIC || written.is_some();
    };
    let log = partition.led_log(partition.leader, written.map_or(-1, |it| it.leader_epoch));
    let high_watermark = log.map_or(0, Log::high_watermark);
    written.is_some_and(|written| high_watermark > written.offset)
}

/// Writes a marker, unless the leader has written it already; where it is then.
fn write(
    cluster: &mut Cluster,
    (topic, partition): &TopicPartition,
    marker: Marker,
    written: Option<WrittenMarker>,
    now: Timestamp,
) -> Option<WrittenMarker> {
    if topic == OFFSETS_TOPIC {
        let groups = &mut cluster.groups;
        groups.complete_transaction(marker.producer.id, marker.is_commit);
        return Some(WrittenMarker::default());
    }
    let topic = cluster.topics.get_mut(topic)?;
    let (topic_id, rules) = (topic.id, topic.config.rules().clone());
    let is_stamped = rules.timestamp_type == TimestampType::LogAppendTime;
    let partition = topic.partition_mut(*partition).ok()?;
    let (leader, leader_epoch) = (partition.leader, partition.leader_epoch);
    if written.is_some_and(|written| written.leader_epoch == leader_epoch) {
        return written;
    }
    let log = partition.led_log_mut(leader).ok()?;
    let offset = log.end_offset();
    let batch = marker_batch(marker, now, is_stamped);
    log.append(batch.header, batch.payload, leader_epoch);
    partition.replicate(&rules);
    cluster.parked.wake(topic_id, partition.index);
    Some(WrittenMarker {
        leader_epoch,
        offset,
    })
}
