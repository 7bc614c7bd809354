//! Which APIs there are, and what ties a request to its response.

use std::ops::RangeInclusive;

use crate::wire::{Decode, Encode, Version};

macro_rules! api_keys {
    ($($key:literal $name:ident,)+) => {
        /// The number that says which API a request belongs to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is an API by Kafka's own name")]
        pub enum ApiKey { $($name,)+ }

        impl ApiKey {
            /// Every API this crate knows by name.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> i16 {
                match self { $(Self::$name => $key,)+ }
            }

            /// The API of a number on the wire, if it is known.
            #[must_use]
            pub const fn from_number(number: i16) -> Option<Self> {
                match number { $($key => Some(Self::$name),)+ _ => None }
            }

            /// Kafka's name for the API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

api_keys! {
    0 Produce, 1 Fetch, 2 ListOffsets, 3 Metadata, 8 OffsetCommit, 9 OffsetFetch,
    10 FindCoordinator, 11 JoinGroup, 12 Heartbeat, 13 LeaveGroup, 14 SyncGroup,
    15 DescribeGroups, 16 ListGroups, 17 SaslHandshake, 18 ApiVersions, 19 CreateTopics,
    20 DeleteTopics, 21 DeleteRecords, 22 InitProducerId, 23 OffsetForLeaderEpoch,
    24 AddPartitionsToTxn, 25 AddOffsetsToTxn, 26 EndTxn, 28 TxnOffsetCommit, 29 DescribeAcls,
    30 CreateAcls, 31 DeleteAcls, 32 DescribeConfigs, 33 AlterConfigs, 35 DescribeLogDirs,
    36 SaslAuthenticate, 37 CreatePartitions, 42 DeleteGroups, 43 ElectLeaders, 44 IncrementalAlterConfigs,
    47 OffsetDelete, 48 DescribeClientQuotas, 49 AlterClientQuotas,
    50 DescribeUserScramCredentials, 51 AlterUserScramCredentials, 60 DescribeCluster,
    61 DescribeProducers, 65 DescribeTransactions, 66 ListTransactions,
    69 ConsumerGroupDescribe, 74 ListConfigResources, 75 DescribeTopicPartitions,
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A request: its API, the versions this crate reads and writes, and what answers it.
pub trait Request: Encode {
    /// The API.
    const KEY: ApiKey;
    /// The versions this crate implements, both directions.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version (KIP-482); `i16::MAX` when there is none.
    const FLEXIBLE_FROM: i16;
    /// What a broker answers.
    type Response<'a>: Decode<'a> + Encode;

    /// The given version of this API.
    #[must_use]
    fn version(number: i16) -> Version {
        Version {
            number,
            flexible: number >= Self::FLEXIBLE_FROM,
        }
    }
}

/// What this crate implements of one API, both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Implemented {
    /// The API.
    pub key: ApiKey,
    /// The versions; see [`Request::VERSIONS`].
    pub versions: RangeInclusive<i16>,
    /// See [`Request::FLEXIBLE_FROM`].
    pub flexible_from: i16,
}

macro_rules! implemented {
    ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
        /// Every API this crate implements, in the order of the keys.
        pub const IMPLEMENTED: &[Implemented] = &[$(Implemented {
            key: <crate::messages::$request $(<$lt>)? as Request>::KEY,
            versions: <crate::messages::$request $(<$lt>)? as Request>::VERSIONS,
            flexible_from: <crate::messages::$request $(<$lt>)? as Request>::FLEXIBLE_FROM,
        },)+];
    };
}

crate::for_each_api!(implemented);

/// Ties a request table to its API key, versions and response.
macro_rules! api {
    ($key:ident $versions:expr, flexible $flexible:expr; $request:ident$(<$lt:lifetime>)? => $response:ty) => {
        impl $(<$lt>)? $crate::api::Request for $request $(<$lt>)? {
            const KEY: $crate::api::ApiKey = $crate::api::ApiKey::$key;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE_FROM: i16 = $flexible;
            type Response<'r> = $response;
        }
    };
}

pub(crate) use api;
