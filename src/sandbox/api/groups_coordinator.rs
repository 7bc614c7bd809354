//! FindCoordinator: which broker answers for a group or a transactional id.
//!
//! Source: `KafkaApis.getCoordinator` and `GroupCoordinatorService.partitionFor`. Kafka's
//! coordinators are the leaders of the partitions of two internal topics; here the topics do not
//! exist: see `coordinators`.

use kmirror_protocol::{
    ErrorCode,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator::Coordinator},
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::{
    Broker,
    acls::{Operation, Resource},
    coordinators,
};

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

pub(super) fn find(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &FindCoordinatorRequest<'_>,
) -> Outcome {
    let key_type = request.key_type;
    if call.version() < 4 {
        return call.reply::<FindCoordinatorRequest<'_>>(&found_one(cluster, call, request));
    }
    let keys = request.coordinator_keys.iter();
    let coordinators = keys.map(|key| match lookup(cluster, call, key_type, key) {
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
    call: &Call<'_>,
    request: &FindCoordinatorRequest<'_>,
) -> FindCoordinatorResponse<'a> {
    match lookup(cluster, call, request.key_type, request.key) {
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

fn lookup<'a>(
    cluster: &'a Cluster,
    call: &Call<'_>,
    key_type: i8,
    key: &str,
) -> Result<&'a Broker, ErrorCode> {
    let resource = match key_type {
        GROUP => Resource::Group(key),
        TRANSACTION => Resource::TransactionalId(key),
        _ => return Err(ErrorCode::INVALID_REQUEST),
    };
    call.check(cluster, Operation::Describe, resource)?;
    let broker_id = coordinators::coordinator_of(cluster, key);
    let broker = cluster.broker(broker_id);
    broker.ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
}
