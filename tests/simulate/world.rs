//! Two clusters, the processes between them, and a clock that jumps from step to step.
//!
//! One thread, one source of luck, ordered maps only: the same plan gives the same run.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kmirror::{
    cluster::To,
    flow::{
        Action, Delivery, Event, Failure, Flow, FlowOptions, Guarantee, Notice, PartitionNotice,
        Side, halt::HaltReason,
    },
    sandbox::Profile,
};

use super::{
    checks::{Checks, View},
    clusters::{ClusterSide, Content, LogRecord, Place},
    groups::Groups,
    instance::{Heard, Instance, State},
    mailbox::{Sent, Wish},
    maps::Maps,
    network::{ConnectionId, InstanceId, Network},
    operations::Clock,
    options::Knobs,
    plan::{BROKERS, Injection, MS, Micros, Plan, SECOND, scatter},
    workload::Workload,
};

/// How long a process waits for an answer before it closes the connection.
pub(super) const REQUEST_TIMEOUT: Micros = 10 * SECOND;

/// How long a flow may take to stop.
pub(super) const STOP_TIME: Micros = 30 * SECOND;

/// Why a request was not even sent.
const REFUSED: &str = "connection refused";

/// Steps at one moment; more of them are a loop without an end.
const STEPS_AT_ONCE_MAX: u32 = 5_000;

/// What waits for its time.
#[derive(Debug)]
pub(super) enum Step {
    /// Something may have reached a broker.
    Arrive(ConnectionId),
    /// An answer reaches a process.
    Answer(ConnectionId, u64, Bytes),
    /// A process learns that there will be no answer.
    Fail(InstanceId, u64, &'static str),
    /// A process has slept on purpose.
    Slept(InstanceId, u64),
    /// A process has waited long enough.
    Timeout(ConnectionId, u64),
    Write(usize),
    Read(usize),
    Fault(usize),
    /// A process starts.
    Start,
    Wake(InstanceId),
    StartBroker(Side, i32),
    /// A replica that was held back is elected.
    Elect {
        side: Side,
        place: Place,
        broker: i32,
        is_unclean: bool,
    },
    EndInjection(usize),
    /// The markers of transactions that have ended are written.
    Markers,
    Heal,
    /// Only one process is left from here on.
    Settle,
    /// Is everything copied?
    Look,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Faults happen.
    Faulty,
    /// Everything is mended, and the flow has so long to catch up.
    Healing {
        until: Micros,
    },
    /// The flow has been asked to stop.
    Stopping {
        until: Micros,
    },
    Done,
}

/// What an unclean election has taken from a partition of the source.
pub(super) struct Shortened {
    /// Where it ended then.
    pub(super) end_offset: i64,
    /// What it lost, and from which offsets.
    pub(super) lost: Vec<(i64, Rc<Content>)>,
    /// Nothing of what came in the place of that was left once.
    pub(super) is_branch_deleted: bool,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) knobs: Knobs,
    pub(super) now: Micros,
    pub(super) source: ClusterSide,
    pub(super) target: ClusterSide,
    pub(super) network: Network,
    pub(super) instances: Vec<Instance>,
    pub(super) workload: Workload,
    pub(super) groups: Groups,
    /// What others wrote to remote topics.
    pub(super) foreign: BTreeSet<Content>,
    /// Partitions of topics that were deleted and created again.
    pub(super) recreated: BTreeSet<Place>,
    /// Source partitions that unclean elections have shortened.
    pub(super) shortened: BTreeMap<Place, Vec<Shortened>>,
    /// Source partitions of whose copies some were deleted while a replica was away or lagged, or all
    /// before one led that lagged: somebody comes back with an empty log, or cuts off the end of it
    /// together with the snapshot, and knows no producers (`UnifiedLog.truncateFullyAndStartAt`,
    /// `truncateTo`).
    pub(super) forgetful: BTreeSet<Place>,
    /// Copies that the target lost in unclean elections, by the partition there.
    pub(super) lost_copies: BTreeMap<Place, Vec<LogRecord>>,
    /// When a broker last served a request of one who was gone.
    pub(super) served_late: Option<Micros>,
    pub(super) checks: Checks,
    /// What the maps of offsets were worth when processes died.
    pub(super) maps: Maps,
    pub(super) phase: Phase,
    pub(super) injections: BTreeMap<usize, Injection>,
    /// Until when a broker does nothing.
    pub(super) stalled: BTreeMap<(Side, i32), Micros>,
    /// Until when the target refuses producer ids.
    pub(super) revoked_until: Micros,
    pub(super) rng: fastrand::Rng,
    pub(super) is_traced: bool,
    pub(super) history: DefaultHasher,
    pub(super) requests: u64,
    /// How often a process had to be started again because a dead one had taken over.
    pub(super) restarts: u64,
    epoch: Instant,
    steps: BTreeMap<(Micros, u64), Step>,
    next_step: u64,
    steps_at_once: u32,
}

/// Says what happens, when somebody looks.
macro_rules! trace {
    ($world:expr, $($arg:tt)+) => {
        if $world.is_traced {
            eprintln!("{:>10.3} {}", f64::from(u32::try_from($world.now / 10).unwrap_or(u32::MAX)) / 100.0, format_args!($($arg)+));
        }
    };
}
pub(super) use trace;

impl World {
    pub(super) fn new(plan: Plan, is_traced: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(!scatter(plan.seed, plan.class));
        let knobs = Knobs::new(&mut rng, &plan);
        let mut world = Self {
            source: ClusterSide::new("source-id", rng.u64(..), Profile::default(), 2),
            target: ClusterSide::new(
                "target-id",
                rng.u64(..),
                plan.target,
                plan.class.transaction_version(),
            ),
            revoked_until: 0,
            now: 0,
            network: Network::default(),
            instances: Vec::new(),
            workload: Workload::default(),
            groups: Groups::default(),
            foreign: BTreeSet::new(),
            recreated: BTreeSet::new(),
            shortened: BTreeMap::new(),
            forgetful: BTreeSet::new(),
            lost_copies: BTreeMap::new(),
            served_late: None,
            checks: Checks::new(&plan, knobs.memory_bytes),
            maps: Maps::default(),
            phase: Phase::Faulty,
            injections: BTreeMap::new(),
            stalled: BTreeMap::new(),
            rng,
            is_traced,
            history: DefaultHasher::new(),
            requests: 0,
            restarts: 0,
            epoch: some_instant(),
            steps: BTreeMap::new(),
            next_step: 0,
            steps_at_once: 0,
            knobs,
            plan,
        };
        world.create_topics();
        world.leave_past();
        for (index, write) in world.plan.writes.clone().iter().enumerate() {
            world.at(write.at, Step::Write(index));
        }
        for (index, read) in world.plan.reads.clone().iter().enumerate() {
            world.at(read.at, Step::Read(index));
        }
        for (index, fault) in world.plan.faults.clone().iter().enumerate() {
            world.at(fault.at, Step::Fault(index));
        }
        world.at(world.plan.heal_at, Step::Heal);
        world.at(0, Step::Start);
        if world.knobs.delivery == Delivery::Transactional {
            world.at(0, Step::Markers);
        }
        world
    }

    fn create_topics(&mut self) {
        let configs: &[(&str, &str)] = if self.plan.is_compacted {
            &[("cleanup.policy", "compact")]
        } else {
            &[]
        };
        for (index, partitions) in self.plan.topics.clone().iter().enumerate() {
            let name = format!("t{index}");
            self.source
                .create_topic(self.now, &name, *partitions, configs);
        }
    }

    pub(super) const fn side(&mut self, side: Side) -> &mut ClusterSide {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    pub(super) fn at(&mut self, at: Micros, step: Step) {
        self.steps.insert((at.max(self.now), self.next_step), step);
        self.next_step += 1;
    }

    /// Whether a replica of a target partition is being held back.
    pub(super) fn is_held_back(&self, copy: &Place) -> bool {
        let mut steps = self.steps.values();
        steps.any(
            |step| matches!(step, Step::Elect { side: Side::Target, place, .. } if place == copy),
        )
    }

    /// The flow's time.
    pub(super) fn instant(&self, at: Micros) -> Instant {
        self.epoch + Duration::from_micros(at)
    }

    /// What processes see of the time; their clock is that of the source.
    fn clock(&self) -> Clock {
        Clock {
            now: self.instant(self.now),
            wall_ms: self.source.time(self.now).0,
        }
    }

    /// Runs the plan to its end.
    pub(super) fn run(&mut self) {
        while self.phase != Phase::Done {
            let Some(next) = self.next_moment() else {
                self.checks
                    .violation(self.now, "nothing will ever happen again");
                return;
            };
            if next > self.now {
                self.now = next;
                self.steps_at_once = 0;
            }
            self.steps_at_once += 1;
            if self.steps_at_once > STEPS_AT_ONCE_MAX {
                self.checks.violation(self.now, "a loop without an end");
                return;
            }
            while let Some(entry) = self.steps.first_entry()
                && entry.key().0 <= self.now
            {
                let step = entry.remove();
                self.step(step);
            }
            self.poll_clusters();
            for id in 0..self.instances.len() {
                self.drive(id);
            }
            if let Phase::Healing { until } | Phase::Stopping { until } = self.phase
                && self.now > until
            {
                self.give_up();
            }
        }
        if self.knobs.delivery == Delivery::Transactional {
            self.write_last_markers();
        }
    }

    fn next_moment(&self) -> Option<Micros> {
        let running = self.instances.iter().filter(|it| it.is_running());
        let deadlines = running.filter_map(|instance| {
            let at = instance.flow.deadline()?;
            let after = at.saturating_duration_since(self.epoch);
            // Microseconds are too coarse for some deadlines: later is right, earlier is not.
            let micros = u64::try_from(after.as_nanos().div_ceil(1_000)).ok()?;
            Some(micros.max(self.now))
        });
        let clusters = [&self.source, &self.target];
        let clusters = clusters.into_iter().filter_map(ClusterSide::deadline);
        let step = self.steps.first_key_value().map(|((at, _), _)| *at);
        deadlines
            .chain(clusters.map(|at| at.max(self.now + 1)))
            .chain(step)
            .min()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive(connection) => self.serve(connection),
            Step::Answer(connection, request, answer) => {
                self.answered(connection, request, answer);
            }
            Step::Fail(instance, request, why) => {
                let failure = match why {
                    REFUSED => Failure::Unreached(why.to_owned()),
                    _ => Failure::NoAnswer(why.to_owned()),
                };
                self.hear(instance, (request, Err(failure)));
            }
            Step::Slept(instance, request) => self.hear(instance, (request, Ok(Bytes::new()))),
            Step::Timeout(connection, request) => self.timed_out(connection, request),
            Step::Write(index) => self.write(index),
            Step::Read(index) => self.read(index),
            Step::Fault(index) => self.fault(index),
            Step::Start => self.start(),
            Step::Wake(instance) => self.wake(instance),
            Step::StartBroker(side, broker) => self.start_broker(side, broker),
            Step::Elect {
                side,
                place,
                broker,
                is_unclean,
            } => self.elect(side, &place, broker, is_unclean),
            Step::EndInjection(index) => {
                self.injections.remove(&index);
            }
            Step::Markers => self.write_markers(),
            Step::Heal => self.heal(),
            Step::Settle => self.settle(),
            Step::Look => self.look(),
        }
    }

    fn write(&mut self, index: usize) {
        let write = self.plan.writes[index];
        let places: Vec<Place> = self.source_places();
        let place = &places[usize::try_from(write.pick).unwrap() % places.len()];
        let options = super::workload::Options {
            has_transactions: self.plan.has_transactions,
            is_compacted: self.plan.is_compacted,
        };
        self.workload
            .write(self.now, &mut self.source, place, &write, options);
    }

    /// The partitions that are copied.
    pub(super) fn source_places(&self) -> Vec<Place> {
        let topics = self.plan.topics.iter().enumerate();
        let places = topics.flat_map(|(index, partitions)| {
            (0..*partitions).map(move |partition| (format!("t{index}"), partition))
        });
        places.collect()
    }

    /// Starts a process.
    pub(super) fn start(&mut self) {
        let options: FlowOptions = self.knobs.options(self.instances.len());
        let instance = Instance::new(options, self.plan.target, self.clock());
        trace!(self, "process {} starts", self.instances.len());
        self.instances.push(instance);
    }

    /// The process that was started last, if it lives.
    pub(super) fn newest(&self) -> Option<InstanceId> {
        let id = self.instances.len().checked_sub(1)?;
        (self.instances[id].state != State::Gone).then_some(id)
    }

    fn wake(&mut self, id: InstanceId) {
        let State::Asleep { since } = self.instances[id].state else {
            return;
        };
        trace!(self, "process {id} wakes");
        self.instances[id].state = State::Running;
        self.instances[id].is_touched = true;
        let slept = Duration::from_micros(self.now - since);
        if self.knobs.tells_pauses && slept > Duration::from_secs(1) {
            self.tell(id, Event::Paused(slept));
        }
        while let Some(heard) = self.instances[id].inbox.pop_front() {
            self.hear(id, heard);
        }
    }

    /// Lets a process take an answer, or keeps it for when it wakes.
    pub(super) fn hear(&mut self, id: InstanceId, heard: Heard) {
        let clock = self.clock();
        let instance = &mut self.instances[id];
        match instance.state {
            State::Gone => {}
            State::Asleep { .. } => instance.inbox.push_back(heard),
            State::Running => {
                instance.client.set_clock(clock);
                let (sent, event) = instance.hear(heard);
                self.send(id, sent);
                if let Some(event) = event {
                    self.tell(id, event);
                }
            }
        }
    }

    pub(super) fn tell(&mut self, id: InstanceId, event: Event) {
        let now = self.instant(self.now);
        let mut actions = Vec::new();
        let instance = &mut self.instances[id];
        self.checks.event(id, &event, &instance.flow);
        instance.flow.handle(now, event, &mut actions);
        instance.is_touched = true;
        self.take(id, actions);
    }

    /// Lets a process make the requests that are due.
    fn drive(&mut self, id: InstanceId) {
        let now = self.instant(self.now);
        let instance = &mut self.instances[id];
        if !instance.is_running() || instance.is_stopped {
            return;
        }
        let is_due = instance.flow.deadline().is_some_and(|at| at <= now);
        if is_due {
            self.tell(id, Event::DeadlineReached);
        } else if !instance.is_touched {
            return;
        }
        let instance = &mut self.instances[id];
        instance.is_touched = false;
        let mut actions = Vec::new();
        instance.flow.schedule(now, &mut actions);
        self.take(id, actions);
        let instance = &self.instances[id];
        self.checks
            .between_events((self.now, id), now, &instance.flow);
    }

    fn take(&mut self, id: InstanceId, actions: Vec<Action>) {
        for action in actions {
            self.note(id, &action);
            match action {
                Action::Report(notice) => {
                    trace!(self, "process {id}: {notice:?}");
                    self.instances[id].notices.push((self.now, notice));
                }
                Action::Stopped => {
                    trace!(self, "process {id} stops in order");
                    self.instances[id].is_stopped = true;
                    match self.phase {
                        Phase::Stopping { until } if self.has_aborted(id, until) => {
                            self.copy_again(id);
                        }
                        Phase::Stopping { .. } => self.phase = Phase::Done,
                        _ => {}
                    }
                }
                action => {
                    self.instances[id].client.set_clock(self.clock());
                    let (sent, event) = self.instances[id].begin(action);
                    self.send(id, sent);
                    if let Some(event) = event {
                        self.tell(id, event);
                    }
                }
            }
        }
    }

    fn note(&mut self, id: InstanceId, action: &Action) {
        let flow = &self.instances[id].flow;
        let view = View {
            source: &self.source,
            target: &self.target,
            workload: &self.workload,
            flow,
        };
        self.checks.action((self.now, id), action, view);
        if self.is_traced && !matches!(action, Action::Report(_) | Action::Stopped) {
            trace!(
                self,
                "process {id}: {}",
                super::describe::action(action, flow)
            );
        }
        self.check_told(id, action);
    }

    /// Puts requests onto their connections.
    fn send(&mut self, id: InstanceId, sent: Vec<Sent>) {
        for Sent { id: request, wish } in sent {
            let (side, to, lane, body) = match wish {
                Wish::Answer {
                    side,
                    to,
                    lane,
                    body,
                } => (side, to, lane, body),
                Wish::Sleep(time) => {
                    self.at(self.now + time, Step::Slept(id, request));
                    continue;
                }
            };
            self.requests += 1;
            self.checks.request(self.now, id);
            let node = match to {
                To::Node(node) => node,
                To::Any | To::Controller => self.rng.i32(0..BROKERS),
            };
            self.history.write_u64(self.now);
            self.history.write(&body);
            if !self.side(side).cluster.is_running(node) {
                let at = self.now + self.latency();
                self.at(at, Step::Fail(id, request, REFUSED));
                continue;
            }
            let connection = self.network.open(id, side, node, lane);
            let at = self.now + self.latency();
            let at = self.network.send(connection, request, body, at);
            self.at(at, Step::Arrive(connection));
            let timeout = self.now + REQUEST_TIMEOUT;
            self.at(timeout, Step::Timeout(connection, request));
        }
    }

    /// How long a frame is under way; now and then much longer than usual.
    pub(super) fn latency(&mut self) -> Micros {
        let usual = self.rng.u64(200..2_500);
        if self.rng.u32(0..self.knobs.slow_one_in) == 0 {
            usual + self.rng.u64(0..400) * MS
        } else {
            usual
        }
    }

    fn answered(&mut self, connection: ConnectionId, request: u64, answer: Bytes) {
        let Some(known) = self.network.connections.get_mut(&connection) else {
            return;
        };
        let Some(at) = known.unanswered.iter().position(|it| *it == request) else {
            return;
        };
        known.unanswered.remove(at);
        let instance = known.instance;
        self.history.write_u64(self.now);
        self.history.write(&answer);
        self.hear(instance, (request, Ok(answer)));
    }

    fn timed_out(&mut self, connection: ConnectionId, request: u64) {
        let Some(known) = self.network.connections.get(&connection) else {
            return;
        };
        if !known.unanswered.contains(&request) {
            return;
        }
        if self.instances[known.instance].is_running() {
            trace!(self, "process {} has waited long enough", known.instance);
            // What was sent is under way, and will be served.
            self.close(connection, usize::MAX, (self.now, 1), "no answer in time");
        } else {
            let again = self.now + SECOND;
            self.at(again, Step::Timeout(connection, request));
        }
    }

    /// Closes a process's end of a connection; see [`Network::close`].
    pub(super) fn close(
        &mut self,
        connection: ConnectionId,
        keep: usize,
        late: (Micros, Micros),
        why: &'static str,
    ) {
        let Some(known) = self.network.connections.get_mut(&connection) else {
            return;
        };
        let (instance, side) = (known.instance, known.side);
        // The broker has served what it holds back; only the answer is lost.
        let parked = known.parked.take();
        if let Some((ticket, _)) = parked {
            self.side(side).cluster.forget(ticket);
        }
        let (unanswered, times) = self.network.close(connection, keep, late);
        for at in times {
            self.at(at, Step::Arrive(connection));
        }
        for request in unanswered {
            let at = self.now + self.latency();
            self.at(at, Step::Fail(instance, request, why));
        }
        self.network.sweep();
    }

    fn look(&mut self) {
        let Some(id) = self.newest() else {
            return;
        };
        if !matches!(self.phase, Phase::Healing { .. }) {
            return;
        }
        if self.is_taken_over_by_the_dead(id) {
            trace!(self, "process {id} is started again");
            self.restarts += 1;
            self.kill(id);
            self.start();
            let again = self.now + 100 * MS;
            self.at(again, Step::Look);
            return;
        }
        if !self.is_copied(id) || !self.are_groups_told(id) {
            let again = self.now + 100 * MS;
            self.at(again, Step::Look);
            return;
        }
        trace!(self, "everything is copied");
        self.phase = Phase::Stopping {
            until: self.now + STOP_TIME,
        };
        self.tell(id, Event::Stop);
    }

    /// Whether a process has stopped copying because of another that is no longer there: what that
    /// one had sent came late (B13), and only a restart helps.
    fn is_taken_over_by_the_dead(&self, id: InstanceId) -> bool {
        let mut notices = self.instances[id].notices.iter();
        notices.any(|(_, notice)| {
            matches!(
                notice,
                Notice::Partition {
                    notice: PartitionNotice::Halted(
                        HaltReason::Superseded { .. } | HaltReason::TransactionalIdTaken { .. }
                    ),
                    ..
                }
            )
        })
    }

    /// Whether the flow says that it has copied all that can be read.
    fn is_copied(&self, id: InstanceId) -> bool {
        let flow = &self.instances[id].flow;
        let statuses: BTreeMap<Place, _> = flow
            .partition_statuses()
            .map(|status| {
                let source = &status.source;
                ((source.topic.to_string(), source.partition), status)
            })
            .collect();
        self.source_places().iter().all(|place| {
            let end = self.source.end_offset(&place.0, place.1);
            // What a cleaner has taken out before an unclean election leaves an end without records.
            let is_all =
                |copied| copied >= end || copied >= self.source.last_batch_end(&place.0, place.1);
            statuses.get(place).is_some_and(|status| {
                let may_stand = self
                    .knobs
                    .may_halt(&self.plan, self.recreated.contains(place));
                // Once the target gives out producer ids, the full guarantee returns.
                let is_whole = self.plan.target == Profile::NoIdempotence
                    || !matches!(status.guarantee, Guarantee::Weaker(it) if it.is_forced());
                // While a position is being proven there is no lag.
                (is_whole && status.lag.is_some() && is_all(status.copied_offset.unwrap_or(0)))
                    || (may_stand && status.halted.is_some())
            })
        })
    }

    /// Whether the last process has stopped copying a partition.
    pub(super) fn is_halted(&self, place: &Place) -> bool {
        let flow = self.instances.last().map(|it| &it.flow);
        let mut statuses = flow.into_iter().flat_map(Flow::partition_statuses);
        statuses.any(|status| {
            let source = (status.source.topic.to_string(), status.source.partition);
            source == *place && status.halted.is_some()
        })
    }

    fn give_up(&mut self) {
        let what = match self.phase {
            Phase::Stopping { .. } => "the flow does not stop",
            _ => "not everything is copied in time",
        };
        let statuses: Vec<_> = self
            .newest()
            .map(|id| self.instances[id].flow.partition_statuses().collect())
            .unwrap_or_default();
        self.checks
            .stuck(self.now, &format!("{what}: {statuses:?}"));
        self.phase = Phase::Done;
    }

    /// What happened since the start, in one number.
    pub(super) fn fingerprint(&self) -> u64 {
        self.history.finish()
    }
}

/// Some instant to start from; only differences matter.
#[expect(
    clippy::disallowed_methods,
    reason = "an instant cannot be made otherwise"
)]
fn some_instant() -> Instant {
    Instant::now()
}
