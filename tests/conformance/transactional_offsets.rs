//! Offsets of groups that count once a transaction commits (KIP-98, KIP-447, KIP-890).

use kmirror_protocol::messages::{
    AddOffsetsToTxnRequest, OffsetFetchRequest, TxnOffsetCommitRequest,
    offset_fetch::OffsetFetchRequestTopic,
    txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
};

use super::{
    broker::{Broker, eventually},
    groups::coordinator,
    transactional::Producer,
};

/// The newest version that adds nothing to a transaction but says so in its own words.
const ABORTABLE: i16 = 4;
/// The first version that adds the group's offsets to the transaction.
const ADDING: i16 = 5;

/// Sends an offset of partition 0 within a transaction: the error code.
async fn send(
    broker: &mut Broker,
    version: i16,
    producer: &Producer,
    group: &str,
    committed_offset: i64,
) -> i16 {
    let partition = TxnOffsetCommitRequestPartition {
        committed_offset,
        ..Default::default()
    };
    let topic = TxnOffsetCommitRequestTopic {
        name: group,
        partitions: [partition].into(),
    };
    let request = TxnOffsetCommitRequest {
        transactional_id: producer.transactional_id,
        group_id: group,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: [topic].into(),
        ..Default::default()
    };
    let answer = broker.ask_in(version, &request).await;
    let topic = answer.decode().topics.first().unwrap();
    topic.partitions.first().unwrap().error_code.0
}

async fn add(broker: &mut Broker, producer: &Producer, group_id: &str) -> i16 {
    let request = AddOffsetsToTxnRequest {
        transactional_id: producer.transactional_id,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id,
    };
    broker.ask(&request).await.decode().error_code.0
}

/// Error code and offset of partition 0, stable or whatever it is.
async fn fetch(broker: &mut Broker, group: &str, require_stable: bool) -> (i16, i64) {
    let topic = OffsetFetchRequestTopic {
        name: group,
        partition_indexes: [0].into(),
    };
    let request = OffsetFetchRequest {
        group_id: group,
        topics: Some([topic].into()),
        require_stable,
        ..Default::default()
    };
    let answer = broker.ask_in(7, &request).await;
    let topic = answer.decode().topics.first().unwrap();
    let partition = topic.partitions.first().unwrap();
    (partition.error_code.0, partition.committed_offset)
}

pub(super) async fn offsets_count_when_their_transaction_commits(bootstrap: &str) {
    let group = "txn-offsets-commit";
    let broker = &mut coordinator(bootstrap, group).await;
    broker.create_topic(group, &[]).await;
    let mut producer = broker.producer(group).await;
    assert_eq!(add(broker, &producer, group).await, 0);
    for (version, offset) in [(0, 1), (2, 2), (3, 3), (ABORTABLE, 4)] {
        let sent = send(broker, version, &producer, group, offset).await;
        assert_eq!(sent, 0, "version {version}");
    }
    assert_eq!(fetch(broker, group, true).await, (88, -1));
    assert_eq!(fetch(broker, group, false).await, (0, -1));
    broker.end(&mut producer, true).await;
    eventually(async || fetch(broker, group, true).await == (0, 4)).await;

    // What is added implicitly, and aborted, leaves the offset as it was.
    assert_eq!(send(broker, ADDING, &producer, group, 9).await, 0);
    assert_eq!(fetch(broker, group, true).await, (88, -1));
    assert_eq!(fetch(broker, group, false).await, (0, 4));
    broker.end(&mut producer, false).await;
    eventually(async || fetch(broker, group, true).await == (0, 4)).await;
}

pub(super) async fn offsets_outside_a_transaction_are_refused(bootstrap: &str) {
    let group = "txn-offsets-outside";
    let broker = &mut coordinator(bootstrap, group).await;
    broker.create_topic(group, &[]).await;
    let old = broker.producer(group).await;
    let new = broker.producer(group).await;
    let mut codes = Vec::new();
    for version in 0..=ABORTABLE {
        codes.push(send(broker, version, &new, group, 1).await);
    }
    for version in 0..=ADDING {
        codes.push(send(broker, version, &old, group, 1).await);
    }
    let expected = [48, 48, 48, 48, 120, 47, 47, 47, 47, 47, 47];
    assert_eq!(codes, expected);
    assert_eq!(fetch(broker, group, true).await, (0, -1));
}
