//! What is copied, while all goes well.

use std::time::Duration;

use kmirror::{
    cluster::Topics,
    demo::load::{Load, produce},
    flow::FlowStatus,
    offsets::murmur2,
};
use kmirror_protocol::records::{BatchBuilder, Compression, NewRecord};

use crate::support::sandbox::{
    LOAD, OwnedRecord, Pair, Side, eventually, next_status, status_when, stop,
};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

#[tokio::test]
async fn batches_of_every_codec_pass_as_they_are() {
    let pair = Pair::start(1).await;
    for codec in CODECS {
        let load = Load { codec, ..LOAD };
        pair.source.create_topic(codec.name(), 2, &[]).await;
        for (partition, first) in [(0, 0), (1, 1_000)] {
            let topic = (codec.name(), partition);
            pair.source.produce(topic, load, first, 50).await;
        }
    }
    let engine = pair.engine("");
    for codec in CODECS {
        pair.wait_for_copy(codec.name()).await;
    }
    let is_done = |status: &FlowStatus| status.counters.records == 500 && status.lag == 0;
    let found = status_when(&engine, is_done).await;
    assert_eq!(found.partitions, 10);
    assert!(found.counters.rebuilt.is_empty() && found.counters.dropped.is_empty());
    assert!(found.halted.is_empty() && found.unreachable.is_empty());
    assert_eq!(found.records_by_topic["zstd"], 100);
    pair.finish(engine, &CODECS.map(Compression::name)).await;
}

/// As with MM2, so that whoever asks where a group stands is not kept waiting by a missing topic.
#[tokio::test]
async fn topics_for_other_readers_are_there_before_there_is_something_to_read() {
    let pair = Pair::start(1).await;
    let engine = pair.engine(
        "emit.checkpoints.enabled = true\n\
         emit.offset-syncs.enabled = true\n\
         checkpoints.topic.replication.factor = 1\n\
         offset-syncs.topic.replication.factor = 1",
    );
    eventually("both topics", || {
        let syncs = pair.source.ends("mm2-offset-syncs.B.internal");
        pair.target.ends("A.checkpoints.internal") == [0] && syncs == [0]
    })
    .await;
    stop(engine).await;
}

#[tokio::test]
async fn topics_and_partitions_that_appear_while_running_are_copied() {
    let pair = Pair::start(1).await;
    let engine = pair.engine("topics = late.*");
    pair.source.create_topic("late-1", 1, &[]).await;
    pair.source.create_topic("other", 1, &[]).await;
    pair.source.produce(("late-1", 0), LOAD, 0, 30).await;
    pair.wait_for_copy("late-1").await;

    pair.source.add_partitions("late-1", 3).await;
    pair.source.produce(("late-1", 2), LOAD, 2_000, 30).await;
    pair.source.produce(("late-1", 0), LOAD, 30, 30).await;
    pair.source.create_topic("late-2", 2, &[]).await;
    pair.source.produce(("late-2", 1), LOAD, 0, 30).await;
    pair.finish(engine, &["late-1", "late-2"]).await;
    assert_eq!(pair.target.ends("A.other"), [0; 0], "is not selected");
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 2, &[]).await;
    for round in 0..3 {
        pair.source.produce(("t", 0), LOAD, round * 40, 40).await;
        pair.source
            .produce(("t", 1), LOAD, 1_000 + round * 40, 40)
            .await;
        let engine = pair.engine("");
        pair.wait_for_copy("t").await;
        stop(engine).await;
    }
    let engine = pair.engine("");
    pair.finish(engine, &["t"]).await;
}

#[tokio::test]
async fn the_identity_policy_keeps_the_name() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    pair.source.produce(("t", 0), LOAD, 0, 30).await;
    let policy = "org.apache.kafka.connect.mirror.IdentityReplicationPolicy";
    let engine = pair.engine(&format!("replication.policy.class = {policy}"));
    let is_copied = || pair.target.ends("t") == pair.source.ends("t");
    eventually("t is copied", is_copied).await;
    stop(engine).await;
    assert_eq!(pair.target.read("t").await, pair.source.read("t").await);
}

#[tokio::test]
async fn positions_are_kept_as_mirror_maker_2_keeps_them() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 2, &[]).await;
    pair.source.produce(("t", 1), LOAD, 0, 30).await;
    let engine = pair.engine("");
    pair.finish(engine, &["t"]).await;

    let stored = pair.target.read("mm2-offsets.A.internal").await;
    let last = stored.iter().max_by_key(|record| record.offset).unwrap();
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    assert_eq!(
        (text(&last.key), text(&last.value)),
        (
            r#"["MirrorSourceConnector",{"cluster":"A","partition":1,"topic":"t"}]"#.to_owned(),
            r#"{"offset":29}"#.to_owned()
        )
    );
    let of_partition_0 = |record: &&OwnedRecord| text(&record.key).contains(r#""partition":0"#);
    let of_partition_0: Vec<_> = stored.iter().filter(of_partition_0).collect();
    assert!(of_partition_0.is_empty(), "nothing to remember");
    assert_eq!(pair.target.ends("mm2-offsets.A.internal").len(), 25);
}

#[tokio::test]
async fn a_position_of_mirror_maker_2_is_gone_on_from() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    // Batches of ten records: 14 lies inside the second.
    pair.source.produce(("t", 0), LOAD, 0, 40).await;
    pair.target
        .create_topic(
            "mm2-offsets.A.internal",
            25,
            &[("cleanup.policy", "compact")],
        )
        .await;
    pair.target.create_topic("A.t", 1, &[]).await;
    store_position(&pair.target, r#"{"offset":14}"#).await;

    // The target has nothing of what the position says it has.
    let asking = pair.engine("");
    let halted = status_when(&asking, |status| !status.halted.is_empty()).await;
    let reason = halted.halted.first().and_then(|one| one.halted.clone());
    let reason = reason.unwrap_or_default();
    assert!(reason.contains("kmirror.adopt"), "{reason}");
    stop(asking).await;
    assert_eq!(pair.target.ends("A.t"), [0]);

    let engine = pair.engine("kmirror.adopt = stored");
    let rest = || pair.target.ends("A.t") == [25];
    eventually("25 records are copied", rest).await;
    let found = next_status(&engine).await;
    stop(engine).await;
    let mut expected = pair.source.read("t").await.split_off(15);
    for record in &mut expected {
        record.offset -= 15;
    }
    assert_eq!(pair.target.read("A.t").await, expected);
    assert!(found.halted.is_empty());
}

/// Writes what MirrorMaker 2 writes for partition 0 of topic t.
async fn store_position(target: &Side, value: &str) {
    let key = br#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]"#;
    let mut builder = BatchBuilder::new(Compression::None);
    let record = NewRecord {
        timestamp: LOAD.first_timestamp,
        key: Some(key),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    builder.push(&record).unwrap();
    let partition = murmur2::partition_of(key, 25);
    let timeout = Duration::from_secs(10);
    let batch = builder.build().unwrap();
    target.client.refresh_metadata(Topics::All).await.unwrap();
    let topic = "mm2-offsets.A.internal";
    let produced = produce(&target.client, topic, partition, batch, timeout).await;
    produced.unwrap().unwrap();
}
