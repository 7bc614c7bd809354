//! DescribeAcls, CreateAcls and DeleteAcls (KIP-140, KIP-290).
//!
//! Source: `AclApis`. Without an authorizer all three say that security is disabled.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
        DescribeAclsRequest, DescribeAclsResponse,
        create_acls::{AclCreation, AclCreationResult},
        delete_acls::{DeleteAclsFilter, DeleteAclsFilterResult, DeleteAclsMatchingAcl},
        describe_acls::{AclDescription, DescribeAclsResource},
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message};
use crate::sandbox::acls::{Acl, AclFilter, Operation, Resource};

/// Whether a client may see or change the rules at all.
fn check(cluster: &Cluster, call: &Call<'_>, operation: Operation) -> Result<(), ApiError> {
    if cluster.options.authorizer.is_none() {
        let message = "No Authorizer is configured.";
        return Err(ApiError::new(ErrorCode::SECURITY_DISABLED, message));
    }
    call.check(cluster, operation, Resource::Cluster)?;
    Ok(())
}

pub(super) fn describe(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeAclsRequest<'_>,
) -> Outcome {
    let checked = check(cluster, call, Operation::Describe);
    let (error_code, error_message) = code_and_message(&checked);
    let filter = AclFilter {
        resource_type: request.resource_type_filter,
        resource_name: request.resource_name_filter,
        pattern_type: request.pattern_type_filter,
        principal: request.principal_filter,
        host: request.host_filter,
        operation: request.operation,
        permission_type: request.permission_type,
    };
    let rules = cluster.acls.matching(&filter);
    let rules: Vec<&Acl> = rules.filter(|_| checked.is_ok()).collect();
    fn pattern(acl: &Acl) -> (i8, &str, i8) {
        (acl.resource_type, &acl.resource_name, acl.pattern_type)
    }
    let resources = rules.chunk_by(|a, b| pattern(a) == pattern(b));
    let resources = resources.filter_map(|rules| {
        let (resource_type, resource_name, pattern_type) = pattern(rules.first()?);
        let acls = rules.iter().map(|acl| AclDescription {
            principal: &acl.principal,
            host: &acl.host,
            operation: acl.operation,
            permission_type: acl.permission_type,
        });
        Some(DescribeAclsResource {
            resource_type,
            resource_name,
            pattern_type,
            acls: acls.collect(),
        })
    });
    call.reply::<DescribeAclsRequest<'_>>(&DescribeAclsResponse {
        throttle_time_ms: 0,
        error_code,
        error_message,
        resources: resources.collect(),
    })
}

pub(super) fn create(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &CreateAclsRequest<'_>,
) -> Outcome {
    let checked = check(cluster, call, Operation::Alter);
    let mut results = Vec::with_capacity(request.creations.len());
    for creation in &request.creations {
        let result = checked.clone().and_then(|()| {
            let added = cluster.acls.add(acl(&creation));
            added.map_err(|(code, message)| ApiError::new(code, message))
        });
        results.push(result);
    }
    let results = results.iter().map(|result| {
        let (error_code, error_message) = code_and_message(result);
        AclCreationResult {
            error_code,
            error_message,
        }
    });
    call.reply::<CreateAclsRequest<'_>>(&CreateAclsResponse {
        throttle_time_ms: 0,
        results: results.collect(),
    })
}

fn acl(creation: &AclCreation<'_>) -> Acl {
    Acl {
        resource_type: creation.resource_type,
        resource_name: creation.resource_name.to_owned(),
        pattern_type: creation.resource_pattern_type,
        principal: creation.principal.to_owned(),
        host: creation.host.to_owned(),
        operation: creation.operation,
        permission_type: creation.permission_type,
    }
}

pub(super) fn delete(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DeleteAclsRequest<'_>,
) -> Outcome {
    let checked = check(cluster, call, Operation::Alter);
    let mut results = Vec::with_capacity(request.filters.len());
    for wanted in &request.filters {
        let result = checked.clone();
        results.push(result.map(|()| cluster.acls.remove(&filter(&wanted))));
    }
    let results = results.iter().map(|result| {
        let (error_code, error_message) = code_and_message(result);
        let removed = result.iter().flatten();
        DeleteAclsFilterResult {
            error_code,
            error_message,
            matching_acls: removed.map(matching).collect(),
        }
    });
    call.reply::<DeleteAclsRequest<'_>>(&DeleteAclsResponse {
        throttle_time_ms: 0,
        filter_results: results.collect(),
    })
}

const fn filter<'a>(wanted: &DeleteAclsFilter<'a>) -> AclFilter<'a> {
    AclFilter {
        resource_type: wanted.resource_type_filter,
        resource_name: wanted.resource_name_filter,
        pattern_type: wanted.pattern_type_filter,
        principal: wanted.principal_filter,
        host: wanted.host_filter,
        operation: wanted.operation,
        permission_type: wanted.permission_type,
    }
}

fn matching(acl: &Acl) -> DeleteAclsMatchingAcl<'_> {
    DeleteAclsMatchingAcl {
        error_code: ErrorCode::NONE,
        error_message: None,
        resource_type: acl.resource_type,
        resource_name: &acl.resource_name,
        pattern_type: acl.pattern_type,
        principal: &acl.principal,
        host: &acl.host,
        operation: acl.operation,
        permission_type: acl.permission_type,
    }
}
