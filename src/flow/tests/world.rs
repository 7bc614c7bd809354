//! Two model clusters, a flow between them, and a clock that jumps from event to event.
//!
//! Answers take time, keep the order of their connection, and fail as [`Faults`] says. What must
//! hold at every moment is asserted at every moment by [`Checks`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::ErrorCode;

use super::{
    checks::Checks,
    cluster::{Cluster, Log},
    epoch, options,
};
use crate::flow::{
    Action, Event, Failure, FetchPartition, FetchedRecords, Flow, FlowOptions, LogRange, Notice,
    Outgoing, PartitionId, PartitionNotice, RequestId, Side, TopicConfig, limits,
};

/// One way through the network, on which requests keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    Fetch(i32, u8),
    Produce(i32),
    /// A connection of its own.
    Alone(u64),
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Served,
    /// The broker never sees it.
    Lost,
    /// The broker serves it, nobody hears of it.
    Unheard,
    /// The flow is told that the connection broke; the broker serves it afterwards (B13).
    Late,
}

#[derive(Debug)]
enum Step {
    Serve(Action, Route, Fate),
    /// A Fetch that found nothing and waits.
    Poll(Action, Route),
    Deliver(Event),
}

/// What may go wrong; by default nothing does.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// One in so many requests has another [`Fate`]; 0 is never.
    pub(super) one_in: u32,
    /// Brokers that answer nothing.
    pub(super) down: BTreeSet<(Side, i32)>,
    /// Clusters that answer no question that any of their brokers could answer.
    pub(super) deaf: BTreeSet<Side>,
    /// What the target answers to every Produce for a topic and partition, without appending.
    pub(super) refused: BTreeMap<(String, i32), ErrorCode>,
    /// What the target answers to a creation.
    pub(super) creation: Option<ErrorCode>,
    /// How long a topic is invisible after its creation.
    pub(super) creation_lag: Duration,
    /// Whether the offsets topic cannot be read, or not be written.
    pub(super) positions: Option<ErrorCode>,
    /// Whether the source tells no configuration.
    pub(super) configs: Option<ErrorCode>,
    /// The largest batch that the target takes.
    pub(super) batch_bytes_max: Option<usize>,
}

pub(super) struct World {
    pub(super) flow: Flow,
    pub(super) options: FlowOptions,
    pub(super) now: Instant,
    pub(super) source: Cluster,
    pub(super) target: Cluster,
    pub(super) faults: Faults,
    pub(super) rng: fastrand::Rng,
    pub(super) notices: Vec<Notice>,
    pub(super) is_stopped: bool,
    pub(super) checks: Checks,
    /// How often each kind of request was made.
    pub(super) counts: BTreeMap<&'static str, usize>,
    hidden: BTreeMap<Arc<str>, Instant>,
    steps: BTreeMap<(Instant, u64), Step>,
    next_step: u64,
    served_at: BTreeMap<Route, Instant>,
    delivered_at: BTreeMap<Route, Instant>,
}

impl World {
    pub(super) fn new(options: FlowOptions) -> Self {
        let now = epoch();
        Self {
            flow: Flow::new(options.clone(), now),
            options,
            now,
            source: Cluster::new("source-id"),
            target: Cluster::new("target-id"),
            faults: Faults::default(),
            rng: fastrand::Rng::with_seed(1),
            notices: Vec::new(),
            is_stopped: false,
            checks: Checks::default(),
            counts: BTreeMap::new(),
            hidden: BTreeMap::new(),
            steps: BTreeMap::new(),
            next_step: 0,
            served_at: BTreeMap::new(),
            delivered_at: BTreeMap::new(),
        }
    }

    /// A world with one topic `t` of so many partitions, three nodes on each side.
    pub(super) fn with_topic(partitions: i32) -> Self {
        let mut world = Self::new(options());
        world.source.create("t", partitions, 3);
        world
    }

    /// Ends the process and starts another; what was under way is lost or served late.
    pub(super) fn restart(&mut self) {
        self.flow = Flow::new(self.options.clone(), self.now);
        self.is_stopped = false;
        self.checks.forget_flow();
        self.steps
            .retain(|_, step| matches!(step, Step::Serve(Action::Produce { .. }, ..)));
        for step in self.steps.values_mut() {
            if let Step::Serve(_, _, fate) = step
                && *fate != Fate::Lost
            {
                *fate = Fate::Unheard;
            }
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.flow.handle(self.now, event, &mut actions);
        self.take(actions);
    }

    /// Goes on until `done`, at most for `limit`; tells whether it was reached.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + limit;
        loop {
            let mut actions = Vec::new();
            self.flow.schedule(self.now, &mut actions);
            self.take(actions);
            self.checks.between_events(self.now, &self.flow);
            if done(self) {
                return true;
            }
            let step = self.steps.first_key_value().map(|((at, _), _)| *at);
            let next = [step, self.flow.deadline()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                return false;
            };
            self.now = next.max(self.now);
            while let Some(entry) = self.steps.first_entry()
                && entry.key().0 <= self.now
            {
                let step = entry.remove();
                self.step(step);
            }
            if self.flow.deadline().is_some_and(|at| at <= self.now) {
                self.tell(Event::DeadlineReached);
            }
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Goes on until the target has everything.
    pub(super) fn run_until_copied(&mut self, limit: Duration) -> bool {
        self.run_until(limit, Self::is_copied)
    }

    /// Whether each source topic is on the target, record for record, and nothing else.
    pub(super) fn is_copied(&self) -> bool {
        // The count is cheap, and tells at most moments.
        self.logs_agree(|source, target| source.count() == target.count())
            && self.logs_agree(|source, target| source.values() == target.values())
    }

    fn logs_agree(&self, agree: impl Fn(&Log, &Log) -> bool) -> bool {
        self.source.topics.iter().all(|(name, topic)| {
            let remote = self.target.topics.get(format!("A.{name}").as_str());
            remote.is_some_and(|remote| {
                let mut pairs = topic.logs.iter().zip(&remote.logs);
                topic.logs.len() == remote.logs.len()
                    && pairs.all(|(source, target)| agree(source, target))
            })
        })
    }

    /// What was said about partitions so far.
    pub(super) fn partition_notices(&self) -> Vec<PartitionNotice> {
        let notices = self.notices.iter().filter_map(|notice| match notice {
            Notice::Partition { notice, .. } => Some(notice.clone()),
            _ => None,
        });
        notices.collect()
    }

    fn cluster(&mut self, side: Side) -> &mut Cluster {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            *self.counts.entry(kind(&action)).or_default() += 1;
            self.checks
                .action(&action, &self.flow, &self.source, &self.target);
            let route = match &action {
                Action::Report(notice) => {
                    self.notices.push(notice.clone());
                    continue;
                }
                Action::Stopped => {
                    self.is_stopped = true;
                    continue;
                }
                Action::Fetch { node, lane, .. } => Route::Fetch(*node, *lane),
                Action::Produce { node, .. } => Route::Produce(*node),
                _ => Route::Alone(self.next_step),
            };
            let fate = self.fate();
            let mut at = self.now + self.delay();
            if fate == Fate::Late {
                let event = unanswered(&action);
                self.at(at, Step::Deliver(event));
                at += Duration::from_millis(self.rng.u64(0..200));
            } else {
                let last = self.served_at.entry(route).or_insert(at);
                *last = at.max(*last);
                at = *last;
            }
            self.at(at, Step::Serve(action, route, fate));
        }
    }

    fn fate(&mut self) -> Fate {
        if self.faults.one_in == 0 || self.rng.u32(0..self.faults.one_in) > 0 {
            return Fate::Served;
        }
        let fates = [Fate::Lost, Fate::Unheard, Fate::Late];
        fates[self.rng.usize(0..fates.len())]
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(200..2_000))
    }

    fn at(&mut self, at: Instant, step: Step) {
        self.steps.insert((at, self.next_step), step);
        self.next_step += 1;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver(event) => {
                self.checks.event(&event);
                self.tell(event);
            }
            Step::Serve(action, route, fate) => {
                let event = match fate {
                    Fate::Lost => unanswered(&action),
                    Fate::Served => match self.serve(&action, false) {
                        Some(event) => event,
                        None => {
                            let at = self.now + limits::FETCH_WAIT;
                            return self.at(at, Step::Poll(action, route));
                        }
                    },
                    Fate::Unheard => {
                        self.serve(&action, true);
                        unanswered(&action)
                    }
                    Fate::Late => {
                        self.serve(&action, true);
                        return;
                    }
                };
                self.answer(route, event);
            }
            Step::Poll(action, route) => {
                if let Some(event) = self.serve(&action, true) {
                    self.answer(route, event);
                }
            }
        }
    }

    fn answer(&mut self, route: Route, event: Event) {
        let mut at = self.now + self.delay();
        let last = self.delivered_at.entry(route).or_insert(at);
        *last = at.max(*last);
        at = *last;
        self.at(at, Step::Deliver(event));
    }
}

/// The brokers.
impl World {
    /// What the cluster answers; `None` when a Fetch finds nothing and may wait.
    fn serve(&mut self, action: &Action, must_answer: bool) -> Option<Event> {
        let is_down = match action {
            Action::Fetch { node, .. } | Action::AskLogRanges { node, .. } => {
                self.faults.down.contains(&(Side::Source, *node))
            }
            Action::Produce { node, .. } => self.faults.down.contains(&(Side::Target, *node)),
            Action::AskMetadata(side) => self.faults.deaf.contains(side),
            Action::AskConfigs(_) => self.faults.deaf.contains(&Side::Source),
            _ => self.faults.deaf.contains(&Side::Target),
        };
        if is_down {
            return Some(unanswered(action));
        }
        Some(match action {
            Action::Fetch {
                request,
                node,
                bytes_max,
                partitions,
                ..
            } => {
                return self.serve_fetch(*request, *node, *bytes_max, partitions, must_answer);
            }
            Action::Produce {
                request,
                node,
                batches,
            } => self.serve_produce(*request, *node, batches),
            Action::AskLogRanges {
                request,
                node,
                partitions,
            } => {
                let result = partitions
                    .iter()
                    .map(|id| (*id, self.log_range(*node, *id)));
                Event::LogRanges {
                    request: *request,
                    result: Ok(result.collect()),
                }
            }
            other => self.serve_admin(other),
        })
    }

    fn serve_admin(&mut self, action: &Action) -> Event {
        match action {
            Action::AskMetadata(side) => {
                let mut view = self.cluster(*side).view();
                if *side == Side::Target {
                    self.hidden.retain(|_, until| *until > self.now);
                    view.topics
                        .retain(|name, _| !self.hidden.contains_key(name));
                }
                Event::Metadata {
                    side: *side,
                    result: Ok(view),
                }
            }
            Action::AskConfigs(topics) => Event::Configs(match self.faults.configs {
                Some(code) => Err(refused(code)),
                None => Ok(topics
                    .iter()
                    .filter(|topic| self.source.topics.contains_key(*topic))
                    .map(config)
                    .collect()),
            }),
            Action::CreateTopics(topics) => Event::TopicsCreated(
                topics
                    .iter()
                    .map(|topic| (Arc::clone(&topic.name), self.create(topic)))
                    .collect(),
            ),
            Action::AddPartitions(topics) => Event::PartitionsAdded(
                topics
                    .iter()
                    .map(|(topic, count)| (Arc::clone(topic), self.grow(topic, *count)))
                    .collect(),
            ),
            Action::LoadPositions(_) => Event::PositionsLoaded(match self.faults.positions {
                Some(code) => Err(refused(code)),
                None => Ok(self.target.positions.clone()),
            }),
            Action::StorePositions { records, .. } => {
                Event::PositionsStored(match self.faults.positions {
                    Some(code) => Err(refused(code)),
                    None => {
                        self.target.positions.extend(records.iter().cloned());
                        Ok(())
                    }
                })
            }
            Action::AskProducerId(id) => Event::ProducerId {
                partition: *id,
                result: Ok(self.target.producer_id()),
            },
            other => unreachable!("served elsewhere: {other:?}"),
        }
    }

    fn create(&mut self, topic: &crate::flow::NewTopic) -> Result<(), Failure> {
        if let Some(code) = self.faults.creation {
            return Err(refused(code));
        }
        if self.target.topics.contains_key(&topic.name) {
            return Err(refused(ErrorCode::TOPIC_ALREADY_EXISTS));
        }
        self.target
            .create(&topic.name, topic.partition_count.max(1), 3);
        if let Some(created) = self.target.topics.get_mut(&topic.name) {
            created.configs.clone_from(&topic.configs);
        }
        self.hidden
            .insert(Arc::clone(&topic.name), self.now + self.faults.creation_lag);
        Ok(())
    }

    fn grow(&mut self, topic: &Arc<str>, count: i32) -> Result<(), Failure> {
        if let Some(code) = self.faults.creation {
            return Err(refused(code));
        }
        let missing = refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        self.target
            .topics
            .get_mut(topic)
            .ok_or(missing)?
            .grow(count, 3);
        Ok(())
    }

    fn log_range(&mut self, node: i32, id: PartitionId) -> Result<LogRange, Failure> {
        let (topic, partition) = self.name(Side::Source, id);
        let log = self.source.log(&topic, partition);
        let log = log.ok_or_else(|| refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
        if log.leader != Some(node) {
            return Err(refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        Ok(LogRange {
            start_offset: log.start_offset,
            end_offset: log.end_offset,
        })
    }

    fn serve_fetch(
        &mut self,
        request: RequestId,
        node: i32,
        bytes_max: usize,
        partitions: &[FetchPartition],
        must_answer: bool,
    ) -> Option<Event> {
        let (mut results, mut room, mut is_empty) = (Vec::new(), bytes_max, true);
        for one in partitions {
            let (topic, partition) = self.name(Side::Source, one.id);
            let result = match self.source.log(&topic, partition) {
                None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                Some(log) if log.leader != Some(node) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                Some(log) => log.fetch(one.fetch_offset, one.bytes_max.min(room)),
            };
            let result = result.map(|fetched| {
                let fits = is_empty || fetched.records.len() <= room;
                let records = if fits {
                    fetched.records
                } else {
                    bytes::Bytes::new()
                };
                room = room.saturating_sub(records.len());
                FetchedRecords { records, ..fetched }
            });
            is_empty &= result
                .as_ref()
                .is_ok_and(|fetched| fetched.records.is_empty());
            results.push((one.id, result.map_err(refused)));
        }
        (must_answer || !is_empty).then_some(Event::Fetched {
            request,
            result: Ok(results),
        })
    }

    fn serve_produce(
        &mut self,
        request: RequestId,
        node: i32,
        batches: &[(PartitionId, Outgoing)],
    ) -> Event {
        let limit = self.faults.batch_bytes_max.unwrap_or(usize::MAX);
        let mut results = Vec::new();
        for (id, batch) in batches {
            let (topic, partition) = self.name(Side::Target, *id);
            let refusal = self
                .faults
                .refused
                .get(&(topic.clone(), partition))
                .copied();
            // After the append, as when replicas are slow.
            let is_slow = self.faults.one_in > 0 && self.rng.u32(0..self.faults.one_in) == 0;
            let result = match (refusal, self.target.log(&topic, partition)) {
                (Some(code), _) => Err(code),
                (None, None) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (None, Some(log)) if log.leader != Some(node) => {
                    Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
                }
                (None, Some(log)) => log.append(batch, limit),
            };
            let result = if is_slow {
                result.and(Err(ErrorCode::REQUEST_TIMED_OUT))
            } else {
                result
            };
            results.push((*id, result.map_err(refused)));
        }
        Event::Produced {
            request,
            result: Ok(results),
        }
    }

    fn name(&self, side: Side, id: PartitionId) -> (String, i32) {
        let names = self.flow.names(id).unwrap();
        let topic = match side {
            Side::Source => names.topic,
            Side::Target => names.remote_topic,
        };
        (topic.to_string(), names.partition)
    }
}

pub(super) fn refused(code: ErrorCode) -> Failure {
    Failure::Refused(code, None)
}

fn config(topic: &Arc<str>) -> TopicConfig {
    TopicConfig {
        topic: Arc::clone(topic),
        entries: Vec::new(),
    }
}

/// What the flow hears when nobody answers.
fn unanswered(action: &Action) -> Event {
    let failure = || Failure::NoAnswer(String::from("the connection broke"));
    match action {
        Action::AskMetadata(side) => Event::Metadata {
            side: *side,
            result: Err(failure()),
        },
        Action::AskConfigs(_) => Event::Configs(Err(failure())),
        Action::CreateTopics(topics) => Event::TopicsCreated(
            topics
                .iter()
                .map(|topic| (Arc::clone(&topic.name), Err(failure())))
                .collect(),
        ),
        Action::AddPartitions(topics) => Event::PartitionsAdded(
            topics
                .iter()
                .map(|(topic, _)| (Arc::clone(topic), Err(failure())))
                .collect(),
        ),
        Action::LoadPositions(_) => Event::PositionsLoaded(Err(failure())),
        Action::StorePositions { .. } => Event::PositionsStored(Err(failure())),
        Action::AskLogRanges { request, .. } => Event::LogRanges {
            request: *request,
            result: Err(failure()),
        },
        Action::AskProducerId(id) => Event::ProducerId {
            partition: *id,
            result: Err(failure()),
        },
        Action::Fetch { request, .. } => Event::Fetched {
            request: *request,
            result: Err(failure()),
        },
        Action::Produce { request, .. } => Event::Produced {
            request: *request,
            result: Err(failure()),
        },
        Action::Report(_) | Action::Stopped => unreachable!("needs no answer"),
    }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::AskMetadata(Side::Source) => "source metadata",
        Action::AskMetadata(Side::Target) => "target metadata",
        Action::AskConfigs(_) => "configs",
        Action::CreateTopics(_) => "create topics",
        Action::AddPartitions(_) => "add partitions",
        Action::LoadPositions(_) => "load positions",
        Action::StorePositions { .. } => "store positions",
        Action::AskLogRanges { .. } => "log ranges",
        Action::AskProducerId(_) => "producer id",
        Action::Fetch { .. } => "fetch",
        Action::Produce { .. } => "produce",
        Action::Report(_) => "report",
        Action::Stopped => "stopped",
    }
}
