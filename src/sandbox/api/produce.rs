//! Produce: appends batches.
//!
//! Source, beside `KafkaApis.handleProduceRequest`: `ReplicaManager.appendRecords`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    messages::{
        ProduceRequest, ProduceResponse,
        leaders::{LeaderIdAndEpoch, NodeEndpoint},
        produce::{
            ProduceRequestPartition, ProduceRequestTopic, ProduceResponsePartition,
            ProduceResponseRecordError, ProduceResponseTopic,
        },
    },
    records::{Batch, LogEntry, batches},
};

use super::{Call, Cluster, Outcome, transactional_produce};
use crate::sandbox::{
    config::{TimestampType, TopicRules},
    producers::Admission,
    topic::{Partition, is_internal_topic},
    validate::{self, Rejection, Validated},
};

/// A batch that is stored, now or before.
#[derive(Clone, Copy, Debug)]
struct Stored {
    base_offset: i64,
    log_append_time_ms: i64,
    log_start_offset: i64,
}

/// What became of one partition's records.
#[derive(Debug)]
struct Appended {
    index: i32,
    result: Result<Stored, Rejection>,
    /// For errors that a known partition answered; else -1.
    log_start_offset: i64,
    /// For partitions that another broker leads.
    current_leader: LeaderIdAndEpoch,
}

/// A payload is copied out of its request when it takes less than this part of it; else a small
/// batch of a quiet partition would keep a large request in memory.
const FRAME_SHARE_MIN: usize = 16;

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &ProduceRequest<'_>,
) -> Outcome {
    let refusal = refuse_all(call, request);
    let last_entries = last_entries(request);
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for (topic_at, topic) in request.topic_data.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for (at, partition) in topic.partition_data.iter().enumerate() {
            let key = entry_key(topic, partition);
            if last_entries.get(&key) == Some(&(topic_at, at)) {
                let appended = match &refusal {
                    Some(rejection) => failed(partition.index, rejection.clone()),
                    None => append(cluster, call, request, topic, partition),
                };
                partitions.push(appended);
            }
        }
        topics.push((topic, partitions));
    }
    if request.acks == 0 {
        return unanswered(&topics);
    }
    let endpoints = endpoints(cluster, &topics);
    let topics = topics.iter();
    let topics = topics.map(|(topic, partitions)| ProduceResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: partitions.iter().map(response).collect(),
    });
    call.reply::<ProduceRequest<'_>>(&ProduceResponse {
        responses: topics.collect(),
        throttle_time_ms: 0,
        node_endpoints: endpoints,
    })
}

/// The error of every partition when the request as a whole is at fault.
///
/// One batch with the transactional bit is enough: it needs a transactional id.
fn refuse_all(call: &Call<'_>, request: &ProduceRequest<'_>) -> Option<Rejection> {
    if !matches!(request.acks, -1..=1) {
        return Some(ErrorCode::INVALID_REQUIRED_ACKS.into());
    }
    let mut partitions = request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data);
    let has_transactional = partitions.any(|partition| {
        let mut entries = batches(blob(partition));
        entries.any(|entry| {
            matches!(entry, Ok(LogEntry::Batch(batch)) if batch.header.attributes.is_transactional())
        })
    });
    if !has_transactional {
        return None;
    }
    if request.transactional_id.is_none() {
        return Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.into());
    }
    transactional_produce::ensure_one_producer(request, call.version()).err()
}

type EntryKey<'a> = (&'a str, [u8; 16], i32);

fn entry_key<'a>(
    topic: &ProduceRequestTopic<'a>,
    partition: &ProduceRequestPartition<'_>,
) -> EntryKey<'a> {
    (topic.name, topic.topic_id.0, partition.index)
}

/// Where each partition stands for the last time: Kafka collects partitions in a map, so that of
/// two entries for one partition the first is dropped without a word.
fn last_entries<'a>(request: &ProduceRequest<'a>) -> BTreeMap<EntryKey<'a>, (usize, usize)> {
    let topics = request.topic_data.iter().enumerate();
    let entries = topics.flat_map(|(topic_at, topic)| {
        let partitions = topic.partition_data.iter().enumerate();
        partitions.map(move |(at, partition)| (entry_key(topic, partition), (topic_at, at)))
    });
    entries.collect()
}

pub(super) fn blob<'a>(partition: &ProduceRequestPartition<'a>) -> &'a [u8] {
    let records = partition.records.as_ref();
    records.map_or(&[], |records| records.as_slice())
}

fn failed(index: i32, rejection: impl Into<Rejection>) -> Appended {
    Appended {
        index,
        result: Err(rejection.into()),
        log_start_offset: -1,
        current_leader: LeaderIdAndEpoch::default(),
    }
}

fn append(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &ProduceRequest<'_>,
    topic: &ProduceRequestTopic<'_>,
    partition: &ProduceRequestPartition<'_>,
) -> Appended {
    let found = if call.version() >= 13 {
        cluster.topic_by_id(topic.topic_id)
    } else {
        cluster.topic(topic.name)
    };
    let name = match found.and_then(|found| found.partition(partition.index).map(|_| found)) {
        Ok(found) => found.name.clone(),
        Err(code) => return failed(partition.index, code),
    };
    if is_internal_topic(&name) {
        return failed(partition.index, ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let batch = match validate::single_batch(blob(partition), call.version()) {
        Ok(batch) => batch,
        Err(code) => return failed(partition.index, code),
    };
    let transactional_id = request.transactional_id;
    let place = (name.as_str(), partition.index);
    match transactional_produce::verify(cluster, call, transactional_id, place, &batch.header) {
        Ok(()) => append_batch(cluster, call, &name, partition.index, &batch),
        Err(rejection) => failed(partition.index, rejection),
    }
}

fn append_batch(
    cluster: &mut Cluster,
    call: &Call<'_>,
    topic: &str,
    index: i32,
    batch: &Batch<'_>,
) -> Appended {
    let retained_bytes_max = cluster.options.retained_bytes_max;
    let Some(topic) = cluster.topics.get_mut(topic) else {
        return failed(index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let (topic_id, rules) = (topic.id, topic.config.rules().clone());
    let partition = match topic.partition_mut(index) {
        Ok(partition) => partition,
        Err(code) => return failed(index, code),
    };
    if let Err(code) = partition.ensure_led_by(call.broker_id) {
        return Appended {
            current_leader: LeaderIdAndEpoch {
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
            },
            ..failed(index, code)
        };
    }
    let stored = store(call, partition, &rules, batch, retained_bytes_max);
    let log_start_offset = partition.log.start_offset();
    if stored.is_ok() {
        cluster.parked.wake(topic_id, index);
    }
    Appended {
        index,
        log_start_offset: match &stored {
            Err(rejection) if hides_log_start(rejection.code) => -1,
            _ => log_start_offset,
        },
        result: stored,
        current_leader: LeaderIdAndEpoch::default(),
    }
}

fn store(
    call: &Call<'_>,
    partition: &mut Partition,
    rules: &TopicRules,
    batch: &Batch<'_>,
    retained_bytes_max: usize,
) -> Result<Stored, Rejection> {
    let Validated { header, rebuilt } = validate::validate(batch, rules, call.now)?;
    let log = &mut partition.log;
    let (base_offset, log_append_time_ms) = match log.producers.check(&header)? {
        Admission::Duplicate {
            first_offset,
            timestamp,
        } => (first_offset, timestamp),
        Admission::Append => {
            let payload = rebuilt.unwrap_or_else(|| keep(call, batch));
            let offset = log.append(header, payload, partition.leader_epoch);
            log.limit_bytes(retained_bytes_max);
            let is_stamped = rules.timestamp_type == TimestampType::LogAppendTime;
            (offset, if is_stamped { call.now.0 } else { -1 })
        }
    };
    Ok(Stored {
        base_offset,
        log_append_time_ms,
        log_start_offset: log.start_offset(),
    })
}

/// The errors that `ReplicaManager.appendToLocalLog` answers without the log start offset.
const fn hides_log_start(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MESSAGE_TOO_LARGE
            | ErrorCode::RECORD_LIST_TOO_LARGE
            | ErrorCode::CORRUPT_MESSAGE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
    )
}

/// The payload as it will be stored: a slice of the request, or a copy if it is a small part.
fn keep(call: &Call<'_>, batch: &Batch<'_>) -> Bytes {
    if batch.payload.len().saturating_mul(FRAME_SHARE_MIN) < call.body.len() {
        Bytes::copy_from_slice(batch.payload)
    } else {
        call.body.slice_ref(batch.payload)
    }
}

/// With `acks` 0 only a closed connection can tell the producer of an error.
fn unanswered(topics: &[(&ProduceRequestTopic<'_>, Vec<Appended>)]) -> Outcome {
    let mut partitions = topics.iter().flat_map(|(_, partitions)| partitions);
    match partitions.find_map(|partition| partition.result.as_ref().err()) {
        Some(rejection) => Outcome::Close(format!("produce with acks 0: {}", rejection.code)),
        None => Outcome::NoReply,
    }
}

/// Where the leaders of the partitions that were sent to the wrong broker listen (KIP-951).
fn endpoints<'a>(
    cluster: &'a Cluster,
    topics: &[(&ProduceRequestTopic<'_>, Vec<Appended>)],
) -> Vec<NodeEndpoint<'a>> {
    let partitions = topics.iter().flat_map(|(_, partitions)| partitions);
    let leaders = partitions.map(|partition| partition.current_leader.leader_id);
    super::node_endpoints(cluster, leaders)
}

fn response(appended: &Appended) -> ProduceResponsePartition<'_> {
    let index = appended.index;
    match &appended.result {
        Ok(stored) => ProduceResponsePartition {
            index,
            base_offset: stored.base_offset,
            log_append_time_ms: stored.log_append_time_ms,
            log_start_offset: stored.log_start_offset,
            ..Default::default()
        },
        Err(rejection) => {
            let errors = rejection.record_errors.iter();
            let errors = errors.map(|(index, message)| ProduceResponseRecordError {
                batch_index: *index,
                batch_index_error_message: Some(message),
            });
            ProduceResponsePartition {
                index,
                error_code: rejection.code,
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: appended.log_start_offset,
                record_errors: errors.collect(),
                error_message: rejection.message.as_deref(),
                current_leader: appended.current_leader.clone(),
            }
        }
    }
}
