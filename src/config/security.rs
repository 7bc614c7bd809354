//! How connections to a cluster are made safe: `security.protocol`, `ssl.*`, `sasl.*`.
//!
//! Reads no key store and connects nowhere. Sources: `SslConfigs`, `SaslConfigs`,
//! `DefaultSslEngineFactory`, `JaasContext`.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    error::{Place, Report},
    flow::is_true,
    jaas::{self, LoginModule},
    layers::{Layer, is_well_typed, list_items},
    properties::Entry,
    settings::{self, Scope},
};

/// How connections to a cluster are made safe.
#[derive(Clone, Debug, Default)]
pub struct SecurityConfig {
    /// `SSL` and `SASL_SSL`.
    pub tls: Option<TlsConfig>,
    /// `SASL_PLAINTEXT` and `SASL_SSL`.
    pub sasl: Option<SaslConfig>,
}

/// `ssl.*`.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Whom to trust; `None`: as the operating system says.
    pub trust: Option<StoreConfig>,
    /// Who to be; `None`: nobody.
    pub identity: Option<StoreConfig>,
    /// `ssl.key.password`.
    pub key_password: Option<SecretString>,
    /// `ssl.endpoint.identification.algorithm`.
    pub verifies_hosts: bool,
    /// Whether TLS 1.2 may be spoken; one of the two may.
    pub tls12: bool,
    /// Whether TLS 1.3 may be spoken.
    pub tls13: bool,
    /// `ssl.cipher.suites`; empty: all.
    pub cipher_suites: Vec<String>,
}

/// Where certificates or keys are.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// PEM in the file of settings.
    Pem(SecretString),
    /// A file of its own.
    File {
        /// Which.
        path: PathBuf,
        /// Its password.
        password: Option<SecretString>,
    },
}

/// `sasl.*`.
#[derive(Clone, Debug)]
pub enum SaslConfig {
    /// `PLAIN`.
    Plain {
        /// The name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    Scram {
        /// Whether it is the latter.
        is_sha512: bool,
        /// The name, or the id of a delegation token.
        username: String,
        /// The password, or the token's HMAC.
        password: SecretString,
        /// `tokenauth`.
        is_token: bool,
    },
    /// `OAUTHBEARER` with tokens from a file.
    TokenFile {
        /// Which.
        path: PathBuf,
        /// What the broker is told beside.
        extensions: Vec<(String, String)>,
    },
    /// `OAUTHBEARER` with tokens from a token endpoint.
    TokenEndpoint {
        /// Its URL, `https` or `http`.
        url: String,
        /// `clientId`.
        client_id: String,
        /// `clientSecret`.
        client_secret: SecretString,
        /// `scope`.
        scope: Option<String>,
        /// `sasl.oauthbearer.header.urlencode`.
        is_url_encoded: bool,
        /// How long the endpoint may take.
        timeout: Duration,
        /// What is trusted in it; `None`: what the operating system trusts.
        trust: Option<StoreConfig>,
        /// What the broker is told beside.
        extensions: Vec<(String, String)>,
    },
}

/// The settings of one cluster.
struct Settings<'a, 'b, 'c> {
    alias: &'b str,
    layer: &'b Layer<'a>,
    report: &'b mut Report<'c>,
}

/// Reads the settings of the cluster `alias`; reports what is wrong with them.
pub(super) fn read(alias: &str, layer: &Layer<'_>, report: &mut Report<'_>) -> SecurityConfig {
    let mut settings = Settings {
        alias,
        layer,
        report,
    };
    let protocol = settings.text("security.protocol").to_ascii_uppercase();
    if protocol == "SASL_PLAINTEXT"
        && settings.text("sasl.mechanism") == "PLAIN"
        && let Some(entry) = settings.entry("security.protocol")
    {
        let problem = "the password goes over the network as it is";
        let hint = "use SASL_SSL, or SCRAM";
        settings.report.notice(Place::of(entry), problem, hint);
    }
    SecurityConfig {
        tls: protocol.ends_with("SSL").then(|| settings.tls()),
        sasl: protocol
            .starts_with("SASL_")
            .then(|| settings.sasl())
            .flatten(),
    }
}

/// The entry that decides over `name`: the cluster's, or that of its clients, which are one here.
pub(super) fn of_cluster<'a>(layer: &Layer<'a>, name: &str) -> Option<&'a Entry> {
    let of_role = |role| layer.get(&format!("{role}.{name}"));
    let found = layer.get(name);
    found.or_else(|| CLIENTS.into_iter().find_map(of_role))
}

impl<'a> Settings<'a, '_, '_> {
    fn entry(&self, name: &str) -> Option<&'a Entry> {
        of_cluster(self.layer, name)
    }

    /// The value of a setting without blanks around it, or its default.
    fn text(&mut self, name: &str) -> &'a str {
        let default = settings::default_of(name, Scope::Client);
        let (Some(entry), Some(setting)) = (self.entry(name), settings::find(name, Scope::Client))
        else {
            return default;
        };
        if is_well_typed(entry, setting, self.report) {
            entry.value.trim()
        } else {
            default
        }
    }

    fn list(&mut self, name: &str) -> Vec<&'a str> {
        let items = list_items(self.text(name)).into_iter();
        items
            .map(|(_, item)| item)
            .filter(|item| !item.is_empty())
            .collect()
    }

    /// A secret, as it stands in the file but for blanks at its ends; `None` if it is empty.
    fn secret(&self, name: &str) -> Option<SecretString> {
        let value = self.entry(name)?.value.trim();
        (!value.is_empty()).then(|| value.into())
    }

    fn error(&mut self, name: &str, problem: &str, hint: &str) {
        let key = format!("{}.{name}", self.alias);
        let place = self.entry(name).map_or_else(|| Place::key(&key), Place::of);
        self.report.error(place, problem, hint);
    }

    fn tls(&mut self) -> TlsConfig {
        let versions = self.list("ssl.enabled.protocols");
        let speaks = |version: &str| versions.iter().any(|it| it.eq_ignore_ascii_case(version));
        let (tls12, tls13) = (speaks("TLSv1.2"), speaks("TLSv1.3"));
        if !tls12 && !tls13 {
            let hint = "TLSv1.2 and TLSv1.3 can be spoken";
            self.error(
                "ssl.enabled.protocols",
                "has no version of TLS that is safe",
                hint,
            );
        }
        let algorithm = "ssl.endpoint.identification.algorithm";
        let verifies_hosts = !self.text(algorithm).is_empty();
        if !verifies_hosts && let Some(entry) = self.entry(algorithm) {
            let problem =
                "whoever has a certificate of a trusted signer can stand in for the brokers";
            self.report.notice(Place::of(entry), problem, "");
        }
        TlsConfig {
            trust: self.store("truststore", &["ssl.truststore.certificates"]),
            identity: self.store(
                "keystore",
                &["ssl.keystore.certificate.chain", "ssl.keystore.key"],
            ),
            key_password: self.secret("ssl.key.password"),
            verifies_hosts,
            tls12,
            tls13,
            cipher_suites: self
                .list("ssl.cipher.suites")
                .into_iter()
                .map(str::to_owned)
                .collect(),
        }
    }

    /// A store: a file, or PEM in the settings `inline`, which then must all be there.
    fn store(&mut self, kind: &str, inline: &[&str]) -> Option<StoreConfig> {
        let location = format!("ssl.{kind}.location");
        let is_set = |name: &&&str| self.secret(name).is_some();
        let set: Vec<&str> = inline.iter().filter(is_set).copied().collect();
        let path = self.text(&location);
        if !path.is_empty() {
            for name in set {
                let problem = format!("cannot be set beside {location}");
                self.error(name, &problem, "remove one of them");
            }
            return Some(StoreConfig::File {
                path: path.into(),
                password: self.secret(&format!("ssl.{kind}.password")),
            });
        }
        if set.is_empty() {
            return None;
        }
        let mut text = String::new();
        for name in inline {
            match self.secret(name) {
                Some(part) => {
                    text += part.expose_secret();
                    text.push('\n');
                }
                None => self.error(name, &format!("is missing beside {}", set.join(", ")), ""),
            }
        }
        Some(StoreConfig::Pem(text.into()))
    }

    fn sasl(&mut self) -> Option<SaslConfig> {
        let name = "sasl.mechanism";
        match self.text(name) {
            "PLAIN" => {
                let (username, password) = self.credentials("PlainLoginModule")?.0;
                Some(SaslConfig::Plain { username, password })
            }
            mechanism @ ("SCRAM-SHA-256" | "SCRAM-SHA-512") => {
                let ((username, password), module) = self.credentials("ScramLoginModule")?;
                let token = module.options.get("tokenauth");
                Some(SaslConfig::Scram {
                    is_sha512: mechanism == "SCRAM-SHA-512",
                    username,
                    password,
                    is_token: token.is_some_and(|it| is_true(it.expose_secret())),
                })
            }
            "OAUTHBEARER" => self.oauth(),
            "GSSAPI" => {
                let problem = "GSSAPI, which is also the default, needs Kerberos libraries, and a static binary can load none";
                self.error(name, problem, MECHANISMS);
                None
            }
            _ => {
                self.error(name, "is not a mechanism that is known here", MECHANISMS);
                None
            }
        }
    }

    fn oauth(&mut self) -> Option<SaslConfig> {
        let module = self.login_module("OAuthBearerLoginModule")?;
        let handler = self.text(LOGIN_HANDLER);
        if !handler.is_empty() && !LOGIN_HANDLERS.contains(&handler) {
            self.error(
                LOGIN_HANDLER,
                "Java classes cannot be loaded",
                "leave it out, or use Kafka's own",
            );
        }
        let name = "sasl.oauthbearer.token.endpoint.url";
        let url = self.text(name);
        let extensions = extensions(&module);
        if let Some(path) = url.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path).into();
            return Some(SaslConfig::TokenFile { path, extensions });
        }
        if !url.starts_with("https://") && !url.starts_with("http://") {
            let problem = if url.is_empty() {
                "is missing"
            } else {
                "is no URL that is known here"
            };
            self.error(
                name,
                problem,
                "write https://host/path of a token endpoint, or file:/path of a token",
            );
            return None;
        }
        if url.starts_with("http:")
            && let Some(entry) = self.entry(name)
        {
            let problem = "the client's secret and its tokens go over the network as they are";
            self.report.notice(Place::of(entry), problem, "use https");
        }
        let option = |name: &str| module.options.get(name).cloned();
        let credential = |this: &Self, name: &str, of_module: &str| {
            this.secret(&format!("sasl.oauthbearer.{name}"))
                .or_else(|| option(of_module))
        };
        let client_id = credential(self, "client.credentials.client.id", "clientId");
        let client_secret = credential(self, "client.credentials.client.secret", "clientSecret");
        let (Some(client_id), Some(client_secret)) = (client_id, client_secret) else {
            let hint = "write clientId=\"...\" clientSecret=\"...\";";
            self.error(JAAS, "has no clientId or no clientSecret", hint);
            return None;
        };
        let scope = credential(self, "scope", "scope");
        let urlencode = "sasl.oauthbearer.header.urlencode";
        Some(SaslConfig::TokenEndpoint {
            url: url.to_owned(),
            client_id: client_id.expose_secret().to_owned(),
            client_secret,
            scope: scope.map(|it| it.expose_secret().to_owned()),
            is_url_encoded: is_true(self.text(urlencode)),
            timeout: self.login_timeout(),
            trust: option("ssl.truststore.location").map(|path| StoreConfig::File {
                path: path.expose_secret().into(),
                password: option("ssl.truststore.password"),
            }),
            extensions,
        })
    }

    /// For connecting and reading together; by default as long as a connection to a broker may take.
    fn login_timeout(&mut self) -> Duration {
        let parts = [
            "sasl.login.connect.timeout.ms",
            "sasl.login.read.timeout.ms",
        ];
        let set = parts.map(|name| self.text(name).parse().ok());
        let set: Vec<u64> = set
            .into_iter()
            .flatten()
            .filter(|millis| *millis > 0)
            .collect();
        match set.as_slice() {
            [] => Duration::from_secs(10),
            set => Duration::from_millis(set.iter().sum()),
        }
    }

    /// Name and password out of the login module, whose class must end with `class`.
    fn credentials(&mut self, class: &str) -> Option<((String, SecretString), LoginModule)> {
        let module = self.login_module(class)?;
        let username = module.options.get("username");
        let password = module.options.get("password");
        let (Some(username), Some(password)) = (username, password) else {
            let hint = "write username=\"...\" password=\"...\";";
            self.error(JAAS, "has no username or no password", hint);
            return None;
        };
        let username = username.expose_secret().to_owned();
        let credentials = (username, password.clone());
        Some((credentials, module))
    }

    fn login_module(&mut self, class: &str) -> Option<LoginModule> {
        let Some(entry) = self.entry(JAAS) else {
            let hint = format!("write {}.{JAAS} = ...{class} required ...;", self.alias);
            self.error(JAAS, "is missing", &hint);
            return None;
        };
        match jaas::parse(&entry.value) {
            Ok(module) if module.class.rsplit('.').next() == Some(class) => Some(module),
            Ok(_) => {
                let problem = "names another login module than the mechanism needs, and Java classes cannot be loaded";
                self.error(JAAS, problem, &format!("use {class}"));
                None
            }
            Err(problem) => {
                self.error(JAAS, problem, "");
                None
            }
        }
    }
}

/// Kinds of clients, in the order in which they are asked where the cluster says nothing.
const CLIENTS: [&str; 3] = ["consumer", "producer", "admin"];
/// What a login module has for the broker beside a token.
fn extensions(module: &LoginModule) -> Vec<(String, String)> {
    let options = module.options.iter();
    let extensions = options.filter_map(|(name, value)| {
        let name = name.strip_prefix("extension_")?;
        Some((name.to_owned(), value.expose_secret().to_owned()))
    });
    extensions.collect()
}

const LOGIN_HANDLER: &str = "sasl.login.callback.handler.class";

/// Kafka's own, under both of its names.
const LOGIN_HANDLERS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
];

const JAAS: &str = "sasl.jaas.config";
const MECHANISMS: &str =
    "use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, or certificates with SSL";

/// Whether a setting is one of those read here.
pub(super) fn is_of_security(name: &str) -> bool {
    name == "security.protocol" || name.starts_with("ssl.") || name.starts_with("sasl.")
}
