//! Many topics: every one of them is copied, and what that takes stays within bounds.

use std::{sync::Arc, time::Duration};

use kmirror::{cluster::Topics, demo::load, flow::NewTopic, runtime::admin};

use super::http::{get, own_address};
use crate::support::{
    kmirror::Kmirror,
    process::{cpu_ticks, peak_bytes},
    sandbox::{LOAD, Pair, Side},
};

/// How many topics; `KMIRROR_TOPICS=10000` for the volume of a large cluster.
const TOPICS_DEFAULT: usize = 300;
const TOPICS_AT_ONCE: usize = 500;
const TIMEOUT: Duration = Duration::from_secs(60);
/// Of the process, whatever it copies.
const PEAK_BYTES_MAX: u64 = 64_000_000;
/// Far more than it takes; somebody has to give up at some time.
const LOOKS_MAX: usize = 3_000;
const LOOK_EVERY: Duration = Duration::from_millis(200);

fn topics() -> usize {
    let set = std::env::var("KMIRROR_TOPICS").ok();
    set.map_or(TOPICS_DEFAULT, |text| text.parse().unwrap())
}

/// Makes that many topics of one partition, with a record in each.
async fn fill(side: &Side, count: usize) {
    let names: Vec<Arc<str>> = (0..count)
        .map(|it| Arc::from(format!("topic-{it}")))
        .collect();
    for names in names.chunks(TOPICS_AT_ONCE) {
        let topics = names.iter().map(|name| NewTopic {
            name: Arc::clone(name),
            partition_count: 1,
            replication_factor: 1,
            configs: Vec::new(),
        });
        let topics: Vec<NewTopic> = topics.collect();
        let created = admin::create_topics(&side.client, &topics, TIMEOUT).await;
        assert!(
            created.iter().all(|(_, result)| result.is_ok()),
            "{created:?}"
        );
    }
    side.client.refresh_metadata(Topics::All).await.unwrap();
    for name in names {
        let batch = LOAD.batch(0, 1).unwrap();
        let produced = load::produce(&side.client, &name, 0, batch, TIMEOUT).await;
        produced.unwrap().unwrap();
    }
}

/// How many topics have their record on the target, by what the process itself tells.
async fn copied(address: &str) -> usize {
    let metrics = get(address, "/metrics").await;
    let lines = metrics.lines();
    let lines = lines.filter(|line| line.starts_with("kmirror_records_total{"));
    lines.filter(|line| line.ends_with("} 1.0")).count()
}

#[tokio::test]
async fn many_topics_are_copied_within_bounded_memory() {
    let (pair, count) = (Pair::start(1).await, topics());
    fill(&pair.source, count).await;
    let address = own_address();
    let run = Kmirror::run(&pair.properties(&format!(
        "kmirror.http.listen = {address}\n\
         kmirror.discovery.interval.ms = 3000\n\
         kmirror.positions.interval.ms = 1000\n\
         sync.topic.configs.enabled = true\n\
         emit.checkpoints.enabled = true"
    )));
    let started = tokio::time::Instant::now();
    let mut looks = 0;
    while !(0..count).all(|it| pair.target.ends(&format!("A.topic-{it}")) == [1]) {
        looks += 1;
        assert!(looks < LOOKS_MAX, "{}", run.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let ticks = cpu_ticks(run.id());
    while copied(&address).await != count {
        looks += 1;
        assert!(looks < LOOKS_MAX, "{}", run.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let peak = peak_bytes(run.id());
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{count} topics: {seconds:.1} s, {ticks} hundredths of a CPU-second, {peak} bytes at most"
    );
    if count > TOPICS_DEFAULT {
        tokio::time::sleep(TIMEOUT).await;
        let idle = cpu_ticks(run.id()) - ticks;
        println!(
            "idle: {idle} hundredths of a CPU-second a minute, {} bytes",
            peak_bytes(run.id())
        );
    }
    assert!(peak < PEAK_BYTES_MAX, "{peak} bytes for {count} topics");
    let (status, log) = tokio::task::spawn_blocking(|| run.stop()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
}
