//! Topic properties: remote topics follow their sources, also after they were created.
//!
//! Both sides are asked and compared, and only what differs is changed, so that a round without news
//! changes nothing and what somebody has set by hand is named when it goes. A property that the target
//! does not know is left out, and said once. Where the value comes from on the source decides, as in
//! MM2: what is set there is set here, what is a mere default there falls back to the target's own
//! (or is set, with `use.defaults.from = source`), and what is in a broker's file there stays as it
//! is here. Source: `MirrorSourceConnector.syncTopicConfigs`, `targetConfig`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Action, ConfigEntry, ConfigOrigin, Failure, Flow, Notice, PerTopicConfig, Side, TopicConfig,
    event::wait_for,
    limits,
    retry::{Attempts, Remedy},
};
use crate::policy::PropertyFilter;

/// One property of a remote topic that is to be another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its name.
    pub name: String,
    /// What it becomes; `None` lets the target's own default hold.
    pub value: Option<String>,
    /// What it was.
    pub former: Option<String>,
}

/// Remote topics and what is to change of them.
pub type ConfigChanges = Vec<(Arc<str>, Vec<ConfigChange>)>;

/// Where a round is, and which topics it has not come to yet: source topic and remote topic.
#[derive(Debug)]
enum Stage {
    Idle,
    AskingSource(Pairs),
    AskingTarget(BTreeMap<Arc<str>, TopicConfig>, Pairs),
    Altering(ConfigChanges, Pairs),
}

type Pairs = Vec<(Arc<str>, Arc<str>)>;

/// What a flow knows of its topics' properties.
#[derive(Debug)]
pub(super) struct TopicConfigs {
    interval: Duration,
    stage: Stage,
    next_at: Instant,
    attempts: Attempts,
    /// Whether the target cannot change single properties (brokers before 2.3).
    is_unsupported: bool,
    /// Properties that the target does not know, and remote topics that it does not let be changed;
    /// all of them have been told of.
    unknown: BTreeSet<String>,
    refused: BTreeSet<Arc<str>>,
}

impl TopicConfigs {
    pub(super) const fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            stage: Stage::Idle,
            next_at: now,
            attempts: Attempts::new(),
            is_unsupported: false,
            unknown: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_idle = matches!(self.stage, Stage::Idle) && !self.is_unsupported;
        let until = self.attempts.until();
        is_idle.then(|| until.map_or(self.next_at, |until| until.max(self.next_at)))
    }

    /// Ends a round that failed; what is new to the operator.
    fn fail(&mut self, now: Instant, failure: Failure) -> Option<Failure> {
        self.stage = Stage::Idle;
        // What may pass is tried again as soon as the wait for it is over.
        self.next_at = if failure.remedy() == Remedy::Halt {
            now + self.interval
        } else {
            now
        };
        self.attempts.fail(now, failure)
    }
}

/// What is to change of a remote topic, and which properties it does not know.
fn compare(
    source: &TopicConfig,
    target: &TopicConfig,
    properties: &PropertyFilter,
    copies_defaults: bool,
) -> (Vec<ConfigChange>, Vec<String>) {
    let known: BTreeMap<&str, &ConfigEntry> = target
        .entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry))
        .collect();
    let (mut changes, mut unknown) = (Vec::new(), Vec::new());
    for entry in &source.entries {
        // A property that the list cannot decide about is left out, as the safer of two guesses.
        let is_copied = properties.is_copied(&entry.name).unwrap_or(false);
        if entry.is_read_only || entry.is_sensitive || !is_copied {
            continue;
        }
        let is_set = match entry.origin {
            ConfigOrigin::Topic | ConfigOrigin::DynamicBroker => true,
            ConfigOrigin::StaticBroker => continue,
            ConfigOrigin::Default => copies_defaults,
        };
        let Some(present) = known.get(entry.name.as_str()) else {
            if is_set {
                unknown.push(entry.name.clone());
            }
            continue;
        };
        let differs = if is_set {
            entry.value.is_some() && entry.value != present.value
        } else {
            present.origin == ConfigOrigin::Topic
        };
        if differs {
            changes.push(ConfigChange {
                name: entry.name.clone(),
                value: entry.value.clone().filter(|_| is_set),
                former: present.value.clone(),
            });
        }
    }
    (changes, unknown)
}

impl Flow {
    pub(super) fn topic_configs_deadline(&self) -> Option<Instant> {
        let configs = self.topic_configs.as_ref();
        let has_topics = self.drain.is_none() && !self.started_topics.is_empty();
        configs
            .filter(|_| has_topics)
            .and_then(TopicConfigs::deadline)
    }

    pub(super) fn schedule_topic_configs(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.topic_configs_deadline().is_none_or(|at| at > now) {
            return;
        }
        let pairs: BTreeSet<(Arc<str>, Arc<str>)> = self
            .slots
            .iter()
            .map(|slot| {
                let partition = &slot.partition;
                let source = Arc::clone(&partition.source.topic);
                (source, Arc::clone(&partition.remote_topic))
            })
            .collect();
        if let Some(configs) = &mut self.topic_configs {
            configs.next_at = now + configs.interval;
        }
        self.ask_topic_configs(pairs.into_iter().collect(), actions);
    }

    /// Goes on with the next topics, or ends the round.
    fn ask_topic_configs(&mut self, rest: Pairs, actions: &mut Vec<Action>) {
        let Some(configs) = &mut self.topic_configs else {
            return;
        };
        if rest.is_empty() {
            configs.stage = Stage::Idle;
            configs.attempts.succeed();
            return;
        }
        let first = rest.len().saturating_sub(limits::TOPICS_PER_REQUEST);
        let topics = rest[first..].iter().map(|(topic, _)| Arc::clone(topic));
        actions.push(Action::AskTopicConfigs {
            side: Side::Source,
            topics: topics.collect(),
        });
        configs.stage = Stage::AskingSource(rest);
    }

    pub(super) fn topic_configs(
        &mut self,
        now: Instant,
        side: Side,
        result: Result<PerTopicConfig, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(configs) = &mut self.topic_configs else {
            return;
        };
        let found = match result {
            Ok(found) => found,
            Err(failure) => {
                let news = configs.fail(now, failure);
                return wait_for(side, "the configuration of its topics", news, actions);
            }
        };
        // A topic that may not be described is left as it is.
        let found = found.into_iter();
        let mut found: BTreeMap<Arc<str>, TopicConfig> = found
            .filter_map(|(topic, config)| Some((topic, config.ok()?)))
            .collect();
        match (side, std::mem::replace(&mut configs.stage, Stage::Idle)) {
            (Side::Source, Stage::AskingSource(mut rest)) => {
                let first = rest.len().saturating_sub(limits::TOPICS_PER_REQUEST);
                let asked = rest.split_off(first);
                let by_remote: BTreeMap<Arc<str>, TopicConfig> = asked
                    .into_iter()
                    .filter_map(|(topic, remote)| Some((remote, found.remove(&topic)?)))
                    .collect();
                let topics = by_remote.keys().map(Arc::clone).collect();
                configs.stage = Stage::AskingTarget(by_remote, rest);
                let side = Side::Target;
                actions.push(Action::AskTopicConfigs { side, topics });
            }
            (Side::Target, Stage::AskingTarget(sources, rest)) => {
                self.alter_topic_configs(&sources, &found, rest, actions);
            }
            (_, stage) => configs.stage = stage,
        }
    }

    fn alter_topic_configs(
        &mut self,
        sources: &BTreeMap<Arc<str>, TopicConfig>,
        targets: &BTreeMap<Arc<str>, TopicConfig>,
        rest: Pairs,
        actions: &mut Vec<Action>,
    ) {
        let mut wanted = ConfigChanges::new();
        let mut strange = BTreeSet::new();
        for (remote_topic, target) in targets {
            let Some(source) = sources.get(remote_topic) else {
                continue;
            };
            let options = &self.options;
            let copies_defaults = options.copies_source_defaults;
            let (changes, unknown) = compare(source, target, &options.properties, copies_defaults);
            strange.extend(unknown);
            if !changes.is_empty() {
                wanted.push((Arc::clone(remote_topic), changes));
            }
        }
        let Some(configs) = &mut self.topic_configs else {
            return;
        };
        for name in strange {
            if configs.unknown.insert(name.clone()) {
                actions.push(Action::Report(Notice::PropertyUnknown { name }));
            }
        }
        if wanted.is_empty() {
            return self.ask_topic_configs(rest, actions);
        }
        configs.stage = Stage::Altering(wanted.clone(), rest);
        actions.push(Action::AlterTopicConfigs(wanted));
    }

    pub(super) fn topic_configs_altered(
        &mut self,
        now: Instant,
        results: Vec<(Arc<str>, Result<(), Failure>)>,
        actions: &mut Vec<Action>,
    ) {
        let Some(configs) = &mut self.topic_configs else {
            return;
        };
        let Stage::Altering(wanted, rest) = std::mem::replace(&mut configs.stage, Stage::Idle)
        else {
            return;
        };
        let mut wanted: BTreeMap<Arc<str>, Vec<ConfigChange>> = wanted.into_iter().collect();
        for (remote_topic, result) in results {
            let Some(changes) = wanted.remove(&remote_topic) else {
                continue;
            };
            match result {
                Ok(()) => {
                    configs.refused.remove(&remote_topic);
                    actions.push(Action::Report(Notice::TopicConfigChanged {
                        remote_topic,
                        changes,
                    }));
                }
                Err(failure @ Failure::Unsupported(_)) => {
                    configs.is_unsupported = true;
                    let news = configs.fail(now, failure);
                    let purpose = "changing topic properties, which is given up";
                    return wait_for(Side::Target, purpose, news, actions);
                }
                Err(failure) if failure.remedy() == Remedy::Halt => {
                    if configs.refused.insert(Arc::clone(&remote_topic)) {
                        actions.push(Action::Report(Notice::TopicConfigRefused {
                            remote_topic,
                            failure,
                        }));
                    }
                }
                Err(failure) => {
                    let news = configs.fail(now, failure);
                    return wait_for(Side::Target, "changing topic properties", news, actions);
                }
            }
        }
        self.ask_topic_configs(rest, actions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::NameFilter;

    fn config(entries: &[(&str, Option<&str>, ConfigOrigin)]) -> TopicConfig {
        let entries = entries.iter().map(|(name, value, origin)| ConfigEntry {
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
            origin: *origin,
            is_read_only: false,
            is_sensitive: false,
        });
        TopicConfig {
            topic: Arc::from("t"),
            entries: entries.collect(),
        }
    }

    fn properties() -> PropertyFilter {
        PropertyFilter {
            exclude: NameFilter::new(&["delete\\.retention\\..*"]).unwrap(),
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table of cases")]
    fn where_a_value_comes_from_on_the_source_decides_what_becomes_of_the_targets() {
        use ConfigOrigin::{Default, DynamicBroker, StaticBroker, Topic};
        const NAME: &str = "retention.bytes";
        let set = |value: &str| Some(Some(value.to_owned()));
        let deleted = Some(None);
        let cases = [
            (
                "set on the topic",
                (Topic, "1"),
                (Topic, "2"),
                set("1"),
                set("1"),
            ),
            ("set, and the same", (Topic, "1"), (Topic, "1"), None, None),
            (
                "set to the target's default",
                (Topic, "1"),
                (Default, "1"),
                None,
                None,
            ),
            (
                "set, new",
                (Topic, "1"),
                (Default, "-1"),
                set("1"),
                set("1"),
            ),
            (
                "set for all topics",
                (DynamicBroker, "1"),
                (Topic, "2"),
                set("1"),
                set("1"),
            ),
            (
                "in a broker's file",
                (StaticBroker, "1"),
                (Topic, "2"),
                None,
                None,
            ),
            (
                "a default",
                (Default, "-1"),
                (Topic, "2"),
                deleted.clone(),
                set("-1"),
            ),
            (
                "a default on both",
                (Default, "-1"),
                (Default, "-1"),
                None,
                None,
            ),
            (
                "another default",
                (Default, "-1"),
                (Default, "5"),
                None,
                set("-1"),
            ),
            (
                "set on the target's brokers",
                (Default, "-1"),
                (DynamicBroker, "5"),
                None,
                set("-1"),
            ),
        ];
        for (what, source, target, expected, with_defaults) in cases {
            let source = config(&[(NAME, Some(source.1), source.0)]);
            let target = config(&[(NAME, Some(target.1), target.0)]);
            for (copies_defaults, expected) in [(false, &expected), (true, &with_defaults)] {
                let (changes, unknown) = compare(&source, &target, &properties(), copies_defaults);
                let found = changes.first().map(|change| change.value.clone());
                assert_eq!(&found, expected, "{what}, {copies_defaults}");
                assert_eq!(unknown, Vec::<String>::new());
            }
        }
    }

    #[test]
    fn what_is_excluded_hidden_fixed_or_unknown_stays() {
        use ConfigOrigin::{Default, Topic};
        let mut source = config(&[
            ("delete.retention.ms", Some("1"), Topic),
            ("secret", None, Topic),
            ("fixed", Some("1"), Topic),
            ("new.in.5.0", Some("1"), Topic),
            ("also.new", Some("1"), Default),
        ]);
        source.entries[1].is_sensitive = true;
        source.entries[2].is_read_only = true;
        let target = config(&[
            ("delete.retention.ms", Some("2"), Topic),
            ("secret", Some("2"), Topic),
            ("fixed", Some("2"), Topic),
        ]);
        let (changes, unknown) = compare(&source, &target, &properties(), false);
        assert_eq!(
            (changes, unknown),
            (vec![], vec![String::from("new.in.5.0")])
        );
    }
}
