//! Delivery in transactions of both protocols, as a reader of committed records sees it.

use crate::support::sandbox::{
    LOAD, OwnedRecord, Pair, Side, engine_of, eventually, status_when, stop,
};

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

/// Copies that were made in transactions prove the position like any others, once they are
/// committed.
#[tokio::test]
async fn the_default_delivery_goes_on_behind_what_came_in_transactions() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    for (round, delivery) in (0..).zip(["", TRANSACTIONAL, "", TRANSACTIONAL, TRANSACTIONAL, ""]) {
        let first = round * ROUND;
        pair.source.produce(("t", 0), LOAD, first, ROUND).await;
        let engine = pair.engine(delivery);
        status_when(&engine, |status| status.counters.records == ROUND).await;
        stop(engine).await;
        let written = contents(&pair.source, "t").await;
        assert_eq!(contents(&pair.target, "A.t").await, written, "{round}");
    }
}

/// Where the copies are gone, the position that was committed with them is not believed without a
/// word of the operator, and nothing is copied again.
#[tokio::test]
async fn what_came_in_transactions_and_is_gone_is_asked_about() {
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
    let deleted_to = i64::try_from(ROUND + ROUND / 2).unwrap();
    pair.target.delete_records(("A.t", 0), deleted_to).await;
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

    // Its own copies prove the position from here on.
    pair.source.produce(("t", 0), LOAD, 3 * ROUND, ROUND).await;
    let engine = pair.engine("");
    status_when(&engine, |status| status.counters.records == ROUND).await;
    stop(engine).await;
    let written = contents(&pair.source, "t").await;
    let copied = contents(&pair.target, "A.t").await;
    assert_eq!(copied, written[usize::try_from(deleted_to).unwrap()..]);
}

/// A process that was killed leaves a transaction that may yet be committed: what is in it is
/// neither copied again nor taken for copied until that is decided.
#[tokio::test]
async fn copies_in_an_open_transaction_are_waited_for() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    let engine = pair.engine("");
    pair.source.produce(("t", 0), LOAD, 0, ROUND).await;
    status_when(&engine, |status| status.counters.records == ROUND).await;
    stop(engine).await;

    let properties = pair.properties(&format!(
        "{TRANSACTIONAL}\nkmirror.positions.interval.ms = 20000"
    ));
    let (kill, killed) = tokio::sync::oneshot::channel::<()>();
    let process = std::thread::spawn(move || run_until(&properties, killed));
    pair.source.produce(("t", 0), LOAD, ROUND, ROUND).await;
    let copied_end = i64::try_from(2 * ROUND).unwrap();
    eventually("the transaction is open", || {
        pair.target.ends("A.t") == [copied_end]
    })
    .await;
    kill.send(()).unwrap();
    process.join().unwrap();

    let engine = pair.engine("");
    let waiting = status_when(&engine, |status| !status.halted.is_empty()).await;
    let words = waiting.halted[0].halted.clone().unwrap();
    assert!(words.contains("neither committed nor aborted"), "{words}");
    assert!(words.contains("from offset 40 on"), "{words}");
    stop(engine).await;
    assert_eq!(pair.target.ends("A.t"), [copied_end]);

    // The next process under the same transactional id aborts it.
    let engine = pair.engine(TRANSACTIONAL);
    status_when(&engine, |status| status.counters.records == ROUND).await;
    stop(engine).await;
    pair.source.produce(("t", 0), LOAD, 2 * ROUND, ROUND).await;
    let engine = pair.engine("");
    status_when(&engine, |status| status.counters.records == ROUND).await;
    stop(engine).await;
    let written = contents(&pair.source, "t").await;
    assert_eq!(contents(&pair.target, "A.t").await, written);
}

/// Another tool has copied since, without transactions, and the target has deleted the first of its
/// copies too: what is left begins nobody knows where, and the stored position says how far it went.
#[tokio::test]
async fn what_others_copied_and_is_deleted_in_part_is_asked_about() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    for (round, delivery) in (0..).zip(["", "kmirror.delivery = at-least-once"]) {
        let first = round * ROUND;
        pair.source.produce(("t", 0), LOAD, first, ROUND).await;
        let engine = pair.engine(delivery);
        status_when(&engine, |status| status.counters.records == ROUND).await;
        stop(engine).await;
    }
    let deleted_to = i64::try_from(ROUND + ROUND / 4).unwrap();
    pair.target.delete_records(("A.t", 0), deleted_to).await;
    pair.source.produce(("t", 0), LOAD, 2 * ROUND, ROUND).await;
    let engine = pair.engine("");
    let asking = status_when(&engine, |status| !status.halted.is_empty()).await;
    let words = asking.halted[0].halted.clone().unwrap();
    assert!(words.contains("the stored position is 80"), "{words}");
    stop(engine).await;

    let engine = pair.engine("kmirror.adopt = stored");
    status_when(&engine, |status| status.counters.records == ROUND).await;
    stop(engine).await;
    let written = contents(&pair.source, "t").await;
    let copied = contents(&pair.target, "A.t").await;
    assert_eq!(copied, written[usize::try_from(deleted_to).unwrap()..]);
}

/// Runs an engine on a runtime of its own, which then ends without a word to anybody.
fn run_until(properties: &str, killed: tokio::sync::oneshot::Receiver<()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(async {
        let _engine = engine_of(properties);
        killed.await.unwrap();
    });
}
