//! kmirror's own codec as a second reader beside Java, answering in the same words.

use std::time::Duration;

use kmirror::{
    cluster::{Cluster, ClusterOptions},
    flow::Failure,
    runtime::topic_reader::{OwnedRecord, read_all},
};

use super::{
    java_client::{Blob, Content, JavaRecord},
    wait_for,
};

/// How long a topic may be unreadable.
const READABLE_MAX: Duration = Duration::from_secs(30);

/// Every committed record of a topic, ordered by partition and offset.
///
/// The timestamp's type is no part of a record here; it is given as "CreateTime".
pub(crate) fn read(bootstrap: &str, topic: &str) -> Vec<JavaRecord> {
    let mut failure = None;
    // A new leader is not ready at once.
    let read = wait_for(READABLE_MAX, || {
        read_owned(bootstrap, topic)
            .map_err(|error| failure = Some(error))
            .ok()
    });
    let read = read.unwrap_or_else(|| panic!("{topic}: {failure:?}"));
    let mut records: Vec<JavaRecord> = read.into_iter().map(in_javas_words).collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// How many committed records a topic has; none while it cannot be read, as before its creation.
pub(crate) fn count(bootstrap: &str, topic: &str) -> usize {
    read_owned(bootstrap, topic).map_or(0, |records| records.len())
}

fn read_owned(bootstrap: &str, topic: &str) -> Result<Vec<OwnedRecord>, Failure> {
    let servers = bootstrap.split(',').map(|server| {
        let (host, port) = server.rsplit_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    });
    let options = ClusterOptions::new("read-by-test", servers.collect());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { read_all(&Cluster::new(options), topic).await })
}

fn in_javas_words(record: OwnedRecord) -> JavaRecord {
    let blob = |bytes: Option<Vec<u8>>| bytes.map(|bytes| Blob::of(&bytes));
    let headers = record.headers.into_iter();
    JavaRecord {
        partition: record.partition,
        offset: record.offset,
        content: Content {
            timestamp_ms: record.timestamp,
            timestamp_type: "CreateTime".to_owned(),
            key: blob(record.key),
            value: blob(record.value),
            headers: headers
                .map(|(key, value)| (String::from_utf8(key).unwrap(), blob(value)))
                .collect(),
        },
    }
}
