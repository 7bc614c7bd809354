//! Chunks: the pieces in which a map is stored, and how stored pieces make a map again.

use std::collections::{BTreeMap, VecDeque};

use kmirror_protocol::wire::Uuid;

use super::{Point, Run};

/// How many chunks a map has at most.
pub const CHUNKS_MAX: u8 = 16;

/// How many runs a chunk has at most.
pub const CHUNK_RUNS_MAX: usize = 32;

/// Which topics a map is about, by their ids: zero when a cluster has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicIds {
    /// The source topic.
    pub source: Uuid,
    /// The remote topic.
    pub target: Uuid,
}

impl TopicIds {
    /// Whether both may be about the same topics: brokers that tell no ids contradict nobody.
    fn may_be(self, other: Self) -> bool {
        let is_same = |a: Uuid, b: Uuid| a.is_zero() || b.is_zero() || a == b;
        is_same(self.source, other.source) && is_same(self.target, other.target)
    }
}

/// Which map a chunk belongs to. Maps of different versions are stored beside each other: what a
/// former owner writes late, and a new version of which only a part is stored yet, spoil nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MapVersion {
    /// The generation of the owner who wrote it.
    pub generation: u64,
    /// How often that owner has cut its map: what was stored before may not be true any more.
    pub cut_count: u64,
}

/// What a stored chunk is called: its key, but for the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkKey {
    /// The map.
    pub version: MapVersion,
    /// Which of the places for chunks it takes; below [`CHUNKS_MAX`].
    pub chunk: u8,
}

/// A piece of a map, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapChunk {
    /// Which of the places for chunks it takes; below [`CHUNKS_MAX`].
    pub chunk: u8,
    /// The map that it belongs to.
    pub version: MapVersion,
    /// The topics that it is about.
    pub topics: TopicIds,
    /// How often runs were merged by two; 0 for runs as they came.
    pub level: u8,
    /// Where the chunk before it ends: nothing was copied between there and the first run.
    pub follows: Point,
    /// In order; never none, at most [`CHUNK_RUNS_MAX`].
    pub runs: Vec<Run>,
}

impl MapChunk {
    /// What it is called.
    #[must_use]
    pub const fn key(&self) -> ChunkKey {
        ChunkKey {
            version: self.version,
            chunk: self.chunk,
        }
    }

    /// Whether there can be such a chunk.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let mut end = self.follows;
        let is_in_order = |run: &Run| {
            let follows = run.is_valid()
                && end.source_offset <= run.source_first
                && end.target_offset <= run.target_first;
            end = run.end();
            follows
        };
        self.chunk < CHUNKS_MAX
            && (1..=CHUNK_RUNS_MAX).contains(&self.runs.len())
            && self.follows.source_offset >= 0
            && self.follows.target_offset >= 0
            && self.runs.iter().all(is_in_order)
    }

    /// The first point after it.
    #[must_use]
    pub fn end(&self) -> Point {
        self.runs.last().map_or(self.follows, Run::end)
    }
}

/// A piece of a map in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Which of the places for chunks it takes.
    pub(super) place: u8,
    pub(super) level: u8,
    pub(super) follows: Point,
    /// In order; none only while the map is cut.
    pub(super) runs: Vec<Run>,
    /// Whether it is not stored as it is.
    pub(super) is_changed: bool,
}

impl Chunk {
    pub(super) fn stored(stored: &MapChunk) -> Self {
        Self {
            place: stored.chunk,
            level: stored.level,
            follows: stored.follows,
            runs: stored.runs.clone(),
            is_changed: true,
        }
    }

    pub(super) fn to_stored(&self, topics: TopicIds, version: MapVersion) -> MapChunk {
        MapChunk {
            chunk: self.place,
            version,
            topics,
            level: self.level,
            follows: self.follows,
            runs: self.runs.clone(),
        }
    }

    pub(super) fn end(&self) -> Point {
        self.runs.last().map_or(self.follows, Run::end)
    }

    /// Merges the runs of both chunks by two.
    pub(super) fn take_up(&mut self, newer: &Self) {
        let runs: Vec<Run> = self.runs.iter().chain(&newer.runs).copied().collect();
        let merged = runs.chunks(2).filter_map(|pair| match pair {
            [older, newer] => Some(older.merged_with(newer)),
            [single] => Some(*single),
            _ => None,
        });
        self.runs = merged.collect();
        self.level = self.level.max(newer.level).saturating_add(1);
        self.is_changed = true;
    }
}

/// The longest series of chunks of one map without a gap that ends with the newest; oldest first.
///
/// What a lost, an old or a foreign chunk would have to fill is not bridged: what was copied
/// there is not known, and a translation over it could go too far. Of two chunks that fit, the
/// one that reaches further back counts; it is the other and more, merged.
pub(super) fn newest_series(stored: &BTreeMap<u8, &MapChunk>, topics: TopicIds) -> VecDeque<Chunk> {
    let usable = || {
        let chunks = stored.values().copied();
        chunks.filter(|chunk| chunk.topics.may_be(topics) && chunk.is_valid())
    };
    let mut end = usable().map(MapChunk::end).max();
    let mut series = VecDeque::new();
    while let Some(chunk) = usable()
        .filter(|chunk| Some(chunk.end()) == end)
        .min_by_key(|chunk| chunk.follows)
    {
        series.push_front(Chunk::stored(chunk));
        end = Some(chunk.follows);
    }
    series
}
