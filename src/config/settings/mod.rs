//! The one table of settings: what each is called, where it works, and what becomes of it.
//!
//! The reader, the notices and the README all take their facts from here. Names, types and
//! defaults are those of `MirrorConnectorConfig`, `MirrorSourceConfig`, `MirrorCheckpointConfig`,
//! `MirrorHeartbeatConfig`, `DistributedConfig`, `ConsumerConfig` and `ProducerConfig` of Apache
//! Kafka; names that start with `kmirror.` are ours.

mod kind;
mod table;

use std::fmt::Write;

pub use kind::Kind;

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name without any prefix; a final `*` stands for every ending.
    pub name: &'static str,
    /// Where in the file it works.
    pub scopes: &'static [Scope],
    /// What values it takes.
    pub kind: Kind,
    /// The value when it is absent, as one would write it; empty means none.
    pub default: &'static str,
    /// What becomes of it.
    pub status: Status,
    /// What it says, in one line.
    pub doc: &'static str,
}

/// Where a setting works. `A` is a flow's source, `B` its target, `X` any cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `name`, for the process.
    Process,
    /// `X.name`, or `name` for every cluster, or under a role for one client.
    Client,
    /// `A->B.name`, or `name` for every flow.
    Flow,
    /// `A->B.name` only.
    FlowOnly,
    /// `B.name`: the Connect worker of every flow to `B`.
    Worker,
    /// `B.name`, or `name`, which wins.
    WorkerShared,
    /// `X.consumer.name`, `A->B.source.consumer.name`.
    Consumer,
    /// `X.producer.name`, `A->B.producer.override.name`.
    Producer,
    /// `X.admin.name`.
    Admin,
}

impl Scope {
    /// Shows how a setting called `name` is written in this scope.
    #[must_use]
    pub fn written(self, name: &str) -> String {
        match self {
            Self::Process => name.to_owned(),
            Self::Client => format!("X.{name}, {name}"),
            Self::Flow => format!("A->B.{name}, {name}"),
            Self::FlowOnly => format!("A->B.{name}"),
            Self::Worker => format!("B.{name}"),
            Self::WorkerShared => format!("{name}, B.{name}"),
            Self::Consumer => format!("A.consumer.{name}, A->B.source.consumer.{name}"),
            Self::Producer => format!("B.producer.{name}, A->B.producer.override.{name}"),
            Self::Admin => format!("X.admin.{name}"),
        }
    }

    /// Tells whether the setting works without any prefix.
    #[must_use]
    pub fn is_top_level(self) -> bool {
        matches!(
            self,
            Self::Process | Self::Client | Self::Flow | Self::WorkerShared
        )
    }
}

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has its effect.
    Implemented,
    /// It is accepted under an old name; the new one is given.
    Renamed(&'static str),
    /// It has no effect here and need not have one, for this reason.
    Needless(&'static str),
    /// Its effect is missing in this version, for this reason.
    Unsupported(&'static str),
}

/// Lists every setting, in the order of the README.
pub fn all() -> impl Iterator<Item = Setting> {
    table::GROUPS.iter().flat_map(|group| {
        group.rows.iter().map(|row| Setting {
            name: row.0,
            scopes: group.scopes,
            kind: row.1,
            default: row.2,
            status: group.status,
            doc: row.3,
        })
    })
}

/// Finds the settings called `name`; the same name may mean different things in two scopes.
///
/// An exact name hides the families (`config.providers.*`) it would also belong to.
#[must_use]
pub fn named(name: &str) -> Vec<Setting> {
    let exact: Vec<Setting> = all().filter(|setting| setting.name == name).collect();
    if !exact.is_empty() {
        return exact;
    }
    all()
        .filter(|setting| {
            let family = setting.name.strip_suffix('*');
            family.is_some_and(|family| name.len() > family.len() && name.starts_with(family))
        })
        .collect()
}

/// Finds the setting called `name` that works in `scope`.
#[must_use]
pub fn find(name: &str, scope: Scope) -> Option<Setting> {
    let found = named(name);
    found
        .into_iter()
        .find(|setting| setting.scopes.contains(&scope))
}

/// Gives the default of a setting as one would write it; empty if it has none.
#[must_use]
pub fn default_of(name: &str, scope: Scope) -> &'static str {
    find(name, scope).map_or("", |setting| setting.default)
}

/// Renders the table for the README.
#[must_use]
pub fn table_markdown() -> String {
    let mut text = String::from(
        "| setting | written as | values | default | what it says |\n|---|---|---|---|---|\n",
    );
    for setting in all() {
        let mut written: Vec<String> = Vec::new();
        for scope in setting.scopes {
            for form in scope.written(setting.name).split(", ") {
                let form = format!("`{form}`");
                if !written.contains(&form) {
                    written.push(form);
                }
            }
        }
        let default = match setting.default {
            "" => String::new(),
            default => format!("`{}`", escape_cell(default)),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {default} | {}{} |",
            setting.name,
            written.join(", "),
            escape_cell(&setting.kind.to_string()),
            escape_cell(setting.doc),
            escape_cell(&remark(setting.status)),
        );
    }
    text
}

fn remark(status: Status) -> String {
    match status {
        Status::Implemented => String::new(),
        Status::Renamed(new) => format!(". Old name of `{new}`"),
        Status::Needless(reason) => format!(". No effect: {reason}"),
        Status::Unsupported(reason) => format!(". **Not supported**: {reason}"),
    }
}

fn escape_cell(text: &str) -> String {
    text.replace('|', r"\|")
}

#[cfg(test)]
mod tests;
