//! Groups on several brokers, and members that wait, in virtual time.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
        ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
        join_group::JoinGroupRequestProtocol,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::OffsetFetchRequestGroup,
    },
};

use super::*;

const GROUPS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn coordinator(sandbox: &mut Sandbox, asked: i32, group: &'static str) -> i32 {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![group],
        ..Default::default()
    };
    let answer = sandbox.ask(asked, &request);
    let found = answer.decode().coordinators.first().cloned().unwrap();
    assert_eq!(found.error_code, ErrorCode::NONE);
    assert_eq!(found.port, 9092 + found.node_id);
    found.node_id
}

#[test]
fn only_its_coordinator_serves_a_group() {
    let mut sandbox = Sandbox::new(3);
    let topic_id = sandbox.create_topic(1, &[]);
    let mut coordinators = std::collections::BTreeSet::new();
    for group_id in GROUPS {
        let coordinator = coordinator(&mut sandbox, 2, group_id);
        coordinators.insert(coordinator);
        for broker_id in 0..3 {
            let expected = if broker_id == coordinator {
                ErrorCode::NONE
            } else {
                ErrorCode::NOT_COORDINATOR
            };
            let commit = OffsetCommitRequest {
                group_id,
                topics: vec![OffsetCommitRequestTopic {
                    topic_id,
                    partitions: vec![OffsetCommitRequestPartition::default()],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let answer = sandbox.ask(broker_id, &commit);
            let code = answer.decode().topics[0].partitions[0].error_code;
            assert_eq!(code, expected, "{group_id} at {broker_id}");
            let fetch = OffsetFetchRequest {
                groups: vec![OffsetFetchRequestGroup {
                    group_id,
                    ..Default::default()
                }],
                ..Default::default()
            };
            let answer = sandbox.ask(broker_id, &fetch);
            assert_eq!(answer.decode().groups[0].error_code, expected);
            let describe = DescribeGroupsRequest {
                groups: vec![group_id],
                ..Default::default()
            };
            let answer = sandbox.ask(broker_id, &describe);
            let described = &answer.decode().groups[0];
            let has_state = described.group_state == "Empty";
            assert!(
                has_state == expected.is_ok() || group_id > "a",
                "{described:?}"
            );
            let beat = HeartbeatRequest {
                group_id,
                ..Default::default()
            };
            let code = sandbox.ask(broker_id, &beat).decode().error_code;
            assert_eq!(code == ErrorCode::NOT_COORDINATOR, !expected.is_ok());
        }
    }
    assert_eq!(coordinators, (0..3).collect());
    let mut listed = Vec::new();
    for broker_id in 0..3 {
        let answer = sandbox.ask(broker_id, &ListGroupsRequest::default());
        let answer = answer.decode();
        listed.extend(answer.groups.iter().map(|it| it.group_id.to_owned()));
    }
    listed.sort();
    assert_eq!(listed, GROUPS);
}

fn joining(member_id: &str) -> JoinGroupRequest<'_> {
    JoinGroupRequest {
        group_id: "g",
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        member_id,
        protocol_type: "consumer",
        protocols: vec![JoinGroupRequestProtocol {
            name: "range",
            metadata: b"",
        }],
        ..Default::default()
    }
}

/// A cluster of one broker with the default delay of Kafka.
fn delayed() -> Sandbox {
    Sandbox::with(ClusterOptions {
        group_initial_rebalance_delay_ms: 3_000,
        ..ClusterOptions::new("test", 1)
    })
}

#[test]
fn a_join_waits_in_the_cluster_until_the_group_is_complete() {
    for is_forgotten in [false, true] {
        let mut sandbox = delayed();
        // Version 3 needs no id.
        let body = body(&joining(""), 3);
        let outcome = sandbox.cluster.handle(START, 0, &body);
        let Outcome::Parked { ticket, deadline } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(deadline, START.plus_ms(3_000));
        assert_eq!(sandbox.cluster.deadline(), Some(deadline));
        assert_eq!(sandbox.cluster.poll(START.plus_ms(2_999)), []);
        if is_forgotten {
            sandbox.cluster.forget(ticket);
        }
        let mut answers = sandbox.cluster.poll(deadline).into_iter();
        let answer = answers.next();
        assert_eq!(answer.is_none(), is_forgotten, "{answer:?}");
        if let Some((answered, outcome)) = answer {
            assert_eq!(answered, ticket);
            let answer: Answer<JoinGroupRequest<'_>> = Answer::new(outcome, 3);
            assert_eq!(answer.decode().generation_id, 1);
        }
        // Its member is in the group either way, until its session ends without a heartbeat.
        let state = |sandbox: &Sandbox| sandbox.cluster.groups.get("g").unwrap().state.name();
        assert_eq!(state(&sandbox), "CompletingRebalance");
        assert_eq!(sandbox.cluster.deadline(), Some(deadline.plus_ms(10_000)));
        assert_eq!(sandbox.cluster.poll(deadline.plus_ms(10_000)), []);
        assert_eq!(state(&sandbox), "Empty");
        assert_eq!(sandbox.cluster.deadline(), None);
    }
}

#[test]
fn two_clusters_with_the_same_inputs_give_the_same_member_ids() {
    let answers = [delayed(), delayed()].map(|mut sandbox| {
        let answer = sandbox.ask(0, &joining(""));
        answer.decode().member_id.to_owned()
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].len(), "test-".len() + 36);
}
