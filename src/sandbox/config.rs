//! Topic configs: which there are, what values they take, and what a partition obeys.
//!
//! Source: Kafka's `LogConfig` and `ServerTopicConfigSynonyms`, with the defaults of 4.x
//! (KIP-1030 among them). Only the fields of [`TopicRules`] have an effect here.

use std::collections::BTreeMap;

use kmirror_protocol::records::Compression;

/// One config that a topic can have.
#[derive(Debug)]
pub(super) struct ConfigKey {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As Kafka prints it.
    pub(super) default: &'static str,
    /// The broker config that the default comes from; empty if there is none.
    pub(super) synonym: &'static str,
}

/// What values a config takes.
#[derive(Debug)]
pub(super) enum Kind {
    Boolean,
    /// 32 bits, at least this.
    Int(i64),
    /// 64 bits, at least this.
    Long(i64),
    /// Between 0 and 1.
    Ratio,
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
    /// Comma-separated, of whatever elements.
    List,
}

impl Kind {
    /// The type's number in a DescribeConfigs answer (`DescribeConfigsResponse.ConfigType`).
    pub(super) const fn number(&self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::OneOf(_) => 2,
            Self::Int(_) => 3,
            Self::Long(_) => 5,
            Self::Ratio => 6,
            Self::ListOf(_) | Self::List => 7,
        }
    }

    const fn is_list(&self) -> bool {
        matches!(self, Self::ListOf(_) | Self::List)
    }

    /// What is wrong with a value, if anything is, in Kafka's words.
    fn fault(&self, value: &str) -> Option<String> {
        let number = |name: &str, least: i64, max: i64| match value.trim().parse::<i64>() {
            Ok(number) if number > max => Some(format!("Not a number of type {name}")),
            Ok(number) if number < least => Some(format!("Value must be at least {least}")),
            Ok(_) => None,
            Err(_) => Some(format!("Not a number of type {name}")),
        };
        match self {
            Self::Boolean => {
                (!matches!(value.trim().to_ascii_lowercase().as_str(), "true" | "false"))
                    .then(|| "Expected value to be either true or false".to_owned())
            }
            Self::Int(least) => number("INT", *least, i64::from(i32::MAX)),
            Self::Long(least) => number("LONG", *least, i64::MAX),
            Self::Ratio => match value.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => None,
                Ok(_) => Some("Value must be between 0 and 1".to_owned()),
                Err(_) => Some("Not a number of type DOUBLE".to_owned()),
            },
            Self::OneOf(allowed) => (!allowed.contains(&value))
                .then(|| format!("String must be one of: {}", allowed.join(", "))),
            Self::ListOf(allowed) => elements(value)
                .any(|element| !allowed.contains(&element))
                .then(|| format!("String must be one of: {}", allowed.join(", "))),
            Self::List => None,
        }
    }
}

/// The elements of a list, trimmed; none for an empty value.
fn elements(value: &str) -> impl Iterator<Item = &str> {
    let elements = value.split(',').map(str::trim);
    elements.filter(move |_| !value.trim().is_empty())
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonym: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default,
        synonym,
    }
}

const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const FOREVER: &str = "9223372036854775807";

/// Every topic config, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[ConfigKey] = &[
    key("cleanup.policy", Kind::ListOf(&["compact", "delete"]), "delete", "log.cleanup.policy"),
    key("compression.gzip.level", Kind::Int(-1), "-1", "compression.gzip.level"),
    key("compression.lz4.level", Kind::Int(1), "9", "compression.lz4.level"),
    key("compression.type", Kind::OneOf(CODECS), "producer", "compression.type"),
    key("compression.zstd.level", Kind::Int(-131_072), "3", "compression.zstd.level"),
    key("delete.retention.ms", Kind::Long(0), "86400000", "log.cleaner.delete.retention.ms"),
    key("file.delete.delay.ms", Kind::Long(0), "60000", "log.segment.delete.delay.ms"),
    key("flush.messages", Kind::Long(1), FOREVER, "log.flush.interval.messages"),
    key("flush.ms", Kind::Long(0), FOREVER, "log.flush.interval.ms"),
    key("follower.replication.throttled.replicas", Kind::List, "", ""),
    key("index.interval.bytes", Kind::Int(0), "4096", "log.index.interval.bytes"),
    key("leader.replication.throttled.replicas", Kind::List, "", ""),
    key("local.retention.bytes", Kind::Long(-2), "-2", "log.local.retention.bytes"),
    key("local.retention.ms", Kind::Long(-2), "-2", "log.local.retention.ms"),
    key("max.compaction.lag.ms", Kind::Long(1), FOREVER, "log.cleaner.max.compaction.lag.ms"),
    key("max.message.bytes", Kind::Int(0), "1048588", "message.max.bytes"),
    key("message.timestamp.after.max.ms", Kind::Long(0), "3600000", "log.message.timestamp.after.max.ms"),
    key("message.timestamp.before.max.ms", Kind::Long(0), FOREVER, "log.message.timestamp.before.max.ms"),
    key("message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime", "log.message.timestamp.type"),
    key("min.cleanable.dirty.ratio", Kind::Ratio, "0.5", "log.cleaner.min.cleanable.ratio"),
    key("min.compaction.lag.ms", Kind::Long(0), "0", "log.cleaner.min.compaction.lag.ms"),
    key("min.insync.replicas", Kind::Int(1), "1", "min.insync.replicas"),
    key("preallocate", Kind::Boolean, "false", "log.preallocate"),
    key("remote.log.copy.disable", Kind::Boolean, "false", ""),
    key("remote.log.delete.on.disable", Kind::Boolean, "false", ""),
    key("remote.storage.enable", Kind::Boolean, "false", ""),
    key("retention.bytes", Kind::Long(i64::MIN), "-1", "log.retention.bytes"),
    key("retention.ms", Kind::Long(-1), "604800000", "log.retention.ms"),
    key("segment.bytes", Kind::Int(1_048_576), "1073741824", "log.segment.bytes"),
    key("segment.index.bytes", Kind::Int(4), "10485760", "log.index.size.max.bytes"),
    key("segment.jitter.ms", Kind::Long(0), "0", "log.roll.jitter.ms"),
    key("segment.ms", Kind::Long(1), "604800000", "log.roll.ms"),
    key("unclean.leader.election.enable", Kind::Boolean, "false", "unclean.leader.election.enable"),
];

/// The config of that name, if there is one.
pub(super) fn find_key(name: &str) -> Option<&'static ConfigKey> {
    KEYS.iter().find(|key| key.name == name)
}

/// What is done to one config (KIP-339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    Set(&'a str),
    Delete,
    Append(&'a str),
    Subtract(&'a str),
}

/// The configs of one topic.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicConfig {
    /// What has been set on the topic itself.
    set: BTreeMap<String, String>,
    rules: TopicRules,
}

impl TopicConfig {
    /// The value set on the topic, if one is.
    pub(super) fn set_value(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// The value in effect.
    pub(super) fn value<'a>(&'a self, key: &'a ConfigKey) -> &'a str {
        self.set_value(key.name).unwrap_or(key.default)
    }

    /// What a partition of the topic obeys.
    pub(super) const fn rules(&self) -> &TopicRules {
        &self.rules
    }

    /// The configs after changes, the values of which are then valid.
    ///
    /// # Errors
    ///
    /// What is wrong, in Kafka's words, for `INVALID_CONFIG`.
    pub(super) fn changed<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, Change<'a>)>,
    ) -> Result<Self, String> {
        let mut set = self.set.clone();
        for (name, change) in changes {
            change_one(&mut set, name, change)?;
        }
        for (name, value) in &set {
            let key = find_key(name);
            let key = key.ok_or_else(|| format!("Unknown topic config name: {name}"))?;
            if let Some(fault) = key.kind.fault(value) {
                return Err(format!(
                    "Invalid value {value} for configuration {name}: {fault}"
                ));
            }
        }
        let rules = TopicRules::new(&set);
        Ok(Self { set, rules })
    }
}

fn change_one(
    set: &mut BTreeMap<String, String>,
    name: &str,
    change: Change<'_>,
) -> Result<(), String> {
    let operand = match change {
        Change::Set(value) => {
            set.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
        Change::Delete => {
            set.remove(name);
            return Ok(());
        }
        Change::Append(operand) | Change::Subtract(operand) => operand,
    };
    let list = find_key(name).filter(|key| key.kind.is_list());
    let key = list.ok_or_else(|| {
        let operation = match change {
            Change::Append(_) => "APPEND",
            _ => "SUBTRACT",
        };
        format!("Can't {operation} to key {name} because its type is not LIST.")
    })?;
    let current = set.get(name).map_or(key.default, String::as_str);
    let mut list: Vec<&str> = elements(current).collect();
    for element in elements(operand) {
        match change {
            Change::Append(_) if !list.contains(&element) => list.push(element),
            Change::Append(_) => {}
            _ => list.retain(|it| *it != element),
        }
    }
    let value = list.join(",");
    set.insert(name.to_owned(), value);
    Ok(())
}

/// Whose time a topic's records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// What the configs of a topic mean for its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicRules {
    pub(super) is_compacted: bool,
    pub(super) is_deletable: bool,
    /// The codec every batch is stored with; `None` keeps the producer's.
    pub(super) compression: Option<Compression>,
    /// The level of that codec; `None` is the codec's default.
    pub(super) compression_level: Option<i32>,
    pub(super) timestamp_type: TimestampType,
    pub(super) timestamp_before_max_ms: i64,
    pub(super) timestamp_after_max_ms: i64,
    /// The largest batch, in bytes.
    pub(super) max_message_bytes: usize,
    /// The largest segment, in bytes; no batch may be larger.
    pub(super) segment_bytes: usize,
    /// Negative for no limit.
    pub(super) retention_ms: i64,
    /// Negative for no limit.
    pub(super) retention_bytes: i64,
    /// How long compaction keeps tombstones, in milliseconds.
    pub(super) delete_retention_ms: i64,
    /// How many replicas must be in sync for a batch to be accepted with acks -1.
    pub(super) min_insync_replicas: usize,
    /// Whether a replica that is not in sync may lead when no other can.
    pub(super) allows_unclean_election: bool,
}

impl Default for TopicRules {
    fn default() -> Self {
        Self::new(&BTreeMap::new())
    }
}

impl TopicRules {
    /// Reads values that have been found valid.
    fn new(set: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| {
            let default = find_key(name).map_or("", |key| key.default);
            set.get(name).map_or(default, String::as_str)
        };
        let number = |name: &str| value(name).trim().parse::<i64>().unwrap_or_default();
        let size = |name: &str| usize::try_from(number(name)).unwrap_or_default();
        let flag = |name: &str| value(name).trim().eq_ignore_ascii_case("true");
        let has_policy = |policy| elements(value("cleanup.policy")).any(|it| it == policy);
        let compression = match value("compression.type") {
            "uncompressed" => Some(Compression::None),
            name => Compression::ALL.into_iter().find(|it| it.name() == name),
        };
        let level = match compression {
            Some(Compression::Gzip) => Some("compression.gzip.level"),
            Some(Compression::Zstd) => Some("compression.zstd.level"),
            _ => None,
        };
        let level = level.and_then(|name| i32::try_from(number(name)).ok());
        Self {
            is_compacted: has_policy("compact"),
            is_deletable: has_policy("delete"),
            compression,
            // Level -1 of gzip asks for the codec's own default.
            compression_level: level
                .filter(|level| compression != Some(Compression::Gzip) || *level != -1),
            timestamp_type: match value("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            max_message_bytes: size("max.message.bytes"),
            segment_bytes: size("segment.bytes"),
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            delete_retention_ms: number("delete.retention.ms"),
            min_insync_replicas: size("min.insync.replicas"),
            allows_unclean_election: flag("unclean.leader.election.enable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_valid_value() {
        for key in KEYS {
            assert_eq!(key.kind.fault(key.default), None, "{}", key.name);
        }
    }

    #[test]
    fn keys_are_sorted_by_name() {
        assert!(KEYS.is_sorted_by_key(|key| key.name));
    }

    #[test]
    fn a_value_outside_its_type_is_refused() {
        let cases = [
            ("retention.ms", "-1", true),
            ("retention.ms", "-2", false),
            ("retention.ms", "soon", false),
            ("max.message.bytes", "2147483648", false),
            ("cleanup.policy", "compact,delete", true),
            ("cleanup.policy", "compact, shred", false),
            ("compression.type", "zstd", true),
            ("compression.type", "brotli", false),
            ("preallocate", "TRUE", true),
            ("preallocate", "yes", false),
            ("min.cleanable.dirty.ratio", "1.5", false),
            ("no.such.config", "1", false),
        ];
        for (name, value, is_valid) in cases {
            let changed = TopicConfig::default().changed([(name, Change::Set(value))]);
            assert_eq!(changed.is_ok(), is_valid, "{name}={value}: {changed:?}");
        }
    }

    #[test]
    fn lists_grow_and_shrink_by_element() {
        let config = TopicConfig::default();
        let policy = |config: &TopicConfig| config.set_value("cleanup.policy").map(str::to_owned);
        let config = config.changed([("cleanup.policy", Change::Append("compact"))]);
        let config = config.unwrap();
        assert_eq!(policy(&config).as_deref(), Some("delete,compact"));
        let config = config.changed([("cleanup.policy", Change::Subtract("delete"))]);
        let config = config.unwrap();
        assert_eq!(policy(&config).as_deref(), Some("compact"));
        assert!(config.rules().is_compacted && !config.rules().is_deletable);
        assert!(
            config
                .changed([("retention.ms", Change::Append("1"))])
                .is_err()
        );
    }
}
