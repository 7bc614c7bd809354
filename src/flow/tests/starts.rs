//! Where new partitions begin.

use std::{sync::Arc, time::Duration};

use kmirror_protocol::ErrorCode;

use super::{discovery::write, world::World};
use crate::{
    flow::{
        Failure, LogRange, PartitionNotice,
        halt::HaltReason,
        starts::{Begin, FoundStart, Search, StartQuestion},
    },
    offsets::state::GapCause,
    policy::StartAt,
};

const SECOND: Duration = Duration::from_secs(1);

const RANGE: LogRange = LogRange {
    start_offset: 100,
    end_offset: 200,
};

fn group(otherwise: StartAt) -> StartAt {
    StartAt::Group {
        group: Arc::from("g"),
        otherwise: Box::new(otherwise),
    }
}

const fn at(source_offset: i64, deleted_from: Option<i64>) -> Begin {
    Begin::At(FoundStart {
        source_offset,
        deleted_from,
    })
}

fn beyond(wanted: StartAt, start_offset: i64) -> Begin {
    Begin::Beyond(HaltReason::StartBeyondEnd {
        wanted,
        start_offset,
        log_end_offset: 200,
    })
}

#[test]
fn what_is_wanted_and_what_the_source_says_make_an_offset() {
    use StartAt::{Earliest, Latest, Offset, Timestamp};
    let cases = [
        (Earliest, vec![], at(100, None)),
        (Latest, vec![], at(200, None)),
        (Offset(100), vec![], at(100, None)),
        (Offset(150), vec![], at(150, None)),
        (Offset(200), vec![], at(200, None)),
        (Offset(40), vec![], at(100, Some(40))),
        (Offset(201), vec![], beyond(Offset(201), 201)),
        (Timestamp(5), vec![], Begin::Ask),
        (Timestamp(5), vec![Some(170)], at(170, None)),
        // Everything is older.
        (Timestamp(5), vec![None], at(200, None)),
        // It was deleted, and it came, since the range was asked for.
        (Timestamp(5), vec![Some(99)], at(100, None)),
        (Timestamp(5), vec![Some(230)], at(230, None)),
        (group(Latest), vec![], Begin::Ask),
        (group(Latest), vec![Some(150)], at(150, None)),
        (group(Latest), vec![Some(7)], at(100, Some(7))),
        (group(Latest), vec![Some(300)], beyond(group(Latest), 300)),
        (group(Latest), vec![None], at(200, None)),
        (group(Timestamp(5)), vec![None], Begin::Ask),
        (group(Timestamp(5)), vec![None, Some(120)], at(120, None)),
        (group(group(Earliest)), vec![None, None], at(100, None)),
    ];
    for (wanted, answers, expected) in cases {
        let mut search = Search::new(wanted.clone(), RANGE);
        for answer in &answers {
            assert!(search.question().is_some(), "{wanted:?}");
            search.answered(*answer);
        }
        assert_eq!(search.begin(), expected, "{wanted:?} {answers:?}");
        let asks = search.question().is_some();
        assert_eq!(asks, expected == Begin::Ask, "{wanted:?} {answers:?}");
    }
    let search = Search::new(Timestamp(5), RANGE);
    assert_eq!(search.question(), Some(StartQuestion::Time(5)));
}

#[test]
fn records_that_are_left_out_and_rules_that_do_not_hold_are_told() {
    let told = |wanted: StartAt, answer: Option<i64>| {
        let mut search = Search::new(wanted, RANGE);
        search.answered(answer);
        match search.begin() {
            Begin::At(start) => search.notice(start),
            other => panic!("{other:?}"),
        }
    };
    let begins = |wanted, instead, source_offset| {
        Some(PartitionNotice::Begins {
            wanted,
            instead,
            source_offset,
            source: RANGE,
        })
    };
    let (earliest, latest) = (StartAt::Earliest, StartAt::Latest);
    let to_earliest = group(earliest.clone());
    assert_eq!(told(earliest.clone(), None), None);
    assert_eq!(told(StartAt::Timestamp(0), Some(100)), None);
    assert_eq!(
        told(latest.clone(), None),
        begins(latest.clone(), None, 200)
    );
    assert_eq!(
        told(group(latest.clone()), None),
        begins(group(latest.clone()), Some(latest), 200)
    );
    assert_eq!(
        told(to_earliest.clone(), None),
        begins(to_earliest, Some(earliest), 100)
    );
}

/// A flow whose topic `t` has one partition with the source offsets 0 to 9.
fn world(start: StartAt) -> World {
    let mut world = World::with_topic(1);
    write(&mut world, "t", 0, 10);
    world.options.starts.default = start;
    world.restart();
    world
}

fn copied(world: &World) -> usize {
    let remote = world.target.topics.get("A.t");
    remote.map_or(0, |topic| topic.logs[0].count())
}

#[test]
fn a_partition_begins_where_it_was_asked_to() {
    use StartAt::{Earliest, Latest, Offset, Timestamp};
    // Records here are as old as their offsets.
    let cases = [
        (Earliest, None, 0),
        (Offset(3), None, 3),
        (Timestamp(7), None, 7),
        (Timestamp(70), None, 10),
        (group(Latest), Some(4), 4),
        (group(Latest), None, 10),
        (group(Timestamp(8)), None, 8),
    ];
    for (wanted, committed, expected) in cases {
        let mut world = world(wanted.clone());
        world.checks.starts.insert((String::from("t"), 0), expected);
        if let Some(offset) = committed {
            let groups = &mut world.source.groups;
            let group = groups.entry(Arc::from("g")).or_default();
            group.offsets.insert((Arc::from("t"), 0), offset);
        }
        world.run_for(3 * SECOND);
        write(&mut world, "t", 0, 5);
        let count = usize::try_from(15 - expected).unwrap();
        let is_there = world.run_until(3 * SECOND, |world| copied(world) == count);
        assert!(is_there, "{wanted:?}: {} of {count}", copied(&world));
        world.run_for(3 * SECOND);
        assert_eq!(copied(&world), count, "{wanted:?}");
    }
}

#[test]
fn a_partition_that_appears_later_is_copied_whole() {
    let cases = [
        (StartAt::Timestamp(70), 10),
        (StartAt::Offset(9), 9),
        (group(StartAt::Latest), 10),
    ];
    for (wanted, start) in cases {
        let mut world = world(wanted.clone());
        world.checks.starts.insert((String::from("t"), 0), start);
        world.run_for(3 * SECOND);
        world.source.topics.get_mut("t").unwrap().grow(2, 3);
        write(&mut world, "t", 1, 5);
        let is_there = world.run_until(10 * SECOND, |world| {
            let logs = &world.target.topics["A.t"].logs;
            logs.get(1).is_some_and(|log| log.count() == 5)
        });
        assert!(is_there, "{wanted:?}");
    }
}

#[test]
fn a_group_that_may_not_be_seen_halts_until_it_may() {
    let mut world = world(group(StartAt::Earliest));
    world.faults.secret_group = Some("g");
    let failure = Failure::Refused(ErrorCode::GROUP_AUTHORIZATION_FAILED, None);
    let halt = PartitionNotice::Halted(HaltReason::SourceRefuses(failure));
    let is_told = world.run_until(5 * SECOND, |world| {
        world.partition_notices().contains(&halt)
    });
    assert!(is_told, "{:?}", world.partition_notices());
    assert_eq!(copied(&world), 0);
    world.faults.secret_group = None;
    assert!(world.run_until_copied(60 * SECOND));
}

#[test]
fn a_start_beyond_the_end_waits_for_the_log_to_grow() {
    let mut world = world(StartAt::Offset(12));
    world.checks.starts.insert((String::from("t"), 0), 12);
    let is_halted = |world: &World| {
        let mut notices = world.partition_notices().into_iter();
        notices.any(|notice| {
            matches!(
                notice,
                PartitionNotice::Halted(HaltReason::StartBeyondEnd {
                    start_offset: 12,
                    log_end_offset: 10,
                    ..
                })
            )
        })
    };
    assert!(world.run_until(20 * SECOND, is_halted));
    write(&mut world, "t", 0, 5);
    assert!(world.run_until(90 * SECOND, |world| copied(world) == 3));
}

#[test]
fn what_the_source_has_deleted_of_what_was_wanted_is_a_gap() {
    let mut world = world(StartAt::Offset(2));
    let log = world.source.log("t", 0).unwrap();
    log.start_offset = 6;
    world.checks.starts.insert((String::from("t"), 0), 6);
    world.run_for(3 * SECOND);
    let gap = PartitionNotice::Gap {
        from_offset: 2,
        to_offset: 6,
        cause: GapCause::Deleted,
    };
    assert!(world.partition_notices().contains(&gap));
}
