//! Stores and TLS against a server that this project did not write; what SASL says, in the sibling
//! modules and against brokers.

use std::{path::Path, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ALL_VERSIONS, ServerConfig, SupportedProtocolVersion, crypto::ring,
        server::WebPkiClientVerifier, version::TLS12,
    },
};

use super::{Store, TlsOptions, TlsVersion, reason, tls::Tls};

/// What the lone broker speaks.
static ONLY_OLD: &[&SupportedProtocolVersion] = &[&TLS12];

const PASSWORD: &str = "store-secret";

fn path(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/fixtures/security").join(name);
    path.display().to_string()
}

fn store_with(name: &str, password: Option<&str>) -> Store {
    Store::File {
        path: path(name).into(),
        password: password.map(Into::into),
    }
}

fn store(name: &str) -> Store {
    store_with(name, Some(PASSWORD))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

#[test]
fn trusted_certificates_come_out_of_every_kind_of_store() {
    let expected = store("ca.pem").trusted().unwrap();
    assert_eq!(expected.len(), 1);
    // Java writes a value of one line; a properties file may hold it without any line end.
    let one_line = text("ca.pem").replace('\n', " ");
    let packed = text("ca.pem").replace('\n', "");
    let stores = [
        store("trust.jks"),
        store_with("trust.jks", None),
        store("trust.p12"),
        store("unmarked.p12"),
        Store::Text(text("ca.pem").into()),
        Store::Text(one_line.into()),
        Store::Text(packed.into()),
    ];
    for store in stores {
        assert_eq!(store.trusted().unwrap(), expected, "{store}");
    }
}

#[test]
fn keys_come_out_of_every_kind_of_store() {
    let (certificates, key) = store("client.p12").identity(None).unwrap();
    assert_eq!(certificates.len(), 2);
    let key_password = "key-secret".into();
    for store in [
        store("client.jks"),
        store("client.pem"),
        Store::Text(text("client.pem").into()),
    ] {
        let identity = store.identity(Some(&key_password)).unwrap();
        assert_eq!(identity.0.first(), certificates.first(), "{store}");
        assert_eq!(identity.1.secret_der(), key.secret_der(), "{store}");
    }
}

#[test]
fn a_store_that_gives_nothing_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let rubbish = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Store::File {
            path,
            password: Some(PASSWORD.into()),
        }
    };
    let jks = std::fs::read(path("trust.jks")).unwrap();
    let trusted = [
        (
            store("nowhere.jks"),
            "No such file or directory (os error 2)",
        ),
        (
            store_with("trust.jks", Some("x")),
            "it is damaged, or the password is wrong",
        ),
        (
            rubbish("cut.jks", &jks[..100]),
            "it is damaged, or the password is wrong",
        ),
        (
            rubbish("empty", b""),
            "it is neither PEM nor PKCS#12 nor a Java key store, or it is damaged",
        ),
        (
            rubbish("text", b"hello"),
            "it is neither PEM nor PKCS#12 nor a Java key store, or it is damaged",
        ),
        (
            Store::Text("-----BEGIN CERTIFICATE-----AA".into()),
            "its PEM is damaged",
        ),
        (
            Store::Text("x".into()),
            "there is no trusted certificate in it",
        ),
        (store("client.jks"), "there is no trusted certificate in it"),
    ];
    for (store, expected) in trusted {
        assert_eq!(
            store.trusted().unwrap_err().to_string(),
            expected,
            "{store}"
        );
    }
    for name in ["trust.p12", "client.p12"] {
        let error = store_with(name, Some("x"))
            .trusted()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("it is damaged, or the password is wrong"),
            "{error}"
        );
    }
}

#[test]
fn a_store_without_a_usable_key_says_why() {
    let identities = [
        (
            store("client.jks"),
            None,
            "the password of the key is wrong",
        ),
        (store("client.pem"), None, "it needs a password"),
        (
            store("ca.pem"),
            None,
            "there is no key with its certificates in it",
        ),
        (
            store("trust.jks"),
            None,
            "there is no key with its certificates in it",
        ),
        (
            store("trust.p12"),
            None,
            "there is no key with its certificates in it",
        ),
        (store_with("client.p12", None), None, "it needs a password"),
    ];
    for (store, key_password, expected) in identities {
        let error = store.identity(key_password).unwrap_err();
        assert_eq!(error.to_string(), expected, "{store}");
    }
    let error = store("client.pem").identity(Some(&"x".into())).unwrap_err();
    assert!(
        error.to_string().starts_with("its key cannot be decrypted"),
        "{error}"
    );
}

#[test]
fn a_damaged_store_is_an_error_wherever_it_is_damaged() {
    for name in ["client.jks", "trust.jks", "client.p12", "client.pem"] {
        let whole = std::fs::read(path(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        let store = Store::File {
            path: file.clone(),
            password: Some(PASSWORD.into()),
        };
        let key_password = "key-secret".into();
        // Hashing passwords takes its time.
        let step = if name.ends_with("p12") { 61 } else { 7 };
        for at in (0..whole.len()).step_by(step) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            for bytes in [&damaged[..], &whole[..at]] {
                std::fs::write(&file, bytes).unwrap();
                // It may be a part that nobody looks at; it must not be a panic.
                let _ = store.trusted();
                let _ = store.identity(Some(&key_password));
            }
        }
    }
}

/// A server on loopback that sends back what it gets, on every connection.
async fn echo(identity: &str, wants_certificate: bool) -> u16 {
    let (chain, key) = store(identity).identity(None).unwrap();
    let provider = Arc::new(ring::default_provider());
    let versions = match identity {
        "lone.p12" => ONLY_OLD,
        _ => ALL_VERSIONS,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = if wants_certificate {
        let mut roots = tokio_rustls::rustls::RootCertStore::empty();
        roots.add_parsable_certificates(store("ca.pem").trusted().unwrap());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let (mut reading, mut writing) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut reading, &mut writing).await;
            });
        }
    });
    port
}

/// Says something to a server and hears it; or why not.
async fn talk(tls: &Tls, host: &str, port: u16) -> Result<(), String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let talk = async {
        let mut stream = tls.connect(host, stream).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"hello");
        Ok(())
    };
    let talk: std::io::Result<()> = talk.await;
    talk.map_err(|error| reason(&error))
}

fn trusting(name: &str) -> TlsOptions {
    TlsOptions {
        trust: Some(store(name)),
        ..TlsOptions::default()
    }
}

#[tokio::test]
async fn a_broker_is_spoken_to_whose_certificate_a_java_client_accepts() {
    let broker = echo("broker.p12", false).await;
    let lone = echo("lone.p12", false).await;
    let unchecked = TlsOptions {
        verifies_hosts: false,
        ..trusting("ca.pem")
    };
    let old = TlsOptions {
        versions: vec![TlsVersion::Tls12],
        cipher_suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()],
        ..trusting("ca.pem")
    };
    let cases = [
        (trusting("trust.jks"), "127.0.0.1", broker),
        (trusting("trust.p12"), "localhost", broker),
        (old, "localhost", broker),
        (unchecked, "elsewhere.example", broker),
        // It is its own signer, and names its host in its subject only.
        (trusting("lone.pem"), "localhost", lone),
    ];
    for (options, host, port) in cases {
        let said = format!("{options:?} at {host}");
        assert_eq!(talk(&Tls::new(options), host, port).await, Ok(()), "{said}");
    }
}

/// Says of every case why nothing can be said.
async fn assert_refused(cases: impl IntoIterator<Item = (TlsOptions, &str, u16, &str)>) {
    for (options, host, port, expected) in cases {
        let error = talk(&Tls::new(options), host, port).await.unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_broker_that_cannot_be_trusted_is_refused_with_the_reason() {
    let broker = echo("broker.p12", false).await;
    let lone = echo("lone.p12", false).await;
    let unsigned = "nobody who is trusted has signed";
    let elsewhere = "is not for this host";
    assert_refused([
        (trusting("lone.pem"), "127.0.0.1", broker, unsigned),
        (trusting("ca.pem"), "localhost", lone, unsigned),
        (trusting("ca.pem"), "elsewhere.example", broker, elsewhere),
        (trusting("lone.pem"), "127.0.0.1", lone, elsewhere),
        (trusting("lone.pem"), "sub.localhost", lone, elsewhere),
    ])
    .await;
}

#[tokio::test]
async fn what_cannot_be_agreed_on_is_said() {
    let broker = echo("broker.p12", false).await;
    let lone = echo("lone.p12", false).await;
    let demanding = echo("broker.p12", true).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"\0\0\0\x04nope").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let new = TlsOptions {
        versions: vec![TlsVersion::Tls13],
        ..trusting("lone.pem")
    };
    let suites = TlsOptions {
        cipher_suites: vec!["TLS_RSA_WITH_NULL_MD5".to_owned()],
        ..trusting("ca.pem")
    };
    let (certificate, version) = ("it wants a certificate", "ended TLS with ProtocolVersion");
    let known = "none of the cipher suites is known; known are TLS_";
    assert_refused([
        (trusting("ca.pem"), "127.0.0.1", demanding, certificate),
        (trusting("ca.pem"), "127.0.0.1", plain, "does not speak TLS"),
        (new, "localhost", lone, version),
        (suites, "127.0.0.1", broker, known),
        (trusting("gone.pem"), "127.0.0.1", broker, "No such file"),
        (trusting("ca.pem"), "a b", broker, "is not a name of a host"),
    ])
    .await;
}

#[tokio::test]
async fn who_shows_a_certificate_is_let_in() {
    let port = echo("broker.p12", true).await;
    for (identity, key_password) in [
        ("client.jks", Some("key-secret")),
        ("client.p12", None),
        ("client.pem", Some("key-secret")),
    ] {
        let options = TlsOptions {
            identity: Some(store(identity)),
            key_password: key_password.map(Into::into),
            ..trusting("ca.pem")
        };
        assert_eq!(
            talk(&Tls::new(options), "127.0.0.1", port).await,
            Ok(()),
            "{identity}"
        );
    }
}

#[tokio::test]
async fn a_store_that_changes_is_read_again_and_a_broken_one_is_not_believed() {
    let port = echo("broker.p12", false).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trust.pem");
    let replace = |text: &str, seconds: u64| {
        std::fs::write(&file, text).unwrap();
        // However coarse the clock of the file system is.
        let opened = std::fs::File::open(&file).unwrap();
        let written_at = opened.metadata().unwrap().modified().unwrap();
        let at = written_at + std::time::Duration::from_secs(seconds);
        opened.set_modified(at).unwrap();
    };
    replace(&text("lone.pem"), 0);
    let tls = Tls::new(TlsOptions {
        trust: Some(Store::File {
            path: file.clone(),
            password: None,
        }),
        ..TlsOptions::default()
    });
    assert!(talk(&tls, "127.0.0.1", port).await.is_err());
    replace(&text("ca.pem"), 10);
    assert_eq!(talk(&tls, "127.0.0.1", port).await, Ok(()));
    replace("rubbish", 20);
    assert_eq!(talk(&tls, "127.0.0.1", port).await, Ok(()));
    replace(&text("lone.pem"), 30);
    assert!(talk(&tls, "127.0.0.1", port).await.is_err());
}

#[test]
fn nothing_secret_is_shown() {
    let options = TlsOptions {
        identity: Some(Store::Text(text("client.pem").into())),
        key_password: Some("key-secret".into()),
        ..trusting("trust.jks")
    };
    let shown = format!("{options:?}");
    assert!(
        !shown.contains("-secret") && !shown.contains("BEGIN"),
        "{shown}"
    );
}
