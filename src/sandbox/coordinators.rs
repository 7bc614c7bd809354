//! Which broker coordinates a group or a transactional id.
//!
//! Source: Kafka's `Utils.abs(key.hashCode) % partitions`, over the partitions of
//! `__consumer_offsets` and `__transaction_state`; here each such partition is led by the broker
//! of its number.

use kmirror_protocol::ErrorCode;

use super::Cluster;

/// Where groups keep their offsets.
pub(super) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How many partitions the topic of the coordinators has
/// (`offsets.topic.num.partitions`, `transaction.state.log.num.partitions`).
const PARTITIONS: i32 = 50;

/// The partition of the coordinators' topic that a key belongs to.
pub(super) fn partition_of(key: &str) -> i32 {
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka's own absolute value: that of the least number is 0.
    hash.checked_abs().unwrap_or_default() % PARTITIONS
}

/// The broker that coordinates a key: that of its partition, or the next that runs; -1 if none does.
pub(super) fn coordinator_of(cluster: &Cluster, key: &str) -> i32 {
    let brokers = cluster.brokers();
    let partition = usize::try_from(partition_of(key)).unwrap_or_default();
    let first = partition.checked_rem(brokers.len()).unwrap_or_default();
    let mut candidates = brokers.iter().cycle().skip(first).take(brokers.len());
    let running = candidates.find(|broker| cluster.is_running(broker.id));
    running.map_or(-1, |broker| broker.id)
}

/// Checks that a broker coordinates a key.
///
/// # Errors
///
/// [`ErrorCode::NOT_COORDINATOR`].
pub(super) fn ensure_coordinator(
    cluster: &Cluster,
    broker_id: i32,
    key: &str,
) -> Result<(), ErrorCode> {
    if coordinator_of(cluster, key) == broker_id {
        Ok(())
    } else {
        Err(ErrorCode::NOT_COORDINATOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_in_java() {
        // "polygenelubricants" has the one hash code that has no absolute value.
        for (key, expected) in [
            ("", 0),
            ("a", 47),
            ("test", 48),
            ("polygenelubricants", 0),
            ("ä€😀", 1),
        ] {
            assert_eq!(partition_of(key), expected, "{key}");
        }
    }
}
