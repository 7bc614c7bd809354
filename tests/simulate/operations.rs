//! The actions of a flow, carried out with the product's own requests.
//!
//! Each action is one operation: a future that asks, waits, asks again, and ends with the event
//! that the flow is told. Where the product makes several requests (`runtime::admin`,
//! `topic_reader`, `topic_writer`), so does the operation, in the same order.

use std::{cell::RefCell, collections::BTreeMap, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use kmirror::{
    cluster::{Metadata, Scope},
    flow::{
        Action, Event, Failure, FetchPartition, Flow, LogRange, NewTopic, PartitionId,
        PerPartition, PerTopicConfig, PositionsInTransaction, Side, StateLogRecord, StateRead,
        limits,
    },
    offsets::source_offsets::StoredRecord,
    runtime::exchange::{
        Name, Named, Names, Question,
        offsets::{self, ANY_EPOCH},
        producers,
        reading::{OwnedRecord, Reading},
        records::{self, FetchLimits},
        topics::{self, PerTopic},
        writing::{self, Round},
    },
    sandbox::Profile,
};
use kmirror_protocol::{
    ErrorCode, Request,
    messages::{FetchRequest, MetadataRequest, metadata::MetadataRequestTopic},
};

use super::{
    clusters::Answer,
    mailbox::{Lane, Mailbox, To, all, both, first},
    plan::Micros,
    transactional,
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
    clock: Rc<RefCell<Clock>>,
    /// Which broker the target passes for.
    target: Profile,
}

/// The time, as an operation sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Since the start of the run.
    pub(super) now: Micros,
    /// In milliseconds since 1970.
    pub(super) wall_ms: i64,
}

impl Client {
    pub(super) fn new(timeout: Duration, target: Profile) -> Self {
        Self {
            mailbox: Mailbox::default(),
            metadata: Rc::default(),
            timeout,
            clock: Rc::default(),
            target,
        }
    }

    pub(super) fn set_clock(&self, clock: Clock) {
        *self.clock.borrow_mut() = clock;
    }

    pub(super) async fn ask<R: Request>(
        &self,
        route: (Side, To, Lane),
        question: Question<R>,
    ) -> Result<Answer<R>, Failure> {
        let profile = match route.0 {
            Side::Source => Profile::default(),
            Side::Target => self.target,
        };
        let Some(served) = profile.versions(R::KEY) else {
            return Err(Failure::Unsupported(format!("{} is not offered", R::KEY)));
        };
        let latest = *served.end();
        let version = question.version_max.map_or(latest, |max| max.min(latest));
        self.mailbox.call(route, &question.request, version).await
    }

    pub(super) const fn control(side: Side) -> (Side, To, Lane) {
        (side, To::Any, Lane::Control)
    }

    pub(super) const fn node(side: Side, node: i32) -> (Side, To, Lane) {
        (side, To::Node(node), Lane::Control)
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
        let question = Question::from(request);
        let answer = self.ask(Self::control(side), question).await?;
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

    async fn view(&self, side: Side) -> Event {
        let refreshed = self.refresh(side, None).await;
        let known = self.metadata.borrow();
        let view = known.get(&side).map(topics::cluster_view);
        let result = refreshed.map(|()| view.unwrap_or_default());
        Event::Metadata { side, result }
    }

    /// The partitions of a topic by their leader.
    fn leaders(&self, topic: &str) -> Result<BTreeMap<i32, Vec<Named<i32>>>, Failure> {
        let known = self.metadata.borrow();
        let known = known.get(&Side::Target);
        let Some(view) = known.and_then(|known| known.topic(topic)) else {
            let code = known.and_then(|known| known.topic_error(topic));
            let code = code.unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            return Err(Failure::Refused(code, Some(format!("topic {topic}"))));
        };
        let mut by_node: BTreeMap<i32, Vec<Named<i32>>> = BTreeMap::new();
        for (number, partition) in (0..).zip(&view.partitions) {
            let index = partition.index;
            let leader = partition.leader.ok_or_else(|| no_leader(topic, index))?;
            by_node.entry(leader.node).or_default().push(Named {
                id: PartitionId(number),
                name: Name {
                    topic: Arc::clone(&view.name),
                    topic_id: view.id.unwrap_or_default(),
                    partition: index,
                },
                ask: ANY_EPOCH,
            });
        }
        Ok(by_node)
    }

    async fn log_ranges(
        &self,
        (cluster, side): (Side, Side),
        node: i32,
        partitions: &[Named<i32>],
    ) -> PerPartition<LogRange> {
        let (route, names) = (Self::node(cluster, node), Names::of(partitions));
        let (starts, ends) = both(
            self.ask(route, offsets::log_starts(partitions)),
            self.ask(route, offsets::log_ends(side, partitions)),
        )
        .await;
        let (starts, ends) = (starts?, ends?);
        offsets::log_ranges(
            offsets::listed(&starts.decode()?, &names),
            offsets::listed(&ends.decode()?, &names),
        )
    }

    /// What there is to read of a topic of the target, by the broker that leads it.
    async fn readings(
        &self,
        topic: &str,
        from: &BTreeMap<i32, i64>,
    ) -> Result<BTreeMap<i32, Reading>, Failure> {
        self.refresh(Side::Target, Some(topic)).await?;
        let mut readings = BTreeMap::new();
        for (node, partitions) in self.leaders(topic)? {
            let sides = (Side::Target, Side::Source);
            let ranges = self.log_ranges(sides, node, &partitions).await?;
            readings.insert(node, Reading::from(&partitions, Ok(ranges), from)?);
        }
        Ok(readings)
    }

    async fn read_all(&self, topic: &str, is_whole: bool) -> Result<Vec<OwnedRecord>, Failure> {
        let mut read = Vec::new();
        for (node, mut reading) in self.readings(topic, &BTreeMap::new()).await? {
            self.drain(node, &mut reading, &mut read).await?;
            if is_whole {
                reading.check_whole()?;
            }
        }
        Ok(read)
    }

    async fn read_from(
        &self,
        topic: &str,
        from: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<StateRead, Failure> {
        let deadline = self.clock.borrow().now + u64::try_from(wait.as_micros()).unwrap();
        let readings = self.readings(topic, from).await?;
        let is_new = readings.values().any(|reading| !reading.is_done());
        let (mut read, mut next_offsets) = (Vec::new(), BTreeMap::new());
        let mut polls = Vec::new();
        for (node, mut reading) in readings {
            if is_new {
                self.drain(node, &mut reading, &mut read).await?;
                reading.check_whole()?;
            } else {
                polls.push(self.follow(node, reading.go_on(), deadline));
            }
            next_offsets.extend(reading.next_offsets());
        }
        let is_found = |poll: &Result<(Reading, Vec<OwnedRecord>), Failure>| {
            poll.as_ref().map_or(true, |(_, found)| !found.is_empty())
        };
        for poll in first(polls, is_found).await {
            let (reading, found) = poll?;
            next_offsets.extend(reading.next_offsets());
            read.extend(found);
        }
        let keyed = read.into_iter().filter_map(|record| {
            Some(StateLogRecord {
                partition: record.partition,
                offset: record.offset,
                key: record.key?,
                value: record.value,
            })
        });
        Ok(StateRead {
            records: keyed.collect(),
            next_offsets,
        })
    }

    async fn drain(
        &self,
        node: i32,
        reading: &mut Reading,
        read: &mut Vec<OwnedRecord>,
    ) -> Result<(), Failure> {
        while !reading.is_done() {
            let question = reading.request(limits::FETCH_WAIT);
            let answer = self.ask(Self::node(Side::Target, node), question).await?;
            let answer: Answer<FetchRequest<'static>> = answer.detached();
            reading.take(&answer.decode()?, read)?;
        }
        Ok(())
    }

    /// Waits for records until there are some or the time is over.
    async fn follow(
        &self,
        node: i32,
        mut reading: Reading,
        deadline: Micros,
    ) -> Result<(Reading, Vec<OwnedRecord>), Failure> {
        let mut read = Vec::new();
        let route = (Side::Target, To::Node(node), Lane::Watch);
        while read.is_empty() {
            let left = deadline.saturating_sub(self.clock.borrow().now);
            if left == 0 {
                break;
            }
            let wait = Duration::from_micros(left).min(limits::FETCH_WAIT);
            let answer = self.ask(route, reading.request(wait)).await?;
            let answer: Answer<FetchRequest<'static>> = answer.detached();
            reading.take(&answer.decode()?, &mut read)?;
        }
        Ok((reading, read))
    }

    async fn append(
        &self,
        topic: &Arc<str>,
        partition_count: i32,
        records: &[StoredRecord],
        within: Option<&PositionsInTransaction>,
    ) -> Result<BTreeMap<i32, i64>, Failure> {
        let wall_ms = self.clock.borrow().wall_ms;
        let mut last_offsets = BTreeMap::new();
        for round in writing::rounds(partition_count, records, wall_ms, within)? {
            match self.append_round(topic, round, within).await {
                Ok(appended) => last_offsets.extend(appended),
                Err(failure) => {
                    // Whoever wants the records written tries again.
                    let _ = self.refresh(Side::Target, Some(topic)).await;
                    return Err(failure);
                }
            }
        }
        Ok(last_offsets)
    }

    async fn append_round(
        &self,
        topic: &Arc<str>,
        round: Round,
        within: Option<&PositionsInTransaction>,
    ) -> Result<BTreeMap<i32, i64>, Failure> {
        let mut by_node: BTreeMap<i32, Round> = BTreeMap::new();
        for (index, batch) in round {
            let known = self.metadata.borrow();
            let known = known.get(&Side::Target);
            let leader = known.and_then(|known| known.leader(topic, index));
            let leader = leader.ok_or_else(|| no_leader(topic, index))?;
            by_node.entry(leader.node).or_default().insert(index, batch);
        }
        let requests = by_node.into_iter().map(async |(node, round)| {
            let question = writing::produce(topic, self.timeout, &round, within);
            let answer = self.ask(Self::node(Side::Target, node), question).await?;
            writing::appended(&answer.decode()?, &round)
        });
        let mut last_offsets = BTreeMap::new();
        for appended in all(requests.collect()).await {
            last_offsets.extend(appended?);
        }
        Ok(last_offsets)
    }

    async fn create_topics(&self, new: Vec<NewTopic>) -> PerTopic {
        let question = topics::create_topics(&new, self.timeout);
        let created = match self.ask(Self::control(Side::Target), question).await {
            Ok(answer) => answer
                .decode()
                .map(|response| topics::created_topics(&response, &new)),
            Err(failure) => Err(failure),
        };
        let names = new.iter().map(|topic| &topic.name);
        created.unwrap_or_else(|failure| each(names, &failure))
    }

    async fn add_partitions(&self, new: Vec<(Arc<str>, i32)>) -> PerTopic {
        let question = topics::create_partitions(&new, self.timeout);
        let added = match self.ask(Self::control(Side::Target), question).await {
            Ok(answer) => answer
                .decode()
                .map(|response| topics::created_partitions(&response, &new)),
            Err(failure) => Err(failure),
        };
        let names = new.iter().map(|(name, _)| name);
        added.unwrap_or_else(|failure| each(names, &failure))
    }

    async fn configs(&self, side: Side, names: &[Arc<str>]) -> Result<PerTopicConfig, Failure> {
        let question = topics::describe_configs(names);
        let answer = self.ask(Self::control(side), question).await?;
        Ok(topics::described_configs(&answer.decode()?, names))
    }
}

fn no_leader(topic: &str, partition: i32) -> Failure {
    Failure::NoAnswer(format!("partition {topic}-{partition} has no leader"))
}

fn each<'a>(names: impl Iterator<Item = &'a Arc<str>>, failure: &Failure) -> PerTopic {
    names
        .map(|name| (Arc::clone(name), Err(failure.clone())))
        .collect()
}

fn named<T>(
    flow: &Flow,
    side: Side,
    asked: impl IntoIterator<Item = (PartitionId, T)>,
) -> Vec<Named<T>> {
    let named = asked.into_iter().filter_map(|(id, ask)| {
        let names = flow.names(id)?;
        let (topic, topic_id) = match side {
            Side::Source => (names.topic, names.topic_id),
            Side::Target => (names.remote_topic, names.remote_topic_id),
        };
        let name = Name {
            topic: Arc::clone(topic),
            topic_id,
            partition: names.partition,
        };
        Some(Named { id, name, ask })
    });
    named.collect()
}

/// Asks for records: the source's as a reader of committed ones, all of the target's.
async fn fetch(
    client: &Client,
    (side, node, lane): (Side, i32, Lane),
    (wait, bytes_max): (Duration, usize),
    partitions: &[Named<FetchPartition>],
) -> PerPartition<kmirror::flow::FetchedRecords> {
    let limits = FetchLimits {
        isolation_level: i8::from(side == Side::Source),
        wait,
        bytes_max,
    };
    let route = (side, To::Node(node), lane);
    let answer = client
        .ask(route, records::fetch(limits, partitions))
        .await?;
    records::fetched(answer.decode()?, &answer.body, &Names::of(partitions))
}

/// Begins an action; `None` for one that asks nothing of a cluster.
pub(super) fn begin(client: &Client, flow: &Flow, action: Action) -> Option<Operation> {
    let client = client.clone();
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
            let asked = named(flow, Side::Source, partitions.into_iter().map(by_id));
            let route = (Side::Source, node, Lane::Fetch(lane));
            Box::pin(async move {
                let result = fetch(&client, route, (wait, bytes_max), &asked).await;
                Some(Event::Fetched { request, result })
            })
        }
        Action::FetchWindow {
            request,
            side,
            node,
            wait,
            bytes_max,
            partitions,
        } => {
            let asked = named(flow, side, partitions.into_iter().map(by_id));
            let route = (side, node, Lane::Window);
            Box::pin(async move {
                let result = fetch(&client, route, (wait, bytes_max), &asked).await;
                Some(Event::WindowFetched { request, result })
            })
        }
        Action::Produce {
            request,
            node,
            batches,
            within,
        } => {
            let asked = named(flow, Side::Target, batches);
            let route = (Side::Target, To::Node(node), Lane::Produce);
            Box::pin(async move {
                let question = records::produce(client.timeout, &asked, within.as_ref());
                let result = match client.ask(route, question).await {
                    Ok(answer) => answer
                        .decode()
                        .and_then(|response| records::produced(response, &Names::of(&asked))),
                    Err(failure) => Err(failure),
                };
                Some(Event::Produced { request, result })
            })
        }
        Action::Report(_) | Action::Stopped => return None,
        other => question(client, flow, other),
    })
}

/// Begins a question about partitions that one broker leads.
fn question(client: Client, flow: &Flow, action: Action) -> Operation {
    match action {
        Action::AskLogRanges {
            request,
            side,
            node,
            partitions,
        } => {
            let asked = named(flow, side, partitions);
            Box::pin(async move {
                let result = client.log_ranges((side, side), node, &asked).await;
                Some(Event::LogRanges { request, result })
            })
        }
        Action::AskProducers {
            request,
            node,
            partitions,
        } => {
            let asked = named(
                flow,
                Side::Target,
                partitions.into_iter().map(|id| (id, ())),
            );
            Box::pin(async move {
                let route = Client::node(Side::Target, node);
                let answer = client.ask(route, producers::describe(&asked)).await;
                let result = answer
                    .and_then(|answer| producers::described(&answer.decode()?, &Names::of(&asked)));
                Some(Event::Producers { request, result })
            })
        }
        Action::AskEpochEnds {
            request,
            side,
            node,
            partitions,
        } => {
            let asked = named(flow, side, partitions.into_iter().map(|one| (one.id, one)));
            Box::pin(async move {
                let route = Client::node(side, node);
                let answer = client.ask(route, offsets::for_epochs(&asked)).await;
                let result = answer
                    .and_then(|answer| offsets::epoch_ends(&answer.decode()?, &Names::of(&asked)));
                Some(Event::EpochEnds { request, result })
            })
        }
        Action::AskOffsetsForTimes {
            request,
            side,
            node,
            partitions,
        } => {
            let asked = named(flow, side, partitions);
            Box::pin(async move {
                let route = Client::node(side, node);
                let answer = client.ask(route, offsets::for_times(&asked)).await;
                let result = answer
                    .and_then(|answer| offsets::listed(&answer.decode()?, &Names::of(&asked)));
                Some(Event::OffsetsForTimes { request, result })
            })
        }
        other => Box::pin(async move { cluster_question(&client, other).await }),
    }
}

/// Asks a cluster as a whole.
async fn cluster_question(client: &Client, action: Action) -> Option<Event> {
    Some(match action {
        Action::AskMetadata(side) => client.view(side).await,
        Action::AskConfigs(topics) => {
            let configs = client.configs(Side::Source, &topics).await;
            let each = |configs: PerTopicConfig| configs.into_iter().map(|(_, it)| it).collect();
            Event::Configs(configs.and_then(each))
        }
        Action::InspectTopics { side, topics } => Event::TopicsInspected {
            side,
            result: client.configs(side, &topics).await,
        },
        Action::CreateTopics(new) => Event::TopicsCreated(client.create_topics(new).await),
        Action::AddPartitions(new) => Event::PartitionsAdded(client.add_partitions(new).await),
        Action::LoadPositions { topic, is_whole } => {
            let read = client.read_all(&topic, is_whole).await;
            let stored = |record: OwnedRecord| {
                Some(StoredRecord {
                    key: record.key?,
                    value: record.value,
                    ordered_by: None,
                })
            };
            Event::PositionsLoaded(read.map(|it| it.into_iter().filter_map(stored).collect()))
        }
        Action::StorePositions {
            topic,
            partition_count,
            records,
            within,
        } => {
            let within = within.as_ref();
            let appended = client
                .append(&topic, partition_count, &records, within)
                .await;
            Event::PositionsStored(appended.map(drop))
        }
        Action::ReadState { topic, from, wait } => {
            Event::StateRead(client.read_from(&topic, &from, wait).await)
        }
        Action::WriteState {
            topic,
            partition_count,
            records,
        } => Event::StateWritten(client.append(&topic, partition_count, &records, None).await),
        Action::AskTransaction {
            request,
            transactional_id,
            question,
        } => Event::TransactionAnswered {
            request,
            result: transactional::answer(client, &transactional_id, question).await,
        },
        Action::AskProducerId(partition) => {
            let route = Client::control(Side::Target);
            let answer = client.ask(route, producers::init_producer_id()).await;
            let result = answer.and_then(|answer| producers::producer_id(&answer.decode()?));
            Event::ProducerId { partition, result }
        }
        other => unreachable!("asked elsewhere: {other:?}"),
    })
}
