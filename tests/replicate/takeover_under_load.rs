//! While an application writes without pause, kmirror takes over from MirrorMaker 2 and MirrorMaker 2
//! from kmirror: nothing is missing, only what MirrorMaker 2 loses track of itself is there twice, and
//! a group can fail over at every stage.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Topic,
    restart::{Numbers, PARTITIONS, assert_same, numbers_as},
    stop,
};
use crate::support::{
    java_client::{Blob, GroupOffset, Isolation},
    kafka::{CONNECT_ONE_BROKER, MirrorMaker, ONE_BROKER, Pair, pair},
    kmirror::{Kmirror, wait_until},
};

/// Small, so that the whole stays small however long programs take to start.
const RECORDS_AT_ONCE: u64 = 20;

/// How many records each program copies before it ends.
const COPIED_PER_STAGE: usize = 1_500;

/// How many records MirrorMaker 2 copies at least that it has not noted when it crashes.
const COPIED_UNNOTED: usize = 100;

/// How far behind the copies the group stays.
const GROUP_LAG: usize = 50;

/// The numbers in each partition of a topic, in order.
type Numbered = BTreeMap<i32, Vec<u64>>;

/// A flow of its own between the clusters that all tests share.
struct Case {
    pair: &'static Pair,
    source: &'static str,
    target: &'static str,
    topic: &'static str,
    copy: String,
}

impl Case {
    fn new(
        pair: &'static Pair,
        source: &'static str,
        target: &'static str,
        topic: &'static str,
    ) -> Self {
        Self {
            pair,
            source,
            target,
            topic,
            copy: format!("{source}.{topic}"),
        }
    }

    /// One file for both programs.
    fn file(&self) -> String {
        let (source, target) = (self.source, self.target);
        format!(
            "clusters = {source}, {target}\n\
             {source}.bootstrap.servers = {}\n\
             {target}.bootstrap.servers = {}\n\
             {source}->{target}.enabled = true\n\
             topics = {}\n\
             groups = {}-.*\n\
             {ONE_BROKER}{CONNECT_ONE_BROKER}\
             {target}.offset.flush.interval.ms = 4000\n\
             {target}.scheduled.rebalance.max.delay.ms = 0\n\
             refresh.groups.interval.seconds = 1\n\
             emit.checkpoints.interval.seconds = 1\n\
             emit.heartbeats.enabled = false\n\
             kmirror.http.listen = \n",
            self.pair.source.bootstrap(),
            self.pair.target.bootstrap(),
            self.topic,
            self.topic,
        )
    }

    fn written(&self) -> Numbered {
        let topic = Topic::new(&self.pair.source, self.topic);
        numbers_as(topic, Isolation::ReadUncommitted)
    }

    fn copy(&self) -> Topic<'_> {
        Topic::new(&self.pair.target, &self.copy)
    }

    fn copied(&self) -> Numbered {
        numbers_as(self.copy(), Isolation::ReadUncommitted)
    }

    /// How many records have been copied by the positions that `MirrorMaker` 2 stores.
    fn noted(&self) -> usize {
        let topic = format!("mm2-offsets.{}.internal", self.source);
        let records = self
            .pair
            .target
            .java()
            .read(&topic, Isolation::ReadCommitted);
        let text = |blob: Option<Blob>| match blob {
            Some(Blob::Bytes(bytes)) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?} in {topic}"),
        };
        let notes = records.into_iter().map(|record| {
            let content = record.content;
            (text(content.key), text(content.value))
        });
        let notes = notes.filter(|(key, _)| key.contains("MirrorSourceConnector"));
        let notes: BTreeMap<String, String> = notes.collect();
        let next = |note: &String| {
            let offset = note.trim_matches(|it: char| !it.is_ascii_digit());
            offset.parse::<usize>().unwrap() + 1
        };
        notes.values().map(next).sum()
    }

    /// Whether so many more records are there than there were.
    fn has_more_than(&self, count: usize) -> Option<()> {
        (self.copy().count() >= count + COPIED_PER_STAGE).then_some(())
    }

    /// Puts the group of this test behind what is copied, in every partition; `stage` is what it notes
    /// beside that.
    fn commit(&self, stage: &str) {
        let offsets = self.copied().into_iter().map(|(partition, copied)| {
            // The source has no holes.
            let highest = usize::try_from(copied.iter().max().unwrap() / PARTITIONS).unwrap();
            (partition, highest.saturating_sub(GROUP_LAG))
        });
        self.commit_at(&self.group(), offsets.collect(), stage);
    }

    fn commit_at(&self, group: &str, offsets: BTreeMap<i32, usize>, stage: &str) {
        let offsets = offsets.into_iter().map(|(partition, offset)| GroupOffset {
            topic: String::from(self.topic),
            partition,
            offset: i64::try_from(offset).unwrap(),
            metadata: format!("{stage} {offset}"),
        });
        let java = self.pair.source.java();
        java.commit(group, &offsets.collect::<Vec<_>>());
    }

    fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    /// A group that stays in what MirrorMaker 2 has copied.
    fn slow_group(&self) -> String {
        format!("{}-slow", self.topic)
    }

    /// Where Java's `RemoteClusterUtils` sends a group, by partition, once it knows of this stage.
    fn translated(&self, group: &str, stage: &str) -> Option<BTreeMap<i32, Translated>> {
        let java = self.pair.target.java();
        let offsets = java.mirror(self.source, group).offsets.into_iter();
        let of_stage = offsets.filter_map(|at| {
            let committed = at.metadata.strip_prefix(stage)?.trim().parse().ok()?;
            let translated = Translated {
                committed,
                offset: usize::try_from(at.offset).unwrap(),
            };
            Some((at.partition, translated))
        });
        let of_stage: BTreeMap<i32, Translated> = of_stage.collect();
        (of_stage.len() == usize::try_from(PARTITIONS).unwrap()).then_some(of_stage)
    }

    /// Lets the group follow what is copied until it is told of in every partition: `MirrorMaker` 2 tells
    /// nothing of one that stands before its first offset sync, or below what it was told before.
    fn translated_on_the_way(&self, stage: &str) -> Option<BTreeMap<i32, Translated>> {
        self.commit(stage);
        self.translated(&self.group(), stage)
    }

    /// How many records a group would read again in each partition if it failed over now; fails if
    /// it would miss one.
    fn read_again(&self, translated: &BTreeMap<i32, Translated>) -> Vec<usize> {
        let (written, copied) = (self.written(), self.copied());
        let again = translated.iter().map(|(partition, at)| {
            let (written, copied) = (&written[partition], &copied[partition]);
            let (next, last) = (written[at.committed], *copied.iter().max().unwrap());
            let to_read = &copied[at.offset..];
            let found: BTreeSet<u64> = to_read.iter().copied().collect();
            let mut needed = written.iter().filter(|it| (next..=last).contains(*it));
            let missed = needed.find(|number| !found.contains(number));
            assert_eq!(missed, None, "partition {partition}: from {next} on");
            to_read.iter().filter(|number| **number < next).count()
        });
        again.collect()
    }
}

/// Where a group is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Translated {
    /// On the source, which has no holes.
    committed: usize,
    /// On the target.
    offset: usize,
}

/// How long the copy is in each partition.
fn lengths(copied: &Numbered) -> BTreeMap<i32, usize> {
    copied
        .iter()
        .map(|(at, numbers)| (*at, numbers.len()))
        .collect()
}

/// The records that are there more than once, by the stage in which they came again.
fn came_again(copied: &Numbered, ends: &[BTreeMap<i32, usize>]) -> Vec<usize> {
    let mut again = vec![0; ends.len()];
    for (partition, numbers) in copied {
        let mut highest = None;
        for (offset, number) in numbers.iter().enumerate() {
            if highest >= Some(*number) {
                let stage = ends
                    .iter()
                    .position(|ends| offset < ends[partition])
                    .unwrap();
                again[stage] += 1;
            }
            highest = highest.max(Some(*number));
        }
    }
    again
}

/// The numbers without those that came again.
fn once(numbers: &[u64]) -> Vec<u64> {
    let mut once: Vec<u64> = Vec::new();
    for number in numbers {
        if once.last() < Some(number) {
            once.push(*number);
        }
    }
    once
}

/// Lets MirrorMaker 2 copy and translate, and says how many records the group would read again.
fn mirror_maker_works(case: &Case, stage: &str) -> (MirrorMaker, BTreeMap<i32, Translated>) {
    let before = case.copy().count();
    let mirror_maker = MirrorMaker::start(&case.file()).expect("Java is installed");
    wait_until(stage, || case.has_more_than(before));
    let translated = wait_until("MirrorMaker 2's checkpoints", || {
        case.translated_on_the_way(stage)
    });
    let again = case.read_again(&translated);
    println!(
        "{}: {stage}: the group would read {again:?} records again",
        case.topic
    );
    (mirror_maker, translated)
}

/// Lets MirrorMaker 2 work and crash when it has copied more than it has noted.
fn mirror_maker_crashes(case: &Case, stage: &str) {
    let (mirror_maker, _) = mirror_maker_works(case, stage);
    let is_ahead = || {
        let noted = case.noted();
        let copied = case.copied();
        let copied: usize = copied.values().map(|numbers| once(numbers).len()).sum();
        noted > 0 && copied > noted + COPIED_UNNOTED
    };
    wait_until("copies that are not noted", || {
        if !is_ahead() {
            return None;
        }
        // What has been true may have been noted since.
        mirror_maker.freeze();
        let is_still_ahead = is_ahead();
        if !is_still_ahead {
            mirror_maker.thaw();
        }
        is_still_ahead.then_some(())
    });
    mirror_maker.kill9();
}

/// The same of kmirror, which tells exactly where the group is.
fn kmirror_works(case: &Case, stage: &str) {
    let before = case.copy().count();
    let mut kmirror = Kmirror::run(&case.file());
    kmirror.wait_until(stage, |_| case.has_more_than(before));
    case.commit(stage);
    let translated =
        kmirror.wait_until("its checkpoints", |_| case.translated(&case.group(), stage));
    let again = case.read_again(&translated);
    println!(
        "{}: {stage}: the group would read {again:?} records again",
        case.topic
    );
    assert_eq!(again, [0; PARTITIONS as usize], "{stage}");
    let log = stop(kmirror);
    assert!(!log.contains("halted"), "{log}");
}

/// Lets MirrorMaker 2 copy the rest.
fn mirror_maker_ends(case: &Case, numbers: Numbers) {
    let (mirror_maker, _) = mirror_maker_works(case, "it is MirrorMaker 2 again");
    numbers.stop();
    let last = |numbers: Numbered| -> Vec<Option<u64>> {
        numbers.into_values().map(|it| it.last().copied()).collect()
    };
    let expected = last(case.written());
    wait_until("the last records", || {
        (last(case.copied()) == expected).then_some(())
    });
    mirror_maker.stop();
}

/// Everything that was written is on the target and in order; how many records came again in each of
/// the stages that ended at `ends`.
fn verdict(case: &Case, ends: &[BTreeMap<i32, usize>]) -> Vec<usize> {
    let (written, copied) = (case.written(), case.copied());
    for (partition, written) in &written {
        assert_same(*partition, &once(&copied[partition]), written);
    }
    let again = came_again(&copied, ends);
    let count: usize = written.values().map(Vec::len).sum();
    println!(
        "{}: {count} records, of which came again, by stage: {again:?}",
        case.topic
    );
    again
}

#[test]
fn kmirror_takes_over_from_a_mirror_maker_that_was_stopped_and_hands_back() {
    let Some(pair) = pair() else { return };
    let case = Case::new(pair, "U", "V", "handed-over");
    let numbers = Numbers::append_in_chunks(pair, case.topic, RECORDS_AT_ONCE);
    let (mirror_maker, places) = mirror_maker_works(&case, "MirrorMaker 2");
    let slow = case.slow_group();
    let places = |further: usize| {
        let places = places.iter();
        let places = places.map(|(partition, at)| (*partition, at.committed + further));
        places.collect()
    };
    case.commit_at(&slow, places(0), "MirrorMaker 2");
    let told = wait_until("the slow group", || case.translated(&slow, "MirrorMaker 2"));
    mirror_maker.stop();
    let by_mirror_maker = lengths(&case.copied());
    case.commit_at(&slow, places(10), "kmirror");
    kmirror_works(&case, "kmirror");
    // Of what it has not copied itself kmirror tells nothing new.
    assert_eq!(case.translated(&slow, "MirrorMaker 2"), Some(told.clone()));
    case.read_again(&told);
    let by_kmirror = lengths(&case.copied());
    mirror_maker_ends(&case, numbers);
    let ends = [by_mirror_maker, by_kmirror, lengths(&case.copied())];
    assert_eq!(verdict(&case, &ends), [0, 0, 0], "by stage");
}

#[test]
fn kmirror_takes_over_from_a_mirror_maker_that_crashed_and_hands_back() {
    let Some(pair) = pair() else { return };
    let case = Case::new(pair, "W", "X", "snatched");
    let numbers = Numbers::append_in_chunks(pair, case.topic, RECORDS_AT_ONCE);
    // What it copied since it last stored its positions it copies again itself.
    mirror_maker_crashes(&case, "MirrorMaker 2");
    let by_first = lengths(&case.copied());
    mirror_maker_crashes(&case, "after its crash MirrorMaker 2");
    let by_second = lengths(&case.copied());
    kmirror_works(&case, "kmirror after another crash");
    let by_kmirror = lengths(&case.copied());
    mirror_maker_ends(&case, numbers);
    let ends = [by_first, by_second, by_kmirror, lengths(&case.copied())];
    let again = verdict(&case, &ends);
    assert!(again[1] >= COPIED_UNNOTED, "by stage: {again:?}");
    assert_eq!(
        [again[0], again[2], again[3]],
        [0, 0, 0],
        "by stage: {again:?}"
    );
}
