//! One connection's queue of Fetch or Produce requests, sent in the order they were made.
//!
//! A lane connects when it has something to send. Requests follow each other without waiting for
//! answers; answers come back in order, so only the oldest is awaited.

use std::{collections::VecDeque, time::Duration};

use kmirror_protocol::{
    Request,
    messages::{FetchRequest, ProduceRequest},
};
use tokio::sync::mpsc;

use super::{
    convert::{decoded, failure, options, unreached},
    exchange::{Named, Names, Question, records},
};
use crate::{
    cluster::{Answer, Cluster, Connection, Lane, Pending, RequestError},
    flow::{
        Event, Failure, FetchPartition, FetchedRecords, InTransaction, Outgoing, PerPartition,
        RequestId,
    },
};

/// A request that waits for its turn.
pub(super) enum Job {
    Fetch {
        request: RequestId,
        fetch: FetchJob,
    },
    Produce {
        request: RequestId,
        produce: ProduceJob,
    },
}

/// What is fetched for what.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// To be copied.
    Copy,
    /// To be compared.
    Window,
}

impl Purpose {
    const fn event(self, request: RequestId, result: PerPartition<FetchedRecords>) -> Event {
        match self {
            Self::Copy => Event::Fetched { request, result },
            Self::Window => Event::WindowFetched { request, result },
        }
    }
}

/// A Fetch request to be made.
pub(super) struct FetchJob {
    pub(super) purpose: Purpose,
    pub(super) limits: records::FetchLimits,
    pub(super) partitions: Vec<Named<FetchPartition>>,
}

/// A Produce request to be made.
pub(super) struct ProduceJob {
    pub(super) timeout: Duration,
    pub(super) batches: Vec<Named<Outgoing>>,
    pub(super) within: Option<InTransaction>,
}

/// A request that has been sent.
enum Sent {
    Fetch {
        request: RequestId,
        purpose: Purpose,
        names: Names,
        pending: Pending<FetchRequest<'static>>,
    },
    Produce {
        request: RequestId,
        names: Names,
        pending: Pending<ProduceRequest<'static>>,
    },
}

/// Serves one lane to one broker until its queue is closed.
pub(super) async fn serve(
    cluster: Cluster,
    node: i32,
    lane: Lane,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut sent: VecDeque<Sent> = VecDeque::new();
    loop {
        let event = tokio::select! {
            biased;
            job = jobs.recv() => match job {
                Some(job) => match cluster.broker(node, lane).await {
                    Ok(connection) => job.send(&connection, &mut sent).err(),
                    Err(error) => Some(job.failed(unreached(&error))),
                },
                None => return,
            },
            event = oldest_answer(&mut sent), if !sent.is_empty() => Some(event),
        };
        // Nobody listens once the flow has ended.
        if event.is_some_and(|event| events.send(event).is_err()) {
            return;
        }
    }
}

async fn oldest_answer(sent: &mut VecDeque<Sent>) -> Event {
    let Some(oldest) = sent.front_mut() else {
        return std::future::pending().await;
    };
    let event = match oldest {
        Sent::Fetch {
            request,
            purpose,
            names,
            pending,
        } => {
            let answer = pending.await;
            purpose.event(*request, fetched(answer, names))
        }
        Sent::Produce {
            request,
            names,
            pending,
        } => {
            let answer = pending.await;
            Event::Produced {
                request: *request,
                result: produced(answer, names),
            }
        }
    };
    sent.pop_front();
    event
}

impl Job {
    fn failed(&self, failure: Failure) -> Event {
        match self {
            Self::Fetch { request, fetch } => fetch.purpose.event(*request, Err(failure)),
            Self::Produce { request, .. } => Event::Produced {
                request: *request,
                result: Err(failure),
            },
        }
    }

    fn send(self, connection: &Connection, sent: &mut VecDeque<Sent>) -> Result<(), Event> {
        let outcome = match &self {
            Self::Fetch { request, fetch } => {
                let question = records::fetch(fetch.limits, &fetch.partitions);
                send(connection, &question).map(|pending| Sent::Fetch {
                    request: *request,
                    purpose: fetch.purpose,
                    names: Names::of(&fetch.partitions),
                    pending,
                })
            }
            Self::Produce { request, produce } => {
                let within = produce.within.as_ref();
                let question = records::produce(produce.timeout, &produce.batches, within);
                send(connection, &question).map(|pending| Sent::Produce {
                    request: *request,
                    names: Names::of(&produce.batches),
                    pending,
                })
            }
        };
        match outcome {
            Ok(one) => {
                sent.push_back(one);
                Ok(())
            }
            Err(error) => Err(self.failed(failure(&error))),
        }
    }
}

fn send<R: Request>(
    connection: &Connection,
    question: &Question<R>,
) -> Result<Pending<R>, RequestError> {
    connection.send_with(&question.request, options(question))
}

fn fetched(
    answer: Result<Answer<FetchRequest<'static>>, RequestError>,
    names: &Names,
) -> PerPartition<FetchedRecords> {
    let answer = answer.map_err(|error| failure(&error))?;
    records::fetched(decoded(&answer)?, answer.body(), names)
}

fn produced(
    answer: Result<Answer<ProduceRequest<'static>>, RequestError>,
    names: &Names,
) -> PerPartition<i64> {
    let answer = answer.map_err(|error| failure(&error))?;
    records::produced(decoded(&answer)?, names)
}
