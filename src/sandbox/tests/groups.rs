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
        coordinator_keys: vec![group].into(),
        ..Default::default()
    };
    let answer = sandbox.ask(asked, &request);
    let found = answer.decode().coordinators.first().unwrap();
    assert_eq!(found.error_code, ErrorCode::NONE);
    assert_eq!(found.port, 9092 + found.node_id);
    found.node_id
}

/// What a broker says to a commit, a fetch, a description and a heartbeat.
fn codes(sandbox: &mut Sandbox, broker_id: i32, group_id: &'static str) -> [ErrorCode; 4] {
    let commit = OffsetCommitRequest {
        group_id,
        topics: vec![OffsetCommitRequestTopic {
            topic_id: sandbox.topic_id(),
            partitions: vec![OffsetCommitRequestPartition::default()].into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id,
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let describe = DescribeGroupsRequest {
        groups: vec![group_id].into(),
        ..Default::default()
    };
    let beat = HeartbeatRequest {
        group_id,
        ..Default::default()
    };
    let committed = sandbox.ask(broker_id, &commit);
    let committed = committed.decode().topics.first().unwrap();
    let fetched = sandbox.ask(broker_id, &fetch);
    let described = sandbox.ask(broker_id, &describe);
    [
        committed.partitions.first().unwrap().error_code,
        fetched.decode().groups.first().unwrap().error_code,
        described.decode().groups.first().unwrap().error_code,
        sandbox.ask(broker_id, &beat).decode().error_code,
    ]
}

const SERVED: [ErrorCode; 4] = [
    ErrorCode::NONE,
    ErrorCode::NONE,
    ErrorCode::NONE,
    ErrorCode::UNKNOWN_MEMBER_ID,
];

#[test]
fn only_its_coordinator_serves_a_group() {
    let mut sandbox = Sandbox::new(3);
    sandbox.create_topic(1, &[]);
    let mut coordinators = std::collections::BTreeSet::new();
    for group_id in GROUPS {
        let coordinator = coordinator(&mut sandbox, 2, group_id);
        coordinators.insert(coordinator);
        for broker_id in 0..3 {
            let expected = if broker_id == coordinator {
                SERVED
            } else {
                [ErrorCode::NOT_COORDINATOR; 4]
            };
            let codes = codes(&mut sandbox, broker_id, group_id);
            assert_eq!(codes, expected, "{group_id} at {broker_id}");
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

#[test]
fn another_broker_coordinates_while_the_first_is_down() {
    let mut sandbox = Sandbox::new(3);
    sandbox.create_topic(3, &[]);
    let first = coordinator(&mut sandbox, 0, "g");
    assert_eq!(codes(&mut sandbox, first, "g"), SERVED);
    sandbox.cluster.stop_broker(first);
    let running = (first + 1) % 3;
    let second = coordinator(&mut sandbox, running, "g");
    assert_eq!(second, running);
    // It knows the group.
    let answer = sandbox.ask(second, &ListGroupsRequest::default());
    assert_eq!(answer.decode().groups.first().unwrap().group_id, "g");
    sandbox.cluster.start_broker(first);
    assert_eq!(coordinator(&mut sandbox, second, "g"), first);
    let refused = codes(&mut sandbox, second, "g");
    assert_eq!(refused, [ErrorCode::NOT_COORDINATOR; 4]);
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
        }]
        .into(),
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
