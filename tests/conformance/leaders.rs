//! New leaders: what they know, what is lost, and what clients are told.

use kmirror_protocol::{
    Request as _,
    messages::{
        ElectLeadersRequest, FetchRequest, elect_leaders::TopicPartitions,
        fetch::FetchRequestPartition, list_offsets::ListOffsetsRequestPartition,
    },
    wire::Array,
};

use super::{
    broker::{Topic, eventually, sequenced},
    brokers::{Brokers, IDS, led},
};

/// Produces one batch of one record after another with a broker; the last sequence number is one
/// less than `to`.
async fn fill(brokers: &Brokers, id: i32, topic: &Topic, producer_id: i64, from: i32, to: i32) {
    let mut broker = brokers.connect(id).await;
    for sequence in from..to {
        let blob = sequenced(producer_id, 0, sequence, 1);
        let produced = broker.produce(topic, &blob).await;
        assert_eq!(produced.code.0, 0, "sequence {sequence}");
    }
}

/// Waits until a replica has the log up to an offset.
async fn wait_for_log_end(brokers: &Brokers, id: i32, topic: &Topic, offset: i64) {
    let mut broker = brokers.connect(id).await;
    eventually(async || broker.log_end(topic).await == offset).await;
}

fn at(
    fetch_offset: i64,
    current_leader_epoch: i32,
    last_fetched_epoch: i32,
) -> FetchRequestPartition {
    FetchRequestPartition {
        fetch_offset,
        current_leader_epoch,
        last_fetched_epoch,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

pub(super) async fn an_in_sync_follower_takes_over_with_all_that_was_acknowledged(
    brokers: &mut Brokers,
) {
    const ID: i64 = 5_000_001;
    let topic = brokers.create_topic("leaders-over", &[1, 2], &[]).await;
    fill(brokers, 1, &topic, ID, 100, 110).await;
    brokers.stop(1).await;
    brokers.wait_until(3, &topic, &led(2, 1, &[2], &[1])).await;
    let mut broker = brokers.connect(2).await;
    assert_eq!(broker.last_sequences(&topic).await, [(ID, 109)]);
    let steps = [(109, (0, 9)), (111, (45, -1)), (110, (0, 10))];
    for (sequence, expected) in steps {
        let blob = sequenced(ID, 0, sequence, 1);
        let produced = broker.produce(&topic, &blob).await;
        assert_eq!(produced.brief(), expected, "sequence {sequence}");
    }
    assert_eq!(broker.stored(&topic, 9).await.partition_leader_epoch, 0);
    assert_eq!(broker.stored(&topic, 10).await.partition_leader_epoch, 1);

    brokers.start(1).await;
    brokers
        .wait_until(3, &topic, &led(2, 1, &[1, 2], &[]))
        .await;
    let mut follower = brokers.connect(1).await;
    assert_eq!(follower.log_end(&topic).await, 11);
    assert_eq!(follower.last_sequences(&topic).await, [(ID, 110)]);
}

pub(super) async fn an_unclean_leader_shows_what_was_lost(brokers: &mut Brokers) {
    const ID: i64 = 5_000_002;
    let unclean = [("unclean.leader.election.enable", "true")];
    let topic = brokers
        .create_topic("leaders-unclean", &[1, 2], &unclean)
        .await;
    fill(brokers, 1, &topic, ID, 100, 110).await;
    brokers.stop(2).await;
    brokers.wait_until(1, &topic, &led(1, 0, &[1], &[2])).await;
    fill(brokers, 1, &topic, ID, 110, 115).await;
    brokers.stop(1).await;
    // Two of three brokers must run for Kafka to elect anybody.
    brokers.start(2).await;
    let epoch = brokers.wait_for_leader(3, &topic, 2).await;
    // The controllers may or may not have seen the partition without leader before.
    assert!((1..=2).contains(&epoch), "{epoch}");
    let alone = led(2, epoch, &[2], &[1]);
    brokers.wait_until(3, &topic, &alone).await;
    let mut broker = brokers.connect(2).await;
    assert_eq!(broker.log_end(&topic).await, 10);
    assert_eq!(broker.last_sequences(&topic).await, [(ID, 109)]);
    let steps = [(115, (45, -1)), (110, (0, 10)), (111, (0, 11))];
    for (sequence, expected) in steps {
        let blob = sequenced(ID, 0, sequence, 1);
        let produced = broker.produce(&topic, &blob).await;
        assert_eq!(produced.brief(), expected, "sequence {sequence}");
    }

    // The old leader returns and cuts off what the new one has not, its producer's state as well.
    brokers.start(1).await;
    brokers
        .wait_until(3, &topic, &led(2, epoch, &[1, 2], &[]))
        .await;
    let mut follower = brokers.connect(1).await;
    assert_eq!(follower.log_end(&topic).await, 12);
    assert_eq!(follower.last_sequences(&topic).await, [(ID, 111)]);
    // Somebody has read up to offset 15 in the lost epoch.
    let fetched = broker.fetch_with(&topic, at(15, epoch, 0), i32::MAX).await;
    assert_eq!((fetched.code.0, fetched.diverging_epoch), (0, (0, 10)));
    for lost in 0..epoch {
        assert_eq!(broker.epoch_end(&topic, epoch, lost).await, (0, 0, 10));
    }
    assert_eq!(broker.epoch_end(&topic, epoch, epoch).await, (0, epoch, 12));
}

pub(super) async fn only_the_leader_takes_batches_and_others_name_it(brokers: &mut Brokers) {
    const ID: i64 = 5_000_003;
    let topic = brokers.create_topic("leaders-only", &[2, 3], &[]).await;
    fill(brokers, 2, &topic, ID, 0, 3).await;
    wait_for_log_end(brokers, 3, &topic, 3).await;
    // Produce and its named leader; the oldest and the newest Fetch; ListOffsets of consumers
    // and of the curious.
    let cases = [
        (1, (6, (2, 0)), 6, 6, 6, 6),
        (2, (0, (-1, -1)), 0, 0, 0, 0),
        (3, (6, (2, 0)), 6, 0, 6, 0),
    ];
    for (id, produced, oldest_fetch, newest_fetch, consumer, curious) in cases {
        let mut broker = brokers.connect(id).await;
        let again = broker.produce(&topic, &sequenced(ID, 0, 2, 1)).await;
        assert_eq!(
            (again.code.0, again.current_leader),
            produced,
            "broker {id}"
        );
        for (version, expected) in [
            (*FetchRequest::VERSIONS.start(), oldest_fetch),
            (10, oldest_fetch),
            (11, newest_fetch),
            (*FetchRequest::VERSIONS.end(), newest_fetch),
        ] {
            let fetched = broker
                .fetch_in(version, &topic, at(0, -1, -1), i32::MAX)
                .await;
            assert_eq!(fetched.code.0, expected, "broker {id}, version {version}");
            let named = if version >= 16 && expected == 6 {
                (2, 0)
            } else {
                (-1, -1)
            };
            assert_eq!(
                fetched.current_leader, named,
                "broker {id}, version {version}"
            );
        }
        for (replica_id, expected) in [(-1, consumer), (-2, curious)] {
            let partition = ListOffsetsRequestPartition {
                timestamp: -1,
                ..Default::default()
            };
            let found = broker
                .list_offset_with(replica_id, topic.name, partition)
                .await;
            assert_eq!(
                found.error_code.0, expected,
                "broker {id}, replica {replica_id}"
            );
        }
        let end = broker.epoch_end(&topic, -1, 0).await;
        assert_eq!(end.0, consumer, "broker {id}");
    }
}

pub(super) async fn epochs_that_are_over_or_to_come_are_refused(brokers: &mut Brokers) {
    let topic = brokers.create_topic("leaders-fenced", &[3, 1], &[]).await;
    fill(brokers, 3, &topic, 5_000_004, 0, 2).await;
    brokers.stop(3).await;
    brokers.wait_until(2, &topic, &led(1, 1, &[1], &[3])).await;
    let mut broker = brokers.connect(1).await;
    for (epoch, expected) in [(-1, 0), (0, 74), (1, 0), (2, 75)] {
        let fetched = broker.fetch_with(&topic, at(0, epoch, -1), i32::MAX).await;
        assert_eq!(fetched.code.0, expected, "fetch, epoch {epoch}");
        let named = if expected == 74 { (1, 1) } else { (-1, -1) };
        assert_eq!(fetched.current_leader, named, "fetch, epoch {epoch}");
        let start = broker.log_start(&topic, epoch).await;
        assert_eq!(start.error_code.0, expected, "offsets, epoch {epoch}");
        let end = broker.epoch_end(&topic, epoch, 0).await;
        assert_eq!(end.0, expected, "epoch end, epoch {epoch}");
    }
}

pub(super) async fn an_epoch_ends_where_the_next_leader_began(brokers: &mut Brokers) {
    const ID: i64 = 5_000_005;
    let topic = brokers
        .create_topic("leaders-epochs", &[1, 2, 3], &[])
        .await;
    fill(brokers, 1, &topic, ID, 0, 4).await;
    brokers.stop(1).await;
    brokers
        .wait_until(3, &topic, &led(2, 1, &[2, 3], &[1]))
        .await;
    // Nothing is written in epoch 1.
    brokers.start(1).await;
    brokers
        .wait_until(3, &topic, &led(2, 1, &[1, 2, 3], &[]))
        .await;
    brokers.stop(2).await;
    brokers
        .wait_until(3, &topic, &led(1, 2, &[1, 3], &[2]))
        .await;
    fill(brokers, 1, &topic, ID, 4, 7).await;
    let mut broker = brokers.connect(1).await;
    let cases = [
        (0, (0, 0, 4)),
        (1, (0, 0, 4)),
        (2, (0, 2, 7)),
        (3, (0, -1, -1)),
    ];
    for (epoch, expected) in cases {
        let end = broker.epoch_end(&topic, 2, epoch).await;
        assert_eq!(end, expected, "epoch {epoch}");
    }
    // Fetch offset, last fetched epoch; error code, diverging epoch, whether there are records.
    let none = (-1, -1);
    let cases = [
        (4, 0, (0, none, true)),
        (5, 0, (0, (0, 4), false)),
        (4, 1, (0, (0, 4), false)),
        (7, 2, (0, none, false)),
        (5, 2, (0, none, true)),
        (5, 3, (1, none, false)),
    ];
    for (offset, epoch, expected) in cases {
        let fetched = broker
            .fetch_with(&topic, at(offset, 2, epoch), i32::MAX)
            .await;
        let has_records = !fetched.records.is_empty();
        let actual = (fetched.code.0, fetched.diverging_epoch, has_records);
        assert_eq!(actual, expected, "offset {offset}, epoch {epoch}");
    }
    let mut follower = brokers.connect(3).await;
    let latest = broker.list_offset(topic.name, -1).await;
    assert_eq!((latest.offset, latest.leader_epoch), (7, 2));
    eventually(async || follower.log_end(&topic).await == 7).await;
}

pub(super) async fn a_partition_without_leader_says_so(brokers: &mut Brokers) {
    const ID: i64 = 5_000_006;
    let topic = brokers.create_topic("leaders-none", &[3], &[]).await;
    fill(brokers, 3, &topic, ID, 0, 3).await;
    brokers.stop(3).await;
    let mut nobody = led(-1, 1, &[], &[3]);
    nobody.code = 5;
    brokers.wait_until(1, &topic, &nobody).await;
    let mut broker = brokers.connect(1).await;
    let refused = broker.produce(&topic, &sequenced(ID, 0, 3, 1)).await;
    assert_eq!(
        (refused.brief(), refused.current_leader),
        ((6, -1), (-1, 1))
    );
    assert_eq!(broker.fetch(&topic, 0).await.code.0, 6);
    brokers.start(3).await;
    brokers.wait_until(1, &topic, &led(3, 2, &[3], &[])).await;
    let mut broker = brokers.connect(3).await;
    for (sequence, expected) in [(4, (45, -1)), (2, (0, 2)), (3, (0, 3))] {
        let produced = broker.produce(&topic, &sequenced(ID, 0, sequence, 1)).await;
        assert_eq!(produced.brief(), expected, "sequence {sequence}");
    }
}

/// Asks for an election of one partition: the code of the answer, and code of the partition.
async fn elect(
    brokers: &Brokers,
    id: i32,
    election_type: i8,
    topic: &str,
    index: i32,
) -> (i16, i16) {
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: Some(Array::from([TopicPartitions {
            topic,
            partitions: Array::from([index]),
        }])),
        ..Default::default()
    };
    let answer = brokers.ask(id, &request).await;
    let answer = answer.decode();
    let topic = answer.replica_election_results.first();
    let result = topic.and_then(|topic| topic.partition_result.first());
    let code = result.map_or(-99, |result| {
        assert_eq!(
            result.error_message.is_some(),
            result.error_code.0 != 0,
            "{result:?}"
        );
        result.error_code.0
    });
    (answer.error_code.0, code)
}

pub(super) async fn the_preferred_leader_is_elected_on_request(brokers: &mut Brokers) {
    let topic = brokers
        .create_topic("leaders-preferred", &[1, 2], &[])
        .await;
    let name = topic.name;
    assert_eq!(elect(brokers, 3, 0, name, 0).await, (0, 84));
    assert_eq!(elect(brokers, 3, 1, name, 0).await, (0, 84));
    assert_eq!(elect(brokers, 3, 0, name, 1).await, (0, 3));
    assert_eq!(elect(brokers, 3, 0, "leaders-never", 0).await, (0, 3));
    brokers.stop(1).await;
    brokers.wait_until(3, &topic, &led(2, 1, &[2], &[1])).await;
    assert_eq!(elect(brokers, 3, 0, name, 0).await, (0, 80));
    brokers.start(1).await;
    brokers
        .wait_until(3, &topic, &led(2, 1, &[1, 2], &[]))
        .await;
    assert_eq!(elect(brokers, 2, 0, name, 0).await, (0, 0));
    brokers
        .wait_until(3, &topic, &led(1, 2, &[1, 2], &[]))
        .await;
    // Of all partitions, only those that needed an election are told of.
    let all = ElectLeadersRequest::default();
    let answer = brokers.ask(IDS[2], &all).await;
    let answer = answer.decode();
    let results = answer.replica_election_results.iter();
    let mut results = results.filter(|result| result.topic == name);
    assert!(results.all(|result| result.partition_result.is_empty()));
}

pub(super) async fn a_leader_out_of_sync_is_elected_on_request(brokers: &mut Brokers) {
    const ID: i64 = 5_000_007;
    let topic = brokers.create_topic("leaders-forced", &[2, 1], &[]).await;
    fill(brokers, 2, &topic, ID, 0, 4).await;
    brokers.stop(1).await;
    brokers.wait_until(3, &topic, &led(2, 0, &[2], &[1])).await;
    fill(brokers, 2, &topic, ID, 4, 6).await;
    brokers.stop(2).await;
    brokers.start(1).await;
    let mut nobody = led(-1, 1, &[], &[2]);
    nobody.code = 5;
    brokers.wait_until(3, &topic, &nobody).await;
    assert_eq!(elect(brokers, 3, 0, topic.name, 0).await, (0, 80));
    assert_eq!(elect(brokers, 3, 1, topic.name, 0).await, (0, 0));
    brokers.wait_until(3, &topic, &led(1, 2, &[1], &[2])).await;
    let mut broker = brokers.connect(1).await;
    assert_eq!(broker.log_end(&topic).await, 4);
    assert_eq!(broker.last_sequences(&topic).await, [(ID, 3)]);
    brokers.start(2).await;
    brokers
        .wait_until(3, &topic, &led(1, 2, &[1, 2], &[]))
        .await;
    let mut follower = brokers.connect(2).await;
    assert_eq!(follower.log_end(&topic).await, 4);
    assert_eq!(follower.last_sequences(&topic).await, [(ID, 3)]);
}
