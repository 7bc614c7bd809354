//! What a broker demands of a produced batch, and what it changes before storing it.
//!
//! A batch is stored as it came, but for a few header fields, when it has the codec the topic
//! wants; else it is rebuilt. Source: Kafka's `ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`, with their order of checks, since
//! that order decides which of two faults is reported.

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode, Malformed,
    records::{
        Attributes, Batch, BatchBuilder, BatchHeader, BuiltBatch, Compression, LogEntry, Record,
        batches, decompress, records,
    },
};

use super::{
    Timestamp,
    config::{TimestampType, TopicRules},
};

/// The most bytes a batch may decompress to.
pub(super) const DECOMPRESSED_LEN_MAX: usize = 1 << 29;

/// A batch that may be appended; base offset and leader epoch are not yet assigned.
#[derive(Debug)]
pub(super) struct Validated {
    pub(super) header: BatchHeader,
    /// The payload, if it is not the one that was produced.
    pub(super) rebuilt: Option<Bytes>,
}

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) code: ErrorCode,
    /// Only for faults of single records, as in Kafka.
    pub(super) message: Option<String>,
    /// Index and fault of each record that is to blame.
    pub(super) record_errors: Vec<(i32, String)>,
}

impl From<ErrorCode> for Rejection {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
            record_errors: Vec::new(),
        }
    }
}

/// The one batch that a Produce request of `version` carries for a partition.
///
/// # Errors
///
/// [`ErrorCode::INVALID_RECORD`] for none, several or an old format,
/// [`ErrorCode::CORRUPT_MESSAGE`] for lengths that cannot be,
/// [`ErrorCode::UNSUPPORTED_COMPRESSION_TYPE`] for zstd before version 7 (KIP-110).
pub(super) fn single_batch(blob: &[u8], version: i16) -> Result<Batch<'_>, ErrorCode> {
    let mut entries = batches(blob);
    let batch = match entries.next() {
        None | Some(Ok(LogEntry::Legacy(_))) => return Err(ErrorCode::INVALID_RECORD),
        Some(Ok(LogEntry::Batch(batch))) => batch,
        Some(Err(fault)) => return Err(unreadable(fault)),
    };
    if version < 7 && batch.header.attributes.compression().ok() == Some(Compression::Zstd) {
        return Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }
    match entries.next() {
        None => Ok(batch),
        Some(Ok(_)) => Err(ErrorCode::INVALID_RECORD),
        Some(Err(fault)) => Err(unreadable(fault)),
    }
}

/// The codec refuses in one step what Kafka refuses in several; this tells them apart again.
fn unreadable(fault: Malformed) -> ErrorCode {
    match fault.what {
        "RecordBatch.base_offset"
        | "RecordBatch.last_offset_delta"
        | "RecordBatch.record_count" => ErrorCode::INVALID_RECORD,
        _ => ErrorCode::CORRUPT_MESSAGE,
    }
}

/// Checks a batch as a topic's leader does, and gives it the form in which it is stored.
///
/// # Errors
///
/// [`Rejection`] with Kafka's error code; nothing is appended then.
pub(super) fn validate(
    batch: &Batch<'_>,
    rules: &TopicRules,
    now: Timestamp,
) -> Result<Validated, Rejection> {
    check_header(batch, rules)?;
    let source = batch.header.attributes.compression();
    let source = source.map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    let target = rules.compression.unwrap_or(source);
    let payload = decompress(source, batch.payload, DECOMPRESSED_LEN_MAX)
        .map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    let walk = check_records(&batch.header, &payload, rules, now)?;
    let is_uncompressed = source == Compression::None && target == Compression::None;
    let validated = if source != target {
        rebuild(&batch.header, &payload, target, rules, now)?
    } else if is_uncompressed || walk.is_dense {
        in_place(&batch.header, walk.max_timestamp, rules, now)
    } else {
        // Kafka then wants to rebuild the batch, but has skipped its keys and values.
        return Err(ErrorCode::UNKNOWN_SERVER_ERROR.into());
    };
    if validated.header.size() > rules.max_message_bytes {
        return Err(ErrorCode::MESSAGE_TOO_LARGE.into());
    }
    if validated.header.size() > rules.segment_bytes {
        return Err(ErrorCode::RECORD_LIST_TOO_LARGE.into());
    }
    Ok(validated)
}

fn check_header(batch: &Batch<'_>, rules: &TopicRules) -> Result<(), ErrorCode> {
    let header = &batch.header;
    if header.base_offset != 0 {
        return Err(ErrorCode::INVALID_RECORD);
    }
    if header.size() > rules.max_message_bytes {
        return Err(ErrorCode::MESSAGE_TOO_LARGE);
    }
    if !batch.verify_crc() {
        return Err(ErrorCode::CORRUPT_MESSAGE);
    }
    let is_sound = header.record_count > 0
        && header.last_offset_delta == header.record_count.saturating_sub(1)
        && !header.attributes.is_control()
        && (header.producer_id < 0 || header.base_sequence >= 0);
    if is_sound {
        Ok(())
    } else {
        Err(ErrorCode::INVALID_RECORD)
    }
}

/// What the records of a batch told.
struct Walk {
    /// -1 when no record has a timestamp.
    max_timestamp: i64,
    /// Whether offset deltas are 0, 1, 2 and so on.
    is_dense: bool,
}

fn check_records(
    header: &BatchHeader,
    payload: &[u8],
    rules: &TopicRules,
    now: Timestamp,
) -> Result<Walk, Rejection> {
    let mut walk = Walk {
        max_timestamp: -1,
        is_dense: true,
    };
    let mut is_late = false;
    let mut record_errors = Vec::new();
    for (index, record) in (0..).zip(records(payload, header.record_count)) {
        let record = record.map_err(|_| ErrorCode::INVALID_RECORD)?;
        let timestamp = record.timestamp(header);
        walk.max_timestamp = walk.max_timestamp.max(timestamp);
        walk.is_dense &= record.offset_delta == index;
        if let Some(fault) = key_fault(&record, rules) {
            record_errors.push((index, fault));
        } else if let Some(fault) = timestamp_fault(header, &record, rules, now) {
            is_late = true;
            record_errors.push((index, fault));
        }
    }
    if record_errors.is_empty() {
        return Ok(walk);
    }
    let (code, message) = if is_late {
        let message = "One or more records have been rejected due to invalid timestamp";
        (ErrorCode::INVALID_TIMESTAMP, message.to_owned())
    } else {
        let message = format!(
            "One or more records have been rejected due to {} record errors in total",
            record_errors.len()
        );
        (ErrorCode::INVALID_RECORD, message)
    };
    Err(Rejection {
        code,
        message: Some(message),
        record_errors,
    })
}

fn key_fault(record: &Record<'_>, rules: &TopicRules) -> Option<String> {
    (rules.is_compacted && record.key.is_none())
        .then(|| "Compacted topic cannot accept message without key".to_owned())
}

/// A topic that stamps its records itself refuses batches that claim to be stamped already; one
/// that does not ignores the claim, unless there is no time at all to go by.
fn timestamp_fault(
    header: &BatchHeader,
    record: &Record<'_>,
    rules: &TopicRules,
    now: Timestamp,
) -> Option<String> {
    let timestamp = record.timestamp(header);
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != -1 {
        let age_ms = now.0.wrapping_sub(timestamp);
        let is_out_of_range = age_ms > rules.timestamp_before_max_ms
            || age_ms.wrapping_neg() > rules.timestamp_after_max_ms;
        return is_out_of_range.then(|| {
            format!(
                "Timestamp {timestamp} of message with offset {} is out of range. The timestamp \
                 should be within [{}, {}]",
                record.offset(header),
                now.0.wrapping_sub(rules.timestamp_before_max_ms),
                now.0.wrapping_add(rules.timestamp_after_max_ms),
            )
        });
    }
    header
        .attributes
        .is_log_append_time()
        .then(|| "Producer should not set timestamp type to LogAppendTime.".to_owned())
}

/// The batch with only its timestamp fields set right, and the checksum with them.
///
/// Source: `DefaultRecordBatch.setMaxTimestamp`, which drops the unknown attribute bits if, and
/// only if, it changes anything.
fn in_place(
    header: &BatchHeader,
    max_timestamp: i64,
    rules: &TopicRules,
    now: Timestamp,
) -> Validated {
    let (type_bit, max_timestamp) = match rules.timestamp_type {
        TimestampType::LogAppendTime => (Attributes::LOG_APPEND_TIME, now.0),
        TimestampType::CreateTime => (0, max_timestamp),
    };
    let has_type = header.attributes.0 & Attributes::LOG_APPEND_TIME == type_bit;
    if has_type && header.max_timestamp == max_timestamp {
        return Validated {
            header: *header,
            rebuilt: None,
        };
    }
    let kept = Attributes::CODEC
        | Attributes::TRANSACTIONAL
        | Attributes::CONTROL
        | Attributes::DELETE_HORIZON;
    let changed = BatchHeader {
        attributes: Attributes(header.attributes.0 & kept | type_bit),
        max_timestamp,
        ..*header
    };
    Validated {
        header: changed.with_crc_from(header),
        rebuilt: None,
    }
}

/// The batch with another codec; holes between offsets are closed and flags are lost on the way.
fn rebuild(
    header: &BatchHeader,
    payload: &[u8],
    target: Compression,
    rules: &TopicRules,
    now: Timestamp,
) -> Result<Validated, ErrorCode> {
    let mut builder = BatchBuilder::new(target)
        .producer(header.producer())
        .flags(header.attributes.0 & Attributes::TRANSACTIONAL);
    if let Some(level) = rules.compression_level {
        builder = builder.level(level);
    }
    if rules.timestamp_type == TimestampType::LogAppendTime {
        builder = builder.log_append_time(now.0);
    }
    for record in records(payload, header.record_count) {
        let record = record.map_err(|_| ErrorCode::INVALID_RECORD)?;
        builder
            .copy(&record, record.timestamp(header))
            .map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    }
    let built = builder.build();
    let BuiltBatch { header, payload } = built.map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    Ok(Validated {
        header,
        rebuilt: Some(payload),
    })
}
