//! Positions: read before anything is copied, stored behind what is acknowledged, never lost.

use std::time::Duration;

use kmirror_protocol::{ErrorCode, records::Compression};

use super::{values, world::World};
use crate::{
    flow::{Notice, Side},
    offsets::source_offsets::{decode_all, encode},
};

const SECOND: Duration = Duration::from_secs(1);

fn write(world: &mut World, partition: i32, records: usize) {
    let values = values(&mut world.rng, records);
    let log = world.source.log("t", partition).unwrap();
    log.write(Compression::None, &values);
}

fn stored(world: &World, partition: i32) -> Option<i64> {
    let positions = decode_all("A", &world.target.positions);
    positions.get(&(String::from("t"), partition)).copied()
}

#[test]
fn copying_goes_on_at_the_stored_position_even_inside_a_batch() {
    let mut world = World::with_topic(2);
    write(&mut world, 0, 10);
    write(&mut world, 1, 10);
    world.target.positions.push(encode("A", "t", 0, 4).unwrap());
    world.target.create("mm2-offsets.A.internal", 25, 3);
    world.checks.starts.insert((String::from("t"), 0), 4);
    world.run_for(3 * SECOND);
    let counts = [0, 1].map(|number| world.target.topics["A.t"].logs[number].count());
    assert_eq!(counts, [6, 10]);
    assert_eq!((stored(&world, 0), stored(&world, 1)), (Some(10), Some(10)));
    assert!(
        world
            .notices
            .contains(&Notice::PositionsLoaded { partitions: 1 })
    );
}

#[test]
fn nothing_is_copied_before_positions_are_known_however_long_that_takes() {
    let mut world = World::with_topic(1);
    world.options.discovery_interval = 86_400 * SECOND;
    world.restart();
    write(&mut world, 0, 3);
    world.faults.positions = Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    world.run_for(600 * SECOND);
    assert_eq!(world.counts.get("fetch"), None);
    assert!(world.counts["load positions"] < 600);
    let told = |notice: &&Notice| {
        matches!(
            notice,
            Notice::Waiting {
                side: Side::Target,
                ..
            }
        )
    };
    assert_eq!(world.notices.iter().filter(told).count(), 1);
    world.faults.positions = None;
    assert!(world.run_until_copied(4 * SECOND));
}

#[test]
fn nothing_is_copied_while_the_offsets_topic_cannot_be_created() {
    let mut world = World::with_topic(1);
    world.target.create("A.t", 1, 3);
    write(&mut world, 0, 3);
    world.faults.creation = Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    world.run_for(600 * SECOND);
    assert_eq!(world.counts.get("fetch"), None);
    let refused = |notice: &&Notice| matches!(notice, Notice::TopicNotCreated { .. });
    assert_eq!(world.notices.iter().filter(refused).count(), 1);
    // Somebody creates it by hand.
    world.target.create("mm2-offsets.A.internal", 25, 3);
    assert!(world.run_until_copied(6 * SECOND));
}

#[test]
fn positions_are_stored_once_in_an_interval_and_only_when_they_moved() {
    let mut world = World::with_topic(1);
    world.run_for(2 * SECOND);
    world.counts.clear();
    for _ in 0..200 {
        write(&mut world, 0, 1);
        world.run_for(SECOND / 20);
    }
    let stores = world.counts["store positions"];
    assert!((9..=11).contains(&stores), "{stores}");
    world.run_for(2 * SECOND);
    assert_eq!(stored(&world, 0), Some(200));
    world.counts.clear();
    world.run_for(60 * SECOND);
    assert_eq!(world.counts.get("store positions"), None);
}

#[test]
fn a_store_that_failed_is_made_again_with_what_moved_meanwhile() {
    let mut world = World::with_topic(2);
    world.run_for(SECOND);
    world.faults.positions = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
    write(&mut world, 0, 3);
    world.run_for(10 * SECOND);
    write(&mut world, 1, 4);
    world.run_for(10 * SECOND);
    assert_eq!((stored(&world, 0), stored(&world, 1)), (None, None));
    world.faults.positions = None;
    world.run_for(4 * SECOND);
    assert_eq!((stored(&world, 0), stored(&world, 1)), (Some(3), Some(4)));
}

#[test]
fn an_offsets_topic_that_was_deleted_is_created_again_with_every_position() {
    let mut world = World::with_topic(2);
    write(&mut world, 0, 3);
    write(&mut world, 1, 4);
    world.run_for(3 * SECOND);
    world.target.topics.remove("mm2-offsets.A.internal");
    world.target.positions.clear();
    // Only one of them moves.
    write(&mut world, 1, 2);
    world.run_for(20 * SECOND);
    assert!(world.target.topics.contains_key("mm2-offsets.A.internal"));
    assert_eq!((stored(&world, 0), stored(&world, 1)), (Some(3), Some(6)));
}

#[test]
fn a_kill_repeats_only_what_came_after_the_stored_position() {
    let mut world = World::with_topic(1);
    for _ in 0..50 {
        write(&mut world, 0, 10);
    }
    world.run_for(5 * SECOND);
    assert_eq!(stored(&world, 0), Some(500));
    write(&mut world, 0, 7);
    assert!(world.run_until_copied(SECOND));
    world.restart();
    world.run_for(5 * SECOND);
    let count = world.target.topics["A.t"].logs[0].count();
    assert!(count == 507 || count == 514, "{count}");
}

#[test]
fn a_store_that_arrives_after_the_next_one_is_not_the_last_word() {
    let mut world = World::with_topic(1);
    world.run_for(SECOND);
    write(&mut world, 0, 1);
    world.faults.positions = Some(ErrorCode::REQUEST_TIMED_OUT);
    world.run_for(2 * SECOND);
    write(&mut world, 0, 1);
    world.faults.positions = None;
    assert!(world.run_until(5 * SECOND, |world| stored(world, 0) == Some(2)));
    // The first one was not lost, only slow.
    world.target.positions.extend(encode("A", "t", 0, 1));
    world.run_for(5 * SECOND);
    assert_eq!(stored(&world, 0), Some(2));
}
