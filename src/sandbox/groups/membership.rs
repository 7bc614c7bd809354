//! SyncGroup, Heartbeat and LeaveGroup: what members do between two joins.
//!
//! Source: the `classicGroupSync`, `classicGroupHeartbeat` and `classicGroupLeave` methods of
//! Kafka's `GroupMetadataManager`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kmirror_protocol::ErrorCode;

use super::{
    Answer, Groups, SyncAnswer,
    group::{Group, State},
    rebalance::Turn,
};
use crate::sandbox::{Ticket, Timestamp};

/// Who a request comes from.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox) struct Identity<'a> {
    pub(in crate::sandbox) member_id: &'a str,
    pub(in crate::sandbox) instance_id: Option<&'a str>,
}

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct SyncGroup<'a> {
    pub(in crate::sandbox) group_id: &'a str,
    pub(in crate::sandbox) identity: Identity<'a>,
    pub(in crate::sandbox) generation: i32,
    pub(in crate::sandbox) protocol_type: Option<&'a str>,
    pub(in crate::sandbox) protocol_name: Option<&'a str>,
    /// By member id; only the leader's count.
    pub(in crate::sandbox) assignments: BTreeMap<&'a str, Bytes>,
}

impl Groups {
    /// Handles a SyncGroup request; its answer may come later, when the leader has assigned.
    pub(in crate::sandbox) fn sync(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        sync: &SyncGroup<'_>,
    ) {
        let synced = match self.turn(sync.group_id, now) {
            Ok((group, mut turn)) => group.sync(&mut turn, ticket, sync),
            Err(code) => Err(code),
        };
        if let Err(error_code) = synced {
            let answer = SyncAnswer {
                error_code,
                ..Default::default()
            };
            self.answers.push(ticket, Answer::Sync(answer));
        }
    }

    /// Extends a member's session.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_MEMBER_ID`], [`ErrorCode::FENCED_INSTANCE_ID`],
    /// [`ErrorCode::ILLEGAL_GENERATION`], or [`ErrorCode::REBALANCE_IN_PROGRESS`] for who must
    /// join again; its session is extended nevertheless.
    pub(in crate::sandbox) fn heartbeat(
        &mut self,
        now: Timestamp,
        group_id: &str,
        identity: Identity<'_>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let (group, _) = self.turn(group_id, now)?;
        group.check_member(identity.member_id, identity.instance_id)?;
        if generation != group.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if let Some(member) = group.members.get_mut(identity.member_id) {
            member.extend_session(now);
        }
        match group.state {
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// Takes members out of a group; an administrator may name a static one by its instance alone.
    ///
    /// Answers what became of each, in their order.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_MEMBER_ID`] when there is no such group.
    pub(in crate::sandbox) fn leave<'a>(
        &mut self,
        now: Timestamp,
        group_id: &str,
        members: impl Iterator<Item = Identity<'a>>,
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        let (group, mut turn) = self.turn(group_id, now)?;
        let results = members.map(|member| group.leave(&mut turn, member));
        let results: Vec<Result<(), ErrorCode>> = results.collect();
        if results.iter().any(Result::is_ok) {
            group.rebalance_without(&mut turn);
        }
        Ok(results)
    }
}

impl Group {
    fn sync(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        sync: &SyncGroup<'_>,
    ) -> Result<(), ErrorCode> {
        let Identity {
            member_id,
            instance_id,
        } = sync.identity;
        self.check_member(member_id, instance_id)?;
        if sync.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |of_member: Option<&str>, of_group: &Option<String>| {
            of_member.is_some() && of_group.is_some() && of_member != of_group.as_deref()
        };
        if differs(sync.protocol_type, &self.protocol_type)
            || differs(sync.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state {
            State::Empty => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance | State::Stable => {}
        }
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.awaiting_sync = Some(ticket);
        }
        if self.state == State::Stable {
            self.answer_sync(turn, member_id);
        } else if self.is_leader(member_id) {
            self.assign(turn, &sync.assignments);
        }
        Ok(())
    }

    /// Gives all members what the leader assigned; who is not named gets nothing.
    fn assign(&mut self, turn: &mut Turn<'_>, assignments: &BTreeMap<&str, Bytes>) {
        for (member_id, member) in &mut self.members {
            let assignment = assignments.get(member_id.as_str());
            member.assignment = assignment.cloned().unwrap_or_default();
        }
        self.state = State::Stable;
        let member_ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            if self.answer_sync(turn, &member_id)
                && let Some(member) = self.members.get_mut(&member_id)
            {
                member.extend_session(turn.now);
            }
        }
    }

    fn answer_sync(&mut self, turn: &mut Turn<'_>, member_id: &str) -> bool {
        let Some(member) = self.members.get_mut(member_id) else {
            return false;
        };
        let answer = SyncAnswer {
            error_code: ErrorCode::NONE,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: member.assignment.clone(),
        };
        turn.answers.sync(member, answer)
    }

    fn leave(&mut self, turn: &mut Turn<'_>, identity: Identity<'_>) -> Result<(), ErrorCode> {
        let Identity {
            member_id,
            instance_id,
        } = identity;
        if member_id.is_empty() {
            let current = instance_id.and_then(|id| self.static_members.get(id).cloned());
            let current = current.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            self.expel(&current, turn.answers);
        } else if self.pending_members.contains_key(member_id) {
            self.remove(member_id);
        } else {
            self.check_member(member_id, instance_id)?;
            self.expel(member_id, turn.answers);
        }
        Ok(())
    }
}
