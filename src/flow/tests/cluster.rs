//! A cluster small enough to be obviously right: topics, leaders, logs, and the rules by which a
//! broker takes a batch of an idempotent producer (`ProducerAppendInfo`, `ProducerStateEntry`).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    records::{
        Attributes, BatchBuilder, BatchHeader, BatchProducer, BuiltBatch, Compression, ControlType,
        EndTxnMarker, NewRecord, check_outgoing, decompress, records, sequence_after,
    },
    wire::Uuid,
};

use crate::{
    flow::{ClusterView, FetchedRecords, Outgoing, PartitionView, TopicView},
    offsets::source_offsets::StoredRecord,
    policy::Acl,
};

/// Batches that a broker remembers of a producer id.
const REMEMBERED: usize = 5;

/// A cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) id: String,
    pub(super) topics: BTreeMap<Arc<str>, Topic>,
    pub(super) has_topic_ids: bool,
    next_topic_id: u16,
    next_producer_id: i64,
    /// What is in the offsets topic.
    pub(super) positions: Vec<StoredRecord>,
    /// What is in the topics of offset syncs and of checkpoints.
    pub(super) syncs: Vec<StoredRecord>,
    pub(super) checkpoints: Vec<StoredRecord>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) acls: BTreeSet<Acl>,
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) protocol_type: &'static str,
    pub(super) is_in_use: bool,
    pub(super) offsets: BTreeMap<(Arc<str>, i32), i64>,
}

/// A topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) logs: Vec<Log>,
    pub(super) configs: Vec<(String, String)>,
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) leader: Option<i32>,
    pub(super) epoch: i32,
    pub(super) start_offset: i64,
    pub(super) end_offset: i64,
    batches: Vec<BuiltBatch>,
    record_count: usize,
    producers: BTreeMap<i64, ProducerState>,
}

#[derive(Clone, Debug, Default)]
struct ProducerState {
    epoch: i16,
    /// First sequence, last sequence, base offset; newest last.
    batches: VecDeque<(i32, i32, i64)>,
}

impl Cluster {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            has_topic_ids: true,
            next_producer_id: 1_000,
            ..Self::default()
        }
    }

    /// Creates a topic whose partitions are led by the nodes in turn.
    pub(super) fn create(&mut self, topic: &str, partitions: i32, nodes: i32) {
        self.next_topic_id += 1;
        let mut id = [0; 16];
        id[14..].copy_from_slice(&self.next_topic_id.to_be_bytes());
        let mut topic_state = Topic {
            id: if self.has_topic_ids {
                Uuid(id)
            } else {
                Uuid::ZERO
            },
            logs: Vec::new(),
            configs: Vec::new(),
        };
        topic_state.grow(partitions, nodes);
        self.topics.insert(Arc::from(topic), topic_state);
    }

    pub(super) fn log(&mut self, topic: &str, partition: i32) -> Option<&mut Log> {
        let logs = &mut self.topics.get_mut(topic)?.logs;
        logs.get_mut(usize::try_from(partition).ok()?)
    }

    pub(super) fn producer_id(&mut self) -> (i64, i16) {
        self.next_producer_id += 1;
        (self.next_producer_id, 0)
    }

    pub(super) fn view(&self) -> ClusterView {
        let topics = self.topics.iter().map(|(name, topic)| {
            let partitions = (0..).zip(&topic.logs).map(|(number, log)| {
                let view = PartitionView {
                    leader: log.leader,
                    leader_epoch: log.epoch,
                    replica_count: 1,
                };
                (number, view)
            });
            let view = TopicView {
                topic_id: topic.id,
                partitions: partitions.collect(),
            };
            (Arc::clone(name), view)
        });
        ClusterView {
            cluster_id: Some(self.id.clone()),
            broker_count: 3,
            topics: topics.collect(),
        }
    }
}

impl Topic {
    pub(super) fn grow(&mut self, partitions: i32, nodes: i32) {
        let grown = i32::try_from(self.logs.len()).unwrap()..partitions;
        self.logs.extend(grown.map(|number| Log {
            leader: Some(number % nodes),
            ..Log::default()
        }));
    }
}

/// What a consumer reads: offset and value.
pub(super) type Seen = Vec<(i64, Bytes)>;

impl Log {
    /// Appends records with these values as the cluster's own producers do.
    pub(super) fn write(&mut self, codec: Compression, values: &[Bytes]) {
        let mut builder = BatchBuilder::new(codec).appended_at(self.end_offset, self.epoch);
        for value in values {
            builder.push(&record(value)).unwrap();
        }
        self.keep(builder.build().unwrap());
    }

    /// Appends what the cleaner leaves of a batch: the records at `deltas` out of `count`.
    pub(super) fn write_compacted(&mut self, deltas: &[(i32, Bytes)], count: i32) {
        let mut builder =
            BatchBuilder::new(Compression::None).appended_at(self.end_offset, self.epoch);
        for (delta, value) in deltas {
            builder.push_at(*delta, &record(value)).unwrap();
        }
        let mut batch = builder.build().unwrap();
        batch.header.last_offset_delta = count - 1;
        batch.header.crc = batch.header.computed_crc(&batch.payload);
        self.keep(batch);
    }

    /// Appends a commit marker.
    pub(super) fn write_marker(&mut self) {
        let mut builder = BatchBuilder::new(Compression::None)
            .producer(BatchProducer {
                producer_id: 7,
                producer_epoch: 0,
                base_sequence: -1,
            })
            .appended_at(self.end_offset, self.epoch)
            .flags(Attributes::TRANSACTIONAL | Attributes::CONTROL);
        let marker = EndTxnMarker {
            version: 0,
            coordinator_epoch: 0,
        };
        builder.push_marker(ControlType::Commit, marker, 0).unwrap();
        self.keep(builder.build().unwrap());
    }

    /// Damages the last batch, as a bad disk does.
    pub(super) fn damage_last(&mut self) {
        let batch = self.batches.last_mut().unwrap();
        batch.header.crc ^= 1;
    }

    /// Makes every checksum right again.
    pub(super) fn mend(&mut self) {
        for batch in &mut self.batches {
            batch.header.crc = batch.header.computed_crc(&batch.payload);
        }
    }

    /// Puts a batch at the end that claims another format.
    pub(super) fn write_magic(&mut self, magic: i8) {
        self.write(Compression::None, &[Bytes::from_static(b"foreign")]);
        self.batches.last_mut().unwrap().header.magic = magic;
    }

    fn keep(&mut self, batch: BuiltBatch) {
        self.end_offset = batch.header.next_offset();
        if is_data(&batch.header) {
            self.record_count += usize::try_from(batch.header.record_count).unwrap();
        }
        self.batches.push(batch);
    }

    /// Forgets everything from `offset` on, producers too, as an unclean election does.
    pub(super) fn truncate_to(&mut self, offset: i64) {
        self.batches
            .retain(|batch| batch.header.base_offset < offset);
        self.record_count = self.seen().len();
        self.end_offset = self
            .batches
            .last()
            .map_or(0, |last| last.header.next_offset());
        self.producers.clear();
    }

    /// Appends a batch of an idempotent producer, or says why not.
    pub(super) fn append(&mut self, batch: &Outgoing, limit: usize) -> Result<i64, ErrorCode> {
        let mut header = BatchHeader::parse(&batch.header).unwrap();
        assert_eq!(check_outgoing(&header, batch.payload.len()), Ok(()));
        if !header.verify_crc(&batch.payload) {
            return Err(ErrorCode::CORRUPT_MESSAGE);
        }
        if header.size() > limit {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        let base_offset = self.end_offset;
        let state = self.producers.entry(header.producer_id).or_default();
        if header.producer_epoch < state.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if header.producer_epoch > state.epoch {
            *state = ProducerState::default();
            state.epoch = header.producer_epoch;
        }
        let known = state
            .batches
            .iter()
            .find(|one| (one.0, one.1) == (first, last));
        if let Some((_, _, base_offset)) = known {
            return Ok(*base_offset);
        }
        if let Some((_, last, _)) = state.batches.back()
            && sequence_after(*last, 1) != first
        {
            return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        }
        state.batches.push_back((first, last, base_offset));
        if state.batches.len() > REMEMBERED {
            state.batches.pop_front();
        }
        header.base_offset = base_offset;
        self.keep(BuiltBatch {
            header,
            payload: batch.payload.clone(),
        });
        Ok(base_offset)
    }

    /// Whole batches from `offset` on, the first one whatever its size.
    pub(super) fn fetch(&self, offset: i64, bytes_max: usize) -> Result<FetchedRecords, ErrorCode> {
        if offset < self.start_offset || offset > self.end_offset {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let mut bytes = Vec::new();
        for batch in &self.batches {
            if batch.header.last_offset() < offset {
                continue;
            }
            if !bytes.is_empty() && bytes.len() + batch.header.size() > bytes_max {
                break;
            }
            bytes.extend_from_slice(&batch.to_vec());
        }
        Ok(FetchedRecords {
            records: Bytes::from(bytes),
            high_watermark: self.end_offset,
            last_stable_offset: self.end_offset,
            aborted: Vec::new(),
            diverging: None,
        })
    }

    /// How many records a consumer reads.
    pub(super) fn count(&self) -> usize {
        if self.start_offset > 0 {
            return self.seen().len();
        }
        self.record_count
    }

    /// What a consumer reads, without offsets.
    pub(super) fn values(&self) -> Vec<Bytes> {
        self.seen().into_iter().map(|(_, value)| value).collect()
    }

    /// What a consumer reads.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = Vec::new();
        for batch in &self.batches {
            let header = &batch.header;
            if !is_data(header) {
                continue;
            }
            let codec = header.attributes.compression().unwrap();
            let plain = decompress(codec, &batch.payload, 1 << 20).unwrap();
            seen.extend(records(&plain, header.record_count).map(|record| {
                let record = record.unwrap();
                let value = Bytes::copy_from_slice(record.value.unwrap());
                (record.offset(header), value)
            }));
        }
        seen.retain(|(offset, _)| *offset >= self.start_offset);
        seen
    }
}

const fn is_data(header: &BatchHeader) -> bool {
    !header.attributes.is_control() && header.magic == 2
}

fn record(value: &[u8]) -> NewRecord<'_> {
    NewRecord {
        timestamp: 1_000,
        key: Some(b"k"),
        value: Some(value),
        headers: &[],
    }
}
