//! Certificates and keys out of PEM, PKCS#12 and Java key stores.
//!
//! What a store is, its content says, not its name: Java does the same with its two formats. No
//! error holds a password or a key.

use std::{fmt, io, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{
    super::limits::STORE_LEN_MAX,
    jks::{self, JksError},
};

/// Where certificates are, or a key with its certificates.
#[derive(Clone, Debug)]
pub enum Store {
    /// PEM in the settings themselves.
    Text(SecretString),
    /// A file: PEM, PKCS#12 or a Java key store.
    File {
        /// Which.
        path: PathBuf,
        /// Of a Java key store or PKCS#12; without one the former is not checked for damage.
        password: Option<SecretString>,
    },
}

/// A key and the certificates that speak for it, its own first.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Why a store gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is larger than any store.
    #[error("it is larger than {STORE_LEN_MAX} bytes")]
    TooLarge,
    /// It is not PEM, and no store that is known.
    #[error("it is neither PEM nor PKCS#12 nor a Java key store, or it is damaged")]
    Unknown,
    /// It needs a password.
    #[error("it needs a password")]
    NoPassword,
    /// It is PKCS#12 and cannot be read, for this reason.
    #[error("it is damaged, or the password is wrong ({0})")]
    Pkcs12(String),
    /// A Java key store that cannot be read, for this reason.
    #[error("{0}")]
    Jks(String),
    /// Some PEM in it is broken off, or not base64.
    #[error("its PEM is damaged")]
    Pem,
    /// The key is encrypted and cannot be decrypted, for this reason.
    #[error("its key cannot be decrypted: {0}")]
    Decryption(String),
    /// There is no certificate in it.
    #[error("there is no trusted certificate in it")]
    NoCertificate,
    /// There is no key in it, or none with certificates.
    #[error("there is no key with its certificates in it")]
    NoKey,
}

impl From<JksError> for StoreError {
    fn from(error: JksError) -> Self {
        Self::Jks(error.to_string())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("the PEM in the settings"),
            Self::File { path, .. } => path.display().fmt(f),
        }
    }
}

impl Store {
    /// Reads the certificates that are to be trusted; at least one.
    pub(super) fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, StoreError> {
        let password = self.password();
        let found = match self.content()? {
            Content::Pem(sections) => certificates(&sections),
            Content::Jks(bytes) => {
                let store = jks::read(&bytes, password)?;
                store.trusted.into_iter().map(Into::into).collect()
            }
            Content::Pkcs12(bytes) => pkcs12_trusted(&bytes, password.unwrap_or_default())?,
        };
        if found.is_empty() {
            return Err(StoreError::NoCertificate);
        }
        Ok(found)
    }

    /// Reads the first key that has certificates. `key_password` is that of the key, where it has
    /// one of its own.
    pub(super) fn identity(
        &self,
        key_password: Option<&SecretString>,
    ) -> Result<Identity, StoreError> {
        let password = self.password();
        let key_password = key_password.map(ExposeSecret::expose_secret);
        match self.content()? {
            Content::Pem(sections) => {
                let key = sections.iter().find_map(|it| it.key(key_password));
                let certificates = certificates(&sections);
                match key {
                    Some(key) if !certificates.is_empty() => Ok((certificates, key?)),
                    _ => Err(StoreError::NoKey),
                }
            }
            Content::Jks(bytes) => {
                let store = jks::read(&bytes, password)?;
                let key = store.keys.into_iter().find(|key| !key.chain.is_empty());
                let key = key.ok_or(StoreError::NoKey)?;
                let password = key_password.or(password).ok_or(StoreError::NoPassword)?;
                let plain = PrivatePkcs8KeyDer::from(key.decrypt(password)?);
                let chain = key.chain.into_iter().map(Into::into).collect();
                Ok((chain, plain.into()))
            }
            Content::Pkcs12(bytes) => {
                pkcs12_identity(&bytes, password.ok_or(StoreError::NoPassword)?)
            }
        }
    }

    fn password(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::File { password, .. } => password.as_ref().map(ExposeSecret::expose_secret),
        }
    }

    fn content(&self) -> Result<Content, StoreError> {
        let bytes = match self {
            Self::Text(text) => return pem(text.expose_secret()).map(Content::Pem),
            Self::File { path, .. } => {
                if std::fs::metadata(path)?.len() > STORE_LEN_MAX {
                    return Err(StoreError::TooLarge);
                }
                std::fs::read(path)?
            }
        };
        if bytes.starts_with(&jks::MAGIC) {
            return Ok(Content::Jks(bytes));
        }
        // Every PKCS#12 file is a DER sequence.
        if bytes.first() == Some(&0x30) {
            return Ok(Content::Pkcs12(bytes));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) if text.contains(BEGIN) => pem(text).map(Content::Pem),
            _ => Err(StoreError::Unknown),
        }
    }
}

enum Content {
    Pem(Vec<Section>),
    Jks(Vec<u8>),
    Pkcs12(Vec<u8>),
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// What stands between two marks of a PEM text.
struct Section {
    label: String,
    der: Vec<u8>,
}

impl Section {
    /// The key in it, if it holds one.
    fn key(&self, password: Option<&str>) -> Option<Result<PrivateKeyDer<'static>, StoreError>> {
        let der = self.der.clone();
        Some(match self.label.as_str() {
            "PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs8(der.into())),
            "RSA PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs1(der.into())),
            "EC PRIVATE KEY" => Ok(PrivateKeyDer::Sec1(der.into())),
            "ENCRYPTED PRIVATE KEY" => password
                .ok_or(StoreError::NoPassword)
                .and_then(|password| decrypted(&der, password)),
            _ => return None,
        })
    }
}

fn decrypted(der: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, StoreError> {
    let failed = |error: pkcs8::Error| StoreError::Decryption(error.to_string());
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|error| StoreError::Decryption(error.to_string()))?;
    let plain = encrypted.decrypt(password).map_err(failed)?;
    Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
}

fn certificates(sections: &[Section]) -> Vec<CertificateDer<'static>> {
    let certificates = sections
        .iter()
        .filter(|section| matches!(section.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE"));
    certificates.map(|it| it.der.clone().into()).collect()
}

/// Cuts a PEM text into its sections. Line ends may be missing, as Java allows: a properties file
/// has values of one line.
fn pem(text: &str) -> Result<Vec<Section>, StoreError> {
    let mut sections = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once(BEGIN) {
        let (label, body) = begun.split_once(DASHES).ok_or(StoreError::Pem)?;
        let end = format!("-----END {label}{DASHES}");
        let (body, behind) = body.split_once(&end).ok_or(StoreError::Pem)?;
        let packed: String = body.split_whitespace().collect();
        let der = BASE64.decode(packed).map_err(|_| StoreError::Pem)?;
        sections.push(Section {
            label: label.to_owned(),
            der,
        });
        rest = behind;
    }
    Ok(sections)
}

/// What Java marks as trusted; where nothing is marked, as OpenSSL writes it, every certificate.
fn pkcs12_trusted(
    bytes: &[u8],
    password: &str,
) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    for policy in [Pkcs12ImportPolicy::Strict, Pkcs12ImportPolicy::Raw] {
        let store = pkcs12(bytes, password, policy)?;
        let found: Vec<_> = store
            .entries()
            .filter_map(|(_, entry)| match entry {
                KeyStoreEntry::Certificate(it) => Some(it.as_der().to_vec().into()),
                _ => None,
            })
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn pkcs12_identity(bytes: &[u8], password: &str) -> Result<Identity, StoreError> {
    let store = pkcs12(bytes, password, Pkcs12ImportPolicy::Strict)?;
    let (_, chain) = store.private_key_chain().ok_or(StoreError::NoKey)?;
    let certificates = chain.certs().iter();
    let certificates = certificates.map(|it| it.as_der().to_vec().into()).collect();
    let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
    Ok((certificates, key.into()))
}

fn pkcs12(
    bytes: &[u8],
    password: &str,
    policy: Pkcs12ImportPolicy,
) -> Result<KeyStore, StoreError> {
    KeyStore::from_pkcs12(bytes, password, policy)
        .map_err(|error| StoreError::Pkcs12(error.to_string()))
}
