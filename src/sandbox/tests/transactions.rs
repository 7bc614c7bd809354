//! Transactions in virtual time: timeouts, used-up epochs, commanded faults, random interleavings.

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::{
    messages::{
        AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
        InitProducerIdRequest, add_partitions_to_txn::AddPartitionsToTxnTopic,
    },
    records::{Attributes, ControlType, LogEntry, batches, records},
};
use proptest::prelude::*;

use super::*;
use crate::sandbox::transactions::ProducerIdAndEpoch;

const TIMEOUT_MS: i32 = 10_000;
const END_V1: i16 = 4;
const END_V2: i16 = 5;

impl Sandbox {
    fn init(&mut self, transactional_id: &str) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
        };
        let answer = self.ask(0, &request);
        let answer = answer.decode();
        answer.error_code.ok().map(|()| ProducerIdAndEpoch {
            id: answer.producer_id,
            epoch: answer.producer_epoch,
        })
    }

    fn end(
        &mut self,
        version: i16,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        committed: bool,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let request = EndTxnRequest {
            transactional_id,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed,
        };
        let answer = self.ask_in(version, 0, &request);
        let answer = answer.decode();
        answer.error_code.ok().map(|()| match version {
            END_V2 => ProducerIdAndEpoch {
                id: answer.producer_id,
                epoch: answer.producer_epoch,
            },
            _ => producer,
        })
    }

    fn add(&mut self, transactional_id: &str, producer: ProducerIdAndEpoch) -> i16 {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: transactional_id,
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: [AddPartitionsToTxnTopic {
                name: "t",
                partitions: vec![0].into(),
            }]
            .into_iter()
            .collect(),
        };
        let answer = self.ask(0, &request);
        let response = answer.decode();
        let mut topics = response.results_by_topic_v3_and_below.iter();
        let topic = topics.next().unwrap();
        let partition = topic.results_by_partition.iter().next().unwrap();
        partition.partition_error_code
    }

    /// Produces a batch of a transaction to `t`: error code and base offset.
    fn write(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        sequence: i32,
    ) -> (ErrorCode, i64) {
        let mut builder = BatchBuilder::new(Compression::None)
            .producer(BatchProducer {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                base_sequence: sequence,
            })
            .flags(Attributes::TRANSACTIONAL);
        let record = NewRecord {
            timestamp: self.now.0,
            ..Default::default()
        };
        builder.push(&record).unwrap();
        let blob = builder.build().unwrap().to_vec();
        let request = ProduceRequest {
            transactional_id: Some(transactional_id),
            ..produce(self.topic_id(), &blob)
        };
        let answer = self.ask(0, &request);
        let response = answer.decode();
        let topic = response.responses.iter().next().unwrap();
        let partition = topic.partition_responses.iter().next().unwrap();
        (partition.error_code, partition.base_offset)
    }

    fn state(&mut self, transactional_id: &str) -> String {
        let request = DescribeTransactionsRequest {
            transactional_ids: [transactional_id].into_iter().collect(),
        };
        let answer = self.ask(0, &request);
        let response = answer.decode();
        let state = response.transaction_states.iter().next().unwrap();
        state.transaction_state.to_owned()
    }

    /// Log end and last stable offset of `t`.
    fn ends(&self) -> (i64, i64) {
        let log = self.cluster.partition("t", 0).unwrap().log().unwrap();
        (log.end_offset(), log.last_stable_offset())
    }
}

fn sandbox_of_level(transaction_version: i16) -> Sandbox {
    let mut options = ClusterOptions::new("test", 1);
    options.transaction_version = transaction_version;
    let mut sandbox = Sandbox::with(options);
    sandbox.create_topic(1, &[]);
    sandbox
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    for (level, epoch) in [(0, 1), (1, 1), (2, 1)] {
        let mut sandbox = sandbox_of_level(level);
        let producer = sandbox.init("a").unwrap();
        assert_eq!(sandbox.write("a", producer, 0), (ErrorCode::NONE, 0));
        let due = START.plus_ms(i64::from(TIMEOUT_MS) + 1);
        assert_eq!(sandbox.cluster.deadline(), Some(due));
        sandbox.now = due.plus_ms(-1);
        sandbox.cluster.poll(sandbox.now);
        assert_eq!(sandbox.ends(), (1, 0), "level {level}");
        sandbox.now = due;
        sandbox.cluster.poll(sandbox.now);
        assert_eq!(sandbox.ends(), (2, 2), "level {level}");
        assert_eq!(sandbox.cluster.deadline(), None);
        assert_eq!(sandbox.state("a"), "CompleteAbort");
        // Its producer is shut out and has to begin again.
        let refused = sandbox.write("a", producer, 1).0;
        assert_eq!(refused, ErrorCode::INVALID_PRODUCER_EPOCH, "level {level}");
        let next = sandbox.init("a").unwrap();
        assert_eq!((next.id, next.epoch), (producer.id, epoch + 1));
    }
}

#[test]
fn used_up_epochs_lead_to_a_new_producer_id() {
    let mut sandbox = sandbox_of_level(2);
    let first = sandbox.init("a").unwrap();
    let mut producer = first;
    while producer.epoch < i16::MAX - 1 {
        producer = sandbox.end(END_V2, "a", producer, false).unwrap();
        assert_eq!(producer.id, first.id);
    }
    // The marker of the last epoch bears the one that is never given out.
    assert_eq!(sandbox.add("a", producer), 0);
    let last = producer;
    let next = sandbox.end(END_V2, "a", last, true).unwrap();
    assert_eq!((next.id, next.epoch), (first.id + 1, 0));
    let log = sandbox.cluster.partition("t", 0).unwrap().log().unwrap();
    let (id, marked) = log.producers.iter().next().unwrap();
    assert_eq!((id, marked.epoch), (first.id, i16::MAX));
    // A retry gets the same answer.
    assert_eq!(sandbox.end(END_V2, "a", last, true), Ok(next));
    let refused = sandbox.end(END_V2, "a", last, false);
    assert_eq!(refused, Err(ErrorCode::INVALID_TXN_STATE));

    let mut sandbox = sandbox_of_level(1);
    let first = sandbox.init("a").unwrap();
    let mut producer = first;
    while producer.id == first.id {
        assert!(producer.epoch < i16::MAX);
        producer = sandbox.init("a").unwrap();
    }
    assert_eq!((producer.id, producer.epoch), (first.id + 1, 0));
}

#[test]
fn markers_can_be_held_back_and_released() {
    let mut sandbox = sandbox_of_level(2);
    let producer = sandbox.init("a").unwrap();
    sandbox.cluster.hold_markers("a");
    assert_eq!(sandbox.write("a", producer, 0), (ErrorCode::NONE, 0));
    let next = sandbox.end(END_V2, "a", producer, true).unwrap();
    assert_eq!(sandbox.ends(), (1, 0));
    assert_eq!(sandbox.state("a"), "PrepareCommit");
    let busy = Err(ErrorCode::CONCURRENT_TRANSACTIONS);
    assert_eq!(sandbox.init("a"), busy);
    assert_eq!(sandbox.end(END_V2, "a", producer, true), busy);
    let other_way = sandbox.end(END_V2, "a", producer, false);
    assert_eq!(other_way, Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(sandbox.add("a", next), ErrorCode::CONCURRENT_TRANSACTIONS.0);
    let refused = sandbox.write("a", next, 0).0;
    assert_eq!(refused, ErrorCode::CONCURRENT_TRANSACTIONS);
    sandbox.cluster.release_markers(sandbox.now, "a");
    assert_eq!(sandbox.ends(), (2, 2));
    assert_eq!(sandbox.state("a"), "CompleteCommit");
    assert_eq!(sandbox.write("a", next, 0), (ErrorCode::NONE, 2));
}

#[test]
fn a_marker_that_is_lost_before_it_is_committed_is_written_again() {
    let mut sandbox = Sandbox::new(2);
    sandbox.create_topic(2, &[]);
    // Coordinated by broker 0.
    let id = "test";
    let producer = sandbox.init(id).unwrap();
    assert_eq!(sandbox.write(id, producer, 0), (ErrorCode::NONE, 0));
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    sandbox.end(END_V2, id, producer, true).unwrap();
    // The leader has it, and nobody else: readers wait, and so does the producer.
    assert_eq!(sandbox.state(id), "PrepareCommit");
    assert_eq!(sandbox.ends().0, 2);
    assert_eq!(sandbox.init(id), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    sandbox.cluster.elect_leader("t", 0, 1).unwrap();
    sandbox.cluster.catch_up("t", 0, 1).unwrap();
    sandbox.cluster.poll(sandbox.now);
    assert_eq!(sandbox.state(id), "CompleteCommit");
    assert_eq!(sandbox.ends(), (2, 2));
    sandbox.cluster.stop_broker(1);
    sandbox.cluster.poll(sandbox.now);
    assert_eq!(sandbox.ends(), (2, 2));
    let next = sandbox.init(id).unwrap();
    assert_eq!(next.epoch, producer.epoch + 2);
}

#[test]
fn a_partition_without_leader_gets_its_marker_from_the_next() {
    let mut sandbox = Sandbox::new(2);
    sandbox.create_topic(1, &[]);
    let leader = sandbox.cluster.leader("t", 0).unwrap();
    let id = if leader == 1 { "test" } else { "a" };
    let coordinator = 1 - leader;
    let ask = |sandbox: &mut Sandbox, committed| {
        let request = EndTxnRequest {
            transactional_id: id,
            producer_id: 0,
            producer_epoch: 0,
            committed,
        };
        sandbox
            .ask_in(END_V1, coordinator, &request)
            .decode()
            .error_code
    };
    let init = InitProducerIdRequest {
        transactional_id: Some(id),
        transaction_timeout_ms: TIMEOUT_MS,
        producer_id: -1,
        producer_epoch: -1,
    };
    let granted = sandbox.ask(coordinator, &init);
    assert_eq!(granted.decode().producer_id, 0);
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id,
        v3_and_below_producer_id: 0,
        v3_and_below_producer_epoch: 0,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: "t",
            partitions: vec![0].into(),
        }]
        .into(),
    };
    sandbox.ask(coordinator, &request);
    sandbox.cluster.stop_broker(leader);
    assert_eq!(ask(&mut sandbox, true), ErrorCode::NONE);
    assert_eq!(ask(&mut sandbox, true), ErrorCode::CONCURRENT_TRANSACTIONS);
    sandbox.cluster.start_broker(leader);
    assert_eq!(ask(&mut sandbox, true), ErrorCode::NONE);
    assert_eq!(sandbox.ends(), (1, 1));
}

#[test]
fn a_forgotten_transaction_hangs() {
    let mut sandbox = sandbox_of_level(2);
    let producer = sandbox.init("a").unwrap();
    assert_eq!(sandbox.write("a", producer, 0), (ErrorCode::NONE, 0));
    sandbox.cluster.forget_transaction("a");
    sandbox.now = sandbox.now.plus_ms(1 << 40);
    sandbox.cluster.poll(sandbox.now);
    assert_eq!(sandbox.ends(), (1, 0));
    let gone = sandbox.end(END_V2, "a", producer, false);
    assert_eq!(gone, Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
    // Its producer is not forgotten by the log, though its record is old.
    sandbox.cluster.expire_producers(sandbox.now);
    assert_eq!(sandbox.ends(), (1, 0));
    let stranger = sandbox.init("a").unwrap();
    assert_ne!(stranger.id, producer.id);
    assert_eq!(sandbox.write("a", stranger, 0), (ErrorCode::NONE, 1));
    sandbox.end(END_V2, "a", stranger, true).unwrap();
    assert_eq!(sandbox.ends(), (3, 0));
}

#[test]
fn only_the_coordinator_answers() {
    let mut sandbox = Sandbox::new(3);
    let request = InitProducerIdRequest {
        transactional_id: Some("a"),
        transaction_timeout_ms: TIMEOUT_MS,
        producer_id: -1,
        producer_epoch: -1,
    };
    let mut codes = BTreeMap::new();
    for broker_id in 0..3 {
        let answer = sandbox.ask(broker_id, &request);
        *codes.entry(answer.decode().error_code).or_insert(0) += 1;
    }
    let expected = BTreeMap::from([(ErrorCode::NONE, 1), (ErrorCode::NOT_COORDINATOR, 2)]);
    assert_eq!(codes, expected);
}

/// What one of three transactional producers, or a plain one, does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    WritePlain,
    End(usize, bool),
    /// A new incarnation, which aborts what is open.
    Restart(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_usize).prop_map(Step::Write),
        1 => Just(Step::WritePlain),
        3 => (0..3_usize, any::<bool>()).prop_map(|(at, commit)| Step::End(at, commit)),
        1 => (0..3_usize).prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

/// One producer, and the offsets that its open transaction has written.
struct Writer {
    transactional_id: &'static str,
    producer: ProducerIdAndEpoch,
    sequence: i32,
    open: Vec<i64>,
}

/// What readers must see, worked out from the steps alone.
#[derive(Default)]
struct Reference {
    committed: BTreeSet<i64>,
}

fn run(sandbox: &mut Sandbox, version: i16, steps: &[Step]) -> (Vec<Writer>, Reference) {
    let mut reference = Reference::default();
    let mut writers = Vec::new();
    for transactional_id in ["a", "b", "c"] {
        writers.push(Writer {
            transactional_id,
            producer: sandbox.init(transactional_id).unwrap(),
            sequence: 0,
            open: Vec::new(),
        });
    }
    for step in steps {
        match *step {
            Step::WritePlain => {
                let (code, offset) = sandbox.produce(0, &batch(1));
                assert_eq!(code, ErrorCode::NONE);
                reference.committed.insert(offset);
            }
            Step::Write(at) => {
                let writer = &mut writers[at];
                let id = writer.transactional_id;
                let written = sandbox.write(id, writer.producer, writer.sequence);
                assert_eq!(written.0, ErrorCode::NONE, "{step:?}");
                writer.sequence += 1;
                writer.open.push(written.1);
            }
            Step::End(at, committed) => {
                let writer = &mut writers[at];
                if writer.open.is_empty() {
                    continue;
                }
                let id = writer.transactional_id;
                let next = sandbox.end(version, id, writer.producer, committed);
                let next = next.unwrap();
                if next != writer.producer {
                    writer.sequence = 0;
                }
                writer.producer = next;
                let written = std::mem::take(&mut writer.open);
                if committed {
                    reference.committed.extend(written);
                }
            }
            Step::Restart(at) => {
                let writer = &mut writers[at];
                let mut producer = sandbox.init(writer.transactional_id);
                if producer.is_err() {
                    producer = sandbox.init(writer.transactional_id);
                }
                writer.producer = producer.unwrap();
                writer.sequence = 0;
                writer.open.clear();
            }
        }
        let oldest = writers.iter().filter_map(|it| it.open.first()).min();
        let (end, stable) = sandbox.ends();
        assert_eq!(stable, *oldest.unwrap_or(&end), "{step:?}");
    }
    (writers, reference)
}

/// Reads all that is decided, a few bytes at a time, and leaves out what readers must leave out.
fn read_committed(sandbox: &mut Sandbox, len_max: i32) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    let mut offset = 0;
    loop {
        let mut request = fetch(sandbox.topic_id(), offset, 0);
        request.isolation_level = 1;
        request.max_bytes = len_max;
        let answer = sandbox.ask(0, &request);
        let response = answer.decode();
        let topic = response.responses.iter().next().unwrap();
        let partition = topic.partitions.iter().next().unwrap();
        let aborted = partition.aborted_transactions.as_ref().unwrap();
        let mut aborted: Vec<(i64, i64)> = aborted
            .iter()
            .map(|it| (it.first_offset, it.producer_id))
            .collect();
        aborted.sort_unstable();
        let blob = partition.records.as_ref().unwrap().as_slice().to_vec();
        let before = offset;
        offset = visible(&blob, offset, aborted, &mut seen);
        if offset == before {
            return seen;
        }
    }
}

/// What a client sees of one answer (`CompletedFetch`), and where it goes on.
fn visible(
    blob: &[u8],
    mut offset: i64,
    aborted: Vec<(i64, i64)>,
    seen: &mut BTreeSet<i64>,
) -> i64 {
    let mut to_come = aborted.into_iter().peekable();
    let mut skipped = BTreeSet::new();
    for entry in batches(blob) {
        let Ok(LogEntry::Batch(batch)) = entry else {
            break;
        };
        let header = batch.header;
        while let Some((_, producer_id)) =
            to_come.next_if(|(first, _)| *first <= header.last_offset())
        {
            skipped.insert(producer_id);
        }
        if header.attributes.is_control() {
            let record = records(batch.payload, 1).next().unwrap().unwrap();
            if ControlType::parse(record.key.unwrap()) == Ok(ControlType::Abort) {
                skipped.remove(&header.producer_id);
            }
        } else if !header.attributes.is_transactional() || !skipped.contains(&header.producer_id) {
            seen.extend((header.base_offset..=header.last_offset()).filter(|it| *it >= offset));
        }
        offset = header.next_offset();
    }
    offset
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn readers_see_exactly_what_was_committed(
        steps in steps(),
        level in prop_oneof![Just((1_i16, END_V1)), Just((2, END_V2))],
        len_max in 1..2000_i32,
    ) {
        let mut sandbox = sandbox_of_level(level.0);
        let (writers, reference) = run(&mut sandbox, level.1, &steps);
        let stable = sandbox.ends().1;
        let decided: BTreeSet<i64> = reference.committed.range(..stable).copied().collect();
        prop_assert_eq!(read_committed(&mut sandbox, len_max), decided);
        for writer in &writers {
            if !writer.open.is_empty() {
                let id = writer.transactional_id;
                sandbox.end(level.1, id, writer.producer, false).unwrap();
            }
        }
        let all = reference.committed.clone();
        prop_assert_eq!(read_committed(&mut sandbox, len_max), all);
    }
}
