//! What a raw client can learn of one replica: where its log and its epochs end, and what it
//! remembers of producers.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        ListOffsetsRequest, OffsetForLeaderEpochRequest,
        list_offsets::{
            ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponsePartition,
        },
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};

use super::broker::{Broker, Topic};

impl Broker {
    /// The log start of partition 0, for somebody who believes in a leader epoch.
    pub(crate) async fn log_start(
        &mut self,
        topic: &Topic,
        current_leader_epoch: i32,
    ) -> ListOffsetsResponsePartition {
        let partition = ListOffsetsRequestPartition {
            current_leader_epoch,
            timestamp: -2,
            ..Default::default()
        };
        self.list_offset_with(-1, topic.name, partition).await
    }

    /// The log end of partition 0 on this broker, whether it leads or follows.
    pub(crate) async fn log_end(&mut self, topic: &Topic) -> i64 {
        let partition = ListOffsetsRequestPartition {
            timestamp: -1,
            ..Default::default()
        };
        let end = self.list_offset_with(-2, topic.name, partition).await;
        assert_eq!(end.error_code, ErrorCode::NONE, "{end:?}");
        end.offset
    }

    pub(crate) async fn list_offset_with(
        &mut self,
        replica_id: i32,
        topic: &str,
        partition: ListOffsetsRequestPartition,
    ) -> ListOffsetsResponsePartition {
        let request = ListOffsetsRequest {
            replica_id,
            topics: vec![ListOffsetsRequestTopic {
                name: topic,
                partitions: vec![partition].into(),
            }]
            .into(),
            ..Default::default()
        };
        let answer = self.ask(&request).await;
        let topic = answer.decode().topics.first().unwrap();
        topic.partitions.first().unwrap()
    }

    /// Where an epoch of partition 0 ends, for somebody who believes in a current leader epoch:
    /// error code, epoch, end offset.
    pub(crate) async fn epoch_end(
        &mut self,
        topic: &Topic,
        current_leader_epoch: i32,
        leader_epoch: i32,
    ) -> (i16, i32, i64) {
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: topic.name,
                partitions: vec![OffsetForLeaderPartition {
                    partition: 0,
                    current_leader_epoch,
                    leader_epoch,
                }]
                .into(),
            }]
            .into(),
        };
        let answer = self.ask(&request).await;
        let topic = answer.decode().topics.first().unwrap();
        let end = topic.partitions.first().unwrap();
        (end.error_code.0, end.leader_epoch, end.end_offset)
    }

    /// Last sequence of each producer that partition 0 remembers.
    pub(crate) async fn last_sequences(&mut self, topic: &Topic) -> Vec<(i64, i32)> {
        let producers = self.producers(topic).await.into_iter();
        producers
            .map(|producer| (producer.producer_id, producer.last_sequence))
            .collect()
    }
}
