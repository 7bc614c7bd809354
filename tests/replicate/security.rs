//! Connections that are made safe, as MM2's users have them: TLS with and without certificates of their
//! own, PLAIN, SCRAM and OAUTHBEARER, key stores of every kind, sessions that end.
//!
//! The stores are those of `tests/fixtures/security`, and the brokers Java's.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base64::Engine as _;
use kmirror::runtime::now_ms;

use super::{Topic, assert_copied, assert_same_contents, stop};
use crate::support::{
    java_client::{NewRecord, ProduceOptions},
    kafka::{Kafka, KafkaOptions, ONE_BROKER},
    kmirror::Kmirror,
};

const STORE_PASSWORD: &str = "store-secret";
const PASSWORD: &str = "alice-secret";

/// How long a session lasts where somebody has said who it is.
const SESSION_MS: &str = "1500";

fn fixture(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/fixtures/security").join(name);
    path.display().to_string()
}

/// A cluster that also listens with TLS and wants certificates, with PLAIN, and over TLS with SCRAM and
/// OAUTHBEARER.
fn start() -> Option<Kafka> {
    let user = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"{PASSWORD}\";"
    );
    let (keys, trusted) = (fixture("broker.p12"), fixture("trust.p12"));
    let token = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let kafka = Kafka::start(&KafkaOptions {
        listeners: &[
            ("MTLS", "SSL"),
            ("PLAIN", "SASL_PLAINTEXT"),
            ("SCRAM", "SASL_SSL"),
            ("OAUTH", "SASL_SSL"),
        ],
        properties: &[
            ("ssl.keystore.location", &keys),
            ("ssl.keystore.type", "PKCS12"),
            ("ssl.keystore.password", STORE_PASSWORD),
            ("ssl.truststore.location", &trusted),
            ("ssl.truststore.type", "PKCS12"),
            ("ssl.truststore.password", STORE_PASSWORD),
            ("listener.name.mtls.ssl.client.auth", "required"),
            ("listener.name.plain.sasl.enabled.mechanisms", "PLAIN"),
            ("listener.name.plain.plain.sasl.jaas.config", &user),
            (
                "listener.name.plain.plain.connections.max.reauth.ms",
                SESSION_MS,
            ),
            (
                "listener.name.scram.sasl.enabled.mechanisms",
                "SCRAM-SHA-256,SCRAM-SHA-512",
            ),
            ("listener.name.scram.scram-sha-256.sasl.jaas.config", scram),
            ("listener.name.scram.scram-sha-512.sasl.jaas.config", scram),
            (
                "listener.name.scram.scram-sha-256.connections.max.reauth.ms",
                SESSION_MS,
            ),
            (
                "listener.name.scram.scram-sha-512.connections.max.reauth.ms",
                SESSION_MS,
            ),
            ("listener.name.oauth.sasl.enabled.mechanisms", "OAUTHBEARER"),
            ("listener.name.oauth.oauthbearer.sasl.jaas.config", token),
            (
                "listener.name.oauth.oauthbearer.connections.max.reauth.ms",
                SESSION_MS,
            ),
        ],
        ..KafkaOptions::default()
    })?;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let password = format!("{mechanism}=[iterations=8192,password={PASSWORD}]");
        let user = ["--entity-type", "users", "--entity-name", "alice"];
        let arguments = [&["--alter", "--add-config", &password], &user[..]].concat();
        kafka
            .java()
            .tool("kafka.admin.ConfigCommand", &arguments, "");
    }
    Some(kafka)
}

fn plain(alias: &str, cluster: &Kafka) -> String {
    format!(
        "{alias}.bootstrap.servers = {}\n\
         {alias}.security.protocol = SASL_PLAINTEXT\n\
         {alias}.sasl.mechanism = PLAIN\n\
         {alias}.sasl.jaas.config = org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"alice\" password=\"{PASSWORD}\";\n",
        cluster.listener("PLAIN")
    )
}

fn scram(alias: &str, cluster: &Kafka, hash: &str, store: &str) -> String {
    format!(
        "{alias}.bootstrap.servers = {}\n\
         {alias}.security.protocol = SASL_SSL\n\
         {alias}.sasl.mechanism = SCRAM-SHA-{hash}\n\
         {alias}.sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"alice\" password=\"{PASSWORD}\";\n\
         {alias}.ssl.truststore.location = {}\n\
         {alias}.ssl.truststore.password = {STORE_PASSWORD}\n",
        cluster.listener("SCRAM"),
        fixture(store),
    )
}

fn mutual(alias: &str, cluster: &Kafka, own: &str) -> String {
    format!(
        "{alias}.bootstrap.servers = {}\n\
         {alias}.security.protocol = SSL\n\
         {alias}.ssl.truststore.location = {}\n\
         {alias}.ssl.truststore.password = {STORE_PASSWORD}\n\
         {alias}.ssl.keystore.location = {}\n\
         {alias}.ssl.keystore.password = {STORE_PASSWORD}\n\
         {alias}.ssl.key.password = key-secret\n",
        cluster.listener("MTLS"),
        fixture("trust.jks"),
        fixture(own),
    )
}

/// What a broker of Kafka's believes without a key: a token that nobody has signed.
fn token(seconds: u64) -> String {
    let now = u64::try_from(now_ms()).unwrap() / 1000;
    let claims = format!(
        "{{\"sub\":\"alice\",\"iat\":{now},\"exp\":{}}}",
        now + seconds
    );
    format!(
        "{}.{}.",
        base64_url(b"{\"alg\":\"none\"}"),
        base64_url(claims.as_bytes())
    )
}

fn base64_url(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// By how much a token lives longer than its endpoint says: its times are whole seconds.
const MARGIN_SECONDS: u64 = 5;

/// A token endpoint on loopback.
struct Endpoint {
    port: u16,
    /// How often.
    asked: Arc<AtomicUsize>,
}

impl Endpoint {
    /// Gives tokens that are good for `seconds`, on plain HTTP.
    fn start(seconds: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Self {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&endpoint.asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                asked.fetch_add(1, Ordering::Relaxed);
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"grant_type=client_credentials") {
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    request.extend(byte);
                }
                let body = format!(
                    "{{\"access_token\":\"{}\",\"expires_in\":{seconds}}}",
                    token(seconds + MARGIN_SECONDS)
                );
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        endpoint
    }
}

fn oauth(alias: &str, cluster: &Kafka, endpoint: &Endpoint) -> String {
    format!(
        "{alias}.bootstrap.servers = {}\n\
         {alias}.security.protocol = SASL_SSL\n\
         {alias}.ssl.truststore.location = {}\n\
         {alias}.sasl.mechanism = OAUTHBEARER\n\
         {alias}.sasl.oauthbearer.token.endpoint.url = http://127.0.0.1:{}/token\n\
         {alias}.sasl.jaas.config = org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
         clientId=\"alice\" clientSecret=\"{PASSWORD}\";\n",
        cluster.listener("OAUTH"),
        fixture("ca.pem"),
        endpoint.port,
    )
}

fn properties(source: &str, target: &str) -> String {
    format!(
        "clusters = A, B\n{source}{target}{ONE_BROKER}\
         A->B.enabled = true\n\
         A->B.topics = safe.*\n\
         kmirror.discovery.interval.ms = 500\n\
         kmirror.http.listen = \n"
    )
}

/// What `kmirror check` makes of a file: whether it can run, and what it prints.
fn check(properties: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mm2.properties");
    fs::write(&file, properties).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmirror"));
    let output = command.arg("check").arg(&file).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn append(cluster: &Kafka, topic: &str, count: usize) {
    let record = |number: usize| NewRecord {
        value: Some(format!("{topic} {number}").into_bytes()),
        ..NewRecord::default()
    };
    let records: Vec<NewRecord> = (0..count).map(record).collect();
    cluster
        .java()
        .produce(topic, &records, ProduceOptions::default());
}

/// Copies a topic of its own from one end to the other, beyond the ends of some sessions.
fn copies((a, b): &(String, String), topic: &str, source: &Kafka, target: &Kafka) {
    source.java().create_topic(topic, 2, 1, &[]);
    append(source, topic, 20);
    let text = properties(a, b);
    let (is_right, report) = check(&text);
    assert!(is_right, "{text}\n{report}");
    let mut kmirror = Kmirror::run_with(&text, &["--log", "debug"]);
    let copy = format!("A.{topic}");
    let (from, to) = (Topic::new(source, topic), Topic::new(target, &copy));
    assert_copied(&mut kmirror, from, to);
    for renewed in [1, 8, 16] {
        kmirror.wait_until("renewed sessions", |log| {
            (log.matches("renewed the session").count() >= renewed).then_some(())
        });
        append(source, topic, 20);
        assert_copied(&mut kmirror, from, to);
    }
    let log = stop(kmirror);
    assert!(!log.contains("-secret"), "{log}");
    // Sessions are renewed before brokers end them.
    assert!(!log.contains("connection"), "{log}");
    assert_same_contents(from, to);
}

/// Settings of the source that cannot work, and what is said of them.
fn refused(source: &Kafka) -> Vec<(String, &'static str)> {
    let wrong = plain("A", source).replace(PASSWORD, "wrong-secret");
    vec![
        (wrong, "SASL_AUTHENTICATION_FAILED"),
        (
            scram("A", source, "512", "ca.pem").replace(PASSWORD, "wrong-secret"),
            "SASL_AUTHENTICATION_FAILED",
        ),
        (
            plain("A", source)
                .replace("mechanism = PLAIN", "mechanism = SCRAM-SHA-256")
                .replace("plain.Plain", "scram.Scram"),
            "sasl.mechanism must be one that it offers: PLAIN",
        ),
        (
            scram("A", source, "512", "lone.pem"),
            "nobody who is trusted has signed the broker's certificate",
        ),
        (
            mutual("A", source, "client.jks").replace("A.ssl.keystore.location", "# "),
            "it wants a certificate",
        ),
        (
            mutual("A", source, "client.jks").replace("key-secret", "wrong-secret"),
            "client.jks: the password of the key is wrong",
        ),
        (
            scram("A", source, "512", "ca.pem")
                .replace(&source.listener("SCRAM"), &source.bootstrap()),
            "during the TLS handshake; is the listener PLAINTEXT or SASL_PLAINTEXT?",
        ),
        (
            format!("A.bootstrap.servers = {}\n", source.listener("MTLS")),
            "TLS",
        ),
        (
            format!("A.bootstrap.servers = {}\n", source.listener("PLAIN")),
            "SASL",
        ),
    ]
}

#[test]
fn whatever_makes_a_connection_safe_everything_is_copied_and_nobody_else_is_let_in() {
    let Some(source) = start() else { return };
    let Some(target) = start() else { return };
    let pairs = [
        (
            mutual("A", &source, "client.jks"),
            scram("B", &target, "512", "trust.p12"),
        ),
        (plain("A", &source), mutual("B", &target, "client.pem")),
        (scram("A", &source, "256", "ca.pem"), plain("B", &target)),
    ];
    let endpoint = Endpoint::start(2);
    let pairs = pairs.into_iter().chain([(
        mutual("A", &source, "client.p12").replace("key-secret", STORE_PASSWORD),
        oauth("B", &target, &endpoint),
    )]);
    let pairs: Vec<_> = pairs.collect();
    for (number, pair) in pairs.iter().enumerate() {
        copies(pair, &format!("safe{number}"), &source, &target);
    }
    assert!(endpoint.asked.load(Ordering::Relaxed) > 2);
    for (a, expected) in refused(&source) {
        let (is_right, report) = check(&properties(&a, &plain("B", &target)));
        assert!(
            !is_right && report.contains(expected),
            "{expected}\n{report}"
        );
        assert!(!report.contains("does not answer"), "{report}");
        assert!(!report.contains("-secret"), "{report}");
    }
}
