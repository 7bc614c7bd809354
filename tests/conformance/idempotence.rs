//! Idempotent produce: rules B1 to B5 and B12 of a broker (KIP-98, KIP-360).

use kmirror_protocol::messages::describe_producers::ProducerState;

use super::broker::{Broker, Topic, sequenced};

/// A batch as (epoch, first sequence, records), and the answer as (error code, base offset).
type Step = ((i16, i32, usize), (i16, i64));

/// Sends batches of one producer one after another and compares every answer.
async fn walk(broker: &mut Broker, topic: &Topic, producer_id: i64, steps: &[Step]) {
    for (at, ((epoch, sequence, count), expected)) in steps.iter().enumerate() {
        let blob = sequenced(producer_id, *epoch, *sequence, *count);
        let produced = broker.produce(topic, &blob).await;
        assert_eq!(produced.brief(), *expected, "step {at} of {}", topic.name);
    }
}

pub(super) async fn a_producer_appends_only_what_continues_its_sequence(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("idempotence-sequence", &[]).await;
    // The id was never given out, and its first batch may have any sequence number.
    let steps = [
        ((0, 5000, 10), (0, 0)),
        ((0, 5010, 10), (0, 10)),
        ((0, 5010, 10), (0, 10)),
        ((0, 5000, 10), (0, 0)),
        ((0, 5021, 1), (45, -1)),
        ((0, 5019, 1), (45, -1)),
        ((0, 4000, 10), (45, -1)),
        ((0, 5010, 5), (45, -1)),
        ((0, 5000, 20), (45, -1)),
        ((0, 5020, 1), (0, 20)),
    ];
    walk(broker, &topic, 123_456_789, &steps).await;
}

pub(super) async fn only_the_last_five_batches_are_recognised_again(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("idempotence-five", &[]).await;
    let fresh = (0..6).map(|at| ((0, at, 1), (0, i64::from(at))));
    let again = (1..6).map(|at| ((0, at, 1), (0, i64::from(at))));
    let steps: Vec<Step> = fresh.chain(again).chain([((0, 0, 1), (45, -1))]).collect();
    let producer_id = broker.init_producer_id().await;
    walk(broker, &topic, producer_id, &steps).await;
}

pub(super) async fn sequence_numbers_wrap_inside_and_between_batches(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("idempotence-wrap", &[]).await;
    let between = [
        ((0, i32::MAX, 1), (0, 0)),
        ((0, 0, 1), (0, 1)),
        ((0, i32::MAX, 1), (0, 0)),
    ];
    walk(broker, &topic, 1_000_001, &between).await;
    let inside = [
        ((0, i32::MAX - 1, 4), (0, 2)),
        ((0, 2, 1), (0, 6)),
        ((0, i32::MAX - 1, 4), (0, 2)),
        ((0, 0, 1), (45, -1)),
    ];
    walk(broker, &topic, 1_000_002, &inside).await;
}

pub(super) async fn a_higher_producer_epoch_starts_at_sequence_zero(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("idempotence-epoch", &[]).await;
    let steps = [
        ((3, 10, 1), (0, 0)),
        ((4, 77, 1), (45, -1)),
        ((4, 11, 1), (45, -1)),
        ((4, 0, 2), (0, 1)),
        ((3, 11, 1), (47, -1)),
        ((3, 10, 1), (47, -1)),
        ((4, 2, 1), (0, 3)),
        ((9, 0, 1), (0, 4)),
    ];
    walk(broker, &topic, 1_000_003, &steps).await;
}

pub(super) async fn producer_ids_are_given_out_once(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let first = broker.init_producer_id().await;
    let second = broker.init_producer_id().await;
    assert!(first >= 0 && second > first, "{first}, then {second}");
}

pub(super) async fn the_last_sequence_of_each_producer_is_described(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("idempotence-described", &[]).await;
    walk(
        broker,
        &topic,
        2_000_001,
        &[((0, 7, 3), (0, 0)), ((0, 10, 1), (0, 3))],
    )
    .await;
    walk(
        broker,
        &topic,
        2_000_002,
        &[((5, 0, 2), (0, 4)), ((5, 9, 1), (45, -1))],
    )
    .await;
    let mut producers = broker.producers(&topic).await;
    for producer in &mut producers {
        assert!(producer.last_timestamp > 1_600_000_000_000, "{producer:?}");
        producer.last_timestamp = 0;
    }
    let state = |producer_id, producer_epoch, last_sequence| ProducerState {
        producer_id,
        producer_epoch,
        last_sequence,
        last_timestamp: 0,
        coordinator_epoch: -1,
        current_txn_start_offset: -1,
    };
    assert_eq!(producers, [state(2_000_001, 0, 10), state(2_000_002, 5, 1)]);
}
