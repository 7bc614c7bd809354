//! The real binary copies between real clusters; a Java consumer and this project's own codec
//! compare both sides.
//!
//! All tests share one pair of clusters, so the topics of each test begin with a word of its own.

mod acls;
mod failover;
mod groups;
mod halts;
mod logs;
mod offsets;
mod policies;
mod records;
mod restart;
mod scenarios;
mod security;
mod side_by_side;
mod takeover;
mod takeover_under_load;
mod topics;
mod transactional;
mod weaknesses;

use crate::support::{
    java_client::{Content, Isolation, JavaRecord},
    kafka::{Kafka, Pair},
    kmirror::Kmirror,
    own_reader,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A file as MM2 users have it, for topics that begin with `prefix`; what `more` repeats wins.
fn properties(pair: &Pair, prefix: &str, more: &str) -> String {
    format!(
        "clusters = A, B\n\
         A.bootstrap.servers = {}\n\
         B.bootstrap.servers = {}\n\
         A->B.enabled = true\n\
         A->B.topics = {prefix}.*\n\
         replication.factor = 1\n\
         offset.storage.replication.factor = 1\n\
         emit.heartbeats.enabled = false\n\
         kmirror.http.listen = \n\
         emit.checkpoints.enabled = false\n\
         emit.offset-syncs.enabled = false\n\
         sync.topic.configs.enabled = false\n\
         {more}\n",
        pair.source.bootstrap(),
        pair.target.bootstrap(),
    )
}

/// A topic of a cluster.
#[derive(Clone, Copy)]
struct Topic<'a> {
    cluster: &'a Kafka,
    name: &'a str,
}

impl<'a> Topic<'a> {
    const fn new(cluster: &'a Kafka, name: &'a str) -> Self {
        Self { cluster, name }
    }

    /// How many records a consumer sees.
    fn count(self) -> usize {
        own_reader::count(&self.cluster.bootstrap(), self.name)
    }

    /// The records without their offsets, in order per partition, as this project's codec reads them.
    fn own_contents(self) -> Vec<(i32, Content)> {
        let records = own_reader::read(&self.cluster.bootstrap(), self.name);
        records.into_iter().map(in_partition).collect()
    }
}

fn in_partition(record: JavaRecord) -> (i32, Content) {
    (record.partition, record.content)
}

/// Waits until the target has as many records as the source, then compares them all.
fn assert_copied(kmirror: &mut Kmirror, source: Topic<'_>, target: Topic<'_>) {
    let count = source.count();
    let what = format!("{count} records in {}", target.name);
    kmirror.wait_until(&what, |_| (target.count() >= count).then_some(()));
    assert_same_contents(source, target);
}

/// Both topics have the same records, partition by partition and in the same order: to the Java
/// consumer and to this project's own codec.
fn assert_same_contents(source: Topic<'_>, target: Topic<'_>) {
    let digest = |topic: Topic<'_>, isolation| topic.cluster.java().digest(topic.name, isolation);
    assert_eq!(
        digest(target, Isolation::ReadUncommitted),
        digest(source, Isolation::ReadCommitted),
        "{}",
        target.name
    );
    assert_eq!(
        target.own_contents(),
        source.own_contents(),
        "{}",
        target.name
    );
}

/// Stops it in order and expects that it says so.
fn stop(kmirror: Kmirror) -> String {
    let (status, log) = kmirror.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    log
}
