//! What cannot be asked of a real broker in a hurry: virtual time, several brokers, commands.
//!
//! The rules that can be are probes of the conformance suite, which runs against Kafka as well.

mod access;
mod brokers;
mod compaction;
mod faults;
mod frames;
mod groups;
mod profiles;
mod replication;
mod retention;
mod throttling;
mod transactions;
mod waiting;

use std::marker::PhantomData;

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode, Request, frame,
    messages::{
        CreateTopicsRequest, FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
        ProduceRequest,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        fetch::{FetchRequestPartition, FetchRequestTopic, FetchResponsePartition},
        list_offsets::ListOffsetsResponsePartition,
        offset_for_leader_epoch::OffsetForLeaderEpochEndOffset,
        produce::{ProduceRequestPartition, ProduceRequestTopic, ProduceResponsePartition},
    },
    records::{BatchBuilder, BatchProducer, Compression, NewRecord},
    wire::{Records, Uuid},
};

use super::{Cluster, ClusterOptions, Outcome, Timestamp};

const START: Timestamp = Timestamp(1_700_000_000_000);

/// A cluster, and the time it is told.
struct Sandbox {
    cluster: Cluster,
    now: Timestamp,
}

/// The frame of an answer without its length.
struct Answer<R> {
    body: Vec<u8>,
    version: i16,
    request: PhantomData<R>,
}

impl<R: Request> Answer<R> {
    fn new(outcome: Outcome, version: i16) -> Self {
        let Outcome::Reply(pieces) = outcome else {
            panic!("no answer: {outcome:?}");
        };
        Self {
            body: pieces.concat().split_off(frame::PREFIX_LEN),
            version,
            request: PhantomData,
        }
    }

    fn decode(&self) -> R::Response<'_> {
        frame::decode_response::<R>(&self.body, self.version).unwrap()
    }
}

/// Answers about one partition of one topic.
macro_rules! one_partition {
    ($($request:ident => $response:ty: $topics:ident, $partitions:ident;)+) => {
        $(impl Answer<$request<'_>> {
            fn partition(&self) -> $response {
                let topic = self.decode().$topics.first().unwrap();
                topic.$partitions.first().unwrap()
            }
        })+
    };
}

one_partition! {
    ProduceRequest => ProduceResponsePartition<'_>: responses, partition_responses;
    FetchRequest => FetchResponsePartition<'_>: responses, partitions;
    ListOffsetsRequest => ListOffsetsResponsePartition: topics, partitions;
    OffsetForLeaderEpochRequest => OffsetForLeaderEpochEndOffset: topics, partitions;
}

/// A request as it arrives at a broker.
fn body<R: Request>(request: &R, version: i16) -> Bytes {
    let pieces = frame::encode_request(request, version, 7, "test").unwrap();
    Bytes::from(pieces.concat().split_off(frame::PREFIX_LEN))
}

fn latest<R: Request>() -> i16 {
    *R::VERSIONS.end()
}

impl Sandbox {
    fn new(broker_count: u16) -> Self {
        Self::with(ClusterOptions::new("test", broker_count))
    }

    fn with(options: ClusterOptions) -> Self {
        Self {
            cluster: Cluster::new(options),
            now: START,
        }
    }

    fn ask<R: Request>(&mut self, broker_id: i32, request: &R) -> Answer<R> {
        self.ask_in(latest::<R>(), broker_id, request)
    }

    fn ask_in<R: Request>(&mut self, version: i16, broker_id: i32, request: &R) -> Answer<R> {
        let outcome = self
            .cluster
            .handle(self.now, broker_id, &body(request, version));
        Answer::new(outcome, version)
    }

    /// Creates a topic `t` whose partitions all have their replicas on the brokers from 0 on.
    fn create_topic(&mut self, replication_factor: i32, configs: &[(&str, &str)]) -> Uuid {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name,
            value: Some(value),
        });
        let assignment = kmirror_protocol::messages::create_topics::CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: (0..replication_factor).collect(),
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: "t",
                num_partitions: -1,
                replication_factor: -1,
                assignments: vec![assignment].into(),
                configs: configs.collect(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask(0, &request);
        let created = &answer.decode().topics.first().unwrap();
        assert_eq!(created.error_code, ErrorCode::NONE, "{created:?}");
        created.topic_id
    }

    fn topic_id(&self) -> Uuid {
        self.cluster.topic("t").map_or(Uuid::ZERO, |topic| topic.id)
    }

    /// Produces to partition 0 of `t`: error code and base offset.
    fn produce(&mut self, broker_id: i32, blob: &[u8]) -> (ErrorCode, i64) {
        let request = produce(self.topic_id(), blob);
        let answer = self.ask(broker_id, &request);
        let partition = answer.partition();
        (partition.error_code, partition.base_offset)
    }

    fn start_fetch(&mut self, request: &FetchRequest<'_>) -> Outcome {
        let body = body(request, latest::<FetchRequest<'_>>());
        self.cluster.handle(self.now, 0, &body)
    }
}

fn produce(topic_id: Uuid, blob: &[u8]) -> ProduceRequest<'_> {
    ProduceRequest {
        acks: -1,
        topic_data: vec![ProduceRequestTopic {
            name: "t",
            topic_id,
            partition_data: vec![ProduceRequestPartition {
                index: 0,
                records: Some(Records::Slice(blob)),
            }]
            .into(),
        }]
        .into(),
        ..Default::default()
    }
}

/// A fetch of partition 0 of `t` that waits for a byte for at most `max_wait_ms`.
fn fetch(topic_id: Uuid, fetch_offset: i64, max_wait_ms: i32) -> FetchRequest<'static> {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchRequestTopic {
            topic: "t",
            topic_id,
            partitions: vec![FetchRequestPartition {
                fetch_offset,
                partition_max_bytes: i32::MAX,
                ..Default::default()
            }]
            .into(),
        }]
        .into(),
        ..Default::default()
    }
}

/// A batch with one record of the current time whose value has `len` bytes.
fn batch(len: usize) -> Vec<u8> {
    batch_at(START, len, BatchProducer::NONE)
}

fn batch_at(time: Timestamp, len: usize, producer: BatchProducer) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None).producer(producer);
    let record = NewRecord {
        timestamp: time.0,
        value: Some(&vec![7; len]),
        ..Default::default()
    };
    builder.push(&record).unwrap();
    builder.build().unwrap().to_vec()
}
