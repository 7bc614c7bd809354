//! Where logs begin and end, and how exact offsets can be reached.

use kmirror_protocol::{
    messages::{
        DeleteRecordsRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
    },
    records::{BatchBuilder, Compression, NewRecord},
};

use super::{
    broker::{Broker, Topic, batch, record, sequenced},
    now_ms,
};

/// Deletes records of partition 0: error code and log start offset.
pub(super) async fn delete(broker: &mut Broker, topic: &Topic, offset: i64) -> (i16, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.name,
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }]
            .into(),
        }]
        .into(),
        timeout_ms: 30_000,
    };
    let answer = broker.ask(&request).await;
    let partition = answer.partition();
    (partition.error_code.0, partition.low_watermark)
}

pub(super) async fn deleted_records_move_the_log_start_and_nothing_else(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("offsets-deleted", &[]).await;
    let (id, mut sequence) = (3_000_001, 0);
    for _ in 0..3 {
        let blob = sequenced(id, 0, sequence, 10);
        assert_eq!(
            broker.produce(&topic, &blob).await.brief(),
            (0, i64::from(sequence))
        );
        sequence += 10;
    }
    let steps = [
        (31, (1, -1)),
        (-2, (1, -1)),
        (0, (0, 0)),
        (15, (0, 15)),
        (7, (0, 15)),
        (-1, (0, 30)),
    ];
    for (offset, expected) in steps {
        assert_eq!(
            delete(broker, &topic, offset).await,
            expected,
            "offset {offset}"
        );
        let start = broker.list_offset(topic.name, -2).await;
        assert_eq!(start.error_code.0, 0);
        let below = broker.fetch(&topic, start.offset - 1).await;
        assert_eq!(
            (below.code.0, below.log_start_offset),
            (1, -1),
            "offset {offset}"
        );
        let at = broker.fetch(&topic, start.offset).await;
        assert_eq!(
            (at.code.0, at.log_start_offset),
            (0, start.offset),
            "offset {offset}"
        );
    }
    assert_eq!(broker.list_offset(topic.name, -1).await.offset, 30);
    let state = broker.producers(&topic).await;
    assert_eq!((state[0].producer_id, state[0].last_sequence), (id, 29));
    let gap = sequenced(id, 0, sequence + 1, 1);
    assert_eq!(broker.produce(&topic, &gap).await.brief(), (45, -1));
    let again = sequenced(id, 0, sequence - 10, 10);
    assert_eq!(broker.produce(&topic, &again).await.brief(), (0, 20));
    let next = broker.produce(&topic, &sequenced(id, 0, sequence, 1)).await;
    assert_eq!((next.brief(), next.log_start_offset), ((0, 30), 30));
}

pub(super) async fn records_of_a_compacted_topic_cannot_be_deleted(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let compact = [("cleanup.policy", "compact")];
    let topic = broker.create_topic("offsets-compacted", &compact).await;
    broker
        .produce(&topic, &batch(Compression::None, 1).to_vec())
        .await;
    assert_eq!(delete(broker, &topic, 1).await, (44, -1));
    let unknown = Topic {
        name: "offsets-unknown",
        ..topic
    };
    assert_eq!(delete(broker, &unknown, 1).await, (3, -1));
}

pub(super) async fn filler_brings_a_log_to_any_offset(bootstrap: &str) {
    const FILLER: i64 = 200_000;
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("offsets-filler", &[]).await;
    let mut builder = BatchBuilder::new(Compression::Zstd);
    let empty = NewRecord {
        timestamp: now_ms(),
        ..Default::default()
    };
    for _ in 0..FILLER {
        builder.push(&empty).unwrap();
    }
    let filler = builder.build().unwrap().to_vec();
    assert_eq!(broker.produce(&topic, &filler).await.brief(), (0, 0));
    assert_eq!(delete(broker, &topic, FILLER - 1).await, (0, FILLER - 1));
    // The batch around the new start is still returned whole.
    assert_eq!(broker.stored(&topic, FILLER - 1).await.base_offset, 0);
    assert_eq!(delete(broker, &topic, FILLER).await, (0, FILLER));
    let one = batch(Compression::None, 1).to_vec();
    assert_eq!(broker.produce(&topic, &one).await.brief(), (0, FILLER));
    assert_eq!(broker.list_offset(topic.name, -2).await.offset, FILLER);
    assert_eq!(broker.stored(&topic, FILLER).await.record_count, 1);
}

pub(super) async fn offsets_are_found_by_time(bootstrap: &str) {
    const T: i64 = 1_700_000_000_000;
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("offsets-times", &[]).await;
    let empty = broker.list_offset(topic.name, -3).await;
    assert_eq!(
        (empty.error_code.0, empty.offset, empty.timestamp),
        (0, -1, -1)
    );
    // Not in order, in batches of their own and inside one.
    for times in [
        [T, T + 30, T + 10],
        [T + 20, T + 60, T + 60],
        [T + 40, T + 50, T + 5],
    ] {
        let mut builder = BatchBuilder::new(Compression::Snappy);
        for time in times {
            builder.push(&record(time)).unwrap();
        }
        let blob = builder.build().unwrap().to_vec();
        broker.produce(&topic, &blob).await;
    }
    let cases = [
        (-1, (0, 9, -1, 0)),
        (-2, (0, 0, -1, 0)),
        (-3, (0, 4, T + 60, 0)),
        (-4, (0, 0, -1, 0)),
        (-5, (0, -1, -1, -1)),
        (-7, (35, -1, -1, -1)),
        (0, (0, 0, T, 0)),
        (T, (0, 0, T, 0)),
        (T + 1, (0, 1, T + 30, 0)),
        (T + 31, (0, 4, T + 60, 0)),
        (T + 60, (0, 4, T + 60, 0)),
        (T + 61, (0, -1, -1, -1)),
    ];
    for (time, expected) in cases {
        let found = broker.list_offset(topic.name, time).await;
        let found = (
            found.error_code.0,
            found.offset,
            found.timestamp,
            found.leader_epoch,
        );
        assert_eq!(found, expected, "time {time}");
    }
    for (version, time, code) in [
        (6, -3, 35),
        (7, -3, 0),
        (7, -4, 35),
        (8, -5, 35),
        (1, -1, 0),
    ] {
        let found = broker.list_offset_in(version, topic.name, time).await;
        assert_eq!(found.error_code.0, code, "version {version}, time {time}");
    }
    assert_eq!(delete(broker, &topic, 2).await, (0, 2));
    assert_eq!(broker.list_offset(topic.name, T).await.offset, 2);
    assert_eq!(broker.list_offset(topic.name, T + 30).await.offset, 4);
}

pub(super) async fn leader_epochs_end_at_the_log_end(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("offsets-epochs", &[]).await;
    broker
        .produce(&topic, &batch(Compression::None, 4).to_vec())
        .await;
    // Current epoch as believed, epoch asked for; error code, epoch, end offset.
    let cases = [
        (-1, 0, (0, 0, 4)),
        (0, 0, (0, 0, 4)),
        (0, 1, (0, -1, -1)),
        (0, -1, (0, -1, -1)),
        (1, 0, (75, -1, -1)),
    ];
    for (current_leader_epoch, leader_epoch, expected) in cases {
        let found = broker
            .epoch_end(&topic, current_leader_epoch, leader_epoch)
            .await;
        assert_eq!(
            found, expected,
            "epoch {leader_epoch}, current {current_leader_epoch}"
        );
    }
}
