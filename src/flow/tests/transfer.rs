//! Requests and the byte budget: who may fetch, who may send, and that none stops another.

use std::{collections::BTreeSet, time::Duration};

use kmirror_protocol::{ErrorCode, records::Compression};

use super::{values, world::World};
use crate::flow::{PartitionNotice, Side, halt::HaltReason, limits};

const SECOND: Duration = Duration::from_secs(1);

fn fill(world: &mut World, batches: usize, records: usize) {
    let mut rng = fastrand::Rng::with_seed(5);
    for topic in world.source.topics.values_mut() {
        for log in &mut topic.logs {
            for _ in 0..batches {
                log.write(Compression::None, &values(&mut rng, records));
            }
        }
    }
}

#[test]
fn a_partition_is_copied_and_five_of_its_batches_are_in_flight() {
    let mut world = World::with_topic(3);
    fill(&mut world, 100, 10);
    assert!(world.run_until_copied(5 * SECOND));
    world.run_for(SECOND);
    assert_eq!(
        world.checks.in_flight_max,
        limits::IN_FLIGHT_PER_PARTITION_MAX
    );
    assert_eq!(world.flow.status().queued_bytes, 0);
    assert_eq!(world.partition_notices(), []);
}

#[test]
fn a_new_record_is_copied_at_once_after_an_idle_hour() {
    let mut world = World::with_topic(2);
    fill(&mut world, 1, 1);
    world.run_for(3_600 * SECOND);
    assert!(world.is_copied());
    fill(&mut world, 1, 1);
    assert!(world.run_until_copied(SECOND));
}

#[test]
fn idle_brokers_leave_room_for_a_busy_one() {
    // Two idle brokers could hold the whole budget in Fetch requests that find nothing.
    let mut world = World::with_topic(9);
    world.options.memory_bytes = 2 * world.options.fetch_bytes_max;
    world.options.partition_fetch_bytes_max = world.options.fetch_bytes_max;
    world.restart();
    world.poll_interval = Duration::from_millis(2);
    fill(&mut world, 1, 1);
    world.run_for(2 * SECOND);
    for number in 0..9 {
        let log = world.source.log("t", number).unwrap();
        log.write(Compression::None, &values(&mut world.rng, 10));
        assert!(world.run_until_copied(SECOND / 10), "partition {number}");
        world.run_for(Duration::from_millis(37));
    }
}

#[test]
fn a_budget_below_one_batch_slows_a_flow_and_does_not_stop_it() {
    for memory_bytes in [0, 1, 100, 5_000] {
        let mut world = World::with_topic(4);
        world.options.memory_bytes = memory_bytes;
        world.restart();
        fill(&mut world, 5, 30);
        assert!(world.run_until_copied(120 * SECOND), "{memory_bytes} bytes");
    }
}

#[test]
fn what_is_held_stays_within_the_budget() {
    let mut world = World::with_topic(12);
    world.options.memory_bytes = 100_000;
    world.options.fetch_bytes_max = 1_000_000;
    world.options.partition_fetch_bytes_max = 1_000_000;
    world.restart();
    fill(&mut world, 200, 10);
    let is_over = |world: &World| {
        world.flow.transfer.held.bytes + world.flow.transfer.reserved_bytes > 101_000
    };
    assert!(
        !world.run_until(60 * SECOND, |world| world.is_copied() || is_over(world))
            || !is_over(&world)
    );
    assert!(world.is_copied());
}

#[test]
fn a_target_broker_that_is_away_stops_only_its_own_partitions() {
    for memory_bytes in [1_000, 20_000, 1 << 20] {
        let mut world = World::with_topic(30);
        world.options.memory_bytes = memory_bytes;
        world.restart();
        assert!(world.run_until(SECOND, |world| world.flow.status().partitions == 30));
        world.faults.down.insert((Side::Target, 1));
        fill(&mut world, 40, 10);
        let away: BTreeSet<_> = (0..30).filter(|number| number % 3 == 1).collect();
        let is_done = |world: &World| {
            let (source, target) = (&world.source.topics["t"], &world.target.topics["A.t"]);
            let mut logs = (0..30).zip(source.logs.iter().zip(&target.logs));
            logs.all(|(number, (source, target))| {
                away.contains(&number) || source.count() == target.count()
            })
        };
        assert!(
            world.run_until(120 * SECOND, is_done),
            "{memory_bytes} bytes"
        );
        world.faults.down.clear();
        assert!(world.run_until_copied(120 * SECOND), "{memory_bytes} bytes");
        assert_eq!(world.partition_notices(), []);
    }
}

#[test]
fn a_target_partition_without_a_leader_stops_only_itself() {
    let mut world = World::with_topic(3);
    world.options.memory_bytes = 3_000;
    world.options.discovery_interval = 86_400 * SECOND;
    world.restart();
    world.run_for(SECOND);
    world.target.log("A.t", 0).unwrap().leader = None;
    fill(&mut world, 50, 10);
    let has = |world: &World, number: usize| world.target.topics["A.t"].logs[number].count();
    assert!(world.run_until(30 * SECOND, |world| has(world, 1) + has(world, 2) == 1_000));
    assert_eq!(has(&world, 0), 0);
    let log = world.target.log("A.t", 0).unwrap();
    (log.leader, log.epoch) = (Some(2), 1);
    assert!(world.run_until_copied(5 * SECOND));
}

#[test]
fn a_refused_partition_halts_alone_and_goes_on_without_a_duplicate() {
    let mut world = World::with_topic(4);
    world.run_for(SECOND);
    let denied = (String::from("A.t"), 2);
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    world.faults.refused.insert(denied, code);
    fill(&mut world, 30, 10);
    world.run_for(20 * SECOND);
    let halted = world.flow.status().halted;
    assert_eq!(halted.len(), 1);
    let others = [0, 1, 3].map(|number| world.target.topics["A.t"].logs[number].count());
    assert_eq!(others, [300; 3]);
    world.faults.refused.clear();
    assert!(world.run_until_copied(2 * limits::HALT_RETRY));
}

#[test]
fn a_halt_while_the_fate_of_a_batch_is_open_makes_no_duplicate() {
    let mut world = World::with_topic(1);
    fill(&mut world, 30, 10);
    assert!(world.run_until(SECOND, |world| world.flow.status().counters.records > 0));
    // The next answers get lost; then the rights are gone; then they are back.
    world.faults.down.insert((Side::Source, 0));
    world.faults.one_in = 1;
    world.run_for(SECOND);
    world.faults.one_in = 0;
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    world.faults.refused.insert((String::from("A.t"), 0), code);
    world.run_for(10 * SECOND);
    world.faults.refused.clear();
    world.faults.down.clear();
    assert!(world.run_until_copied(2 * limits::HALT_RETRY));
}

#[test]
fn a_batch_too_large_goes_out_once_the_limit_is_raised() {
    let mut world = World::with_topic(2);
    world.faults.batch_bytes_max = Some(600);
    fill(&mut world, 3, 5);
    world
        .source
        .log("t", 0)
        .unwrap()
        .write(Compression::None, &values(&mut world.rng, 50));
    fill(&mut world, 3, 5);
    world.run_for(5 * SECOND);
    let notices = world.partition_notices();
    let expected = |notice: &PartitionNotice| {
        matches!(
            notice,
            PartitionNotice::Halted(HaltReason::BatchTooLarge {
                first_offset: 15,
                ..
            })
        )
    };
    assert!(
        notices.len() == 1 && notices.iter().all(expected),
        "{notices:?}"
    );
    world.faults.batch_bytes_max = None;
    assert!(world.run_until_copied(limits::HALT_RETRY));
}

#[test]
fn leaders_that_move_with_batches_in_flight_cost_nothing() {
    for seed in 0..30 {
        let mut world = World::with_topic(3);
        world.rng = fastrand::Rng::with_seed(seed);
        fill(&mut world, 150, 5);
        for turn in 1..40 {
            world.run_for(Duration::from_millis(7));
            for cluster in [&mut world.source, &mut world.target] {
                for log in cluster
                    .topics
                    .values_mut()
                    .flat_map(|topic| &mut topic.logs)
                {
                    (log.leader, log.epoch) = (Some(turn % 3), turn);
                }
            }
        }
        assert!(world.run_until_copied(10 * SECOND), "seed {seed}");
        assert_eq!(world.partition_notices(), [], "seed {seed}");
    }
}

#[test]
fn a_new_leader_gets_nothing_before_the_former_one_has_answered() {
    let mut world = World::with_topic(1);
    fill(&mut world, 1, 5);
    world.run_for(SECOND);
    world.faults.slow.insert(0);
    fill(&mut world, 3, 5);
    world.run_for(SECOND / 2);
    let log = world.target.log("A.t", 0).unwrap();
    (log.leader, log.epoch) = (Some(1), 1);
    world.flow.discovery.refresh(Side::Target, world.now);
    fill(&mut world, 1, 5);
    // Each run checks that what is in flight is with one broker.
    assert!(world.run_until_copied(3 * SECOND));
    assert_eq!(world.partition_notices(), []);
}

#[test]
fn records_deleted_before_their_turn_are_a_gap_with_its_offsets() {
    let mut world = World::with_topic(2);
    fill(&mut world, 2, 5);
    assert!(world.run_until_copied(5 * SECOND));
    world
        .faults
        .down
        .extend((0..3).map(|node| (Side::Source, node)));
    world.run_for(SECOND);
    fill(&mut world, 4, 5);
    // In the middle of a batch, as DeleteRecords may.
    world.source.log("t", 1).unwrap().start_offset = 17;
    world.faults.down.clear();
    world.run_for(10 * SECOND);
    let notices = world.partition_notices();
    let (from_offset, to_offset) = (10, 17);
    assert_eq!(
        notices,
        [PartitionNotice::Gap {
            from_offset,
            to_offset,
            cause: crate::offsets::state::GapCause::Deleted,
        }]
    );
    let copied: Vec<_> = world.target.topics["A.t"]
        .logs
        .iter()
        .map(super::cluster::Log::count)
        .collect();
    assert_eq!(copied, [30, 10 + 13]);
    assert_eq!(world.flow.status().counters.gap_records, 7);
    assert_eq!(world.flow.status().lag, 0);
}

#[test]
fn a_source_log_that_ends_before_the_position_halts_its_partition() {
    let mut world = World::with_topic(2);
    fill(&mut world, 4, 5);
    assert!(world.run_until_copied(5 * SECOND));
    world.source.log("t", 0).unwrap().truncate_to(5);
    world.run_for(5 * SECOND);
    let (next_offset, log_end_offset) = (20, 5);
    let expected = HaltReason::SourceTruncated {
        next_offset,
        log_end_offset,
    };
    assert_eq!(
        world.partition_notices(),
        [PartitionNotice::Halted(expected)]
    );
}

#[test]
fn a_target_that_lost_records_halts_and_is_never_written_past_the_hole() {
    let mut world = World::with_topic(1);
    fill(&mut world, 20, 5);
    assert!(world.run_until_copied(5 * SECOND));
    world.run_for(2 * SECOND);
    world.target.log("A.t", 0).unwrap().truncate_to(50);
    fill(&mut world, 20, 5);
    world.run_for(100 * SECOND);
    let notices = world.partition_notices();
    let is_expected = |notice: &PartitionNotice| {
        matches!(
            notice,
            PartitionNotice::Halted(HaltReason::TargetWentBack { .. })
        )
    };
    assert!(
        notices.len() == 1 && notices.iter().all(is_expected),
        "{notices:?}"
    );
    let position = world
        .flow
        .partition_statuses()
        .next()
        .unwrap()
        .copied_offset;
    assert_eq!(position, Some(100));
}

#[test]
fn a_partition_answered_twice_or_not_at_all_is_neither_skipped_nor_repeated() {
    let mut world = World::with_topic(2);
    fill(&mut world, 3, 5);
    world.faults.garbles_answers = true;
    world.run_for(5 * SECOND);
    world.faults.garbles_answers = false;
    assert!(world.run_until_copied(10 * SECOND));
    assert_eq!(world.partition_notices(), []);
}

#[test]
fn ten_thousand_partitions_cost_one_metadata_answer_each_and_no_more() {
    let mut world = World::new(super::options());
    for topic in 0..100 {
        world.source.create(&format!("t{topic}"), 100, 3);
    }
    assert!(
        world.run_until(10 * SECOND, |world| world.flow.status().partitions
            == 10_000)
    );
    world.run_for(SECOND);
    world.counts.clear();
    world
        .source
        .log("t7", 7)
        .unwrap()
        .write(Compression::None, &values(&mut world.rng, 3));
    let has = |world: &World| world.target.topics["A.t7"].logs[7].count();
    assert!(world.run_until(SECOND, |world| has(world) == 3));
    assert_eq!(world.counts.get("produce"), Some(&1));
}

#[test]
fn an_idle_flow_asks_each_broker_twice_a_second_even_after_a_burst() {
    for lanes in [1, 2, 3] {
        let mut world = World::with_topic(30);
        world.options.fetch_lanes = lanes;
        world.restart();
        fill(&mut world, 1, 1);
        world.run_for(5 * SECOND);
        // So much that its partition has no room when the others are asked about.
        let log = world.source.log("t", 3).unwrap();
        for _ in 0..400 {
            log.write(Compression::None, &values(&mut world.rng, 10));
        }
        assert!(world.run_until_copied(20 * SECOND));
        world.run_for(SECOND);
        world.counts.clear();
        world.run_for(60 * SECOND);
        let fetches = world.counts["fetch"];
        assert!(fetches <= 3 * 2 * 60, "{lanes} lanes: {fetches} fetches");
    }
}
