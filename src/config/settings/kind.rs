//! Types of settings: what a value may be, as `ConfigDef` parses it.

use std::fmt;

use crate::policy::StartAt;

/// What values a setting takes. Numbers are decimal; blanks around a value do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// Anything, and never shown.
    Secret,
    /// The name of a Java class.
    Class,
    /// `true` or `false`, in any case.
    Bool,
    /// A whole number between two bounds, both included.
    Number(i64, i64),
    /// Milliseconds between two bounds, both included.
    Millis(i64, i64),
    /// Seconds between two bounds, both included.
    Seconds(i64, i64),
    /// Bytes between two bounds, both included.
    Bytes(i64, i64),
    /// A fraction.
    Fraction,
    /// Values between commas.
    List,
    /// Java regular expressions between commas.
    Patterns,
    /// `host:port` between commas.
    Servers,
    /// Where a new partition begins.
    Start,
    /// `TOPIC=START` between commas.
    Starts,
    /// One of these, in exactly this case.
    OneOf(&'static [&'static str]),
    /// One of these, in any case.
    OneOfAnyCase(&'static [&'static str]),
}

impl Kind {
    /// Says what is wrong with `value`, if anything, without repeating it.
    ///
    /// Does not compile patterns and does not resolve addresses.
    #[must_use]
    pub fn problem_with(self, value: &str) -> Option<String> {
        let value = value.trim();
        let is_right = match self {
            Self::Text | Self::Secret | Self::Class => true,
            Self::List | Self::Patterns | Self::Servers | Self::Starts => true,
            Self::Start => return StartAt::parse(value, &StartAt::Earliest).err(),
            Self::Bool => is_bool(value),
            Self::Number(min, max)
            | Self::Millis(min, max)
            | Self::Seconds(min, max)
            | Self::Bytes(min, max) => value
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            Self::Fraction => value.parse::<f64>().is_ok(),
            Self::OneOf(values) => values.contains(&value),
            Self::OneOfAnyCase(values) => values.iter().any(|v| v.eq_ignore_ascii_case(value)),
        };
        (!is_right).then(|| format!("must be {self}"))
    }
}

fn is_bool(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Secret => f.write_str("secret"),
            Self::Class => f.write_str("class name"),
            Self::Bool => f.write_str("true or false"),
            Self::Number(min, max) => range(f, "a whole number", *min, *max),
            Self::Millis(min, max) => range(f, "a number of milliseconds", *min, *max),
            Self::Seconds(min, max) => range(f, "a number of seconds", *min, *max),
            Self::Bytes(min, max) => range(f, "a number of bytes", *min, *max),
            Self::Fraction => f.write_str("a fraction"),
            Self::List => f.write_str("list"),
            Self::Patterns => f.write_str("list of regular expressions"),
            Self::Servers => f.write_str("list of host:port"),
            Self::Start => f.write_str(StartAt::FORMS),
            Self::Starts => f.write_str("list of TOPIC=START or TOPIC:PARTITION=START"),
            Self::OneOf(values) | Self::OneOfAnyCase(values) => f.write_str(&values.join(" or ")),
        }
    }
}

/// Bounds that are merely those of the integer type are left out.
fn range(f: &mut fmt::Formatter<'_>, what: &str, min: i64, max: i64) -> fmt::Result {
    f.write_str(what)?;
    match (min > i64::from(i32::MIN), max < i64::from(i32::MAX)) {
        (true, true) => write!(f, " from {min} to {max}"),
        (true, false) => write!(f, ", at least {min}"),
        (false, true) => write!(f, ", at most {max}"),
        (false, false) => Ok(()),
    }
}
