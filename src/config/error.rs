//! What the reader of a configuration file is told: mistakes and notices.

use std::{collections::BTreeSet, fmt};

use super::properties::Entry;

/// Something about one place of the file, shown as `file:line: key: problem; hint`.
///
/// Never holds the value of a secret, nor one that came out of a config provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file as the user named it.
    pub file: String,
    /// The line, from 1; `None` when the whole file is meant.
    pub line: Option<usize>,
    /// The key as written, if one is meant.
    pub key: Option<String>,
    /// What is wrong, in one line.
    pub problem: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(key) = &self.key {
            write!(f, " {key}:")?;
        }
        write!(f, " {}", self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A mistake: the file cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub Finding);

/// Something the reader should know about a file that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice(pub Finding);

/// Why a file cannot be run, and what else was noticed in it; each in the order of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// The mistakes; never empty.
    pub errors: Vec<ConfigError>,
    /// What would have been told of the file if it had none.
    pub notices: Vec<Notice>,
}

impl Mistakes {
    /// Both together in the order of lines: one report.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        let errors = self.errors.iter().map(|error| &error.0);
        let mut findings: Vec<&Finding> = errors
            .chain(self.notices.iter().map(|notice| &notice.0))
            .collect();
        findings.sort();
        findings
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Collects findings while a file is read.
pub(super) struct Report<'a> {
    file: &'a str,
    errors: Vec<ConfigError>,
    notices: Vec<Notice>,
    /// Keys of which no more errors are taken.
    settled: BTreeSet<String>,
}

/// A place in the file: line and key, both optional.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    line: Option<usize>,
    key: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) const FILE: Self = Self {
        line: None,
        key: None,
    };

    pub(super) fn key(key: &'a str) -> Self {
        Self {
            line: None,
            key: Some(key),
        }
    }

    pub(super) fn line(line: usize) -> Self {
        Self {
            line: Some(line),
            key: None,
        }
    }

    pub(super) fn line_and_key(line: usize, key: &'a str) -> Self {
        Self {
            line: Some(line),
            key: Some(key),
        }
    }

    pub(super) fn of(entry: &'a Entry) -> Self {
        Self {
            line: Some(entry.line),
            key: Some(&entry.key),
        }
    }

    /// The place of character `index` of the entry's value.
    pub(super) fn inside(entry: &'a Entry, index: usize) -> Self {
        Self {
            line: Some(entry.line_of(index)),
            key: Some(&entry.key),
        }
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Self {
            file,
            errors: Vec::new(),
            notices: Vec::new(),
            settled: BTreeSet::new(),
        }
    }

    /// Takes no more errors of `key`: what follows from a mistake is none of its own.
    pub(super) fn drop_errors_of(&mut self, key: &str) {
        self.settled.insert(key.to_owned());
    }

    pub(super) fn error(&mut self, place: Place<'_>, problem: impl Into<String>, hint: &str) {
        if place.key.is_some_and(|key| self.settled.contains(key)) {
            return;
        }
        let finding = self.finding(place, problem.into(), hint);
        self.errors.push(ConfigError(finding));
    }

    pub(super) fn notice(&mut self, place: Place<'_>, problem: impl Into<String>, hint: &str) {
        let finding = self.finding(place, problem.into(), hint);
        self.notices.push(Notice(finding));
    }

    /// Gives the findings in the order of lines, each once: `Err` if there is any mistake.
    pub(super) fn finish(mut self) -> Result<Vec<Notice>, Mistakes> {
        self.errors.sort();
        self.errors.dedup();
        self.notices.sort();
        self.notices.dedup();
        if self.errors.is_empty() {
            Ok(self.notices)
        } else {
            Err(Mistakes {
                errors: self.errors,
                notices: self.notices,
            })
        }
    }

    /// A finding of one line, whatever texts of the file it quotes.
    fn finding(&self, place: Place<'_>, problem: String, hint: &str) -> Finding {
        Finding {
            file: self.file.to_owned(),
            line: place.line,
            key: place.key.map(presentable),
            problem: printable(&problem),
            hint: (!hint.is_empty()).then(|| printable(hint)),
        }
    }
}

/// A text on one line: control characters as escapes.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A key as it may be shown. A broken continuation turns the rest of a JAAS string into keys;
/// their quotes give them away.
pub(super) fn presentable(key: &str) -> String {
    if key.contains(['"', '\'', ';']) {
        "(hidden key)".to_owned()
    } else {
        printable(key)
    }
}
