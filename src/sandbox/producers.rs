//! What a partition remembers of idempotent producers, and which batches it lets in.
//!
//! With it a resend is recognised, and a batch is appended only where it continues its producer's
//! sequence: a compare-and-append on the log. Content is never compared.
//! Source: Kafka's `ProducerAppendInfo`, `ProducerStateEntry` and `ProducerStateManager`.

use std::collections::{BTreeMap, VecDeque};

use kmirror_protocol::{
    ErrorCode,
    records::{BatchHeader, sequence_after},
};

use super::{
    Timestamp,
    aborted::AbortedTransaction,
    control::{Marker, read_marker},
    ongoing::OngoingTransactions,
    verification::Verifications,
};

/// How many batches of a producer are remembered (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES_RETAINED: usize = 5;

/// The producers that wrote to one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    entries: BTreeMap<i64, Producer>,
    pub(super) ongoing: OngoingTransactions,
    verifications: Verifications,
}

/// One producer, as DescribeProducers shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: i16,
    /// The timestamp of the newest batch's newest record, not the time of its arrival.
    pub(super) last_timestamp: i64,
    /// Of the newest marker; -1 is none.
    pub(super) coordinator_epoch: i32,
    /// The first record of its open transaction.
    pub(super) txn_first_offset: Option<i64>,
    /// Oldest first, all of the current epoch.
    batches: VecDeque<BatchMetadata>,
}

impl Producer {
    /// The sequence number of the last record; -1 when no batch is remembered.
    pub(super) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }
}

/// What is remembered of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchMetadata {
    first_sequence: i32,
    last_sequence: i32,
    first_offset: i64,
    last_offset: i64,
    timestamp: i64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It continues its producer's sequence, or has no producer.
    Append,
    /// It is stored already; the answer repeats where.
    Duplicate {
        /// The offset the batch got.
        first_offset: i64,
        /// The offset of its last record.
        last_offset: i64,
        /// The greatest timestamp of the batch.
        timestamp: i64,
    },
}

impl Producers {
    /// Decides about a batch that is about to be appended.
    ///
    /// A producer that the partition does not know may start at any sequence number (KIP-360).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_PRODUCER_EPOCH`] or [`ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER`];
    /// [`ErrorCode::INVALID_TXN_STATE`] for a transactional batch that was not verified, and for
    /// another batch within a transaction.
    pub(super) fn check(&self, batch: &BatchHeader) -> Result<Admission, ErrorCode> {
        if batch.producer_id < 0 {
            return Ok(Admission::Append);
        }
        let Some(known) = self.entries.get(&batch.producer_id) else {
            self.check_verified(batch)?;
            self.verifications.check(batch, false)?;
            return Ok(Admission::Append);
        };
        if batch.producer_epoch == known.epoch {
            let (first, last) = (batch.base_sequence, batch.last_sequence());
            let stored = known.batches.iter();
            let mut stored = stored.filter(|it| it.first_sequence == first);
            if let Some(stored) = stored.find(|it| it.last_sequence == last) {
                return Ok(Admission::Duplicate {
                    first_offset: stored.first_offset,
                    last_offset: stored.last_offset,
                    timestamp: stored.timestamp,
                });
            }
        }
        if batch.producer_epoch < known.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        self.check_verified(batch)?;
        self.verifications.check(batch, !known.batches.is_empty())?;
        let expected = if batch.producer_epoch == known.epoch {
            match known.last_sequence() {
                -1 => 0,
                last => sequence_after(last, 1),
            }
        } else {
            0
        };
        if known.epoch != -1 && batch.base_sequence != expected {
            return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        if known.txn_first_offset.is_some() && !batch.attributes.is_transactional() {
            return Err(ErrorCode::INVALID_TXN_STATE);
        }
        Ok(Admission::Append)
    }

    /// Whether the coordinator must be asked about a transactional batch; notes that it is.
    ///
    /// Source: `UnifiedLog.maybeStartTransactionVerification`.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_PRODUCER_EPOCH`].
    pub(super) fn begin_verification(
        &mut self,
        batch: &BatchHeader,
        bumps_epoch: bool,
        now: Timestamp,
    ) -> Result<bool, ErrorCode> {
        let known = self.entries.get(&batch.producer_id);
        if known.is_some_and(|known| batch.producer_epoch < known.epoch) {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        let is_needed = !self.is_in_transaction(batch);
        if is_needed {
            self.verifications.begin(batch, bumps_epoch, now);
        }
        Ok(is_needed)
    }

    /// Whether a batch goes on with an open transaction.
    fn is_in_transaction(&self, batch: &BatchHeader) -> bool {
        let known = self.entries.get(&batch.producer_id);
        known.is_some_and(|known| {
            known.txn_first_offset.is_some() && known.epoch == batch.producer_epoch
        })
    }

    fn check_verified(&self, batch: &BatchHeader) -> Result<(), ErrorCode> {
        let is_verified = !batch.attributes.is_transactional()
            || self.is_in_transaction(batch)
            || self.verifications.contains(batch.producer_id);
        if is_verified {
            Ok(())
        } else {
            Err(ErrorCode::INVALID_TXN_STATE)
        }
    }

    /// The producer of a batch, in the epoch of the batch.
    fn entry(&mut self, batch: &BatchHeader) -> &mut Producer {
        let fresh = || Producer {
            epoch: batch.producer_epoch,
            last_timestamp: batch.max_timestamp,
            coordinator_epoch: -1,
            txn_first_offset: None,
            batches: VecDeque::with_capacity(BATCHES_RETAINED),
        };
        let entry = self.entries.entry(batch.producer_id).or_insert_with(fresh);
        if entry.epoch != batch.producer_epoch {
            entry.batches.clear();
            entry.epoch = batch.producer_epoch;
        }
        entry
    }

    /// Remembers a batch of a log, be it of records or a marker; its header has its offsets.
    ///
    /// Answers the transaction if it is aborted and has records here.
    pub(super) fn note(
        &mut self,
        batch: &BatchHeader,
        payload: &[u8],
    ) -> Option<AbortedTransaction> {
        if let Some(marker) = read_marker(batch, payload) {
            return self.append_marker(batch, marker);
        }
        self.append(batch);
        None
    }

    fn append_marker(&mut self, batch: &BatchHeader, marker: Marker) -> Option<AbortedTransaction> {
        let entry = self.entry(batch);
        entry.last_timestamp = batch.max_timestamp;
        entry.coordinator_epoch = marker.coordinator_epoch;
        let first_offset = entry.txn_first_offset.take();
        self.verifications.end(batch);
        let (first_offset, last_offset) = (first_offset?, batch.base_offset);
        self.ongoing.complete(first_offset, last_offset);
        (!marker.is_commit).then_some(AbortedTransaction {
            producer_id: batch.producer_id,
            first_offset,
            last_offset,
        })
    }

    fn append(&mut self, batch: &BatchHeader) {
        if batch.producer_id < 0 {
            return;
        }
        let entry = self.entry(batch);
        if entry.batches.len() == BATCHES_RETAINED {
            entry.batches.pop_front();
        }
        entry.batches.push_back(BatchMetadata {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            first_offset: batch.base_offset,
            last_offset: batch.last_offset(),
            timestamp: batch.max_timestamp,
        });
        entry.last_timestamp = batch.max_timestamp;
        if batch.attributes.is_transactional() {
            if entry.txn_first_offset.is_none() {
                entry.txn_first_offset = Some(batch.base_offset);
                self.ongoing.begin(batch.base_offset);
            }
            self.verifications.end(batch);
        }
    }

    /// Forgets producers whose newest record is `expiration_ms` old, but for those with an open
    /// transaction.
    pub(super) fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.entries.retain(|_, entry| {
            entry.txn_first_offset.is_some()
                || now.0.saturating_sub(entry.last_timestamp) < expiration_ms
        });
        self.verifications.expire(now, expiration_ms);
    }

    /// The offsets of the newest records.
    pub(super) fn last_offsets(&self) -> impl Iterator<Item = i64> {
        let entries = self.entries.values();
        entries.filter_map(|entry| entry.batches.back().map(|batch| batch.last_offset))
    }

    /// What a snapshot holds: of each producer only its newest batch
    /// (`ProducerStateManager.writeSnapshot`).
    pub(super) fn newest_batches(&self) -> Self {
        let mut snapshot = self.clone();
        for entry in snapshot.entries.values_mut() {
            let older = entry.batches.len().saturating_sub(1);
            entry.batches.drain(..older);
        }
        snapshot
    }

    /// Forgets all producers without an open transaction.
    pub(super) fn clear(&mut self) {
        self.entries
            .retain(|_, entry| entry.txn_first_offset.is_some());
    }

    /// The producers by ascending id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::records::{BatchBuilder, Compression, NewRecord};
    use proptest::prelude::*;

    use super::*;

    /// A batch that was appended: epoch, first and last sequence, first offset.
    type Appended = (i16, i64, i64, i64);

    /// The rules again, over everything that was ever appended (B1 to B5).
    fn expected(history: &[Appended], batch: &BatchHeader) -> Result<Option<i64>, ErrorCode> {
        let wrap = |sequence: i64| sequence % (1 << 31);
        let Some((epoch, _, last, _)) = history.last().copied() else {
            return Ok(None);
        };
        if batch.producer_epoch < epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        let first = i64::from(batch.base_sequence);
        let range = (
            batch.producer_epoch,
            first,
            wrap(first + i64::from(batch.last_offset_delta)),
        );
        let newest = history.iter().rev().take(5);
        let mut same = newest.filter(|it| (it.0, it.1, it.2) == range);
        if let Some((_, _, _, offset)) = same.next() {
            return Ok(Some(*offset));
        }
        let next = if batch.producer_epoch == epoch {
            wrap(last + 1)
        } else {
            0
        };
        if first == next {
            Ok(None)
        } else {
            Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
        }
    }

    /// Sequence numbers on both sides of the wrap.
    fn sequences() -> impl Strategy<Value = i32> {
        prop_oneof![0..12_i32, i32::MAX - 6..=i32::MAX]
    }

    proptest! {
        #[test]
        fn admission_follows_the_rules(
            start in sequences(),
            batches in prop::collection::vec((0..3_i16, sequences(), 1..4_i32, 0..4_u8), 1..60),
        ) {
            let mut producers = Producers::default();
            let mut history: Vec<Appended> = Vec::new();
            let mut next_offset = 0;
            let mut template = BatchBuilder::new(Compression::None);
            template.push(&NewRecord::default()).unwrap();
            let template = template.build().unwrap().header;
            for (epoch, sequence, count, luck) in batches {
                // Mostly what a well-behaved producer would send next.
                let (epoch, sequence) = match history.last() {
                    None => (epoch, start),
                    Some(last) if luck > 0 => (last.0, sequence_after(i32::try_from(last.2).unwrap(), 1)),
                    Some(_) => (epoch, sequence),
                };
                let batch = BatchHeader {
                    base_offset: next_offset,
                    last_offset_delta: count - 1,
                    producer_id: 9,
                    producer_epoch: epoch,
                    base_sequence: sequence,
                    ..template
                };
                let admission = producers.check(&batch).map(|admission| match admission {
                    Admission::Append => None,
                    Admission::Duplicate { first_offset, .. } => Some(first_offset),
                });
                prop_assert_eq!(admission, expected(&history, &batch), "{:?}", batch);
                if admission == Ok(None) {
                    producers.append(&batch);
                    let last = i64::from(batch.last_sequence());
                    history.push((epoch, i64::from(sequence), last, next_offset));
                    next_offset = batch.next_offset();
                }
            }
        }
    }
}
