//! FindCoordinator: which broker answers for a group or a transactional id.
//!
//! Source: `KafkaApis.getCoordinator` and `GroupCoordinatorService.partitionFor`. Kafka's
//! coordinators are the leaders of the partitions of two internal topics; here those partitions
//! are spread over the brokers, and the topics do not exist.

use kmirror_protocol::{
    ErrorCode,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator::Coordinator},
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::Broker;

/// How many partitions `__consumer_offsets` and `__transaction_state` would have
/// (`offsets.topic.num.partitions`, `transaction.state.log.num.partitions`).
const PARTITION_COUNT: i32 = 50;

/// Asks for the coordinators of groups.
const GROUP: i8 = 0;

/// Asks for those of transactional ids.
const TRANSACTION: i8 = 1;

/// Asks for those of share groups, which are served in later versions only (KIP-932).
const SHARE: i8 = 2;

/// What Kafka says to a kind of key that it does not know (`Errors.INVALID_REQUEST`).
const UNKNOWN_KEY_TYPE: &str = "This most likely occurs because of a request being malformed by \
                                the client library or the message was sent to an incompatible \
                                broker. See the broker logs for more details.";

/// The broker that coordinates a group or a transactional id: while it is down, the next one.
///
/// Nothing is lost with a coordinator, as if all brokers had replicas of the internal topics.
pub(super) fn coordinator<'a>(cluster: &'a Cluster, key: &str) -> Option<&'a Broker> {
    let brokers = cluster.brokers();
    let partition = usize::try_from(partition_for(key)).unwrap_or_default();
    let preferred = partition % brokers.len().max(1);
    let candidates = brokers.iter().cycle().skip(preferred).take(brokers.len());
    candidates
        .into_iter()
        .find(|broker| cluster.is_running(broker.id))
}

/// Checks that a broker coordinates a group or a transactional id.
///
/// # Errors
///
/// [`ErrorCode::NOT_COORDINATOR`].
pub(super) fn check_coordinator(
    cluster: &Cluster,
    broker_id: i32,
    key: &str,
) -> Result<(), ErrorCode> {
    match coordinator(cluster, key) {
        Some(broker) if broker.id == broker_id => Ok(()),
        _ => Err(ErrorCode::NOT_COORDINATOR),
    }
}

/// `Utils.abs(key.hashCode()) % partitions`.
fn partition_for(key: &str) -> i32 {
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    hash.checked_abs().unwrap_or_default() % PARTITION_COUNT
}

pub(super) fn find(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &FindCoordinatorRequest<'_>,
) -> Outcome {
    let key_type = request.key_type;
    if call.version() < 4 {
        return call.reply::<FindCoordinatorRequest<'_>>(&found_one(cluster, request));
    }
    let keys = request.coordinator_keys.iter();
    let coordinators = keys.map(|key| match lookup(cluster, key_type, key) {
        Ok(broker) => Coordinator {
            key,
            node_id: broker.id,
            host: &broker.host,
            port: i32::from(broker.port),
            error_message: Some(""),
            ..Default::default()
        },
        Err(error_code) => Coordinator {
            key,
            error_code,
            node_id: -1,
            port: -1,
            error_message: match key_type {
                GROUP | TRANSACTION | SHARE => Some(""),
                _ => Some(UNKNOWN_KEY_TYPE),
            },
            ..Default::default()
        },
    });
    call.reply::<FindCoordinatorRequest<'_>>(&FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..Default::default()
    })
}

fn found_one<'a>(
    cluster: &'a Cluster,
    request: &FindCoordinatorRequest<'_>,
) -> FindCoordinatorResponse<'a> {
    match lookup(cluster, request.key_type, request.key) {
        Ok(broker) => FindCoordinatorResponse {
            error_message: Some("NONE"),
            node_id: broker.id,
            host: &broker.host,
            port: i32::from(broker.port),
            ..Default::default()
        },
        Err(error_code) => FindCoordinatorResponse {
            error_code,
            error_message: match error_code {
                ErrorCode::INVALID_REQUEST => Some(UNKNOWN_KEY_TYPE),
                _ => Some("The coordinator is not available."),
            },
            node_id: -1,
            port: -1,
            ..Default::default()
        },
    }
}

fn lookup<'a>(cluster: &'a Cluster, key_type: i8, key: &str) -> Result<&'a Broker, ErrorCode> {
    match key_type {
        GROUP | TRANSACTION => {
            coordinator(cluster, key).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        }
        _ => Err(ErrorCode::INVALID_REQUEST),
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
            assert_eq!(partition_for(key), expected, "{key}");
        }
    }
}
