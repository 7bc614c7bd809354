//! Records that keep coming: batches of every codec and size, some of them odd, some of them twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use fastrand::Rng;
use kmirror::{
    cluster::{Cluster, Topics},
    demo::load::produce,
    runtime::now_ms,
};
use kmirror_protocol::records::{BatchBuilder, BuiltBatch, Compression, Header, NewRecord};
use tokio::{
    runtime::Builder,
    time::{MissedTickBehavior, interval},
};

use super::observer::cluster;

/// From one batch to the next.
const PACE: Duration = Duration::from_millis(25);

/// A source that is down does not answer; one that lives does within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// A thread that appends to one topic, until this value is dropped.
pub(super) struct Load {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Begins. What is in the batches depends on the seed, but for the time.
    pub(super) fn start(bootstrap: &str, topic: &'static str, partitions: i32, seed: u64) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let appender = Appender {
            cluster: cluster(bootstrap, REQUEST_TIMEOUT),
            topic,
            is_stopped: Arc::clone(&is_stopped),
        };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let thread = thread::spawn(move || runtime.block_on(appender.run(partitions, seed)));
        Self {
            is_stopped,
            thread: Some(thread),
        }
    }

    /// Ends after the batch under way.
    pub(super) fn stop(mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

struct Appender {
    cluster: Cluster,
    topic: &'static str,
    is_stopped: Arc<AtomicBool>,
}

impl Appender {
    async fn run(self, partitions: i32, seed: u64) {
        let mut records = Records {
            rng: Rng::with_seed(seed),
            next: 0,
        };
        let mut last: Vec<Option<BuiltBatch>> = (0..partitions).map(|_| None).collect();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_stopped.load(Ordering::Relaxed) {
            pace.tick().await;
            let partition = records.rng.i32(0..partitions);
            let last = &mut last[usize::try_from(partition).unwrap()];
            // Identical twins: what is compared must not take one for the other.
            let is_twin = records.rng.u32(0..30) == 0;
            let again = last.take().filter(|_| is_twin);
            let batch = again.unwrap_or_else(|| records.batch());
            *last = Some(batch.clone());
            self.append(partition, batch).await;
        }
    }

    /// Appends a batch; one whose fate is unknown comes once more, so it may be there twice.
    async fn append(&self, partition: i32, batch: BuiltBatch) {
        while !self.is_stopped.load(Ordering::Relaxed) {
            let (cluster, topic) = (&self.cluster, self.topic);
            // Without a view there is no leader to produce to.
            if cluster.metadata().leader(topic, partition).is_some() {
                let produced =
                    produce(cluster, topic, partition, batch.clone(), REQUEST_TIMEOUT).await;
                if matches!(produced, Ok(Ok(_))) {
                    return;
                }
                tokio::time::sleep(PACE).await;
            }
            // A source that is down is asked again.
            let _ = cluster.refresh_metadata(Topics::named([topic])).await;
        }
    }
}

/// Makes numbered records.
struct Records {
    rng: Rng,
    next: u64,
}

impl Records {
    /// The next batch: mostly small, of any codec.
    fn batch(&mut self) -> BuiltBatch {
        let codec = CODECS[self.rng.usize(0..CODECS.len())];
        let count = match self.rng.u32(0..10) {
            0..=3 => 1,
            4..=8 => self.rng.u32(2..15),
            _ => self.rng.u32(15..100),
        };
        let mut builder = BatchBuilder::new(codec);
        for index in 0..count {
            // One record of each batch is of now: a broker forgets producers by their records' age.
            self.push(&mut builder, index > 0);
        }
        builder.build().unwrap()
    }

    /// Adds the next record; its number is in its key or in a header.
    fn push(&mut self, builder: &mut BatchBuilder, may_be_old: bool) {
        let number = self.next.to_string();
        self.next += 1;
        let rng = &mut self.rng;
        let size = match rng.u32(0..500) {
            0 => rng.usize(20_000..200_000),
            1..=30 => rng.usize(300..5_000),
            _ => rng.usize(0..300),
        };
        let value: Vec<u8> = if rng.bool() {
            (0..size).map(|_| rng.u8(..)).collect()
        } else {
            number.bytes().cycle().take(size).collect()
        };
        let numbered = Header {
            key: b"number",
            value: Some(number.as_bytes()),
        };
        let odd = [
            Header {
                key: "größe".as_bytes(),
                value: None,
            },
            numbered,
            Header {
                key: b"number",
                value: Some(b""),
            },
        ];
        let kind = rng.u32(0..20);
        builder
            .push(&NewRecord {
                timestamp: match rng.u32(0..50) {
                    0 if may_be_old => 0,
                    1 if may_be_old => now_ms() - 7 * 24 * 3600 * 1000,
                    _ => now_ms(),
                },
                key: match kind {
                    0 | 1 => None,
                    2 => Some(b""),
                    _ => Some(number.as_bytes()),
                },
                value: (kind != 3).then_some(&value),
                headers: match kind {
                    0 | 2 => &odd[1..2],
                    1 | 4 => &odd,
                    _ => &[],
                },
            })
            .unwrap();
    }
}
