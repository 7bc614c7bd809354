//! A raw client of one broker: it sends what it is told and hides nothing of the answer.

use std::{marker::PhantomData, time::Duration};

use kmirror_protocol::{
    ErrorCode, Request, frame,
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, DescribeProducersRequest, FetchRequest,
        InitProducerIdRequest, ListOffsetsRequest, ProduceRequest,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        delete_records::DeleteRecordsPartitionResult,
        describe_producers::{
            DescribeProducersRequestTopic, DescribeProducersResponsePartition, ProducerState,
        },
        fetch::{FetchRequestPartition, FetchRequestTopic, FetchResponsePartition},
        list_offsets::{
            ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponsePartition,
        },
        produce::{ProduceRequestPartition, ProduceRequestTopic, ProduceResponsePartition},
    },
    records::{BatchBuilder, BatchHeader, BuiltBatch, Compression, NewRecord},
    wire::{Records, Uuid},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::now_ms;

/// For what a broker is sure to do, if slowly.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// A connection to a broker.
pub(crate) struct Broker {
    stream: TcpStream,
}

/// An answer, not yet decoded.
pub(crate) struct Answer<R> {
    body: Vec<u8>,
    version: i16,
    request: PhantomData<R>,
}

impl<R: Request> Answer<R> {
    pub(crate) fn decode(&self) -> R::Response<'_> {
        frame::decode_response::<R>(&self.body, self.version).unwrap()
    }
}

/// Answers about one partition of one topic.
macro_rules! one_partition {
    ($($request:ident => $response:ty: $topics:ident, $partitions:ident;)+) => {
        $(impl Answer<$request<'_>> {
            pub(crate) fn partition(&self) -> $response {
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
    DeleteRecordsRequest => DeleteRecordsPartitionResult: topics, partitions;
    DescribeProducersRequest => DescribeProducersResponsePartition<'_>: topics, partitions;
}

impl Broker {
    pub(crate) async fn connect(bootstrap: &str) -> Self {
        Self {
            stream: TcpStream::connect(bootstrap).await.unwrap(),
        }
    }

    /// Asks in the newest version of the message tables.
    pub(crate) async fn ask<R: Request>(&mut self, request: &R) -> Answer<R> {
        self.ask_in(*R::VERSIONS.end(), request).await
    }

    pub(crate) async fn ask_in<R: Request>(&mut self, version: i16, request: &R) -> Answer<R> {
        let pieces = frame::encode_request(request, version, 1, "conformance").unwrap();
        let body = self.exchange(&pieces.concat()).await;
        Answer {
            body: body.unwrap_or_else(|| panic!("no answer to {} v{version}", R::KEY)),
            version,
            request: PhantomData,
        }
    }

    /// Sends a frame; the body of the answer, or `None` when the broker closes the connection.
    pub(crate) async fn exchange(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let exchange = async {
            self.stream.write_all(frame).await.unwrap();
            let len = self.stream.read_i32().await.ok()?;
            let mut body = vec![0; usize::try_from(len).unwrap()];
            self.stream.read_exact(&mut body).await.unwrap();
            Some(body)
        };
        tokio::time::timeout(WAIT_MAX, exchange).await.unwrap()
    }

    pub(crate) async fn send(&mut self, frame: &[u8]) {
        self.stream.write_all(frame).await.unwrap();
    }

    /// Creates a topic of one partition and waits until the broker leads it.
    pub(crate) async fn create_topic(
        &mut self,
        name: &'static str,
        configs: &[(&str, &str)],
    ) -> Topic {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name,
            value: Some(value),
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name,
                num_partitions: 1,
                replication_factor: 1,
                configs: configs.collect(),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask(&request).await;
        let created = &answer.decode().topics.first().unwrap();
        assert_eq!(created.error_code, ErrorCode::NONE, "{created:?}");
        let id = created.topic_id;
        self.wait_for_topic(name).await;
        Topic { name, id }
    }

    /// Waits until the broker leads the first partition of a topic.
    pub(crate) async fn wait_for_topic(&mut self, name: &str) {
        eventually(async || self.list_offset(name, -1).await.error_code.is_ok()).await;
    }

    /// A new producer id; a broker that has just started needs a moment to have one.
    pub(crate) async fn init_producer_id(&mut self) -> i64 {
        loop {
            let answer = self.ask(&InitProducerIdRequest::default()).await;
            let answer = answer.decode();
            match answer.error_code {
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                code => {
                    assert_eq!(code, ErrorCode::NONE);
                    assert_eq!(answer.producer_epoch, 0);
                    return answer.producer_id;
                }
            }
        }
    }

    /// Produces a blob to partition 0 with acks -1.
    pub(crate) async fn produce(&mut self, topic: &Topic, blob: &[u8]) -> Produced {
        self.produce_in(*ProduceRequest::VERSIONS.end(), topic, blob)
            .await
    }

    pub(crate) async fn produce_in(
        &mut self,
        version: i16,
        topic: &Topic,
        blob: &[u8],
    ) -> Produced {
        self.produce_with(version, &produce_request(topic, -1, blob))
            .await
    }

    pub(crate) async fn produce_with(
        &mut self,
        version: i16,
        request: &ProduceRequest<'_>,
    ) -> Produced {
        let answer = self.ask_in(version, request).await;
        let partition = answer.partition();
        let errors = partition.record_errors.iter();
        Produced {
            code: partition.error_code,
            base_offset: partition.base_offset,
            log_append_time_ms: partition.log_append_time_ms,
            log_start_offset: partition.log_start_offset,
            record_errors: errors.map(|error| error.batch_index).collect(),
            has_message: partition.error_message.is_some(),
            current_leader: (
                partition.current_leader.leader_id,
                partition.current_leader.leader_epoch,
            ),
        }
    }

    /// What partition 0 holds from an offset on, as it lies in the log, without waiting.
    pub(crate) async fn fetch(&mut self, topic: &Topic, offset: i64) -> Fetched {
        let partition = FetchRequestPartition {
            fetch_offset: offset,
            partition_max_bytes: 64 << 20,
            ..Default::default()
        };
        self.fetch_with(topic, partition, i32::MAX).await
    }

    pub(crate) async fn fetch_with(
        &mut self,
        topic: &Topic,
        partition: FetchRequestPartition,
        max_bytes: i32,
    ) -> Fetched {
        let version = *FetchRequest::VERSIONS.end();
        self.fetch_in(version, topic, partition, max_bytes).await
    }

    pub(crate) async fn fetch_in(
        &mut self,
        version: i16,
        topic: &Topic,
        partition: FetchRequestPartition,
        max_bytes: i32,
    ) -> Fetched {
        let request = FetchRequest {
            max_bytes,
            topics: vec![FetchRequestTopic {
                topic: topic.name,
                topic_id: topic.id,
                partitions: vec![partition].into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask_in(version, &request).await;
        assert_eq!(answer.decode().error_code, ErrorCode::NONE);
        let partition = answer.partition();
        Fetched {
            code: partition.error_code,
            high_watermark: partition.high_watermark,
            last_stable_offset: partition.last_stable_offset,
            log_start_offset: partition.log_start_offset,
            has_aborted_list: partition.aborted_transactions.is_some(),
            diverging_epoch: (
                partition.diverging_epoch.epoch,
                partition.diverging_epoch.end_offset,
            ),
            current_leader: (
                partition.current_leader.leader_id,
                partition.current_leader.leader_epoch,
            ),
            records: partition.records.as_ref().unwrap().as_slice().to_vec(),
        }
    }

    /// The header of the batch at an offset, its checksum proven.
    pub(crate) async fn stored(&mut self, topic: &Topic, offset: i64) -> BatchHeader {
        let fetched = self.fetch(topic, offset).await;
        assert_eq!(fetched.code, ErrorCode::NONE);
        let header = BatchHeader::parse(&fetched.records).unwrap();
        let payload = &fetched.records[kmirror_protocol::records::HEADER_LEN..header.size()];
        assert!(header.verify_crc(payload), "{header:?}");
        header
    }

    pub(crate) async fn list_offset(
        &mut self,
        topic: &str,
        timestamp: i64,
    ) -> ListOffsetsResponsePartition {
        let version = *ListOffsetsRequest::VERSIONS.end();
        self.list_offset_in(version, topic, timestamp).await
    }

    pub(crate) async fn list_offset_in(
        &mut self,
        version: i16,
        topic: &str,
        timestamp: i64,
    ) -> ListOffsetsResponsePartition {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsRequestTopic {
                name: topic,
                partitions: vec![ListOffsetsRequestPartition {
                    timestamp,
                    ..Default::default()
                }]
                .into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask_in(version, &request).await;
        answer.partition()
    }

    /// The producers that partition 0 remembers, by id.
    pub(crate) async fn producers(&mut self, topic: &Topic) -> Vec<ProducerState> {
        let request = DescribeProducersRequest {
            topics: vec![DescribeProducersRequestTopic {
                name: topic.name,
                partition_indexes: vec![0].into(),
            }]
            .into(),
        };
        let answer = self.ask(&request).await;
        let partition = answer.partition();
        assert_eq!(partition.error_code, ErrorCode::NONE);
        let mut producers: Vec<_> = partition.active_producers.iter().collect();
        producers.sort_by_key(|producer| producer.producer_id);
        producers
    }
}

/// Asks again and again until the answer is yes: in Kafka the controller decides, brokers follow.
pub(crate) async fn eventually(mut ask: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, wait).await.unwrap();
}

/// A topic of one partition.
#[derive(Clone, Copy)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) id: Uuid,
}

/// What a broker says to one batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) code: ErrorCode,
    pub(crate) base_offset: i64,
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) record_errors: Vec<i32>,
    pub(crate) has_message: bool,
    pub(crate) current_leader: (i32, i32),
}

impl Produced {
    /// Error code and base offset.
    pub(crate) fn brief(&self) -> (i16, i64) {
        (self.code.0, self.base_offset)
    }
}

/// What a broker says to a fetch of one partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) code: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) has_aborted_list: bool,
    pub(crate) diverging_epoch: (i32, i64),
    pub(crate) current_leader: (i32, i32),
    pub(crate) records: Vec<u8>,
}

/// A request to append a blob to partition 0.
pub(crate) fn produce_request<'a>(topic: &Topic, acks: i16, blob: &'a [u8]) -> ProduceRequest<'a> {
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![ProduceRequestTopic {
            name: topic.name,
            topic_id: topic.id,
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

/// A batch of `count` records with keys, values and the current time.
pub(crate) fn batch(codec: Compression, count: usize) -> BuiltBatch {
    let mut builder = BatchBuilder::new(codec);
    let timestamp = now_ms();
    for _ in 0..count {
        builder.push(&record(timestamp)).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn record(timestamp: i64) -> NewRecord<'static> {
    NewRecord {
        timestamp,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: &[],
    }
}

/// `batch` with a changed header and the checksum that fits it.
pub(crate) fn with_header(batch: &BuiltBatch, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = batch.header;
    change(&mut header);
    header.crc = header.computed_crc(&batch.payload);
    [&header.encode(), batch.payload.as_ref()].concat()
}

/// An uncompressed batch of `count` records from an idempotent producer.
pub(crate) fn sequenced(
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    count: usize,
) -> Vec<u8> {
    with_header(&batch(Compression::None, count), |header| {
        header.producer_id = producer_id;
        header.producer_epoch = producer_epoch;
        header.base_sequence = base_sequence;
    })
}
