//! Clients that go over a quota: they are told how long to wait, and are not heard meanwhile.

use kmirror_protocol::messages::{
    AlterClientQuotasRequest,
    alter_client_quotas::{EntityData, EntryData, OpData},
};

use super::*;

/// A sandbox with a topic `t` and a quota for every client.
fn limited(key: &'static str, bytes_per_second: f64) -> Sandbox {
    let mut sandbox = Sandbox::new(1);
    sandbox.create_topic(1, &[]);
    let request = AlterClientQuotasRequest {
        entries: [EntryData {
            entity: [EntityData {
                entity_type: "client-id",
                entity_name: None,
            }]
            .into(),
            ops: [OpData {
                key,
                value: bytes_per_second,
                remove: false,
            }]
            .into(),
        }]
        .into(),
        validate_only: false,
    };
    let answer = sandbox.ask(0, &request);
    assert_eq!(
        answer.decode().entries.first().unwrap().error_code,
        ErrorCode::NONE
    );
    sandbox
}

/// The answer and for how many milliseconds the connection is not read.
fn answered<R: Request>(outcome: Outcome) -> (Answer<R>, i64) {
    let (pieces, muted_ms) = match outcome {
        Outcome::Throttled { pieces, until } => (pieces, until.0 - START.0),
        Outcome::Reply(pieces) => (pieces, 0),
        other => panic!("no answer: {other:?}"),
    };
    (Answer::new(Outcome::Reply(pieces), latest::<R>()), muted_ms)
}

#[test]
fn a_producer_over_its_quota_is_served_and_then_waits() {
    let mut sandbox = limited("producer_byte_rate", 1_000.0);
    let blob = batch(4_000);
    let request = produce(sandbox.topic_id(), &blob);
    let request = body(&request, latest::<ProduceRequest<'_>>());
    let mut waits = Vec::new();
    for number in 0..4 {
        let outcome = sandbox.cluster.handle(START, 0, &request);
        let (answer, muted_ms) = answered::<ProduceRequest<'_>>(outcome);
        let answer = answer.decode();
        assert_eq!(
            answer
                .responses
                .first()
                .unwrap()
                .partition_responses
                .first()
                .unwrap()
                .base_offset,
            number
        );
        assert_eq!(i64::from(answer.throttle_time_ms), muted_ms);
        waits.push(muted_ms);
    }
    // Ten seconds' worth is free; each byte more is a millisecond.
    let over = i64::try_from(request.len()).unwrap() * 3 - 10_000;
    let more = i64::try_from(request.len()).unwrap();
    assert_eq!(waits, [0, 0, over, over + more]);
}

#[test]
fn a_consumer_over_its_quota_gets_nothing_and_waits() {
    let mut sandbox = limited("consumer_byte_rate", 1_000.0);
    for _ in 0..3 {
        sandbox.produce(0, &batch(4_000));
    }
    let request = fetch(sandbox.topic_id(), 0, 0);
    let mut fetched = |now: Timestamp| {
        sandbox.now = now;
        let (answer, muted_ms) = answered::<FetchRequest<'_>>(sandbox.start_fetch(&request));
        let answer = answer.decode();
        let topics = answer.responses.iter();
        let partitions = topics.flat_map(|topic| topic.partitions);
        let lens = partitions.map(|it| it.records.as_ref().unwrap().len());
        (lens.sum::<usize>(), answer.throttle_time_ms, muted_ms)
    };
    let (first, ..) = fetched(START);
    assert_eq!(first, 10_000, "no more than the quota of the window");
    let (second, wait_ms, muted_ms) = fetched(START);
    assert_eq!((second, i64::from(wait_ms)), (0, muted_ms));
    assert_eq!(wait_ms, 10_000, "as much again as the window holds");
    assert_eq!(
        fetched(START).1,
        wait_ms,
        "what was held back does not count"
    );
    assert_eq!(fetched(START.plus_ms(11_000)), (10_000, 0, 0));
}

#[test]
fn a_broker_can_be_told_to_throttle() {
    let mut sandbox = Sandbox::new(1);
    let topic_id = sandbox.create_topic(1, &[]);
    for ms in [250, 0] {
        sandbox.cluster.throttle(0, ms);
        let outcome = sandbox.start_fetch(&fetch(topic_id, 0, 0));
        let (answer, muted_ms) = answered::<FetchRequest<'_>>(outcome);
        assert_eq!(
            (answer.decode().throttle_time_ms, muted_ms),
            (ms, i64::from(ms))
        );
    }
}
