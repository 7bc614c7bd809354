//! Saying who this is: what goes over the wire, when, and what becomes of a refusal.

use std::time::Duration;

use kmirror_protocol::{
    messages::{
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse,
    },
    wire::Secret,
};

use super::{
    ApiKey, Cluster, ClusterOptions, Conversation, ErrorCode, FakeBroker, Incoming, ask, text,
};
use crate::cluster::security::{Credentials, SaslOptions, ScramHash, SecurityOptions};

fn credentials() -> Credentials {
    Credentials {
        name: "alice".to_owned(),
        password: "alice-secret".into(),
    }
}

fn cluster(broker: &FakeBroker, sasl: SaslOptions) -> Cluster {
    let mut options = ClusterOptions::new("A", vec![broker.bootstrap()]);
    options.security = SecurityOptions {
        tls: None,
        sasl: Some(sasl),
    };
    Cluster::new(options)
}

impl Conversation {
    /// Agrees on the mechanism that is asked for.
    async fn agree(&mut self) {
        let incoming = self.request().await;
        let response = SaslHandshakeResponse::default();
        self.answer::<SaslHandshakeRequest<'_>>(&incoming, &response)
            .await;
    }

    /// Answers a token with another one; gives the request.
    async fn exchange(&mut self, token: &[u8], lifetime: Duration) -> Incoming {
        let incoming = self.request().await;
        let response = SaslAuthenticateResponse {
            auth_bytes: Secret(token),
            session_lifetime_ms: lifetime.as_millis().try_into().unwrap(),
            ..SaslAuthenticateResponse::default()
        };
        self.answer::<SaslAuthenticateRequest<'_>>(&incoming, &response)
            .await;
        incoming
    }

    async fn refuse(&mut self) {
        let incoming = self.request().await;
        let response = SaslAuthenticateResponse {
            error_code: ErrorCode::SASL_AUTHENTICATION_FAILED,
            error_message: Some("Invalid username or password"),
            ..SaslAuthenticateResponse::default()
        };
        self.answer::<SaslAuthenticateRequest<'_>>(&incoming, &response)
            .await;
    }
}

const PLAIN_TOKEN: &[u8] = b"\0alice\0alice-secret";
const NEVER: Duration = Duration::ZERO;

#[tokio::test]
async fn a_session_is_renewed_and_nothing_is_sent_in_between() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(&broker, SaslOptions::Plain(credentials()));
    let script = async {
        let mut conversation = broker.accept_and_shake_hands().await;
        conversation.agree().await;
        let said = conversation.exchange(b"", Duration::from_millis(100)).await;
        assert!(said.body.ends_with(&[PLAIN_TOKEN, b"\0"].concat()));
        conversation
    };
    let (connection, mut conversation) = tokio::join!(cluster.any_broker(), script);
    let connection = connection.unwrap();
    let early = connection.send(&ask()).unwrap();
    let incoming = conversation.request().await;
    assert_eq!(incoming.api, Some(ApiKey::Metadata));

    // The answer to an earlier request may come meanwhile.
    let again = conversation.request().await;
    assert_eq!(again.api, Some(ApiKey::SaslHandshake));
    let late = [(); 2].map(|()| connection.send(&ask()).unwrap());
    assert_eq!(connection.in_flight(), 4);
    let nobody = kmirror_protocol::messages::MetadataResponse::default();
    conversation
        .answer::<kmirror_protocol::messages::MetadataRequest<'_>>(&incoming, &nobody)
        .await;
    early.await.unwrap();
    let response = SaslHandshakeResponse::default();
    conversation
        .answer::<SaslHandshakeRequest<'_>>(&again, &response)
        .await;
    conversation.exchange(b"", NEVER).await;
    for pending in late {
        let incoming = conversation.request().await;
        conversation
            .answer::<kmirror_protocol::messages::MetadataRequest<'_>>(&incoming, &nobody)
            .await;
        pending.await.unwrap();
    }
    assert!(connection.is_open());
}

#[tokio::test]
async fn a_session_that_is_not_renewed_ends_with_all_that_waits() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(&broker, SaslOptions::Plain(credentials()));
    let script = async {
        let mut conversation = broker.accept_and_shake_hands().await;
        conversation.agree().await;
        conversation.exchange(b"", Duration::from_millis(50)).await;
        conversation
    };
    let (connection, mut conversation) = tokio::join!(cluster.any_broker(), script);
    let connection = connection.unwrap();
    conversation.agree().await;
    let held = connection.send(&ask()).unwrap();
    conversation.refuse().await;
    let text = text(held.await);
    assert!(
        text.contains("denied: the broker answered SASL_AUTHENTICATION_FAILED"),
        "{text}"
    );
    assert!(!connection.is_open() && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_renewal_that_nobody_waits_for_any_more_ends_the_connection() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(&broker, SaslOptions::Plain(credentials()));
    let script = async {
        let mut conversation = broker.accept_and_shake_hands().await;
        conversation.agree().await;
        conversation.exchange(b"", Duration::from_millis(50)).await;
        conversation
    };
    let (connection, mut conversation) = tokio::join!(cluster.any_broker(), script);
    let connection = connection.unwrap();
    let again = conversation.request().await;
    assert_eq!(again.api, Some(ApiKey::SaslHandshake));
    let held = connection.send(&ask()).unwrap();
    drop((connection, cluster));
    let text = text(held.await);
    assert!(
        text.ends_with("the connection was closed by this side"),
        "{text}"
    );
}

#[tokio::test]
async fn who_is_not_let_in_hears_why_and_leaves_the_broker_alone() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(&broker, SaslOptions::Plain(credentials()));
    let script = async {
        let mut conversation = broker.accept_and_shake_hands().await;
        conversation.agree().await;
        conversation.refuse().await;
        conversation.expect_end().await;
    };
    let (connection, ()) = tokio::join!(cluster.any_broker(), script);
    let expected =
        "denied: the broker answered SASL_AUTHENTICATION_FAILED: Invalid username or password";
    let told = text(connection);
    assert!(told.ends_with(expected), "{told}");
    // Without another attempt.
    assert_eq!(text(cluster.any_broker().await), told);
}

#[tokio::test]
async fn a_mechanism_that_the_broker_lacks_is_named_with_those_that_it_has() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(&broker, SaslOptions::Plain(credentials()));
    let script = async {
        let mut conversation = broker.accept_and_shake_hands().await;
        let incoming = conversation.request().await;
        let response = SaslHandshakeResponse {
            error_code: ErrorCode::UNSUPPORTED_SASL_MECHANISM,
            mechanisms: ["SCRAM-SHA-256", "GSSAPI"].into(),
        };
        conversation
            .answer::<SaslHandshakeRequest<'_>>(&incoming, &response)
            .await;
    };
    let (connection, ()) = tokio::join!(cluster.any_broker(), script);
    let text = text(connection);
    let expected = "to PLAIN; sasl.mechanism must be one that it offers: SCRAM-SHA-256, GSSAPI";
    assert!(text.ends_with(expected), "{text}");
}

#[tokio::test]
async fn a_broker_that_does_not_know_the_password_is_not_believed() {
    let broker = FakeBroker::start().await;
    let sasl = SaslOptions::Scram {
        hash: ScramHash::Sha256,
        credentials: credentials(),
        is_token: false,
    };
    let cluster = cluster(&broker, sasl);
    let script = async {
        let mut conversation = broker.accept_and_shake_hands().await;
        conversation.agree().await;
        let incoming = conversation.request().await;
        let said = String::from_utf8_lossy(&incoming.body).into_owned();
        let (_, nonce) = said.split_once(",r=").unwrap();
        let nonce = nonce.trim_end_matches('\0');
        let challenge = format!("r={nonce}more,s=c2FsdA==,i=4096");
        let response = SaslAuthenticateResponse {
            auth_bytes: Secret(challenge.as_bytes()),
            ..SaslAuthenticateResponse::default()
        };
        conversation
            .answer::<SaslAuthenticateRequest<'_>>(&incoming, &response)
            .await;
        conversation.exchange(b"v=AAAA", NEVER).await;
        conversation.expect_end().await;
    };
    let (connection, ()) = tokio::join!(cluster.any_broker(), script);
    let text = text(connection);
    assert!(text.contains("does not know the password either"), "{text}");
}
