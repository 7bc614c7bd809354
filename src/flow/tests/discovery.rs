//! Topics that are found, created and grown, those that are not wanted, and how often is asked.

use std::{collections::BTreeSet, time::Duration};

use kmirror_protocol::{ErrorCode, records::Compression};

use super::{options, values, world::World};
use crate::{
    flow::{Event, FlowOptions, Notice, Side, limits},
    policy::StartAt,
    policy::{NameFilter, ReplicationPolicy},
};

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(86_400);

pub(super) fn never() -> FlowOptions {
    FlowOptions {
        discovery_interval: NEVER,
        ..options()
    }
}

pub(super) fn write(world: &mut World, topic: &str, partition: i32, records: usize) {
    let values = values(&mut world.rng, records);
    let log = world.source.log(topic, partition).unwrap();
    log.write(Compression::None, &values);
}

fn remote_topics(world: &World) -> BTreeSet<&str> {
    let topics = world.target.topics.keys().map(|name| &**name);
    topics.filter(|name| !name.starts_with("mm2-")).collect()
}

#[test]
fn a_remote_topic_has_the_partitions_and_the_settings_of_its_source() {
    let mut world = World::with_topic(7);
    let own = [("cleanup.policy", "compact"), ("retention.ms", "1")];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    world.source.topics.get_mut("t").unwrap().configs = own.to_vec();
    world.run_for(SECOND);
    let remote = &world.target.topics["A.t"];
    assert_eq!((remote.logs.len(), &remote.configs[..]), (7, &own[..]));
    let created = world.notices.iter().filter_map(|notice| match notice {
        Notice::TopicCreated {
            remote_topic,
            partition_count,
        } => Some((remote_topic.to_string(), *partition_count)),
        _ => None,
    });
    let expected = [
        (String::from("mm2-offsets.A.internal"), 25),
        (String::from("A.t"), 7),
    ];
    assert_eq!(created.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
}

#[test]
fn the_topic_of_positions_has_the_properties_that_it_is_to_have() {
    let mut options = options();
    let own = ("segment.bytes".to_owned(), "1048576".to_owned());
    options.offsets_topic.properties = vec![own.clone()];
    let mut world = World::new(options);
    world.run_for(SECOND);
    let compacted = ("cleanup.policy".to_owned(), "compact".to_owned());
    let topic = &world.target.topics["mm2-offsets.A.internal"];
    assert_eq!(topic.configs, [compacted, own]);
}

#[test]
fn the_first_record_is_copied_within_a_second_of_the_start() {
    for lag in [0, 100, 300] {
        let mut world = World::with_topic(3);
        world.faults.creation_lag = Duration::from_millis(lag);
        write(&mut world, "t", 1, 1);
        assert!(world.run_until_copied(SECOND), "{lag} ms");
    }
}

#[test]
fn a_topic_that_appears_late_on_the_target_is_waited_for_even_without_discovery() {
    let mut world = World::new(never());
    world.source.create("t", 3, 3);
    world.faults.creation_lag = 30 * SECOND;
    write(&mut world, "t", 1, 1);
    assert!(world.run_until_copied(40 * SECOND));
    let asked = world.counts["target metadata"];
    assert!(asked < 60, "asked {asked} times");
}

#[test]
fn new_topics_and_partitions_are_found_and_nothing_of_them_is_skipped() {
    let mut world = World::with_topic(2);
    world.options.starts.default = StartAt::Latest;
    write(&mut world, "t", 0, 3);
    world.checks.starts.insert((String::from("t"), 0), 3);
    world.restart();
    world.run_for(3 * SECOND);
    // What was there before the start is not wanted.
    assert_eq!(world.target.topics["A.t"].logs[0].count(), 0);
    world.source.topics.get_mut("t").unwrap().grow(4, 3);
    write(&mut world, "t", 3, 5);
    let has = |world: &World| {
        world.target.topics["A.t"]
            .logs
            .get(3)
            .map(super::cluster::Log::count)
    };
    assert!(world.run_until(6 * SECOND, |world| has(world) == Some(5)));
    let grown = |notice: &Notice| matches!(notice, Notice::PartitionsAdded { .. });
    assert_eq!(
        world.notices.iter().filter(|notice| grown(notice)).count(),
        1
    );
}

#[test]
fn a_remote_topic_that_cannot_grow_stops_only_what_it_lacks() {
    let mut world = World::with_topic(2);
    world.run_for(SECOND);
    world.faults.creation = Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    world.source.topics.get_mut("t").unwrap().grow(3, 3);
    for partition in 0..3 {
        write(&mut world, "t", partition, 2);
    }
    world.run_for(120 * SECOND);
    let counts: Vec<_> = world.target.topics["A.t"]
        .logs
        .iter()
        .map(super::cluster::Log::count)
        .collect();
    assert_eq!(counts, [2, 2]);
    let told = |notice: &Notice| matches!(notice, Notice::TooFewPartitions { .. });
    assert_eq!(
        world.notices.iter().filter(|notice| told(notice)).count(),
        1
    );
    world.faults.creation = None;
    assert!(world.run_until_copied(6 * SECOND));
}

#[test]
fn a_creation_that_was_refused_is_tried_again_even_without_discovery() {
    for (code, limit) in [
        (ErrorCode::NOT_CONTROLLER, 3 * SECOND),
        (ErrorCode::REQUEST_TIMED_OUT, 3 * SECOND),
        (
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            limits::HALT_RETRY + SECOND,
        ),
    ] {
        let mut world = World::new(never());
        world.source.create("t", 1, 3);
        write(&mut world, "t", 0, 2);
        world.faults.creation = Some(code);
        world.run_for(100 * SECOND);
        let refusals = |notice: &Notice| matches!(notice, Notice::TopicNotCreated { .. });
        // The offsets topic and the remote topic, each told once.
        assert_eq!(
            world
                .notices
                .iter()
                .filter(|notice| refusals(notice))
                .count(),
            2,
            "{code}"
        );
        assert!(world.counts["create topics"] < 150, "{:?}", world.counts);
        world.faults.creation = None;
        assert!(world.run_until_copied(limit), "{code}");
    }
}

#[test]
fn a_creation_whose_answer_was_lost_is_seen_in_metadata() {
    let mut world = World::with_topic(1);
    world.target.create("A.t", 1, 3);
    world.target.create("mm2-offsets.A.internal", 25, 3);
    // The first metadata is older than both.
    world
        .stale
        .insert(Side::Target, crate::flow::ClusterView::default());
    write(&mut world, "t", 0, 2);
    assert!(world.run_until_copied(SECOND));
    assert!(
        !world
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::TopicNotCreated { .. }))
    );
}

#[test]
fn one_topic_whose_configuration_is_secret_keeps_no_other_from_being_created() {
    let mut world = World::new(never());
    for number in 0..20 {
        world.source.create(&format!("t{number}"), 1, 3);
    }
    world.faults.secret_topic = Some("t7");
    world.run_for(5 * SECOND);
    assert_eq!(remote_topics(&world).len(), 19);
    let refused: Vec<_> = world
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::TopicNotCreated { remote_topic, .. } => Some(&**remote_topic),
            _ => None,
        })
        .collect();
    assert_eq!(refused, ["A.t7"]);
    world.faults.secret_topic = None;
    world.run_for(limits::HALT_RETRY);
    assert_eq!(remote_topics(&world).len(), 20);
}

#[test]
fn configurations_that_cannot_be_asked_for_are_asked_for_again() {
    let mut world = World::new(never());
    world.source.create("t", 1, 3);
    world.faults.configs = Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    world.run_for(60 * SECOND);
    let told = |notice: &Notice| {
        matches!(
            notice,
            Notice::Waiting {
                side: Side::Source,
                ..
            }
        )
    };
    assert_eq!(
        world.notices.iter().filter(|notice| told(notice)).count(),
        1
    );
    assert!(world.counts["configs"] < 60, "{:?}", world.counts);
    world.faults.configs = None;
    assert!(world.run_until_copied(4 * SECOND));
}

#[test]
fn more_topics_than_one_request_takes_are_all_created() {
    let mut world = World::new(never());
    for number in 0..limits::TOPICS_PER_REQUEST + 20 {
        world.source.create(&format!("t{number}"), 1, 3);
    }
    world.run_for(5 * SECOND);
    assert_eq!(remote_topics(&world).len(), limits::TOPICS_PER_REQUEST + 20);
}

#[test]
fn a_topic_that_came_from_the_target_is_not_sent_back() {
    let mut world = World::new(options());
    world.options.topics.include = NameFilter::new(&[".*"]).unwrap();
    world.restart();
    for name in [
        "t",
        "B.t",
        "C.B.t",
        "C.t",
        "__consumer_offsets",
        "mm2-offset-syncs.B.internal",
    ] {
        world.source.create(name, 1, 3);
    }
    world.run_for(SECOND);
    assert_eq!(remote_topics(&world), BTreeSet::from(["A.t", "A.C.t"]));
}

#[test]
fn a_topic_whose_copy_would_be_the_offsets_topic_is_skipped_and_named() {
    let mut options = options();
    options.policy = ReplicationPolicy::identity(Some("A"));
    options.offsets_topic.name = "t-positions".into();
    let mut world = World::new(options);
    // The source has a topic of that name too: the answer about the creation must not be taken
    // for one about a copy.
    world.source.create("t-positions", 3, 3);
    world.source.create("t", 1, 3);
    world.faults.creation = Some(ErrorCode::NOT_CONTROLLER);
    world.run_for(SECOND);
    world.faults.creation = None;
    world.run_for(10 * SECOND);
    assert_eq!(world.target.topics["t-positions"].logs.len(), 25);
    assert_eq!(world.flow.status().partitions, 1);
    let skipped = |notice: &&Notice| matches!(notice, Notice::TopicSkipped { .. });
    assert_eq!(world.notices.iter().filter(skipped).count(), 1);
}

#[test]
fn two_aliases_of_one_cluster_copy_nothing() {
    let mut world = World::with_topic(1);
    world.target.id = world.source.id.clone();
    world.run_for(60 * SECOND);
    assert!(world.target.topics.is_empty());
    let told = |notice: &&Notice| matches!(notice, Notice::SameCluster { .. });
    assert_eq!(world.notices.iter().filter(told).count(), 1);
    world.tell(Event::Stop);
    assert!(world.run_until(Duration::ZERO, |world| world.is_stopped));
}

#[test]
fn a_cluster_that_does_not_answer_is_told_of_once_and_asked_again() {
    for side in [Side::Source, Side::Target] {
        let mut world = World::new(never());
        world.source.create("t", 1, 3);
        write(&mut world, "t", 0, 1);
        world.faults.deaf.insert(side);
        world.run_for(600 * SECOND);
        assert_eq!(world.flow.status().unreachable, [side]);
        world.faults.deaf.clear();
        assert!(world.run_until_copied(4 * SECOND));
        let about = |notice: &&Notice| matches!(notice, Notice::Waiting { side: of, .. } | Notice::Reached(of) if *of == side);
        assert_eq!(world.notices.iter().filter(about).count(), 2);
    }
}

#[test]
fn a_question_while_an_older_answer_is_awaited_is_asked_after_it() {
    let mut world = World::new(never());
    world.source.create("t", 1, 3);
    // Long enough before the Fetch under way returns.
    world.run_for(SECOND * 6 / 5);
    let before = world.source.view();
    // The answer on its way is from before the leader moved.
    world.flow.discovery.refresh(Side::Source, world.now);
    world.run_until(Duration::ZERO, |_| false);
    let log = world.source.log("t", 0).unwrap();
    (log.leader, log.epoch) = (Some(1), 1);
    world.stale.insert(Side::Source, before);
    world.flow.discovery.refresh(Side::Source, world.now);
    world.counts.clear();
    assert!(world.run_until(SECOND / 10, |world| {
        world.counts.contains_key("source metadata")
    }));
}

#[test]
fn a_swarm_of_failures_asks_for_metadata_now_and_then() {
    let mut world = World::with_topic(500);
    world.run_for(2 * SECOND);
    world.counts.clear();
    world
        .faults
        .down
        .extend((0..3).map(|node| (Side::Source, node)));
    world.run_for(10 * SECOND);
    let asked = world.counts["source metadata"];
    assert!(asked < 10 * 1_000 / 20, "asked {asked} times");
}

#[test]
fn a_growth_that_metadata_does_not_show_yet_is_no_error() {
    let mut world = World::with_topic(2);
    world.run_for(SECOND);
    let before = world.target.view();
    world.source.topics.get_mut("t").unwrap().grow(3, 3);
    // Somebody else was faster.
    world.target.topics.get_mut("A.t").unwrap().grow(3, 3);
    world.stale.insert(Side::Target, before);
    write(&mut world, "t", 2, 2);
    assert!(world.run_until_copied(12 * SECOND));
    let told = |notice: &&Notice| matches!(notice, Notice::TooFewPartitions { .. });
    assert_eq!(world.notices.iter().filter(told).count(), 0);
}
