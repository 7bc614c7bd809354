//! One of the two clusters: the sandbox, its clock, and what others than kmirror do with it.

use std::{cell::RefCell, collections::BTreeMap, marker::PhantomData, rc::Rc};

use bytes::Bytes;
use kmirror::{
    flow::Failure,
    offsets::state::{self, Entry},
    sandbox::{Cluster, ClusterOptions, Outcome, Profile, Timestamp},
};
use kmirror_protocol::{
    Request, frame,
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, EndTxnRequest,
        InitProducerIdRequest, ProduceRequest,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics::DeleteTopicState,
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{
        Batch, BatchProducer, BuiltBatch, LogEntry, batches, decompress, records, sequence_after,
    },
    wire::Records,
};

use super::{
    options::STATE_TOPIC,
    plan::{BROKERS, MS, Micros},
    retention::Deleted,
};

/// When a run starts, in milliseconds since 1970.
pub(super) const START_MS: i64 = 1_700_000_000_000;

/// Topics by name: Produce by name needs no look at topic ids.
const PRODUCE_BY_NAME: i16 = 12;

const DECOMPRESSED_MAX: usize = 1 << 20;

/// A topic and a partition of it, on either side.
pub(super) type Place = (String, i32);

/// An answer, decoded when looked at.
pub(super) struct Answer<R> {
    /// The frame without its length.
    pub(super) body: Bytes,
    version: i16,
    request: PhantomData<R>,
}

impl<R: Request> Answer<R> {
    pub(super) const fn new(body: Bytes, version: i16) -> Self {
        Self {
            body,
            version,
            request: PhantomData,
        }
    }

    pub(super) fn decode(&self) -> Result<R::Response<'_>, Failure> {
        frame::decode_response::<R>(&self.body, self.version)
            .map_err(|fault| Failure::Malformed(fault.to_string()))
    }
}

/// A request as it arrives at a broker.
pub(super) fn encode<R: Request>(request: &R, version: i16) -> Bytes {
    let pieces = frame::encode_request(request, version, 7, "kmirror").unwrap();
    Bytes::from(pieces.concat()).slice(frame::PREFIX_LEN..)
}

/// An answer without its length.
pub(super) fn joined(pieces: &[Bytes]) -> Bytes {
    Bytes::from(pieces.concat()).slice(frame::PREFIX_LEN..)
}

/// A record as a consumer sees it; two are the same when nothing tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Content {
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A record in a log.
#[derive(Clone, Debug)]
pub(super) struct LogRecord {
    pub(super) offset: i64,
    /// Its own sequence number is in there.
    pub(super) producer: BatchProducer,
    pub(super) content: Rc<Content>,
}

/// A cluster and how wrong its clock is.
pub(super) struct ClusterSide {
    pub(super) cluster: Cluster,
    pub(super) skew_ms: i64,
    /// See [`ClusterSide::read_ever`].
    pub(super) deleted: Deleted,
    /// Of what was deleted, what an unclean election has taken back with the rest.
    pub(super) undone: Deleted,
    /// Batches that have been read once, by checksum, offset and leader epoch.
    decoded: RefCell<BTreeMap<(u32, i64, i32), Vec<LogRecord>>>,
}

impl ClusterSide {
    pub(super) fn new(
        cluster_id: &str,
        seed: u64,
        profile: Profile,
        transaction_version: i16,
    ) -> Self {
        let options = ClusterOptions {
            seed,
            profile,
            transaction_version,
            ..ClusterOptions::new(cluster_id, u16::try_from(BROKERS).unwrap())
        };
        Self {
            cluster: Cluster::new(options),
            skew_ms: 0,
            deleted: Deleted::new(),
            undone: Deleted::new(),
            decoded: RefCell::default(),
        }
    }

    /// The cluster's own time.
    pub(super) fn time(&self, now: Micros) -> Timestamp {
        let since = i64::try_from(now / MS).unwrap();
        Timestamp(START_MS + self.skew_ms + since)
    }

    /// When the cluster must be looked at again.
    pub(super) fn deadline(&self) -> Option<Micros> {
        let at = self.cluster.deadline()?.0 - START_MS - self.skew_ms;
        Some(u64::try_from(at).unwrap_or_default() * MS)
    }

    /// Asks a broker at once; `None` when there is no answer yet.
    pub(super) fn ask<R: Request>(
        &mut self,
        now: Micros,
        broker: i32,
        request: &R,
        version: i16,
    ) -> Option<Answer<R>> {
        let time = self.time(now);
        match self.cluster.handle(time, broker, &encode(request, version)) {
            Outcome::Reply(pieces) | Outcome::Throttled { pieces, .. } => {
                Some(Answer::new(joined(&pieces), version))
            }
            Outcome::Parked { ticket, .. } => {
                self.cluster.forget(ticket);
                None
            }
            Outcome::NoReply | Outcome::Close(_) => None,
        }
    }

    /// Some broker that runs.
    pub(super) fn any_broker(&self) -> i32 {
        let running = (0..BROKERS).find(|broker| self.cluster.is_running(*broker));
        running.unwrap_or(0)
    }

    /// Creates a topic with a replica on every broker.
    pub(super) fn create_topic(
        &mut self,
        now: Micros,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name,
            value: Some(value),
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name,
                num_partitions: partitions,
                replication_factor: i16::try_from(BROKERS).unwrap(),
                configs: configs.collect(),
                ..CreatableTopic::default()
            }]
            .into(),
            timeout_ms: 1_000,
            ..CreateTopicsRequest::default()
        };
        let broker = self.any_broker();
        self.ask(now, broker, &request, 7);
    }

    pub(super) fn delete_topic(&mut self, now: Micros, name: &str) {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name),
                ..DeleteTopicState::default()
            }]
            .into(),
            timeout_ms: 1_000,
            ..DeleteTopicsRequest::default()
        };
        let broker = self.any_broker();
        self.ask(now, broker, &request, 6);
    }

    /// Deletes everything before an offset.
    pub(super) fn delete_records(&mut self, now: Micros, (topic, partition): &Place, offset: i64) {
        let Some(leader) = self.cluster.leader(topic, *partition) else {
            return;
        };
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: topic,
                partitions: vec![DeleteRecordsPartition {
                    partition_index: *partition,
                    offset,
                }]
                .into(),
            }]
            .into(),
            timeout_ms: 1_000,
        };
        self.ask(now, leader, &request, 2);
    }

    /// Produces a batch; whether the leader has appended it.
    pub(super) fn produce(
        &mut self,
        now: Micros,
        (topic, partition): &Place,
        transactional_id: Option<&str>,
        batch: &BuiltBatch,
    ) -> bool {
        let Some(leader) = self.cluster.leader(topic, *partition) else {
            return false;
        };
        let end = self.end_offset(topic, *partition);
        let request = ProduceRequest {
            transactional_id,
            acks: -1,
            timeout_ms: 1_000,
            topic_data: vec![ProduceRequestTopic {
                name: topic,
                partition_data: vec![ProduceRequestPartition {
                    index: *partition,
                    records: Some(Records::Batch {
                        header: batch.header.encode(),
                        payload: batch.payload.clone(),
                    }),
                }]
                .into(),
                ..ProduceRequestTopic::default()
            }]
            .into(),
        };
        self.ask(now, leader, &request, PRODUCE_BY_NAME);
        self.end_offset(topic, *partition) > end
    }

    /// A producer id and epoch; with a transactional id from whoever coordinates it.
    pub(super) fn init_producer(
        &mut self,
        now: Micros,
        transactional_id: Option<&str>,
    ) -> Option<(i64, i16)> {
        let request = InitProducerIdRequest {
            transactional_id,
            transaction_timeout_ms: 600_000,
            ..InitProducerIdRequest::default()
        };
        (0..BROKERS).find_map(|broker| {
            let answer = self.ask(now, broker, &request, 4)?;
            let answer = answer.decode().unwrap();
            let id = (answer.producer_id, answer.producer_epoch);
            answer.error_code.ok().is_ok().then_some(id)
        })
    }

    /// Ends a transaction; the producer's next identity.
    pub(super) fn end_transaction(
        &mut self,
        now: Micros,
        transactional_id: &str,
        (producer_id, producer_epoch): (i64, i16),
        committed: bool,
    ) -> Option<(i64, i16)> {
        let request = EndTxnRequest {
            transactional_id,
            producer_id,
            producer_epoch,
            committed,
        };
        (0..BROKERS).find_map(|broker| {
            let answer = self.ask(now, broker, &request, 5)?;
            let answer = answer.decode().unwrap();
            let id = (answer.producer_id, answer.producer_epoch);
            answer.error_code.ok().is_ok().then_some(id)
        })
    }

    pub(super) fn end_offset(&self, topic: &str, partition: i32) -> i64 {
        let range = self.cluster.log_range(topic, partition);
        range.map_or(0, |range| range.end)
    }

    /// Where the last batch of a log ends; its start when it has none.
    pub(super) fn last_batch_end(&self, topic: &str, partition: i32) -> i64 {
        let start = self.cluster.log_range(topic, partition);
        let start = start.map_or(0, |range| range.start);
        let log = self.cluster.log_batches(topic, partition);
        let log = log.unwrap_or_default().concat();
        let entries = batches(&log).filter_map(Result::ok);
        let ends = entries.map(|entry| match entry {
            LogEntry::Batch(batch) => batch.header.next_offset(),
            LogEntry::Legacy(entry) => entry.offset + 1,
        });
        ends.max().unwrap_or(start)
    }

    pub(super) fn places(&self) -> Vec<Place> {
        let names: Vec<String> = self.cluster.topic_names().map(str::to_owned).collect();
        let places = names.into_iter().flat_map(|name| {
            let count = self.cluster.partition_count(&name).unwrap_or_default();
            let numbers = 0..i32::try_from(count).unwrap();
            numbers.map(move |number| (name.clone(), number))
        });
        places.collect()
    }

    /// The records of a partition on its leader, without markers.
    pub(super) fn read(&self, topic: &str, partition: i32) -> Vec<LogRecord> {
        let pieces = self.cluster.log_batches(topic, partition);
        let blob = pieces.unwrap_or_default().concat();
        let start = self.cluster.log_range(topic, partition);
        let start = start.map_or(0, |range| range.start);
        let mut decoded = self.decoded.borrow_mut();
        let mut read = Vec::new();
        for entry in batches(&blob) {
            let Ok(LogEntry::Batch(batch)) = entry else {
                panic!("{topic}-{partition} holds what is no batch");
            };
            let header = &batch.header;
            let known = decoded
                .entry((
                    header.crc,
                    header.base_offset,
                    header.partition_leader_epoch,
                ))
                .or_insert_with(|| decode(&batch));
            let records = known.iter().filter(|record| record.offset >= start);
            read.extend(records.cloned());
        }
        read
    }

    /// Every entry that was ever written to the state topic, in no particular order.
    pub(super) fn state_records(&self) -> impl Iterator<Item = (Place, Entry)> {
        let count = self.cluster.partition_count(STATE_TOPIC).unwrap_or(0);
        let numbers = 0..i32::try_from(count).unwrap();
        let records = numbers.flat_map(|number| self.read(STATE_TOPIC, number));
        records.filter_map(|record| {
            let key = record.content.key.as_deref()?;
            let decoded = state::decode(key, record.content.value.as_deref());
            let (key, entry) = decoded.ok()?;
            let place = (key.place.topic.to_string(), key.place.partition);
            Some((place, entry?))
        })
    }

    /// Whether the state topic can be read: without a leader, a log that is away says nothing of what is
    /// there.
    pub(super) fn is_state_led(&self) -> bool {
        let count = self.cluster.partition_count(STATE_TOPIC).unwrap_or(0);
        let mut numbers = 0..i32::try_from(count).unwrap();
        numbers.all(|number| self.cluster.leader(STATE_TOPIC, number).is_some())
    }

    /// How often each record is in a partition.
    pub(super) fn contents(&self, topic: &str, partition: i32) -> BTreeMap<Rc<Content>, u32> {
        let mut contents = BTreeMap::new();
        for record in self.read(topic, partition) {
            *contents.entry(record.content).or_default() += 1;
        }
        contents
    }
}

fn decode(batch: &Batch<'_>) -> Vec<LogRecord> {
    let header = &batch.header;
    assert!(batch.verify_crc(), "checksum at {}", header.base_offset);
    if header.attributes.is_control() {
        return Vec::new();
    }
    let codec = header.attributes.compression().unwrap();
    let plain = decompress(codec, batch.payload, DECOMPRESSED_MAX).unwrap();
    let producer = header.producer();
    let records = records(&plain, header.record_count).map(|record| {
        let record = record.unwrap();
        let headers = record.headers.iter();
        let headers = headers.map(|it| (it.key.to_vec(), it.value.map(<[u8]>::to_vec)));
        LogRecord {
            offset: record.offset(header),
            producer: BatchProducer {
                base_sequence: sequence_after(producer.base_sequence, record.offset_delta),
                ..producer
            },
            content: Rc::new(Content {
                timestamp: record.timestamp(header),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers.collect(),
            }),
        }
    });
    records.collect()
}
