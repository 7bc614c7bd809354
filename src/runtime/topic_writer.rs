//! Writes records to small compacted topics, each to the partition of its key.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{
    client::Client,
    convert::decoded,
    exchange::writing::{self, Round},
};
use crate::{
    cluster::{Lane, Topics},
    flow::{Failure, PositionsInTransaction},
    offsets::source_offsets::StoredRecord,
};

/// A broker serves one request of a connection at a time, and this one until all replicas have the
/// records: neither the records that are copied nor questions shall wait behind it.
const LANE: Lane = Lane::Produce(1);

/// A record without a timestamp (`RecordBatch.NO_TIMESTAMP`): a target whose clock is hours behind
/// takes it all the same, where it would refuse a time in its future.
pub const NO_TIMESTAMP: i64 = -1;

/// Appends records in their order, and waits until all replicas in sync have them. Returns the
/// offset of the last one by partition.
///
/// `timestamp` is that of the records, in milliseconds since 1970, or [`NO_TIMESTAMP`].
/// Writing a record twice does no harm there, so nothing here is idempotent: what was not answered
/// in time may still be appended later.
///
/// # Errors
///
/// A [`Failure`]; some of the records may have been appended.
pub async fn append(
    cluster: &impl Client,
    topic: &Arc<str>,
    partition_count: i32,
    records: &[StoredRecord],
    timestamp: i64,
    timeout: Duration,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let times = (timestamp, timeout);
    append_within(cluster, topic, partition_count, records, times, None).await
}

/// As [`append`], as part of a transaction if one is given. The same records may then be given again
/// under the same sequence numbers: a broker that has them knows them.
///
/// # Errors
///
/// A [`Failure`]; some of the records may have been appended.
pub async fn append_within(
    cluster: &impl Client,
    topic: &Arc<str>,
    partition_count: i32,
    records: &[StoredRecord],
    (timestamp, timeout): (i64, Duration),
    within: Option<&PositionsInTransaction>,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let mut last_offsets = BTreeMap::new();
    for round in writing::rounds(partition_count, records, timestamp, within)? {
        match append_round(cluster, topic, round, timeout, within).await {
            Ok(appended) => last_offsets.extend(appended),
            Err(failure) => {
                // The leader may have moved; whoever wants the records written tries again.
                let _ = cluster.refresh(Topics::named([&**topic])).await;
                return Err(failure);
            }
        }
    }
    Ok(last_offsets)
}

/// Appends to all leaders at once, and hears all of them before it says what failed.
async fn append_round(
    cluster: &impl Client,
    topic: &Arc<str>,
    round: Round,
    timeout: Duration,
    within: Option<&PositionsInTransaction>,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let by_leader = writing::by_leader(&cluster.metadata(), topic, round)?;
    let requests = by_leader.into_iter().map(async |(node, round)| {
        let question = writing::produce(topic, timeout, &round, within);
        let answer = cluster.ask_on(node, LANE, question).await?;
        writing::appended(&decoded(&answer)?, &round)
    });
    let mut outcome = Ok(BTreeMap::new());
    for answer in join_all(requests).await {
        match (&mut outcome, answer) {
            (Ok(last_offsets), Ok(appended)) => last_offsets.extend(appended),
            (Ok(_), Err(failure)) => outcome = Err(failure),
            (Err(_), _) => {}
        }
    }
    outcome
}
