//! Whether a target holds what its source holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    java_client::{Content, Isolation, JavaRecord},
    kafka::Kafka,
    own_reader,
};

/// What a replicator is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    /// Nothing is missing, and what comes first is in order; records may come again.
    AtLeastOnce,
    /// Each record is there once, in order, and nothing else.
    ExactlyOnce,
}

impl Expectation {
    /// What `KMIRROR_DELIVERY` says, or else what is usual.
    pub(super) fn chosen() -> Self {
        match std::env::var("KMIRROR_DELIVERY").as_deref() {
            Err(_) => super::EXPECTATION,
            Ok("at-least-once") => Self::AtLeastOnce,
            Ok("exactly-once") => Self::ExactlyOnce,
            Ok(other) => panic!("KMIRROR_DELIVERY={other}: at-least-once or exactly-once"),
        }
    }
}

/// A topic of a cluster.
#[derive(Clone, Copy)]
pub(super) struct Topic<'a> {
    pub(super) kafka: &'a Kafka,
    pub(super) name: &'a str,
}

/// Compares all records of both topics, partition by partition, as this project's codec and the
/// Java consumer read them; answers how many the source has.
pub(super) fn assert_copied(source: Topic<'_>, copy: Topic<'_>, expectation: Expectation) -> usize {
    let (there, here) = (read(source), read(copy));
    assert!(!there.is_empty(), "{} has records", source.name);
    for (partition, there) in &there {
        let here = here.get(partition).map_or(&[][..], Vec::as_slice);
        let is_right = match expectation {
            Expectation::ExactlyOnce => contents(there).eq(contents(here)),
            Expectation::AtLeastOnce => is_repetition(here, there),
        };
        assert!(
            is_right,
            "partition {partition} of {}: {}",
            copy.name,
            difference(there, here)
        );
    }
    assert_eq!(there.len(), here.len(), "partitions with records");
    if expectation == Expectation::ExactlyOnce {
        assert_java_sees_the_same(source, copy);
    }
    there.values().map(Vec::len).sum()
}

/// Whether each partition ends with the same record on both sides.
pub(super) fn has_same_last(source: Topic<'_>, copy: Topic<'_>) -> bool {
    let last = |topic| -> BTreeMap<i32, Option<Content>> {
        let last = |records: Vec<JavaRecord>| records.into_iter().next_back().map(|it| it.content);
        let partitions = read(topic).into_iter();
        partitions
            .map(|(partition, records)| (partition, last(records)))
            .collect()
    };
    last(source) == last(copy)
}

fn assert_java_sees_the_same(source: Topic<'_>, copy: Topic<'_>) {
    let digest = |topic: Topic<'_>, isolation| topic.kafka.java().digest(topic.name, isolation);
    let expected = digest(source, Isolation::ReadCommitted);
    assert_eq!(digest(source, Isolation::ReadUncommitted), expected);
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        assert_eq!(digest(copy, isolation), expected, "{}", copy.name);
    }
}

fn read(topic: Topic<'_>) -> BTreeMap<i32, Vec<JavaRecord>> {
    let mut partitions: BTreeMap<i32, Vec<JavaRecord>> = BTreeMap::new();
    for record in own_reader::read(&topic.kafka.bootstrap(), topic.name) {
        partitions.entry(record.partition).or_default().push(record);
    }
    partitions
}

fn contents(records: &[JavaRecord]) -> impl Iterator<Item = &Content> {
    records.iter().map(|record| &record.content)
}

/// Whether `here` holds all of `there` in order, and besides only what is in `there`.
fn is_repetition(here: &[JavaRecord], there: &[JavaRecord]) -> bool {
    let mut rest = contents(here);
    let has_all = contents(there).all(|wanted| rest.any(|content| content == wanted));
    let known: BTreeSet<&Content> = contents(there).collect();
    has_all && contents(here).all(|content| known.contains(content))
}

/// Where two partitions part, and what is missing or too much on the whole.
fn difference(there: &[JavaRecord], here: &[JavaRecord]) -> String {
    let mut balance: BTreeMap<&Content, (i64, i64)> = BTreeMap::new();
    for record in there {
        let (count, offset) = balance.entry(&record.content).or_default();
        (*count, *offset) = (*count + 1, record.offset);
    }
    let mut too_much = Vec::new();
    for record in here {
        let (count, _) = balance.entry(&record.content).or_default();
        *count -= 1;
        if *count < 0 {
            too_much.push(record.offset);
        }
    }
    let missing = balance.values().filter(|(count, _)| *count > 0);
    let mut missing: Vec<i64> = missing.map(|(_, offset)| *offset).collect();
    missing.sort_unstable();
    let index = contents(there)
        .zip(contents(here))
        .position(|(there, here)| there != here);
    let index = index.unwrap_or_else(|| there.len().min(here.len()));
    let at = |records: &[JavaRecord]| records.get(index).map(|record| format!("{record:.200?}"));
    format!(
        "{} records there, {} here; they part at index {index}\n there: {:?}\n here: {:?}\n \
         missing: {} records, at the source's offsets {:?}\n too much: {} records, at the target's \
         offsets {:?}",
        there.len(),
        here.len(),
        at(there),
        at(here),
        missing.len(),
        runs(&missing),
        too_much.len(),
        runs(&too_much),
    )
}

/// Ascending offsets as runs: first and last.
fn runs(offsets: &[i64]) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for &offset in offsets {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == offset => *last = offset,
            _ => runs.push((offset, offset)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::java_client::Blob;

    fn records(numbers: &[u8]) -> Vec<JavaRecord> {
        let record = |(offset, number): (i64, &u8)| JavaRecord {
            partition: 0,
            offset,
            content: Content {
                timestamp_ms: 0,
                timestamp_type: String::from("CreateTime"),
                key: None,
                value: Some(Blob::Bytes(vec![*number])),
                headers: Vec::new(),
            },
        };
        (0..).zip(numbers).map(record).collect()
    }

    #[test]
    fn a_repetition_has_everything_in_order_and_nothing_else() {
        let there = records(&[1, 2, 2, 3]);
        let cases: [(&[u8], bool); 6] = [
            (&[1, 2, 2, 3], true),
            (&[1, 2, 1, 2, 2, 3, 3], true),
            (&[1, 2, 3], false),
            (&[1, 3, 2, 2], false),
            (&[1, 2, 2, 4, 3], false),
            (&[], false),
        ];
        for (here, expected) in cases {
            assert_eq!(is_repetition(&records(here), &there), expected, "{here:?}");
        }
    }

    #[test]
    fn a_difference_names_what_is_missing_and_what_is_too_much() {
        let text = difference(&records(&[1, 2, 3, 4, 5]), &records(&[1, 2, 2, 5, 6, 6]));
        assert!(text.contains("part at index 2"), "{text}");
        assert!(
            text.contains("missing: 2 records, at the source's offsets [(2, 3)]"),
            "{text}"
        );
        assert!(
            text.contains("too much: 3 records, at the target's offsets [(2, 2), (4, 5)]"),
            "{text}"
        );
    }
}
