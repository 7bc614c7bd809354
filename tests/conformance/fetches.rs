//! Reading: limits, positions and epochs.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        FetchRequest,
        fetch::{FetchRequestPartition, FetchRequestTopic},
    },
    records::{BatchHeader, Compression, batches},
};

use super::broker::{Broker, Topic, batch};

fn from(fetch_offset: i64, partition_max_bytes: i32) -> FetchRequestPartition {
    FetchRequestPartition {
        fetch_offset,
        partition_max_bytes,
        ..Default::default()
    }
}

/// A topic with batches of two records, and the size of each batch.
async fn filled(broker: &mut Broker, name: &'static str, count: usize) -> (Topic, usize) {
    let topic = broker.create_topic(name, &[]).await;
    let made = batch(Compression::None, 2);
    for _ in 0..count {
        let produced = broker.produce(&topic, &made.to_vec()).await;
        assert_eq!(produced.code, ErrorCode::NONE);
    }
    (topic, made.header.size())
}

pub(super) async fn limits_hold_but_for_the_first_batch(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let (topic, size) = filled(broker, "fetches-limits", 5).await;
    let bytes = |len: usize| i32::try_from(len).unwrap();
    // Limits of partition and request in bytes; how many bytes come.
    let cases = [
        (i32::MAX, i32::MAX, 5 * size),
        (bytes(3 * size), i32::MAX, 3 * size),
        (i32::MAX, bytes(3 * size), 3 * size),
        (bytes(3 * size + 7), i32::MAX, 3 * size + 7),
        (bytes(size - 1), i32::MAX, size),
        (1, 1, size),
        (0, 0, size),
    ];
    for (partition_max, request_max, expected) in cases {
        let fetched = broker
            .fetch_with(&topic, from(0, partition_max), request_max)
            .await;
        assert_eq!(fetched.code, ErrorCode::NONE);
        assert_eq!(
            fetched.records.len(),
            expected,
            "{partition_max}, {request_max}"
        );
    }
    // The exception is made once a request.
    let (other, _) = filled(broker, "fetches-limits-other", 1).await;
    let both = [topic, other].map(|topic| FetchRequestTopic {
        topic: topic.name,
        topic_id: topic.id,
        partitions: vec![from(0, 1)].into(),
    });
    let request = FetchRequest {
        topics: both.to_vec().into(),
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let response = answer.decode();
    let lens = response.responses.iter().flat_map(|topic| topic.partitions);
    let lens: Vec<usize> = lens.map(|it| it.records.as_ref().unwrap().len()).collect();
    assert_eq!(lens, [size, 0]);
}

pub(super) async fn a_batch_is_returned_whole_from_any_of_its_offsets(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let (topic, _) = filled(broker, "fetches-whole", 3).await;
    for offset in 0..6 {
        let fetched = broker.fetch(&topic, offset).await;
        let first = BatchHeader::parse(&fetched.records).unwrap();
        assert_eq!(first.base_offset, offset / 2 * 2, "offset {offset}");
        assert_eq!(first.partition_leader_epoch, 0);
        let entries = i64::try_from(batches(&fetched.records).count()).unwrap();
        assert_eq!(entries, 3 - offset / 2, "offset {offset}");
        let ends = (
            fetched.log_start_offset,
            fetched.high_watermark,
            fetched.last_stable_offset,
        );
        assert_eq!(ends, (0, 6, 6), "offset {offset}");
        assert!(!fetched.has_aborted_list);
    }
    assert!(broker.fetch(&topic, 6).await.records.is_empty());
}

pub(super) async fn offsets_and_epochs_outside_the_log_are_refused(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let (topic, size) = filled(broker, "fetches-outside", 2).await;
    let ask = |fetch_offset, current_leader_epoch, last_fetched_epoch| FetchRequestPartition {
        current_leader_epoch,
        last_fetched_epoch,
        ..from(fetch_offset, i32::MAX)
    };
    // Error code, bytes, diverging epoch.
    let none = (-1, -1);
    let cases = [
        ("inside", ask(0, 0, 0), (0, 2 * size, none)),
        ("at the end", ask(4, 0, 0), (0, 0, none)),
        ("beyond the end", ask(5, -1, -1), (1, 0, none)),
        ("below 0", ask(-1, -1, -1), (1, 0, none)),
        ("a leader epoch to come", ask(0, 1, -1), (75, 0, none)),
        (
            "fetched beyond the end of the epoch",
            ask(5, 0, 0),
            (0, 0, (0, 4)),
        ),
        ("an epoch that never was", ask(4, 0, 3), (1, 0, none)),
    ];
    for (name, partition, expected) in cases {
        let fetched = broker.fetch_with(&topic, partition, i32::MAX).await;
        let actual = (
            fetched.code.0,
            fetched.records.len(),
            fetched.diverging_epoch,
        );
        assert_eq!(actual, expected, "{name}");
    }
}

pub(super) async fn sessions_that_were_never_opened_are_not_found(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    for (session_id, session_epoch, expected) in [(0, -1, 0), (77, 1, 70), (77, 5, 70)] {
        let request = FetchRequest {
            session_id,
            session_epoch,
            ..Default::default()
        };
        let answer = broker.ask(&request).await;
        let answer = answer.decode();
        assert_eq!(answer.error_code.0, expected, "epoch {session_epoch}");
        assert_eq!(answer.session_id, 0, "epoch {session_epoch}");
    }
}
