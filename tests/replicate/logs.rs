//! Logs with holes: compacted, cut off at the front, with transactions.

use super::{CODECS, Topic, assert_copied, properties, stop};
use crate::support::{
    java_client::{Isolation, JavaClient, NewRecord, PartitionDigest, ProduceOptions, Transaction},
    kafka::pair,
    kmirror::{Kmirror, wait_until},
};

#[test]
fn batches_with_holes_of_compaction_are_copied_without_them() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    let compacted = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("segment.ms", "1"),
    ];
    for codec in CODECS {
        let topic = format!("holes.{codec}");
        source.create_topic(&topic, 1, 1, &compacted);
        append(
            &source,
            &topic,
            codec,
            (0..100).map(|number| keyed(number, "first")),
        );
        // Every other record of the first batch is outdated by one of the second.
        let again = (0..100).step_by(2).map(|number| keyed(number, "second"));
        append(&source, &topic, codec, again);
    }
    for codec in CODECS {
        let topic = format!("holes.{codec}");
        let mut filler = 1000..;
        wait_until("the cleaner", || {
            // Only what is appended rolls the segment that is to be cleaned.
            append(
                &source,
                &topic,
                codec,
                filler.next().map(|number| keyed(number, "")),
            );
            let records = source.read(&topic, Isolation::ReadUncommitted);
            let first_batch = records.iter().filter(|record| record.offset < 100);
            (first_batch.count() == 50).then_some(())
        });
    }
    let mut kmirror = Kmirror::run(&properties(pair, "holes", "config.properties.exclude = .*"));
    for codec in CODECS {
        let (topic, copy) = (format!("holes.{codec}"), format!("A.holes.{codec}"));
        assert_copied(
            &mut kmirror,
            Topic::new(&pair.source, &topic),
            Topic::new(&pair.target, &copy),
        );
    }
    stop(kmirror);
}

#[test]
fn records_deleted_inside_a_batch_are_left_out() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    for codec in CODECS {
        let topic = format!("cut.{codec}");
        source.create_topic(&topic, 1, 1, &[]);
        append(
            &source,
            &topic,
            codec,
            (0..100).map(|number| keyed(number, "")),
        );
        source.delete_records(&topic, 0, 42);
    }
    let mut kmirror = Kmirror::run(&properties(pair, "cut", ""));
    for codec in CODECS {
        let (topic, copy) = (format!("cut.{codec}"), format!("A.cut.{codec}"));
        let topic = Topic::new(&pair.source, &topic);
        assert_eq!(topic.count(), 58);
        assert_copied(&mut kmirror, topic, Topic::new(&pair.target, &copy));
    }
    stop(kmirror);
}

#[test]
fn records_deleted_before_they_were_copied_are_reported() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    source.create_topic("gap", 1, 1, &[]);
    append(
        &source,
        "gap",
        "none",
        (0..10).map(|number| keyed(number, "")),
    );
    let (topic, copy) = (
        Topic::new(&pair.source, "gap"),
        Topic::new(&pair.target, "A.gap"),
    );
    let properties = properties(pair, "gap", "");
    let mut kmirror = Kmirror::run(&properties);
    assert_copied(&mut kmirror, topic, copy);
    stop(kmirror);

    append(
        &source,
        "gap",
        "none",
        (10..60).map(|number| keyed(number, "")),
    );
    source.delete_records("gap", 0, 40);
    let mut kmirror = Kmirror::run(&properties);
    kmirror.wait_until("the rest", |_| (copy.count() >= 30).then_some(()));
    let log = stop(kmirror);
    let expected = "source offsets 10 to 39 are gone, up to 30 records (deleted by the source before \
                    they were copied); going on";
    assert!(log.contains(expected), "{log}");
    let tail = copy.own_contents().split_off(10);
    assert_eq!(tail, topic.own_contents());
}

#[test]
fn aborted_transactions_are_copied_only_when_everything_is_read() {
    let Some(pair) = pair() else { return };
    let source = pair.source.java();
    let uncommitted = "A.consumer.isolation.level = read_uncommitted";
    let cases = [
        ("transactions.committed", "", Isolation::ReadCommitted),
        ("transactions.all", uncommitted, Isolation::ReadUncommitted),
    ];
    for (topic, more, isolation) in cases {
        source.create_topic(topic, 2, 1, &[]);
        append_transactions(&source, topic);
        let digest = || source.digest(topic, isolation);
        let count = |digest: &[PartitionDigest]| digest.iter().map(|one| one.count).sum();
        let wanted: u64 = count(&digest());

        let copy = format!("A.{topic}");
        let copied = || pair.target.java().digest(&copy, Isolation::ReadUncommitted);
        let properties = properties(pair, topic, more);
        let mut kmirror = Kmirror::run(&properties);
        kmirror.wait_for_log(&format!("copying 2 partitions of {topic}"));
        kmirror.wait_until("all records wanted", |_| {
            (count(&copied()) >= wanted).then_some(())
        });
        stop(kmirror);
        // The log ends with an aborted transaction: nothing before it may be copied again.
        let mut kmirror = Kmirror::run(&properties);
        append(&source, topic, "none", [keyed(0, "last")]);
        kmirror.wait_until("the last record", |_| {
            (count(&copied()) > wanted).then_some(())
        });
        stop(kmirror);
        assert_eq!(copied(), digest(), "{topic}");
    }
}

/// Transactions with every codec, some aborted and the last one of them, and records of no
/// transaction between them.
fn append_transactions(source: &JavaClient, topic: &str) {
    for (codec, commit) in CODECS.into_iter().zip([true, false, true, true, false]) {
        let config = [("compression.type", codec), ("batch.size", "500")];
        let options = ProduceOptions {
            config: &config,
            transaction: Some(Transaction {
                transactional_id: topic,
                commit,
            }),
        };
        let records = (0..60).map(|number| NewRecord {
            partition: number % 2,
            ..keyed(number, codec)
        });
        let records: Vec<NewRecord> = records.collect();
        append(source, topic, "none", [keyed(0, "plain")]);
        source.produce(topic, &records, options);
    }
}

/// Appends records to partition 0, in one batch where nothing else is said.
fn append(
    java: &JavaClient,
    topic: &str,
    codec: &str,
    records: impl IntoIterator<Item = NewRecord>,
) {
    let records: Vec<NewRecord> = records.into_iter().collect();
    let config = [("compression.type", codec), ("linger.ms", "1000")];
    let options = ProduceOptions {
        config: &config,
        transaction: None,
    };
    java.produce(topic, &records, options);
}

fn keyed(number: i32, value: &str) -> NewRecord {
    NewRecord {
        timestamp_ms: Some(1_700_000_000_000 + i64::from(number)),
        key: Some(number.to_string().into_bytes()),
        value: Some(value.into()),
        headers: vec![(String::from("number"), Some(vec![0; 3]))],
        ..NewRecord::default()
    }
}
