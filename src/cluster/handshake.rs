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

/// The versions that a broker offers, of the APIs that the codec knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRanges {
    offered: BTreeMap<ApiKey, (i16, i16)>,
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
        Ok(Self { offered })
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
