//! A process: one flow, its operations, and whether it is alive.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use kmirror::{
    flow::{Action, Event, Failure, Flow, FlowOptions, Notice},
    sandbox::Profile,
};

use super::{
    mailbox::Sent,
    operations::{self, Client, Clock, Operation},
    plan::Micros,
};

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// Stopped by a signal, or its machine sleeps.
    Asleep {
        since: Micros,
    },
    /// It has died, or ended in order.
    Gone,
}

/// An answer, or why there is none.
pub(super) type Heard = (u64, Result<Bytes, Failure>);

/// A process.
pub(super) struct Instance {
    pub(super) flow: Flow,
    pub(super) state: State,
    pub(super) client: Client,
    /// Whether its flow has ended by itself.
    pub(super) is_stopped: bool,
    /// What came while it slept.
    pub(super) inbox: VecDeque<Heard>,
    /// Whether something has happened since requests were last made.
    pub(super) is_touched: bool,
    pub(super) notices: Vec<(Micros, Notice)>,
    operations: BTreeMap<u64, Operation>,
    next_operation: u64,
    /// Which operation waits for which request.
    waiting: BTreeMap<u64, u64>,
}

impl Instance {
    pub(super) fn new(options: FlowOptions, target: Profile, clock: Clock) -> Self {
        Self {
            flow: Flow::new(options, clock.now),
            state: State::Running,
            client: Client::new(Duration::from_secs(5), target, clock),
            is_stopped: false,
            inbox: VecDeque::new(),
            is_touched: true,
            notices: Vec::new(),
            operations: BTreeMap::new(),
            next_operation: 0,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Begins an action: what it sends, and the event if it has ended already.
    pub(super) fn begin(&mut self, action: Action) -> (Vec<Sent>, Option<Event>) {
        let Some(operation) = operations::begin(&self.client, &self.flow, action) else {
            return (Vec::new(), None);
        };
        let id = self.next_operation;
        self.next_operation += 1;
        self.operations.insert(id, operation);
        self.poll(id)
    }

    /// Takes an answer: what follows from it.
    pub(super) fn hear(&mut self, (request, answer): Heard) -> (Vec<Sent>, Option<Event>) {
        let Some(operation) = self.waiting.remove(&request) else {
            return (Vec::new(), None);
        };
        self.client.mailbox.deliver(request, answer);
        self.poll(operation)
    }

    fn poll(&mut self, id: u64) -> (Vec<Sent>, Option<Event>) {
        let Some(operation) = self.operations.get_mut(&id) else {
            return (Vec::new(), None);
        };
        let event = match operation
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(event) => {
                self.operations.remove(&id);
                event
            }
            Poll::Pending => None,
        };
        let sent = self.client.mailbox.take_sent();
        for request in &sent {
            self.waiting.insert(request.id, id);
        }
        (sent, event)
    }
}
