//! A small HTTP server for those who watch: `/metrics`, `/live` and `/ready`.
//!
//! It only tells; nothing can be changed through it. One request a connection, no bodies, few
//! connections at a time, so that nobody who reaches it can hold kmirror up.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Bytes, body::Incoming, header,
    server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tracing::debug;

use super::metrics::{self, FlowNumbers, Reporter};

/// Connections served at a time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a client may take to send its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, reporter: Arc<dyn Reporter>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!("no connection accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let reporter = Arc::clone(&reporter);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &*reporter));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away is nobody's concern.
            let _ = timeout(REQUEST_TIMEOUT, connection).await;
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    reporter: &dyn Reporter,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = String::from("only GET is answered\n");
        return Ok(response(StatusCode::METHOD_NOT_ALLOWED, TEXT, text));
    }
    Ok(match request.uri().path() {
        "/metrics" => match metrics::render(reporter.numbers().await) {
            Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
            Err(error) => {
                let text = format!("{error}\n");
                response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
            }
        },
        "/live" => response(StatusCode::OK, TEXT, String::from("live\n")),
        "/ready" => ready(&reporter.numbers().await),
        _ => {
            let text = String::from("/metrics, /live and /ready are answered\n");
            response(StatusCode::NOT_FOUND, TEXT, text)
        }
    })
}

/// Ready once every flow knows where it stands and both its clusters answer. A halted partition
/// does not make it unready: a restart would not help.
fn ready(flows: &[FlowNumbers]) -> Response<Full<Bytes>> {
    let waiting: String = flows
        .iter()
        .filter_map(|flow| {
            let reason = flow.waits_for.as_ref()?;
            Some(format!(
                "{}->{} waits for {reason}\n",
                flow.source, flow.target
            ))
        })
        .collect();
    if waiting.is_empty() {
        response(StatusCode::OK, TEXT, String::from("ready\n"))
    } else {
        response(StatusCode::SERVICE_UNAVAILABLE, TEXT, waiting)
    }
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let value = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
