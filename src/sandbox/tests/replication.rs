//! Followers that lag, and what that means for producers and readers.

use kmirror_protocol::{
    messages::{
        DescribeProducersRequest, ListOffsetsRequest,
        describe_producers::DescribeProducersRequestTopic,
        list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
    },
    wire::Array,
};

use super::*;
use crate::sandbox::Ticket;

const ID: i64 = 77;

/// A batch of one record from a producer that counts from 0.
fn numbered(sequence: i32) -> Vec<u8> {
    let producer = BatchProducer {
        producer_id: ID,
        producer_epoch: 0,
        base_sequence: sequence,
    };
    batch_at(START, 1, producer)
}

impl Sandbox {
    /// Replicas on as many brokers as there are, with two batches that all of them have.
    fn replicated(broker_count: u16, configs: &[(&str, &str)]) -> Self {
        let mut sandbox = Self::new(broker_count);
        sandbox.create_topic(i32::from(broker_count), configs);
        for sequence in 0..2 {
            let produced = sandbox.produce(0, &numbered(sequence));
            assert_eq!(produced, (ErrorCode::NONE, i64::from(sequence)));
        }
        sandbox
    }

    /// Starts to produce to broker 0 with acks -1 and 500 ms of patience.
    fn start_produce(&mut self, sequence: i32) -> Outcome {
        let blob = numbered(sequence);
        let request = ProduceRequest {
            timeout_ms: 500,
            ..produce(self.topic_id(), &blob)
        };
        let body = body(&request, latest::<ProduceRequest<'_>>());
        self.cluster.handle(self.now, 0, &body)
    }

    /// The same, sure to wait.
    fn park_produce(&mut self, sequence: i32) -> Ticket {
        match self.start_produce(sequence) {
            Outcome::Parked { ticket, deadline } => {
                assert_eq!(deadline, self.now.plus_ms(500));
                ticket
            }
            outcome => panic!("{outcome:?}"),
        }
    }

    /// The produce requests that are answered now: ticket, error code, offset and named leader.
    fn poll_produce(&mut self) -> Vec<(Ticket, i16, i64, i32)> {
        let answers = self.cluster.poll(self.now).into_iter();
        let answers = answers.map(|(ticket, outcome)| {
            let version = latest::<ProduceRequest<'_>>();
            let answer: Answer<ProduceRequest<'_>> = Answer::new(outcome, version);
            let response = answer.decode();
            let topic = response.responses.first().unwrap();
            let partition = topic.partition_responses.first().unwrap();
            let leader = partition.current_leader.leader_id;
            (
                ticket,
                partition.error_code.0,
                partition.base_offset,
                leader,
            )
        });
        answers.collect()
    }

    /// Error code and offset of the end of the log, for a consumer or for the curious.
    fn latest(&mut self, broker_id: i32, replica_id: i32) -> (i16, i64) {
        self.latest_in(latest::<ListOffsetsRequest<'_>>(), broker_id, replica_id)
    }

    fn latest_in(&mut self, version: i16, broker_id: i32, replica_id: i32) -> (i16, i64) {
        let request = ListOffsetsRequest {
            replica_id,
            topics: Array::from([ListOffsetsRequestTopic {
                name: "t",
                partitions: Array::from([ListOffsetsRequestPartition {
                    timestamp: -1,
                    ..Default::default()
                }]),
            }]),
            ..Default::default()
        };
        let answer = self.ask_in(version, broker_id, &request);
        let response = answer.decode();
        let topic = response.topics.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        (partition.error_code.0, partition.offset)
    }

    /// Last sequence of every producer that a broker remembers.
    fn last_sequences(&mut self, broker_id: i32) -> Vec<i32> {
        let request = DescribeProducersRequest {
            topics: Array::from([DescribeProducersRequestTopic {
                name: "t",
                partition_indexes: Array::from([0]),
            }]),
        };
        let answer = self.ask(broker_id, &request);
        let response = answer.decode();
        let topic = response.topics.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        let producers = partition.active_producers.iter();
        producers.map(|producer| producer.last_sequence).collect()
    }
}

#[test]
fn acks_of_all_wait_until_all_in_sync_replicas_have_the_batch() {
    let mut sandbox = Sandbox::replicated(3, &[]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    sandbox.cluster.hold_back("t", 0, 2).unwrap();
    let ticket = sandbox.park_produce(2);
    sandbox.cluster.catch_up("t", 0, 1).unwrap();
    assert_eq!(sandbox.poll_produce(), []);
    sandbox.cluster.catch_up("t", 0, 2).unwrap();
    assert_eq!(sandbox.poll_produce(), [(ticket, 0, 2, -1)]);
    assert_eq!(sandbox.cluster.deadline(), None);
}

#[test]
fn acks_of_all_wait_for_no_replica_that_leaves_the_isr() {
    type Leave = fn(&mut Cluster);
    let cases: [(&str, Leave); 2] = [
        ("dropped", |it| it.drop_from_isr("t", 0, 1).unwrap()),
        ("stopped", |it| it.stop_broker(1)),
    ];
    for (name, leave) in cases {
        let mut sandbox = Sandbox::replicated(2, &[]);
        sandbox.cluster.hold_back("t", 0, 1).unwrap();
        let ticket = sandbox.park_produce(2);
        leave(&mut sandbox.cluster);
        assert_eq!(sandbox.poll_produce(), [(ticket, 0, 2, -1)], "{name}");
    }
}

#[test]
fn a_batch_that_nobody_acknowledges_in_time_stays_in_the_log() {
    let mut sandbox = Sandbox::replicated(2, &[]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    let first = sandbox.park_produce(2);
    // Its resend waits as well.
    let again = sandbox.park_produce(2);
    sandbox.now = START.plus_ms(499);
    assert_eq!(sandbox.poll_produce(), []);
    sandbox.now = START.plus_ms(500);
    let timed_out = [(first, 7, 2, -1), (again, 7, 2, -1)];
    assert_eq!(sandbox.poll_produce(), timed_out);
    assert_eq!(sandbox.cluster.log_range("t", 0), Some(0..3));
    assert_eq!(sandbox.last_sequences(0), [2]);
    assert_eq!(sandbox.last_sequences(1), [1]);
}

#[test]
fn acks_of_one_wait_for_nobody() {
    let mut sandbox = Sandbox::replicated(2, &[]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    let blob = numbered(2);
    let request = ProduceRequest {
        acks: 1,
        ..produce(sandbox.topic_id(), &blob)
    };
    let answer = sandbox.ask(0, &request);
    let topic = answer.decode().responses.first().unwrap();
    let partition = topic.partition_responses.first().unwrap();
    assert_eq!(partition.error_code, ErrorCode::NONE);
    assert_eq!(sandbox.cluster.log_range("t", 0), Some(0..3));
}

#[test]
fn a_waiting_batch_is_refused_when_its_leader_leads_no_more() {
    let mut sandbox = Sandbox::replicated(3, &[]);
    sandbox.cluster.hold_back("t", 0, 2).unwrap();
    let ticket = sandbox.park_produce(2);
    sandbox.cluster.elect_leader("t", 0, 1).unwrap();
    assert_eq!(sandbox.poll_produce(), [(ticket, 6, 2, 1)]);
}

#[test]
fn what_waits_at_a_broker_ends_with_it() {
    let mut sandbox = Sandbox::replicated(2, &[]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    sandbox.park_produce(2);
    sandbox.cluster.stop_broker(0);
    assert_eq!(sandbox.poll_produce(), []);
    assert_eq!(sandbox.cluster.deadline(), None);
    let outcome = sandbox.start_produce(3);
    assert!(matches!(outcome, Outcome::Close(_)), "{outcome:?}");
}

#[test]
fn acknowledgements_tell_of_replicas_that_were_lost_after_the_append() {
    let mut sandbox = Sandbox::replicated(3, &[("min.insync.replicas", "2")]);
    sandbox.cluster.hold_back("t", 0, 2).unwrap();
    let ticket = sandbox.park_produce(2);
    sandbox.cluster.catch_up("t", 0, 2).unwrap();
    sandbox.cluster.stop_broker(1);
    sandbox.cluster.stop_broker(2);
    assert_eq!(sandbox.poll_produce(), [(ticket, 20, 2, -1)]);
}

#[test]
fn consumers_see_what_is_committed_and_the_curious_see_all() {
    let mut sandbox = Sandbox::replicated(3, &[]);
    let topic_id = sandbox.topic_id();
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    sandbox.park_produce(2);
    assert_eq!(sandbox.latest(0, -1), (0, 2));
    for (broker_id, log_end) in [(0, 3), (1, 2), (2, 3)] {
        assert_eq!(sandbox.latest(broker_id, -2), (0, log_end), "{broker_id}");
        let answer = sandbox.ask(broker_id, &fetch(topic_id, 0, 0));
        let topic = answer.decode().responses.first().unwrap();
        let partition = topic.partitions.first().unwrap();
        let read = partition.records.as_ref().unwrap().len();
        assert_eq!(read, numbered(0).len() * 2, "{broker_id}");
        assert_eq!(partition.high_watermark, 2, "{broker_id}");
    }
}

#[test]
fn a_waiting_fetch_is_answered_when_records_are_committed() {
    let mut sandbox = Sandbox::replicated(2, &[]);
    let topic_id = sandbox.topic_id();
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    let outcome = sandbox.start_fetch(&fetch(topic_id, 2, 400));
    let Outcome::Parked { ticket, .. } = outcome else {
        panic!("{outcome:?}");
    };
    sandbox.park_produce(2);
    assert_eq!(sandbox.cluster.poll(START), []);
    sandbox.cluster.catch_up("t", 0, 1).unwrap();
    let answered = sandbox.cluster.poll(START).into_iter();
    assert!(answered.into_iter().any(|(it, _)| it == ticket));
}

#[test]
fn a_new_leader_that_does_not_know_what_is_committed_says_so() {
    let mut sandbox = Sandbox::replicated(3, &[]);
    sandbox.cluster.hold_back("t", 0, 2).unwrap();
    sandbox.park_produce(2);
    sandbox.cluster.elect_leader("t", 0, 1).unwrap();
    // Broker 2 is in sync but has not fetched from the new leader, which cannot count on it.
    assert_eq!(sandbox.latest(1, -1), (78, -1));
    assert_eq!(sandbox.latest_in(4, 1, -1), (5, -1));
    assert_eq!(sandbox.latest(1, -2), (0, 3));
    sandbox.cluster.catch_up("t", 0, 2).unwrap();
    assert_eq!(sandbox.latest(1, -1), (0, 3));
}

#[test]
fn a_leader_that_lagged_loses_only_what_was_never_acknowledged() {
    let mut sandbox = Sandbox::replicated(3, &[]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    sandbox.park_produce(2);
    sandbox.cluster.elect_leader("t", 0, 1).unwrap();
    for broker_id in 0..3 {
        assert_eq!(sandbox.latest(broker_id, -2), (0, 2), "{broker_id}");
        assert_eq!(sandbox.last_sequences(broker_id), [1], "{broker_id}");
    }
    assert_eq!(sandbox.produce(1, &numbered(2)), (ErrorCode::NONE, 2));
}

#[test]
fn a_replica_out_of_sync_leads_only_by_force() {
    let mut sandbox = Sandbox::replicated(2, &[]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    sandbox.cluster.drop_from_isr("t", 0, 1).unwrap();
    assert_eq!(sandbox.produce(0, &numbered(2)), (ErrorCode::NONE, 2));
    let refused = sandbox.cluster.elect_leader("t", 0, 1);
    assert_eq!(refused, Err(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE));
    sandbox.cluster.elect_leader_uncleanly("t", 0, 1).unwrap();
    // The acknowledged tail is gone from both, and so is what was known of its producer.
    for broker_id in 0..2 {
        assert_eq!(sandbox.latest(broker_id, -2), (0, 2), "{broker_id}");
        assert_eq!(sandbox.last_sequences(broker_id), [1], "{broker_id}");
    }
    let refused = sandbox.cluster.drop_from_isr("t", 0, 1);
    assert_eq!(refused, Err(ErrorCode::INVALID_REQUEST));
}

#[test]
fn an_evicted_producer_may_continue_anywhere() {
    let mut sandbox = Sandbox::replicated(2, &[]);
    sandbox.cluster.evict_producers("t", 0, 0).unwrap();
    assert!(sandbox.last_sequences(0).is_empty());
    assert_eq!(sandbox.last_sequences(1), [1]);
    assert_eq!(sandbox.produce(0, &numbered(500)), (ErrorCode::NONE, 2));
    let missing = sandbox.cluster.evict_producers("t", 0, 7);
    assert_eq!(missing, Err(ErrorCode::REPLICA_NOT_AVAILABLE));
}

#[test]
fn a_truncated_replica_remembers_what_its_snapshot_and_its_log_tell() {
    for (has_snapshot, expected) in [(true, vec![1]), (false, vec![])] {
        let mut sandbox = Sandbox::replicated(2, &[("retention.ms", "0")]);
        if has_snapshot {
            sandbox.cluster.take_producer_snapshots();
        }
        sandbox.cluster.apply_retention(START.plus_ms(1));
        assert_eq!(sandbox.last_sequences(0), [1]);
        sandbox.cluster.hold_back("t", 0, 1).unwrap();
        sandbox.park_produce(2);
        sandbox.cluster.elect_leader("t", 0, 1).unwrap();
        assert_eq!(sandbox.last_sequences(0), expected, "{has_snapshot}");
        assert_eq!(sandbox.last_sequences(1), [1], "{has_snapshot}");
    }
}

#[test]
fn a_broker_that_starts_recognises_one_batch_of_each_producer() {
    let mut sandbox = Sandbox::replicated(1, &[]);
    sandbox.cluster.stop_broker(0);
    sandbox.cluster.start_broker(0);
    assert_eq!(sandbox.produce(0, &numbered(1)), (ErrorCode::NONE, 1));
    let refused = (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert_eq!(sandbox.produce(0, &numbered(0)), refused);
}

#[test]
fn deletion_stops_at_what_is_committed_and_reaches_every_replica() {
    let mut sandbox = Sandbox::replicated(3, &[("retention.ms", "0")]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    sandbox.park_produce(2);
    sandbox.cluster.apply_retention(START.plus_ms(1));
    let starts = |sandbox: &Sandbox| {
        let partition = sandbox.cluster.partition("t", 0).unwrap();
        let replicas = partition.replicas.iter();
        let starts = replicas.map(|replica| replica.log.start_offset());
        starts.collect::<Vec<_>>()
    };
    assert_eq!(starts(&sandbox), [2, 2, 2]);
    sandbox.cluster.catch_up("t", 0, 1).unwrap();
    sandbox.cluster.apply_retention(START.plus_ms(1));
    assert_eq!(starts(&sandbox), [3, 3, 3]);
}

#[test]
fn a_follower_that_missed_everything_starts_where_its_leader_does() {
    let mut sandbox = Sandbox::replicated(2, &[("retention.ms", "0")]);
    sandbox.cluster.stop_broker(1);
    for sequence in 2..5 {
        sandbox.produce(0, &numbered(sequence));
    }
    sandbox.cluster.apply_retention(START.plus_ms(1));
    assert_eq!(sandbox.produce(0, &numbered(5)), (ErrorCode::NONE, 5));
    sandbox.cluster.start_broker(1);
    assert_eq!(sandbox.latest(1, -2), (0, 6));
    let partition = sandbox.cluster.partition("t", 0).unwrap();
    assert_eq!(partition.isr, [0, 1]);
    assert_eq!(partition.replica(1).unwrap().log.start_offset(), 5);
}
