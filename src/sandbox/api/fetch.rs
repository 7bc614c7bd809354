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

use super::{Call, Cluster, Outcome, throttled};
use crate::sandbox::{
    acls::{Operation, Resource},
    log::Log,
    parked::{Parked, Waiting},
    quotas::Direction,
    sessions::{Answered, Asked, Context, PartitionKey},
    topic::{Partition, Topic},
};

/// The most bytes of records in one answer, whatever is asked for (`fetch.max.bytes`).
const FETCH_BYTES_MAX: usize = 55 << 20;

/// The isolation level of readers that get nothing undecided.
const READ_COMMITTED: i8 = 1;

/// From this version on consumers may read from any replica (KIP-392).
const FROM_FOLLOWER_VERSION: i16 = 11;

/// From this version on topics have ids in place of names (KIP-516).
const TOPIC_ID_VERSION: i16 = 13;

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

impl Budget {
    /// What has been read, as quotas count.
    fn read_bytes(&self) -> f64 {
        u32::try_from(self.read).map_or(f64::MAX, f64::from)
    }
}

/// Answers or parks.
pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &FetchRequest<'_>,
) -> Outcome {
    let context = match cluster.sessions.begin(call.now, asked(call, request)) {
        Ok(context) => context,
        Err(code) => return session_failed(call, code),
    };
    match attempt(cluster, call, request, context, request.max_wait_ms <= 0) {
        Ok(outcome) => outcome,
        Err(watched) => {
            let deadline = call.now.plus_ms(i64::from(request.max_wait_ms));
            cluster.parked.park(Parked {
                sent: call.sent(),
                deadline,
                watched,
                waiting: Waiting::Fetch(context),
            })
        }
    }
}

fn session_failed(call: &Call<'_>, error_code: ErrorCode) -> Outcome {
    call.reply::<FetchRequest<'_>>(&FetchResponse {
        error_code,
        ..Default::default()
    })
}

/// What a request says about its session.
fn asked(call: &Call<'_>, request: &FetchRequest<'_>) -> Asked {
    let partitions = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.into_iter();
        partitions.map(move |it| (key(topic.topic, topic.topic_id, it.partition), it))
    });
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let partitions = topic.partitions.into_iter();
        partitions.map(move |partition| key(topic.topic, topic.topic_id, partition))
    });
    Asked {
        broker_id: call.broker_id,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        uses_topic_ids: call.version() >= TOPIC_ID_VERSION,
        partitions: partitions.collect(),
        forgotten: forgotten.collect(),
    }
}

/// What has an id is known by it alone.
fn key(topic: &str, topic_id: Uuid, partition: i32) -> PartitionKey {
    PartitionKey {
        topic: if topic_id.is_zero() {
            topic.to_owned()
        } else {
            String::new()
        },
        topic_id,
        partition,
    }
}

/// Partitions one after another, those of one topic that are neighbours together.
fn by_topic(partitions: &[(PartitionKey, FetchRequestPartition)]) -> Vec<FetchRequestTopic<'_>> {
    let neighbours = partitions.chunk_by(|(a, _), (b, _)| {
        (a.topic_id, a.topic.as_str()) == (b.topic_id, b.topic.as_str())
    });
    let topics = neighbours.filter_map(|chunk| {
        let (key, _) = chunk.first()?;
        Some(FetchRequestTopic {
            topic: &key.topic,
            topic_id: key.topic_id,
            partitions: chunk.iter().map(|(_, wanted)| wanted.clone()).collect(),
        })
    });
    topics.collect()
}

/// Answers, if there is enough to answer or `must_answer`.
///
/// # Errors
///
/// The partitions to watch until there is.
pub(super) fn attempt(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &FetchRequest<'_>,
    context: Context,
    must_answer: bool,
) -> Result<Outcome, Vec<(Uuid, i32)>> {
    let wanted = match context {
        Context::Sessionless | Context::Full => asked(call, request).partitions,
        Context::Incremental {
            session_id,
            next_epoch,
        } => {
            let Cluster {
                sessions, names, ..
            } = cluster;
            match sessions.partitions(call.broker_id, session_id, next_epoch, names) {
                Ok(partitions) => partitions,
                Err(code) => return Ok(session_failed(call, code)),
            }
        }
    };
    let mut budget = Budget {
        rest: usize::try_from(request.max_bytes)
            .unwrap_or_default()
            .min(FETCH_BYTES_MAX)
            .min(quota_max(cluster, call)),
        is_empty: true,
        read: 0,
        is_urgent: false,
        watched: Vec::new(),
    };
    let mut responses = Vec::new();
    for topic in &by_topic(&wanted) {
        responses.push(read_topic(cluster, call, request, topic, &mut budget));
    }
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or_default();
    let is_enough = budget.is_urgent || budget.watched.is_empty() || budget.read >= min_bytes;
    if !is_enough && !must_answer {
        return Err(budget.watched);
    }
    let throttle_time_ms = call.throttle_ms(cluster, Direction::Fetch, budget.read_bytes());
    if throttle_time_ms > 0 && budget.read > 0 {
        return Ok(hold_back(cluster, call, context, &budget, throttle_time_ms));
    }
    let session_id = end(cluster, call, context, &wanted, &mut responses);
    let partitions = responses.iter().flat_map(|topic| &topic.partitions);
    let leaders = partitions.map(|partition| partition.current_leader.leader_id);
    let node_endpoints = super::node_endpoints(cluster, leaders);
    let outcome = call.reply::<FetchRequest<'_>>(&FetchResponse {
        throttle_time_ms,
        session_id,
        responses: responses.into(),
        node_endpoints: node_endpoints.into(),
        ..Default::default()
    });
    Ok(throttled(outcome, call.now, throttle_time_ms))
}

/// The most bytes that the client's quota lets it read at once.
fn quota_max(cluster: &Cluster, call: &Call<'_>) -> usize {
    let max = cluster.quotas.bytes_max(Direction::Fetch, call.who());
    // The conversion saturates.
    max.map_or(usize::MAX, |max| max as usize)
}

/// Answers without records somebody who went over a quota; what was read does not count.
fn hold_back(
    cluster: &mut Cluster,
    call: &Call<'_>,
    context: Context,
    budget: &Budget,
    throttle_time_ms: i32,
) -> Outcome {
    call.throttle_ms(cluster, Direction::Fetch, -budget.read_bytes());
    let outcome = call.reply::<FetchRequest<'_>>(&FetchResponse {
        throttle_time_ms,
        session_id: match context {
            Context::Incremental { session_id, .. } => session_id,
            Context::Sessionless | Context::Full => 0,
        },
        ..Default::default()
    });
    throttled(outcome, call.now, throttle_time_ms)
}

/// Opens a session or leaves out what it need not tell; answers the session's id.
fn end(
    cluster: &mut Cluster,
    call: &Call<'_>,
    context: Context,
    wanted: &[(PartitionKey, FetchRequestPartition)],
    responses: &mut Vec<FetchResponseTopic<'_>>,
) -> i32 {
    match context {
        Context::Sessionless => 0,
        Context::Full => {
            let answers = responses.iter().flat_map(|topic| &topic.partitions);
            let answered = wanted.iter().zip(answers);
            let answered = answered
                .map(|((key, wanted), answer)| (key.clone(), wanted.clone(), answered_by(&answer)));
            let answered = answered.collect();
            let kind = (call.broker_id, call.version() >= TOPIC_ID_VERSION);
            let Cluster {
                sessions,
                names,
                random,
                ..
            } = cluster;
            sessions.open(call.now, random, kind, names, answered)
        }
        Context::Incremental { session_id, .. } => {
            for topic in responses.iter_mut() {
                let (name, id) = (topic.topic, topic.topic_id);
                topic.partitions.to_mut().retain(|answer| {
                    let key = key(name, id, answer.partition_index);
                    let answered = answered_by(answer);
                    let sessions = &mut cluster.sessions;
                    sessions.is_told(call.broker_id, session_id, &key, answered)
                });
            }
            responses.retain(|topic| !topic.partitions.is_empty());
            session_id
        }
    }
}

fn answered_by(answer: &FetchResponsePartition<'_>) -> Answered {
    Answered {
        records_len: answer.records.as_ref().map_or(0, Records::len),
        high_watermark: answer.high_watermark,
        log_start_offset: answer.log_start_offset,
        is_error: !answer.error_code.is_ok(),
        is_redirect: answer.preferred_read_replica != -1
            || answer.diverging_epoch != FetchResponseEpochEndOffset::default(),
    }
}

fn read_topic<'a>(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &FetchRequest<'_>,
    wanted: &FetchRequestTopic<'a>,
    budget: &mut Budget,
) -> FetchResponseTopic<'a> {
    let found = if call.version() >= TOPIC_ID_VERSION {
        let found = cluster.topic_by_id(wanted.topic_id);
        found.map_err(|code| of_session(cluster, wanted.topic, code))
    } else {
        cluster.topic(wanted.topic)
    };
    let name = found.map_or(wanted.topic, |topic| topic.name.as_str());
    let checked = call.check(cluster, Operation::Read, Resource::Topic(name));
    // Whether there is such an id is no secret.
    let found = match (checked, found) {
        (Err(code), _) if !name.is_empty() => Err(code),
        (_, found) => found,
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

/// What is said of a topic that has gone since a session learnt its name; without a session there
/// is no name (`KafkaApis.handleFetchRequest`, `ReplicaManager.getPartitionOrError`).
fn of_session(cluster: &Cluster, learnt: &str, code: ErrorCode) -> ErrorCode {
    match learnt {
        "" => code,
        name if cluster.topics.contains_key(name) => ErrorCode::INCONSISTENT_TOPIC_ID,
        _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
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
