//! Record batches: reading, readdressing, checking and building them.
//!
//! A batch (magic 2, since Kafka 0.11, KIP-98) is a header of 61 bytes and a payload:
//!
//! ```text
//!  at  len  field
//!   0    8  base_offset
//!   8    4  batch_length             bytes after this field
//!  12    4  partition_leader_epoch
//!  16    1  magic                    2
//!  17    4  crc                      CRC-32C of all that follows
//!  21    2  attributes               bits 0-2 codec, 3 log append time, 4 transactional,
//!                                    5 control, 6 delete horizon
//!  23    4  last_offset_delta
//!  27    8  base_timestamp           ms
//!  35    8  max_timestamp            ms
//!  43    8  producer_id
//!  51    2  producer_epoch
//!  53    4  base_sequence
//!  57    4  record_count
//!  61       payload                  records, compressed as a whole
//!
//! record, every number a zig-zag varint but attributes:
//!   length, attributes (1 byte), timestamp_delta, offset_delta,
//!   key length (-1 null), key, value length (-1 null), value,
//!   header count, then per header: key length, key, value length (-1 null), value
//! ```
//!
//! A batch that is only passed on keeps its payload: [`BatchHeader::readdressed`] gives the header
//! to send it under. Records are read by [`records()`] after [`decompress`], and written by
//! [`BatchBuilder`]. Messages of the formats before it are read and converted by
//! [`LegacyConverter`].

mod batch;
mod builder;
mod check;
mod compression;
mod control;
mod crc;
mod entries;
mod legacy;
mod record;

pub use batch::{Attributes, BatchHeader, BatchProducer, LOG_OVERHEAD, MAGIC, sequence_after};
pub use builder::{BatchBuilder, BuildError, BuiltBatch, NO_TIMESTAMP, NewRecord};
pub use check::{
    CheckedRecords, RecordSummary, RecordViolation, Violation, check_outgoing, check_records,
    summarize,
};
pub use compression::{Compression, CompressionError, compress, decompress};
pub use control::{ControlType, EndTxnMarker};
pub use entries::{Batch, Batches, LogEntry, batches};
pub use legacy::{
    ConvertLimits, LegacyConverter, LegacyError, LegacyMessage, LegacyRecord, LegacyRecordIter,
    LegacyRecords,
};
pub use record::{Header, HeaderIter, Headers, RECORD_LEN_MIN, Record, RecordIter, records};

/// How many bytes the header of a record batch takes (magic 2).
pub const HEADER_LEN: usize = 61;
