//! A stop in order loses and doubles nothing; a crash loses nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{Topic, properties, stop};
use crate::support::{
    java_client::{Blob, Content, Isolation, NewRecord, ProduceOptions},
    kafka::{Pair, pair},
    kmirror::Kmirror,
};

pub(super) const PARTITIONS: u64 = 4;

/// How often a process is killed.
const KILLS: usize = 4;

/// Records appended at once.
const CHUNK: u64 = 200;

/// How much further each run must come than the one before.
const COPIED_PER_RUN: u64 = 1_000;

#[test]
fn stops_and_starts_under_load_lose_and_double_nothing() {
    let Some(pair) = pair() else { return };
    let numbers = Numbers::append_to(pair, "restarted");
    let (topic, copy) = (
        Topic::new(&pair.source, "restarted"),
        Topic::new(&pair.target, "A.restarted"),
    );
    for _ in 0..3 {
        let mut kmirror = Kmirror::run(&properties(pair, "restarted", ""));
        wait_for_more(&mut kmirror, copy);
        stop(kmirror);
    }
    numbers.stop();
    let mut kmirror = Kmirror::run(&properties(pair, "restarted", ""));
    wait_for_last(&mut kmirror, topic, copy);
    stop(kmirror);
    let copied = numbers_in(copy);
    for (partition, written) in numbers_in(topic) {
        assert_same(partition, &copied[&partition], &written);
    }
}

#[test]
fn kills_under_load_lose_and_double_nothing() {
    let Some(pair) = pair() else { return };
    let (topic, copy) = (
        Topic::new(&pair.source, "killed"),
        Topic::new(&pair.target, "A.killed"),
    );
    let properties = properties(pair, "killed", "kmirror.positions.interval.ms = 100");
    kill_under_load(pair, &properties, topic, copy);
    let copied = numbers_in(copy);
    for (partition, written) in numbers_in(topic) {
        assert_same(partition, &copied[&partition], &written);
    }
}

#[test]
fn kills_under_load_lose_nothing_at_least_once() {
    let Some(pair) = pair() else { return };
    let (topic, copy) = (
        Topic::new(&pair.source, "killed.often"),
        Topic::new(&pair.target, "A.killed.often"),
    );
    let more = "kmirror.delivery = at-least-once\nkmirror.positions.interval.ms = 100";
    let logs = kill_under_load(pair, &properties(pair, "killed.often", more), topic, copy);
    let copied = numbers_in(copy);
    for (partition, written) in numbers_in(topic) {
        let (once, steps_back) = without_steps_back(&copied[&partition]);
        assert_same(partition, &once, &written);
        // A broker may yet store what a killed process sent, after the next one has begun.
        assert!(
            steps_back.len() <= 2 * KILLS,
            "partition {partition}: from and to {steps_back:?}\n{}",
            logs.join("\n")
        );
    }
}

/// Kills it again and again while records are appended, and lets the last one finish; what each
/// has logged.
pub(super) fn kill_under_load(
    pair: &'static Pair,
    properties: &str,
    topic: Topic<'static>,
    copy: Topic<'_>,
) -> Vec<String> {
    let numbers = Numbers::append_to(pair, topic.name);
    let mut logs = Vec::new();
    for _ in 0..KILLS {
        let mut kmirror = Kmirror::run(properties);
        wait_for_more(&mut kmirror, copy);
        logs.push(kmirror.kill9());
    }
    numbers.stop();
    let mut kmirror = Kmirror::run(properties);
    wait_for_last(&mut kmirror, topic, copy);
    logs.push(stop(kmirror));
    logs
}

/// Appends numbered records to a topic of the source in the background.
pub(super) struct Numbers {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Numbers {
    /// Creates the topic and begins.
    fn append_to(pair: &'static Pair, topic: &'static str) -> Self {
        Self::append_in_chunks(pair, topic, CHUNK)
    }

    /// The same, with so many records at once.
    pub(super) fn append_in_chunks(
        pair: &'static Pair,
        topic: &'static str,
        records_at_once: u64,
    ) -> Self {
        let java = pair.source.java();
        java.create_topic(topic, i32::try_from(PARTITIONS).unwrap(), 1, &[]);
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let thread = thread::spawn(move || {
            for chunk in 0.. {
                let numbers = chunk * records_at_once..(chunk + 1) * records_at_once;
                let records: Vec<NewRecord> = numbers.map(record).collect();
                java.produce(topic, &records, ProduceOptions::default());
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self { is_stopped, thread }
    }

    /// Ends after the records under way.
    pub(super) fn stop(self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn record(number: u64) -> NewRecord {
    NewRecord {
        partition: i32::try_from(number % PARTITIONS).unwrap(),
        value: Some(number.to_string().into_bytes()),
        ..NewRecord::default()
    }
}

fn wait_for_more(kmirror: &mut Kmirror, copy: Topic<'_>) {
    let enough = highest(copy).unwrap_or(0) + COPIED_PER_RUN;
    kmirror.wait_until(&format!("number {enough}"), |_| {
        (highest(copy)? >= enough).then_some(())
    });
}

/// The highest number copied, once there is one.
fn highest(copy: Topic<'_>) -> Option<u64> {
    if copy.count() == 0 {
        return None;
    }
    let contents = copy.own_contents().into_iter();
    contents.map(|(_, content)| number(content)).max()
}

/// Waits until the copy ends as the source does, in every partition.
fn wait_for_last(kmirror: &mut Kmirror, topic: Topic<'_>, copy: Topic<'_>) {
    let last = |topic: Topic<'_>| BTreeMap::from_iter(topic.own_contents());
    let expected = last(topic);
    kmirror.wait_until("the last records", |_| {
        (last(copy) == expected).then_some(())
    });
}

/// The numbers of each partition in order, as the Java consumer reads them.
fn numbers_in(topic: Topic<'_>) -> BTreeMap<i32, Vec<u64>> {
    numbers_as(topic, Isolation::ReadUncommitted)
}

/// The same of a consumer that may see only what is committed, or everything.
pub(super) fn numbers_as(topic: Topic<'_>, isolation: Isolation) -> BTreeMap<i32, Vec<u64>> {
    let mut numbers: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    let java = topic.cluster.java();
    for record in java.read(topic.name, isolation) {
        let (partition, content) = (record.partition, record.content);
        numbers.entry(partition).or_default().push(number(content));
    }
    numbers
}

fn number(content: Content) -> u64 {
    let Some(Blob::Bytes(value)) = content.value else {
        panic!("a value that was not produced: {content:?}");
    };
    String::from_utf8(value).unwrap().parse().unwrap()
}

/// Compares long lists, and says where they first differ.
pub(super) fn assert_same(partition: i32, copied: &[u64], written: &[u64]) {
    let differs = copied
        .iter()
        .zip(written)
        .position(|(left, right)| left != right);
    let at = differs.map(|at| (at, copied[at], written[at]));
    assert_eq!(at, None, "partition {partition}: index, copied, written");
    assert_eq!(copied.len(), written.len(), "partition {partition}");
}

/// The numbers without those that were copied again, and where copying stepped back: from, to.
fn without_steps_back(numbers: &[u64]) -> (Vec<u64>, Vec<(u64, u64)>) {
    let steps = numbers.windows(2).map(|pair| (pair[0], pair[1]));
    let steps_back = steps.filter(|(from, to)| to <= from).collect();
    let mut once: Vec<u64> = Vec::new();
    for &number in numbers {
        if once.last().is_none_or(|last| *last < number) {
            once.push(number);
        }
    }
    (once, steps_back)
}
