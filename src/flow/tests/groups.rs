//! Groups are told of where they are, taken along when nobody uses them, and never taken back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror_protocol::ErrorCode;

use super::{
    cluster::Group,
    discovery::write,
    failures::failures,
    options,
    world::{GroupQuestion, World},
};
use crate::{
    flow::{FlowOptions, Notice, Side, groups::GroupOptions, published::PublishedTopic},
    offsets::mirror_records::Checkpoint,
    policy::NameFilter,
};

const SECOND: Duration = Duration::from_secs(1);

fn with_groups() -> FlowOptions {
    FlowOptions {
        groups: Some(GroupOptions {
            include: NameFilter::new(&[".*"]).unwrap(),
            exclude: NameFilter::new(&["console-.*"]).unwrap(),
            topic: PublishedTopic {
                name: Arc::from("A.checkpoints.internal"),
                replication_factor: 3,
            },
            checkpoints_interval: SECOND,
            sync_interval: Some(SECOND),
        }),
        ..options()
    }
}

/// A flow of topic `t` with two partitions, ten records in each, all copied.
fn world() -> World {
    let mut world = World::new(with_groups());
    world.source.create("t", 2, 3);
    for partition in 0..2 {
        write(&mut world, "t", partition, 10);
    }
    assert!(world.run_until_copied(5 * SECOND));
    world
}

fn group(protocol_type: &'static str, offsets: &[(&str, i32, i64)]) -> Group {
    Group {
        protocol_type,
        is_in_use: false,
        offsets: offsets
            .iter()
            .map(|(topic, partition, offset)| ((Arc::from(*topic), *partition), *offset))
            .collect(),
    }
}

/// Commits on the source.
fn commit(world: &mut World, id: &str, offset: i64) {
    let offsets = [("t", 0, offset), ("t", 1, offset)];
    let group = group("consumer", &offsets);
    world.source.groups.insert(Arc::from(id), group);
}

/// The checkpoints of a group, oldest first: partition, upstream, downstream.
fn told(world: &World, id: &str) -> Vec<(i32, i64, i64)> {
    let records = world.target.checkpoints.iter();
    let checkpoints = records.map(|record| {
        let value = record
            .value
            .as_deref()
            .expect("Java's readers take no null");
        Checkpoint::decode(&record.key, value).expect("a checkpoint")
    });
    let own = checkpoints.filter(|it| it.group == id);
    own.inspect(|it| assert_eq!(it.topic, "A.t"))
        .map(|it| (it.partition, it.upstream_offset, it.downstream_offset))
        .collect()
}

fn on_target(world: &World, id: &str) -> BTreeMap<i32, i64> {
    let group = world.target.groups.get(id);
    let offsets = group.into_iter().flat_map(|group| &group.offsets);
    offsets
        .map(|((_, partition), offset)| (*partition, *offset))
        .collect()
}

#[test]
fn what_a_group_commits_is_told_and_committed_on_the_target() {
    let mut world = world();
    commit(&mut world, "g", 4);
    world.run_for(3 * SECOND);
    assert_eq!(told(&world, "g"), [(0, 4, 4), (1, 4, 4)]);
    assert_eq!(on_target(&world, "g"), [(0, 4), (1, 4)].into());
    commit(&mut world, "g", 10);
    world.run_for(3 * SECOND);
    assert_eq!(told(&world, "g")[2..], [(0, 10, 10), (1, 10, 10)]);
    assert_eq!(on_target(&world, "g"), [(0, 10), (1, 10)].into());
    // It goes back: that is told, and nobody who has read further on the target is taken back.
    commit(&mut world, "g", 2);
    world.run_for(3 * SECOND);
    assert_eq!(told(&world, "g")[4..], [(0, 2, 2), (1, 2, 2)]);
    assert_eq!(on_target(&world, "g"), [(0, 10), (1, 10)].into());
    let status = world.flow.status();
    assert_eq!(status.checkpoints_published, 6);
    assert_eq!(status.group_offsets_committed, 4);
    let places = world.flow.checkpoint_statuses();
    let places = places.map(|it| (it.group, it.remote_topic, it.partition, it.latency < SECOND));
    let place = |partition| ("g".to_owned(), "A.t".to_owned(), partition, true);
    assert_eq!(places.collect::<Vec<_>>(), [place(0), place(1)]);
}

#[test]
fn only_wanted_groups_of_copied_topics_are_told_of() {
    let mut world = world();
    let offsets = [("t", 0, 1), ("other", 0, 5), ("t", 9, 1), ("t", 1, -1)];
    for (id, protocol_type) in [
        ("consumers", "consumer"),
        ("by-hand", ""),
        ("workers", "connect"),
        ("shared", "share"),
        ("console-consumer-1", "consumer"),
    ] {
        let group = group(protocol_type, &offsets);
        world.source.groups.insert(Arc::from(id), group);
    }
    world.run_for(3 * SECOND);
    for id in ["consumers", "by-hand"] {
        assert_eq!(told(&world, id), [(0, 1, 1)], "{id}");
        assert_eq!(on_target(&world, id), [(0, 1)].into(), "{id}");
    }
    assert_eq!(world.target.checkpoints.len(), 2);
    assert_eq!(world.target.groups.len(), 2);
}

#[test]
fn a_restart_says_nothing_twice() {
    let mut world = world();
    commit(&mut world, "g", 4);
    world.run_for(3 * SECOND);
    world.restart();
    write(&mut world, "t", 0, 5);
    world.run_for(5 * SECOND);
    assert_eq!(told(&world, "g").len(), 2);
    assert_eq!(on_target(&world, "g"), [(0, 4), (1, 4)].into());
}

#[test]
fn a_group_in_use_on_the_target_or_not_seen_there_is_left_alone() {
    let mut world = world();
    let mut used = group("consumer", &[("A.t", 0, 1)]);
    used.is_in_use = true;
    world.target.groups.insert(Arc::from("g"), used);
    commit(&mut world, "g", 4);
    world.run_for(5 * SECOND);
    assert_eq!(told(&world, "g").len(), 2);
    assert_eq!(on_target(&world, "g"), [(0, 1)].into());
    // Its members leave, and a broker that may have it does not answer.
    world.target.groups.get_mut("g").unwrap().is_in_use = false;
    world.faults.hides_groups = true;
    world.run_for(5 * SECOND);
    assert_eq!(on_target(&world, "g"), [(0, 1)].into());
    world.faults.hides_groups = false;
    world.run_for(3 * SECOND);
    assert_eq!(on_target(&world, "g"), [(0, 4), (1, 4)].into());
}

#[test]
fn one_group_that_may_not_be_seen_is_told_of_once_and_keeps_no_other_back() {
    let mut world = world();
    commit(&mut world, "secret", 3);
    commit(&mut world, "open", 3);
    world.faults.secret_group = Some("secret");
    world.run_for(10 * SECOND);
    assert_eq!(
        (told(&world, "secret").len(), told(&world, "open").len()),
        (0, 2)
    );
    let refused = |notice: &&Notice| matches!(notice, Notice::GroupRefused { .. });
    assert_eq!(world.notices.iter().filter(refused).count(), 1);
    world.faults.secret_group = None;
    world.run_for(3 * SECOND);
    assert_eq!(told(&world, "secret").len(), 2);
}

#[test]
fn checkpoints_that_cannot_be_written_are_written_later() {
    let mut world = world();
    commit(&mut world, "g", 4);
    world.faults.publication = Some(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    world.run_for(10 * SECOND);
    assert_eq!(told(&world, "g"), []);
    // What is committed does not depend on what is told.
    assert_eq!(on_target(&world, "g"), [(0, 4), (1, 4)].into());
    world.faults.publication = None;
    world.run_for(5 * SECOND);
    assert_eq!(told(&world, "g"), [(0, 4, 4), (1, 4, 4)]);
}

#[test]
fn an_unreachable_cluster_is_asked_again_and_told_of_once() {
    let mut world = world();
    commit(&mut world, "g", 4);
    world.faults.deaf.insert(Side::Source);
    world.run_for(30 * SECOND);
    let waiting = |notice: &&Notice| matches!(notice, Notice::Waiting { purpose, .. } if *purpose == "its groups");
    assert_eq!(world.notices.iter().filter(waiting).count(), 1);
    assert!(world.counts["groups"] < 60, "{}", world.counts["groups"]);
    world.faults.deaf.clear();
    world.run_for(5 * SECOND);
    assert_eq!(told(&world, "g").len(), 2);
}

/// Whatever is answered, the groups are where they belong before long once it is answered no more,
/// the operator hears of it once at most, and nobody is asked without end.
#[test]
fn every_failure_of_every_question_about_groups_passes() {
    let questions = [
        GroupQuestion::Checkpoints,
        GroupQuestion::List(Side::Source),
        GroupQuestion::List(Side::Target),
        GroupQuestion::Offsets(Side::Source),
        GroupQuestion::Offsets(Side::Target),
        GroupQuestion::OffsetsOfEach(Side::Source),
        GroupQuestion::OffsetsOfEach(Side::Target),
        GroupQuestion::Commit,
    ];
    for question in questions {
        for failure in failures() {
            let mut world = World::new(with_groups());
            world.faults.groups = Some((question, failure.clone()));
            world.source.create("t", 2, 3);
            for partition in 0..2 {
                write(&mut world, "t", partition, 10);
            }
            let what = format!("{question:?}: {failure}");
            assert!(world.run_until_copied(5 * SECOND), "{what}");
            commit(&mut world, "g", 4);
            world.run_for(10 * SECOND);
            assert!(
                world.counts.get("groups").is_none_or(|count| *count < 60),
                "{what}"
            );
            let told_of = |notice: &&Notice| {
                matches!(notice, Notice::Waiting { .. } | Notice::GroupRefused { .. })
            };
            let count = world.notices.iter().filter(told_of).count();
            assert!(count <= 1, "{what}: {count}");
            world.faults.groups = None;
            world.run_for(10 * SECOND);
            assert_eq!(told(&world, "g"), [(0, 4, 4), (1, 4, 4)], "{what}");
            assert_eq!(on_target(&world, "g"), [(0, 4), (1, 4)].into(), "{what}");
        }
    }
}

#[test]
fn a_topic_whose_copy_would_be_that_of_checkpoints_is_not_copied() {
    let mut options = with_groups();
    options.topics.include = NameFilter::new(&[".*"]).unwrap();
    let mut world = World::new(options);
    world.source.create("checkpoints.internal", 1, 3);
    world.source.create("t", 1, 3);
    world.run_for(5 * SECOND);
    let skipped = |notice: &&Notice| matches!(notice, Notice::TopicSkipped { .. });
    assert_eq!(world.notices.iter().filter(skipped).count(), 1);
    assert!(!world.target.topics.contains_key("A.checkpoints.internal"));
    assert!(world.target.topics.contains_key("A.t"));
}
