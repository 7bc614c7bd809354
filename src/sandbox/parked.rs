//! Requests that wait: Kafka's purgatory.
//!
//! A parked fetch (`DelayedFetch`) keeps its request and nothing of an answer; it is tried again
//! when one of its partitions changes, and answered with whatever there is at its deadline.
//! Members that wait for their group are answered when the group says so.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kmirror_protocol::wire::Uuid;

use super::{Cluster, Outcome, Timestamp, api};

/// Names one parked request; never used twice in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub(super) broker_id: i32,
    /// The frame of the request without its length.
    pub(super) body: Bytes,
    pub(super) waits_for: WaitsFor,
}

/// What answers a request that waits.
#[derive(Clone, Debug)]
pub(super) enum WaitsFor {
    /// Records, or the deadline.
    Fetch {
        deadline: Timestamp,
        /// The partitions whose change may complete it.
        watched: Vec<(Uuid, i32)>,
    },
    /// What the other members of its group do, or the group's own timers.
    Group,
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
}

impl ParkedRequests {
    /// A name for a request that may have to wait.
    pub(super) const fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.saturating_add(1);
        ticket
    }

    pub(super) fn park(&mut self, ticket: Ticket, request: Parked) {
        if let WaitsFor::Fetch { deadline, watched } = &request.waits_for {
            self.deadlines.insert((*deadline, ticket));
            for partition in watched {
                self.watchers.entry(*partition).or_default().insert(ticket);
            }
        }
        self.requests.insert(ticket, request);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Parked> {
        let request = self.requests.remove(&ticket)?;
        self.woken.remove(&ticket);
        if let WaitsFor::Fetch { deadline, watched } = &request.waits_for {
            self.deadlines.remove(&(*deadline, ticket));
            for partition in watched {
                if let Some(tickets) = self.watchers.get_mut(partition) {
                    tickets.remove(&ticket);
                    if tickets.is_empty() {
                        self.watchers.remove(partition);
                    }
                }
            }
        }
        Some(request)
    }

    /// Notes that a partition has changed.
    pub(super) fn wake(&mut self, topic_id: Uuid, partition: i32) {
        if let Some(tickets) = self.watchers.get(&(topic_id, partition)) {
            self.woken.extend(tickets);
        }
    }

    /// When the next fetch must be answered.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The fetches to try again, and whether each must be answered now.
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
        let Some(fetch) = cluster.parked.requests.get(&ticket).cloned() else {
            continue;
        };
        if let Some(outcome) = api::retry_fetch(cluster, now, &fetch, is_expired) {
            cluster.parked.remove(ticket);
            answers.push((ticket, outcome));
        }
    }
    cluster.groups.advance(now);
    for (ticket, answer) in cluster.groups.take_answers() {
        // A member whose connection is gone is answered in vain.
        if let Some(request) = cluster.parked.remove(ticket) {
            answers.push((ticket, api::answer_member(now, &request, &answer)));
        }
    }
    answers
}
