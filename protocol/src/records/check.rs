//! What a broker requires of a produced batch, checked before it is sent.
//!
//! A broker that validates strictly would refuse such a batch; one that does not would store it,
//! and some violations then corrupt the log silently. [`check_outgoing`] looks at the header alone
//! and is cheap enough for every batch; [`check_records`] reads every record, for tests and for
//! the sandbox broker. Source: Kafka's `LogValidator`, `UnifiedLog` and `DefaultRecordBatch`.

use super::{
    CompressionError, HEADER_LEN,
    batch::{Attributes, BatchHeader, BatchProducer, MAGIC},
    compression::{Compression, decompress},
    record::{RecordIter, records},
};
use crate::wire::Malformed;

/// The rule that the header of an outgoing batch breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Only magic 2 is produced (`ProduceRequest.validateRecords`).
    Magic(i8),
    /// The length field and the payload disagree.
    Size {
        /// What the header says the batch takes, in bytes.
        header: usize,
        /// What it takes, in bytes.
        actual: usize,
    },
    /// The base offset of a client's batch is 0 (`UnifiedLog.analyzeAndValidateRecords`).
    BaseOffset(i64),
    /// Only brokers write control batches (`LogValidator.validateBatch`).
    Control,
    /// A batch has at least one record (`LogValidator.validateBatch`).
    Empty,
    /// A batch covers as many offsets as it has records (`LogValidator.validateBatch`).
    OffsetRange {
        /// The records, as counted by the header.
        record_count: i32,
        /// The last offset minus the first.
        last_offset_delta: i32,
    },
    /// Producer id, epoch and sequence are all set or all -1 (`LogValidator.validateBatch`
    /// refuses only an id without a sequence, and stores the other mixtures).
    Producer(BatchProducer),
    /// Only the codec's bits are set, and that of a transaction where there is a producer: brokers
    /// store some others as they come, and then obey them.
    Attributes(Attributes),
    /// The codec's id is not one of Kafka's.
    Codec(i16),
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Magic(magic) => write!(f, "magic is {magic}, not 2"),
            Self::Size { header, actual } => {
                write!(f, "the header says {header} bytes, but there are {actual}")
            }
            Self::BaseOffset(offset) => write!(f, "base offset is {offset}, not 0"),
            Self::Control => f.write_str("a control batch"),
            Self::Empty => f.write_str("a batch without records"),
            Self::OffsetRange {
                record_count,
                last_offset_delta,
            } => write!(
                f,
                "{record_count} records, but last offset delta {last_offset_delta}"
            ),
            Self::Producer(producer) => write!(
                f,
                "producer id {}, epoch {} and sequence {} are neither all set nor all -1",
                producer.producer_id, producer.producer_epoch, producer.base_sequence
            ),
            Self::Attributes(attributes) => {
                write!(
                    f,
                    "attributes {:#06x} have more than a codec and a producer's transaction",
                    attributes.0
                )
            }
            Self::Codec(id) => write!(f, "compression codec {id} is unknown"),
        }
    }
}

impl std::error::Error for Violation {}

/// Checks the header of a batch that is about to be produced, and that `payload_len` bytes follow.
///
/// # Errors
///
/// The first [`Violation`] found.
pub fn check_outgoing(header: &BatchHeader, payload_len: usize) -> Result<(), Violation> {
    if header.magic != MAGIC {
        return Err(Violation::Magic(header.magic));
    }
    let actual = payload_len.saturating_add(HEADER_LEN);
    if header.size() != actual {
        let header = header.size();
        return Err(Violation::Size { header, actual });
    }
    if header.base_offset != 0 {
        return Err(Violation::BaseOffset(header.base_offset));
    }
    if header.attributes.is_control() {
        return Err(Violation::Control);
    }
    if header.record_count <= 0 {
        return Err(Violation::Empty);
    }
    if header.last_offset_delta != header.record_count.saturating_sub(1) {
        return Err(Violation::OffsetRange {
            record_count: header.record_count,
            last_offset_delta: header.last_offset_delta,
        });
    }
    let producer = header.producer();
    let is_idempotent =
        producer.producer_id >= 0 && producer.producer_epoch >= 0 && producer.base_sequence >= 0;
    if !is_idempotent && producer != BatchProducer::NONE {
        return Err(Violation::Producer(producer));
    }
    let allowed = if is_idempotent {
        Attributes::CODEC | Attributes::TRANSACTIONAL
    } else {
        Attributes::CODEC
    };
    if header.attributes.0 & !allowed != 0 {
        return Err(Violation::Attributes(header.attributes));
    }
    match header.attributes.compression() {
        Ok(_) => Ok(()),
        Err(_) => Err(Violation::Codec(header.attributes.0)),
    }
}

/// What walking over the records of a batch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSummary {
    /// How many records there are.
    pub record_count: i32,
    /// The largest timestamp delta; `None` without records.
    pub timestamp_delta_max: Option<i64>,
    /// Whether offset deltas are 0, 1, 2 and so on, without holes.
    pub is_dense: bool,
    /// Whether every record has a key, as compacted topics require (`LogValidator.validateKey`).
    pub has_all_keys: bool,
}

/// Reads every record, and with it every header.
///
/// # Errors
///
/// [`Malformed`] when the payload does not hold exactly the promised number of records.
pub fn summarize(records: RecordIter<'_>) -> Result<RecordSummary, Malformed> {
    let mut summary = RecordSummary {
        record_count: 0,
        timestamp_delta_max: None,
        is_dense: true,
        has_all_keys: true,
    };
    for record in records {
        let record = record?;
        summary.is_dense &= record.offset_delta == summary.record_count;
        summary.has_all_keys &= record.key.is_some();
        summary.timestamp_delta_max = summary
            .timestamp_delta_max
            .max(Some(record.timestamp_delta));
        summary.record_count = summary.record_count.saturating_add(1);
    }
    Ok(summary)
}

/// What [`check_records`] found in records that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedRecords {
    /// The largest timestamp of the records in milliseconds, whatever the header says; -1 is none.
    ///
    /// Kafka replaces the header's by it (`DefaultRecordBatch.setMaxTimestamp`); others trust the
    /// header.
    pub max_timestamp: i64,
    /// What the walk told. `is_dense` is true unless the batch is uncompressed: brokers do not
    /// check there, and a batch with holes corrupts their log.
    pub summary: RecordSummary,
}

/// The rule that the records of a batch break.
#[derive(Debug)]
pub enum RecordViolation {
    /// The payload does not decompress.
    Compression(CompressionError),
    /// The records cannot be read, or are not as many as the header says.
    Malformed(Malformed),
    /// Offset deltas of a compressed batch are not 0, 1, 2 and so on (`LogValidator`).
    OffsetDeltas,
}

impl std::fmt::Display for RecordViolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compression(cause) => cause.fmt(f),
            Self::Malformed(cause) => cause.fmt(f),
            Self::OffsetDeltas => f.write_str("a compressed batch has holes between its offsets"),
        }
    }
}

impl std::error::Error for RecordViolation {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compression(cause) => Some(cause),
            Self::Malformed(cause) => Some(cause),
            Self::OffsetDeltas => None,
        }
    }
}

/// Checks the records of a batch as a broker does, at most `output_len_max` bytes of them.
///
/// # Errors
///
/// The first [`RecordViolation`] found.
pub fn check_records(
    header: &BatchHeader,
    payload: &[u8],
    output_len_max: usize,
) -> Result<CheckedRecords, RecordViolation> {
    let codec = header
        .attributes
        .compression()
        .map_err(RecordViolation::Compression)?;
    let payload =
        decompress(codec, payload, output_len_max).map_err(RecordViolation::Compression)?;
    let summary =
        summarize(records(&payload, header.record_count)).map_err(RecordViolation::Malformed)?;
    if codec != Compression::None && !summary.is_dense {
        return Err(RecordViolation::OffsetDeltas);
    }
    let max_timestamp = summary
        .timestamp_delta_max
        .map_or(-1, |delta| header.base_timestamp.wrapping_add(delta));
    Ok(CheckedRecords {
        max_timestamp,
        summary,
    })
}

#[cfg(test)]
#[cfg(all(
    feature = "gzip",
    feature = "lz4",
    feature = "snappy",
    feature = "zstd"
))]
mod tests {
    use super::*;
    use crate::{
        records::{BatchBuilder, BuiltBatch, NewRecord},
        wire::Why,
    };

    const VALUE: NewRecord<'_> = NewRecord {
        timestamp: 1_000,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: &[],
    };

    fn batch(codec: Compression, offset_deltas: &[i32]) -> BuiltBatch {
        let mut builder = BatchBuilder::new(codec);
        for &delta in offset_deltas {
            let timestamp = VALUE.timestamp - i64::from(delta);
            let record = NewRecord { timestamp, ..VALUE };
            builder.push_at(delta, &record).unwrap();
        }
        builder.build().unwrap()
    }

    fn check(batch: &BuiltBatch) -> Result<CheckedRecords, RecordViolation> {
        check_records(&batch.header, &batch.payload, 1_000_000)
    }

    #[test]
    fn each_rule_of_the_header_is_named() {
        let BuiltBatch { header, payload } = batch(Compression::Zstd, &[0, 1, 2]);
        assert_eq!(check_outgoing(&header, payload.len()), Ok(()));

        let producer = |producer_id, producer_epoch, base_sequence| BatchProducer {
            producer_id,
            producer_epoch,
            base_sequence,
        };
        let range = |record_count, last_offset_delta| Violation::OffsetRange {
            record_count,
            last_offset_delta,
        };
        let flagged = |bits| Attributes(header.attributes.0 | bits);
        #[rustfmt::skip]
        let cases = [
            (BatchHeader { magic: 1, ..header }, Violation::Magic(1)),
            (BatchHeader { base_offset: 1, ..header }, Violation::BaseOffset(1)),
            (BatchHeader { attributes: flagged(1 << 5), ..header }, Violation::Control),
            (BatchHeader { record_count: 0, ..header }, Violation::Empty),
            (BatchHeader { record_count: -1, ..header }, Violation::Empty),
            (BatchHeader { record_count: 2, ..header }, range(2, 2)),
            (BatchHeader { last_offset_delta: 5, ..header }, range(3, 5)),
            (BatchHeader { producer_id: 7, ..header }, Violation::Producer(producer(7, -1, -1))),
            (BatchHeader { base_sequence: 7, ..header }, Violation::Producer(producer(-1, -1, 7))),
            (BatchHeader { producer_epoch: 7, ..header }, Violation::Producer(producer(-1, 7, -1))),
            (BatchHeader { attributes: Attributes(6), ..header }, Violation::Codec(6)),
        ];
        for (header, violation) in cases {
            assert_eq!(check_outgoing(&header, payload.len()), Err(violation));
        }
        for bit in [3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
            let attributes = flagged(1 << bit);
            let header = BatchHeader {
                attributes,
                ..header
            };
            assert_eq!(
                check_outgoing(&header, payload.len()),
                Err(Violation::Attributes(attributes))
            );
        }
        let of_transaction = BatchHeader {
            attributes: flagged(Attributes::TRANSACTIONAL),
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: 0,
            ..header
        };
        assert_eq!(check_outgoing(&of_transaction, payload.len()), Ok(()));
        let actual = header.size() + 1;
        assert_eq!(
            check_outgoing(&header, payload.len() + 1),
            Err(Violation::Size {
                header: header.size(),
                actual
            })
        );
    }

    #[test]
    fn the_largest_timestamp_is_that_of_the_records() {
        for codec in Compression::ALL {
            let mut batch = batch(codec, &[0, 1, 2]);
            batch.header.max_timestamp = 7;
            let checked = check(&batch).unwrap();
            assert_eq!(checked.max_timestamp, 1_000, "{codec}");
            assert_eq!(checked.summary.record_count, 3);
            assert!(checked.summary.is_dense && checked.summary.has_all_keys);
        }
    }

    #[test]
    fn holes_are_refused_where_kafka_refuses_them_and_seen_elsewhere() {
        for (deltas, is_dense) in [
            (&[0, 1, 2][..], true),
            (&[0, 2, 5], false),
            (&[1, 2, 3], false),
            (&[0, 0, 1], false),
        ] {
            let plain = check(&batch(Compression::None, deltas)).unwrap();
            assert_eq!(plain.summary.is_dense, is_dense, "{deltas:?}");
            let gzip = check(&batch(Compression::Gzip, deltas));
            assert_eq!(gzip.is_ok(), is_dense, "{deltas:?}");
        }
    }

    #[test]
    fn a_count_that_is_not_the_payloads_is_malformed() {
        for (count, why) in [(2, Why::TrailingBytes), (4, Why::Truncated)] {
            for codec in Compression::ALL {
                let mut batch = batch(codec, &[0, 1, 2]);
                batch.header.record_count = count;
                let Err(RecordViolation::Malformed(fault)) = check(&batch) else {
                    panic!("{codec}: {count} records are accepted");
                };
                assert_eq!(fault.why, why, "{codec}");
            }
        }
    }

    #[test]
    fn a_missing_key_is_seen() {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&VALUE).unwrap();
        builder.push(&NewRecord { key: None, ..VALUE }).unwrap();
        let checked = check(&builder.build().unwrap()).unwrap();
        assert!(!checked.summary.has_all_keys);
    }
}
