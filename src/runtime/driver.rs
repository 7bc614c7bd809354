//! Runs one flow: performs its actions, feeds it what came of them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{
    FlowEnd, admin, convert,
    exchange::{Name, Named, records::FetchLimits, topics},
    lane::{self, FetchJob, Job, ProduceJob},
    positions, report, topic_reader,
};
use crate::{
    cluster::{Cluster, Lane, Topics},
    flow::{
        Action, Event, FetchPartition, Flow, FlowOptions, FlowStatus, Notice, Outgoing,
        PartitionId, RequestId, Side,
    },
};

/// How often the status is published.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// Events taken together before requests are made of them.
const EVENTS_AT_ONCE: usize = 256;

/// The two clusters of a flow.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) source: Cluster,
    pub(super) target: Cluster,
}

impl Ends {
    const fn side(&self, side: Side) -> &Cluster {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// What a driver needs beyond its flow.
pub(super) struct DriverOptions {
    pub(super) name: String,
    /// 0 reads everything, 1 only what is committed.
    pub(super) isolation_level: i8,
    pub(super) request_timeout: Duration,
}

/// One flow and its requests under way.
pub(super) struct Driver {
    flow: Flow,
    ends: Ends,
    options: DriverOptions,
    lanes: BTreeMap<(Side, i32, Lane), mpsc::UnboundedSender<Job>>,
    events: mpsc::UnboundedSender<Event>,
    incoming: mpsc::UnboundedReceiver<Event>,
    status: watch::Sender<FlowStatus>,
    drain_until: Option<Instant>,
    drain_timeout: Duration,
}

impl Driver {
    pub(super) fn new(
        flow_options: FlowOptions,
        ends: Ends,
        options: DriverOptions,
        status: watch::Sender<FlowStatus>,
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
            status,
            drain_until: None,
        }
    }

    /// Runs until the flow has stopped.
    pub(super) async fn run(mut self, mut stopping: watch::Receiver<bool>) -> FlowEnd {
        let mut actions = Vec::new();
        let mut publish_at = Instant::now();
        loop {
            let now = Instant::now();
            self.flow.schedule(now, &mut actions);
            for action in actions.drain(..) {
                if let Some(end) = self.perform(now, action) {
                    // Nobody may be looking.
                    let _ = self.status.send(self.flow.status());
                    return end;
                }
            }
            if now >= publish_at {
                publish_at = now + STATUS_INTERVAL;
                let _ = self.status.send(self.flow.status());
            }
            let wake_at = self
                .flow
                .deadline()
                .map_or(publish_at, |at| at.min(publish_at));
            tokio::select! {
                biased;
                Some(event) = self.incoming.recv() => self.take_events(event, &mut actions),
                _ = stopping.wait_for(|stop| *stop), if self.drain_until.is_none() => {
                    let now = Instant::now();
                    self.drain_until = Some(now + self.drain_timeout);
                    self.flow.handle(now, Event::Stop, &mut actions);
                }
                () = tokio::time::sleep_until(wake_at.into()) => {
                    self.flow.handle(Instant::now(), Event::DeadlineReached, &mut actions);
                }
            }
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
                let fetch = self.fetch_job(wait, bytes_max, partitions);
                let job = Job::Fetch { request, fetch };
                self.queue(Side::Source, node, Lane::Fetch(lane), job);
            }
            Action::Produce {
                request,
                node,
                batches,
            } => self.produce(request, node, batches),
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
        wait: Duration,
        bytes_max: usize,
        partitions: Vec<FetchPartition>,
    ) -> FetchJob {
        let partitions = partitions.into_iter().map(|one| (one.id, one));
        FetchJob {
            limits: FetchLimits {
                isolation_level: self.options.isolation_level,
                wait,
                bytes_max,
            },
            partitions: self.named(Side::Source, partitions),
        }
    }

    fn produce(&mut self, request: RequestId, node: i32, batches: Vec<(PartitionId, Outgoing)>) {
        let produce = ProduceJob {
            timeout: self.options.request_timeout,
            batches: self.named(Side::Target, batches),
        };
        let job = Job::Produce { request, produce };
        self.queue(Side::Target, node, Lane::Produce(0), job);
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
        let (ends, events) = (self.ends.clone(), self.events.clone());
        let named = self.names_for(&action);
        let timeout = self.options.request_timeout;
        tokio::spawn(async move {
            // Nobody listens once the flow has ended.
            if let Some(event) = answer(&ends, action, named, timeout).await {
                let _ = events.send(event);
            }
        });
    }

    fn names_for(&self, action: &Action) -> Vec<Named<i32>> {
        let Action::AskLogRanges { partitions, .. } = action else {
            return Vec::new();
        };
        self.named(Side::Source, partitions.iter().copied())
    }

    /// How requests to one side call partitions.
    fn named<T>(
        &self,
        side: Side,
        asked: impl IntoIterator<Item = (PartitionId, T)>,
    ) -> Vec<Named<T>> {
        let named = asked.into_iter().filter_map(|(id, ask)| {
            let name = self.name_of(side, id)?;
            Some(Named { id, name, ask })
        });
        named.collect()
    }

    fn name_of(&self, side: Side, id: PartitionId) -> Option<Name> {
        let names = self.flow.names(id)?;
        let (topic, topic_id) = match side {
            Side::Source => (names.topic, names.topic_id),
            Side::Target => (names.remote_topic, names.remote_topic_id),
        };
        Some(Name {
            topic: Arc::clone(topic),
            topic_id,
            partition: names.partition,
        })
    }
}

async fn answer(
    ends: &Ends,
    action: Action,
    named: Vec<Named<i32>>,
    timeout: Duration,
) -> Option<Event> {
    let Ends { source, target } = ends;
    Some(match action {
        Action::AskMetadata(side) => {
            let result = ends.side(side).refresh_metadata(Topics::All).await;
            let result = result
                .map(|metadata| topics::cluster_view(&metadata))
                .map_err(|error| convert::failure(&error));
            Event::Metadata { side, result }
        }
        Action::AskConfigs(topics) => Event::Configs(admin::topic_configs(source, topics).await),
        Action::CreateTopics(topics) => {
            Event::TopicsCreated(admin::create_topics(target, &topics, timeout).await)
        }
        Action::AddPartitions(topics) => {
            Event::PartitionsAdded(admin::add_partitions(target, &topics, timeout).await)
        }
        Action::LoadPositions(topic) => {
            let records = topic_reader::read_all(target, &topic).await;
            Event::PositionsLoaded(records.map(positions::stored_records))
        }
        Action::StorePositions {
            topic,
            partition_count,
            records,
        } => Event::PositionsStored(
            positions::store(target, &topic, partition_count, records, timeout).await,
        ),
        Action::AskLogRanges { request, node, .. } => Event::LogRanges {
            request,
            result: admin::log_ranges(source, node, &named).await,
        },
        Action::AskProducerId(partition) => Event::ProducerId {
            partition,
            result: admin::producer_id(target).await,
        },
        Action::ReadState { .. }
        | Action::WriteState { .. }
        | Action::AskProducers { .. }
        | Action::AskEpochEnds { .. }
        | Action::AskOffsetsForTimes { .. }
        | Action::FetchWindow { .. }
        | Action::InspectTopics { .. } => todo!(),
        Action::Fetch { .. } | Action::Produce { .. } | Action::Report(_) | Action::Stopped => {
            return None;
        }
    })
}
