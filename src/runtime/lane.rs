//! One connection's queue of Fetch or Produce requests, sent in the order they were made.
//!
//! A lane connects when it has something to send. Requests follow each other without waiting for
//! answers; answers come back in order, so only the oldest is awaited.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kmirror_protocol::{
    messages::{
        FetchRequest, ProduceRequest,
        fetch::{FetchRequestPartition, FetchRequestTopic},
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    wire::{Records, Uuid},
};
use tokio::sync::mpsc;

use super::{
    admin::millis,
    convert::{failure, refusal},
};
use crate::{
    cluster::{Answer, Cluster, Connection, Lane, Pending, RequestError, SendOptions},
    flow::{Event, FetchPartition, FetchedRecords, Outgoing, PartitionId, PerPartition, RequestId},
};

/// The first versions of Fetch and Produce that call topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// What an answer may have beyond its record bytes: one batch that is let through although it is
/// larger than the limit (KIP-74), and the fields around the records.
const FETCH_ANSWER_OVERHEAD: usize = 16 << 20;

/// How a request calls a partition.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) topic: Arc<str>,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
}

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

/// A Fetch request to be made.
pub(super) struct FetchJob {
    pub(super) isolation_level: i8,
    pub(super) wait: Duration,
    pub(super) bytes_max: usize,
    pub(super) partitions: Vec<(FetchPartition, Name)>,
}

/// A Produce request to be made.
pub(super) struct ProduceJob {
    pub(super) timeout: Duration,
    pub(super) batches: Vec<(PartitionId, Outgoing, Name)>,
}

/// A request that has been sent.
enum Sent {
    Fetch {
        request: RequestId,
        names: Vec<(PartitionId, Name)>,
        pending: Pending<FetchRequest<'static>>,
    },
    Produce {
        request: RequestId,
        names: Vec<(PartitionId, Name)>,
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
                    Err(error) => Some(job.failed(&error)),
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
            names,
            pending,
        } => {
            let answer = pending.await;
            Event::Fetched {
                request: *request,
                result: fetched(answer, names),
            }
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
    fn failed(&self, error: &RequestError) -> Event {
        match self {
            Self::Fetch { request, .. } => Event::Fetched {
                request: *request,
                result: Err(failure(error)),
            },
            Self::Produce { request, .. } => Event::Produced {
                request: *request,
                result: Err(failure(error)),
            },
        }
    }

    fn send(self, connection: &Connection, sent: &mut VecDeque<Sent>) -> Result<(), Event> {
        let outcome = match &self {
            Self::Fetch { request, fetch } => fetch.send(connection).map(|pending| Sent::Fetch {
                request: *request,
                names: fetch
                    .partitions
                    .iter()
                    .map(|(partition, name)| (partition.id, name.clone()))
                    .collect(),
                pending,
            }),
            Self::Produce { request, produce } => {
                produce.send(connection).map(|pending| Sent::Produce {
                    request: *request,
                    names: produce
                        .batches
                        .iter()
                        .map(|(id, _, name)| (*id, name.clone()))
                        .collect(),
                    pending,
                })
            }
        };
        match outcome {
            Ok(one) => {
                sent.push_back(one);
                Ok(())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// The highest version that can name all topics of a request.
fn version_max<'a>(mut names: impl Iterator<Item = &'a Name>) -> Option<i16> {
    names
        .any(|name| name.topic_id.is_zero())
        .then_some(TOPIC_IDS_FROM - 1)
}

impl FetchJob {
    fn send(
        &self,
        connection: &Connection,
    ) -> Result<Pending<FetchRequest<'static>>, RequestError> {
        let mut topics: Vec<FetchRequestTopic<'_>> = Vec::new();
        for (partition, name) in &self.partitions {
            let entry = FetchRequestPartition {
                partition: name.partition,
                current_leader_epoch: partition.leader_epoch,
                fetch_offset: partition.fetch_offset,
                partition_max_bytes: i32::try_from(partition.bytes_max).unwrap_or(i32::MAX),
                ..FetchRequestPartition::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.topic == &*name.topic => topic.partitions.to_mut().push(entry),
                _ => topics.push(FetchRequestTopic {
                    topic: &name.topic,
                    topic_id: name.topic_id,
                    partitions: vec![entry].into(),
                }),
            }
        }
        let request = FetchRequest {
            max_wait_ms: millis(self.wait),
            min_bytes: 1,
            max_bytes: i32::try_from(self.bytes_max).unwrap_or(i32::MAX),
            isolation_level: self.isolation_level,
            topics: topics.into(),
            ..FetchRequest::default()
        };
        let options = SendOptions {
            answer_len_max: Some(self.bytes_max.saturating_add(FETCH_ANSWER_OVERHEAD)),
            version_max: version_max(self.partitions.iter().map(|(_, name)| name)),
            ..SendOptions::default()
        };
        connection.send_with(&request, options)
    }
}

impl ProduceJob {
    fn send(
        &self,
        connection: &Connection,
    ) -> Result<Pending<ProduceRequest<'static>>, RequestError> {
        let mut topics: Vec<ProduceRequestTopic<'_>> = Vec::new();
        for (_, batch, name) in &self.batches {
            let entry = ProduceRequestPartition {
                index: name.partition,
                records: Some(Records::Batch {
                    header: batch.header,
                    payload: batch.payload.clone(),
                }),
            };
            match topics.last_mut() {
                Some(topic) if topic.name == &*name.topic => {
                    topic.partition_data.to_mut().push(entry)
                }
                _ => topics.push(ProduceRequestTopic {
                    name: &name.topic,
                    topic_id: name.topic_id,
                    partition_data: vec![entry].into(),
                }),
            }
        }
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: millis(self.timeout),
            topic_data: topics.into(),
            ..ProduceRequest::default()
        };
        let options = SendOptions {
            version_max: version_max(self.batches.iter().map(|(_, _, name)| name)),
            ..SendOptions::default()
        };
        connection.send_with(&request, options)
    }
}

fn find(
    names: &[(PartitionId, Name)],
    topic: &str,
    topic_id: Uuid,
    partition: i32,
) -> Option<PartitionId> {
    let is_named = |name: &Name| {
        name.partition == partition
            && if topic.is_empty() {
                name.topic_id == topic_id
            } else {
                &*name.topic == topic
            }
    };
    names
        .iter()
        .find(|(_, name)| is_named(name))
        .map(|(id, _)| *id)
}

fn fetched(
    answer: Result<Answer<FetchRequest<'static>>, RequestError>,
    names: &[(PartitionId, Name)],
) -> PerPartition<FetchedRecords> {
    let answer = answer.map_err(|error| failure(&error))?;
    let response = answer.decode().map_err(|error| failure(&error))?;
    refusal(response.error_code, None)?;
    let mut results = Vec::with_capacity(names.len());
    for topic in response.responses {
        for partition in topic.partitions {
            let Some(id) = find(
                names,
                topic.topic,
                topic.topic_id,
                partition.partition_index,
            ) else {
                continue;
            };
            let result = refusal(partition.error_code, None).map(|()| FetchedRecords {
                records: partition
                    .records
                    .map(|records| answer.body().slice_ref(records.as_slice()))
                    .unwrap_or_default(),
                high_watermark: partition.high_watermark,
                last_stable_offset: partition.last_stable_offset,
                aborted: partition
                    .aborted_transactions
                    .into_iter()
                    .flatten()
                    .collect(),
                diverging: None,
            });
            results.push((id, result));
        }
    }
    Ok(results)
}

fn produced(
    answer: Result<Answer<ProduceRequest<'static>>, RequestError>,
    names: &[(PartitionId, Name)],
) -> PerPartition<i64> {
    let answer = answer.map_err(|error| failure(&error))?;
    let response = answer.decode().map_err(|error| failure(&error))?;
    let mut results = Vec::with_capacity(names.len());
    for topic in response.responses {
        for partition in topic.partition_responses {
            let Some(id) = find(names, topic.name, topic.topic_id, partition.index) else {
                continue;
            };
            let words = partition
                .record_errors
                .first()
                .and_then(|record| record.batch_index_error_message)
                .or(partition.error_message);
            let result = refusal(partition.error_code, words).map(|()| partition.base_offset);
            results.push((id, result));
        }
    }
    Ok(results)
}
