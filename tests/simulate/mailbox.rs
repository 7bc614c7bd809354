//! How the operations of a process make requests: each is a future that waits for answers which
//! the network puts into its mailbox.
//!
//! Several requests after one another are then written as they are in the product, and everything
//! can happen between them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use kmirror::{
    cluster::{Lane, To},
    flow::{Failure, Side},
};

use super::plan::Micros;

/// What an operation waits for.
#[derive(Debug)]
pub(super) enum Wish {
    /// The answer to a request, on its way into the network.
    Answer {
        side: Side,
        to: To,
        lane: Lane,
        body: Bytes,
    },
    /// That time passes.
    Sleep(Micros),
}

/// A wish of an operation, and by what number it learns what came of it.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) wish: Wish,
}

#[derive(Debug, Default)]
struct Contents {
    next_id: u64,
    sent: Vec<Sent>,
    answers: BTreeMap<u64, Result<Bytes, Failure>>,
}

/// One process's requests and their answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Mailbox(Rc<RefCell<Contents>>);

impl Mailbox {
    /// What has been sent since the last look.
    pub(super) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.borrow_mut().sent)
    }

    /// Puts an answer where its operation finds it.
    pub(super) fn deliver(&self, id: u64, answer: Result<Bytes, Failure>) {
        self.0.borrow_mut().answers.insert(id, answer);
    }

    /// Waits until a wish is fulfilled.
    pub(super) fn wish(&self, wish: Wish) -> Waiting {
        let mut inner = self.0.borrow_mut();
        let id = inner.next_id;
        inner.next_id += 1;
        inner.sent.push(Sent { id, wish });
        Waiting {
            mailbox: self.clone(),
            id,
        }
    }
}

/// A wish that has been made.
pub(super) struct Waiting {
    mailbox: Mailbox,
    id: u64,
}

impl Future for Waiting {
    type Output = Result<Bytes, Failure>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.mailbox.0.borrow_mut().answers.remove(&self.id);
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}
