//! The machine of one partition, transition by transition.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    records::{BatchHeader, Compression},
    wire::Uuid,
};

use super::{brokers::refused, cluster::Log, epoch, values};
use crate::{
    flow::{
        Failure, FetchedRecords, LogRange, Outgoing, PartitionId, PartitionNotice, TopicPartition,
        guarantee::Footing,
        halt::HaltReason,
        limits,
        partition::Partition,
        recovery::{RecoveryCause, Start},
    },
    offsets::{
        exact_map::Changes,
        state::{Anchor, GapCause, Lineage},
    },
    policy::StartAt,
};

/// A partition that goes on at 0, with a producer id, and what the source has for it.
pub(super) struct Bench {
    pub(super) partition: Partition,
    pub(super) log: Log,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(batches: usize) -> Self {
        let mut log = Log::default();
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..batches {
            log.write(Compression::None, &values(&mut rng, 2));
        }
        let mut bench = Self {
            partition: partition(Some(0), StartAt::Earliest),
            log,
            now: epoch(),
        };
        bench.partition.producer_id_asked();
        bench.partition.producer_id_granted(bench.now, Ok((7, 0)));
        bench.fetch();
        bench
    }

    /// Nothing read yet, and `next_offset` as the position.
    pub(super) fn at(next_offset: i64) -> Self {
        let mut bench = Self {
            partition: partition(Some(next_offset), StartAt::Earliest),
            ..Self::new(0)
        };
        bench.partition.producer_id_asked();
        bench.partition.producer_id_granted(bench.now, Ok((7, 0)));
        bench
    }

    /// At a proven position, with nothing read yet.
    fn proving(start: Start) -> Self {
        let mut bench = Self::new(0);
        bench.partition = partition(None, StartAt::Earliest).proving();
        bench.partition.start(start, None);
        bench
    }

    pub(super) fn fetch(&mut self) -> Option<PartitionNotice> {
        let (offset, bytes_max) = self.partition.wants_fetch(self.now)?;
        self.partition.fetch_sent();
        let fetched = self.log.fetch(offset, bytes_max).map_err(refused);
        self.partition.fetched(self.now, fetched)
    }

    pub(super) fn fetched(&mut self, records: Vec<u8>) -> Option<PartitionNotice> {
        self.partition.fetch_sent();
        let fetched = FetchedRecords {
            records: Bytes::from(records),
            high_watermark: 0,
            last_stable_offset: 0,
            aborted: Vec::new(),
            diverging: None,
        };
        self.partition.fetched(self.now, Ok(fetched))
    }

    /// Sends all that may be sent; returns the sequence numbers.
    pub(super) fn send(&mut self) -> Vec<i32> {
        self.send_batches()
            .iter()
            .map(|batch| batch.base_sequence)
            .collect()
    }

    pub(super) fn send_batches(&mut self) -> Vec<Outgoing> {
        std::iter::from_fn(|| self.partition.next_batch(self.now)).collect()
    }

    pub(super) fn acknowledge(&mut self, sequence: i32) -> Option<PartitionNotice> {
        self.partition
            .produced(self.now, (sequence, 0), Ok(i64::from(sequence)))
    }

    pub(super) fn fail(&mut self, sequence: i32, failure: Failure) -> Option<PartitionNotice> {
        self.partition
            .produced(self.now, (sequence, 0), Err(failure))
    }

    pub(super) fn wait(&mut self) {
        self.now += limits::BACKOFF_MAX;
    }
}

pub(super) fn partition(stored_offset: Option<i64>, start_at: StartAt) -> Partition {
    let source = TopicPartition {
        topic: Arc::from("t"),
        partition: 0,
    };
    let mut partition = Partition::new(
        PartitionId(0),
        source,
        Arc::from("A.t"),
        stored_offset,
        start_at,
        1 << 20,
    );
    partition.target_found(true);
    partition
}

pub(super) fn halted(notice: Option<PartitionNotice>) -> HaltReason {
    match notice {
        Some(PartitionNotice::Halted(reason)) => reason,
        other => panic!("not a halt: {other:?}"),
    }
}

#[test]
fn one_batch_is_in_flight_until_the_first_acknowledgement_and_five_from_then_on() {
    let mut bench = Bench::new(9);
    assert_eq!(bench.send(), [0]);
    bench.acknowledge(0);
    assert_eq!(bench.send(), [2, 4, 6, 8, 10]);
    bench.acknowledge(2);
    assert_eq!(bench.send(), [12]);
}

#[test]
fn nothing_is_sent_further_behind_an_open_batch_than_a_broker_remembers() {
    let mut bench = Bench::new(9);
    bench.send();
    bench.acknowledge(0);
    assert_eq!(bench.send(), [2, 4, 6, 8, 10]);
    bench.fail(2, refused(ErrorCode::REQUEST_TIMED_OUT));
    for sequence in [4, 6, 8, 10] {
        assert_eq!(bench.acknowledge(sequence), None);
    }
    bench.wait();
    // Its answer is lost again; had more gone out, a broker would have forgotten it by now.
    assert_eq!(bench.send(), [2]);
    bench.fail(2, refused(ErrorCode::REQUEST_TIMED_OUT));
    bench.wait();
    assert_eq!(bench.send(), [2]);
    assert_eq!(bench.acknowledge(2), None);
    assert_eq!(bench.partition.copied_offset(), Some(12));
    assert_eq!(bench.send(), [12, 14, 16]);
}

#[test]
fn the_position_moves_only_past_what_is_acknowledged_without_a_hole() {
    let mut bench = Bench::new(4);
    bench.send();
    bench.acknowledge(0);
    bench.send();
    bench.acknowledge(6);
    bench.acknowledge(4);
    assert_eq!(bench.partition.copied_offset(), Some(2));
    bench.acknowledge(2);
    assert_eq!(bench.partition.copied_offset(), Some(8));
    assert_eq!(bench.partition.queued_bytes(), 0);
}

#[test]
fn after_a_failure_all_open_batches_go_out_again_as_they_were_and_in_order() {
    let mut bench = Bench::new(5);
    bench.send();
    bench.acknowledge(0);
    let before = bench.send_batches();
    bench.fail(2, Failure::NoAnswer(String::new()));
    bench.wait();
    assert_eq!(
        bench.send(),
        [0; 0],
        "while answers are out nothing is sent"
    );
    for sequence in [4, 6] {
        bench.fail(sequence, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    }
    assert_eq!(bench.send(), [0; 0]);
    bench.fail(8, Failure::NoAnswer(String::new()));
    bench.wait();
    let after = bench.send_batches();
    let parts = |batches: &[Outgoing]| {
        let parts = batches
            .iter()
            .map(|batch| (batch.header, batch.payload.clone()));
        parts.collect::<Vec<_>>()
    };
    assert_eq!(parts(&before), parts(&after));
}

#[test]
fn a_later_batch_out_of_sequence_says_nothing_while_an_earlier_one_is_open() {
    let mut bench = Bench::new(3);
    bench.send();
    bench.acknowledge(0);
    assert_eq!(bench.send(), [2, 4]);
    // The new leader answers before the former one does.
    assert_eq!(
        bench.fail(4, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)),
        None
    );
    bench.fail(2, refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    bench.wait();
    assert_eq!(bench.send(), [2, 4]);
    bench.acknowledge(2);
    let reason = halted(bench.fail(4, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)));
    assert!(matches!(reason, HaltReason::TargetDiverged(_)), "{reason}");
}

#[test]
fn what_the_target_answers_decides_what_happens_to_the_oldest_batch() {
    use ErrorCode as Code;
    let resent = [
        Code::NOT_LEADER_OR_FOLLOWER,
        Code::UNKNOWN_TOPIC_OR_PARTITION,
        Code::REQUEST_TIMED_OUT,
        Code::NOT_ENOUGH_REPLICAS,
        Code::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Code::KAFKA_STORAGE_ERROR,
        Code::CORRUPT_MESSAGE,
        Code::UNKNOWN_SERVER_ERROR,
    ];
    for code in resent {
        let mut bench = Bench::new(1);
        bench.send();
        assert_eq!(bench.fail(0, refused(code)), None, "{code}");
        assert_eq!(bench.send(), [0; 0], "{code}: no waiting");
        bench.wait();
        assert_eq!(bench.send(), [0], "{code}");
    }
    let halts = [
        (Code::OUT_OF_ORDER_SEQUENCE_NUMBER, false),
        (Code::INVALID_PRODUCER_EPOCH, false),
        (Code::TOPIC_AUTHORIZATION_FAILED, true),
        (Code::INVALID_RECORD, true),
        (Code::INVALID_TIMESTAMP, true),
        (Code::MESSAGE_TOO_LARGE, true),
        (Code::POLICY_VIOLATION, true),
    ];
    for (code, may_pass) in halts {
        let mut bench = Bench::new(1);
        bench.send();
        let reason = halted(bench.fail(0, refused(code)));
        assert_eq!(reason.may_pass(), may_pass, "{code}");
        bench.wait();
        assert_eq!(bench.send(), [0; 0], "{code}");
        bench.now += limits::HALT_RETRY;
        let resumed = bench.partition.retry_halted(bench.now);
        assert_eq!(resumed.is_some(), may_pass, "{code}");
        // The same batch under the same number: the target may have it.
        let expected: &[i32] = if may_pass { &[0] } else { &[] };
        assert_eq!(bench.send(), expected, "{code}");
    }
}

#[test]
fn a_forgotten_producer_id_is_replaced_once_every_answer_is_in() {
    let mut bench = Bench::new(3);
    bench.send();
    bench.acknowledge(0);
    assert_eq!(bench.send(), [2, 4]);
    bench.fail(2, refused(ErrorCode::UNKNOWN_PRODUCER_ID));
    assert!(!bench.partition.wants_producer_id(bench.now));
    bench.fail(4, refused(ErrorCode::UNKNOWN_PRODUCER_ID));
    bench.wait();
    assert!(bench.partition.wants_producer_id(bench.now));
    bench.partition.producer_id_asked();
    bench.partition.producer_id_granted(bench.now, Ok((8, 0)));
    assert_eq!(bench.send(), [0]);
    bench.partition.produced(bench.now, (0, 0), Ok(2));
    assert_eq!(bench.send(), [2]);
    bench.partition.produced(bench.now, (2, 0), Ok(4));
    assert_eq!(bench.partition.copied_offset(), Some(6));
}

#[test]
fn sequence_numbers_go_from_their_largest_to_zero() {
    let mut bench = Bench::new(0);
    // Only the header is looked at, so that it may claim any number of records.
    let mut log = Log::default();
    log.write(Compression::None, &[Bytes::from_static(b"v")]);
    let one = log.fetch(0, 1 << 20).unwrap().records;
    let mut header = BatchHeader::parse(&one).unwrap();
    let payload = one.slice(header.encode().len()..);
    let mut records = Vec::new();
    for (base_offset, count) in [
        (0, i32::MAX - 1),
        (i64::from(i32::MAX) - 1, 4),
        (i64::from(i32::MAX) + 3, 1),
    ] {
        (header.base_offset, header.record_count) = (base_offset, count);
        header.last_offset_delta = count - 1;
        records.extend([&header.encode(), payload.as_ref()].concat());
    }
    bench.fetched(records);
    assert_eq!(bench.send(), [0]);
    bench.partition.produced(bench.now, (0, 0), Ok(0));
    // 2^31 - 2, 2^31 - 1, 0, 1: the next is 2.
    assert_eq!(bench.send(), [i32::MAX - 1, 2]);
}

#[test]
fn the_start_is_where_the_log_says_and_a_lost_position_is_explained() {
    let range = |start_offset, end_offset| LogRange {
        start_offset,
        end_offset,
    };
    let cases = [
        (None, StartAt::Earliest, range(5, 9), Some(5), None),
        (
            None,
            StartAt::Latest,
            range(5, 9),
            Some(9),
            Some(PartitionNotice::Begins {
                wanted: StartAt::Latest,
                instead: None,
                source_offset: 9,
                source: range(5, 9),
            }),
        ),
        (Some(7), StartAt::Latest, range(5, 9), Some(7), None),
        (Some(9), StartAt::Earliest, range(5, 9), Some(9), None),
        (
            Some(3),
            StartAt::Latest,
            range(5, 9),
            Some(5),
            Some(PartitionNotice::Gap {
                from_offset: 3,
                to_offset: 5,
                cause: GapCause::Deleted,
            }),
        ),
        (
            Some(11),
            StartAt::Earliest,
            range(5, 9),
            None,
            Some(PartitionNotice::Halted(HaltReason::SourceTruncated {
                next_offset: 11,
                log_end_offset: 9,
            })),
        ),
    ];
    for (stored, start_at, range, expected, notice) in cases {
        let (mut partition, mut now) = (partition(stored, start_at), epoch());
        if stored.is_some() {
            partition.fetch_sent();
            let failure = refused(ErrorCode::OFFSET_OUT_OF_RANGE);
            partition.fetched(now, Err(failure));
            now += limits::BACKOFF_MAX;
        }
        assert!(partition.wants_log_range(now));
        partition.log_range_asked();
        assert_eq!(
            partition.log_range_found(now, Ok(range)),
            notice,
            "{range:?}"
        );
        let wanted = partition.wants_fetch(now).map(|(offset, _)| offset);
        assert_eq!(wanted, expected, "{stored:?} {range:?}");
    }
}

#[test]
fn an_offset_that_is_in_range_and_refused_all_the_same_is_asked_less_and_less_often() {
    let (mut partition, start) = (partition(Some(7), StartAt::Earliest), epoch());
    let (mut now, mut rounds) = (start, 0);
    while now < start + 10 * limits::BACKOFF_MAX {
        partition.fetch_sent();
        partition.fetched(now, Err(refused(ErrorCode::OFFSET_OUT_OF_RANGE)));
        now = partition.deadline(now).unwrap();
        assert!(partition.wants_log_range(now));
        partition.log_range_asked();
        let range = LogRange {
            start_offset: 0,
            end_offset: 9,
        };
        partition.log_range_found(now, Ok(range));
        rounds += 1;
    }
    assert!(rounds < 30, "{rounds}");
}

#[test]
fn the_fetch_limit_grows_until_a_batch_fits_and_then_the_partition_halts() {
    let mut bench = Bench::new(0);
    let mut limits_seen = Vec::new();
    let reason = loop {
        limits_seen.push(bench.partition.wants_fetch(bench.now).unwrap().1);
        // A broker before KIP-74 cuts even the first batch.
        if let Some(notice) = bench.fetched(vec![0; 11]) {
            break halted(Some(notice));
        }
    };
    assert!(limits_seen.is_sorted_by(|a, b| a < b));
    let bytes_max = limits::PARTITION_FETCH_BYTES_CAP;
    assert_eq!(
        reason,
        HaltReason::FetchLimit {
            offset: 0,
            bytes_max
        }
    );
}

#[test]
fn markers_and_emptied_batches_move_the_position_when_nothing_waits_before_them() {
    let mut bench = Bench::new(1);
    bench.log.write_marker();
    bench.log.write_compacted(&[], 4);
    bench.fetch();
    assert_eq!(bench.partition.copied_offset(), Some(0));
    bench.send();
    bench.acknowledge(0);
    assert_eq!(bench.partition.copied_offset(), Some(7));
    assert_eq!(bench.partition.lag(), Some(0));
}

#[test]
fn what_the_source_answers_decides_what_happens_next() {
    #[derive(Debug, PartialEq)]
    enum Next {
        Fetch,
        LogRange,
        Halt,
    }
    use ErrorCode as Code;
    let cases = [
        (refused(Code::NOT_LEADER_OR_FOLLOWER), Next::Fetch),
        (refused(Code::FENCED_LEADER_EPOCH), Next::Fetch),
        (refused(Code::UNKNOWN_LEADER_EPOCH), Next::Fetch),
        (refused(Code::UNKNOWN_TOPIC_ID), Next::Fetch),
        (refused(Code::INCONSISTENT_TOPIC_ID), Next::Fetch),
        (refused(Code::UNKNOWN_TOPIC_OR_PARTITION), Next::Fetch),
        (refused(Code::OFFSET_NOT_AVAILABLE), Next::Fetch),
        (refused(Code::KAFKA_STORAGE_ERROR), Next::Fetch),
        (refused(Code::UNKNOWN_SERVER_ERROR), Next::Fetch),
        (Failure::NoAnswer(String::new()), Next::Fetch),
        (Failure::Malformed(String::new()), Next::Fetch),
        (refused(Code::OFFSET_OUT_OF_RANGE), Next::LogRange),
        (refused(Code::TOPIC_AUTHORIZATION_FAILED), Next::Halt),
        (refused(Code::UNSUPPORTED_COMPRESSION_TYPE), Next::Halt),
        (Failure::Unsupported(String::new()), Next::Halt),
    ];
    for (failure, expected) in cases {
        let (mut partition, mut now) = (partition(Some(0), StartAt::Earliest), epoch());
        partition.fetch_sent();
        let notice = partition.fetched(now, Err(failure.clone()));
        assert_eq!(partition.wants_fetch(now), None, "{failure}: no waiting");
        assert!(!partition.wants_log_range(now), "{failure}: no waiting");
        now = partition.deadline(now).unwrap();
        let next = match (partition.wants_fetch(now), partition.wants_log_range(now)) {
            (Some(_), false) => Next::Fetch,
            (None, true) => Next::LogRange,
            _ => Next::Halt,
        };
        assert_eq!(next, expected, "{failure}");
        assert_eq!(notice.is_some(), expected == Next::Halt, "{failure}");
    }
}

#[test]
fn a_lineage_carries_records_of_one_source_epoch_that_a_durable_anchor_names() {
    let ids = (Uuid([1; 16]), Uuid([2; 16]));
    let no_epoch = |_| panic!("a fresh lineage goes on");
    let mut bench = Bench::proving(proven_at_start(-1));
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"old")]);
    bench.log.epoch = 4;
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"new")]);
    bench.fetch();
    assert_eq!(bench.send(), [0; 0], "no anchor names what it carries");
    assert_eq!(bench.partition.wants_to_carry(), Some(0));
    let (anchor, _) = bench.partition.carry(0, ids, no_epoch).unwrap();
    assert_eq!((anchor.lineage.epoch, anchor.carried_epoch), (2, 0));
    assert_eq!(bench.send(), [0; 0], "it is not durable");
    assert!(!bench.partition.carries(anchor), "the lineage is the same");
    assert_eq!(bench.partition.wants_to_carry(), None);
    assert_eq!(bench.send(), [0], "the second batch is of another epoch");
    bench.acknowledge(0);
    assert_eq!(bench.partition.wants_to_carry(), Some(4));
    let anchor = bench
        .partition
        .carry(4, ids, |former| Some(former.epoch + 1));
    let (anchor, map) = anchor.unwrap();
    assert_eq!(map, Changes::default(), "this one has no map");
    let further = bench.partition.take_anchor(ids);
    assert!(
        further.is_none(),
        "one of the former lineage would be newer"
    );
    let point = (
        anchor.source_offset,
        anchor.target_offset,
        anchor.next_sequence,
    );
    assert_eq!((anchor.lineage.epoch, point), (3, (1, 1, 0)));
    assert!(bench.partition.carries(anchor));
    let sent = bench.send_batches();
    let header = BatchHeader::parse(&sent[0].header).unwrap();
    assert_eq!((header.producer_epoch, header.base_sequence), (3, 0));
}

#[test]
fn a_lineage_that_has_no_further_epoch_leaves_its_successor_to_a_proof() {
    let ids = (Uuid([1; 16]), Uuid([2; 16]));
    let mut bench = Bench::proving(proven_at_start(3));
    bench.log.epoch = 4;
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"new")]);
    bench.fetch();
    assert!(bench.partition.carry(4, ids, |_| None).is_none());
    let cause = bench.partition.take_recovery_cause();
    assert_eq!(cause, Some(RecoveryCause::EpochsUsedUp));
}

#[test]
fn an_anchor_names_the_epoch_of_what_lies_below_it_records_or_not() {
    let ids = (Uuid([1; 16]), Uuid([2; 16]));
    let mut bench = Bench::proving(proven_at_start(0));
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"old")]);
    bench.fetch();
    bench.send();
    bench.acknowledge(0);
    bench.log.epoch = 4;
    bench.log.write_marker();
    bench.fetch();
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"new")]);
    bench.fetch();
    let (anchor, _) = bench.partition.take_anchor(ids).unwrap();
    assert_eq!((anchor.source_offset, anchor.source_epoch), (2, 4));
}

#[test]
fn a_proven_position_is_proven_again_after_the_target_has_refused_a_batch() {
    let mut bench = Bench::proving(proven_at_start(0));
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"one")]);
    bench.fetch();
    bench.send();
    let refusal = refused(ErrorCode::REBOOTSTRAP_REQUIRED);
    halted(bench.fail(0, refusal.clone()));
    assert_eq!(bench.partition.take_recovery_cause(), None);
    bench.now += limits::HALT_RETRY;
    bench.partition.retry_halted(bench.now);
    let cause = bench.partition.take_recovery_cause();
    assert_eq!(cause, Some(RecoveryCause::Ambiguous(refusal)));
}

#[test]
fn a_proven_position_is_proven_again_when_the_target_has_batches_in_another_order() {
    let start = Start {
        is_shared: true,
        is_established: true,
        ..proven_at_start(0)
    };
    let mut bench = Bench::proving(start);
    for value in [b"one", b"two"] {
        bench
            .log
            .write(Compression::None, &[Bytes::from_static(value)]);
    }
    bench.fetch();
    assert_eq!(bench.send(), [0, 1]);
    // Others write too: nothing is wrong with the second batch yet.
    let mut acknowledge = |sequence, base_offset| {
        let notice = (bench.partition).produced(bench.now, (sequence, 0), Ok(base_offset));
        assert_eq!(notice, None, "it goes on by itself");
        bench.partition.take_recovery_cause()
    };
    assert_eq!(acknowledge(1, 1), None);
    let cause = acknowledge(0, 2);
    let expected = RecoveryCause::BaseOffset {
        base_offset: 1,
        expected: 3,
        voids_memory: false,
    };
    assert_eq!(cause, Some(expected));
}

#[test]
fn a_batch_in_the_place_of_a_refused_one_is_looked_at_although_the_partition_is_halted() {
    let mut bench = Bench::proving(Start {
        is_established: true,
        ..proven_at_start(0)
    });
    for value in [b"one", b"two"] {
        bench
            .log
            .write(Compression::None, &[Bytes::from_static(value)]);
    }
    bench.fetch();
    assert_eq!(bench.send(), [0, 1]);
    halted(bench.fail(0, refused(ErrorCode::INVALID_TIMESTAMP)));
    let notice = (bench.partition).produced(bench.now, (1, 0), Ok(0));
    assert_eq!(notice, Some(PartitionNotice::Resumed));
    let expected = RecoveryCause::BaseOffset {
        base_offset: 0,
        expected: 1,
        voids_memory: true,
    };
    assert_eq!(bench.partition.take_recovery_cause(), Some(expected));
    assert_eq!(bench.partition.halt_reason(), None);
}

#[test]
fn what_is_taken_for_the_same_old_batch_twice_is_not_believed() {
    let mut start = proven_at_start(0);
    start.anchor.target_offset = 9;
    let mut bench = Bench::proving(start);
    let mut told = Vec::new();
    for base_offset in [3, 3, 4, 4] {
        bench
            .log
            .write(Compression::None, &[Bytes::from_static(b"one")]);
        bench.fetch();
        let sent = bench.send();
        let sent = *sent.last().unwrap();
        (bench.partition).produced(bench.now, (sent, 0), Ok(base_offset));
        told.push(
            bench
                .partition
                .take_recovery_cause()
                .unwrap()
                .voids_memory(),
        );
    }
    assert_eq!(told, [false, true, false, true]);
}

#[test]
fn another_leader_of_the_source_is_asked_when_no_fetch_would_tell_whose_log_it_has() {
    let asks = |source_epoch, source_leader_epoch, leader_epoch, is_fetched| {
        let mut start = proven_at_start(0);
        start.anchor.source_epoch = source_epoch;
        start.anchor.source_leader_epoch = source_leader_epoch;
        let mut bench = Bench::proving(start);
        if is_fetched {
            bench
                .log
                .write(Compression::None, &[Bytes::from_static(b"one")]);
            bench.fetch();
        }
        bench.partition.source_led_by(leader_epoch);
        bench.partition.take_recovery_cause().is_some()
    };
    assert!(asks(-1, 4, 5, false));
    assert!(!asks(-1, 4, 4, false), "the same leader");
    assert!(!asks(-1, -1, 5, false), "leaders have no epochs");
    assert!(!asks(-1, 4, -1, false), "this one has none");
    assert!(!asks(4, -1, 5, false), "the next fetch will tell");
    assert!(!asks(-1, 4, 5, true), "records have told");
}

/// Nothing is on the target, and nothing has been sent under the lineage.
fn proven_at_start(carried_epoch: i32) -> Start {
    Start {
        anchor: Anchor {
            carried_epoch,
            lineage: Lineage {
                producer_id: 7,
                epoch: 2,
            },
            source_topic_id: Uuid([1; 16]),
            target_topic_id: Uuid([2; 16]),
            ..Anchor::BLANK
        },
        target_epoch: 0,
        is_established: false,
        is_shared: false,
        footing: Footing::default(),
        foreign_records: 0,
    }
}
