//! TLS towards the brokers of one cluster: whom to trust, who to be.
//!
//! Judges certificates as Java's clients do, so that stores which work there work here: a
//! certificate that is in the trust store itself is trusted, whoever signed it, and a certificate
//! without names of its own is for the name of its subject (RFC 2818, `HostnameChecker`).
//! Stores are read again when their files have changed.

use std::{
    io,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error,
        RootCertStore, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
        client::{
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_cert_signed_by_trust_anchor, verify_server_name,
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::ParsedCertificate,
        version::{TLS12, TLS13},
    },
};
use x509_parser::extensions::GeneralName;

use super::{
    super::lock,
    stores::{Store, StoreError},
};

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The certificates to trust (`ssl.truststore.*`); `None`: those of the operating system.
    pub trust: Option<Store>,
    /// Who to be (`ssl.keystore.*`); `None`: nobody.
    pub identity: Option<Store>,
    /// Of the key in `identity`, where it has a password of its own (`ssl.key.password`).
    pub key_password: Option<SecretString>,
    /// Whether a broker's certificate must be for its host
    /// (`ssl.endpoint.identification.algorithm`).
    pub verifies_hosts: bool,
    /// The versions to speak (`ssl.enabled.protocols`), at least one.
    pub versions: Vec<TlsVersion>,
    /// The suites to use, by their standard names (`ssl.cipher.suites`); those that are not known
    /// here do not count; empty: all.
    pub cipher_suites: Vec<String>,
}

impl Default for TlsOptions {
    /// As Kafka's clients.
    fn default() -> Self {
        Self {
            trust: None,
            identity: None,
            key_password: None,
            verifies_hosts: true,
            versions: vec![TlsVersion::Tls12, TlsVersion::Tls13],
            cipher_suites: Vec::new(),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    const fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }
}

/// Why TLS cannot be spoken as it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The store of certificates cannot be used.
    #[error("trusted certificates of {store}: {error}")]
    Trust {
        /// Which.
        store: String,
        /// Why.
        #[source]
        error: StoreError,
    },
    /// The store of the own key cannot be used.
    #[error("own key and certificate of {store}: {error}")]
    Identity {
        /// Which.
        store: String,
        /// Why.
        #[source]
        error: StoreError,
    },
    /// There is no list of trusted certificates on this machine.
    #[error("this machine has no list of trusted certificates: set ssl.truststore.location")]
    NoTrust,
    /// None of the cipher suites is known.
    #[error("none of the cipher suites is known; known are {0}")]
    CipherSuites(String),
    /// The key does not fit the certificate, or is of an unknown kind; the reason.
    #[error("own key and certificate: {0}")]
    Key(String),
    /// No suite goes with the versions, or such.
    #[error("{0}")]
    Versions(String),
}

/// TLS as one cluster is spoken to.
#[derive(Debug)]
pub(in super::super) struct Tls {
    options: TlsOptions,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Clone, Debug)]
struct Loaded {
    config: Arc<ClientConfig>,
    /// When the files were changed last, as they were read.
    changed_at: Vec<Option<SystemTime>>,
}

impl Tls {
    pub(super) const fn new(options: TlsOptions) -> Self {
        Self {
            options,
            loaded: Mutex::new(None),
        }
    }

    /// Speaks TLS on a connected stream, with the broker that is said to be at `host`.
    ///
    /// # Errors
    ///
    /// Why not; [`reason`] has words for it.
    pub(in super::super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.config().map_err(io::Error::other)?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other(format!("{host:?} is not a name of a host")))?;
        TlsConnector::from(config).connect(name, stream).await
    }

    /// What holds now. A store that has changed and cannot be read leaves what held before.
    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut loaded = lock(&self.loaded);
        // Before the files are read: a change in between is seen next time.
        let changed_at = self.options.changed_at();
        let config = match loaded.take() {
            Some(held) if held.changed_at == changed_at => held.config,
            Some(held) => self.options.load().unwrap_or_else(|error| {
                tracing::warn!("{error}; what was read before it was changed still holds");
                held.config
            }),
            None => self.options.load()?,
        };
        *loaded = Some(Loaded {
            config: Arc::clone(&config),
            changed_at,
        });
        Ok(config)
    }
}

/// Says in words why TLS could not be spoken, or not any longer.
pub(in super::super) fn reason(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    match cause {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => String::from(
            "nobody who is trusted has signed the broker's certificate; ssl.truststore.location must hold it or its signer",
        ),
        Some(Error::InvalidCertificate(
            cause @ (CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }),
        )) => format!(
            "the broker's certificate is not for this host ({cause}); use a name that it is for, or let the broker advertise one"
        ),
        Some(Error::InvalidCertificate(cause)) => {
            format!("the broker's certificate cannot be accepted: {cause}")
        }
        Some(Error::InvalidMessage(_)) => String::from(
            "what answers there does not speak TLS; is the listener PLAINTEXT or SASL_PLAINTEXT?",
        ),
        Some(Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA),
        )) => format!(
            "the broker does not accept who this is ({alert:?}); it wants a certificate, which ssl.keystore.location holds, of a signer that it trusts"
        ),
        Some(Error::AlertReceived(alert)) => format!("the broker ended TLS with {alert:?}"),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => String::from(
            "the broker closed the connection during the TLS handshake; is the listener PLAINTEXT or SASL_PLAINTEXT?",
        ),
        _ => error.to_string(),
    }
}

/// Whether an error of a stream is one of TLS.
pub(in super::super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|it| it.is::<Error>())
}

impl TlsOptions {
    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let stores = [&self.trust, &self.identity].into_iter().flatten();
        let changed_at = |store: &Store| match store {
            Store::Text(_) => None,
            Store::File { path, .. } => std::fs::metadata(path).ok()?.modified().ok(),
        };
        stores.map(changed_at).collect()
    }

    fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(self.provider()?);
        let versions: Vec<_> = self.versions.iter().map(|it| it.supported()).collect();
        let verifier = Verifier {
            trusted: self.trusted()?,
            verifies_hosts: self.verifies_hosts,
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| TlsError::Versions(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(store) => {
                let identity = store.identity(self.key_password.as_ref());
                let (chain, key) = identity.map_err(|error| TlsError::Identity {
                    store: store.to_string(),
                    error,
                })?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| TlsError::Key(error.to_string()))?
            }
        };
        Ok(Arc::new(config))
    }

    fn provider(&self) -> Result<CryptoProvider, TlsError> {
        let mut provider = ring::default_provider();
        if self.cipher_suites.is_empty() {
            return Ok(provider);
        }
        let is_wanted =
            |suite: &SupportedCipherSuite| self.cipher_suites.contains(&standard_name(suite));
        let all: Vec<String> = provider.cipher_suites.iter().map(standard_name).collect();
        provider.cipher_suites.retain(is_wanted);
        if provider.cipher_suites.is_empty() {
            return Err(TlsError::CipherSuites(all.join(", ")));
        }
        Ok(provider)
    }

    fn trusted(&self) -> Result<Trusted, TlsError> {
        let certificates = match &self.trust {
            Some(store) => store.trusted().map_err(|error| TlsError::Trust {
                store: store.to_string(),
                error,
            })?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        if certificates.is_empty() {
            return Err(TlsError::NoTrust);
        }
        let mut roots = RootCertStore::empty();
        // Those that sign nothing are trusted for themselves.
        roots.add_parsable_certificates(certificates.iter().cloned());
        Ok(Trusted {
            certificates,
            roots,
        })
    }
}

/// `TLS13_AES_128_GCM_SHA256` is what Java and the standard call `TLS_AES_128_GCM_SHA256`.
fn standard_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

#[derive(Debug)]
struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
}

#[derive(Debug)]
struct Verifier {
    trusted: Trusted,
    verifies_hosts: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.trusted.certificates.contains(end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.trusted.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )
            .map_err(|error| match is_its_own_signer(end_entity) {
                true => CertificateError::UnknownIssuer.into(),
                false => error,
            })?;
        }
        if self.verifies_hosts && !is_subject(end_entity, server_name) {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Whether a certificate without names of hosts is for a host of this name by its subject.
fn is_subject(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(name) = name else {
        return false;
    };
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let is_host = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_));
    if names.is_some_and(|names| names.value.general_names.iter().any(is_host)) {
        return false;
    }
    // The most specific one is the last.
    let subject = certificate.subject().iter_common_name().last();
    let subject = subject.and_then(|it| it.as_str().ok());
    subject.is_some_and(|subject| matches_host(subject, name.as_ref()))
}

/// Whether a certificate is signed by whom it is for; then it is trusted only for itself.
fn is_its_own_signer(certificate: &CertificateDer<'_>) -> bool {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.is_ok_and(|(_, certificate)| certificate.subject() == certificate.issuer())
}

/// Whether a name, which may begin with a star for one label, is that of a host.
fn matches_host(name: &str, host: &str) -> bool {
    let is_same = |left: &str, right: &str| left.eq_ignore_ascii_case(right);
    match (name.strip_prefix("*."), host.split_once('.')) {
        (Some(parent), Some((_, of_host))) => parent.contains('.') && is_same(parent, of_host),
        (Some(_), None) => false,
        (None, _) => is_same(name, host),
    }
}
