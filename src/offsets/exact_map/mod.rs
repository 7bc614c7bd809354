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
//! 22 KiB, stored at most 60 KiB.
//!
//! Stored it is a ring of chunks: one grows, the others change only when they are merged or
//! when the map is cut. A cut is what makes stored chunks untrue: the target lost its tail, or
//! the source is copied anew from an earlier position. **What [`ExactMap::changes`] gives after a
//! cut must be stored no later than any anchor above it**, or else a process that starts in
//! between believes chunks of before.
//!
//! Pure: no I/O, no clock.

mod chunk;
mod run;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::chunk::Chunk;
pub use self::{
    chunk::{CHUNK_RUNS_MAX, CHUNKS_MAX, MapChunk, TopicIds},
    run::Run,
};

/// How many full chunks stay as they came, besides the one that grows.
const CHUNKS_EXACT: usize = 8;

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
    /// is exact, foreign records not counted.
    pub reread_max: i64,
}

/// Where the source offsets of one partition are on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactMap {
    topics: TopicIds,
    /// Raised whenever stored chunks may have become untrue.
    cut_count: u64,
    /// Below this nothing is known.
    start: Point,
    /// All that was copied is below this.
    end: Point,
    /// Oldest first, none of them empty.
    chunks: VecDeque<Chunk>,
    /// Places whose stored chunks are to be deleted.
    obsolete: BTreeSet<u8>,
}

impl ExactMap {
    /// The map of a partition whose copying begins or goes on at `at`, from what is stored of it:
    /// the newest chunk of each place. Of chunks that are damaged, about other topics or from
    /// before a cut, nothing is believed; they will be deleted.
    #[must_use]
    pub fn load(topics: TopicIds, stored: impl IntoIterator<Item = MapChunk>, at: Point) -> Self {
        let stored: BTreeMap<u8, MapChunk> = stored
            .into_iter()
            .map(|chunk| (chunk.chunk, chunk))
            .collect();
        let cut_counts = stored.values().map(|chunk| chunk.cut_count);
        let cut_count = cut_counts.max().unwrap_or_default();
        let chunks: VecDeque<Chunk> = chunk::newest_series(&stored, topics)
            .into_iter()
            .map(Chunk::stored)
            .collect();
        let mut obsolete: BTreeSet<u8> = stored.into_keys().collect();
        for chunk in &chunks {
            obsolete.remove(&chunk.place);
        }
        let mut map = Self {
            topics,
            cut_count,
            start: chunks.front().map_or(at, |chunk| chunk.follows),
            end: at,
            chunks,
            obsolete,
        };
        map.end = map.last_run_end();
        map.resume(at);
        map
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
        {
            self.start = chunk.end();
            self.obsolete.insert(chunk.place);
            self.chunks.pop_front();
        }
    }

    /// The map is about other topics from here on, or about the same ones created again.
    pub fn restart(&mut self, topics: TopicIds, at: Point) {
        self.cut(|_| None);
        self.topics = topics;
        (self.start, self.end) = (at, at);
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
        let chunk_index = self
            .chunks
            .partition_point(|chunk| chunk.end().source_offset <= source_offset);
        let run = self.chunks.get(chunk_index).and_then(|chunk| {
            let runs = &chunk.runs;
            runs.get(runs.partition_point(|run| run.source_next <= source_offset))
        });
        Some(run.map_or_else(
            || Translation {
                target_offset: self.end.target_offset,
                reread_max: (source_offset - self.end.source_offset).max(0),
            },
            |run| run.translate(source_offset),
        ))
    }

    /// What must be stored: chunks, and by `None` places whose chunk must be deleted. Once given
    /// they count as stored; if storing fails, call [`Self::store_anew`].
    pub fn changes(&mut self) -> Vec<(u8, Option<MapChunk>)> {
        let obsolete = std::mem::take(&mut self.obsolete).into_iter();
        let mut changes: Vec<_> = obsolete.map(|place| (place, None)).collect();
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.is_changed) {
            chunk.is_changed = false;
            let stored = chunk.to_stored(self.topics, self.cut_count);
            changes.push((chunk.place, Some(stored)));
        }
        changes
    }

    /// Nothing of the map counts as stored.
    pub fn store_anew(&mut self) {
        self.obsolete = (0..CHUNKS_MAX).collect();
        for chunk in &mut self.chunks {
            self.obsolete.remove(&chunk.place);
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
                self.obsolete.insert(chunk.place);
                self.chunks.pop_back();
                continue;
            };
            let kept = shortened(&run);
            is_cut |= kept != Some(run);
            if let Some(kept) = kept {
                chunk.runs.push(kept);
                break;
            }
        }
        if is_cut {
            self.cut_count = self.cut_count.saturating_add(1);
            for chunk in &mut self.chunks {
                chunk.is_changed = true;
            }
        }
        is_cut
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
        self.obsolete.remove(&place);
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
