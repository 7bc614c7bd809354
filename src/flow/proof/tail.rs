//! The cheap proof: the last batch alone, when all arithmetic agrees with it.
//!
//! A run of batches of one lineage, with no one else between, is repetition-free and complete
//! (B2); its length is known twice, by sequence numbers and by offsets, and the bytes of its last
//! batch say that the source's records have been counted rightly. Not for flows that choose among
//! records, nor where others write.

use kmirror_protocol::records::{Batch, BatchHeader, sequence_after};

use super::{cursor::is_same_batch, tally::sequence_distance};
use crate::{flow::ActiveProducer, offsets::state::Anchor};

/// What is known of a partition whose window has not been read.
#[derive(Clone, Copy, Debug)]
pub struct TailEvidence<'a> {
    /// The newest anchor, not yet compared with the target's log.
    pub anchor: &'a Anchor,
    /// Where the target's log ends, all of it committed.
    pub target_end: i64,
    /// The lineage in the leader's memory.
    pub producer: ActiveProducer,
    /// The last batch of the target's log.
    pub target: Batch<'a>,
    /// The source's batch that ends where counting says; see [`TailEvidence::source_end`].
    pub source: Batch<'a>,
}

impl TailEvidence<'_> {
    /// The source position that sequence arithmetic gives, if it agrees with the target's offsets:
    /// the source's batch to fetch is the one that ends just below.
    ///
    /// The anchor's lineage must be the last writer, outside any transaction, and all records since
    /// the anchor its own.
    #[must_use]
    pub fn source_end(anchor: &Anchor, target_end: i64, producer: &ActiveProducer) -> Option<i64> {
        let is_lineage = producer.producer_id == anchor.lineage.producer_id
            && producer.producer_epoch == i32::from(anchor.lineage.epoch)
            && producer.transaction_start_offset < 0;
        let next_sequence = match producer.last_sequence {
            ..-1 => return None,
            -1 => 0,
            last => sequence_after(last, 1),
        };
        let count = i64::from(sequence_distance(anchor.next_sequence, next_sequence)?);
        let is_sole_writer = anchor.target_offset.checked_add(count)? == target_end;
        (is_lineage && is_sole_writer)
            .then(|| anchor.source_offset.checked_add(count))
            .flatten()
    }
}

/// The source position up to which everything is on the target, if the last batch proves it;
/// `None` sends to the full proof.
///
/// With nothing written since the anchor there is no batch to compare, and none is needed: an
/// empty window is what [`super::Proof`] proves without reading.
#[must_use]
pub fn tail_proves(evidence: &TailEvidence<'_>) -> Option<i64> {
    let TailEvidence {
        anchor,
        target_end,
        producer,
        target,
        source,
    } = evidence;
    let source_end = TailEvidence::source_end(anchor, *target_end, producer)?;
    (is_tail(evidence) && is_counterpart(source, target, source_end, anchor)).then_some(source_end)
}

/// Whether the target's batch is the lineage's last one, at the end of the log, whole and sound.
fn is_tail(evidence: &TailEvidence<'_>) -> bool {
    let (anchor, target) = (evidence.anchor, &evidence.target);
    let header = &target.header;
    let attributes = header.attributes;
    header.producer_id == anchor.lineage.producer_id
        && header.producer_epoch == anchor.lineage.epoch
        && header.base_sequence >= 0
        && header.last_sequence() == evidence.producer.last_sequence
        && header.next_offset() == evidence.target_end
        && header.base_offset >= anchor.target_offset
        && is_of_anchors_epoch(header, anchor)
        && !attributes.is_transactional()
        && !attributes.is_control()
        && is_dense(target)
        && target.verify_crc()
}

/// Whether a batch behind an anchor was written under the leader epoch of the record before it.
///
/// Then that record is in this log, at its place (R10). Numbers and offsets agree also where the log
/// has lost both and got them again behind as many records of others: the position is right then,
/// but not what is stored of the offsets below.
fn is_of_anchors_epoch(header: &BatchHeader, anchor: &Anchor) -> bool {
    let epoch = anchor.previous.map(|previous| previous.leader_epoch);
    epoch.is_none_or(|epoch| header.partition_leader_epoch == epoch)
}

/// Whether the source's batch covers exactly the last offsets below `source_end`, above the anchor,
/// and holds the same records.
fn is_counterpart(
    source: &Batch<'_>,
    target: &Batch<'_>,
    source_end: i64,
    anchor: &Anchor,
) -> bool {
    source.header.next_offset() == source_end
        && source.header.base_offset >= anchor.source_offset
        && !source.header.attributes.is_control()
        && is_dense(source)
        && source.verify_crc()
        && is_same_batch(
            (&source.header, source.payload),
            (&target.header, target.payload),
        )
}

/// Whether the batch has a record at each of its offsets, and at least one.
fn is_dense(batch: &Batch<'_>) -> bool {
    let (count, delta) = (batch.header.record_count, batch.header.last_offset_delta);
    count > 0 && i64::from(count) == i64::from(delta).saturating_add(1)
}
