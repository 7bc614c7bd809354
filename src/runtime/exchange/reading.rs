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
    wire::Uuid,
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
    topic_id: Uuid,
    partitions: BTreeMap<i32, Progress>,
}

/// How far one partition has been read.
#[derive(Clone, Copy, Debug)]
struct Progress {
    next_offset: i64,
    /// `None`: whatever comes.
    end_offset: Option<i64>,
    /// Whether nothing more can be read although the end has not been reached.
    is_held_back: bool,
}

impl Progress {
    fn is_done(&self) -> bool {
        self.is_held_back || self.end_offset.is_some_and(|end| self.next_offset >= end)
    }
}

impl Reading {
    /// Reads these offsets of partitions. A topic id that is not zero makes sure that the topic is
    /// still the same.
    #[must_use]
    pub fn new(
        topic: Arc<str>,
        topic_id: Uuid,
        ranges: impl IntoIterator<Item = (i32, Range<i64>)>,
    ) -> Self {
        let progress = |range: Range<i64>| Progress {
            next_offset: range.start,
            end_offset: Some(range.end),
            is_held_back: false,
        };
        let ranges = ranges.into_iter();
        let partitions = ranges.map(|(partition, range)| (partition, progress(range)));
        Self {
            topic,
            topic_id,
            partitions: partitions.collect(),
        }
    }

    /// Whether everything that can be read has been.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.partitions.values().all(Progress::is_done)
    }

    /// Where each partition goes on: all below it has been read.
    pub fn next_offsets(&self) -> impl Iterator<Item = (i32, i64)> {
        let partitions = self.partitions.iter();
        partitions.map(|(partition, progress)| (*partition, progress.next_offset))
    }

    /// A partition of which nothing can be read from an offset on although its end is further: an
    /// open transaction hides it, or a new leader does not have it.
    #[must_use]
    pub fn held_back(&self) -> Option<(i32, i64)> {
        let mut partitions = self.partitions.iter();
        let (partition, progress) = partitions.find(|(_, progress)| progress.is_held_back)?;
        Some((*partition, progress.next_offset))
    }

    /// The same partitions, from where they have been read to whatever comes: it is never done.
    #[must_use]
    pub fn go_on(&self) -> Self {
        let mut reading = self.clone();
        for progress in reading.partitions.values_mut() {
            progress.end_offset = None;
            progress.is_held_back = false;
        }
        reading
    }

    /// Asks for what is left; the broker may hold the request for `wait`.
    #[must_use]
    pub fn request(&self, wait: Duration) -> Question<FetchRequest<'_>> {
        let left = self.partitions.iter();
        let left = left.filter(|(_, progress)| !progress.is_done());
        let partitions = left.map(|(partition, progress)| FetchRequestPartition {
            partition: *partition,
            fetch_offset: progress.next_offset,
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
                topic_id: self.topic_id,
                partitions: partitions.collect(),
            }]
            .into(),
            ..FetchRequest::default()
        };
        Question {
            version_max: self.topic_id.is_zero().then_some(BY_NAME_MAX),
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
        let Some(progress) = self.partitions.get_mut(&index) else {
            return Ok(());
        };
        let blob = partition.records.as_ref();
        let aborted = partition.aborted_transactions.into_iter().flatten();
        let mut decoder = Decoder {
            partition: index,
            next_offset: progress.next_offset,
            aborted: AbortedFilter::new(aborted.collect()),
            old: LegacyConverter::new(limits::CONVERSION),
            read,
        };
        decoder.decode(blob.map_or(&[][..], |records| records.as_slice()))?;
        progress.next_offset = decoder.next_offset;
        // The end was the high watermark of a leader: to wait for it could take for ever.
        let readable = partition.last_stable_offset.min(partition.high_watermark);
        progress.is_held_back = progress.end_offset.is_some_and(|end| {
            progress.next_offset < end && progress.next_offset >= readable.max(0)
        });
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
