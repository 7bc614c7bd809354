//! One flow: from its layers to a validated [`FlowConfig`].

use std::{collections::BTreeMap, time::Duration};

use super::{
    AclsConfig, Adopt, AnchorSpacing, DefaultsFrom, Delivery, FetchLimits, FlowConfig,
    GroupsConfig, HeartbeatConfig, Isolation, Location, OffsetSyncsConfig, OffsetsTopic, OnGap,
    OnRecreated, Transactions,
    error::{Place, Report},
    layers::{Layer, is_well_typed, list_items},
    properties::Entry,
    security,
    settings::{self, Scope, Setting},
};
use crate::policy::{
    self, DEFAULT_SEPARATOR, Hop, NameFilter, PatternError, PolicyKind, PropertyFilter,
    ReplicationPolicy, StartAt, StartRules, TopicFilter, TopicStart, start,
};

const POSITIONS_INTERVAL: &str = "kmirror.positions.interval.ms";

const DEFAULT_POLICY: &str = "org.apache.kafka.connect.mirror.DefaultReplicationPolicy";
const IDENTITY_POLICIES: [&str; 2] = [
    "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
    "io.strimzi.kafka.connect.mirror.IdentityReplicationPolicy",
];

/// Kafka's settings for the same thing: each holds where ours, or the new name, is absent.
#[rustfmt::skip]
const STAND_INS: [(&str, &str, Scope); 8] = [
    ("topics.exclude", "topics.blacklist", Scope::Flow),
    ("config.properties.exclude", "config.properties.blacklist", Scope::Flow),
    ("groups.exclude", "groups.blacklist", Scope::Flow),
    ("kmirror.fetch.max.bytes", "fetch.max.bytes", Scope::Consumer),
    ("kmirror.partition.fetch.max.bytes", "max.partition.fetch.bytes", Scope::Consumer),
    (POSITIONS_INTERVAL, "offset.flush.interval.ms", Scope::Worker),
    ("kmirror.start", "auto.offset.reset", Scope::Consumer),
    ("kmirror.state.topic.replication.factor", "offset.storage.replication.factor", Scope::WorkerShared),
];

/// The layers of one flow.
pub(super) struct Layers<'a> {
    source: &'a str,
    target: &'a str,
    connector: Layer<'a>,
    consumer: Layer<'a>,
    worker: Layer<'a>,
    /// What all clients of each end are told.
    of_source: Layer<'a>,
    of_target: Layer<'a>,
    /// Where the aliases come from.
    clusters: Option<&'a Entry>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(raw: &Layer<'a>, source: &'a str, target: &'a str) -> Self {
        let connector = Layer::connector(raw, source, target);
        Self {
            source,
            target,
            consumer: Layer::source_consumer(&connector),
            connector,
            worker: Layer::worker(raw, target),
            of_source: Layer::cluster(raw, source),
            of_target: Layer::cluster(raw, target),
            clusters: raw.get("clusters"),
        }
    }

    /// Tells whether the flow copies data; `heartbeats` is the process-wide
    /// `emit.heartbeats.enabled`.
    ///
    /// MM2 asks twice: a flow object exists if `A->B.enabled` is exactly `true` or the flow emits
    /// heartbeats; its connectors then work if `enabled`, of the flow or of all, is true.
    pub(super) fn is_enabled(&self, raw: &Layer<'a>, report: &mut Report<'_>) -> bool {
        let (exists, own) = (self.exists(raw), self.own_enabled(raw));
        let works = is_true(self.flow_value("enabled", report));
        if let (true, false, Some(entry)) = (works, exists, own) {
            let problem = "the flow does not run: the value must be exactly true";
            report.notice(Place::of(entry), problem, "remove the blanks after it");
        }
        exists && works
    }

    /// Whether MM2 makes a flow object, whatever that does.
    fn exists(&self, raw: &Layer<'a>) -> bool {
        let is_exactly_true = |entry: &Entry| entry.value.eq_ignore_ascii_case("true");
        let name = "emit.heartbeats.enabled";
        let own = raw.get(&format!("{}->{}.{name}", self.source, self.target));
        let heartbeats = own.or_else(|| raw.get(name));
        self.own_enabled(raw).is_some_and(is_exactly_true) || heartbeats.is_none_or(is_exactly_true)
    }

    fn own_enabled(&self, raw: &Layer<'a>) -> Option<&'a Entry> {
        raw.get(&format!("{}->{}.enabled", self.source, self.target))
    }

    /// The heartbeats of the flow object, enabled or not (`MirrorHeartbeatConnector`).
    pub(super) fn heartbeats(
        &self,
        raw: &Layer<'a>,
        report: &mut Report<'_>,
    ) -> Option<HeartbeatConfig> {
        let emits = is_true(self.flow_value("emit.heartbeats.enabled", report));
        let factor = number(self.flow_value("heartbeats.topic.replication.factor", report));
        let interval = interval(self.flow_value("emit.heartbeats.interval.seconds", report));
        (emits && self.exists(raw)).then(|| HeartbeatConfig {
            source: self.source.to_owned(),
            target: self.target.to_owned(),
            replication_factor: unless_negative(factor),
            interval,
        })
    }

    /// Builds the flow; reports what is wrong with it.
    pub(super) fn read(&self, report: &mut Report<'_>) -> Option<FlowConfig> {
        self.check_connections(report);
        self.check_consumers(report);
        let policy = self.policy(report);
        let topic_filter = self.topic_filter(report);
        let exclude = self.filter("config.properties.exclude", report);
        let fetch = self.fetch(report);
        let offsets_topic = self.offsets_topic(report);
        let factor = number(self.flow_value("replication.factor", report));
        let discovers = is_true(self.flow_value("refresh.topics.enabled", report));
        let discovery = millis(self.flow_value("kmirror.discovery.interval.ms", report));
        let defaults = self.flow_value("use.defaults.from", report);
        let policy = policy?;
        Some(FlowConfig {
            source: self.source.to_owned(),
            target: self.target.to_owned(),
            offset_syncs: self.offset_syncs(&policy, report),
            groups: self.groups(&policy, report),
            topic_configs_interval: self.topic_configs_interval(report),
            acls: self.acls(&policy, report),
            policy,
            topic_filter: topic_filter?,
            property_filter: PropertyFilter { exclude: exclude? },
            use_defaults_from: if defaults == "source" {
                DefaultsFrom::Source
            } else {
                DefaultsFrom::Target
            },
            replication_factor: unless_negative(factor),
            offsets_topic,
            starts: self.starts(report),
            isolation: self.isolation(report),
            fetch,
            discovery_interval: discovers.then_some(discovery),
            positions_interval: self.positions_interval(report),
            delivery: self.delivery(report),
            transactions: self.transactions(report),
            on_gap: self.on_gap(report),
            on_recreated: self.on_recreated(report),
            adopt: self.adopt(report),
            state_replication_factor: self.state_replication_factor(report),
            quiesce: millis(self.flow_value("kmirror.quiesce.ms", report)),
            lease: millis(self.flow_value("kmirror.lease.ms", report)),
            anchors: AnchorSpacing {
                interval: millis(self.flow_value("kmirror.anchor.interval.ms", report)),
                bytes: number(self.flow_value("kmirror.anchor.bytes", report)),
            },
        })
    }

    /// The entry that decides over the setting `name`, and as what setting it is written: the
    /// setting itself, or one of [`STAND_INS`].
    pub(super) fn found(&self, name: &str, scope: Scope) -> Option<(&'a Entry, Setting)> {
        let own =
            |name: &str, scope| Some((self.layer(scope).get(name)?, settings::find(name, scope)?));
        own(name, scope).or_else(|| {
            let (_, other, scope) = stand_in(name)?;
            own(other, scope)
        })
    }

    fn layer(&self, scope: Scope) -> &Layer<'a> {
        match scope {
            Scope::Consumer => &self.consumer,
            Scope::Worker | Scope::WorkerShared => &self.worker,
            _ => &self.connector,
        }
    }

    /// The value where nothing in the file decides over `name`; empty if it has none.
    pub(super) fn default_of(&self, name: &str, scope: Scope) -> String {
        match name {
            "offset.storage.topic" => policy::source_offsets_topic(self.source),
            "kmirror.transactional.id" => format!("kmirror-{}-{}", self.source, self.target),
            // The table shows defaults as they are written in a file, where backslashes are doubled.
            _ => table_default(name, scope).replace(r"\\", r"\"),
        }
    }

    /// The value of a setting, if it is set and well-typed; the latter is reported.
    fn set_value(&self, name: &str, scope: Scope, report: &mut Report<'_>) -> Option<&'a str> {
        let (entry, setting) = self.found(name, scope)?;
        is_well_typed(entry, setting, report).then(|| entry.value.trim())
    }

    fn value(&self, name: &str, scope: Scope, report: &mut Report<'_>) -> &'a str {
        let value = self.set_value(name, scope, report);
        value.unwrap_or_else(|| table_default(name, scope))
    }

    fn flow_value(&self, name: &str, report: &mut Report<'_>) -> &'a str {
        self.value(name, Scope::Flow, report)
    }

    fn policy(&self, report: &mut Report<'_>) -> Option<ReplicationPolicy> {
        let class = self.flow_value("replication.policy.class", report);
        let policy = if class == DEFAULT_POLICY {
            ReplicationPolicy::prefixing()
        } else if IDENTITY_POLICIES.contains(&class) {
            ReplicationPolicy::identity(Some(self.source))
        } else {
            let entry = self.connector.get("replication.policy.class")?;
            let problem = "this replication policy is not known, and Java classes cannot be loaded";
            let hint = format!("use {DEFAULT_POLICY} or {}", IDENTITY_POLICIES[0]);
            report.error(Place::of(entry), problem, &hint);
            return None;
        };
        let entry = self.connector.get("replication.policy.separator");
        // Policies get the value as it stands in the file, blanks included.
        let separator = entry.map_or(DEFAULT_SEPARATOR, |entry| entry.value.as_str());
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(entry) = entry
            && (separator.is_empty() || !separator.chars().all(is_legal))
        {
            let shown = entry.shown(format!("{separator:?}"));
            let problem = format!("{shown} cannot stand in a topic name");
            let hint = "use letters, digits, '.', '_' or '-', and no blank after them";
            report.error(Place::of(entry), problem, hint);
            return None;
        }
        let internal = "replication.policy.internal.topic.separator.enabled";
        let internal_too = is_true(self.flow_value(internal, report));
        let policy = policy.with_separator(separator, internal_too);
        self.check_alias(&policy, entry, report);
        Some(policy)
    }

    /// Under the default policy a name is cut at the first separator, so an alias that contains
    /// it never comes back whole: MM2 tries to create such topics again for ever.
    fn check_alias(
        &self,
        policy: &ReplicationPolicy,
        entry: Option<&Entry>,
        report: &mut Report<'_>,
    ) {
        let separator = policy.separator();
        if policy.kind() == PolicyKind::Default && self.source.contains(separator) {
            let place = entry.or(self.clusters).map_or(Place::FILE, Place::of);
            let source = self.source;
            let shown = format!("{separator:?}");
            let shown = match entry {
                Some(entry) => entry.shown(shown),
                None => shown,
            };
            let problem = format!("the alias {source:?} contains the separator {shown}");
            report.error(
                place,
                problem,
                "rename the alias or set replication.policy.separator",
            );
        }
    }

    fn topic_filter(&self, report: &mut Report<'_>) -> Option<TopicFilter> {
        let include = self.filter("topics", report);
        let exclude = self.filter("topics.exclude", report);
        let heartbeats = is_true(self.flow_value("heartbeats.replication.enabled", report));
        Some(TopicFilter {
            include: include?,
            exclude: exclude?,
            heartbeats_replication_enabled: heartbeats,
            hops: Vec::new(),
        })
    }

    /// This flow as one on which the topics of others may come back, if it keeps names.
    pub(super) fn hop(&self, report: &mut Report<'_>) -> Option<Hop> {
        if self.policy(report)?.kind() != PolicyKind::Identity {
            return None;
        }
        let filter = self.topic_filter(report)?;
        Some(Hop {
            source: self.source.to_owned(),
            target: self.target.to_owned(),
            include: filter.include,
            exclude: filter.exclude,
        })
    }

    fn filter(&self, name: &str, report: &mut Report<'_>) -> Option<NameFilter> {
        let entry = self.found(name, Scope::Flow).map(|(entry, _)| entry);
        let default = self.default_of(name, Scope::Flow);
        let items = list_items(entry.map_or(&default, |entry| &entry.value));
        let texts: Vec<&str> = items.iter().map(|&(_, text)| text).collect();
        match (NameFilter::new(&texts), entry) {
            (Ok(filter), _) => Some(filter),
            (Err(error), Some(entry)) => {
                let start = items.get(error.item).map_or(0, |&(start, _)| start);
                let place = Place::inside(entry, start + error.character - 1);
                report.error(place, pattern_problem(entry, &error), pattern_hint(entry));
                None
            }
            (Err(error), None) => unreachable!("the default of {name}: {error}"),
        }
    }

    fn fetch(&self, report: &mut Report<'_>) -> FetchLimits {
        let mut bytes = |name| number::<i32>(self.flow_value(name, report)).max(1);
        let bytes_max = bytes("kmirror.fetch.max.bytes");
        let partition_bytes_max = bytes("kmirror.partition.fetch.max.bytes");
        let connections = self.flow_value("kmirror.fetch.connections.per.broker", report);
        FetchLimits {
            bytes_max,
            partition_bytes_max,
            connections_per_broker: number(connections),
        }
    }

    fn offsets_topic(&self, report: &mut Report<'_>) -> OffsetsTopic {
        let scope = Scope::WorkerShared;
        let topic = "offset.storage.topic";
        let name = self.set_value(topic, scope, report);
        let mut read = |name| self.value(name, scope, report);
        let partitions = number(read("offset.storage.partitions"));
        let factor = number(read("offset.storage.replication.factor"));
        OffsetsTopic {
            name: name.map_or_else(|| self.default_of(topic, scope), str::to_owned),
            partitions: (partitions > 0).then_some(partitions),
            replication_factor: unless_negative(factor),
            properties: self.offsets_topic_properties(),
        }
    }

    /// What is left under `offset.storage.` (`DistributedConfig.offsetStorageTopicSettings`).
    fn offsets_topic_properties(&self) -> BTreeMap<String, String> {
        let named = self.family("offset.storage.*", Scope::WorkerShared);
        let named = named.filter_map(|(name, entry)| {
            let property = name.strip_prefix("offset.storage.")?;
            Some((property.to_owned(), entry.value.clone()))
        });
        named.collect()
    }

    /// The entries that decide over the settings of a family, by their names.
    pub(super) fn family(
        &self,
        family: &'static str,
        scope: Scope,
    ) -> impl Iterator<Item = (&str, &'a Entry)> {
        let named = self.layer(scope).iter();
        named.filter(move |(name, _)| {
            settings::find(name, scope).is_some_and(|setting| setting.name == family)
        })
    }

    /// The topic is named after the cluster that it is not on.
    fn offset_syncs(
        &self,
        policy: &ReplicationPolicy,
        report: &mut Report<'_>,
    ) -> Option<OffsetSyncsConfig> {
        let emits = is_true(self.flow_value("emit.offset-syncs.enabled", report));
        let location = self.flow_value("offset-syncs.topic.location", report);
        let factor = self.flow_value("offset-syncs.topic.replication.factor", report);
        let (location, other) = match location {
            "target" => (Location::Target, self.source),
            _ => (Location::Source, self.target),
        };
        emits.then(|| OffsetSyncsConfig {
            location,
            topic: policy.offset_syncs_topic(other),
            replication_factor: unless_negative(number(factor)),
        })
    }

    fn topic_configs_interval(&self, report: &mut Report<'_>) -> Option<Duration> {
        let syncs = is_true(self.flow_value("sync.topic.configs.enabled", report));
        let seconds = self.flow_value("sync.topic.configs.interval.seconds", report);
        syncs.then(|| interval(seconds))
    }

    /// Where topics keep their names, an ACL that the source lacks may well be the target's own.
    fn acls(&self, policy: &ReplicationPolicy, report: &mut Report<'_>) -> Option<AclsConfig> {
        let syncs = is_true(self.flow_value("sync.topic.acls.enabled", report));
        let seconds = self.flow_value("sync.topic.acls.interval.seconds", report);
        let mut is_on = |name| is_true(self.flow_value(name, report));
        let acls = AclsConfig {
            interval: interval(seconds),
            prefixed: is_on("kmirror.sync.acls.prefixed"),
            groups: is_on("kmirror.sync.acls.groups"),
            remove: is_on("kmirror.sync.acls.remove"),
        };
        if syncs && acls.remove && policy.kind() == PolicyKind::Identity {
            let entry = self.connector.get("kmirror.sync.acls.remove");
            let problem = "under this policy the target's own ACLs look like copied ones, and would be removed";
            let hint = "set it to false for this flow, and remove by hand what is to go";
            report.error(entry.map_or(Place::FILE, Place::of), problem, hint);
        }
        syncs.then_some(acls)
    }

    /// Groups are taken along only where checkpoints are published (`MirrorCheckpointConnector`).
    fn groups(&self, policy: &ReplicationPolicy, report: &mut Report<'_>) -> Option<GroupsConfig> {
        let include = self.filter("groups", report);
        let exclude = self.filter("groups.exclude", report);
        let emits = is_true(self.flow_value("emit.checkpoints.enabled", report));
        let factor = self.flow_value("checkpoints.topic.replication.factor", report);
        let syncs = is_true(self.flow_value("sync.group.offsets.enabled", report));
        let checkpoints_interval = self.flow_value("emit.checkpoints.interval.seconds", report);
        let sync_interval = self.flow_value("sync.group.offsets.interval.seconds", report);
        let (include, exclude) = (include?, exclude?);
        emits.then(|| GroupsConfig {
            include,
            exclude,
            checkpoints_topic: policy.checkpoints_topic(self.source),
            replication_factor: unless_negative(number(factor)),
            checkpoints_interval: interval(checkpoints_interval),
            sync_interval: syncs.then(|| interval(sync_interval)),
        })
    }

    /// Where partitions begin: `auto.offset.reset` unless ours says otherwise, and where a group that
    /// is named has committed nothing.
    fn starts(&self, report: &mut Report<'_>) -> StartRules {
        let reset = self.value("auto.offset.reset", Scope::Consumer, report);
        let reset = StartAt::parse(reset, &StartAt::Earliest).unwrap_or_default();
        let own = self.set_value("kmirror.start", Scope::Flow, report);
        let own = own.and_then(|value| StartAt::parse(value, &reset).ok());
        let default = own.unwrap_or(reset);
        StartRules {
            topics: self.topic_starts(&default, report),
            default,
        }
    }

    fn topic_starts(&self, default: &StartAt, report: &mut Report<'_>) -> Vec<TopicStart> {
        let found = self.found("kmirror.start.topics", Scope::Flow);
        let Some((entry, _)) = found else {
            return Vec::new();
        };
        let mut rules = Vec::new();
        for (index, (at, item)) in list_items(&entry.value).into_iter().enumerate() {
            let rule = start::split_rule(item).map_err(str::to_owned);
            let rule = rule.and_then(|(pattern, partition, value)| {
                let problem = |error: PatternError| match entry.references() {
                    [] => format!("the topics are not understood: {error}"),
                    _ => String::from("the topics are not understood"),
                };
                Ok(TopicStart {
                    topics: NameFilter::new(&[pattern]).map_err(problem)?,
                    partition,
                    at: StartAt::parse(value, default)?,
                })
            });
            match rule {
                Ok(rule) => rules.push(rule),
                Err(problem) => {
                    let shown = entry.shown_item(index, item);
                    let hint = "write TOPIC=START or TOPIC:PARTITION=START between commas";
                    let place = Place::inside(entry, at);
                    report.error(place, format!("{shown}: {problem}"), hint);
                }
            }
        }
        rules
    }

    fn isolation(&self, report: &mut Report<'_>) -> Isolation {
        if self.value("isolation.level", Scope::Consumer, report) == "read_uncommitted" {
            Isolation::ReadUncommitted
        } else {
            Isolation::ReadCommitted
        }
    }

    fn positions_interval(&self, report: &mut Report<'_>) -> Duration {
        millis(self.flow_value(POSITIONS_INTERVAL, report))
    }

    /// MM2's `exactly.once.source.support` does not count: each of its values asks for no more than
    /// the default gives, and what it means by it has a name of its own here.
    fn delivery(&self, report: &mut Report<'_>) -> Delivery {
        match self.flow_value("kmirror.delivery", report) {
            "at-least-once" => Delivery::AtLeastOnce,
            "transactional" => Delivery::Transactional,
            _ => Delivery::ExactlyOnce,
        }
    }

    /// A transaction is committed whenever positions are stored, and must last until then.
    fn transactions(&self, report: &mut Report<'_>) -> Transactions {
        let id = "kmirror.transactional.id";
        let own = self.set_value(id, Scope::Flow, report);
        let name = "kmirror.transaction.timeout.ms";
        let timeout = millis(self.flow_value(name, report));
        let interval = self.positions_interval(report);
        if self.delivery(report) == Delivery::Transactional && timeout < interval * 2 {
            let place = self.connector.get(name).map_or(Place::FILE, Place::of);
            let shown = format!("{} ms", interval.as_millis());
            let shown = match self.found(POSITIONS_INTERVAL, Scope::Flow) {
                Some((entry, _)) => entry.shown(shown),
                None => shown,
            };
            let problem = format!("a transaction lasts until positions are stored, {shown}");
            let hint = "make it at least twice as long as kmirror.positions.interval.ms";
            report.error(place, problem, hint);
        }
        Transactions {
            transactional_id: own.map_or_else(|| self.default_of(id, Scope::Flow), str::to_owned),
            timeout,
        }
    }

    fn on_gap(&self, report: &mut Report<'_>) -> OnGap {
        match self.flow_value("kmirror.on-gap", report) {
            "halt" => OnGap::Halt,
            _ => OnGap::Continue,
        }
    }

    fn on_recreated(&self, report: &mut Report<'_>) -> OnRecreated {
        match self.flow_value("kmirror.on-recreated", report) {
            "append" => OnRecreated::Append,
            _ => OnRecreated::Halt,
        }
    }

    fn adopt(&self, report: &mut Report<'_>) -> Adopt {
        match self.flow_value("kmirror.adopt", report) {
            "prove" => Adopt::Prove,
            "stored" => Adopt::Stored,
            "earliest" => Adopt::Earliest,
            "latest" => Adopt::Latest,
            _ => Adopt::Ask,
        }
    }

    fn state_replication_factor(&self, report: &mut Report<'_>) -> Option<i16> {
        let factor = self.flow_value("kmirror.state.topic.replication.factor", report);
        unless_negative(number(factor))
    }

    /// `A->B.consumer.x` yields to `A.consumer.x`, which reads like the more general one.
    fn check_consumers(&self, report: &mut Report<'_>) {
        for (name, entry) in self.connector.iter() {
            if name.starts_with("consumer.")
                && let Some(winner) = self.connector.get(&format!("source.{name}"))
            {
                let (key, line) = (&winner.key, winner.line);
                let problem = format!("has no effect: {key} in line {line} wins");
                let hint = format!("write {}->{}.source.{name}", self.source, self.target);
                report.notice(Place::of(entry), problem, &hint);
            }
        }
    }

    /// All clients of a cluster are one here, which connects as the cluster's settings say.
    fn check_connections(&self, report: &mut Report<'_>) {
        for (key, entry) in self.connector.iter() {
            let Some((is_target, name)) = of_one_client(key) else {
                continue;
            };
            let (alias, layer) = if is_target {
                (self.target, &self.of_target)
            } else {
                (self.source, &self.of_source)
            };
            let own = security::of_cluster(layer, name);
            let is_same = |own: &Entry| own.value.trim() == entry.value.trim();
            if own.is_some_and(is_same) {
                continue;
            }
            let problem = "one client of a cluster cannot connect otherwise than the others";
            let hint = format!("write {alias}.{name}, which all of them share");
            match name {
                "bootstrap.servers" | "security.protocol" => {
                    report.error(Place::of(entry), problem, &hint);
                }
                _ => report.notice(Place::of(entry), format!("has no effect: {problem}"), &hint),
            }
        }
    }
}

/// What a key of the connectors' layer says to one kind of client about connecting: whether to one of
/// the target, and which setting it is.
fn of_one_client(key: &str) -> Option<(bool, &str)> {
    let (is_target, rest) = match (key.strip_prefix("source."), key.strip_prefix("target.")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => (key.starts_with("producer."), key),
    };
    let kinds = [
        "cluster.",
        "consumer.",
        "producer.override.",
        "producer.",
        "admin.",
    ];
    let name = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    let is_asked = name == "bootstrap.servers" || security::is_of_security(name);
    is_asked.then_some((is_target, name))
}

/// The setting that holds where `name` is absent, and its scope.
fn stand_in(name: &str) -> Option<(&'static str, &'static str, Scope)> {
    STAND_INS.into_iter().find(|(own, _, _)| *own == name)
}

/// Whether a setting has an effect only through the one that it stands in for.
pub(super) fn is_old_form(setting: &Setting) -> bool {
    let stands_in = STAND_INS.iter().any(|(_, other, _)| *other == setting.name);
    stands_in && setting.default.is_empty()
}

/// The default of `name` in the table, or of what stands in for it.
fn table_default(name: &str, scope: Scope) -> &'static str {
    match (settings::default_of(name, scope), stand_in(name)) {
        ("", Some((_, other, scope))) => settings::default_of(other, scope),
        (default, _) => default,
    }
}

/// What is wrong with a list of patterns; of a value that came out of a provider only where.
fn pattern_problem(entry: &Entry, error: &PatternError) -> String {
    if entry.references().is_empty() {
        return error.to_string();
    }
    let item = entry.shown_item(error.item, "");
    format!(
        "{item} is not understood at its character {}",
        error.character
    )
}

fn pattern_hint(entry: &Entry) -> &'static str {
    if entry.references().is_empty() && entry.value.contains(['{', '}']) {
        "a comma ends the item, even in {1,3}"
    } else {
        ""
    }
}

pub(super) fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

fn unless_negative(factor: i16) -> Option<i16> {
    (factor > 0).then_some(factor)
}

pub(super) fn millis(value: &str) -> Duration {
    Duration::from_millis(number(value))
}

/// Seconds between two rounds of something; at least one.
fn interval(value: &str) -> Duration {
    Duration::from_secs(number::<u64>(value).max(1))
}

/// Parses a value whose type and bounds have been checked.
pub(super) fn number<T: std::str::FromStr>(value: &str) -> T {
    let parsed = value.parse().ok();
    parsed.expect("the setting's kind bounds it to this type")
}
