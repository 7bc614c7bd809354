//! Does what an emitter of heartbeats asks for: one thing at a time, and nothing once the process
//! stops.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{admin, now_ms, report, topic_writer};
use crate::{
    cluster::Cluster,
    flow::{
        Failure,
        heartbeats::{HeartbeatOptions, Heartbeats},
        published::Step,
    },
    offsets::mirror_records::Heartbeat,
};

/// Emits until `stopping` says so.
pub(super) async fn emit(
    options: HeartbeatOptions,
    target: Cluster,
    timeout: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stop| *stop) => {}
        () = run(&options, &target, timeout) => {}
    }
}

async fn run(options: &HeartbeatOptions, target: &Cluster, timeout: Duration) {
    let name = format!("{}->{}", options.source_alias, options.target_alias);
    let now = || Instant::now().into_std();
    let mut emitter = Heartbeats::new(options, now());
    loop {
        let notice = match emitter.poll(now()) {
            Some(Step::Create(topic)) => {
                let created = admin::create_topic(target, &topic, timeout).await;
                emitter.created(now(), created)
            }
            Some(Step::Write) => {
                let appended = append(options, target, timeout).await;
                emitter.emitted(now(), appended)
            }
            None => match emitter.deadline() {
                Some(at) => {
                    tokio::time::sleep_until(at.into()).await;
                    None
                }
                // Every step is answered above.
                None => return,
            },
        };
        if let Some(notice) = notice {
            report::notice(&name, &notice);
        }
    }
}

async fn append(
    options: &HeartbeatOptions,
    target: &Cluster,
    timeout: Duration,
) -> Result<(), Failure> {
    let heartbeat = Heartbeat {
        source: options.source_alias.clone(),
        target: options.target_alias.clone(),
        timestamp_ms: now_ms(),
    };
    let words = || Failure::Unsupported(String::from("an alias is longer than 32,767 bytes"));
    let record = heartbeat.encode().ok_or_else(words)?;
    let (topic, time) = (&options.topic.name, heartbeat.timestamp_ms);
    let appended = topic_writer::append(target, topic, 1, &[record], time, timeout).await;
    appended.map(drop)
}
