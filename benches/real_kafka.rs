//! What copying costs between real Apache Kafka brokers on this machine: CPU-seconds per wire GB of
//! kmirror's own process, peak resident memory, and the time to the first record.
//!
//! `cargo bench --bench real_kafka` runs it; `-- --records N` sets the records per load (1,000,000
//! by default). Each load is produced to the source first; then a new `kmirror run` process copies
//! it. CPU and memory are the kernel's own figures for that process (`/proc`), read when the last
//! record is on the target. Nothing here asserts a time.
//!
//! `-- --deliveries N` compares the ways of delivery instead: each load is copied N times in each
//! way, by turns. What counts there is the CPU time of all N rounds from the tenth part of the load
//! on: what a start costs is another question, and a hundredth of a second is no measure for one.
//! With `--instructions` it is what kmirror itself executes, counted by valgrind's callgrind, which
//! must be installed: no noise of the machine is in it, and no work of the kernel. kmirror is some
//! fifty times slower under it, and so does fifty times as much of what it does by the clock.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "a measuring program that shares the tests' support"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kmirror::{
    cluster::{Cluster, ClusterOptions, Lane, Topics},
    demo::load::{Load, produce},
};
use kmirror_protocol::{
    messages::{
        ListOffsetsRequest,
        list_offsets::{ListOffsetsRequestPartition, ListOffsetsRequestTopic},
    },
    records::Compression,
};
use support::{
    kafka::{Pair, pair},
    process,
};

const PARTITIONS: i32 = 4;

/// The ways of delivery that are compared; the last is what the others are measured by.
const DELIVERIES: [&str; 3] = ["exactly-once", "transactional", "at-least-once"];

/// How long a broker may take over one batch.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Linux counts process time in hundredths of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

struct Case {
    name: &'static str,
    load: Load,
}

struct Measured {
    wire_gb: f64,
    cpu_seconds: f64,
    wall_seconds: f64,
    peak_mb: f64,
    first_record_ms: f64,
    /// From the tenth part of the load on.
    steady: Cost,
}

/// CPU-seconds, or thousands of millions of instructions, for so much on the wire.
#[derive(Clone, Copy, Default)]
struct Cost {
    wire_gb: f64,
    spent: f64,
}

impl Cost {
    fn per_gb(self) -> f64 {
        self.spent / self.wire_gb
    }
}

/// What a process has spent is measured in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meter {
    CpuTime,
    Instructions,
}

impl Meter {
    const fn unit(self) -> &'static str {
        match self {
            Self::CpuTime => "CPU-s",
            Self::Instructions => "instructions (10^9)",
        }
    }

    /// Starts kmirror so that it is measured.
    fn command(self, dir: &Path) -> Command {
        let kmirror = env!("CARGO_BIN_EXE_kmirror");
        if self == Self::CpuTime {
            return Command::new(kmirror);
        }
        let mut command = Command::new("valgrind");
        command.arg("--tool=callgrind");
        let counts = dir.join("instructions");
        command.arg(format!("--callgrind-out-file={}", counts.display()));
        command.arg(kmirror);
        command
    }

    /// What has been spent so far; instructions are counted from here on.
    fn begin(self, child: &Child) -> f64 {
        if self == Self::CpuTime {
            return cpu_seconds(child.id());
        }
        let id = child.id().to_string();
        let zeroed = Command::new("callgrind_control").args(["-z", &id]).output();
        assert!(zeroed.unwrap().status.success(), "callgrind_control -z");
        0.0
    }

    /// What had been spent when the process was ended, which this does.
    fn end(self, mut child: Child, dir: &Path) -> f64 {
        let cpu_seconds = cpu_seconds(child.id());
        if self == Self::CpuTime {
            child.kill().unwrap();
            child.wait().unwrap();
            return cpu_seconds;
        }
        let stopped = Command::new("kill").arg(child.id().to_string()).status();
        assert!(stopped.unwrap().success(), "kill");
        child.wait().unwrap();
        let counts = fs::read_to_string(dir.join("instructions")).unwrap();
        let totals = counts
            .lines()
            .find_map(|line| line.strip_prefix("totals: "));
        totals.unwrap().parse::<f64>().unwrap() / 1e9
    }
}

fn main() {
    let records = argument("--records").map_or(1_000_000, |text| text.parse().unwrap());
    let only = argument("--only");
    let Some(pair) = pair() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("{records} records a load, {PARTITIONS} partitions, real brokers\n");
    let cases = cases().into_iter().filter(|case| {
        let only = only.as_ref();
        only.is_none_or(|only| case.name.contains(only.as_str()))
    });
    if let Some(rounds) = argument("--deliveries") {
        let rounds = rounds.parse().unwrap();
        let meter = if std::env::args().any(|argument| argument == "--instructions") {
            Meter::Instructions
        } else {
            Meter::CpuTime
        };
        return runtime.block_on(compare(pair, cases, (records, rounds), meter));
    }
    println!("| load | wire GB | CPU-s | CPU-s per GB | wall s | peak MB | first record ms |");
    println!("|---|---|---|---|---|---|---|");
    for case in cases {
        let measured = runtime.block_on(async {
            let loaded = Loaded::new(pair, &case, records).await;
            let measured = loaded.copy("A", DELIVERIES[0], Meter::CpuTime).await;
            loaded.delete();
            measured
        });
        println!(
            "| {} | {:.3} | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} |",
            case.name,
            measured.wire_gb,
            measured.cpu_seconds,
            measured.cpu_seconds / measured.wire_gb,
            measured.wall_seconds,
            measured.peak_mb,
            measured.first_record_ms,
        );
    }
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

fn cases() -> Vec<Case> {
    let case = |name, value_bytes, batch_bytes, codec| Case {
        name,
        load: Load {
            value_bytes,
            batch_bytes,
            codec,
            first_timestamp: 1_700_000_000_000,
        },
    };
    vec![
        case(
            "1,000 B, 64 KB batches, none",
            1_000,
            64 << 10,
            Compression::None,
        ),
        case(
            "1,000 B, 64 KB batches, lz4",
            1_000,
            64 << 10,
            Compression::Lz4,
        ),
        case(
            "1,000 B, 64 KB batches, zstd",
            1_000,
            64 << 10,
            Compression::Zstd,
        ),
        case("200 B, 2 KB batches, lz4", 200, 2 << 10, Compression::Lz4),
    ]
}

fn connect(alias: &str, bootstrap: &str) -> Cluster {
    let servers = bootstrap.split(',').map(|server| {
        let (host, port) = server.rsplit_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    });
    Cluster::new(ClusterOptions::new(alias, servers.collect()))
}

/// Prints what each way of delivery costs.
async fn compare(
    pair: &Pair,
    cases: impl Iterator<Item = Case>,
    (records, rounds): (u64, usize),
    meter: Meter,
) {
    let unit = meter.unit();
    println!("| load | delivery | {unit} per GB in {rounds} rounds | least | against the last |");
    println!("|---|---|---|---|---|");
    for case in cases {
        let loaded = Loaded::new(pair, &case, records).await;
        let mut costs = DELIVERIES.map(|_| Vec::new());
        for round in 0..rounds {
            for (number, delivery) in DELIVERIES.into_iter().enumerate() {
                // Each copy under a name of its own begins anew.
                let alias = format!("A{number}x{round}");
                let measured = loaded.copy(&alias, delivery, meter).await;
                costs[number].push(measured.steady);
            }
        }
        loaded.delete();
        let base = sum(&costs[DELIVERIES.len() - 1]).per_gb();
        for (delivery, costs) in DELIVERIES.iter().zip(&costs) {
            let cost = sum(costs).per_gb();
            let least = costs.iter().copied().map(Cost::per_gb);
            let (least, ratio) = (least.fold(f64::INFINITY, f64::min), cost / base);
            println!(
                "| {} | {delivery} | {cost:.3} | {least:.3} | {ratio:.3} |",
                case.name
            );
        }
    }
}

fn sum(costs: &[Cost]) -> Cost {
    costs.iter().fold(Cost::default(), |sum, cost| Cost {
        wire_gb: sum.wire_gb + cost.wire_gb,
        spent: sum.spent + cost.spent,
    })
}

/// A source topic with its records.
struct Loaded<'a> {
    pair: &'a Pair,
    topic: String,
    records: u64,
    wire_gb: f64,
    target: Cluster,
}

impl<'a> Loaded<'a> {
    async fn new(pair: &'a Pair, case: &Case, records: u64) -> Self {
        let topic = format!("bench-{}", case.name.replace([' ', ','], "-"));
        pair.source.java().create_topic(&topic, PARTITIONS, 1, &[]);
        let source = connect("A", &pair.source.bootstrap());
        source
            .refresh_metadata(Topics::named([topic.as_str()]))
            .await
            .unwrap();
        let wire_gb = fill(&source, &topic, case.load, records).await / 1e9;
        Self {
            pair,
            topic,
            records,
            wire_gb,
            target: connect("B", &pair.target.bootstrap()),
        }
    }

    /// Has a new process copy it all, from a source of that name.
    async fn copy(&self, source_alias: &str, delivery: &str, meter: Meter) -> Measured {
        let remote_topic = format!("{source_alias}.{}", self.topic);
        let dir = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let mut child = self.start((source_alias, delivery), dir.path(), meter);
        let (mut first, mut copied) = (None, 0);
        let mut steady_since = None;
        while copied < self.records {
            assert!(
                child.try_wait().unwrap().is_none(),
                "{}",
                log_of(dir.path())
            );
            let pause = if first.is_none() { 1 } else { 20 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            copied = end_offsets(&self.target, &remote_topic).await;
            if copied > 0 && first.is_none() {
                first = Some(started.elapsed());
            }
            if copied >= self.records / 10 && steady_since.is_none() {
                steady_since = Some((copied, meter.begin(&child)));
            }
        }
        let wall_seconds = started.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds(child.id());
        let peak_mb = process::peak_bytes(child.id()) as f64 / 1e6;
        let (copied_before, spent_before) = steady_since.unwrap();
        let rest = (self.records - copied_before) as f64 / self.records as f64;
        let steady = Cost {
            wire_gb: self.wire_gb * rest,
            spent: meter.end(child, dir.path()) - spent_before,
        };
        if std::env::args().any(|argument| argument == "--log") {
            eprintln!("{}", log_of(dir.path()));
        }
        self.pair.target.java().delete_topic(&remote_topic);
        Measured {
            wire_gb: self.wire_gb,
            cpu_seconds,
            wall_seconds,
            peak_mb,
            first_record_ms: first.unwrap().as_secs_f64() * 1e3,
            steady,
        }
    }

    fn delete(self) {
        self.pair.source.java().delete_topic(&self.topic);
    }

    fn start(&self, (source_alias, delivery): (&str, &str), dir: &Path, meter: Meter) -> Child {
        let properties = format!(
            "clusters = {source_alias}, B\n{source_alias}.bootstrap.servers = {}\n\
             B.bootstrap.servers = {}\n{source_alias}->B.enabled = true\n\
             {source_alias}->B.topics = {}\nkmirror.delivery = {delivery}\n\
             replication.factor = 1\noffset.storage.replication.factor = 1\n\
             emit.heartbeats.enabled = false\nemit.checkpoints.enabled = false\n\
             emit.offset-syncs.enabled = false\n",
            self.pair.source.bootstrap(),
            self.pair.target.bootstrap(),
            self.topic,
        );
        let file = dir.join("mm2.properties");
        fs::write(&file, properties).unwrap();
        meter
            .command(dir)
            .arg("run")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap()
    }
}

/// Produces the load round robin; returns how many bytes its batches take.
async fn fill(source: &Cluster, topic: &str, load: Load, records: u64) -> f64 {
    let (mut number, mut partition, mut bytes) = (0, 0, 0_u32);
    let mut total = 0.0;
    while number < records {
        let batch = load.batch(number, records - number).unwrap();
        number += u64::from(batch.header.record_count.unsigned_abs());
        bytes = u32::try_from(batch.header.size()).unwrap_or(bytes);
        total += f64::from(bytes);
        // A topic that has just been created may not have its leaders yet.
        while let Err(code) = produce(source, topic, partition, batch.clone(), TIMEOUT)
            .await
            .unwrap()
        {
            assert!(code.is_retriable(), "{code}");
            let topics = Topics::named([topic]);
            source.refresh_metadata(topics).await.unwrap();
        }
        partition = (partition + 1) % PARTITIONS;
    }
    total
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// How many records the topic has ever had; 0 while it does not exist.
async fn end_offsets(cluster: &Cluster, topic: &str) -> u64 {
    if cluster.metadata().topic(topic).is_none() {
        cluster
            .refresh_metadata(Topics::named([topic]))
            .await
            .unwrap();
        if cluster.metadata().topic(topic).is_none() {
            return 0;
        }
    }
    let partitions = (0..PARTITIONS).map(|partition_index| ListOffsetsRequestPartition {
        partition_index,
        timestamp: -1,
        ..ListOffsetsRequestPartition::default()
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsRequestTopic {
            name: topic,
            partitions: partitions.collect(),
        }]
        .into(),
        ..ListOffsetsRequest::default()
    };
    let connection = cluster.broker(1, Lane::Control).await.unwrap();
    let answer = connection.send(&request).unwrap().await.unwrap();
    let response = answer.decode().unwrap();
    let partitions = response.topics.iter().flat_map(|topic| topic.partitions);
    partitions
        .map(|partition| u64::try_from(partition.offset).unwrap_or(0))
        .sum()
}

/// User and system time of a process.
fn cpu_seconds(pid: u32) -> f64 {
    process::cpu_ticks(pid) as f64 / TICKS_PER_SECOND
}
