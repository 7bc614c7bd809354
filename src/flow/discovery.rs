//! Which topics and partitions there are, which are wanted, and what the target lacks for them.
//!
//! Both clusters are asked at an interval, and at once after anything that suggests a change. A
//! comparison never interrupts what is being copied: it adds partitions, and it moves leaders.
//! MM2's rules: a remote topic gets the source's partition count and its topic-level settings, it
//! grows with its source, and nothing is ever deleted (`MirrorSourceConnector`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{
    Action, Failure, Flow, Leader, Notice, PartitionId, Side, Slot, TopicPartition,
    halt::HaltReason, limits, partition::Partition, retry::Backoff,
};
use crate::policy::Decision;

/// A cluster's topics, as one broker sees them.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// The id of the cluster, when it has one.
    pub cluster_id: Option<String>,
    /// Its topics by name.
    pub topics: BTreeMap<Arc<str>, TopicView>,
}

/// One topic.
#[derive(Clone, Debug, Default)]
pub struct TopicView {
    /// Its id; zero when the cluster has no topic ids.
    pub topic_id: Uuid,
    /// Its partitions by number.
    pub partitions: BTreeMap<i32, PartitionView>,
}

/// One partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView {
    /// The broker that leads it, if one does.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 when the cluster does not tell.
    pub leader_epoch: i32,
}

/// The configuration of one topic on the source.
#[derive(Clone, Debug, Default)]
pub struct TopicConfig {
    /// The topic.
    pub topic: Arc<str>,
    /// Its entries.
    pub entries: Vec<ConfigEntry>,
}

/// One property of a topic.
#[derive(Clone, Debug)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when the source hides it.
    pub value: Option<String>,
    /// Where the source has the value from.
    pub origin: ConfigOrigin,
    /// Whether it can be set at all.
    pub is_read_only: bool,
    /// Whether the source hides its value.
    pub is_sensitive: bool,
}

/// Where a property has its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// Set on the topic, or dynamically on brokers or the cluster: MM2 copies both.
    Set,
    /// Written in the broker's own file.
    StaticBroker,
    /// Built in.
    Default,
}

/// A topic to be created on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name there.
    pub name: Arc<str>,
    /// How many partitions it gets.
    pub partition_count: i32,
    /// How many replicas; -1 leaves it to the target.
    pub replication_factor: i16,
    /// The properties it gets.
    pub configs: Vec<(String, String)>,
}

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
    skipped: BTreeSet<Arc<str>>,
    is_halted: bool,
}

/// One cluster's metadata.
#[derive(Debug)]
struct Asked {
    view: Option<ClusterView>,
    is_asking: bool,
    ask_at: Instant,
    backoff: Backoff,
    is_unreachable: bool,
}

/// The creation of one topic, or its growth.
#[derive(Debug, Default)]
struct Creation {
    is_asked: bool,
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
                retry_at: None,
                is_reported: false,
            },
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
        asked.ask_at = asked.ask_at.min(at);
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
    }

    fn ensure_offsets_topic(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(target) = &self.discovery.target.view else {
            return;
        };
        let wanted = &self.options.offsets_topic;
        if let Some(topic) = target.topics.get(&wanted.name) {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            self.positions.topic_found(count);
            return;
        }
        let creation = &mut self.discovery.offsets_topic;
        if creation.is_due(now) {
            creation.is_asked = true;
            actions.push(Action::CreateTopics(vec![NewTopic {
                name: Arc::clone(&wanted.name),
                partition_count: wanted.partition_count,
                replication_factor: wanted.replication_factor,
                configs: vec![(String::from("cleanup.policy"), String::from("compact"))],
            }]));
        }
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

    /// Asks for what the target lacks: whole topics, and partitions of topics that grew.
    fn request_missing(
        &mut self,
        now: Instant,
        wanted: &[(Arc<str>, Arc<str>)],
        actions: &mut Vec<Action>,
    ) {
        let discovery = &mut self.discovery;
        let (Some(source), Some(target)) = (&discovery.source.view, &discovery.target.view) else {
            return;
        };
        let (mut missing, mut short) = (Vec::new(), Vec::new());
        for (topic, remote_topic) in wanted {
            let count = source
                .topics
                .get(topic)
                .map_or(0, |view| view.partitions.len());
            match target.topics.get(remote_topic) {
                // A remote topic that was once there is not created again behind its owner's back.
                None if self.started_topics.contains(topic) => {}
                None => missing.push(Arc::clone(topic)),
                Some(view) if view.partitions.len() < count => {
                    let count = i32::try_from(count).unwrap_or(i32::MAX);
                    short.push((Arc::clone(remote_topic), count));
                }
                Some(_) => {}
            }
        }
        short.retain(|(topic, _)| {
            let growth = discovery.growing.entry(Arc::clone(topic)).or_default();
            growth.is_due(now) && !std::mem::replace(&mut growth.is_asked, true)
        });
        if !short.is_empty() {
            actions.push(Action::AddPartitions(short));
        }
        if discovery.is_asking_configs {
            return;
        }
        missing.retain(|topic| {
            discovery
                .creating
                .get(topic)
                .is_none_or(|creation| creation.is_due(now))
        });
        missing.truncate(limits::TOPICS_PER_REQUEST);
        if !missing.is_empty() {
            discovery.is_asking_configs = true;
            actions.push(Action::AskConfigs(missing));
        }
    }

    pub(super) fn configs(
        &mut self,
        now: Instant,
        result: Result<Vec<TopicConfig>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        self.discovery.is_asking_configs = false;
        let configs = match result {
            Ok(configs) => configs,
            Err(failure) => {
                let (side, purpose) = (Side::Source, "the configuration of its topics");
                actions.push(Action::Report(Notice::Waiting {
                    side,
                    purpose,
                    failure,
                }));
                return;
            }
        };
        let mut topics = Vec::new();
        for config in configs {
            if let Some(topic) = self.new_topic(&config) {
                let creation = self.discovery.creating.entry(config.topic).or_default();
                creation.is_asked = true;
                creation.retry_at = None;
                topics.push(topic);
            }
        }
        if topics.is_empty() {
            // None of them is there any more; the next metadata tells.
            self.discovery
                .refresh(Side::Source, now + limits::BACKOFF_MAX);
        } else {
            actions.push(Action::CreateTopics(topics));
        }
    }

    fn new_topic(&self, config: &TopicConfig) -> Option<NewTopic> {
        let options = &self.options;
        let source = self
            .discovery
            .source
            .view
            .as_ref()?
            .topics
            .get(&config.topic)?;
        let is_copied = |entry: &&ConfigEntry| {
            let origin = match entry.origin {
                ConfigOrigin::Set => true,
                ConfigOrigin::StaticBroker => false,
                ConfigOrigin::Default => options.copies_source_defaults,
            };
            let settable = !entry.is_read_only && !entry.is_sensitive;
            // A property that the list cannot decide about is left out, as the safer of two guesses.
            origin && settable && options.properties.is_copied(&entry.name).unwrap_or(false)
        };
        let configs = config.entries.iter().filter(is_copied);
        Some(NewTopic {
            name: options
                .policy
                .remote_topic(&options.source_alias, &config.topic)
                .into(),
            partition_count: i32::try_from(source.partitions.len()).ok()?,
            replication_factor: options.replication_factor.unwrap_or(-1),
            configs: configs
                .filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?)))
                .collect(),
        })
    }

    pub(super) fn topics_created(
        &mut self,
        now: Instant,
        results: Vec<(Arc<str>, Result<(), Failure>)>,
        actions: &mut Vec<Action>,
    ) {
        let retry_at = now + limits::HALT_RETRY.min(self.options.discovery_interval);
        for (name, result) in results {
            let source_topic = self.source_topic_of(&name);
            let partition_count = source_topic
                .as_ref()
                .and_then(|topic| self.discovery.source.view.as_ref()?.topics.get(topic))
                .map_or(self.options.offsets_topic.partition_count, |view| {
                    i32::try_from(view.partitions.len()).unwrap_or(i32::MAX)
                });
            let creation = match source_topic {
                Some(topic) => self.discovery.creating.entry(topic).or_default(),
                None => &mut self.discovery.offsets_topic,
            };
            creation.is_asked = false;
            match result {
                // Somebody else was faster: that is as good.
                Err(Failure::Refused(ErrorCode::TOPIC_ALREADY_EXISTS, _)) => {
                    creation.retry_at = Some(retry_at);
                }
                Ok(()) => {
                    creation.retry_at = Some(retry_at);
                    creation.is_reported = false;
                    let remote_topic = name;
                    actions.push(Action::Report(Notice::TopicCreated {
                        remote_topic,
                        partition_count,
                    }));
                }
                Err(failure) => {
                    creation.retry_at = Some(retry_at);
                    if !std::mem::replace(&mut creation.is_reported, true) {
                        let remote_topic = name;
                        actions.push(Action::Report(Notice::TopicNotCreated {
                            remote_topic,
                            failure,
                        }));
                    }
                }
            }
        }
        self.discovery
            .refresh(Side::Target, now + limits::CREATION_WAIT);
    }

    fn source_topic_of(&self, remote_topic: &str) -> Option<Arc<str>> {
        let options = &self.options;
        let source = self.discovery.source.view.as_ref()?;
        let upstream = options.policy.upstream_topic(remote_topic)?;
        let (topic, _) = source.topics.get_key_value(upstream)?;
        (options.policy.remote_topic(&options.source_alias, topic) == remote_topic)
            .then(|| Arc::clone(topic))
    }

    pub(super) fn partitions_added(
        &mut self,
        now: Instant,
        results: Vec<(Arc<str>, Result<(), Failure>)>,
        actions: &mut Vec<Action>,
    ) {
        let retry_at = now + limits::HALT_RETRY.min(self.options.discovery_interval);
        for (remote_topic, result) in results {
            let growth = self
                .discovery
                .growing
                .entry(Arc::clone(&remote_topic))
                .or_default();
            growth.is_asked = false;
            growth.retry_at = Some(retry_at);
            match result {
                Ok(()) => {
                    growth.is_reported = false;
                    actions.push(Action::Report(Notice::PartitionsAdded { remote_topic }));
                }
                Err(failure) if !std::mem::replace(&mut growth.is_reported, true) => {
                    actions.push(Action::Report(Notice::TooFewPartitions {
                        remote_topic,
                        failure,
                    }));
                }
                Err(_) => {}
            }
        }
        self.discovery
            .refresh(Side::Target, now + limits::CREATION_WAIT);
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
        for slot in &mut self.slots {
            let partition = &slot.partition;
            let number = partition.source.partition;
            let on_source = source.topics.get(&partition.source.topic);
            let on_target = target.topics.get(&partition.remote_topic);
            slot.source_leader = leader(on_source, number);
            slot.target_leader = leader(on_target, number);
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
