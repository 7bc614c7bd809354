//! Offsets of groups: who may commit them, how they are fetched, when they go.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        DeleteTopicsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
        TxnOffsetCommitRequest,
        delete_topics::DeleteTopicState,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
        txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    },
    wire::Uuid,
};

use super::{
    broker::{Broker, Topic, eventually},
    groups::{
        Committer, NOBODY, commit_in, committing, coordinator, heartbeat, join, joining, leave,
        new_member_id, stable_group, sync, syncing,
    },
    groups_admin,
};

/// A partition as it is fetched: index, offset, leader epoch, metadata and error code.
type Fetched = (i32, i64, i32, String, i16);

/// What is fetched of a partition that has no offset.
fn absent(index: i32) -> Fetched {
    (index, -1, -1, String::new(), 0)
}

/// Fetches offsets of a group in a version that names one group: its error code, and topics.
async fn fetch_in(
    broker: &mut Broker,
    version: i16,
    group_id: &str,
    topics: Option<&[(&str, &[i32])]>,
) -> (i16, Vec<(String, Vec<Fetched>)>) {
    let topics = topics.map(|topics| {
        let topics = topics
            .iter()
            .map(|(name, indexes)| OffsetFetchRequestTopic {
                name,
                partition_indexes: indexes.to_vec().into(),
            });
        topics.collect()
    });
    let request = OffsetFetchRequest {
        group_id,
        topics,
        groups: Vec::new().into(),
        require_stable: version >= 7,
    };
    let answer = broker.ask_in(version, &request).await;
    let answer = answer.decode();
    let topics = answer.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|it| {
            let metadata = it.metadata.unwrap().to_owned();
            let (epoch, code) = (it.committed_leader_epoch, it.error_code.0);
            (
                it.partition_index,
                it.committed_offset,
                epoch,
                metadata,
                code,
            )
        });
        (topic.name.to_owned(), sorted(partitions.collect()))
    });
    (answer.error_code.0, sorted(topics.collect()))
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// A group, its error code, and by topic (name or id) its partitions.
type FetchedGroup = (String, i16, Vec<(String, Uuid, Vec<Fetched>)>);

/// Fetches all offsets of groups, or those of the topics that are named for each.
async fn fetch_groups(
    broker: &mut Broker,
    version: i16,
    groups: Vec<(&str, Option<Vec<OffsetFetchRequestTopics<'_>>>)>,
) -> Vec<FetchedGroup> {
    let groups = groups.into_iter();
    let groups = groups.map(|(group_id, topics)| OffsetFetchRequestGroup {
        group_id,
        topics: topics.map(Into::into),
        ..Default::default()
    });
    let request = OffsetFetchRequest {
        groups: groups.collect(),
        require_stable: true,
        ..Default::default()
    };
    let answer = broker.ask_in(version, &request).await;
    let answer = answer.decode();
    let groups = answer.groups.iter().map(|group| {
        let topics = group.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|it| {
                let metadata = it.metadata.unwrap().to_owned();
                let (epoch, code) = (it.committed_leader_epoch, it.error_code.0);
                (
                    it.partition_index,
                    it.committed_offset,
                    epoch,
                    metadata,
                    code,
                )
            });
            let partitions = sorted(partitions.collect());
            (topic.name.to_owned(), topic.topic_id, partitions)
        });
        let topics = sorted(topics.collect());
        (group.group_id.to_owned(), group.error_code.0, topics)
    });
    groups.collect()
}

/// The offset of partition 0 of a topic.
async fn offset(broker: &mut Broker, group: &str, topic: &str) -> i64 {
    let (code, topics) = fetch_in(broker, 7, group, Some(&[(topic, &[0])])).await;
    assert_eq!(code, 0);
    topics[0].1[0].1
}

/// Commits in a version that names topics: error code of each partition.
async fn commit(broker: &mut Broker, version: i16, request: &OffsetCommitRequest<'_>) -> Vec<i16> {
    let answer = broker.ask_in(version, request).await;
    let answer = answer.decode();
    let topic = answer.topics.first().unwrap();
    assert_eq!(topic.name, request.topics.first().unwrap().name);
    let partitions = topic.partitions.iter();
    let codes: Vec<(i32, i16)> = partitions
        .map(|it| (it.partition_index, it.error_code.0))
        .collect();
    sorted(codes).into_iter().map(|(_, code)| code).collect()
}

pub(super) async fn an_empty_group_takes_offsets_from_anyone(bootstrap: &str) {
    let group = "goffsets-admin";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    for version in 2..=9 {
        let code = commit_in(broker, version, group, NOBODY, (topic.name, 0)).await;
        assert_eq!(code, 0, "version {version}");
    }
    // The name of a member does not matter without a generation.
    let someone = ("someone", Some("instance"), -1);
    assert_eq!(
        commit_in(broker, 9, group, someone, (topic.name, 0)).await,
        0
    );
    assert_eq!(commit_in(broker, 9, "", NOBODY, (topic.name, 0)).await, 0);
    assert_eq!(offset(broker, "", topic.name).await, 1);
    let nameless = [(String::new(), 0)];
    assert_eq!(groups_admin::delete(broker, 2, &[""]).await, nameless);
    assert_eq!(offset(broker, "", topic.name).await, -1);
    // With a generation it does, and a group that is not there has none.
    let member = ("someone", None, 1);
    assert_eq!(
        commit_in(broker, 9, group, member, (topic.name, 0)).await,
        25
    );
    let nowhere = "goffsets-nowhere";
    assert_eq!(
        commit_in(broker, 8, nowhere, member, (topic.name, 0)).await,
        22
    );
    assert_eq!(
        commit_in(broker, 9, nowhere, member, (topic.name, 0)).await,
        69
    );
}

pub(super) async fn members_commit_in_their_generation(bootstrap: &str) {
    let group = "goffsets-members";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    let id = new_member_id(broker, group).await;
    assert_eq!(join(broker, &joining(group, &id)).await.code, 0);
    let member = (id.as_str(), None, 1);
    let at = (topic.name, 0);
    // Who has joined but has no assignment is called to the next generation.
    assert_eq!(commit_in(broker, 9, group, member, at).await, 27);
    assert_eq!(sync(broker, &syncing(group, 1, &id, &[])).await.code, 0);
    let cases: [(Committer<'_>, i16); 7] = [
        (member, 0),
        ((&id, None, 0), 22),
        ((&id, None, -1), 22),
        (("someone", None, 1), 25),
        ((&id, Some("instance"), 1), 25),
        (("", None, 1), 25),
        (NOBODY, 25),
    ];
    for (committer, expected) in cases {
        let code = commit_in(broker, 9, group, committer, at).await;
        assert_eq!(code, expected, "{committer:?}");
    }
    // While the others are awaited, members still commit what they have done.
    let second = &mut Broker::connect(bootstrap).await;
    let follower = new_member_id(second, group).await;
    tokio::join!(
        async { join(second, &joining(group, &follower)).await },
        async {
            eventually(async || heartbeat(broker, group, &id, 1).await == 27).await;
            assert_eq!(commit_in(broker, 9, group, member, at).await, 0);
            assert_eq!(join(broker, &joining(group, &id)).await.generation, 2);
        }
    );
    assert_eq!(
        leave(broker, 5, group, &[(&id, None), (&follower, None)])
            .await
            .1,
        [0, 0]
    );
    assert_eq!(commit_in(broker, 9, group, NOBODY, at).await, 0);
}

pub(super) async fn offsets_are_fetched_in_every_shape(bootstrap: &str) {
    let group = "goffsets-shapes";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    let request = committing(group, NOBODY, topic.name, &[(0, 42, 7, Some("where"))]);
    assert_eq!(commit(broker, 9, &request).await, [0]);
    let unknown = "goffsets-unknown";
    let wanted: &[(&str, &[i32])] = &[(topic.name, &[0, 1]), (unknown, &[0])];
    for version in 1..=7 {
        let epoch = if version >= 5 { 7 } else { -1 };
        let known = (0, 42, epoch, "where".to_owned(), 0);
        let of_topic = (topic.name.to_owned(), vec![known.clone(), absent(1)]);
        let of_unknown = (unknown.to_owned(), vec![absent(0)]);
        let all = fetch_in(broker, version, group, Some(wanted)).await;
        assert_eq!(all, (0, vec![of_topic, of_unknown]), "version {version}");
        let none = fetch_in(broker, version, group, Some(&[])).await;
        assert_eq!(none, (0, vec![]), "version {version}");
        let nowhere = fetch_in(broker, version, "goffsets-nowhere", Some(wanted)).await;
        let missing = (topic.name.to_owned(), vec![absent(0), absent(1)]);
        let of_unknown = (unknown.to_owned(), vec![absent(0)]);
        assert_eq!(nowhere, (0, vec![missing, of_unknown]), "version {version}");
        if version >= 2 {
            let all = fetch_in(broker, version, group, None).await;
            let expected = vec![(topic.name.to_owned(), vec![known])];
            assert_eq!(all, (0, expected), "version {version}");
            let nowhere = fetch_in(broker, version, "goffsets-nowhere", None).await;
            assert_eq!(nowhere, (0, vec![]), "version {version}");
        }
    }
}

pub(super) async fn several_groups_are_fetched_at_once(bootstrap: &str) {
    let group = "goffsets-batch";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    let request = committing(group, NOBODY, topic.name, &[(0, 42, 7, Some("where"))]);
    assert_eq!(commit(broker, 9, &request).await, [0]);
    let known = (0, 42, 7, "where".to_owned(), 0);
    let nowhere = "goffsets-nowhere";
    for version in [8, 9, 10] {
        let by_name = |name, topic_id| OffsetFetchRequestTopics {
            name: if version < 10 { name } else { "" },
            topic_id: if version < 10 { Uuid::ZERO } else { topic_id },
            partition_indexes: [0, 1].into_iter().collect(),
        };
        let topics = vec![
            by_name(topic.name, topic.id),
            by_name("goffsets-unknown", Uuid([7; 16])),
        ];
        let groups = vec![
            (group, Some(topics.clone())),
            (nowhere, Some(topics)),
            (group, None),
            (nowhere, None),
            (group, Some(vec![])),
        ];
        let fetched = fetch_groups(broker, version, groups).await;
        let name = |name: &str| {
            if version < 10 {
                name.to_owned()
            } else {
                String::new()
            }
        };
        let id = |id: Uuid| if version < 10 { Uuid::ZERO } else { id };
        let failed = if version < 10 { 0 } else { 100 };
        let unknown = |index| (index, -1, -1, String::new(), failed);
        let of_unknown = (
            name("goffsets-unknown"),
            id(Uuid([7; 16])),
            vec![unknown(0), unknown(1)],
        );
        let of_topic = |partitions| (name(topic.name), id(topic.id), partitions);
        let expected = [
            (
                group.to_owned(),
                0,
                sorted(vec![
                    of_topic(vec![known.clone(), absent(1)]),
                    of_unknown.clone(),
                ]),
            ),
            (
                nowhere.to_owned(),
                0,
                sorted(vec![of_topic(vec![absent(0), absent(1)]), of_unknown]),
            ),
            (group.to_owned(), 0, vec![of_topic(vec![known.clone()])]),
            (nowhere.to_owned(), 0, vec![]),
            (group.to_owned(), 0, vec![]),
        ];
        assert_eq!(fetched, expected, "version {version}");
    }
}

pub(super) async fn offsets_are_committed_by_topic_id(bootstrap: &str) {
    let group = "goffsets-ids";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 9,
        ..Default::default()
    };
    let of = |topic_id, indexes: &[i32]| OffsetCommitRequestTopic {
        topic_id,
        partitions: indexes.iter().map(|index| partition(*index)).collect(),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group,
        topics: vec![of(topic.id, &[0, 1]), of(Uuid([7; 16]), &[0])].into(),
        ..Default::default()
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let topics = answer.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|it| (it.partition_index, it.error_code.0));
        (topic.topic_id, sorted(partitions.collect()))
    });
    let expected = vec![
        (topic.id, vec![(0, 0), (1, 3)]),
        (Uuid([7; 16]), vec![(0, 100)]),
    ];
    assert_eq!(sorted(topics.collect()), sorted(expected));
    assert_eq!(offset(broker, group, topic.name).await, 9);
}

pub(super) async fn what_cannot_be_committed_is_refused_by_partition(bootstrap: &str) {
    let group = "goffsets-refused";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    let (longest, too_long) = ("ä".repeat(4096), "a".repeat(4097));
    let of_longest = committing(group, NOBODY, topic.name, &[(0, 1, -1, Some(&longest))]);
    assert_eq!(commit(broker, 9, &of_longest).await, [0]);
    let of_too_long = committing(
        group,
        NOBODY,
        topic.name,
        &[(0, 2, -1, Some(&too_long)), (1, 2, -1, None)],
    );
    assert_eq!(commit(broker, 9, &of_too_long).await, [12, 3]);
    assert_eq!(offset(broker, group, topic.name).await, 1);
    // Null metadata is kept as empty; an offset may be anything.
    let negative = committing(group, NOBODY, topic.name, &[(0, -5, -1, None)]);
    assert_eq!(commit(broker, 9, &negative).await, [0]);
    let fetched = fetch_in(broker, 7, group, Some(&[(topic.name, &[0])])).await;
    assert_eq!(fetched.1[0].1, [(0, -5, -1, String::new(), 0)]);
    // Where no partition exists, the group is not asked.
    let stranger = ("someone", None, 9);
    let nothing = committing(group, stranger, "goffsets-unknown", &[(0, 1, -1, None)]);
    assert_eq!(commit(broker, 9, &nothing).await, [3]);
    let some = committing(
        group,
        stranger,
        topic.name,
        &[(0, 1, -1, None), (1, 1, -1, None)],
    );
    assert_eq!(commit(broker, 9, &some).await, [25, 3]);
}

pub(super) async fn offsets_go_with_their_topic(bootstrap: &str) {
    let group = "goffsets-deleted";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    assert_eq!(
        commit_in(broker, 9, group, NOBODY, (topic.name, 0)).await,
        0
    );
    assert_eq!(offset(broker, group, topic.name).await, 1);
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(topic.name),
            topic_id: Uuid::ZERO,
        }]
        .into(),
        timeout_ms: 30_000,
        ..Default::default()
    };
    assert_eq!(
        broker
            .ask(&request)
            .await
            .decode()
            .responses
            .first()
            .unwrap()
            .error_code,
        ErrorCode::NONE
    );
    eventually(async || offset(broker, group, topic.name).await == -1).await;
    let all = fetch_in(broker, 7, group, None).await;
    assert_eq!(all, (0, vec![]));
}

/// Deletes offsets of partition 0 and 1 of topics: the error code, and those of the partitions.
async fn delete(broker: &mut Broker, group_id: &str, topics: &[&str]) -> (i16, Vec<Vec<i16>>) {
    let partition = |partition_index| OffsetDeleteRequestPartition { partition_index };
    let topics = topics.iter().map(|name| OffsetDeleteRequestTopic {
        name,
        partitions: [0, 1].into_iter().map(partition).collect(),
    });
    let request = OffsetDeleteRequest {
        group_id,
        topics: topics.collect(),
    };
    let answer = broker.ask(&request).await;
    let answer = answer.decode();
    let topics = answer.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|it| (it.partition_index, it.error_code.0));
        let partitions = sorted(partitions.collect::<Vec<_>>()).into_iter();
        (
            topic.name.to_owned(),
            partitions.map(|(_, code)| code).collect(),
        )
    });
    let topics = sorted(topics.collect::<Vec<_>>()).into_iter();
    (
        answer.error_code.0,
        topics.map(|(_, codes)| codes).collect(),
    )
}

pub(super) async fn offsets_that_nobody_uses_can_be_deleted(bootstrap: &str) {
    let group = "goffsets-delete";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic = broker.create_topic(group, &[]).await;
    assert_eq!(delete(broker, "", &[topic.name]).await, (24, vec![]));
    assert_eq!(delete(broker, group, &[topic.name]).await, (69, vec![]));
    assert_eq!(
        commit_in(broker, 9, group, NOBODY, (topic.name, 0)).await,
        0
    );
    let both = ["goffsets-delete-unknown", topic.name];
    assert_eq!(
        delete(broker, group, &both).await,
        (0, vec![vec![0, 3], vec![3, 3]])
    );
    assert_eq!(offset(broker, group, topic.name).await, -1);
    // A consumer that reads topic `t` protects the offsets of that topic only.
    let t = broker.create_topic("t", &[]).await;
    for topic in [topic, t] {
        assert_eq!(
            commit_in(broker, 9, group, NOBODY, (topic.name, 0)).await,
            0
        );
    }
    stable_group(broker, group).await;
    let both = [topic.name, t.name];
    assert_eq!(
        delete(broker, group, &both).await,
        (0, vec![vec![0, 3], vec![86, 3]])
    );
    // What the members of other kinds read is not known.
    let other = "goffsets-delete-connect";
    let id = join_of_connect(broker, other).await;
    assert_eq!(delete(broker, other, &[topic.name]).await, (68, vec![]));
    assert_eq!(leave(broker, 5, other, &[(&id, None)]).await.1, [0]);
    assert_eq!(
        delete(broker, other, &[topic.name]).await,
        (0, vec![vec![0, 3]])
    );
}

async fn join_of_connect(broker: &mut Broker, group: &str) -> String {
    let joining = |member_id| kmirror_protocol::messages::JoinGroupRequest {
        protocol_type: "connect",
        ..joining(group, member_id)
    };
    let id = join(broker, &joining("")).await.member_id;
    assert_eq!(join(broker, &joining(&id)).await.code, 0);
    id
}

pub(super) async fn offsets_of_unknown_producers_are_refused(bootstrap: &str) {
    let group = "goffsets-txn";
    let broker = &mut coordinator(bootstrap, group).await;
    let topic: Topic = broker.create_topic(group, &[]).await;
    for version in 0..=5 {
        let request = TxnOffsetCommitRequest {
            transactional_id: "goffsets-nobody",
            group_id: group,
            producer_id: 987_654,
            producer_epoch: 0,
            generation_id: -1,
            member_id: "",
            group_instance_id: None,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.name,
                partitions: vec![
                    TxnOffsetCommitRequestPartition {
                        partition_index: 0,
                        committed_offset: 1,
                        ..Default::default()
                    },
                    TxnOffsetCommitRequestPartition {
                        partition_index: 1,
                        committed_offset: 1,
                        ..Default::default()
                    },
                ]
                .into(),
            }]
            .into(),
        };
        let answer = broker.ask_in(version, &request).await;
        let answer = answer.decode();
        let topic = answer.topics.first().unwrap();
        let partitions = topic.partitions.iter();
        let codes = partitions.map(|it| (it.partition_index, it.error_code.0));
        let expected = [(0, 49), (1, 3)];
        assert_eq!(sorted(codes.collect()), expected, "version {version}");
    }
    assert_eq!(offset(broker, group, topic.name).await, -1);
}
