//! The engine at work on two in-memory clusters, for people who want to see before they install.
//!
//! Everything is real but the brokers: records go over TCP from the source cluster through the same
//! engine that `kmirror run` starts, with a properties file as MirrorMaker 2 users write it.

pub mod load;
mod screen;
mod verify;

use std::{fmt::Write as _, sync::Arc, time::Duration};

use kmirror_protocol::{
    ErrorCode,
    records::{BuildError, Compression},
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    cluster::{Cluster, ClusterOptions, RequestError, Topics},
    config::{Config, ConfigError, ParseOptions},
    flow::{Failure, FlowStatus, NewTopic},
    runtime::{Engine, admin, now_ms},
    sandbox::{self, Timestamp, server::Server},
};
use load::Load;
use screen::{Screen, grouped};

/// What the demo copies: a topic for each codec.
const TOPICS: [DemoTopic; 5] = [
    DemoTopic {
        name: "orders",
        partitions: 4,
        codec: Compression::Lz4,
    },
    DemoTopic {
        name: "payments",
        partitions: 2,
        codec: Compression::Zstd,
    },
    DemoTopic {
        name: "clicks",
        partitions: 3,
        codec: Compression::Snappy,
    },
    DemoTopic {
        name: "audit",
        partitions: 1,
        codec: Compression::Gzip,
    },
    DemoTopic {
        name: "sensors",
        partitions: 2,
        codec: Compression::None,
    },
];

/// Records that wait on the source before the engine starts, per topic.
const BACKLOG: u64 = 20_000;

/// How often live records are produced, one small batch per topic.
const LIVE_INTERVAL: Duration = Duration::from_millis(50);

/// Records in one batch of the live load.
const LIVE_BATCH: u64 = 20;

/// Batches that a partition of a demo cluster keeps, in bytes.
const RETAINED_BYTES_MAX: usize = 32 << 20;

/// How long the copy may take to catch up once the load has ended.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct DemoTopic {
    name: &'static str,
    partitions: i32,
    codec: Compression,
}

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A socket on loopback could not be opened.
    #[error("cannot start an in-memory cluster: {0}")]
    Sandbox(#[from] std::io::Error),
    /// A request to an in-memory cluster failed.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// An in-memory cluster refused something.
    #[error("an in-memory cluster answers {0}")]
    Refused(ErrorCode),
    /// The same, in the flow's words.
    #[error("{0}")]
    Failed(Failure),
    /// A batch of the load could not be built.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// The demo's own configuration is wrong.
    #[error("the demo's configuration: {0}")]
    Config(ConfigError),
    /// The copy never caught up.
    #[error("the copy has not caught up within {CATCH_UP_MAX:?}; {0} records are missing")]
    Behind(i64),
    /// The two sides differ.
    #[error("the clusters differ: {0}")]
    Differs(String),
}

/// Runs the demo with `seconds` of live load; prints to standard output.
///
/// # Errors
///
/// [`DemoError`]; [`DemoError::Differs`] names the first difference between the clusters.
pub async fn run(seconds: u64) -> Result<(), DemoError> {
    let started_at = Timestamp(now_ms());
    let west = start_sandbox("demo-west", started_at).await?;
    let east = start_sandbox("demo-east", started_at).await?;
    println!(
        "Two Kafka clusters, in this process: west at {} and east at {}.",
        west.bootstrap(),
        east.bootstrap()
    );
    let (source, target) = (connect("west", &west), connect("east", &east));

    create_topics(&source).await?;
    let mut load = LiveLoad::new(source.clone(), started_at.0);
    load.backlog().await?;
    println!(
        "west has {} topics and a backlog of {} records ({} MB), one codec per topic.\n",
        TOPICS.len(),
        grouped(load.produced()),
        load.produced_bytes / 1_000_000
    );

    let properties = properties(&west, &east);
    println!("The engine starts with this file, as MirrorMaker 2 users have it:\n");
    for line in properties.lines() {
        println!("    {line}");
    }
    println!();
    let engine = start_engine(&properties)?;
    let mut screen = Screen::new(&TOPICS.map(|topic| topic.name));
    load.go_live(&engine, &mut screen, Duration::from_secs(seconds))
        .await?;
    catch_up(&engine, &load, &mut screen).await?;
    screen.finish();
    engine.stop();
    engine.ended().await;

    verify::show_consumers_view(&source, &target)
        .await
        .map_err(DemoError::Failed)?;
    let topics = TOPICS.map(|topic| (topic.name, topic.codec.name()));
    verify::compare(&source, &target, &topics).await
}

async fn start_sandbox(cluster_id: &str, started_at: Timestamp) -> std::io::Result<Server> {
    let options = sandbox::ClusterOptions {
        retained_bytes_max: RETAINED_BYTES_MAX,
        ..sandbox::ClusterOptions::new(cluster_id, 1)
    };
    Server::start(options, started_at).await
}

fn connect(alias: &str, server: &Server) -> Cluster {
    let addresses = server.addresses();
    let bootstrap = addresses
        .map(|address| (address.ip().to_string(), address.port()))
        .collect();
    Cluster::new(ClusterOptions {
        client_id: String::from("demo"),
        ..ClusterOptions::new(alias, bootstrap)
    })
}

fn properties(west: &Server, east: &Server) -> String {
    format!(
        "clusters = west, east\n\
         west.bootstrap.servers = {}\n\
         east.bootstrap.servers = {}\n\
         west->east.enabled = true\n\
         west->east.topics = .*\n\
         replication.factor = 1\n\
         east.offset.storage.replication.factor = 1\n\
         heartbeats.topic.replication.factor = 1\n\
         offset-syncs.topic.replication.factor = 1\n\
         checkpoints.topic.replication.factor = 1\n",
        west.bootstrap(),
        east.bootstrap(),
    )
}

fn start_engine(properties: &str) -> Result<Engine, DemoError> {
    let parsed = Config::parse(
        "demo.properties",
        properties.as_bytes(),
        &ParseOptions::default(),
    );
    match parsed {
        Ok((config, _)) => Ok(Engine::start(&config)),
        Err(mistakes) => {
            let first = mistakes.errors.into_iter().next();
            Err(DemoError::Config(
                first.expect("a refused file has at least one mistake"),
            ))
        }
    }
}

async fn create_topics(source: &Cluster) -> Result<(), DemoError> {
    source.refresh_metadata(Topics::All).await?;
    let topics = TOPICS.map(|topic| NewTopic {
        name: Arc::from(topic.name),
        partition_count: topic.partitions,
        replication_factor: 1,
        configs: Vec::new(),
    });
    for (_, result) in admin::create_topics(source, &topics, REQUEST_TIMEOUT).await {
        result.map_err(DemoError::Failed)?;
    }
    source.refresh_metadata(Topics::All).await?;
    Ok(())
}

/// The producer of the demo: a backlog first, then a little at a time.
struct LiveLoad {
    source: Cluster,
    first_timestamp: i64,
    /// Records produced so far, per topic.
    next: [u64; TOPICS.len()],
    next_partition: i32,
    produced_bytes: usize,
}

impl LiveLoad {
    const fn new(source: Cluster, first_timestamp: i64) -> Self {
        Self {
            source,
            first_timestamp,
            next: [0; TOPICS.len()],
            next_partition: 0,
            produced_bytes: 0,
        }
    }

    fn produced(&self) -> u64 {
        self.next.iter().sum()
    }

    async fn backlog(&mut self) -> Result<(), DemoError> {
        for index in 0..TOPICS.len() {
            while self.next[index] < BACKLOG {
                let left = BACKLOG - self.next[index];
                self.produce(index, left).await?;
            }
        }
        Ok(())
    }

    /// Produces one batch of at most `record_count_max` records to a topic.
    async fn produce(&mut self, index: usize, record_count_max: u64) -> Result<(), DemoError> {
        let topic = TOPICS[index];
        let load = Load {
            value_bytes: 1_000,
            batch_bytes: 64 << 10,
            codec: topic.codec,
            first_timestamp: self.first_timestamp,
        };
        let batch = load.batch(self.next[index], record_count_max)?;
        self.next[index] += u64::from(batch.header.record_count.unsigned_abs());
        self.produced_bytes += batch.header.size();
        self.next_partition = self.next_partition.wrapping_add(1);
        let partition = self.next_partition.rem_euclid(topic.partitions);
        let produced = load::produce(&self.source, topic.name, partition, batch, REQUEST_TIMEOUT);
        produced.await?.map_err(DemoError::Refused)?;
        Ok(())
    }

    async fn go_live(
        &mut self,
        engine: &Engine,
        screen: &mut Screen,
        duration: Duration,
    ) -> Result<(), DemoError> {
        let started = Instant::now();
        let mut next = started;
        while started.elapsed() < duration {
            for index in 0..TOPICS.len() {
                self.produce(index, LIVE_BATCH).await?;
            }
            screen.show(&self.next, &status(engine));
            next += LIVE_INTERVAL;
            sleep_until(next).await;
        }
        Ok(())
    }
}

fn status(engine: &Engine) -> FlowStatus {
    engine
        .flows
        .first()
        .map(|flow| flow.status.borrow().clone())
        .unwrap_or_default()
}

/// Waits until everything produced is on the target.
async fn catch_up(engine: &Engine, load: &LiveLoad, screen: &mut Screen) -> Result<(), DemoError> {
    let until = Instant::now() + CATCH_UP_MAX;
    loop {
        let status = status(engine);
        screen.show(&load.next, &status);
        if let Some(halted) = status.halted.first() {
            let reason = halted.halted.clone().unwrap_or_default();
            return Err(DemoError::Differs(format!(
                "{} is halted: {reason}",
                halted.source
            )));
        }
        let missing = load.produced().saturating_sub(status.counters.records);
        if missing == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(DemoError::Behind(
                i64::try_from(missing).unwrap_or(i64::MAX),
            ));
        }
        sleep(LIVE_INTERVAL).await;
    }
}

/// Shortens text for one line of a terminal.
fn shortened(text: &[u8], len_max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let mut short = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == len_max {
            // Writing to a string cannot fail.
            let _ = write!(short, "…");
            break;
        }
        short.push(character);
    }
    short
}
