//! Runs one flow: performs its actions, feeds it what came of them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{
    FlowEnd,
    exchange::{Named, records::FetchLimits},
    lane::{self, FetchJob, Job, ProduceJob, Purpose},
    numbers,
    pause::{Clocks, Pauses},
    questions::{self, Ends, Question},
    report,
};
use crate::{
    cluster::{Cluster, Lane},
    flow::{Action, Event, FetchPartition, Flow, FlowOptions, FlowStatus, Notice, Side},
};

/// How often the status is published.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// Events taken together before requests are made of them.
const EVENTS_AT_ONCE: usize = 256;

/// Why the driver woke.
enum Turn {
    Stop,
    Event(Event),
    Question(numbers::Question),
    DeadlineReached,
}

/// What a driver needs beyond its flow.
pub(super) struct DriverOptions {
    pub(super) name: String,
    /// 0 reads everything, 1 only what is committed.
    pub(super) isolation_level: i8,
    pub(super) request_timeout: Duration,
}

/// Those who want to know where the flow stands.
pub(super) struct Watchers {
    /// Told about twice a second.
    pub(super) status: watch::Sender<FlowStatus>,
    /// Told when they ask.
    pub(super) asked: mpsc::Receiver<numbers::Question>,
}

/// One flow and its requests under way.
pub(super) struct Driver {
    flow: Flow,
    ends: Ends<Cluster>,
    options: DriverOptions,
    lanes: BTreeMap<(Side, i32, Lane), mpsc::UnboundedSender<Job>>,
    events: mpsc::UnboundedSender<Event>,
    incoming: mpsc::UnboundedReceiver<Event>,
    watchers: Watchers,
    drain_until: Option<Instant>,
    drain_timeout: Duration,
}

impl Driver {
    pub(super) fn new(
        flow_options: FlowOptions,
        ends: Ends<Cluster>,
        options: DriverOptions,
        watchers: Watchers,
    ) -> Self {
        let (events, incoming) = mpsc::unbounded_channel();
        Self {
            drain_timeout: flow_options.drain_timeout,
            flow: Flow::new(flow_options, Instant::now()),
            ends,
            options,
            lanes: BTreeMap::new(),
            events,
            incoming,
            watchers,
            drain_until: None,
        }
    }

    /// Runs until the flow has stopped.
    pub(super) async fn run(mut self, mut stopping: watch::Receiver<bool>) -> FlowEnd {
        let mut actions = Vec::new();
        let mut publish_at = Instant::now();
        let mut pauses = Pauses::new(Clocks::now());
        loop {
            let now = Instant::now();
            self.flow.schedule(now, &mut actions);
            for action in actions.drain(..) {
                if let Some(end) = self.perform(now, action) {
                    // Nobody may be looking.
                    let _ = self.watchers.status.send(self.flow.status());
                    return end;
                }
            }
            if now >= publish_at {
                publish_at = now + STATUS_INTERVAL;
                let _ = self.watchers.status.send(self.flow.status());
            }
            let deadline = self.flow.deadline();
            let wake_at = deadline.map_or(publish_at, |at| at.min(publish_at));
            let turn = tokio::select! {
                // However many answers come, a stop is not kept waiting.
                biased;
                _ = stopping.wait_for(|stop| *stop), if self.drain_until.is_none() => Turn::Stop,
                Some(event) = self.incoming.recv() => Turn::Event(event),
                Some(question) = self.watchers.asked.recv() => Turn::Question(question),
                () = tokio::time::sleep_until(wake_at.into()) => Turn::DeadlineReached,
            };
            let asked = wake_at.saturating_duration_since(now);
            let paused = pauses.look(Clocks::now(), asked);
            self.take_turn(turn, paused, &mut actions);
        }
    }

    /// Feeds the flow what has happened; that time was lost comes before everything else.
    fn take_turn(&mut self, turn: Turn, paused: Option<Duration>, actions: &mut Vec<Action>) {
        let now = Instant::now();
        if let Some(paused) = paused {
            self.flow.handle(now, Event::Paused(paused), actions);
        }
        match turn {
            Turn::Stop => {
                self.drain_until = Some(now + self.drain_timeout);
                self.flow.handle(now, Event::Stop, actions);
            }
            Turn::Event(event) => self.take_events(event, actions),
            Turn::Question(question) => {
                let partitions = self.flow.partition_statuses().collect();
                let checkpoints = self.flow.checkpoint_statuses().collect();
                // Who asked may have gone.
                let _ = question.send((self.flow.status(), partitions, checkpoints));
            }
            Turn::DeadlineReached => self.flow.handle(now, Event::DeadlineReached, actions),
        }
    }

    fn take_events(&mut self, first: Event, actions: &mut Vec<Action>) {
        let now = Instant::now();
        self.flow.handle(now, first, actions);
        for _ in 1..EVENTS_AT_ONCE {
            let Ok(event) = self.incoming.try_recv() else {
                return;
            };
            self.flow.handle(now, event, actions);
        }
    }

    fn perform(&mut self, now: Instant, action: Action) -> Option<FlowEnd> {
        match action {
            Action::Fetch {
                request,
                node,
                lane,
                wait,
                bytes_max,
                partitions,
            } => {
                let limits = FetchLimits {
                    isolation_level: self.options.isolation_level,
                    wait,
                    bytes_max,
                };
                let fetch = self.fetch_job(Purpose::Copy, Side::Source, limits, partitions);
                let job = Job::Fetch { request, fetch };
                self.queue(Side::Source, node, Lane::Fetch(lane), job);
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
                let limits = FetchLimits {
                    isolation_level: read_committed.into(),
                    wait,
                    bytes_max,
                };
                let fetch = self.fetch_job(Purpose::Window, side, limits, partitions);
                self.queue(side, node, Lane::Window, Job::Fetch { request, fetch });
            }
            Action::Produce {
                request,
                node,
                batches,
                within,
            } => {
                let produce = ProduceJob {
                    timeout: self.options.request_timeout,
                    batches: Named::of(&self.flow, Side::Target, batches),
                    within,
                };
                let job = Job::Produce { request, produce };
                self.queue(Side::Target, node, Lane::Produce(0), job);
            }
            Action::Report(notice) => {
                report::notice(&self.options.name, &notice);
                if matches!(notice, Notice::SameCluster { .. }) {
                    return Some(FlowEnd::Refused);
                }
            }
            Action::Stopped => {
                let is_cut = self.drain_until.is_some_and(|until| now >= until);
                return Some(if is_cut {
                    FlowEnd::Cut
                } else {
                    FlowEnd::Stopped
                });
            }
            other => self.ask(other),
        }
        None
    }

    fn fetch_job(
        &self,
        purpose: Purpose,
        side: Side,
        limits: FetchLimits,
        partitions: Vec<FetchPartition>,
    ) -> FetchJob {
        let partitions = partitions.into_iter().map(|one| (one.id, one));
        FetchJob {
            purpose,
            limits,
            partitions: Named::of(&self.flow, side, partitions),
        }
    }

    fn queue(&mut self, side: Side, node: i32, lane: Lane, job: Job) {
        let queue = self.lanes.entry((side, node, lane)).or_insert_with(|| {
            let (queue, jobs) = mpsc::unbounded_channel();
            let cluster = self.ends.side(side).clone();
            tokio::spawn(lane::serve(cluster, node, lane, jobs, self.events.clone()));
            queue
        });
        // A lane ends only when its flow does.
        let _ = queue.send(job);
    }

    /// Performs an action that is one question with one answer, in a task of its own.
    fn ask(&self, action: Action) {
        let question = Question::of(&self.flow, action);
        let (ends, timeout) = (self.ends.clone(), self.options.request_timeout);
        let events = self.events.clone();
        tokio::spawn(async move {
            // Nobody listens once the flow has ended.
            if let Some(event) = questions::answer(&ends, question, timeout).await {
                let _ = events.send(event);
            }
        });
    }
}
