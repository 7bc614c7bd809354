//! The actions of a flow, carried out with the product's own requests.
//!
//! Each action is one operation: a future that asks, waits, asks again, and ends with the event
//! that the flow is told. Where the product makes several requests, so does the operation.

use std::{cell::RefCell, collections::BTreeMap, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use kmirror::{
    cluster::{Metadata, Scope},
    flow::{Action, Event, Failure, Flow, LogRange, PartitionId, Side, limits},
    offsets::source_offsets::StoredRecord,
    runtime::exchange::{
        Name, Named, Names, Question, offsets, producers,
        reading::{OwnedRecord, Reading},
        records::{self, FetchLimits},
        topics, writing,
    },
};
use kmirror_protocol::{
    Request,
    messages::{FetchRequest, MetadataRequest, metadata::MetadataRequestTopic},
    records::BuiltBatch,
};

use super::{
    clusters::Answer,
    mailbox::{Lane, Mailbox, To},
};

/// An operation under way.
pub(super) type Operation = Pin<Box<dyn Future<Output = Option<Event>>>>;

/// What the operations of a process share.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) mailbox: Mailbox,
    metadata: Rc<RefCell<BTreeMap<Side, Metadata>>>,
    /// How long a leader may wait for its followers.
    timeout: Duration,
    /// The wall clock of the process, in milliseconds since 1970.
    pub(super) wall_ms: Rc<RefCell<i64>>,
}

impl Client {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            mailbox: Mailbox::default(),
            metadata: Rc::default(),
            timeout,
            wall_ms: Rc::default(),
        }
    }

    async fn ask<R: Request>(
        &self,
        route: (Side, To, Lane),
        question: Question<R>,
    ) -> Result<Answer<R>, Failure> {
        let latest = *R::VERSIONS.end();
        let version = question.version_max.map_or(latest, |max| max.min(latest));
        self.mailbox.call(route, &question.request, version).await
    }

    fn control(side: Side) -> (Side, To, Lane) {
        (side, To::Any, Lane::Control)
    }

    /// Asks for topics, all of them unless one is named, and notes the answer.
    async fn refresh(&self, side: Side, topic: Option<&str>) -> Result<(), Failure> {
        let named = topic.map(|name| MetadataRequestTopic {
            name: Some(name),
            ..MetadataRequestTopic::default()
        });
        let request = MetadataRequest {
            topics: named.map(|named| vec![named].into()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = self.ask(Self::control(side), Question::from(request)).await?;
        let scope = if topic.is_some() {
            Scope::Named
        } else {
            Scope::All
        };
        let mut known = self.metadata.borrow_mut();
        let known = known.entry(side).or_default();
        let merged = known.merge(&answer.decode()?, scope);
        merged.map_err(|error| Failure::NoAnswer(format!("{error:?}")))
    }

    fn leader(&self, side: Side, topic: &str, partition: i32) -> Result<i32, Failure> {
        let known = self.metadata.borrow();
        let leader = known.get(&side).and_then(|it| it.leader(topic, partition));
        leader
            .map(|leader| leader.node)
            .ok_or_else(|| Failure::NoAnswer(format!("{topic}-{partition} has no leader")))
    }

    /// The partitions of a topic by their leader.
    fn leaders(&self, side: Side, topic: &str) -> Result<BTreeMap<i32, Vec<Named<()>>>, Failure> {
        let known = self.metadata.borrow();
        let view = known.get(&side).and_then(|known| known.topic(topic));
        let view =
            view.ok_or_else(|| Failure::NoAnswer(format!("topic {topic} is not in the metadata")))?;
        let mut by_node: BTreeMap<i32, Vec<Named<()>>> = BTreeMap::new();
        for (number, partition) in (0..).zip(&view.partitions) {
            let leader = partition.leader.ok_or_else(|| {
                Failure::NoAnswer(format!("{topic}-{} has no leader", partition.index))
            })?;
            by_node.entry(leader.node).or_default().push(Named {
                id: PartitionId(number),
                name: Name {
                    topic: Arc::clone(&view.name),
                    topic_id: view.id.unwrap_or_default(),
                    partition: partition.index,
                },
                ask: (),
            });
        }
        Ok(by_node)
    }

    async fn log_ranges(
        &self,
        side: Side,
        node: i32,
        partitions: &[Named<()>],
    ) -> kmirror::flow::PerPartition<LogRange> {
        let (route, names) = ((side, To::Node(node), Lane::Control), Names::of(partitions));
        let starts = self.ask(route, offsets::log_starts(partitions)).await?;
        let ends = self.ask(route, offsets::log_ends(partitions)).await?;
        offsets::log_ranges(
            offsets::listed(&starts.decode()?, &names),
            offsets::listed(&ends.decode()?, &names),
        )
    }

    async fn read_all(&self, topic: &str) -> Result<Vec<OwnedRecord>, Failure> {
        let mut read = Vec::new();
        self.refresh(Side::Target, Some(topic)).await?;
        for (node, partitions) in self.leaders(Side::Target, topic)? {
            let ranges = self.log_ranges(Side::Target, node, &partitions).await?;
            let mut left = BTreeMap::new();
            for (id, range) in ranges {
                let range = range?;
                let named = partitions.iter().find(|named| named.id == id);
                if let Some(named) = named {
                    left.insert(named.name.partition, range.start_offset..range.end_offset);
                }
            }
            let mut reading = Reading::new(Arc::from(topic), left);
            let route = (Side::Target, To::Node(node), Lane::Waiting);
            while !reading.is_done() {
                let answer = self.ask(route, reading.request(limits::FETCH_WAIT)).await?;
                let answer: Answer<FetchRequest<'static>> = answer.detached();
                reading.take(&answer.decode()?, &mut read)?;
            }
        }
        Ok(read)
    }

    async fn store(
        &self,
        topic: &Arc<str>,
        partition_count: i32,
        records: &[StoredRecord],
    ) -> Result<(), Failure> {
        let now_ms = *self.wall_ms.borrow();
        let mut by_node: BTreeMap<i32, BTreeMap<i32, BuiltBatch>> = BTreeMap::new();
        for (index, batch) in writing::batches(partition_count, records, now_ms)? {
            let node = self.leader(Side::Target, topic, index)?;
            by_node.entry(node).or_default().insert(index, batch);
        }
        for (node, batches) in by_node {
            let route = (Side::Target, To::Node(node), Lane::Control);
            let question = writing::produce(topic, self.timeout, &batches);
            let stored = match self.ask(route, question).await {
                Ok(answer) => writing::produced(&answer.decode()?),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = stored {
                let _ = self.refresh(Side::Target, Some(topic)).await;
                return Err(failure);
            }
        }
        Ok(())
    }
}

fn named<T>(flow: &Flow, side: Side, id: PartitionId, ask: T) -> Option<Named<T>> {
    let names = flow.names(id)?;
    let (topic, topic_id) = match side {
        Side::Source => (names.topic, names.topic_id),
        Side::Target => (names.remote_topic, names.remote_topic_id),
    };
    Some(Named {
        id,
        name: Name {
            topic: Arc::clone(topic),
            topic_id,
            partition: names.partition,
        },
        ask,
    })
}

/// Begins an action; `None` for one that asks nothing of a cluster.
pub(super) fn begin(client: &Client, flow: &Flow, action: Action) -> Option<Operation> {
    let client = client.clone();
    Some(match action {
        Action::Fetch {
            request,
            node,
            lane,
            wait,
            bytes_max,
            partitions,
        } => {
            let partitions = partitions.into_iter();
            let partitions: Vec<_> = partitions
                .filter_map(|ask| named(flow, Side::Source, ask.id, ask))
                .collect();
            let limits = FetchLimits {
                isolation_level: 1,
                wait,
                bytes_max,
            };
            let route = (Side::Source, To::Node(node), Lane::Fetch(lane));
            Box::pin(async move {
                let answer = client.ask(route, records::fetch(limits, &partitions)).await;
                let result = answer.and_then(|answer| {
                    records::fetched(answer.decode()?, &answer.body, &Names::of(&partitions))
                });
                Some(Event::Fetched { request, result })
            })
        }
        Action::Produce {
            request,
            node,
            batches,
        } => {
            let batches = batches.into_iter();
            let batches: Vec<_> = batches
                .filter_map(|(id, ask)| named(flow, Side::Target, id, ask))
                .collect();
            let route = (Side::Target, To::Node(node), Lane::Produce);
            let timeout = client.timeout;
            Box::pin(async move {
                let answer = client.ask(route, records::produce(timeout, &batches)).await;
                let result = answer.and_then(|answer| {
                    records::produced(answer.decode()?, &Names::of(&batches))
                });
                Some(Event::Produced { request, result })
            })
        }
        Action::AskLogRanges {
            request,
            side,
            node,
            partitions,
        } => {
            let partitions = partitions.into_iter();
            let partitions: Vec<_> = partitions
                .filter_map(|(id, _)| named(flow, side, id, ()))
                .collect();
            Box::pin(async move {
                let result = client.log_ranges(side, node, &partitions).await;
                Some(Event::LogRanges { request, result })
            })
        }
        Action::Report(_) | Action::Stopped => return None,
        other => Box::pin(async move { Some(admin(&client, other).await) }),
    })
}

async fn admin(client: &Client, action: Action) -> Event {
    let target = Client::control(Side::Target);
    let timeout = client.timeout;
    match action {
        Action::AskMetadata(side) => {
            let refreshed = client.refresh(side, None).await;
            let known = client.metadata.borrow();
            let view = known.get(&side).map(topics::cluster_view);
            let result = refreshed.map(|()| view.unwrap_or_default());
            Event::Metadata { side, result }
        }
        Action::AskConfigs(topics) => {
            let route = Client::control(Side::Source);
            let answer = client.ask(route, topics::describe_configs(&topics)).await;
            Event::Configs(
                answer.and_then(|answer| topics::described_configs(&answer.decode()?, &topics)),
            )
        }
        Action::CreateTopics(new) => {
            let answer = client.ask(target, topics::create_topics(&new, timeout)).await;
            let results = match answer {
                Ok(answer) => answer
                    .decode()
                    .map(|response| topics::created_topics(&response, &new)),
                Err(failure) => Err(failure),
            };
            let names = new.iter().map(|topic| Arc::clone(&topic.name));
            Event::TopicsCreated(results.unwrap_or_else(|failure| {
                names.map(|name| (name, Err(failure.clone()))).collect()
            }))
        }
        Action::AddPartitions(new) => {
            let question = topics::create_partitions(&new, timeout);
            let results = match client.ask(target, question).await {
                Ok(answer) => answer
                    .decode()
                    .map(|response| topics::created_partitions(&response, &new)),
                Err(failure) => Err(failure),
            };
            let names = new.iter().map(|(name, _)| Arc::clone(name));
            Event::PartitionsAdded(results.unwrap_or_else(|failure| {
                names.map(|name| (name, Err(failure.clone()))).collect()
            }))
        }
        Action::LoadPositions(topic) => {
            let read = client.read_all(&topic).await;
            Event::PositionsLoaded(read.map(stored_records))
        }
        Action::StorePositions {
            topic,
            partition_count,
            records,
        } => Event::PositionsStored(client.store(&topic, partition_count, &records).await),
        Action::AskProducerId(partition) => {
            let answer = client.ask(target, producers::init_producer_id()).await;
            let result = answer.and_then(|answer| producers::producer_id(&answer.decode()?));
            Event::ProducerId { partition, result }
        }
        other => panic!("the simulator cannot do this yet: {other:?}"),
    }
}

fn stored_records(read: Vec<OwnedRecord>) -> Vec<StoredRecord> {
    let keyed = read.into_iter().filter_map(|record| {
        Some(StoredRecord {
            key: record.key?,
            value: record.value,
        })
    });
    keyed.collect()
}
