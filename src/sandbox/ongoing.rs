//! The transactions of one log that hold back readers of committed records.
//!
//! Source: `ongoingTxns` and `unreplicatedTxns` of Kafka's `ProducerStateManager`.

use std::collections::{BTreeMap, BTreeSet};

/// Transactions by the offset of their first record.
#[derive(Clone, Debug, Default)]
pub(super) struct OngoingTransactions {
    /// Those that are not decided.
    open: BTreeSet<i64>,
    /// Where the marker lies of each that is decided, as long as the high watermark is not beyond.
    unreplicated: BTreeMap<i64, i64>,
}

impl OngoingTransactions {
    /// Begins one with the record at `first_offset`.
    pub(super) fn begin(&mut self, first_offset: i64) {
        self.open.insert(first_offset);
    }

    /// Ends one with the marker at `marker_offset`.
    pub(super) fn complete(&mut self, first_offset: i64, marker_offset: i64) {
        self.open.remove(&first_offset);
        self.unreplicated.insert(first_offset, marker_offset);
    }

    /// The first record of the oldest; `None` when all are decided on all replicas.
    pub(super) fn first_unstable(&self, high_watermark: i64) -> Option<i64> {
        let open = self.open.first().copied();
        let mut unreplicated = self.unreplicated.iter();
        let unreplicated = unreplicated.find(|(_, marker)| **marker >= high_watermark);
        let unreplicated = unreplicated.map(|(first, _)| *first);
        [open, unreplicated].into_iter().flatten().min()
    }

    /// Forgets decided ones whose marker is on all replicas.
    pub(super) fn forget_replicated(&mut self, high_watermark: i64) {
        self.unreplicated
            .retain(|_, marker| *marker >= high_watermark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_open_or_not_replicated_holds_readers_back() {
        let mut ongoing = OngoingTransactions::default();
        assert_eq!(ongoing.first_unstable(0), None);
        ongoing.begin(3);
        ongoing.begin(5);
        assert_eq!(ongoing.first_unstable(9), Some(3));
        ongoing.complete(3, 9);
        // The marker at 9 is not below the high watermark.
        assert_eq!(ongoing.first_unstable(9), Some(3));
        assert_eq!(ongoing.first_unstable(10), Some(5));
        ongoing.complete(5, 10);
        assert_eq!(ongoing.first_unstable(10), Some(5));
        ongoing.forget_replicated(11);
        assert_eq!(ongoing.first_unstable(10), None);
    }
}
