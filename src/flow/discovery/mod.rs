//! Which topics and partitions there are, which are wanted, and what the target lacks for them.
//!
//! Both clusters are asked at an interval, and at once after anything that suggests a change. A
//! comparison never interrupts what is being copied: it adds partitions, and it moves leaders.
//! MM2's rules: a remote topic gets the source's partition count and its topic-level settings, it
//! grows with its source, and nothing is ever deleted (`MirrorSourceConnector`).

mod creation;
mod view;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use self::creation::Missing;

pub use self::view::{
    ClusterView, ConfigEntry, ConfigOrigin, NewTopic, PartitionView, PartitionViews, TopicConfig,
    TopicView,
};
use super::{
    Action, Failure, Flow, Notice, OffsetsTopic, PartitionId, RecoveryCause, Side, Slot,
    TopicPartition, ends::End, limits, partition::Partition, retry::Backoff, state::TopicSight,
    transaction::commit::Transactions,
};
use crate::policy::{Decision, SkipReason, StartAt};

/// What a flow knows of both clusters, and what it has asked them.
#[derive(Debug)]
pub(super) struct Discovery {
    source: Asked,
    target: Asked,
    missing: Missing,
    skipped: BTreeSet<Arc<str>>,
    is_halted: bool,
}

/// One cluster's metadata.
#[derive(Debug)]
struct Asked {
    view: Option<ClusterView>,
    is_asking: bool,
    /// When the last question was asked.
    asked_at: Instant,
    ask_at: Instant,
    /// However urgent it is, not before: failures come in swarms.
    not_before: Instant,
    failures: Backoff,
    /// Answers in a row that lacked something which must come.
    disappointments: Backoff,
    /// Whether the next question follows from the last of them.
    is_looking_again: bool,
    is_unreachable: bool,
}

impl Asked {
    const fn new(now: Instant) -> Self {
        Self {
            view: None,
            is_asking: false,
            asked_at: now,
            ask_at: now,
            not_before: now,
            failures: Backoff::new(),
            disappointments: Backoff::new(),
            is_looking_again: false,
            is_unreachable: false,
        }
    }
}

impl Discovery {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            source: Asked::new(now),
            target: Asked::new(now),
            missing: Missing::new(),
            skipped: BTreeSet::new(),
            is_halted: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_halted {
            return None;
        }
        let asked = [&self.source, &self.target]
            .into_iter()
            .filter(|side| !side.is_asking);
        asked.map(|side| side.ask_at).min()
    }

    const fn side(&mut self, side: Side) -> &mut Asked {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    /// Asks for metadata soon, because something suggests that it has changed. While an answer is
    /// awaited this means another question: that answer may be older than the change.
    pub(super) fn refresh(&mut self, side: Side, at: Instant) {
        let asked = self.side(side);
        asked.ask_at = asked.ask_at.min(at.max(asked.not_before));
    }

    pub(super) const fn views(&self) -> Option<(&ClusterView, &ClusterView)> {
        match (&self.source.view, &self.target.view) {
            (Some(source), Some(target)) => Some((source, target)),
            _ => None,
        }
    }

    /// Whether both clusters have said which topics they have.
    pub(super) const fn is_complete(&self) -> bool {
        self.source.view.is_some() && self.target.view.is_some()
    }

    /// What the source has, once it is known that it is not the target.
    pub(super) fn known_source(&self) -> Option<&ClusterView> {
        let views = self.views().filter(|_| !self.is_halted);
        views.map(|(source, _)| source)
    }

    pub(super) const fn is_unreachable(&self, side: Side) -> bool {
        match side {
            Side::Source => self.source.is_unreachable,
            Side::Target => self.target.is_unreachable,
        }
    }
}

impl Flow {
    pub(super) fn schedule_discovery(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.discovery.is_halted {
            return;
        }
        let interval = self.options.discovery_interval;
        for side in [Side::Source, Side::Target] {
            let asked = self.discovery.side(side);
            if !asked.is_asking && asked.ask_at <= now {
                asked.is_asking = true;
                asked.asked_at = now;
                asked.is_looking_again = false;
                asked.ask_at = now + interval;
                actions.push(Action::AskMetadata(side));
            }
        }
    }

    pub(super) fn metadata(
        &mut self,
        now: Instant,
        side: Side,
        result: Result<ClusterView, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let asked = self.discovery.side(side);
        asked.is_asking = false;
        asked.not_before = now + limits::METADATA_WAIT;
        match result {
            Ok(view) => {
                asked.failures.succeed();
                asked.ask_at = asked.ask_at.max(asked.not_before);
                if std::mem::take(&mut asked.is_unreachable) {
                    actions.push(Action::Report(Notice::Reached(side)));
                }
                let asked_at = asked.asked_at;
                self.follow(now, side, &view, actions);
                if side == Side::Target {
                    self.leaders_confirmed(now, asked_at);
                }
                self.discovery.side(side).view = Some(view);
                self.compare(now, actions);
                self.look_again(now);
            }
            Err(failure) => {
                asked.ask_at = asked.failures.fail(now, 0);
                if !std::mem::replace(&mut asked.is_unreachable, true) {
                    let purpose = "its topics";
                    actions.push(Action::Report(Notice::Waiting {
                        side,
                        purpose,
                        failure,
                    }));
                }
            }
        }
    }

    /// Asks both clusters again: less and less often while what they answered lacks something that
    /// must come, and when something that failed is to be tried again.
    pub(super) fn look_again(&mut self, now: Instant) {
        for side in [Side::Source, Side::Target] {
            let is_lacking = self.lacks_leaders(side)
                || (side == Side::Target && self.discovery.missing.is_any_expected());
            let asked = self.discovery.side(side);
            if !is_lacking {
                asked.disappointments.succeed();
            } else if !asked.is_asking && !asked.is_looking_again {
                asked.is_looking_again = true;
                let at = asked.disappointments.fail(now, 0);
                self.discovery.refresh(side, at);
            }
            let retry_at = self.discovery.missing.retry_at(side);
            if let Some(at) = retry_at.filter(|at| *at > now) {
                self.discovery.refresh(side, at);
            }
        }
    }

    /// Draws the consequences of what both clusters have.
    pub(super) fn compare(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.drain.is_some() {
            return;
        }
        let Some((source, target)) = self.discovery.views() else {
            return;
        };
        if let Some(cluster_id) = &source.cluster_id
            && source.cluster_id == target.cluster_id
        {
            let cluster_id = cluster_id.clone();
            self.discovery.is_halted = true;
            actions.push(Action::Report(Notice::SameCluster { cluster_id }));
            return;
        }
        self.find_offsets_topic();
        self.find_state_topic(now, actions);
        let wanted = self.wanted_topics(actions);
        self.request_missing(now, &wanted, actions);
        self.add_partitions(now, &wanted, actions);
    }

    fn find_offsets_topic(&mut self) {
        let Some(target) = &self.discovery.target.view else {
            return;
        };
        let topic = target.topics.get(&self.options.offsets_topic.name);
        let count = topic.map(|topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
        if self.positions.topic_seen(count) {
            // A new topic knows nothing, not even of partitions that stand still.
            for id in self.by_source.values() {
                self.positions.changed(*id);
            }
        }
    }

    fn find_state_topic(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(target) = self
            .discovery
            .target
            .view
            .as_ref()
            .filter(|_| self.proves())
        else {
            return;
        };
        let brokers = target.broker_count;
        let name = &self.options.state_topic.name;
        let topic = target.topics.get(name);
        let few = topic.and_then(|topic| topic.too_few_replicas(brokers));
        if self.state.replicas_seen(few.is_some())
            && let Some(replicas) = few
        {
            actions.push(Action::Report(Notice::FewReplicas {
                topic: Arc::clone(name),
                replicas,
                brokers,
            }));
        }
        let seen = topic.map(|topic| {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            (topic.topic_id, count)
        });
        if self.state.topic_seen(seen) == TopicSight::Replaced {
            self.rewrite_state(now, actions);
        }
    }

    /// Where kmirror keeps what it knows, on the target.
    pub(super) fn internal_topics(&self) -> impl Iterator<Item = &OffsetsTopic> {
        let state = self.proves().then_some(&self.options.state_topic);
        [&self.options.offsets_topic].into_iter().chain(state)
    }

    /// The wanted source topics with their remote names.
    fn wanted_topics(&mut self, actions: &mut Vec<Action>) -> Vec<(Arc<str>, Arc<str>)> {
        let options = &self.options;
        let Some(source) = &self.discovery.source.view else {
            return Vec::new();
        };
        let mut wanted = Vec::new();
        for topic in source.topics.keys() {
            let skipped = match options
                .topics
                .wanted(&options.policy, &options.target_alias, topic)
            {
                Ok(Decision::Wanted) => {
                    let remote = options.policy.remote_topic(&options.source_alias, topic);
                    let mut own = self.internal_topics().map(|topic| &topic.name);
                    let is_internal = own.any(|name| **name == remote)
                        || self
                            .groups
                            .as_ref()
                            .is_some_and(|it| **it.topic() == remote);
                    if !is_internal {
                        wanted.push((Arc::clone(topic), Arc::from(remote)));
                        continue;
                    }
                    format!("its remote topic would be {remote}, where kmirror keeps what it knows")
                }
                Ok(Decision::Skipped(reason @ SkipReason::Loop)) => {
                    let hint = "leave it out of one of the flows";
                    format!("it {}; {hint}", reason.as_str())
                }
                Ok(Decision::Skipped(_)) => continue,
                Err(undecided) => undecided.to_string(),
            };
            if self.discovery.skipped.insert(Arc::clone(topic)) {
                let topic = Arc::clone(topic);
                actions.push(Action::Report(Notice::TopicSkipped {
                    topic,
                    reason: skipped,
                }));
            }
        }
        wanted
    }

    /// Starts every wanted partition that exists on both sides, once positions are known.
    pub(super) fn add_partitions(
        &mut self,
        now: Instant,
        wanted: &[(Arc<str>, Arc<str>)],
        actions: &mut Vec<Action>,
    ) {
        if !self.positions.is_loaded() || (self.proves() && !self.state.is_ready()) {
            return;
        }
        let transactions = self.transactions.as_ref();
        if transactions.is_some_and(|transactions| transactions.producer().is_none()) {
            return;
        }
        for (topic, remote_topic) in wanted {
            let Some((source, target)) = self.discovery.views() else {
                return;
            };
            let (Some(source), Some(target)) =
                (source.topics.get(topic), target.topics.get(remote_topic))
            else {
                continue;
            };
            let numbers = source.partitions.numbers();
            let new = numbers
                .filter(|number| target.partitions.get(*number).is_some())
                .map(|number| TopicPartition {
                    topic: Arc::clone(topic),
                    partition: number,
                })
                .filter(|partition| !self.by_source.contains_key(partition))
                .map(|partition| {
                    let number = partition.partition;
                    let ends = (End::new(source, number), End::new(target, number));
                    (partition, ends)
                });
            let new: Vec<_> = new.collect();
            let added = new.len();
            for (partition, ends) in new {
                self.add_partition(now, partition, remote_topic, ends, actions);
            }
            if added > 0 {
                self.started_topics.insert(Arc::clone(topic));
                actions.push(Action::Report(Notice::TopicStarted {
                    topic: Arc::clone(topic),
                    remote_topic: Arc::clone(remote_topic),
                    partition_count: added,
                }));
            }
        }
    }

    fn add_partition(
        &mut self,
        now: Instant,
        source: TopicPartition,
        remote_topic: &Arc<str>,
        (source_end, target_end): (End, End),
        actions: &mut Vec<Action>,
    ) {
        // A flow of 2^32 partitions does not fit into any memory.
        let Ok(number) = u32::try_from(self.slots.len()) else {
            return;
        };
        let id = PartitionId(number);
        // A partition that appears in a topic already copied is new: nothing of it may be skipped.
        let start_at = if self.started_topics.contains(&source.topic) {
            StartAt::Earliest
        } else {
            let starts = &self.options.starts;
            starts.of(&source.topic, source.partition).clone()
        };
        let partition = Partition::new(
            id,
            source.clone(),
            Arc::clone(remote_topic),
            self.positions.stored(&source),
            start_at,
            self.options.partition_fetch_bytes_max,
        );
        let has_target = target_end.leader.is_some();
        let transactions = self.transactions.as_ref();
        let producer = transactions.and_then(Transactions::producer);
        let partition = match producer {
            Some(producer) => partition.transacting(producer),
            None if self.proves() => partition.proving(),
            None => partition,
        };
        self.slots.push(Slot {
            partition,
            source: source_end,
            target: target_end,
            sent_to: None,
            recovery: None,
            carrying: None,
            proven_under: None,
            acknowledged_at: None,
        });
        self.by_source.insert(source, id);
        self.with_partition(now, id, actions, |partition| {
            partition.target_found(has_target);
            None
        });
        if self.proves() {
            self.recover(now, id, RecoveryCause::Started, actions);
        }
    }
}
