//! DescribeAcls, CreateAcls, DeleteAcls: who may do what with topics and groups.
//!
//! Any broker may be asked; it passes changes on to its controller. Numbers are those of
//! `ResourceType`, `PatternType` and `AclPermissionType`.

use std::{collections::BTreeSet, sync::Arc};

use kmirror_protocol::{
    ErrorCode,
    messages::{
        CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
        DescribeAclsRequest, DescribeAclsResponse,
        create_acls::AclCreation,
        delete_acls::{DeleteAclsFilter, DeleteAclsFilterResult},
        describe_acls::AclDescription,
    },
};

use super::{Question, refusal};
use crate::{
    flow::Failure,
    policy::{
        Acl,
        acls::{AclOperation, PatternType, Permission, ResourceType},
    },
};

/// In filters: whatever there is, of types, patterns, operations and permissions.
const ANY: i8 = 1;

const TOPIC: i8 = 2;
const GROUP: i8 = 3;

const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;

const DENY: i8 = 2;
const ALLOW: i8 = 3;

/// Asks for all ACLs on topics, or on topics, groups and everything else.
#[must_use]
pub fn describe(with_groups: bool) -> Question<DescribeAclsRequest<'static>> {
    Question::from(DescribeAclsRequest {
        resource_type_filter: if with_groups { ANY } else { TOPIC },
        resource_name_filter: None,
        pattern_type_filter: ANY,
        principal_filter: None,
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
    })
}

/// The ACLs on topics and groups; what they have in common they share, for there may be many.
///
/// # Errors
///
/// [`Failure::Refused`]: `SECURITY_DISABLED` without an authorizer, `CLUSTER_AUTHORIZATION_FAILED`
/// without the right to see them.
pub fn described(response: &DescribeAclsResponse<'_>) -> Result<Vec<Acl>, Failure> {
    refusal(response.error_code, response.error_message)?;
    let (mut names, mut acls) = (BTreeSet::new(), Vec::new());
    for found in &response.resources {
        let (Some(resource), Some(pattern)) = (
            resource_type(found.resource_type),
            pattern_type(found.pattern_type),
        ) else {
            continue;
        };
        let name: Arc<str> = Arc::from(found.resource_name);
        let of_resource = found.acls.iter().filter_map(|it: AclDescription<'_>| {
            Some(Acl {
                permission: permission(it.permission_type)?,
                resource,
                pattern,
                name: Arc::clone(&name),
                principal: shared(&mut names, it.principal),
                host: shared(&mut names, it.host),
                operation: AclOperation(it.operation),
            })
        });
        acls.extend(of_resource);
    }
    Ok(acls)
}

fn shared(names: &mut BTreeSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    let name: Arc<str> = Arc::from(name);
    names.insert(Arc::clone(&name));
    name
}

/// Adds ACLs; those that exist stay.
#[must_use]
pub fn create(acls: &[Acl]) -> Question<CreateAclsRequest<'_>> {
    let creations = acls.iter().map(|acl| AclCreation {
        resource_type: resource_number(acl.resource),
        resource_name: &acl.name,
        resource_pattern_type: pattern_number(acl.pattern),
        principal: &acl.principal,
        host: &acl.host,
        operation: acl.operation.0,
        permission_type: permission_number(acl.permission),
    });
    Question::from(CreateAclsRequest {
        creations: creations.collect(),
    })
}

/// What became of each of `count` ACLs.
#[must_use]
pub fn created(response: &CreateAclsResponse<'_>, count: usize) -> Vec<Result<(), Failure>> {
    let results = response.results.iter();
    let results = results.map(|it| refusal(it.error_code, it.error_message));
    each(results.collect(), count)
}

/// Takes ACLs away, exactly these.
#[must_use]
pub fn delete(acls: &[Acl]) -> Question<DeleteAclsRequest<'_>> {
    let filters = acls.iter().map(|acl| DeleteAclsFilter {
        resource_type_filter: resource_number(acl.resource),
        resource_name_filter: Some(&acl.name),
        pattern_type_filter: pattern_number(acl.pattern),
        principal_filter: Some(&acl.principal),
        host_filter: Some(&acl.host),
        operation: acl.operation.0,
        permission_type: permission_number(acl.permission),
    });
    Question::from(DeleteAclsRequest {
        filters: filters.collect(),
    })
}

/// What became of each of `count` ACLs; one that was gone already has been taken away.
#[must_use]
pub fn deleted(response: &DeleteAclsResponse<'_>, count: usize) -> Vec<Result<(), Failure>> {
    let result = |it: DeleteAclsFilterResult<'_>| {
        refusal(it.error_code, it.error_message)?;
        let mut matching = it.matching_acls.iter();
        let failed = matching.find(|acl| acl.error_code != ErrorCode::NONE);
        failed.map_or(Ok(()), |acl| refusal(acl.error_code, acl.error_message))
    };
    each(response.filter_results.iter().map(result).collect(), count)
}

/// So many results: those that the broker left out have failed.
fn each(mut results: Vec<Result<(), Failure>>, count: usize) -> Vec<Result<(), Failure>> {
    let words = || String::from("the broker left the ACL out of its answer");
    results.resize_with(count, || Err(Failure::Malformed(words())));
    results
}

/// `None` for what is not replicated.
const fn resource_type(number: i8) -> Option<ResourceType> {
    match number {
        TOPIC => Some(ResourceType::Topic),
        GROUP => Some(ResourceType::Group),
        _ => None,
    }
}

const fn resource_number(resource: ResourceType) -> i8 {
    match resource {
        ResourceType::Topic => TOPIC,
        ResourceType::Group => GROUP,
    }
}

const fn pattern_type(number: i8) -> Option<PatternType> {
    match number {
        LITERAL => Some(PatternType::Literal),
        PREFIXED => Some(PatternType::Prefixed),
        _ => None,
    }
}

const fn pattern_number(pattern: PatternType) -> i8 {
    match pattern {
        PatternType::Literal => LITERAL,
        PatternType::Prefixed => PREFIXED,
    }
}

const fn permission(number: i8) -> Option<Permission> {
    match number {
        DENY => Some(Permission::Deny),
        ALLOW => Some(Permission::Allow),
        _ => None,
    }
}

const fn permission_number(permission: Permission) -> i8 {
    match permission {
        Permission::Deny => DENY,
        Permission::Allow => ALLOW,
    }
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::messages::{
        create_acls::AclCreationResult, delete_acls::DeleteAclsMatchingAcl,
        describe_acls::DescribeAclsResource,
    };

    use super::*;

    /// As a broker describes what was created.
    fn echo(creation: &AclCreation<'_>) -> Vec<Acl> {
        let acl = AclDescription {
            principal: creation.principal,
            host: creation.host,
            operation: creation.operation,
            permission_type: creation.permission_type,
        };
        let resource = DescribeAclsResource {
            resource_type: creation.resource_type,
            resource_name: creation.resource_name,
            pattern_type: creation.resource_pattern_type,
            acls: [acl].into(),
        };
        let response = DescribeAclsResponse {
            resources: [resource].into(),
            ..DescribeAclsResponse::default()
        };
        described(&response).unwrap()
    }

    fn acls() -> Vec<Acl> {
        let (deny, allow) = (Permission::Deny, Permission::Allow);
        let (topic, group) = (ResourceType::Topic, ResourceType::Group);
        let (literal, prefixed) = (PatternType::Literal, PatternType::Prefixed);
        let all = [
            (deny, topic, literal),
            (allow, topic, prefixed),
            (allow, group, literal),
        ];
        let all = all.map(|(permission, resource, pattern)| Acl {
            permission,
            resource,
            pattern,
            name: Arc::from("name"),
            principal: Arc::from("User:x"),
            host: Arc::from("10.0.0.1"),
            operation: AclOperation::READ,
        });
        all.to_vec()
    }

    #[test]
    fn what_is_created_is_described_as_it_was_and_removed_by_all_its_properties() {
        let acls = acls();
        let creations = create(&acls).request.creations;
        let described: Vec<Acl> = creations.iter().flat_map(|it| echo(&it)).collect();
        assert_eq!(described, acls);
        let filters = delete(&acls).request.filters;
        for (filter, creation) in filters.iter().zip(&creations) {
            assert_eq!(filter.resource_name_filter, Some(creation.resource_name));
            assert_eq!(filter.principal_filter, Some(creation.principal));
            assert_eq!(filter.host_filter, Some(creation.host));
            let numbers = [
                filter.resource_type_filter,
                filter.pattern_type_filter,
                filter.operation,
                filter.permission_type,
            ];
            let expected = [
                creation.resource_type,
                creation.resource_pattern_type,
                creation.operation,
                creation.permission_type,
            ];
            assert_eq!(numbers, expected);
        }
    }

    #[test]
    fn what_is_not_replicated_or_not_understood_is_left_out() {
        for (resource_type, resource_pattern_type, permission_type) in
            [(4, LITERAL, ALLOW), (TOPIC, 2, ALLOW), (TOPIC, LITERAL, 0)]
        {
            let creation = AclCreation {
                resource_type,
                resource_pattern_type,
                permission_type,
                resource_name: "name",
                ..AclCreation::default()
            };
            assert_eq!(echo(&creation), []);
        }
    }

    #[test]
    fn an_acl_that_the_answer_leaves_out_is_not_taken_for_changed() {
        let invalid = AclCreationResult {
            error_code: ErrorCode::INVALID_REQUEST,
            error_message: Some("no"),
        };
        let response = CreateAclsResponse {
            results: [AclCreationResult::default(), invalid].into(),
            ..CreateAclsResponse::default()
        };
        let found = created(&response, 3);
        let refused = Failure::Refused(ErrorCode::INVALID_REQUEST, Some(String::from("no")));
        assert_eq!(found[..2], [Ok(()), Err(refused)]);
        assert!(matches!(found[2], Err(Failure::Malformed(_))));
        assert_eq!(created(&response, 1).len(), 1);
    }

    #[test]
    fn one_that_was_gone_is_removed_and_one_that_stayed_is_not() {
        let stayed = DeleteAclsMatchingAcl {
            error_code: ErrorCode::UNKNOWN_SERVER_ERROR,
            ..DeleteAclsMatchingAcl::default()
        };
        let of = |matching: &[DeleteAclsMatchingAcl<'static>]| DeleteAclsFilterResult {
            matching_acls: matching.to_vec().into(),
            ..DeleteAclsFilterResult::default()
        };
        let response = DeleteAclsResponse {
            filter_results: vec![of(&[]), of(&[stayed])].into(),
            ..DeleteAclsResponse::default()
        };
        let found = deleted(&response, 2);
        assert!(found[0].is_ok() && found[1].is_err(), "{found:?}");
    }
}
