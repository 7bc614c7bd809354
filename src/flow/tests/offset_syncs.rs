//! Offset syncs as MM2 reads them: never beyond the truth, and no burden to what is copied.

use std::{collections::BTreeMap, time::Duration};

use kmirror_protocol::{ErrorCode, records::Compression};

use super::{
    discovery::write,
    values,
    world::{Faults, World},
};
use crate::{
    flow::{Event, Notice, Side},
    offsets::mirror_records::OffsetSync,
};

const SECOND: Duration = Duration::from_secs(1);

/// What is published, oldest first.
fn published(world: &World) -> Vec<OffsetSync> {
    let records = world.source.syncs.iter();
    let syncs = records.map(|record| {
        let value = record
            .value
            .as_deref()
            .expect("Java's readers take no null");
        OffsetSync::decode(&record.key, value).expect("a sync")
    });
    syncs.collect()
}

/// Whoever has committed `position` in the source, and goes on where MM2 translates it to by a sync
/// (`OffsetSyncStore.translateDownstream`), misses nothing that is still to be read.
pub(super) fn check_syncs(world: &World) {
    for sync in published(world) {
        let index = usize::try_from(sync.partition).unwrap();
        let source = world.source.topics[&*sync.topic].logs[index].seen();
        let remote = format!("A.{}", sync.topic);
        let target = world.target.topics[&*remote].logs[index].seen();
        let last_copies: BTreeMap<_, i64> =
            target.into_iter().map(|(at, what)| (what, at)).collect();
        for (offset, what) in source {
            let exact = (offset >= sync.upstream_offset).then_some(sync.downstream_offset);
            let behind = (offset > sync.upstream_offset).then_some(sync.downstream_offset + 1);
            // What is not there yet comes later than all that is.
            if let (Some(goes_on), Some(copy)) = (behind.max(exact), last_copies.get(&what)) {
                assert!(
                    goes_on <= *copy,
                    "{sync:?} misses {offset}, which is at {copy}"
                );
            }
        }
    }
}

#[test]
fn the_newest_pair_of_each_partition_that_has_moved_is_published() {
    let mut world = World::with_topic(2);
    write(&mut world, "t", 0, 5);
    world.run_for(3 * SECOND);
    write(&mut world, "t", 0, 2);
    write(&mut world, "t", 1, 1);
    world.run_for(3 * SECOND);
    let mut pairs: Vec<_> = published(&world)
        .into_iter()
        .map(|it| (it.partition, it.upstream_offset, it.downstream_offset))
        .collect();
    pairs.sort_unstable();
    assert_eq!(
        pairs,
        [(0, 4, 4), (0, 6, 6), (1, 0, 0)],
        "nothing is said twice"
    );
    assert_eq!(world.counts["create for others"], 1);
    check_syncs(&world);
}

#[test]
fn holes_and_markers_move_nobody_beyond_a_record() {
    let mut world = World::with_topic(1);
    let values = values(&mut world.rng, 3);
    let log = world.source.log("t", 0).unwrap();
    log.write_compacted(&[(2, values[0].clone()), (5, values[1].clone())], 9);
    log.write_marker();
    world.run_for(3 * SECOND);
    world
        .source
        .log("t", 0)
        .unwrap()
        .write(Compression::None, &values[2..]);
    world.run_for(3 * SECOND);
    assert!(world.is_copied());
    let pairs: Vec<_> = published(&world)
        .into_iter()
        .map(|it| (it.upstream_offset, it.downstream_offset))
        .collect();
    assert_eq!(pairs, [(9, 1), (10, 2)]);
    check_syncs(&world);
}

#[test]
fn a_stop_publishes_what_is_left_unless_it_cannot() {
    for fault in [None, Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED)] {
        let mut world = World::with_topic(1);
        world.options.positions_interval = 60 * SECOND;
        world.restart();
        world.faults.publication = fault;
        write(&mut world, "t", 0, 5);
        assert!(world.run_until_copied(5 * SECOND));
        world.tell(Event::Stop);
        assert!(world.run_until(2 * SECOND, |world| world.is_stopped));
        assert_eq!(published(&world).len(), usize::from(fault.is_none()));
    }
}

#[test]
fn a_source_that_may_not_be_written_is_told_of_once_and_holds_up_nothing() {
    let mut world = World::with_topic(1);
    world.faults.publication = Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    for _ in 0..20 {
        write(&mut world, "t", 0, 5);
        assert!(world.run_until_copied(5 * SECOND));
        world.run_for(3 * SECOND);
    }
    let told = |notice: &&Notice| {
        let purpose = "storing offset syncs";
        matches!(notice, Notice::Waiting { side: Side::Source, purpose: it, .. } if *it == purpose)
    };
    assert_eq!(world.notices.iter().filter(told).count(), 1);
    assert!(world.counts["publish"] <= 4, "{}", world.counts["publish"]);
    world.faults = Faults::default();
    world.run_for(60 * SECOND);
    assert_eq!(published(&world).last().unwrap().upstream_offset, 99);
}
