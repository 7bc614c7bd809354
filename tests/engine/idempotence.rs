//! Targets that give out no producer ids, or not to this client: copying goes on, and says how.

use kmirror::{
    flow::{Guarantee, Refusal, Weakness},
    sandbox::{AuthorizerOptions, ClusterOptions, Profile},
};
use kmirror_protocol::{
    ErrorCode,
    messages::{
        CreateAclsRequest, DeleteAclsRequest, create_acls::AclCreation,
        delete_acls::DeleteAclsFilter,
    },
};

use crate::support::sandbox::{LOAD, Pair, Side, status_when, stop};

const CLUSTER: i8 = 4;
const ALL: i8 = 2;
const IDEMPOTENT_WRITE: i8 = 12;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

/// A pair of one broker each; the target passes for another one, or has an authorizer.
async fn pair(target: ClusterOptions) -> Pair {
    Pair {
        source: Side::start("source-cluster", 1).await,
        target: Side::start_with(target).await,
    }
}

fn forced(refusal: Refusal) -> Guarantee {
    Guarantee::Weaker(Weakness::NotIdempotent(refusal))
}

#[tokio::test]
async fn a_target_without_producer_ids_gets_every_record_once_while_nothing_fails() {
    let pair = pair(ClusterOptions {
        profile: Profile::NoIdempotence,
        ..ClusterOptions::new("target-cluster", 1)
    })
    .await;
    pair.source.create_topic("t", 2, &[]).await;
    for round in 0..2 {
        for partition in 0..2 {
            let first = round * 50 + u64::try_from(partition).unwrap() * 1_000;
            pair.source.produce(("t", partition), LOAD, first, 50).await;
        }
        // The second process finds by content alone where the first one was.
        let engine = pair.engine("kmirror.quiesce.ms = 50");
        pair.wait_for_copy("t").await;
        let status = status_when(&engine, |it| it.forced_at_least_once() == 2 && it.lag == 0);
        let status = status.await;
        assert_eq!(status.guarantee, forced(Refusal::NotOffered));
        assert_eq!(status.counters.unmatched_records, 0);
        assert_eq!(status.counters.foreign_records, 0);
        assert!(status.halted.is_empty(), "{:?}", status.halted);
        pair.finish(engine, &["t"]).await;
    }
}

#[tokio::test]
async fn a_right_that_is_missing_costs_the_guarantee_until_it_is_granted() {
    let pair = pair(ClusterOptions {
        profile: Profile::Kafka21,
        authorizer: Some(AuthorizerOptions {
            allow_everyone_if_no_acl_found: true,
            ..AuthorizerOptions::default()
        }),
        ..ClusterOptions::new("target-cluster", 1)
    })
    .await;
    acl(&pair, ALL, ALLOW).await;
    acl(&pair, IDEMPOTENT_WRITE, DENY).await;
    pair.source.create_topic("t", 1, &[]).await;
    pair.source.produce(("t", 0), LOAD, 0, 60).await;
    let engine = pair.engine("kmirror.quiesce.ms = 50");
    pair.wait_for_copy("t").await;
    let status = status_when(&engine, |it| it.forced_at_least_once() == 1).await;
    let refusal = Refusal::Answered(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    assert_eq!(status.guarantee, forced(refusal));
    stop(engine).await;

    let filter = DeleteAclsFilter {
        resource_type_filter: CLUSTER,
        pattern_type_filter: 3,
        operation: IDEMPOTENT_WRITE,
        permission_type: DENY,
        ..DeleteAclsFilter::default()
    };
    let request = DeleteAclsRequest {
        filters: [filter].into(),
    };
    let answer = pair
        .target
        .client
        .request(kmirror::cluster::To::Any, &request);
    let answer = answer.await.unwrap();
    let deleted = answer.decode().unwrap();
    assert_eq!(
        deleted.filter_results.first().unwrap().matching_acls.len(),
        1
    );

    pair.source.produce(("t", 0), LOAD, 60, 60).await;
    let engine = pair.engine("kmirror.quiesce.ms = 50");
    pair.wait_for_copy("t").await;
    let status = status_when(&engine, |it| it.lag == 0 && it.counters.records > 0).await;
    assert_eq!(status.forced_at_least_once(), 0);
    // This Kafka cannot tell what it remembers.
    assert_eq!(status.guarantee, Guarantee::Weaker(Weakness::Unremembered));

    // The right is taken away while kmirror runs.
    acl(&pair, IDEMPOTENT_WRITE, DENY).await;
    pair.source.produce(("t", 0), LOAD, 120, 60).await;
    let status = status_when(&engine, |it| it.forced_at_least_once() == 1).await;
    assert_eq!(status.guarantee, forced(refusal));
    pair.finish(engine, &["t"]).await;
}

/// Adds a rule about the target as a whole, for everybody.
async fn acl(pair: &Pair, operation: i8, permission_type: i8) {
    let request = CreateAclsRequest {
        creations: [AclCreation {
            resource_type: CLUSTER,
            resource_name: "kafka-cluster",
            resource_pattern_type: 3,
            principal: "User:*",
            host: "*",
            operation,
            permission_type,
        }]
        .into(),
    };
    let answer = pair
        .target
        .client
        .request(kmirror::cluster::To::Any, &request);
    let answer = answer.await.unwrap();
    let created = answer.decode().unwrap();
    assert_eq!(created.results.first().unwrap().error_code, ErrorCode::NONE);
}
