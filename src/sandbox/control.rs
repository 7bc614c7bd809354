//! Transaction markers as batches of a log.
//!
//! Source: Kafka's `MemoryRecords.withEndTransactionMarker` and `EndTransactionMarker`.

use kmirror_protocol::records::{
    Attributes, BatchBuilder, BatchHeader, BatchProducer, BuiltBatch, Compression, ControlType,
    EndTxnMarker, records,
};

use super::{Timestamp, transactions::ProducerIdAndEpoch};

/// How a transaction ended in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) producer: ProducerIdAndEpoch,
    pub(super) is_commit: bool,
    pub(super) coordinator_epoch: i32,
}

/// The batch that says so; `is_stamped` on topics that stamp their records themselves.
pub(super) fn marker_batch(marker: Marker, now: Timestamp, is_stamped: bool) -> BuiltBatch {
    let mut builder = BatchBuilder::new(Compression::None)
        .producer(BatchProducer {
            producer_id: marker.producer.id,
            producer_epoch: marker.producer.epoch,
            base_sequence: -1,
        })
        .flags(Attributes::TRANSACTIONAL | Attributes::CONTROL);
    if is_stamped {
        builder = builder.log_append_time(now.0);
    }
    let control = if marker.is_commit {
        ControlType::Commit
    } else {
        ControlType::Abort
    };
    let value = EndTxnMarker {
        version: 0,
        coordinator_epoch: marker.coordinator_epoch,
    };
    builder
        .push_marker(control, value, now.0)
        .and_then(|()| builder.build())
        .expect("a batch of one small record can be built")
}

/// The marker in a batch of a log; `None` for a batch of records.
pub(super) fn read_marker(header: &BatchHeader, payload: &[u8]) -> Option<Marker> {
    if !header.attributes.is_control() {
        return None;
    }
    let record = records(payload, header.record_count).next()?.ok()?;
    let value = EndTxnMarker::parse(record.value?).ok()?;
    let is_commit = match ControlType::parse(record.key?).ok()? {
        ControlType::Commit => true,
        ControlType::Abort => false,
        _ => return None,
    };
    Some(Marker {
        producer: ProducerIdAndEpoch {
            id: header.producer_id,
            epoch: header.producer_epoch,
        },
        is_commit,
        coordinator_epoch: value.coordinator_epoch,
    })
}
