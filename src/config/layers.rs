//! How one flat file becomes the configuration of each flow: `MirrorMakerConfig`, step by step.
//!
//! A layer maps the name a component sees to the entry of the file it comes from, so that every
//! later finding can name its line.

use std::collections::BTreeMap;

use super::{
    error::{Place, Report},
    properties::Entry,
    settings::{self, Scope, Setting},
};

/// Names as one component sees them.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer<'a> {
    entries: BTreeMap<String, &'a Entry>,
}

/// Top-level keys that start so reach every Connect worker, and win over the cluster's own.
const WORKER_PREFIXES: [&str; 9] = [
    "offset.storage",
    "config.storage",
    "status.storage",
    "key.converter",
    "value.converter",
    "header.converter",
    "task",
    "worker",
    "replication.policy",
];

const ROLES: [&str; 3] = ["producer", "consumer", "admin"];

impl<'a> Layer<'a> {
    /// The file as written.
    pub(super) fn raw(entries: &'a [Entry]) -> Self {
        let named = entries.iter().map(|entry| (entry.key.clone(), entry));
        Self {
            entries: named.collect(),
        }
    }

    /// `MirrorMakerConfig.clusterProps`: what holds for one cluster.
    pub(super) fn cluster(raw: &Self, alias: &str) -> Self {
        let mut layer = Self::default();
        layer.overlay(raw, &format!("{alias}."), "");
        let own = layer.clone();
        for name in client_names() {
            if let Some(entry) = own.get(name) {
                layer.fill_roles(name, entry);
            }
        }
        for name in client_names() {
            if let Some(entry) = raw.get(name) {
                layer.fill_roles(name, entry);
                layer.fill(name.to_owned(), entry);
            }
        }
        layer
    }

    /// `MirrorMakerConfig.workerConfig`: what the Connect worker of a flow to `target` sees.
    pub(super) fn worker(raw: &Self, target: &str) -> Self {
        let mut layer = Self::cluster(raw, target);
        for (key, entry) in &raw.entries {
            if WORKER_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
                layer.entries.insert(key.clone(), entry);
            }
        }
        layer
    }

    /// `MirrorMakerConfig.connectorBaseConfig`: what the connectors of a flow see.
    pub(super) fn connector(raw: &Self, source: &str, target: &str) -> Self {
        let mut layer = Self::default();
        for (key, entry) in &raw.entries {
            if settings::find(key, Scope::Flow).is_some() || key.starts_with("replication.policy") {
                layer.entries.insert(key.clone(), entry);
            }
        }
        for (alias, end) in [(source, "source."), (target, "target.")] {
            for (key, entry) in Self::cluster(raw, alias).entries {
                let is_role = ROLES.iter().any(|role| key.starts_with(role));
                let cluster = if is_role { "" } else { "cluster." };
                layer.entries.insert(format!("{end}{cluster}{key}"), entry);
            }
        }
        layer.overlay(raw, &format!("{source}->{target}."), "");
        layer
    }

    /// `MirrorConnectorConfig.sourceConsumerConfig`: what the consumer of a flow's data sees.
    pub(super) fn source_consumer(connector: &Self) -> Self {
        let mut layer = Self::default();
        for name in client_names() {
            if let Some(entry) = connector.get(&format!("source.cluster.{name}")) {
                layer.fill(name.to_owned(), entry);
            }
        }
        layer.overlay(connector, "consumer.", "");
        layer.overlay(connector, "source.consumer.", "");
        layer
    }

    /// Gives the entry behind `name`.
    pub(super) fn get(&self, name: &str) -> Option<&'a Entry> {
        self.entries.get(name).copied()
    }

    /// Lists names and their entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a Entry)> {
        self.entries
            .iter()
            .map(|(name, &entry)| (name.as_str(), entry))
    }

    /// Gives the value of `name`, without the blanks around it, if it is one; reports it otherwise.
    pub(super) fn value(
        &self,
        name: &str,
        scope: Scope,
        report: &mut Report<'_>,
    ) -> Option<&'a str> {
        let entry = self.get(name)?;
        let setting = settings::find(name, scope)?;
        is_well_typed(entry, setting, report).then(|| entry.value.trim())
    }

    /// As [`Self::value`], with the table's default where there is no value.
    pub(super) fn value_or_default(
        &self,
        name: &str,
        scope: Scope,
        report: &mut Report<'_>,
    ) -> &'a str {
        self.value(name, scope, report)
            .unwrap_or_else(|| settings::default_of(name, scope))
    }

    fn overlay(&mut self, other: &Self, prefix: &str, new_prefix: &str) {
        for (key, entry) in &other.entries {
            match key.strip_prefix(prefix) {
                Some(rest) if !rest.is_empty() => {
                    self.entries.insert(format!("{new_prefix}{rest}"), entry);
                }
                _ => {}
            }
        }
    }

    fn fill(&mut self, name: String, entry: &'a Entry) {
        self.entries.entry(name).or_insert(entry);
    }

    fn fill_roles(&mut self, name: &str, entry: &'a Entry) {
        for role in ROLES {
            self.fill(format!("{role}.{name}"), entry);
        }
    }
}

/// The names that every Kafka client takes from its cluster (`MirrorClientConfig`).
fn client_names() -> impl Iterator<Item = &'static str> {
    settings::all()
        .filter(|setting| setting.scopes.contains(&Scope::Client))
        .map(|setting| setting.name)
}

/// Reports a value that is not of the setting's type.
pub(super) fn is_well_typed(entry: &Entry, setting: Setting, report: &mut Report<'_>) -> bool {
    let Some(problem) = setting.kind.problem_with(&entry.value) else {
        return true;
    };
    let hint = if entry.written().contains('#') {
        "a comment needs a line of its own"
    } else {
        ""
    };
    let value = entry.shown(format!("{:?}", entry.value.trim()));
    report.error(Place::of(entry), format!("{value} {problem}"), hint);
    false
}

/// Splits a list as `ConfigDef` does: each item with the character of the value it starts at.
///
/// Blanks around items do not count; empty items do, unless the whole value is blank.
pub(super) fn list_items(value: &str) -> Vec<(usize, &str)> {
    if value.trim().is_empty() {
        return Vec::new();
    }
    let mut items = Vec::new();
    let mut start = 0;
    for item in value.split(',') {
        let blanks = item.chars().take_while(|c| c.is_whitespace()).count();
        items.push((start + blanks, item.trim()));
        start += item.chars().count() + 1;
    }
    items
}
