//! What kmirror asks several brokers at once, and brokers that lack what newer ones have.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror::{
    cluster::{Cluster, ClusterOptions, Connection, Lane, Pending, SendOptions, Topics},
    flow::{EpochQuestion, Failure, FetchPartition, NewTopic, PartitionId, Side},
    offsets::{murmur2, source_offsets::StoredRecord},
    runtime::{
        admin,
        exchange::{
            Name, Named,
            records::{FetchLimits, fetch},
        },
        now_ms, topic_reader, topic_writer,
    },
    sandbox::{ClusterOptions as SandboxOptions, Profile, Timestamp, server::Server},
};
use kmirror_protocol::{messages::FetchRequest, wire::Uuid};

use crate::support::sandbox;

const TIMEOUT: Duration = Duration::from_secs(30);

/// For what is sure to happen.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Who waits so long waits in vain.
const VERY_LONG: Duration = Duration::from_secs(600);

fn named<T>(topic: &Arc<str>, ask: T) -> [Named<T>; 1] {
    let name = Name {
        topic: Arc::clone(topic),
        topic_id: Uuid::ZERO,
        partition: 0,
    };
    let id = PartitionId(0);
    [Named { id, name, ask }]
}

#[tokio::test]
async fn what_a_broker_lacks_is_unsupported_and_the_rest_works() {
    // Whether the broker has DescribeProducers, OffsetForLeaderEpoch.
    let profiles = [
        (Profile::Kafka21, false, true),
        (Profile::EventHubs, false, false),
        (Profile::Redpanda, true, true),
        (Profile::Kafka28, true, true),
    ];
    for (profile, has_producers, has_epochs) in profiles {
        let mut options = SandboxOptions::new("old", 1);
        options.profile = profile;
        let server = Server::start(options, Timestamp(now_ms())).await.unwrap();
        let addresses = server.addresses();
        let bootstrap = addresses.map(|it| (it.ip().to_string(), it.port()));
        let cluster = Cluster::new(ClusterOptions::new("old", bootstrap.collect()));
        let topic: Arc<str> = Arc::from("t");
        let wanted = NewTopic {
            name: Arc::clone(&topic),
            partition_count: 1,
            replication_factor: 1,
            configs: Vec::new(),
        };
        let created = admin::create_topics(&cluster, &[wanted], TIMEOUT).await;
        assert!(created[0].1.is_ok(), "{profile:?}: {created:?}");
        let all = Topics::All;
        cluster.refresh_metadata(all).await.unwrap();

        let record = StoredRecord {
            key: b"key".to_vec(),
            value: None,
            ordered_by: None,
        };
        let appended = topic_writer::append(&cluster, &topic, 1, &[record], 5, TIMEOUT).await;
        assert_eq!(appended, Ok(BTreeMap::from([(0, 0)])), "{profile:?}");
        let read = topic_reader::read_from(&cluster, &topic, &BTreeMap::new(), TIMEOUT).await;
        let read = read.unwrap();
        assert_eq!(read.next_offsets, BTreeMap::from([(0, 1)]), "{profile:?}");
        assert_eq!(read.records[0].value, None, "{profile:?}");

        let range = admin::log_ranges(&cluster, Side::Target, 0, &named(&topic, -1)).await;
        let range = range.unwrap().remove(0).1.unwrap();
        assert_eq!((range.start_offset, range.end_offset), (0, 1));
        let producers = admin::active_producers(&cluster, 0, &named(&topic, ())).await;
        let is_lacking = matches!(producers, Err(Failure::Unsupported(_)));
        assert_eq!(is_lacking, !has_producers, "{profile:?}: {producers:?}");
        let question = EpochQuestion {
            id: PartitionId(0),
            current_epoch: -1,
            epoch: 0,
        };
        let ends = admin::epoch_ends(&cluster, 0, &named(&topic, question)).await;
        let is_lacking = matches!(ends, Err(Failure::Unsupported(_)));
        assert_eq!(is_lacking, !has_epochs, "{profile:?}: {ends:?}");
    }
}

#[tokio::test]
async fn news_of_any_broker_end_the_waiting() {
    let cluster = sandbox::Side::start("news", 2).await;
    cluster.create_topic("t", 2, &[]).await;
    let client = cluster.client.clone();
    client.refresh_metadata(Topics::All).await.unwrap();
    let topic: Arc<str> = Arc::from("t");
    let leaders = [0, 1].map(|partition| client.metadata().leader("t", partition).unwrap().node);
    assert_ne!(leaders[0], leaders[1]);
    let mut next_offsets = BTreeMap::from([(0, 0), (1, 0)]);
    for number in 0..10 {
        let (reader, from) = (client.clone(), next_offsets.clone());
        let waiting =
            tokio::spawn(
                async move { topic_reader::read_from(&reader, "t", &from, VERY_LONG).await },
            );
        let record = StoredRecord {
            key: format!("key-{number}").into_bytes(),
            value: Some(Vec::new()),
            ordered_by: None,
        };
        let partition = murmur2::partition_of(&record.key, 2);
        let appended = topic_writer::append(&client, &topic, 2, &[record], 5, TIMEOUT).await;
        let offset = next_offsets[&partition];
        assert_eq!(appended, Ok(BTreeMap::from([(partition, offset)])));
        next_offsets.insert(partition, offset + 1);
        let read = tokio::time::timeout(WAIT_MAX, waiting).await.unwrap();
        assert_eq!(read.unwrap().unwrap().next_offsets, next_offsets);
    }
    assert!(next_offsets.values().all(|offset| *offset > 0));
}

#[tokio::test]
async fn a_window_does_not_wait_behind_a_fetch_that_the_broker_holds_back() {
    let cluster = sandbox::Side::start("windows", 1).await;
    cluster.create_topic("t", 1, &[]).await;
    cluster.produce(("t", 0), sandbox::LOAD, 0, 10).await;
    let end_offset = cluster.ends("t")[0];
    let send = |connection: &Connection, fetch_offset| -> Pending<FetchRequest<'static>> {
        let partition = FetchPartition {
            id: PartitionId(0),
            fetch_offset,
            leader_epoch: -1,
            last_fetched_epoch: -1,
            bytes_max: 1 << 20,
        };
        let limits = FetchLimits {
            isolation_level: 0,
            wait: VERY_LONG,
            bytes_max: 1 << 20,
        };
        let partitions = named(&Arc::from("t"), partition);
        let question = fetch(limits, &partitions);
        let options = SendOptions {
            timeout: Some(VERY_LONG),
            version_max: question.version_max,
            ..SendOptions::default()
        };
        connection.send_with(&question.request, options).unwrap()
    };
    let copying = cluster.client.broker(0, Lane::Fetch(0)).await.unwrap();
    let comparing = cluster.client.broker(0, Lane::Window).await.unwrap();
    let mut held_back = send(&copying, end_offset);
    let window = send(&comparing, 0);
    let answer = tokio::time::timeout(WAIT_MAX, window).await.unwrap();
    let answer = answer.unwrap();
    let response = answer.decode().unwrap();
    let partition = response.responses.first().unwrap().partitions.first();
    assert!(partition.unwrap().records.is_some());
    let still = tokio::time::timeout(Duration::ZERO, &mut held_back).await;
    assert!(still.is_err());
}
