//! DeleteRecords: moves the start of logs forward.
//!
//! Source: `ReplicaManager.deleteRecordsOnLocalLog`, `Partition.deleteRecordsOnLeader`.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records::{
            DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
        },
    },
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::{
    acls::{Operation, Resource},
    topic::is_internal_topic,
};

/// Asks to delete everything up to the high watermark.
const HIGH_WATERMARK: i64 = -1;

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DeleteRecordsRequest<'_>,
) -> Outcome {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|wanted| {
            let deleted = delete(cluster, call, topic.name, &wanted);
            DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark: deleted.unwrap_or(-1),
                error_code: deleted.err().unwrap_or_default(),
            }
        });
        topics.push(DeleteRecordsTopicResult {
            name: topic.name,
            partitions: partitions.collect(),
        });
    }
    call.reply::<DeleteRecordsRequest<'_>>(&DeleteRecordsResponse {
        throttle_time_ms: 0,
        topics: topics.into(),
    })
}

/// Answers where the log starts now.
fn delete(
    cluster: &mut Cluster,
    call: &Call<'_>,
    name: &str,
    wanted: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    call.check(cluster, Operation::Delete, Resource::Topic(name))?;
    let topic = cluster.topic(name)?;
    let rules = topic.config.rules().clone();
    topic.partition(wanted.partition_index)?;
    if is_internal_topic(name) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let partition = cluster.partition_mut(name, wanted.partition_index)?;
    let log = partition.led_log_mut(call.broker_id)?;
    if !rules.is_deletable {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let offset = match wanted.offset {
        HIGH_WATERMARK => log.high_watermark(),
        offset if offset < 0 => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        offset => offset,
    };
    log.delete_before(offset)?;
    let start_offset = log.start_offset();
    partition.replicate(&rules);
    Ok(start_offset)
}
