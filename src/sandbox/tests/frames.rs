//! Frames that are cut off, foreign or random: they close the connection and harm nothing.

use kmirror_protocol::messages::{ApiVersionsRequest, InitProducerIdRequest, MetadataRequest};
use proptest::prelude::*;

use super::*;

/// One valid request of each kind that is worth cutting.
fn requests(topic_id: Uuid, blob: &[u8]) -> Vec<Bytes> {
    vec![
        body(&produce(topic_id, blob), 13),
        body(&produce(topic_id, blob), 8),
        body(&fetch(topic_id, 0, 0), 17),
        body(&fetch(topic_id, 0, 0), 4),
        body(&MetadataRequest::default(), 13),
        body(&InitProducerIdRequest::default(), 5),
        body(&ApiVersionsRequest::default(), 4),
    ]
}

#[test]
fn a_frame_that_is_cut_off_closes_the_connection_and_one_too_long_does_not() {
    let mut sandbox = Sandbox::new(1);
    let topic_id = sandbox.create_topic(1, &[]);
    for whole in requests(topic_id, &batch(3)) {
        for len in 0..whole.len() {
            let outcome = sandbox.cluster.handle(START, 0, &whole.slice(..len));
            assert!(
                matches!(outcome, Outcome::Close(_)),
                "{len} of {whole:?}: {outcome:?}"
            );
        }
    }
    assert_eq!(sandbox.cluster.log_range("t", 0), Some(0..0));
    for whole in requests(topic_id, &batch(3)) {
        let longer = Bytes::from([whole.as_ref(), &[0]].concat());
        let outcome = sandbox.cluster.handle(START, 0, &longer);
        assert!(
            matches!(outcome, Outcome::Reply(_)),
            "{longer:?}: {outcome:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_frame_can_do_more_than_close_the_connection(
        key in 0..80_i16,
        version in 0..20_i16,
        rest: Vec<u8>,
    ) {
        let mut sandbox = Sandbox::new(1);
        let frame = [&key.to_be_bytes(), &version.to_be_bytes(), rest.as_slice()].concat();
        sandbox.cluster.handle(START, 0, &Bytes::from(frame));
        sandbox.create_topic(1, &[]);
        prop_assert_eq!(sandbox.produce(0, &batch(3)), (ErrorCode::NONE, 0));
    }

    #[test]
    fn no_batch_can_do_more_than_be_refused(
        at in 0..200_usize,
        bits in 1..=u8::MAX,
        fix_crc: bool,
    ) {
        let mut sandbox = Sandbox::new(1);
        sandbox.create_topic(1, &[]);
        let mut blob = batch(90);
        let at = at % blob.len();
        blob[at] ^= bits;
        if fix_crc && let Ok(mut header) = kmirror_protocol::records::BatchHeader::parse(&blob) {
            header.crc = header.computed_crc(&blob[kmirror_protocol::records::HEADER_LEN..]);
            blob[..kmirror_protocol::records::HEADER_LEN].copy_from_slice(&header.encode());
        }
        sandbox.produce(0, &blob);
        let range = sandbox.cluster.log_range("t", 0).unwrap();
        prop_assert!(range == (0..0) || range == (0..1), "{range:?}");
    }
}

#[test]
fn an_api_that_is_not_served_closes_the_connection_with_a_reason() {
    let mut sandbox = Sandbox::new(1);
    // ConsumerGroupHeartbeat (KIP-848), and one that there is not.
    for key in [68_i16, 9999] {
        let frame = [
            key.to_be_bytes().as_slice(),
            &[0, 2, 0, 0, 0, 1, 0xff, 0xff],
        ]
        .concat();
        let outcome = sandbox.cluster.handle(START, 0, &Bytes::from(frame));
        let Outcome::Close(reason) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            reason.contains(&format!("(API key {key}) version 2")),
            "{reason}"
        );
    }
}

#[test]
fn every_api_that_is_offered_is_served() {
    let mut sandbox = Sandbox::new(1);
    let answer = sandbox.ask(
        0,
        &ApiVersionsRequest {
            client_software_name: "test",
            client_software_version: "1",
        },
    );
    let offered = answer.decode().api_keys;
    assert!(!offered.is_empty());
    for api in offered {
        // No message follows, so one that is served says what it lacks.
        let mut frame = [api.api_key.to_be_bytes(), api.max_version.to_be_bytes()].concat();
        frame.extend([0, 0, 0, 1, 0xff, 0xff]);
        let outcome = sandbox.cluster.handle(START, 0, &Bytes::from(frame));
        let Outcome::Close(reason) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(reason.contains("too early"), "{reason}");
    }
}

#[test]
fn equal_inputs_have_equal_answers() {
    let run = || {
        let mut sandbox = Sandbox::new(3);
        let topic_id = sandbox.create_topic(2, &[]);
        let blob = batch(3);
        let requests = requests(topic_id, &blob).into_iter();
        let answers = requests.map(|body| sandbox.cluster.handle(START, 0, &body));
        (topic_id, answers.collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}
