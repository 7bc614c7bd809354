//! Who may do what: access rules, and the one place that decides by them.
//!
//! Types, operations and permissions are Kafka's numbers. Source: `StandardAuthorizerData`,
//! `AclControlManager`, `ResourcePatternFilter`, `AccessControlEntryFilter`.

use std::collections::BTreeSet;

use kmirror_protocol::ErrorCode;

use super::{Cluster, client::Client};

/// Matches everything in a filter.
const ANY: i8 = 1;

/// A pattern type of filters: whatever pattern matches the name.
const MATCH: i8 = 2;
/// The pattern is the name.
const LITERAL: i8 = 3;
/// The pattern is the beginning of the name.
const PREFIXED: i8 = 4;

/// All operations at once.
const ALL: i8 = 2;

const DENY: i8 = 2;
const ALLOW: i8 = 3;

const WILDCARD: &str = "*";
const WILDCARD_PRINCIPAL: &str = "User:*";

/// The only name of the cluster as a resource.
const CLUSTER_NAME: &str = "kafka-cluster";

/// Something that can be done to a resource (`AclOperation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

impl Operation {
    /// The number on the wire.
    pub(super) const fn number(self) -> i8 {
        self as i8
    }

    /// Whether a rule that allows another operation allows this one as well.
    const fn is_implied_by(self, other: i8) -> bool {
        match self {
            // Read, write, delete, alter.
            Self::Describe => matches!(other, 3 | 4 | 6 | 7 | 8),
            // Alter configs.
            Self::DescribeConfigs => matches!(other, 10 | 11),
            _ => other == self.number(),
        }
    }
}

/// Something that is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    Cluster,
    TransactionalId(&'a str),
}

impl<'a> Resource<'a> {
    /// The type's number (`ResourceType`).
    const fn number(self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Group(_) => 3,
            Self::Cluster => 4,
            Self::TransactionalId(_) => 5,
        }
    }

    const fn name(self) -> &'a str {
        match self {
            Self::Topic(name) | Self::Group(name) | Self::TransactionalId(name) => name,
            Self::Cluster => CLUSTER_NAME,
        }
    }

    /// What a client hears that may not.
    pub(super) const fn refusal(self) -> ErrorCode {
        match self {
            Self::Topic(_) => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            Self::Group(_) => ErrorCode::GROUP_AUTHORIZATION_FAILED,
            Self::Cluster => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            Self::TransactionalId(_) => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        }
    }
}

/// Whether and how access is restricted (`authorizer.class.name`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizerOptions {
    /// Principals that may do everything, such as `User:admin` (`super.users`).
    pub super_users: Vec<String>,
    /// Whether everybody may do what no rule is about (`allow.everyone.if.no.acl.found`).
    pub allow_everyone_if_no_acl_found: bool,
}

/// One rule. The order is that of the fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Acl {
    pub(super) resource_type: i8,
    pub(super) resource_name: String,
    pub(super) pattern_type: i8,
    pub(super) principal: String,
    pub(super) host: String,
    pub(super) operation: i8,
    pub(super) permission_type: i8,
}

impl Acl {
    /// Why it cannot be a rule, in Kafka's words.
    ///
    /// Some faults the brokers do not expect.
    fn fault(&self) -> Option<(ErrorCode, String)> {
        let invalid = |message: String| Some((ErrorCode::INVALID_REQUEST, message));
        if self.resource_type == 4 && self.resource_name != CLUSTER_NAME {
            return invalid(format!(
                "The only valid name for the CLUSTER resource is {CLUSTER_NAME}"
            ));
        }
        if self.resource_name.is_empty() {
            return invalid("Invalid empty resource name".to_owned());
        }
        let checks = [
            ("resourceType", self.resource_type, 2..=7),
            ("patternType", self.pattern_type, LITERAL..=PREFIXED),
            ("operation", self.operation, ALL..=15),
            ("permissionType", self.permission_type, DENY..=ALLOW),
        ];
        let wrong = checks
            .iter()
            .find(|(_, number, valid)| !valid.contains(number));
        if let Some((what, number, _)) = wrong {
            let is_of_filters = *number == ANY || (*what == "patternType" && *number == MATCH);
            let code = if is_of_filters {
                ErrorCode::UNKNOWN_SERVER_ERROR
            } else {
                ErrorCode::INVALID_REQUEST
            };
            return Some((code, format!("Invalid {what} {number}")));
        }
        if !self.principal.contains(':') {
            return invalid(format!(
                "Could not parse principal from `{}`",
                self.principal
            ));
        }
        None
    }

    fn covers(&self, resource: Resource<'_>) -> bool {
        let name = self.resource_name.as_str();
        self.resource_type == resource.number()
            && match self.pattern_type {
                PREFIXED => resource.name().starts_with(name),
                _ => name == WILDCARD || name == resource.name(),
            }
    }

    fn is_about(&self, principal: &str, host: &str) -> bool {
        (self.principal == principal || self.principal == WILDCARD_PRINCIPAL)
            && (self.host == host || self.host == WILDCARD)
    }

    fn denies(&self, operation: Operation) -> bool {
        self.permission_type == DENY
            && (self.operation == ALL || self.operation == operation.number())
    }

    fn allows(&self, operation: Operation) -> bool {
        self.permission_type == ALLOW
            && (self.operation == ALL || operation.is_implied_by(self.operation))
    }
}

/// Which rules to describe or delete; `None` and [`ANY`] match everything.
#[derive(Clone, Debug)]
pub(super) struct AclFilter<'a> {
    pub(super) resource_type: i8,
    pub(super) resource_name: Option<&'a str>,
    pub(super) pattern_type: i8,
    pub(super) principal: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) operation: i8,
    pub(super) permission_type: i8,
}

impl AclFilter<'_> {
    pub(super) fn matches(&self, acl: &Acl) -> bool {
        let has = |wanted: i8, number: i8| wanted == ANY || wanted == number;
        let is = |wanted: Option<&str>, text: &str| wanted.is_none_or(|wanted| wanted == text);
        has(self.resource_type, acl.resource_type)
            && self.matches_pattern(acl)
            && is(self.principal, &acl.principal)
            && is(self.host, &acl.host)
            && has(self.operation, acl.operation)
            && has(self.permission_type, acl.permission_type)
    }

    fn matches_pattern(&self, acl: &Acl) -> bool {
        let pattern = acl.resource_name.as_str();
        match (self.pattern_type, self.resource_name) {
            (ANY | MATCH, None) => true,
            (ANY, Some(name)) => name == pattern,
            (MATCH, Some(name)) if acl.pattern_type == PREFIXED => name.starts_with(pattern),
            (MATCH, Some(name)) => name == pattern || pattern == WILDCARD,
            (wanted, name) => wanted == acl.pattern_type && name.is_none_or(|name| name == pattern),
        }
    }
}

/// All rules.
#[derive(Debug, Default)]
pub(super) struct Acls {
    rules: BTreeSet<Acl>,
}

impl Acls {
    /// Adds a rule; one that exists is added again without effect.
    ///
    /// # Errors
    ///
    /// Why it cannot be a rule, and the code that says so.
    pub(super) fn add(&mut self, acl: Acl) -> Result<(), (ErrorCode, String)> {
        if let Some(fault) = acl.fault() {
            return Err(fault);
        }
        self.rules.insert(acl);
        Ok(())
    }

    /// The rules that match, those of one resource together.
    pub(super) fn matching(&self, filter: &AclFilter<'_>) -> impl Iterator<Item = &Acl> {
        self.rules.iter().filter(|acl| filter.matches(acl))
    }

    /// Removes rules and answers them.
    pub(super) fn remove(&mut self, filter: &AclFilter<'_>) -> Vec<Acl> {
        let removed: Vec<Acl> = self.matching(filter).cloned().collect();
        self.rules.retain(|acl| !filter.matches(acl));
        removed
    }

    /// Whether somebody may do something: a denial wins over any permission, and without either
    /// nobody may, unless no rule is about the resource and the options say so.
    fn allows(
        &self,
        options: &AuthorizerOptions,
        client: &Client,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        if options.super_users.contains(&client.principal) {
            return true;
        }
        let (mut has_rules, mut is_allowed) = (false, false);
        for acl in self.rules.iter().filter(|acl| acl.covers(resource)) {
            has_rules = true;
            if !acl.is_about(&client.principal, &client.host) {
                continue;
            }
            if acl.denies(operation) {
                return false;
            }
            is_allowed |= acl.allows(operation);
        }
        is_allowed || (!has_rules && options.allow_everyone_if_no_acl_found)
    }

    /// Whether somebody may do something to any topic at all (`Authorizer.authorizeByResourceType`,
    /// KIP-679): some rule allows it, and none denies it for all that the rule is about.
    fn allows_any_topic(
        &self,
        options: &AuthorizerOptions,
        client: &Client,
        operation: Operation,
    ) -> bool {
        if options.super_users.contains(&client.principal) || options.allow_everyone_if_no_acl_found
        {
            return true;
        }
        let about = |acl: &&Acl| {
            acl.resource_type == Resource::Topic("").number()
                && acl.is_about(&client.principal, &client.host)
        };
        let mut allowing = self
            .rules
            .iter()
            .filter(about)
            .filter(|acl| acl.allows(operation));
        allowing.any(|allowed| {
            let mut denying = self
                .rules
                .iter()
                .filter(about)
                .filter(|acl| acl.denies(operation));
            !denying.any(|denied| match denied.pattern_type {
                PREFIXED => allowed.resource_name.starts_with(&denied.resource_name),
                _ => {
                    denied.resource_name == WILDCARD
                        || (allowed.pattern_type == LITERAL
                            && allowed.resource_name == denied.resource_name)
                }
            })
        })
    }
}

impl Cluster {
    /// Whether a client may do something: the one place that decides.
    ///
    /// # Errors
    ///
    /// The error of the resource's type, such as [`ErrorCode::TOPIC_AUTHORIZATION_FAILED`].
    pub(super) fn authorize(
        &self,
        client: &Client,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), ErrorCode> {
        match &self.options.authorizer {
            Some(options) if !self.acls.allows(options, client, operation, resource) => {
                Err(resource.refusal())
            }
            _ => Ok(()),
        }
    }

    /// Whether a client may do something to at least one topic, whichever.
    pub(super) fn may_with_any_topic(&self, client: &Client, operation: Operation) -> bool {
        let options = self.options.authorizer.as_ref();
        options.is_none_or(|options| self.acls.allows_any_topic(options, client, operation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(
        resource: (i8, &str, i8),
        principal: &str,
        host: &str,
        operation: i8,
        permission: i8,
    ) -> Acl {
        Acl {
            resource_type: resource.0,
            resource_name: resource.1.to_owned(),
            pattern_type: resource.2,
            principal: principal.to_owned(),
            host: host.to_owned(),
            operation,
            permission_type: permission,
        }
    }

    fn client(principal: &str, host: &str) -> Client {
        Client {
            host: host.to_owned(),
            ..Client::new(principal)
        }
    }

    fn allowed(
        rules: &[Acl],
        client: &Client,
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        let mut acls = Acls::default();
        for rule in rules {
            acls.add(rule.clone()).unwrap();
        }
        let options = AuthorizerOptions {
            super_users: vec!["User:root".to_owned()],
            allow_everyone_if_no_acl_found: false,
        };
        acls.allows(&options, client, operation, resource)
    }

    const TOPIC_T: (i8, &str, i8) = (2, "team-a", LITERAL);
    const TEAM: (i8, &str, i8) = (2, "team-", PREFIXED);
    const EVERY_TOPIC: (i8, &str, i8) = (2, "*", LITERAL);

    #[test]
    fn rules_decide_as_kafkas_authorizer_does() {
        use Operation::{Alter, Create, Delete, Describe, DescribeConfigs, Read, Write};
        let may = |resource, operation: i8| acl(resource, "User:alice", "*", operation, ALLOW);
        let may_not = |resource, operation: i8| acl(resource, "User:alice", "*", operation, DENY);
        let read = Read.number();
        // Rules, operation, may User:alice do it to topic team-a.
        let cases: [(&[Acl], Operation, bool); 20] = [
            (&[], Read, false),
            (&[may(TOPIC_T, read)], Read, true),
            (&[may(TOPIC_T, read)], Write, false),
            (&[may(TOPIC_T, ALL)], Write, true),
            (&[may(TEAM, read)], Read, true),
            (&[may((2, "team-b", PREFIXED), read)], Read, false),
            (&[may((2, "team", LITERAL), read)], Read, false),
            (&[may(EVERY_TOPIC, read)], Read, true),
            (&[may((3, "team-a", LITERAL), read)], Read, false),
            (&[may(TOPIC_T, read), may_not(TOPIC_T, read)], Read, false),
            (&[may(TOPIC_T, read), may_not(TEAM, ALL)], Read, false),
            (
                &[may(TOPIC_T, read), may_not(EVERY_TOPIC, read)],
                Read,
                false,
            ),
            (
                &[may(TOPIC_T, read), may_not(TOPIC_T, Write.number())],
                Read,
                true,
            ),
            (&[may(TOPIC_T, read)], Describe, true),
            (&[may(TOPIC_T, Delete.number())], Describe, true),
            (&[may(TOPIC_T, Create.number())], Describe, false),
            (&[may(TOPIC_T, Alter.number())], DescribeConfigs, false),
            (
                &[may(TOPIC_T, Operation::AlterConfigs.number())],
                DescribeConfigs,
                true,
            ),
            // A denied read does not deny what reading would imply.
            (
                &[may(TOPIC_T, Describe.number()), may_not(TOPIC_T, read)],
                Describe,
                true,
            ),
            (&[acl(TOPIC_T, "User:*", "*", read, ALLOW)], Read, true),
        ];
        let alice = client("User:alice", "10.0.0.1");
        for (rules, operation, expected) in cases {
            let found = allowed(rules, &alice, operation, Resource::Topic("team-a"));
            assert_eq!(found, expected, "{operation:?} by {rules:?}");
        }
    }

    #[test]
    fn hosts_principals_and_super_users_are_told_apart() {
        let rule = [acl(TOPIC_T, "User:alice", "10.0.0.1", 3, ALLOW)];
        let cases = [
            ("User:alice", "10.0.0.1", true),
            ("User:alice", "10.0.0.2", false),
            ("User:bob", "10.0.0.1", false),
            ("User:root", "10.0.0.2", true),
        ];
        for (principal, host, expected) in cases {
            let client = client(principal, host);
            let found = allowed(&rule, &client, Operation::Read, Resource::Topic("team-a"));
            assert_eq!(found, expected, "{principal} {host}");
        }
    }

    #[test]
    fn without_any_rule_the_option_decides() {
        let options = AuthorizerOptions {
            allow_everyone_if_no_acl_found: true,
            ..AuthorizerOptions::default()
        };
        let mut acls = Acls::default();
        acls.add(acl(TOPIC_T, "User:bob", "*", 3, ALLOW)).unwrap();
        let alice = client("User:alice", "h");
        for (topic, expected) in [("other", true), ("team-a", false)] {
            let found = acls.allows(&options, &alice, Operation::Read, Resource::Topic(topic));
            assert_eq!(found, expected, "{topic}");
        }
    }

    #[test]
    fn any_topic_will_do_unless_it_is_denied_as_a_whole() {
        let may = |resource| acl(resource, "User:alice", "*", 4, ALLOW);
        let may_not = |resource| acl(resource, "User:alice", "*", 4, DENY);
        let cases: [(&[Acl], bool); 6] = [
            (&[], false),
            (&[may(TOPIC_T)], true),
            (&[may(TOPIC_T), may_not(TOPIC_T)], false),
            (&[may(TEAM), may_not(TOPIC_T)], true),
            (&[may(TEAM), may_not((2, "te", PREFIXED))], false),
            (&[may(EVERY_TOPIC), may_not(EVERY_TOPIC)], false),
        ];
        let alice = client("User:alice", "h");
        for (rules, expected) in cases {
            let mut acls = Acls::default();
            for rule in rules {
                acls.add(rule.clone()).unwrap();
            }
            let options = AuthorizerOptions::default();
            let found = acls.allows_any_topic(&options, &alice, Operation::Write);
            assert_eq!(found, expected, "{rules:?}");
        }
    }

    #[test]
    fn filters_match_by_pattern_type() {
        let any = AclFilter {
            resource_type: ANY,
            resource_name: None,
            pattern_type: ANY,
            principal: None,
            host: None,
            operation: ANY,
            permission_type: ANY,
        };
        let named = |pattern_type, name| AclFilter {
            pattern_type,
            resource_name: Some(name),
            ..any.clone()
        };
        let rules = [TOPIC_T, TEAM, EVERY_TOPIC].map(|it| acl(it, "User:alice", "*", 3, ALLOW));
        let cases = [
            (any.clone(), [true, true, true]),
            (named(ANY, "team-"), [false, true, false]),
            (named(LITERAL, "team-a"), [true, false, false]),
            (named(PREFIXED, "team-a"), [false, false, false]),
            (named(MATCH, "team-a"), [true, true, true]),
            (named(MATCH, "other"), [false, false, true]),
            (
                AclFilter {
                    principal: Some("User:bob"),
                    ..any.clone()
                },
                [false; 3],
            ),
            (
                AclFilter {
                    operation: 4,
                    ..any.clone()
                },
                [false; 3],
            ),
        ];
        for (filter, expected) in cases {
            let found = rules.each_ref().map(|acl| filter.matches(acl));
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}
