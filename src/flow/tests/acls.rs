//! Rights on remote topics follow those on their sources, and whoever forbids that is told of once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kmirror_protocol::{ErrorCode, records::Compression};

use super::{options, world::World};
use crate::{
    flow::{
        Event, FlowOptions, Notice, Side,
        acls::{AclChange, AclOptions},
        groups::GroupOptions,
        limits,
        published::PublishedTopic,
    },
    policy::{
        Acl, NameFilter,
        acls::{AclOperation, LeftOut, PatternType, Permission, ResourceType},
    },
};

const SECOND: Duration = Duration::from_secs(1);

const OPTIONS: AclOptions = AclOptions {
    interval: Duration::from_secs(10),
    takes_prefixes: false,
    takes_groups: false,
    removes: false,
};

/// A flow of topics that begin with `t`, of which there is one, whose ACLs are compared every ten
/// seconds.
fn world(acls: AclOptions) -> World {
    let mut world = World::new(FlowOptions {
        acls: Some(acls),
        ..options()
    });
    world.source.create("t", 1, 3);
    world
}

/// ALLOW READ on a topic.
fn read(principal: &str, topic: &str) -> Acl {
    Acl {
        permission: Permission::Allow,
        resource: ResourceType::Topic,
        pattern: PatternType::Literal,
        name: Arc::from(topic),
        principal: Arc::from(principal),
        host: Arc::from("*"),
        operation: AclOperation::READ,
    }
}

fn created(world: &World) -> usize {
    let of = |notice: &Notice| match notice {
        Notice::AclsChanged {
            change: AclChange::Create,
            acls,
        } => acls.len(),
        _ => 0,
    };
    world.notices.iter().map(of).sum()
}

fn count(world: &World, is_it: impl Fn(&Notice) -> bool) -> usize {
    world.notices.iter().filter(|notice| is_it(notice)).count()
}

/// Whether records go from here to there, whatever becomes of ACLs.
fn assert_copies(world: &mut World) {
    let values = super::values(&mut world.rng, 5);
    let log = world.source.log("t", 0).unwrap();
    log.write(Compression::None, &values);
    assert!(world.run_until_copied(5 * SECOND));
}

#[test]
fn what_is_new_on_the_source_is_created_once_and_nothing_goes() {
    let mut world = world(OPTIONS);
    world.source.acls.insert(read("User:x", "t"));
    world.run_for(5 * SECOND);
    assert_eq!(world.target.acls, BTreeSet::from([read("User:x", "A.t")]));
    world.source.acls.insert(read("User:y", "t"));
    world.source.acls.remove(&read("User:x", "t"));
    world.run_for(10 * SECOND);
    let both = BTreeSet::from(["User:x", "User:y"].map(|it| read(it, "A.t")));
    assert_eq!(world.target.acls, both);
    world.run_for(100 * SECOND);
    assert_eq!((created(&world), world.counts["change acls"]), (2, 2));
    assert_eq!(
        world.counts["acls"],
        2 * 12,
        "every ten seconds, on both sides"
    );
}

#[test]
fn what_the_source_no_longer_gives_goes_where_that_is_asked_for() {
    let mut world = world(AclOptions {
        removes: true,
        ..OPTIONS
    });
    world.target.acls.insert(read("User:own", "own"));
    world.source.acls.insert(read("User:x", "t"));
    world.run_for(5 * SECOND);
    assert!(world.target.acls.contains(&read("User:x", "A.t")));
    world.source.acls.clear();
    world.run_for(10 * SECOND);
    let left = BTreeSet::from([read("User:own", "own")]);
    assert_eq!(world.target.acls, left);
    let removed = Notice::AclsChanged {
        change: AclChange::Remove,
        acls: vec![read("User:x", "A.t")],
    };
    assert_eq!(count(&world, |notice| *notice == removed), 1);
}

#[test]
fn prefixes_are_told_of_once_or_copied_if_a_topic_is_that_begins_so() {
    let prefix = |principal, prefix| Acl {
        pattern: PatternType::Prefixed,
        ..read(principal, prefix)
    };
    let source = BTreeSet::from([prefix("User:x", "t"), prefix("User:x", "other")]);
    let mut leaving = world(OPTIONS);
    leaving.source.acls.clone_from(&source);
    leaving.run_for(100 * SECOND);
    assert_eq!(leaving.target.acls, BTreeSet::new());
    let expected = Notice::AclsLeftOut(LeftOut {
        topic_patterns: 1,
        denials: 0,
        group_patterns: 0,
    });
    assert_eq!(count(&leaving, |notice| *notice == expected), 1);

    let mut taking = world(AclOptions {
        takes_prefixes: true,
        ..OPTIONS
    });
    taking.source.create("other", 1, 3);
    taking.source.acls = source;
    taking.run_for(5 * SECOND);
    assert_eq!(
        taking.target.acls,
        BTreeSet::from([prefix("User:x", "A.t")])
    );
    assert_eq!(count(&taking, |it| matches!(it, Notice::AclsLeftOut(_))), 0);
}

#[test]
fn rights_on_groups_go_along_with_the_groups() {
    let group = |name: &str| Acl {
        resource: ResourceType::Group,
        ..read("User:x", name)
    };
    for (takes_groups, expected) in [(true, vec![group("g")]), (false, vec![])] {
        let none: [&str; 0] = [];
        let groups = GroupOptions {
            include: NameFilter::new(&["g.*"]).unwrap(),
            exclude: NameFilter::new(&none).unwrap(),
            topic: PublishedTopic {
                name: Arc::from("A.checkpoints.internal"),
                replication_factor: 3,
            },
            checkpoints_interval: 60 * SECOND,
            sync_interval: None,
        };
        let mut world = World::new(FlowOptions {
            acls: Some(AclOptions {
                takes_groups,
                ..OPTIONS
            }),
            groups: Some(groups),
            ..options()
        });
        world.source.acls = BTreeSet::from([group("g"), group("other")]);
        world.run_for(5 * SECOND);
        assert_eq!(Vec::from_iter(world.target.acls), expected);
    }
}

#[test]
fn a_cluster_without_an_authorizer_is_told_of_once_and_looked_at_again() {
    for side in [Side::Source, Side::Target] {
        let mut world = world(OPTIONS);
        world.source.acls.insert(read("User:x", "t"));
        world.faults.acls.insert(side, ErrorCode::SECURITY_DISABLED);
        world.run_for(95 * SECOND);
        assert_copies(&mut world);
        assert_eq!(count(&world, |it| *it == Notice::NoAuthorizer(side)), 1);
        let asked = if side == Side::Source { 10 } else { 20 };
        assert_eq!(world.counts["acls"], asked, "each ten seconds");
        world.faults.acls.clear();
        world.run_for(10 * SECOND);
        assert_eq!(created(&world), 1, "without the {side}'s before");
    }
}

#[test]
fn a_missing_right_is_told_of_once_until_it_is_there() {
    let denied = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    for (see, change, on) in [
        (Some(Side::Source), None, Side::Source),
        (Some(Side::Target), None, Side::Target),
        (None, Some(denied), Side::Target),
    ] {
        let mut world = world(OPTIONS);
        world.source.acls.insert(read("User:x", "t"));
        world.faults.acls.extend(see.map(|side| (side, denied)));
        world.faults.acl_changes = change;
        world.run_for(95 * SECOND);
        assert_copies(&mut world);
        let is_denied = |it: &Notice| matches!(it, Notice::AclsDenied { side, .. } if *side == on);
        assert_eq!(count(&world, is_denied), 1);
        assert_eq!(
            count(&world, |it| matches!(it, Notice::AclsRefused { .. })),
            0
        );
        world.faults.acls.clear();
        world.faults.acl_changes = None;
        world.run_for(10 * SECOND);
        assert_eq!(created(&world), 1);
        // It is taken away again, which is news.
        world.faults.acls.insert(on, denied);
        world.run_for(30 * SECOND);
        assert_eq!(count(&world, is_denied), 2);
    }
}

#[test]
fn one_acl_that_the_target_refuses_keeps_no_other_back() {
    let mut world = world(OPTIONS);
    for principal in ["Group:x", "User:y"] {
        world.source.acls.insert(read(principal, "t"));
    }
    world.faults.refused_principal = Some(("Group:x", ErrorCode::INVALID_REQUEST));
    world.run_for(100 * SECOND);
    assert_eq!(world.target.acls, BTreeSet::from([read("User:y", "A.t")]));
    let is_refused = |it: &Notice| matches!(it, Notice::AclsRefused { .. });
    assert_eq!(count(&world, is_refused), 1);
    world.faults.refused_principal = None;
    world.run_for(10 * SECOND);
    assert_eq!(created(&world), 2);
}

#[test]
fn what_may_pass_is_tried_again_soon() {
    let mut world = world(OPTIONS);
    world.source.acls.insert(read("User:x", "t"));
    world
        .faults
        .acls
        .insert(Side::Target, ErrorCode::REQUEST_TIMED_OUT);
    world.run_for(5 * SECOND);
    assert!(world.counts["acls"] > 6, "{:?}", world.counts);
    let is_waiting = |it: &Notice| {
        matches!(
            it,
            Notice::Waiting {
                purpose: "its ACLs",
                ..
            }
        )
    };
    assert_eq!(count(&world, is_waiting), 1);
    world.faults.acls.clear();
    world.faults.acl_changes = Some(ErrorCode::NETWORK_EXCEPTION);
    world.run_for(3 * SECOND);
    assert_eq!(created(&world), 0);
    world.faults.acl_changes = None;
    world.run_for(3 * SECOND);
    assert_eq!(created(&world), 1);
}

#[test]
fn many_acls_are_created_some_at_a_time_and_lost_answers_cost_no_more_than_time() {
    let mut world = world(OPTIONS);
    let number = limits::ACLS_PER_REQUEST * 2 + 1;
    let principals = (0..number).map(|number| format!("User:{number}"));
    world.source.acls = principals.map(|it| read(&it, "t")).collect();
    world.run_for(5 * SECOND);
    assert_eq!(world.target.acls.len(), number);
    assert_eq!((created(&world), world.counts["change acls"]), (number, 3));

    world.target.acls.clear();
    world.faults.one_in = 3;
    world.run_for(100 * SECOND);
    assert_eq!(world.target.acls.len(), number);
}

#[test]
fn nothing_is_asked_while_stopping() {
    let mut world = world(OPTIONS);
    world.run_for(5 * SECOND);
    // The stop waits for positions until its time is over.
    world.faults.positions = Some(ErrorCode::REQUEST_TIMED_OUT);
    assert_copies(&mut world);
    world.tell(Event::Stop);
    let (asked, from) = (world.counts["acls"], world.now);
    assert!(world.run_until(30 * SECOND, |world| world.is_stopped));
    assert!(
        world.now - from > 5 * SECOND,
        "longer than to the next round"
    );
    assert_eq!(world.counts["acls"], asked);
}

#[test]
fn one_cluster_that_passes_for_two_is_left_alone() {
    let mut world = world(AclOptions {
        removes: true,
        ..OPTIONS
    });
    world.target.id = world.source.id.clone();
    world.run_for(60 * SECOND);
    assert_eq!(world.counts.get("acls"), None);
}
