//! A connection whose other side misbehaves: everyone who waits learns the same cause.

use super::*;
use crate::cluster::{
    DisconnectCause, MalformedCause, SendOptions, UnsendableCause, limits::IN_FLIGHT_MAX,
};

/// Sends `bytes` instead of an answer, then closes; what two waiting requests come to.
async fn answered_with(bytes: &[u8]) -> [RequestError; 2] {
    let (connection, mut broker) = connected().await;
    let pending = [(); 2].map(|()| connection.send(&ask()).unwrap());
    for _ in &pending {
        broker.request().await;
    }
    broker.send(bytes).await;
    drop(broker);
    let [first, second] = pending;
    let errors = [first.await.unwrap_err(), second.await.unwrap_err()];
    assert_eq!(
        connection.send(&ask()).unwrap_err().to_string(),
        errors[0].to_string()
    );
    assert!(!connection.is_open());
    errors
}

#[tokio::test]
async fn an_answer_that_cannot_be_one_ends_the_connection_for_all_who_wait() {
    let cases: [(&[u8], &str); 9] = [
        (
            b"",
            "the other side closed the connection at the first request, as a listener does that wants SASL; \
             see security.protocol",
        ),
        (
            b"\0\0",
            "the other side closed the connection inside an answer",
        ),
        (
            b"\0\0\0\x20\0\0\0\x01half",
            "the other side closed the connection inside an answer",
        ),
        (
            b"\0\0\0\x04\0\0\0\x09",
            "an answer for correlation id 9 came where 1 was due",
        ),
        (
            b"\0\0\0\x02\0\0",
            "the answer cannot be read: ResponseHeader.correlation_id: the bytes end too early",
        ),
        (
            b"\x7f\xff\xff\xff",
            "a frame of 2147483647 bytes came, above the limit of 67108864",
        ),
        (b"\xff\xff\xff\xff", "a frame of negative length -1 came"),
        (
            b"\x15\x03\x03\0\x02\x02\x16",
            "the port speaks TLS, but was addressed in plaintext",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the port speaks HTTP, not Kafka's protocol",
        ),
    ];
    for (bytes, expected) in cases {
        for error in answered_with(bytes).await {
            let text = error.to_string();
            let (origin, cause) = text.split_once(" of cluster A: ").unwrap();
            assert!(
                origin.starts_with("Metadata to bootstrap server 127.0.0.1:"),
                "{text}"
            );
            assert_eq!(cause, expected);
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_after_an_answer_was_not_turned_away() {
    let (connection, mut broker) = connected().await;
    let first = connection.send(&ask()).unwrap();
    broker.tell_brokers("cluster", &[]).await;
    first.await.unwrap();
    let second = connection.send(&ask()).unwrap();
    broker.request().await;
    drop(broker);
    let text = text(second.await);
    assert!(
        text.ends_with(": the other side closed the connection"),
        "{text}"
    );
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_the_connection() {
    let (connection, mut broker) = connected().await;
    broker.send(b"\0\0\0\x04\0\0\0\x01").await;
    let mut rest = Vec::new();
    let _ = broker.stream.read_to_end(&mut rest).await;
    assert!(matches!(
        connection.ended(),
        Some(RequestError::Malformed {
            cause: MalformedCause::Unasked,
            ..
        })
    ));
}

#[tokio::test]
async fn an_answer_longer_than_the_caller_has_room_for_ends_the_connection() {
    let (connection, mut broker) = connected().await;
    let options = SendOptions {
        answer_len_max: Some(10),
        ..SendOptions::default()
    };
    let pending = connection.send_with(&ask(), options).unwrap();
    broker.request().await;
    broker.send(b"\0\0\0\x0b").await;
    let text = text(pending.await);
    assert!(
        text.ends_with("a frame of 11 bytes came, above the limit of 10"),
        "{text}"
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded_names_the_field_and_spares_the_connection() {
    let (connection, mut broker) = connected().await;
    let pending = connection.send(&ask()).unwrap();
    let incoming = broker.request().await;
    let mut bytes = 5_u32.to_be_bytes().to_vec();
    bytes.extend(incoming.correlation_id.to_be_bytes());
    bytes.push(0);
    broker.send(&bytes).await;
    let answer = pending.await.unwrap();
    let text = text(answer.decode());
    assert!(text.contains("MetadataResponse.throttle_time_ms"), "{text}");
    assert!(connection.is_open());
}

#[tokio::test]
async fn a_broker_that_never_answers_is_given_up_at_the_earliest_deadline() {
    let (connection, mut broker) = connected().await;
    let patient = connection.send(&ask()).unwrap();
    let options = SendOptions {
        timeout: Some(Duration::from_secs(5)),
        ..SendOptions::default()
    };
    let hasty = connection.send_with(&ask(), options).unwrap();
    for _ in 0..2 {
        broker.request().await;
    }
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    assert!(matches!(
        hasty.await,
        Err(RequestError::TimedOut { after, .. }) if after == Duration::from_secs(5)
    ));
    assert!(start.elapsed() < Duration::from_secs(6));
    assert!(matches!(
        patient.await,
        Err(RequestError::Disconnected {
            cause: DisconnectCause::Stalled {
                api: ApiKey::Metadata,
                ..
            },
            ..
        })
    ));
    broker.expect_end().await;
}

#[tokio::test]
async fn a_broker_that_does_not_read_is_given_up_at_the_deadline() {
    let (connection, mut broker) = connected().await;
    let huge = connection
        .send(&Pieces(vec![vec![1; 64 << 20].into()]))
        .unwrap();
    broker.stream.read_u32().await.unwrap();
    tokio::time::pause();
    assert!(matches!(huge.await, Err(RequestError::TimedOut { .. })));
    assert!(!connection.is_open());
}

#[tokio::test]
async fn a_broker_that_drips_its_answer_is_given_up_at_the_deadline() {
    let (connection, mut broker) = connected().await;
    let pending = connection.send(&ask()).unwrap();
    let incoming = broker.request().await;
    let drip = async {
        let mut sent = 1000_u32.to_be_bytes().to_vec();
        sent.extend(incoming.correlation_id.to_be_bytes());
        sent.resize(1004, 0);
        for byte in sent {
            if broker.stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::pause();
    let (outcome, ()) = tokio::join!(pending, drip);
    assert!(matches!(
        outcome,
        Err(RequestError::TimedOut { after, .. }) if after == REQUEST_TIMEOUT
    ));
}

#[tokio::test]
async fn a_deadline_that_was_met_does_not_end_the_connection_later() {
    let (connection, mut broker) = connected().await;
    for _ in 0..3 {
        let pending = connection.send(&ask()).unwrap();
        let incoming = broker.request().await;
        broker
            .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
            .await;
        pending.await.unwrap();
        tokio::time::pause();
        tokio::time::sleep(REQUEST_TIMEOUT * 2).await;
        tokio::time::resume();
        assert!(connection.is_open());
    }
}

#[tokio::test]
async fn answers_that_had_arrived_before_the_connection_broke_are_delivered() {
    let (connection, mut broker) = connected().await;
    let first = connection.send(&ask()).unwrap();
    let incoming = broker.request().await;
    let huge = connection
        .send(&Pieces(vec![vec![1; 64 << 20].into()]))
        .unwrap();
    broker.stream.read_u32().await.unwrap();
    broker
        .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
        .await;
    drop(broker); // Unread bytes make this a reset.
    first.await.unwrap();
    let error = huge.await.unwrap_err();
    assert!(
        matches!(error, RequestError::Disconnected { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn requests_that_wait_for_answers_are_bounded() {
    let (connection, _broker) = connected().await;
    let pending: Vec<_> = (0..IN_FLIGHT_MAX)
        .map(|_| connection.send(&ask()).unwrap())
        .collect();
    assert!(matches!(
        connection.send(&ask()),
        Err(RequestError::Unsendable {
            cause: UnsendableCause::TooManyInFlight(IN_FLIGHT_MAX),
            ..
        })
    ));
    assert_eq!(connection.in_flight(), pending.len());
}

#[tokio::test]
async fn a_request_that_the_protocol_cannot_express_is_not_sent() {
    let (connection, mut broker) = connected().await;
    let long_name = "n".repeat(40_000);
    let mut request = ask();
    request.topics = Some(vec![super::super::refresh::named(&long_name)].into());
    let options = SendOptions {
        version_max: Some(8),
        ..SendOptions::default()
    };
    let text = text(connection.send_with(&request, options));
    assert!(
        text.ends_with("not sent: a field is longer than the protocol can express"),
        "{text}"
    );

    let pending = connection.send(&ask()).unwrap();
    let incoming = broker.request().await;
    assert_eq!(incoming.correlation_id, 1);
    broker
        .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
        .await;
    pending.await.unwrap();
}
