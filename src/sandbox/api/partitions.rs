//! CreatePartitions: adds partitions to topics.
//!
//! Source: `ControllerApis.createPartitions`, `ReplicationControlManager.createPartitions`.

use std::collections::BTreeSet;

use kmirror_protocol::{
    ErrorCode,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse,
        create_partitions::{CreatePartitionsTopic, CreatePartitionsTopicResult},
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message, topics};
use crate::sandbox::{
    acls::{Operation, Resource},
    topic::Partition,
};

/// How many partitions a topic may get.
const PARTITIONS_MAX: i32 = 10_000;

pub(super) fn create(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &CreatePartitionsRequest<'_>,
) -> Outcome {
    let mut seen = BTreeSet::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for wanted in &request.topics {
        let others = request.topics.iter().filter(|it| it.name == wanted.name);
        let added = if !seen.insert(wanted.name) {
            continue;
        } else if others.count() > 1 {
            Err(ApiError::new(
                ErrorCode::INVALID_REQUEST,
                "Duplicate topic name.",
            ))
        } else {
            call.check(cluster, Operation::Alter, Resource::Topic(wanted.name))
                .map_err(ApiError::from)
                .and_then(|()| add(cluster, &wanted, request.validate_only))
        };
        results.push((wanted.name, added));
    }
    let results = results.iter().map(|(name, added)| {
        let (error_code, error_message) = code_and_message(added);
        CreatePartitionsTopicResult {
            name,
            error_code,
            error_message,
        }
    });
    call.reply::<CreatePartitionsRequest<'_>>(&CreatePartitionsResponse {
        throttle_time_ms: 0,
        results: results.collect(),
    })
}

fn add(
    cluster: &mut Cluster,
    wanted: &CreatePartitionsTopic<'_>,
    validate_only: bool,
) -> Result<(), ApiError> {
    let topic = cluster.topic(wanted.name)?;
    let replication_factor = topic.replication_factor();
    let current = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    check_count(wanted, current)?;
    let added = match &wanted.assignments {
        None => topics::place(cluster, current..wanted.count, replication_factor)?,
        Some(assignments) => {
            let additional = wanted.count.saturating_sub(current);
            if usize::try_from(additional) != Ok(assignments.len()) {
                return Err(ApiError::new(
                    ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "Attempted to add {additional} additional partition(s), but only {} \
                         assignment(s) were specified.",
                        assignments.len()
                    ),
                ));
            }
            let factor = usize::try_from(replication_factor).ok();
            for assignment in assignments {
                let broker_ids: Vec<_> = assignment.broker_ids.iter().collect();
                topics::check_replicas(cluster, &broker_ids, factor)?;
            }
            let assigned = (current..).zip(assignments);
            let is_online = |id| cluster.is_running(id);
            assigned
                .map(|(index, it)| {
                    Partition::new(index, it.broker_ids.iter().collect::<Vec<_>>(), is_online)
                })
                .collect()
        }
    };
    if !validate_only && let Some(topic) = cluster.topics.get_mut(wanted.name) {
        topic.partitions.extend(added);
    }
    Ok(())
}

fn check_count(wanted: &CreatePartitionsTopic<'_>, current: i32) -> Result<(), ApiError> {
    let message = if wanted.count == current {
        format!("Topic already has {current} partition(s).")
    } else if wanted.count < current {
        format!(
            "The topic {} currently has {current} partition(s); {} would not be an increase.",
            wanted.name, wanted.count
        )
    } else if wanted.count > PARTITIONS_MAX {
        format!("The sandbox keeps at most {PARTITIONS_MAX} partitions a topic.")
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorCode::INVALID_PARTITIONS, message))
}
