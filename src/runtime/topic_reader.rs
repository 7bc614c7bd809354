//! Reads a whole topic, from its start to the end it has when reading begins.
//!
//! For small topics such as the compacted ones that hold positions: everything read is kept.
//! Records of aborted transactions are left out.

use std::{collections::BTreeMap, sync::Arc};

use kmirror_protocol::{
    messages::{
        FetchRequest,
        fetch::{FetchRequestPartition, FetchRequestTopic, FetchResponsePartition},
    },
    records::{BatchHeader, LogEntry, batches, decompress, records},
};

use super::{
    admin,
    convert::{failure, refusal},
    lane::Name,
};
use crate::{
    cluster::{Cluster, SendOptions, To, Topics},
    flow::{Failure, LogRange, PartitionId, aborted::AbortedFilter, limits},
};

/// Bytes in one Fetch answer.
const FETCH_BYTES_MAX: i32 = 4 << 20;

/// Bytes of one partition in one Fetch answer.
const PARTITION_BYTES_MAX: i32 = 1 << 20;

/// Reads committed records only.
const READ_COMMITTED: i8 = 1;

/// A record of the topic, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The partition it lies in.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its timestamp as a consumer sees it, in milliseconds.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Reads all records of `topic`, partition by partition in offset order.
///
/// # Errors
///
/// The first [`Failure`]; nothing is retried here.
pub async fn read_all(cluster: &Cluster, topic: &str) -> Result<Vec<OwnedRecord>, Failure> {
    let mut read = Vec::new();
    for (node, names) in leaders(cluster, topic).await? {
        let ranges = admin::log_ranges(cluster, node, &names).await?;
        let mut reader = LeaderReader {
            cluster,
            topic,
            node,
            left: BTreeMap::new(),
        };
        for (id, range) in ranges {
            let LogRange {
                start_offset,
                end_offset,
            } = range?;
            let name = names
                .iter()
                .find(|(other, _)| *other == id)
                .map(|(_, name)| name);
            if let Some(name) = name.filter(|_| start_offset < end_offset) {
                reader
                    .left
                    .insert(name.partition, (start_offset, end_offset));
            }
        }
        while !reader.left.is_empty() {
            reader.fetch(&mut read).await?;
        }
    }
    Ok(read)
}

/// The partitions of a topic by their leader.
async fn leaders(
    cluster: &Cluster,
    topic: &str,
) -> Result<BTreeMap<i32, Vec<(PartitionId, Name)>>, Failure> {
    let metadata = cluster
        .refresh_metadata(Topics::named([topic]))
        .await
        .map_err(|err| failure(&err))?;
    let view = metadata
        .topic(topic)
        .ok_or_else(|| Failure::NoAnswer(format!("topic {topic} is not in the metadata")))?;
    let mut by_node: BTreeMap<i32, Vec<(PartitionId, Name)>> = BTreeMap::new();
    for (number, partition) in (0..).zip(&view.partitions) {
        let leader = partition.leader.ok_or_else(|| {
            Failure::NoAnswer(format!(
                "partition {topic}-{} has no leader",
                partition.index
            ))
        })?;
        let name = Name {
            topic: Arc::clone(&view.name),
            topic_id: view.id.unwrap_or_default(),
            partition: partition.index,
        };
        by_node
            .entry(leader.node)
            .or_default()
            .push((PartitionId(number), name));
    }
    Ok(by_node)
}

/// Reads what one broker leads.
struct LeaderReader<'a> {
    cluster: &'a Cluster,
    topic: &'a str,
    node: i32,
    /// Per partition the next offset, and the end.
    left: BTreeMap<i32, (i64, i64)>,
}

impl LeaderReader<'_> {
    async fn fetch(&mut self, read: &mut Vec<OwnedRecord>) -> Result<(), Failure> {
        let partitions = self
            .left
            .iter()
            .map(|(partition, (next, _))| FetchRequestPartition {
                partition: *partition,
                fetch_offset: *next,
                partition_max_bytes: PARTITION_BYTES_MAX,
                ..FetchRequestPartition::default()
            });
        let request = FetchRequest {
            max_wait_ms: admin::millis(limits::FETCH_WAIT),
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            isolation_level: READ_COMMITTED,
            topics: vec![FetchRequestTopic {
                topic: self.topic,
                partitions: partitions.collect(),
                ..FetchRequestTopic::default()
            }]
            .into(),
            ..FetchRequest::default()
        };
        // By name: this reader has no topic id to lose.
        let options = SendOptions {
            version_max: Some(12),
            ..SendOptions::default()
        };
        let answer = self
            .cluster
            .request_with(To::Node(self.node), &request, options)
            .await
            .map_err(|err| failure(&err))?;
        let response = answer.decode().map_err(|err| failure(&err))?;
        refusal(response.error_code, None)?;
        for partition in response.responses.iter().flat_map(|topic| topic.partitions) {
            refusal(partition.error_code, None)?;
            self.take(&partition, read)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        partition: &FetchResponsePartition<'_>,
        read: &mut Vec<OwnedRecord>,
    ) -> Result<(), Failure> {
        let Some((next, end)) = self.left.get_mut(&partition.partition_index) else {
            return Ok(());
        };
        // Nothing more can come before the first open transaction.
        let stable = partition.last_stable_offset;
        let blob = partition
            .records
            .as_ref()
            .map_or(&[][..], |records| records.as_slice());
        let aborted = partition.aborted_transactions.iter().flatten().collect();
        let mut filter = AbortedFilter::new(aborted);
        for entry in batches(blob) {
            let LogEntry::Batch(batch) = entry.map_err(|err| unreadable(&err))? else {
                return Err(Failure::Malformed(String::from(
                    "records in message format v0 or v1 are not supported yet",
                )));
            };
            let is_skipped = filter.is_aborted(&batch.header, batch.payload)
                || batch.header.attributes.is_control();
            if !is_skipped {
                decode(
                    partition.partition_index,
                    &batch.header,
                    batch.payload,
                    *next,
                    read,
                )?;
            }
            *next = batch.header.next_offset().max(*next);
        }
        if *next >= *end || (stable >= 0 && *next >= stable) {
            self.left.remove(&partition.partition_index);
        }
        Ok(())
    }
}

fn decode(
    partition: i32,
    header: &BatchHeader,
    payload: &[u8],
    next_offset: i64,
    read: &mut Vec<OwnedRecord>,
) -> Result<(), Failure> {
    let codec = header
        .attributes
        .compression()
        .map_err(|err| unreadable(&err))?;
    let plain = decompress(codec, payload, limits::DECOMPRESSED_BYTES_MAX)
        .map_err(|err| unreadable(&err))?;
    for record in records(&plain, header.record_count) {
        let record = record.map_err(|err| unreadable(&err))?;
        let offset = record.offset(header);
        if offset < next_offset {
            continue;
        }
        let headers = record.headers.iter();
        read.push(OwnedRecord {
            partition,
            offset,
            timestamp: record.timestamp(header),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        });
    }
    Ok(())
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::Malformed(error.to_string())
}
