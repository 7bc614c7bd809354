//! What halts a partition, what it keeps meanwhile, and how it goes on.

use bytes::Bytes;
use kmirror_protocol::{ErrorCode, records::Compression};

use super::{
    brokers::refused,
    cluster::Log,
    partition::{Bench, halted},
};
use crate::flow::{Failure, PartitionNotice, halt::HaltReason, limits};

#[test]
fn a_target_that_lost_what_it_acknowledged_halts_and_the_position_stays() {
    let mut bench = Bench::new(2);
    bench.send();
    bench.partition.produced(bench.now, (0, 0), Ok(10));
    bench.send();
    let reason = halted(bench.partition.produced(bench.now, (2, 0), Ok(11)));
    let (base_offset, expected_min) = (11, 12);
    assert_eq!(
        reason,
        HaltReason::TargetWentBack {
            base_offset,
            expected_min
        }
    );
    assert_eq!(bench.partition.copied_offset(), Some(2));
}

#[test]
fn no_answer_makes_arithmetic_overflow() {
    let mut bench = Bench::new(2);
    bench.send();
    assert_eq!(
        bench.partition.produced(bench.now, (0, 0), Ok(i64::MAX)),
        None
    );
    bench.send();
    let reason = halted(bench.partition.produced(bench.now, (2, 0), Ok(i64::MIN)));
    assert!(matches!(reason, HaltReason::TargetWentBack { .. }));
}

#[test]
fn what_was_read_before_a_bad_entry_still_goes_out() {
    type Spoil = fn(&mut Log);
    let cases: [(&str, Spoil); 2] = [
        ("unknown format", |log| log.write_magic(3)),
        ("wrong checksum", |log| {
            // Holes ask for a rebuild, which checks.
            log.write_compacted(
                &[(0, Bytes::from_static(b"a")), (2, Bytes::from_static(b"b"))],
                3,
            );
            log.damage_last();
        }),
    ];
    for (case, spoil) in cases {
        let mut bench = Bench::new(0);
        bench
            .log
            .write(Compression::None, &[Bytes::from_static(b"good")]);
        spoil(&mut bench.log);
        let reason = halted(bench.fetch());
        assert!(!reason.bars_producing(), "{case}: {reason}");
        assert_eq!(bench.send(), [0], "{case}");
        bench.acknowledge(0);
        assert_eq!(bench.partition.copied_offset(), Some(1), "{case}");
        assert!(bench.partition.is_drained(), "{case}");
    }
}

#[test]
fn a_batch_damaged_on_the_source_is_refused_named_and_read_again() {
    let mut bench = Bench::new(2);
    bench.send();
    bench.acknowledge(0);
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"damaged")]);
    bench.log.damage_last();
    bench.fetch();
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"behind")]);
    bench.fetch();
    assert_eq!(bench.send(), [2, 4, 5]);
    bench.acknowledge(2);
    // The damage may have happened on the way, so it is fetched again, and under the same numbers.
    for _ in 0..limits::DAMAGED_FETCHES_MAX {
        assert_eq!(bench.fail(4, refused(ErrorCode::CORRUPT_MESSAGE)), None);
        let behind = bench.fail(5, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
        assert_eq!(behind, None);
        bench.now += limits::BACKOFF_MAX;
        bench.fetch();
        assert_eq!(bench.send(), [4, 5]);
    }
    assert_eq!(bench.fail(4, refused(ErrorCode::CORRUPT_MESSAGE)), None);
    let reason = halted(bench.fail(5, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)));
    assert!(
        matches!(reason, HaltReason::Unreadable { offset: 4, .. }),
        "{reason}"
    );
    assert_eq!(bench.partition.queued_bytes(), 0);
    // The disk is mended; the numbers that were never used are used now.
    bench.log.mend();
    bench.now += limits::HALT_RETRY;
    assert_eq!(
        bench.partition.retry_halted(bench.now),
        Some(PartitionNotice::Resumed)
    );
    bench.fetch();
    assert_eq!(bench.send(), [4, 5]);
}

#[test]
fn a_halt_waits_for_open_answers_and_is_then_looked_at_again() {
    let mut bench = Bench::new(3);
    bench.send();
    bench.acknowledge(0);
    assert_eq!(bench.send(), [2, 4]);
    halted(bench.fail(4, refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED)));
    bench.now += limits::HALT_RETRY;
    assert_eq!(bench.partition.retry_halted(bench.now), None);
    let deadline = bench.partition.deadline(bench.now).unwrap();
    assert!(deadline > bench.now);
    bench.fail(2, Failure::NoAnswer(String::new()));
    bench.now = deadline;
    assert_eq!(
        bench.partition.retry_halted(bench.now),
        Some(PartitionNotice::Resumed)
    );
    assert_eq!(bench.send(), [2, 4]);
}

#[test]
fn a_halt_that_needs_a_restart_outlasts_one_that_may_pass() {
    let mut bench = Bench::new(1);
    bench.partition.halt(bench.now, HaltReason::TopicMissing);
    halted(bench.partition.halt(bench.now, HaltReason::TopicRecreated));
    assert_eq!(
        bench.partition.halt(bench.now, HaltReason::TopicMissing),
        None
    );
    assert_eq!(
        bench.partition.halt_reason(),
        Some(&HaltReason::TopicRecreated)
    );
    bench.now += 10 * limits::HALT_RETRY;
    assert_eq!(bench.partition.retry_halted(bench.now), None);
}

#[test]
fn of_two_waits_the_later_one_is_not_forgotten() {
    let mut bench = Bench::new(1);
    let unanswered = || Failure::NoAnswer(String::new());
    bench.partition.fetch_sent();
    bench.partition.fetched(bench.now, Err(unanswered()));
    bench.send();
    bench.wait();
    bench.fail(0, unanswered());
    assert!(bench.partition.deadline(bench.now).is_some());
}

#[test]
fn an_answer_to_a_question_no_longer_asked_is_passed_over() {
    let mut bench = Bench::new(2);
    bench.send();
    bench.acknowledge(0);
    bench
        .log
        .write(Compression::None, &[Bytes::from_static(b"later")]);
    let (offset, bytes_max) = bench.partition.wants_fetch(bench.now).unwrap();
    bench.partition.fetch_sent();
    let answer = bench.log.fetch(offset, bytes_max).unwrap();
    // The halt goes back to the batch that was never sent.
    bench.partition.halt(
        bench.now,
        HaltReason::TargetRefuses(refused(ErrorCode::INVALID_CONFIG)),
    );
    bench.now += limits::HALT_RETRY;
    bench.partition.retry_halted(bench.now);
    bench.partition.fetched(bench.now, Ok(answer));
    assert_eq!(bench.send(), [0; 0]);
    bench.fetch();
    assert_eq!(bench.send(), [2, 4]);
}

#[test]
fn a_stalled_partition_gives_back_what_it_has_not_sent_and_reads_no_more() {
    let mut bench = Bench::new(5);
    assert_eq!(bench.send(), [0]);
    let all = bench.partition.queued_bytes();
    for _ in 0..limits::STALLED_AFTER {
        assert!(!bench.partition.is_stalled());
        bench.fail(0, refused(ErrorCode::NOT_ENOUGH_REPLICAS));
        bench.wait();
        bench.send();
    }
    assert!(bench.partition.is_stalled());
    assert!(bench.partition.queued_bytes() < all / 4);
    assert_eq!(bench.partition.wants_fetch(bench.now), None);
    bench.acknowledge(0);
    bench.fetch();
    assert_eq!(bench.send(), [2, 4, 6, 8]);
}

#[test]
fn a_too_large_batch_is_named_by_its_offset_on_the_source() {
    let mut bench = Bench::new(1);
    bench.send();
    bench.acknowledge(0);
    bench.log.write_compacted(
        &[(1, Bytes::from_static(b"a")), (3, Bytes::from_static(b"b"))],
        5,
    );
    bench.fetch();
    let sent = bench.send_batches();
    let reason = halted(bench.fail(2, refused(ErrorCode::MESSAGE_TOO_LARGE)));
    let batch_bytes = sent[0].header.len() + sent[0].payload.len();
    assert_eq!(
        reason,
        HaltReason::BatchTooLarge {
            first_offset: 2,
            batch_bytes
        }
    );
}
