//! What the coordinator says to JoinGroup and SyncGroup requests, at once or after a wait.

use std::collections::BTreeMap;

use bytes::Bytes;
use kmirror_protocol::ErrorCode;

use super::member::Member;
use crate::sandbox::Ticket;

/// An answer to a request that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Answer {
    Join(JoinAnswer),
    Sync(SyncAnswer),
}

/// The answer to a JoinGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct JoinAnswer {
    pub(in crate::sandbox) error_code: ErrorCode,
    /// -1 with an error.
    pub(in crate::sandbox) generation: i32,
    pub(in crate::sandbox) protocol_type: Option<String>,
    pub(in crate::sandbox) protocol_name: Option<String>,
    /// Empty with an error.
    pub(in crate::sandbox) leader: String,
    pub(in crate::sandbox) skip_assignment: bool,
    pub(in crate::sandbox) member_id: String,
    /// Empty but for the leader.
    pub(in crate::sandbox) members: Vec<JoinedMember>,
}

impl JoinAnswer {
    pub(in crate::sandbox) fn failed(error_code: ErrorCode, member_id: &str) -> Self {
        Self {
            error_code,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// A member as the leader hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct JoinedMember {
    pub(in crate::sandbox) member_id: String,
    pub(in crate::sandbox) instance_id: Option<String>,
    pub(in crate::sandbox) metadata: Bytes,
}

/// The answer to a SyncGroup request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct SyncAnswer {
    pub(in crate::sandbox) error_code: ErrorCode,
    pub(in crate::sandbox) protocol_type: Option<String>,
    pub(in crate::sandbox) protocol_name: Option<String>,
    pub(in crate::sandbox) assignment: Bytes,
}

/// The answers that have not been handed out.
#[derive(Debug, Default)]
pub(super) struct Answers {
    ready: BTreeMap<Ticket, Answer>,
}

impl Answers {
    pub(super) fn push(&mut self, ticket: Ticket, answer: Answer) {
        self.ready.insert(ticket, answer);
    }

    /// Answers the JoinGroup request of a member, if one waits.
    pub(super) fn join(&mut self, member: &mut Member, answer: impl FnOnce() -> JoinAnswer) {
        if let Some(ticket) = member.awaiting_join.take() {
            self.push(ticket, Answer::Join(answer()));
        }
    }

    /// Answers the SyncGroup request of a member, if one waits; tells whether one did.
    pub(super) fn sync(&mut self, member: &mut Member, answer: SyncAnswer) -> bool {
        let ticket = member.awaiting_sync.take();
        if let Some(ticket) = ticket {
            self.push(ticket, Answer::Sync(answer));
        }
        ticket.is_some()
    }

    /// The same with an error.
    pub(super) fn sync_failed(&mut self, member: &mut Member, error_code: ErrorCode) -> bool {
        let answer = SyncAnswer {
            error_code,
            ..Default::default()
        };
        self.sync(member, answer)
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Answer> {
        self.ready.remove(&ticket)
    }

    pub(super) fn take_all(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.ready).into_iter().collect()
    }
}
