//! ListConfigResources: what has configs (KIP-1142).

use std::collections::BTreeSet;

use kmirror_protocol::{
    ErrorCode,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources::ConfigResource,
    },
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::acls::{Operation, Resource};

/// The resource types (`ConfigResource.Type`).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// What a request that names no type asks for. Of the last two there is never one here.
const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &ListConfigResourcesRequest<'_>,
) -> Outcome {
    let types: BTreeSet<i8> = match request.resource_types.len() {
        _ if call.version() == 0 => [CLIENT_METRICS].into(),
        0 => ALL.into(),
        _ => request.resource_types.iter().collect(),
    };
    let checked = call.check(cluster, Operation::DescribeConfigs, Resource::Cluster);
    let error_code = match checked {
        Err(code) => code,
        Ok(()) if types.iter().any(|it| !ALL.contains(it)) => ErrorCode::UNSUPPORTED_VERSION,
        Ok(()) => ErrorCode::NONE,
    };
    let brokers: Vec<String> = cluster
        .brokers()
        .iter()
        .map(|it| it.id.to_string())
        .collect();
    let mut config_resources = Vec::new();
    for resource_type in types.iter().filter(|_| error_code.is_ok()) {
        let names: Vec<&str> = match *resource_type {
            TOPIC => cluster.topic_names().collect(),
            BROKER | BROKER_LOGGER => brokers.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        let resource = |resource_name| ConfigResource {
            resource_name,
            resource_type: *resource_type,
        };
        config_resources.extend(names.into_iter().map(resource));
    }
    call.reply::<ListConfigResourcesRequest<'_>>(&ListConfigResourcesResponse {
        throttle_time_ms: 0,
        error_code,
        config_resources: config_resources.into_iter().collect(),
    })
}
