//! Where each leader epoch of a log began (KIP-101, KIP-320).
//!
//! Source: Kafka's `LeaderEpochFileCache`.

/// The leader epochs of one log and their first offsets, both ascending.
///
/// A leader notes its epoch when it is elected; a follower learns of an epoch with its first
/// batch.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderEpochs {
    starts: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// An epoch begins at `offset`, unless it has begun already; epochs without batches that
    /// began there or later are forgotten.
    pub(super) fn begin(&mut self, epoch: i32, offset: i64) {
        if self.latest() == Some(epoch) {
            return;
        }
        self.starts
            .retain(|(known, start)| *known < epoch && *start < offset);
        self.starts.push((epoch, offset));
    }

    /// The newest epoch.
    pub(super) fn latest(&self) -> Option<i32> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// Forgets the epochs that ended before the log start `offset`.
    pub(super) fn truncate_from_start(&mut self, offset: i64) {
        let covered = self.starts.partition_point(|(_, start)| *start <= offset);
        let removed = self.starts.drain(..covered).next_back();
        if let Some((epoch, _)) = removed {
            self.starts.insert(0, (epoch, offset));
        }
    }

    /// Forgets the epochs that began at the log end `offset` or later.
    pub(super) fn truncate_from_end(&mut self, offset: i64) {
        self.starts.retain(|(_, start)| *start < offset);
    }

    /// The first epoch, if it covers the log start `offset`.
    pub(super) fn at_start(&self, offset: i64) -> Option<i32> {
        let (epoch, start) = self.starts.first()?;
        (*start <= offset).then_some(*epoch)
    }

    /// The greatest known epoch not above `epoch`, and the offset at which that epoch ends.
    ///
    /// `None` for an epoch that no leader had yet.
    pub(super) fn end_of(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        if self.latest()? == epoch {
            return Some((epoch, log_end_offset));
        }
        let higher = self.starts.partition_point(|(known, _)| *known <= epoch);
        let (_, end) = self.starts.get(higher)?;
        let floor = higher.checked_sub(1).and_then(|at| self.starts.get(at));
        Some((floor.map_or(epoch, |(known, _)| *known), *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, offset) in [(0, 0), (2, 10), (5, 30)] {
            epochs.begin(epoch, offset);
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let epochs = epochs();
        let cases = [
            (-1, None),
            (0, Some((0, 10))),
            (1, Some((0, 10))),
            (2, Some((2, 30))),
            (4, Some((2, 30))),
            (5, Some((5, 44))),
            (6, None),
        ];
        for (epoch, expected) in cases {
            assert_eq!(epochs.end_of(epoch, 44), expected, "epoch {epoch}");
        }
        assert_eq!(LeaderEpochs::default().end_of(0, 44), None);
    }

    #[test]
    fn an_epoch_that_has_begun_does_not_begin_again() {
        let mut epochs = epochs();
        epochs.begin(5, 40);
        assert_eq!(epochs.starts, [(0, 0), (2, 10), (5, 30)]);
    }

    #[test]
    fn an_epoch_without_batches_is_forgotten_for_the_next() {
        let mut epochs = epochs();
        epochs.begin(6, 30);
        assert_eq!(epochs.starts, [(0, 0), (2, 10), (6, 30)]);
    }

    #[test]
    fn epochs_before_the_log_start_are_forgotten() {
        let mut epochs = epochs();
        epochs.truncate_from_start(20);
        assert_eq!(epochs.starts, [(2, 20), (5, 30)]);
        assert_eq!(epochs.at_start(20), Some(2));
        assert_eq!(epochs.end_of(0, 44), Some((0, 20)));
    }

    #[test]
    fn epochs_after_the_log_end_are_forgotten() {
        let mut epochs = epochs();
        epochs.truncate_from_end(30);
        assert_eq!(epochs.starts, [(0, 0), (2, 10)]);
        assert_eq!(epochs.end_of(2, 30), Some((2, 30)));
    }
}
