//! The first exchange on a connection: which versions the broker offers, and which to use.
//!
//! Negotiated for every connection anew: brokers of one cluster differ during an upgrade.
//! Sources: KIP-511 (ApiVersions v3 and its fallback), KIP-896 (floors of Kafka 4).

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use kmirror_protocol::{
    ApiKey, ErrorCode, Request, frame,
    messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest},
};

use super::{
    channel::{Channel, Expected},
    connection::{Answer, Pending},
    error::{DisconnectCause, MalformedCause, RequestError},
    limits::answer_len_max,
};

/// The version tried first. Not the highest: Event Hubs resets the connection on version 4.
pub(super) const FIRST_VERSION: i16 = 3;
/// The version that every broker answers.
pub(super) const LAST_VERSION: i16 = 0;

/// The feature that says which protocol transactions have.
const TRANSACTION_VERSION: &str = "transaction.version";

/// The versions that a broker offers, of the APIs that the codec knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRanges {
    offered: BTreeMap<ApiKey, (i16, i16)>,
    transaction_version: i16,
}

impl ApiRanges {
    /// Takes over what a broker says; of an API named twice, the first.
    pub(super) fn new(response: &ApiVersionsResponse<'_>) -> Result<Self, MalformedCause> {
        let mut offered = BTreeMap::new();
        for range in &response.api_keys {
            let Some(api) = ApiKey::from_number(range.api_key) else {
                continue;
            };
            let (min, max) = (range.min_version, range.max_version);
            if min < 0 || min > max {
                return Err(MalformedCause::VersionRange { api, min, max });
            }
            offered.entry(api).or_insert((min, max));
        }
        let mut features = response.finalized_features.iter();
        let feature = features.find(|feature| feature.name == TRANSACTION_VERSION);
        Ok(Self {
            offered,
            transaction_version: feature.map_or(0, |feature| feature.max_version_level),
        })
    }

    /// The finalized level of the feature `transaction.version`, as of this connection; 0 where
    /// there is none (KIP-584, KIP-890).
    #[must_use]
    pub const fn transaction_version(&self) -> i16 {
        self.transaction_version
    }

    /// The versions of an API that the broker offers.
    #[must_use]
    pub fn offered(&self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        self.offered.get(&api).map(|(min, max)| *min..=*max)
    }

    /// The highest version of `R` that both sides have.
    #[must_use]
    pub fn version<R: Request>(&self) -> Option<i16> {
        self.pick(R::KEY, &R::VERSIONS)
    }

    /// The highest common version, never below the start of `needed`: Kafka 4 lists versions of
    /// Produce that it no longer serves (KAFKA-18659).
    pub(super) fn pick(&self, api: ApiKey, needed: &RangeInclusive<i16>) -> Option<i16> {
        let (min, max) = *self.offered.get(&api)?;
        let max = max.min(*needed.end()).min(self.version_max(api));
        (max >= min.max(*needed.start())).then_some(max)
    }

    /// The last version that names topics instead of their ids, on a broker that has no ids.
    ///
    /// One API says nothing about another: Event Hubs offers OffsetFetch v8 with Metadata v5.
    fn version_max(&self, api: ApiKey) -> i16 {
        let has_topic_ids = self
            .offered
            .get(&MetadataRequest::KEY)
            .is_some_and(|(_, max)| *max >= 10);
        match api {
            ApiKey::Produce | ApiKey::Fetch if !has_topic_ids => 12,
            ApiKey::OffsetCommit | ApiKey::OffsetFetch if !has_topic_ids => 9,
            _ => i16::MAX,
        }
    }
}

/// Asks for versions, first with `version`; falls back to version 0 when the broker says so.
///
/// A broker that closes the connection instead must be asked on a new one: `Disconnected`.
pub(super) async fn negotiate(
    channel: &Arc<Channel>,
    client_id: &str,
    version: i16,
    timeout: Duration,
) -> Result<ApiRanges, RequestError> {
    let answer = ask(channel, client_id, version, timeout).await?;
    if version != LAST_VERSION && is_unsupported(&answer) {
        let answer = ask(channel, client_id, LAST_VERSION, timeout).await?;
        return ranges(channel, &answer);
    }
    ranges(channel, &answer)
}

async fn ask(
    channel: &Arc<Channel>,
    client_id: &str,
    version: i16,
    timeout: Duration,
) -> Result<Answer<ApiVersionsRequest<'static>>, RequestError> {
    let request = ApiVersionsRequest {
        client_software_name: env!("CARGO_PKG_NAME"),
        client_software_version: env!("CARGO_PKG_VERSION"),
    };
    let expected = Expected {
        api: ApiKey::ApiVersions,
        len_max: answer_len_max(ApiKey::ApiVersions),
        trusted: false,
        timeout,
    };
    Pending::enqueue(channel, &request, version, client_id, expected)?.await
}

/// Whether the answer is the one with a version 0 body that says "not this version".
fn is_unsupported(answer: &Answer<ApiVersionsRequest<'_>>) -> bool {
    frame::decode_response::<ApiVersionsRequest<'_>>(answer.body(), LAST_VERSION)
        .is_ok_and(|response| response.error_code == ErrorCode::UNSUPPORTED_VERSION)
}

fn ranges(
    channel: &Channel,
    answer: &Answer<ApiVersionsRequest<'_>>,
) -> Result<ApiRanges, RequestError> {
    let response = answer.decode()?;
    if let Err(code) = response.error_code.ok() {
        return Err(RequestError::Disconnected {
            origin: channel.origin(ApiKey::ApiVersions),
            cause: DisconnectCause::Refused(code),
        });
    }
    ApiRanges::new(&response).map_err(|cause| RequestError::Malformed {
        origin: channel.origin(ApiKey::ApiVersions),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::messages::api_versions::ApiVersion;

    use super::*;

    fn offers(ranges: &[(i16, i16, i16)]) -> Result<ApiRanges, MalformedCause> {
        let range = |&(api_key, min_version, max_version): &(i16, i16, i16)| ApiVersion {
            api_key,
            min_version,
            max_version,
        };
        ApiRanges::new(&ApiVersionsResponse {
            api_keys: ranges.iter().map(range).collect(),
            ..ApiVersionsResponse::default()
        })
    }

    #[test]
    fn the_highest_common_version_is_picked_and_never_one_below_the_floor() {
        let kafka_4 = [(0, 0, 13), (1, 4, 18), (3, 0, 13), (9, 1, 10)];
        let event_hubs = [(0, 0, 13), (1, 4, 13), (3, 0, 5), (9, 0, 10), (8, 0, 10)];
        let cases = [
            (&kafka_4[..], ApiKey::Produce, 3..=13, Some(13)),
            (&kafka_4, ApiKey::Produce, 3..=12, Some(12)),
            (&kafka_4, ApiKey::Fetch, 4..=17, Some(17)),
            (&kafka_4, ApiKey::Fetch, 2..=3, None),
            (&kafka_4, ApiKey::OffsetFetch, 1..=10, Some(10)),
            (&kafka_4, ApiKey::DescribeCluster, 0..=2, None),
            (&event_hubs, ApiKey::Produce, 3..=13, Some(12)),
            (&event_hubs, ApiKey::Fetch, 4..=17, Some(12)),
            (&event_hubs, ApiKey::OffsetFetch, 1..=10, Some(9)),
            (&event_hubs, ApiKey::OffsetCommit, 2..=10, Some(9)),
            (&[(0, 0, 2)], ApiKey::Produce, 3..=13, None),
            (&[(3, 0, 5), (3, 0, 9)], ApiKey::Metadata, 1..=13, Some(5)),
        ];
        for (offered, api, needed, expected) in cases {
            let picked = offers(offered).unwrap().pick(api, &needed);
            assert_eq!(picked, expected, "{api} {needed:?} of {offered:?}");
        }
    }

    #[test]
    fn versions_that_make_no_range_are_refused_for_known_apis_only() {
        assert!(offers(&[(3, 5, 4)]).is_err());
        assert!(offers(&[(3, -1, 4)]).is_err());
        assert_eq!(offers(&[(9999, 5, 4)]).unwrap(), ApiRanges::default());
    }
}
