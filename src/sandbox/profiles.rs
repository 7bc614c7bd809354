//! Which broker the sandbox passes for: what it serves, and where it differs from Kafka.
//!
//! A profile is data. It narrows what the message tables implement, never widens it.
//! Sources: the schemas of Kafka 2.1, 2.8, 3.9 and 4.3; Redpanda's handlers of December 2024; for
//! Event Hubs what clients have logged (oliveigah/klife issue 13, Azure/azure-event-hubs-for-kafka
//! issues 69 and 209), and Kafka 3.2's group APIs where no client has.

use std::ops::RangeInclusive;

use kmirror_protocol::{ApiKey, api::IMPLEMENTED};

/// A broker to pass for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Apache Kafka 2.1, the oldest that kmirror works with.
    Kafka21,
    /// Apache Kafka 2.8.
    Kafka28,
    /// Apache Kafka 3.9.
    Kafka39,
    /// Apache Kafka 4.3, which every other rule of the sandbox follows.
    #[default]
    Kafka43,
    /// A broker with Redpanda's API versions.
    Redpanda,
    /// A broker with the API versions and limits of Azure Event Hubs.
    EventHubs,
    /// Kafka 4.3 but for producer ids, and so for transactions: what services do that speak Kafka's
    /// protocol over a log of their own.
    NoIdempotence,
}

/// A cluster-wide feature (KIP-584).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level that the broker could run.
    pub min: i16,
    /// The highest.
    pub max: i16,
    /// The level that the cluster runs.
    pub finalized: i16,
}

/// Where a profile has no such API.
const NONE: i16 = -1;

/// The newest version of each API, in the order of [`Profile::ALL`]; the last profile has none of
/// its own.
#[rustfmt::skip]
const NEWEST: &[(ApiKey, [i16; 6])] = &[
    (ApiKey::Produce,                      [7,    9,    11,   13,   7,    7]),
    (ApiKey::Fetch,                        [10,   12,   17,   18,   11,   6]),
    (ApiKey::ListOffsets,                  [4,    6,    9,    11,   4,    8]),
    (ApiKey::Metadata,                     [7,    11,   12,   13,   8,    5]),
    (ApiKey::OffsetCommit,                 [6,    8,    9,    10,   8,    8]),
    (ApiKey::OffsetFetch,                  [5,    7,    9,    10,   7,    8]),
    (ApiKey::FindCoordinator,              [2,    3,    6,    6,    3,    4]),
    (ApiKey::JoinGroup,                    [3,    7,    9,    9,    6,    9]),
    (ApiKey::Heartbeat,                    [2,    4,    4,    4,    4,    4]),
    (ApiKey::LeaveGroup,                   [2,    4,    5,    5,    4,    5]),
    (ApiKey::SyncGroup,                    [2,    5,    5,    5,    4,    5]),
    (ApiKey::DescribeGroups,               [2,    5,    5,    6,    5,    5]),
    (ApiKey::ListGroups,                   [2,    4,    5,    5,    4,    4]),
    (ApiKey::SaslHandshake,                [1,    1,    1,    1,    1,    1]),
    (ApiKey::ApiVersions,                  [2,    3,    4,    4,    3,    3]),
    (ApiKey::CreateTopics,                 [3,    7,    7,    7,    6,    7]),
    (ApiKey::DeleteTopics,                 [3,    6,    6,    6,    4,    6]),
    (ApiKey::DeleteRecords,                [1,    2,    2,    2,    2,    NONE]),
    (ApiKey::InitProducerId,               [1,    4,    5,    5,    3,    4]),
    (ApiKey::OffsetForLeaderEpoch,         [2,    4,    4,    4,    4,    NONE]),
    (ApiKey::AddPartitionsToTxn,           [1,    3,    5,    5,    3,    NONE]),
    (ApiKey::AddOffsetsToTxn,              [1,    3,    4,    4,    3,    NONE]),
    (ApiKey::EndTxn,                       [1,    3,    4,    5,    3,    NONE]),
    (ApiKey::TxnOffsetCommit,              [2,    3,    4,    5,    3,    NONE]),
    (ApiKey::DescribeAcls,                 [1,    2,    3,    3,    2,    NONE]),
    (ApiKey::CreateAcls,                   [1,    2,    3,    3,    2,    NONE]),
    (ApiKey::DeleteAcls,                   [1,    2,    3,    3,    2,    NONE]),
    (ApiKey::DescribeConfigs,              [2,    4,    4,    4,    4,    2]),
    (ApiKey::AlterConfigs,                 [1,    2,    2,    2,    2,    NONE]),
    (ApiKey::DescribeLogDirs,              [1,    2,    4,    5,    2,    NONE]),
    (ApiKey::SaslAuthenticate,             [0,    2,    2,    2,    2,    1]),
    (ApiKey::CreatePartitions,             [1,    3,    3,    3,    3,    1]),
    (ApiKey::DeleteGroups,                 [1,    2,    2,    2,    2,    0]),
    (ApiKey::ElectLeaders,                 [NONE, 2,    2,    2,    NONE, NONE]),
    (ApiKey::IncrementalAlterConfigs,      [NONE, 1,    1,    1,    1,    NONE]),
    (ApiKey::OffsetDelete,                 [NONE, 0,    0,    0,    0,    NONE]),
    (ApiKey::DescribeClientQuotas,         [NONE, 1,    1,    1,    1,    NONE]),
    (ApiKey::AlterClientQuotas,            [NONE, 1,    1,    1,    1,    NONE]),
    (ApiKey::DescribeUserScramCredentials, [NONE, 0,    0,    0,    NONE, NONE]),
    (ApiKey::AlterUserScramCredentials,    [NONE, 0,    0,    0,    NONE, NONE]),
    (ApiKey::DescribeCluster,              [NONE, 0,    1,    2,    NONE, NONE]),
    (ApiKey::DescribeProducers,            [NONE, 0,    0,    0,    0,    NONE]),
    (ApiKey::DescribeTransactions,         [NONE, NONE, 0,    0,    0,    NONE]),
    (ApiKey::ListTransactions,             [NONE, NONE, 1,    2,    0,    NONE]),
    (ApiKey::ConsumerGroupDescribe,        [NONE, NONE, 0,    1,    NONE, NONE]),
    (ApiKey::ListConfigResources,          [NONE, NONE, 0,    1,    NONE, NONE]),
    (ApiKey::DescribeTopicPartitions,      [NONE, NONE, 0,    0,    NONE, NONE]),
];

/// What needs producer ids.
const OF_PRODUCER_IDS: [ApiKey; 8] = [
    ApiKey::InitProducerId,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeProducers,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
];

/// What the cluster does of Kafka 4.3's features; groups of the new protocol are not among it.
const FEATURES_4_3: &[Feature] = &[
    Feature {
        name: "metadata.version",
        min: 7,
        max: 30,
        finalized: 30,
    },
    Feature {
        name: "transaction.version",
        min: 0,
        max: 2,
        finalized: 2,
    },
];

/// The same of Kafka 3.9.
const FEATURES_3_9: &[Feature] = &[Feature {
    name: "metadata.version",
    min: 1,
    max: 21,
    finalized: 21,
}];

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 7] = [
        Self::Kafka21,
        Self::Kafka28,
        Self::Kafka39,
        Self::Kafka43,
        Self::Redpanda,
        Self::EventHubs,
        Self::NoIdempotence,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka21 => "kafka-2.1",
            Self::Kafka28 => "kafka-2.8",
            Self::Kafka39 => "kafka-3.9",
            Self::Kafka43 => "kafka-4.3",
            Self::Redpanda => "redpanda",
            Self::EventHubs => "event-hubs",
            Self::NoIdempotence => "no-idempotence",
        }
    }

    /// The profile of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The versions of an API that both the profile and the message tables have.
    #[must_use]
    pub fn versions(self, key: ApiKey) -> Option<RangeInclusive<i16>> {
        let (_, newest) = NEWEST.iter().find(|(listed, _)| *listed == key)?;
        if self == Self::NoIdempotence && OF_PRODUCER_IDS.contains(&key) {
            return None;
        }
        // What is like another profile has no column of its own.
        let column = match self {
            Self::NoIdempotence => Self::Kafka43,
            other => other,
        };
        let (_, newest) = Self::ALL
            .iter()
            .zip(newest)
            .find(|(it, _)| **it == column)?;
        let implemented = IMPLEMENTED.iter().find(|it| it.key == key)?;
        let (first, last) = implemented.versions.clone().into_inner();
        let last = last.min(*newest);
        (first <= last).then_some(first..=last)
    }

    /// The lowest version that is announced, which need not be served: without Produce from 0 on
    /// librdkafka takes the broker for one that knows no compression (KAFKA-18659).
    #[must_use]
    pub const fn announced_from(key: ApiKey, first: i16) -> i16 {
        match key {
            ApiKey::Produce => 0,
            _ => first,
        }
    }

    /// The features, none for brokers without a KRaft controller.
    #[must_use]
    pub const fn features(self) -> &'static [Feature] {
        match self {
            Self::Kafka43 => FEATURES_4_3,
            Self::Kafka39 => FEATURES_3_9,
            _ => &[],
        }
    }

    /// The level that the cluster runs of a feature; 0 is that it does not run it.
    #[must_use]
    pub fn feature_level(self, name: &str) -> i16 {
        let feature = self.features().iter().find(|feature| feature.name == name);
        feature.map_or(0, |feature| feature.finalized)
    }

    /// Whether a version of ApiVersions that it does not know ends the connection; brokers answer
    /// since KIP-511 (dpkp/kafka-python issue 2602).
    #[must_use]
    pub const fn drops_unknown_api_versions(self) -> bool {
        matches!(self, Self::EventHubs)
    }

    /// Whether a producer id, and each batch that has one, needs IdempotentWrite on the cluster;
    /// Write on some topic is enough since Kafka 2.8 (KIP-679).
    #[must_use]
    pub const fn needs_idempotent_write(self) -> bool {
        matches!(self, Self::Kafka21)
    }

    /// The longest request, in bytes; a longer one ends the connection.
    #[must_use]
    pub const fn request_len_max(self) -> usize {
        match self {
            Self::EventHubs => 1_046_528,
            _ => 100 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_a_line_for_every_api_of_the_tables() {
        let listed: Vec<ApiKey> = NEWEST.iter().map(|(key, _)| *key).collect();
        let implemented: Vec<ApiKey> = IMPLEMENTED.iter().map(|it| it.key).collect();
        assert_eq!(listed, implemented);
        for profile in Profile::ALL {
            assert_eq!(Profile::from_name(profile.name()), Some(profile));
        }
    }

    #[test]
    fn the_newest_kafka_serves_everything_the_tables_have() {
        for api in IMPLEMENTED {
            let served = Profile::Kafka43.versions(api.key);
            assert_eq!(served, Some(api.versions.clone()), "{}", api.key);
        }
    }

    #[test]
    fn an_older_kafka_serves_no_more_than_a_newer_one() {
        let kafka = [
            Profile::Kafka21,
            Profile::Kafka28,
            Profile::Kafka39,
            Profile::Kafka43,
        ];
        for (older, newer) in kafka.iter().zip(&kafka[1..]) {
            for api in IMPLEMENTED {
                let newest = |profile: &Profile| profile.versions(api.key).map(|it| *it.end());
                assert!(
                    newest(older) <= newest(newer),
                    "{} of {}",
                    api.key,
                    older.name()
                );
            }
        }
    }
}
