//! What a log keeps, and for how long.

use super::*;

fn producer(base_sequence: i32) -> BatchProducer {
    BatchProducer {
        producer_id: 5,
        producer_epoch: 0,
        base_sequence,
    }
}

#[test]
fn the_oldest_batches_go_when_a_partition_is_too_large() {
    let blob = batch(100);
    let mut options = ClusterOptions::new("test", 1);
    options.retained_bytes_max = blob.len() * 3;
    let mut sandbox = Sandbox::with(options);
    sandbox.create_topic(1, &[]);
    for (end, start) in [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)] {
        sandbox.produce(0, &blob);
        assert_eq!(sandbox.cluster.log_range("t", 0), Some(start..end));
    }
    // A batch larger than the bound is kept until the next one comes.
    sandbox.produce(0, &batch(1_000));
    assert_eq!(sandbox.cluster.log_range("t", 0), Some(5..6));
}

#[test]
fn retention_deletes_by_age_and_by_size() {
    let blob = batch(100);
    let two: &str = &(blob.len() * 2).to_string();
    let cases: [(&[(&str, &str)], i64); 6] = [
        (&[], 0),
        (&[("retention.ms", "100")], 2),
        (&[("retention.ms", "-1")], 0),
        (&[("retention.bytes", two)], 2),
        (&[("retention.bytes", "0")], 4),
        (&[("retention.ms", "100"), ("cleanup.policy", "compact")], 0),
    ];
    for (configs, expected) in cases {
        let mut sandbox = Sandbox::new(1);
        sandbox.create_topic(1, configs);
        let keyed = |time: Timestamp| {
            let mut builder = BatchBuilder::new(Compression::None);
            let record = NewRecord {
                timestamp: time.0,
                key: Some(b"k"),
                value: Some(&[7; 100]),
                ..Default::default()
            };
            builder.push(&record).unwrap();
            builder.build().unwrap().to_vec()
        };
        for age_ms in [200, 101, 100, 0] {
            sandbox.produce(0, &keyed(START.plus_ms(-age_ms)));
        }
        sandbox.cluster.apply_retention(START);
        assert_eq!(
            sandbox.cluster.log_range("t", 0),
            Some(expected..4),
            "{configs:?}"
        );
    }
}

#[test]
fn a_producer_is_forgotten_a_day_after_its_newest_record() {
    const DAY_MS: i64 = 86_400_000;
    let mut sandbox = Sandbox::new(1);
    sandbox.create_topic(1, &[]);
    // Records of three days ago: the state is old from the start, but only a check removes it.
    let old = START.plus_ms(-3 * DAY_MS);
    assert_eq!(
        sandbox.produce(0, &batch_at(old, 1, producer(0))),
        (ErrorCode::NONE, 0)
    );
    let gap = batch_at(old, 1, producer(7));
    let refused = (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
    assert_eq!(sandbox.produce(0, &gap), refused);
    sandbox.cluster.expire_producers(START);
    assert_eq!(sandbox.produce(0, &gap), (ErrorCode::NONE, 1));

    assert_eq!(
        sandbox.produce(0, &batch_at(START, 1, producer(8))),
        (ErrorCode::NONE, 2)
    );
    let gap = batch_at(START, 1, producer(100));
    sandbox.cluster.expire_producers(START.plus_ms(DAY_MS - 1));
    assert_eq!(sandbox.produce(0, &gap), refused);
    sandbox.cluster.expire_producers(START.plus_ms(DAY_MS));
    assert_eq!(sandbox.produce(0, &gap), (ErrorCode::NONE, 3));
}

#[test]
fn payloads_are_kept_where_they_arrived() {
    let mut sandbox = Sandbox::new(1);
    let topic_id = sandbox.create_topic(1, &[]);
    let blob = batch(100_000);
    let request = body(&produce(topic_id, &blob), 13);
    sandbox.cluster.handle(START, 0, &request);
    let Outcome::Reply(pieces) = sandbox.start_fetch(&fetch(topic_id, 0, 0)) else {
        panic!("no answer");
    };
    let arrived = request.as_ptr_range();
    let shared = pieces
        .iter()
        .filter(|piece| arrived.contains(&piece.as_ptr()));
    let shared: usize = shared.map(Bytes::len).sum();
    assert_eq!(shared, blob.len() - kmirror_protocol::records::HEADER_LEN);
}
