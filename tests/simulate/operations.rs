//! The actions of a flow, carried out by the product's own code.
//!
//! Each action is one operation: a future that asks, waits, asks again, and ends with the event
//! that the flow is told. Questions are those of [`kmirror::runtime::questions`], put to what stands
//! for a cluster here; records go through lanes there, and by single requests here.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror::{
    cluster::{Answer, Broker, Lane, Metadata, To, Topics},
    flow::{
        Action, Event, Failure, FetchPartition, Flow, InTransaction, Outgoing, PerPartition, Side,
    },
    runtime::{
        client::{self, decoded},
        exchange::{
            Named, Names, Question,
            records::{self, FetchLimits},
            transactions,
        },
        questions::{self, Ends},
    },
    sandbox::Profile,
};
use kmirror_protocol::{Request, messages::ApiVersionsRequest};

use super::{
    clusters::encode,
    mailbox::{Mailbox, Wish},
    plan::Micros,
    world::REQUEST_TIMEOUT,
};

/// An operation under way.
pub(super) type Operation = Pin<Box<dyn Future<Output = Option<Event>>>>;

/// What the operations of a process share.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) mailbox: Mailbox,
    ends: Ends<End>,
    /// How long a leader may wait for its followers.
    timeout: Duration,
    clock: Rc<RefCell<Clock>>,
}

/// The time, as an operation sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Instant,
    /// In milliseconds since 1970.
    pub(super) wall_ms: i64,
}

/// A cluster, as a process sees it.
#[derive(Clone, Debug)]
pub(super) struct End {
    side: Side,
    /// Which broker it passes for.
    profile: Profile,
    broker: Arc<Broker>,
    metadata: Rc<RefCell<Arc<Metadata>>>,
    mailbox: Mailbox,
    clock: Rc<RefCell<Clock>>,
}

impl Client {
    pub(super) fn new(timeout: Duration, target: Profile, clock: Clock) -> Self {
        let (mailbox, clock) = (Mailbox::default(), Rc::new(RefCell::new(clock)));
        let end = |side, profile| End {
            side,
            profile,
            broker: Arc::new(Broker {
                cluster: Arc::from(format!("{side}")),
                node_id: None,
                host: String::from("simulated"),
                port: 0,
            }),
            metadata: Rc::default(),
            mailbox: mailbox.clone(),
            clock: Rc::clone(&clock),
        };
        Self {
            ends: Ends {
                source: end(Side::Source, Profile::default()),
                target: end(Side::Target, target),
            },
            timeout,
            clock,
            mailbox,
        }
    }

    pub(super) fn set_clock(&self, clock: Clock) {
        *self.clock.borrow_mut() = clock;
    }
}

impl End {
    async fn send<R: Request>(
        &self,
        to: To,
        lane: Lane,
        question: Question<R>,
    ) -> Result<Answer<R>, Failure> {
        let Some(served) = self.profile.versions(R::KEY) else {
            return Err(Failure::Unsupported(format!("{} is not offered", R::KEY)));
        };
        let latest = *served.end();
        let version = question.version_max.map_or(latest, |max| max.min(latest));
        let body = encode(&question.request, version);
        let wish = Wish::Answer {
            side: self.side,
            to,
            lane,
            body,
        };
        let answer = self.mailbox.wish(wish).await?;
        Ok(Answer::new(answer, version, Arc::clone(&self.broker)))
    }
}

impl client::Client for End {
    async fn ask<R: Request>(&self, to: To, question: Question<R>) -> Result<Answer<R>, Failure> {
        self.send(to, Lane::Control, question).await
    }

    async fn ask_on<R: Request>(
        &self,
        node: i32,
        lane: Lane,
        question: Question<R>,
    ) -> Result<Answer<R>, Failure> {
        self.send(To::Node(node), lane, question).await
    }

    async fn refresh(&self, topics: Topics) -> Result<Arc<Metadata>, Failure> {
        let answer = self.ask(To::Any, topics.request().into()).await?;
        let response = decoded(&answer)?;
        let mut known = Metadata::clone(&self.metadata());
        let merged = known.merge(&response, topics.scope());
        merged.map_err(|error| Failure::NoAnswer(format!("{error:?}")))?;
        *self.metadata.borrow_mut() = Arc::new(known);
        Ok(self.metadata())
    }

    fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.metadata.borrow())
    }

    /// Asked for each time; the product learns it when it connects.
    async fn transaction_version(&self, node: i32) -> Result<i16, Failure> {
        let question = Question::from(ApiVersionsRequest {
            client_software_name: "kmirror",
            client_software_version: "1",
        });
        let answer = self.ask(To::Node(node), question).await?;
        let response = decoded(&answer)?;
        let mut features = response.finalized_features.iter();
        let feature = features.find(|feature| feature.name == transactions::FEATURE);
        Ok(feature.map_or(0, |feature| feature.max_version_level))
    }

    fn request_timeout(&self) -> Duration {
        Duration::from_micros(REQUEST_TIMEOUT)
    }

    async fn sleep(&self, time: Duration) {
        let time = Micros::try_from(time.as_micros()).unwrap();
        // It ends in one way only.
        let _ = self.mailbox.wish(Wish::Sleep(time)).await;
    }

    fn now(&self) -> Instant {
        self.clock.borrow().now
    }

    fn wall_ms(&self) -> i64 {
        self.clock.borrow().wall_ms
    }
}

/// Asks for records.
async fn fetch(
    end: &End,
    (node, lane): (i32, Lane),
    limits: FetchLimits,
    partitions: &[Named<FetchPartition>],
) -> PerPartition<kmirror::flow::FetchedRecords> {
    let answer = end.send(To::Node(node), lane, records::fetch(limits, partitions));
    let answer = answer.await?;
    records::fetched(decoded(&answer)?, answer.body(), &Names::of(partitions))
}

async fn produce(
    end: &End,
    node: i32,
    timeout: Duration,
    (batches, within): (&[Named<Outgoing>], Option<&InTransaction>),
) -> PerPartition<i64> {
    let question = records::produce(timeout, batches, within);
    let answer = end.send(To::Node(node), Lane::Produce(0), question).await?;
    records::produced(decoded(&answer)?, &Names::of(batches))
}

/// Begins an action; `None` for one that asks nothing of a cluster.
pub(super) fn begin(client: &Client, flow: &Flow, action: Action) -> Option<Operation> {
    let (ends, timeout) = (client.ends.clone(), client.timeout);
    let by_id = |one: FetchPartition| (one.id, one);
    Some(match action {
        Action::Fetch {
            request,
            node,
            lane,
            wait,
            bytes_max,
            partitions,
        } => {
            let asked = Named::of(flow, Side::Source, partitions.into_iter().map(by_id));
            let route = (node, Lane::Fetch(lane));
            let limits = FetchLimits {
                isolation_level: 1,
                wait,
                bytes_max,
            };
            Box::pin(async move {
                let result = fetch(&ends.source, route, limits, &asked).await;
                Some(Event::Fetched { request, result })
            })
        }
        Action::FetchWindow {
            request,
            side,
            node,
            read_committed,
            wait,
            bytes_max,
            partitions,
        } => {
            let asked = Named::of(flow, side, partitions.into_iter().map(by_id));
            let route = (node, Lane::Window);
            let limits = FetchLimits {
                isolation_level: read_committed.into(),
                wait,
                bytes_max,
            };
            Box::pin(async move {
                let result = fetch(ends.side(side), route, limits, &asked).await;
                Some(Event::WindowFetched { request, result })
            })
        }
        Action::Produce {
            request,
            node,
            batches,
            within,
        } => {
            let asked = Named::of(flow, Side::Target, batches);
            Box::pin(async move {
                let what = (&*asked, within.as_ref());
                let result = produce(&ends.target, node, timeout, what).await;
                Some(Event::Produced { request, result })
            })
        }
        Action::Report(_) | Action::Stopped => return None,
        other => {
            let question = questions::Question::of(flow, other);
            Box::pin(async move { questions::answer(&ends, question, timeout).await })
        }
    })
}
