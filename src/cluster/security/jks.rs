//! Java's own key store format, read: certificates, and keys with their chains. Pure.
//!
//! No crate for it stands on maintained parts and survives damaged input. Lengths are believed only
//! as far as there are bytes. Sources: `sun.security.provider.JavaKeyStore` and `KeyProtector` of
//! OpenJDK, for the format.

use pkcs8::{
    der::{Decode as _, Reader as _, SliceReader, asn1::OctetStringRef},
    spki::AlgorithmIdentifierRef,
};
use sha1::{Digest as _, Sha1};

/// What the first four bytes of a file say.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

/// What goes into the digest of a file beside the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";

const DIGEST_LEN: usize = 20;

/// How `KeyProtector` encrypts keys (1.3.6.1.4.1.42.2.17.1.1).
const KEY_PROTECTOR: &str = "1.3.6.1.4.1.42.2.17.1.1";

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyStore {
    /// Trusted certificates, as DER.
    pub(super) trusted: Vec<Vec<u8>>,
    /// Keys in the order of the file.
    pub(super) keys: Vec<ProtectedKey>,
}

/// A key and its certificates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProtectedKey {
    encrypted: Vec<u8>,
    /// The key's own first, as DER.
    pub(super) chain: Vec<Vec<u8>>,
}

/// Why a store or a key in it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JksError {
    #[error("it is damaged")]
    Damaged,
    #[error("it is damaged, or the password is wrong")]
    Digest,
    #[error("the password of the key is wrong")]
    KeyPassword,
    #[error("its key is encrypted in an unknown way")]
    Encryption,
}

/// Reads a store. Without a password it is not checked for damage, as Java has it.
pub(super) fn read(bytes: &[u8], password: Option<&str>) -> Result<KeyStore, JksError> {
    let split = bytes.len().checked_sub(DIGEST_LEN);
    let (content, digest) = split
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(JksError::Damaged)?;
    if let Some(password) = password {
        let mut expected = Sha1::new();
        expected.update(wide(password));
        expected.update(WHITENER);
        expected.update(content);
        if expected.finalize()[..] != *digest {
            return Err(JksError::Digest);
        }
    }
    Input(content).store().ok_or(JksError::Damaged)
}

impl ProtectedKey {
    /// The key as PKCS#8.
    pub(super) fn decrypt(&self, password: &str) -> Result<Vec<u8>, JksError> {
        let protected = self.protected().map_err(|_| JksError::Damaged)?;
        let protected = protected.ok_or(JksError::Encryption)?;
        let split = protected.split_first_chunk::<DIGEST_LEN>();
        let (salt, rest) = split.ok_or(JksError::Damaged)?;
        let split = rest.split_last_chunk::<DIGEST_LEN>();
        let (encrypted, digest) = split.ok_or(JksError::Damaged)?;
        let password = wide(password);
        let hash = |bytes: &[u8]| Sha1::new().chain_update(&password).chain_update(bytes);
        let mut key = Vec::with_capacity(encrypted.len());
        let mut pad = *salt;
        for block in encrypted.chunks(DIGEST_LEN) {
            pad = hash(&pad).finalize().into();
            key.extend(block.iter().zip(pad).map(|(byte, pad)| byte ^ pad));
        }
        if hash(&key).finalize()[..] == *digest {
            Ok(key)
        } else {
            Err(JksError::KeyPassword)
        }
    }

    /// What is in the envelope; `None` if it is of another kind.
    fn protected(&self) -> pkcs8::der::Result<Option<Vec<u8>>> {
        let mut reader = SliceReader::new(&self.encrypted)?;
        let (algorithm, data) = reader.sequence(|reader| {
            let algorithm = AlgorithmIdentifierRef::decode(reader)?;
            let data = <&OctetStringRef>::decode(reader)?;
            pkcs8::der::Result::Ok((algorithm, data))
        })?;
        let is_known = algorithm.oid.to_string() == KEY_PROTECTOR;
        Ok(is_known.then(|| data.as_bytes().to_vec()))
    }
}

/// Passwords are hashed as UTF-16, big-endian.
fn wide(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// The bytes that have not been read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn store(&mut self) -> Option<KeyStore> {
        let mut store = KeyStore::default();
        (self.take(4)? == MAGIC).then_some(())?;
        let version = self.number()?;
        matches!(version, 1 | 2).then_some(())?;
        for _ in 0..self.number()? {
            let tag = self.number()?;
            self.text()?;
            // When it was put there.
            self.take(8)?;
            match tag {
                1 => {
                    let encrypted = self.blob()?;
                    let mut chain = Vec::new();
                    for _ in 0..self.number()? {
                        chain.push(self.certificate(version)?);
                    }
                    store.keys.push(ProtectedKey { encrypted, chain });
                }
                2 => store.trusted.push(self.certificate(version)?),
                _ => return None,
            }
        }
        Some(store)
    }

    fn certificate(&mut self, version: u32) -> Option<Vec<u8>> {
        if version == 2 {
            // Its type, X.509 in all stores there are.
            self.text()?;
        }
        self.blob()
    }

    fn blob(&mut self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len).map(<[u8]>::to_vec)
    }

    fn text(&mut self) -> Option<()> {
        let len = self.take(2)?.try_into().ok()?;
        self.take(usize::from(u16::from_be_bytes(len))).map(|_| ())
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}
