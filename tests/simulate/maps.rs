//! Whether the map of offsets that a successor would find in the state topic is true: looked at
//! whenever a process dies, and at the end.
//!
//! Truth is what is in both logs: the records of the source that can be read, and their copies. A
//! translation may name no offset behind which a record is missing (I10); it is exact when nothing
//! from before the position is read again.

use std::collections::{BTreeMap, BTreeSet};

use kmirror::{
    flow::{Delivery, LogRange, TopicPartition, Translated, recovery::anchors},
    offsets::{
        exact_map::{ExactMap, MapChunk, Point, TopicIds, Translation},
        state::{self, Anchor, Entry, StateKey},
    },
};

use super::{
    clusters::{ClusterSide, LogRecord, Place},
    options::{STATE_TOPIC, remote},
    oracle::newest_of_keys,
    plan::{Kind, MS, Micros},
    world::World,
};

/// How long a process may take to see and to repair what a late write has done to its state.
const REPAIRED_WITHIN: Micros = 2_000 * MS;

/// What the maps of a run have answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Maps {
    /// Source offsets that were translated.
    pub(super) asked: u64,
    /// Of those, where nothing is missed and nothing read again.
    pub(super) exact: u64,
    /// Of those, below all that the map knew.
    pub(super) unknown: u64,
    /// Translations that need not be exact: a late write of a former process may have hidden the
    /// newest map, and the present one had no time to write it again.
    pub(super) excused: u64,
    /// Translations that would miss records, or that promise too much.
    pub(super) wrong: Vec<String>,
}

impl Maps {
    pub(super) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.exact += other.exact;
        self.unknown += other.unknown;
        self.excused += other.excused;
        self.wrong.extend(other.wrong);
    }

    /// What a successor would find now, of every partition.
    pub(super) fn stored(world: &World) -> Self {
        let mut maps = Self::default();
        // Whether an anchor is true of the source is for the flow to ask, not to be seen here.
        let is_told = world.plan.has(Kind::SourceLoss) || world.plan.has(Kind::Recreate);
        if world.knobs.delivery != Delivery::ExactlyOnce || is_told {
            return maps;
        }
        let entries = entries(&world.target);
        for place in world.source_places() {
            if let Some((map, end)) = successors_map(world, &place, &entries) {
                let truth = Truth::of(world, &place, Some(end));
                let what = format!("stored for {place:?}");
                let range = (truth.start, end.source_offset);
                maps.compare(&truth, range, &what, |at| map.translate(at));
            }
        }
        let since = world.served_late.map(|at| world.now - at);
        if since.is_some_and(|since| since < REPAIRED_WITHIN) {
            maps.excused = maps.asked - maps.exact;
        }
        maps
    }

    /// What the last process says, which has copied everything.
    pub(super) fn told(world: &World) -> Self {
        let mut maps = Self::default();
        let Some(flow) = world.instances.last().map(|it| &it.flow) else {
            return maps;
        };
        for place in world.source_places() {
            let source = TopicPartition {
                topic: place.0.as_str().into(),
                partition: place.1,
            };
            if flow.translate(&source, i64::MAX) == Translated::Unknown || world.is_halted(&place) {
                continue;
            }
            let truth = Truth::of(world, &place, None);
            let range = (truth.start, world.source.end_offset(&place.0, place.1));
            let what = format!("told of {place:?}");
            maps.compare(&truth, range, &what, |at| {
                match flow.translate(&source, at) {
                    Translated::At(translation) => Some(translation),
                    Translated::Below { .. } | Translated::Unknown => None,
                }
            });
        }
        maps
    }

    fn compare(
        &mut self,
        truth: &Truth,
        (from, to): (i64, i64),
        what: &str,
        translate: impl Fn(i64) -> Option<Translation>,
    ) {
        for at in from..to {
            self.asked += 1;
            let Some(found) = translate(at) else {
                self.unknown += 1;
                continue;
            };
            let reread = truth.reread(at, found.target_offset);
            self.exact += u64::from(reread == 0);
            let is_beyond = found.target_offset > truth.bound(at);
            let is_more = truth.is_plain && reread > found.reread_max;
            if (is_beyond || is_more) && self.wrong.len() < 5 {
                self.wrong.push(format!(
                    "I10: {what}: {at} is at {}, not at {found:?}, which reads {reread} again",
                    truth.bound(at)
                ));
            }
        }
    }
}

/// What is in the state topic once it has been compacted.
fn entries(target: &ClusterSide) -> BTreeMap<StateKey, Entry> {
    let count = target.cluster.partition_count(STATE_TOPIC).unwrap_or(0);
    let mut entries = BTreeMap::new();
    for number in 0..i32::try_from(count).unwrap() {
        for record in target.read(STATE_TOPIC, number) {
            let key = record.content.key.as_deref().unwrap_or_default();
            match state::decode(key, record.content.value.as_deref()) {
                Ok((key, Some(entry))) => drop(entries.insert(key, entry)),
                Ok((key, None)) => drop(entries.remove(&key)),
                Err(_) => {}
            }
        }
    }
    entries
}

/// The map up to the newest anchor that is true of the target's log, and where that is.
fn successors_map(
    world: &World,
    place: &Place,
    entries: &BTreeMap<StateKey, Entry>,
) -> Option<(ExactMap, Point)> {
    let of_place = entries.iter().filter(|(key, _)| {
        let other = &key.place;
        *other.topic == *place.0 && other.partition == place.1
    });
    let (mut known, mut chunks): (Vec<&Anchor>, Vec<&MapChunk>) = (Vec::new(), Vec::new());
    for (_, entry) in of_place {
        match entry {
            Entry::Anchor(anchor) => known.push(anchor),
            Entry::Map(chunk) => chunks.push(chunk),
            Entry::Claim(_) | Entry::Owner(_) | Entry::Gap(_) | Entry::Reset(_) => {}
        }
    }
    let remote = remote(&place.0);
    let ids = known
        .first()
        .map(|it| (it.source_topic_id, it.target_topic_id))?;
    let source = range(&world.source, &place.0, place.1)?;
    let target = range(&world.target, &remote, place.1)?;
    let log = world.target.cluster.log_batches(&remote, place.1)?.concat();
    let candidates = anchors::candidates(known.into_iter(), ids, source, target);
    let anchor = candidates.into_iter().find(|anchor| {
        let before = anchor.target_offset.checked_sub(1);
        anchor.previous.is_none()
            || before.and_then(|at| anchors::identity_at(&log, at)) == anchor.previous
    })?;
    let topics = TopicIds {
        source: ids.0,
        target: ids.1,
    };
    let at = Point {
        source_offset: anchor.source_offset,
        target_offset: anchor.target_offset,
    };
    let since = Some(anchor.map_version());
    let mut map = ExactMap::restore(topics, chunks, since, u64::MAX, at);
    // What is beyond is believed only as far as a proof finds it.
    map.resume(at);
    Some((map, at))
}

fn range(side: &ClusterSide, topic: &str, partition: i32) -> Option<LogRange> {
    let range = side.cluster.log_range(topic, partition)?;
    Some(LogRange {
        start_offset: range.start,
        end_offset: range.end,
    })
}

/// A record of the source and its copies.
struct Copied {
    source_offset: i64,
    /// Who reads from behind this misses it.
    last: i64,
    first: i64,
}

/// What the source has that a consumer of the copy must find. Not what was aborted, nor what one
/// replica's cleaner has taken out and another one shows again.
fn wanted(world: &World, place: &Place) -> Vec<LogRecord> {
    let mut live = world.source.read(&place.0, place.1);
    let Some(ledger) = world.workload.ledgers.get(place) else {
        return live;
    };
    let newest = world.plan.is_compacted.then(|| newest_of_keys(ledger));
    let newest = newest.unwrap_or_default();
    live.retain(|record| {
        let content = &record.content;
        let newest = content.key.as_deref().and_then(|key| newest.get(key));
        ledger.get(content).is_none_or(|entry| {
            !entry.is_aborted && newest.is_none_or(|newest| entry.number >= *newest)
        })
    });
    live
}

/// Which records are where.
pub(super) struct Truth {
    /// Where the source's log starts.
    start: i64,
    /// In the order of the source.
    copied: Vec<Copied>,
    /// For each of these, the least `last` of it and all behind it.
    bounds: Vec<i64>,
    target_end: i64,
    /// Every record was copied once at most, and in order.
    is_plain: bool,
}

impl Truth {
    /// With the point at which a successor goes on, if one is to: records from there on that the
    /// target has below, because a late request brought them, are copied again.
    pub(super) fn of(world: &World, place: &Place, goes_on: Option<Point>) -> Self {
        let remote = remote(&place.0);
        let mut copies: BTreeMap<_, Vec<i64>> = BTreeMap::new();
        let target = if world.knobs.delivery == Delivery::Transactional {
            world.target.read_committed((&remote, place.1)).0
        } else {
            world.target.read_ever(&remote, place.1)
        };
        // Nobody misses what is deleted, and nobody reads it again.
        let present = world.target.read(&remote, place.1).into_iter();
        let present: BTreeSet<i64> = present.map(|record| record.offset).collect();
        for record in target {
            copies
                .entry(record.content)
                .or_default()
                .push(record.offset);
        }
        let live = wanted(world, place);
        let mut written: BTreeMap<_, usize> = BTreeMap::new();
        for record in &live {
            *written.entry(&record.content).or_default() += 1;
        }
        let mut seen: BTreeMap<_, usize> = BTreeMap::new();
        let mut copied: Vec<Copied> = Vec::new();
        // Positions alone do not tell twins apart.
        let mut is_plain = !world.plan.has(Kind::StateLoss);
        for record in &live {
            let nth = seen.entry(&record.content).or_default();
            let of = written[&record.content];
            // Of twins the cleaner of one replica may have taken the first, which another shows again.
            is_plain &= of == 1 || !world.plan.is_compacted;
            let at = copies.get(&record.content).map_or(&[][..], Vec::as_slice);
            // The source may have shown fewer of them when it was read: who knows which.
            is_plain &= of == 1 || at.len() >= of || !world.plan.has(Kind::Deletion);
            // Of twins the later one was copied later.
            let spare = at.len().saturating_sub(of);
            let of_this = at.get(*nth..=*nth + spare).unwrap_or_default();
            is_plain &= of_this.len() <= 1;
            let mut left = of_this.iter().filter(|offset| present.contains(offset));
            if let Some(first) = left.next() {
                copied.push(Copied {
                    source_offset: record.offset,
                    first: *first,
                    last: *left.next_back().unwrap_or(first),
                });
            }
            *nth += 1;
        }
        let mut least = i64::MAX;
        let mut bounds: Vec<i64> = Vec::with_capacity(copied.len());
        let comes_again = |record: &Copied| {
            goes_on.is_some_and(|at| {
                record.source_offset >= at.source_offset && record.last < at.target_offset
            })
        };
        for record in copied.iter().rev() {
            if !comes_again(record) {
                least = least.min(record.last);
            }
            bounds.push(least);
        }
        bounds.reverse();
        let in_order = copied.is_sorted_by(|a, b| a.first < b.first);
        Self {
            start: range(&world.source, &place.0, place.1).map_or(0, |range| range.start_offset),
            is_plain: in_order && is_plain,
            bounds,
            target_end: world.target.end_offset(&remote, place.1),
            copied,
        }
    }

    fn before(&self, source_offset: i64) -> usize {
        self.copied
            .partition_point(|record| record.source_offset < source_offset)
    }

    /// Who goes on behind this misses a record.
    pub(super) fn bound(&self, source_offset: i64) -> i64 {
        let bound = self.bounds.get(self.before(source_offset));
        bound.copied().unwrap_or(self.target_end)
    }

    /// How many records from before a position are read again.
    fn reread(&self, source_offset: i64, target_offset: i64) -> i64 {
        let before = self.copied[..self.before(source_offset)].iter();
        let again = before.filter(|record| record.first >= target_offset);
        i64::try_from(again.count()).unwrap()
    }
}
