//! `kmirror offsets`: what is stored, and setting it, against in-memory clusters.

use serde_json::Value;

use super::{Output, kmirror_with};
use crate::support::sandbox::{LOAD, OwnedRecord, Pair, eventually, status_when, stop};

/// Presence is watched for a lease; no test needs a long one.
const QUICK: &str = "kmirror.lease.ms = 1000\nkmirror.quiesce.ms = 100";

/// Two partitions of 50 records, copied, and the engine stopped.
async fn copied(more: &str) -> (Pair, String) {
    let pair = Pair::start(1).await;
    pair.source.create_topic("orders", 2, &[]).await;
    for partition in [0, 1] {
        pair.source
            .produce(("orders", partition), LOAD, 0, 50)
            .await;
    }
    let engine = pair.engine(more);
    status_when(&engine, |status| status.counters.records == 100).await;
    stop(engine).await;
    let properties = pair.properties(more);
    (pair, properties)
}

async fn offsets(properties: &str, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = ["offsets"].iter().chain(arguments).copied().collect();
    kmirror_with(properties, &arguments).await
}

/// `offsets reset` of `orders` with these arguments; the code and both outputs.
async fn reset(properties: &str, arguments: &str) -> (i32, String) {
    let usual = ["reset", "--topic", "orders"].into_iter();
    let arguments: Vec<&str> = usual.chain(arguments.split_whitespace()).collect();
    let output = offsets(properties, &arguments).await;
    (output.code, format!("{}{}", output.stdout, output.stderr))
}

/// The partitions of the only flow as `offsets list --json` shows them.
async fn listed(properties: &str) -> Vec<Value> {
    let output = offsets(properties, &["list", "--json"]).await;
    let (code, text) = output.report();
    assert_eq!(code, 0, "{text}");
    let found: Value = serde_json::from_str(text).unwrap();
    found["flows"][0]["partitions"].as_array().unwrap().clone()
}

/// Runs the engine until the target has so many records of each partition, and stops it.
async fn run_until(pair: &Pair, more: &str, ends: [i64; 2]) {
    let engine = pair.engine(more);
    let what = format!("{ends:?} records");
    eventually(&what, || {
        let there = pair.target.ends("A.orders");
        assert!(
            there.iter().zip(ends).all(|(there, end)| *there <= end),
            "{there:?}"
        );
        there == ends
    })
    .await;
    stop(engine).await;
    assert_eq!(pair.target.ends("A.orders"), ends);
}

/// The values of one remote partition.
async fn values(pair: &Pair, partition: i32) -> Vec<Option<Vec<u8>>> {
    let records = pair.target.read("A.orders").await;
    of_partition(records, partition)
}

fn of_partition(records: Vec<OwnedRecord>, partition: i32) -> Vec<Option<Vec<u8>>> {
    let records = records.into_iter();
    let own = records.filter(|record| record.partition == partition);
    own.map(|record| record.value).collect()
}

#[tokio::test]
async fn what_is_stored_is_shown_for_people_and_for_programs() {
    let (_pair, properties) = copied(QUICK).await;
    let output = offsets(&properties, &["list"]).await;
    let expected = "\
flow A->B (exactly-once)
  TOPIC   PARTITION  NEXT-OFFSET  MM2-OFFSET  LOG-START  LOG-END  LAG  REMOTE-TOPIC  REMOTE-END  MISSING
  orders          0           50          50          0       50    0  A.orders              50        0
  orders          1           50          50          0       50    0  A.orders              50        0
";
    assert_eq!(output.report(), (0, expected));
    let partitions = listed(&properties).await;
    let first = &partitions[0];
    assert_eq!(first["nextOffset"], 50);
    assert_eq!(first["mirrorMakerOffset"], 50);
    assert_eq!(first["source"]["endOffset"], 50);
    assert_eq!(first["owner"]["generation"], 1);
    assert_eq!(first["resetTo"], Value::Null);
}

#[tokio::test]
async fn nothing_is_written_while_kmirror_runs_or_without_being_told_to() {
    let (pair, properties) = copied(QUICK).await;
    let state = "kmirror-state.A.internal";
    let before = pair.target.ends(state);
    for arguments in ["--to earliest", "--to earliest --dry-run"] {
        let (code, text) = reset(&properties, arguments).await;
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("orders-1: 50 -> 0: up to 50 records will be on the target twice"));
        assert!(text.contains("nothing was written"), "{text}");
    }
    assert_eq!(pair.target.ends(state), before);

    let engine = pair.engine(QUICK);
    eventually("it owns what it copies", || {
        pair.target.ends(state) > before
    })
    .await;
    let (code, text) = reset(&properties, "--to earliest --yes").await;
    assert_eq!(code, 75, "{text}");
    assert!(text.contains("kmirror is copying this flow"), "{text}");
    assert!(text.contains("nothing was written"), "{text}");
    let partitions = listed(&properties).await;
    assert_eq!(partitions[0]["resetTo"], Value::Null, "shown while it runs");
    pair.finish(engine, &["orders"]).await;
}

#[tokio::test]
async fn copying_goes_on_where_it_was_set_in_both_directions() {
    let (pair, properties) = copied(QUICK).await;
    let (code, text) = reset(
        &properties,
        "--flow A->B --partition 0 --to offset:20 --yes",
    )
    .await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("orders-0: 50 -> 20: up to 30 records will be on the target twice"),
        "{text}"
    );
    let output = offsets(&properties, &["list"]).await;
    let (_, list) = output.report();
    assert!(
        list.contains("orders-0 was reset to 20; kmirror goes on there"),
        "{list}"
    );
    let partitions = listed(&properties).await;
    assert_eq!(partitions[0]["nextOffset"], 20);
    assert_eq!(
        partitions[0]["mirrorMakerOffset"], 20,
        "MM2 would go on there as well"
    );
    assert_eq!(partitions[1]["nextOffset"], 50);

    // The remote log moves before the start: what is there stays, and copying begins behind it.
    pair.target.produce(("A.orders", 0), LOAD, 90_000, 1).await;
    run_until(&pair, QUICK, [81, 50]).await;
    let source = of_partition(pair.source.read("orders").await, 0);
    let copies = values(&pair, 0).await;
    assert_eq!(copies[..50], source[..]);
    assert_eq!(copies[51..], source[20..]);
    let partitions = listed(&properties).await;
    assert_eq!(partitions[0]["resetTo"], Value::Null, "it has begun there");

    for partition in [0, 1] {
        pair.source
            .produce(("orders", partition), LOAD, 1_000, 50)
            .await;
    }
    let (code, text) = reset(&properties, "--partition 1 --to 80 --yes").await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("orders-1: 50 -> 80: up to 30 records will be missing on the target"),
        "{text}"
    );
    // Nothing is doubled by starting again.
    for _ in 0..2 {
        run_until(&pair, QUICK, [131, 70]).await;
    }
    let source = of_partition(pair.source.read("orders").await, 1);
    let copies = values(&pair, 1).await;
    assert_eq!(copies[50..], source[80..]);
    let partitions = listed(&properties).await;
    assert_eq!(partitions[1]["missingOffsets"], 30);
    assert_eq!(partitions[1]["gaps"][0]["fromOffset"], 50);
    assert_eq!(partitions[1]["gaps"][0]["toOffset"], 80);

    // Going back takes the gap back as far as it reaches.
    let (code, text) = reset(&properties, "--partition 1 --to offset:60 --yes").await;
    assert_eq!(code, 0, "{text}");
    run_until(&pair, QUICK, [131, 110]).await;
    assert_eq!(listed(&properties).await[1]["missingOffsets"], 10);
}

#[tokio::test]
async fn a_time_and_the_ends_of_the_log_are_found_on_the_source() {
    let (_pair, properties) = copied(QUICK).await;
    let time = LOAD.first_timestamp + 45;
    for (to, words) in [
        (
            format!("timestamp:{time}"),
            "orders-0: 50 -> 45: up to 5 records",
        ),
        (String::from("2026-03-01"), "orders-0: is at 50 already"),
        (String::from("latest"), "nothing to reset"),
        (
            String::from("earliest"),
            "orders-0: 50 -> 0: up to 50 records",
        ),
        (
            String::from("group:nobody"),
            "the group has committed nothing for it",
        ),
    ] {
        let (code, text) = reset(&properties, &format!("--to {to}")).await;
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(words), "{to}: {text}");
    }
    for (arguments, words) in [
        (
            "--to offset:51",
            "is beyond the source's log, which ends at 50",
        ),
        ("--to earliest --partition 7", "has no partition 7"),
        ("--to earliest --flow B->A", "--flow must name one of A->B"),
        ("--to newest", "must be earliest"),
    ] {
        let (code, text) = reset(&properties, arguments).await;
        assert_eq!(code, 64, "{text}");
        assert!(text.contains(words), "{arguments}: {text}");
    }
}

#[tokio::test]
async fn positions_in_mirror_makers_topic_alone_are_set_once_it_is_said_that_nobody_copies() {
    for delivery in ["at-least-once", "transactional"] {
        let more = format!("{QUICK}\nkmirror.delivery = {delivery}");
        let (pair, properties) = copied(&more).await;
        let (code, text) = reset(&properties, "--partition 0 --to offset:20 --yes").await;
        assert_eq!(code, 64, "{text}");
        assert!(text.contains("say so with --stopped"), "{text}");
        let sure = "--partition 0 --to offset:20 --yes --stopped";
        let (code, text) = reset(&properties, sure).await;
        assert_eq!(code, 0, "{text}");
        let engine = pair.engine(&more);
        let source = of_partition(pair.source.read("orders").await, 0);
        let expected: Vec<_> = source.iter().chain(&source[20..]).cloned().collect();
        status_when(&engine, |status| status.counters.records == 30).await;
        stop(engine).await;
        assert_eq!(values(&pair, 0).await, expected, "{delivery}");
        let earliest = "--partition 1 --to earliest --yes --stopped";
        let (code, text) = reset(&properties, earliest).await;
        assert_eq!(code, 0, "{text}");
        let late = format!("{properties}\nkmirror.start = latest\n");
        let (code, text) = reset(&late, "--partition 0 --to earliest --yes --stopped").await;
        assert_eq!(code, 78, "{text}");
        assert!(
            text.contains("kmirror.start.topics = orders=earliest"),
            "{text}"
        );
    }
}
