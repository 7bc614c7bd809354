//! What the target lacks: its topics are created, and they grow with their sources.
//!
//! Everything here is known by the name that it has on the target, because that is what answers
//! say. Whether something was created is seen in metadata, never believed of an answer alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use kmirror_protocol::ErrorCode;

use super::{ConfigEntry, ConfigOrigin, NewTopic, TopicConfig};
use crate::flow::{
    Action, Failure, Flow, Notice, OffsetsTopic, Side, limits,
    retry::{Backoff, Remedy},
};

/// What the target lacks, as far as something is done about it.
#[derive(Debug)]
pub(super) struct Missing {
    /// Source topics whose configuration is being asked for.
    asking_configs: Vec<Arc<str>>,
    /// Topics in the next such question: fewer after a refusal, until it is clear whose it was.
    config_topics_max: usize,
    config_failures: Backoff,
    /// Remote topics, and the offsets topic, that are being created, or were refused and wait.
    creations: BTreeMap<Arc<str>, Creation>,
    /// Remote topics that are being given more partitions, or were refused and wait.
    growths: BTreeMap<Arc<str>, Creation>,
}

/// The creation of one topic, or its growth, until metadata shows it.
#[derive(Debug, Default)]
struct Creation {
    is_asked: bool,
    is_done: bool,
    /// The target has said before that it exists, and still does not show it.
    is_hidden: bool,
    retry_at: Option<Instant>,
    failures: Backoff,
    is_reported: bool,
    partition_count: i32,
}

impl Creation {
    fn is_due(&self, now: Instant) -> bool {
        !self.is_asked && self.retry_at.is_none_or(|at| at <= now)
    }

    const fn asked(&mut self) {
        self.is_asked = true;
        self.is_done = false;
    }

    /// Takes the target's answer; `wait` is how long a refusal lasts that does not pass by itself.
    /// Returns what to tell the operator, and that only once.
    fn answered(
        &mut self,
        now: Instant,
        wait: std::time::Duration,
        result: Result<(), Failure>,
    ) -> Option<Result<(), Failure>> {
        self.is_asked = false;
        self.retry_at = Some(now + wait);
        let failure = match result {
            Ok(()) => {
                self.is_done = true;
                return Some(Ok(()));
            }
            // Somebody else was faster, or an answer got lost: that is as good, unless the topic
            // stays out of sight because this client may not describe it.
            Err(Failure::Refused(
                ErrorCode::TOPIC_ALREADY_EXISTS | ErrorCode::INVALID_PARTITIONS,
                _,
            )) if !self.is_hidden => {
                self.is_done = true;
                self.is_hidden = true;
                return None;
            }
            Err(failure) => failure,
        };
        if matches!(failure.remedy(), Remedy::Retry | Remedy::RefreshMetadata) {
            self.retry_at = Some(self.failures.fail(now, 0));
        }
        (!std::mem::replace(&mut self.is_reported, true)).then_some(Err(failure))
    }
}

impl Missing {
    pub(super) const fn new() -> Self {
        Self {
            asking_configs: Vec::new(),
            config_topics_max: limits::TOPICS_PER_REQUEST,
            config_failures: Backoff::new(),
            creations: BTreeMap::new(),
            growths: BTreeMap::new(),
        }
    }

    /// Whether the target has said yes to something that its metadata does not show yet.
    pub(super) fn is_any_expected(&self) -> bool {
        let mut changes = self.creations.values().chain(self.growths.values());
        changes.any(|change| change.is_done)
    }

    /// When something that failed is tried again.
    pub(super) fn retry_at(&self, side: Side) -> Option<Instant> {
        let changes = self.creations.values().chain(self.growths.values());
        match side {
            Side::Source => self.config_failures.until(),
            Side::Target => changes
                .filter(|change| !change.is_asked)
                .filter_map(|change| change.retry_at)
                .min(),
        }
    }
}

/// The wanted topics that the target has not, or not with as many partitions.
#[derive(Debug, Default)]
struct Lacking {
    /// Those of kmirror's own.
    internal: Vec<OffsetsTopic>,
    /// Source topic and remote topic.
    topics: Vec<(Arc<str>, Arc<str>)>,
    /// Remote topic and the partitions it should have.
    partitions: Vec<(Arc<str>, i32)>,
}

impl Flow {
    /// Asks for what the target lacks: whole topics, and partitions of topics that grew.
    pub(super) fn request_missing(
        &mut self,
        now: Instant,
        wanted: &[(Arc<str>, Arc<str>)],
        actions: &mut Vec<Action>,
    ) {
        let Some(mut lacking) = self.lacking(wanted) else {
            return;
        };
        let missing = &mut self.discovery.missing;
        let topics: BTreeSet<&str> = lacking.topics.iter().map(|(_, remote)| &**remote).collect();
        missing.creations.retain(|name, creation| {
            let is_lacking = topics.contains(&**name)
                || lacking.internal.iter().any(|topic| topic.name == *name);
            creation.is_asked || is_lacking
        });
        let short: BTreeSet<&str> = lacking.partitions.iter().map(|(name, _)| &**name).collect();
        missing
            .growths
            .retain(|name, growth| growth.is_asked || short.contains(&**name));

        for internal in &lacking.internal {
            let mut topic = NewTopic::compacted(
                Arc::clone(&internal.name),
                internal.partition_count,
                internal.replication_factor,
            );
            topic.configs.extend(internal.properties.iter().cloned());
            let creation = missing
                .creations
                .entry(Arc::clone(&topic.name))
                .or_default();
            if creation.is_due(now) {
                creation.asked();
                creation.partition_count = topic.partition_count;
                actions.push(Action::CreateTopics(vec![topic]));
            }
        }
        lacking.partitions.retain(|(name, _)| {
            let growth = missing.growths.entry(Arc::clone(name)).or_default();
            let is_due = growth.is_due(now);
            if is_due {
                growth.asked();
            }
            is_due
        });
        if !lacking.partitions.is_empty() {
            actions.push(Action::AddPartitions(lacking.partitions));
        }
        self.ask_configs(now, &lacking.topics, actions);
    }

    fn lacking(&self, wanted: &[(Arc<str>, Arc<str>)]) -> Option<Lacking> {
        let (source, target) = self.discovery.views()?;
        let mut lacking = Lacking {
            internal: self
                .internal_topics()
                .filter(|topic| !target.topics.contains_key(&topic.name))
                .cloned()
                .collect(),
            ..Lacking::default()
        };
        for (topic, remote_topic) in wanted {
            let count = source.topics.get(topic)?.partitions.len();
            match target.topics.get(remote_topic) {
                // A remote topic that was once there is not created again behind its owner's back.
                None if self.started_topics.contains(topic) => {}
                None => lacking
                    .topics
                    .push((Arc::clone(topic), Arc::clone(remote_topic))),
                Some(view) if view.partitions.len() < count => {
                    let count = i32::try_from(count).unwrap_or(i32::MAX);
                    lacking.partitions.push((Arc::clone(remote_topic), count));
                }
                Some(_) => {}
            }
        }
        Some(lacking)
    }

    fn ask_configs(
        &mut self,
        now: Instant,
        topics: &[(Arc<str>, Arc<str>)],
        actions: &mut Vec<Action>,
    ) {
        let missing = &mut self.discovery.missing;
        if !missing.asking_configs.is_empty() || missing.config_failures.is_waiting(now) {
            return;
        }
        let due = topics.iter().filter(|(_, remote_topic)| {
            let creation = missing.creations.get(remote_topic);
            creation.is_none_or(|creation| creation.is_due(now))
        });
        let due = due.take(missing.config_topics_max);
        missing.asking_configs = due.map(|(topic, _)| Arc::clone(topic)).collect();
        if !missing.asking_configs.is_empty() {
            actions.push(Action::AskConfigs(missing.asking_configs.clone()));
        }
    }

    pub(in crate::flow) fn configs(
        &mut self,
        now: Instant,
        result: Result<Vec<TopicConfig>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let missing = &mut self.discovery.missing;
        let asked = std::mem::take(&mut missing.asking_configs);
        let configs = match result {
            Ok(configs) => configs,
            Err(failure) => return self.configs_failed(now, &asked, failure, actions),
        };
        missing.config_topics_max = limits::TOPICS_PER_REQUEST;
        missing.config_failures.succeed();
        let mut topics = Vec::new();
        for config in &configs {
            let Some(topic) = self.new_topic(config).filter(|_| self.drain.is_none()) else {
                continue;
            };
            let creations = &mut self.discovery.missing.creations;
            let creation = creations.entry(Arc::clone(&topic.name)).or_default();
            creation.asked();
            creation.partition_count = topic.partition_count;
            topics.push(topic);
        }
        if topics.len() < asked.len() {
            // The others are there no more; the next metadata tells.
            let at = now + limits::BACKOFF_MAX;
            self.discovery.refresh(Side::Source, at);
        }
        if !topics.is_empty() {
            actions.push(Action::CreateTopics(topics));
        }
    }

    /// One topic that may not be described must not keep the others from being created.
    fn configs_failed(
        &mut self,
        now: Instant,
        asked: &[Arc<str>],
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let wait = self.refusal_wait();
        let missing = &mut self.discovery.missing;
        let is_refused = failure.remedy() == Remedy::Halt;
        match asked {
            [topic] if is_refused => {
                let options = &self.options;
                let name = options.policy.remote_topic(&options.source_alias, topic);
                let remote_topic: Arc<str> = Arc::from(name);
                let creations = &mut missing.creations;
                let creation = creations.entry(Arc::clone(&remote_topic)).or_default();
                if let Some(Err(failure)) = creation.answered(now, wait, Err(failure)) {
                    actions.push(Action::Report(Notice::TopicNotCreated {
                        remote_topic,
                        failure,
                    }));
                }
                missing.config_topics_max = limits::TOPICS_PER_REQUEST;
                self.discovery.refresh(Side::Target, now + wait);
                self.compare(now, actions);
            }
            _ if is_refused => {
                missing.config_topics_max = (asked.len() / 2).max(1);
                self.compare(now, actions);
            }
            _ => {
                if missing.config_failures.attempt() == 0 {
                    let (side, purpose) = (Side::Source, "the configuration of its topics");
                    actions.push(Action::Report(Notice::Waiting {
                        side,
                        purpose,
                        failure,
                    }));
                }
                let at = missing.config_failures.fail(now, 0);
                self.discovery.refresh(Side::Source, at);
            }
        }
    }

    /// How long a refusal lasts that only somebody else can take back.
    fn refusal_wait(&self) -> std::time::Duration {
        limits::HALT_RETRY.min(self.options.discovery_interval)
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
                ConfigOrigin::Topic | ConfigOrigin::DynamicBroker => true,
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

    pub(in crate::flow) fn topics_created(
        &mut self,
        now: Instant,
        results: Vec<(Arc<str>, Result<(), Failure>)>,
        actions: &mut Vec<Action>,
    ) {
        let wait = self.refusal_wait();
        let creations = &mut self.discovery.missing.creations;
        for (remote_topic, result) in results {
            let Some(creation) = creations.get_mut(&remote_topic) else {
                continue;
            };
            let partition_count = creation.partition_count;
            let Some(news) = creation.answered(now, wait, result) else {
                continue;
            };
            // Another process was faster, and metadata has been, too.
            let target = self.discovery.target.view.as_ref();
            let is_there = target.is_some_and(|view| view.topics.contains_key(&remote_topic));
            if is_there && news.is_err() {
                continue;
            }
            actions.push(Action::Report(match news {
                Ok(()) => Notice::TopicCreated {
                    remote_topic,
                    partition_count,
                },
                Err(failure) => Notice::TopicNotCreated {
                    remote_topic,
                    failure,
                },
            }));
        }
        self.look_again(now);
    }

    pub(in crate::flow) fn partitions_added(
        &mut self,
        now: Instant,
        results: Vec<(Arc<str>, Result<(), Failure>)>,
        actions: &mut Vec<Action>,
    ) {
        let wait = self.refusal_wait();
        let growths = &mut self.discovery.missing.growths;
        for (remote_topic, result) in results {
            let Some(growth) = growths.get_mut(&remote_topic) else {
                continue;
            };
            let Some(news) = growth.answered(now, wait, result) else {
                continue;
            };
            actions.push(Action::Report(match news {
                Ok(()) => Notice::PartitionsAdded { remote_topic },
                Err(failure) => Notice::TooFewPartitions {
                    remote_topic,
                    failure,
                },
            }));
        }
        self.look_again(now);
    }
}
