//! Lists of regular expressions matched against whole names, as MirrorMaker 2 matches them.
//!
//! The items are joined with `|` into one Java pattern (`MirrorUtils.compilePatternList`). That
//! is visible: a group may open in one item and close in the next, and `(?i)` in the first item
//! holds for the later ones.

use super::java_regex::{self, PatternError};

/// One list of Java regular expressions.
#[derive(Debug, Clone)]
pub struct NameFilter {
    /// `None` for the empty list, which matches nothing.
    pattern: Option<fancy_regex::Regex>,
}

/// A name for which a list gave neither yes nor no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// Matching took too many steps.
    #[error("gave up matching {name:?}: {cause}; write a pattern that backtracks less")]
    GaveUp {
        /// The name.
        name: String,
        /// What the regex engine said.
        cause: String,
    },
    /// The name holds a line terminator, for which Java's anchors and `.` have special rules.
    #[error("cannot match {name:?}: it contains a line terminator")]
    LineTerminator {
        /// The name.
        name: String,
    },
}

impl NameFilter {
    /// Compiles a list.
    ///
    /// # Errors
    /// When Java would refuse the list, or when it uses a construct that cannot be reproduced
    /// exactly here. The error names the item and the character.
    pub fn new<S: AsRef<str>>(items: &[S]) -> Result<Self, PatternError> {
        let pattern = if items.is_empty() {
            None
        } else {
            Some(java_regex::compile(items)?)
        };
        Ok(Self { pattern })
    }

    /// Tells whether the whole of `name` matches.
    ///
    /// # Errors
    /// When the answer is not known; see [`MatchError`].
    pub fn matches(&self, name: &str) -> Result<bool, MatchError> {
        let Some(pattern) = &self.pattern else {
            return Ok(false);
        };
        if name.contains(java_regex::LINE_TERMINATORS) {
            return Err(MatchError::LineTerminator {
                name: name.to_owned(),
            });
        }
        pattern.is_match(name).map_err(|error| MatchError::GaveUp {
            name: name.to_owned(),
            cause: error.to_string(),
        })
    }
}

/// The list `config.properties.exclude`: topic properties that are not copied.
#[derive(Debug, Clone)]
pub struct PropertyFilter {
    /// Names of properties to leave out.
    pub exclude: NameFilter,
}

impl PropertyFilter {
    /// Tells whether the topic property `name` is copied (`DefaultConfigPropertyFilter`).
    ///
    /// # Errors
    /// When the list cannot be decided for this name.
    pub fn is_copied(&self, name: &str) -> Result<bool, MatchError> {
        Ok(!self.exclude.matches(name)?)
    }
}
