//! DescribeConfigs, IncrementalAlterConfigs and AlterConfigs.
//!
//! Topics have configs of their own; a broker has only the defaults that topics take from it, and
//! they cannot be changed. Source: `ConfigHelper`, `ConfigurationControlManager`.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse},
        describe_configs::{
            DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
            DescribeConfigsSynonym,
        },
        incremental_alter_configs::{
            IncrementalAlterConfigsResource, IncrementalAlterConfigsResourceResponse,
        },
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message};
use crate::sandbox::{
    acls::{Operation, Resource},
    config::{Change, ConfigKey, KEYS, TopicConfig},
    topic::invalid_topic_name,
};

/// The resource type of topics (`ConfigResource.Type`).
const TOPIC: i8 = 2;
/// The resource type of brokers.
const BROKER: i8 = 4;

/// The source of a value set on a topic (`DescribeConfigsResponse.ConfigSource`).
pub(super) const TOPIC_CONFIG: i8 = 1;
/// The source of a value that nobody has set.
pub(super) const DEFAULT_CONFIG: i8 = 5;

pub(super) fn describe(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> Outcome {
    let described: Vec<_> = request
        .resources
        .iter()
        .map(|resource| {
            let configs = configs(cluster, call, request, &resource);
            (resource, configs)
        })
        .collect();
    let results = described.iter().map(|(resource, configs)| {
        let (error_code, error_message) = code_and_message(configs);
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs: configs.iter().flatten().cloned().collect(),
        }
    });
    call.reply::<DescribeConfigsRequest<'_>>(&DescribeConfigsResponse {
        throttle_time_ms: 0,
        results: results.collect(),
    })
}

fn configs<'a>(
    cluster: &'a Cluster,
    call: &Call<'_>,
    request: &DescribeConfigsRequest<'_>,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<DescribeConfigsResourceResult<'a>>, ApiError> {
    let (name, broker_id) = (resource.resource_name, call.broker_id);
    let is_wanted = |config: &DescribeConfigsResourceResult<'_>| {
        let keys = resource.configuration_keys.as_ref();
        keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key == config.name))
    };
    let keep_synonyms = request.include_synonyms;
    call.check(
        cluster,
        Operation::DescribeConfigs,
        protected(resource.resource_type, name),
    )?;
    match resource.resource_type {
        TOPIC => {
            if let Some(fault) = invalid_topic_name(name) {
                return Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, fault));
            }
            let config = &cluster.topic(name)?.config;
            let all = KEYS
                .iter()
                .map(|key| topic_config(config, key, keep_synonyms));
            Ok(all.filter(is_wanted).collect())
        }
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name == broker_id.to_string() => {
            let named = KEYS.iter().filter(|key| !key.synonym.is_empty());
            let all = named.map(|key| broker_config(key, keep_synonyms));
            Ok(all.filter(is_wanted).collect())
        }
        BROKER => Err(ApiError::new(
            ErrorCode::INVALID_REQUEST,
            format!(
                "Unexpected broker id, expected {broker_id} or empty string, but received {name}"
            ),
        )),
        other => Err(ApiError::new(
            ErrorCode::INVALID_REQUEST,
            format!("Unsupported resource type: {other}"),
        )),
    }
}

/// What must be authorised for the configs of a resource.
const fn protected(resource_type: i8, name: &str) -> Resource<'_> {
    match resource_type {
        TOPIC => Resource::Topic(name),
        _ => Resource::Cluster,
    }
}

fn topic_config<'a>(
    config: &'a TopicConfig,
    key: &'static ConfigKey,
    keep_synonyms: bool,
) -> DescribeConfigsResourceResult<'a> {
    let set = config
        .set_value(key.name)
        .map(|value| DescribeConfigsSynonym {
            name: key.name,
            value: Some(value),
            source: TOPIC_CONFIG,
        });
    let synonyms: Vec<_> = set.into_iter().chain(default_synonym(key)).collect();
    DescribeConfigsResourceResult {
        name: key.name,
        value: Some(config.value(key)),
        config_source: synonyms
            .first()
            .map_or(DEFAULT_CONFIG, |first| first.source),
        synonyms: if keep_synonyms {
            synonyms.into()
        } else {
            Vec::new().into()
        },
        config_type: key.kind.number(),
        documentation: None,
        ..Default::default()
    }
}

fn default_synonym(key: &'static ConfigKey) -> Option<DescribeConfigsSynonym<'static>> {
    (!key.synonym.is_empty()).then_some(DescribeConfigsSynonym {
        name: key.synonym,
        value: Some(key.default),
        source: DEFAULT_CONFIG,
    })
}

fn broker_config(
    key: &'static ConfigKey,
    keep_synonyms: bool,
) -> DescribeConfigsResourceResult<'static> {
    DescribeConfigsResourceResult {
        name: key.synonym,
        value: Some(key.default),
        read_only: true,
        config_source: DEFAULT_CONFIG,
        synonyms: default_synonym(key)
            .into_iter()
            .filter(|_| keep_synonyms)
            .collect(),
        config_type: key.kind.number(),
        documentation: None,
        ..Default::default()
    }
}

pub(super) fn alter(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &IncrementalAlterConfigsRequest<'_>,
) -> Outcome {
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let is_same = |other: &IncrementalAlterConfigsResource<'_>| {
            other.resource_type == resource.resource_type
                && other.resource_name == resource.resource_name
        };
        let result = if request.resources.iter().filter(is_same).count() > 1 {
            Err(ApiError::new(
                ErrorCode::INVALID_REQUEST,
                "Duplicate resource.",
            ))
        } else {
            changes(&resource).and_then(|changes| {
                let (kind, name) = (resource.resource_type, resource.resource_name);
                alter_one(cluster, call, (kind, name), changes, request.validate_only)
            })
        };
        results.push((resource, result));
    }
    let responses = results.iter().map(|(resource, result)| {
        let (error_code, error_message) = code_and_message(result);
        IncrementalAlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }
    });
    call.reply::<IncrementalAlterConfigsRequest<'_>>(&IncrementalAlterConfigsResponse {
        throttle_time_ms: 0,
        responses: responses.collect(),
    })
}

fn alter_one(
    cluster: &mut Cluster,
    call: &Call<'_>,
    (resource_type, name): (i8, &str),
    changes: Vec<(&str, Change<'_>)>,
    validate_only: bool,
) -> Result<(), ApiError> {
    call.check(
        cluster,
        Operation::AlterConfigs,
        protected(resource_type, name),
    )?;
    if resource_type != TOPIC {
        return Err(ApiError::new(
            ErrorCode::INVALID_REQUEST,
            format!("The sandbox alters topics only, not resource type {resource_type}."),
        ));
    }
    if let Some(fault) = invalid_topic_name(name) {
        return Err(ApiError::new(ErrorCode::INVALID_TOPIC_EXCEPTION, fault));
    }
    let unchanged = TopicConfig::default();
    let current = cluster
        .topics
        .get(name)
        .map_or(&unchanged, |topic| &topic.config);
    let changed = current
        .changed(changes)
        .map_err(|message| ApiError::new(ErrorCode::INVALID_CONFIG, message))?;
    // Kafka looks at the values before it looks whether there is such a topic.
    let topic = cluster.topics.get_mut(name);
    let topic = topic.ok_or_else(|| {
        let message = format!("The topic '{name}' does not exist.");
        ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message)
    })?;
    if !validate_only {
        topic.config = changed;
    }
    Ok(())
}

fn changes<'a>(
    resource: &IncrementalAlterConfigsResource<'a>,
) -> Result<Vec<(&'a str, Change<'a>)>, ApiError> {
    let change = |(name, operation, value): (&'a str, i8, Option<&'a str>)| {
        let change = match (operation, value) {
            (1, _) => Change::Delete,
            (0, Some(value)) => Change::Set(value),
            (2, Some(value)) => Change::Append(value),
            (3, Some(value)) => Change::Subtract(value),
            (0 | 2 | 3, None) => {
                let message = format!("Null value not supported for : {name}");
                return Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
            }
            _ => {
                let message = format!("Unknown operation type {operation}.");
                return Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
            }
        };
        Ok((name, change))
    };
    let mut names: Vec<&str> = resource.configs.iter().map(|it| it.name).collect();
    names.sort_unstable();
    if !names.is_sorted_by(|a, b| a < b) {
        let message = "Error due to duplicate config keys";
        return Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
    }
    let configs = resource.configs.iter();
    configs
        .map(|it| change((it.name, it.config_operation, it.value)))
        .collect()
}

/// AlterConfigs: what a request does not name loses its value.
pub(super) fn replace(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &AlterConfigsRequest<'_>,
) -> Outcome {
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let is_same = |other: &AlterConfigsResource<'_>| {
            other.resource_type == resource.resource_type
                && other.resource_name == resource.resource_name
        };
        let result = if request.resources.iter().filter(is_same).count() > 1 {
            Err(ApiError::new(
                ErrorCode::INVALID_REQUEST,
                "Each resource must appear at most once.",
            ))
        } else {
            replace_one(cluster, call, &resource, request.validate_only)
        };
        results.push((resource, result));
    }
    let responses = results.iter().map(|(resource, result)| {
        let (error_code, error_message) = code_and_message(result);
        AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }
    });
    call.reply::<AlterConfigsRequest<'_>>(&AlterConfigsResponse {
        throttle_time_ms: 0,
        responses: responses.collect(),
    })
}

fn replace_one(
    cluster: &mut Cluster,
    call: &Call<'_>,
    resource: &AlterConfigsResource<'_>,
    validate_only: bool,
) -> Result<(), ApiError> {
    let (kind, name) = (resource.resource_type, resource.resource_name);
    let current = cluster.topics.get(name).filter(|_| kind == TOPIC);
    let current = current
        .map(|topic| topic.config.clone())
        .unwrap_or_default();
    let all = KEYS
        .iter()
        .filter(|key| current.set_value(key.name).is_some());
    let mut changes: Vec<_> = all.map(|key| (key.name, Change::Delete)).collect();
    for config in &resource.configs {
        let value = config.value.ok_or_else(|| {
            let message = format!("Null value not supported for : {}", config.name);
            ApiError::new(ErrorCode::INVALID_REQUEST, message)
        })?;
        changes.push((config.name, Change::Set(value)));
    }
    alter_one(cluster, call, (kind, name), changes, validate_only)
}
