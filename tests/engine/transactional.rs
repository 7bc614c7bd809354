//! Delivery in transactions of both protocols, as a reader of committed records sees it.

use crate::support::sandbox::{LOAD, OwnedRecord, Pair, Side, status_when, stop};

const TRANSACTIONAL: &str = "kmirror.delivery = transactional";

/// Records of one round, per partition.
const ROUND: u64 = 40;

/// What a consumer sees, but for the offsets: transactions take some of them.
async fn contents(side: &Side, topic: &str) -> Vec<(i32, i64, Option<Vec<u8>>, Option<Vec<u8>>)> {
    let content =
        |record: OwnedRecord| (record.partition, record.timestamp, record.key, record.value);
    side.read(topic).await.into_iter().map(content).collect()
}

#[tokio::test]
async fn broken_connections_lose_no_record_and_double_none() {
    for level in [1, 2] {
        let pair = Pair::with_transaction_version(level).await;
        let proxy = pair.target.proxy().await;
        pair.source.create_topic("t", 3, &[]).await;
        let more = format!("B.bootstrap.servers = {}\n{TRANSACTIONAL}", proxy.address);
        let engine = pair.engine(&more);
        for round in 0..6 {
            for partition in 0..3_i32 {
                let first = u64::try_from(partition).unwrap() * 10_000 + round * ROUND;
                pair.source
                    .produce(("t", partition), LOAD, first, ROUND)
                    .await;
                if round > 0 {
                    proxy.cut();
                }
            }
            let records = 3 * ROUND * (round + 1);
            status_when(&engine, |status| status.counters.records == records).await;
        }
        stop(engine).await;
        let (written, copied) = (
            contents(&pair.source, "t").await,
            contents(&pair.target, "A.t").await,
        );
        assert_eq!(written.len(), 3 * 6 * usize::try_from(ROUND).unwrap());
        assert_eq!(copied, written, "level {level}");
    }
}

#[tokio::test]
async fn the_process_that_was_started_last_has_the_id_and_the_other_says_so() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    let first = pair.engine(TRANSACTIONAL);
    pair.source.produce(("t", 0), LOAD, 0, ROUND).await;
    status_when(&first, |status| status.counters.records == ROUND).await;
    let second = pair.engine(TRANSACTIONAL);
    status_when(&second, |status| status.partitions == 1).await;
    pair.source.produce(("t", 0), LOAD, ROUND, ROUND).await;
    let halted = status_when(&first, |status| !status.halted.is_empty()).await;
    let words = halted.halted[0].halted.clone().unwrap();
    assert!(words.contains("kmirror-A-B"), "{words}");
    status_when(&second, |status| {
        status.counters.records >= ROUND && status.lag == 0
    })
    .await;
    stop(first).await;
    stop(second).await;
    let written = contents(&pair.source, "t").await;
    assert_eq!(contents(&pair.target, "A.t").await, written);
}

/// Copies that were made in transactions prove nothing: the default delivery, which has been there
/// before them, neither copies them again nor believes the position without a word of the operator.
#[tokio::test]
async fn the_default_delivery_copies_nothing_again_that_came_in_transactions() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    for (round, delivery) in (0..).zip(["", TRANSACTIONAL]) {
        let engine = pair.engine(delivery);
        pair.source
            .produce(("t", 0), LOAD, round * ROUND, ROUND)
            .await;
        status_when(&engine, |status| status.counters.records == ROUND).await;
        stop(engine).await;
    }
    pair.source.produce(("t", 0), LOAD, 2 * ROUND, ROUND).await;
    let before = contents(&pair.target, "A.t").await;

    let engine = pair.engine("");
    let asking = status_when(&engine, |status| !status.halted.is_empty()).await;
    let words = asking.halted[0].halted.clone().unwrap();
    assert!(words.contains("the stored position is 80"), "{words}");
    assert!(words.contains("only up to 40"), "{words}");
    stop(engine).await;
    assert_eq!(contents(&pair.target, "A.t").await, before);

    let engine = pair.engine("kmirror.adopt = stored");
    status_when(&engine, |status| status.counters.records == ROUND).await;
    stop(engine).await;
    let written = contents(&pair.source, "t").await;
    assert_eq!(contents(&pair.target, "A.t").await, written);

    // Its own copies prove the position from here on.
    pair.source.produce(("t", 0), LOAD, 3 * ROUND, ROUND).await;
    let engine = pair.engine("");
    status_when(&engine, |status| status.counters.records == ROUND).await;
    stop(engine).await;
    let written = contents(&pair.source, "t").await;
    assert_eq!(contents(&pair.target, "A.t").await, written);
}
