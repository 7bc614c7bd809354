//! Fetch sessions (KIP-227).

use kmirror_protocol::{
    messages::{
        DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics::DeleteTopicState,
        fetch::{FetchRequestForgottenTopic, FetchRequestPartition, FetchRequestTopic},
    },
    records::Compression,
    wire::Uuid,
};

use super::broker::{Broker, Topic, batch, eventually};

/// What an answer says: error code, session id, and of each partition the topic's id, the error
/// code and whether it has records.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    code: i16,
    session_id: i32,
    partitions: Vec<(Uuid, i16, bool)>,
}

impl Told {
    /// Error code, and topics that are told of.
    fn brief(&self) -> (i16, Vec<Uuid>) {
        let mut topics: Vec<Uuid> = self.partitions.iter().map(|it| it.0).collect();
        topics.sort_by_key(|id| id.0);
        (self.code, topics)
    }
}

/// A fetch of partition 0 of topics, from an offset each, in a session.
fn request<'a>(session: (i32, i32), wanted: &[(Topic, i64)]) -> FetchRequest<'a> {
    let topics = wanted
        .iter()
        .map(|(topic, fetch_offset)| FetchRequestTopic {
            topic: topic.name,
            topic_id: topic.id,
            partitions: [FetchRequestPartition {
                fetch_offset: *fetch_offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }]
            .into(),
        });
    FetchRequest {
        session_id: session.0,
        session_epoch: session.1,
        topics: topics.collect(),
        ..Default::default()
    }
}

async fn ask_in(broker: &mut Broker, version: i16, request: &FetchRequest<'_>) -> Told {
    let answer = broker.ask_in(version, request).await;
    let answer = answer.decode();
    let topics = answer.responses.iter().flat_map(|topic| {
        let partitions = topic.partitions.into_iter();
        partitions.map(move |it| {
            let len = it.records.as_ref().map_or(0, |records| records.len());
            (topic.topic_id, it.error_code.0, len > 0)
        })
    });
    Told {
        code: answer.error_code.0,
        session_id: answer.session_id,
        partitions: topics.collect(),
    }
}

async fn ask(broker: &mut Broker, session: (i32, i32), wanted: &[(Topic, i64)]) -> Told {
    ask_in(broker, 17, &request(session, wanted)).await
}

/// Opens a session and answers its id.
async fn open(broker: &mut Broker, wanted: &[(Topic, i64)]) -> i32 {
    let opened = ask(broker, (0, 0), wanted).await;
    assert_eq!(opened.code, 0);
    assert_ne!(opened.session_id, 0);
    assert_eq!(opened.partitions.len(), wanted.len());
    opened.session_id
}

async fn produce(broker: &mut Broker, topic: &Topic) {
    let blob = batch(Compression::None, 2).to_vec();
    assert_eq!(broker.produce(topic, &blob).await.code.0, 0);
}

fn sorted(topics: &[Topic]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = topics.iter().map(|topic| topic.id).collect();
    ids.sort_by_key(|id| id.0);
    ids
}

pub(super) async fn a_session_tells_only_what_is_new(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let first = broker.create_topic("sessions-new-1", &[]).await;
    let second = broker.create_topic("sessions-new-2", &[]).await;
    let id = open(broker, &[(first, 0), (second, 0)]).await;
    let nothing = (0, vec![]);
    assert_eq!(ask(broker, (id, 1), &[]).await.brief(), nothing);
    produce(broker, &second).await;
    let told = ask(broker, (id, 2), &[]).await;
    assert_eq!(told.partitions, [(second.id, 0, true)]);
    assert_eq!(told.session_id, id);
    // It goes on reading where it was told to.
    let told = ask(broker, (id, 3), &[]).await;
    assert_eq!(told.partitions, [(second.id, 0, true)]);
    let told = ask(broker, (id, 4), &[(second, 2)]).await;
    assert_eq!(told.brief(), nothing);
    // Another read of the same offsets tells them again.
    let told = ask(broker, (id, 5), &[(second, 0)]).await;
    assert_eq!(told.partitions, [(second.id, 0, true)]);
}

pub(super) async fn partitions_come_and_go_in_a_session(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let first = broker.create_topic("sessions-go-1", &[]).await;
    let second = broker.create_topic("sessions-go-2", &[]).await;
    produce(broker, &first).await;
    produce(broker, &second).await;
    let id = open(broker, &[(first, 0)]).await;
    let told = ask(broker, (id, 1), &[(second, 0)]).await;
    assert_eq!(told.brief(), (0, sorted(&[first, second])));
    let forget = |epoch, topic: Topic| FetchRequest {
        forgotten_topics_data: [FetchRequestForgottenTopic {
            topic: topic.name,
            topic_id: topic.id,
            partitions: [0].into(),
        }]
        .into(),
        ..request((id, epoch), &[])
    };
    let told = ask_in(broker, 17, &forget(2, first)).await;
    assert_eq!(told.brief(), (0, vec![second.id]));
    // Without partitions there is no session any more.
    let told = ask_in(broker, 17, &forget(3, second)).await;
    assert_eq!((told.brief(), told.session_id), ((0, vec![]), 0));
    assert_eq!(ask(broker, (id, 4), &[]).await.brief(), (70, vec![]));
}

pub(super) async fn a_session_goes_on_only_where_it_was_left(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("sessions-epochs", &[]).await;
    let id = open(broker, &[(topic, 0)]).await;
    let by_name = |epoch| request((id, epoch), &[]);
    let cases = [(id, 2, 71), (id, 7, 71), (id.wrapping_add(1), 1, 70)];
    for (id, epoch, expected) in cases {
        let told = ask(broker, (id, epoch), &[]).await;
        assert_eq!((told.code, told.session_id), (expected, 0), "epoch {epoch}");
    }
    let told = ask_in(broker, 12, &by_name(1)).await;
    assert_eq!(
        (told.code, told.session_id),
        (106, 0),
        "names in a session of ids"
    );
    assert_eq!(ask(broker, (id, 1), &[]).await.code, 0);
    assert_eq!(ask(broker, (id, 1), &[]).await.code, 71, "the same again");
    // It belongs to the broker, not to the connection.
    let other = &mut Broker::connect(bootstrap).await;
    assert_eq!(ask(other, (id, 2), &[]).await.code, 0);

    let closed = ask(broker, (id, -1), &[(topic, 0)]).await;
    assert_eq!(
        (closed.brief(), closed.session_id),
        ((0, vec![topic.id]), 0)
    );
    assert_eq!(ask(broker, (id, 3), &[]).await.code, 70);
}

pub(super) async fn a_new_session_takes_the_place_of_the_old(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("sessions-again", &[]).await;
    let id = open(broker, &[(topic, 0)]).await;
    let again = ask(broker, (id, 0), &[(topic, 0)]).await;
    assert_eq!(again.brief(), (0, vec![topic.id]));
    assert!(again.session_id != id && again.session_id != 0);
    assert_eq!(ask(broker, (id, 1), &[]).await.code, 70);
    assert_eq!(ask(broker, (again.session_id, 1), &[]).await.code, 0);
}

pub(super) async fn sessions_by_name_work_as_those_by_id(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("sessions-names", &[]).await;
    for version in [7, 11, 12] {
        let opened = ask_in(broker, version, &request((0, 0), &[(topic, 0)])).await;
        assert_eq!((opened.code, opened.partitions.len()), (0, 1), "{version}");
        let id = opened.session_id;
        let told = ask_in(broker, version, &request((id, 1), &[])).await;
        assert_eq!((told.code, told.partitions.len()), (0, 0), "{version}");
        let told = ask(broker, (id, 2), &[]).await;
        assert_eq!(told.code, 106, "{version}: ids in a session of names");
    }
}

pub(super) async fn errors_are_told_every_time_and_so_is_their_end(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("sessions-errors", &[]).await;
    produce(broker, &topic).await;
    let id = open(broker, &[(topic, 2)]).await;
    assert_eq!(ask(broker, (id, 1), &[]).await.partitions, []);
    for (epoch, wanted) in [(2, vec![(topic, 9)]), (3, vec![])] {
        let told = ask(broker, (id, epoch), &wanted).await;
        assert_eq!(told.partitions, [(topic.id, 1, false)]);
    }
    let told = ask(broker, (id, 4), &[(topic, 2)]).await;
    assert_eq!(told.partitions, [(topic.id, 0, false)]);
    assert_eq!(ask(broker, (id, 5), &[]).await.partitions, []);
}

pub(super) async fn a_log_that_begins_elsewhere_is_told(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("sessions-start", &[]).await;
    produce(broker, &topic).await;
    let id = open(broker, &[(topic, 2)]).await;
    let delete = DeleteRecordsRequest {
        topics: [DeleteRecordsTopic {
            name: topic.name,
            partitions: [DeleteRecordsPartition {
                partition_index: 0,
                offset: 1,
            }]
            .into(),
        }]
        .into(),
        timeout_ms: 30_000,
    };
    let answer = broker.ask(&delete).await;
    assert_eq!(answer.partition().error_code.0, 0);
    assert_eq!(
        ask(broker, (id, 1), &[]).await.partitions,
        [(topic.id, 0, false)]
    );
    assert_eq!(ask(broker, (id, 2), &[]).await.partitions, []);
}

pub(super) async fn a_topic_that_is_gone_or_another_is_noticed(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("sessions-anew", &[]).await;
    let id = open(broker, &[(topic, 0)]).await;
    let delete = DeleteTopicsRequest {
        topics: [DeleteTopicState {
            name: Some(topic.name),
            topic_id: Uuid::ZERO,
        }]
        .into(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    let answer = broker.ask(&delete).await;
    assert_eq!(answer.decode().responses.first().unwrap().error_code.0, 0);
    let mut epoch = 1;
    let mut told = Vec::new();
    eventually(async || {
        told = ask(broker, (id, epoch), &[]).await.partitions;
        epoch += 1;
        !told.is_empty()
    })
    .await;
    assert_eq!(told, [(topic.id, 3, false)]);
    let anew = broker.create_topic(topic.name, &[]).await;
    let told = ask(broker, (id, epoch), &[]).await;
    assert_eq!(told.partitions, [(topic.id, 103, false)]);
    let told = ask(broker, (id, epoch + 1), &[(anew, 0)]).await;
    let mut codes: Vec<_> = told
        .partitions
        .iter()
        .map(|it| (it.0 == anew.id, it.1))
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [(false, 103), (true, 0)]);
    let unknown = Topic {
        id: Uuid([7; 16]),
        ..topic
    };
    let told = ask(broker, (id, epoch + 2), &[(unknown, 0)]).await;
    assert!(
        told.partitions.contains(&(unknown.id, 100, false)),
        "{told:?}"
    );
}
