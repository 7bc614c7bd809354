//! How fast the sandbox is: bytes produced to it and fetched from it, and the time of one record
//! there and back, over loopback sockets.
//!
//! The server has one thread, whose CPU time is what counts; the client has another. Run with
//! `cargo bench --bench sandbox`.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    error::Error,
    fs,
    io::{IoSlice, Read as _, Write as _},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kmirror::{
    runtime::now_ms,
    sandbox::{ClusterOptions, Timestamp, server::Server},
};
use kmirror_protocol::{
    Request, frame,
    messages::{
        CreateTopicsRequest, FetchRequest, ProduceRequest,
        create_topics::CreatableTopic,
        fetch::{FetchRequestPartition, FetchRequestTopic},
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{BatchBuilder, Compression, NewRecord},
    wire::{Array, Records, Uuid},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How much each way, in bytes.
const VOLUME: usize = 2_000_000_000;

/// How many records go there and back.
const ROUND_TRIPS: usize = 5_000;

/// How many requests are under way at once.
const IN_FLIGHT: usize = 4;

fn main() -> Result<()> {
    let (bootstrap, server_stat) = serve()?;
    let mut client = Client::connect(&bootstrap)?;
    let topic = client.create_topic("volume")?;
    println!("| direction | batches | MB/s | MB per CPU-second of the server |");
    println!("|---|---|---|---|");
    for batch_len in [16_000, 64_000, 1_000_000] {
        let batch = batch(batch_len)?;
        let count = VOLUME / batch_len;
        let rates = measure(&server_stat, count * batch.len(), || {
            client.produce_all(topic, &batch, count)
        })?;
        report("produce", batch_len, rates);
        let rates = measure(&server_stat, VOLUME / 2, || {
            client.fetch_all(topic, VOLUME / 2)
        })?;
        report("fetch", batch_len, rates);
    }
    let topic = client.create_topic("lone")?;
    let mut times = client.round_trips(topic)?;
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_micros();
    println!(
        "\nOne record produced, then fetched: p50 {} µs, p99 {} µs",
        at(50),
        at(99)
    );
    Ok(())
}

/// Serves a cluster on a thread of its own; answers its address and where its CPU time is told.
fn serve() -> Result<(String, String)> {
    let (sender, started) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime can be made").block_on(async {
            let mut options = ClusterOptions::new("bench", 1);
            // What is fetched must still be there, and no more.
            options.retained_bytes_max = VOLUME / 2;
            let started_at = Timestamp(now_ms());
            let server = Server::start(options, started_at)
                .await
                .expect("ports are free");
            let own = fs::read_link("/proc/thread-self").expect("this is Linux");
            let stat = format!("/proc/{}/schedstat", own.display());
            sender.send((server.bootstrap(), stat)).expect("main waits");
            std::future::pending::<()>().await;
        });
    });
    Ok(started.recv()?)
}

/// Bytes per second of time and of the server's CPU, in MB.
fn measure(stat: &str, len: usize, work: impl FnOnce() -> Result<()>) -> Result<(f64, f64)> {
    let (before, started) = (cpu(stat)?, Instant::now());
    work()?;
    let took = started.elapsed().as_secs_f64();
    let busy = (cpu(stat)? - before).as_secs_f64();
    let megabytes = len as f64 / 1e6;
    Ok((megabytes / took, megabytes / busy))
}

/// The time that a thread has run; the first number of its `schedstat`, in nanoseconds.
fn cpu(stat: &str) -> Result<Duration> {
    let text = fs::read_to_string(stat)?;
    let ns = text.split(' ').next().ok_or("an empty schedstat")?;
    Ok(Duration::from_nanos(ns.parse()?))
}

fn report(direction: &str, batch_len: usize, (per_second, per_cpu_second): (f64, f64)) {
    println!(
        "| {direction} | {} KB | {per_second:.0} | {per_cpu_second:.0} |",
        batch_len / 1000
    );
}

/// An uncompressed batch of records of 1,000 bytes.
fn batch(len: usize) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Compression::None);
    let value = [7; 990];
    for _ in 0..len / 1000 {
        builder.push(&NewRecord {
            timestamp: now_ms(),
            value: Some(&value),
            ..Default::default()
        })?;
    }
    let batch = builder.build()?;
    Ok([&batch.header.encode(), &*batch.payload].concat())
}

struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
    /// Where the next batch of the topic will lie.
    end_offset: i64,
}

impl Client {
    fn connect(bootstrap: &str) -> Result<Self> {
        let stream = TcpStream::connect(bootstrap)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::new(),
            end_offset: 0,
        })
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        let pieces = frame::encode_request(request, version, 1, "bench")?;
        let frame: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut slices = &mut frame.into_boxed_slice()[..];
        while !slices.is_empty() {
            let written = self.stream.write_vectored(slices)?;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response<'_>> {
        let mut prefix = [0; frame::PREFIX_LEN];
        self.stream.read_exact(&mut prefix)?;
        let len = frame::body_len(prefix, 1 << 30)?;
        self.answer.resize(len, 0);
        self.stream.read_exact(&mut self.answer)?;
        Ok(frame::decode_response::<R>(&self.answer, version)?)
    }

    fn create_topic(&mut self, name: &str) -> Result<Uuid> {
        let topic = CreatableTopic {
            name,
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: [topic].into(),
            ..Default::default()
        };
        self.send(&request, 7)?;
        let response = self.receive::<CreateTopicsRequest<'_>>(7)?;
        let created = response.topics.first().ok_or("no topic")?;
        let id = created.topic_id;
        self.end_offset = 0;
        Ok(id)
    }

    fn produce(&mut self, topic_id: Uuid, batch: &[u8]) -> Result<()> {
        let partition = ProduceRequestPartition {
            index: 0,
            records: Some(Records::Slice(batch)),
        };
        let topic = ProduceRequestTopic {
            topic_id,
            partition_data: [partition].into(),
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: [topic].into(),
            ..Default::default()
        };
        self.send(&request, 13)
    }

    fn produced(&mut self) -> Result<i64> {
        let response = self.receive::<ProduceRequest<'_>>(13)?;
        let topic = response.responses.first().ok_or("no topic")?;
        let partition = topic.partition_responses.first().ok_or("no partition")?;
        match partition.error_code.0 {
            0 => Ok(partition.base_offset),
            code => Err(format!("produce: error {code}").into()),
        }
    }

    fn produce_all(&mut self, topic_id: Uuid, batch: &[u8], count: usize) -> Result<()> {
        for at in 0..count + IN_FLIGHT {
            if at < count {
                self.produce(topic_id, batch)?;
            }
            if at >= IN_FLIGHT {
                self.end_offset = self.produced()?;
            }
        }
        Ok(())
    }

    fn fetch(&mut self, topic_id: Uuid, fetch_offset: i64) -> Result<()> {
        let partition = FetchRequestPartition {
            fetch_offset,
            partition_max_bytes: 4 << 20,
            ..Default::default()
        };
        let topic = FetchRequestTopic {
            topic_id,
            partitions: [partition].into(),
            ..Default::default()
        };
        let request = FetchRequest {
            max_wait_ms: 1000,
            min_bytes: 1,
            max_bytes: 4 << 20,
            topics: Array::from([topic]),
            ..Default::default()
        };
        self.send(&request, 17)
    }

    /// How many bytes of records came.
    fn fetched(&mut self) -> Result<usize> {
        let response = self.receive::<FetchRequest<'_>>(17)?;
        let topic = response.responses.first().ok_or("no topic")?;
        let partition = topic.partitions.first().ok_or("no partition")?;
        match partition.error_code.0 {
            0 => Ok(partition.records.map_or(0, |records| records.len())),
            code => Err(format!("fetch: error {code}").into()),
        }
    }

    /// Fetches the same last megabytes again and again, until that many bytes have come.
    fn fetch_all(&mut self, topic_id: Uuid, len: usize) -> Result<()> {
        let from = self.end_offset.saturating_sub(4_000);
        let mut read = 0;
        for _ in 0..IN_FLIGHT {
            self.fetch(topic_id, from)?;
        }
        while read < len {
            read += self.fetched()?;
            self.fetch(topic_id, from)?;
        }
        for _ in 0..IN_FLIGHT {
            self.fetched()?;
        }
        Ok(())
    }

    fn round_trips(&mut self, topic_id: Uuid) -> Result<Vec<Duration>> {
        let batch = batch(1000)?;
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let started = Instant::now();
            self.produce(topic_id, &batch)?;
            let offset = self.produced()?;
            self.fetch(topic_id, offset)?;
            if self.fetched()? == 0 {
                return Err("the record is not there".into());
            }
            times.push(started.elapsed());
        }
        Ok(times)
    }
}
