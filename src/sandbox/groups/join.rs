//! JoinGroup: how someone becomes or stays a member.
//!
//! Source: the `classicGroupJoin` methods of Kafka's `GroupMetadataManager`.

use bytes::Bytes;
use kmirror_protocol::ErrorCode;

use super::{
    Answer, Groups, JoinAnswer,
    group::{Group, State},
    member::{Member, Protocol},
    rebalance::Turn,
};
use crate::sandbox::{Ticket, Timestamp};

/// How long the first JoinGroup request of a member may wait, in milliseconds
/// (`GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 300_000;

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct JoinGroup {
    pub(in crate::sandbox) group_id: String,
    /// Empty for someone new.
    pub(in crate::sandbox) member_id: String,
    /// What someone new is to be called.
    pub(in crate::sandbox) new_member_id: String,
    pub(in crate::sandbox) instance_id: Option<String>,
    pub(in crate::sandbox) client_id: String,
    pub(in crate::sandbox) session_timeout_ms: i32,
    pub(in crate::sandbox) rebalance_timeout_ms: i32,
    pub(in crate::sandbox) protocol_type: String,
    /// By preference, the best first.
    pub(in crate::sandbox) protocols: Vec<Protocol>,
    /// Whether who is new must come again with the id it gets (KIP-394).
    pub(in crate::sandbox) requires_known_member_id: bool,
    /// Whether a leader that is replaced understands that nothing is to be assigned (KIP-814).
    pub(in crate::sandbox) supports_skipping_assignment: bool,
}

impl Groups {
    /// Handles a JoinGroup request; its answer may come later.
    ///
    /// A group is made when someone new asks for it.
    pub(in crate::sandbox) fn join(&mut self, now: Timestamp, ticket: Ticket, join: &JoinGroup) {
        let is_new = join.member_id.is_empty();
        if is_new && !self.groups.contains_key(&join.group_id) {
            self.groups.insert(join.group_id.clone(), Group::new());
        }
        let answer = match self.turn(&join.group_id, now) {
            Ok((group, mut turn)) if is_new => group.join_new(&mut turn, ticket, join),
            Ok((group, mut turn)) => group.join_again(&mut turn, ticket, join),
            Err(code) => Some(failed(code, join)),
        };
        if let Some(answer) = answer {
            self.answers.push(ticket, Answer::Join(answer));
        }
    }
}

fn failed(error_code: ErrorCode, join: &JoinGroup) -> JoinAnswer {
    JoinAnswer::failed(error_code, &join.member_id)
}

impl Group {
    /// The answer, if it need not wait; else the ticket is left with the member.
    fn join_new(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        join: &JoinGroup,
    ) -> Option<JoinAnswer> {
        if !self.supports_protocols(&join.protocol_type, &join.protocols) {
            return Some(failed(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, join));
        }
        let member_id = &join.new_member_id;
        match &join.instance_id {
            Some(instance_id) if self.static_members.contains_key(instance_id) => {
                self.join_replaced(turn, ticket, join, instance_id);
                None
            }
            None if join.requires_known_member_id => {
                let until = turn.now.plus_ms(i64::from(join.session_timeout_ms));
                self.pending_members.insert(member_id.clone(), until);
                let code = ErrorCode::MEMBER_ID_REQUIRED;
                Some(JoinAnswer::failed(code, member_id))
            }
            _ => {
                self.join_added(turn, ticket, join, member_id);
                None
            }
        }
    }

    /// As [`Group::join_new`], for someone who has a member id.
    fn join_again(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        join: &JoinGroup,
    ) -> Option<JoinAnswer> {
        let member_id = &join.member_id;
        if !self.supports_protocols(&join.protocol_type, &join.protocols) {
            return Some(failed(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, join));
        }
        if self.pending_members.contains_key(member_id) {
            // Only dynamic members are told to come again.
            if join.instance_id.is_some() {
                return Some(JoinAnswer::failed(ErrorCode::UNKNOWN_SERVER_ERROR, ""));
            }
            self.join_added(turn, ticket, join, member_id);
            return None;
        }
        if let Err(code) = self.check_member(member_id, join.instance_id.as_deref()) {
            return Some(failed(code, join));
        }
        let member = self.members.get(member_id);
        let is_same = member.is_some_and(|member| member.protocols == join.protocols);
        let stays = match self.state {
            State::Empty => return Some(failed(ErrorCode::UNKNOWN_MEMBER_ID, join)),
            State::PreparingRebalance => false,
            State::CompletingRebalance => is_same,
            // The leader asks for a rebalance this way.
            State::Stable => is_same && !self.is_leader(member_id),
        };
        if stays {
            return Some(self.joined(member_id));
        }
        self.update_member(ticket, join, member_id);
        self.rebalance(turn);
        None
    }

    fn join_added(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        join: &JoinGroup,
        member_id: &str,
    ) {
        let member = Member {
            instance_id: join.instance_id.clone(),
            client_id: join.client_id.clone(),
            assignment: Bytes::new(),
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols.clone(),
            awaiting_join: Some(ticket),
            awaiting_sync: None,
            is_new: true,
            session_deadline: Some(turn.now.plus_ms(NEW_MEMBER_JOIN_TIMEOUT_MS)),
        };
        self.note_new_member();
        self.add(member_id, &join.protocol_type, member);
        self.rebalance(turn);
    }

    fn update_member(&mut self, ticket: Ticket, join: &JoinGroup, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.protocols.clone_from(&join.protocols);
            member.rebalance_timeout_ms = join.rebalance_timeout_ms;
            member.session_timeout_ms = join.session_timeout_ms;
            member.awaiting_join = Some(ticket);
        }
    }

    /// A static member starts again: it takes the place of its old self (KIP-345).
    ///
    /// Where nothing changes for the others, the generation goes on.
    fn join_replaced(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        join: &JoinGroup,
        instance_id: &str,
    ) {
        let old_leader = self.leader.clone().unwrap_or_default();
        let member_id = &join.new_member_id;
        self.replace_static_member(instance_id, member_id, turn.answers);
        if let Some(member) = self.members.get_mut(member_id) {
            member.extend_session(turn.now);
        }
        self.update_member(ticket, join, member_id);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol_name => {
                let answer = self.replaced(member_id, old_leader, join);
                if let Some(member) = self.members.get_mut(member_id) {
                    turn.answers.join(member, || answer);
                }
            }
            // The leader may have assigned to the old id.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(turn),
            State::PreparingRebalance | State::Empty => self.complete_join_if_all_joined(turn),
        }
    }

    fn replaced(&self, member_id: &str, old_leader: String, join: &JoinGroup) -> JoinAnswer {
        let joined = self.joined(member_id);
        if join.supports_skipping_assignment {
            return JoinAnswer {
                skip_assignment: self.is_leader(member_id),
                ..joined
            };
        }
        // Who cannot skip the assignment must not learn that it leads.
        JoinAnswer {
            leader: old_leader,
            members: Vec::new(),
            ..joined
        }
    }
}
