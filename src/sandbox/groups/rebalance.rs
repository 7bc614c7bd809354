//! From one generation of a group to the next: who is waited for, and for how long.
//!
//! ```text
//! Empty --a member joins--> PreparingRebalance --all joined, or time is up--> CompletingRebalance
//!   ^                         ^            |                                    |
//!   '------- all left --------|------------'        the leader assigns ---------|--> Stable
//!                             '---------- a member comes, changes or goes ------'------'
//! ```
//!
//! Source: the rebalance methods of Kafka's `GroupMetadataManager`.

use bytes::Bytes;
use kmirror_protocol::ErrorCode;

use super::{
    Answers, JoinAnswer,
    group::{Group, State},
};
use crate::sandbox::Timestamp;

/// When the members of the next generation are complete, whoever is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JoinTimer {
    at: Timestamp,
    /// Only for the first members of an empty group.
    initial: Option<InitialDelay>,
}

/// An empty group waits a while for more members, and longer as long as some come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InitialDelay {
    delay_ms: i64,
    remaining_ms: i64,
    /// Whether a member came since the timer was set.
    has_new_member: bool,
}

/// What happens now, and whom it answers.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Timestamp,
    /// See [`ClusterOptions`](crate::sandbox::ClusterOptions).
    pub(super) initial_rebalance_delay_ms: i64,
    pub(super) answers: &'a mut Answers,
}

impl Group {
    /// After a member came or changed: begins a rebalance, or completes the one that is under way.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::PreparingRebalance {
            self.complete_join_if_all_joined(turn);
        } else {
            self.prepare_rebalance(turn);
        }
    }

    /// After members went.
    pub(super) fn rebalance_without(&mut self, turn: &mut Turn<'_>) {
        if self.state != State::Empty {
            self.rebalance(turn);
        }
    }

    /// Completes the join phase if everyone is there; an initial one takes its time.
    pub(super) fn complete_join_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        let is_initial = self.join_timer.is_some_and(|timer| timer.initial.is_some());
        if !is_initial {
            self.complete_join_if_nobody_is_missing(turn);
        }
    }

    /// The same for a member that is no more: then not even an initial join phase waits longer.
    pub(super) fn complete_join_if_nobody_is_missing(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::PreparingRebalance && self.has_all_joined() {
            self.complete_join(turn);
        }
    }

    /// Notes that the initial join phase may be prolonged.
    pub(super) fn note_new_member(&mut self) {
        if let Some(JoinTimer {
            initial: Some(initial),
            ..
        }) = &mut self.join_timer
        {
            initial.has_new_member = true;
        }
    }

    /// Has everyone join again.
    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
                if turn
                    .answers
                    .sync_failed(member, ErrorCode::REBALANCE_IN_PROGRESS)
                {
                    member.extend_session(turn.now);
                }
            }
        }
        self.pending_sync.clear();
        self.sync_deadline = None;
        let is_initial = self.state == State::Empty;
        self.state = State::PreparingRebalance;
        if is_initial {
            let delay_ms = turn.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.delay_initial_join(turn.now, delay_ms, remaining_ms);
        } else if self.has_all_joined() {
            self.complete_join(turn);
        } else {
            self.wait_for_joins(turn.now);
        }
    }

    fn delay_initial_join(&mut self, now: Timestamp, delay_ms: i64, remaining_ms: i64) {
        self.join_timer = Some(JoinTimer {
            at: now.plus_ms(delay_ms),
            initial: Some(InitialDelay {
                delay_ms,
                remaining_ms,
                has_new_member: false,
            }),
        });
    }

    /// Waits for a millisecond at least: what repeats must let time pass.
    fn wait_for_joins(&mut self, now: Timestamp) {
        self.join_timer = Some(JoinTimer {
            at: now.plus_ms(self.rebalance_timeout_ms().max(1)),
            initial: None,
        });
    }

    /// Begins the next generation with those who joined; static members may be late.
    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        self.join_timer = None;
        let members = self.members.iter();
        let absent = members.filter(|(_, it)| it.awaiting_join.is_none());
        let absent = absent.filter(|(_, it)| it.instance_id.is_none());
        let absent: Vec<String> = absent.map(|(id, _)| id.clone()).collect();
        for member_id in absent {
            self.remove(&member_id);
        }
        if !self.elect_joined_leader() && !self.members.is_empty() {
            self.wait_for_joins(turn.now);
            return;
        }
        self.generation = self.generation.saturating_add(1);
        self.pending_sync.clear();
        self.protocol_name = self.select_protocol();
        self.update_subscribed_topics();
        if self.members.is_empty() {
            self.state = State::Empty;
            return;
        }
        self.state = State::CompletingRebalance;
        self.sync_deadline = Some(turn.now.plus_ms(self.rebalance_timeout_ms()));
        self.pending_sync = self.members.keys().cloned().collect();
        let member_ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let answer = self.joined(&member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                turn.answers.join(member, || answer);
                member.extend_session(turn.now);
                member.is_new = false;
            }
        }
    }

    /// When [`Group::advance`] has something to do; it does nothing before.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let timers = [self.join_timer.map(|timer| timer.at), self.sync_deadline];
        let members = self.members.values().filter_map(|it| it.session_deadline);
        let pending = self.pending_members.values().copied();
        timers
            .into_iter()
            .flatten()
            .chain(members)
            .chain(pending)
            .min()
    }

    /// Does what is due at `turn.now`, one thing; there may be more.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        if let Some(timer) = self.join_timer.filter(|timer| timer.at <= now) {
            self.end_join_wait(timer, turn);
        } else if self.sync_deadline.is_some_and(|at| at <= now) {
            self.end_sync_wait(turn);
        } else if let Some(member_id) = first_due(self.pending_members.iter(), now) {
            self.remove(&member_id);
            self.complete_join_if_nobody_is_missing(turn);
        } else {
            let sessions = self.members.iter();
            let sessions =
                sessions.filter_map(|(id, it)| Some((id, it.session_deadline.as_ref()?)));
            if let Some(member_id) = first_due(sessions, now) {
                self.end_session(&member_id, turn);
            }
        }
    }

    fn end_join_wait(&mut self, timer: JoinTimer, turn: &mut Turn<'_>) {
        match timer.initial {
            Some(initial) if initial.has_new_member && initial.remaining_ms != 0 => {
                let delay_ms = turn.initial_rebalance_delay_ms.min(initial.remaining_ms);
                let remaining_ms = initial.remaining_ms.saturating_sub(initial.delay_ms).max(0);
                self.delay_initial_join(turn.now, delay_ms, remaining_ms);
            }
            _ => self.complete_join(turn),
        }
    }

    fn end_sync_wait(&mut self, turn: &mut Turn<'_>) {
        self.sync_deadline = None;
        let absent = std::mem::take(&mut self.pending_sync);
        for member_id in &absent {
            self.remove(member_id);
        }
        if !absent.is_empty() {
            self.prepare_rebalance(turn);
        }
    }

    fn end_session(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        member.session_deadline = None;
        if !member.is_owed_an_answer() {
            self.expel(member_id, turn.answers);
            if self.state == State::PreparingRebalance {
                self.complete_join_if_nobody_is_missing(turn);
            } else {
                self.rebalance_without(turn);
            }
        }
    }

    /// Takes out a member; if a request of it waits, it is told to begin anew.
    ///
    /// Kafka leaves the SyncGroup request of a member that is removed unanswered.
    pub(super) fn expel(&mut self, member_id: &str, answers: &mut Answers) {
        if let Some(member) = self.members.get_mut(member_id) {
            let code = ErrorCode::UNKNOWN_MEMBER_ID;
            answers.join(member, || JoinAnswer::failed(code, ""));
            answers.sync_failed(member, code);
        }
        self.remove(member_id);
    }
}

fn first_due<'a>(
    mut deadlines: impl Iterator<Item = (&'a String, &'a Timestamp)>,
    now: Timestamp,
) -> Option<String> {
    let due = deadlines.find(|(_, at)| **at <= now);
    due.map(|(member_id, _)| member_id.clone())
}
