//! What the target lacks: its topics are created, and they grow with their sources.

use std::{sync::Arc, time::Instant};

use kmirror_protocol::ErrorCode;

use super::{ClusterView, ConfigEntry, ConfigOrigin, NewTopic, TopicConfig};
use crate::flow::{Action, Failure, Flow, Notice, Side, limits};

impl Flow {
    pub(super) fn ensure_offsets_topic(&mut self, now: Instant, actions: &mut Vec<Action>) {
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

    /// Asks for what the target lacks: whole topics, and partitions of topics that grew.
    pub(super) fn request_missing(
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

    pub(in crate::flow) fn configs(
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

    pub(in crate::flow) fn topics_created(
        &mut self,
        now: Instant,
        results: Vec<(Arc<str>, Result<(), Failure>)>,
        actions: &mut Vec<Action>,
    ) {
        let retry_at = now + limits::HALT_RETRY.min(self.options.discovery_interval);
        for (name, result) in results {
            if result.is_ok() && name == self.options.offsets_topic.name {
                // Nobody has written to a topic that did not exist.
                self.positions.none_stored();
            }
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
            creation.retry_at = Some(retry_at);
            match result {
                // Somebody else was faster: that is as good, unless the topic stays out of sight.
                Err(Failure::Refused(ErrorCode::TOPIC_ALREADY_EXISTS, _)) if !creation.is_done => {
                    creation.is_done = true;
                }
                Ok(()) => {
                    creation.is_done = true;
                    creation.is_reported = false;
                    let remote_topic = name;
                    actions.push(Action::Report(Notice::TopicCreated {
                        remote_topic,
                        partition_count,
                    }));
                }
                Err(failure) => {
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

    /// Asks the target again soon while it does not show what it says is created: a broker answers
    /// before its own metadata has the change.
    pub(super) fn look_again_for_created(&mut self, now: Instant, wanted: &[(Arc<str>, Arc<str>)]) {
        let discovery = &self.discovery;
        let Some((source, target)) = discovery.views() else {
            return;
        };
        let partitions = |view: &ClusterView, topic: &Arc<str>| {
            view.topics
                .get(topic)
                .map_or(0, |view| view.partitions.len())
        };
        let offsets_topic = &self.options.offsets_topic.name;
        let is_hidden = |(topic, remote_topic): &(Arc<str>, Arc<str>)| {
            let (wanted, shown) = (partitions(source, topic), partitions(target, remote_topic));
            let creation = if shown == 0 {
                discovery.creating.get(topic)
            } else {
                discovery.growing.get(remote_topic)
            };
            shown < wanted && creation.is_some_and(|creation| creation.is_done)
        };
        let is_waiting = discovery.offsets_topic.is_done && partitions(target, offsets_topic) == 0
            || wanted.iter().any(is_hidden);
        if is_waiting {
            let look_at = self.discovery.awaited.fail(now, 0);
            self.discovery.refresh(Side::Target, look_at);
        } else {
            self.discovery.awaited.succeed();
        }
    }

    fn source_topic_of(&self, remote_topic: &str) -> Option<Arc<str>> {
        let options = &self.options;
        let source = self.discovery.source.view.as_ref()?;
        let upstream = options.policy.upstream_topic(remote_topic)?;
        let (topic, _) = source.topics.get_key_value(upstream)?;
        (options.policy.remote_topic(&options.source_alias, topic) == remote_topic)
            .then(|| Arc::clone(topic))
    }

    pub(in crate::flow) fn partitions_added(
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
                    growth.is_done = true;
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
}
