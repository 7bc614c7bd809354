//! The handshake with brokers old, new and strange.

use super::*;
use crate::cluster::MalformedCause;

fn unsupported() -> ApiVersionsResponse<'static> {
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        ..ApiVersionsResponse::default()
    }
}

#[tokio::test]
async fn the_client_names_itself_in_the_first_request() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    assert_eq!(cluster.supports::<MetadataRequest<'_>>(), None);
    let (connection, body) = tokio::join!(cluster.any_broker(), async {
        let mut conversation = broker.accept().await;
        let incoming = conversation.request().await;
        conversation
            .answer::<ApiVersionsRequest<'_>>(&incoming, &offer())
            .await;
        incoming.body
    });
    connection.unwrap();
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    assert!(body.windows(7).filter(|part| part == b"kmirror").count() == 2); // and the client id
    assert!(body.windows(version.len()).any(|part| part == version));
    assert_eq!(cluster.supports::<MetadataRequest<'_>>(), Some(12));
}

#[tokio::test]
async fn a_broker_that_refuses_version_3_is_asked_for_version_0_on_the_same_connection() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let (connection, _conversation) = tokio::join!(cluster.any_broker(), async {
        let mut conversation = broker.accept().await;
        let mut incoming = conversation.request().await;
        assert_eq!(incoming.version, 3);
        incoming.version = 0; // The body is of version 0, whatever was asked.
        conversation
            .answer::<ApiVersionsRequest<'_>>(&incoming, &unsupported())
            .await;
        let incoming = conversation.request().await;
        assert_eq!(incoming.version, 0);
        conversation
            .answer::<ApiVersionsRequest<'_>>(&incoming, &offer())
            .await;
        conversation
    });
    assert_eq!(
        connection
            .unwrap()
            .version::<MetadataRequest<'_>>()
            .unwrap(),
        12
    );
}

#[tokio::test]
async fn a_broker_that_hangs_up_on_version_3_is_asked_for_version_0_on_a_new_connection() {
    for is_reset in [false, true] {
        let broker = FakeBroker::start().await;
        let cluster = cluster(vec![broker.bootstrap()]);
        let (connection, _conversation) = tokio::join!(cluster.any_broker(), async {
            let mut conversation = broker.accept().await;
            if is_reset {
                conversation.stream.read_u32().await.unwrap(); // The rest stays unread.
            } else {
                conversation.request().await;
            }
            drop(conversation);
            let mut conversation = broker.accept().await;
            let incoming = conversation.request().await;
            assert_eq!(incoming.version, 0);
            conversation
                .answer::<ApiVersionsRequest<'_>>(&incoming, &offer())
                .await;
            conversation
        });
        assert!(connection.unwrap().is_open(), "reset: {is_reset}");
    }
}

#[tokio::test]
async fn a_port_that_speaks_something_else_is_named_for_what_it_is() {
    for (bytes, expected) in [
        (&b"\x15\x03\x01\0\x02\x02\x0a"[..], "speaks TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP"),
    ] {
        let broker = FakeBroker::start().await;
        let cluster = cluster(vec![broker.bootstrap()]);
        let (outcome, ()) = tokio::join!(cluster.any_broker(), async {
            let mut conversation = broker.accept().await;
            conversation.request().await;
            conversation.send(bytes).await;
        });
        let text = text(outcome);
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_broker_that_offers_nonsense_is_refused() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let (outcome, ()) = tokio::join!(cluster.any_broker(), async {
        let mut conversation = broker.accept().await;
        let incoming = conversation.request().await;
        let mut response = offer();
        response.api_keys.to_mut()[1].min_version = 13;
        conversation
            .answer::<ApiVersionsRequest<'_>>(&incoming, &response)
            .await;
    });
    assert!(matches!(
        outcome,
        Err(RequestError::Malformed {
            cause: MalformedCause::VersionRange {
                api: ApiKey::Metadata,
                min: 13,
                max: 12,
            },
            ..
        })
    ));
}

#[tokio::test]
async fn an_api_without_a_common_version_is_refused_before_anything_is_sent() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let (connection, conversation) = tokio::join!(cluster.any_broker(), async {
        let mut conversation = broker.accept().await;
        let incoming = conversation.request().await;
        let mut response = offer();
        response.api_keys.to_mut()[2].max_version = 2;
        conversation
            .answer::<ApiVersionsRequest<'_>>(&incoming, &response)
            .await;
        conversation
    });
    let connection = connection.unwrap();
    let text = text(connection.send(&Pieces(vec![])));
    assert!(
        text.ends_with("version 3 to 7 is needed, the broker offers 0 to 2"),
        "{text}"
    );
    assert!(text.starts_with("Produce to bootstrap server"), "{text}");
    drop((connection, cluster));
    conversation.expect_end().await;
}

#[tokio::test]
async fn a_broker_whose_metadata_would_create_topics_is_not_asked() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let topics = super::super::Topics::named(["t"]);
    let (outcome, conversation) = tokio::join!(cluster.refresh_metadata(topics), async {
        let mut conversation = broker.accept().await;
        let incoming = conversation.request().await;
        let mut response = offer();
        response.api_keys.to_mut()[1].max_version = 3;
        conversation
            .answer::<ApiVersionsRequest<'_>>(&incoming, &response)
            .await;
        conversation
    });
    assert!(matches!(outcome, Err(RequestError::Unsupported { .. })));
    drop(cluster);
    conversation.expect_end().await;
}
