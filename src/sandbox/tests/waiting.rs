//! Fetches that wait, in virtual time (KIP-74, `DelayedFetch`).

use kmirror_protocol::{
    ErrorCode,
    messages::{DeleteTopicsRequest, FetchRequest, delete_topics::DeleteTopicState},
};

use super::*;
use crate::sandbox::Ticket;

/// A sandbox with a topic `t`, and a fetch of its end that waits 500 ms.
fn waiting(min_bytes: i32) -> (Sandbox, Ticket) {
    let mut sandbox = Sandbox::new(2);
    let topic_id = sandbox.create_topic(1, &[]);
    let request = FetchRequest {
        min_bytes,
        ..fetch(topic_id, 0, 500)
    };
    let outcome = sandbox.start_fetch(&request);
    let Outcome::Parked { ticket, deadline } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(deadline, START.plus_ms(500));
    assert_eq!(sandbox.cluster.deadline(), Some(deadline));
    assert_eq!(sandbox.cluster.poll(START), []);
    (sandbox, ticket)
}

/// The answers that are due now: ticket, error code and how many bytes of records.
fn poll(sandbox: &mut Sandbox) -> Vec<(Ticket, ErrorCode, usize)> {
    let answers = sandbox.cluster.poll(sandbox.now).into_iter();
    let answers = answers.map(|(ticket, outcome)| {
        let answer: Answer<FetchRequest<'_>> = Answer::new(outcome, 17);
        let partition = answer.partition();
        (
            ticket,
            partition.error_code,
            partition.records.unwrap().len(),
        )
    });
    answers.collect()
}

#[test]
fn a_waiting_fetch_is_answered_when_records_come() {
    let (mut sandbox, ticket) = waiting(1);
    let blob = batch(10);
    sandbox.produce(0, &blob);
    assert_eq!(poll(&mut sandbox), [(ticket, ErrorCode::NONE, blob.len())]);
    assert_eq!(poll(&mut sandbox), []);
    assert_eq!(sandbox.cluster.deadline(), None);
}

#[test]
fn a_waiting_fetch_is_answered_when_there_is_enough() {
    let blob = batch(10);
    let (mut sandbox, ticket) = waiting(i32::try_from(blob.len() * 2).unwrap());
    sandbox.produce(0, &blob);
    assert_eq!(poll(&mut sandbox), []);
    sandbox.produce(0, &blob);
    assert_eq!(
        poll(&mut sandbox),
        [(ticket, ErrorCode::NONE, blob.len() * 2)]
    );
}

#[test]
fn a_waiting_fetch_is_answered_with_what_there_is_at_its_deadline() {
    let blob = batch(10);
    for (produced, expected) in [(false, 0), (true, blob.len())] {
        let (mut sandbox, ticket) = waiting(1_000);
        if produced {
            sandbox.produce(0, &blob);
        }
        sandbox.now = START.plus_ms(499);
        assert_eq!(poll(&mut sandbox), []);
        sandbox.now = START.plus_ms(500);
        assert_eq!(poll(&mut sandbox), [(ticket, ErrorCode::NONE, expected)]);
        assert_eq!(sandbox.cluster.deadline(), None);
    }
}

#[test]
fn a_waiting_fetch_is_answered_when_its_topic_is_deleted() {
    let (mut sandbox, ticket) = waiting(1);
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("t"),
            topic_id: Uuid::ZERO,
        }]
        .into(),
        ..Default::default()
    };
    let deleted = sandbox.ask(1, &request);
    assert_eq!(
        deleted.decode().responses.first().unwrap().error_code,
        ErrorCode::NONE
    );
    assert_eq!(
        poll(&mut sandbox),
        [(ticket, ErrorCode::UNKNOWN_TOPIC_ID, 0)]
    );
}

#[test]
fn a_fetch_whose_connection_is_gone_is_forgotten() {
    let (mut sandbox, ticket) = waiting(1);
    sandbox.cluster.forget(ticket);
    assert_eq!(sandbox.cluster.deadline(), None);
    sandbox.produce(0, &batch(10));
    sandbox.now = START.plus_ms(500);
    assert_eq!(poll(&mut sandbox), []);
}

#[test]
fn a_fetch_does_not_wait_when_it_has_something_to_say() {
    let mut sandbox = Sandbox::new(1);
    let topic_id = sandbox.create_topic(1, &[]);
    sandbox.produce(0, &batch(10));
    let cases = [
        ("there are records", fetch(topic_id, 0, 500)),
        ("it may not wait", fetch(topic_id, 1, 0)),
        ("the offset is out of range", fetch(topic_id, 2, 500)),
        ("no partition exists", fetch(Uuid([7; 16]), 0, 500)),
        (
            "there is no partition",
            FetchRequest {
                max_wait_ms: 500,
                min_bytes: 1,
                ..Default::default()
            },
        ),
    ];
    for (name, request) in cases {
        let outcome = sandbox.start_fetch(&request);
        assert!(matches!(outcome, Outcome::Reply(_)), "{name}: {outcome:?}");
    }
}
