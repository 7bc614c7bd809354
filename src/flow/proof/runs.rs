//! Where the records that a proof has found are: runs for the map of offsets.

use super::source::Source;
use crate::offsets::exact_map::Run;

/// Records of the current source batch that follow each other on the target.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Records of the source batch from the first of these on.
    left: u32,
    count: u32,
    target_first: i64,
    target_next: i64,
}

/// What one comparison, record by record, has found of the current source batch.
#[derive(Debug, Default)]
pub(super) struct FoundRuns(Vec<Found>);

impl FoundRuns {
    /// Adds a record; `left` counts the records of the source batch from this one on.
    pub(super) fn add(&mut self, left: u32, target_offset: i64) {
        if let Some(last) = self.0.last_mut()
            && last.target_next == target_offset
            && last.left.saturating_sub(last.count) == left
        {
            last.count += 1;
            last.target_next = target_offset.saturating_add(1);
            return;
        }
        self.0.push(Found {
            left,
            count: 1,
            target_first: target_offset,
            target_next: target_offset.saturating_add(1),
        });
    }

    /// The runs, as long as the batch is the source's current one.
    pub(super) fn on(&self, source: &Source) -> impl Iterator<Item = Run> {
        self.0.iter().map(|found| {
            let target = (found.target_first, found.target_next);
            source.run(found.left, found.count, target)
        })
    }
}
