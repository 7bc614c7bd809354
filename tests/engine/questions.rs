//! What kmirror asks brokers that lack what newer ones have.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kmirror::{
    cluster::{Cluster, ClusterOptions, Topics},
    flow::{EpochQuestion, Failure, NewTopic, PartitionId, Side},
    offsets::source_offsets::StoredRecord,
    runtime::{
        admin,
        exchange::{Name, Named},
        now_ms, topic_reader, topic_writer,
    },
    sandbox::{self, Profile, Timestamp, server::Server},
};
use kmirror_protocol::wire::Uuid;

const TIMEOUT: Duration = Duration::from_secs(30);

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
        let mut options = sandbox::ClusterOptions::new("old", 1);
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
        };
        let appended = topic_writer::append(&cluster, &topic, 1, &[record], TIMEOUT).await;
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
