//! Remote topics follow their sources, and no change is made that is none.

use std::time::Duration;

use kmirror_protocol::ErrorCode;

use super::{options, world::World};
use crate::flow::{FlowOptions, Notice};

const SECOND: Duration = Duration::from_secs(1);

/// A flow of topics `t` and `t2`, whose properties are compared every ten seconds.
fn world() -> World {
    let mut world = World::new(FlowOptions {
        topic_configs_interval: Some(10 * SECOND),
        ..options()
    });
    for topic in ["t", "t2"] {
        world.source.create(topic, 1, 3);
    }
    world.run_for(5 * SECOND);
    world
}

fn set(world: &mut World, topic: &str, configs: &[(&str, &str)]) {
    let cluster = if topic.starts_with("A.") {
        &mut world.target
    } else {
        &mut world.source
    };
    let configs = configs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    cluster.topics.get_mut(topic).unwrap().configs = configs.collect();
}

fn on_target(world: &World, topic: &str) -> Vec<(String, String)> {
    world.target.topics[topic].configs.clone()
}

fn changed(world: &World) -> usize {
    let is_change = |notice: &&Notice| matches!(notice, Notice::TopicConfigChanged { .. });
    world.notices.iter().filter(is_change).count()
}

#[test]
fn what_is_set_on_the_source_is_set_and_what_is_set_no_more_is_a_default_again() {
    let mut world = world();
    set(&mut world, "t", &[("retention.bytes", "1000")]);
    world.run_for(11 * SECOND);
    let expected = [(String::from("retention.bytes"), String::from("1000"))];
    assert_eq!(on_target(&world, "A.t"), expected);
    assert_eq!(on_target(&world, "A.t2"), []);
    // Somebody changes the copy by hand.
    set(&mut world, "A.t", &[("retention.bytes", "2000")]);
    world.run_for(11 * SECOND);
    assert_eq!(on_target(&world, "A.t"), expected);
    set(&mut world, "t", &[]);
    world.run_for(11 * SECOND);
    assert_eq!(on_target(&world, "A.t"), []);
    assert_eq!((changed(&world), world.counts["alter configs"]), (3, 3));
    world.run_for(100 * SECOND);
    assert_eq!(world.counts["alter configs"], 3, "nothing has changed");
}

#[test]
fn what_the_target_does_not_know_or_take_is_told_once() {
    let mut world = world();
    set(
        &mut world,
        "t",
        &[("new.in.5.0", "1"), ("retention.bytes", "1000")],
    );
    world.faults.alteration = Some(ErrorCode::INVALID_CONFIG);
    world.run_for(100 * SECOND);
    let count = |is_it: fn(&Notice) -> bool| world.notices.iter().filter(|it| is_it(it)).count();
    assert_eq!(count(|it| matches!(it, Notice::PropertyUnknown { .. })), 1);
    assert_eq!(
        count(|it| matches!(it, Notice::TopicConfigRefused { .. })),
        1
    );
    world.faults.alteration = None;
    world.run_for(11 * SECOND);
    assert_eq!(on_target(&world, "A.t").len(), 1);
}
