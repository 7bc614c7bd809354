//! Where the source offsets of one partition are on the target.
//!
//! A position in the source is translated to the target offset of the first record at or after it.
//! **Never beyond**: who goes on there misses nothing; at worst some records are read again, and
//! the translation says how many at most. MirrorMaker 2 keeps the same promise with up to 64
//! points per partition and at most one record of progress behind each (`OffsetSyncStore`); this
//! map is exact wherever it has not been thinned.
//!
//! It holds [`Run`]s. While offsets run on without holes on both sides, one run is all there is;
//! a hole (compaction, a marker, an aborted transaction) or a foreign record on the target begins
//! another. The newest 256 at least stay as they came. Older ones are merged by two, by four and
//! so on, so that the map never forgets and still has its bound: 512 runs, in memory at most
//! 22 KiB ([`MAP_BYTES_MAX`]), stored at most 60 KiB.
//!
//! Stored it is a ring of chunks: one grows, the others change only when they are merged or
//! when the map is cut. A cut is what makes stored chunks untrue: the target lost its tail, or
//! the source is copied anew from an earlier position. What follows is another [`MapVersion`],
//! stored under keys of its own; what was stored before is deleted. An anchor names the version
//! that was stored up to it. **What [`ExactMap::changes`] gives must be stored with an anchor above
//! it, or before, and what it deletes be deleted afterwards**: then whatever moment a process dies
//! at, a whole map of every anchor is there.
//!
//! Pure: no I/O, no clock.

mod chunk;
mod run;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::chunk::Chunk;
pub use self::{
    chunk::{CHUNK_RUNS_MAX, CHUNKS_MAX, ChunkKey, MapChunk, MapVersion, TopicIds},
    run::Run,
};

/// What a map takes in memory at most, in bytes.
pub const MAP_BYTES_MAX: usize = 22 << 10;

/// How many full chunks stay as they came, besides the one that grows.
const CHUNKS_EXACT: usize = 8;

/// What must be stored of a map, and which stored chunks must be deleted afterwards.
pub type Changes = (Vec<MapChunk>, BTreeSet<ChunkKey>);

/// A place in both logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// On the source.
    pub source_offset: i64,
    /// On the target.
    pub target_offset: i64,
}

/// Where a source position is on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The first record at or after the source position is here, or at a later offset.
    pub target_offset: i64,
    /// How many records from before the source position follow at most; 0 when the translation
    /// is exact. Foreign records do not count, nor does one that was taken for an equal one behind
    /// it, where all that was known was a position that somebody else had stored.
    pub reread_max: i64,
}

/// Where the source offsets of one partition are on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactMap {
    topics: TopicIds,
    /// Another one whenever stored chunks may have become untrue.
    version: MapVersion,
    /// Whether something may be stored under that version.
    is_stored: bool,
    /// Below this nothing is known.
    start: Point,
    /// All that was copied is below this.
    end: Point,
    /// Oldest first, none of them empty.
    chunks: VecDeque<Chunk>,
    /// Stored chunks that are to be deleted.
    obsolete: BTreeSet<ChunkKey>,
}

impl ExactMap {
    /// An empty map of a partition whose copying begins at `at`; `generation` is the owner's.
    #[must_use]
    pub const fn new(topics: TopicIds, generation: u64, at: Point) -> Self {
        Self {
            topics,
            version: MapVersion {
                generation,
                cut_count: 0,
            },
            is_stored: false,
            start: at,
            end: at,
            chunks: VecDeque::new(),
            obsolete: BTreeSet::new(),
        }
    }

    /// The map of a partition up to an anchor at least, from what is stored of it: the newest
    /// chunk of each key. `since` is the version that the anchor names, `generation` that of the
    /// process that goes on with the map.
    ///
    /// A version from before the anchor's may be untrue; one from after it is true below the
    /// anchor, because it came out of a proof when the anchor was there already. Of those that
    /// remain, the one that knows most counts. Of chunks that are damaged or about other topics
    /// nothing is believed, and with no version nothing at all. Beyond the anchor, what the map says is to be checked
    /// ([`Self::proven`]) or cut off ([`Self::resume`]).
    ///
    /// Nothing of the map counts as stored: it has a new version, and the others are deleted, but
    /// for those of a later owner.
    #[must_use]
    pub fn restore<'a>(
        topics: TopicIds,
        stored: impl IntoIterator<Item = &'a MapChunk>,
        since: Option<MapVersion>,
        generation: u64,
        anchor: Point,
    ) -> Self {
        let mut versions: BTreeMap<MapVersion, BTreeMap<u8, &MapChunk>> = BTreeMap::new();
        for chunk in stored {
            let version = versions.entry(chunk.version).or_default();
            version.insert(chunk.chunk, chunk);
        }
        let mut map = Self::new(topics, generation, anchor);
        for (version, chunks) in &versions {
            if since.is_some_and(|since| *version >= since) {
                let other = Self::of_series(&map, chunk::newest_series(chunks, topics));
                if other.is_better_than(&map, anchor) {
                    map = other;
                }
            }
        }
        let own = versions.keys().filter(|it| it.generation == generation);
        map.version.cut_count = own
            .map(|it| it.cut_count.saturating_add(1))
            .max()
            .unwrap_or(0);
        map.obsolete = versions
            .values()
            .flat_map(|chunks| chunks.values().map(|chunk| chunk.key()))
            .filter(|key| key.version.generation <= generation)
            .collect();
        map.reach(anchor);
        map
    }

    fn of_series(empty: &Self, chunks: VecDeque<Chunk>) -> Self {
        let start = chunks.front().map_or(empty.start, |chunk| chunk.follows);
        let end = chunks.back().map_or(empty.end, Chunk::end);
        Self {
            start,
            end,
            chunks,
            ..empty.clone()
        }
    }

    /// Takes the place of a map of the same owner that may have been stored, in part or whole.
    pub fn supersede(&mut self, other: &Self) {
        if self.version <= other.version {
            self.renew(other.version.cut_count);
        }
        self.obsolete.extend(other.keys());
        self.obsolete.extend(&other.obsolete);
    }

    /// Takes the place of the map that a later owner would begin with, which knows less: an anchor
    /// of that owner names its own versions.
    pub fn pass_to(&mut self, successor: Self) {
        self.obsolete.extend(successor.obsolete);
        self.go_on_as(successor.version);
    }

    /// Gives it a version after `cut_count`.
    fn renew(&mut self, cut_count: u64) {
        self.go_on_as(MapVersion {
            cut_count: cut_count.saturating_add(1),
            ..self.version
        });
    }

    /// Gives it another version: nothing that is stored belongs to it any more.
    fn go_on_as(&mut self, version: MapVersion) {
        if self.is_stored {
            let stored: Vec<_> = self.keys().collect();
            self.obsolete.extend(stored);
        }
        self.version = version;
        self.is_stored = false;
        self.store_anew();
    }

    fn keys(&self) -> impl Iterator<Item = ChunkKey> {
        self.chunks.iter().map(|chunk| self.key(chunk.place))
    }

    /// Whether it knows more of what is below an anchor: further back, or else without a gap.
    #[must_use]
    pub fn is_better_than(&self, other: &Self, anchor: Point) -> bool {
        let key = |map: &Self| {
            let is_back = map.start.source_offset.min(anchor.source_offset);
            let missing = anchor.source_offset.saturating_sub(map.end.source_offset);
            (is_back, missing.max(0))
        };
        key(self) < key(other)
    }

    /// Goes up to a true point: what is missing between is known to be between, and no better.
    pub fn reach(&mut self, at: Point) {
        let Point {
            source_offset,
            target_offset,
        } = self.end;
        if source_offset < at.source_offset || target_offset < at.target_offset {
            self.resume(at);
        }
    }

    /// Which version what is stored next belongs to.
    #[must_use]
    pub const fn version(&self) -> MapVersion {
        self.version
    }

    /// Below this source offset nothing is known.
    #[must_use]
    pub const fn known_from(&self) -> i64 {
        self.start.source_offset
    }

    /// Up to where everything is copied.
    #[must_use]
    pub const fn end(&self) -> Point {
        self.end
    }

    /// A proof has found records on the target, and nothing else of the source between `from` and
    /// them: what the map says already stays as it is, what it says otherwise is cut off.
    pub fn proven(&mut self, from: Point, run: &Run) {
        if !run.is_valid() {
            return self.distrust(run.source_next);
        }
        let is_known = self.run_at(from.source_offset).is_some_and(|known| {
            known.says(run) && known.source_first.max(from.source_offset) == run.source_first
        });
        if is_known {
            return;
        }
        self.go_to(from);
        self.go_to(run.start());
        self.push(*run);
        self.end = run.end();
    }

    /// A batch is on the target: `count` records of the source offsets from `source_first` to
    /// before `source_next`, at `target_base` and after.
    ///
    /// Nothing may have been copied between the batch before and `source_first`. A batch that goes
    /// back on either side replaces what was known from there on.
    pub fn acknowledged(
        &mut self,
        source_first: i64,
        source_next: i64,
        target_base: i64,
        count: i32,
    ) {
        let Some(run) = Run::of_batch(source_first, source_next, target_base, count) else {
            return self.distrust(source_next);
        };
        self.go_to(Point {
            source_offset: source_first,
            target_offset: target_base,
        });
        self.push(run);
        self.end = run.end();
    }

    /// Everything below `source_next` was copied before or will never be.
    pub fn passed(&mut self, source_next: i64) {
        self.end.source_offset = self.end.source_offset.max(source_next);
    }

    /// Copying goes on at a proven point, whatever was copied since the last one that is known
    /// here: what is between is known to be between, and no better.
    pub fn resume(&mut self, at: Point) {
        let from = self.end;
        self.go_to(at);
        if let Some(unknown) = Run::unknown(from, at) {
            self.push(unknown);
        }
        self.end = at;
    }

    /// The target has lost its records from this offset on.
    pub fn forget_from(&mut self, target_offset: i64) {
        if self.end.target_offset <= target_offset {
            return;
        }
        if self.cut(|run| run.below_target(target_offset)) {
            self.end.source_offset = self.last_run_end().source_offset;
        }
        self.start.target_offset = self.start.target_offset.min(target_offset);
        self.end.target_offset = target_offset;
    }

    /// The target has deleted its records below this offset. Chunks are forgotten as a whole.
    pub fn forget_below(&mut self, target_offset: i64) {
        while let Some(chunk) = self.chunks.front()
            && chunk.end().target_offset <= target_offset
            && chunk.follows.target_offset < target_offset
        {
            self.start = chunk.end();
            let key = self.key(chunk.place);
            self.obsolete.insert(key);
            self.chunks.pop_front();
        }
    }

    /// Where the first record at or after a source offset is; `None` below all that is known.
    ///
    /// For an offset that is not copied yet this is where copying goes on, and the records that
    /// will be copied up to it count as read again. Grows with the source offset.
    #[must_use]
    pub fn translate(&self, source_offset: i64) -> Option<Translation> {
        if source_offset < self.start.source_offset {
            return None;
        }
        Some(self.run_at(source_offset).map_or_else(
            || Translation {
                target_offset: self.end.target_offset,
                reread_max: (source_offset - self.end.source_offset).max(0),
            },
            |run| run.translate(source_offset),
        ))
    }

    /// The run that a source offset is in, or the next one.
    fn run_at(&self, source_offset: i64) -> Option<&Run> {
        let chunk_index = self
            .chunks
            .partition_point(|chunk| chunk.end().source_offset <= source_offset);
        let runs = &self.chunks.get(chunk_index)?.runs;
        runs.get(runs.partition_point(|run| run.source_next <= source_offset))
    }

    /// What must be stored, and which stored chunks must be deleted afterwards. Once given, both
    /// count as done; if storing fails, call [`Self::store_anew`].
    pub fn changes(&mut self) -> Changes {
        if self.chunks.is_empty() && self.start.source_offset < self.end.source_offset {
            // An anchor that is all there is says nothing of what is below it.
            self.push(Run::empty(self.start, self.end.source_offset));
        }
        let changed = self.chunks.iter_mut().filter(|chunk| chunk.is_changed);
        let stored = changed.map(|chunk| {
            chunk.is_changed = false;
            chunk.to_stored(self.topics, self.version)
        });
        let stored: Vec<MapChunk> = stored.collect();
        self.is_stored |= !stored.is_empty();
        (stored, std::mem::take(&mut self.obsolete))
    }

    /// Nothing of the map counts as stored.
    pub fn store_anew(&mut self) {
        for chunk in &mut self.chunks {
            chunk.is_changed = true;
        }
    }

    /// Forgets what is at or after either side of a point that comes next.
    fn go_to(&mut self, at: Point) {
        self.forget_from(at.target_offset);
        if at.source_offset <= self.start.source_offset {
            self.cut(|_| None);
            (self.start, self.end) = (at, at);
        } else if at.source_offset < self.end.source_offset {
            self.cut(|run| run.below_source(at.source_offset));
        }
    }

    /// Something is on the target of which all that is known is where the source goes on.
    fn distrust(&mut self, source_next: i64) {
        self.cut(|_| None);
        self.end.source_offset = self.end.source_offset.max(source_next);
        self.start = self.end;
    }

    /// Shortens or removes runs from the newest on, up to the first that stays as it is; tells
    /// whether there was one that did not.
    fn cut(&mut self, shortened: impl Fn(&Run) -> Option<Run>) -> bool {
        let mut is_cut = false;
        while let Some(chunk) = self.chunks.back_mut() {
            let Some(run) = chunk.runs.pop() else {
                let place = chunk.place;
                self.chunks.pop_back();
                self.obsolete.insert(self.key(place));
                continue;
            };
            let kept = shortened(&run);
            is_cut |= kept != Some(run);
            if let Some(kept) = kept {
                chunk.runs.push(kept);
                break;
            }
        }
        if is_cut && self.is_stored {
            self.renew(self.version.cut_count);
        }
        is_cut
    }

    const fn key(&self, chunk: u8) -> ChunkKey {
        ChunkKey {
            version: self.version,
            chunk,
        }
    }

    /// Adds a run behind all others.
    fn push(&mut self, run: Run) {
        if let Some(chunk) = self.chunks.back_mut()
            && chunk.level == 0
        {
            if let Some(last) = chunk.runs.last_mut()
                && let Some(extended) = last.extended_by(&run)
            {
                *last = extended;
                chunk.is_changed = true;
                return;
            }
            if chunk.runs.len() < CHUNK_RUNS_MAX {
                chunk.runs.push(run);
                chunk.is_changed = true;
                return;
            }
        }
        let place = self.free_place();
        let key = self.key(place);
        self.obsolete.remove(&key);
        self.chunks.push_back(Chunk {
            place,
            level: 0,
            follows: self.last_run_end(),
            runs: vec![run],
            is_changed: true,
        });
    }

    /// A place that no chunk takes; merges two chunks if there is none.
    fn free_place(&mut self) -> u8 {
        let is_free = |place: &u8| self.chunks.iter().all(|chunk| chunk.place != *place);
        let free = (0..CHUNKS_MAX).find(is_free);
        free.unwrap_or_else(|| self.merge_two_chunks())
    }

    /// Merges the oldest two neighbours of equal level, or the oldest two; gives the place that
    /// becomes free. Levels so fall from old to new.
    fn merge_two_chunks(&mut self) -> u8 {
        let levels = self.chunks.iter().map(|chunk| chunk.level);
        let pairs = levels.clone().zip(levels.skip(1));
        let mut mergeable = pairs.take(self.chunks.len().saturating_sub(CHUNKS_EXACT + 1));
        let first = mergeable
            .position(|(older, newer)| older == newer)
            .unwrap_or(0);
        let newer = self.chunks.remove(first + 1).expect("all places are taken");
        let older = self.chunks.get_mut(first).expect("all places are taken");
        older.take_up(&newer);
        newer.place
    }

    fn last_run_end(&self) -> Point {
        self.chunks.back().map_or(self.start, Chunk::end)
    }
}

#[cfg(test)]
mod tests;
