//! One group: its members, its generation and the protocol they agreed on.
//!
//! Source: Kafka's `ClassicGroup`. How generations follow each other is in `rebalance`.

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::ErrorCode;

use super::{
    Answers, JoinAnswer, JoinedMember,
    member::{Member, Protocol, subscribed_topics},
    rebalance::JoinTimer,
};
use crate::sandbox::Timestamp;

/// The protocol type of consumers; others, such as Connect's, are opaque.
const CONSUMER: &str = "consumer";

/// What a group is doing. `Dead` is not among them: a group that is deleted is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum State {
    /// Without members; it may have offsets.
    Empty,
    /// Waits for members to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    /// Members have their assignments.
    Stable,
}

impl State {
    /// The name in answers.
    pub(in crate::sandbox) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A group.
#[derive(Debug)]
pub(in crate::sandbox) struct Group {
    pub(in crate::sandbox) state: State,
    /// Of the first member; kept when all are gone.
    pub(in crate::sandbox) protocol_type: Option<String>,
    /// What the members of this generation agreed on.
    pub(in crate::sandbox) protocol_name: Option<String>,
    /// By member id.
    pub(in crate::sandbox) members: BTreeMap<String, Member>,
    pub(super) generation: i32,
    pub(super) leader: Option<String>,
    /// The member id of each instance id.
    pub(super) static_members: BTreeMap<String, String>,
    /// Ids given to those who have yet to join with them, and until when they may.
    pub(super) pending_members: BTreeMap<String, Timestamp>,
    /// Those of this generation that have not asked for their assignment.
    pub(super) pending_sync: BTreeSet<String>,
    /// None when it cannot be told.
    subscribed_topics: Option<BTreeSet<String>>,
    /// Set while state is [`State::PreparingRebalance`].
    pub(super) join_timer: Option<JoinTimer>,
    /// When those who have not asked for their assignment are removed.
    pub(super) sync_deadline: Option<Timestamp>,
}

impl Group {
    /// A group without members.
    pub(super) const fn new() -> Self {
        Self {
            state: State::Empty,
            protocol_type: None,
            protocol_name: None,
            members: BTreeMap::new(),
            generation: 0,
            leader: None,
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            join_timer: None,
            sync_deadline: None,
        }
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Checks that a member is in the group and, if static, has not been replaced.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_MEMBER_ID`] or [`ErrorCode::FENCED_INSTANCE_ID`].
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            let current = self.static_members.get(instance_id);
            let current = current.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if current != member_id {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UNKNOWN_MEMBER_ID)
        }
    }

    /// Whether who supports these protocols could be a member beside the others.
    pub(super) fn supports_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let is_common = |protocol: &Protocol| {
            let mut members = self.members.values();
            members.all(|member| member.supports(&protocol.name))
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(is_common)
    }

    /// The protocol with the most votes among those that all support; of equals the last by name.
    ///
    /// Kafka's choice among equals depends on the order of a hash table.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let supported = |name: &&str| self.members.values().all(|member| member.supports(name));
        let names = self.members.values().flat_map(|member| &member.protocols);
        let names = names.map(|protocol| protocol.name.as_str());
        let candidates: BTreeSet<&str> = names.filter(supported).collect();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(name) = member.vote(&candidates) {
                let count = votes.entry(name).or_default();
                *count = count.saturating_add(1);
            }
        }
        let winner = votes.into_iter().max_by_key(|(_, count)| *count);
        winner.map(|(name, _)| name.to_owned())
    }

    /// The longest of the members' rebalance timeouts, in milliseconds.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        let timeouts = self.members.values().map(|it| it.rebalance_timeout_ms);
        i64::from(timeouts.max().unwrap_or_default().max(0))
    }

    /// Whether everyone who was asked to join has done so.
    pub(super) fn has_all_joined(&self) -> bool {
        let mut members = self.members.values();
        members.all(|it| it.awaiting_join.is_some()) && self.pending_members.is_empty()
    }

    /// Adds a member whose JoinGroup request waits.
    pub(super) fn add(&mut self, member_id: &str, protocol_type: &str, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            let instance_id = instance_id.clone();
            self.static_members
                .insert(instance_id, member_id.to_owned());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        self.leader.get_or_insert_with(|| member_id.to_owned());
        self.pending_members.remove(member_id);
        self.members.insert(member_id.to_owned(), member);
    }

    /// Takes out a member, or the promise that one may join.
    pub(super) fn remove(&mut self, member_id: &str) {
        let removed = self.members.remove(member_id);
        if let Some(instance_id) = removed.and_then(|member| member.instance_id) {
            self.static_members.remove(&instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_members.remove(member_id);
        self.pending_sync.remove(member_id);
    }

    /// Gives a static member that starts again a new id; the old one is fenced.
    pub(super) fn replace_static_member(
        &mut self,
        instance_id: &str,
        new_member_id: &str,
        answers: &mut Answers,
    ) {
        let old_member_id = self
            .static_members
            .insert(instance_id.to_owned(), new_member_id.to_owned());
        let old_member_id = old_member_id.expect("only a known instance is replaced");
        let mut member = self
            .members
            .remove(&old_member_id)
            .expect("static members are members");
        answers.join(&mut member, || {
            JoinAnswer::failed(ErrorCode::FENCED_INSTANCE_ID, &old_member_id)
        });
        answers.sync_failed(&mut member, ErrorCode::FENCED_INSTANCE_ID);
        member.is_new = false;
        if self.is_leader(&old_member_id) {
            self.leader = Some(new_member_id.to_owned());
        }
        self.members.insert(new_member_id.to_owned(), member);
    }

    /// Makes sure that the leader is one who waits for the new generation.
    ///
    /// Answers whether there is one (`ClassicGroup.maybeElectNewJoinedLeader`).
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &Member| member.awaiting_join.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(has_joined) {
            return true;
        }
        let mut members = self.members.iter();
        match members.find(|(_, member)| has_joined(member)) {
            Some((member_id, _)) => {
                self.leader = Some(member_id.clone());
                true
            }
            None => false,
        }
    }

    /// What a member is told of the current generation; the leader hears of all members.
    pub(super) fn joined(&self, member_id: &str) -> JoinAnswer {
        let protocol_name = self.protocol_name.clone().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| JoinedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(&protocol_name),
        });
        JoinAnswer {
            error_code: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: if self.is_leader(member_id) {
                members.collect()
            } else {
                Vec::new()
            },
        }
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether members read a topic; assumed of consumers whose metadata cannot be read.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// Learns from the members of a new generation which topics they read.
    pub(super) fn update_subscribed_topics(&mut self) {
        self.subscribed_topics = None;
        if !self.is_of_consumers() {
            return;
        }
        let protocol_name = self.protocol_name.clone().unwrap_or_default();
        let members = self.members.values();
        let topics = members.map(|member| subscribed_topics(&member.metadata(&protocol_name)));
        let topics: Result<Vec<Vec<String>>, _> = topics.collect();
        self.subscribed_topics = topics.ok().map(|it| it.into_iter().flatten().collect());
    }
}
