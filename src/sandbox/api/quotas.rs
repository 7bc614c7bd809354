//! DescribeClientQuotas and AlterClientQuotas (KIP-546).
//!
//! Source: `ClientQuotasImage.describe`, `ClientQuotaControlManager`.

use std::collections::BTreeMap;

use kmirror_protocol::{
    ErrorCode,
    messages::{
        AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
        DescribeClientQuotasResponse, alter_client_quotas, describe_client_quotas,
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message};
use crate::sandbox::{
    acls::{Operation, Resource},
    quotas::{CLIENT_ID, Entity, IP, USER},
};

/// What an entity's part must be: that name, where none is the default, or anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match<'a> {
    Exactly(Option<&'a str>),
    Any,
}

pub(super) fn describe(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeClientQuotasRequest<'_>,
) -> Outcome {
    let checked = call.check(cluster, Operation::DescribeConfigs, Resource::Cluster);
    let filter = checked
        .map_err(ApiError::from)
        .and_then(|()| filter(request));
    let (error_code, error_message) = code_and_message(&filter);
    let entries = filter.as_ref().ok().map(|filter| {
        let entities = cluster.quotas.entities();
        let found = entities.filter(|(entity, _)| matches(entity, filter, request.strict));
        found
            .map(|(entity, values)| entry(entity, values))
            .collect()
    });
    call.reply::<DescribeClientQuotasRequest<'_>>(&DescribeClientQuotasResponse {
        throttle_time_ms: 0,
        error_code,
        error_message,
        entries,
    })
}

fn filter<'a>(
    request: &DescribeClientQuotasRequest<'a>,
) -> Result<BTreeMap<&'a str, Match<'a>>, ApiError> {
    let invalid = |message: String| Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
    let mut filter = BTreeMap::new();
    for component in &request.components {
        let kind = component.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            let message = format!("Unsupported entity type {kind}");
            return Err(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, message));
        }
        let wanted = match (component.match_type, component.r#match) {
            (0, Some(name)) => Match::Exactly(Some(name)),
            (1, None) => Match::Exactly(None),
            (2, None) => Match::Any,
            (0..=2, _) => return invalid("The match type and the match do not fit.".to_owned()),
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        if filter.insert(kind, wanted).is_some() {
            return invalid(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return invalid("IP should not be used with user or clientId.".to_owned());
    }
    Ok(filter)
}

fn matches(entity: &Entity, filter: &BTreeMap<&str, Match<'_>>, is_strict: bool) -> bool {
    let mut parts = filter.iter();
    (!is_strict || entity.len() == filter.len())
        && parts.all(|(kind, wanted)| match (entity.get(*kind), wanted) {
            (None, _) => false,
            (Some(_), Match::Any) => true,
            (Some(name), Match::Exactly(wanted)) => name.as_deref() == *wanted,
        })
}

fn entry<'a>(
    entity: &'a Entity,
    values: &'a BTreeMap<String, f64>,
) -> describe_client_quotas::EntryData<'a> {
    let parts = entity.iter();
    let parts = parts.map(|(kind, name)| describe_client_quotas::EntityData {
        entity_type: kind,
        entity_name: name.as_deref(),
    });
    let values = values.iter();
    let values =
        values.map(|(key, value)| describe_client_quotas::ValueData { key, value: *value });
    describe_client_quotas::EntryData {
        entity: parts.collect(),
        values: values.collect(),
    }
}

pub(super) fn alter(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &AlterClientQuotasRequest<'_>,
) -> Outcome {
    let checked = call.check(cluster, Operation::AlterConfigs, Resource::Cluster);
    let mut results = Vec::with_capacity(request.entries.len());
    for entry in &request.entries {
        let result = match checked {
            Err(code) => Err(ApiError::from(code)),
            Ok(()) => alter_one(cluster, &entry, request.validate_only)
                .map_err(|message| ApiError::new(ErrorCode::INVALID_REQUEST, message)),
        };
        results.push((entry, result));
    }
    let entries = results.iter().map(|(entry, result)| {
        let (error_code, error_message) = code_and_message(result);
        alter_client_quotas::EntryResult {
            error_code,
            error_message,
            entity: entry.entity.clone(),
        }
    });
    call.reply::<AlterClientQuotasRequest<'_>>(&AlterClientQuotasResponse {
        throttle_time_ms: 0,
        entries: entries.collect(),
    })
}

fn alter_one(
    cluster: &mut Cluster,
    entry: &alter_client_quotas::EntryData<'_>,
    validate_only: bool,
) -> Result<(), String> {
    let mut entity = Entity::new();
    for part in &entry.entity {
        let name = part.entity_name.map(str::to_owned);
        if entity.insert(part.entity_type.to_owned(), name).is_some() {
            return Err(format!(
                "Invalid client quota entity, duplicate entity entry {}",
                part.entity_type
            ));
        }
    }
    let changes = entry.ops.iter();
    let changes: Vec<_> = changes
        .map(|it| (it.key, (!it.remove).then_some(it.value)))
        .collect();
    cluster.quotas.alter(&entity, &changes, validate_only)
}
