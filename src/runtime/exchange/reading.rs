//! Reads a topic from given offsets to given ends: the requests, and the records in the answers.
//!
//! [`leaders`] says whom to ask for the ends of which partitions, [`Reading::from`] what there is to
//! read of one leader, then requests and answers follow until [`Reading::is_done`].
//!
//! For small topics such as the compacted ones that hold positions: everything read is kept.
//! Records of aborted transactions are left out, and markers; what lies in an old message format
//! is converted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror_protocol::{
    ErrorCode,
    messages::{
        FetchRequest, FetchResponse,
        fetch::{FetchRequestPartition, FetchRequestTopic, FetchResponsePartition},
    },
    records::{BatchHeader, BuiltBatch, LegacyConverter, LogEntry, batches, decompress, records},
    wire::Uuid,
};

use super::{Name, Named, Question, millis, names::BY_NAME_MAX, offsets::ANY_EPOCH, refusal};
use crate::{
    cluster::Metadata,
    flow::{
        Failure, LogRange, PartitionId, PerPartition, StateLogRecord, aborted::AbortedFilter,
        limits,
    },
    offsets::source_offsets::StoredRecord,
};

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

impl OwnedRecord {
    /// The same as a record of one of the small topics; `None` without a key, which means nothing
    /// there.
    #[must_use]
    pub fn stored(self) -> Option<StoredRecord> {
        Some(StoredRecord {
            key: self.key?,
            value: self.value,
            ordered_by: None,
        })
    }

    /// The same as a record of the state topic; `None` without a key.
    #[must_use]
    pub fn keyed(self) -> Option<StateLogRecord> {
        Some(StateLogRecord {
            partition: self.partition,
            offset: self.offset,
            key: self.key?,
            value: self.value,
        })
    }
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

/// The partitions of a topic by their leader.
///
/// # Errors
///
/// `UNKNOWN_TOPIC_OR_PARTITION`, or what the brokers said instead of describing the topic;
/// `NoAnswer` while a partition has no leader.
pub fn leaders(
    metadata: &Metadata,
    topic: &str,
) -> Result<BTreeMap<i32, Vec<Named<i32>>>, Failure> {
    let Some(view) = metadata.topic(topic) else {
        let code = metadata.topic_error(topic);
        let code = code.unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        return Err(Failure::Refused(code, Some(format!("topic {topic}"))));
    };
    let mut by_node: BTreeMap<i32, Vec<Named<i32>>> = BTreeMap::new();
    for (number, partition) in (0..).zip(&view.partitions) {
        let index = partition.index;
        let leader = partition
            .leader
            .ok_or_else(|| Failure::NoAnswer(format!("partition {topic}-{index} has no leader")))?;
        by_node.entry(leader.node).or_default().push(Named {
            id: PartitionId(number),
            name: Name {
                topic: Arc::clone(&view.name),
                topic_id: view.id.unwrap_or_default(),
                partition: index,
            },
            ask: ANY_EPOCH,
        });
    }
    Ok(by_node)
}

impl Reading {
    /// Reads partitions of one leader from given offsets to the ends of `ranges`; from their start
    /// where no offset is given, or where what is asked for has been deleted.
    ///
    /// # Errors
    ///
    /// `OFFSET_OUT_OF_RANGE` when a partition ends before the offset asked for, so that it is not
    /// the log that was read before; else what `ranges` says.
    pub fn from(
        partitions: &[Named<i32>],
        ranges: PerPartition<LogRange>,
        from: &BTreeMap<i32, i64>,
    ) -> Result<Self, Failure> {
        let mut ranges: BTreeMap<PartitionId, _> = ranges?.into_iter().collect();
        let mut reading = Self {
            topic: Arc::from(""),
            topic_id: Uuid::ZERO,
            partitions: BTreeMap::new(),
        };
        for Named { id, name, .. } in partitions {
            let (topic, partition) = (&name.topic, name.partition);
            let left_out = || {
                let words = format!("the broker left {topic}-{partition} out of its answer");
                Err(Failure::Malformed(words))
            };
            let LogRange {
                start_offset,
                end_offset,
            } = ranges.remove(id).unwrap_or_else(left_out)?;
            let wanted = from.get(&partition).copied().unwrap_or(start_offset);
            if wanted > end_offset {
                let words = format!(
                    "{topic}-{partition} was read up to offset {wanted} before and ends at \
                     {end_offset} now"
                );
                let code = ErrorCode::OFFSET_OUT_OF_RANGE;
                return Err(Failure::Refused(code, Some(words)));
            }
            let progress = Progress {
                next_offset: wanted.max(start_offset),
                end_offset: Some(end_offset),
                is_held_back: false,
            };
            reading.partitions.insert(partition, progress);
            reading.topic = Arc::clone(topic);
            reading.topic_id = name.topic_id;
        }
        Ok(reading)
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

    /// That nothing was left out which lies before the ends.
    ///
    /// # Errors
    ///
    /// `NoAnswer` when an open transaction hides records, or a new leader does not have them.
    pub fn check_whole(&self) -> Result<(), Failure> {
        let mut partitions = self.partitions.iter();
        match partitions.find(|(_, progress)| progress.is_held_back) {
            Some((partition, progress)) => Err(Failure::NoAnswer(format!(
                "{}-{partition} cannot be read beyond offset {} although it goes on: a transaction \
                 is open there",
                self.topic, progress.next_offset
            ))),
            None => Ok(()),
        }
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

    /// Takes the records of an answer; returns whether it brought any offset further.
    ///
    /// # Errors
    ///
    /// The first [`Failure`]; what was read before it stays.
    pub fn take(
        &mut self,
        response: &FetchResponse<'_>,
        read: &mut Vec<OwnedRecord>,
    ) -> Result<bool, Failure> {
        refusal(response.error_code, None)?;
        let mut is_further = false;
        for partition in response.responses.iter().flat_map(|topic| topic.partitions) {
            refusal(partition.error_code, None)?;
            is_further |= self.take_partition(partition, read)?;
        }
        Ok(is_further)
    }

    fn take_partition(
        &mut self,
        partition: FetchResponsePartition<'_>,
        read: &mut Vec<OwnedRecord>,
    ) -> Result<bool, Failure> {
        let index = partition.partition_index;
        let Some(progress) = self.partitions.get_mut(&index) else {
            return Ok(false);
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
        let is_further = decoder.next_offset > progress.next_offset;
        progress.next_offset = decoder.next_offset;
        // The end was the high watermark of a leader: to wait for it could take for ever.
        let readable = partition.last_stable_offset.min(partition.high_watermark);
        progress.is_held_back = progress.end_offset.is_some_and(|end| {
            progress.next_offset < end && progress.next_offset >= readable.max(0)
        });
        Ok(is_further)
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

#[cfg(test)]
mod tests {
    use kmirror_protocol::{
        messages::fetch::FetchResponseTopic,
        wire::{Array, Records},
    };

    use super::*;

    /// A log through three formats, offsets 0 to 34: magic 0, 0 gzip, 1, 1 LZ4, 1 stamped, 2
    /// snappy, 1.
    const MIXED: &[u8] = include_bytes!("../../../protocol/tests/golden/legacy/java-mixed.bin");

    fn named(partition: i32) -> Named<i32> {
        Named {
            id: PartitionId(partition.unsigned_abs()),
            name: Name {
                topic: Arc::from("t"),
                topic_id: Uuid::ZERO,
                partition,
            },
            ask: ANY_EPOCH,
        }
    }

    fn range(
        partition: i32,
        start_offset: i64,
        end_offset: i64,
    ) -> (PartitionId, Result<LogRange, Failure>) {
        let range = LogRange {
            start_offset,
            end_offset,
        };
        (PartitionId(partition.unsigned_abs()), Ok(range))
    }

    fn reading(from: i64, end: i64) -> Reading {
        let from = BTreeMap::from([(0, from)]);
        Reading::from(&[named(0)], Ok(vec![range(0, 0, end)]), &from).unwrap()
    }

    fn answer(high_watermark: i64, last_stable_offset: i64, blob: &[u8]) -> FetchResponse<'_> {
        let partition = FetchResponsePartition {
            high_watermark,
            last_stable_offset,
            records: Some(Records::Slice(blob)),
            ..FetchResponsePartition::default()
        };
        let topic = FetchResponseTopic {
            topic: "t",
            partitions: vec![partition].into(),
            ..FetchResponseTopic::default()
        };
        FetchResponse {
            responses: Array::from([topic]),
            ..FetchResponse::default()
        }
    }

    fn next(reading: &Reading) -> Vec<(i32, i64)> {
        reading.next_offsets().collect()
    }

    #[test]
    fn records_of_every_format_keep_their_offsets() {
        for from in [0, 3, 17, 34] {
            let (mut reading, mut read) = (reading(from, 35), Vec::new());
            assert!(reading.take(&answer(35, 35, MIXED), &mut read).unwrap());
            let offsets: Vec<i64> = read.iter().map(|record| record.offset).collect();
            assert!(offsets.iter().copied().eq(from..35), "{offsets:?}");
            assert!(reading.is_done());
            assert_eq!(next(&reading), [(0, 35)]);
        }
    }

    #[test]
    fn reading_starts_where_it_is_asked_to_if_there_is_anything() {
        // From, start and end of the log; where it starts, or the error.
        let out_of_range = ErrorCode::OFFSET_OUT_OF_RANGE;
        let cases = [
            (None, (5, 9), Ok(5)),
            (Some(3), (5, 9), Ok(5)),
            (Some(7), (5, 9), Ok(7)),
            (Some(9), (5, 9), Ok(9)),
            (Some(10), (5, 9), Err(out_of_range)),
        ];
        for (from, (start, end), expected) in cases {
            let from: BTreeMap<i32, i64> = from.map(|offset| (0, offset)).into_iter().collect();
            let reading = Reading::from(&[named(0)], Ok(vec![range(0, start, end)]), &from);
            match (reading, expected) {
                (Ok(reading), Ok(offset)) => assert_eq!(next(&reading), [(0, offset)]),
                (Err(Failure::Refused(code, _)), Err(expected)) => assert_eq!(code, expected),
                other => panic!("{other:?}"),
            }
        }
        let ranges = Ok(vec![range(0, 0, 1)]);
        let left_out = Reading::from(&[named(0), named(1)], ranges, &BTreeMap::new());
        assert!(
            matches!(left_out, Err(Failure::Malformed(_))),
            "{left_out:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_waited_for() {
        // High watermark and last stable offset, with nothing to read at 35 although the end is 40.
        let cases = [
            ((40, 40), false),
            ((40, 35), true),
            ((35, 35), true),
            ((40, -1), true),
        ];
        for ((high_watermark, stable), is_held_back) in cases {
            let mut reading = reading(35, 40);
            let answer = answer(high_watermark, stable, &[]);
            assert!(!reading.take(&answer, &mut Vec::new()).unwrap());
            let case = format!("{high_watermark} {stable}");
            assert_eq!(reading.is_done(), is_held_back, "{case}");
            assert_eq!(reading.check_whole().is_err(), is_held_back, "{case}");
            assert!(!reading.go_on().is_done(), "{case}");
        }
    }
}
