//! Who this program is to a cluster, and how it knows that it speaks with the cluster: TLS, SASL.
//!
//! No password, token or key is ever in an error, a log or the output of `Debug`.

mod jks;
mod oauth;
mod sasl;
mod scram;
mod stores;
#[cfg(test)]
mod tests;
mod tls;

pub use oauth::{OauthOptions, TokenSource};
pub use sasl::{Credentials, SaslOptions};
pub use scram::ScramHash;
pub use stores::{Store, StoreError};
pub use tls::{TlsError, TlsOptions, TlsVersion};

pub(super) use sasl::{Sasl, Session, Talk, is_of_sasl};
pub(super) use tls::{Tls, is_of_tls, reason};

/// How connections to a cluster are made safe (`security.protocol`); by default not at all.
#[derive(Clone, Debug, Default)]
pub struct SecurityOptions {
    /// `SSL` and `SASL_SSL`.
    pub tls: Option<TlsOptions>,
    /// `SASL_PLAINTEXT` and `SASL_SSL`.
    pub sasl: Option<SaslOptions>,
}

/// The same at work.
#[derive(Debug)]
pub(super) struct Security {
    pub(super) tls: Option<Tls>,
    pub(super) sasl: Option<Sasl>,
}

impl Security {
    pub(super) fn new(options: SecurityOptions) -> Self {
        Self {
            tls: options.tls.map(Tls::new),
            sasl: options.sasl.map(Sasl::new),
        }
    }
}
