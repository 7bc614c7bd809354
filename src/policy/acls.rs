//! Access rules: which ACLs of the source go to the target, in which form, and which go there no more.
//!
//! Arithmetic of sets, for one flow and one moment. MM2's rules hold unless somebody asks for more:
//! ACLs on topics, by their full names, if the topic is replicated; nobody but the replicator is
//! allowed to write remote topics, so ALLOW WRITE stays behind and ALLOW ALL becomes ALLOW READ;
//! everything else goes as it is. Source: `MirrorSourceConnector.syncTopicAcls`,
//! `shouldReplicateAcl`, `targetAclBinding`.
//!
//! One rule is another: MM2 makes the topic `A.*` of the pattern `*`, which no topic is called.
//! Here it is the prefix `A.`, so the same rights to exactly what is copied, and like other
//! prefixes it is taken only on request.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{Decision, PolicyKind, ReplicationPolicy, TopicFilter};

/// As a literal name: every resource of its type (`ResourcePattern.WILDCARD_RESOURCE`); as a host: from
/// everywhere.
const WILDCARD: &str = "*";

/// Everybody (`SecurityUtils`, `StandardAuthorizerData.WILDCARD_KAFKA_PRINCIPAL`).
const EVERYBODY: &str = "User:*";

/// One rule of access. Denials come first in their order: a right that another rule denies is then
/// never there without its denial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// Whether it denies or allows.
    pub permission: Permission,
    /// What kind of thing it protects.
    pub resource: ResourceType,
    /// How the name is meant.
    pub pattern: PatternType,
    /// Which of them.
    pub name: Arc<str>,
    /// Whose right it is, such as `User:alice`.
    pub principal: Arc<str>,
    /// From where, an address or `*`.
    pub host: Arc<str>,
    /// What may or may not be done.
    pub operation: AclOperation,
}

/// `AclPermissionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// `DENY`, which wins over any permission.
    Deny,
    /// `ALLOW`.
    Allow,
}

/// `ResourceType`, as far as ACLs are replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// `TOPIC`.
    Topic,
    /// `GROUP`.
    Group,
}

/// `PatternType` of stored ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PatternType {
    /// The name itself; `*` is every name.
    Literal,
    /// All names that begin so.
    Prefixed,
}

/// `AclOperation`, by its number on the wire: one that is newer than this program passes as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclOperation(pub i8);

impl AclOperation {
    /// All operations at once.
    pub const ALL: Self = Self(2);
    /// Reading records.
    pub const READ: Self = Self(3);
    /// Writing records.
    pub const WRITE: Self = Self(4);
    /// Seeing that the resource exists.
    pub const DESCRIBE: Self = Self(8);

    const NAMES: [&str; 15] = [
        "UNKNOWN",
        "ANY",
        "ALL",
        "READ",
        "WRITE",
        "CREATE",
        "DELETE",
        "ALTER",
        "DESCRIBE",
        "CLUSTER_ACTION",
        "DESCRIBE_CONFIGS",
        "ALTER_CONFIGS",
        "IDEMPOTENT_WRITE",
        "CREATE_TOKENS",
        "DESCRIBE_TOKENS",
    ];
}

impl fmt::Display for AclOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::try_from(self.0).ok();
        match name.and_then(|number| Self::NAMES.get(number)) {
            Some(name) => f.write_str(name),
            None => write!(f, "operation {}", self.0),
        }
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permission = match self.permission {
            Permission::Deny => "DENY",
            Permission::Allow => "ALLOW",
        };
        let resource = match (self.resource, self.pattern) {
            (ResourceType::Topic, PatternType::Literal) => "topic",
            (ResourceType::Topic, PatternType::Prefixed) => "topics with prefix",
            (ResourceType::Group, PatternType::Literal) => "group",
            (ResourceType::Group, PatternType::Prefixed) => "groups with prefix",
        };
        let Self {
            name,
            principal,
            host,
            operation,
            ..
        } = self;
        write!(
            f,
            "{permission} {principal} {operation} on {resource} {name} from host {host}"
        )
    }
}

impl Acl {
    /// Whether it allows to write, by that name or with all the rest.
    fn allows_writing(&self) -> bool {
        let operation = self.operation;
        let writes = operation == AclOperation::WRITE || operation == AclOperation::ALL;
        self.permission == Permission::Allow && writes
    }

    fn is_allow(&self, operation: AclOperation) -> bool {
        self.permission == Permission::Allow && self.operation == operation
    }
}

/// What decides about the ACLs of one flow.
pub struct AclRules<'a> {
    /// How remote topics are called.
    pub policy: &'a ReplicationPolicy,
    /// The alias of the source.
    pub source_alias: &'a str,
    /// The alias of the target.
    pub target_alias: &'a str,
    /// Which topics are replicated.
    pub topics: &'a TopicFilter,
    /// Whether ACLs on prefixes of topics are taken (`kmirror.sync.acls.prefixed`).
    pub takes_prefixes: bool,
    /// The replicated topics that the source has now.
    pub replicated: &'a BTreeSet<&'a str>,
    /// Of which groups ACLs are taken (`kmirror.sync.acls.groups`); `None` of no group.
    pub takes_group: Option<&'a dyn Fn(&str) -> bool>,
    /// Whether the target loses what the source does not have (`kmirror.sync.acls.remove`).
    pub removes: bool,
}

/// What is to be done on the target.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AclPlan {
    /// ACLs that it lacks, denials first.
    pub missing: Vec<Acl>,
    /// ACLs that it has and the source does not give.
    pub surplus: Vec<Acl>,
    /// What is not copied and might be missed.
    pub left_out: LeftOut,
}

/// ACLs of the source that hold for what is copied and are not copied, by how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// On prefixes of topics, or on all topics at once.
    pub topic_patterns: usize,
    /// How many of these deny something, which the target then allows to whoever has the right.
    pub denials: usize,
    /// On prefixes of groups, or on all groups at once: on the target they would hold for groups
    /// that are not of the source.
    pub group_patterns: usize,
}

impl AclRules<'_> {
    /// Compares what both clusters have.
    #[must_use]
    pub fn plan(&self, source: &[Acl], target: &BTreeSet<Acl>) -> AclPlan {
        let wanted = source.iter().filter(|acl| self.is_wanted(acl));
        let wanted: BTreeSet<Acl> = wanted.filter_map(|acl| self.image(acl)).collect();
        let surplus = if self.removes {
            self.surplus(source, target)
        } else {
            Vec::new()
        };
        AclPlan {
            missing: wanted.difference(target).cloned().collect(),
            surplus,
            left_out: self.left_out(source),
        }
    }

    /// What begins the names of all topics that an ACL is about; `None` for one on a single topic.
    ///
    /// Under the identity policy `*` stays `*`, as in MM2, and needs no prefix.
    fn prefix_of<'a>(&self, acl: &'a Acl) -> Option<&'a str> {
        match acl.pattern {
            PatternType::Prefixed => Some(&acl.name),
            PatternType::Literal if &*acl.name == WILDCARD => {
                (self.policy.kind() == PolicyKind::Default).then_some("")
            }
            PatternType::Literal => None,
        }
    }

    /// Whether what an ACL of the source is about is replicated. A name that a list cannot decide
    /// about is not.
    fn is_wanted(&self, acl: &Acl) -> bool {
        match (acl.resource, self.prefix_of(acl)) {
            (ResourceType::Topic, Some(prefix)) => self.takes_prefixes && self.has_topics(prefix),
            (ResourceType::Topic, None) => self.is_topic_wanted(&acl.name),
            (ResourceType::Group, _) => {
                let takes = self.takes_group.filter(|_| !is_group_pattern(acl));
                takes.is_some_and(|takes| takes(&acl.name))
            }
        }
    }

    /// Whether a topic is replicated, once there is one of this name.
    fn is_topic_wanted(&self, topic: &str) -> bool {
        let decide = || self.topics.wanted(self.policy, self.target_alias, topic);
        self.replicated.contains(topic) || decide() == Ok(Decision::Wanted)
    }

    /// Whether there is a replicated topic whose name begins so.
    fn has_topics(&self, prefix: &str) -> bool {
        let mut names = self.replicated.range(prefix..);
        names.next().is_some_and(|name| name.starts_with(prefix))
    }

    /// What an ACL of the source is on the target; `None` if it is nothing there.
    fn image(&self, acl: &Acl) -> Option<Acl> {
        if acl.resource == ResourceType::Group {
            return Some(acl.clone());
        }
        if acl.is_allow(AclOperation::WRITE) {
            return None;
        }
        let (pattern, name) = match self.prefix_of(acl) {
            Some(prefix) => {
                let prefix = self.policy.remote_prefix(self.source_alias, prefix);
                (PatternType::Prefixed, prefix)
            }
            None => {
                let name = self.policy.remote_topic(self.source_alias, &acl.name);
                (PatternType::Literal, name)
            }
        };
        let operation = if acl.is_allow(AclOperation::ALL) {
            AclOperation::READ
        } else {
            acl.operation
        };
        Some(Acl {
            pattern,
            name: Arc::from(name),
            operation,
            ..acl.clone()
        })
    }

    fn left_out(&self, source: &[Acl]) -> LeftOut {
        let mut left_out = LeftOut::default();
        for acl in source {
            match (acl.resource, self.prefix_of(acl)) {
                (ResourceType::Group, _) => {
                    let is_missed = self.takes_group.is_some() && is_group_pattern(acl);
                    left_out.group_patterns += usize::from(is_missed);
                }
                (ResourceType::Topic, Some(prefix))
                    if !self.takes_prefixes
                        && !acl.is_allow(AclOperation::WRITE)
                        && self.has_topics(prefix) =>
                {
                    left_out.topic_patterns += 1;
                    left_out.denials += usize::from(acl.permission == Permission::Deny);
                }
                (ResourceType::Topic, _) => {}
            }
        }
        left_out
    }

    /// ACLs of the target that only the source could be the reason for, and is not.
    ///
    /// Nothing that denies, so that no right ever comes from a removal; nothing of a principal that
    /// may write remote topics, since this is how a replicator's own rights look; nothing that the
    /// source gives by a pattern, taken or not.
    fn surplus(&self, source: &[Acl], target: &BTreeSet<Acl>) -> Vec<Acl> {
        let images: BTreeSet<Acl> = source.iter().filter_map(|acl| self.image(acl)).collect();
        let writers = self.writers(target);
        if writers.contains(EVERYBODY) {
            return Vec::new();
        }
        let on_topics = source
            .iter()
            .filter(|acl| acl.resource == ResourceType::Topic);
        let patterns: Vec<(&str, &Acl)> = on_topics
            .filter_map(|acl| Some((self.prefix_of(acl)?, acl)))
            .collect();
        let surplus = target.iter().filter(|acl| {
            self.upstream_of_image(acl).is_some_and(|upstream| {
                let mut patterns = patterns.iter();
                !images.contains(*acl)
                    && !writers.contains(&*acl.principal)
                    && !patterns.any(|(prefix, wide)| {
                        upstream.starts_with(prefix) && gives_as_much(wide, acl)
                    })
            })
        });
        surplus.cloned().collect()
    }

    /// The topic or prefix on the source that an ACL of the target is about, if it is one that may
    /// have been made here: a right, not to write, on a remote topic of this flow.
    ///
    /// Never under the identity policy, where remote topics look like the target's own.
    fn upstream_of_image<'a>(&self, acl: &'a Acl) -> Option<&'a str> {
        let is_right = acl.permission == Permission::Allow && !acl.allows_writing();
        let has_names = self.policy.kind() == PolicyKind::Default;
        if acl.resource != ResourceType::Topic || !is_right || !has_names {
            return None;
        }
        let remote = self.policy.remote_prefix(self.source_alias, "");
        let upstream = acl.name.strip_prefix(&*remote)?;
        let is_own = match acl.pattern {
            PatternType::Prefixed => self.takes_prefixes,
            PatternType::Literal => !upstream.is_empty() && self.is_topic_wanted(upstream),
        };
        is_own.then_some(upstream)
    }

    /// Who may write remote topics of this flow.
    fn writers<'a>(&self, target: &'a BTreeSet<Acl>) -> BTreeSet<&'a str> {
        let remote = self.policy.remote_prefix(self.source_alias, "");
        let is_remote = |acl: &Acl| match acl.pattern {
            PatternType::Literal => &*acl.name == WILDCARD || acl.name.starts_with(&*remote),
            PatternType::Prefixed => {
                acl.name.starts_with(&*remote) || remote.starts_with(&*acl.name)
            }
        };
        let writing = target.iter().filter(|acl| {
            acl.resource == ResourceType::Topic && acl.allows_writing() && is_remote(acl)
        });
        writing.map(|acl| &*acl.principal).collect()
    }
}

/// Whether an ACL is about more groups than one.
fn is_group_pattern(acl: &Acl) -> bool {
    acl.pattern == PatternType::Prefixed || &*acl.name == WILDCARD
}

/// Whether an ACL gives to whom another one gives a right, from where they come, that right.
fn gives_as_much(wide: &Acl, narrow: &Acl) -> bool {
    let gives = wide.is_allow(narrow.operation) || wide.is_allow(AclOperation::ALL);
    let to_same = wide.principal == narrow.principal || &*wide.principal == EVERYBODY;
    gives && to_same && (wide.host == narrow.host || &*wide.host == WILDCARD)
}

#[cfg(test)]
mod tests;
