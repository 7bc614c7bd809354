//! What readers see of transactions: last stable offset, markers, aborted transactions.

use kmirror_protocol::records::{
    Attributes, BatchBuilder, BatchHeader, Compression, ControlType, EndTxnMarker, NewRecord,
    records,
};

use super::{
    broker::{Broker, Topic, batch, record},
    now_ms,
    transactional::{ADDING, END_V1, Producer, Read, VERIFYING},
};

const UNCOMMITTED: i8 = 0;
const COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const MAX_TIMESTAMP: i64 = -3;

fn seen(ends: (i64, i64), aborted: Option<&[(i64, i64)]>, batches: &[i64]) -> Read {
    Read {
        code: 0,
        high_watermark: ends.0,
        last_stable_offset: ends.1,
        aborted: aborted.map(<[_]>::to_vec),
        batches: batches.to_vec(),
    }
}

/// The control record that a batch holds.
fn marker(header: &BatchHeader, payload: &[u8]) -> (ControlType, EndTxnMarker) {
    assert_eq!((header.record_count, header.last_offset_delta), (1, 0));
    let record = records(payload, 1).next().unwrap().unwrap();
    let control = ControlType::parse(record.key.unwrap()).unwrap();
    (control, EndTxnMarker::parse(record.value.unwrap()).unwrap())
}

pub(super) async fn a_transaction_is_hidden_until_it_commits(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-commit", &[]).await;
    let mut producer = broker.producer("txn-commit").await;
    let blob = producer.batch(0, 3);
    assert_eq!(broker.write(ADDING, &producer, &topic, &blob).await, (0, 0));
    let open = [
        broker.read(&topic, UNCOMMITTED, 0).await,
        broker.read(&topic, COMMITTED, 0).await,
        broker.read(&topic, COMMITTED, 3).await,
    ];
    assert_eq!(
        open,
        [
            seen((3, 0), None, &[0]),
            seen((3, 0), Some(&[]), &[]),
            seen((3, 0), Some(&[]), &[]),
        ]
    );
    let latest = [
        broker.offset_of(&topic, UNCOMMITTED, LATEST).await,
        broker.offset_of(&topic, COMMITTED, LATEST).await,
        broker.offset_of(&topic, COMMITTED, MAX_TIMESTAMP).await,
        broker.offset_of(&topic, COMMITTED, 0).await,
    ];
    assert_eq!(latest, [(0, 3, -1), (0, 0, -1), (0, -1, -1), (0, -1, -1)]);
    broker.end(&mut producer, true).await;
    let ended = [
        broker.read(&topic, UNCOMMITTED, 0).await,
        broker.read(&topic, COMMITTED, 0).await,
        broker.read(&topic, COMMITTED, 4).await,
    ];
    assert_eq!(
        ended,
        [
            seen((4, 4), None, &[0, 3]),
            seen((4, 4), Some(&[]), &[0, 3]),
            seen((4, 4), Some(&[]), &[]),
        ]
    );
    assert_eq!(
        broker.offset_of(&topic, COMMITTED, LATEST).await,
        (0, 4, -1)
    );
}

pub(super) async fn a_marker_is_a_control_batch_of_one_record(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let stamped = [("message.timestamp.type", "LogAppendTime")];
    let packed = [("compression.type", "gzip")];
    let topics = [
        ("txn-marker", &[][..]),
        ("txn-marker-stamped", &stamped),
        ("txn-marker-packed", &packed),
    ];
    let mut producer = broker.producer("txn-marker").await;
    for (name, configs) in topics {
        let topic = broker.create_topic(name, configs).await;
        let stamp = if name == "txn-marker-stamped" {
            Attributes::LOG_APPEND_TIME
        } else {
            0
        };
        for (committed, control) in [(true, ControlType::Commit), (false, ControlType::Abort)] {
            let blob = producer.batch(0, 2);
            let (code, offset) = broker.write(ADDING, &producer, &topic, &blob).await;
            assert_eq!(code, 0, "{name}");
            broker.end(&mut producer, committed).await;
            let (header, payload) = broker.raw(&topic, offset + 2).await;
            assert_eq!(
                header.attributes.0,
                Attributes::TRANSACTIONAL | Attributes::CONTROL | stamp,
                "{name}"
            );
            // The marker bears the epoch that the producer is to go on with.
            let of = header.producer();
            assert_eq!(
                (of.producer_id, of.producer_epoch, of.base_sequence),
                (producer.id, producer.epoch, -1),
                "{name}"
            );
            assert_eq!(header.partition_leader_epoch, 0, "{name}");
            assert!((now_ms() - header.max_timestamp).abs() < 60_000, "{name}");
            let (found, value) = marker(&header, &payload);
            assert_eq!(found, control, "{name}");
            assert_eq!((value.version, value.coordinator_epoch), (0, 0), "{name}");
        }
    }
}

pub(super) async fn aborted_transactions_are_listed_as_far_as_the_range_goes(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-interleaved", &[]).await;
    let mut a = broker.producer("txn-interleaved-a").await;
    let mut b = broker.producer("txn-interleaved-b").await;
    let mut c = broker.producer("txn-interleaved-c").await;
    let mut stable = Vec::new();
    write(broker, &a, &topic, 0).await;
    assert_eq!(broker.produce(&topic, &plain()).await.brief(), (0, 1));
    write(broker, &b, &topic, 0).await;
    write(broker, &a, &topic, 1).await;
    stable.push(broker.offset_of(&topic, COMMITTED, LATEST).await.1);
    let (a_id, b_id, c_id) = (a.id, b.id, c.id);
    broker.end(&mut b, false).await;
    stable.push(broker.offset_of(&topic, COMMITTED, LATEST).await.1);
    write(broker, &c, &topic, 0).await;
    broker.end(&mut a, false).await;
    stable.push(broker.offset_of(&topic, COMMITTED, LATEST).await.1);
    // Offsets so far: a, plain, b, a, abort of b, c, abort of a.
    let while_open = broker.read(&topic, COMMITTED, 0).await;
    write(broker, &b, &topic, 0).await;
    broker.end(&mut c, true).await;
    stable.push(broker.offset_of(&topic, COMMITTED, LATEST).await.1);
    broker.end(&mut b, false).await;
    stable.push(broker.offset_of(&topic, COMMITTED, LATEST).await.1);
    assert_eq!(stable, [0, 0, 5, 7, 10], "of {a_id}, {b_id}, {c_id}");
    let both = [(b_id, 2), (a_id, 0)];
    assert_eq!(
        while_open,
        seen((7, 5), Some(&both), &[0, 1, 2, 3, 4]),
        "while c is open"
    );
    let mut lists = Vec::new();
    for offset in 0..10 {
        lists.push(broker.read(&topic, COMMITTED, offset).await.aborted);
    }
    let (first_b, first_a, second_b) = ((b_id, 2), (a_id, 0), (b_id, 7));
    let all = Some(vec![first_b, first_a, second_b]);
    let two = Some(vec![first_a, second_b]);
    let one = Some(vec![second_b]);
    let expected = [&all, &all, &all, &all, &all, &two, &two, &one, &one, &one];
    assert_eq!(lists, expected.map(Clone::clone));
}

async fn write(broker: &mut Broker, producer: &Producer, topic: &Topic, sequence: i32) {
    let blob = producer.batch(sequence, 1);
    let (code, _) = broker.write(ADDING, producer, topic, &blob).await;
    assert_eq!(code, 0, "{producer:?}");
}

fn plain() -> Vec<u8> {
    batch(Compression::None, 1).to_vec()
}

/// A batch of one record with a value of `len` bytes.
fn long(len: usize) -> kmirror_protocol::records::BuiltBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    let value = vec![b'x'; len];
    let record = NewRecord {
        value: Some(&value),
        ..record(now_ms())
    };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}

pub(super) async fn a_limited_range_lists_what_its_index_entry_covers(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-index", &[]).await;
    let mut producer = broker.producer("txn-index").await;
    let first_id = producer.id;
    for _ in 0..8 {
        let blob = producer.wrap(&long(3000), 0);
        let (code, _) = broker.write(ADDING, &producer, &topic, &blob).await;
        assert_eq!(code, 0);
        broker.end(&mut producer, false).await;
    }
    assert_eq!(producer.id, first_id);
    let mut firsts = Vec::new();
    for (offset, max_bytes) in [(0, 1), (0, 4000), (0, 10_000), (4, 1), (5, 100), (9, 7000)] {
        let read = broker
            .read_bytes(&topic, COMMITTED, offset, max_bytes)
            .await;
        let aborted = read.aborted.unwrap().into_iter();
        firsts.push(aborted.map(|(_, first)| first).collect::<Vec<_>>());
    }
    let expected: [&[i64]; 6] = [
        &[0, 2],
        &[0, 2],
        &[0, 2, 4, 6],
        &[4, 6],
        &[4, 6],
        &[8, 10, 12, 14],
    ];
    assert_eq!(firsts, expected.map(<[_]>::to_vec));
}

pub(super) async fn an_empty_transaction_takes_one_offset_per_partition(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let left = broker.create_topic("txn-empty-left", &[]).await;
    let right = broker.create_topic("txn-empty-right", &[]).await;
    let mut producer = broker.producer("txn-empty").await;
    let partitions = [(left.name, 0), (right.name, 0)];
    for round in 1..=3 {
        let added = broker.add_in(3, &producer, &partitions).await;
        assert_eq!(added, [0, 0]);
        broker.end(&mut producer, round != 2).await;
        for topic in [&left, &right] {
            let batches: Vec<i64> = (0..round).collect();
            let read = broker.read(topic, COMMITTED, 0).await;
            assert_eq!(read, seen((round, round), Some(&[]), &batches));
        }
    }
    let states = broker.producers(&left).await;
    let state = states.first().unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(state.producer_id, producer.id);
    assert_eq!(state.producer_epoch, i32::from(producer.epoch));
    assert_eq!(
        (
            state.last_sequence,
            state.coordinator_epoch,
            state.current_txn_start_offset
        ),
        (-1, 0, -1)
    );
}

pub(super) async fn sequences_restart_where_the_epoch_is_bumped(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-sequences", &[]).await;
    let mut producer = broker.producer("txn-sequences").await;
    // A producer that is new to the partition begins at 0, but only in the new protocol.
    let late = producer.batch(5, 1);
    let mut seen = vec![broker.write(ADDING, &producer, &topic, &late).await];
    let blob = producer.batch(0, 2);
    seen.push(broker.write(ADDING, &producer, &topic, &blob).await);
    broker.end(&mut producer, true).await;
    for sequence in [2, 0, 0, 1] {
        let blob = producer.batch(sequence, 1);
        seen.push(broker.write(ADDING, &producer, &topic, &blob).await);
    }
    assert_eq!(seen, [(45, -1), (0, 0), (45, -1), (0, 3), (0, 3), (0, 4)]);
    broker.end(&mut producer, true).await;
    // The old protocol keeps the epoch, so sequences go on.
    let old = broker.create_topic("txn-sequences-old", &[]).await;
    assert_eq!(broker.add(&producer, &old).await, [0]);
    let mut seen = Vec::new();
    for sequence in [7, 8] {
        let blob = producer.batch(sequence, 1);
        seen.push(broker.write(VERIFYING, &producer, &old, &blob).await);
    }
    assert_eq!(broker.end_in(END_V1, &producer, true).await.0, 0);
    assert_eq!(broker.add(&producer, &old).await, [0]);
    for sequence in [9, 0] {
        let blob = producer.batch(sequence, 1);
        seen.push(broker.write(VERIFYING, &producer, &old, &blob).await);
    }
    assert_eq!(seen, [(0, 0), (0, 1), (0, 3), (45, -1)]);
    assert_eq!(broker.end_in(END_V1, &producer, false).await.0, 0);
    let (header, _) = broker.raw(&old, 4).await;
    assert_eq!(header.producer_epoch, producer.epoch);
}

pub(super) async fn times_lead_to_markers_too(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-times", &[]).await;
    let mut producer = broker.producer("txn-times").await;
    let early = now_ms() - 1000;
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&record(early)).unwrap();
    let blob = producer.wrap(&builder.build().unwrap(), 0);
    assert_eq!(broker.write(ADDING, &producer, &topic, &blob).await.0, 0);
    broker.end(&mut producer, false).await;
    let (header, _) = broker.raw(&topic, 1).await;
    let written_at = header.max_timestamp;
    for isolation in [UNCOMMITTED, COMMITTED] {
        let found = [
            broker.offset_of(&topic, isolation, early).await,
            broker.offset_of(&topic, isolation, early + 1).await,
            broker.offset_of(&topic, isolation, MAX_TIMESTAMP).await,
        ];
        assert_eq!(
            found,
            [(0, 0, early), (0, 1, written_at), (0, 1, written_at)],
            "isolation {isolation}"
        );
    }
}
