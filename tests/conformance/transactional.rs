//! A raw transactional producer and reader for the probes of transactions.
//!
//! It retries only what means that the broker has not come so far yet: coordinators that are being
//! elected or loaded, and a transaction whose markers are still being written.

use std::time::Duration;

use kmirror_protocol::{
    ErrorCode, Request,
    messages::{
        AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, FetchRequest,
        FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest,
        add_partitions_to_txn::AddPartitionsToTxnTopic,
        fetch::{FetchRequestPartition, FetchRequestTopic},
        list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
    },
    records::{Attributes, BatchHeader, BuiltBatch, Compression, LogEntry, batches},
};

use super::broker::{Broker, Topic, batch, produce_request, with_header};

/// The newest version that leaves the epoch alone at the end of a transaction.
pub(super) const END_V1: i16 = 4;
/// The first that bumps it.
pub(super) const END_V2: i16 = 5;
/// The newest version of Produce that adds no partition to a transaction.
pub(super) const VERIFYING: i16 = 11;
/// A version that does.
pub(super) const ADDING: i16 = 12;

/// In milliseconds.
const TIMEOUT_MS: i32 = 60_000;

/// A transactional producer as it believes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) transactional_id: &'static str,
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// What a reader gets of partition 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) code: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    /// Producer id and first offset.
    pub(super) aborted: Option<Vec<(i64, i64)>>,
    /// The base offsets of whole batches.
    pub(super) batches: Vec<i64>,
}

impl Producer {
    /// An uncompressed batch of `count` records of its transaction.
    pub(super) fn batch(&self, sequence: i32, count: usize) -> Vec<u8> {
        self.wrap(&batch(Compression::None, count), sequence)
    }

    pub(super) fn wrap(&self, batch: &BuiltBatch, sequence: i32) -> Vec<u8> {
        with_header(batch, |header| {
            header.producer_id = self.id;
            header.producer_epoch = self.epoch;
            header.base_sequence = sequence;
            header.attributes.0 |= Attributes::TRANSACTIONAL;
        })
    }

    /// The same with other ids.
    pub(super) const fn with(self, id: i64, epoch: i16) -> Self {
        Self { id, epoch, ..self }
    }
}

/// Error code, producer id and epoch.
pub(super) type Given = (i16, i64, i16);

impl Broker {
    /// Asks for a producer id once the coordinator is there.
    pub(super) async fn init_in(
        &mut self,
        version: i16,
        transactional_id: &str,
        transaction_timeout_ms: i32,
        (producer_id, producer_epoch): (i64, i16),
    ) -> Given {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id),
            transaction_timeout_ms,
            producer_id,
            producer_epoch,
        };
        loop {
            let answer = self.ask_in(version, &request).await;
            let answer = answer.decode();
            match answer.error_code {
                ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => pause().await,
                // Kafka creates the topic of the coordinators when the first is looked for.
                ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                    let request = FindCoordinatorRequest {
                        key_type: 1,
                        coordinator_keys: vec![transactional_id].into(),
                        ..Default::default()
                    };
                    self.ask(&request).await;
                    pause().await;
                }
                code => return (code.0, answer.producer_id, answer.producer_epoch),
            }
        }
    }

    pub(super) async fn init(&mut self, transactional_id: &str) -> Given {
        let version = *InitProducerIdRequest::VERSIONS.end();
        self.init_in(version, transactional_id, TIMEOUT_MS, (-1, -1))
            .await
    }

    /// A new incarnation of a transactional producer, once that of the last one is aborted.
    pub(super) async fn producer(&mut self, transactional_id: &'static str) -> Producer {
        loop {
            match self.init(transactional_id).await {
                (51, ..) => pause().await,
                (code, id, epoch) => {
                    assert_eq!(code, 0);
                    return Producer {
                        transactional_id,
                        id,
                        epoch,
                    };
                }
            }
        }
    }

    /// Adds partitions to a transaction: the error code of each.
    pub(super) async fn add_in(
        &mut self,
        version: i16,
        producer: &Producer,
        partitions: &[(&str, i32)],
    ) -> Vec<i16> {
        let topics = partitions
            .iter()
            .map(|(name, index)| AddPartitionsToTxnTopic {
                name,
                partitions: vec![*index].into(),
            });
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: producer.transactional_id,
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: topics.collect(),
        };
        let answer = self.ask_in(version, &request).await;
        let response = answer.decode();
        let mut codes = Vec::new();
        for (name, index) in partitions {
            for topic in &response.results_by_topic_v3_and_below {
                for result in &topic.results_by_partition {
                    if (topic.name, result.partition_index) == (*name, *index) {
                        codes.push(result.partition_error_code);
                    }
                }
            }
        }
        codes
    }

    pub(super) async fn add(&mut self, producer: &Producer, topic: &Topic) -> Vec<i16> {
        self.add_in(3, producer, &[(topic.name, 0)]).await
    }

    /// Produces a batch within a transaction: error code and base offset.
    pub(super) async fn write(
        &mut self,
        version: i16,
        producer: &Producer,
        topic: &Topic,
        blob: &[u8],
    ) -> (i16, i64) {
        let request = ProduceRequest {
            transactional_id: Some(producer.transactional_id),
            ..produce_request(topic, -1, blob)
        };
        let answer = self.ask_in(version, &request).await;
        let response = answer.decode();
        let topic = response.responses.iter().next().unwrap();
        let partition = topic.partition_responses.iter().next().unwrap();
        (partition.error_code.0, partition.base_offset)
    }

    /// Ends a transaction and waits for its markers.
    pub(super) async fn end_in(
        &mut self,
        version: i16,
        producer: &Producer,
        committed: bool,
    ) -> Given {
        let given = self.end_at_once(version, producer, committed).await;
        if given.0 == 0 {
            self.wait_until_complete(producer.transactional_id).await;
        }
        given
    }

    /// Ends a transaction.
    pub(super) async fn end_at_once(
        &mut self,
        version: i16,
        producer: &Producer,
        committed: bool,
    ) -> Given {
        let request = EndTxnRequest {
            transactional_id: producer.transactional_id,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed,
        };
        let answer = self.ask_in(version, &request).await;
        let answer = answer.decode();
        (
            answer.error_code.0,
            answer.producer_id,
            answer.producer_epoch,
        )
    }

    /// Ends a transaction and lets its producer go on with what it is given.
    pub(super) async fn end(&mut self, producer: &mut Producer, committed: bool) {
        let (code, id, epoch) = self.end_in(END_V2, producer, committed).await;
        assert_eq!(code, 0, "{producer:?}");
        *producer = producer.with(id, epoch);
    }

    /// Waits until all markers of a transactional id are written.
    pub(super) async fn wait_until_complete(&mut self, transactional_id: &str) {
        while self.state(transactional_id).await.starts_with("Prepare") {
            pause().await;
        }
    }

    /// The state of a transactional id.
    pub(super) async fn state(&mut self, transactional_id: &str) -> String {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![transactional_id].into(),
        };
        let answer = self.ask(&request).await;
        let response = answer.decode();
        let state = response.transaction_states.iter().next().unwrap();
        state.transaction_state.to_owned()
    }

    /// Reads partition 0 from an offset on.
    pub(super) async fn read(&mut self, topic: &Topic, isolation_level: i8, offset: i64) -> Read {
        self.read_bytes(topic, isolation_level, offset, 64 << 20)
            .await
    }

    pub(super) async fn read_bytes(
        &mut self,
        topic: &Topic,
        isolation_level: i8,
        fetch_offset: i64,
        partition_max_bytes: i32,
    ) -> Read {
        let partition = FetchRequestPartition {
            fetch_offset,
            partition_max_bytes,
            ..Default::default()
        };
        let request = FetchRequest {
            max_bytes: i32::MAX,
            isolation_level,
            topics: vec![FetchRequestTopic {
                topic: topic.name,
                topic_id: topic.id,
                partitions: vec![partition].into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask(&request).await;
        let response = answer.decode();
        let topic = response.responses.iter().next().unwrap();
        let partition = topic.partitions.iter().next().unwrap();
        let entries = batches(partition.records.as_ref().unwrap().as_slice());
        let aborted = partition.aborted_transactions.as_ref();
        Read {
            code: partition.error_code.0,
            high_watermark: partition.high_watermark,
            last_stable_offset: partition.last_stable_offset,
            aborted: aborted.map(|aborted| {
                let aborted = aborted.iter();
                aborted
                    .map(|it| (it.producer_id, it.first_offset))
                    .collect()
            }),
            batches: entries
                .map_while(Result::ok)
                .filter_map(|entry| match entry {
                    LogEntry::Batch(batch) => Some(batch.header.base_offset),
                    LogEntry::Legacy(_) => None,
                })
                .collect(),
        }
    }

    /// The batch at an offset, whoever may see it.
    pub(super) async fn raw(&mut self, topic: &Topic, offset: i64) -> (BatchHeader, Vec<u8>) {
        let fetched = self.fetch(topic, offset).await;
        let header = BatchHeader::parse(&fetched.records).unwrap();
        let payload = &fetched.records[kmirror_protocol::records::HEADER_LEN..header.size()];
        assert!(header.verify_crc(payload), "{header:?}");
        (header, payload.to_vec())
    }

    /// The offset that goes with a time: error code, offset and timestamp.
    pub(super) async fn offset_of(
        &mut self,
        topic: &Topic,
        isolation_level: i8,
        timestamp: i64,
    ) -> (i16, i64, i64) {
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level,
            topics: vec![ListOffsetsRequestTopic {
                name: topic.name,
                partitions: vec![ListOffsetsRequestPartition {
                    timestamp,
                    ..Default::default()
                }]
                .into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask(&request).await;
        let response = answer.decode();
        let topic = response.topics.iter().next().unwrap();
        let partition = topic.partitions.iter().next().unwrap();
        (
            partition.error_code.0,
            partition.offset,
            partition.timestamp,
        )
    }
}

/// Between two looks at what a broker does on its own.
pub(super) async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
