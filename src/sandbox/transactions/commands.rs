//! Faults that a test or a simulation commands.

use super::settle;
use crate::sandbox::{Cluster, Timestamp};

impl Cluster {
    /// Keeps the markers of a transactional id from being written: a transaction that is decided
    /// stays undecided for readers, and its producer is told to wait.
    pub fn hold_markers(&mut self, transactional_id: &str) {
        self.transactions.hold_back(transactional_id);
    }

    /// Writes the markers that were held back.
    pub fn release_markers(&mut self, now: Timestamp, transactional_id: &str) {
        self.transactions.release(transactional_id);
        settle(self, now);
    }

    /// Makes the coordinator forget a transactional id: its open transaction hangs, and holds back
    /// readers of committed records for ever.
    pub fn forget_transaction(&mut self, transactional_id: &str) {
        self.transactions.forget(transactional_id);
    }
}
