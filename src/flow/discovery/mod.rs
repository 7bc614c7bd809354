//! Which topics and partitions there are, which are wanted, and what the target lacks for them.
//!
//! Both clusters are asked at an interval, and at once after anything that suggests a change. A
//! comparison never interrupts what is being copied: it adds partitions, and it moves leaders.
//! MM2's rules: a remote topic gets the source's partition count and its topic-level settings, it
//! grows with its source, and nothing is ever deleted (`MirrorSourceConnector`).

mod creation;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use kmirror_protocol::wire::Uuid;

pub use self::view::{
    ClusterView, ConfigEntry, ConfigOrigin, NewTopic, PartitionView, TopicConfig, TopicView,
};
use super::{
    Action, Failure, Flow, Leader, Notice, PartitionId, Side, Slot, TopicPartition,
    halt::HaltReason, limits, partition::Partition, retry::Backoff,
};
use crate::policy::Decision;

/// What a flow knows of both clusters, and what it has asked them.
#[derive(Debug)]
pub(super) struct Discovery {
    source: Asked,
    target: Asked,
    /// Source topics whose remote topic is being created, or was refused and waits.
    creating: BTreeMap<Arc<str>, Creation>,
    is_asking_configs: bool,
    offsets_topic: Creation,
    /// Remote topics that are being given more partitions, or were refused and wait.
    growing: BTreeMap<Arc<str>, Creation>,
    /// Paces the looks for what was created and is not yet to be seen.
    awaited: Backoff,
    skipped: BTreeSet<Arc<str>>,
    is_halted: bool,
}

/// One cluster's metadata.
#[derive(Debug)]
struct Asked {
    view: Option<ClusterView>,
    is_asking: bool,
    ask_at: Instant,
    /// Asked for while an answer was under way that may be older than the cause.
    ask_again_at: Option<Instant>,
    backoff: Backoff,
    is_unreachable: bool,
}

/// The creation of one topic, or its growth.
#[derive(Debug, Default)]
struct Creation {
    is_asked: bool,
    /// The target says that it is done, by this flow or by somebody else.
    is_done: bool,
    retry_at: Option<Instant>,
    is_reported: bool,
}

impl Creation {
    fn is_due(&self, now: Instant) -> bool {
        !self.is_asked && self.retry_at.is_none_or(|at| at <= now)
    }
}

impl Asked {
    const fn new(now: Instant) -> Self {
        Self {
            view: None,
            is_asking: false,
            ask_at: now,
            ask_again_at: None,
            backoff: Backoff::new(),
            is_unreachable: false,
        }
    }
}

impl Discovery {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            source: Asked::new(now),
            target: Asked::new(now),
            creating: BTreeMap::new(),
            is_asking_configs: false,
            offsets_topic: Creation {
                is_asked: false,
                is_done: false,
                retry_at: None,
                is_reported: false,
            },
            awaited: Backoff::new(),
            growing: BTreeMap::new(),
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

    /// Asks for metadata soon, because something suggests that it has changed.
    pub(super) fn refresh(&mut self, side: Side, at: Instant) {
        let asked = self.side(side);
        if asked.is_asking {
            asked.ask_again_at = Some(asked.ask_again_at.map_or(at, |earlier| earlier.min(at)));
        } else {
            asked.ask_at = asked.ask_at.min(at);
        }
    }

    pub(super) const fn views(&self) -> Option<(&ClusterView, &ClusterView)> {
        match (&self.source.view, &self.target.view) {
            (Some(source), Some(target)) => Some((source, target)),
            _ => None,
        }
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
        if self.discovery.is_halted || self.drain_until.is_some() {
            return;
        }
        for side in [Side::Source, Side::Target] {
            let asked = self.discovery.side(side);
            if !asked.is_asking && asked.ask_at <= now {
                asked.is_asking = true;
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
        let interval = self.options.discovery_interval;
        let asked = self.discovery.side(side);
        asked.is_asking = false;
        match result {
            Ok(view) => {
                asked.backoff.succeed();
                asked.ask_at = now + interval;
                if let Some(at) = asked.ask_again_at.take() {
                    asked.ask_at = asked.ask_at.min(at);
                }
                asked.view = Some(view);
                if std::mem::take(&mut asked.is_unreachable) {
                    actions.push(Action::Report(Notice::Reached(side)));
                }
                self.compare(now, actions);
            }
            Err(failure) => {
                asked.ask_at = asked.backoff.fail(now, 0);
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

    /// Draws the consequences of what both clusters have.
    pub(super) fn compare(&mut self, now: Instant, actions: &mut Vec<Action>) {
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
        self.ensure_offsets_topic(now, actions);
        let wanted = self.wanted_topics(actions);
        self.request_missing(now, &wanted, actions);
        self.add_partitions(&wanted, actions);
        self.follow_changes(now, actions);
        self.look_again_for_created(now, &wanted);
    }

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
                    wanted.push((Arc::clone(topic), Arc::from(remote)));
                    continue;
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
        wanted: &[(Arc<str>, Arc<str>)],
        actions: &mut Vec<Action>,
    ) {
        if !self.positions.is_loaded() {
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
            let ids = (source.topic_id, target.topic_id);
            let numbers: Vec<i32> = source
                .partitions
                .keys()
                .copied()
                .filter(|number| target.partitions.contains_key(number))
                .collect();
            let mut added = 0;
            for partition in numbers {
                let source = TopicPartition {
                    topic: Arc::clone(topic),
                    partition,
                };
                added += usize::from(self.add_partition(source, remote_topic, ids));
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
        source: TopicPartition,
        remote_topic: &Arc<str>,
        (topic_id, remote_topic_id): (Uuid, Uuid),
    ) -> bool {
        if self.by_source.contains_key(&source) {
            return false;
        }
        let Ok(number) = u32::try_from(self.slots.len()) else {
            return false;
        };
        let id = PartitionId(number);
        // A partition that appears in a topic already copied is new: nothing of it may be skipped.
        let is_growth = self.started_topics.contains(&source.topic);
        let start_at = if is_growth {
            super::StartAt::Earliest
        } else {
            self.options.start_at
        };
        let partition = Partition::new(
            id,
            source.clone(),
            Arc::clone(remote_topic),
            self.positions.stored(&source),
            start_at,
            self.options.partition_fetch_bytes_max,
        );
        self.slots.push(Slot {
            partition,
            source_leader: None,
            target_leader: None,
            topic_id,
            remote_topic_id,
        });
        self.by_source.insert(source, id);
        self.touched.insert(id);
        true
    }

    /// Takes over who leads what, and halts partitions whose topic is not what it was.
    fn follow_changes(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some((source, target)) = self.discovery.views() else {
            return;
        };
        let mut halts = Vec::new();
        let mut leaderless = [None, None];
        for slot in &mut self.slots {
            let partition = &slot.partition;
            let number = partition.source.partition;
            let on_source = source.topics.get(&partition.source.topic);
            let on_target = target.topics.get(&partition.remote_topic);
            slot.source_leader = leader(on_source, number);
            slot.target_leader = leader(on_target, number);
            if slot.source_leader.is_none() && on_source.is_some() {
                leaderless[0] = Some(Side::Source);
            }
            if slot.target_leader.is_none() && on_target.is_some() {
                leaderless[1] = Some(Side::Target);
            }
            let reason = match (on_source, on_target) {
                (Some(topic), _) if topic.topic_id != slot.topic_id => HaltReason::TopicRecreated,
                (_, Some(topic)) if topic.topic_id != slot.remote_topic_id => {
                    HaltReason::RemoteTopicRecreated
                }
                (None, _) => HaltReason::TopicMissing,
                (_, None) => HaltReason::RemoteTopicMissing,
                (Some(_), Some(_)) => continue,
            };
            halts.push((partition.id, reason));
        }
        for side in leaderless.into_iter().flatten() {
            self.discovery.refresh(side, now + limits::LEADER_WAIT);
        }
        for (id, reason) in halts {
            self.with_partition(now, id, actions, |partition| partition.halt(now, reason));
        }
        self.touched.extend(self.by_source.values());
    }
}

fn leader(topic: Option<&TopicView>, partition: i32) -> Option<Leader> {
    let view = topic?.partitions.get(&partition)?;
    Some(Leader {
        node: view.leader?,
        epoch: view.leader_epoch,
    })
}
