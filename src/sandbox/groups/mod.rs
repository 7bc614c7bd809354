//! Consumer groups of the classic protocol: who is in them, who reads what, and their offsets.
//!
//! ```text
//!  api/groups* ──▶ Groups ──▶ Group (by id) ──▶ Member
//!                     │  └──▶ Offsets          join, membership: requests
//!                     └─────▶ Answers          rebalance: generations, timers
//! ```
//!
//! Pure state: requests and time go in, answers come out. A request that must wait leaves its
//! [`Ticket`] with its member, and its answer comes under that ticket. Message types stay in
//! `api`, and nothing here knows which broker coordinates a group.
//!
//! Source: Kafka's `GroupMetadataManager`, `ClassicGroup` and `OffsetMetadataManager`, whose
//! error codes are given here. Groups of the new protocol (KIP-848) do not exist.

mod answers;
mod group;
mod join;
mod member;
mod membership;
mod offsets;
mod rebalance;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kmirror_protocol::ErrorCode;

use super::{Ticket, Timestamp};

pub(super) use answers::{Answer, JoinAnswer, JoinedMember, SyncAnswer};
pub(super) use group::{Group, State};
pub(super) use join::JoinGroup;
pub(super) use member::{Member, Protocol};
pub(super) use membership::{Identity, SyncGroup};
pub(super) use offsets::{CommittedOffset, FetchedOffset};

use answers::Answers;
use offsets::Offsets;
use rebalance::Turn;

/// All groups of a cluster.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<String, Group>,
    offsets: Offsets,
    answers: Answers,
    /// See [`ClusterOptions`](super::ClusterOptions).
    initial_rebalance_delay_ms: i64,
}

/// Who commits offsets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committer<'a> {
    pub(super) member_id: &'a str,
    pub(super) instance_id: Option<&'a str>,
    /// Negative without a member, as administrators commit.
    pub(super) generation: i32,
}

impl Groups {
    /// No groups.
    pub(super) fn new(initial_rebalance_delay_ms: i64) -> Self {
        Self {
            initial_rebalance_delay_ms,
            ..Self::default()
        }
    }

    /// When [`Groups::advance`] must be called, if nothing else happens before.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.groups.values().filter_map(Group::deadline).min()
    }

    /// Does all that is due until `now`, in the order of time.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(due) = self.deadline().filter(|due| *due <= now) {
            let mut turn = Turn {
                now: due,
                initial_rebalance_delay_ms: self.initial_rebalance_delay_ms,
                answers: &mut self.answers,
            };
            let mut groups = self.groups.values_mut();
            if let Some(group) = groups.find(|group| group.deadline() == Some(due)) {
                group.advance(&mut turn);
            }
        }
    }

    /// The answers to requests that waited; each is handed out once.
    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        self.answers.take_all()
    }

    /// The answer to one request, if it need not wait.
    pub(super) fn take_answer(&mut self, ticket: Ticket) -> Option<Answer> {
        self.answers.take(ticket)
    }

    /// The groups by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.iter().map(|(id, group)| (id.as_str(), group))
    }

    /// A group, if there is one.
    pub(super) fn get(&self, group_id: &str) -> Option<&Group> {
        self.groups.get(group_id)
    }

    /// A group and what it takes to change it.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_MEMBER_ID`]: where there is no group, there is no member.
    fn turn(
        &mut self,
        group_id: &str,
        now: Timestamp,
    ) -> Result<(&mut Group, Turn<'_>), ErrorCode> {
        let group = self.groups.get_mut(group_id);
        let group = group.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let turn = Turn {
            now,
            initial_rebalance_delay_ms: self.initial_rebalance_delay_ms,
            answers: &mut self.answers,
        };
        Ok((group, turn))
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::GROUP_ID_NOT_FOUND`] or [`ErrorCode::NON_EMPTY_GROUP`].
    pub(super) fn delete(&mut self, group_id: &str) -> Result<(), ErrorCode> {
        let group = self.groups.get(group_id);
        if group.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?.state != State::Empty {
            return Err(ErrorCode::NON_EMPTY_GROUP);
        }
        self.groups.remove(group_id);
        self.offsets.delete_group(group_id);
        Ok(())
    }

    /// Checks that someone may commit offsets now, which keeps the session of a member alive.
    ///
    /// A group that does not exist is made for those who commit without a member.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::GROUP_ID_NOT_FOUND`], [`ErrorCode::UNKNOWN_MEMBER_ID`],
    /// [`ErrorCode::FENCED_INSTANCE_ID`], [`ErrorCode::ILLEGAL_GENERATION`] or
    /// [`ErrorCode::REBALANCE_IN_PROGRESS`].
    pub(super) fn begin_commit(
        &mut self,
        now: Timestamp,
        group_id: &str,
        committer: Committer<'_>,
    ) -> Result<(), ErrorCode> {
        self.check_committer(group_id, committer, false)?;
        let group = self.groups.get_mut(group_id);
        let group = group.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        if group.state == State::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if group.state != State::Empty
            && let Some(member) = group.members.get_mut(committer.member_id)
        {
            member.extend_session(now);
        }
        Ok(())
    }

    /// The same within a transaction, which the state of the group does not hinder.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_MEMBER_ID`], [`ErrorCode::FENCED_INSTANCE_ID`] or
    /// [`ErrorCode::ILLEGAL_GENERATION`].
    pub(super) fn begin_commit_in_transaction(
        &mut self,
        group_id: &str,
        committer: Committer<'_>,
    ) -> Result<(), ErrorCode> {
        let checked = self.check_committer(group_id, committer, true);
        checked.map_err(|code| match code {
            ErrorCode::GROUP_ID_NOT_FOUND => ErrorCode::ILLEGAL_GENERATION,
            code => code,
        })
    }

    fn check_committer(
        &mut self,
        group_id: &str,
        committer: Committer<'_>,
        is_transactional: bool,
    ) -> Result<(), ErrorCode> {
        let Committer {
            member_id,
            instance_id,
            generation,
        } = committer;
        if generation < 0 && !self.groups.contains_key(group_id) {
            self.groups.insert(group_id.to_owned(), Group::new());
        }
        let group = self.groups.get(group_id);
        let group = group.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let is_empty = group.state == State::Empty;
        if generation < 0 && is_empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            group.check_member(member_id, instance_id)?;
            if generation != group.generation {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else if !is_transactional && !is_empty {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        Ok(())
    }

    /// Commits an offset; [`Groups::begin_commit`] has allowed it.
    pub(super) fn commit(
        &mut self,
        group_id: &str,
        partition: (&str, i32),
        committed: CommittedOffset,
    ) {
        self.offsets.commit(None, group_id, partition, committed);
    }

    /// Holds back an offset until the transaction of a producer ends.
    ///
    /// [`Groups::begin_commit_in_transaction`] has allowed it, and the caller has checked that the
    /// producer has an open transaction.
    pub(super) fn commit_in_transaction(
        &mut self,
        producer_id: i64,
        group_id: &str,
        partition: (&str, i32),
        committed: CommittedOffset,
    ) {
        self.offsets
            .commit(Some(producer_id), group_id, partition, committed);
    }

    /// Ends the transaction of a producer; one that has no pending offsets changes nothing.
    pub(super) fn complete_transaction(&mut self, producer_id: i64, is_committed: bool) {
        self.offsets.complete_transaction(producer_id, is_committed);
    }

    /// What is known of the offset of a partition.
    pub(super) fn offset(
        &self,
        group_id: &str,
        (topic, partition): (&str, i32),
        require_stable: bool,
    ) -> FetchedOffset<'_> {
        self.offsets
            .fetch(group_id, topic, partition, require_stable)
    }

    /// The partitions of which a group has offsets, by topic.
    pub(super) fn partitions_with_offsets(
        &self,
        group_id: &str,
    ) -> impl Iterator<Item = (&str, Vec<i32>)> {
        self.offsets.partitions(group_id)
    }

    /// Checks that offsets of a group may be deleted.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::GROUP_ID_NOT_FOUND`]; [`ErrorCode::NON_EMPTY_GROUP`] when it has members that
    /// are not consumers.
    pub(super) fn check_offset_delete(&self, group_id: &str) -> Result<(), ErrorCode> {
        let group = self.groups.get(group_id);
        let group = group.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        if group.state != State::Empty && !group.is_of_consumers() {
            return Err(ErrorCode::NON_EMPTY_GROUP);
        }
        Ok(())
    }

    /// Deletes the offset of a partition, if there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC`] when members read the topic.
    pub(super) fn delete_offset(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let group = self.groups.get(group_id);
        if group.is_some_and(|group| group.is_subscribed_to(topic)) {
            return Err(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
        }
        self.offsets.delete(group_id, topic, partition);
        Ok(())
    }

    /// Deletes the offsets of a topic that is gone, as Kafka does.
    pub(super) fn delete_topic(&mut self, topic: &str) {
        self.offsets.delete_topic(topic);
    }
}
