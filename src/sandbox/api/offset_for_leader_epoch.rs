//! OffsetForLeaderEpoch: where a leader epoch ends.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch::{
            OffsetForLeaderEpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult,
        },
    },
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::acls::{Operation, Resource};

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &OffsetForLeaderEpochRequest<'_>,
) -> Outcome {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let partition = wanted.partition;
            match find(cluster, call, topic.topic, &wanted) {
                Ok(Some((leader_epoch, end_offset))) => OffsetForLeaderEpochEndOffset {
                    error_code: ErrorCode::NONE,
                    partition,
                    leader_epoch,
                    end_offset,
                },
                Ok(None) => OffsetForLeaderEpochEndOffset {
                    partition,
                    ..Default::default()
                },
                Err(error_code) => OffsetForLeaderEpochEndOffset {
                    error_code,
                    partition,
                    ..Default::default()
                },
            }
        });
        OffsetForLeaderTopicResult {
            topic: topic.topic,
            partitions: partitions.collect(),
        }
    });
    let topics = topics.collect();
    call.reply::<OffsetForLeaderEpochRequest<'_>>(&OffsetForLeaderEpochResponse {
        throttle_time_ms: 0,
        topics,
    })
}

fn find(
    cluster: &Cluster,
    call: &Call<'_>,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ErrorCode> {
    call.check(cluster, Operation::Describe, Resource::Topic(topic))?;
    let partition = cluster.partition(topic, wanted.partition)?;
    let log = partition.led_log(call.broker_id, wanted.current_leader_epoch)?;
    Ok(log.epochs.end_of(wanted.leader_epoch, log.end_offset()))
}
