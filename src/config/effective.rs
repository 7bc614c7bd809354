//! What holds: every implemented setting of each flow, each cluster and the process, with the place
//! in the file that it comes from. For people to read; nothing is decided by it.
//!
//! Looks settings up as the reader of the file does, so it cannot say anything else. Never holds
//! the value of a secret, nor one that came out of a config provider.

use std::fmt;

use super::{
    ClusterConfig, FlowConfig, HeartbeatConfig,
    error::{presentable, printable},
    flow::{Layers, is_old_form},
    layers::Layer,
    properties::Entry,
    providers, security,
    settings::{self, Kind, Scope, Setting, Status},
};

/// The settings that hold where no records are copied.
const HEARTBEATS: [&str; 3] = [
    "emit.heartbeats.enabled",
    "emit.heartbeats.interval.seconds",
    "heartbeats.topic.replication.factor",
];

/// Where the column of values ends; a longer value moves what is behind it.
const VALUE_WIDTH_MAX: usize = 40;

/// Everything that holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective {
    /// Flows, pairs of clusters with nothing but heartbeats, clusters, and the process.
    pub sections: Vec<Section>,
}

/// What holds for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is, as `flow A->B`.
    pub title: String,
    /// Its settings, in the order of the table.
    pub settings: Vec<Shown>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name without any prefix.
    pub name: String,
    /// Its value as it may be shown, on one line.
    pub value: String,
    /// Where it stands; `None` for a default.
    pub origin: Option<Origin>,
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file as the user named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key as written there.
    pub key: String,
}

/// Collects what holds for members of a configuration.
pub(super) fn of(
    file: &str,
    raw: &Layer<'_>,
    clusters: &[ClusterConfig],
    flows: &[FlowConfig],
    heartbeats: &[HeartbeatConfig],
) -> Effective {
    let mut sections: Vec<Section> = flows
        .iter()
        .map(|flow| of_flow(file, &Layers::new(raw, &flow.source, &flow.target), flow))
        .collect();
    let is_copied = |pair: &HeartbeatConfig| {
        let mut pairs = flows.iter().map(|flow| (&flow.source, &flow.target));
        pairs.any(|flow| flow == (&pair.source, &pair.target))
    };
    for pair in heartbeats.iter().filter(|pair| !is_copied(pair)) {
        sections.push(of_heartbeats(file, raw, pair));
    }
    sections.extend(clusters.iter().map(|it| of_cluster(file, raw, &it.alias)));
    sections.push(of_process(file, raw));
    Effective { sections }
}

fn of_flow(file: &str, layers: &Layers<'_>, flow: &FlowConfig) -> Section {
    use Scope::{Consumer, Flow, FlowOnly, WorkerShared};
    Section {
        title: format!("flow {}->{}", flow.source, flow.target),
        settings: implemented(&[Flow, FlowOnly, WorkerShared, Consumer])
            .flat_map(|setting| of_layers(file, layers, setting))
            .collect(),
    }
}

fn of_heartbeats(file: &str, raw: &Layer<'_>, pair: &HeartbeatConfig) -> Section {
    let layers = Layers::new(raw, &pair.source, &pair.target);
    Section {
        title: format!("heartbeats {}->{}", pair.source, pair.target),
        settings: implemented(&[Scope::Flow])
            .filter(|setting| HEARTBEATS.contains(&setting.name))
            .flat_map(|setting| of_layers(file, &layers, setting))
            .collect(),
    }
}

fn of_cluster(file: &str, raw: &Layer<'_>, alias: &str) -> Section {
    let layer = Layer::cluster(raw, alias);
    let found = |setting: Setting| match security::of_cluster(&layer, setting.name) {
        Some(entry) => shown(file, setting.name, setting.kind, entry),
        None => default(setting.name, setting.default),
    };
    Section {
        title: format!("cluster {alias}"),
        settings: implemented(&[Scope::Client, Scope::Worker])
            .map(found)
            .collect(),
    }
}

fn of_process(file: &str, raw: &Layer<'_>) -> Section {
    let found = |setting: Setting| match (setting.name.strip_suffix('*'), raw.get(setting.name)) {
        // The only family is that of config providers.
        (Some(_), _) => providers::settings(raw)
            .into_iter()
            .map(|entry| shown(file, &entry.key, setting.kind, entry))
            .collect(),
        (None, Some(entry)) => vec![shown(file, setting.name, setting.kind, entry)],
        (None, None) => vec![default(setting.name, setting.default)],
    };
    Section {
        title: "process".to_owned(),
        settings: implemented(&[Scope::Process]).flat_map(found).collect(),
    }
}

/// The settings that have an effect of their own in one of `scopes`.
fn implemented(scopes: &[Scope]) -> impl Iterator<Item = Setting> {
    settings::all()
        .filter(|setting| setting.status == Status::Implemented && !is_old_form(setting))
        .filter(|setting| setting.scopes.iter().any(|scope| scopes.contains(scope)))
}

/// A setting, or all of a family that are set.
fn of_layers(file: &str, layers: &Layers<'_>, setting: Setting) -> Vec<Shown> {
    // Where there are two, the first is the flow's, which counts.
    let scope = setting.scopes.first().copied().unwrap_or(Scope::Flow);
    if setting.name.ends_with('*') {
        let named = layers.family(setting.name, scope);
        let named = named.map(|(name, entry)| shown(file, name, setting.kind, entry));
        return named.collect();
    }
    vec![match layers.found(setting.name, scope) {
        Some((entry, _)) => shown(file, setting.name, setting.kind, entry),
        None => default(setting.name, &layers.default_of(setting.name, scope)),
    }]
}

fn shown(file: &str, name: &str, kind: Kind, entry: &Entry) -> Shown {
    let value = match (kind, entry.references()) {
        (Kind::Secret, []) => "[hidden]".to_owned(),
        // There may be clear text beside the references.
        (Kind::Secret, references) => format!("[hidden] with {}", references.join(", ")),
        _ if entry.value.trim().is_empty() && entry.references().is_empty() => "(empty)".to_owned(),
        _ => entry.written().trim().to_owned(),
    };
    Shown {
        name: presentable(name),
        value: printable(&value),
        origin: Some(Origin {
            file: file.to_owned(),
            line: entry.line,
            key: presentable(&entry.key),
        }),
    }
}

fn default(name: &str, value: &str) -> Shown {
    let value = if value.is_empty() { "(none)" } else { value };
    Shown {
        name: name.to_owned(),
        value: value.to_owned(),
        origin: None,
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sections.iter().try_for_each(|section| section.fmt(f))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let width = |text: fn(&Shown) -> &str| {
            let widths = self.settings.iter().map(|it| text(it).chars().count());
            widths.max().unwrap_or_default()
        };
        let names = width(|it| &it.name);
        let values = width(|it| &it.value).min(VALUE_WIDTH_MAX);
        for Shown {
            name,
            value,
            origin,
        } in &self.settings
        {
            write!(f, "  {name:names$}  {value:values$}  ")?;
            match origin {
                Some(origin) => writeln!(f, "{origin}")?,
                None => writeln!(f, "default")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.key)
    }
}
