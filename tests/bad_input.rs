//! The real binary and what it is wrongly given: files, ports, brokers. Needs no Java.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
    sync::Arc,
};

use kmirror::cluster::{Cluster, ClusterOptions, To};
use kmirror_protocol::{
    ErrorCode,
    messages::{CreateTopicsRequest, create_topics::CreatableTopic},
};

use crate::support::{
    kmirror::{Kmirror, wait_until},
    scripted_listener::{Script, ScriptedListener, cluster_advertising},
};

/// Runs the program to its end.
fn run_to_end(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kmirror"))
        .args(arguments)
        .env_remove("KMIRROR_LOG")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_wrong_command_line_is_explained() {
    let cases: [(&[&str], &str); 5] = [
        (&[], "Usage: kmirror [OPTIONS] <COMMAND>"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (
            &["run"],
            "the following required arguments were not provided:\n  <FILE>",
        ),
        (
            &["run", "file", "--bogus"],
            "unexpected argument '--bogus' found",
        ),
        (
            &["--log", "kmirror=loud", "run", "file"],
            "kmirror: --log kmirror=loud: error parsing level filter",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run_to_end(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_file_that_cannot_be_run_is_explained_line_by_line() {
    let clusters = "clusters = A, B\nA.bootstrap.servers = a:9092\nB.bootstrap.servers = b:9092\n";
    let flow = format!("{clusters}A->B.enabled = true\n");
    let cases = [
        (
            String::from("clusters =\n"),
            "FILE:1: clusters: is empty; write clusters = A, B with the aliases of your clusters\n\
             kmirror: FILE: 1 mistake, nothing was started\n",
        ),
        (
            String::new(),
            "FILE: clusters: is missing; write clusters = A, B with the aliases of your clusters\n\
             kmirror: FILE: 1 mistake, nothing was started\n",
        ),
        (
            String::from(clusters),
            "FILE: no flow is enabled; write A->B.enabled = true\n\
             kmirror: FILE: 1 mistake, nothing was started\n",
        ),
        (
            format!("{flow}topics = good.*, bad(\ntopics.exclude = [a\nreplication.factor = two\n"),
            "FILE:5: topics: item 2, character 4: group is not closed\n\
             FILE:6: topics.exclude: item 1, character 1: '[' is not closed\n\
             FILE:7: replication.factor: \"two\" must be a whole number from -1 to 32767\n\
             kmirror: FILE: 3 mistakes, nothing was started\n",
        ),
    ];
    for (text, expected) in cases {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &text).unwrap();
        let path = file.path().to_str().unwrap();
        let output = run_to_end(&["run", path]);
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert_eq!(stderr(&output).replace(path, "FILE"), expected, "{text}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let output = run_to_end(&["run", "/does/not/exist"]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        stderr(&output),
        "/does/not/exist: cannot read the file: No such file or directory (os error 2)\n\
         kmirror: /does/not/exist: 1 mistake, nothing was started\n"
    );
}

#[test]
fn what_is_no_broker_is_named_and_asked_again_until_it_is_one() {
    let tls_alert = b"\x15\x03\x03\x00\x02\x02\x28";
    let cases: [(Script, &str); 7] = [
        (Script::Close, "the other side closed the connection"),
        (Script::Stall, "no answer within 300ms"),
        (
            Script::Answer(tls_alert),
            "the port speaks TLS, but was addressed in plaintext",
        ),
        (
            Script::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "the port speaks HTTP, not Kafka's protocol",
        ),
        (
            Script::Answer(b"\xff\xff\xff\xfe"),
            "a frame of negative length -2 came",
        ),
        (
            Script::Answer(b"\x7f\xff\xff\xff"),
            "a frame of 2147483647 bytes came, above the limit of 1048576",
        ),
        (
            Script::Answer(b"\x00\x00\x00\x0crubbish here"),
            "an answer for correlation id 1920295522 came where",
        ),
    ];
    for (script, expected) in cases {
        let listener = ScriptedListener::start(script);
        let port = listener.port();
        let mut kmirror = Kmirror::run(&properties(port, unused_port()));
        kmirror.wait_until(expected, |log| log.contains(expected).then_some(()));
        wait_until("five attempts", || {
            (listener.connections() >= 5).then_some(())
        });
        let log = kmirror.log();
        let told = format!(
            "the source cluster was asked for its topics: ApiVersions to bootstrap server 127.0.0.1:{port} of cluster A: "
        );
        assert_eq!(
            log.matches(&told).count(),
            1,
            "once, not at every attempt: {log}"
        );

        listener.change(Script::Serve(cluster_advertising(port)));
        kmirror.wait_for_log("the source cluster answers again");
        let (status, log) = kmirror.stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let (source, target) = (unused_port(), unused_port());
    let mut kmirror = Kmirror::run(&properties(source, target));
    for (side, alias, port) in [("source", "A", source), ("target", "B", target)] {
        kmirror.wait_for_log(&format!(
            "the {side} cluster was asked for its topics: connection to bootstrap server \
             127.0.0.1:{port} of cluster {alias}: cannot connect to 127.0.0.1:{port}: Connection \
             refused (os error 111); trying again"
        ));
    }
    let (status, log) = kmirror.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("trying again").count(), 2, "{log}");
}

#[test]
fn a_name_that_is_none_is_named() {
    let text = properties(1, 2).replace("127.0.0.1:1", "no.such.host.invalid:9092");
    let mut kmirror = Kmirror::run(&text);
    kmirror.wait_for_log("cannot connect to no.such.host.invalid: ");
    let (status, log) = kmirror.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_broker_that_advertises_an_address_out_of_reach_is_named() {
    let dead = unused_port();
    let cluster = cluster_advertising(dead);
    let source = ScriptedListener::start(Script::Serve(Arc::clone(&cluster)));
    let target = ScriptedListener::start(Script::Close);
    target.change(Script::Serve(cluster_advertising(target.port())));
    create_topic(source.port(), "orders");
    let mut kmirror = Kmirror::run(&properties(source.port(), target.port()));
    kmirror.wait_for_log(&format!(
        "the source cluster was asked for records: connection to broker 0 (127.0.0.1:{dead}) of \
         cluster A: 127.0.0.1:{dead}, where the broker is said to listen, has not been reachable \
         from here so far (cannot connect to 127.0.0.1:{dead}: Connection refused (os error 111)): \
         the broker is down, or its advertised.listeners names an address that leads nowhere from \
         here; trying again"
    ));
    let (status, log) = kmirror.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("advertised.listeners").count(), 1, "{log}");
}

fn create_topic(port: u16, name: &str) {
    let bootstrap = vec![(Ipv4Addr::LOCALHOST.to_string(), port)];
    let cluster = Cluster::new(ClusterOptions::new("created-by-test", bootstrap));
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name,
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        }]
        .into(),
        ..CreateTopicsRequest::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime
        .block_on(cluster.request(To::Any, &request))
        .unwrap();
    let created = answer.decode().unwrap();
    assert_eq!(created.topics.first().unwrap().error_code, ErrorCode::NONE);
}

#[test]
fn two_aliases_of_one_cluster_are_refused() {
    let listener = ScriptedListener::start(Script::Close);
    let port = listener.port();
    listener.change(Script::Serve(cluster_advertising(port)));
    let mut kmirror = Kmirror::run(&properties(port, port));
    let (status, log) = kmirror.wait();
    assert_eq!(status.code(), Some(78), "{log}");
    let expected = format!(
        "source and target are the same cluster (cluster-at-{port}): copying would never end; \
         check bootstrap.servers of both"
    );
    assert!(log.contains(&expected), "{log}");
}

fn properties(source_port: u16, target_port: u16) -> String {
    format!(
        "clusters = A, B\n\
         A.bootstrap.servers = 127.0.0.1:{source_port}\n\
         B.bootstrap.servers = 127.0.0.1:{target_port}\n\
         A->B.enabled = true\n\
         replication.factor = 1\n\
         offset.storage.replication.factor = 1\n\
         emit.heartbeats.enabled = false\n\
         emit.checkpoints.enabled = false\n\
         emit.offset-syncs.enabled = false\n\
         kmirror.request.timeout.ms = 300\n"
    )
}

/// A port where nobody listens, most probably.
fn unused_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
