//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the members of groups.
//!
//! Source, beside `KafkaApis`: `GroupCoordinatorService`, which checks what needs no group. What
//! comes after that is in `sandbox::groups`.

use bytes::Bytes;
use kmirror_protocol::{
    ErrorCode,
    messages::{
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
        LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
        heartbeat::HeartbeatResponse,
        join_group::JoinGroupResponseMember,
        leave_group::{MemberIdentity, MemberResponse},
    },
    wire::Uuid,
};

use super::{Call, Cluster, Outcome};
use crate::sandbox::{
    Ticket,
    acls::{Operation, Resource},
    coordinators,
    groups::{Answer, Identity, JoinAnswer, JoinGroup, Protocol, SyncAnswer, SyncGroup},
};

/// From this version on someone new is given an id to join with (KIP-394).
const KNOWN_MEMBER_ID_VERSION: i16 = 4;

/// From this version on a leader can be told to keep the assignment (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;

/// Checks that a client may do something with a group, and that the broker coordinates it.
pub(super) fn check_group(
    cluster: &Cluster,
    call: &Call<'_>,
    operation: Operation,
    group_id: &str,
) -> Result<(), ErrorCode> {
    call.check(cluster, operation, Resource::Group(group_id))?;
    if group_id.is_empty() {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    coordinators::ensure_coordinator(cluster, call.broker_id, group_id)
}

/// The same where a group may have no name, as one that only keeps offsets may.
pub(super) fn check_any_group(
    cluster: &Cluster,
    call: &Call<'_>,
    operation: Operation,
    group_id: &str,
) -> Result<(), ErrorCode> {
    call.check(cluster, operation, Resource::Group(group_id))?;
    coordinators::ensure_coordinator(cluster, call.broker_id, group_id)
}

pub(super) fn join(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &JoinGroupRequest<'_>,
) -> Outcome {
    if let Err(code) = check_join(cluster, call, request) {
        let answer = JoinAnswer::failed(code, request.member_id);
        return reply_join(call, &answer);
    }
    let name = match request.group_instance_id {
        Some(instance_id) => instance_id,
        None => call.header.client_id.unwrap_or_default(),
    };
    let protocols = request.protocols.iter().map(|protocol| Protocol {
        name: protocol.name.to_owned(),
        metadata: Bytes::copy_from_slice(protocol.metadata),
    });
    let join = JoinGroup {
        group_id: request.group_id.to_owned(),
        member_id: request.member_id.to_owned(),
        new_member_id: format!("{name}-{}", hyphenated(cluster.random.uuid())),
        instance_id: request.group_instance_id.map(str::to_owned),
        client_id: call.header.client_id.unwrap_or_default().to_owned(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match call.version() {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: request.protocol_type.to_owned(),
        protocols: protocols.collect(),
        requires_known_member_id: call.version() >= KNOWN_MEMBER_ID_VERSION,
        supports_skipping_assignment: call.version() >= SKIP_ASSIGNMENT_VERSION,
    };
    let ticket = cluster.parked.ticket();
    cluster.groups.join(call.now, ticket, &join);
    answer_or_park(cluster, call, ticket)
}

fn check_join(
    cluster: &Cluster,
    call: &Call<'_>,
    request: &JoinGroupRequest<'_>,
) -> Result<(), ErrorCode> {
    check_group(cluster, call, Operation::Read, request.group_id)?;
    let options = &cluster.options;
    let allowed = options.group_min_session_timeout_ms..=options.group_max_session_timeout_ms;
    if allowed.contains(&request.session_timeout_ms) {
        Ok(())
    } else {
        Err(ErrorCode::INVALID_SESSION_TIMEOUT)
    }
}

/// An id as `java.util.UUID` prints it.
fn hyphenated(id: Uuid) -> String {
    let digits: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut parts = Vec::new();
    let mut rest = digits.as_str();
    for len in [8, 4, 4, 4, 12] {
        let (part, after) = rest.split_at(len);
        parts.push(part);
        rest = after;
    }
    parts.join("-")
}

pub(super) fn sync(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &SyncGroupRequest<'_>,
) -> Outcome {
    let has_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    let checked = if call.version() >= 5 && !has_protocol {
        Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
    } else {
        check_group(cluster, call, Operation::Read, request.group_id)
    };
    if let Err(error_code) = checked {
        let answer = SyncAnswer {
            error_code,
            ..Default::default()
        };
        return reply_sync(call, &answer);
    }
    let assignments = request.assignments.iter();
    let assignments = assignments.map(|it| (it.member_id, Bytes::copy_from_slice(it.assignment)));
    let sync = SyncGroup {
        group_id: request.group_id,
        identity: Identity {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
        },
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: assignments.collect(),
    };
    let ticket = cluster.parked.ticket();
    cluster.groups.sync(call.now, ticket, &sync);
    answer_or_park(cluster, call, ticket)
}

/// Answers what need not wait; a timer may be due at once.
fn answer_or_park(cluster: &mut Cluster, call: &Call<'_>, ticket: Ticket) -> Outcome {
    cluster.groups.advance(call.now);
    if let Some(answer) = cluster.groups.take_answer(ticket) {
        return reply(call, &answer);
    }
    cluster.parked.park_member(ticket, call.sent());
    // Whoever waits, waits for a timer at the latest.
    let deadline = cluster.groups.deadline().unwrap_or(call.now);
    Outcome::Parked { ticket, deadline }
}

/// The answer to the JoinGroup or SyncGroup request that it belongs to.
pub(super) fn reply(call: &Call<'_>, answer: &Answer) -> Outcome {
    match answer {
        Answer::Join(answer) => reply_join(call, answer),
        Answer::Sync(answer) => reply_sync(call, answer),
    }
}

fn reply_join(call: &Call<'_>, answer: &JoinAnswer) -> Outcome {
    let members = answer.members.iter().map(|member| JoinGroupResponseMember {
        member_id: &member.member_id,
        group_instance_id: member.instance_id.as_deref(),
        metadata: &member.metadata,
    });
    let protocol_name = answer.protocol_name.as_deref();
    call.reply::<JoinGroupRequest<'_>>(&JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: answer.error_code,
        generation_id: answer.generation,
        protocol_type: answer.protocol_type.as_deref(),
        // Only from version 7 on it may be null.
        protocol_name: match call.version() {
            ..7 => Some(protocol_name.unwrap_or_default()),
            _ => protocol_name,
        },
        leader: &answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: &answer.member_id,
        members: members.collect(),
    })
}

fn reply_sync(call: &Call<'_>, answer: &SyncAnswer) -> Outcome {
    call.reply::<SyncGroupRequest<'_>>(&SyncGroupResponse {
        throttle_time_ms: 0,
        error_code: answer.error_code,
        protocol_type: answer.protocol_type.as_deref(),
        protocol_name: answer.protocol_name.as_deref(),
        assignment: &answer.assignment,
    })
}

pub(super) fn heartbeat(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &HeartbeatRequest<'_>,
) -> Outcome {
    let identity = Identity {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
    };
    let (group_id, generation) = (request.group_id, request.generation_id);
    let result = check_group(cluster, call, Operation::Read, group_id).and_then(|()| {
        cluster
            .groups
            .heartbeat(call.now, group_id, identity, generation)
    });
    call.reply::<HeartbeatRequest<'_>>(&HeartbeatResponse {
        throttle_time_ms: 0,
        error_code: result.err().unwrap_or_default(),
    })
}

pub(super) fn leave(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &LeaveGroupRequest<'_>,
) -> Outcome {
    // Before version 3 a request names one member outside the list.
    let only = (call.version() < 3).then_some(MemberIdentity {
        member_id: request.member_id,
        ..Default::default()
    });
    let members: Vec<MemberIdentity<'_>> = only.into_iter().chain(&request.members).collect();
    if let Err(error_code) = check_group(cluster, call, Operation::Read, request.group_id) {
        return call.reply::<LeaveGroupRequest<'_>>(&LeaveGroupResponse {
            error_code,
            ..Default::default()
        });
    }
    let identities = members.iter().map(|member| Identity {
        member_id: member.member_id,
        instance_id: member.group_instance_id,
    });
    let results = cluster.groups.leave(call.now, request.group_id, identities);
    let results = results.unwrap_or_else(|code| vec![Err(code); members.len()]);
    let responses = members.iter().zip(&results);
    let responses = responses.map(|(member, result)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: result.err().unwrap_or_default(),
    });
    let first = results.first().and_then(|result| result.err());
    call.reply::<LeaveGroupRequest<'_>>(&LeaveGroupResponse {
        throttle_time_ms: 0,
        error_code: match call.version() {
            ..3 => first.unwrap_or_default(),
            _ => ErrorCode::NONE,
        },
        members: responses.collect(),
    })
}
