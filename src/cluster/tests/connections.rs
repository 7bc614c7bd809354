//! A connection whose other side behaves: order, gathering, memory, and one direction at a time.

use super::*;
use crate::cluster::{ClusterOptions, Lane, Pending, Pool, SendOptions, To};

#[tokio::test]
async fn requests_go_out_in_the_order_of_calls_and_answers_find_their_callers() {
    let (connection, mut broker) = connected().await;
    let pending: Vec<_> = (0..100).map(|_| connection.send(&ask()).unwrap()).collect();
    assert_eq!(connection.in_flight(), 100);

    let mut answers = Vec::new();
    for controller_id in 0..100 {
        let incoming = broker.request().await;
        let response = MetadataResponse {
            controller_id,
            ..MetadataResponse::default()
        };
        answers.extend(answer_bytes::<MetadataRequest<'_>>(&incoming, &response));
    }
    broker.send(&answers).await;

    for (expected, pending) in (0..).zip(pending) {
        let answer = pending.await.unwrap();
        assert_eq!(answer.version(), 12);
        assert_eq!(answer.decode().unwrap().controller_id, expected);
    }
    assert_eq!(connection.in_flight(), 0);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_does_not_disturb_the_next() {
    let (connection, mut broker) = connected().await;
    drop(connection.send(&ask()).unwrap());
    let second = connection.send(&ask()).unwrap();
    for controller_id in [1, 2] {
        let incoming = broker.request().await;
        let response = MetadataResponse {
            controller_id,
            ..MetadataResponse::default()
        };
        broker
            .answer::<MetadataRequest<'_>>(&incoming, &response)
            .await;
    }
    let answer = second.await.unwrap();
    assert_eq!(answer.decode().unwrap().controller_id, 2);
}

#[tokio::test]
async fn a_request_of_thousands_of_pieces_arrives_whole() {
    let (connection, mut broker) = connected().await;
    let payload: Bytes = (0..16_000_000_u32)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    // Lengths from 1 to 6,000 bytes: writes end inside pieces of every size.
    let mut pieces = Vec::new();
    let mut rest = payload.clone();
    while !rest.is_empty() {
        let len = (pieces.len() % 6_000 + 1).min(rest.len());
        pieces.push(rest.split_to(len));
    }
    assert!(pieces.len() > 4_096);

    let pending = connection.send(&Pieces(pieces)).unwrap();
    let incoming = broker.request().await;
    assert!(incoming.body.ends_with(&payload));
    broker.answer::<Pieces>(&incoming, &ErrorCode(7)).await;
    assert_eq!(pending.await.unwrap().decode().unwrap(), ErrorCode(7));
}

#[tokio::test]
async fn an_answer_comes_through_while_a_huge_request_is_stuck() {
    let (connection, mut broker) = connected().await;
    let first = connection.send(&ask()).unwrap();
    let incoming = broker.request().await;
    let huge = connection
        .send(&Pieces(vec![vec![1; 64 << 20].into()]))
        .unwrap();
    broker
        .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
        .await;
    first.await.unwrap();

    let incoming = broker.request().await;
    assert!(incoming.body.len() > 64 << 20);
    broker.answer::<Pieces>(&incoming, &ErrorCode::NONE).await;
    huge.await.unwrap();
}

#[tokio::test]
async fn a_large_answer_lives_in_a_block_that_returns_with_its_last_slice() {
    let broker = FakeBroker::start().await;
    let pool = Pool::default();
    let mut options = ClusterOptions::new("A", vec![broker.bootstrap()]);
    options.pool = pool.clone();
    let cluster = Cluster::new(options);
    let (connection, conversation) =
        tokio::join!(cluster.any_broker(), broker.accept_and_shake_hands());
    let (connection, mut conversation) = (connection.unwrap(), conversation);

    let options = SendOptions {
        answer_len_max: Some(300 << 10),
        version_max: Some(8),
        ..SendOptions::default()
    };
    let pending = connection.send_with(&ask(), options).unwrap();
    let incoming = conversation.request().await;
    assert_eq!(incoming.version, 8);
    let long_name = "n".repeat(30_000);
    let brokers = vec![
        MetadataResponseBroker {
            host: &long_name,
            ..MetadataResponseBroker::default()
        };
        9
    ];
    let response = MetadataResponse {
        brokers: brokers.into(),
        ..MetadataResponse::default()
    };
    conversation
        .answer::<MetadataRequest<'_>>(&incoming, &response)
        .await;

    let answer = pending.await.unwrap();
    let decoded = answer.decode().unwrap();
    let host = answer
        .body()
        .slice_ref(decoded.brokers.iter().nth(8).unwrap().host.as_bytes());
    drop(answer);
    assert_eq!(pool.retained_bytes(), 0);
    assert_eq!(host, long_name.as_bytes());
    drop(host);
    assert_eq!(pool.retained_bytes(), 512 << 10);
}

#[tokio::test]
async fn the_socket_is_closed_when_nobody_can_use_it_any_more() {
    let (connection, mut broker) = connected().await;
    let pending = connection.send(&ask()).unwrap();
    drop(connection);
    let incoming = broker.request().await;
    broker
        .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
        .await;
    pending.await.unwrap();
    broker.expect_end().await;
}

#[tokio::test]
async fn the_socket_is_closed_although_a_request_is_stuck_in_it() {
    let (connection, mut broker) = connected().await;
    let huge = connection
        .send(&Pieces(vec![vec![1; 64 << 20].into()]))
        .unwrap();
    // Part of the request is here, so the writer is at work; the rest will never be read.
    broker.stream.read_u32().await.unwrap();
    drop((connection, huge));
    let mut arrived = Vec::new();
    let _ = broker.stream.read_to_end(&mut arrived).await;
    assert!(arrived.len() < 64 << 20);
}

#[tokio::test]
async fn a_pending_answer_outlives_what_its_request_borrowed() {
    let (connection, mut broker) = connected().await;
    let pending: Pending<MetadataRequest<'static>> = {
        let name = "topic".to_owned();
        let mut request = ask();
        request.topics = Some(vec![super::super::refresh::named(&name)].into());
        connection.send(&request).unwrap()
    };
    let answered = tokio::spawn(async move { pending.await.unwrap().version() });
    let incoming = broker.request().await;
    broker
        .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
        .await;
    assert_eq!(answered.await.unwrap(), 12);
}

#[tokio::test]
async fn each_lane_of_a_broker_has_a_connection_of_its_own() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let serve = async {
        let mut first = broker.accept_and_shake_hands().await;
        first.tell_brokers("id", &[broker.advertised(1)]).await;
        let control = broker.accept_and_shake_hands().await;
        let fetch = broker.accept_and_shake_hands().await;
        (first, control, fetch)
    };
    let use_it = async {
        cluster.refresh_metadata(super::super::Topics::All).await?;
        let control = cluster.broker(1, Lane::Control).await?;
        let again = cluster.broker(1, Lane::Control).await?;
        let fetch = cluster.broker(1, Lane::Fetch(0)).await?;
        Ok::<_, RequestError>((control, again, fetch))
    };
    let ((_first, mut control_end, _fetch_end), connections) = tokio::join!(serve, use_it);
    let (control, again, _fetch) = connections.unwrap();
    assert_eq!((control.in_flight(), again.in_flight()), (0, 0));
    let pending = control.send(&ask()).unwrap();
    assert_eq!(again.in_flight(), 1);

    let incoming = control_end.request().await;
    control_end
        .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
        .await;
    pending.await.unwrap();
    let asked = ask();
    let (answer, ()) = tokio::join!(cluster.request(To::Node(1), &asked), async {
        let incoming = control_end.request().await;
        control_end
            .answer::<MetadataRequest<'_>>(&incoming, &MetadataResponse::default())
            .await;
    });
    answer.unwrap();
}
