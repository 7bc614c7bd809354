//! Produce: appends batches.
//!
//! Source, beside `KafkaApis.handleProduceRequest`: `ReplicaManager.appendRecords`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    messages::{
        ProduceRequest, ProduceResponse,
        leaders::LeaderIdAndEpoch,
        produce::{
            ProduceRequestPartition, ProduceRequestTopic, ProduceResponsePartition,
            ProduceResponseRecordError, ProduceResponseTopic,
        },
    },
    records::{Batch, BatchHeader, LogEntry, batches},
    wire::Uuid,
};

use super::{Call, Cluster, Outcome, throttled, transactional_produce};
use crate::sandbox::{
    acls::{Operation, Resource},
    config::{TimestampType, TopicRules},
    log::Log,
    parked::{Parked, Waiting},
    producers::Admission,
    quotas::Direction,
    topic::{Partition, is_internal_topic},
    validate::{self, Rejection, Validated},
};

/// A batch that is stored, now or before.
#[derive(Clone, Copy, Debug)]
struct Stored {
    base_offset: i64,
    /// The offset after its last record.
    next_offset: i64,
    log_append_time_ms: i64,
    log_start_offset: i64,
}

/// What became of one partition's records.
#[derive(Debug)]
pub(in crate::sandbox) struct Appended {
    /// Of a topic that exists.
    topic_id: Uuid,
    index: i32,
    result: Result<Stored, Rejection>,
    /// Whether followers are still to get the records before the request is answered.
    is_awaited: bool,
    /// What went wrong after the records had been stored.
    late_error: ErrorCode,
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
    let refusal = refuse_all(cluster, call, request);
    let last_entries = last_entries(request);
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for (topic_at, topic) in request.topic_data.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for (at, partition) in topic.partition_data.iter().enumerate() {
            let key = entry_key(&topic, &partition);
            if last_entries.get(&key) == Some(&(topic_at, at)) {
                let appended = match &refusal {
                    Some(rejection) => failed(partition.index, rejection.clone()),
                    None => append(cluster, call, request, &topic, &partition),
                };
                partitions.push(appended);
            }
        }
        topics.push(partitions);
    }
    let bytes = u32::try_from(call.body.len()).map_or(f64::MAX, f64::from);
    let throttle_time_ms = call.throttle_ms(cluster, Direction::Produce, bytes);
    if request.acks == 0 {
        return unanswered(&topics);
    }
    let may_wait = request.timeout_ms > 0;
    let answer = acknowledge(
        cluster,
        call,
        request,
        (&mut topics, throttle_time_ms),
        !may_wait,
    );
    match answer {
        Some(outcome) => throttled(outcome, call.now, throttle_time_ms),
        None => cluster.parked.park(Parked {
            sent: call.sent(),
            deadline: call.now.plus_ms(i64::from(request.timeout_ms)),
            watched: awaited(&mut topics).map(|it| it.partition()).collect(),
            waiting: Waiting::Acks {
                topics,
                throttle_time_ms,
            },
        }),
    }
}

/// Answers, once in-sync replicas have all that was stored with acks -1, or if it `must_answer`.
///
/// Source: `DelayedProduce`.
pub(super) fn acknowledge(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &ProduceRequest<'_>,
    (topics, throttle_time_ms): (&mut [Vec<Appended>], i32),
    must_answer: bool,
) -> Option<Outcome> {
    let mut is_complete = true;
    for appended in awaited(topics) {
        appended.settle(cluster, call.broker_id, must_answer);
        is_complete &= !appended.is_awaited;
    }
    if !is_complete {
        return None;
    }
    let partitions = topics.iter().flatten();
    let leaders = partitions.map(|partition| partition.current_leader.leader_id);
    // Where the leaders of the partitions that were sent to the wrong broker listen (KIP-951).
    let node_endpoints = super::node_endpoints(cluster, leaders);
    let topics = request.topic_data.iter().zip(&*topics);
    let topics = topics.map(|(topic, partitions)| ProduceResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: partitions.iter().map(response).collect(),
    });
    Some(call.reply::<ProduceRequest<'_>>(&ProduceResponse {
        responses: topics.collect(),
        throttle_time_ms,
        node_endpoints: node_endpoints.into(),
    }))
}

/// The partitions whose records are not yet everywhere they must be.
fn awaited(topics: &mut [Vec<Appended>]) -> impl Iterator<Item = &mut Appended> {
    let partitions = topics.iter_mut().flatten();
    partitions.filter(|partition| partition.is_awaited)
}

impl Appended {
    const fn partition(&self) -> (Uuid, i32) {
        (self.topic_id, self.index)
    }

    /// Notes what has become of stored records, if that is known or it `must`.
    ///
    /// Source: `Partition.checkEnoughReplicasReachOffset`.
    fn settle(&mut self, cluster: &Cluster, broker_id: i32, must: bool) {
        let next_offset = self.result.as_ref().map_or(0, |stored| stored.next_offset);
        let found = cluster.topic_by_id(self.topic_id);
        let found = found.and_then(|topic| Ok((topic, topic.partition(self.index)?)));
        let Ok((topic, partition)) = found else {
            self.fail_late(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            return;
        };
        match partition.led_log(broker_id, -1) {
            Err(code) => {
                self.fail_late(code);
                self.current_leader = leader_of(partition);
            }
            Ok(log) if log.high_watermark() >= next_offset => {
                let min_isr = partition.min_isr(topic.config.rules());
                self.is_awaited = false;
                if partition.isr.len() < min_isr {
                    self.late_error = ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND;
                }
            }
            Ok(_) if must => self.fail_late(ErrorCode::REQUEST_TIMED_OUT),
            Ok(_) => {}
        }
    }

    const fn fail_late(&mut self, code: ErrorCode) {
        self.is_awaited = false;
        self.late_error = code;
    }
}

const fn leader_of(partition: &Partition) -> LeaderIdAndEpoch {
    LeaderIdAndEpoch {
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
    }
}

/// The error of every partition when the request as a whole is at fault.
///
/// One batch with the transactional bit is enough: it needs a transactional id.
fn refuse_all(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &ProduceRequest<'_>,
) -> Option<Rejection> {
    if !matches!(request.acks, -1..=1) {
        return Some(ErrorCode::INVALID_REQUIRED_ACKS.into());
    }
    let has_any = |is_so: fn(&BatchHeader) -> bool| {
        let topics = request.topic_data.iter();
        let mut partitions = topics.flat_map(|topic| topic.partition_data);
        partitions.any(|partition| {
            let mut entries = batches(blob(&partition));
            entries.any(|entry| matches!(entry, Ok(LogEntry::Batch(batch)) if is_so(&batch.header)))
        })
    };
    if !has_any(|header| header.attributes.is_transactional()) {
        let needs_right = cluster.options.profile.needs_idempotent_write();
        if needs_right && has_any(|header| header.producer_id >= 0) {
            let right = call.check(cluster, Operation::IdempotentWrite, Resource::Cluster);
            return right.err().map(Rejection::from);
        }
        return None;
    }
    let Some(id) = request.transactional_id else {
        return Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.into());
    };
    let resource = Resource::TransactionalId(id);
    if let Err(code) = call.check(cluster, Operation::Write, resource) {
        return Some(code.into());
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
        let keyed = partitions.map(|(at, it)| (entry_key(&topic, &it), (topic_at, at)));
        keyed.collect::<Vec<_>>()
    });
    entries.collect()
}

pub(super) fn blob<'a>(partition: &ProduceRequestPartition<'a>) -> &'a [u8] {
    let records = partition.records.as_ref();
    records.map_or(&[], |records| records.as_slice())
}

fn failed(index: i32, rejection: impl Into<Rejection>) -> Appended {
    Appended {
        topic_id: Uuid::ZERO,
        index,
        result: Err(rejection.into()),
        is_awaited: false,
        late_error: ErrorCode::NONE,
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
    if let Err(code) = call.check(cluster, Operation::Write, Resource::Topic(&name)) {
        return failed(partition.index, code);
    }
    if is_internal_topic(&name) {
        return failed(partition.index, ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let batch = match validate::single_batch(blob(partition), call.version()) {
        Ok(batch) => batch,
        Err(code) => return failed(partition.index, code),
    };
    let (id, place) = (request.transactional_id, (name.as_str(), partition.index));
    match transactional_produce::verify(cluster, call, id, place, &batch.header) {
        Ok(()) => append_batch(cluster, call, place, &batch, request.acks),
        Err(rejection) => failed(partition.index, rejection),
    }
}

fn append_batch(
    cluster: &mut Cluster,
    call: &Call<'_>,
    (topic, index): (&str, i32),
    batch: &Batch<'_>,
    acks: i16,
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
    if let Err(code) = partition.led_log(call.broker_id, -1) {
        return Appended {
            current_leader: leader_of(partition),
            ..failed(index, code)
        };
    }
    let stored = if acks == -1 && partition.isr.len() < partition.min_isr(&rules) {
        Err(ErrorCode::NOT_ENOUGH_REPLICAS.into())
    } else {
        store(call, partition, &rules, batch, retained_bytes_max)
    };
    let log_start_offset = partition.log().map_or(-1, Log::start_offset);
    if stored.is_ok() {
        cluster.parked.wake(topic_id, index);
    }
    Appended {
        topic_id,
        index,
        is_awaited: acks == -1 && stored.is_ok(),
        late_error: ErrorCode::NONE,
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
    let leader_epoch = partition.leader_epoch;
    let log = partition.led_log_mut(call.broker_id)?;
    match log.producers.check(&header)? {
        Admission::Duplicate {
            first_offset,
            last_offset,
            timestamp,
        } => Ok(Stored {
            base_offset: first_offset,
            next_offset: last_offset.saturating_add(1),
            log_append_time_ms: timestamp,
            log_start_offset: log.start_offset(),
        }),
        Admission::Append => {
            let payload = rebuilt.unwrap_or_else(|| keep(call, batch));
            let base_offset = log.append(header, payload, leader_epoch);
            log.limit_bytes(retained_bytes_max);
            let is_stamped = rules.timestamp_type == TimestampType::LogAppendTime;
            let stored = Stored {
                base_offset,
                next_offset: log.end_offset(),
                log_append_time_ms: if is_stamped { call.now.0 } else { -1 },
                log_start_offset: log.start_offset(),
            };
            partition.replicate(rules);
            Ok(stored)
        }
    }
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
fn unanswered(topics: &[Vec<Appended>]) -> Outcome {
    let mut partitions = topics.iter().flatten();
    match partitions.find_map(|partition| partition.result.as_ref().err()) {
        Some(rejection) => Outcome::Close(format!("produce with acks 0: {}", rejection.code)),
        None => Outcome::NoReply,
    }
}

fn response(appended: &Appended) -> ProduceResponsePartition<'_> {
    let index = appended.index;
    match &appended.result {
        Ok(stored) => ProduceResponsePartition {
            index,
            error_code: appended.late_error,
            current_leader: appended.current_leader.clone(),
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
