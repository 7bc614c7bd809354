//! Tokens for OAUTHBEARER: from an OAuth token endpoint with a client's own credentials, or from a file
//! that somebody else keeps fresh.
//!
//! Tokens are not looked into, and answers of the endpoint are in no error but for its error code. No
//! redirect is followed. Sources: RFC 6749 4.4, RFC 7628, KIP-768, `HttpJwtRetriever`, `FileJwtRetriever`.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    super::limits::{TOKEN_ANSWER_LEN_MAX, TOKEN_SHARE},
    tls::{Tls, TlsOptions, reason},
};

/// `OAUTHBEARER`: where tokens come from, and what is sent with them.
#[derive(Clone, Debug)]
pub struct OauthOptions {
    /// Where they come from.
    pub source: TokenSource,
    /// What the broker is told beside (KIP-342); names are of letters, values printable.
    pub extensions: Vec<(String, String)>,
}

/// Where tokens come from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file, read whenever a token is needed.
    File(PathBuf),
    /// A token endpoint.
    Endpoint {
        /// Its URL, `https` or `http`.
        url: String,
        /// Who asks.
        client_id: String,
        /// The secret of that.
        client_secret: SecretString,
        /// The scope to ask for.
        scope: Option<String>,
        /// Whether id and secret are encoded as in forms first.
        is_url_encoded: bool,
        /// How long the whole may take.
        timeout: Duration,
        /// How TLS is spoken to it.
        tls: Box<TlsOptions>,
    },
}

/// The tokens of one cluster.
#[derive(Debug)]
pub(super) struct Tokens {
    options: OauthOptions,
    tls: Option<Tls>,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    token: SecretString,
    fresh_until: Instant,
}

/// What an endpoint answers (RFC 6749 5.1).
struct Granted {
    token: SecretString,
    /// `None` where it does not say.
    lifetime: Option<Duration>,
}

impl Tokens {
    pub(super) fn new(options: OauthOptions) -> Self {
        let tls = match &options.source {
            TokenSource::Endpoint { tls, .. } => Some(Tls::new((**tls).clone())),
            TokenSource::File(_) => None,
        };
        Self {
            options,
            tls,
            held: Mutex::new(None),
        }
    }

    /// The first message of a client: a token that is good for some time, asked for if need be.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn message(&self) -> Result<SecretString, String> {
        let token = self.token().await?;
        let token = token.expose_secret();
        if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(String::from("what came as a token is none"));
        }
        let mut message = format!("n,,\x01auth=Bearer {token}\x01");
        for (name, value) in &self.options.extensions {
            message += &format!("{name}={value}\x01");
        }
        Ok((message + "\x01").into())
    }

    async fn token(&self) -> Result<SecretString, String> {
        let path = match &self.options.source {
            TokenSource::Endpoint { .. } => return self.endpoints_token().await,
            TokenSource::File(path) => path,
        };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("the token in {}: {error}", path.display()))?;
        Ok(text.trim().into())
    }

    /// Callers share one request.
    async fn endpoints_token(&self) -> Result<SecretString, String> {
        let mut held = self.held.lock().await;
        if let Some(held) = &*held
            && Instant::now() < held.fresh_until
        {
            return Ok(held.token.clone());
        }
        *held = None;
        let asked_at = Instant::now();
        let Granted { token, lifetime } = self.ask().await?;
        *held = lifetime.map(|lifetime| Held {
            token: token.clone(),
            fresh_until: asked_at + lifetime.mul_f64(TOKEN_SHARE),
        });
        Ok(token)
    }

    async fn ask(&self) -> Result<Granted, String> {
        let TokenSource::Endpoint {
            url, timeout: time, ..
        } = &self.options.source
        else {
            return Err(String::from("there is no token endpoint"));
        };
        // It is large, and rare.
        let asked = timeout(*time, Box::pin(self.ask_endpoint())).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {time:?}")));
        asked.map_err(|problem| format!("the token endpoint {url}: {problem}"))
    }

    async fn ask_endpoint(&self) -> Result<Granted, String> {
        let (TokenSource::Endpoint { url, .. }, Some(tls)) = (&self.options.source, &self.tls)
        else {
            return Err(String::from("there is none"));
        };
        let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        let host = uri.host().ok_or("its URL names no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_safe = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_safe { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let request = self.request(&uri)?;
        let response = if is_safe {
            let stream = tls.connect(host, stream).await;
            send(stream.map_err(|error| reason(&error))?, request).await
        } else {
            send(stream, request).await
        };
        granted(response?).await
    }

    fn request(&self, uri: &Uri) -> Result<Request<Full<Bytes>>, String> {
        let TokenSource::Endpoint {
            client_id,
            client_secret,
            scope,
            is_url_encoded,
            ..
        } = &self.options.source
        else {
            return Err(String::from("there is none"));
        };
        let encoded = |text: &str| match is_url_encoded {
            true => form_encoded(text),
            false => text.to_owned(),
        };
        let secret = encoded(client_secret.expose_secret());
        let credentials = BASE64.encode(format!("{}:{secret}", encoded(client_id)));
        let mut body = String::from("grant_type=client_credentials");
        if let Some(scope) = scope {
            body += &format!("&scope={}", form_encoded(scope));
        }
        let target = uri.path_and_query().map_or("/", |it| it.as_str());
        let authority = uri.authority().map_or("", |it| it.as_str());
        Request::post(target)
            .header(header::HOST, authority)
            .header(header::AUTHORIZATION, format!("Basic {credentials}"))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(body))
            .map_err(|_| "the request cannot be written".to_owned())
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    // It ends with the answer's body.
    tokio::spawn(connection);
    let response = sender.send_request(request).await;
    response.map_err(|error| error.to_string())
}

async fn granted(response: Response<Incoming>) -> Result<Granted, String> {
    let status = response.status();
    let body = Limited::new(response.into_body(), TOKEN_ANSWER_LEN_MAX);
    let body = body.collect().await;
    let body = body.map_err(|error| format!("its answer cannot be read: {error}"))?;
    read_answer(status, &body.to_bytes())
}

fn read_answer(status: StatusCode, body: &[u8]) -> Result<Granted, String> {
    let answer: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let field = |name: &str| answer.as_ref()?.get(name);
    if status != StatusCode::OK {
        // Such as invalid_client; what else is there may be about secrets.
        let code = field("error").and_then(|code| code.as_str());
        let code = code.filter(|code| code.len() <= 64 && !code.contains(char::is_control));
        return Err(format!("it answered {status} {}", code.unwrap_or_default()));
    }
    let token = field("access_token").and_then(|token| token.as_str());
    let token = token.ok_or("there is no access_token in its answer")?;
    let seconds = field("expires_in").and_then(serde_json::Value::as_u64);
    Ok(Granted {
        token: token.into(),
        lifetime: seconds.map(|seconds| Duration::from_secs(seconds.min(u64::from(u32::MAX)))),
    })
}

/// Encodes a text as in forms (`java.net.URLEncoder`).
fn form_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    fn tokens(url: String) -> Tokens {
        Tokens::new(OauthOptions {
            source: TokenSource::Endpoint {
                url,
                client_id: "us er".to_owned(),
                client_secret: "p:ä".into(),
                scope: Some("a b".to_owned()),
                is_url_encoded: true,
                timeout: Duration::from_secs(30),
                tls: Box::default(),
            },
            extensions: vec![("logicalCluster".to_owned(), "lkc-1".to_owned())],
        })
    }

    /// Answers one request, and gives it.
    async fn answer(listener: &TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"scope=a+b") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let head = format!("HTTP/1.1 {answer}");
        stream.write_all(head.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    }

    fn ok(body: &str) -> String {
        format!("200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_token_is_asked_for_once_while_it_is_fresh() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = tokens(format!("http://{address}/oauth/token?x=1"));
        let reply = ok(r#"{"access_token":"abc.def.","token_type":"Bearer","expires_in":3600}"#);
        let (message, request) = tokio::join!(tokens.message(), answer(&listener, &reply));
        let expected = "n,,\x01auth=Bearer abc.def.\x01logicalCluster=lkc-1\x01\x01";
        assert_eq!(message.unwrap().expose_secret(), expected);
        let lower = request.to_lowercase();
        assert!(
            request.starts_with("POST /oauth/token?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            lower.contains(&format!("\r\nhost: {address}\r\n")),
            "{request}"
        );
        let credentials = BASE64.encode("us+er:p%3A%C3%A4");
        assert!(
            request.contains(&format!("Basic {credentials}\r\n")),
            "{request}"
        );
        assert!(
            request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a+b"),
            "{request}"
        );
        // Nobody is there to be asked again.
        drop(listener);
        assert_eq!(tokens.message().await.unwrap().expose_secret(), expected);
        assert!(!format!("{tokens:?}").contains("abc.def"));
    }

    #[tokio::test]
    async fn a_token_without_a_lifetime_is_asked_for_each_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tokens = tokens(format!("http://{}", listener.local_addr().unwrap()));
        for _ in 0..2 {
            let reply = ok(r#"{"access_token":"abc"}"#);
            let (message, _) = tokio::join!(tokens.message(), answer(&listener, &reply));
            message.unwrap();
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_grants_nothing_says_why() {
        let refusal = r#"{"error":"invalid_client","error_description":"p:ä"}"#;
        let refusal = format!(
            "401 Unauthorized\r\nContent-Length: {}\r\n\r\n{refusal}",
            refusal.len()
        );
        let long = ok(&" ".repeat(TOKEN_ANSWER_LEN_MAX + 1));
        let cases = [
            (
                refusal.as_str(),
                "it answered 401 Unauthorized invalid_client",
            ),
            (
                "302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n",
                "it answered 302 Found ",
            ),
            (&ok("<html>"), "there is no access_token in its answer"),
            (
                &ok(r#"{"access_token":7}"#),
                "there is no access_token in its answer",
            ),
            (
                &ok(r#"{"access_token":"a\u0001b"}"#),
                "what came as a token is none",
            ),
            (&long, "its answer cannot be read: length limit exceeded"),
        ];
        for (reply, expected) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let tokens = tokens(format!("http://{}", listener.local_addr().unwrap()));
            let (message, _) = tokio::join!(tokens.message(), answer(&listener, reply));
            let error = message.unwrap_err();
            assert!(error.ends_with(expected), "{error}");
            assert!(!error.contains('ä'), "{error}");
        }
        let error = tokens("http://127.0.0.1:1/".to_owned())
            .message()
            .await
            .unwrap_err();
        assert!(
            error.starts_with("the token endpoint http://127.0.0.1:1/: "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_token_file_is_read_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let tokens = Tokens::new(OauthOptions {
            source: TokenSource::File(path.clone()),
            extensions: vec![],
        });
        assert!(tokens.message().await.unwrap_err().contains("No such file"));
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let expected = format!("n,,\x01auth=Bearer {token}\x01\x01");
            assert_eq!(tokens.message().await.unwrap().expose_secret(), expected);
        }
    }
}
