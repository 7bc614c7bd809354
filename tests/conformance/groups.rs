//! What probes of groups share: members as raw requests, and where their coordinator is.

use kmirror_protocol::{
    ErrorCode, Request as _,
    messages::{
        FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
        find_coordinator::Coordinator,
        join_group::JoinGroupRequestProtocol,
        leave_group::MemberIdentity,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        sync_group::SyncGroupRequestAssignment,
    },
    wire::Array,
};

use super::broker::{Broker, eventually};

/// What a consumer says when it subscribes to topic `t`.
pub(crate) const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

/// Long enough never to end by itself while a test runs.
const LONG_MS: i32 = 600_000;

/// Connects to the coordinator of a group, once there is one that serves it.
pub(crate) async fn coordinator(bootstrap: &str, group: &str) -> Broker {
    let mut broker = Broker::connect(bootstrap).await;
    eventually(async || {
        let found = find(&mut broker, 3, 0, group).await;
        // While the group is being loaded, members are told that all is well.
        found == 0 && heartbeat(&mut broker, group, "", 0).await == 25
    })
    .await;
    broker
}

/// Looks for a coordinator, without regard to where it is: error code.
async fn find(broker: &mut Broker, version: i16, key_type: i8, key: &str) -> i16 {
    let request = FindCoordinatorRequest {
        key,
        key_type,
        coordinator_keys: Vec::new().into(),
    };
    let answer = broker.ask_in(version, &request).await;
    answer.decode().error_code.0
}

/// A request to join with protocol `range`.
pub(crate) fn joining<'a>(group_id: &'a str, member_id: &'a str) -> JoinGroupRequest<'a> {
    JoinGroupRequest {
        group_id,
        session_timeout_ms: LONG_MS,
        rebalance_timeout_ms: LONG_MS,
        member_id,
        group_instance_id: None,
        protocol_type: "consumer",
        protocols: protocols(&["range"]),
        reason: None,
    }
}

/// Protocols in order of preference, all with the same metadata.
pub(crate) fn protocols<'a>(names: &[&'a str]) -> Array<'a, JoinGroupRequestProtocol<'a>> {
    let protocols = names.iter().map(|name| JoinGroupRequestProtocol {
        name,
        metadata: SUBSCRIPTION,
    });
    protocols.collect()
}

/// The answer to a JoinGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) code: i16,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol_name: Option<String>,
    pub(crate) leader: String,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// Ids, sorted.
    pub(crate) members: Vec<String>,
}

impl Joined {
    fn new(response: &JoinGroupResponse<'_>) -> Self {
        let members = response.members.iter();
        let mut members: Vec<String> = members.map(|it| it.member_id.to_owned()).collect();
        members.sort();
        Self {
            code: response.error_code.0,
            generation: response.generation_id,
            protocol_type: response.protocol_type.map(str::to_owned),
            protocol_name: response.protocol_name.map(str::to_owned),
            leader: response.leader.to_owned(),
            skip_assignment: response.skip_assignment,
            member_id: response.member_id.to_owned(),
            members,
        }
    }

    /// What a join that is refused is told, in the newest version.
    pub(crate) fn refused(code: i16, member_id: &str) -> Self {
        Self {
            code,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }

    /// What a member of a generation with protocol `range` is told; a leader hears of `members`.
    pub(crate) fn member(generation: i32, member_id: &str, leader: &str, members: &[&str]) -> Self {
        let mut members: Vec<String> = members.iter().map(|it| (*it).to_owned()).collect();
        members.sort();
        Self {
            code: 0,
            generation,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            leader: leader.to_owned(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members,
        }
    }
}

pub(crate) async fn join(broker: &mut Broker, request: &JoinGroupRequest<'_>) -> Joined {
    join_in(broker, *JoinGroupRequest::VERSIONS.end(), request).await
}

pub(crate) async fn join_in(
    broker: &mut Broker,
    version: i16,
    request: &JoinGroupRequest<'_>,
) -> Joined {
    let answer = broker.ask_in(version, request).await;
    Joined::new(&answer.decode())
}

/// Asks for the id of a new dynamic member.
pub(crate) async fn new_member_id(broker: &mut Broker, group: &str) -> String {
    let joined = join(broker, &joining(group, "")).await;
    assert_eq!(joined, Joined::refused(79, &joined.member_id));
    joined.member_id
}

/// Makes a group with one member whose assignment is `all`: its id. The generation is 1.
pub(crate) async fn stable_group(broker: &mut Broker, group: &str) -> String {
    let id = new_member_id(broker, group).await;
    let joined = join(broker, &joining(group, &id)).await;
    assert_eq!(joined, Joined::member(1, &id, &id, &[&id]));
    let synced = sync(broker, &syncing(group, 1, &id, &[(&id, b"all")])).await;
    assert_eq!(synced, Synced::assigned(b"all"));
    id
}

/// A request for an assignment, with those that a leader makes.
pub(crate) fn syncing<'a>(
    group_id: &'a str,
    generation_id: i32,
    member_id: &'a str,
    assignments: &[(&'a str, &'a [u8])],
) -> SyncGroupRequest<'a> {
    let assignments = assignments.iter();
    let assignments = assignments.map(|(member_id, assignment)| SyncGroupRequestAssignment {
        member_id,
        assignment,
    });
    SyncGroupRequest {
        group_id,
        generation_id,
        member_id,
        group_instance_id: None,
        protocol_type: Some("consumer"),
        protocol_name: Some("range"),
        assignments: assignments.collect(),
    }
}

/// The answer to a SyncGroup request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) code: i16,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol_name: Option<String>,
    pub(crate) assignment: Vec<u8>,
}

impl Synced {
    pub(crate) fn refused(code: i16) -> Self {
        Self {
            code,
            protocol_type: None,
            protocol_name: None,
            assignment: Vec::new(),
        }
    }

    pub(crate) fn assigned(assignment: &[u8]) -> Self {
        Self {
            code: 0,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignment: assignment.to_vec(),
        }
    }
}

pub(crate) async fn sync(broker: &mut Broker, request: &SyncGroupRequest<'_>) -> Synced {
    let answer = broker.ask(request).await;
    let answer = answer.decode();
    Synced {
        code: answer.error_code.0,
        protocol_type: answer.protocol_type.map(str::to_owned),
        protocol_name: answer.protocol_name.map(str::to_owned),
        assignment: answer.assignment.to_vec(),
    }
}

/// Sends a heartbeat: error code.
pub(crate) async fn heartbeat(
    broker: &mut Broker,
    group_id: &str,
    member_id: &str,
    generation_id: i32,
) -> i16 {
    let request = HeartbeatRequest {
        group_id,
        generation_id,
        member_id,
        group_instance_id: None,
    };
    let answer = broker.ask(&request).await;
    answer.decode().error_code.0
}

/// Waits until a member learns that it must join again.
pub(crate) async fn wait_for_rebalance(
    broker: &mut Broker,
    group: &str,
    member_id: &str,
    generation: i32,
) {
    eventually(
        async || match heartbeat(broker, group, member_id, generation).await {
            0 => false,
            code => {
                assert_eq!(code, ErrorCode::REBALANCE_IN_PROGRESS.0);
                true
            }
        },
    )
    .await;
}

/// Has members leave: the error code, and that of each.
pub(crate) async fn leave(
    broker: &mut Broker,
    version: i16,
    group_id: &str,
    members: &[(&str, Option<&str>)],
) -> (i16, Vec<i16>) {
    let identities = members.iter();
    let identities = identities.map(|(member_id, group_instance_id)| MemberIdentity {
        member_id,
        group_instance_id: *group_instance_id,
        reason: None,
    });
    let request = LeaveGroupRequest {
        group_id,
        member_id: members[0].0,
        members: identities.collect(),
    };
    let answer = broker.ask_in(version, &request).await;
    let answer = answer.decode();
    let echoed = answer.members.iter();
    let echoed: Vec<_> = echoed
        .map(|it| (it.member_id, it.group_instance_id))
        .collect();
    if version >= 3 && answer.error_code.is_ok() {
        assert_eq!(echoed, members);
    }
    let codes = answer.members.iter().map(|member| member.error_code.0);
    (answer.error_code.0, codes.collect())
}

/// Who commits: member id, instance id and generation.
pub(crate) type Committer<'a> = (&'a str, Option<&'a str>, i32);

/// Commits without a member, as administrators do.
pub(crate) const NOBODY: Committer<'static> = ("", None, -1);

/// Commits offset 1 of one partition in a version that names topics: error code.
pub(crate) async fn commit_in(
    broker: &mut Broker,
    version: i16,
    group: &str,
    committer: Committer<'_>,
    (topic, partition): (&str, i32),
) -> i16 {
    let request = committing(group, committer, topic, &[(partition, 1, -1, None)]);
    let answer = broker.ask_in(version, &request).await;
    let topic = answer.decode().topics.first().unwrap();
    topic.partitions.first().unwrap().error_code.0
}

/// A request to commit offsets of one topic: partition, offset, leader epoch and metadata of each.
pub(crate) fn committing<'a>(
    group_id: &'a str,
    (member_id, group_instance_id, generation): Committer<'a>,
    name: &'a str,
    offsets: &[(i32, i64, i32, Option<&'a str>)],
) -> OffsetCommitRequest<'a> {
    let partitions = offsets.iter();
    let partitions =
        partitions.map(
            |(index, offset, epoch, metadata)| OffsetCommitRequestPartition {
                partition_index: *index,
                committed_offset: *offset,
                committed_leader_epoch: *epoch,
                committed_metadata: *metadata,
            },
        );
    OffsetCommitRequest {
        group_id,
        generation_id_or_member_epoch: generation,
        member_id,
        group_instance_id,
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name,
            partitions: partitions.collect(),
            ..Default::default()
        }]
        .into(),
    }
}

pub(super) async fn every_version_finds_coordinators(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let (host, port) = bootstrap.split_once(':').unwrap();
    let port: i32 = port.parse().unwrap();
    for key_type in [0, 1] {
        eventually(async || find(broker, 3, key_type, "groups-find").await == 0).await;
        for version in 0..=3 {
            let request = FindCoordinatorRequest {
                key: "groups-find",
                key_type,
                coordinator_keys: Vec::new().into(),
            };
            let answer = broker.ask_in(version, &request).await;
            let found = answer.decode();
            assert_eq!((found.error_code.0, found.node_id), (0, 1), "{found:?}");
            assert_eq!((found.host, found.port), (host, port), "version {version}");
            let message = if version == 0 { Some("") } else { Some("NONE") };
            assert_eq!(found.error_message, message, "version {version}");
        }
        let request = FindCoordinatorRequest {
            key: "",
            key_type,
            coordinator_keys: vec!["groups-find", "groups-other", ""].into(),
        };
        let answer = broker.ask(&request).await;
        let found = |key| Coordinator {
            key,
            node_id: 1,
            host,
            port,
            error_code: ErrorCode::NONE,
            error_message: Some(""),
        };
        let expected = ["groups-find", "groups-other", ""].map(found);
        assert_eq!(answer.decode().coordinators, expected);
    }
}

pub(super) async fn coordinators_of_other_kinds_are_refused(bootstrap: &str) {
    let broker = &mut Broker::connect(bootstrap).await;
    let words = "This most likely occurs because of a request being malformed by the client \
                 library or the message was sent to an incompatible broker. See the broker logs \
                 for more details.";
    for (key_type, message) in [(2, ""), (3, words), (-1, words)] {
        let request = FindCoordinatorRequest {
            key: "groups-kind",
            key_type,
            coordinator_keys: vec!["groups-kind"].into(),
        };
        for version in 1..=3 {
            let answer = broker.ask_in(version, &request).await;
            let refused = answer.decode();
            let found = (refused.error_code.0, refused.error_message);
            assert_eq!(
                found,
                (42, Some(words)),
                "type {key_type}, version {version}"
            );
            let place = (refused.node_id, refused.host, refused.port);
            assert_eq!(place, (-1, "", -1), "type {key_type}, version {version}");
        }
        let answer = broker.ask(&request).await;
        let refused = Coordinator {
            key: "groups-kind",
            node_id: -1,
            host: "",
            port: -1,
            error_code: ErrorCode::INVALID_REQUEST,
            error_message: Some(message),
        };
        assert_eq!(answer.decode().coordinators, [refused], "type {key_type}");
    }
}
