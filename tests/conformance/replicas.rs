//! Replicas: what is acknowledged, what may be read, and what a restart leaves.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        CreateTopicsRequest, DescribeClusterRequest, MetadataRequest, ProduceRequest,
        create_topics::{CreatableReplicaAssignment, CreatableTopic},
    },
    records::Compression,
    wire::Array,
};

use super::{
    broker::{batch, eventually, produce_request, sequenced},
    brokers::{Brokers, led},
};

const NEWEST_PRODUCE: i16 = *<ProduceRequest<'_> as kmirror_protocol::Request>::VERSIONS.end();

pub(super) async fn too_few_in_sync_replicas_stop_acknowledgements(brokers: &mut Brokers) {
    let two = [("min.insync.replicas", "2")];
    let topic = brokers.create_topic("replicas-few", &[1, 2], &two).await;
    // Of a single replica no two can be asked for.
    let alone = brokers.create_topic("replicas-alone", &[1], &two).await;
    let blob = batch(Compression::None, 2).to_vec();
    let mut broker = brokers.connect(1).await;
    assert_eq!(broker.produce(&topic, &blob).await.brief(), (0, 0));
    assert_eq!(broker.produce(&alone, &blob).await.brief(), (0, 0));
    brokers.stop(2).await;
    brokers.wait_until(1, &topic, &led(1, 0, &[1], &[2])).await;
    let mut refused = None;
    let impatient = ProduceRequest {
        timeout_ms: 100,
        ..produce_request(&topic, -1, &blob)
    };
    // What Metadata tells its leader may not know for a moment, and stores more in vain.
    eventually(async || {
        let produced = broker.produce_with(NEWEST_PRODUCE, &impatient).await;
        let is_refused = produced.code.0 == 19;
        refused = Some(produced);
        is_refused
    })
    .await;
    let refused = refused.unwrap();
    assert_eq!((refused.brief(), refused.log_start_offset), ((19, -1), 0));
    assert!(!refused.has_message);
    // Stored for somebody who wants no more, but not committed.
    let end = broker.log_end(&topic).await;
    let request = produce_request(&topic, 1, &blob);
    let stored = broker.produce_with(NEWEST_PRODUCE, &request).await;
    assert_eq!(stored.brief(), (0, end));
    let end = end + 2;
    assert_eq!(broker.log_end(&topic).await, end);
    assert_eq!(broker.list_offset(topic.name, -1).await.offset, 2);
    for (offset, expected) in [(0, 0), (2, 0), (3, 0), (end, 0), (end + 1, 1)] {
        let fetched = broker.fetch(&topic, offset).await;
        assert_eq!(fetched.code.0, expected, "offset {offset}");
        let has_records = !fetched.records.is_empty();
        assert_eq!(has_records, offset < 2, "offset {offset}");
    }
    assert_eq!(broker.fetch(&topic, 0).await.high_watermark, 2);
    brokers.start(2).await;
    brokers
        .wait_until(1, &topic, &led(1, 0, &[1, 2], &[]))
        .await;
    eventually(async || broker.list_offset(topic.name, -1).await.offset == end).await;
    assert_eq!(broker.produce(&topic, &blob).await.brief(), (0, end));
}

pub(super) async fn acks_of_all_wait_for_followers(brokers: &mut Brokers) {
    const ID: i64 = 5_100_001;
    let topic = brokers.create_topic("replicas-wait", &[1, 2], &[]).await;
    let [first, second] = [0, 2].map(|sequence| sequenced(ID, 0, sequence, 2));
    let mut broker = brokers.connect(1).await;
    assert_eq!(broker.produce(&topic, &first).await.brief(), (0, 0));
    // All this takes less time than the session of a frozen broker.
    brokers.freeze(2, &topic);
    let impatient = ProduceRequest {
        timeout_ms: 100,
        ..produce_request(&topic, -1, &second)
    };
    let timed_out = broker.produce_with(NEWEST_PRODUCE, &impatient).await;
    assert_eq!((timed_out.brief(), timed_out.log_start_offset), ((7, 2), 0));
    let again = broker.produce_with(NEWEST_PRODUCE, &impatient).await;
    assert_eq!(again.brief(), (7, 2));
    assert_eq!(broker.list_offset(topic.name, -1).await.offset, 2);
    assert_eq!(broker.log_end(&topic).await, 4);
    assert_eq!(broker.last_sequences(&topic).await, [(ID, 3)]);
    let fetched = broker.fetch(&topic, 2).await;
    assert_eq!((fetched.code.0, fetched.high_watermark), (0, 2));
    assert!(fetched.records.is_empty());
    brokers.thaw(2, &topic);
    assert_eq!(broker.produce(&topic, &second).await.brief(), (0, 2));
    assert_eq!(broker.list_offset(topic.name, -1).await.offset, 4);
}

pub(super) async fn a_killed_broker_remembers_producers_from_its_log(brokers: &mut Brokers) {
    const KEPT: i64 = 5_100_002;
    let topic = brokers.create_topic("replicas-killed", &[2], &[]).await;
    let deleted = brokers.create_topic("replicas-emptied", &[2], &[]).await;
    let mut broker = brokers.connect(2).await;
    for topic in [&topic, &deleted] {
        for sequence in [50, 55] {
            let blob = sequenced(KEPT, 0, sequence, 5);
            assert_eq!(broker.produce(topic, &blob).await.code, ErrorCode::NONE);
        }
    }
    assert_eq!(
        super::offsets::delete(&mut broker, &deleted, -1).await,
        (0, 10)
    );
    assert_eq!(broker.last_sequences(&deleted).await, [(KEPT, 59)]);
    brokers.stop(2).await;
    let mut nobody = led(-1, 1, &[], &[2]);
    nobody.code = 5;
    brokers.wait_until(1, &topic, &nobody).await;
    brokers.start(2).await;
    brokers.wait_until(1, &topic, &led(2, 2, &[2], &[])).await;
    brokers.wait_until(1, &deleted, &led(2, 2, &[2], &[])).await;
    let mut broker = brokers.connect(2).await;
    assert_eq!(broker.last_sequences(&topic).await, [(KEPT, 59)]);
    // Of each producer it remembers the newest batch only.
    for (sequence, expected) in [(61, (45, -1)), (55, (0, 5)), (50, (45, -1)), (60, (0, 10))] {
        let produced = broker
            .produce(&topic, &sequenced(KEPT, 0, sequence, 5))
            .await;
        assert_eq!(produced.brief(), expected, "sequence {sequence}");
    }
    assert_eq!(broker.last_sequences(&deleted).await, [(KEPT, 59)]);
    for (sequence, expected) in [(61, (45, -1)), (55, (0, 5)), (60, (0, 10))] {
        let produced = broker
            .produce(&deleted, &sequenced(KEPT, 0, sequence, 5))
            .await;
        assert_eq!(produced.brief(), expected, "emptied, sequence {sequence}");
    }
}

pub(super) async fn a_stopped_broker_is_no_part_of_the_cluster(brokers: &mut Brokers) {
    let topic = brokers
        .create_topic("replicas-stopped", &[3, 1, 2], &[])
        .await;
    brokers.stop(3).await;
    brokers
        .wait_until(2, &topic, &led(1, 1, &[1, 2], &[3]))
        .await;
    let listed = async |brokers: &Brokers| {
        let none = MetadataRequest {
            topics: Some(Array::default()),
            ..Default::default()
        };
        let answer = brokers.ask(2, &none).await;
        let metadata = answer.decode();
        let mut ids: Vec<i32> = metadata.brokers.iter().map(|it| it.node_id).collect();
        ids.sort_unstable();
        assert!(ids.contains(&metadata.controller_id));
        let request = DescribeClusterRequest {
            endpoint_type: 1,
            ..Default::default()
        };
        let answer = brokers.ask(2, &request).await;
        let cluster = answer.decode();
        let mut described: Vec<i32> = cluster.brokers.iter().map(|it| it.broker_id).collect();
        described.sort_unstable();
        assert_eq!(described, ids);
        ids
    };
    assert_eq!(listed(brokers).await, [1, 2]);
    let wide = |name, replication_factor, broker_ids: Option<&[i32]>| CreatableTopic {
        name,
        num_partitions: if broker_ids.is_some() { -1 } else { 1 },
        replication_factor,
        assignments: broker_ids
            .into_iter()
            .map(|ids| CreatableReplicaAssignment {
                partition_index: 0,
                broker_ids: ids.to_vec().into(),
            })
            .collect(),
        ..Default::default()
    };
    let cases = [
        (wide("replicas-three", 3, None), 0),
        (wide("replicas-four", 4, None), 38),
        (wide("replicas-some", -1, Some(&[3, 1])), 0),
        (wide("replicas-none", -1, Some(&[3])), 39),
    ];
    for (topic, expected) in cases {
        let name = topic.name;
        let request = CreateTopicsRequest {
            topics: vec![topic].into(),
            validate_only: true,
            ..Default::default()
        };
        let answer = brokers.ask(2, &request).await;
        let code = answer.decode().topics.first().unwrap().error_code;
        assert_eq!(code.0, expected, "{name}");
    }
    brokers.start(3).await;
    brokers
        .wait_until(2, &topic, &led(1, 1, &[1, 2, 3], &[]))
        .await;
    assert_eq!(listed(brokers).await, [1, 2, 3]);
}
