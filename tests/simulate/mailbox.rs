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
use kmirror::flow::{Failure, Side};
use kmirror_protocol::Request;

use super::clusters::{Answer, encode};

/// Which broker a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Node(i32),
    Any,
}

/// Which of the connections to a broker; requests on one keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Fetch(u8),
    Produce,
    /// Questions and kmirror's own topics.
    Control,
    /// Records that are compared, not copied.
    Window,
    /// Reads of the state topic that wait.
    Watch,
}

/// A request on its way into the network.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) side: Side,
    pub(super) to: To,
    pub(super) lane: Lane,
    pub(super) body: Bytes,
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

    /// Makes a request and waits for its answer.
    pub(super) async fn call<R: Request>(
        &self,
        (side, to, lane): (Side, To, Lane),
        request: &R,
        version: i16,
    ) -> Result<Answer<R>, Failure> {
        let body = encode(request, version);
        let answer = self.exchange((side, to, lane), body).await?;
        Ok(Answer::new(answer, version))
    }

    /// The same for bytes that are made elsewhere.
    pub(super) fn exchange(&self, (side, to, lane): (Side, To, Lane), body: Bytes) -> Exchange {
        let mut inner = self.0.borrow_mut();
        let id = inner.next_id;
        inner.next_id += 1;
        inner.sent.push(Sent {
            id,
            side,
            to,
            lane,
            body,
        });
        Exchange {
            mailbox: self.clone(),
            id,
        }
    }
}

/// A request that has been made.
pub(super) struct Exchange {
    mailbox: Mailbox,
    id: u64,
}

impl Future for Exchange {
    type Output = Result<Bytes, Failure>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.mailbox.0.borrow_mut().answers.remove(&self.id);
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Waits for both.
pub(super) async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    std::future::poll_fn(move |cx| {
        if from_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            from_a = Some(output);
        }
        if from_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            from_b = Some(output);
        }
        if from_a.is_some() && from_b.is_some() {
            Poll::Ready(from_a.take().zip(from_b.take()).expect("both are there"))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Waits for all of them.
pub(super) async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    first(futures, |_| false).await
}

/// Waits for all of them, or for the first output that is enough; what there is by then.
pub(super) async fn first<F: Future>(
    futures: Vec<F>,
    is_enough: impl Fn(&F::Output) -> bool,
) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs = Vec::new();
    std::future::poll_fn(move |cx| {
        let mut has_enough = false;
        waiting.retain_mut(|future| match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                has_enough |= is_enough(&output);
                outputs.push(output);
                false
            }
            Poll::Pending => true,
        });
        if has_enough || waiting.is_empty() {
            Poll::Ready(std::mem::take(&mut outputs))
        } else {
            Poll::Pending
        }
    })
    .await
}
