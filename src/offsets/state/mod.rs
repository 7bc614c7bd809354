//! What kmirror keeps of its own in `kmirror-state.<source>.internal` on the target cluster.
//!
//! The topic is compacted; keys and values are compact JSON, so that Kafka's own tools show them.
//! Each carries a format version. Nothing in it is believed without a proof against the target's
//! log, except which producer id a partition has and who owns it.
//!
//! | kind | one per | says |
//! |---|---|---|
//! | `claim` | partition and producer id | the producer id under which the partition is written; of several the newest number counts, and of those the first in the log |
//! | `owner` | partition | which process writes it, since when; the last in the log counts |
//! | `anchor` | partition and slot (8) | a point up to which source and target are known to agree |
//! | `gap` | partition and first offset | source offsets that will never be on the target, and why |
//! | `reset` | partition | where an operator has said that copying goes on; anchors of that generation and older ones are void |
//! | `map` | partition, owner and chunk (16) | where source offsets are on the target, exactly |
//!
//! All of it is bounded per partition: a map has at most 60 KiB (a few hundred bytes while offsets
//! run on without holes), and when a new owner has stored its own, the former one's is deleted.
//!
//! kmirror creates the topic with one partition, so that whoever has read an anchor has read the map
//! below it. Where somebody has made more of them, a takeover may find the anchor first: positions
//! below it are then unknown to the new owner, never wrong.
//!
//! Pure: no I/O, no clock.

mod format;
mod json;

use std::sync::Arc;

use kmirror_protocol::wire::Uuid;

pub use self::format::{decode, encode, encode_deletion};
use super::exact_map::{ChunkKey, MapChunk, MapVersion};

/// The format version of keys and values written here.
pub const VERSION: u64 = 1;

/// How many anchors a partition keeps.
pub const ANCHOR_SLOTS: u8 = 8;

/// The name of the state topic of the flows from `source_alias`, on their target.
#[must_use]
pub fn topic_name(source_alias: &str) -> String {
    format!("kmirror-state.{source_alias}.internal")
}

/// A source topic and a partition of it, by name: ids are inside the values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The source topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

/// One record of the state topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    /// What it is about.
    pub place: Place,
    /// What it says.
    pub entry: Entry,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A producer id for the partition.
    Claim(Claim),
    /// Who writes the partition.
    Owner(Owner),
    /// A point at which both sides agree.
    Anchor(Anchor),
    /// Source offsets that are not copied.
    Gap(Gap),
    /// Where an operator has said that copying goes on.
    Reset(Reset),
    /// A piece of the map from source to target offsets.
    Map(MapChunk),
}

/// A producer id for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Raised when the epochs of the former producer id are used up; starts at 0.
    pub number: u32,
    /// The producer id.
    pub producer_id: i64,
}

/// Who writes a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// One more than that of the owner before.
    pub generation: u64,
    /// A random id of the process.
    pub instance: Uuid,
    /// When it took over, in milliseconds since 1970 by its own clock; for people only.
    pub since_ms: i64,
}

impl Owner {
    /// Whether it and another have taken the same generation: neither may write under it (I14).
    #[must_use]
    pub fn contests(&self, other: &Self) -> bool {
        self.generation == other.generation && self.instance != other.instance
    }
}

/// An identity under which a run of batches was written; the sequence starts at 0 in each. Without
/// a producer id (both are -1) batches have no sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lineage {
    /// The producer id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
}

impl Lineage {
    /// That of a target that gives out no producer ids.
    pub const UNSEQUENCED: Self = Self {
        producer_id: -1,
        epoch: -1,
    };

    /// Whether its batches have sequence numbers, so that the target takes each of them once.
    #[must_use]
    pub const fn is_sequenced(self) -> bool {
        self.producer_id >= 0
    }
}

/// Which record of the target's log comes before a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordIdentity {
    /// The producer id of its batch; -1 for none.
    pub producer_id: i64,
    /// The producer epoch of its batch; -1 for none.
    pub producer_epoch: i16,
    /// Its own sequence number; -1 for none.
    pub sequence: i32,
    /// The leader epoch that its batch carries.
    pub leader_epoch: i32,
}

/// A point up to which source and target were known to agree when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Counts the anchors of a partition; its trailing zeros choose the slot.
    pub counter: u64,
    /// The generation of the owner who wrote it.
    pub generation: u64,
    /// The lineage that goes on from here.
    pub lineage: Lineage,
    /// The sequence number of its next record; 0 without sequence numbers.
    pub next_sequence: i32,
    /// Every source record below is on the target below `target_offset`, or in a gap.
    pub source_offset: i64,
    /// The leader epoch of the source's last batch below `source_offset`; -1 when unknown.
    pub source_epoch: i32,
    /// Where `source_epoch` is unknown, because the source has deleted that batch, the epoch of a
    /// leader whose log went as far as `source_offset`; -1 otherwise, or when unknown too.
    pub source_leader_epoch: i32,
    /// The id of the source topic; zero when the source has no topic ids.
    pub source_topic_id: Uuid,
    /// Where the next record goes.
    pub target_offset: i64,
    /// The id of the remote topic; zero when the target has no topic ids.
    pub target_topic_id: Uuid,
    /// The record at `target_offset - 1`; `None` when `target_offset` was the start of the log.
    pub previous: Option<RecordIdentity>,
    /// What decides which source records are copied; equal values mean equal decisions.
    pub mapping: u32,
    /// The leader epoch of the source records that the lineage carries, all of the same; -1 while
    /// it has carried none.
    pub carried_epoch: i32,
    /// Which of the maps that this owner has written was stored up to this point.
    pub cut_count: u64,
}

impl Anchor {
    /// The first anchor of two empty logs without topic ids, as tests begin with.
    #[cfg(test)]
    pub(crate) const BLANK: Self = Self {
        counter: 1,
        generation: 1,
        lineage: Lineage::UNSEQUENCED,
        next_sequence: 0,
        source_offset: 0,
        source_epoch: -1,
        source_leader_epoch: -1,
        source_topic_id: Uuid::ZERO,
        target_offset: 0,
        target_topic_id: Uuid::ZERO,
        previous: None,
        mapping: 0,
        carried_epoch: -1,
        cut_count: 0,
    };

    /// The slot that an anchor with this counter goes to: each slot is half as often as the one
    /// before, so that eight anchors reach back 128 times the distance between two.
    #[must_use]
    pub fn slot(&self) -> u8 {
        let zeros = self.counter.trailing_zeros();
        u8::try_from(zeros).map_or(ANCHOR_SLOTS - 1, |zeros| zeros.min(ANCHOR_SLOTS - 1))
    }

    /// The map that was stored up to this point.
    #[must_use]
    pub const fn map_version(&self) -> MapVersion {
        MapVersion {
            generation: self.generation,
            cut_count: self.cut_count,
        }
    }
}

/// Source offsets that will never be on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing offset.
    pub from_offset: i64,
    /// The first offset after it.
    pub to_offset: i64,
    /// Why.
    pub cause: GapCause,
    /// The id of the source topic; zero when the source has no topic ids.
    pub source_topic_id: Uuid,
    /// When it was noticed, in milliseconds since 1970; for people only.
    pub noticed_ms: i64,
}

impl Gap {
    /// Whether it is the same gap, whenever it was noticed.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let noticed_ms = self.noticed_ms;
        *self
            == Self {
                noticed_ms,
                ..other.clone()
            }
    }
}

/// Where an operator has said that copying goes on, stored while nobody copies. It claims nothing
/// about the target: the next owner opens a new lineage there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// One more than that of the owner before. Anchors of no higher generation are void, and until
    /// there is one of a higher, copying begins at `source_offset`.
    pub generation: u64,
    /// The next source offset to copy.
    pub source_offset: i64,
    /// The id of the source topic; zero when the source has no topic ids.
    pub source_topic_id: Uuid,
    /// When it was written, in milliseconds since 1970; for people only.
    pub since_ms: i64,
}

impl Reset {
    /// Whether it makes an anchor void.
    #[must_use]
    pub const fn voids(&self, anchor: &Anchor) -> bool {
        anchor.generation <= self.generation
    }
}

/// Why source records were not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapCause {
    /// The source deleted them before they were copied: by retention, or by DeleteRecords.
    Deleted,
    /// The source lost them: it elected a leader that did not have them.
    Truncated,
    /// The topic was deleted and created again.
    Recreated,
    /// An operator has set the position behind them.
    Skipped,
}

impl std::fmt::Display for GapCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deleted => "deleted by the source before they were copied",
            Self::Truncated => "lost by the source",
            Self::Recreated => "the topic was created again",
            Self::Skipped => "skipped by a reset of the position",
        })
    }
}

/// What a record is about: the latest record of each key counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateKey {
    /// Which partition.
    pub place: Place,
    /// Which of its records.
    pub kind: Kind,
}

/// Which record of a partition. What is written together is written in this order: an anchor behind
/// the map below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A claim; one key for each producer id, so that compaction cannot remove the first.
    Claim {
        /// The producer id.
        producer_id: i64,
    },
    /// The owner.
    Owner,
    /// A reset.
    Reset,
    /// A chunk of a map.
    Map(ChunkKey),
    /// An anchor.
    Anchor {
        /// Its slot.
        slot: u8,
    },
    /// A gap.
    Gap {
        /// Its first offset.
        from_offset: i64,
    },
}

impl Kind {
    /// Not above any other kind.
    pub const FIRST: Self = Self::Claim {
        producer_id: i64::MIN,
    };
}

impl StateRecord {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> StateKey {
        self.entry.key(&self.place)
    }
}

impl Entry {
    /// What grows from one record of a key to the next: the generation of the owner that wrote it,
    /// and how far that one had come.
    #[must_use]
    pub fn age(&self) -> Option<(u64, u64)> {
        match self {
            Self::Owner(owner) => Some((owner.generation, 0)),
            Self::Reset(reset) => Some((reset.generation, 0)),
            Self::Anchor(anchor) => Some((anchor.generation, anchor.counter)),
            Self::Map(chunk) => {
                let reached = u64::try_from(chunk.end().source_offset).unwrap_or(0);
                Some((chunk.version.generation, reached))
            }
            Self::Claim(_) | Self::Gap(_) => None,
        }
    }

    /// The key of what it says about a partition.
    #[must_use]
    pub fn key(&self, place: &Place) -> StateKey {
        let kind = match self {
            Self::Claim(claim) => Kind::Claim {
                producer_id: claim.producer_id,
            },
            Self::Owner(_) => Kind::Owner,
            Self::Reset(_) => Kind::Reset,
            Self::Anchor(anchor) => Kind::Anchor {
                slot: anchor.slot(),
            },
            Self::Gap(gap) => Kind::Gap {
                from_offset: gap.from_offset,
            },
            Self::Map(chunk) => Kind::Map(chunk.key()),
        };
        StateKey {
            place: place.clone(),
            kind,
        }
    }
}

/// Why a record of the state topic says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Not written by kmirror, or damaged.
    Foreign,
    /// Written by a newer kmirror, in this format version.
    Newer(u64),
}

#[cfg(test)]
mod tests;
