//! Where a position in the source is on the target: what users of the offset map ask a flow.
//!
//! Pure and cheap: two searches among at most 16 chunks of at most 32 runs. Nothing is asked of a
//! cluster. The answer is never beyond the true image: who goes on there misses nothing.

use super::{Flow, TopicPartition};
use crate::offsets::exact_map::Translation;

/// Where a position in the source is on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translated {
    /// There, or later.
    At(Translation),
    /// It is below all that is known: what was copied there was copied before kmirror had the
    /// partition, or before it was begun anew; where positions are not proven, before this process
    /// began.
    Below {
        /// From here on positions can be translated, in source offsets.
        known_from: i64,
    },
    /// Nothing can be said at present: the partition is not copied by this process, or its position
    /// is still being proven; where positions are not, this process has copied nothing yet.
    Unknown,
}

impl Flow {
    /// Translates a position in a source partition, as a group commits it: the offset of the
    /// record that it reads next.
    #[must_use]
    pub fn translate(&self, source: &TopicPartition, source_offset: i64) -> Translated {
        let id = self.by_source.get(source).copied();
        let partition = id.and_then(|id| self.slot(id)).map(|slot| &slot.partition);
        let partition = partition.filter(|partition| partition.is_proven());
        let known = partition.and_then(|partition| Some((partition, partition.map()?)));
        let Some((partition, map)) = known else {
            return Translated::Unknown;
        };
        let known_from = map.known_from();
        let translation = partition.translate(source_offset);
        translation.map_or(Translated::Below { known_from }, Translated::At)
    }
}
