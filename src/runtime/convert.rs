//! From the cluster's words to the flow's, and from the configuration's to the cluster's.

use kmirror_protocol::Request;

use super::exchange::Question;
use crate::{
    cluster::{
        Answer, RequestError, SendOptions,
        security::{
            Credentials, OauthOptions, SaslOptions, ScramHash, SecurityOptions, Store, TlsOptions,
            TlsVersion, TokenSource,
        },
    },
    config::{SaslConfig, SecurityConfig, StoreConfig, TlsConfig},
    flow::Failure,
};

/// What a request without an answer means to a flow.
pub(super) fn failure(error: &RequestError) -> Failure {
    let text = error.to_string();
    match error {
        RequestError::Disconnected { .. }
        | RequestError::TimedOut { .. }
        | RequestError::WrongCluster { .. }
        | RequestError::Denied { .. } => Failure::NoAnswer(text),
        RequestError::Unsupported { .. } | RequestError::Unsendable { .. } => {
            Failure::Unsupported(text)
        }
        RequestError::Malformed { .. } => Failure::Malformed(text),
    }
}

/// What it means to a flow that a request was not sent for want of a connection.
pub(super) fn unreached(error: &RequestError) -> Failure {
    match failure(error) {
        Failure::NoAnswer(text) => Failure::Unreached(text),
        other => other,
    }
}

/// How a question is sent.
pub(super) fn options<R>(question: &Question<R>) -> SendOptions {
    SendOptions {
        answer_len_max: question.answer_len_max,
        version_max: question.version_max,
        ..SendOptions::default()
    }
}

/// What an answer says.
///
/// # Errors
///
/// [`Failure::Malformed`] names the field.
pub fn decoded<R: Request>(answer: &Answer<R>) -> Result<R::Response<'_>, Failure> {
    answer.decode().map_err(|error| failure(&error))
}

/// How connections are made safe.
pub(super) fn security(config: &SecurityConfig) -> SecurityOptions {
    SecurityOptions {
        tls: config.tls.as_ref().map(tls),
        sasl: config.sasl.as_ref().map(sasl),
    }
}

fn tls(config: &TlsConfig) -> TlsOptions {
    let versions = [
        (config.tls12, TlsVersion::Tls12),
        (config.tls13, TlsVersion::Tls13),
    ];
    let spoken = versions.into_iter().filter(|(is_spoken, _)| *is_spoken);
    TlsOptions {
        trust: config.trust.as_ref().map(store),
        identity: config.identity.as_ref().map(store),
        key_password: config.key_password.clone(),
        verifies_hosts: config.verifies_hosts,
        versions: spoken.map(|(_, version)| version).collect(),
        cipher_suites: config.cipher_suites.clone(),
    }
}

fn store(config: &StoreConfig) -> Store {
    match config {
        StoreConfig::Pem(text) => Store::Text(text.clone()),
        StoreConfig::File { path, password } => Store::File {
            path: path.clone(),
            password: password.clone(),
        },
    }
}

fn sasl(config: &SaslConfig) -> SaslOptions {
    let credentials = |name: &String, password: &secrecy::SecretString| Credentials {
        name: name.clone(),
        password: password.clone(),
    };
    match config {
        SaslConfig::Plain { username, password } => {
            SaslOptions::Plain(credentials(username, password))
        }
        SaslConfig::Scram {
            is_sha512,
            username,
            password,
            is_token,
        } => SaslOptions::Scram {
            hash: if *is_sha512 {
                ScramHash::Sha512
            } else {
                ScramHash::Sha256
            },
            credentials: credentials(username, password),
            is_token: *is_token,
        },
        SaslConfig::TokenFile { path, extensions } => SaslOptions::Oauth(OauthOptions {
            source: TokenSource::File(path.clone()),
            extensions: extensions.clone(),
        }),
        SaslConfig::TokenEndpoint {
            url,
            client_id,
            client_secret,
            scope,
            is_url_encoded,
            timeout,
            trust,
            extensions,
        } => SaslOptions::Oauth(OauthOptions {
            source: TokenSource::Endpoint {
                url: url.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                scope: scope.clone(),
                is_url_encoded: *is_url_encoded,
                timeout: *timeout,
                tls: Box::new(TlsOptions {
                    trust: trust.as_ref().map(store),
                    ..TlsOptions::default()
                }),
            },
            extensions: extensions.clone(),
        }),
    }
}
