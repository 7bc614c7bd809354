//! Reads a topic from given offsets to given ends: the requests, and the records in the answers.
//!
//! For small topics such as the compacted ones that hold positions: everything read is kept.
//! Records of aborted transactions are left out, and markers; what lies in an old message format
//! is converted.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use kmirror_protocol::{
    messages::{
        FetchRequest, FetchResponse,
        fetch::{FetchRequestPartition, FetchRequestTopic, FetchResponsePartition},
    },
    records::{BatchHeader, BuiltBatch, LegacyConverter, LogEntry, batches, decompress, records},
};

use super::{Question, millis, names::BY_NAME_MAX, refusal};
use crate::flow::{Failure, aborted::AbortedFilter, limits};

/// Bytes in one Fetch answer.
const FETCH_BYTES_MAX: i32 = 4 << 20;

/// Bytes of one partition in one Fetch answer.
const PARTITION_BYTES_MAX: i32 = 1 << 20;

/// Reads committed records only.
const READ_COMMITTED: i8 = 1;

/// A record of the topic, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The partition it lies in.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its timestamp as a consumer sees it, in milliseconds.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Reads those partitions of a topic that one broker leads.
#[derive(Clone, Debug)]
pub struct Reading {
    topic: Arc<str>,
    /// What is left of each partition: the next offset, and the end.
    left: BTreeMap<i32, Range<i64>>,
}

impl Reading {
    /// Reads these offsets of partitions; empty ranges are done already.
    #[must_use]
    pub fn new(topic: Arc<str>, ranges: impl IntoIterator<Item = (i32, Range<i64>)>) -> Self {
        let left = ranges.into_iter().filter(|(_, range)| !range.is_empty());
        Self {
            topic,
            left: left.collect(),
        }
    }

    /// Whether everything has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Asks for what is left; the broker may hold the request for `wait`.
    #[must_use]
    pub fn request(&self, wait: Duration) -> Question<FetchRequest<'_>> {
        let partitions = self.left.iter();
        let partitions = partitions.map(|(partition, left)| FetchRequestPartition {
            partition: *partition,
            fetch_offset: left.start,
            partition_max_bytes: PARTITION_BYTES_MAX,
            ..FetchRequestPartition::default()
        });
        let request = FetchRequest {
            max_wait_ms: millis(wait),
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            isolation_level: READ_COMMITTED,
            topics: vec![FetchRequestTopic {
                topic: &self.topic,
                partitions: partitions.collect(),
                ..FetchRequestTopic::default()
            }]
            .into(),
            ..FetchRequest::default()
        };
        Question {
            // By name: this reader has no topic id to lose.
            version_max: Some(BY_NAME_MAX),
            ..Question::from(request)
        }
    }

    /// Takes the records of an answer.
    ///
    /// # Errors
    ///
    /// The first [`Failure`]; what was read before it stays.
    pub fn take(
        &mut self,
        response: &FetchResponse<'_>,
        read: &mut Vec<OwnedRecord>,
    ) -> Result<(), Failure> {
        refusal(response.error_code, None)?;
        for partition in response.responses.iter().flat_map(|topic| topic.partitions) {
            refusal(partition.error_code, None)?;
            self.take_partition(partition, read)?;
        }
        Ok(())
    }

    fn take_partition(
        &mut self,
        partition: FetchResponsePartition<'_>,
        read: &mut Vec<OwnedRecord>,
    ) -> Result<(), Failure> {
        let index = partition.partition_index;
        let Some(left) = self.left.get_mut(&index) else {
            return Ok(());
        };
        let blob = partition.records.as_ref();
        let aborted = partition.aborted_transactions.into_iter().flatten();
        let mut decoder = Decoder {
            partition: index,
            next_offset: left.start,
            aborted: AbortedFilter::new(aborted.collect()),
            old: LegacyConverter::new(limits::CONVERSION),
            read,
        };
        decoder.decode(blob.map_or(&[][..], |records| records.as_slice()))?;
        left.start = decoder.next_offset;
        // Nothing more can come before the first open transaction.
        let stable = partition.last_stable_offset;
        if left.is_empty() || (stable >= 0 && left.start >= stable) {
            self.left.remove(&index);
        }
        Ok(())
    }
}

/// Reads the records of one partition in one answer.
struct Decoder<'a> {
    partition: i32,
    next_offset: i64,
    aborted: AbortedFilter,
    old: LegacyConverter,
    read: &'a mut Vec<OwnedRecord>,
}

impl Decoder<'_> {
    fn decode(&mut self, blob: &[u8]) -> Result<(), Failure> {
        for entry in batches(blob) {
            match entry.map_err(|error| unreadable(&error))? {
                LogEntry::Legacy(message) => {
                    let built = self.old.push(&message);
                    self.converted(built.map_err(|error| unreadable(&error))?)?;
                }
                LogEntry::Batch(batch) => {
                    self.finish_old()?;
                    let is_skipped = self.aborted.is_aborted(&batch.header, batch.payload)
                        || batch.header.attributes.is_control();
                    if !is_skipped {
                        self.records(&batch.header, batch.payload)?;
                    }
                    self.next_offset = batch.header.next_offset().max(self.next_offset);
                }
            }
        }
        self.finish_old()
    }

    fn finish_old(&mut self) -> Result<(), Failure> {
        let built = self.old.finish();
        self.converted(built.map_err(|error| unreadable(&error))?)
    }

    fn converted(&mut self, built: Option<BuiltBatch>) -> Result<(), Failure> {
        let Some(BuiltBatch { header, payload }) = built else {
            return Ok(());
        };
        self.records(&header, &payload)?;
        self.next_offset = header.next_offset().max(self.next_offset);
        Ok(())
    }

    fn records(&mut self, header: &BatchHeader, payload: &[u8]) -> Result<(), Failure> {
        let codec = header.attributes.compression();
        let codec = codec.map_err(|error| unreadable(&error))?;
        let plain = decompress(codec, payload, limits::DECOMPRESSED_BYTES_MAX)
            .map_err(|error| unreadable(&error))?;
        for record in records(&plain, header.record_count) {
            let record = record.map_err(|error| unreadable(&error))?;
            let offset = record.offset(header);
            if offset < self.next_offset {
                continue;
            }
            let headers = record.headers.iter();
            self.read.push(OwnedRecord {
                partition: self.partition,
                offset,
                timestamp: record.timestamp(header),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers
                    .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                    .collect(),
            });
        }
        Ok(())
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::Malformed(error.to_string())
}
