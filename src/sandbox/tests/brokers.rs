//! Several brokers: who answers, and what changes with a new leader.

use kmirror_protocol::{
    messages::{
        ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
        list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
    records::BatchHeader,
};

use super::*;

/// Error code of a fetch of offset 0 by somebody who believes in a leader epoch.
fn fetch_code(sandbox: &mut Sandbox, version: i16, broker_id: i32, epoch: i32) -> ErrorCode {
    let mut request = fetch(sandbox.topic_id(), 0, 0);
    request.topics.to_mut()[0].partitions.to_mut()[0].current_leader_epoch = epoch;
    let answer = sandbox.ask_in(version, broker_id, &request);
    answer.partition().error_code
}

#[test]
fn only_the_leader_appends_and_others_name_it() {
    let mut sandbox = Sandbox::new(3);
    let topic_id = sandbox.create_topic(2, &[]);
    for (broker_id, expected) in [(0, 0), (1, 6), (2, 6)] {
        let blob = batch(1);
        let answer = sandbox.ask(broker_id, &produce(topic_id, &blob));
        let response = answer.decode();
        let partition = &response
            .responses
            .first()
            .unwrap()
            .partition_responses
            .first()
            .unwrap();
        assert_eq!(partition.error_code.0, expected, "broker {broker_id}");
        let leader = &partition.current_leader;
        let leaders: Vec<i32> = response
            .node_endpoints
            .iter()
            .map(|it| it.node_id)
            .collect();
        let named = (leader.leader_id, leader.leader_epoch, leaders);
        let expected = if expected == 0 {
            (-1, -1, vec![])
        } else {
            (0, 0, vec![0])
        };
        assert_eq!(named, expected, "broker {broker_id}");
    }
    assert_eq!(sandbox.cluster.log_range("t", 0), Some(0..1));
}

#[test]
fn replicas_serve_fetches_of_newer_consumers() {
    let mut sandbox = Sandbox::new(3);
    sandbox.create_topic(2, &[]);
    // Version 11 tells a consumer's rack (KIP-392).
    for (version, broker_id, expected) in [
        (10, 0, 0),
        (10, 1, 6),
        (10, 2, 6),
        (11, 1, 0),
        (17, 1, 0),
        (17, 2, 6),
    ] {
        let code = fetch_code(&mut sandbox, version, broker_id, -1);
        assert_eq!(code.0, expected, "version {version}, broker {broker_id}");
    }
}

#[test]
fn a_new_leader_fences_the_old_leader_epoch() {
    let mut sandbox = Sandbox::new(2);
    sandbox.create_topic(2, &[]);
    sandbox.produce(0, &batch(1));
    sandbox.cluster.elect_leader("t", 0, 1).unwrap();
    assert_eq!(
        sandbox.produce(0, &batch(1)),
        (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)
    );
    assert_eq!(sandbox.produce(1, &batch(1)), (ErrorCode::NONE, 1));
    for (epoch, expected) in [(-1, 0), (0, 74), (1, 0), (2, 75)] {
        assert_eq!(
            fetch_code(&mut sandbox, 17, 1, epoch).0,
            expected,
            "epoch {epoch}"
        );
    }
    let answer = sandbox.ask(1, &fetch(sandbox.topic_id(), 1, 0));
    let response = answer.decode();
    let records = response
        .responses
        .first()
        .unwrap()
        .partitions
        .first()
        .unwrap()
        .records
        .unwrap();
    let stored = BatchHeader::parse(records.as_slice()).unwrap();
    assert_eq!(stored.partition_leader_epoch, 1);
    assert_eq!(
        sandbox.cluster.elect_leader("t", 0, 9),
        Err(ErrorCode::REPLICA_NOT_AVAILABLE)
    );
}

#[test]
fn an_old_leader_epoch_ends_where_the_new_leader_began() {
    let mut sandbox = Sandbox::new(2);
    sandbox.create_topic(2, &[]);
    sandbox.produce(0, &batch(1));
    sandbox.cluster.elect_leader("t", 0, 1).unwrap();
    sandbox.produce(1, &batch(1));
    for (leader_epoch, expected) in [(0, (0, 0, 1)), (1, (0, 1, 2)), (2, (0, -1, -1))] {
        let request = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic {
                topic: "t",
                partitions: vec![OffsetForLeaderPartition {
                    leader_epoch,
                    ..Default::default()
                }]
                .into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = sandbox.ask(1, &request);
        let end = answer.partition();
        let end = (end.error_code.0, end.leader_epoch, end.end_offset);
        assert_eq!(end, expected, "epoch {leader_epoch}");
    }
    // Somebody who read offset 2 in epoch 0 has read what is not in this log.
    let mut request = fetch(sandbox.topic_id(), 2, 0);
    request.topics.to_mut()[0].partitions.to_mut()[0].last_fetched_epoch = 0;
    let answer = sandbox.ask(1, &request);
    let diverging = answer.partition().diverging_epoch.clone();
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 1));
}

#[test]
fn any_replica_lists_offsets_for_debugging() {
    let mut sandbox = Sandbox::new(3);
    sandbox.create_topic(2, &[]);
    for (replica_id, broker_id, expected) in [(-1, 0, 0), (-1, 1, 6), (-2, 1, 0), (-2, 2, 6)] {
        let request = ListOffsetsRequest {
            replica_id,
            topics: vec![ListOffsetsRequestTopic {
                name: "t",
                partitions: vec![ListOffsetsRequestPartition {
                    timestamp: -1,
                    ..Default::default()
                }]
                .into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = sandbox.ask(broker_id, &request);
        let code = answer.partition().error_code;
        assert_eq!(
            code.0, expected,
            "replica id {replica_id}, broker {broker_id}"
        );
    }
}

#[test]
fn leaders_and_replicas_are_spread_over_all_brokers() {
    let mut sandbox = Sandbox::new(3);
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "wide",
            num_partitions: 6,
            replication_factor: 2,
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let created = sandbox.ask(2, &request);
    assert_eq!(
        created.decode().topics.first().unwrap().error_code,
        ErrorCode::NONE
    );
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let answer = sandbox.ask(1, &all);
    let metadata = answer.decode();
    assert_eq!(metadata.brokers.len(), 3);
    let mut led = [0; 3];
    for partition in &metadata.topics.first().unwrap().partitions {
        led[usize::try_from(partition.leader_id).unwrap()] += 1;
        assert_eq!(
            partition.replica_nodes.first().unwrap(),
            partition.leader_id
        );
        assert_ne!(
            partition.replica_nodes.iter().nth(1).unwrap(),
            partition.leader_id
        );
    }
    assert_eq!(led, [2, 2, 2]);
}
