//! Seeded runs in which everything that may pass by itself goes wrong, until it stops.

use std::{collections::BTreeSet, time::Duration};

use kmirror_protocol::{ErrorCode, records::Compression};

use super::{
    offset_syncs::check_syncs,
    values,
    world::{Faults, World},
};
use crate::{
    flow::{Event, FlowOptions, PartitionNotice, Side, limits, transfer::Held},
    offsets::source_offsets::decode_all,
};

/// How many seeds an ordinary run takes. `KMIRROR_SEEDS` asks for more, `KMIRROR_SEED` for one.
const SEEDS: u64 = 100;

const MINUTE: Duration = Duration::from_secs(60);

/// A day: with this discovery interval only need leads to asking.
const NEVER: Duration = Duration::from_secs(86_400);

#[test]
fn every_record_arrives_once_and_in_order_whatever_passes_by_itself() {
    let setting = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seeds = match setting("KMIRROR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("KMIRROR_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "KMIRROR_SEED={seed} fails");
    }
}

fn run(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(random_options(&mut rng));
    world.rng = rng.fork();
    world.faults.one_in = rng.u32(5..60);
    world.faults.creation_lag = Duration::from_millis(rng.u64(0..300));
    for topic in 0..rng.usize(1..4) {
        world.source.create(&format!("t{topic}"), rng.i32(1..5), 3);
    }
    write_some(&mut world, &mut rng);
    // Killed flows repeat what they had not stored; all others repeat nothing.
    let is_killed = rng.u32(0..4) == 0;
    for _ in 0..rng.usize(10..60) {
        disturb(&mut world, &mut rng);
        if rng.u32(0..15) == 0 {
            stop_or_kill(&mut world, &mut rng, is_killed);
        }
        world.run_for(Duration::from_millis(rng.u64(0..400)));
    }
    heal(&mut world);
    let is_done = if is_killed {
        World::is_copied_at_least_once
    } else {
        World::is_copied
    };
    assert!(world.run_until(2 * MINUTE, is_done), "not copied");
    // What is left to read may be markers.
    world.run_for(Duration::from_secs(5));
    world.tell(Event::Stop);
    assert!(world.run_until(Duration::from_secs(5), |world| world.is_stopped));
    assert_eq!(world.flow.transfer.held, Held::default());
    check_positions(&world);
    check_syncs(&world);
    check_halts(&world);
}

fn random_options(rng: &mut fastrand::Rng) -> FlowOptions {
    let base = super::options();
    FlowOptions {
        discovery_interval: if rng.bool() {
            NEVER
        } else {
            base.discovery_interval
        },
        // Down to less than one batch.
        memory_bytes: 1 << rng.usize(6..20),
        fetch_bytes_max: 1 << rng.usize(8..18),
        partition_fetch_bytes_max: 1 << rng.usize(7..15),
        fetch_lanes: rng.u8(1..4),
        ..base
    }
}

fn disturb(world: &mut World, rng: &mut fastrand::Rng) {
    let discovers = world.options.discovery_interval < NEVER;
    let side = if rng.bool() {
        Side::Source
    } else {
        Side::Target
    };
    match rng.u32(0..14) {
        0..=3 => write_some(world, rng),
        4 | 5 => move_leaders(world, rng, side),
        6 => toggle(&mut world.faults.down, (side, rng.i32(0..3))),
        7 => toggle(&mut world.faults.deaf, side),
        8 if discovers => {
            let name = pick_topic(world, rng);
            let topic = world.source.topics.get_mut(name.as_str()).unwrap();
            let partitions = i32::try_from(topic.logs.len()).unwrap();
            topic.grow(partitions + 1, 3);
        }
        9 if discovers => {
            let name = format!("t{}", rng.u32(10..20));
            if !world.source.topics.contains_key(name.as_str()) {
                world.source.create(&name, rng.i32(1..4), 3);
            }
        }
        10 => {
            let refused = (format!("A.{}", pick_topic(world, rng)), rng.i32(0..3));
            let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
            if world.faults.refused.remove(&refused).is_none() {
                world.faults.refused.insert(refused, code);
            }
        }
        11 => {
            let view = match side {
                Side::Source => world.source.view(),
                Side::Target => world.target.view(),
            };
            // What is newer than this is missing in it.
            world.stale.insert(side, view);
        }
        12 => {
            let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            world.faults.positions = rng.bool().then_some(code);
        }
        _ => {
            let code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            world.faults.creation = rng.bool().then_some(code);
        }
    }
}

fn toggle<T: Ord>(set: &mut BTreeSet<T>, item: T) {
    if !set.remove(&item) {
        set.insert(item);
    }
}

/// Ends the flow and starts another. A killed flow says nothing; one that stops does so under load
/// and must find the fate of all it sent.
fn stop_or_kill(world: &mut World, rng: &mut fastrand::Rng, is_killed: bool) {
    if !is_killed {
        let one_in = world.faults.one_in;
        heal(world);
        write_some(world, rng);
        world.run_for(Duration::from_millis(rng.u64(0..20)));
        world.tell(Event::Stop);
        assert!(world.run_until(Duration::from_secs(5), |world| world.is_stopped));
        world.faults.one_in = one_in;
    }
    world.restart();
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

/// Moves partitions to other nodes, or leaves them without one for a while.
fn move_leaders(world: &mut World, rng: &mut fastrand::Rng, side: Side) {
    let cluster = match side {
        Side::Source => &mut world.source,
        Side::Target => &mut world.target,
    };
    for log in cluster
        .topics
        .values_mut()
        .flat_map(|topic| &mut topic.logs)
    {
        if rng.bool() {
            log.leader = rng.bool().then(|| rng.i32(0..3));
            log.epoch += 1;
        }
    }
}

/// Ends all faults, and waits as long as a halt lasts that may pass.
fn heal(world: &mut World) {
    world.faults = Faults::default();
    for cluster in [&mut world.source, &mut world.target] {
        for log in cluster
            .topics
            .values_mut()
            .flat_map(|topic| &mut topic.logs)
        {
            log.leader.get_or_insert(0);
        }
    }
    world.run_for(limits::HALT_RETRY + Duration::from_secs(1));
}

/// A flow that has copied everything and stopped has stored that it has.
fn check_positions(world: &World) {
    let positions = decode_all("A", &world.target.positions);
    for (name, topic) in &world.source.topics {
        for (number, log) in (0..).zip(&topic.logs) {
            let stored = positions.get(&(name.to_string(), number)).copied();
            assert_eq!(stored.unwrap_or(0), log.end_offset, "{name}-{number}");
        }
    }
}

/// Nothing that passed by itself looked like something that does not.
fn check_halts(world: &World) {
    for notice in world.partition_notices() {
        let is_expected = match &notice {
            PartitionNotice::Halted(reason) => reason.may_pass(),
            PartitionNotice::Resumed => true,
            PartitionNotice::Gap { .. }
            | PartitionNotice::Begins { .. }
            | PartitionNotice::StoredElsewhere { .. }
            | PartitionNotice::LineageContinued { .. }
            | PartitionNotice::LineageOpened { .. } => false,
        };
        assert!(is_expected, "{notice:?}");
    }
}
