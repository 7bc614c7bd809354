//! What a run tells over HTTP.

use std::{
    process,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    kmirror::Kmirror,
    sandbox::{LOAD, Pair},
};

/// An address that no other test listens at: all of 127.0.0.0/8 is this machine.
pub(super) fn own_address() -> String {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let (pid, number) = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{number}:9404", 1 + pid % 200, pid / 200 % 250)
}

async fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

pub(super) async fn get(address: &str, path: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: kmirror\r\n\r\n"),
    )
    .await
}

/// Asks until the answer holds `text`.
async fn get_with(address: &str, path: &str, text: &str) -> String {
    for _ in 0..900 {
        let answer = get(address, path).await;
        if answer.contains(text) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{path} never told {text:?}: {}", get(address, path).await);
}

#[tokio::test]
async fn a_run_tells_where_it_stands() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 2, &[]).await;
    pair.source.produce(("t", 0), LOAD, 0, 50).await;
    let address = own_address();
    let mut run = Kmirror::run(&pair.properties(&format!("kmirror.http.listen = {address}")));
    run.wait_for_log(&format!("http://{address}/metrics"));
    let live = get(&address, "/live").await;
    assert!(
        live.starts_with("HTTP/1.1 200") && live.ends_with("live\n"),
        "{live}"
    );
    get_with(&address, "/ready", "200 OK").await;
    let copied = r#"kmirror_records_total{source="A",target="B",topic="t",partition="0"} 50.0"#;
    let metrics = get_with(&address, "/metrics", copied).await;
    for line in [
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r",
        r#"kmirror_flow_ready{source="A",target="B"} 1.0"#,
        r#"kmirror_flow_partitions{source="A",target="B"} 2.0"#,
        r#"kmirror_cluster_unreachable{source="A",target="B",side="source"} 0.0"#,
        r#"kmirror_copied_offset{source="A",target="B",topic="t",partition="0"} 50.0"#,
        r#"kmirror_lag_records{source="A",target="B",topic="t",partition="0"} 0.0"#,
        r#"kmirror_lag_seconds{source="A",target="B",topic="t",partition="0"} 0.0"#,
        r#"kmirror_partition_halted{source="A",target="B",topic="t",partition="1"} 0.0"#,
        r#"kafka_connect_mirror_mirrorsourceconnector_record_count{source="A",target="B",topic="A.t",partition="0"} 50.0"#,
    ] {
        assert!(
            metrics
                .lines()
                .any(|it| it == line || it == line.trim_end()),
            "{line}\n{metrics}"
        );
    }

    let elsewhere = get(&address, "/status").await;
    assert!(elsewhere.starts_with("HTTP/1.1 404"), "{elsewhere}");
    let post = "POST /metrics HTTP/1.1\r\nHost: kmirror\r\nContent-Length: 0\r\n\r\n";
    let refused = ask(&address, post).await;
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");

    // One cluster gone: not ready, and named.
    drop(pair.target);
    let waiting = get_with(&address, "/ready", "503 ").await;
    assert!(
        waiting.contains("A->B waits for the target cluster to answer"),
        "{waiting}"
    );
    let unreachable = r#"kmirror_cluster_unreachable{source="A",target="B",side="target"} 1.0"#;
    get_with(&address, "/metrics", unreachable).await;
}

#[tokio::test]
async fn a_place_that_is_taken_stops_nothing() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    pair.source.produce(("t", 0), LOAD, 0, 50).await;
    let address = own_address();
    let _taken = tokio::net::TcpListener::bind(&address).await.unwrap();
    let mut run = Kmirror::run(&pair.properties(&format!("kmirror.http.listen = {address}")));
    run.wait_for_log(&format!("no metrics are served at {address}"));
    pair.wait_for_copy("t").await;
}
