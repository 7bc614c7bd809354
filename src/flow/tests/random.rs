//! Seeded runs in which everything that may pass by itself goes wrong, until it stops.

use std::time::Duration;

use kmirror_protocol::records::Compression;

use super::{values, world::World};
use crate::flow::{Event, PartitionNotice, limits};

/// How many seeds an ordinary run takes; `KMIRROR_SEEDS` asks for more.
const SEEDS: u64 = 100;

const MINUTE: Duration = Duration::from_secs(60);

/// A day: with this discovery interval only need leads to asking.
const NEVER: Duration = Duration::from_secs(86_400);

#[test]
fn every_record_arrives_once_and_in_order_whatever_passes_by_itself() {
    let seeds = std::env::var("KMIRROR_SEEDS").ok();
    let seeds = seeds.map_or(SEEDS, |text| text.parse().unwrap());
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} fails");
    }
}

fn run(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut options = super::options();
    let is_never = rng.bool();
    if is_never {
        options.discovery_interval = NEVER;
    }
    // Down to less than one batch.
    options.memory_bytes = 1 << rng.usize(6..20);
    options.fetch_bytes_max = 1 << rng.usize(8..18);
    options.partition_fetch_bytes_max = 1 << rng.usize(7..15);
    options.fetch_lanes = rng.u8(1..4);
    let mut world = World::new(options);
    world.rng = rng.fork();
    world.faults.one_in = rng.u32(5..60);
    world.faults.creation_lag = Duration::from_millis(rng.u64(0..300));
    for topic in 0..rng.usize(1..4) {
        world.source.create(&format!("t{topic}"), rng.i32(1..5), 3);
    }
    write_some(&mut world, &mut rng);
    for _ in 0..rng.usize(10..60) {
        disturb(&mut world, &mut rng, is_never);
        let pause = Duration::from_millis(rng.u64(0..400));
        world.run_for(pause);
    }
    heal(&mut world);
    let is_copied = world.run_until_copied(2 * MINUTE);
    let halted: Vec<_> = world.flow.status().halted;
    assert!(is_copied, "not copied: {halted:?}");
    stop(&mut world);
    let halts = world.partition_notices();
    let is_expected = |notice: &PartitionNotice| !matches!(notice, PartitionNotice::Gap { .. });
    assert!(halts.iter().all(is_expected), "{halts:?}");
    assert_eq!(
        world.flow.transfer.held,
        crate::flow::transfer::Held::default()
    );
}

fn disturb(world: &mut World, rng: &mut fastrand::Rng, is_never: bool) {
    match rng.u32(0..10) {
        0..=3 => write_some(world, rng),
        4 | 5 => move_leader(world, rng),
        6 => {
            let side = if rng.bool() {
                crate::flow::Side::Source
            } else {
                crate::flow::Side::Target
            };
            let node = (side, rng.i32(0..3));
            if !world.faults.down.remove(&node) {
                world.faults.down.insert(node);
            }
        }
        7 if !is_never => {
            let name = pick_topic(world, rng);
            let topic = world.source.topics.get_mut(name.as_str()).unwrap();
            let partitions = i32::try_from(topic.logs.len()).unwrap();
            topic.grow(partitions + 1, 3);
        }
        8 if !is_never => {
            let name = format!("t{}", rng.u32(10..20));
            if !world.source.topics.contains_key(name.as_str()) {
                world.source.create(&name, rng.i32(1..4), 3);
            }
        }
        _ => {
            let side = crate::flow::Side::Target;
            if !world.faults.deaf.remove(&side) && rng.bool() {
                world.faults.deaf.insert(side);
            }
        }
    }
}

fn pick_topic(world: &World, rng: &mut fastrand::Rng) -> String {
    let names: Vec<_> = world.source.topics.keys().collect();
    names[rng.usize(0..names.len())].to_string()
}

fn write_some(world: &mut World, rng: &mut fastrand::Rng) {
    for topic in world.source.topics.values_mut() {
        for log in &mut topic.logs {
            for _ in 0..rng.usize(0..6) {
                match rng.u32(0..10) {
                    0 => log.write_marker(),
                    1 => {
                        let values = values(rng, 2);
                        let deltas = [(1, values[0].clone()), (3, values[1].clone())];
                        log.write_compacted(&deltas, 6);
                    }
                    2 => log.write_compacted(&[], 3),
                    3 => {
                        let count = rng.usize(1..20);
                        log.write(Compression::Lz4, &values(rng, count));
                    }
                    _ => {
                        let count = rng.usize(1..20);
                        log.write(Compression::None, &values(rng, count));
                    }
                }
            }
        }
    }
}

/// Moves a partition to another node, or leaves it without one for a while.
fn move_leader(world: &mut World, rng: &mut fastrand::Rng) {
    let cluster = if rng.bool() {
        &mut world.source
    } else {
        &mut world.target
    };
    for topic in cluster.topics.values_mut() {
        for log in &mut topic.logs {
            if rng.bool() {
                log.leader = rng.bool().then(|| rng.i32(0..3));
                log.epoch += 1;
            }
        }
    }
}

fn heal(world: &mut World) {
    world.faults = super::world::Faults::default();
    for cluster in [&mut world.source, &mut world.target] {
        for topic in cluster.topics.values_mut() {
            for log in &mut topic.logs {
                log.leader.get_or_insert(0);
            }
        }
    }
    // A halt by a refusal that may pass lasts so long.
    world.run_for(limits::HALT_RETRY);
}

/// Asks the flow to stop; it must store where it is, and be over long before its time is.
fn stop(world: &mut World) {
    world.tell(Event::Stop);
    assert!(world.run_until(Duration::from_secs(5), |world| world.is_stopped));
    let positions = crate::offsets::source_offsets::decode_all("A", &world.target.positions);
    for (name, topic) in &world.source.topics {
        for (number, log) in (0..).zip(&topic.logs) {
            let stored = positions.get(&(name.to_string(), number)).copied();
            assert_eq!(stored.unwrap_or(0), log.end_offset, "{name}-{number}");
        }
    }
}
