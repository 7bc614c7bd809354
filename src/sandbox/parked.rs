//! Requests that wait: Kafka's purgatory (`DelayedFetch`, `DelayedProduce`).
//!
//! A parked request is tried again when one of its partitions changes, and answered with
//! whatever there is to say at its deadline. That of a member of a group is answered when the
//! group says so, and never tried again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kmirror_protocol::wire::Uuid;

use super::{
    Cluster, Outcome, Timestamp,
    api::{self, Appended},
    client::Client,
    sessions::Context,
};

/// Names one parked request; never used twice in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A request as it came, and from whom.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) broker_id: i32,
    pub(super) client: Client,
    /// The frame without its length.
    pub(super) body: Bytes,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) sent: Sent,
    pub(super) deadline: Timestamp,
    /// The partitions whose change may complete it.
    pub(super) watched: Vec<(Uuid, i32)>,
    pub(super) waiting: Waiting,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Records to fetch, in this state of a session.
    Fetch(Context),
    /// Followers to have what was produced, topic by topic of the request.
    Acks {
        topics: Vec<Vec<Appended>>,
        throttle_time_ms: i32,
    },
}

/// All requests that wait.
#[derive(Debug, Default)]
pub(super) struct ParkedRequests {
    next_ticket: u64,
    requests: BTreeMap<Ticket, Parked>,
    deadlines: BTreeSet<(Timestamp, Ticket)>,
    watchers: BTreeMap<(Uuid, i32), BTreeSet<Ticket>>,
    /// Those that must be tried again.
    woken: BTreeSet<Ticket>,
    /// JoinGroup and SyncGroup requests, which wait for what the other members do.
    members: BTreeMap<Ticket, Sent>,
}

impl ParkedRequests {
    /// A name for a request that may have to wait.
    pub(super) const fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.saturating_add(1);
        ticket
    }

    pub(super) fn park(&mut self, parked: Parked) -> Outcome {
        let ticket = self.ticket();
        let deadline = parked.deadline;
        self.insert(ticket, parked);
        Outcome::Parked { ticket, deadline }
    }

    fn insert(&mut self, ticket: Ticket, parked: Parked) {
        self.deadlines.insert((parked.deadline, ticket));
        for partition in &parked.watched {
            self.watchers.entry(*partition).or_default().insert(ticket);
        }
        self.requests.insert(ticket, parked);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Parked> {
        let parked = self.requests.remove(&ticket)?;
        self.deadlines.remove(&(parked.deadline, ticket));
        self.woken.remove(&ticket);
        for partition in &parked.watched {
            if let Some(tickets) = self.watchers.get_mut(partition) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.watchers.remove(partition);
                }
            }
        }
        Some(parked)
    }

    pub(super) fn park_member(&mut self, ticket: Ticket, sent: Sent) {
        self.members.insert(ticket, sent);
    }

    pub(super) fn remove_member(&mut self, ticket: Ticket) -> Option<Sent> {
        self.members.remove(&ticket)
    }

    /// Drops what waits at a broker that is gone.
    pub(super) fn remove_broker(&mut self, broker_id: i32) {
        self.members.retain(|_, it| it.broker_id != broker_id);
        let parked = self.requests.iter();
        let there = parked.filter(|(_, parked)| parked.sent.broker_id == broker_id);
        let there: Vec<Ticket> = there.map(|(ticket, _)| *ticket).collect();
        for ticket in there {
            self.remove(ticket);
        }
    }

    /// Notes that a partition has changed.
    pub(super) fn wake(&mut self, topic_id: Uuid, partition: i32) {
        if let Some(tickets) = self.watchers.get(&(topic_id, partition)) {
            self.woken.extend(tickets);
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The requests to try again, and whether each must be answered now.
    fn take_due(&mut self, now: Timestamp) -> BTreeMap<Ticket, bool> {
        let mut due: BTreeMap<_, _> = std::mem::take(&mut self.woken)
            .into_iter()
            .map(|ticket| (ticket, false))
            .collect();
        let expired = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.extend(expired.map(|(_, ticket)| (*ticket, true)));
        due
    }
}

/// See [`Cluster::poll`].
pub(super) fn poll(cluster: &mut Cluster, now: Timestamp) -> Vec<(Ticket, Outcome)> {
    let mut answers = Vec::new();
    for (ticket, is_expired) in cluster.parked.take_due(now) {
        let Some(mut parked) = cluster.parked.remove(ticket) else {
            continue;
        };
        match api::retry(cluster, now, &mut parked, is_expired) {
            Some(outcome) => answers.push((ticket, outcome)),
            None => cluster.parked.insert(ticket, parked),
        }
    }
    cluster.groups.advance(now);
    for (ticket, answer) in cluster.groups.take_answers() {
        // A member whose connection is gone is answered in vain.
        if let Some(sent) = cluster.parked.remove_member(ticket) {
            answers.push((ticket, api::answer_member(now, &sent, &answer)));
        }
    }
    answers
}
