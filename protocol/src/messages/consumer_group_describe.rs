//! ConsumerGroupDescribe (API key 69), versions 0–1: members and state of groups of the new
//! protocol (KIP-848).
//!
//! Version notes: v0 flexible · v1 member type (KIP-1099).

use crate::{
    ErrorCode,
    api::api,
    wire::{Array, Uuid, message},
};

message! {
    /// Names the groups.
    pub struct ConsumerGroupDescribeRequest<'a> {
        group_ids: Array<'a, &'a str>,
        include_authorized_operations: bool,
    }
}

message! {
    /// The groups.
    pub struct ConsumerGroupDescribeResponse<'a> {
        throttle_time_ms: i32,
        groups: Array<'a, DescribedGroup<'a>>,
    }
}

message! {
    /// One group.
    pub struct DescribedGroup<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        group_id: &'a str,
        group_state: &'a str,
        group_epoch: i32,
        assignment_epoch: i32,
        assignor_name: &'a str,
        members: Array<'a, Member<'a>>,
        authorized_operations: i32 = i32::MIN,
    }
}

message! {
    /// One member.
    pub struct Member<'a> {
        member_id: &'a str,
        instance_id: Option<&'a str>,
        rack_id: Option<&'a str>,
        member_epoch: i32,
        client_id: &'a str,
        client_host: &'a str,
        subscribed_topic_names: Array<'a, &'a str>,
        subscribed_topic_regex: Option<&'a str>,
        assignment: Assignment<'a>,
        target_assignment: Assignment<'a>,
        member_type: i8 [1..] = -1,
    }
}

message! {
    /// What a member reads.
    pub struct Assignment<'a> {
        topic_partitions: Array<'a, TopicPartitions<'a>>,
    }
}

message! {
    /// One topic.
    pub struct TopicPartitions<'a> {
        topic_id: Uuid,
        topic_name: &'a str,
        partitions: Array<'a, i32>,
    }
}

api! { ConsumerGroupDescribe 0..=1, flexible 0; ConsumerGroupDescribeRequest<'a> => ConsumerGroupDescribeResponse<'r> }
