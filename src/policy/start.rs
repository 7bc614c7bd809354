//! Where copying of a new partition begins, as it is written in a configuration file or on a command
//! line.
//!
//! ```text
//! earliest   latest   timestamp:2026-03-01T06:00:00Z   offset:1200   group:billing
//! ```
//!
//! Only what is meant is said here. Which offset that is takes the clusters' answers, and the flow
//! decides. Source: `auto.offset.reset` of `ConsumerConfig`, and the scenarios of
//! `kafka-consumer-groups --reset-offsets` (KIP-122).

mod datetime;

use std::{fmt, sync::Arc};

use super::NameFilter;

/// Where copying of a partition begins of which nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record that the source still has.
    #[default]
    Earliest,
    /// After the newest record that the source has when the partition is first seen.
    Latest,
    /// At the first record whose timestamp is not below this, in milliseconds since 1970; after the
    /// newest where there is none.
    Timestamp(i64),
    /// At this offset.
    Offset(i64),
    /// Where a consumer group of the source would go on.
    Group {
        /// The group.
        group: Arc<str>,
        /// What holds where it has committed nothing.
        otherwise: Box<Self>,
    },
}

impl StartAt {
    /// What values there are, for messages.
    pub const FORMS: &'static str =
        "earliest, latest, timestamp:2026-03-01T06:00:00Z, offset:N or group:NAME";

    /// Reads a value; `otherwise` is what holds where a group has committed nothing.
    ///
    /// Timestamps are those of ISO 8601 in its extended form, of UTC where they name no offset from
    /// it, or milliseconds since 1970. A bare date and a bare number are understood too: as a
    /// timestamp and as an offset.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not repeat it.
    pub fn parse(text: &str, otherwise: &Self) -> Result<Self, String> {
        let text = text.trim();
        match text.split_once(':') {
            _ if text.eq_ignore_ascii_case("earliest") => Ok(Self::Earliest),
            _ if text.eq_ignore_ascii_case("latest") => Ok(Self::Latest),
            Some(("timestamp", time)) => timestamp(time.trim()),
            Some(("offset", offset)) => offset_of(offset.trim()),
            Some(("group", group)) if !group.trim().is_empty() => Ok(Self::Group {
                group: Arc::from(group.trim()),
                otherwise: Box::new(otherwise.clone()),
            }),
            Some(("group", _)) => Err(String::from("names no group: write group:NAME")),
            None if is_number(text) => offset_of(text),
            _ if text.starts_with(|c: char| c.is_ascii_digit()) => timestamp(text),
            _ => Err(format!("must be {}", Self::FORMS)),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn offset_of(text: &str) -> Result<StartAt, String> {
    let offset = text.parse().ok().filter(|offset| *offset >= 0);
    let offset = offset.filter(|_| is_number(text));
    let problem = || String::from("must be offset:N with a whole number that is not negative");
    offset.map(StartAt::Offset).ok_or_else(problem)
}

fn timestamp(text: &str) -> Result<StartAt, String> {
    let millis = if is_number(text) {
        text.parse().ok()
    } else {
        datetime::parse(text)
    };
    let problem = || {
        String::from(
            "must be a time from 1970 on as in timestamp:2026-03-01T06:00:00Z, \
             timestamp:2026-03-01T07:00+01:00, timestamp:2026-03-01 (UTC), or milliseconds",
        )
    };
    millis
        .filter(|millis| *millis >= 0)
        .map(StartAt::Timestamp)
        .ok_or_else(problem)
}

impl fmt::Display for StartAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Timestamp(millis) => write!(f, "timestamp:{}", datetime::shown(*millis)),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::Group { group, .. } => write!(f, "group:{group}"),
        }
    }
}

/// Where the partitions of a flow begin.
#[derive(Clone, Debug, Default)]
pub struct StartRules {
    /// Where no other rule matches.
    pub default: StartAt,
    /// For single topics and partitions; the first that matches holds.
    pub topics: Vec<TopicStart>,
}

/// Where the partitions of some topics begin.
#[derive(Clone, Debug)]
pub struct TopicStart {
    /// Which topics.
    pub topics: NameFilter,
    /// Which of their partitions; `None` all.
    pub partition: Option<i32>,
    /// Where they begin.
    pub at: StartAt,
}

impl StartRules {
    /// Where a partition begins. Where a pattern cannot be decided for the topic, nothing of it is
    /// left out.
    #[must_use]
    pub fn of(&self, topic: &str, partition: i32) -> &StartAt {
        for rule in &self.topics {
            if rule.partition.is_some_and(|number| number != partition) {
                continue;
            }
            match rule.topics.matches(topic) {
                Ok(true) => return &rule.at,
                Ok(false) => {}
                Err(_) => return &StartAt::Earliest,
            }
        }
        &self.default
    }

    /// The groups that some partitions begin with, and what holds where they have committed nothing.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &StartAt)> {
        let rules = self.topics.iter().map(|rule| &rule.at);
        std::iter::once(&self.default)
            .chain(rules)
            .filter_map(|at| match at {
                StartAt::Group { group, otherwise } => Some((group, &**otherwise)),
                _ => None,
            })
    }
}

/// Splits `TOPIC=START` or `TOPIC:PARTITION=START` into the pattern, the partition and the value.
///
/// # Errors
/// What is wrong with it, in words that do not repeat it.
pub fn split_rule(item: &str) -> Result<(&str, Option<i32>, &str), &'static str> {
    let (topics, at) = item.split_once('=').ok_or("has no '='")?;
    let (topics, at) = (topics.trim(), at.trim());
    let (topics, partition) = match topics.rsplit_once(':') {
        Some((name, number)) if is_number(number.trim()) => {
            let number = number.trim().parse();
            let number = number.map_err(|_| "has too large a partition number")?;
            (name.trim(), Some(number))
        }
        _ => (topics, None),
    };
    if topics.is_empty() {
        return Err("names no topic before the '='");
    }
    Ok((topics, partition, at))
}

#[cfg(test)]
mod tests;
