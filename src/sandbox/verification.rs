//! Which transactional producers a partition has asked their coordinator about (KIP-890).
//!
//! The first batch of a transaction is let in only if the coordinator knows that the transaction
//! writes the partition. What is kept here is what a later batch of the producer must obey.
//! Source: Kafka's `VerificationStateEntry` and `ProducerAppendInfo.checkSequence`.

use std::collections::BTreeMap;

use kmirror_protocol::{ErrorCode, records::BatchHeader};

use super::Timestamp;

/// The producers of one partition that were verified and have not written yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifications {
    entries: BTreeMap<i64, Verification>,
}

#[derive(Clone, Copy, Debug)]
struct Verification {
    since: Timestamp,
    /// Whether the producer's epoch is bumped at each end of a transaction.
    bumps_epoch: bool,
    epoch: i16,
    lowest_sequence: i32,
}

impl Verifications {
    /// Notes that a batch is to be verified.
    pub(super) fn begin(&mut self, batch: &BatchHeader, bumps_epoch: bool, now: Timestamp) {
        let (epoch, sequence) = (batch.producer_epoch, batch.base_sequence);
        let entry = self.entries.entry(batch.producer_id);
        let entry = entry.or_insert(Verification {
            since: now,
            bumps_epoch,
            epoch,
            lowest_sequence: sequence,
        });
        if epoch > entry.epoch {
            entry.epoch = epoch;
            entry.lowest_sequence = sequence;
        } else if epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(sequence);
        }
    }

    /// Whether a batch is verified, or needs not be.
    pub(super) fn contains(&self, producer_id: i64) -> bool {
        self.entries.contains_key(&producer_id)
    }

    /// Whether a batch may be the next, as far as verification goes; `has_batches` says whether
    /// the partition remembers any of its producer.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER`] after an older batch that has failed so far, and
    /// where only a beginning can be right.
    pub(super) fn check(&self, batch: &BatchHeader, has_batches: bool) -> Result<(), ErrorCode> {
        let Some(entry) = self.entries.get(&batch.producer_id) else {
            return Ok(());
        };
        let is_beginning = has_batches || batch.base_sequence == 0;
        if entry.bumps_epoch && !is_beginning || batch.base_sequence > entry.lowest_sequence {
            return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        Ok(())
    }

    /// A transactional batch or a marker has been appended.
    ///
    /// A marker that is of the same epoch as a producer to be verified is late: the producer has
    /// begun its next transaction already.
    pub(super) fn end(&mut self, batch: &BatchHeader) {
        let is_late = |entry: &Verification| {
            entry.bumps_epoch
                && batch.attributes.is_control()
                && entry.epoch == batch.producer_epoch
        };
        if !self.entries.get(&batch.producer_id).is_some_and(is_late) {
            self.entries.remove(&batch.producer_id);
        }
    }

    /// Forgets producers that have not written for `expiration_ms`.
    pub(super) fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.entries
            .retain(|_, entry| now.0.saturating_sub(entry.since.0) < expiration_ms);
    }
}
