//! Leaders that move or are missing, topics that vanish, come back, or are created again.

use std::time::Duration;

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{
    discovery::{never, write},
    options,
    world::World,
};
use crate::flow::{PartitionNotice, Side, halt::HaltReason, limits};

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(86_400);

#[test]
fn one_answer_without_a_topic_or_with_an_older_id_halts_nothing() {
    for side in [Side::Source, Side::Target] {
        let mut world = World::with_topic(2);
        world.run_for(SECOND);
        let (view, name) = match side {
            Side::Source => (world.source.view(), "t"),
            Side::Target => (world.target.view(), "A.t"),
        };
        let mut gone = view.clone();
        gone.topics.remove(name);
        let mut older = view;
        older.topics.get_mut(name).unwrap().topic_id = Uuid([9; 16]);
        for stale in [gone, older] {
            world.stale.insert(side, stale);
            world.run_for(6 * SECOND);
            assert!(!world.stale.contains_key(&side));
            write(&mut world, "t", 1, 2);
            assert!(world.run_until_copied(SECOND), "{side}");
        }
        assert_eq!(world.partition_notices(), []);
    }
}

#[test]
fn a_topic_that_is_gone_halts_and_goes_on_when_it_is_back() {
    for (side, reason) in [
        (Side::Source, HaltReason::TopicMissing),
        (Side::Target, HaltReason::RemoteTopicMissing),
    ] {
        for interval in [5 * SECOND, NEVER] {
            let mut world = World::with_topic(1);
            world.options.discovery_interval = interval;
            world.restart();
            write(&mut world, "t", 0, 2);
            world.run_for(2 * SECOND);
            let (cluster, name) = match side {
                Side::Source => (&mut world.source, "t"),
                Side::Target => (&mut world.target, "A.t"),
            };
            let topic = cluster.topics.remove(name).unwrap();
            if side == Side::Target {
                write(&mut world, "t", 0, 2);
            }
            world.run_for(100 * SECOND);
            let halts = [PartitionNotice::Halted(reason.clone())];
            assert_eq!(world.partition_notices(), halts, "{side} {interval:?}");
            // Nothing is created behind its owner's back.
            assert_eq!(world.counts["create topics"], 2);
            let cluster = match side {
                Side::Source => &mut world.source,
                Side::Target => &mut world.target,
            };
            cluster.topics.insert(name.into(), topic);
            write(&mut world, "t", 0, 2);
            assert!(
                world.run_until_copied(limits::HALT_RETRY + SECOND),
                "{side} {interval:?}"
            );
        }
    }
}

#[test]
fn a_topic_that_was_created_again_halts_until_a_restart() {
    for (side, reason) in [
        (Side::Source, HaltReason::TopicRecreated),
        (Side::Target, HaltReason::RemoteTopicRecreated),
    ] {
        let mut world = World::with_topic(2);
        world.source.create("t2", 1, 3);
        write(&mut world, "t", 0, 2);
        world.run_for(SECOND);
        match side {
            Side::Source => world.source.create("t", 2, 3),
            Side::Target => world.target.create("A.t", 2, 3),
        }
        world.run_for(100 * SECOND);
        let halts = [reason.clone(), reason].map(PartitionNotice::Halted);
        assert_eq!(world.partition_notices(), halts, "{side}");
        write(&mut world, "t", 1, 2);
        write(&mut world, "t2", 0, 2);
        world.run_for(SECOND);
        let counts = ["A.t", "A.t2"].map(|name| {
            let logs = &world.target.topics[name].logs;
            logs.iter().map(super::cluster::Log::count).sum::<usize>()
        });
        let left = if side == Side::Source { 2 } else { 0 };
        assert_eq!(counts, [left, 2], "{side}");
    }
}

#[test]
fn ids_that_appear_during_an_upgrade_are_taken_over() {
    let mut world = World::new(options());
    world.source.has_topic_ids = false;
    world.source.create("t", 1, 3);
    world.run_for(SECOND);
    world.source.topics.get_mut("t").unwrap().id = Uuid([4; 16]);
    world.run_for(6 * SECOND);
    write(&mut world, "t", 0, 1);
    assert!(world.run_until_copied(SECOND));
    assert_eq!(world.partition_notices(), []);
    assert_eq!(
        world
            .flow
            .names(crate::flow::PartitionId(0))
            .unwrap()
            .topic_id,
        Uuid([4; 16])
    );
    // From now on another id is another topic.
    world.source.topics.get_mut("t").unwrap().id = Uuid([5; 16]);
    world.run_for(10 * SECOND);
    let halts = [PartitionNotice::Halted(HaltReason::TopicRecreated)];
    assert_eq!(world.partition_notices(), halts);
}

#[test]
fn a_partition_without_a_leader_is_waited_for_even_without_discovery() {
    for side in [Side::Source, Side::Target] {
        for is_known_before in [false, true] {
            let mut world = World::new(never());
            world.source.create("t", 1, 3);
            world.target.create("A.t", 1, 3);
            if is_known_before {
                world.run_for(SECOND);
            }
            let (cluster, name) = match side {
                Side::Source => (&mut world.source, "t"),
                Side::Target => (&mut world.target, "A.t"),
            };
            let log = cluster.log(name, 0).unwrap();
            (log.leader, log.epoch) = (None, 1);
            write(&mut world, "t", 0, 2);
            world.run_for(60 * SECOND);
            assert!(!world.is_copied());
            let cluster = match side {
                Side::Source => &mut world.source,
                Side::Target => &mut world.target,
            };
            let log = cluster.log(name, 0).unwrap();
            (log.leader, log.epoch) = (Some(2), 2);
            assert!(
                world.run_until_copied(5 * SECOND),
                "{side} {is_known_before}"
            );
            let asked = world.counts["source metadata"] + world.counts["target metadata"];
            assert!(asked < 100, "asked {asked} times");
        }
    }
}

#[test]
fn a_leader_that_went_during_a_halt_is_looked_for_when_the_halt_is_over() {
    let mut world = World::new(never());
    world.source.create("t", 1, 3);
    world.run_for(SECOND);
    let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    world.faults.refused.insert((String::from("A.t"), 0), code);
    write(&mut world, "t", 0, 2);
    world.run_for(SECOND);
    let log = world.target.log("A.t", 0).unwrap();
    (log.leader, log.epoch) = (None, 1);
    world.flow.discovery.refresh(Side::Target, world.now);
    world.run_for(SECOND);
    let log = world.target.log("A.t", 0).unwrap();
    (log.leader, log.epoch) = (Some(1), 2);
    world.faults.refused.clear();
    assert!(world.run_until_copied(limits::HALT_RETRY + SECOND));
}

#[test]
fn a_source_partition_without_a_leader_is_looked_for_when_only_the_target_answers() {
    let mut world = World::new(never());
    world.source.create("t", 2, 3);
    world.target.create("mm2-offsets.A.internal", 25, 3);
    let log = world.source.log("t", 0).unwrap();
    (log.leader, log.epoch) = (None, 1);
    // The source is asked once; what starts the copy is the target's answer.
    world.faults.creation_lag = SECOND;
    write(&mut world, "t", 0, 2);
    world.run_for(5 * SECOND);
    let log = world.source.log("t", 0).unwrap();
    (log.leader, log.epoch) = (Some(1), 2);
    assert!(world.run_until_copied(5 * SECOND));
}
