//! Rules of access and authentication, where nobody asks for them and where somebody does.

use kmirror_protocol::{
    messages::{
        CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, MetadataRequest,
        SaslAuthenticateRequest, SaslHandshakeRequest, create_acls::AclCreation,
        delete_acls::DeleteAclsFilter, metadata::MetadataRequestTopic,
    },
    records::Compression,
    wire::Secret,
};

use super::broker::{Broker, Topic, batch, eventually};

const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const READ: i8 = 3;
const WRITE: i8 = 4;
const DESCRIBE: i8 = 8;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

/// Who a connection is that has not said.
const ANONYMOUS: &str = "User:ANONYMOUS";

fn rule<'a>(
    pattern: (&'a str, i8),
    principal: &'a str,
    operation: i8,
    permission: i8,
) -> AclCreation<'a> {
    AclCreation {
        resource_type: TOPIC,
        resource_name: pattern.0,
        resource_pattern_type: pattern.1,
        principal,
        host: "*",
        operation,
        permission_type: permission,
    }
}

/// Error code of each rule.
async fn create(broker: &mut Broker, rules: &[AclCreation<'_>]) -> Vec<i16> {
    let request = CreateAclsRequest {
        creations: rules.to_vec().into(),
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    answer.results.iter().map(|it| it.error_code.0).collect()
}

/// Removes the rules about topics of a name: error code and how many there were.
async fn delete(broker: &mut Broker, name: &str, pattern_type: i8) -> (i16, usize) {
    let request = DeleteAclsRequest {
        filters: [DeleteAclsFilter {
            resource_type_filter: TOPIC,
            resource_name_filter: Some(name),
            pattern_type_filter: pattern_type,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        }]
        .into(),
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let result = answer.filter_results.first().unwrap();
    (result.error_code.0, result.matching_acls.len())
}

/// Error code, and the rules about topics of a name: pattern type, operation and permission.
async fn describe(broker: &mut Broker, name: &str, pattern_type: i8) -> (i16, Vec<(i8, i8, i8)>) {
    let request = DescribeAclsRequest {
        resource_type_filter: TOPIC,
        resource_name_filter: Some(name),
        pattern_type_filter: pattern_type,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let rules = answer.resources.iter().flat_map(|resource| {
        let acls = resource.acls.into_iter();
        acls.map(move |it| (resource.pattern_type, it.operation, it.permission_type))
    });
    let mut rules: Vec<_> = rules.collect();
    rules.sort_unstable();
    (answer.error_code.0, rules)
}

pub(super) async fn without_an_authorizer_there_are_no_rules(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let rules = [rule(("t", LITERAL), ANONYMOUS, READ, ALLOW)];
    assert_eq!(create(broker, &rules).await, [54]);
    assert_eq!(describe(broker, "t", LITERAL).await, (54, vec![]));
    assert_eq!(delete(broker, "t", LITERAL).await, (54, 0));
}

pub(super) async fn without_sasl_nobody_can_say_who_they_are(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    for version in 0..=1 {
        let request = SaslHandshakeRequest { mechanism: "PLAIN" };
        let answer = broker.ask_in(version, &request).await;
        let answer = answer.decode();
        assert_eq!((answer.error_code.0, answer.mechanisms.len()), (34, 0));
    }
    let request = SaslAuthenticateRequest {
        auth_bytes: Secret(b"\0alice\0secret"),
    };
    assert_eq!(broker.ask(&request).await.decode().error_code.0, 34);
}

pub(super) async fn rules_are_created_described_and_deleted(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let (name, longer) = ("access-crud", "access-crud-1");
    let good = [
        rule((name, LITERAL), "User:alice", READ, ALLOW),
        rule((name, PREFIXED), "User:alice", WRITE, DENY),
        rule((longer, LITERAL), "User:alice", READ, ALLOW),
        rule((name, LITERAL), "User:alice", READ, ALLOW),
    ];
    assert_eq!(create(broker, &good).await, [0; 4]);
    let cluster = AclCreation {
        resource_type: 4,
        ..rule(("not-the-cluster", LITERAL), "User:alice", READ, ALLOW)
    };
    let bad = [
        (rule(("", LITERAL), "User:alice", READ, ALLOW), 42),
        (rule((name, 2), "User:alice", READ, ALLOW), -1),
        (rule((name, LITERAL), "User:alice", 1, ALLOW), -1),
        (rule((name, LITERAL), "User:alice", READ, 1), -1),
        (cluster, 42),
    ];
    for (bad, expected) in bad {
        assert_eq!(
            create(broker, std::slice::from_ref(&bad)).await,
            [expected],
            "{bad:?}"
        );
    }
    let (read, write) = ((LITERAL, READ, ALLOW), (PREFIXED, WRITE, DENY));
    let cases = [
        (name, LITERAL, vec![read]),
        (name, PREFIXED, vec![write]),
        (name, 1, vec![read, write]),
        (longer, 2, vec![read, write]),
        ("access-crud-2", 2, vec![write]),
        ("access-none", 2, vec![]),
    ];
    for (name, pattern_type, expected) in cases {
        let expected = (0, expected);
        eventually(async || describe(broker, name, pattern_type).await == expected).await;
    }
    assert_eq!(delete(broker, longer, 2).await, (0, 2));
    eventually(async || describe(broker, longer, 2).await == (0, vec![])).await;
    assert_eq!(delete(broker, name, 1).await, (0, 1));
}

/// What becomes of a produce, a fetch, a question for the end of the log and one for metadata.
async fn tried(broker: &mut Broker, topic: &Topic) -> [i16; 4] {
    let blob = batch(Compression::None, 1).to_vec();
    let produced = broker.produce(topic, &blob).await.code.0;
    let fetched = broker.fetch(topic, 0).await.code.0;
    let listed = broker.list_offset(topic.name, -1).await.error_code.0;
    let request = MetadataRequest {
        topics: Some(
            [MetadataRequestTopic {
                name: Some(topic.name),
                ..Default::default()
            }]
            .into(),
        ),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let described = answer.decode().topics.first().unwrap().error_code.0;
    [produced, fetched, listed, described]
}

pub(super) async fn rules_decide_who_may_do_what(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("access-rules", &[]).await;
    let exact = (topic.name, LITERAL);
    let prefix = ("access-rul", PREFIXED);
    assert_eq!(
        tried(broker, &topic).await,
        [0; 4],
        "nobody has said anything"
    );
    // Rules that are added one after another; what may be done then.
    let steps = [
        (rule(exact, "User:other", READ, ALLOW), [29, 29, 29, 29]),
        (rule(exact, ANONYMOUS, DESCRIBE, ALLOW), [29, 29, 0, 0]),
        (rule(exact, ANONYMOUS, READ, ALLOW), [29, 0, 0, 0]),
        (rule(prefix, "User:*", WRITE, ALLOW), [0, 0, 0, 0]),
        (rule(prefix, ANONYMOUS, READ, DENY), [0, 29, 0, 0]),
        (rule(exact, "User:*", DESCRIBE, DENY), [0, 29, 29, 29]),
    ];
    for (rule, expected) in steps {
        assert_eq!(create(broker, std::slice::from_ref(&rule)).await, [0]);
        eventually(async || tried(broker, &topic).await == expected).await;
        assert_eq!(tried(broker, &topic).await, expected, "{rule:?}");
    }
    let all = broker.ask(&MetadataRequest::default()).await;
    let is_told = all
        .decode()
        .topics
        .iter()
        .any(|it| it.name == Some(topic.name));
    assert!(!is_told, "a topic that may not be described is left out");
    assert_eq!(delete(broker, topic.name, 2).await, (0, 6));
    eventually(async || tried(broker, &topic).await == [0; 4]).await;
}
