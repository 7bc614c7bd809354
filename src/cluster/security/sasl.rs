//! SASL: saying who this program is, at the start of a connection and again before a session ends.
//!
//! Tokens travel in SaslAuthenticate requests only (KIP-152); the bare frames of brokers before
//! Kafka 1.0 are not spoken. Sources: KIP-43, KIP-84, KIP-255, KIP-368, `SaslClientAuthenticator`.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use kmirror_protocol::{
    ApiKey, Request,
    messages::{SaslAuthenticateRequest, SaslHandshakeRequest},
    wire::Secret,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinSet;
use tokio_rustls::rustls::crypto::ring;

use super::{
    super::{
        channel::{Channel, Expected},
        connection::{Answer, Pending},
        error::RequestError,
        handshake::ApiRanges,
        limits::{SESSION_SHARE, answer_len_max},
        lock,
    },
    Security,
    oauth::{OauthOptions, Tokens},
    scram::{self, Challenge, Opening, ScramHash},
};

/// How this program says who it is.
#[derive(Clone, Debug)]
pub enum SaslOptions {
    /// `PLAIN`: the password itself is sent, so use it over TLS only.
    Plain(Credentials),
    /// `SCRAM-SHA-256` and `SCRAM-SHA-512`: the password is never sent.
    Scram {
        /// Which of the two.
        hash: ScramHash,
        /// Whose name.
        credentials: Credentials,
        /// Whether name and password are those of a delegation token (KIP-48).
        is_token: bool,
    },
    /// `OAUTHBEARER`: whoever has a token is who it says.
    Oauth(OauthOptions),
}

/// A name and its password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name.
    pub name: String,
    /// The password.
    pub password: SecretString,
}

/// SASL as one cluster is spoken to.
#[derive(Debug)]
pub(in super::super) struct Sasl {
    options: SaslOptions,
    /// The password as it was hashed last, and for which salt and iterations (RFC 5802, 5.1).
    salted: Mutex<Option<Salted>>,
    /// For `OAUTHBEARER`.
    tokens: Option<Tokens>,
}

#[derive(Clone)]
struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    password: Arc<[u8]>,
}

impl std::fmt::Debug for Salted {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salted")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// A connection whose versions are known, to say on it who this is.
pub(in super::super) struct Talk<'a> {
    pub(in super::super) channel: &'a Arc<Channel>,
    pub(in super::super) ranges: &'a ApiRanges,
    pub(in super::super) client_id: &'a str,
    /// For each request.
    pub(in super::super) timeout: Duration,
}

/// Whether a request is one of those that say who this is.
pub(in super::super) const fn is_of_sasl(api: ApiKey) -> bool {
    matches!(api, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate)
}

impl Sasl {
    pub(super) fn new(options: SaslOptions) -> Self {
        let tokens = match &options {
            SaslOptions::Oauth(options) => Some(Tokens::new(options.clone())),
            SaslOptions::Plain(_) | SaslOptions::Scram { .. } => None,
        };
        Self {
            options,
            salted: Mutex::new(None),
            tokens,
        }
    }

    /// Says who this is. Gives for how long that holds, if it does not for ever.
    ///
    /// # Errors
    ///
    /// `Denied` when the broker does not accept it, or is not what it says; else why it could
    /// not be said.
    pub(in super::super) async fn authenticate(
        &self,
        talk: &Talk<'_>,
    ) -> Result<Option<Duration>, RequestError> {
        talk.choose(self.options.mechanism()).await?;
        match &self.options {
            SaslOptions::Plain(credentials) => {
                let Credentials { name, password } = credentials;
                let token = format!("\0{name}\0{}", password.expose_secret());
                Ok(talk.exchange(token.as_bytes()).await?.1)
            }
            SaslOptions::Scram {
                hash,
                credentials,
                is_token,
            } => self.scram(talk, *hash, credentials, *is_token).await,
            SaslOptions::Oauth(_) => self.oauth(talk).await,
        }
    }

    async fn oauth(&self, talk: &Talk<'_>) -> Result<Option<Duration>, RequestError> {
        let Some(tokens) = &self.tokens else {
            return Ok(None);
        };
        let message = tokens.message().await;
        let message = message.map_err(|problem| talk.denied(&problem))?;
        let (answer, lifetime) = talk.exchange(message.expose_secret().as_bytes()).await?;
        if answer.is_empty() {
            return Ok(lifetime);
        }
        // The broker says what is wrong with the token, and after one byte of ours that it is.
        let refused = talk.exchange(b"\x01").await;
        refused.and_then(|_| Err(talk.denied("the broker does not accept the token")))
    }

    async fn scram(
        &self,
        talk: &Talk<'_>,
        hash: ScramHash,
        credentials: &Credentials,
        is_token: bool,
    ) -> Result<Option<Duration>, RequestError> {
        let denied = |error: scram::ScramError| talk.denied(&error.to_string());
        let opening = Opening::new(hash, &credentials.name, is_token, nonce());
        let (answer, _) = talk.exchange(opening.message().as_bytes()).await?;
        let challenge = opening.challenge(&answer).map_err(denied)?;
        let salted = self.salted(hash, &challenge, &credentials.password).await;
        let (message, expected) = challenge.proof(&salted);
        let (answer, lifetime) = talk.exchange(message.as_bytes()).await?;
        expected.check(&answer).map_err(denied)?;
        Ok(lifetime)
    }

    /// Hashes the password, beside the thread that serves the connections, unless it was before.
    async fn salted(
        &self,
        hash: ScramHash,
        challenge: &Challenge,
        password: &SecretString,
    ) -> Arc<[u8]> {
        let (salt, iterations) = (challenge.salt.clone(), challenge.iterations);
        if let Some(known) = &*lock(&self.salted)
            && (&known.salt, known.iterations) == (&salt, iterations)
        {
            return Arc::clone(&known.password);
        }
        let (of, password) = (salt.clone(), password.clone());
        let salted = tokio::task::spawn_blocking(move || {
            scram::salted_password(hash, password.expose_secret().as_bytes(), &of, iterations)
        });
        // Hashing does not panic; cancelled, nobody waits for it.
        let password: Arc<[u8]> = salted.await.unwrap_or_default().into();
        *lock(&self.salted) = Some(Salted {
            salt,
            iterations,
            password: Arc::clone(&password),
        });
        password
    }
}

impl SaslOptions {
    /// The mechanism's name.
    #[must_use]
    pub const fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain(_) => "PLAIN",
            Self::Scram { hash, .. } => hash.mechanism(),
            Self::Oauth(_) => "OAUTHBEARER",
        }
    }
}

/// What nobody can guess, in letters and digits.
fn nonce() -> String {
    let mut bytes = [0; 24];
    // Where the system has no randomness, TLS would not work either; then time must do.
    if ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .is_err()
    {
        fastrand::fill(&mut bytes);
    }
    BASE64.encode(bytes)
}

impl Talk<'_> {
    /// Names the mechanism.
    async fn choose(&self, mechanism: &str) -> Result<(), RequestError> {
        let answer = self.ask(&SaslHandshakeRequest { mechanism }, 1).await?;
        let response = answer.decode()?;
        if let Err(code) = response.error_code.ok() {
            let offered: Vec<&str> = response.mechanisms.iter().collect();
            let problem = format!(
                "the broker answered {code} to {mechanism}; sasl.mechanism must be one that it offers: {}",
                if offered.is_empty() {
                    String::from("none")
                } else {
                    offered.join(", ")
                },
            );
            return Err(self.denied_by(ApiKey::SaslHandshake, &problem));
        }
        Ok(())
    }

    /// Sends a token. Gives the broker's, and for how long what was said holds, if not for ever.
    async fn exchange(&self, token: &[u8]) -> Result<(Vec<u8>, Option<Duration>), RequestError> {
        let request = SaslAuthenticateRequest {
            auth_bytes: Secret(token),
        };
        let answer = self.ask(&request, 0).await?;
        let response = answer.decode()?;
        if let Err(code) = response.error_code.ok() {
            let said = response.error_message.unwrap_or_default();
            return Err(self.denied(&format!("the broker answered {code}: {said}")));
        }
        let lifetime = u64::try_from(response.session_lifetime_ms).unwrap_or_default();
        let lifetime = (lifetime > 0).then(|| Duration::from_millis(lifetime));
        Ok((response.auth_bytes.0.to_vec(), lifetime))
    }

    async fn ask<R: Request>(
        &self,
        request: &R,
        version_min: i16,
    ) -> Result<Answer<R>, RequestError> {
        let needed = version_min.max(*R::VERSIONS.start())..=*R::VERSIONS.end();
        let version = self.ranges.pick(R::KEY, &needed);
        let version = version.ok_or_else(|| RequestError::Unsupported {
            origin: self.channel.origin(R::KEY),
            offered: self.ranges.offered(R::KEY),
            needed,
        })?;
        let expected = Expected {
            api: R::KEY,
            len_max: answer_len_max(R::KEY),
            trusted: false,
            timeout: self.timeout,
        };
        Pending::enqueue(self.channel, request, version, self.client_id, expected)?.await
    }

    fn denied(&self, reason: &str) -> RequestError {
        self.denied_by(ApiKey::SaslAuthenticate, reason)
    }

    fn denied_by(&self, api: ApiKey, reason: &str) -> RequestError {
        RequestError::Denied {
            origin: self.channel.origin(api),
            reason: reason.into(),
        }
    }
}

/// A connection on which this must be said again from time to time.
pub(in super::super) struct Session {
    pub(in super::super) security: Arc<Security>,
    pub(in super::super) channel: Weak<Channel>,
    pub(in super::super) ranges: Arc<ApiRanges>,
    pub(in super::super) client_id: Arc<str>,
    /// For each request.
    pub(in super::super) timeout: Duration,
}

impl Session {
    /// Says who this is again whenever most of `lifetime` has passed (KIP-368); ends the channel when
    /// the broker does not accept it any more. Dropping the set ends this.
    pub(in super::super) fn keep(self, lifetime: Duration) -> JoinSet<()> {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut next = Some(lifetime);
            while let Some(lifetime) = next {
                let share = SESSION_SHARE.0 + fastrand::f64() * (SESSION_SHARE.1 - SESSION_SHARE.0);
                tokio::time::sleep(lifetime.mul_f64(share)).await;
                let Some(channel) = self.channel.upgrade() else {
                    return;
                };
                match self.renew(&channel).await {
                    Ok(lifetime) => {
                        tracing::debug!("renewed the session with {}", channel.broker());
                        next = lifetime;
                    }
                    Err(_) => return,
                }
            }
        });
        task
    }

    /// Requests are held back meanwhile: a broker takes nothing in between.
    async fn renew(&self, channel: &Arc<Channel>) -> Result<Option<Duration>, RequestError> {
        let Some(sasl) = &self.security.sasl else {
            return Ok(None);
        };
        let hold = Hold::new(channel);
        let talk = Talk {
            channel,
            ranges: &self.ranges,
            client_id: &self.client_id,
            timeout: self.timeout,
        };
        let renewed = sasl.authenticate(&talk).await;
        match &renewed {
            Ok(_) => hold.release(),
            Err(error) => channel.end(error.clone()),
        }
        renewed
    }
}

/// Holds the requests of a channel back. Given up before its time, it ends the channel: nobody would
/// send them.
struct Hold<'a> {
    channel: Option<&'a Channel>,
}

impl<'a> Hold<'a> {
    fn new(channel: &'a Channel) -> Self {
        channel.hold();
        Self {
            channel: Some(channel),
        }
    }

    fn release(mut self) {
        if let Some(channel) = self.channel.take() {
            channel.release();
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let Some(channel) = self.channel {
            channel.give_up();
        }
    }
}
