//! Java's regular expressions (`java.util.regex`, JDK 19 and later), translated.
//!
//! Every construct is either rewritten into one that means the same to `fancy-regex`, or refused
//! with its position; nothing is passed through unread. Names with line terminators are refused
//! by the caller, which makes Java's flags `d`, `m` and `s` and the difference between `$`, `\Z`
//! and `\z` disappear. Case-insensitivity is Java's: ASCII only.

mod class;
#[cfg(test)]
mod tests;
mod translate;

use std::fmt;

/// What Java counts as a line terminator.
pub(super) const LINE_TERMINATORS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Why a list of patterns was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Index of the item in the list, from 0.
    pub item: usize,
    /// Character in the item, from 1; one past its end when something is missing there.
    pub character: usize,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = self.item + 1;
        write!(
            f,
            "item {item}, character {}: {}",
            self.character, self.problem
        )
    }
}

impl std::error::Error for PatternError {}

/// A problem at a place in the joined pattern, counted in characters from 0.
#[derive(Debug)]
struct Refused {
    at: usize,
    problem: String,
}

impl Refused {
    fn new(at: usize, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self { at, problem }
    }
}

/// Compiles a non-empty list joined with `|`, to be matched against whole names.
pub(super) fn compile<S: AsRef<str>>(items: &[S]) -> Result<fancy_regex::Regex, PatternError> {
    let joined = items
        .iter()
        .map(AsRef::as_ref)
        .collect::<Vec<_>>()
        .join("|");
    let refused = |refused: Refused| locate(items, refused);
    let translated = translate::translate(&joined).map_err(refused)?;
    fancy_regex::Regex::new(&format!(r"\A(?:{translated})\z")).map_err(|error| {
        locate(
            items,
            Refused::new(0, format!("the regex engine refuses it: {error}")),
        )
    })
}

/// Finds the item and the character in it for a place in the joined pattern.
fn locate<S: AsRef<str>>(items: &[S], refused: Refused) -> PatternError {
    let mut rest = refused.at;
    let mut item = 0;
    for (index, text) in items.iter().enumerate() {
        item = index;
        let length = text.as_ref().chars().count();
        if rest <= length || index + 1 == items.len() {
            break;
        }
        rest -= length + 1;
    }
    PatternError {
        item,
        character: rest + 1,
        problem: refused.problem,
    }
}
