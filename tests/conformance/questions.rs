//! What kmirror itself asks brokers, and what it understands of their answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use kmirror::{
    cluster::{Cluster, ClusterOptions, Topics},
    flow::{
        ActiveProducer, EpochEnd, EpochQuestion, Failure, FetchPartition, LogRange, NewTopic,
        PartitionId, PerPartition, Side, StateRead,
    },
    offsets::source_offsets::StoredRecord,
    runtime::{
        admin,
        exchange::{
            Name, Named, Names,
            records::{FetchLimits, fetch, fetched},
        },
        topic_reader::read_from,
        topic_writer::{NO_TIMESTAMP, append},
    },
};
use kmirror_protocol::{
    ErrorCode, Request as _, frame,
    messages::{
        DeleteTopicsRequest, FetchRequest, ProduceRequest, delete_topics::DeleteTopicState,
    },
    records::{BatchBuilder, Compression, NewRecord},
    wire::Uuid,
};

use super::{
    broker::{Broker, Topic, WAIT_MAX, batch, produce_request, sequenced},
    brokers::{Brokers, led},
    now_ms,
    offsets::delete,
    transactional::ADDING,
};

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longer than a test waits for what is sure to happen: who waits so long waits in vain.
const VERY_LONG: Duration = Duration::from_secs(2 * WAIT_MAX.as_secs());

const ID: PartitionId = PartitionId(7);

async fn connect(addresses: &str) -> Cluster {
    let addresses = addresses.split(',').map(|address| {
        let (host, port) = address.rsplit_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    });
    let cluster = Cluster::new(ClusterOptions::new("probe", addresses.collect()));
    cluster.refresh_metadata(Topics::All).await.unwrap();
    cluster
}

/// Partition 0 of a topic, and what is asked of it.
fn named<T>(topic: &Topic, ask: T) -> [Named<T>; 1] {
    let name = Name {
        topic: Arc::from(topic.name),
        topic_id: topic.id,
        partition: 0,
    };
    [Named { id: ID, name, ask }]
}

/// What the answer says of the one partition that was asked about.
fn one<T>(answer: PerPartition<T>) -> Result<T, i16> {
    let mut answers = answer.unwrap().into_iter();
    let (id, result) = answers.next().unwrap();
    assert!(id == ID && answers.next().is_none());
    result.map_err(|failure| code(&failure))
}

fn code(failure: &Failure) -> i16 {
    match failure {
        Failure::Refused(code, _) => code.0,
        other => panic!("{other}"),
    }
}

fn record(key: &str, value: &str) -> StoredRecord {
    StoredRecord {
        key: key.as_bytes().to_vec(),
        value: Some(value.as_bytes().to_vec()),
        ordered_by: None,
    }
}

/// Keys and values in the order in which they were read.
fn texts(read: &StateRead) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let records = read.records.iter();
    records
        .map(|record| (text(&record.key), text(record.value.as_deref().unwrap())))
        .collect()
}

async fn delete_topic(broker: &mut Broker, topic: &Topic) {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(topic.name),
            ..Default::default()
        }]
        .into(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let deleted = answer.decode().responses.first().unwrap();
    assert_eq!(deleted.error_code, ErrorCode::NONE);
}

pub(super) async fn logs_are_found_by_their_ends_times_epochs_and_producers(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("questions-logs", &[]).await;
    let cluster = connect(bootstrap).await;
    let (id, now) = (3_200_001, now_ms());
    for sequence in [0, 3] {
        let blob = sequenced(id, 0, sequence, 3);
        broker.produce(&topic, &blob).await;
    }
    assert_eq!(delete(broker, &topic, 2).await, (0, 2));

    for side in [Side::Source, Side::Target] {
        let range = one(admin::log_ranges(&cluster, side, 1, &named(&topic, -1)).await);
        let expected = LogRange {
            start_offset: 2,
            end_offset: 6,
        };
        assert_eq!(range, Ok(expected), "{side}");
        let early = one(admin::log_ranges(&cluster, side, 1, &named(&topic, 1)).await);
        assert_eq!(early, Err(75), "{side}");
    }

    let hour = 3_600_000;
    let times = [(now - hour, Some(2)), (-5, Some(2)), (now + hour, None)];
    for (time, expected) in times {
        let found = one(admin::offsets_for_times(&cluster, 1, &named(&topic, time)).await);
        assert_eq!(found, Ok(expected), "{time}");
    }

    let ends = [
        ((0, 0), Ok((0, 6))),
        ((-1, 0), Ok((0, 6))),
        ((-1, 4), Ok((-1, -1))),
        ((1, 0), Err(75)),
    ];
    for ((current_epoch, epoch), expected) in ends {
        let question = EpochQuestion {
            id: ID,
            current_epoch,
            epoch,
        };
        let end = one(admin::epoch_ends(&cluster, 1, &named(&topic, question)).await);
        let expected = expected.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset });
        assert_eq!(end, expected, "{current_epoch} {epoch}");
    }

    let expected = ActiveProducer {
        producer_id: id,
        producer_epoch: 0,
        last_sequence: 5,
        transaction_start_offset: -1,
    };
    let producers = one(admin::active_producers(&cluster, 1, &named(&topic, ())).await);
    assert_eq!(producers, Ok(vec![expected]));

    let nowhere = Topic {
        name: "questions-nowhere",
        id: Uuid::ZERO,
    };
    let producers = admin::active_producers(&cluster, 1, &named(&nowhere, ())).await;
    assert_eq!(one(producers), Err(3));
    let range = admin::log_ranges(&cluster, Side::Target, 1, &named(&nowhere, -1)).await;
    assert_eq!(one(range), Err(3));
}

pub(super) async fn what_is_written_is_read_back_and_its_last_offsets_are_told(bootstrap: &str) {
    let topic: Arc<str> = Arc::from("questions-written");
    let cluster = connect(bootstrap).await;
    let wanted = NewTopic {
        name: Arc::clone(&topic),
        partition_count: 3,
        replication_factor: 1,
        configs: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
    };
    admin::create_topics(&cluster, &[wanted], TIMEOUT).await;
    let mut broker = Broker::connect(bootstrap).await;
    broker.wait_for_topic(&topic).await;
    cluster
        .refresh_metadata(Topics::named([&*topic]))
        .await
        .unwrap();

    // More than one batch may hold: each partition gets several.
    let value = "v".repeat(4_000);
    let written: Vec<StoredRecord> = (0..1_000)
        .map(|number| record(&format!("key-{number}"), &value))
        .collect();
    let last_offsets = append(&cluster, &topic, 3, &written, NO_TIMESTAMP, TIMEOUT)
        .await
        .unwrap();
    let read = read_from(&cluster, &topic, &BTreeMap::new(), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(read.records.len(), written.len());
    let ends: BTreeMap<i32, i64> = last_offsets
        .iter()
        .map(|(partition, last)| (*partition, last + 1))
        .collect();
    assert_eq!((ends.len(), &read.next_offsets), (3, &ends));
    let mut keys: Vec<_> = texts(&read).into_iter().map(|(key, _)| key).collect();
    let number = |key: &String| key["key-".len()..].parse::<i32>().unwrap();
    keys.sort_by_key(number);
    assert!(keys.iter().map(number).eq(0..1_000));

    let last = append(
        &cluster,
        &topic,
        3,
        &[record("key-1", "new")],
        NO_TIMESTAMP,
        TIMEOUT,
    )
    .await
    .unwrap();
    let more = read_from(&cluster, &topic, &ends, VERY_LONG).await.unwrap();
    assert_eq!(texts(&more), [("key-1".to_owned(), "new".to_owned())]);
    let found = &more.records[0];
    assert_eq!(last, BTreeMap::from([(found.partition, found.offset)]));
}

pub(super) async fn who_waits_for_news_hears_it_at_once(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("questions-news", &[]).await;
    let cluster = connect(bootstrap).await;
    let from = BTreeMap::from([(0, 0)]);
    let short = Duration::from_millis(50);
    let nothing = read_from(&cluster, topic.name, &from, short).await.unwrap();
    assert_eq!((nothing.records.len(), &nothing.next_offsets), (0, &from));

    let (waiting_cluster, name) = (cluster.clone(), topic.name);
    let waiting =
        tokio::spawn(async move { read_from(&waiting_cluster, name, &from, VERY_LONG).await });
    let wanted = [record("key", "news")];
    append(
        &cluster,
        &Arc::from(topic.name),
        1,
        &wanted,
        NO_TIMESTAMP,
        TIMEOUT,
    )
    .await
    .unwrap();
    let read = tokio::time::timeout(WAIT_MAX, waiting).await.unwrap();
    let read = read.unwrap().unwrap();
    assert_eq!(texts(&read), [("key".to_owned(), "news".to_owned())]);
    assert_eq!(read.next_offsets, BTreeMap::from([(0, 1)]));
}

pub(super) async fn what_is_no_state_is_passed_over(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("questions-foreign", &[]).await;
    let cluster = connect(bootstrap).await;
    let start = BTreeMap::from([(0, 0)]);

    let mut producer = broker.producer("questions-foreign").await;
    for committed in [false, true] {
        let blob = producer.batch(0, 1);
        assert_eq!(broker.write(ADDING, &producer, &topic, &blob).await.0, 0);
        let hidden = read_from(&cluster, topic.name, &start, Duration::ZERO).await;
        assert!(
            matches!(&hidden, Err(Failure::NoAnswer(text)) if text.contains("transaction")),
            "{hidden:?}"
        );
        broker.end(&mut producer, committed).await;
    }
    let mut keyless = BatchBuilder::new(Compression::Gzip);
    for key in [None, Some(&b"k"[..])] {
        let record = NewRecord {
            timestamp: now_ms(),
            key,
            value: Some(b"v"),
            headers: &[],
        };
        keyless.push(&record).unwrap();
    }
    let keyless = keyless.build().unwrap().to_vec();
    assert_eq!(broker.produce(&topic, &keyless).await.brief(), (0, 4));

    let read = read_from(&cluster, topic.name, &start, Duration::ZERO).await;
    let read = read.unwrap();
    let found: Vec<_> = read.records.iter().map(|record| record.offset).collect();
    assert_eq!((found, read.next_offsets), (vec![2, 5], [(0, 6)].into()));

    // Offsets that are gone are not missed; a start within a batch is kept to.
    assert_eq!(delete(broker, &topic, 4).await, (0, 4));
    let cases = [(0, vec![5]), (5, vec![5]), (6, vec![])];
    for (from, expected) in cases {
        let from = BTreeMap::from([(0, from)]);
        let read = read_from(&cluster, topic.name, &from, Duration::ZERO).await;
        let read = read.unwrap();
        let found: Vec<_> = read.records.iter().map(|record| record.offset).collect();
        assert_eq!((found, read.next_offsets), (expected, [(0, 6)].into()));
    }
}

pub(super) async fn a_topic_that_is_gone_or_another_is_not_read_on(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let name = "questions-anew";
    let topic = broker.create_topic(name, &[]).await;
    let cluster = connect(bootstrap).await;
    let shared: Arc<str> = Arc::from(name);
    let wanted = [record("key", "old")];
    append(&cluster, &shared, 1, &wanted, NO_TIMESTAMP, TIMEOUT)
        .await
        .unwrap();

    let from = BTreeMap::from([(0, 1)]);
    let (waiting_cluster, waiting_from) = (cluster.clone(), from.clone());
    let waiting =
        tokio::spawn(
            async move { read_from(&waiting_cluster, name, &waiting_from, VERY_LONG).await },
        );
    delete_topic(broker, &topic).await;
    let gone = tokio::time::timeout(WAIT_MAX, waiting).await.unwrap();
    let gone = code(&gone.unwrap().unwrap_err());
    // The Fetch that waits is told by id, a new question by name.
    assert!([3, 100].contains(&gone), "{gone}");
    let unwritten = append(&cluster, &shared, 1, &wanted, NO_TIMESTAMP, TIMEOUT).await;
    assert!(unwritten.is_err(), "{unwritten:?}");

    broker.create_topic(name, &[]).await;
    let another = read_from(&cluster, name, &from, Duration::ZERO).await;
    assert_eq!(code(&another.unwrap_err()), 1);
    let anew = read_from(&cluster, name, &BTreeMap::new(), Duration::ZERO).await;
    assert_eq!(anew.unwrap().next_offsets, BTreeMap::from([(0, 0)]));
}

pub(super) async fn the_log_end_is_told_beyond_the_high_watermark_of_the_target_alone(
    brokers: &mut Brokers,
) {
    const PRODUCER: i64 = 5_300_001;
    let topic = brokers.create_topic("questions-end", &[1, 2], &[]).await;
    let cluster = connect(&brokers.address(1)).await;
    let mut broker = brokers.connect(1).await;
    let [first, second] = [0, 2].map(|sequence| sequenced(PRODUCER, 0, sequence, 2));
    assert_eq!(broker.produce(&topic, &first).await.brief(), (0, 0));
    // All this takes less time than the session of a frozen broker.
    brokers.freeze(2, &topic);
    let unreplicated = produce_request(&topic, 1, &second);
    let newest = *ProduceRequest::VERSIONS.end();
    let produced = broker.produce_with(newest, &unreplicated).await;
    assert_eq!(produced.brief(), (0, 2));

    let ends = [(Side::Source, 2), (Side::Target, 4)];
    for (side, end_offset) in ends {
        let range = one(admin::log_ranges(&cluster, side, 1, &named(&topic, 0)).await);
        let start_offset = 0;
        let expected = LogRange {
            start_offset,
            end_offset,
        };
        assert_eq!(range, Ok(expected), "{side}");
    }
    let producers = one(admin::active_producers(&cluster, 1, &named(&topic, ())).await);
    assert_eq!(producers.unwrap()[0].last_sequence, 3);
    brokers.thaw(2, &topic);
}

pub(super) async fn epochs_that_are_over_are_fenced_and_diverging_logs_told(brokers: &mut Brokers) {
    let topic = brokers.create_topic("questions-epochs", &[1, 2], &[]).await;
    let blob = batch(Compression::None, 1).to_vec();
    let mut broker = brokers.connect(1).await;
    for offset in 0..3 {
        assert_eq!(broker.produce(&topic, &blob).await.brief(), (0, offset));
    }
    brokers.stop(1).await;
    brokers.wait_until(3, &topic, &led(2, 1, &[2], &[1])).await;
    let mut broker = brokers.connect(2).await;
    for offset in 3..6 {
        assert_eq!(broker.produce(&topic, &blob).await.brief(), (0, offset));
    }
    let cluster = connect(&brokers.address(3)).await;
    let epochs = [(0, Err(74)), (1, Ok(6)), (2, Err(75)), (-1, Ok(6))];
    for side in [Side::Source, Side::Target] {
        for (epoch, expected) in epochs {
            let range = admin::log_ranges(&cluster, side, 2, &named(&topic, epoch)).await;
            let end = one(range).map(|range| range.end_offset);
            assert_eq!(end, expected, "{side} {epoch}");
        }
    }
    let ends = [(0, (0, 3)), (1, (1, 6)), (9, (-1, -1))];
    for (epoch, (found, end_offset)) in ends {
        let question = EpochQuestion {
            id: ID,
            current_epoch: 1,
            epoch,
        };
        let end = one(admin::epoch_ends(&cluster, 2, &named(&topic, question)).await);
        let epoch = found;
        assert_eq!(end, Ok(EpochEnd { epoch, end_offset }));
    }

    // Offset, last fetched epoch, where the logs part.
    let fetches = [
        (4, 1, None),
        (3, 0, None),
        (4, 0, Some((0, 3))),
        (4, -1, None),
    ];
    for (fetch_offset, last_fetched_epoch, expected) in fetches {
        let partition = FetchPartition {
            id: ID,
            fetch_offset,
            leader_epoch: 1,
            last_fetched_epoch,
            bytes_max: 1 << 20,
        };
        let partitions = named(&topic, partition);
        let limits = FetchLimits {
            isolation_level: 1,
            wait: Duration::ZERO,
            bytes_max: 1 << 20,
        };
        let question = fetch(limits, &partitions);
        let version = *FetchRequest::VERSIONS.end();
        let frame = frame::encode_request(&question.request, version, 1, "probe").unwrap();
        let body = Bytes::from(broker.exchange(&frame.concat()).await.unwrap());
        let response = frame::decode_response::<FetchRequest<'_>>(&body, version).unwrap();
        let records = one(fetched(response, &body, &Names::of(&partitions))).unwrap();
        let expected = expected.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset });
        assert_eq!(records.diverging, expected, "{fetch_offset}");
        assert_eq!(records.records.is_empty(), expected.is_some());
    }
}
