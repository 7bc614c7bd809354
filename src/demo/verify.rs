//! Reads both clusters as a consumer would, shows a little of it, and compares all of it.

use std::collections::BTreeMap;

use super::{DemoError, grouped, shortened};
use crate::{
    cluster::Cluster,
    flow::Failure,
    runtime::topic_reader::{OwnedRecord, read_all},
};

/// The prefix that the default policy gives to remote topics.
const PREFIX: &str = "west.";

/// Prints the newest records of one partition as consumers of both clusters get them.
pub(super) async fn show_consumers_view(source: &Cluster, target: &Cluster) -> Result<(), Failure> {
    println!("What a consumer sees:\n");
    let remote_topic = format!("{PREFIX}orders");
    for (cluster, topic) in [(source, "orders"), (target, remote_topic.as_str())] {
        let records = read_all(cluster, topic).await?;
        println!("  on {}, topic {topic}, partition 0:", cluster.alias());
        let newest: Vec<&OwnedRecord> = records
            .iter()
            .rev()
            .filter(|record| record.partition == 0)
            .take(3)
            .collect();
        for record in newest.into_iter().rev() {
            println!(
                "    offset {:>6}  time {}  key {:<12}  value {}",
                record.offset,
                record.timestamp,
                shortened(record.key.as_deref().unwrap_or_default(), 12),
                shortened(record.value.as_deref().unwrap_or_default(), 48),
            );
        }
    }
    println!();
    Ok(())
}

/// Compares every record of every topic on both clusters, and prints the result.
pub(super) async fn compare(
    source: &Cluster,
    target: &Cluster,
    topics: &[(&str, &str)],
) -> Result<(), DemoError> {
    println!("Comparing both clusters, record by record:\n");
    println!(
        "  {:<10} {:<16} {:<7} {:>10}",
        "west", "east", "codec", "records"
    );
    let mut total = 0;
    for (topic, codec) in topics {
        let remote_topic = format!("{PREFIX}{topic}");
        let ours = read_all(source, topic).await.map_err(DemoError::Failed)?;
        let theirs = read_all(target, &remote_topic)
            .await
            .map_err(DemoError::Failed)?;
        let same = compare_topic(topic, by_partition(ours), by_partition(theirs))?;
        println!(
            "  {topic:<10} {remote_topic:<16} {codec:<7} {:>10}  identical",
            grouped(same)
        );
        total += same;
    }
    println!(
        "\nverified: {} records in {} topics are the same on both clusters \
         (key, value, headers, timestamp, order)",
        grouped(total),
        topics.len()
    );
    Ok(())
}

fn by_partition(records: Vec<OwnedRecord>) -> BTreeMap<i32, Vec<OwnedRecord>> {
    let mut by_partition: BTreeMap<i32, Vec<OwnedRecord>> = BTreeMap::new();
    for record in records {
        by_partition
            .entry(record.partition)
            .or_default()
            .push(record);
    }
    by_partition
}

/// Counts the records that are equal. Retention may have cut the beginning of either side; what
/// both still have must be the same to its end.
fn compare_topic(
    topic: &str,
    ours: BTreeMap<i32, Vec<OwnedRecord>>,
    theirs: BTreeMap<i32, Vec<OwnedRecord>>,
) -> Result<u64, DemoError> {
    let differs = |what: String| Err(DemoError::Differs(format!("{topic}: {what}")));
    if ours.keys().ne(theirs.keys()) {
        return differs(String::from("not the same partitions have records"));
    }
    let mut same = 0;
    for (partition, ours) in ours {
        let theirs = &theirs[&partition];
        let last = |records: &[OwnedRecord]| records.last().map(|record| record.offset);
        if last(&ours) != last(theirs) {
            return differs(format!(
                "partition {partition} does not end at the same offset"
            ));
        }
        for (ours, theirs) in ours.iter().rev().zip(theirs.iter().rev()) {
            if ours != theirs {
                return differs(format!("partition {partition}, offset {}", ours.offset));
            }
            same += 1;
        }
    }
    Ok(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, value: &str) -> OwnedRecord {
        OwnedRecord {
            partition,
            offset,
            timestamp: 0,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    #[test]
    fn any_difference_is_named() {
        let compare = |ours: &[OwnedRecord], theirs: &[OwnedRecord]| {
            compare_topic(
                "t",
                by_partition(ours.to_vec()),
                by_partition(theirs.to_vec()),
            )
            .map_err(|error| error.to_string())
        };
        let (a, b, c) = (record(0, 0, "a"), record(0, 1, "b"), record(1, 0, "c"));
        let all = [a.clone(), b.clone(), c.clone()];
        assert_eq!(compare(&all, &all), Ok(3));
        assert_eq!(
            compare(&all, &[b.clone(), c.clone()]),
            Ok(2),
            "retention cut the target"
        );
        assert!(
            compare(&all, &[a.clone(), b.clone()]).is_err(),
            "a partition is missing"
        );
        assert!(
            compare(&all, &[a.clone(), c.clone()]).is_err(),
            "the end is missing"
        );
        let changed = [a, record(0, 1, "x"), c];
        let error = compare(&all, &changed).unwrap_err();
        assert_eq!(error, "the clusters differ: t: partition 0, offset 1");
    }
}
