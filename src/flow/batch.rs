//! What becomes of one fetched batch, decided on its header alone.
//!
//! The order of the questions is that of the rules they protect: an incomplete or foreign batch
//! is never touched, markers and empty batches never reach the target, and only a batch whose
//! payload is exactly what the target must store passes as it is.

use kmirror_protocol::records::BatchHeader;

/// What is done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Forward the payload as it is, under a new header.
    Pass,
    /// Copy nothing of it; the position moves past it.
    Drop(DropReason),
    /// Decode it, and build a batch of the records that are wanted.
    Rebuild(RebuildReason),
}

/// Why nothing of a batch is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// All of it lies below the position.
    AlreadyCopied,
    /// A transaction marker, which no consumer sees.
    Control,
    /// The cleaner emptied it and kept it for its producer's state.
    Empty,
    /// Its transaction was aborted.
    Aborted,
}

impl DropReason {
    /// Its name as the label of a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AlreadyCopied => "already-copied",
            Self::Control => "control",
            Self::Empty => "empty",
            Self::Aborted => "aborted",
        }
    }
}

/// Why a batch cannot pass as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RebuildReason {
    /// The position lies inside it (stored by MM2 record by record, or after `DeleteRecords`).
    Trim,
    /// Compaction took records out of it; a broker refuses a batch whose offsets have holes.
    Holes,
    /// Its records are seen with the time the source appended them, not with their own.
    LogAppendTime,
    /// It stands for messages of magic 0 or 1, which no broker takes any more.
    OldFormat,
}

impl RebuildReason {
    /// Its name as the label of a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::Holes => "holes",
            Self::LogAppendTime => "log-append-time",
            Self::OldFormat => "old-format",
        }
    }
}

/// Decides about a batch when `next_offset` is the first offset still wanted.
///
/// `is_aborted` tells whether the batch belongs to an aborted transaction. Rules: a broker takes
/// no control batch, no empty batch, and none whose count differs from its offset range
/// (`LogValidator.validateBatch`); it returns whole batches even when the fetch offset lies inside.
#[must_use]
pub fn decide(header: &BatchHeader, next_offset: i64, is_aborted: bool) -> Decision {
    if header.last_offset() < next_offset {
        return Decision::Drop(DropReason::AlreadyCopied);
    }
    if header.attributes.is_control() {
        return Decision::Drop(DropReason::Control);
    }
    if header.record_count == 0 {
        return Decision::Drop(DropReason::Empty);
    }
    if is_aborted {
        return Decision::Drop(DropReason::Aborted);
    }
    if header.base_offset < next_offset {
        return Decision::Rebuild(RebuildReason::Trim);
    }
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return Decision::Rebuild(RebuildReason::Holes);
    }
    if header.attributes.is_log_append_time() {
        return Decision::Rebuild(RebuildReason::LogAppendTime);
    }
    Decision::Pass
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::records::Attributes;

    use super::*;

    const CONTROL: i16 = 0x20;
    const LOG_APPEND_TIME: i16 = 0x08;

    fn header(
        base_offset: i64,
        last_offset_delta: i32,
        count: i32,
        attributes: i16,
    ) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 100,
            partition_leader_epoch: 3,
            magic: 2,
            crc: 0,
            attributes: Attributes(attributes),
            last_offset_delta,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: count,
        }
    }

    #[test]
    fn each_kind_of_batch_gets_its_decision() {
        use Decision::{Drop, Pass, Rebuild};
        let cases = [
            ("whole", header(10, 4, 5, 0), false, Pass),
            ("compressed", header(10, 4, 5, 4), false, Pass),
            ("committed transaction", header(10, 4, 5, 0x10), false, Pass),
            ("delete horizon", header(10, 4, 5, 0x40), false, Pass),
            (
                "aborted",
                header(10, 4, 5, 0x10),
                true,
                Drop(DropReason::Aborted),
            ),
            (
                "below",
                header(5, 4, 5, 0),
                false,
                Drop(DropReason::AlreadyCopied),
            ),
            (
                "marker",
                header(10, 0, 1, CONTROL | 0x10),
                false,
                Drop(DropReason::Control),
            ),
            (
                "emptied marker",
                header(10, 0, 0, CONTROL),
                false,
                Drop(DropReason::Control),
            ),
            (
                "emptied",
                header(10, 4, 0, 0),
                false,
                Drop(DropReason::Empty),
            ),
            (
                "position inside",
                header(8, 4, 5, 0),
                false,
                Rebuild(RebuildReason::Trim),
            ),
            (
                "holes",
                header(10, 9, 5, 0),
                false,
                Rebuild(RebuildReason::Holes),
            ),
            (
                "append time",
                header(10, 4, 5, LOG_APPEND_TIME),
                false,
                Rebuild(RebuildReason::LogAppendTime),
            ),
        ];
        for (case, header, is_aborted, expected) in cases {
            assert_eq!(decide(&header, 10, is_aborted), expected, "{case}");
        }
    }
}
