//! Consumer groups of the classic protocol: who is in them, who reads what, and their offsets.
//!
//! Pure state: requests and time go in, answers come out. It knows no message types; `api` does.

#![expect(dead_code, reason = "the APIs of groups follow")]

mod offsets;

pub(super) use offsets::CommittedOffset;

use offsets::Offsets;

/// All groups of a cluster.
#[derive(Debug, Default)]
pub(super) struct Groups {
    offsets: Offsets,
}

impl Groups {
    /// Holds back an offset until the transaction of a producer ends.
    ///
    /// The caller has checked that the producer has an open transaction.
    pub(super) fn commit_in_transaction(
        &mut self,
        producer_id: i64,
        group_id: &str,
        partition: (&str, i32),
        committed: CommittedOffset,
    ) {
        self.offsets
            .commit(Some(producer_id), group_id, partition, committed);
    }

    /// Ends the transaction of a producer; one that has no pending offsets changes nothing.
    pub(super) fn complete_transaction(&mut self, producer_id: i64, is_committed: bool) {
        self.offsets.complete_transaction(producer_id, is_committed);
    }
}

impl Groups {
    /// Deletes the offsets of a topic that is gone, as Kafka does.
    pub(super) fn delete_topic(&mut self, topic: &str) {
        self.offsets.delete_topic(topic);
    }
}
