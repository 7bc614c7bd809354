use kmirror_protocol::wire::Uuid;
use proptest::{collection::vec, prelude::*};

use super::*;

const TOPICS: TopicIds = TopicIds {
    source: Uuid([1; 16]),
    target: Uuid([2; 16]),
};

fn point(source_offset: i64, target_offset: i64) -> Point {
    Point {
        source_offset,
        target_offset,
    }
}

fn map_at(source_offset: i64, target_offset: i64) -> ExactMap {
    ExactMap::new(TOPICS, 1, point(source_offset, target_offset))
}

/// The map that a process of the same generation finds, when nothing is proven beyond `at`.
fn load(topics: TopicIds, stored: &Stored, at: Point) -> ExactMap {
    let since = MapVersion::default();
    let mut map = ExactMap::restore(topics, stored.values(), Some(since), 1, at);
    map.resume(at);
    map
}

fn exact(target_offset: i64) -> Option<Translation> {
    within(target_offset, 0)
}

fn within(target_offset: i64, reread_max: i64) -> Option<Translation> {
    Some(Translation {
        target_offset,
        reread_max,
    })
}

fn run_count(map: &ExactMap) -> usize {
    map.chunks.iter().map(|chunk| chunk.runs.len()).sum()
}

/// Everything that is stored.
type Stored = BTreeMap<ChunkKey, MapChunk>;

/// Stores what has changed; how many records that takes.
fn store(map: &mut ExactMap, stored: &mut Stored) -> usize {
    let (chunks, obsolete) = map.changes();
    let count = chunks.len() + obsolete.len();
    stored.extend(chunks.into_iter().map(|chunk| (chunk.key(), chunk)));
    stored.retain(|key, _| !obsolete.contains(key));
    count
}

#[test]
fn batches_without_holes_are_one_exact_run() {
    let mut map = map_at(100, 20);
    for batch in 0..1000 {
        map.acknowledged(100 + 50 * batch, 150 + 50 * batch, 20 + 50 * batch, 50);
    }
    assert_eq!(run_count(&map), 1);
    for source in [100, 101, 149, 150, 7_777, 50_099] {
        assert_eq!(map.translate(source), exact(source - 80), "{source}");
    }
    assert_eq!(map.translate(99), None);
    assert_eq!(map.translate(50_100), exact(50_020));
    assert_eq!(map.translate(50_107), within(50_020, 7));
}

#[test]
fn holes_between_batches_belong_to_the_batch_behind_them() {
    let mut map = map_at(0, 0);
    map.acknowledged(5, 10, 0, 5);
    // A marker on the source, two foreign records on the target.
    map.acknowledged(11, 13, 7, 2);
    let expected = [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 7, 7, 8, 9];
    for (source, target) in (0..).zip(expected) {
        assert_eq!(map.translate(source), exact(target), "{source}");
    }
}

#[test]
fn what_is_passed_without_records_is_not_read_again() {
    let mut map = map_at(0, 0);
    map.acknowledged(0, 10, 0, 10);
    assert_eq!(map.translate(12), within(10, 2));
    map.passed(12);
    assert_eq!(map.translate(12), exact(10));
    map.passed(11);
    map.acknowledged(12, 14, 10, 2);
    assert_eq!(map.translate(11), exact(10));
    assert_eq!(map.translate(13), exact(11));
}

#[test]
fn in_a_batch_with_holes_only_its_ends_are_exact() {
    let mut map = map_at(0, 0);
    // Three records somewhere in ten offsets.
    map.acknowledged(100, 110, 50, 3);
    let cases = [
        (100, exact(50)),
        (101, within(50, 1)),
        (103, within(50, 3)),
        (107, within(50, 3)),
        (108, within(51, 2)),
        (109, within(52, 1)),
        (110, exact(53)),
    ];
    for (source, expected) in cases {
        assert_eq!(map.translate(source), expected, "{source}");
    }
}

#[test]
fn where_nothing_has_been_copied_yet_is_stored_too() {
    let mut map = map_at(10, 5);
    map.passed(13);
    let mut stored = Stored::new();
    store(&mut map, &mut stored);
    let mut loaded = load(TOPICS, &stored, point(13, 5));
    loaded.forget_below(5);
    assert_eq!(loaded.translate(11), exact(5));
    // Whether the map itself goes on or what was found of it.
    for mut map in [map, loaded] {
        map.acknowledged(14, 16, 5, 2);
        let expected = [(10, 5), (13, 5), (14, 5), (15, 6), (16, 7)];
        for (source, target) in expected {
            assert_eq!(map.translate(source), exact(target), "{source}");
        }
        map.forget_below(6);
        assert_eq!(map.translate(12), exact(5), "the chunk goes as a whole");
    }
}

#[test]
fn a_target_that_lost_its_tail_is_followed_back() {
    let mut map = map_at(0, 0);
    map.acknowledged(0, 10, 0, 10);
    map.acknowledged(20, 30, 15, 10);
    map.forget_from(18);
    assert_eq!(map.translate(22), exact(17));
    assert_eq!(map.translate(23), exact(18));
    assert_eq!(map.translate(29), within(18, 6));
    // The record that was lost comes again, behind a foreign one.
    map.acknowledged(23, 30, 19, 7);
    assert_eq!(map.translate(22), exact(17));
    assert_eq!(map.translate(23), exact(19));
    map.forget_from(0);
    assert_eq!(map.translate(5), within(0, 5));
    assert_eq!(run_count(&map), 0);
}

#[test]
fn a_batch_that_goes_back_replaces_what_was_known_from_there_on() {
    let mut map = map_at(0, 0);
    map.acknowledged(0, 10, 0, 10);
    map.acknowledged(10, 20, 10, 10);
    // On the source: a doubtful part was copied again.
    map.acknowledged(15, 25, 20, 10);
    assert_eq!(map.translate(14), exact(14));
    assert_eq!(map.translate(15), exact(20));
    assert_eq!(map.translate(24), exact(29));
    // On the target: what was at offset 18 and after it is gone.
    map.acknowledged(30, 31, 18, 1);
    assert_eq!(map.translate(15), exact(18));
    assert_eq!(map.translate(31), exact(19));
    // To before everything.
    map.acknowledged(0, 5, 19, 5);
    assert_eq!(map.translate(4), exact(23));
    assert_eq!(map.translate(31), within(24, 26));
}

#[test]
fn what_was_copied_unseen_is_known_to_be_between() {
    let mut map = map_at(0, 0);
    map.acknowledged(0, 10, 0, 10);
    map.resume(point(30, 25));
    map.acknowledged(30, 40, 25, 10);
    assert_eq!(map.translate(9), exact(9));
    assert_eq!(map.translate(10), exact(10));
    assert_eq!(map.translate(29), within(10, 15));
    assert_eq!(map.translate(30), exact(25));
    // Nothing was copied, or nothing of the source.
    map.resume(point(50, 35));
    map.resume(point(50, 36));
    map.acknowledged(50, 51, 36, 1);
    assert_eq!(map.translate(40), exact(36));
    assert_eq!(map.translate(45), exact(36));
}

#[test]
fn foreign_records_inside_merged_runs_do_not_hide_what_is_read_again() {
    let older = Run::of_batch(0, 1, 0, 1).unwrap();
    let newer = Run::of_batch(1, 3, 5, 2).unwrap();
    let merged = older.merged_with(&newer);
    // The records are at 0, 5 and 6.
    assert_eq!(Some(merged.translate(0)), exact(0));
    assert_eq!(Some(merged.translate(1)), within(1, 1));
    assert_eq!(Some(merged.translate(2)), within(2, 2));
}

#[test]
fn impossible_batches_are_not_believed_and_neither_is_what_came_before() {
    let impossible = [
        (10, 10, 10, 1),
        (10, 9, 10, 1),
        (-1, 9, 10, 1),
        (10, 12, -1, 1),
        (10, 12, 10, 0),
        (10, 12, 10, -1),
        (10, 12, 10, 3),
        (10, i64::MAX, i64::MAX, 1),
        (i64::MIN, i64::MAX, i64::MIN, i32::MIN),
    ];
    for (source_first, source_next, target_base, count) in impossible {
        let mut map = map_at(0, 0);
        map.acknowledged(0, 10, 0, 10);
        map.acknowledged(source_first, source_next, target_base, count);
        assert_eq!(map.translate(9), None);
        map.acknowledged(i64::MAX - 1, i64::MAX, 20, 1);
        assert_eq!(map.translate(i64::MAX - 1), exact(20));
        assert_eq!(map.translate(i64::MAX), exact(21));
    }
}

/// A flow whose every batch of nine records is followed by a marker.
fn acknowledge_transactions(map: &mut ExactMap, numbers: std::ops::Range<i64>) {
    for number in numbers {
        map.acknowledged(10 * number, 10 * number + 9, 9 * number, 9);
    }
}

#[test]
fn the_newest_runs_stay_exact_and_older_ones_within_two_percent_of_their_distance() {
    let mut map = map_at(0, 0);
    let count = 10_000;
    acknowledge_transactions(&mut map, 0..count);
    assert!(run_count(&map) <= 512);
    for number in 0..count {
        for within in 0..10 {
            let image = 9 * number + within;
            let found = map.translate(10 * number + within).unwrap();
            let off = image - found.target_offset;
            assert!((0..=found.reread_max).contains(&off), "{number}");
            if count - number <= 256 {
                assert_eq!((off, found.reread_max), (0, 0), "{number}");
            }
            assert!(off * 50 <= 9 * (count - number), "{number}: {off}");
        }
    }
}

#[test]
fn a_map_has_a_bound_in_memory_and_in_each_stored_chunk() {
    let mut map = map_at(0, 0);
    acknowledge_transactions(&mut map, 0..200_000);
    assert_eq!(map.chunks.len(), usize::from(CHUNKS_MAX));
    let runs = map.chunks.iter().map(|chunk| chunk.runs.capacity());
    let bytes = runs.sum::<usize>() * size_of::<Run>()
        + map.chunks.capacity() * size_of::<Chunk>()
        + size_of::<ExactMap>();
    assert!(bytes <= MAP_BYTES_MAX, "{bytes}");
}

#[test]
fn what_did_not_change_is_not_stored_again() {
    let mut map = map_at(0, 0);
    let mut stored = Stored::new();
    assert_eq!(store(&mut map, &mut stored), 0);
    let mut written = 0;
    let count = 20_000;
    for number in 0..count {
        acknowledge_transactions(&mut map, number..number + 1);
        written += store(&mut map, &mut stored);
        assert_eq!(store(&mut map, &mut stored), 0);
    }
    // Besides the one that grows, each full chunk pays for one merge.
    assert!(written <= 20_000 + 20_000 / CHUNK_RUNS_MAX, "{written}");
    let loaded = load(TOPICS, &stored, map.end);
    for source in 0..10 * count {
        assert_eq!(loaded.translate(source), map.translate(source));
    }
}

#[test]
fn a_cut_stores_what_remains_under_new_keys_and_deletes_the_others() {
    let mut map = map_at(0, 0);
    acknowledge_transactions(&mut map, 0..100);
    let mut stored = Stored::new();
    store(&mut map, &mut stored);
    assert_eq!(stored.len(), 4);
    let before = map.version();
    map.forget_from(9 * 50);
    assert!(map.version() > before);
    let (chunks, obsolete) = map.changes();
    assert!(obsolete.iter().eq(stored.keys()));
    // Until all of it is stored, everything of before is there.
    let part = chunks.last().unwrap().clone();
    let mut partly = stored.clone();
    partly.insert(part.key(), part);
    let anchor = point(10 * 40, 9 * 40);
    let loaded = ExactMap::restore(TOPICS, partly.values(), Some(before), 1, anchor);
    assert_eq!(loaded.translate(10 * 10), exact(9 * 10));
    assert_eq!(loaded.obsolete.len(), 5);
    // An anchor of afterwards does not believe what was before.
    let after = Some(map.version());
    let anchor = point(10 * 50, 9 * 50);
    let loaded = ExactMap::restore(TOPICS, stored.values(), after, 1, anchor);
    assert_eq!(loaded.known_from(), 10 * 50);
    stored.extend(chunks.into_iter().map(|chunk| (chunk.key(), chunk)));
    let loaded = ExactMap::restore(TOPICS, stored.values(), after, 1, anchor);
    assert_eq!(loaded.translate(10 * 10), exact(9 * 10));
}

#[test]
fn what_a_former_owner_writes_late_spoils_nothing() {
    let mut former = map_at(0, 0);
    acknowledge_transactions(&mut former, 0..10);
    let mut stored = Stored::new();
    store(&mut former, &mut stored);
    let anchor = former.end();
    let mut map = ExactMap::restore(TOPICS, stored.values(), Some(former.version()), 2, anchor);
    map.resume(point(10 * 5, 9 * 5));
    map.acknowledged(50, 60, 45, 10);
    store(&mut map, &mut stored);
    assert!(stored.keys().all(|key| key.version == map.version()));
    acknowledge_transactions(&mut former, 10..20);
    store(&mut former, &mut stored);
    let (since, anchor) = (Some(map.version()), map.end());
    let loaded = ExactMap::restore(TOPICS, stored.values(), since, 3, anchor);
    assert_eq!(loaded.translate(55), exact(50));
    assert_eq!(loaded.translate(15), exact(14));
    assert!(loaded.obsolete.iter().eq(stored.keys()));
}

#[test]
fn what_a_proof_finds_changes_only_what_the_map_said_otherwise() {
    let mut map = map_at(0, 0);
    map.acknowledged(0, 10, 0, 10);
    map.acknowledged(10, 20, 10, 10);
    map.acknowledged(25, 30, 20, 5);
    let _ = map.changes();
    let run = |first, next, base| Run::of_batch(first, next, base, 5).unwrap();
    for known in [run(5, 10, 5), run(8, 13, 8), run(25, 30, 20)] {
        map.proven(known.start(), &known);
    }
    assert_eq!(map.changes(), (Vec::new(), BTreeSet::new()));
    // The record is at another place: what was stored is not true any more.
    map.proven(point(20, 20), &run(25, 30, 22));
    assert_eq!(map.translate(9), exact(9));
    assert_eq!(map.translate(25), exact(22));
    assert_eq!(map.changes().1.len(), 1);
    map.proven(point(30, 27), &run(30, 35, 27));
    assert_eq!(map.translate(34), exact(31));
    // What the map says to be between is not on the target any more.
    map.proven(point(5, 5), &run(15, 20, 15));
    assert_eq!(map.translate(8), exact(15));
}

#[test]
fn a_count_of_cuts_that_is_used_up_stays() {
    let mut map = map_at(0, 0);
    acknowledge_transactions(&mut map, 0..2);
    let mut chunk = map.changes().0.pop().unwrap();
    chunk.version.cut_count = u64::MAX;
    let mut map = load(TOPICS, &Stored::from([(chunk.key(), chunk)]), map.end);
    map.forget_from(9);
    assert_eq!(map.translate(10), within(9, 1));
}

#[test]
fn chunks_that_do_not_join_are_not_believed() {
    let mut map = map_at(0, 0);
    acknowledge_transactions(&mut map, 0..100);
    let mut stored = Stored::new();
    store(&mut map, &mut stored);
    let load = |stored: &Stored, topics| load(topics, stored, point(1000, 900));
    let known_from = ExactMap::known_from;
    let key = |chunk| ChunkKey {
        version: map.version,
        chunk,
    };
    assert_eq!(known_from(&load(&stored, TOPICS)), 0);

    let mut lost = stored.clone();
    lost.remove(&key(1));
    assert_eq!(known_from(&load(&lost, TOPICS)), 10 * 64 - 1);

    let mut damaged = stored.clone();
    damaged.get_mut(&key(1)).unwrap().runs[3].count = 11;
    assert_eq!(known_from(&load(&damaged, TOPICS)), 10 * 64 - 1);

    // An older version of a chunk, from before it was full.
    let mut old = stored.clone();
    old.get_mut(&key(2)).unwrap().runs.pop();
    assert_eq!(known_from(&load(&old, TOPICS)), 10 * 96 - 1);

    let mut other = TOPICS;
    other.source = Uuid([9; 16]);
    let anew = load(&stored, other);
    assert_eq!(known_from(&anew), 1000);
    assert_eq!(anew.obsolete.len(), 4);
    other.source = Uuid::ZERO;
    assert_eq!(known_from(&load(&stored, other)), 0, "ids are not told");
}

#[test]
fn a_map_forgets_chunks_below_the_start_of_the_targets_log() {
    let mut map = map_at(0, 0);
    acknowledge_transactions(&mut map, 0..100);
    let mut stored = Stored::new();
    store(&mut map, &mut stored);
    map.forget_below(9 * 32 - 1);
    assert_eq!(map.translate(0), exact(0));
    map.forget_below(9 * 40);
    assert_eq!(map.translate(10 * 32 - 2), None);
    assert_eq!(map.translate(10 * 32), exact(9 * 32));
    assert_eq!(store(&mut map, &mut stored), 1);
    assert_eq!(stored.len(), 3);
    map.forget_below(9 * 100);
    assert_eq!(map.translate(10 * 99), None);
    assert_eq!(map.translate(10 * 100), within(900, 1));
}

#[test]
fn a_map_can_begin_anew_and_be_stored_anew() {
    let mut map = map_at(0, 0);
    acknowledge_transactions(&mut map, 0..100);
    let mut stored = Stored::new();
    store(&mut map, &mut stored);
    map.store_anew();
    assert_eq!(store(&mut map, &mut Stored::new()), 4);
    let mut anew = ExactMap::restore(TOPICS, stored.values(), None, 1, point(0, 900));
    anew.supersede(&map);
    anew.acknowledged(0, 10, 900, 10);
    store(&mut anew, &mut stored);
    assert_eq!(stored.len(), 1);
    assert_eq!(anew.translate(5), exact(905));
    assert_eq!(load(TOPICS, &stored, anew.end).translate(5), exact(905));
}

#[test]
fn a_map_that_a_later_owner_goes_on_with_is_stored_under_its_name() {
    let mut map = map_at(0, 0);
    map.acknowledged(0, 10, 0, 10);
    let mut stored = Stored::new();
    store(&mut map, &mut stored);
    let (former, at) = (map.version(), map.end);
    // What the later owner finds is the same, and is not taken in place of what it knows.
    let found = ExactMap::restore(TOPICS, stored.values(), Some(former), 7, at);
    map.pass_to(found);
    store(&mut map, &mut stored);
    assert_eq!(map.version().generation, 7);
    let versions: Vec<_> = stored.values().map(|chunk| chunk.version).collect();
    assert_eq!(versions, [map.version()], "and no more under the former");
    let again = ExactMap::restore(TOPICS, stored.values(), Some(map.version()), 8, at);
    assert_eq!(again.translate(5), exact(5));
}

/// What really happened: records in the order of their copying, and both ends.
#[derive(Clone, Debug, Default)]
struct Truth {
    /// Source and target offset of every record that counts.
    pairs: Vec<(i64, i64)>,
    /// Where copying goes on.
    position: i64,
    /// The end of the target's log.
    target_end: i64,
}

impl Truth {
    /// How many records are before a source offset.
    fn count_before(&self, source_offset: i64) -> usize {
        self.pairs
            .partition_point(|(source, _)| *source < source_offset)
    }

    /// Where the first record at or after a source offset is, or will be at the earliest.
    fn image(&self, source_offset: i64) -> i64 {
        let behind = self.pairs.get(self.count_before(source_offset));
        behind.map_or(self.target_end, |(_, target)| *target)
    }

    /// How many records from before a source offset follow a target offset.
    fn reread(&self, source_offset: i64, target_offset: i64) -> i64 {
        let below = self
            .pairs
            .partition_point(|(_, target)| *target < target_offset);
        let reread = self.count_before(source_offset).saturating_sub(below);
        i64::try_from(reread).unwrap()
    }

    /// Copies a batch whose records are where `is_present` says, behind foreign records.
    fn copy(&mut self, is_present: &[bool], foreign: i64) -> Option<(i64, i64, i64, i32)> {
        self.target_end += foreign;
        let (first, base) = (self.position, self.target_end);
        for is_present in is_present {
            if *is_present {
                self.pairs.push((self.position, self.target_end));
                self.target_end += 1;
            }
            self.position += 1;
        }
        let count = i32::try_from(self.target_end - base).unwrap();
        (count > 0).then_some((first, self.position, base, count))
    }

    fn lose_from(&mut self, target: i64) {
        self.pairs.retain(|(_, copied)| *copied < target);
        self.target_end = self.target_end.min(target);
        let last = self.pairs.last().map_or(0, |(source, _)| source + 1);
        self.position = self.position.min(last);
    }

    fn go_back(&mut self, source: i64) {
        self.pairs.retain(|(copied, _)| *copied < source);
        self.position = self.position.min(source);
    }
}

/// What may happen to a flow.
#[derive(Clone, Debug)]
enum Step {
    Copy {
        is_present: Vec<bool>,
        foreign: i64,
    },
    /// So many batches without holes, each behind a hole of one offset.
    CopyMany {
        batches: u8,
        len: u8,
    },
    Hole(i64),
    /// The target loses so many offsets, and tells at once or only by what comes next.
    Lose {
        len: i64,
        is_told: bool,
    },
    GoBack(i64),
    ForgetBelow(i64),
    Store,
    /// Stores only so many of the changes, and deletes nothing.
    StoreSome(u8),
    /// A new process; one of the stored chunks may be lost to it.
    Restart {
        lost: Option<u8>,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (vec(any::<bool>(), 1..12), 0..3_i64)
            .prop_map(|(is_present, foreign)| Step::Copy { is_present, foreign }),
        8 => (1..20_usize, 0..2_i64)
            .prop_map(|(len, foreign)| Step::Copy { is_present: vec![true; len], foreign }),
        3 => (1..=255_u8, 1..4_u8).prop_map(|(batches, len)| Step::CopyMany { batches, len }),
        2 => (1..10_i64).prop_map(Step::Hole),
        1 => (1..60_i64, any::<bool>()).prop_map(|(len, is_told)| Step::Lose { len, is_told }),
        1 => (1..60_i64).prop_map(Step::GoBack),
        1 => (0..200_i64).prop_map(Step::ForgetBelow),
        2 => Just(Step::Store),
        1 => (0..4_u8).prop_map(Step::StoreSome),
        1 => prop::option::of(0..CHUNKS_MAX).prop_map(|lost| Step::Restart { lost }),
    ]
}

/// A flow, its map, and what of the map is stored.
struct World {
    truth: Truth,
    map: ExactMap,
    generation: u64,
    stored: Stored,
    /// What is still to be deleted.
    obsolete: BTreeSet<ChunkKey>,
    /// True points up to which a map was stored, and its version.
    anchors: Vec<(Point, MapVersion)>,
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Copy {
                is_present,
                foreign,
            } => self.copy(&is_present, foreign),
            Step::CopyMany { batches, len } => {
                for _ in 0..batches {
                    self.truth.position += 1;
                    self.copy(&vec![true; usize::from(len)], 0);
                }
            }
            Step::Hole(len) => {
                self.truth.position += len;
                self.map.passed(self.truth.position);
            }
            Step::Lose { len, is_told } => self.lose(len, is_told),
            Step::GoBack(len) => {
                let source = (self.truth.position - len).max(0);
                self.truth.go_back(source);
                // Told by the next batch, or else by a proof.
                self.map.resume(self.end());
                self.forget_anchors();
            }
            Step::ForgetBelow(target) => self.map.forget_below(target),
            Step::Store => {
                self.store_some(usize::MAX);
                for key in std::mem::take(&mut self.obsolete) {
                    self.stored.remove(&key);
                }
                self.anchors.push((self.end(), self.map.version()));
            }
            Step::StoreSome(count) => {
                self.store_some(count.into());
                self.map.store_anew();
            }
            Step::Restart { lost } => {
                if let Some(place) = lost {
                    self.stored.retain(|key, _| key.chunk != place);
                }
                self.restart();
            }
        }
    }

    fn store_some(&mut self, count: usize) {
        let (chunks, obsolete) = self.map.changes();
        self.obsolete.extend(obsolete);
        for chunk in chunks.into_iter().take(count) {
            self.obsolete.remove(&chunk.key());
            self.stored.insert(chunk.key(), chunk);
        }
    }

    /// Another process goes on from the newest anchor, and proves what came after it.
    fn restart(&mut self) {
        self.generation += 1;
        let anchor = self.anchors.last().copied();
        let (at, since) = anchor.unwrap_or_else(|| (point(0, 0), MapVersion::default()));
        let stored = self.stored.values();
        self.map = ExactMap::restore(TOPICS, stored, Some(since), self.generation, at);
        self.obsolete.clear();
        let first = self.truth.count_before(at.source_offset);
        let mut from = at;
        for (source, target) in self.truth.pairs.iter().skip(first) {
            let run = Run::of_batch(*source, source + 1, *target, 1).unwrap();
            self.map.proven(from, &run);
            from = run.end();
        }
        self.map.resume(from);
        self.map.passed(self.truth.position);
        self.map.resume(self.end());
    }

    /// Forgets those that are not true any more.
    fn forget_anchors(&mut self) {
        let end = self.end();
        self.anchors.retain(|(at, _)| {
            at.source_offset <= end.source_offset && at.target_offset <= end.target_offset
        });
    }

    fn copy(&mut self, is_present: &[bool], foreign: i64) {
        match self.truth.copy(is_present, foreign) {
            Some((first, next, base, count)) => self.map.acknowledged(first, next, base, count),
            None => self.map.passed(self.truth.position),
        }
    }

    fn lose(&mut self, len: i64, is_told: bool) {
        let target = (self.truth.target_end - len).max(0);
        self.truth.lose_from(target);
        if is_told {
            self.map.forget_from(target);
        }
        self.map.resume(self.end());
        self.forget_anchors();
    }

    fn end(&self) -> Point {
        point(self.truth.position, self.truth.target_end)
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let position = self.truth.position;
        let mut before = None;
        for source in (0..position + 5).step_by(1 + usize::try_from(position).unwrap() / 300) {
            let Some(found) = self.map.translate(source) else {
                prop_assert_eq!(before, None, "{} is unknown", source);
                continue;
            };
            let image = self.truth.image(source);
            prop_assert!(found.target_offset <= image, "{source}: {found:?}, {image}");
            prop_assert!(before.is_none_or(|before| before <= found.target_offset));
            before = Some(found.target_offset);
            let reread = self.truth.reread(source, found.target_offset);
            prop_assert!(reread <= found.reread_max, "{source}: {found:?}, {reread}");
        }
        for chunk in &self.map.chunks {
            let runs = chunk.runs.iter().filter(|run| run.is_dense());
            for run in runs {
                let image = self.truth.image(run.source_first);
                prop_assert_eq!(self.map.translate(run.source_first), exact(image));
            }
        }
        prop_assert!(self.map.chunks.len() <= usize::from(CHUNKS_MAX));
        Ok(())
    }
}

proptest! {

    #[test]
    fn a_translation_is_never_beyond_the_true_place(steps in vec(steps(), 1..60)) {
        let mut world = World {
            truth: Truth::default(),
            map: map_at(0, 0),
            generation: 1,
            stored: Stored::new(),
            obsolete: BTreeSet::new(),
            anchors: Vec::new(),
        };
        for step in steps {
            world.step(step);
            world.check()?;
        }
    }
}
