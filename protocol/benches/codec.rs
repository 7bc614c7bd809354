//! What the codec costs, beside the `kafka-protocol` crate on the same bytes.
//!
//! `cargo bench -p kmirror-protocol` takes about two minutes; `-- fetch` runs what matches.

#![expect(
    clippy::unwrap_used,
    reason = "benchmarks stop at what they do not expect"
)]

use std::{hint::black_box, time::Duration};

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::{
    messages::{
        FetchResponse as TheirFetchResponse, ProduceRequest as TheirProduceRequest, TopicName,
        fetch_response, produce_request,
    },
    protocol::{Decodable, Encodable, StrBytes},
    records::RecordBatchDecoder,
};
use kmirror_protocol::{
    Request,
    messages::{
        FetchRequest, FetchResponse, ProduceRequest,
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{
        Batch, BatchBuilder, BatchHeader, BatchProducer, BuiltBatch, Compression, HEADER_LEN,
        NewRecord, check_records, compress, decompress, records, summarize,
    },
    wire::{Decode, Encode, Reader, Records, Writer},
};

/// The bytes of records in one message, whatever the number of partitions.
const RECORDS_LEN: usize = 1 << 20;

const PRODUCER: BatchProducer = BatchProducer {
    producer_id: 4_000,
    producer_epoch: 3,
    base_sequence: 70,
};

/// Decodes Fetch responses of 1 MiB, looking at every partition.
fn fetch_decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("fetch_decode");
    let version = FetchRequest::version(12);
    for partitions in [1, 100, 1_000] {
        let bytes = fetch_response(partitions);
        group.bench_function(BenchmarkId::new("kmirror", partitions), |b| {
            b.iter(|| {
                let response = FetchResponse::read(&mut Reader::new(&bytes), version).unwrap();
                let mut len = 0;
                for topic in &response.responses {
                    for partition in &topic.partitions {
                        len += partition.records.as_ref().map_or(0, Records::len);
                    }
                }
                black_box(len)
            });
        });
        group.bench_function(BenchmarkId::new("kafka-protocol", partitions), |b| {
            b.iter(|| {
                let response = TheirFetchResponse::decode(&mut bytes.clone(), 12).unwrap();
                let mut len = 0;
                for topic in &response.responses {
                    for partition in &topic.partitions {
                        len += partition.records.as_ref().map_or(0, Bytes::len);
                    }
                }
                black_box(len)
            });
        });
    }
    group.finish();
}

fn fetch_response(partitions: i32) -> Bytes {
    let records_len = RECORDS_LEN / usize::try_from(partitions).unwrap();
    let partitions = (0..partitions).map(|index| {
        fetch_response::PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(1_000)
            .with_last_stable_offset(1_000)
            .with_log_start_offset(0)
            .with_records(Some(Bytes::from(vec![7; records_len])))
    });
    let topic = fetch_response::FetchableTopicResponse::default()
        .with_topic(TopicName(StrBytes::from_static_str("orders")))
        .with_partitions(partitions.collect());
    let mut bytes = BytesMut::new();
    TheirFetchResponse::default()
        .with_responses(vec![topic])
        .encode(&mut bytes, 12)
        .unwrap();
    bytes.freeze()
}

/// Encodes Produce requests of 1 MiB: ours as a list of pieces to write, without copying records.
fn produce_encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("produce_encode");
    let version = ProduceRequest::version(9);
    for partitions in [1, 100, 1_000] {
        let payload = Bytes::from(vec![7; RECORDS_LEN / usize::try_from(partitions).unwrap()]);
        let ours = our_produce_request(partitions, &payload);
        group.bench_function(BenchmarkId::new("kmirror", partitions), |b| {
            b.iter(|| {
                let mut writer = Writer::new();
                ours.write(&mut writer, version);
                black_box(writer.finish().unwrap())
            });
        });
        let theirs = their_produce_request(partitions, &payload);
        group.bench_function(BenchmarkId::new("kafka-protocol", partitions), |b| {
            b.iter(|| {
                let mut bytes = BytesMut::new();
                theirs.encode(&mut bytes, 9).unwrap();
                black_box(bytes)
            });
        });
    }
    group.finish();
}

fn our_produce_request(partitions: i32, payload: &Bytes) -> ProduceRequest<'static> {
    let partitions = (0..partitions).map(|index| ProduceRequestPartition {
        index,
        records: Some(Records::Batch {
            header: [0; HEADER_LEN],
            payload: payload.clone(),
        }),
    });
    let topic = ProduceRequestTopic {
        name: "orders",
        partition_data: partitions.collect(),
        ..Default::default()
    };
    ProduceRequest {
        topic_data: vec![topic].into(),
        ..Default::default()
    }
}

fn their_produce_request(partitions: i32, payload: &Bytes) -> TheirProduceRequest {
    let records = Bytes::from([&[0; HEADER_LEN], payload.as_ref()].concat());
    let partitions = (0..partitions).map(|index| {
        produce_request::PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(records.clone()))
    });
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("orders")))
        .with_partition_data(partitions.collect());
    TheirProduceRequest::default().with_topic_data(vec![topic])
}

/// Gives a batch a new header: its checksum adjusted, or computed from the payload again.
fn header_patch(c: &mut Criterion) {
    let mut group = c.benchmark_group("header_patch");
    for payload_len in [61, 1 << 10, 16 << 10, 100 << 10, 1 << 20] {
        let payload = vec![0x5a; payload_len];
        let header = source_header(&payload);
        group.bench_function(BenchmarkId::new("adjusted", payload_len), |b| {
            b.iter(|| black_box(black_box(&header).readdressed(black_box(PRODUCER))));
        });
        group.bench_function(BenchmarkId::new("recomputed", payload_len), |b| {
            b.iter(|| {
                let mut header = *black_box(&header);
                header.producer_id = black_box(PRODUCER).producer_id;
                black_box(header.computed_crc(black_box(&payload)))
            });
        });
    }
    group.finish();
}

fn source_header(payload: &[u8]) -> BatchHeader {
    let built = BatchBuilder::new(Compression::None)
        .appended_at(1_000, 7)
        .build()
        .unwrap();
    let mut header = built.header;
    header.batch_length += i32::try_from(payload.len()).unwrap();
    header.crc = header.computed_crc(payload);
    header
}

/// Reads every record of a batch of 1 MiB.
fn record_walk(c: &mut Criterion) {
    let mut group = c.benchmark_group("record_walk");
    for value_len in [100, 1_000, 10_000] {
        let batch = batch(Compression::None, value_len);
        group.throughput(Throughput::Elements(
            u64::try_from(batch.header.record_count).unwrap(),
        ));
        group.bench_function(BenchmarkId::new("kmirror", value_len), |b| {
            b.iter(|| {
                summarize(records(
                    black_box(&batch.payload),
                    batch.header.record_count,
                ))
            });
        });
    }
    group.finish();
}

/// Reads a batch of 1 MiB of each codec: checksum, decompression, every record.
fn batch_read(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch_read");
    group.throughput(Throughput::Bytes(u64::try_from(RECORDS_LEN).unwrap()));
    for codec in Compression::ALL {
        let bytes = Bytes::from(batch(codec, 1_000).to_vec());
        group.bench_function(BenchmarkId::new("kmirror", codec), |b| {
            b.iter(|| {
                let batch = Batch::parse(black_box(&bytes)).unwrap();
                assert!(batch.verify_crc());
                check_records(&batch.header, batch.payload, 2 * RECORDS_LEN).unwrap()
            });
        });
        group.bench_function(BenchmarkId::new("kafka-protocol", codec), |b| {
            b.iter(|| RecordBatchDecoder::decode(&mut black_box(&bytes).clone()).unwrap());
        });
    }
    group.finish();
}

/// Compresses and decompresses 1 MiB of records with each codec at its default level.
fn compression(c: &mut Criterion) {
    let mut group = c.benchmark_group("compression");
    group.throughput(Throughput::Bytes(u64::try_from(RECORDS_LEN).unwrap()));
    let plain = batch(Compression::None, 1_000).payload;
    for codec in Compression::ALL.into_iter().skip(1) {
        let folded = compress(codec, &plain, None).unwrap();
        group.bench_function(BenchmarkId::new("compress", codec), |b| {
            b.iter(|| compress(codec, black_box(&plain), None).unwrap());
        });
        group.bench_function(BenchmarkId::new("decompress", codec), |b| {
            b.iter(|| black_box(decompress(codec, black_box(&folded), plain.len()).unwrap()));
        });
    }
    group.finish();
}

/// A batch of about 1 MiB whose values are lines of JSON, which compress about threefold.
fn batch(codec: Compression, value_len: usize) -> BuiltBatch {
    let mut builder = BatchBuilder::new(codec);
    let mut noise = 1_u64;
    while builder.uncompressed_size() < RECORDS_LEN {
        let mut value = String::with_capacity(value_len + 80);
        while value.len() < value_len {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (id, cents) = (noise >> 32, noise >> 50);
            value +=
                &format!(r#"{{"order":{id},"cents":{cents},"state":"shipped","priority":false}}"#);
        }
        value.truncate(value_len);
        let record = NewRecord {
            timestamp: 1_700_000_000_000,
            key: Some(b"customer-17"),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

criterion_group! {
    name = codec;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = fetch_decode, produce_encode, header_patch, record_walk, batch_read, compression
}
criterion_main!(codec);
