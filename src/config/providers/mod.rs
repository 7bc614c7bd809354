//! Config providers: values that a properties file does not hold but refers to.
//!
//! Resolves every value but those of `config.providers` itself, once: what a provider gives is not
//! searched for further references. What a provider gives is a secret from then on, see
//! [`Entry::shown`]. Reads files and the environment through [`Outside`] only, writes nothing.
//!
//! Sources: `ConfigTransformer`, `FileConfigProvider`, `DirectoryConfigProvider`,
//! `EnvVarConfigProvider` and `AllowedPaths` of Apache Kafka. MM2 resolves the values of workers
//! and clients in `MirrorMakerConfig`, those of connectors in the Connect worker; for the reader of
//! a file that is the same, and here one step does it for all.

mod outside;
mod reference;

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

pub(super) use outside::{Nowhere, Outside, PathKind, System};
use reference::{Piece, Reference, pieces};

use super::{
    error::{Place, Report},
    layers::{Layer, list_items},
    properties::{self, Entry},
};
use crate::policy::NameFilter;

/// The setting that lists the providers; the rest of them is set under it.
const PROVIDERS: &str = "config.providers";

const PACKAGE: &str = "org.apache.kafka.common.config.provider.";

/// The classes in that package that can be used here, each with the parameter that it takes.
const CLASSES: [(&str, &str); 3] = [
    ("FileConfigProvider", ALLOWED_PATHS),
    ("DirectoryConfigProvider", ALLOWED_PATHS),
    ("EnvVarConfigProvider", ALLOWLIST),
];

const ALLOWED_PATHS: &str = "allowed.paths";
const ALLOWLIST: &str = "allowlist.pattern";

/// Puts what the config providers give in the place of the references to them.
///
/// A reference that no provider answers stays as it is, as in Kafka, with a notice. Nothing more is
/// reported of a value whose provider failed.
pub(super) fn resolve(entries: &mut [Entry], outside: &dyn Outside, report: &mut Report<'_>) {
    let mut resolver = Resolver {
        outside,
        providers: configured(entries, outside, report),
        files: BTreeMap::new(),
    };
    check_keys(entries, &resolver.providers, report);
    let is_resolved = |entry: &&mut Entry| !entry.key.starts_with(PROVIDERS);
    for entry in entries.iter_mut().filter(is_resolved) {
        resolver.resolve(entry, report);
    }
}

/// A provider as it is configured.
enum Provider {
    /// `FileConfigProvider`: keys of properties files.
    File(AllowedPaths),
    /// `DirectoryConfigProvider`: files of directories.
    Directory(AllowedPaths),
    /// `EnvVarConfigProvider`: the variables whose names match, or all.
    Environment(Option<NameFilter>),
    /// One without a class: as in Kafka it answers nothing.
    Mute,
    /// One that cannot be had here, which is an error.
    Refused,
}

/// What a provider says to a reference.
enum Answer {
    /// This is the value.
    Value(String),
    /// There is none, for this reason.
    Absent(&'static str),
    /// It cannot be told whether there is one.
    Failed(String),
}

type Providers = BTreeMap<String, Provider>;

/// The keys of one properties file, or why it cannot be read.
type Keys = Result<BTreeMap<String, String>, String>;

struct Resolver<'a> {
    outside: &'a dyn Outside,
    providers: Providers,
    /// Every file is read once, as all of its keys may have to be of one age.
    files: BTreeMap<PathBuf, Keys>,
}

impl Resolver<'_> {
    fn resolve(&mut self, entry: &mut Entry, report: &mut Report<'_>) {
        let mut value = String::new();
        let mut answered = Vec::new();
        for piece in pieces(&entry.value) {
            let reference = match piece {
                Piece::Text(text) => {
                    value.push_str(text);
                    continue;
                }
                Piece::Reference(reference) => reference,
            };
            if let Some(answer) = self.look_up(&reference, entry, report) {
                value.push_str(&answer);
                answered.push(reference.written.to_owned());
            } else {
                value.push_str(reference.written);
            }
        }
        if !answered.is_empty() {
            entry.provide(value, answered);
        }
    }

    /// The value behind a reference in `entry`; reports why there is none.
    fn look_up(
        &mut self,
        reference: &Reference<'_>,
        entry: &Entry,
        report: &mut Report<'_>,
    ) -> Option<String> {
        let Some(provider) = self.providers.get(reference.provider) else {
            // It is not shown: it may be no reference at all but part of a secret.
            let problem = "a reference stays as it is: its provider is not in config.providers";
            report.notice(Place::of(entry), problem, &known(&self.providers));
            return None;
        };
        let answer = match provider {
            Provider::File(allowed) => file(&mut self.files, reference, allowed, self.outside),
            Provider::Directory(allowed) => directory(reference, allowed, self.outside),
            Provider::Environment(allowlist) => {
                variable(reference, allowlist.as_ref(), self.outside)
            }
            Provider::Mute => return None,
            Provider::Refused => {
                report.drop_errors_of(&entry.key);
                return None;
            }
        };
        match answer {
            Answer::Value(value) => return Some(value),
            Answer::Absent(reason) => {
                let problem = format!("{reference} stays as it is: {reason}");
                report.notice(Place::of(entry), problem, "");
            }
            Answer::Failed(problem) => {
                report.error(Place::of(entry), format!("{reference}: {problem}"), "");
                report.drop_errors_of(&entry.key);
            }
        }
        None
    }
}

fn known(providers: &Providers) -> String {
    let names: Vec<&str> = providers.keys().map(String::as_str).collect();
    if names.is_empty() {
        "set config.providers if it is meant to be one".to_owned()
    } else {
        format!("config.providers has {}", names.join(", "))
    }
}

/// `FileConfigProvider.get`: a key of a properties file in UTF-8.
fn file(
    files: &mut BTreeMap<PathBuf, Keys>,
    reference: &Reference<'_>,
    allowed: &AllowedPaths,
    outside: &dyn Outside,
) -> Answer {
    let path = match allowed.path(reference.path) {
        Ok(path) => path,
        Err(reason) => return Answer::Absent(reason),
    };
    let read = || keys(&path, outside);
    match files.entry(path.clone()).or_insert_with(read) {
        Ok(keys) => match keys.get(reference.key) {
            Some(value) => Answer::Value(value.clone()),
            None => Answer::Absent("the file does not have this key"),
        },
        Err(problem) => Answer::Failed(problem.clone()),
    }
}

fn keys(path: &Path, outside: &dyn Outside) -> Keys {
    let text = text(path, outside)?;
    match properties::parse_text(&text) {
        Ok(properties) => {
            let pair = |entry: Entry| (entry.key, entry.value);
            Ok(properties.entries.into_iter().map(pair).collect())
        }
        Err(malformed) => {
            let first = malformed.first();
            let at = first.map(|it| format!("{}:{}: {}", path.display(), it.line, it.problem));
            Err(at.unwrap_or_default())
        }
    }
}

/// The text of a file in UTF-8.
fn text(path: &Path, outside: &dyn Outside) -> Result<String, String> {
    let shown = path.display();
    let bytes = outside.read(path);
    let bytes = bytes.map_err(|error| format!("cannot read {shown}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))
}

/// `DirectoryConfigProvider.get`: the whole of a file in a directory, a last line break included.
fn directory(reference: &Reference<'_>, allowed: &AllowedPaths, outside: &dyn Outside) -> Answer {
    let path = match allowed.path(reference.path) {
        Ok(path) => path,
        Err(reason) => return Answer::Absent(reason),
    };
    if outside.kind(&path) != Some(PathKind::Directory) {
        return Answer::Absent("its path is not a directory");
    }
    let names = match outside.names(&path) {
        Ok(names) => names,
        Err(error) => return Answer::Failed(format!("cannot list {}: {error}", path.display())),
    };
    let file = path.join(reference.key);
    // A key that leads elsewhere, as `../other`, is the name of no file in the directory.
    let is_there = names.iter().any(|name| name == reference.key);
    if !is_there || outside.kind(&file) != Some(PathKind::File) {
        return Answer::Absent("the directory does not have this file");
    }
    match text(&file, outside) {
        Ok(value) => Answer::Value(value),
        Err(problem) => Answer::Failed(problem),
    }
}

/// `EnvVarConfigProvider.get`: an environment variable.
fn variable(
    reference: &Reference<'_>,
    allowlist: Option<&NameFilter>,
    outside: &dyn Outside,
) -> Answer {
    if !reference.path.is_empty() {
        let problem = "a variable has no path before its name";
        return Answer::Failed(problem.to_owned());
    }
    match allowlist.map_or(Ok(true), |names| names.matches(reference.key)) {
        Ok(true) => match outside.variable(reference.key) {
            Some(value) => Answer::Value(value),
            None => Answer::Absent("the variable is not set"),
        },
        Ok(false) => Answer::Absent("allowlist.pattern does not match the variable"),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// `AllowedPaths`: below what a provider may read; `None` allows everything.
struct AllowedPaths(Option<Vec<PathBuf>>);

impl AllowedPaths {
    /// Reads the parameter; `Err` says what is wrong with it. Blanks around a path are part of it.
    fn new(value: &str, outside: &dyn Outside) -> Result<Self, String> {
        if value.is_empty() {
            return Ok(Self(None));
        }
        let mut allowed = Vec::new();
        // As with Java's `split`, commas at the end are none.
        for item in value.trim_end_matches(',').split(',') {
            let path = normalized(Path::new(item));
            if !path.is_absolute() {
                return Err(format!("{item:?} is not an absolute path"));
            }
            if outside.kind(&path).is_none() {
                return Err(format!("{item:?} does not exist"));
            }
            allowed.push(path);
        }
        Ok(Self(Some(allowed)))
    }

    /// The path to read for the one in a reference; `Err` says why there is none.
    fn path(&self, path: &str) -> Result<PathBuf, &'static str> {
        if path.is_empty() {
            return Err("it has no path; write ${provider:path:key}");
        }
        let Some(allowed) = &self.0 else {
            return Ok(PathBuf::from(path));
        };
        let path = normalized(Path::new(path));
        if allowed.iter().any(|allowed| path.starts_with(allowed)) {
            Ok(path)
        } else {
            Err("allowed.paths does not have its path")
        }
    }
}

/// `Path.normalize`: without `.` and `..`, as far as the text alone tells.
fn normalized(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            other => normal.push(other),
        }
    }
    normal
}

/// The providers of the list `config.providers`.
fn configured(entries: &[Entry], outside: &dyn Outside, report: &mut Report<'_>) -> Providers {
    let mut providers = Providers::new();
    let Some(list) = find(entries, PROVIDERS) else {
        return providers;
    };
    for (start, name) in list_items(&list.value) {
        if name.is_empty() {
            let problem = "a name is empty";
            report.notice(Place::inside(list, start), problem, "remove the comma");
            continue;
        }
        let Some(class) = find(entries, &format!("{PROVIDERS}.{name}.class")) else {
            let problem = format!("{name:?} has no class: references to it stay as they are");
            let hint = format!("write {PROVIDERS}.{name}.class = {PACKAGE}{}", CLASSES[0].0);
            report.notice(Place::inside(list, start), problem, &hint);
            providers.insert(name.to_owned(), Provider::Mute);
            continue;
        };
        let provider = provider(name, class, entries, outside, report);
        providers.insert(name.to_owned(), provider.unwrap_or(Provider::Refused));
    }
    providers
}

/// One provider; `None` if it cannot be used, which is reported.
fn provider(
    name: &str,
    class: &Entry,
    entries: &[Entry],
    outside: &dyn Outside,
    report: &mut Report<'_>,
) -> Option<Provider> {
    let Some((class_name, parameter)) = class_of(class) else {
        let class_name = class.value.trim();
        let problem = format!(
            "the config provider {class_name:?} is not known, and Java classes cannot be loaded"
        );
        let [file, directory, environment] = CLASSES.map(|(class, _)| class);
        let hint = format!(
            "have the values put into a file, a directory or the environment, and use \
             {PACKAGE}{file}, {directory} or {environment}"
        );
        report.error(Place::of(class), problem, &hint);
        return None;
    };
    let parameter = find(entries, &format!("{PROVIDERS}.{name}.param.{parameter}"));
    match class_name {
        "FileConfigProvider" => Some(Provider::File(allowed_paths(parameter, outside, report)?)),
        "DirectoryConfigProvider" => {
            let allowed = allowed_paths(parameter, outside, report)?;
            Some(Provider::Directory(allowed))
        }
        _ => Some(Provider::Environment(match parameter {
            Some(entry) => Some(allowlist(entry, report)?),
            None => None,
        })),
    }
}

/// The class that a provider has, if it is one of ours, and the parameter that it takes.
fn class_of(class: &Entry) -> Option<(&'static str, &'static str)> {
    let name = class.value.trim().strip_prefix(PACKAGE)?;
    CLASSES.into_iter().find(|(class, _)| *class == name)
}

fn allowed_paths(
    entry: Option<&Entry>,
    outside: &dyn Outside,
    report: &mut Report<'_>,
) -> Option<AllowedPaths> {
    let Some(entry) = entry else {
        return Some(AllowedPaths(None));
    };
    let allowed = AllowedPaths::new(&entry.value, outside);
    let hint = "write absolute paths that exist, with commas and no blanks between them";
    allowed
        .map_err(|problem| report.error(Place::of(entry), problem, hint))
        .ok()
}

fn allowlist(entry: &Entry, report: &mut Report<'_>) -> Option<NameFilter> {
    let names = NameFilter::new(&[&entry.value]);
    names
        .map_err(|error| report.error(Place::of(entry), error.to_string(), ""))
        .ok()
}

/// The entries that configure the listed providers, in the order of the list.
pub(super) fn settings<'a>(raw: &Layer<'a>) -> Vec<&'a Entry> {
    let names = raw.get(PROVIDERS).map(|list| list_items(&list.value));
    let of_one = |(_, name): (usize, &str)| {
        let class = raw.get(&format!("{PROVIDERS}.{name}.class"));
        let parameter = class
            .and_then(class_of)
            .and_then(|(_, parameter)| raw.get(&format!("{PROVIDERS}.{name}.param.{parameter}")));
        class.into_iter().chain(parameter)
    };
    names
        .unwrap_or_default()
        .into_iter()
        .flat_map(of_one)
        .collect()
}

/// Reports keys under `config.providers.` that no provider reads; Kafka ignores them in silence.
fn check_keys(entries: &[Entry], providers: &Providers, report: &mut Report<'_>) {
    for entry in entries {
        let Some(rest) = entry.key.strip_prefix(PROVIDERS).and_then(after_dot) else {
            continue;
        };
        // The longest name, since one may begin with another: a and a.b.
        let provider = providers
            .keys()
            .filter_map(|name| Some((name, rest.strip_prefix(name.as_str()).and_then(after_dot)?)))
            .max_by_key(|(name, _)| name.len());
        let Some((name, rest)) = provider else {
            let problem = "has no effect: its provider is not in config.providers";
            report.notice(Place::of(entry), problem, &known(providers));
            continue;
        };
        let class = find(entries, &format!("{PROVIDERS}.{name}.class"));
        let parameter = class.and_then(class_of).map(|(_, parameter)| parameter);
        let is_parameter = |parameter| rest.strip_prefix("param.") == Some(parameter);
        if let Some(parameter) = parameter
            && rest != "class"
            && !is_parameter(parameter)
        {
            let hint = format!("its parameter is {PROVIDERS}.{name}.param.{parameter}");
            report.notice(
                Place::of(entry),
                "has no effect: the provider does not know it",
                &hint,
            );
        }
    }
}

fn after_dot(text: &str) -> Option<&str> {
    text.strip_prefix('.')
}

fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}

#[cfg(test)]
mod tests;
