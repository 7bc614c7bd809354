//! Where each leader epoch of a log began (KIP-101, KIP-320).
//!
//! Source: Kafka's `LeaderEpochFileCache`.

/// The leader epochs of one log and their first offsets, both ascending; never empty.
#[derive(Clone, Debug)]
pub(super) struct LeaderEpochs {
    starts: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// A log whose first leader has epoch 0.
    pub(super) fn new() -> Self {
        Self {
            starts: vec![(0, 0)],
        }
    }

    /// A new leader begins at `offset`; its epoch must be greater than all before.
    pub(super) fn begin(&mut self, epoch: i32, offset: i64) {
        self.starts.push((epoch, offset));
    }

    /// Forgets the epochs that ended before the log start `offset`.
    pub(super) fn truncate_from_start(&mut self, offset: i64) {
        let covered = self.starts.partition_point(|(_, start)| *start <= offset);
        let removed = self.starts.drain(..covered).next_back();
        if let Some((epoch, _)) = removed {
            self.starts.insert(0, (epoch, offset));
        }
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
        if self.starts.last()?.0 == epoch {
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

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let mut epochs = LeaderEpochs::new();
        epochs.begin(2, 10);
        epochs.begin(5, 30);
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
    }

    #[test]
    fn epochs_before_the_log_start_are_forgotten() {
        let mut epochs = LeaderEpochs::new();
        epochs.begin(2, 10);
        epochs.begin(5, 30);
        epochs.truncate_from_start(20);
        assert_eq!(epochs.starts, [(2, 20), (5, 30)]);
        assert_eq!(epochs.at_start(20), Some(2));
        assert_eq!(epochs.end_of(0, 44), Some((0, 20)));
    }
}
