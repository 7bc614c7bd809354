//! MirrorMaker 2 and kmirror with one file and one source, each with a target of its own: what they
//! make of it is the same, but for what the README lists.

mod differences;
mod view;

use std::thread;

use self::{
    differences::compare,
    view::{Offsets, Side, View},
};
use super::stop;
use crate::support::{
    java_client::{
        GroupOffset, Isolation, JavaClient, Load, NewRecord, ProduceOptions, Transaction,
    },
    kafka::{CONNECT_ONE_BROKER, Kafka, KafkaOptions, MirrorMaker, ONE_BROKER},
    kmirror::{Kmirror, wait_until},
    own_reader,
};

/// A topic of the source: its name, partitions, and settings of its own.
type NewTopic = (&'static str, i32, &'static [(&'static str, &'static str)]);

const COPIED: [NewTopic; 8] = [
    ("orders", 3, &[]),
    (
        "ledger",
        2,
        &[
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.9"),
        ],
    ),
    (
        "payments.eu",
        1,
        &[
            ("retention.ms", "604800001"),
            ("retention.bytes", "100000000"),
            ("max.message.bytes", "2000000"),
            // Those are not copied.
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "1"),
            ("unclean.leader.election.enable", "true"),
        ],
    ),
    ("x.internal", 1, &[]),
    ("stock-internal", 1, &[]),
    // Looks like a copy, of a topic of the cluster itself.
    ("A.orders", 1, &[]),
    ("grows", 1, &[]),
    ("moves", 1, &[]),
];

/// One with aborted transactions, and one without any record.
const SPECIAL: [NewTopic; 2] = [("transacted", 1, &[]), ("empty", 2, &[])];

const NOT_COPIED: [NewTopic; 6] = [
    ("excluded.orders", 1, &[]),
    ("stock.replica", 1, &[]),
    ("__stock", 1, &[]),
    ("mm2-stock.internal", 1, &[]),
    ("A.checkpoints.internal", 1, &[]),
    // Came from the target, to judge by its name.
    ("B.orders", 1, &[]),
];

const GROUPS: [&str; 8] = [
    "active",
    "finished",
    "lagging",
    "idle",
    "mover",
    "at-empty",
    "elsewhere",
    "hidden-1",
];

/// The source, and a target for each.
struct Trio {
    source: Kafka,
    mirror_makers: Kafka,
    kmirrors: Kafka,
}

impl Trio {
    fn start() -> Option<Self> {
        let start = || Kafka::start(&KafkaOptions::default());
        thread::scope(|scope| {
            let (source, other) = (scope.spawn(start), scope.spawn(start));
            let kmirrors = start();
            Some(Self {
                source: source.join().unwrap()?,
                mirror_makers: other.join().unwrap()?,
                kmirrors: kmirrors?,
            })
        })
    }

    /// The same file for both, but for the address of B.
    fn file(&self, target: &Kafka) -> String {
        format!(
            "clusters = A, B\n\
             A.bootstrap.servers = {}\n\
             B.bootstrap.servers = {}\n\
             A->B.enabled = true\n\
             topics.exclude = mm2.*\\\\.internal, .*\\\\.replica, __.*, excluded\\\\..*\n\
             groups.exclude = hidden-.*\n\
             {ONE_BROKER}{CONNECT_ONE_BROKER}\
             A->B.offset-syncs.topic.location = target\n\
             B.offset.flush.interval.ms = 1000\n\
             refresh.topics.interval.seconds = 1\n\
             refresh.groups.interval.seconds = 1\n\
             sync.topic.configs.interval.seconds = 1\n\
             emit.checkpoints.interval.seconds = 1\n\
             sync.group.offsets.enabled = true\n\
             sync.group.offsets.interval.seconds = 1\n\
             kmirror.http.listen = \n",
            self.source.bootstrap(),
            target.bootstrap(),
        )
    }
}

#[test]
fn both_make_the_same_of_one_source() {
    let Some(trio) = Trio::start() else { return };
    let source = trio.source.java();
    for (topic, partitions, config) in COPIED.iter().chain(&SPECIAL).chain(&NOT_COPIED) {
        source.create_topic(topic, *partitions, 1, config);
    }
    for (topic, partitions, _) in COPIED.iter().chain(&NOT_COPIED) {
        append(&source, topic, *partitions, 1);
    }
    append_transactions(&source);
    let _member = trio.source.join("active", "orders|transacted");
    commit_for_groups(&source);

    let mut kmirror = Kmirror::run(&trio.file(&trio.kmirrors));
    kmirror.wait_until("all copies", |_| trio.has_copies(&trio.kmirrors));
    let topics_before = source.topics();
    let mirror_maker = MirrorMaker::start(&trio.file(&trio.mirror_makers)).unwrap();
    wait_until("all copies of MirrorMaker 2", || {
        trio.has_copies(&trio.mirror_makers)
    });
    change_what_there_is(&source);
    kmirror.wait_until("all new copies", |_| trio.follows(&trio.kmirrors));
    wait_until("all new copies of MirrorMaker 2", || {
        trio.follows(&trio.mirror_makers)
    });
    trio.wait_for_rounds();
    stop(kmirror);
    mirror_maker.stop();

    let by_mirror_maker = trio.side(
        "MirrorMaker 2",
        &trio.mirror_makers,
        Isolation::ReadUncommitted,
    );
    let by_kmirror = trio.side("kmirror", &trio.kmirrors, Isolation::ReadCommitted);
    for (place, told) in by_kmirror.checkpoints() {
        let again = by_kmirror.read_again(&place, told.upstream, told.downstream);
        assert_eq!(again, 0, "{place:?} is told to be at {told:?}");
    }
    let mut views = (by_mirror_maker.view(), by_kmirror.view());
    views.0.extend(on_the_source(&source.topics()));
    views.1.extend(on_the_source(&topics_before));
    println!("{}", compare(&views.0, &views.1));
}

/// The topics of the source, but for the one that the test itself adds later.
fn on_the_source(topics: &[String]) -> View {
    let names = topics.iter().filter(|name| *name != "later");
    let names = names.map(|name| format!("topic on the source {name}"));
    names.map(|what| (what, String::from("there"))).collect()
}

impl Trio {
    /// Whether a target has as many records as the source has now, in all topics that are copied
    /// record by record.
    fn has_copies(&self, target: &Kafka) -> Option<()> {
        let has_copy = |topic: &str| {
            let copy = format!("A.{topic}");
            let count = |cluster: &Kafka, topic| own_reader::count(&cluster.bootstrap(), topic);
            count(target, &copy) == count(&self.source, topic)
        };
        let is_transacted = own_reader::count(&target.bootstrap(), "A.transacted") > 0;
        (is_transacted && COPIED.iter().all(|(topic, ..)| has_copy(topic))).then_some(())
    }

    /// Whether a target has followed the changes as well.
    fn follows(&self, target: &Kafka) -> Option<()> {
        self.has_copies(target)?;
        let java = target.java();
        if own_reader::count(&target.bootstrap(), "A.later") == 0 {
            return None;
        }
        let config = java.config("A.payments.eu");
        let has = |name: &str, value: &str| config.contains(&(name.to_owned(), value.to_owned()));
        let is_removed = config.iter().all(|(name, _)| name != "retention.bytes");
        let is_grown = java.describe_topic("A.grows").partitions.len() == 3;
        (has("retention.ms", "604800002") && is_removed && is_grown).then_some(())
    }

    /// Waits until both have been through two whole rounds of groups, so that every group has been
    /// looked at since the last record was copied: a group moves on alone, twice.
    fn wait_for_rounds(&self) {
        let source = self.source.java();
        let ends = |group: &str| {
            let committed = source.committed(group).into_iter();
            let orders = committed.filter(|at| at.topic == "orders");
            orders.map(|at| at.offset).sum::<i64>()
        };
        let end = i64::try_from(own_reader::count(&self.source.bootstrap(), "orders")).unwrap();
        wait_until("the application to read everything", || {
            (ends("active") == end).then_some(())
        });
        for _ in 0..2 {
            append(&source, "moves", 1, 3);
            source.consume("mover", "moves", None);
            let end = source.committed("mover").remove(0).offset;
            for target in [&self.kmirrors, &self.mirror_makers] {
                let java = target.java();
                wait_until("the group that moves", || {
                    let committed = java.committed("mover");
                    (committed.first()?.offset == end).then_some(())
                });
            }
        }
    }

    fn side<'a>(&self, name: &'a str, cluster: &'a Kafka, isolation: Isolation) -> Side<'a> {
        let source = self.source.java();
        let mut copied = Offsets::new();
        let later: NewTopic = ("later", 2, &[]);
        for (topic, ..) in COPIED.iter().chain(&SPECIAL).chain([&later]) {
            for record in source.read(topic, isolation) {
                let place = (format!("A.{topic}"), record.partition);
                copied.entry(place).or_default().push(record.offset);
            }
        }
        Side {
            name,
            cluster,
            copied,
            groups: &GROUPS,
        }
    }
}

/// Records with keys, as compacted topics want them; 300 in each partition.
fn append(source: &JavaClient, topic: &str, partitions: i32, seed: u64) {
    let load = Load {
        seed,
        partitions,
        count: u32::try_from(partitions).unwrap() * 300,
        value_size_max: 100,
        odd: false,
        keyed: true,
    };
    source.generate(topic, load, ProduceOptions::default());
}

/// Transactions of four records, of which every other one is aborted.
fn append_transactions(source: &JavaClient) {
    for number in 0..6_u8 {
        let transaction = Transaction {
            transactional_id: "shop",
            commit: number % 2 == 0,
        };
        let record = NewRecord {
            key: Some(vec![number]),
            value: Some(vec![number]),
            ..NewRecord::default()
        };
        let options = ProduceOptions {
            config: &[],
            transaction: Some(transaction),
        };
        source.produce("transacted", &vec![record; 4], options);
    }
}

/// Puts every group where it is to be.
fn commit_for_groups(source: &JavaClient) {
    let commit = |group: &str, topic: &str, offsets: &[i64]| {
        let offsets = (0..).zip(offsets).map(|(partition, offset)| GroupOffset {
            topic: topic.to_owned(),
            partition,
            offset: *offset,
            metadata: format!("at {offset}"),
        });
        source.commit(group, &offsets.collect::<Vec<_>>());
    };
    commit("lagging", "orders", &[17, 150, 299]);
    commit("lagging", "ledger", &[5, 250]);
    commit("lagging", "transacted", &[11]);
    commit("idle", "orders", &[100, 100, 300]);
    commit("idle", "x.internal", &[3]);
    commit("idle", "A.orders", &[300]);
    commit("at-empty", "empty", &[0, 0]);
    commit("elsewhere", "excluded.orders", &[5]);
    commit("elsewhere", "B.orders", &[5]);
    commit("hidden-1", "orders", &[10, 10, 10]);
    source.consume("finished", "orders|ledger|payments.eu|transacted", None);
}

/// More records, a new topic with an empty partition, another partition, other settings, and groups
/// that go on.
fn change_what_there_is(source: &JavaClient) {
    source.create_topic("later", 2, 1, &[]);
    append(source, "later", 1, 2);
    source.create_partitions("grows", 3);
    append(source, "grows", 3, 2);
    for (topic, partitions, _) in COPIED {
        append(source, topic, partitions, 2);
    }
    let settings = [
        ("retention.ms", Some("604800002")),
        ("retention.bytes", None),
    ];
    source.alter_config("payments.eu", &settings);
    source.consume(
        "finished",
        "orders|ledger|payments.eu|transacted|later",
        None,
    );
    let on = GroupOffset {
        topic: String::from("orders"),
        partition: 0,
        offset: 220,
        metadata: String::new(),
    };
    source.commit("lagging", &[on]);
}
