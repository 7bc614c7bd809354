//! Rights on remote topics follow those on their sources, between clusters with an authorizer.

use std::{slice, sync::Arc, time::Duration};

use kmirror::{
    flow::{Failure, acls::AclChange},
    policy::{
        Acl,
        acls::{AclOperation, PatternType, Permission, ResourceType},
    },
    runtime::admin,
    sandbox::{AuthorizerOptions, ClusterOptions},
};
use kmirror_protocol::{
    ErrorCode,
    messages::{CreateAclsRequest, create_acls::AclCreation},
};

use crate::support::sandbox::{LOAD, Pair, Side, stop};

/// Who a client is that has not said.
const ANONYMOUS: &str = "User:ANONYMOUS";

const EVERY_SECOND: &str = "topics = t.*\nsync.topic.acls.interval.seconds = 1\n";

async fn side(cluster_id: &str, authorizer: AuthorizerOptions) -> Side {
    Side::start_with(ClusterOptions {
        authorizer: Some(authorizer),
        ..ClusterOptions::new(cluster_id, 1)
    })
    .await
}

/// A pair of clusters where kmirror may do everything and others what they are allowed.
async fn pair() -> Pair {
    let guarded = AuthorizerOptions {
        super_users: vec![String::from(ANONYMOUS)],
        ..AuthorizerOptions::default()
    };
    Pair {
        source: side("source-cluster", guarded.clone()).await,
        target: side("target-cluster", guarded).await,
    }
}

fn allow(principal: &str, operation: AclOperation, topic: &str) -> Acl {
    Acl {
        permission: Permission::Allow,
        resource: ResourceType::Topic,
        pattern: PatternType::Literal,
        name: Arc::from(topic),
        principal: Arc::from(principal),
        host: Arc::from("*"),
        operation,
    }
}

fn prefixed(acl: Acl) -> Acl {
    Acl {
        pattern: PatternType::Prefixed,
        ..acl
    }
}

fn on_group(acl: Acl) -> Acl {
    Acl {
        resource: ResourceType::Group,
        ..acl
    }
}

async fn change(side: &Side, change: AclChange, acls: &[Acl]) {
    for result in admin::change_acls(&side.client, change, acls).await {
        result.unwrap();
    }
}

async fn acls(side: &Side) -> Vec<Acl> {
    let mut acls = admin::acls(&side.client, true).await.unwrap();
    acls.sort();
    acls
}

/// Waits until the target has these ACLs and no others.
async fn wait_for_acls(pair: &Pair, mut expected: Vec<Acl>) {
    expected.sort();
    let wait = async {
        loop {
            if acls(&pair.target).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .is_err()
    {
        panic!("{:?} for {expected:?}", acls(&pair.target).await);
    }
}

#[tokio::test]
async fn rights_come_and_with_removal_go_as_on_the_source() {
    let pair = pair().await;
    pair.source.create_topic("t", 1, &[]).await;
    let (describe, read) = (AclOperation::DESCRIBE, AclOperation::READ);
    let first = [
        allow("User:x", describe, "t"),
        allow("User:y", AclOperation::ALL, "t"),
        allow("User:y", AclOperation::WRITE, "t"),
        allow("User:x", read, "other"),
        prefixed(allow("User:z", read, "t")),
        prefixed(allow("User:z", read, "other")),
        on_group(allow("User:x", read, "g")),
        on_group(allow("User:x", read, "other")),
    ];
    change(&pair.source, AclChange::Create, &first).await;
    let own = allow("User:own", read, "own");
    change(&pair.target, AclChange::Create, slice::from_ref(&own)).await;
    let more = "kmirror.sync.acls.prefixed = true\nkmirror.sync.acls.remove = true\n\
                kmirror.sync.acls.groups = true\ngroups = g\n\
                emit.checkpoints.enabled = true\ncheckpoints.topic.replication.factor = 1";
    let engine = pair.engine(&format!("{EVERY_SECOND}{more}"));
    let copied = [
        own.clone(),
        on_group(allow("User:x", read, "g")),
        allow("User:x", describe, "A.t"),
        allow("User:y", read, "A.t"),
        prefixed(allow("User:z", read, "A.t")),
    ];
    wait_for_acls(&pair, copied.to_vec()).await;

    change(&pair.source, AclChange::Remove, &first[..2]).await;
    let late = [allow("User:late", read, "t")];
    change(&pair.source, AclChange::Create, &late).await;
    let kept = [
        own,
        on_group(allow("User:x", read, "g")),
        allow("User:late", read, "A.t"),
        prefixed(allow("User:z", read, "A.t")),
    ];
    wait_for_acls(&pair, kept.to_vec()).await;
    stop(engine).await;
}

#[tokio::test]
async fn records_are_copied_whether_or_not_acls_may_be_seen() {
    let everybody = AuthorizerOptions {
        allow_everyone_if_no_acl_found: true,
        ..AuthorizerOptions::default()
    };
    let pair = Pair {
        source: side("source-cluster", everybody).await,
        target: Side::start("target-cluster", 1).await,
    };
    pair.source.create_topic("t", 1, &[]).await;
    pair.source.produce(("t", 0), LOAD, 0, 50).await;
    let nobody = AclCreation {
        resource_type: 4,
        resource_name: "kafka-cluster",
        principal: "User:*",
        host: "*",
        operation: AclOperation::DESCRIBE.0,
        permission_type: 2,
        ..AclCreation::default()
    };
    let request = CreateAclsRequest {
        creations: [nobody].into(),
    };
    let answer = pair
        .source
        .client
        .request(kmirror::cluster::To::Any, &request);
    let answer = answer.await.unwrap();
    let result = answer.decode().unwrap().results.first().unwrap();
    assert_eq!(result.error_code, ErrorCode::NONE);
    let seen = admin::acls(&pair.source.client, false).await;
    let is_denied = matches!(
        seen,
        Err(Failure::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, _))
    );
    assert!(is_denied, "{seen:?}");
    let seen = admin::acls(&pair.target.client, false).await;
    let is_disabled = matches!(seen, Err(Failure::Refused(ErrorCode::SECURITY_DISABLED, _)));
    assert!(is_disabled, "{seen:?}");

    let engine = pair.engine(EVERY_SECOND);
    pair.finish(engine, &["t"]).await;
}
