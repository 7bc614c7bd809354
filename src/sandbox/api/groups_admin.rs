//! ListGroups, DescribeGroups, DeleteGroups and ConsumerGroupDescribe: groups from outside.
//!
//! Source, beside `KafkaApis`: `GroupMetadataManager.listGroups` and `.describeGroups`,
//! `GroupCoordinatorShard.deleteGroups`.

use std::collections::BTreeSet;

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest,
        DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest,
        ListGroupsResponse, consumer_group_describe,
        delete_groups::DeletableGroupResult,
        describe_groups::{DescribedGroup, DescribedGroupMember},
        list_groups::ListedGroup,
    },
};

use super::{Call, Cluster, Outcome, groups, metadata};
use crate::sandbox::{
    acls::{Operation, Resource},
    coordinators,
    groups::{Group, Member, State},
};

/// The type of all groups here.
const CLASSIC: &str = "classic";

/// Where all members are: the server listens on loopback only.
const CLIENT_HOST: &str = "/127.0.0.1";

/// What may be done with a group, as bits of Kafka's `AclOperation` codes
/// (`AclEntry.supportedOperations`): read, delete, describe, describe and alter configs.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(super) fn list(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &ListGroupsRequest<'_>,
) -> Outcome {
    let lower = |word: &str| word.trim().to_lowercase();
    let states: BTreeSet<String> = request.states_filter.iter().map(lower).collect();
    let types: BTreeSet<String> = request.types_filter.iter().map(lower).collect();
    let is_wanted = |filter: &BTreeSet<String>, word: &str| {
        filter.is_empty() || filter.contains(&word.to_lowercase())
    };
    let may = |resource| call.check(cluster, Operation::Describe, resource).is_ok();
    let may_list = |group_id| may(Resource::Cluster) || may(Resource::Group(group_id));
    let groups = cluster.groups.iter().filter(|(group_id, group)| {
        coordinators::ensure_coordinator(cluster, call.broker_id, group_id).is_ok()
            && may_list(group_id)
            && is_wanted(&states, group.state.name())
            && is_wanted(&types, CLASSIC)
    });
    let groups = groups.map(|(group_id, group)| ListedGroup {
        group_id,
        protocol_type: group.protocol_type.as_deref().unwrap_or_default(),
        group_state: group.state.name(),
        group_type: CLASSIC,
    });
    call.reply::<ListGroupsRequest<'_>>(&ListGroupsResponse {
        groups: groups.collect(),
        ..Default::default()
    })
}

/// What is said of a group that does not exist.
fn not_found(group_id: &str) -> String {
    format!("Group {group_id} not found.")
}

pub(super) fn describe(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DescribeGroupsRequest<'_>,
) -> Outcome {
    let group_ids = request.groups.iter();
    let metadata: Vec<Vec<Bytes>> = group_ids
        .map(|group_id| member_metadata(cluster.groups.get(group_id)))
        .collect();
    let messages = request.groups.iter().map(not_found);
    let messages: Vec<String> = messages.collect();
    let mut groups = Vec::with_capacity(request.groups.len());
    for ((group_id, metadata), message) in request.groups.iter().zip(&metadata).zip(&messages) {
        let failed = |error_code| DescribedGroup {
            group_id,
            error_code,
            group_state: "Dead",
            ..Default::default()
        };
        let checked = groups::check_any_group(cluster, call, Operation::Describe, group_id);
        let mut described = match checked {
            Err(error_code) => DescribedGroup {
                group_state: "",
                ..failed(error_code)
            },
            Ok(()) => match cluster.groups.get(group_id) {
                Some(group) => described(group_id, group, metadata),
                None if call.version() >= 6 => DescribedGroup {
                    error_message: Some(message),
                    ..failed(ErrorCode::GROUP_ID_NOT_FOUND)
                },
                None => failed(ErrorCode::NONE),
            },
        };
        if described.error_code.is_ok() {
            described.authorized_operations =
                metadata::when(request.include_authorized_operations, GROUP_OPERATIONS);
        }
        groups.push(described);
    }
    call.reply::<DescribeGroupsRequest<'_>>(&DescribeGroupsResponse {
        throttle_time_ms: 0,
        groups: groups.into(),
    })
}

/// What each member said for the protocol of its generation; nothing while members may change.
fn member_metadata(group: Option<&Group>) -> Vec<Bytes> {
    let Some(group) = group else {
        return Vec::new();
    };
    let protocol = group.protocol_name.as_deref();
    let protocol = protocol.filter(|_| group.state == State::Stable);
    let metadata = |member: &Member| protocol.map(|name| member.metadata(name));
    let members = group.members.values();
    members.map(|it| metadata(it).unwrap_or_default()).collect()
}

fn described<'a>(group_id: &'a str, group: &'a Group, metadata: &'a [Bytes]) -> DescribedGroup<'a> {
    let members = group.members.iter().zip(metadata);
    let members = members.map(|((member_id, member), metadata)| DescribedGroupMember {
        member_id,
        group_instance_id: member.instance_id.as_deref(),
        client_id: &member.client_id,
        client_host: CLIENT_HOST,
        member_metadata: metadata,
        member_assignment: &member.assignment,
    });
    DescribedGroup {
        group_id,
        group_state: group.state.name(),
        protocol_type: group.protocol_type.as_deref().unwrap_or_default(),
        protocol_data: match group.state {
            State::Stable => group.protocol_name.as_deref().unwrap_or_default(),
            _ => "",
        },
        members: members.collect(),
        ..Default::default()
    }
}

pub(super) fn delete(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &DeleteGroupsRequest<'_>,
) -> Outcome {
    let mut seen = BTreeSet::new();
    let names = request.groups_names.iter();
    let results = names.filter(|group_id| seen.insert(*group_id));
    let results = results.map(|group_id| {
        let checked = groups::check_any_group(cluster, call, Operation::Delete, group_id);
        let deleted = checked.and_then(|()| cluster.groups.delete(group_id));
        DeletableGroupResult {
            group_id,
            error_code: deleted.err().unwrap_or_default(),
        }
    });
    let results = results.collect();
    call.reply::<DeleteGroupsRequest<'_>>(&DeleteGroupsResponse {
        throttle_time_ms: 0,
        results,
    })
}

/// Groups of the new protocol do not exist (KIP-848), so none is found.
pub(super) fn describe_consumer_groups(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &ConsumerGroupDescribeRequest<'_>,
) -> Outcome {
    let group_ids = request.group_ids.iter();
    let messages: Vec<String> = group_ids
        .map(|group_id| match cluster.groups.get(group_id) {
            Some(_) => format!("Group {group_id} is not a consumer group."),
            None => not_found(group_id),
        })
        .collect();
    let groups = request.group_ids.iter().zip(&messages);
    let groups = groups.map(|(group_id, message)| {
        let checked = groups::check_group(cluster, call, Operation::Describe, group_id);
        let (error_code, error_message) = match checked {
            Ok(()) => (ErrorCode::GROUP_ID_NOT_FOUND, Some(message.as_str())),
            Err(code) => (code, None),
        };
        consumer_group_describe::DescribedGroup {
            group_id,
            error_code,
            error_message,
            ..Default::default()
        }
    });
    call.reply::<ConsumerGroupDescribeRequest<'_>>(&ConsumerGroupDescribeResponse {
        throttle_time_ms: 0,
        groups: groups.collect(),
    })
}
