//! What became of every record, read from the logs of both clusters when a run has ended.

use std::collections::{BTreeMap, BTreeSet};

use kmirror::{
    flow::{Delivery, Notice, PartitionNotice, halt::HaltReason, recovery::decide::NewBecause},
    offsets::state::Entry,
};

use super::{
    clusters::{Content, LogRecord, Place},
    maps::Maps,
    options::{Expected, remote},
    plan::Kind,
    workload::{self, Ledger},
    world::World,
};

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Records that can be read on the source, or were deleted there unnoticed, and are not on the
    /// target.
    pub(super) lost: u64,
    /// Records that are on the target more often than they were written.
    pub(super) duplicates: u64,
    /// Records that came to the target after a later one.
    pub(super) reordered: u64,
    /// Records that were written to the source.
    pub(super) written: u64,
    pub(super) requests: u64,
    pub(super) requests_per_second_max: u32,
    pub(super) held_beyond_max: usize,
    /// Lineages that were opened because the one before could not go on.
    pub(super) lineages: u64,
    /// What the maps of offsets have answered.
    pub(super) maps: Maps,
    /// Copies that the target acknowledged and lost in unclean elections.
    pub(super) acknowledged_lost: u64,
    /// Lineages whose sequence numbers have wrapped on the target.
    pub(super) wraps: u64,
    /// Producer ids that were taken because the epochs of the one before were used up.
    pub(super) epochs_used_up: u64,
    /// See [`World::restarts`].
    pub(super) restarts: u64,
    /// Virtual time, in microseconds.
    pub(super) time: u64,
    /// Of everything that happened.
    pub(super) fingerprint: u64,
    /// What should not be, in words.
    pub(super) failures: Vec<String>,
}

impl Outcome {
    /// Looks at a world whose run has ended.
    pub(super) fn of(world: &World) -> Self {
        let mut outcome = Self {
            requests: world.requests,
            restarts: world.restarts,
            requests_per_second_max: world.checks.requests_max,
            held_beyond_max: world.checks.held_beyond_max,
            time: world.now,
            fingerprint: world.fingerprint(),
            failures: world.checks.violations.clone(),
            acknowledged_lost: world.checks.acknowledged_lost,
            epochs_used_up: epochs_used_up(world),
            ..Self::default()
        };
        outcome.failures.extend(world.checks.stuck.clone());
        outcome.maps = world.maps.clone();
        outcome.maps.add(Maps::stored(world));
        outcome.maps.add(Maps::told(world));
        outcome.failures.append(&mut outcome.maps.wrong);
        let gaps = gaps(world);
        let mut unexplained = 0;
        for place in world.source_places() {
            let (remote, partition) = (remote(&place.0), place.1);
            let target = if world.knobs.delivery == Delivery::Transactional {
                outcome.failures.extend(
                    world
                        .target
                        .hanging_transaction(&(remote.clone(), partition)),
                );
                world.target.read_committed((&remote, partition)).0
            } else {
                world.target.read_ever(&remote, partition)
            };
            outcome.wraps += wraps(&target);
            let before = outcome.duplicates + outcome.reordered;
            outcome.compare(world, &place, &target, &gaps);
            let opened = lineages_opened(world, &place);
            outcome.lineages += opened;
            let repeated = outcome.duplicates + outcome.reordered - before;
            let is_repeated = repeated > 0;
            if opened == 0 || !world.forgetful.contains(&place) {
                unexplained += repeated;
            }
            // Nobody looks at a partition that has halted; a proof counts what came later.
            let is_told =
                opened > 0 || is_repetition_told(world, &place) || world.is_halted(&place);
            // The first copy may have been deleted before the second was written.
            let is_told =
                is_told || world.plan.has(Kind::TargetDeletion) && world.plan.has(Kind::Forget);
            // A broker that has forgotten a producer takes whatever comes late; who writes next is told.
            let is_told =
                is_told || world.plan.has(Kind::Forget) && is_repeated_last(world, &place, &target);
            if is_repeated && !is_told && world.knobs.delivery == Delivery::ExactlyOnce {
                let what = format!("{place:?}: repeated or out of order, and nobody said why");
                outcome.failures.push(what);
            }
            if world.checks.target_losses.is_empty() {
                outcome.check_sequences(world, &place, &target);
            }
        }
        outcome.check_promises(world, unexplained);
        outcome
    }

    /// Holds what came of the run against what the mode of delivery promises.
    fn check_promises(&mut self, world: &World, unexplained: u64) {
        let expected = Expected::of(world.knobs.delivery, &world.plan);
        if expected.no_loss && self.lost > 0 {
            self.failures.push(format!("{} records lost", self.lost));
        }
        if expected.no_duplicates && unexplained > 0 {
            let (duplicates, reordered) = (self.duplicates, self.reordered);
            self.failures
                .push(format!("{duplicates} duplicates, {reordered} out of order"));
        }
        // What nobody lost can be told exactly, whoever died when.
        let Maps {
            asked,
            exact,
            unknown,
            excused,
            ..
        } = self.maps;
        // In transactions a map is not stored: each process knows what it has copied itself. And
        // where the target deletes, the map forgets what is gone there.
        let is_kept =
            world.knobs.delivery == Delivery::ExactlyOnce && !world.plan.has(Kind::TargetDeletion);
        let known = if is_kept { asked } else { asked - unknown };
        let has_duplicates = self.duplicates + self.reordered > 0;
        // Of a map, a successor deletes what one who does not know of it yet is still writing, and
        // a late write may come when nobody is there to write the newer chunk again: the last
        // stretch is told less exactly then.
        let is_disturbed = world.served_late.is_some() || is_superseded(world);
        let blurred_max = if is_disturbed { known / 4 } else { 0 };
        let blurred = (asked - exact - unknown).min(blurred_max);
        if expected.no_duplicates && !has_duplicates && exact + excused + blurred < known {
            let what = format!("{exact} of {asked} translations exact, {unknown} unknown");
            self.failures.push(what);
        }
    }

    fn compare(&mut self, world: &World, place: &Place, target: &[LogRecord], gaps: &Gaps) {
        // What was not reached is not lost.
        let is_reached = world.checks.stuck.is_none() && !world.is_halted(place);
        // Positions in MM2's form name no epoch: they tell nothing of a source that lost its end,
        // was filled again, and whose cleaner took out the record before the position.
        let is_unknowable = world.plan.has(Kind::StateLoss)
            && world.plan.is_compacted
            && world.shortened.contains_key(place);
        let is_reached = is_reached && !is_unknowable;
        let live = world.source.contents(&place.0, place.1);
        let mut copied: BTreeMap<&Content, u64> = BTreeMap::new();
        for record in target {
            *copied.entry(&*record.content).or_default() += 1;
        }
        let reached_of_lost = reached_of_lost(world, place, &copied);
        let is_replaced =
            |entry: &workload::Entry| entry.deleted_at.iter().any(|at| *at < reached_of_lost);
        let Some(ledger) = world.workload.ledgers.get(place) else {
            return;
        };
        let is_recreated = world.recreated.contains(place);
        // With the state lost and nothing copied yet, copying begins where the source's log does.
        let begun_with = ledger
            .iter()
            .filter(|(content, _)| copied.contains_key(content))
            .map(|(_, entry)| entry.number)
            .min()
            .unwrap_or(u64::MAX);
        let is_before = |number| world.plan.has(Kind::StateLoss) && number < begun_with;
        let newest = newest_of_keys(ledger);
        let superseded = |content: &Content, number| {
            let key = content.key.as_deref();
            key.is_some_and(|key| newest.get(key).is_some_and(|newest| *newest > number))
        };
        for (content, entry) in ledger {
            let copies = copied.get(content).copied().unwrap_or(0);
            let written = u64::from(entry.written);
            self.written += written;
            if entry.is_aborted {
                if copies > 0 {
                    self.fail(place, content, "was aborted and is on the target");
                }
                continue;
            }
            self.duplicates += copies.saturating_sub(written);
            let is_deletion_known = !entry.deleted_at.is_empty()
                && (entry.deleted_at.iter().all(|at| gaps.contains(place, *at))
                    || is_before(entry.number));
            let wanted = match live.get(content) {
                // The target would have deleted it by now.
                Some(_) if entry.is_lost_by_target => 0,
                // A leader whose cleaner took it out has led meanwhile, perhaps.
                Some(_) if world.plan.is_compacted && superseded(content, entry.number) => 0,
                // A replica leads now that had not heard of the deletion.
                Some(_) if is_deletion_known || entry.is_deleted_unseen => 0,
                // Of two equal records of one key the cleaner may take out the first.
                Some(_) if world.plan.is_compacted => 1,
                Some(count) => u64::from(*count),
                None if copies > 0 || entry.is_lost_by_source || world.plan.is_compacted => 0,
                None if entry.is_deleted_unseen || is_replaced(entry) => 0,
                None => u64::from(!is_deletion_known),
            };
            if copies < wanted && !is_recreated && is_reached {
                self.lost += wanted - copies;
                if Expected::of(world.knobs.delivery, &world.plan).no_loss {
                    self.fail(place, content, "is lost");
                }
            }
        }
        for content in copied.keys() {
            if !ledger.contains_key(*content) && !world.foreign.contains(*content) {
                self.fail(
                    place,
                    content,
                    "is on the target and was never on the source",
                );
            }
        }
        self.count_reordered(ledger, target);
    }

    fn count_reordered(&mut self, ledger: &Ledger, target: &[LogRecord]) {
        let mut seen = BTreeSet::new();
        let mut newest = 0;
        for record in target {
            if let Some(entry) = ledger.get(&record.content)
                && seen.insert(&record.content)
            {
                self.reordered += u64::from(entry.number < newest);
                newest = newest.max(entry.number);
            }
        }
    }

    /// I3: the records of a producer and epoch follow each other without gap.
    fn check_sequences(&mut self, world: &World, place: &Place, target: &[LogRecord]) {
        // A broker that has forgotten a producer takes whatever comes first (B5).
        if world.plan.has(Kind::Forget) || world.forgetful.contains(place) {
            return;
        }
        let mut last: BTreeMap<(i64, i16), i32> = BTreeMap::new();
        for record in target {
            let producer = record.producer;
            if producer.producer_id < 0 {
                continue;
            }
            let lineage = (producer.producer_id, producer.producer_epoch);
            let expected = last
                .get(&lineage)
                .map(|last| kmirror_protocol::records::sequence_after(*last, 1));
            if expected.is_some_and(|expected| expected != producer.base_sequence) {
                self.failures.push(format!(
                    "I3: {place:?} offset {}: {producer:?} where {expected:?} was due",
                    record.offset
                ));
            }
            last.insert(lineage, producer.base_sequence);
        }
    }

    fn fail(&mut self, place: &Place, content: &Content, what: &str) {
        if self.failures.len() < 20 {
            let (topic, partition) = place;
            self.failures
                .push(format!("{topic}-{partition}: {} {what}", words(content)));
        }
    }
}

/// Whether two processes have owned a partition at the same time, each for all it knew.
fn is_superseded(world: &World) -> bool {
    let mut notices = world.instances.iter().flat_map(|it| &it.notices);
    notices.any(|(_, notice)| {
        let Notice::Partition { notice, .. } = notice else {
            return false;
        };
        matches!(
            notice,
            PartitionNotice::Halted(HaltReason::Superseded { .. })
        )
    })
}

/// The lineages of a log that go on from 0 behind the greatest sequence number.
fn wraps(target: &[LogRecord]) -> u64 {
    const MIDDLE: i32 = 1 << 30;
    let mut halves: BTreeMap<(i64, i16), [bool; 2]> = BTreeMap::new();
    let producers = target.iter().map(|record| record.producer);
    for producer in producers.filter(|producer| producer.producer_id >= 0) {
        let lineage = (producer.producer_id, producer.producer_epoch);
        let half = usize::from(producer.base_sequence >= MIDDLE);
        halves.entry(lineage).or_default()[half] = true;
    }
    let wrapped = halves.values().filter(|halves| **halves == [true, true]);
    u64::try_from(wrapped.count()).unwrap_or(u64::MAX)
}

fn epochs_used_up(world: &World) -> u64 {
    let entries = world
        .target
        .state_records()
        .filter(|_| world.plan.past.is_some());
    let renewed = entries.filter(|(_, entry)| matches!(entry, Entry::Claim(it) if it.number > 0));
    u64::try_from(renewed.count()).unwrap_or(u64::MAX)
}

/// The number of the last record of each key.
pub(super) fn newest_of_keys(ledger: &Ledger) -> BTreeMap<&[u8], u64> {
    let mut newest = BTreeMap::new();
    for (content, entry) in ledger {
        if let Some(key) = content.key.as_deref() {
            let number = newest.entry(key).or_default();
            *number = entry.number.max(*number);
        }
    }
    newest
}

fn words(content: &Content) -> String {
    let text = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_deref().unwrap_or(b"null");
        String::from_utf8_lossy(bytes).into_owned()
    };
    format!(
        "record {:?} = {:?}",
        text(&content.key),
        text(&content.value)
    )
}

/// Whether a process said that the target has taken a batch once more, or before an earlier one.
fn is_repetition_told(world: &World, place: &Place) -> bool {
    let notices = world.instances.iter().flat_map(|it| &it.notices);
    let mut told = notices.filter_map(|(_, notice)| match notice {
        Notice::Partition {
            source,
            notice:
                PartitionNotice::StoredElsewhere {
                    base_offset,
                    expected,
                },
            ..
        } if base_offset != expected => Some(source),
        Notice::Partition {
            source,
            notice:
                PartitionNotice::LineageContinued {
                    unmatched_records: 1..,
                    ..
                },
            ..
        } => Some(source),
        _ => None,
    });
    told.any(|source| source.partition == place.1 && *source.topic == *place.0)
}

/// Whether nothing new has been written behind what is there once more.
fn is_repeated_last(world: &World, place: &Place, target: &[LogRecord]) -> bool {
    let ledger = world.workload.ledgers.get(place);
    let written = |content| ledger.and_then(|ledger| Some(ledger.get(content)?.written));
    let mut seen: BTreeMap<&Content, u64> = BTreeMap::new();
    let is_new = target.iter().map(|record| {
        let count = seen.entry(&record.content).or_default();
        *count += 1;
        *count <= written(&*record.content).map_or(1, u64::from)
    });
    let is_new: Vec<bool> = is_new.collect();
    let repeated = is_new.iter().position(|is_new| !is_new);
    repeated.is_none_or(|at| !is_new[at..].contains(&true))
}

fn lineages_opened(world: &World, place: &Place) -> u64 {
    let notices = world.instances.iter().flat_map(|it| &it.notices);
    let opened = notices.filter_map(|(_, notice)| match notice {
        Notice::Partition {
            source,
            notice: PartitionNotice::LineageOpened { because, .. },
            ..
        } if source.partition == place.1 && *source.topic == *place.0 => Some(*because),
        _ => None,
    });
    let (firsts, others): (Vec<_>, Vec<_>) = opened
        // One that is opened behind acknowledged records repeats nothing.
        .filter(|because| *because != NewBecause::SourceLed)
        .partition(|because| *because == NewBecause::First);
    // Nor does the first of all; another first one follows when all state is lost.
    let is_first = usize::from(world.plan.past.is_none());
    let again = firsts.len().saturating_sub(is_first) + others.len();
    u64::try_from(again).unwrap_or(u64::MAX)
}

/// Up to which source offset nothing was known when copying began anew: the state was lost, no
/// position had been stored, and the target had deleted all copies.
fn begun_anew_at(world: &World, place: &Place) -> i64 {
    let is_forgotten = world.plan.has(Kind::StateLoss) && world.plan.has(Kind::TargetDeletion);
    let notices = world.instances.iter().flat_map(|it| &it.notices);
    let begun = notices.filter_map(|(_, notice)| match notice {
        Notice::Partition {
            source,
            notice:
                PartitionNotice::LineageOpened {
                    because: NewBecause::First,
                    source_offset,
                    ..
                },
            ..
        } if source.partition == place.1 && *source.topic == *place.0 => Some(*source_offset),
        _ => None,
    });
    begun.filter(|_| is_forgotten).max().unwrap_or(0)
}

/// What is known to be missing.
struct Gaps(BTreeMap<Place, Vec<(i64, i64)>>);

impl Gaps {
    fn contains(&self, place: &Place, offset: i64) -> bool {
        let ranges = self.0.get(place).into_iter().flatten();
        ranges
            .into_iter()
            .any(|(from, to)| (*from..*to).contains(&offset))
    }
}

/// Where each partition was first begun: what the source deleted before that was never to be copied.
fn first_starts(world: &World) -> BTreeMap<Place, i64> {
    let told = world.instances.iter().flat_map(|it| &it.notices);
    let mut opened: Vec<_> = told
        .filter_map(|(at, notice)| match notice {
            Notice::Partition {
                source,
                notice: PartitionNotice::LineageOpened { source_offset, .. },
                ..
            } => Some((
                *at,
                (source.topic.to_string(), source.partition),
                *source_offset,
            )),
            _ => None,
        })
        .collect();
    opened.sort();
    let mut starts = BTreeMap::new();
    for (_, place, start) in opened {
        starts.entry(place).or_insert(start);
    }
    starts
}

/// What is missing: as the operator was told, or for this mode as it was recorded (I9).
fn gaps(world: &World) -> Gaps {
    let mut gaps: BTreeMap<Place, Vec<(i64, i64)>> = BTreeMap::new();
    if world.knobs.delivery == Delivery::ExactlyOnce {
        for (place, entry) in world.target.state_records() {
            let ranges = gaps.entry(place).or_default();
            match entry {
                Entry::Gap(gap) => ranges.push((gap.from_offset, gap.to_offset)),
                // Without state, and with nothing on the target, it was the first start.
                Entry::Anchor(first) if first.target_offset == 0 => {
                    ranges.push((0, first.source_offset));
                }
                _ => {}
            }
        }
        let first_starts = match world.plan.past {
            None => first_starts(world),
            Some(_) => BTreeMap::new(),
        };
        for (place, start) in first_starts {
            gaps.entry(place).or_default().push((0, start));
        }
        if !world.plan.has(Kind::StateLoss) {
            return Gaps(gaps);
        }
        for place in world.source_places() {
            let start = begun_anew_at(world, &place);
            gaps.entry(place).or_default().push((0, start));
        }
    }
    let notices = world.instances.iter().flat_map(|it| &it.notices);
    for (_, notice) in notices {
        if let Notice::Partition {
            source,
            notice:
                PartitionNotice::Gap {
                    from_offset,
                    to_offset,
                    ..
                },
            ..
        } = notice
        {
            let place = (source.topic.to_string(), source.partition);
            gaps.entry(place)
                .or_default()
                .push((*from_offset, *to_offset));
        }
    }
    Gaps(gaps)
}

/// Up to where a branch that the source has lost was copied, when what came in its place was
/// deleted before it was seen: nobody can know that there was anything else. A process that was
/// frozen may copy the lost branch later than that.
fn reached_of_lost(world: &World, place: &Place, copied: &BTreeMap<&Content, u64>) -> i64 {
    let branches = world.shortened.get(place).into_iter().flatten();
    let lost = branches.filter(|it| it.is_branch_deleted);
    let lost = lost.flat_map(|it| &it.lost);
    let copied = lost.filter(|(_, content)| copied.contains_key(&**content));
    copied.map(|(offset, _)| offset + 1).max().unwrap_or(0)
}
