//! What is written to the source, and a ledger of it.
//!
//! Every record names its place and a running number, in its value or its key, so that the ledger
//! can tell of each what became of it. Two records may be the same in all: twins.

use std::collections::BTreeMap;

use kmirror_protocol::records::{
    Attributes, BatchBuilder, BatchProducer, BuiltBatch, Compression, Header, NewRecord,
};

use super::{
    clusters::{ClusterSide, Content, Place},
    plan::{Micros, Write},
};

/// What the source had of one record.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Its place in the order of writing.
    pub(super) number: u64,
    /// How often it was written; 2 for twins.
    pub(super) written: u32,
    /// Its transaction has been aborted.
    pub(super) is_aborted: bool,
    /// Where it was when the source deleted it.
    pub(super) deleted_at: Vec<i64>,
    /// The source lost it: it elected a leader that did not have it, or the topic was deleted.
    pub(super) is_lost_by_source: bool,
    /// It took the place of one that was copied and then lost, and was deleted before it was seen.
    pub(super) is_deleted_unseen: bool,
    /// The target lost a copy of it that it would have deleted since.
    pub(super) is_lost_by_target: bool,
}

/// Everything that was ever written to one partition.
pub(super) type Ledger = BTreeMap<Content, Entry>;

/// A transaction under way.
#[derive(Debug)]
struct Transaction {
    id: String,
    producer: (i64, i16),
    sequences: BTreeMap<Place, i32>,
    written: Vec<(Place, Content)>,
}

/// Those who write to the source.
#[derive(Debug, Default)]
pub(super) struct Workload {
    pub(super) ledgers: BTreeMap<Place, Ledger>,
    /// Counts records in the order in which they were written.
    next_number: u64,
    /// Names records; what no broker took has a name too.
    next_name: u64,
    /// Idempotent producers: id, epoch, next sequence.
    producers: BTreeMap<Place, (i64, i16, i32)>,
    transaction: Option<Transaction>,
    transactions: u32,
}

impl Workload {
    /// Carries out one planned write.
    pub(super) fn write(
        &mut self,
        now: Micros,
        source: &mut ClusterSide,
        place: &Place,
        write: &Write,
        options: Options,
    ) {
        let mut rng = fastrand::Rng::with_seed(write.seed);
        if options.has_transactions && rng.u32(0..5) < 2 {
            self.transact(now, source, place, &mut rng);
            return;
        }
        let producer = if rng.bool() {
            self.producer(now, source, place)
        } else {
            BatchProducer::NONE
        };
        let time = source.time(now).0;
        let (batch, contents) = self.batch(&mut rng, place, time, options, producer, 0);
        if source.produce(now, place, None, &batch) {
            self.note(place, &contents);
            if let Some(known) = self.producers.get_mut(place)
                && producer.producer_id >= 0
            {
                known.2 += batch.header.record_count;
            }
        } else if producer.producer_id >= 0 {
            self.producers.remove(place);
        }
    }

    fn producer(&mut self, now: Micros, source: &mut ClusterSide, place: &Place) -> BatchProducer {
        if !self.producers.contains_key(place)
            && let Some((id, epoch)) = source.init_producer(now, None)
        {
            self.producers.insert(place.clone(), (id, epoch, 0));
        }
        let known = self.producers.get(place);
        known.map_or(BatchProducer::NONE, |(id, epoch, next)| BatchProducer {
            producer_id: *id,
            producer_epoch: *epoch,
            base_sequence: *next,
        })
    }

    /// Begins a transaction, goes on with one, or ends it.
    fn transact(
        &mut self,
        now: Micros,
        source: &mut ClusterSide,
        place: &Place,
        rng: &mut fastrand::Rng,
    ) {
        if self.transaction.is_some() && rng.u32(0..3) == 0 {
            self.end_transaction(now, source, rng.bool());
            return;
        }
        if self.transaction.is_none() {
            let id = format!("writer-{}", self.transactions);
            let Some(producer) = source.init_producer(now, Some(&id)) else {
                return;
            };
            self.transactions += 1;
            self.transaction = Some(Transaction {
                id,
                producer,
                sequences: BTreeMap::new(),
                written: Vec::new(),
            });
        }
        let Some(mut transaction) = self.transaction.take() else {
            return;
        };
        let sequence = transaction.sequences.entry(place.clone()).or_default();
        let producer = BatchProducer {
            producer_id: transaction.producer.0,
            producer_epoch: transaction.producer.1,
            base_sequence: *sequence,
        };
        let time = source.time(now).0;
        let flags = Attributes::TRANSACTIONAL;
        let (batch, contents) = self.batch(rng, place, time, Options::default(), producer, flags);
        if source.produce(now, place, Some(&transaction.id), &batch) {
            *sequence += batch.header.record_count;
            self.note(place, &contents);
            let written = contents.into_iter();
            transaction
                .written
                .extend(written.map(|content| (place.clone(), content)));
        }
        self.transaction = Some(transaction);
    }

    /// Ends the transaction that is under way; whether none is left.
    pub(super) fn end_transaction(
        &mut self,
        now: Micros,
        source: &mut ClusterSide,
        committed: bool,
    ) -> bool {
        let Some(transaction) = self.transaction.take() else {
            return true;
        };
        let (id, producer) = (&transaction.id, transaction.producer);
        // One to which nothing was added can only be aborted (`TransactionCoordinator`).
        let committed = committed && !transaction.written.is_empty();
        if source
            .end_transaction(now, id, producer, committed)
            .is_none()
        {
            self.transaction = Some(transaction);
            return false;
        }
        if !committed {
            for (place, content) in transaction.written {
                let ledger = self.ledgers.entry(place).or_default();
                ledger.entry(content).or_default().is_aborted = true;
            }
        }
        true
    }

    fn note(&mut self, place: &Place, contents: &[Content]) {
        let ledger = self.ledgers.entry(place.clone()).or_default();
        for content in contents {
            self.next_number += 1;
            let entry = ledger.entry(content.clone()).or_insert_with(|| Entry {
                number: self.next_number,
                ..Entry::default()
            });
            entry.written += 1;
        }
    }

    fn batch(
        &mut self,
        rng: &mut fastrand::Rng,
        place: &Place,
        time: i64,
        options: Options,
        producer: BatchProducer,
        flags: i16,
    ) -> (BuiltBatch, Vec<Content>) {
        // Compressors cost more than everything else here together.
        let codec = match rng.u32(0..24) {
            0 => Compression::Lz4,
            1 => Compression::Snappy,
            2 => Compression::Gzip,
            3 => Compression::Zstd,
            _ => Compression::None,
        };
        let mut builder = BatchBuilder::new(codec).producer(producer).flags(flags);
        let mut contents: Vec<Content> = Vec::new();
        for _ in 0..rng.u32(1..7) {
            let twin = contents.last().filter(|_| rng.u32(0..12) == 0).cloned();
            let content = twin.unwrap_or_else(|| {
                self.next_name += 1;
                let name = format!("{}-{}#{}", place.0, place.1, self.next_name);
                content(rng, &name, time, options)
            });
            let headers: Vec<Header<'_>> = content
                .headers
                .iter()
                .map(|(key, value)| Header {
                    key,
                    value: value.as_deref(),
                })
                .collect();
            let record = NewRecord {
                timestamp: content.timestamp,
                key: content.key.as_deref(),
                value: content.value.as_deref(),
                headers: &headers,
            };
            builder.push(&record).unwrap();
            contents.push(content);
        }
        (builder.build().unwrap(), contents)
    }
}

/// What the records may look like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) has_transactions: bool,
    /// Each record has a key, most of them one of a few.
    pub(super) is_compacted: bool,
}

fn content(rng: &mut fastrand::Rng, name: &str, time: i64, options: Options) -> Content {
    let name_bytes = || name.as_bytes().to_vec();
    let shared_key = |rng: &mut fastrand::Rng| format!("key {}", rng.u32(0..6)).into_bytes();
    let (key, value) = match rng.u32(0..12) {
        0 => (Some(name_bytes()), Some(Vec::new())),
        1 => (Some(name_bytes()), None),
        2 | 3 if !options.is_compacted => (None, Some(name_bytes())),
        _ => {
            let mut value = name_bytes();
            value.extend(std::iter::repeat_n(b'.', rng.usize(0..120)));
            (Some(shared_key(rng)), Some(value))
        }
    };
    let headers = match rng.u32(0..6) {
        0 => vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None)],
        1 => vec![(b"h".to_vec(), Some(Vec::new()))],
        _ => Vec::new(),
    };
    const DAY_MS: i64 = 86_400_000;
    let timestamp = match rng.u32(0..16) {
        0 => 0,
        1 => -1,
        2 => time - 3 * DAY_MS,
        3 => time + 1_800_000,
        _ => time,
    };
    Content {
        timestamp,
        key,
        value,
        headers,
    }
}
