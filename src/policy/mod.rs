//! What is replicated, and under which name: replication policies, name filters and access rules.
//!
//! Pure: no I/O, no clock, no task. Names are compared as Kafka and MirrorMaker 2 compare them,
//! including the corners that look like mistakes: a remote topic that is named differently from
//! what MM2 would have named it is a second copy of the data.
//!
//! Sources: KIP-382, KIP-690, KIP-949, KIP-1074; `ReplicationPolicy`, `DefaultReplicationPolicy`,
//! `IdentityReplicationPolicy` and `MirrorSourceConnector` of Apache Kafka. The predicates on
//! internal topics follow Kafka 4.0 and later.

pub mod acls;
pub mod filter;
mod java_regex;
pub mod start;
pub mod topics;

pub use acls::{Acl, AclPlan, AclRules};
pub use filter::{MatchError, NameFilter, PropertyFilter};
pub use java_regex::PatternError;
pub use start::{StartAt, StartRules, TopicStart};
pub use topics::{Decision, Hop, SkipReason, TopicFilter};

/// The name of every heartbeats topic at its origin; no separator ever changes it.
pub const HEARTBEATS_TOPIC: &str = "heartbeats";

/// The separator between alias and topic unless `replication.policy.separator` says otherwise.
pub const DEFAULT_SEPARATOR: &str = ".";

/// How remote topics are named, and how a name on the target is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationPolicy {
    kind: PolicyKind,
    /// Never empty.
    separator: String,
    internal_separator: String,
    /// Only the identity policy looks at it.
    source_alias: Option<String>,
}

/// Which of Kafka's two policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// Remote topics are called `alias.topic`.
    Default,
    /// Remote topics keep their name; only heartbeats are prefixed.
    Identity,
}

impl ReplicationPolicy {
    /// Builds Kafka's `DefaultReplicationPolicy` with separator `.`.
    #[must_use]
    pub fn prefixing() -> Self {
        Self {
            kind: PolicyKind::Default,
            separator: DEFAULT_SEPARATOR.to_owned(),
            internal_separator: DEFAULT_SEPARATOR.to_owned(),
            source_alias: None,
        }
    }

    /// Builds Kafka's `IdentityReplicationPolicy` with separator `.`.
    ///
    /// `source_alias` is the flow's source; a reader outside any flow (Java's `MirrorClient`)
    /// knows none and then no ordinary topic has a source.
    #[must_use]
    pub fn identity(source_alias: Option<&str>) -> Self {
        Self {
            kind: PolicyKind::Identity,
            source_alias: source_alias.map(str::to_owned),
            ..Self::prefixing()
        }
    }

    /// Replaces the separator; an empty one is ignored, since it names nothing.
    ///
    /// `internal_too` is `replication.policy.internal.topic.separator.enabled` (KIP-949): whether
    /// the names of MM2's internal topics use the separator or stay with `.`.
    #[must_use]
    pub fn with_separator(mut self, separator: &str, internal_too: bool) -> Self {
        if !separator.is_empty() {
            separator.clone_into(&mut self.separator);
            let internal = if internal_too { separator } else { "." };
            internal.clone_into(&mut self.internal_separator);
        }
        self
    }

    /// Which policy this is.
    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// What stands between alias and topic.
    #[must_use]
    pub fn separator(&self) -> &str {
        &self.separator
    }

    /// Names the copy of `topic` of the cluster `source_alias` (`formatRemoteTopic`).
    #[must_use]
    pub fn remote_topic(&self, source_alias: &str, topic: &str) -> String {
        if self.keeps_name_of(topic) {
            topic.to_owned()
        } else {
            format!("{source_alias}{}{topic}", self.separator)
        }
    }

    /// What begins the names of the copies of all topics of `source_alias` that begin with `prefix`;
    /// the heartbeats that the identity policy renames are left aside.
    #[must_use]
    pub fn remote_prefix(&self, source_alias: &str, prefix: &str) -> String {
        match self.kind {
            PolicyKind::Default => format!("{source_alias}{}{prefix}", self.separator),
            PolicyKind::Identity => prefix.to_owned(),
        }
    }

    /// Names the cluster a topic was copied from; `None` means it was not copied (`topicSource`).
    ///
    /// Under the default policy every name that holds the separator counts as copied, so the
    /// user's own `foo.bar` comes from `foo`.
    #[must_use]
    pub fn topic_source<'a>(&'a self, topic: &'a str) -> Option<&'a str> {
        if self.keeps_name_of(topic) {
            self.source_alias.as_deref()
        } else {
            self.prefix_of(topic)
        }
    }

    /// Names the topic on the source that `topic` copies; `None` if it copies none.
    #[must_use]
    pub fn upstream_topic<'a>(&self, topic: &'a str) -> Option<&'a str> {
        if self.keeps_name_of(topic) {
            return Some(topic);
        }
        let source = self.prefix_of(topic)?;
        topic.get(source.len() + self.separator.len()..)
    }

    /// Names the topic at the beginning of a chain of copies.
    #[must_use]
    pub fn original_topic<'a>(&self, topic: &'a str) -> &'a str {
        let mut topic = topic;
        // Ends: every step but the identity's drops at least the separator.
        while let Some(upstream) = self.upstream_topic(topic) {
            if upstream == topic {
                break;
            }
            topic = upstream;
        }
        topic
    }

    /// Tells whether replicating `topic` to `target_alias` would send data back where it came from.
    ///
    /// The identity policy cannot tell, except for heartbeats (`MirrorSourceConnector.isCycle`).
    #[must_use]
    pub fn is_cycle(&self, topic: &str, target_alias: &str) -> bool {
        let mut topic = topic;
        loop {
            match self.topic_source(topic) {
                None => return false,
                Some(source) if source == target_alias => return true,
                Some(_) => {}
            }
            match self.upstream_topic(topic) {
                Some(upstream) if upstream != topic => topic = upstream,
                _ => return false,
            }
        }
    }

    /// Names the topic of offset syncs; `alias` is the cluster it is *not* stored on.
    #[must_use]
    pub fn offset_syncs_topic(&self, alias: &str) -> String {
        let separator = &self.internal_separator;
        format!("mm2-offset-syncs{separator}{alias}{separator}internal")
    }

    /// Names the topic of checkpoints for groups of `source_alias`, stored on the target.
    #[must_use]
    pub fn checkpoints_topic(&self, source_alias: &str) -> String {
        format!("{source_alias}{}", self.checkpoints_suffix())
    }

    /// Tells whether `topic` is a heartbeats topic, at its origin or copied.
    #[must_use]
    pub fn is_heartbeats_topic(&self, topic: &str) -> bool {
        self.original_topic(topic) == HEARTBEATS_TOPIC
    }

    /// Tells whether `topic` holds checkpoints.
    #[must_use]
    pub fn is_checkpoints_topic(&self, topic: &str) -> bool {
        topic.ends_with(&self.checkpoints_suffix())
    }

    /// Tells whether `topic` belongs to MM2 itself, by the rule of Kafka 4.0 (KAFKA-17200).
    #[must_use]
    pub fn is_mm2_internal_topic(&self, topic: &str) -> bool {
        let suffix = format!("{}internal", self.internal_separator);
        (topic.starts_with("mm2") && topic.ends_with(&suffix)) || self.is_checkpoints_topic(topic)
    }

    /// Tells whether `topic` belongs to Kafka or MM2 and is therefore never replicated.
    #[must_use]
    pub fn is_internal_topic(&self, topic: &str) -> bool {
        topic.starts_with("__") || topic.starts_with('.') || self.is_mm2_internal_topic(topic)
    }

    /// Java's `split` at the separator: trailing empty pieces do not count, and a name of fewer
    /// than two pieces has no prefix. So `a.` has none and `.a` has the empty one.
    fn prefix_of<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let mut pieces = topic.split(self.separator.as_str());
        let first = pieces.next()?;
        pieces.any(|piece| !piece.is_empty()).then_some(first)
    }

    /// The identity policy treats every name that *ends with* `heartbeats` as the default policy
    /// does, `device-heartbeats` included.
    fn keeps_name_of(&self, topic: &str) -> bool {
        self.kind == PolicyKind::Identity && !topic.ends_with(HEARTBEATS_TOPIC)
    }

    fn checkpoints_suffix(&self) -> String {
        let separator = &self.internal_separator;
        format!("{separator}checkpoints{separator}internal")
    }
}

/// Names the topic on the target where positions in `source_alias` are stored.
///
/// Connect names it, not the policy: it always uses `.` (`MirrorMakerConfig.workerConfig`).
#[must_use]
pub fn source_offsets_topic(source_alias: &str) -> String {
    format!("mm2-offsets.{source_alias}.internal")
}

#[cfg(test)]
mod tests;
