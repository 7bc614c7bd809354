//! Connections between processes and brokers.
//!
//! A connection keeps the order of its requests and of its answers. A broker serves one request of
//! a connection at a time, and goes on with what it has received when the other end is gone (B13).
//! Nothing here knows what a request says.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kmirror::{cluster::Lane, flow::Side, sandbox::Ticket};

use super::plan::Micros;

/// A process, by the order of starting.
pub(super) type InstanceId = usize;

/// A connection, by the order of opening.
pub(super) type ConnectionId = u64;

/// A request that a broker has not answered.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) body: Bytes,
    /// When it reaches the broker.
    pub(super) arrives_at: Micros,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) instance: InstanceId,
    pub(super) side: Side,
    pub(super) node: i32,
    pub(super) lane: Lane,
    /// Whether the process still holds its end.
    pub(super) is_open: bool,
    /// What is under way to the broker, or waits there for its turn.
    pub(super) queue: VecDeque<Request>,
    /// What the broker holds back for a while.
    pub(super) parked: Option<(Ticket, Request)>,
    /// What the process still waits for.
    pub(super) unanswered: VecDeque<u64>,
    last_arrival: Micros,
    last_answer: Micros,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    routes: BTreeMap<(InstanceId, Side, i32, Lane), ConnectionId>,
    next_id: ConnectionId,
}

impl Network {
    /// The open connection on a route, opened if need be.
    pub(super) fn open(
        &mut self,
        instance: InstanceId,
        side: Side,
        node: i32,
        lane: Lane,
    ) -> ConnectionId {
        let route = (instance, side, node, lane);
        if let Some(id) = self.routes.get(&route) {
            return *id;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.routes.insert(route, id);
        let connection = Connection {
            instance,
            side,
            node,
            lane,
            is_open: true,
            queue: VecDeque::new(),
            parked: None,
            unanswered: VecDeque::new(),
            last_arrival: 0,
            last_answer: 0,
        };
        self.connections.insert(id, connection);
        id
    }

    /// Sends a request that would arrive at a time if nothing were before it; when it does arrive.
    pub(super) fn send(
        &mut self,
        connection: ConnectionId,
        id: u64,
        body: Bytes,
        at: Micros,
    ) -> Micros {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return at;
        };
        let arrives_at = at.max(connection.last_arrival);
        connection.last_arrival = arrives_at;
        connection.unanswered.push_back(id);
        connection.queue.push_back(Request {
            id,
            body,
            arrives_at,
        });
        arrives_at
    }

    /// When an answer arrives that would do so at `at` if none were before it.
    pub(super) fn answer(&mut self, connection: ConnectionId, at: Micros) -> Micros {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return at;
        };
        connection.last_answer = connection.last_answer.max(at);
        connection.last_answer
    }

    /// The process's end closes. Of what the broker has not served it still gets the first `keep`
    /// requests, the first of them at `at` and the others in steps. Answers what the process will
    /// never hear of, and when to look at the connection.
    pub(super) fn close(
        &mut self,
        id: ConnectionId,
        keep: usize,
        (at, step): (Micros, Micros),
    ) -> (Vec<u64>, Vec<Micros>) {
        let Some(connection) = self.connections.get_mut(&id).filter(|it| it.is_open) else {
            return (Vec::new(), Vec::new());
        };
        connection.is_open = false;
        let Connection {
            instance,
            side,
            node,
            lane,
            ..
        } = *connection;
        self.routes.remove(&(instance, side, node, lane));
        connection.queue.truncate(keep);
        let mut times = Vec::new();
        let mut next = at;
        for request in &mut connection.queue {
            request.arrives_at = next;
            times.push(next);
            next += step;
        }
        (connection.unanswered.drain(..).collect(), times)
    }

    /// The broker is gone, and with it what it had received.
    pub(super) fn drop_queue(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.queue.clear();
            connection.parked = None;
        }
    }

    /// Forgets connections about which nothing more can happen.
    pub(super) fn sweep(&mut self) {
        self.connections
            .retain(|_, it| it.is_open || !it.queue.is_empty() || it.parked.is_some());
    }

    /// The open connections of a process.
    pub(super) fn of_instance(&self, instance: InstanceId) -> Vec<ConnectionId> {
        let all = self.connections.iter();
        let mine = all.filter(|(_, it)| it.is_open && it.instance == instance);
        mine.map(|(id, _)| *id).collect()
    }

    /// Every connection to a broker.
    pub(super) fn to_broker(&self, side: Side, node: i32) -> Vec<ConnectionId> {
        let all = self.connections.iter();
        let there = all.filter(|(_, it)| it.side == side && it.node == node);
        there.map(|(id, _)| *id).collect()
    }

    /// Who waits for a ticket.
    pub(super) fn parked(&self, side: Side, ticket: Ticket) -> Option<ConnectionId> {
        let all = self.connections.iter();
        let mut waiting = all.filter(|(_, it)| {
            it.side == side
                && it
                    .parked
                    .as_ref()
                    .is_some_and(|(other, _)| *other == ticket)
        });
        waiting.next().map(|(id, _)| *id)
    }
}
