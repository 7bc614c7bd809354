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
    brokers::unanswered,
    checks::Checks,
    cluster::{Cluster, Log},
    epoch, options,
};
use crate::flow::{
    Action, ClusterView, Event, Failure, Flow, FlowOptions, Notice, PartitionNotice, Side, limits,
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
    Poll(Action, Route, Instant),
    Deliver(Event),
}

/// What may go wrong; by default nothing does.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// One in so many requests has another [`Fate`]; 0 is never.
    pub(super) one_in: u32,
    /// Brokers that answer nothing.
    pub(super) down: BTreeSet<(Side, i32)>,
    /// Target brokers that take a second for everything.
    pub(super) slow: BTreeSet<i32>,
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
    /// What is answered to records for others.
    pub(super) publication: Option<ErrorCode>,
    /// What the target answers to changed properties.
    pub(super) alteration: Option<ErrorCode>,
    /// What a cluster answers to every question about ACLs.
    pub(super) acls: BTreeMap<Side, ErrorCode>,
    /// What the target answers to every change of ACLs, and to one of a principal.
    pub(super) acl_changes: Option<ErrorCode>,
    pub(super) refused_principal: Option<(&'static str, ErrorCode)>,
    /// The group of which nobody may know.
    pub(super) secret_group: Option<&'static str>,
    /// What is answered to one kind of question about groups.
    pub(super) groups: Option<(GroupQuestion, Failure)>,
    /// Whether a broker of the target does not say what groups it has.
    pub(super) hides_groups: bool,
    /// Whether the source tells no configuration.
    pub(super) configs: Option<ErrorCode>,
    /// The topic whose configuration may not be read.
    pub(super) secret_topic: Option<&'static str>,
    /// Whether answers name the first partition twice and the last one not at all.
    pub(super) garbles_answers: bool,
    /// The largest batch that the target takes.
    pub(super) batch_bytes_max: Option<usize>,
}

/// A kind of question about groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupQuestion {
    /// What has been told before.
    Checkpoints,
    /// Which groups there are.
    List(Side),
    /// What they have committed, all together.
    Offsets(Side),
    /// What each of them has committed.
    OffsetsOfEach(Side),
    /// What is committed for them.
    Commit,
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
    /// How often a broker looks for records for a Fetch that found nothing.
    pub(super) poll_interval: Duration,
    /// What a broker that lags behind answers, once.
    pub(super) stale: BTreeMap<Side, ClusterView>,
    pub(super) hidden: BTreeMap<Arc<str>, Instant>,
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
            poll_interval: limits::FETCH_WAIT,
            stale: BTreeMap::new(),
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

    /// Ends the process and starts another. Of the batches that were under way some are lost, and
    /// some arrive before the other process has looked around.
    pub(super) fn restart(&mut self) {
        for (_, step) in std::mem::take(&mut self.steps) {
            if let Step::Serve(action @ Action::Produce { .. }, _, fate) = step
                && fate != Fate::Lost
                && self.rng.bool()
            {
                self.serve(&action, true);
            }
        }
        self.flow = Flow::new(self.options.clone(), self.now);
        self.is_stopped = false;
        self.checks.forget_flow();
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

    /// Whether each record of the source is on the target, in order, some of them repeated.
    pub(super) fn is_copied_at_least_once(&self) -> bool {
        self.logs_agree(|source, target| source.count() <= target.count())
            && self.logs_agree(|source, target| {
                let mut known = BTreeSet::new();
                let target = target.values().into_iter();
                let first: Vec<_> = target.filter(|value| known.insert(value.clone())).collect();
                source.values() == first
            })
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
            if matches!(route, Route::Produce(node) if self.faults.slow.contains(&node)) {
                at += Duration::from_secs(1);
            }
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
                            let wait = longest_wait(&action);
                            let until = self.now + wait;
                            let at = self.now + wait.min(self.poll_interval);
                            return self.at(at, Step::Poll(action, route, until));
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
            Step::Poll(action, route, until) => match self.serve(&action, self.now >= until) {
                Some(event) => self.answer(route, event),
                None => {
                    let at = self.now + self.poll_interval;
                    self.at(at, Step::Poll(action, route, until));
                }
            },
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

/// How long a broker may hold a request that finds nothing.
const fn longest_wait(action: &Action) -> Duration {
    match action {
        Action::Fetch { wait, .. } => *wait,
        _ => Duration::ZERO,
    }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::AskMetadata(Side::Source) => "source metadata",
        Action::AskMetadata(Side::Target) => "target metadata",
        Action::AskConfigs(_) => "configs",
        Action::CreateTopics(_) => "create topics",
        Action::AddPartitions(_) => "add partitions",
        Action::LoadPositions { .. } => "load positions",
        Action::StorePositions { .. } => "store positions",
        Action::CreatePublished { .. } => "create for others",
        Action::Publish { .. } => "publish",
        Action::LoadCheckpoints { .. } => "load checkpoints",
        Action::AskTopicConfigs { .. } => "compare configs",
        Action::AlterTopicConfigs(_) => "alter configs",
        Action::AskAcls { .. } => "acls",
        Action::ChangeAcls { .. } => "change acls",
        Action::AskGroups(_) => "groups",
        Action::AskCommitted { .. } => "committed",
        Action::AskOffsetsForTimes { .. } => "offsets for times",
        Action::AskGroupOffsets { .. } => "group offsets",
        Action::CommitGroupOffsets(_) => "commit group offsets",
        Action::AskLogRanges { .. } => "log ranges",
        Action::AskProducerId(_) => "producer id",
        Action::Fetch { .. } => "fetch",
        Action::Produce { .. } => "produce",
        Action::ReadState { .. }
        | Action::WriteState { .. }
        | Action::AskProducers { .. }
        | Action::AskEpochEnds { .. }
        | Action::FetchWindow { .. }
        | Action::AskTransaction { .. }
        | Action::InspectTopics { .. } => unreachable!("at-least-once delivery proves nothing"),
        Action::Report(_) => "report",
        Action::Stopped => "stopped",
    }
}
