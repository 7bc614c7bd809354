//! Which topics a flow replicates, and why the others are not.
//!
//! The decision of `MirrorSourceConnector.shouldReplicateTopic`, with the reason kept for logs.

use super::{MatchError, NameFilter, ReplicationPolicy};

/// The lists `topics` and `topics.exclude`, and whether heartbeats pass regardless.
#[derive(Debug, Clone)]
pub struct TopicFilter {
    /// Topics to replicate; the empty list replicates none.
    pub include: NameFilter,
    /// Topics not to replicate, although included.
    pub exclude: NameFilter,
    /// `heartbeats.replication.enabled` (KIP-1089): heartbeats topics pass whatever the lists say.
    pub heartbeats_replication_enabled: bool,
    /// The flows that keep topic names, on which a topic of this one may come back.
    pub hops: Vec<Hop>,
}

/// A flow that copies topics under the names that they have.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Alias of the cluster read from.
    pub source: String,
    /// Alias of the cluster written to.
    pub target: String,
    /// Topics to replicate.
    pub include: NameFilter,
    /// Topics not to replicate, although included.
    pub exclude: NameFilter,
}

/// Whether a topic is replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The topic is replicated.
    Wanted,
    /// The topic is left alone.
    Skipped(SkipReason),
}

/// Why a topic is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// No item of `topics` matches.
    NotIncluded,
    /// An item of `topics.exclude` matches.
    Excluded,
    /// It belongs to Kafka, to MirrorMaker or to kmirror.
    Internal,
    /// It already came from the target, perhaps through other clusters.
    Cycle,
    /// Flows that keep names would bring it back to the source, and each round add its records again.
    Loop,
}

impl SkipReason {
    /// Says the reason in words that complete "skipped: …".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotIncluded => "not in topics",
            Self::Excluded => "in topics.exclude",
            Self::Internal => "internal to Kafka, MirrorMaker or kmirror",
            Self::Cycle => "came from the target cluster",
            Self::Loop => "would come back under the same name, round and round",
        }
    }
}

impl Hop {
    fn copies(&self, topic: &str) -> bool {
        self.include.matches(topic).unwrap_or(true) && !self.exclude.matches(topic).unwrap_or(false)
    }
}

impl TopicFilter {
    /// Tells whether the lists alone accept `topic`, which decides of whose groups is told
    /// (`MirrorCheckpointConnector`); no where a list cannot be decided.
    #[must_use]
    pub fn lists(&self, topic: &str) -> bool {
        let is_included = self.include.matches(topic).unwrap_or(false);
        is_included && !self.exclude.matches(topic).unwrap_or(true)
    }

    /// Decides whether the source's `topic` is replicated to `target_alias`.
    ///
    /// Internal topics and cycles are named before the lists, because no setting changes them.
    ///
    /// # Errors
    /// When a list cannot be decided for this name; the topic must then be treated as undecided,
    /// never as unwanted.
    pub fn wanted(
        &self,
        policy: &ReplicationPolicy,
        target_alias: &str,
        topic: &str,
    ) -> Result<Decision, MatchError> {
        if policy.is_internal_topic(topic) || is_state_topic(topic) {
            return Ok(Decision::Skipped(SkipReason::Internal));
        }
        if policy.is_cycle(topic, target_alias) {
            return Ok(Decision::Skipped(SkipReason::Cycle));
        }
        if self.heartbeats_replication_enabled && policy.is_heartbeats_topic(topic) {
            return Ok(Decision::Wanted);
        }
        if !self.include.matches(topic)? {
            return Ok(Decision::Skipped(SkipReason::NotIncluded));
        }
        if self.exclude.matches(topic)? {
            return Ok(Decision::Skipped(SkipReason::Excluded));
        }
        if self.comes_back(policy, target_alias, topic) {
            return Ok(Decision::Skipped(SkipReason::Loop));
        }
        Ok(Decision::Wanted)
    }

    /// Tells whether other flows that keep names bring a topic back to where it is read. What cannot
    /// be decided counts as copied.
    ///
    /// `IdentityReplicationPolicy` leaves that to its user.
    fn comes_back(&self, policy: &ReplicationPolicy, target_alias: &str, topic: &str) -> bool {
        let Some(source) = policy.source_alias.as_deref() else {
            return false;
        };
        let mut reached = vec![target_alias];
        let mut next = 0;
        while let Some(at) = reached.get(next).copied() {
            next += 1;
            for hop in self.hops.iter().filter(|hop| hop.source == at) {
                if !reached.contains(&hop.target.as_str()) && hop.copies(topic) {
                    reached.push(&hop.target);
                }
            }
        }
        reached.contains(&source)
    }
}

/// Whether kmirror keeps its state there, for a flow in the other direction: of no use to anybody else.
/// `offsets::state::topic_name` makes the name.
fn is_state_topic(topic: &str) -> bool {
    topic.starts_with("kmirror-state.") && topic.ends_with(".internal")
}
