//! Requests as a whole: what is answered, what closes the connection.

use kmirror_protocol::{
    ApiKey, ErrorCode, Request as _, frame,
    messages::{
        ApiVersionsRequest, MetadataRequest, ProduceRequest, metadata::MetadataRequestTopic,
        produce::ProduceRequestPartition,
    },
    records::Compression,
    wire::{Records, Uuid},
};

use super::broker::{Broker, Topic, batch, produce_request};

pub(super) async fn a_partition_listed_twice_is_appended_once(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("requests-twice", &[]).await;
    let (first, second) = (batch(Compression::None, 2), batch(Compression::None, 5));
    let (first, second) = (first.to_vec(), second.to_vec());
    let mut request = produce_request(&topic, -1, &first);
    request.topic_data.to_mut()[0]
        .partition_data
        .to_mut()
        .push(ProduceRequestPartition {
            index: 0,
            records: Some(Records::Slice(&second)),
        });
    let answer = broker.ask(&request).await;
    let partitions = &answer
        .decode()
        .responses
        .first()
        .unwrap()
        .partition_responses;
    assert_eq!(partitions.len(), 1);
    assert_eq!(partitions.first().unwrap().error_code, ErrorCode::NONE);
    assert_eq!(broker.list_offset(topic.name, -1).await.offset, 5);
}

pub(super) async fn acks_decide_whether_a_request_is_answered(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("requests-acks", &[]).await;
    let blob = batch(Compression::None, 1).to_vec();
    for (acks, expected) in [(-1, 0), (1, 0), (2, 21), (-2, 21)] {
        let answer = broker.ask(&produce_request(&topic, acks, &blob)).await;
        let code = answer.partition().error_code;
        assert_eq!(code.0, expected, "acks {acks}");
    }
    let unanswered = |topic: &Topic| {
        let request = produce_request(topic, 0, &blob);
        frame::encode_request(&request, 13, 7, "conformance")
            .unwrap()
            .concat()
    };
    broker.send(&unanswered(&topic)).await;
    // The next answer is that of the next request.
    assert_eq!(broker.list_offset(topic.name, -1).await.offset, 3);
    let unknown = Topic {
        name: "requests-none",
        id: Uuid([7; 16]),
    };
    assert_eq!(broker.exchange(&unanswered(&unknown)).await, None);
}

pub(super) async fn a_request_that_is_not_understood_ends_the_connection(bootstrap: &str) {
    let header = |key: i16, version: i16| {
        let body = [key.to_be_bytes(), version.to_be_bytes()].concat();
        let body = [body.as_slice(), &[0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]].concat();
        let len = u32::try_from(body.len()).unwrap();
        [len.to_be_bytes().as_slice(), &body].concat()
    };
    let cases = [
        ("no such API", header(9999, 0)),
        ("negative API", header(-1, 0)),
        ("a version too new", header(ApiKey::Metadata.number(), 99)),
        ("a version too old", header(ApiKey::Fetch.number(), 3)),
        (
            "half a message",
            header(ApiKey::Metadata.number(), 13)[..14].to_vec(),
        ),
        ("a frame of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff]),
        ("a frame of negative length", vec![0xff, 0xff, 0xff, 0xff]),
    ];
    for (name, mut frame) in cases {
        if name == "half a message" {
            frame[3] = 10;
        }
        let mut broker = Broker::connect(bootstrap).await;
        assert_eq!(broker.exchange(&frame).await, None, "{name}");
    }
}

pub(super) async fn versions_can_be_asked_for_in_any_version(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let named = ApiVersionsRequest {
        client_software_name: "kmirror",
        client_software_version: "0.1.0",
    };
    for version in 0..=4 {
        let answer = broker.ask_in(version, &named).await;
        let answer = answer.decode();
        assert_eq!(answer.error_code, ErrorCode::NONE, "version {version}");
        let produce = answer.api_keys.iter().find(|it| it.api_key == 0).unwrap();
        assert_eq!(produce.max_version, 13, "version {version}");
    }
    for name in ["", "-kmirror", "k mirror", "kmirror."] {
        let wrong = ApiVersionsRequest {
            client_software_name: name,
            ..named.clone()
        };
        let answer = broker.ask_in(3, &wrong).await;
        assert_eq!(answer.decode().error_code.0, 42, "{name}");
    }
    let mut newer = frame::encode_request(&named, 4, 9, "conformance")
        .unwrap()
        .concat();
    newer[7] = 77;
    let body = broker.exchange(&newer).await.unwrap();
    let answer = frame::decode_response::<ApiVersionsRequest<'_>>(&body, 0).unwrap();
    assert_eq!(answer.error_code.0, 35);
    let offered: Vec<_> = answer
        .api_keys
        .iter()
        .map(|it| (it.api_key, it.min_version))
        .collect();
    assert_eq!(offered, [(18, 0)]);
}

/// librdkafka asks so for all topics.
pub(super) async fn bytes_after_the_last_field_are_passed_over(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    for version in MetadataRequest::VERSIONS {
        let request = MetadataRequest::default();
        let frame = frame::encode_request(&request, version, 1, "conformance").unwrap();
        let mut frame = frame.concat();
        frame.extend([0, 1, 2]);
        let len = u32::try_from(frame.len() - frame::PREFIX_LEN).unwrap();
        frame[..frame::PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
        let body = broker.exchange(&frame).await.unwrap();
        let answer = frame::decode_response::<MetadataRequest<'_>>(&body, version).unwrap();
        assert_eq!(answer.brokers.len(), 1, "version {version}");
    }
}

pub(super) async fn partitions_that_do_not_exist_are_named_as_such(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let topic = broker.create_topic("requests-known", &[]).await;
    let blob = batch(Compression::None, 1).to_vec();
    let unknown = Topic {
        name: "requests-unknown",
        id: Uuid([7; 16]),
    };
    assert_eq!(broker.produce(&unknown, &blob).await.brief(), (100, -1));
    assert_eq!(
        broker.produce_in(12, &unknown, &blob).await.brief(),
        (3, -1)
    );
    assert_eq!(broker.fetch(&unknown, 0).await.code.0, 100);
    let mut request: ProduceRequest<'_> = produce_request(&topic, -1, &blob);
    request.topic_data.to_mut()[0].partition_data.to_mut()[0].index = 1;
    let answer = broker.ask(&request).await;
    assert_eq!(answer.partition().error_code.0, 3);
    assert_eq!(broker.list_offset(unknown.name, -1).await.error_code.0, 3);

    let wanted = |name, topic_id| MetadataRequestTopic { topic_id, name };
    let cases = [
        (wanted(Some(topic.name), Uuid::ZERO), 0),
        (wanted(None, topic.id), 0),
        (wanted(Some("requests-unknown"), Uuid::ZERO), 3),
        (wanted(Some("no/topic"), Uuid::ZERO), 17),
        (wanted(None, unknown.id), 100),
    ];
    for (wanted, expected) in cases {
        let request = MetadataRequest {
            topics: Some(vec![wanted.clone()].into()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = broker.ask(&request).await;
        let answer = answer.decode();
        assert_eq!(
            answer.topics.first().unwrap().error_code.0,
            expected,
            "{wanted:?}"
        );
        let known = (Some(topic.name), topic.id, 1);
        let found = &answer.topics.first().unwrap();
        let found = (found.name, found.topic_id, found.partitions.len());
        assert_eq!(found == known, expected == 0, "{wanted:?}: {found:?}");
    }
}
