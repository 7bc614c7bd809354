//! Consumer groups: what they have read of the source, and where they would go on on the target.
//!
//! Whatever is said of a group there must miss no record (I10), whoever says it and whenever it
//! arrives; once everything is copied, each group must have its place.

use std::{collections::BTreeMap, sync::Arc};

use kmirror::{
    flow::{Action, TopicPartition, Translated, groups::CommittedOffset},
    offsets::mirror_records::{Checkpoint, OffsetSync},
    runtime::exchange::{Question, groups},
};
use kmirror_protocol::Request;

use super::{
    clusters::{Answer, ClusterSide, Place},
    maps::Truth,
    network::InstanceId,
    options::{remote, source_of},
    plan::{BROKERS, Class, Micros, Plan},
    world::{World, trace},
};

/// Where the groups of the source stand.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_place: BTreeMap<(String, Place), Stand>,
}

#[derive(Clone, Copy, Debug)]
struct Stand {
    /// What was committed last.
    newest: i64,
    /// The furthest that was ever committed: a group that goes back on the source does not on the
    /// target.
    furthest: i64,
}

/// Asks brokers until one answers without an error: the coordinator.
fn ask_coordinator<R: Request, T>(
    side: &mut ClusterSide,
    now: Micros,
    question: &Question<R>,
    taken: impl Fn(&Answer<R>) -> Option<T>,
) -> Option<T> {
    let version = question.version_max.unwrap_or(*R::VERSIONS.end());
    let running = (0..BROKERS).filter(|broker| side.cluster.is_running(*broker));
    let running: Vec<i32> = running.collect();
    running.into_iter().find_map(|broker| {
        let answer = side.ask(now, broker, &question.request, version)?;
        taken(&answer)
    })
}

impl World {
    /// A group reads on in a partition, or goes back, and commits where it is.
    pub(super) fn read(&mut self, index: usize) {
        let read = self.plan.reads[index];
        let places = self.source_places();
        let place = &places[usize::try_from(read.pick).unwrap() % places.len()];
        let Some(log) = self.source.cluster.log_range(&place.0, place.1) else {
            return;
        };
        let group = format!("g{}", read.group);
        let known = self.groups.by_place.get(&(group.clone(), place.clone()));
        let from = known.map_or(log.start, |stand| stand.newest.max(log.start));
        let reach = |of: i64| of * i64::from(read.per_mille) / 1_000;
        let offset = if read.is_back {
            log.start + reach(from - log.start)
        } else {
            from + reach(log.end - from)
        };
        let furthest = known.map_or(offset, |stand| stand.furthest.max(offset));
        let committed = [CommittedOffset {
            topic: Arc::from(place.0.as_str()),
            partition: place.1,
            offset,
            metadata: String::new(),
        }];
        let question = groups::commit_offsets(&group, &committed);
        let accepted = ask_coordinator(&mut self.source, self.now, &question, |answer| {
            groups::offsets_committed(&answer.decode().ok()?).ok()
        });
        if accepted.is_some() {
            trace!(self, "group {group} is at {offset} of {place:?}");
            let stand = Stand {
                newest: offset,
                furthest,
            };
            self.groups.by_place.insert((group, place.clone()), stand);
        }
    }

    /// What a process says of groups and offsets misses no record.
    pub(super) fn check_told(&mut self, id: InstanceId, action: &Action) {
        let mut wrong = Vec::new();
        match action {
            Action::CommitGroupOffsets(commits) => {
                for (group, offsets) in commits {
                    for it in offsets {
                        let told = (&*it.topic, it.partition, it.offset);
                        wrong.extend(self.beyond(group, told));
                    }
                }
            }
            Action::Publish { records, .. } => {
                for record in records {
                    let value = record.value.as_deref().unwrap_or_default();
                    if let Some(it) = Checkpoint::decode(&record.key, value) {
                        let told = (it.topic.as_str(), it.partition, it.downstream_offset);
                        wrong.extend(self.beyond(&it.group, told));
                    } else if let Some(it) = OffsetSync::decode(&record.key, value) {
                        wrong.extend(self.untrue(&it));
                    }
                }
            }
            _ => {}
        }
        for what in wrong {
            self.checks
                .violation(self.now, &format!("I10: process {id}: {what}"));
        }
    }

    /// Why a group that goes on there would miss something.
    fn beyond(&self, group: &str, (topic, partition, offset): (&str, i32, i64)) -> Option<String> {
        let place: Place = (source_of(topic)?.to_owned(), partition);
        let Some(stand) = self.groups.by_place.get(&(group.to_owned(), place.clone())) else {
            return Some(format!("{group} has read nothing of {place:?}"));
        };
        let bound = self.copies(&place)?.bound(stand.furthest);
        (offset > bound).then(|| {
            let read = stand.furthest;
            format!("{group} has read {place:?} up to {read}, which is {bound}, not {offset}")
        })
    }

    /// What has been copied; where nobody leads there is nothing to look at.
    fn copies(&self, place: &Place) -> Option<Truth> {
        let leader = self.target.cluster.leader(&remote(&place.0), place.1);
        leader.map(|_| Truth::of(self, place, None))
    }

    /// Why somebody who translates by a sync as MM2 does would miss something: a position at it goes
    /// to it, one behind it behind it (`OffsetSyncStore.translateDownstream`).
    fn untrue(&self, sync: &OffsetSync) -> Option<String> {
        let place: Place = (sync.topic.clone(), sync.partition);
        let truth = self.copies(&place)?;
        let (at, behind) = (sync.upstream_offset, sync.upstream_offset + 1);
        let is_beyond = sync.downstream_offset > truth.bound(at)
            || sync.downstream_offset + 1 > truth.bound(behind);
        is_beyond.then(|| {
            let (at, behind) = (truth.bound(at), truth.bound(behind));
            format!("{sync:?}, but that is {at}, and what follows {behind}")
        })
    }

    /// Whether each group has on the target the place that the map tells.
    pub(super) fn are_groups_told(&mut self, id: InstanceId) -> bool {
        let stands: Vec<((String, Place), Stand)> = {
            let stands = self.groups.by_place.iter();
            stands.map(|(at, stand)| (at.clone(), *stand)).collect()
        };
        stands.into_iter().all(|((group, place), stand)| {
            let source = TopicPartition {
                topic: place.0.as_str().into(),
                partition: place.1,
            };
            let translated = self.instances[id].flow.translate(&source, stand.newest);
            let Translated::At(translated) = translated else {
                return true;
            };
            let told = self.told(&group, &place);
            told.is_some_and(|told| told >= translated.target_offset)
        })
    }

    /// Where a group goes on on the target.
    fn told(&mut self, group: &str, place: &Place) -> Option<i64> {
        let asked = [Arc::from(group)];
        let question = groups::fetch_offsets(&asked);
        let found = ask_coordinator(&mut self.target, self.now, &question, |answer| {
            let fetched = groups::fetched_offsets(&answer.decode().ok()?, &asked);
            fetched.into_iter().next()?.1.ok()
        });
        let remote = remote(&place.0);
        let mut found = found?.into_iter();
        let found = found.find(|it| *it.topic == *remote && it.partition == place.1);
        found.map(|it| it.offset)
    }
}

#[test]
fn what_goes_too_far_is_noticed() {
    let mut told = 0;
    for seed in 0..5 {
        let mut world = World::new(Plan::new(Class::Groups, seed), false);
        world.run();
        assert_eq!(world.checks.violations, Vec::<String>::new());
        for ((group, place), stand) in world.groups.by_place.clone() {
            told += usize::from(world.told(&group, &place).is_some());
            let bound = Truth::of(&world, &place, None).bound(stand.furthest);
            let remote = remote(&place.0);
            let beyond = |group: &str, at| world.beyond(group, (&remote, place.1, at));
            assert_eq!(beyond(&group, bound), None);
            assert!(beyond(&group, bound + 1).is_some());
            assert!(beyond("nobody", 0).is_some());
            let end = world.source.end_offset(&place.0, place.1);
            let sync = |downstream_offset| OffsetSync {
                topic: place.0.clone(),
                partition: place.1,
                upstream_offset: end - 1,
                downstream_offset,
            };
            let target_end = world.target.end_offset(&remote, place.1);
            assert_eq!(world.untrue(&sync(target_end - 1)), None);
            assert!(world.untrue(&sync(target_end)).is_some());
        }
    }
    assert!(told > 0, "no group was ever told of");
}
