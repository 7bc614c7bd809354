//! Stopping: what was sent is waited for, what is acknowledged is stored, and nothing is skipped.

use std::time::Duration;

use kmirror_protocol::{ErrorCode, records::Compression};

use super::{values, world::World};
use crate::{
    flow::{Event, Side},
    offsets::source_offsets::decode_all,
};

const SECOND: Duration = Duration::from_secs(1);

/// A world in which three partitions are being copied, with far more on the source than copied.
fn under_load() -> World {
    let mut world = World::with_topic(3);
    let mut rng = fastrand::Rng::with_seed(7);
    for log in &mut world.source.topics.get_mut("t").unwrap().logs {
        for _ in 0..400 {
            log.write(Compression::None, &values(&mut rng, 10));
        }
    }
    assert!(
        world.run_until(5 * SECOND, |world| world.flow.status().counters.records
            > 1_000)
    );
    assert!(!world.is_copied());
    world
}

#[test]
fn a_stop_under_load_loses_and_repeats_nothing() {
    for pause in 0..20 {
        let mut world = under_load();
        world.run_for(Duration::from_micros(pause * 137));
        world.tell(Event::Stop);
        assert!(world.run_until(SECOND, |world| world.is_stopped));
        assert!(
            !world.is_copied(),
            "the stop came too late to test anything"
        );
        world.restart();
        assert!(world.run_until_copied(60 * SECOND));
    }
}

#[test]
fn a_stop_with_nothing_to_do_is_over_at_once() {
    let mut world = World::with_topic(1);
    world.tell(Event::Stop);
    assert!(world.run_until(Duration::ZERO, |world| world.is_stopped));

    let mut world = World::with_topic(1);
    world.run_for(SECOND);
    world.tell(Event::Stop);
    assert!(world.run_until(SECOND / 10, |world| world.is_stopped));
}

#[test]
fn a_stop_ends_by_its_deadline_when_the_target_is_gone() {
    let mut world = under_load();
    world.faults.deaf.insert(Side::Target);
    world
        .faults
        .down
        .extend((0..3).map(|node| (Side::Target, node)));
    world.run_for(SECOND);
    world.counts.clear();
    world.tell(Event::Stop);
    let limit = world.options.drain_timeout;
    assert!(!world.run_until(limit - SECOND / 10, |world| world.is_stopped));
    assert!(world.run_until(SECOND / 10, |world| world.is_stopped));
    // It tried, but it did not spin.
    let requests: usize = world.counts.values().sum();
    assert!(requests < 300, "{:?}", world.counts);
}

#[test]
fn a_stop_waits_for_batches_whose_fate_is_unknown() {
    let mut world = under_load();
    world
        .faults
        .down
        .extend((0..3).map(|node| (Side::Target, node)));
    world.run_for(SECOND);
    world.tell(Event::Stop);
    world.run_for(SECOND);
    world.faults.down.clear();
    assert!(world.run_until(3 * SECOND, |world| world.is_stopped));
    assert_eq!(world.flow.status().queued_bytes, 0);
    world.restart();
    assert!(world.run_until_copied(60 * SECOND));
}

#[test]
fn a_stop_follows_leaders_that_move_meanwhile() {
    let mut world = under_load();
    world.faults.down.insert((Side::Target, 0));
    world.run_for(SECOND / 10);
    world.tell(Event::Stop);
    world.run_for(SECOND / 10);
    for log in &mut world.target.topics.get_mut("A.t").unwrap().logs {
        log.leader = Some(2);
        log.epoch += 1;
    }
    assert!(world.run_until(3 * SECOND, |world| world.is_stopped));
    world.restart();
    assert!(world.run_until_copied(60 * SECOND));
}

#[test]
fn a_stop_starts_and_creates_nothing_new() {
    let mut world = World::with_topic(1);
    world.faults.down.insert((Side::Target, 0));
    world.run_until(SECOND, |world| world.flow.status().partitions > 0);
    let log = world.source.log("t", 0).unwrap();
    log.write(Compression::None, &values(&mut fastrand::Rng::new(), 1));
    world.run_for(SECOND);
    world.tell(Event::Stop);
    world.counts.clear();
    world.source.create("t2", 1, 3);
    world.run_for(8 * SECOND);
    assert!(!world.is_stopped);
    for kind in ["configs", "create topics", "fetch", "log ranges"] {
        assert_eq!(world.counts.get(kind), None, "{kind}");
    }
    assert_eq!(world.flow.status().partitions, 1);
}

#[test]
fn a_halted_partition_does_not_hold_up_a_stop() {
    let mut world = under_load();
    let refusal = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    world
        .faults
        .refused
        .insert((String::from("A.t"), 1), refusal);
    world.run_for(SECOND);
    world.tell(Event::Stop);
    assert!(world.run_until(SECOND / 2, |world| world.is_stopped));
    world.faults.refused.clear();
    world.restart();
    assert!(world.run_until_copied(60 * SECOND));
}

#[test]
fn a_stop_stores_positions_at_once_and_again_when_that_fails() {
    let mut world = under_load();
    world.faults.positions = Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    world.run_for(SECOND);
    world.tell(Event::Stop);
    world.run_for(2 * SECOND);
    assert!(!world.is_stopped);
    world.faults.positions = None;
    assert!(world.run_until(3 * SECOND, |world| world.is_stopped));
    let stored = decode_all("A", &world.target.positions);
    for status in world.flow.partition_statuses() {
        let key = (status.source.topic.to_string(), status.source.partition);
        assert_eq!(stored.get(&key).copied(), status.copied_offset);
    }
}
