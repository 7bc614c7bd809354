//! The life of transactions at their coordinator: ids, epochs, fencing, ends (KIP-98, KIP-890).

use kmirror_protocol::{
    messages::{
        AddOffsetsToTxnRequest, DescribeTransactionsRequest, ListTransactionsRequest,
        ProduceRequest,
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{Attributes, Compression},
    wire::Records,
};

use super::{
    broker::{Broker, Topic, batch, eventually, sequenced, with_header},
    now_ms,
    transactional::{ADDING, END_V1, END_V2, Producer, VERIFYING},
};

const NONE: (i64, i16) = (-1, -1);

pub(super) async fn a_new_incarnation_fences_the_one_before(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-fenced", &[]).await;
    let old = broker.producer("txn-fenced").await;
    let new = broker.producer("txn-fenced").await;
    assert_eq!((new.id, old.epoch, new.epoch), (old.id, 0, 1));
    let mut codes = Vec::new();
    for version in 0..=3 {
        codes.extend(broker.add_in(version, &old, &[(topic.name, 0)]).await);
        codes.push(add_offsets(broker, version, &old).await);
    }
    assert_eq!(codes, [47, 47, 47, 47, 90, 90, 90, 90]);
    let mut codes = Vec::new();
    for version in 0..=END_V2 {
        codes.push(broker.end_in(version, &old, true).await.0);
    }
    assert_eq!(codes, [47, 47, 90, 90, 90, 90]);
    let mut written = Vec::new();
    for version in [9, 10, VERIFYING, ADDING, 13] {
        let blob = old.batch(0, 1);
        written.push(broker.write(version, &old, &topic, &blob).await);
    }
    assert_eq!(written, [(47, -1); 5]);
    let strange = old.with(old.id + 1_000_000, 0);
    let codes = [
        broker.add(&strange, &topic).await[0],
        broker.end_in(END_V1, &strange, true).await.0,
        broker.end_in(END_V2, &strange, true).await.0,
        broker.end_in(END_V2, &new.with(new.id, 7), true).await.0,
    ];
    assert_eq!(codes, [49, 49, 49, 90]);
}

async fn add_offsets(broker: &mut Broker, version: i16, producer: &Producer) -> i16 {
    let request = AddOffsetsToTxnRequest {
        transactional_id: producer.transactional_id,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: "txn-group",
    };
    broker.ask_in(version, &request).await.decode().error_code.0
}

pub(super) async fn a_new_incarnation_aborts_what_is_open(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-takeover", &[]).await;
    let old = broker.producer("txn-takeover").await;
    let blob = old.batch(0, 1);
    assert_eq!(broker.write(ADDING, &old, &topic, &blob).await, (0, 0));
    assert_eq!(broker.init("txn-takeover").await, (51, -1, -1));
    let new = broker.producer("txn-takeover").await;
    assert_eq!((new.id, new.epoch), (old.id, old.epoch + 2));
    let read = broker.read(&topic, 1, 0).await;
    assert_eq!(read.batches, [0, 1]);
    assert_eq!(read.aborted, Some(vec![(old.id, 0)]));
    let (header, _) = broker.raw(&topic, 1).await;
    assert_eq!(header.producer_epoch, old.epoch + 1);
    let blob = old.batch(1, 1);
    assert_eq!(broker.write(ADDING, &old, &topic, &blob).await, (47, -1));
}

pub(super) async fn a_producer_may_go_on_with_the_epoch_it_knows(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let name = "txn-recovery";
    let first = broker.producer(name).await;
    let id = first.id;
    let steps = [
        // Version, id and epoch; error code and epoch of the answer.
        (5, (id, 0), (0, 1)),
        // The answer was lost: the same again.
        (5, (id, 0), (0, 1)),
        (5, (id, 1), (0, 2)),
        (4, (id, 0), (90, -1)),
        (3, (id, 0), (47, -1)),
        (5, (id, 9), (90, -1)),
        (5, (id + 1_000_000, 2), (90, -1)),
        (5, (id, -1), (42, -1)),
        (5, (-1, 2), (42, -1)),
        (5, NONE, (0, 3)),
        // Another incarnation has come since.
        (5, (id, 2), (90, -1)),
        (2, NONE, (0, 4)),
        (0, NONE, (0, 5)),
    ];
    for (at, (version, known, expected)) in steps.into_iter().enumerate() {
        let given = broker.init_in(version, name, 60_000, known).await;
        assert_eq!((given.0, given.2), expected, "step {at}");
        assert_eq!(given.1, if given.0 == 0 { id } else { -1 }, "step {at}");
    }
    // An id that nobody knows may be named, too.
    let given = broker.init_in(5, "txn-recovery-new", 60_000, (7, 7)).await;
    assert_eq!((given.0, given.2), (0, 0));
}

pub(super) async fn ids_and_timeouts_have_limits(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let mut codes = Vec::new();
    for timeout_ms in [-1, 0, 1, 900_000, 900_001, i32::MAX] {
        codes.push(broker.init_in(5, "txn-timeout", timeout_ms, NONE).await.0);
    }
    assert_eq!(codes, [50, 50, 0, 0, 50, 50]);
    assert_eq!(broker.init_in(5, "", 60_000, NONE).await, (42, -1, -1));
    assert_eq!(broker.init_in(5, "", 0, NONE).await, (42, -1, -1));
    let topic = broker.create_topic("txn-nameless", &[]).await;
    let nameless = Producer {
        transactional_id: "",
        id: 1,
        epoch: 0,
    };
    let codes = [
        broker.add(&nameless, &topic).await[0],
        add_offsets(broker, 3, &nameless).await,
        broker.end_in(END_V1, &nameless, true).await.0,
        broker.end_in(END_V2, &nameless, true).await.0,
    ];
    assert_eq!(codes, [42, 42, 42, 42]);
    let unknown = Producer {
        transactional_id: "txn-unknown",
        ..nameless
    };
    let codes = [
        broker.add(&unknown, &topic).await[0],
        add_offsets(broker, 3, &unknown).await,
        broker.end_in(END_V1, &unknown, true).await.0,
        broker.end_in(END_V2, &unknown, true).await.0,
    ];
    assert_eq!(codes, [49, 49, 49, 49]);
}

pub(super) async fn a_transaction_that_takes_too_long_is_aborted(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-late", &[]).await;
    let (code, id, epoch) = broker.init_in(5, "txn-late", 100, NONE).await;
    let producer = Producer {
        transactional_id: "txn-late",
        id,
        epoch,
    };
    assert_eq!((code, epoch), (0, 0));
    let blob = producer.batch(0, 1);
    assert_eq!(broker.write(ADDING, &producer, &topic, &blob).await, (0, 0));
    // Kafka looks every ten seconds.
    eventually(async || broker.state("txn-late").await == "CompleteAbort").await;
    let read = broker.read(&topic, 1, 0).await;
    assert_eq!(read.aborted, Some(vec![(id, 0)]));
    let (header, _) = broker.raw(&topic, 1).await;
    assert_eq!(header.producer_epoch, 1);
    assert_eq!(broker.end_in(END_V1, &producer, true).await.0, 90);
    let next = broker.producer("txn-late").await;
    assert_eq!((next.id, next.epoch), (id, 2));
}

/// What a producer that does not know whether its transaction has ended finds out by aborting it,
/// and that it then gets the next epoch.
pub(super) async fn an_abort_settles_what_has_become_of_a_transaction(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-settled", &[]).await;
    // Whether it was committed, and in what version; the code of the abort.
    let cases = [(None, 0), (Some(END_V1), 48), (Some(END_V2), 48)];
    for (committed, expected) in cases {
        let producer = broker.producer("txn-settled").await;
        assert_eq!(broker.add(&producer, &topic).await, [0]);
        if let Some(version) = committed {
            assert_eq!(broker.end_in(version, &producer, true).await.0, 0);
        }
        let version = committed.unwrap_or(END_V1);
        let aborted = broker.end_in(version, &producer, false).await;
        assert_eq!(aborted.0, expected, "{committed:?}");
        // After a commit of the new protocol that is the epoch which its end has given.
        let known = (producer.id, producer.epoch);
        let next = broker.init_in(5, "txn-settled", 60_000, known).await;
        assert_eq!(next, (0, producer.id, producer.epoch + 1), "{committed:?}");
        let late = broker.end_in(version, &producer, true).await;
        assert_eq!(late.0, 90, "a late commit ends nothing");
    }
}

pub(super) async fn a_producer_that_is_shut_out_can_tell_by_whom(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-told", &[]).await;
    let (code, id, epoch) = broker.init_in(5, "txn-told", 100, NONE).await;
    let producer = Producer {
        transactional_id: "txn-told",
        id,
        epoch,
    };
    assert_eq!(code, 0);
    assert_eq!(broker.add(&producer, &topic).await, [0]);
    // By the coordinator, which looks every ten seconds.
    eventually(async || broker.state("txn-told").await == "CompleteAbort").await;
    assert_eq!(broker.end_in(END_V1, &producer, false).await.0, 90);
    let described = describe(broker, "txn-told").await;
    assert_eq!(described, ("CompleteAbort".to_owned(), id, epoch + 1));
    // By another incarnation, whose transaction is committed or not begun.
    let mut other = broker.producer("txn-told").await;
    assert_eq!(broker.end_in(END_V1, &producer, false).await.0, 90);
    let described = describe(broker, "txn-told").await;
    assert_eq!(described, ("Empty".to_owned(), id, epoch + 2));
    assert_eq!(broker.add(&other, &topic).await, [0]);
    broker.end(&mut other, true).await;
    let described = describe(broker, "txn-told").await;
    assert_eq!(described, ("CompleteCommit".to_owned(), id, epoch + 3));
}

/// State, producer id and epoch of a transactional id.
async fn describe(broker: &mut Broker, transactional_id: &str) -> (String, i64, i16) {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![transactional_id].into(),
    };
    let answer = broker.ask(&request).await;
    let response = answer.decode();
    let state = response.transaction_states.first().unwrap();
    (
        state.transaction_state.to_owned(),
        state.producer_id,
        state.producer_epoch,
    )
}

pub(super) async fn partitions_are_added_all_or_none(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-partitions", &[]).await;
    let mut producer = broker.producer("txn-partitions").await;
    let (here, beyond, nowhere) = ((topic.name, 0), (topic.name, 1), ("txn-nowhere", 0));
    let codes = broker.add_in(3, &producer, &[here, nowhere]).await;
    assert_eq!(codes, [55, 3]);
    assert_eq!(broker.add_in(3, &producer, &[nowhere]).await, [3]);
    assert_eq!(broker.add_in(3, &producer, &[beyond]).await, [3]);
    let internal = ("__consumer_offsets", 0);
    let codes = broker.add_in(3, &producer, &[internal, here]).await;
    assert_eq!(codes, [29, 55]);
    assert_eq!(broker.state("txn-partitions").await, "Empty");
    assert_eq!(broker.add_in(0, &producer, &[here]).await, [0]);
    assert_eq!(broker.add_in(3, &producer, &[here]).await, [0]);
    assert_eq!(broker.state("txn-partitions").await, "Ongoing");
    broker.end(&mut producer, true).await;
    assert_eq!(broker.offset_of(&topic, 0, -1).await, (0, 1, -1));
}

pub(super) async fn only_what_the_coordinator_knows_may_be_written(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-unverified", &[]).await;
    let mut producer = broker.producer("txn-unverified").await;
    let mut seen = Vec::new();
    for version in [9, 10, VERIFYING] {
        let blob = producer.batch(0, 1);
        seen.push(broker.write(version, &producer, &topic, &blob).await);
    }
    assert_eq!(seen, [(48, -1), (48, -1), (120, -1)]);
    // A batch that has failed so far must come first.
    assert_eq!(broker.add(&producer, &topic).await, [0]);
    let mut seen = Vec::new();
    for sequence in [1, 0, 1] {
        let blob = producer.batch(sequence, 1);
        seen.push(broker.write(VERIFYING, &producer, &topic, &blob).await);
    }
    assert_eq!(seen, [(45, -1), (0, 0), (0, 1)]);
    broker.end(&mut producer, true).await;
    let other = Producer {
        transactional_id: "txn-unverified-other",
        ..producer
    };
    let mut seen = Vec::new();
    for version in [10, VERIFYING, ADDING] {
        let blob = other.batch(0, 1);
        seen.push(broker.write(version, &other, &topic, &blob).await);
        let strange = producer.with(producer.id + 1_000_000, 0);
        let blob = strange.batch(0, 1);
        seen.push(broker.write(version, &strange, &topic, &blob).await);
        let ahead = producer.with(producer.id, producer.epoch + 3);
        let blob = ahead.batch(0, 1);
        seen.push(broker.write(version, &ahead, &topic, &blob).await);
    }
    let round = [(49, -1), (49, -1), (47, -1)];
    assert_eq!(seen, [round, round, round].concat());
    let blob = producer.batch(0, 1);
    let implicit = broker.write(ADDING, &producer, &topic, &blob).await;
    assert_eq!(implicit, (0, 3));
    assert_eq!(broker.state("txn-unverified").await, "Ongoing");
}

pub(super) async fn a_transaction_takes_only_its_own_batches(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-own", &[]).await;
    let other = broker.create_topic("txn-own-other", &[]).await;
    let producer = broker.producer("txn-own").await;
    let blob = producer.batch(0, 1);
    let mut seen = vec![broker.write(ADDING, &producer, &topic, &blob).await];
    // Not transactional, in sequence and out of it.
    for sequence in [1, 7] {
        let blob = sequenced(producer.id, producer.epoch, sequence, 1);
        seen.push(broker.produce(&topic, &blob).await.brief());
    }
    // A control batch, and one of a transaction but of no producer.
    let control = with_header(&batch(Compression::None, 1), |header| {
        header.producer_id = producer.id;
        header.producer_epoch = producer.epoch;
        header.base_sequence = 1;
        header.attributes.0 |= Attributes::TRANSACTIONAL | Attributes::CONTROL;
    });
    seen.push(broker.write(ADDING, &producer, &topic, &control).await);
    let nobody = with_header(&batch(Compression::None, 1), |header| {
        header.attributes.0 |= Attributes::TRANSACTIONAL;
    });
    seen.push(broker.write(ADDING, &producer, &topic, &nobody).await);
    assert_eq!(seen, [(0, 0), (48, -1), (45, -1), (87, -1), (0, 1)]);
    let mine = producer.batch(1, 1);
    let theirs = producer.with(producer.id + 1_000_000, 0).batch(0, 1);
    let codes = produce_both(broker, &producer, [(&topic, &mine), (&other, &theirs)]).await;
    assert_eq!(codes, [49, 49]);
}

/// Produces to two topics in one request.
async fn produce_both(
    broker: &mut Broker,
    producer: &Producer,
    both: [(&Topic, &[u8]); 2],
) -> Vec<i16> {
    let topics = both.map(|(topic, blob)| ProduceRequestTopic {
        name: topic.name,
        topic_id: topic.id,
        partition_data: vec![ProduceRequestPartition {
            index: 0,
            records: Some(Records::Slice(blob)),
        }]
        .into(),
    });
    let request = ProduceRequest {
        transactional_id: Some(producer.transactional_id),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: topics.into_iter().collect(),
    };
    let answer = broker.ask_in(ADDING, &request).await;
    let response = answer.decode();
    let mut codes = Vec::new();
    for topic in &response.responses {
        codes.extend(topic.partition_responses.iter().map(|it| it.error_code.0));
    }
    codes
}

pub(super) async fn the_old_protocol_ends_a_transaction_in_place(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-end-old", &[]).await;
    let producer = broker.producer("txn-end-old").await;
    let mut codes = vec![
        broker.end_in(END_V1, &producer, true).await.0,
        broker.end_in(END_V1, &producer, false).await.0,
    ];
    for committed in [true, false] {
        codes.push(broker.add(&producer, &topic).await[0]);
        for again in [committed, committed, !committed] {
            codes.push(broker.end_in(END_V1, &producer, again).await.0);
        }
    }
    assert_eq!(codes, [48, 48, 0, 0, 0, 48, 0, 0, 0, 48]);
    let states = broker.producers(&topic).await;
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].producer_epoch, i32::from(producer.epoch));
}

pub(super) async fn the_new_protocol_bumps_the_epoch_at_each_end(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-end-new", &[]).await;
    let producer = broker.producer("txn-end-new").await;
    let at = |epoch| producer.with(producer.id, epoch);
    let mut seen = Vec::new();
    // Nothing to end: an abort is taken for one all the same, and its retry is known.
    for (epoch, committed) in [(0, true), (0, false), (0, false), (1, true), (1, false)] {
        let given = broker.end_in(END_V2, &at(epoch), committed).await;
        seen.push((given.0, given.2));
    }
    assert_eq!(seen, [(48, -1), (0, 1), (0, 1), (48, -1), (0, 2)]);
    assert_eq!(broker.add(&at(2), &topic).await, [0]);
    let steps = [
        (2, true, (0, 3)),
        (2, true, (0, 3)),
        (2, false, (48, -1)),
        (3, true, (48, -1)),
        (4, true, (90, -1)),
        (1, true, (90, -1)),
        (3, false, (0, 4)),
        (3, false, (0, 4)),
        (3, true, (48, -1)),
        (4, true, (48, -1)),
    ];
    for (at_step, (epoch, committed, expected)) in steps.into_iter().enumerate() {
        let given = broker.end_in(END_V2, &at(epoch), committed).await;
        assert_eq!((given.0, given.2), expected, "step {at_step}");
        let id = if given.0 == 0 { producer.id } else { -1 };
        assert_eq!(given.1, id, "step {at_step}");
    }
    // Only the transaction with a partition left a marker.
    assert_eq!(broker.offset_of(&topic, 0, -1).await, (0, 1, -1));
}

pub(super) async fn an_open_transaction_is_described(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-described", &[]).await;
    let mut producer = broker.producer("txn-described").await;
    assert_eq!(
        described(broker, "txn-described").await,
        (0, "Empty".to_owned(), 60_000, false, vec![])
    );
    assert_eq!(
        broker
            .produce(&topic, &batch(Compression::None, 4).to_vec())
            .await
            .brief(),
        (0, 0)
    );
    for sequence in 0..2 {
        let blob = producer.batch(sequence, 1);
        assert_eq!(broker.write(ADDING, &producer, &topic, &blob).await.0, 0);
    }
    assert_eq!(
        described(broker, "txn-described").await,
        (
            0,
            "Ongoing".to_owned(),
            60_000,
            true,
            vec![("txn-described".to_owned(), vec![0])]
        )
    );
    let open = broker.producers(&topic).await;
    assert_eq!(open.len(), 1);
    assert_eq!(
        (
            open[0].producer_id,
            open[0].producer_epoch,
            open[0].last_sequence,
            open[0].coordinator_epoch,
            open[0].current_txn_start_offset
        ),
        (producer.id, i32::from(producer.epoch), 1, -1, 4)
    );
    broker.end(&mut producer, true).await;
    assert_eq!(
        described(broker, "txn-described").await,
        (0, "CompleteCommit".to_owned(), 60_000, true, vec![])
    );
    let ended = broker.producers(&topic).await;
    assert_eq!(
        (
            ended[0].producer_epoch,
            ended[0].last_sequence,
            ended[0].coordinator_epoch,
            ended[0].current_txn_start_offset
        ),
        (i32::from(producer.epoch), -1, 0, -1)
    );
    let unknown = (String::new(), 0, true, vec![]);
    for (name, code) in [("txn-undescribed", 105), ("", 42)] {
        let (found, state, timeout_ms, _, topics) = described(broker, name).await;
        assert_eq!((state, timeout_ms, true, topics), unknown, "{name:?}");
        assert_eq!(found, code, "{name:?}");
    }
}

/// Error code, state, timeout, whether it began in the last minute, and topics.
async fn described(
    broker: &mut Broker,
    transactional_id: &str,
) -> (i16, String, i32, bool, Vec<(String, Vec<i32>)>) {
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![transactional_id].into(),
    };
    let answer = broker.ask(&request).await;
    let response = answer.decode();
    let state = response.transaction_states.iter().next().unwrap();
    assert_eq!(state.transactional_id, transactional_id);
    let topics = state.topics.iter();
    let topics = topics.map(|topic| (topic.topic.to_owned(), topic.partitions.iter().collect()));
    (
        state.error_code.0,
        state.transaction_state.to_owned(),
        state.transaction_timeout_ms,
        (now_ms() - state.transaction_start_time_ms).abs() < 60_000,
        topics.collect(),
    )
}

pub(super) async fn transactions_are_listed_by_filter(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("txn-list", &[]).await;
    let open = broker.producer("txn-list-open").await;
    let mut done = broker.producer("txn-list-done").await;
    broker.producer("txn-list-idle").await;
    assert_eq!(broker.add(&open, &topic).await, [0]);
    assert_eq!(broker.add(&done, &topic).await, [0]);
    broker.end(&mut done, false).await;
    let ours = || ListTransactionsRequest {
        transactional_id_pattern: Some("txn-list-.*"),
        duration_filter: -1,
        ..Default::default()
    };
    let (idle, ongoing, aborted) = (
        ("txn-list-idle", "Empty"),
        ("txn-list-open", "Ongoing"),
        ("txn-list-done", "CompleteAbort"),
    );
    let cases = [
        (ours(), vec![aborted, idle, ongoing]),
        (
            ListTransactionsRequest {
                state_filters: vec!["Ongoing", "Strange", "Dead"].into(),
                ..ours()
            },
            vec![ongoing],
        ),
        (
            ListTransactionsRequest {
                producer_id_filters: vec![open.id, done.id].into(),
                ..ours()
            },
            vec![aborted, ongoing],
        ),
        (
            ListTransactionsRequest {
                duration_filter: 3_600_000,
                ..ours()
            },
            vec![idle],
        ),
        (
            ListTransactionsRequest {
                transactional_id_pattern: Some("txn-list-o"),
                ..ours()
            },
            vec![],
        ),
    ];
    for (at, (request, expected)) in cases.into_iter().enumerate() {
        let answer = broker.ask(&request).await;
        let response = answer.decode();
        let found = response.transaction_states.iter();
        let mut found: Vec<_> = found
            .map(|it| (it.transactional_id, it.transaction_state))
            .collect();
        found.sort_unstable();
        assert_eq!((response.error_code.0, found), (0, expected), "case {at}");
        let unknown: Vec<&str> = response.unknown_state_filters.iter().collect();
        let strange = request.state_filters.iter().any(|it| it == "Strange");
        assert_eq!(unknown, if strange { vec!["Strange"] } else { vec![] });
    }
    let broken = ListTransactionsRequest {
        transactional_id_pattern: Some("txn-("),
        ..ours()
    };
    assert_eq!(broker.ask(&broken).await.decode().error_code.0, 128);
}
