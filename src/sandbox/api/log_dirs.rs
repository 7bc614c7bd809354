//! DescribeLogDirs: how much the logs of a broker hold.
//!
//! A broker of the sandbox has one directory, which is a name. Source:
//! `ReplicaManager.describeLogDirs`.

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
    describe_log_dirs::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::acls::{Operation, Resource};

/// What stands for the directory.
const LOG_DIR: &str = "/memory";

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeLogDirsRequest<'_>,
) -> Outcome {
    if let Err(error_code) = call.check(cluster, Operation::Describe, Resource::Cluster) {
        return call.reply::<DescribeLogDirsRequest<'_>>(&DescribeLogDirsResponse {
            error_code,
            ..Default::default()
        });
    }
    let wanted = request.topics.as_ref().map(|topics| {
        let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
        for topic in topics {
            let partitions = wanted.entry(topic.topic).or_default();
            partitions.extend(topic.partitions.iter());
        }
        wanted
    });
    let is_wanted = |name: &str, index: i32| match &wanted {
        None => true,
        Some(wanted) => wanted.get(name).is_some_and(|it| it.contains(&index)),
    };
    let mut topics = Vec::new();
    for topic in cluster.topics.values() {
        let held = topic.partitions.iter().filter_map(|partition| {
            let replica = partition.replica(call.broker_id)?;
            is_wanted(&topic.name, partition.index).then_some((partition.index, &replica.log))
        });
        let partitions: Vec<_> = held
            .map(|(partition_index, log)| DescribeLogDirsPartition {
                partition_index,
                partition_size: i64::try_from(log.size()).unwrap_or(i64::MAX),
                offset_lag: log.high_watermark().saturating_sub(log.end_offset()).max(0),
                is_future_key: false,
            })
            .collect();
        if !partitions.is_empty() {
            topics.push(DescribeLogDirsTopic {
                name: &topic.name,
                partitions: partitions.into(),
            });
        }
    }
    call.reply::<DescribeLogDirsRequest<'_>>(&DescribeLogDirsResponse {
        results: [DescribeLogDirsResult {
            log_dir: LOG_DIR,
            topics: topics.into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    })
}
