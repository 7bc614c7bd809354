//! Fetch: reads batches, or waits for them.
//!
//! Source, beside `KafkaApis.handleFetchRequest`: `ReplicaManager.fetchMessages`,
//! `ReplicaManager.readFromLog` and `Partition.readRecords`.

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    messages::{
        FetchRequest, FetchResponse,
        fetch::{
            FetchRequestPartition, FetchRequestTopic, FetchResponseAbortedTransaction,
            FetchResponseEpochEndOffset, FetchResponsePartition, FetchResponseTopic,
        },
        leaders::LeaderIdAndEpoch,
    },
    records::Compression,
    wire::{Array, Records, Uuid},
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::{
    log::Log,
    parked::{Parked, Waiting},
    topic::{Partition, Topic},
};

/// The most bytes of records in one answer, whatever is asked for (`fetch.max.bytes`).
const FETCH_BYTES_MAX: usize = 55 << 20;

/// The isolation level of readers that get nothing undecided.
const READ_COMMITTED: i8 = 1;

/// From this version on consumers may read from any replica (KIP-392).
const FROM_FOLLOWER_VERSION: i16 = 11;

/// What is left of a request's limits, and whether an answer is called for.
struct Budget {
    /// Bytes.
    rest: usize,
    /// Until the first batch has been found, a batch may break the limits (KIP-74).
    is_empty: bool,
    /// Bytes.
    read: usize,
    /// Whether a partition has something to say that cannot wait.
    is_urgent: bool,
    /// The partitions whose change could bring more.
    watched: Vec<(Uuid, i32)>,
}

/// Answers or parks.
pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &FetchRequest<'_>,
) -> Outcome {
    match attempt(cluster, call, request, request.max_wait_ms <= 0) {
        Ok(outcome) => outcome,
        Err(watched) => {
            let deadline = call.now.plus_ms(i64::from(request.max_wait_ms));
            cluster.parked.park(Parked {
                broker_id: call.broker_id,
                body: call.body.clone(),
                deadline,
                watched,
                waiting: Waiting::Fetch,
            })
        }
    }
}

/// Answers, if there is enough to answer or `must_answer`.
///
/// # Errors
///
/// The partitions to watch until there is.
pub(super) fn attempt(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &FetchRequest<'_>,
    must_answer: bool,
) -> Result<Outcome, Vec<(Uuid, i32)>> {
    if request.session_epoch > 0 {
        return Ok(call.reply::<FetchRequest<'_>>(&FetchResponse {
            error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ..Default::default()
        }));
    }
    let mut budget = Budget {
        rest: usize::try_from(request.max_bytes)
            .unwrap_or_default()
            .min(FETCH_BYTES_MAX),
        is_empty: true,
        read: 0,
        is_urgent: false,
        watched: Vec::new(),
    };
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        responses.push(read_topic(cluster, call, request, &topic, &mut budget));
    }
    let wanted = usize::try_from(request.min_bytes).unwrap_or_default();
    let is_enough = budget.is_urgent || budget.watched.is_empty() || budget.read >= wanted;
    if !is_enough && !must_answer {
        return Err(budget.watched);
    }
    let partitions = responses.iter().flat_map(|topic| &topic.partitions);
    let leaders = partitions.map(|partition| partition.current_leader.leader_id);
    let node_endpoints = super::node_endpoints(cluster, leaders);
    Ok(call.reply::<FetchRequest<'_>>(&FetchResponse {
        responses: responses.into(),
        node_endpoints: node_endpoints.into(),
        ..Default::default()
    }))
}

fn read_topic<'a>(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &FetchRequest<'_>,
    wanted: &FetchRequestTopic<'a>,
    budget: &mut Budget,
) -> FetchResponseTopic<'a> {
    let found = if call.version() >= 13 {
        cluster.topic_by_id(wanted.topic_id)
    } else {
        cluster.topic(wanted.topic)
    };
    let partitions = wanted.partitions.iter().map(|wanted| {
        let partition = found.and_then(|topic| Ok((topic, topic.partition(wanted.partition)?)));
        match partition {
            // Not urgent: Kafka makes the request wait for its other partitions.
            Err(code) => failed(wanted.partition, code),
            Ok((topic, partition)) => {
                budget.watched.push((topic.id, partition.index));
                let response = read_partition(call, request, topic, partition, &wanted, budget);
                budget.is_urgent |= !response.error_code.is_ok()
                    || response.diverging_epoch != FetchResponseEpochEndOffset::default();
                response
            }
        }
    });
    FetchResponseTopic {
        topic: wanted.topic,
        topic_id: wanted.topic_id,
        partitions: partitions.collect(),
    }
}

fn failed<'a>(partition_index: i32, error_code: ErrorCode) -> FetchResponsePartition<'a> {
    FetchResponsePartition {
        partition_index,
        error_code,
        high_watermark: -1,
        aborted_transactions: Some(Vec::new().into()),
        preferred_read_replica: -1,
        records: Some(Records::Gathered(Vec::new())),
        ..Default::default()
    }
}

fn read_partition<'a>(
    call: &Call<'_>,
    request: &FetchRequest<'_>,
    topic: &Topic,
    partition: &Partition,
    wanted: &FetchRequestPartition,
    budget: &mut Budget,
) -> FetchResponsePartition<'a> {
    let epoch = wanted.current_leader_epoch;
    let log = if call.version() >= FROM_FOLLOWER_VERSION {
        partition.local_log(call.broker_id, epoch)
    } else {
        partition.led_log(call.broker_id, epoch)
    };
    let log = match log {
        Ok(log) => log,
        Err(code) => return not_here(call.version(), partition, code),
    };
    if call.version() < 10 && topic.config.rules().compression == Some(Compression::Zstd) {
        return failed(wanted.partition, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }
    let (diverging_epoch, pieces) = match diverging_epoch(log, wanted) {
        Ok(Some(diverging)) => (diverging, Ok(Vec::new())),
        Ok(None) => (
            FetchResponseEpochEndOffset::default(),
            read(log, request, wanted, budget),
        ),
        Err(code) => (FetchResponseEpochEndOffset::default(), Err(code)),
    };
    match pieces {
        Err(code) => failed(wanted.partition, code),
        Ok(pieces) => FetchResponsePartition {
            partition_index: wanted.partition,
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            log_start_offset: log.start_offset(),
            aborted_transactions: (request.isolation_level == READ_COMMITTED)
                .then(|| aborted(log, wanted.fetch_offset, &pieces)),
            preferred_read_replica: -1,
            records: Some(Records::Gathered(pieces)),
            diverging_epoch,
            ..Default::default()
        },
    }
}

/// The answer of a broker that may not answer for a partition; it names the leader (KIP-951).
fn not_here<'a>(
    version: i16,
    partition: &Partition,
    code: ErrorCode,
) -> FetchResponsePartition<'a> {
    let tells_leader = version >= 16
        && matches!(
            code,
            ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH
        );
    FetchResponsePartition {
        current_leader: if tells_leader {
            LeaderIdAndEpoch {
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
            }
        } else {
            LeaderIdAndEpoch::default()
        },
        ..failed(partition.index, code)
    }
}

/// What a reader of committed records must leave out of what it gets.
fn aborted<'a>(
    log: &Log,
    fetch_offset: i64,
    pieces: &[Bytes],
) -> Array<'a, FetchResponseAbortedTransaction> {
    let len = pieces.iter().map(Bytes::len).sum::<usize>();
    let aborted = log.aborted_transactions(fetch_offset, len);
    // Who gets nothing is told nothing.
    let aborted = aborted.filter(|_| len > 0);
    aborted
        .map(|aborted| FetchResponseAbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
        })
        .collect()
}

fn read(
    log: &Log,
    request: &FetchRequest<'_>,
    wanted: &FetchRequestPartition,
    budget: &mut Budget,
) -> Result<Vec<Bytes>, ErrorCode> {
    let len_max = usize::try_from(wanted.partition_max_bytes).unwrap_or_default();
    let len_max = len_max.min(budget.rest);
    let end = if request.isolation_level == READ_COMMITTED {
        log.last_stable_offset()
    } else {
        log.high_watermark()
    };
    let pieces = log.read(wanted.fetch_offset, end, len_max, budget.is_empty)?;
    let len = pieces.iter().map(Bytes::len).sum::<usize>();
    budget.is_empty &= len == 0;
    budget.rest = budget.rest.saturating_sub(len);
    budget.read = budget.read.saturating_add(len);
    Ok(pieces)
}

/// Where this log and the one that the client has read part, if they do (KIP-595).
fn diverging_epoch(
    log: &Log,
    wanted: &FetchRequestPartition,
) -> Result<Option<FetchResponseEpochEndOffset>, ErrorCode> {
    if wanted.last_fetched_epoch == -1 {
        return Ok(None);
    }
    let end = log
        .epochs
        .end_of(wanted.last_fetched_epoch, log.end_offset());
    let (epoch, end_offset) = end.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    if wanted.fetch_offset < log.start_offset() {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let diverges = epoch < wanted.last_fetched_epoch || end_offset < wanted.fetch_offset;
    Ok(diverges.then_some(FetchResponseEpochEndOffset { epoch, end_offset }))
}
