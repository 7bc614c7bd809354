//! Where new partitions begin, in every delivery.

use std::{sync::Arc, time::Duration};

use kmirror::{
    cluster::{SendOptions, To},
    flow::{TopicPartition, groups::CommittedOffset},
    runtime::exchange::groups,
};

use crate::support::sandbox::{LOAD, OwnedRecord, Pair, Side, status_when, stop};

/// Records in each partition.
const COUNT: u64 = 50;

/// Commits for a group without members.
pub(super) async fn commit(side: &Side, group: &str, partition: &TopicPartition, offset: i64) {
    let offsets = [CommittedOffset {
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
        offset,
        metadata: String::new(),
    }];
    // A coordinator is not ready at once.
    for _ in 0..100 {
        let question = groups::commit_offsets(group, &offsets);
        let options = SendOptions {
            version_max: question.version_max,
            ..SendOptions::default()
        };
        let asked = side
            .client
            .request_with(To::Any, &question.request, options);
        let answer = asked.await.unwrap();
        if groups::offsets_committed(&answer.decode().unwrap()).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("group {group} takes no offset");
}

#[tokio::test]
async fn each_partition_begins_where_it_was_asked_to_in_every_delivery() {
    for delivery in ["exactly-once", "at-least-once", "transactional"] {
        let pair = Pair::start(1).await;
        pair.source.create_topic("t.x", 6, &[]).await;
        for partition in 0..6 {
            pair.source
                .produce(("t.x", partition), LOAD, 0, COUNT)
                .await;
        }
        let committed = TopicPartition {
            topic: Arc::from("t.x"),
            partition: 3,
        };
        commit(&pair.source, "readers", &committed, 25).await;
        let time = LOAD.first_timestamp + 20;
        let more = format!(
            "kmirror.delivery = {delivery}\n\
             kmirror.start = offset:35\n\
             A->B.kmirror.start.topics = t\\\\.x:0=timestamp:{time}, t\\\\.x:1=timestamp:2026-03-01, \
             t.*:2=offset:30, t\\\\.[xy]:3=group:readers, t.*:4=group:readers, u=earliest"
        );
        let engine = pair.engine(&more);
        let starts = [20, 50, 30, 25, 35, 35];
        let expected: Vec<OwnedRecord> = pair.source.read("t.x").await;
        let is_wanted =
            |it: &OwnedRecord| it.offset >= starts[usize::try_from(it.partition).unwrap()];
        let expected: Vec<_> = expected
            .into_iter()
            .filter(is_wanted)
            .map(content)
            .collect();
        let records = u64::try_from(expected.len()).unwrap();
        assert_eq!(records, 105);
        status_when(&engine, |status| status.counters.records == records).await;
        stop(engine).await;
        let copied = pair.target.read("A.t.x").await.into_iter().map(content);
        assert_eq!(copied.collect::<Vec<_>>(), expected, "{delivery}");
    }
}

/// All but the offset.
fn content(record: OwnedRecord) -> (i32, i64, Option<Vec<u8>>, Option<Vec<u8>>) {
    (record.partition, record.timestamp, record.key, record.value)
}
