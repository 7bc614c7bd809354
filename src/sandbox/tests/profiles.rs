//! Brokers that are not Kafka 4.3: what they announce, and what they do not understand.

use kmirror_protocol::{
    ApiKey,
    messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest},
};

use super::*;
use crate::sandbox::Profile;

fn with_profile(profile: Profile) -> Sandbox {
    Sandbox::with(ClusterOptions {
        profile,
        ..ClusterOptions::new("test", 1)
    })
}

fn client() -> ApiVersionsRequest<'static> {
    ApiVersionsRequest {
        client_software_name: "test",
        client_software_version: "1",
    }
}

/// First and last version of an API in an answer.
fn announced(answer: &ApiVersionsResponse<'_>, key: i16) -> Option<(i16, i16)> {
    let mut keys = answer.api_keys.iter().filter(|it| it.api_key == key);
    keys.next().map(|it| (it.min_version, it.max_version))
}

#[test]
fn each_profile_announces_its_own_versions() {
    // Produce, Fetch, Metadata, DescribeProducers.
    let cases = [
        (
            Profile::Kafka21,
            2,
            [Some((0, 7)), Some((4, 10)), Some((1, 7)), None],
        ),
        (
            Profile::Kafka28,
            3,
            [Some((0, 9)), Some((4, 12)), Some((1, 11)), Some((0, 0))],
        ),
        (
            Profile::Kafka39,
            4,
            [Some((0, 11)), Some((4, 17)), Some((1, 12)), Some((0, 0))],
        ),
        (
            Profile::Kafka43,
            4,
            [Some((0, 13)), Some((4, 17)), Some((1, 13)), Some((0, 0))],
        ),
        (
            Profile::NoIdempotence,
            4,
            [Some((0, 13)), Some((4, 17)), Some((1, 13)), None],
        ),
        (
            Profile::Redpanda,
            3,
            [Some((0, 7)), Some((4, 11)), Some((1, 8)), Some((0, 0))],
        ),
        (
            Profile::EventHubs,
            3,
            [Some((0, 7)), Some((4, 6)), Some((1, 5)), None],
        ),
    ];
    for (profile, version, expected) in cases {
        let answer = with_profile(profile).ask_in(version, 0, &client());
        let answer = answer.decode();
        assert_eq!(answer.error_code, ErrorCode::NONE, "{profile:?}");
        let found = [0, 1, 3, 61].map(|key| announced(&answer, key));
        assert_eq!(found, expected, "{profile:?}");
    }
}

#[test]
fn a_version_that_the_profile_lacks_ends_the_connection() {
    for (profile, version, is_served) in [
        (Profile::Kafka43, 13, true),
        (Profile::Kafka28, 11, true),
        (Profile::Kafka28, 12, false),
        (Profile::EventHubs, 5, true),
        (Profile::EventHubs, 6, false),
    ] {
        let mut sandbox = with_profile(profile);
        let request = body(&MetadataRequest::default(), version);
        let outcome = sandbox.cluster.handle(START, 0, &request);
        let is_answered = matches!(outcome, Outcome::Reply(_));
        assert_eq!(is_answered, is_served, "{profile:?} {version}: {outcome:?}");
    }
}

#[test]
fn unknown_versions_of_api_versions_are_answered_in_version_0_but_by_event_hubs() {
    for profile in Profile::ALL {
        let newest = *profile.versions(ApiKey::ApiVersions).unwrap().end();
        if newest == 4 {
            continue;
        }
        let mut sandbox = with_profile(profile);
        let outcome = sandbox.cluster.handle(START, 0, &body(&client(), 4));
        if profile == Profile::EventHubs {
            assert!(matches!(outcome, Outcome::Close(_)), "{outcome:?}");
            continue;
        }
        let answer: Answer<ApiVersionsRequest<'_>> = Answer::new(outcome, 0);
        let answer = answer.decode();
        assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(announced(&answer, 18), Some((0, newest)), "{profile:?}");
    }
}

#[test]
fn features_are_told_in_versions_that_can_carry_them() {
    // Version, supported, finalized.
    let cases = [
        (
            Profile::Kafka43,
            4,
            vec![("metadata.version", 7, 30), ("transaction.version", 0, 2)],
            2,
        ),
        (Profile::Kafka43, 3, vec![("metadata.version", 7, 30)], 2),
        (Profile::Kafka43, 2, vec![], 0),
        (Profile::Kafka39, 4, vec![("metadata.version", 1, 21)], 1),
        (Profile::Kafka28, 3, vec![], 0),
    ];
    for (profile, version, supported, finalized) in cases {
        let answer = with_profile(profile).ask_in(version, 0, &client());
        let answer = answer.decode();
        let features = answer.supported_features.iter();
        let found: Vec<_> = features
            .map(|it| (it.name, it.min_version, it.max_version))
            .collect();
        assert_eq!(found, supported, "{profile:?} {version}");
        assert_eq!(
            answer.finalized_features.len(),
            finalized,
            "{profile:?} {version}"
        );
    }
    assert_eq!(Profile::Kafka43.feature_level("transaction.version"), 2);
    assert_eq!(Profile::Kafka28.feature_level("transaction.version"), 0);
}
