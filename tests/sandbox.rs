//! The sandbox behind its sockets, asked by this program's own client.

use std::time::Duration;

use kmirror::{
    cluster::{Answer, Cluster, ClusterOptions, Lane, To, Topics},
    sandbox::{self, Timestamp, server::Server},
};
use kmirror_protocol::{
    ErrorCode, Request,
    messages::{
        CreateTopicsRequest, FetchRequest, ProduceRequest,
        create_topics::CreatableTopic,
        fetch::{FetchRequestPartition, FetchRequestTopic},
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{Batch, BatchBuilder, BuiltBatch, Compression, NewRecord},
    wire::Records,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

const STARTED_AT: Timestamp = Timestamp(1_700_000_000_000);

/// A server of `broker_count` brokers, a client of it, and a topic `t` of one partition.
async fn start(broker_count: u16) -> (Server, Cluster) {
    let options = sandbox::ClusterOptions::new("sandbox", broker_count);
    let server = Server::start(options, STARTED_AT).await.unwrap();
    let addresses = server.addresses();
    let bootstrap = addresses.map(|it| (it.ip().to_string(), it.port()));
    let client = Cluster::new(ClusterOptions::new("source", bootstrap.collect()));
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "t",
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let answer = client.request(To::Any, &request).await.unwrap();
    let created = answer.decode().unwrap();
    assert_eq!(created.topics.first().unwrap().error_code, ErrorCode::NONE);
    client.refresh_metadata(Topics::All).await.unwrap();
    (server, client)
}

fn batch(value: &[u8]) -> BuiltBatch {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    let record = NewRecord {
        timestamp: STARTED_AT.0,
        value: Some(value),
        ..Default::default()
    };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}

async fn ask<R: Request>(client: &Cluster, lane: Lane, request: &R) -> Answer<R> {
    let leader = client.metadata().leader("t", 0).unwrap();
    let connection = client.broker(leader.node, lane).await.unwrap();
    connection.send(request).unwrap().await.unwrap()
}

fn produce(client: &Cluster, batch: &BuiltBatch) -> ProduceRequest<'static> {
    let records = Records::Batch {
        header: batch.header.encode(),
        payload: batch.payload.clone(),
    };
    ProduceRequest {
        acks: -1,
        topic_data: vec![ProduceRequestTopic {
            name: "t",
            topic_id: client.metadata().topic("t").unwrap().id.unwrap(),
            partition_data: vec![ProduceRequestPartition {
                index: 0,
                records: Some(records),
            }]
            .into(),
        }]
        .into(),
        ..Default::default()
    }
}

fn fetch(client: &Cluster, offset: i64, max_wait_ms: i32) -> FetchRequest<'static> {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchRequestTopic {
            topic: "t",
            topic_id: client.metadata().topic("t").unwrap().id.unwrap(),
            partitions: vec![FetchRequestPartition {
                partition: 0,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }]
            .into(),
        }]
        .into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_waiting_fetch_is_answered_by_the_produce_that_brings_its_records() {
    let (server, client) = start(3).await;
    let batch = batch(&[7; 100_000]);

    let request = fetch(&client, 0, 60_000);
    let waiting = ask(&client, Lane::Fetch(0), &request);
    let bring = async {
        // The fetch is in the cluster before the records are.
        while server.cluster().lock().unwrap().deadline().is_none() {
            tokio::task::yield_now().await;
        }
        let request = produce(&client, &batch);
        let answer = ask(&client, Lane::Produce(0), &request).await;
        let produced = answer.decode().unwrap();
        let partition = &produced
            .responses
            .first()
            .unwrap()
            .partition_responses
            .first()
            .unwrap();
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (ErrorCode::NONE, 0)
        );
    };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(30), async {
        tokio::join!(waiting, bring)
    })
    .await
    .unwrap();

    let fetched = answer.decode().unwrap();
    let records = fetched
        .responses
        .first()
        .unwrap()
        .partitions
        .first()
        .unwrap()
        .records
        .unwrap();
    let stored = Batch::parse(records.as_slice()).unwrap();
    assert_eq!(stored.payload, &batch.payload[..]);
    assert_eq!(stored.header.crc, batch.header.crc);
    assert_eq!(server.cluster().lock().unwrap().deadline(), None);
}

#[tokio::test]
async fn a_fetch_that_nothing_arrives_for_is_answered_at_its_deadline() {
    let (_server, client) = start(1).await;
    let request = fetch(&client, 0, 1);
    let answer = ask(&client, Lane::Fetch(0), &request).await;
    let fetched = answer.decode().unwrap();
    let partition = &fetched
        .responses
        .first()
        .unwrap()
        .partitions
        .first()
        .unwrap();
    assert_eq!(partition.error_code, ErrorCode::NONE);
    assert_eq!(partition.records, Some(Records::Slice(&[])));
}

#[tokio::test]
async fn a_broker_that_stops_closes_its_connections_and_its_port() {
    let (server, _client) = start(2).await;
    let address = server.addresses().nth(1).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    server.stop_broker(1).await;
    // Closed or reset, whichever the system tells first.
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 1])).await;
    assert!(matches!(read.unwrap(), Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());
    server.start_broker(1).await.unwrap();
    TcpStream::connect(address).await.unwrap();
    // One that runs is not started again.
    server.start_broker(1).await.unwrap();
}
