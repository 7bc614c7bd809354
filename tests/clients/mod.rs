//! Ordinary Kafka clients, as their users have them, against the sandbox.
//!
//! Each scenario is written once and run against the sandbox and against real Apache Kafka: one
//! that fails on Kafka expects the wrong thing, one that fails on the sandbox alone shows a fault
//! of the sandbox. Every scenario compares records and offsets, under names of its own.
//!
//! Skipped where Python, Go or Java is missing, or what they must download is out of reach;
//! `KMIRROR_REQUIRE_CLIENTS=1` (Python, Go) and `KMIRROR_REQUIRE_KAFKA=1` (Java) make that an error.

mod java_tools;
mod programs;

use std::{
    sync::{OnceLock, mpsc},
    thread,
};

use kmirror::{
    runtime::now_ms,
    sandbox::{ClusterOptions, Timestamp, server::Server},
};

use self::{
    java_tools::run as java,
    programs::{franz_go, kafka_python, librdkafka},
};
use crate::support::kafka;

/// Declares the tests of each scenario; a function named as the client runs it.
macro_rules! scenarios {
    ($($client:ident: [$($scenario:ident),+];)+) => {
        $(mod $client {
            mod on_sandbox {
                $(#[test]
                fn $scenario() {
                    super::super::$client(super::super::sandbox(), stringify!($scenario));
                })+
            }

            mod on_kafka {
                $(#[test]
                fn $scenario() {
                    let Some(pair) = super::super::kafka::pair() else { return };
                    super::super::$client(&pair.source.bootstrap(), stringify!($scenario));
                })+
            }
        })+
    };
}

scenarios! {
    librdkafka: [codecs, admin, offsets, group, members, transactions, copies];
    kafka_python: [codecs, admin, offsets, group, transactions];
    franz_go: [codecs, admin, offsets, group, transactions, copies];
    java: [console, topics, configs, offsets, groups, transactions];
}

/// The servers of a sandbox of three brokers that all tests of this process share.
fn sandbox() -> &'static str {
    static BOOTSTRAP: OnceLock<String> = OnceLock::new();
    BOOTSTRAP.get_or_init(|| {
        let (sender, started) = mpsc::channel();
        // A thread of its own: tests wait for other processes without serving anything.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let options = ClusterOptions::new("clients", 3);
                let server = Server::start(options, Timestamp(now_ms())).await.unwrap();
                sender.send(server.bootstrap()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        started.recv().unwrap()
    })
}
