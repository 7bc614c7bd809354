//! ListGroups, FindCoordinator, OffsetFetch and OffsetCommit: consumer groups from outside.

use std::{collections::BTreeMap, sync::Arc};

use kmirror_protocol::{
    ErrorCode,
    messages::{
        FindCoordinatorRequest, FindCoordinatorResponse, ListGroupsRequest, ListGroupsResponse,
        OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::OffsetFetchRequestGroup,
    },
};

use super::{Question, refusal};
use crate::flow::{
    Failure,
    groups::{CommittedOffset, GroupState, ListedGroup, PerGroup},
};

/// `FindCoordinatorRequest.CoordinatorType.GROUP`.
const GROUP: i8 = 0;

/// The last version of OffsetFetch and of OffsetCommit that names topics; later ones have ids.
const BY_NAME_MAX: i16 = 9;

/// Asks a broker for the groups that it coordinates.
#[must_use]
pub fn list() -> Question<ListGroupsRequest<'static>> {
    Question::from(ListGroupsRequest::default())
}

/// The groups of one broker.
///
/// # Errors
///
/// The broker's refusal.
pub fn listed(response: &ListGroupsResponse<'_>) -> Result<Vec<ListedGroup>, Failure> {
    refusal(response.error_code, None)?;
    let groups = response.groups.iter().map(|group| ListedGroup {
        id: Arc::from(group.group_id),
        protocol_type: group.protocol_type.to_owned(),
        state: state(group.group_state),
    });
    Ok(groups.collect())
}

/// Whether a group in this state may be written to; brokers before 2.6 name none.
fn state(name: &str) -> Option<GroupState> {
    match name {
        "" => None,
        "Dead" => Some(GroupState::Absent),
        "Empty" => Some(GroupState::Empty),
        _ => Some(GroupState::InUse),
    }
}

/// Asks any broker for the coordinators of groups: of all of them where it knows how, else of the
/// first.
#[must_use]
pub fn find_coordinators(groups: &[Arc<str>]) -> Question<FindCoordinatorRequest<'_>> {
    Question::from(FindCoordinatorRequest {
        key: groups.first().map_or("", |group| group),
        coordinator_keys: groups.iter().map(|group| &**group).collect(),
        key_type: GROUP,
    })
}

/// The coordinator's broker of each of `groups` that the answer speaks of.
#[must_use]
pub fn coordinators(response: &FindCoordinatorResponse<'_>, groups: &[Arc<str>]) -> PerGroup<i32> {
    let node = |node_id: i32, code: ErrorCode, message: Option<&str>| {
        refusal(code, message)?;
        let missing = Failure::Refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, None);
        if node_id < 0 {
            Err(missing)
        } else {
            Ok(node_id)
        }
    };
    let many: BTreeMap<&str, Result<i32, Failure>> = response
        .coordinators
        .iter()
        .map(|it| (it.key, node(it.node_id, it.error_code, it.error_message)))
        .collect();
    if many.is_empty() {
        let only = node(
            response.node_id,
            response.error_code,
            response.error_message,
        );
        let first = groups.first().map(|group| (Arc::clone(group), only));
        return first.into_iter().collect();
    }
    let found = groups.iter().filter_map(|group| {
        let node = many.get(&**group)?.clone();
        Some((Arc::clone(group), node))
    });
    found.collect()
}

/// Asks a coordinator what groups have committed: all of them where it knows how, else the first.
#[must_use]
pub fn fetch_offsets(groups: &[Arc<str>]) -> Question<OffsetFetchRequest<'_>> {
    let each = groups.iter().map(|group| OffsetFetchRequestGroup {
        group_id: group,
        member_id: None,
        member_epoch: -1,
        topics: None,
    });
    Question {
        version_max: Some(BY_NAME_MAX),
        ..Question::from(OffsetFetchRequest {
            group_id: groups.first().map_or("", |group| group),
            topics: None,
            groups: each.collect(),
            require_stable: false,
        })
    }
}

/// What each of `groups` that the answer speaks of has committed; partitions that cannot be told of
/// are left out.
#[must_use]
pub fn fetched_offsets(
    response: &OffsetFetchResponse<'_>,
    groups: &[Arc<str>],
) -> PerGroup<Vec<CommittedOffset>> {
    if response.groups.iter().next().is_none() {
        let mut offsets = Vec::new();
        for topic in &response.topics {
            let name: Arc<str> = Arc::from(topic.name);
            for it in &topic.partitions {
                let at = (it.committed_offset, it.metadata);
                offsets.extend(committed(&name, it.partition_index, at, it.error_code));
            }
        }
        let offsets = refusal(response.error_code, None).map(|()| offsets);
        let first = groups.first().map(|group| (Arc::clone(group), offsets));
        return first.into_iter().collect();
    }
    let asked: BTreeMap<&str, &Arc<str>> = groups.iter().map(|group| (&**group, group)).collect();
    let answers = response.groups.iter().filter_map(|group| {
        let mut offsets = Vec::new();
        for topic in &group.topics {
            let name: Arc<str> = Arc::from(topic.name);
            for it in &topic.partitions {
                let at = (it.committed_offset, it.metadata);
                offsets.extend(committed(&name, it.partition_index, at, it.error_code));
            }
        }
        let id = Arc::clone(asked.get(group.group_id)?);
        Some((id, refusal(group.error_code, None).map(|()| offsets)))
    });
    answers.collect()
}

fn committed(
    topic: &Arc<str>,
    partition: i32,
    (offset, metadata): (i64, Option<&str>),
    code: ErrorCode,
) -> Option<CommittedOffset> {
    (code == ErrorCode::NONE).then(|| CommittedOffset {
        topic: Arc::clone(topic),
        partition,
        offset,
        metadata: metadata.unwrap_or_default().to_owned(),
    })
}

/// Commits for a group from outside, as administrators do; its coordinator refuses that while the
/// group has members.
#[must_use]
pub fn commit_offsets<'a>(
    group: &'a str,
    offsets: &'a [CommittedOffset],
) -> Question<OffsetCommitRequest<'a>> {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition<'a>>> = BTreeMap::new();
    for offset in offsets {
        let partition = OffsetCommitRequestPartition {
            partition_index: offset.partition,
            committed_offset: offset.offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(&offset.metadata),
        };
        topics.entry(&offset.topic).or_default().push(partition);
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| OffsetCommitRequestTopic {
            name,
            partitions: partitions.into(),
            ..OffsetCommitRequestTopic::default()
        });
    Question {
        version_max: Some(BY_NAME_MAX),
        ..Question::from(OffsetCommitRequest {
            group_id: group,
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        })
    }
}

/// Whether everything was committed.
///
/// # Errors
///
/// The first refusal of a partition.
pub fn offsets_committed(response: &OffsetCommitResponse<'_>) -> Result<(), Failure> {
    let mut partitions = response.topics.iter().flat_map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| partition.error_code);
        partitions.collect::<Vec<_>>()
    });
    partitions.try_for_each(|code| refusal(code, None))
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::messages::{
        find_coordinator::Coordinator,
        list_groups::ListedGroup as Listed,
        offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    };

    use super::*;

    fn ids() -> [Arc<str>; 2] {
        [Arc::from("g"), Arc::from("h")]
    }

    #[test]
    fn only_a_group_that_says_so_may_be_written_to() {
        let cases = [
            ("", None),
            ("Dead", Some(GroupState::Absent)),
            ("Empty", Some(GroupState::Empty)),
            ("Stable", Some(GroupState::InUse)),
            ("PreparingRebalance", Some(GroupState::InUse)),
            ("CompletingRebalance", Some(GroupState::InUse)),
            ("Assigning", Some(GroupState::InUse)),
            ("Reconciling", Some(GroupState::InUse)),
            ("something new", Some(GroupState::InUse)),
        ];
        for (group_state, expected) in cases {
            let group = Listed {
                group_id: "g",
                protocol_type: "consumer",
                group_state,
                ..Listed::default()
            };
            let response = ListGroupsResponse {
                groups: vec![group].into(),
                ..ListGroupsResponse::default()
            };
            assert_eq!(
                listed(&response).unwrap()[0].state,
                expected,
                "{group_state}"
            );
        }
    }

    #[test]
    fn an_answer_of_the_old_form_is_about_the_first_group() {
        let coordinator = FindCoordinatorResponse {
            node_id: 4,
            ..FindCoordinatorResponse::default()
        };
        assert_eq!(
            coordinators(&coordinator, &ids()),
            [(Arc::clone(&ids()[0]), Ok(4))]
        );
        let partition = |error_code| OffsetFetchResponsePartition {
            partition_index: 2,
            committed_offset: 7,
            metadata: Some("m"),
            error_code,
            ..OffsetFetchResponsePartition::default()
        };
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let response = OffsetFetchResponse {
            topics: vec![OffsetFetchResponseTopic {
                name: "t",
                partitions: vec![partition(ErrorCode::NONE), partition(unknown)].into(),
            }]
            .into(),
            ..OffsetFetchResponse::default()
        };
        let answers = fetched_offsets(&response, &ids());
        assert_eq!(answers.len(), 1);
        let expected = CommittedOffset {
            topic: Arc::from("t"),
            partition: 2,
            offset: 7,
            metadata: String::from("m"),
        };
        assert_eq!(answers[0], (Arc::clone(&ids()[0]), Ok(vec![expected])));
    }

    #[test]
    fn an_answer_of_the_new_form_is_about_each_group_that_it_names() {
        let coordinator = |key, node_id, error_code| Coordinator {
            key,
            node_id,
            error_code,
            ..Coordinator::default()
        };
        let loading = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
        let response = FindCoordinatorResponse {
            coordinators: vec![
                coordinator("h", 1, ErrorCode::NONE),
                coordinator("g", -1, loading),
                coordinator("other", 3, ErrorCode::NONE),
            ]
            .into(),
            ..FindCoordinatorResponse::default()
        };
        let refused = |code| Failure::Refused(code, None);
        let found = coordinators(&response, &ids());
        let [g, h] = ids();
        assert_eq!(
            found,
            [
                (Arc::clone(&g), Err(refused(loading))),
                (Arc::clone(&h), Ok(1))
            ]
        );
        let group = |group_id, error_code| OffsetFetchResponseGroup {
            group_id,
            error_code,
            topics: vec![OffsetFetchResponseTopics {
                name: "t",
                partitions: vec![OffsetFetchResponsePartitions {
                    committed_offset: 5,
                    ..OffsetFetchResponsePartitions::default()
                }]
                .into(),
                ..OffsetFetchResponseTopics::default()
            }]
            .into(),
        };
        let denied = ErrorCode::GROUP_AUTHORIZATION_FAILED;
        let response = OffsetFetchResponse {
            groups: vec![group("g", ErrorCode::NONE), group("h", denied)].into(),
            ..OffsetFetchResponse::default()
        };
        let answers = fetched_offsets(&response, &ids());
        assert_eq!(answers[0].1.as_ref().unwrap()[0].offset, 5);
        assert_eq!(answers[1], (h, Err(refused(denied))));
    }

    #[test]
    fn one_refused_partition_is_a_refusal() {
        let partition = |partition_index, error_code| OffsetCommitResponsePartition {
            partition_index,
            error_code,
        };
        let member = ErrorCode::UNKNOWN_MEMBER_ID;
        let response = |code| OffsetCommitResponse {
            topics: vec![OffsetCommitResponseTopic {
                partitions: vec![partition(0, ErrorCode::NONE), partition(1, code)].into(),
                ..OffsetCommitResponseTopic::default()
            }]
            .into(),
            ..OffsetCommitResponse::default()
        };
        assert_eq!(offsets_committed(&response(ErrorCode::NONE)), Ok(()));
        let refused = Failure::Refused(member, None);
        assert!(refused.is_about_members());
        assert_eq!(offsets_committed(&response(member)), Err(refused));
    }
}
