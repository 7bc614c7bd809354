//! Who may do what, and how a connection says who it is.

use kmirror_protocol::messages::{
    CreateAclsRequest, DeleteGroupsRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
    create_acls::AclCreation,
    list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
    metadata::MetadataRequestTopic,
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::OffsetFetchRequestGroup,
};
use kmirror_protocol::wire::Secret;

use super::*;
use crate::sandbox::{AuthorizerOptions, Client, User};

/// A sandbox where only `User:root` may do anything, with a topic `t`.
fn restricted() -> Sandbox {
    let mut sandbox = Sandbox::with(ClusterOptions {
        authorizer: Some(AuthorizerOptions::default()),
        ..ClusterOptions::new("test", 1)
    });
    let authorizer = sandbox.cluster.options.authorizer.take();
    sandbox.create_topic(1, &[]);
    sandbox.cluster.options.authorizer = authorizer.map(|_| AuthorizerOptions {
        super_users: ["User:root".to_owned()].into(),
        allow_everyone_if_no_acl_found: false,
    });
    sandbox
}

fn ask_as<R: Request>(sandbox: &mut Sandbox, principal: &str, request: &R) -> Answer<R> {
    let version = latest::<R>();
    let body = body(request, version);
    let mut client = Client::new(principal);
    let outcome = sandbox
        .cluster
        .handle_from(sandbox.now, 0, &mut client, &body);
    Answer::new(outcome, version)
}

/// Lets alice do something to topic `t`, said by root.
fn let_alice(sandbox: &mut Sandbox, operation: i8) {
    let_alice_with(sandbox, (2, "t"), operation);
}

/// The same with a resource: 2 is a topic, 3 a group, 5 a transactional id.
fn let_alice_with(
    sandbox: &mut Sandbox,
    (resource_type, resource_name): (i8, &str),
    operation: i8,
) {
    let request = CreateAclsRequest {
        creations: [AclCreation {
            resource_type,
            resource_name,
            principal: "User:alice",
            host: "*",
            operation,
            permission_type: 3,
            ..Default::default()
        }]
        .into(),
    };
    for (principal, expected) in [("User:alice", 31), ("User:root", 0)] {
        let answer = ask_as(sandbox, principal, &request);
        assert_eq!(
            answer.decode().results.first().unwrap().error_code.0,
            expected,
            "{principal}"
        );
    }
}

#[test]
fn each_api_refuses_in_its_own_words_until_it_is_allowed() {
    let mut sandbox = restricted();
    let topic_id = sandbox.topic_id();
    let blob = batch(3);
    let produced = |sandbox: &mut Sandbox| {
        let answer = ask_as(sandbox, "User:alice", &produce(topic_id, &blob));
        answer.partition().error_code.0
    };
    let fetched = |sandbox: &mut Sandbox| {
        let answer = ask_as(sandbox, "User:alice", &fetch(topic_id, 0, 0));
        answer.partition().error_code.0
    };
    let producer_id = |sandbox: &mut Sandbox| {
        let answer = ask_as(sandbox, "User:alice", &InitProducerIdRequest::default());
        answer.decode().error_code.0
    };
    let listed = |sandbox: &mut Sandbox| {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: [ListOffsetsRequestTopic {
                name: "t",
                partitions: [ListOffsetsRequestPartition {
                    timestamp: -1,
                    ..Default::default()
                }]
                .into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = ask_as(sandbox, "User:alice", &request);
        answer.partition().error_code.0
    };
    let found = |sandbox: &mut Sandbox| {
        [
            produced(sandbox),
            fetched(sandbox),
            listed(sandbox),
            producer_id(sandbox),
        ]
    };
    assert_eq!(found(&mut sandbox), [29, 29, 29, 31]);
    let_alice(&mut sandbox, 8);
    assert_eq!(found(&mut sandbox), [29, 29, 0, 31], "describe");
    let_alice(&mut sandbox, 3);
    assert_eq!(found(&mut sandbox), [29, 0, 0, 31], "read");
    let_alice(&mut sandbox, 4);
    assert_eq!(found(&mut sandbox), [0, 0, 0, 0], "write");
}

#[test]
fn groups_are_read_described_and_deleted_by_whom_the_rules_allow() {
    let mut sandbox = restricted();
    let find = FindCoordinatorRequest {
        coordinator_keys: ["g"].into(),
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: "g",
        topics: [OffsetCommitRequestTopic {
            topic_id: sandbox.topic_id(),
            partitions: [OffsetCommitRequestPartition::default()].into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let fetch = OffsetFetchRequest {
        groups: [OffsetFetchRequestGroup {
            group_id: "g",
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let delete = DeleteGroupsRequest {
        groups_names: ["g"].into(),
    };
    let found = |sandbox: &mut Sandbox| {
        let coordinators = ask_as(sandbox, "User:alice", &find);
        let committed = ask_as(sandbox, "User:alice", &commit);
        let fetched = ask_as(sandbox, "User:alice", &fetch);
        let deleted = ask_as(sandbox, "User:alice", &delete);
        let topic = committed.decode().topics.first().unwrap();
        [
            coordinators
                .decode()
                .coordinators
                .first()
                .unwrap()
                .error_code
                .0,
            topic.partitions.first().unwrap().error_code.0,
            fetched.decode().groups.first().unwrap().error_code.0,
            deleted.decode().results.first().unwrap().error_code.0,
        ]
    };
    assert_eq!(found(&mut sandbox), [30, 30, 30, 30]);
    let_alice_with(&mut sandbox, (3, "g"), 8);
    assert_eq!(found(&mut sandbox), [0, 30, 0, 30], "describe the group");
    let_alice_with(&mut sandbox, (3, "g"), 3);
    assert_eq!(found(&mut sandbox), [0, 29, 0, 30], "read the group");
    let_alice(&mut sandbox, 3);
    assert_eq!(found(&mut sandbox), [0, 0, 0, 30], "read the topic");
    let_alice_with(&mut sandbox, (3, "g"), 6);
    assert_eq!(found(&mut sandbox), [0, 0, 0, 0], "delete the group");
}

#[test]
fn transactions_are_for_those_who_may_write_under_their_id() {
    let mut sandbox = restricted();
    let_alice(&mut sandbox, 4);
    let init = InitProducerIdRequest {
        transactional_id: Some("x"),
        transaction_timeout_ms: 1000,
        ..Default::default()
    };
    let end = EndTxnRequest {
        transactional_id: "x",
        ..Default::default()
    };
    let found = |sandbox: &mut Sandbox| {
        let given = ask_as(sandbox, "User:alice", &init);
        let ended = ask_as(sandbox, "User:alice", &end);
        [given.decode().error_code.0, ended.decode().error_code.0]
    };
    assert_eq!(found(&mut sandbox), [53, 53]);
    let_alice_with(&mut sandbox, (5, "x"), 4);
    // The first producer id is 0, and nothing is open: to abort that is allowed.
    assert_eq!(found(&mut sandbox), [0, 0]);
}

#[test]
fn topics_that_may_not_be_seen_are_hidden_unless_they_are_named() {
    let mut sandbox = restricted();
    let all = MetadataRequest::default();
    let named = MetadataRequest {
        topics: Some(
            [MetadataRequestTopic {
                name: Some("t"),
                ..Default::default()
            }]
            .into(),
        ),
        ..Default::default()
    };
    let mut found = |principal: &str, request: &MetadataRequest<'_>| {
        let answer = ask_as(&mut sandbox, principal, request);
        let answer = answer.decode();
        let topics = answer.topics.iter().map(|it| it.error_code.0);
        topics.collect::<Vec<_>>()
    };
    assert_eq!(found("User:root", &all), [0]);
    assert_eq!(found("User:alice", &all), [0; 0]);
    assert_eq!(found("User:alice", &named), [29]);
}

/// A cluster that asks who somebody is, and a connection of it.
fn with_alice() -> (Sandbox, Client) {
    let sandbox = Sandbox::with(ClusterOptions {
        users: [User {
            name: "alice".to_owned(),
            password: "hunter2".to_owned(),
        }]
        .into(),
        ..ClusterOptions::new("test", 1)
    });
    (sandbox, Client::default())
}

fn handshake(mechanism: &str, version: i16) -> Bytes {
    body(&SaslHandshakeRequest { mechanism }, version)
}

fn authenticate(token: &[u8]) -> Bytes {
    let request = SaslAuthenticateRequest {
        auth_bytes: Secret(token),
    };
    body(&request, 2)
}

#[test]
fn who_says_the_right_password_is_who_it_says() {
    let (mut sandbox, mut client) = with_alice();
    let mut handle = |client: &mut Client, body: &Bytes| {
        let outcome = sandbox.cluster.handle_from(START, 0, client, body);
        matches!(outcome, Outcome::Reply(_))
    };
    let metadata = body(&MetadataRequest::default(), 13);
    assert!(!handle(&mut client.clone(), &metadata), "not before");
    assert!(handle(&mut client, &handshake("PLAIN", 1)));
    assert!(handle(&mut client, &authenticate(b"\0alice\0hunter2")));
    assert_eq!(client.principal, "User:alice");
    assert!(handle(&mut client, &metadata));

    let mut bare = Client::default();
    assert!(handle(&mut bare, &handshake("PLAIN", 0)));
    assert!(handle(
        &mut bare,
        &Bytes::from_static(b"alice\0alice\0hunter2")
    ));
    assert_eq!(bare.principal, "User:alice");
    assert!(handle(&mut bare, &metadata));
}

#[test]
fn who_does_not_is_told_so_once() {
    let tokens: [&[u8]; 6] = [
        b"\0alice\0hunter3",
        b"\0bob\0hunter2",
        b"bob\0alice\0hunter2",
        b"\0alice\0hunter2\0",
        b"alice",
        b"",
    ];
    for token in tokens {
        let (mut sandbox, mut client) = with_alice();
        let cluster = &mut sandbox.cluster;
        cluster.handle_from(START, 0, &mut client, &handshake("PLAIN", 1));
        let outcome = cluster.handle_from(START, 0, &mut client, &authenticate(token));
        let answer: Answer<SaslAuthenticateRequest<'_>> = Answer::new(outcome, 2);
        let answer = answer.decode();
        assert_eq!(answer.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
        assert!(!format!("{answer:?} {client:?} {cluster:?}").contains("hunter"));
        let again = cluster.handle_from(START, 0, &mut client, &authenticate(b"\0alice\0hunter2"));
        assert!(matches!(again, Outcome::Close(_)), "{again:?}");
        assert_eq!(client.principal, "User:ANONYMOUS");
    }
    let (mut sandbox, mut client) = with_alice();
    let scram = handshake("SCRAM-SHA-256", 1);
    let outcome = sandbox.cluster.handle_from(START, 0, &mut client, &scram);
    let answer: Answer<SaslHandshakeRequest<'_>> = Answer::new(outcome, 1);
    assert_eq!(
        answer.decode().error_code,
        ErrorCode::UNSUPPORTED_SASL_MECHANISM
    );
}
