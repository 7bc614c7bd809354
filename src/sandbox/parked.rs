//! Fetches that wait for data: Kafka's purgatory (`DelayedFetch`).
//!
//! A parked fetch keeps its request and nothing of an answer; it is tried again when one of its
//! partitions changes, and answered with whatever there is at its deadline.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kmirror_protocol::wire::Uuid;

use super::{Cluster, Outcome, Timestamp, api, client::Client, sessions::Context};

/// Names one parked request; never used twice in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A fetch that waits.
#[derive(Clone, Debug)]
pub(super) struct ParkedFetch {
    pub(super) broker_id: i32,
    /// Who fetches.
    pub(super) client: Client,
    /// The frame of the request without its length.
    pub(super) body: Bytes,
    pub(super) deadline: Timestamp,
    /// How it stands with its session.
    pub(super) context: Context,
    /// The partitions whose change may complete it.
    pub(super) watched: Vec<(Uuid, i32)>,
}

/// All fetches that wait.
#[derive(Debug, Default)]
pub(super) struct ParkedFetches {
    next_ticket: u64,
    fetches: BTreeMap<Ticket, ParkedFetch>,
    deadlines: BTreeSet<(Timestamp, Ticket)>,
    watchers: BTreeMap<(Uuid, i32), BTreeSet<Ticket>>,
    /// Those that must be tried again.
    woken: BTreeSet<Ticket>,
}

impl ParkedFetches {
    pub(super) fn park(&mut self, fetch: ParkedFetch) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.saturating_add(1);
        self.deadlines.insert((fetch.deadline, ticket));
        for partition in &fetch.watched {
            self.watchers.entry(*partition).or_default().insert(ticket);
        }
        self.fetches.insert(ticket, fetch);
        ticket
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        let Some(fetch) = self.fetches.remove(&ticket) else {
            return;
        };
        self.deadlines.remove(&(fetch.deadline, ticket));
        self.woken.remove(&ticket);
        for partition in &fetch.watched {
            if let Some(tickets) = self.watchers.get_mut(partition) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.watchers.remove(partition);
                }
            }
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
        let Some(fetch) = cluster.parked.fetches.get(&ticket).cloned() else {
            continue;
        };
        if let Some(outcome) = api::retry_fetch(cluster, now, &fetch, is_expired) {
            cluster.parked.remove(ticket);
            answers.push((ticket, outcome));
        }
    }
    answers
}
