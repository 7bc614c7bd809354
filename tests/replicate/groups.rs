//! Consumer groups, heartbeats and offset syncs on real brokers, seen through Java's own eyes.

use std::collections::BTreeMap;

use super::stop;
use crate::support::{
    java_client::{GroupOffset, JavaClient, Load, ProduceOptions},
    kafka::{ONE_BROKER, Pair},
    kmirror::Kmirror,
};

const PARTITIONS: i32 = 3;

/// Two clusters of their own: what is told of groups is one topic for all flows of a pair.
fn properties(pair: &Pair, more: &str) -> String {
    format!(
        "clusters = A, B\n\
         A.bootstrap.servers = {}\n\
         B.bootstrap.servers = {}\n\
         A->B.enabled = true\n\
         A->B.topics = orders\n\
         {ONE_BROKER}\
         emit.checkpoints.interval.seconds = 1\n\
         sync.group.offsets.enabled = true\n\
         sync.group.offsets.interval.seconds = 1\n\
         {more}\n",
        pair.source.bootstrap(),
        pair.target.bootstrap(),
    )
}

fn produce(pair: &Pair, seed: u64) {
    let load = Load {
        seed,
        partitions: PARTITIONS,
        count: 300,
        value_size_max: 100,
        odd: false,
        keyed: false,
    };
    pair.source
        .java()
        .generate("orders", load, ProduceOptions::default());
}

/// Commits on the source: the same in every partition.
fn commit(pair: &Pair, group: &str, offset: i64) {
    let each = (0..PARTITIONS).map(|partition| GroupOffset {
        topic: String::from("orders"),
        partition,
        offset: offset + i64::from(partition),
        metadata: format!("at {offset}"),
    });
    pair.source.java().commit(group, &each.collect::<Vec<_>>());
}

/// Offsets by partition of the remote topic.
fn of_orders(offsets: Vec<GroupOffset>) -> BTreeMap<i32, i64> {
    let own = offsets.into_iter().filter(|it| it.topic == "A.orders");
    own.map(|it| (it.partition, it.offset)).collect()
}

fn positions(offset: i64) -> BTreeMap<i32, i64> {
    (0..PARTITIONS)
        .map(|it| (it, offset + i64::from(it)))
        .collect()
}

fn wait_for(kmirror: &mut Kmirror, java: &JavaClient, group: &str, offset: i64) {
    kmirror.wait_until(&format!("{group} at {offset}"), |_| {
        (of_orders(java.committed(group)) == positions(offset)).then_some(())
    });
}

/// B1.5-1.8, B3, B8 and B9 of MM2's own tests: groups are where they were, also across a restart and
/// far behind, heartbeats tell who is upstream, and Java's client reads it all.
#[test]
fn groups_heartbeats_and_syncs_are_what_mirror_makers_readers_expect() {
    let Some(pair) = Pair::start() else { return };
    let target = pair.target.java();
    pair.source
        .java()
        .create_topic("orders", PARTITIONS, 1, &[]);
    produce(&pair, 1);
    commit(&pair, "billing", 10);
    commit(&pair, "console-consumer-1", 10);
    let mut kmirror = Kmirror::run(&properties(&pair, ""));
    wait_for(&mut kmirror, &target, "billing", 10);
    assert_eq!(target.committed("console-consumer-1"), []);
    let metadata = target.committed("billing")[0].metadata.clone();
    assert_eq!(metadata, "at 10");

    // Java's own client finds the same, once the heartbeats have come round.
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    kmirror.wait_until("what RemoteClusterUtils says", |_| {
        let seen = target.mirror("A", "billing");
        let is_complete = seen.hops == 1
            && seen.upstream == names(&["A"])
            && seen.heartbeats == names(&["A.heartbeats", "heartbeats"])
            && seen.checkpoints == names(&["A.checkpoints.internal"]);
        (is_complete && of_orders(seen.offsets) == positions(10)).then_some(())
    });
    // Where MM2 keeps its syncs, on the source.
    let topics = pair.source.java().topics();
    assert!(
        topics.contains(&String::from("mm2-offset-syncs.B.internal")),
        "{topics:?}"
    );

    // A crash costs no group its translation, however far behind it is.
    kmirror.kill9();
    produce(&pair, 2);
    commit(&pair, "billing", 150);
    commit(&pair, "late", 3);
    let mut kmirror = Kmirror::run(&properties(&pair, ""));
    wait_for(&mut kmirror, &target, "billing", 150);
    wait_for(&mut kmirror, &target, "late", 3);
    // A group that went back on the source is told so, and is not taken back where it was read on.
    commit(&pair, "billing", 20);
    kmirror.wait_until("the checkpoint of a group that went back", |_| {
        let seen = target.mirror("A", "billing");
        (of_orders(seen.offsets) == positions(20)).then_some(())
    });
    assert_eq!(of_orders(target.committed("billing")), positions(150));
    let log = stop(kmirror);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
