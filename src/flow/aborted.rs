//! Which batches of a Fetch answer belong to aborted transactions.
//!
//! A `read_committed` answer lists aborted transactions as (producer id, first offset); a batch is
//! skipped while its producer's aborted transaction is open, and an abort marker closes it. The
//! state belongs to one answer. Source: `CompletedFetch` of Kafka's consumer. The list is sorted
//! here: some brokers return it out of order.

use std::collections::BTreeSet;

use kmirror_protocol::{
    messages::fetch::FetchResponseAbortedTransaction,
    records::{BatchHeader, ControlType, records},
};

/// Walks the batches of one partition of one answer, in order.
#[derive(Debug)]
pub struct AbortedFilter {
    /// Sorted by first offset, last first, so that the next one is popped.
    pending: Vec<FetchResponseAbortedTransaction>,
    open: BTreeSet<i64>,
}

impl AbortedFilter {
    /// Starts before the first batch of an answer.
    #[must_use]
    pub fn new(mut aborted: Vec<FetchResponseAbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self {
            pending: aborted,
            open: BTreeSet::new(),
        }
    }

    /// Whether the batch belongs to an aborted transaction; `payload` is read for markers only.
    pub fn is_aborted(&mut self, header: &BatchHeader, payload: &[u8]) -> bool {
        while let Some(transaction) = self
            .pending
            .pop_if(|transaction| transaction.first_offset <= header.last_offset())
        {
            self.open.insert(transaction.producer_id);
        }
        if header.attributes.is_control() {
            if marker(header, payload) == Some(ControlType::Abort) {
                self.open.remove(&header.producer_id);
            }
            return false;
        }
        header.attributes.is_transactional() && self.open.contains(&header.producer_id)
    }
}

/// The kind of a control batch; `None` for an emptied or unreadable one. Markers are never
/// compressed.
fn marker(header: &BatchHeader, payload: &[u8]) -> Option<ControlType> {
    let record = records(payload, header.record_count).next()?.ok()?;
    ControlType::parse(record.key?).ok()
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::records::{
        Attributes, BatchBuilder, BatchProducer, BuiltBatch, Compression, EndTxnMarker, NewRecord,
    };

    use super::*;

    const PRODUCER: BatchProducer = BatchProducer {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: 0,
    };

    fn data(base_offset: i64, producer: BatchProducer, flags: i16) -> BuiltBatch {
        let mut builder = BatchBuilder::new(Compression::None)
            .producer(producer)
            .appended_at(base_offset, 0)
            .flags(flags);
        builder.push(&NewRecord::default()).unwrap();
        builder.build().unwrap()
    }

    fn marker_batch(base_offset: i64, kind: ControlType) -> BuiltBatch {
        let mut builder = BatchBuilder::new(Compression::None)
            .producer(BatchProducer {
                base_sequence: -1,
                ..PRODUCER
            })
            .appended_at(base_offset, 0)
            .flags(Attributes::TRANSACTIONAL | Attributes::CONTROL);
        builder
            .push_marker(
                kind,
                EndTxnMarker {
                    version: 0,
                    coordinator_epoch: 0,
                },
                0,
            )
            .unwrap();
        builder.build().unwrap()
    }

    fn aborted(first_offset: i64) -> FetchResponseAbortedTransaction {
        FetchResponseAbortedTransaction {
            producer_id: 7,
            first_offset,
        }
    }

    #[test]
    fn only_batches_between_the_first_offset_and_the_marker_are_aborted() {
        let transactional = Attributes::TRANSACTIONAL;
        let other = BatchProducer {
            producer_id: 8,
            ..PRODUCER
        };
        let log = [
            ("committed", data(0, PRODUCER, transactional), false),
            ("its marker", marker_batch(1, ControlType::Commit), false),
            ("aborted", data(2, PRODUCER, transactional), true),
            ("another producer", data(3, other, transactional), false),
            ("not transactional", data(4, PRODUCER, 0), false),
            ("aborted too", data(5, PRODUCER, transactional), true),
            ("its marker", marker_batch(6, ControlType::Abort), false),
            ("after it", data(7, PRODUCER, transactional), false),
            ("aborted again", data(9, PRODUCER, transactional), true),
        ];
        // Out of order, as some brokers return it.
        let mut filter = AbortedFilter::new(vec![aborted(9), aborted(2)]);
        for (case, batch, expected) in log {
            assert_eq!(
                filter.is_aborted(&batch.header, &batch.payload),
                expected,
                "{case}"
            );
        }
    }

    #[test]
    fn a_transaction_that_began_before_the_answer_is_known_from_the_start() {
        let mut filter = AbortedFilter::new(vec![aborted(0)]);
        let batch = data(50, PRODUCER, Attributes::TRANSACTIONAL);
        assert!(filter.is_aborted(&batch.header, &batch.payload));
    }
}
