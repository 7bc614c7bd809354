//! A run: what is known of a stretch of records that lie in the same order on both sides.

use super::{Point, Translation};

/// Records that lie in the same order on both sides, and how well their places are known.
///
/// Every record copied from the run's source offsets is at its target offsets, and nothing else
/// that was copied is; what else is there is of no record of the source (records of others,
/// markers). The fields' bounds: `0 <= first <= next`, on the source `first < next`, and `count`
/// fits between both pairs.
///
/// How many records come before a source offset follows from counting backwards: at most as many
/// as there are offsets can be behind it. In a run without holes this is exact; with holes it is
/// too small, never too large. That covers batches with holes, where the header tells only how
/// many records there are, and runs that were merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first source offset; it may have no record.
    pub source_first: i64,
    /// The source offset after the last.
    pub source_next: i64,
    /// Where the first record is on the target, or at a later offset.
    pub target_first: i64,
    /// The target offset after the last record.
    pub target_next: i64,
    /// Records that there are at least.
    pub count: i64,
}

impl Run {
    /// The run of a batch of which the target got `count` records at `target_base`; `None` when
    /// there can be no such batch.
    pub(super) fn of_batch(
        source_first: i64,
        source_next: i64,
        target_base: i64,
        count: i32,
    ) -> Option<Self> {
        let count = i64::from(count);
        let run = Self {
            source_first,
            source_next,
            target_first: target_base,
            target_next: target_base.checked_add(count)?,
            count,
        };
        (run.is_valid() && count > 0).then_some(run)
    }

    /// A run of no record at all: what the source has there is not copied.
    pub(super) const fn empty(from: Point, source_next: i64) -> Self {
        Self {
            source_first: from.source_offset,
            source_next,
            target_first: from.target_offset,
            target_next: from.target_offset,
            count: 0,
        }
    }

    /// A run of which only its ends are known; `None` when nothing can be between them.
    pub(super) fn unknown(from: Point, to: Point) -> Option<Self> {
        let run = Self {
            source_first: from.source_offset,
            source_next: to.source_offset,
            target_first: from.target_offset,
            target_next: to.target_offset,
            count: 0,
        };
        (run.is_valid() && from.target_offset < to.target_offset).then_some(run)
    }

    /// Whether there can be such a run.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let is_ordered = 0 <= self.source_first
            && self.source_first < self.source_next
            && 0 <= self.target_first
            && self.target_first <= self.target_next;
        is_ordered && (0..=self.source_len().min(self.target_len())).contains(&self.count)
    }

    /// Whether the run has no hole and nothing foreign on either side.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.count == self.source_len() && self.count == self.target_len()
    }

    /// The first point after the run.
    #[must_use]
    pub fn end(&self) -> Point {
        Point {
            source_offset: self.source_next,
            target_offset: self.target_next,
        }
    }

    /// Whether it says all that another run says.
    pub(super) fn says(&self, part: &Self) -> bool {
        let is_dense = self.is_dense() && part.is_dense();
        let is_part = self.source_first <= part.source_first
            && part.source_next <= self.source_next
            && part.source_first - self.source_first == part.target_first - self.target_first;
        self == part || (is_dense && is_part)
    }

    fn source_len(&self) -> i64 {
        self.source_next - self.source_first
    }

    fn target_len(&self) -> i64 {
        self.target_next - self.target_first
    }

    /// How many of its target offsets may be of no record of the source.
    fn foreign_max(&self) -> i64 {
        self.target_len() - self.count
    }

    /// How many records at least come before a source offset of the run.
    fn count_before(&self, source_offset: i64) -> i64 {
        (self.count - (self.source_next - source_offset)).max(0)
    }

    /// Where the first record at or after a source offset is, which must be below the run's end.
    pub(super) fn translate(&self, source_offset: i64) -> Translation {
        let source_offset = source_offset.max(self.source_first);
        let before = self.count_before(source_offset);
        let before_max = (source_offset - self.source_first).min(self.target_len());
        let skipped = (before - self.foreign_max()).max(0);
        Translation {
            target_offset: self.target_first + before,
            reread_max: before_max - skipped,
        }
    }

    /// Both runs as one that says the same, if there is one.
    pub(super) fn extended_by(&self, next: &Self) -> Option<Self> {
        let is_one = self.is_dense() && next.is_dense() && self.end() == next.start();
        is_one.then(|| self.merged_with(next))
    }

    /// The point at which the run begins.
    #[must_use]
    pub const fn start(&self) -> Point {
        Point {
            source_offset: self.source_first,
            target_offset: self.target_first,
        }
    }

    /// Both runs as one that knows less.
    pub(super) fn merged_with(&self, next: &Self) -> Self {
        Self {
            source_next: next.source_next,
            target_next: next.target_next,
            count: self.count + next.count,
            ..*self
        }
    }

    /// What remains when the source offsets from this one on are copied anew.
    pub(super) fn below_source(&self, source_offset: i64) -> Option<Self> {
        if self.source_next <= source_offset {
            return Some(*self);
        }
        let len = source_offset - self.source_first;
        let target_max = self.target_first.saturating_add(len);
        (len > 0).then(|| Self {
            source_next: source_offset,
            target_next: self
                .target_next
                .min(target_max.saturating_add(self.foreign_max())),
            count: self.count_before(source_offset),
            ..*self
        })
    }

    /// What remains when the target has lost its records from this offset on.
    pub(super) fn below_target(&self, target_offset: i64) -> Option<Self> {
        if self.target_next <= target_offset {
            return Some(*self);
        }
        // Of so many records at least, each had a source offset behind those that remain.
        let lost_min = (self.count - (target_offset - self.target_first)).max(0);
        let lost_max = self.target_next - target_offset;
        (self.target_first < target_offset).then(|| Self {
            source_next: self.source_next - lost_min,
            target_next: target_offset,
            count: (self.count - lost_max).max(0),
            ..*self
        })
    }
}
