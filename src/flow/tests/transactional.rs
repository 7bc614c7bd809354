//! A partition in its flow's transactions, and a flow that begins them.

use std::sync::Arc;

use kmirror_protocol::{ErrorCode, records::BatchHeader};

use super::{
    brokers::refused,
    epoch, options,
    partition::{Bench, halted, partition},
};
use crate::{
    flow::{
        Action, ClusterView, Delivery, Event, Failure, Flow, TransactionAnswer,
        TransactionQuestion, halt::HaltReason, limits,
    },
    offsets::state::Lineage,
    policy::StartAt,
};

fn producer(epoch: i16) -> Lineage {
    Lineage {
        producer_id: 7,
        epoch,
    }
}

/// A partition that goes on at 0 and has something to send.
fn bench(batches: usize) -> Bench {
    let mut bench = Bench::new(batches);
    let own = partition(Some(0), StartAt::Earliest).transacting(producer(1));
    bench.partition = own;
    bench.fetch();
    bench
}

/// The same after the first acknowledgement, with five batches of two records in flight.
fn sent() -> Bench {
    let mut bench = bench(9);
    assert_eq!(bench.send(), [0]);
    bench.acknowledge(0);
    assert_eq!(bench.send(), [2, 4, 6, 8, 10]);
    bench
}

#[test]
fn its_batches_are_transactional_and_nobody_asks_for_a_producer_id() {
    let mut bench = bench(1);
    assert!(!bench.partition.wants_producer_id(bench.now));
    let sent = bench.send_batches();
    let header = BatchHeader::parse(&sent[0].header).unwrap();
    assert!(header.attributes.is_transactional());
    assert!(header.verify_crc(&sent[0].payload));
    assert_eq!((header.producer_id, header.producer_epoch), (7, 1));
}

#[test]
fn sequences_go_on_under_the_same_epoch_and_begin_anew_under_the_next() {
    for (epoch, expected) in [(1, vec![12, 14, 16]), (2, vec![0])] {
        let mut bench = sent();
        for sequence in [2, 4, 6, 8, 10] {
            bench.acknowledge(sequence);
        }
        bench.partition.committed(Some(12), producer(epoch));
        assert_eq!(bench.send(), expected, "epoch {epoch}");
    }
}

#[test]
fn what_is_not_committed_is_taken_back() {
    let committed = |bench: &mut Bench| bench.partition.committed(Some(2), producer(1));
    // Committed before, the stored position, and where copying goes on.
    for (is_committed, stored, expected) in [
        (false, None, 0),
        (true, None, 2),
        (true, Some(2), 2),
        // The commit whose answer was lost had gone through.
        (true, Some(4), 4),
        (false, Some(4), 4),
    ] {
        let mut bench = sent();
        if is_committed {
            committed(&mut bench);
        }
        bench.acknowledge(2);
        assert_eq!(bench.partition.copied_offset(), Some(4));
        assert_eq!(bench.partition.counters().records, 4);
        bench.partition.suspend();
        assert!(bench.send().is_empty() && bench.partition.in_flight() == 0);
        bench.partition.go_back(stored, producer(3));
        assert_eq!(bench.partition.copied_offset(), Some(expected));
        let records = bench.partition.counters().records;
        assert_eq!(i64::try_from(records).unwrap(), expected, "{stored:?}");
        // Answers of before mean nothing now.
        bench.acknowledge(4);
        assert_eq!(bench.partition.copied_offset(), Some(expected));
        bench.fetch();
        assert_eq!(bench.send(), [0]);
    }
}

#[test]
fn a_translation_never_runs_ahead_of_what_is_committed() {
    let told = |bench: &Bench, at| {
        let told = bench.partition.translate(at);
        told.map(|told| (told.target_offset, told.reread_max))
    };
    let mut bench = sent();
    bench.acknowledge(2);
    assert_eq!(told(&bench, 3), Some((0, 3)), "nothing is committed");
    bench.partition.committed(Some(2), producer(1));
    assert_eq!(told(&bench, 1), Some((1, 0)));
    assert_eq!(told(&bench, 3), Some((2, 1)));
    bench.partition.committed(Some(4), producer(1));
    assert_eq!(told(&bench, 3), Some((3, 0)));
    // Given up, and back at what this process had committed, or somebody else.
    bench.partition.suspend();
    bench.partition.go_back(Some(4), producer(2));
    assert_eq!(told(&bench, 3), Some((3, 0)));
    bench.partition.suspend();
    bench.partition.go_back(Some(6), producer(3));
    assert_eq!(told(&bench, 3), None);
}

#[test]
fn what_can_only_be_aborted_is_told_to_the_flow() {
    let silence = || Failure::NoAnswer(String::from("silence"));
    let cases = [
        (silence(), true),
        (refused(ErrorCode::REQUEST_TIMED_OUT), true),
        (refused(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND), true),
        (refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), true),
        (refused(ErrorCode::INVALID_PRODUCER_EPOCH), true),
        (refused(ErrorCode::INVALID_TXN_STATE), true),
        (refused(ErrorCode::TRANSACTION_ABORTABLE), true),
        (refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING), true),
        (Failure::Unreached(String::from("refused")), false),
        (refused(ErrorCode::NOT_LEADER_OR_FOLLOWER), false),
        (refused(ErrorCode::NOT_ENOUGH_REPLICAS), false),
        (refused(ErrorCode::CONCURRENT_TRANSACTIONS), false),
        (refused(ErrorCode::MESSAGE_TOO_LARGE), false),
    ];
    for (failure, expected) in cases {
        let mut bench = sent();
        bench.fail(2, failure.clone());
        let is_told = bench.partition.take_recovery_cause().is_some();
        assert_eq!(is_told, expected, "{failure}");
    }
    // Behind a batch that failed every other one is out of sequence.
    let mut bench = sent();
    bench.fail(4, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(bench.partition.take_recovery_cause(), None);
}

#[test]
fn a_transaction_waits_for_what_may_be_in_the_log_and_for_nothing_else() {
    // What the oldest batch is answered; whether its fate must be known before a commit.
    for (failure, is_in_doubt) in [
        (refused(ErrorCode::NOT_LEADER_OR_FOLLOWER), true),
        (refused(ErrorCode::NOT_ENOUGH_REPLICAS), false),
        (Failure::Unreached(String::from("refused")), false),
    ] {
        let mut bench = bench(1);
        bench.send();
        bench.fail(0, failure.clone());
        assert_eq!(bench.partition.is_in_doubt(), is_in_doubt, "{failure}");
        assert!(!bench.partition.is_torn());
        bench.wait();
        assert_eq!(bench.partition.has_doubtful_batch(bench.now), is_in_doubt);
        assert_eq!(bench.send(), [0], "under its old number");
        bench.acknowledge(0);
        assert!(!bench.partition.is_in_doubt());
    }
}

#[test]
fn a_batch_that_is_refused_for_good_leaves_the_transaction_whole() {
    let mut bench = sent();
    bench.acknowledge(2);
    let reason = halted(bench.fail(4, refused(ErrorCode::MESSAGE_TOO_LARGE)));
    assert!(matches!(
        reason,
        HaltReason::BatchTooLarge {
            first_offset: 4,
            ..
        }
    ));
    for sequence in [6, 8, 10] {
        bench.fail(sequence, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    }
    assert!(!bench.partition.is_torn() && !bench.partition.is_in_doubt());
    assert_eq!(bench.partition.copied_offset(), Some(4));
    // Looked at again it is sent under the numbers of the next epoch.
    bench.partition.committed(Some(4), producer(2));
    bench.now += limits::HALT_RETRY;
    bench.partition.retry_halted(bench.now);
    bench.fetch();
    assert_eq!(bench.send(), [0]);
}

#[test]
fn a_batch_that_is_or_may_be_behind_a_hole_must_not_become_visible() {
    // Acknowledged behind one that was refused.
    let mut bench = sent();
    bench.fail(2, refused(ErrorCode::NOT_ENOUGH_REPLICAS));
    for sequence in [4, 6, 8, 10] {
        bench.acknowledge(sequence);
    }
    assert!(bench.partition.is_torn());
    // Halted before its fate was known.
    let mut bench = bench_in_doubt();
    halted(bench.fail(0, refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED)));
    assert!(bench.partition.is_torn());
    // Stored before what had been acknowledged: the target has lost records.
    let mut bench = sent();
    let answer = bench.partition.produced(bench.now, (2, 0), Ok(0));
    assert!(matches!(halted(answer), HaltReason::TargetWentBack { .. }));
    assert!(bench.partition.take_recovery_cause().is_some());
}

fn bench_in_doubt() -> Bench {
    let mut bench = bench(1);
    bench.send();
    bench.fail(0, refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    bench.wait();
    assert_eq!(bench.send(), [0]);
    bench
}

#[test]
fn a_partition_that_may_not_enter_fetches_again_when_it_has_nothing_left() {
    let mut bench = bench(2);
    for _ in 0..limits::STALLED_AFTER {
        let unknown = refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(bench.partition.entry_refused(bench.now, unknown), None);
    }
    assert_eq!(bench.partition.queued_bytes(), 0);
    assert!(!bench.partition.is_stalled());
    bench.fetch();
    bench.wait();
    assert!(bench.partition.has_batch(bench.now));
    let denied = refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let notice = bench.partition.entry_refused(bench.now, denied);
    assert!(matches!(halted(notice), HaltReason::TargetRefuses(_)));
}

#[test]
fn nobody_is_shut_out_before_the_offsets_topic_is_there_and_positions_are_read_only_then() {
    let now = epoch();
    let mut options = options();
    options.delivery = Delivery::Transactional;
    let offsets_topic = Arc::clone(&options.offsets_topic.name);
    let mut flow = Flow::new(options, now);
    let mut actions = Vec::new();
    let mut act = |flow: &mut Flow, event: Event| {
        flow.handle(now, event, &mut actions);
        flow.schedule(now, &mut actions);
        std::mem::take(&mut actions)
    };
    let metadata = |side, cluster: super::cluster::Cluster| Event::Metadata {
        side,
        result: Ok::<ClusterView, Failure>(cluster.view()),
    };
    let mut target = super::cluster::Cluster::new("target");
    let source = super::cluster::Cluster::new("source");
    let sides = (super::super::Side::Source, super::super::Side::Target);
    act(&mut flow, metadata(sides.0, source));
    let done = act(&mut flow, metadata(sides.1, target.clone()));
    let asks = |action: &Action| matches!(action, Action::AskTransaction { .. });
    assert!(!done.iter().any(asks), "{done:?}");
    target.create(&offsets_topic, 1, 1);
    let done = act(&mut flow, metadata(sides.1, target));
    let [
        ..,
        Action::AskTransaction {
            request, question, ..
        },
    ] = &*done
    else {
        panic!("{done:?}");
    };
    assert_eq!(*question, TransactionQuestion::FindCoordinator);
    let loads = |action: &Action| matches!(action, Action::LoadPositions { is_whole: true, .. });
    assert!(!done.iter().any(loads));
    let answer = |request, answer| Event::TransactionAnswered {
        request,
        result: Ok(answer),
    };
    let done = act(
        &mut flow,
        answer(*request, TransactionAnswer::Coordinator(1)),
    );
    let [Action::AskTransaction { request, .. }] = &*done else {
        panic!("{done:?}");
    };
    let protocol = crate::flow::TransactionProtocol::V2;
    let granted = TransactionAnswer::Producer(producer(0), protocol);
    let done = act(&mut flow, answer(*request, granted));
    // What follows from the stage is asked for with the next look.
    let later = act(&mut flow, Event::DeadlineReached);
    assert!(done.iter().chain(&later).any(loads), "{done:?} {later:?}");
}
