//! SCRAM as a client: what to say to prove a password that is never sent. Pure.
//!
//! The passwords are those of a broker, so names and passwords go as they are: Kafka prepares
//! neither (`ScramFormatter.normalize`), although RFC 5802 says so. Sources: RFC 5802, RFC 7677, `ScramSaslClient`,
//! KIP-84, KIP-48 (tokens).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};

use super::super::limits::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN};

/// `n,,` in base64: no channel binding, no other identity.
const NO_BINDING: &str = "biws";

/// Which hash a mechanism stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// `SCRAM-SHA-256`.
    Sha256,
    /// `SCRAM-SHA-512`.
    Sha512,
}

/// The first message of a client, and what is needed to go on.
#[derive(Debug)]
pub(super) struct Opening {
    hash: ScramHash,
    nonce: String,
    /// The message without its header.
    bare: String,
}

/// What the broker asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    hash: ScramHash,
    /// What both sides have said, but for the proof.
    transcript: String,
    nonce: String,
    /// Stands in the key of the password.
    pub(super) salt: Vec<u8>,
    /// How often the password is hashed; between the two bounds of `limits`.
    pub(super) iterations: u32,
}

/// What the broker must know to be the one that knows the password.
#[derive(Debug)]
pub(super) struct Expected {
    hash: ScramHash,
    server_key: Vec<u8>,
    transcript: String,
}

/// Why an exchange ends; never holds what was exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScramError {
    #[error("the broker's SCRAM message cannot be read")]
    Unreadable,
    #[error("the broker answers another SCRAM exchange than this one: somebody may be in between")]
    Nonce,
    #[error(
        "the broker asks for {0} SCRAM iterations; {SCRAM_ITERATIONS_MIN} to {SCRAM_ITERATIONS_MAX} are accepted"
    )]
    Iterations(u32),
    #[error("the broker does not know the password either: somebody may stand in for it")]
    Signature,
    #[error("the broker ended the SCRAM exchange")]
    Refused,
}

impl Opening {
    /// Opens an exchange for `name`; `nonce` is printable, without commas, and new each time.
    ///
    /// `is_token` says that name and password are those of a delegation token.
    pub(super) fn new(hash: ScramHash, name: &str, is_token: bool, nonce: String) -> Self {
        let name = name.replace('=', "=3D").replace(',', "=2C");
        let extension = if is_token { ",tokenauth=true" } else { "" };
        Self {
            hash,
            bare: format!("n={name},r={nonce}{extension}"),
            nonce,
        }
    }

    /// The message.
    pub(super) fn message(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// Reads the broker's answer.
    pub(super) fn challenge(self, answer: &[u8]) -> Result<Challenge, ScramError> {
        let answer = std::str::from_utf8(answer).map_err(|_| ScramError::Unreadable)?;
        if answer.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let mut fields = answer.split(',');
        let mut field = |name: &str| fields.next()?.strip_prefix(name);
        let read = (|| {
            let nonce = field("r=")?;
            let salt = BASE64.decode(field("s=")?).ok()?;
            let iterations = field("i=")?.parse::<u32>().ok()?;
            Some((nonce, salt, iterations))
        })();
        let (nonce, salt, iterations) = read.ok_or(ScramError::Unreadable)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramError::Nonce);
        }
        if !(SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramError::Iterations(iterations));
        }
        Ok(Challenge {
            hash: self.hash,
            transcript: format!("{},{answer},c={NO_BINDING},r={nonce}", self.bare),
            nonce: nonce.to_owned(),
            salt,
            iterations,
        })
    }
}

impl Challenge {
    /// The last message of the client, and what the broker must answer. `salted` comes from
    /// [`salted_password`].
    pub(super) fn proof(self, salted: &[u8]) -> (String, Expected) {
        let Self {
            hash, transcript, ..
        } = self;
        let client_key = hash.mac(salted, b"Client Key");
        let stored_key = hash.digest(&client_key);
        let signature = hash.mac(&stored_key, transcript.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(key, signed)| key ^ signed)
            .collect();
        let proof = BASE64.encode(proof);
        let message = format!("c={NO_BINDING},r={},p={proof}", self.nonce);
        let expected = Expected {
            hash,
            server_key: hash.mac(salted, b"Server Key"),
            transcript,
        };
        (message, expected)
    }
}

impl Expected {
    /// Whether the broker knows the password.
    pub(super) fn check(&self, answer: &[u8]) -> Result<(), ScramError> {
        let answer = std::str::from_utf8(answer).map_err(|_| ScramError::Unreadable)?;
        if answer.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature = answer
            .split(',')
            .next()
            .and_then(|it| it.strip_prefix("v="));
        let signature = signature.and_then(|text| BASE64.decode(text).ok());
        let signature = signature.ok_or(ScramError::Unreadable)?;
        let transcript = self.transcript.as_bytes();
        if self.hash.is_mac(&self.server_key, transcript, &signature) {
            Ok(())
        } else {
            Err(ScramError::Signature)
        }
    }
}

/// Hashes a password; takes a millisecond per thousand iterations or so.
pub(super) fn salted_password(
    hash: ScramHash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
) -> Vec<u8> {
    let mut salted = vec![0; hash.len()];
    match hash {
        ScramHash::Sha256 => {
            pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
        }
        ScramHash::Sha512 => {
            pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted);
        }
    }
    salted
}

impl ScramHash {
    /// The mechanism's name.
    #[must_use]
    pub const fn mechanism(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn mac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, bytes)
                .finalize()
                .into_bytes()
                .to_vec(),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, bytes)
                .finalize()
                .into_bytes()
                .to_vec(),
        }
    }

    /// Takes the same time whatever `tag` is.
    fn is_mac(self, key: &[u8], bytes: &[u8], tag: &[u8]) -> bool {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, bytes).verify_slice(tag).is_ok(),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, bytes).verify_slice(tag).is_ok(),
        }
    }
}

fn keyed<M: hmac::Mac + hmac::KeyInit>(key: &[u8], bytes: &[u8]) -> M {
    let mac = <M as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.chain_update(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let opening = Opening::new(
            ScramHash::Sha256,
            "user",
            false,
            "rOprNGfwEbeRWgbNEkqO".to_owned(),
        );
        assert_eq!(opening.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = opening
            .challenge(
                b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            )
            .unwrap();
        let salted = salted_password(
            ScramHash::Sha256,
            b"pencil",
            &challenge.salt,
            challenge.iterations,
        );
        let (message, expected) = challenge.proof(&salted);
        assert_eq!(
            message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let answer = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(expected.check(answer), Ok(()));
        let forged = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=";
        assert!(expected.check(forged).is_err());
        assert_eq!(expected.check(b"v=AAAA"), Err(ScramError::Signature));
        assert_eq!(expected.check(b"e=other-error"), Err(ScramError::Refused));
        assert_eq!(expected.check(b"\xff"), Err(ScramError::Unreadable));
    }

    #[test]
    fn names_are_escaped_and_tokens_marked() {
        let opening = |name, is_token| {
            Opening::new(ScramHash::Sha512, name, is_token, "N".to_owned()).message()
        };
        assert_eq!(opening("a=b,c", false), "n,,n=a=3Db=2Cc,r=N");
        assert_eq!(opening("id", true), "n,,n=id,r=N,tokenauth=true");
    }

    #[test]
    fn what_the_broker_may_not_ask_is_refused() {
        let cases: [(&[u8], ScramError); 9] = [
            (b"", ScramError::Unreadable),
            (b"\xff", ScramError::Unreadable),
            (b"r=Nx,s=AA==", ScramError::Unreadable),
            (b"r=Nx,s=*,i=4096", ScramError::Unreadable),
            (b"r=Nx,s=AA==,i=-1", ScramError::Unreadable),
            (b"r=N,s=AA==,i=4096", ScramError::Nonce),
            (b"r=xN,s=AA==,i=4096", ScramError::Nonce),
            (b"r=Nx,s=AA==,i=4095", ScramError::Iterations(4095)),
            (b"r=Nx,s=AA==,i=1000001", ScramError::Iterations(1_000_001)),
        ];
        for (answer, error) in cases {
            let opening = Opening::new(ScramHash::Sha256, "u", false, "N".to_owned());
            assert_eq!(opening.challenge(answer), Err(error), "{answer:?}");
        }
    }
}
