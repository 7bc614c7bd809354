//! The real binary copies between real clusters; a Java consumer compares both sides.

use crate::support::{
    java_client::{Content, Isolation, JavaClient, Load, ProduceOptions},
    kafka::{Pair, pair},
    kmirror::Kmirror,
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A file as MM2 users have it, for topics that begin with `prefix`.
fn properties(pair: &Pair, prefix: &str, more: &str) -> String {
    format!(
        "clusters = A, B\n\
         A.bootstrap.servers = {}\n\
         B.bootstrap.servers = {}\n\
         A->B.enabled = true\n\
         A->B.topics = {prefix}.*\n\
         replication.factor = 1\n\
         offset.storage.replication.factor = 1\n\
         B.offset.storage.replication.factor = 1\n\
         {more}\n",
        pair.source.bootstrap(),
        pair.target.bootstrap(),
    )
}

/// Waits until the target's topic has as many records as the source's, then compares them all.
fn assert_copied(kmirror: &mut Kmirror, source: (&JavaClient, &str), target: (&JavaClient, &str)) {
    let expected = source.0.digest(source.1, Isolation::ReadCommitted);
    let count: u64 = expected.iter().map(|partition| partition.count).sum();
    kmirror.wait_until(&format!("{count} records in {}", target.1), |_| {
        if !target.0.topics().contains(&target.1.to_owned()) {
            return None;
        }
        let copied = target.0.digest(target.1, Isolation::ReadUncommitted);
        let copied: u64 = copied.iter().map(|partition| partition.count).sum();
        (copied >= count).then_some(())
    });
    assert_eq!(
        target.0.digest(target.1, Isolation::ReadUncommitted),
        expected,
        "{}",
        target.1
    );
}

#[test]
fn every_codec_and_batch_size_arrives_as_it_was() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.java(), pair.target.java());
    let mut topics = Vec::new();
    for (seed, codec) in (1..).zip(CODECS) {
        for batch_size in ["1", "16384", "1000000"] {
            let topic = format!("codecs.{codec}.{batch_size}");
            source.create_topic(&topic, 4, 1, &[("max.message.bytes", "2000000")]);
            let load = Load {
                seed,
                partitions: 4,
                count: 400,
                value_size_max: 2_000,
                odd: true,
                keyed: false,
            };
            let config = [
                ("compression.type", codec),
                ("batch.size", batch_size),
                ("linger.ms", "5"),
            ];
            source.generate(
                &topic,
                load,
                ProduceOptions {
                    config: &config,
                    transaction: None,
                },
            );
            topics.push(topic);
        }
    }
    let mut kmirror = Kmirror::run(&properties(pair, "codecs", ""));
    for topic in &topics {
        assert_copied(
            &mut kmirror,
            (&source, topic),
            (&target, &format!("A.{topic}")),
        );
    }
    let (status, log) = kmirror.stop();
    assert!(status.success(), "{log}");
}
