//! Compaction: of each key only the newest record is kept, and tombstones go in time.
//!
//! Source: Kafka's `Cleaner` and `MemoryRecords.filterTo`. The newest batch counts for the active
//! segment, which is never cleaned. Batches of transactions are kept as they are.

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::records::{
    Attributes, BatchBuilder, BatchHeader, BuildError, BuiltBatch, Header, NewRecord, Record,
    decompress, records,
};

use super::{
    Timestamp,
    log::{Log, StoredBatch},
    validate::DECOMPRESSED_LEN_MAX,
};

/// The newest offset of each key.
type NewestOffsets = BTreeMap<Vec<u8>, i64>;

/// What is kept of a batch.
enum Kept {
    AsItIs,
    Rebuilt(StoredBatch),
    Nothing,
}

/// What one cleaning goes by.
struct Cleaner {
    now: Timestamp,
    /// How long a tombstone stays after its first cleaning, in milliseconds.
    delete_retention_ms: i64,
    newest: NewestOffsets,
    /// The last offsets of batches that stay even without records: the newest of each producer,
    /// which tells its sequence, and the last that is cleaned.
    landmarks: BTreeSet<i64>,
}

/// Compacts what is committed of a log, but for its newest batch.
pub(super) fn compact(log: &mut Log, now: Timestamp, delete_retention_ms: i64) {
    let committed = log.high_watermark();
    let mut batches: Vec<StoredBatch> = log.batches().cloned().collect();
    let newest = batches.pop();
    let cleanable = batches.partition_point(|it| it.header.next_offset() <= committed);
    let active: Vec<StoredBatch> = batches.drain(cleanable..).chain(newest).collect();
    let Some(last) = batches.last() else {
        return;
    };
    let mut landmarks: BTreeSet<i64> = log.producers.last_offsets().collect();
    landmarks.insert(last.header.last_offset());
    let cleaner = Cleaner {
        now,
        delete_retention_ms,
        newest: newest_offsets(&batches),
        landmarks,
    };
    let mut cleaned = Vec::with_capacity(batches.len());
    for batch in batches {
        match cleaner.clean(&batch) {
            Kept::AsItIs => cleaned.push(batch),
            Kept::Rebuilt(rebuilt) => cleaned.push(rebuilt),
            Kept::Nothing => {}
        }
    }
    cleaned.extend(active);
    log.replace_batches(cleaned);
}

fn newest_offsets(batches: &[StoredBatch]) -> NewestOffsets {
    let mut newest = NewestOffsets::new();
    for batch in batches.iter().filter(|batch| !is_of_transaction(batch)) {
        let Some(payload) = unpacked(batch) else {
            continue;
        };
        let records = records(&payload, batch.header.record_count).map_while(Result::ok);
        for record in records {
            if let Some(key) = record.key {
                newest.insert(key.to_vec(), record.offset(&batch.header));
            }
        }
    }
    newest
}

const fn is_of_transaction(batch: &StoredBatch) -> bool {
    let attributes = batch.header.attributes;
    attributes.is_control() || attributes.is_transactional()
}

fn unpacked(batch: &StoredBatch) -> Option<std::borrow::Cow<'_, [u8]>> {
    let codec = batch.header.attributes.compression().ok()?;
    decompress(codec, batch.payload(), DECOMPRESSED_LEN_MAX).ok()
}

impl Cleaner {
    fn clean(&self, batch: &StoredBatch) -> Kept {
        let Some(payload) = unpacked(batch).filter(|_| !is_of_transaction(batch)) else {
            return Kept::AsItIs;
        };
        let header = &batch.header;
        let all = records(&payload, header.record_count);
        let kept: Vec<Record<'_>> = all
            .map_while(Result::ok)
            .filter(|record| self.keeps(header, record))
            .collect();
        if kept.is_empty() {
            return if self.landmarks.contains(&header.last_offset()) {
                Kept::Rebuilt(emptied(header))
            } else {
                Kept::Nothing
            };
        }
        let has_tombstones = kept.iter().any(|record| record.value.is_none());
        let horizon = match delete_horizon(header) {
            None if has_tombstones => Some(self.now.plus_ms(self.delete_retention_ms).0),
            known => known,
        };
        let is_whole = i32::try_from(kept.len()) == Ok(header.record_count);
        if is_whole && horizon == delete_horizon(header) {
            return Kept::AsItIs;
        }
        // A batch that was written can be written again, smaller.
        rebuilt(header, &kept, horizon).map_or(Kept::AsItIs, Kept::Rebuilt)
    }

    /// Source: `Cleaner.shouldRetainRecord`.
    fn keeps(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        let newest = record.key.and_then(|key| self.newest.get(key));
        let is_newest = newest.is_some_and(|newest| record.offset(header) >= *newest);
        let is_over = delete_horizon(header).is_some_and(|horizon| horizon <= self.now.0);
        is_newest && (record.value.is_some() || !is_over)
    }
}

/// When the tombstones of a batch may go (KIP-534).
fn delete_horizon(header: &BatchHeader) -> Option<i64> {
    let has_horizon = header.attributes.has_delete_horizon();
    has_horizon.then_some(header.base_timestamp)
}

/// The batch with some of its records, at their offsets, and with its first and last offset.
///
/// Source: `MemoryRecords.buildRetainedRecordsInto`.
fn rebuilt(
    header: &BatchHeader,
    kept: &[Record<'_>],
    delete_horizon: Option<i64>,
) -> Result<StoredBatch, BuildError> {
    let codec = header.attributes.compression();
    let codec = codec.map_err(BuildError::Compression)?;
    let mut builder = BatchBuilder::new(codec)
        .producer(header.producer())
        .appended_at(header.base_offset, header.partition_leader_epoch);
    if header.attributes.is_log_append_time() {
        builder = builder.log_append_time(header.max_timestamp);
    }
    if let Some(horizon) = delete_horizon {
        builder = builder
            .flags(Attributes::DELETE_HORIZON)
            .base_timestamp(horizon);
    }
    for record in kept {
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        let copy = NewRecord {
            timestamp: record.timestamp(header),
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        builder.push_at(record.offset_delta, &copy)?;
    }
    let BuiltBatch {
        header: built,
        payload,
    } = builder.build()?;
    let whole = BatchHeader {
        last_offset_delta: header.last_offset_delta,
        ..built
    };
    Ok(StoredBatch::new(whole.with_crc_from(&built), payload))
}

/// The batch without records, which only tells offsets and its producer's sequence.
///
/// Source: `DefaultRecordBatch.writeEmptyHeader`.
fn emptied(header: &BatchHeader) -> StoredBatch {
    let mut empty = BatchHeader {
        batch_length: EMPTY_BATCH_LENGTH,
        attributes: Attributes(header.attributes.0 & Attributes::LOG_APPEND_TIME),
        base_timestamp: kmirror_protocol::records::NO_TIMESTAMP,
        record_count: 0,
        ..*header
    };
    empty.crc = empty.computed_crc(&[]);
    StoredBatch::new(empty, bytes::Bytes::new())
}

/// The length field of a batch that is nothing but its header.
const EMPTY_BATCH_LENGTH: i32 = 49;
