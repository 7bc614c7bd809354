//! What operators read: a line for each notice of a flow, and for where it stands.

use kmirror_protocol::ErrorCode;
use tracing::{debug, error, info, warn};

use crate::{
    flow::{
        Counters, Failure, FlowStatus, Notice, PartitionNotice, Refusal, Side, Weakness,
        acls::AclChange, halt::HaltReason, limits, recovery::decide::NewBecause,
        topic_configs::ConfigChange,
    },
    observe::counted,
    policy::{Acl, acls::LeftOut},
};

/// ACLs that one line of the log names; at a first start there may be thousands.
const ACLS_NAMED: usize = 10;

/// Logs a notice of the flow `name`.
pub fn notice(name: &str, notice: &Notice) {
    match notice {
        Notice::Partition {
            source,
            remote_topic,
            notice,
        } => {
            partition(name, &format!("{source} -> {remote_topic}"), notice);
        }
        Notice::Waiting {
            side,
            purpose,
            failure,
        } => {
            warn!(
                flow = name,
                "the {side} cluster was asked for {purpose}: {failure}; trying again"
            );
        }
        Notice::TopicConfigChanged { .. }
        | Notice::TopicConfigRefused { .. }
        | Notice::PropertyUnknown { .. }
        | Notice::GroupRefused { .. } => beside(name, notice),
        Notice::NoAuthorizer(_)
        | Notice::AclsDenied { .. }
        | Notice::AclsChanged { .. }
        | Notice::AclsRefused { .. }
        | Notice::AclsLeftOut(_) => acls(name, notice),
        Notice::Reached(side) => info!(flow = name, "the {side} cluster answers again"),
        Notice::BrokerReached { side, node } => {
            info!(
                flow = name,
                "broker {node} of the {side} cluster answers again"
            );
        }
        Notice::PositionsLoaded { partitions } => {
            info!(
                flow = name,
                "found stored positions of {}",
                counted(*partitions, "partition")
            );
        }
        Notice::SameCluster { cluster_id } => error!(
            flow = name,
            "source and target are the same cluster ({cluster_id}): copying would never end; \
             check bootstrap.servers of both"
        ),
        Notice::GuaranteeWeakened {
            weakness,
            weaker,
            partitions,
        } => warn!(
            flow = name,
            "not exactly once for {weaker} of {}: {weakness}; {}",
            counted(*partitions, "partition"),
            consequence(*weakness)
        ),
        Notice::GuaranteeRestored { weakness } => info!(
            flow = name,
            "exactly once again where it was weaker because of this: {weakness}"
        ),
        Notice::TransactionAborted { .. } | Notice::TransactionsWait { .. } => {
            transactions(name, notice);
        }
        topics => topic(name, topics),
    }
}

/// Logs a notice about what goes along with the records: properties of topics, and groups.
fn beside(name: &str, notice: &Notice) {
    match notice {
        Notice::TopicConfigChanged {
            remote_topic,
            changes,
        } => {
            let changes: Vec<String> = changes.iter().map(config_change).collect();
            info!(
                flow = name,
                "topic {remote_topic} follows its source: {}",
                changes.join(", ")
            );
        }
        Notice::TopicConfigRefused {
            remote_topic,
            failure,
        } => warn!(
            flow = name,
            "topic {remote_topic} does not take the properties of its source: {failure}; it stays \
             as it is until that works"
        ),
        Notice::PropertyUnknown { name: property } => warn!(
            flow = name,
            "the target cluster does not know the topic property {property}, which is left out; \
             config.properties.exclude = … names such ones"
        ),
        Notice::GroupRefused {
            side,
            group,
            failure,
        } => warn!(
            flow = name,
            "the {side} cluster refuses the offsets of group {group}: {failure}; it is left out \
             until that works"
        ),
        _ => {}
    }
}

/// Logs a notice about who may do what.
fn acls(name: &str, notice: &Notice) {
    match notice {
        Notice::NoAuthorizer(side) => info!(
            flow = name,
            "the {side} cluster has no authorizer: no ACLs are copied; sync.topic.acls.enabled = \
             false stops looking for them"
        ),
        Notice::AclsDenied { side, failure } => warn!(
            flow = name,
            "the {side} cluster does not let kmirror {} ACLs: {failure}; none are copied until it \
             does; {}",
            match side {
                Side::Source => "see its",
                Side::Target => "see or change its",
            },
            acls_hint(*side, failure)
        ),
        Notice::AclsChanged { change, acls } => acls_changed(name, *change, acls),
        Notice::AclsRefused {
            change,
            acls,
            failure,
        } => warn!(
            flow = name,
            "the target does not {} {}: {failure}; tried again with the next comparison: {}",
            match change {
                AclChange::Create => "take",
                AclChange::Remove => "let go of",
            },
            counted(acls.len(), "ACL"),
            named(acls)
        ),
        Notice::AclsLeftOut(left_out) => acls_left_out(name, *left_out),
        _ => {}
    }
}

/// Who has lost a right will ask why, so each of these has its line.
fn acls_changed(name: &str, change: AclChange, acls: &[Acl]) {
    match change {
        AclChange::Create => info!(
            flow = name,
            "created {} on the target: {}",
            counted(acls.len(), "ACL"),
            named(acls)
        ),
        AclChange::Remove => {
            for acl in acls {
                info!(
                    flow = name,
                    "removed an ACL from the target that the source does not give: {acl}"
                );
            }
        }
    }
}

/// What can be done about ACLs that may not be seen or changed. The right to alter a cluster is also
/// the right to describe it.
fn acls_hint(side: Side, failure: &Failure) -> &'static str {
    let is_right = matches!(
        failure,
        Failure::Refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, _)
    );
    match side {
        Side::Source if is_right => {
            "grant kmirror's principal Describe on the Cluster there, or set \
             sync.topic.acls.enabled = false"
        }
        Side::Target if is_right => {
            "grant kmirror's principal Alter on the Cluster there, or set \
             sync.topic.acls.enabled = false"
        }
        _ => "sync.topic.acls.enabled = false stops asking",
    }
}

/// Only denials are worth a warning: without them more is allowed on the target than on the source.
fn acls_left_out(name: &str, left_out: LeftOut) {
    let LeftOut {
        topic_patterns,
        denials,
        group_patterns,
    } = left_out;
    let topics = counted(topic_patterns, "ACL");
    let how = "kmirror.sync.acls.prefixed = true copies them";
    if denials > 0 {
        warn!(
            flow = name,
            "{topics} of the source on prefixes of topics or on all topics are not copied, {denials} \
             of which deny something that the target may allow; {how}"
        );
    } else if topic_patterns > 0 {
        info!(
            flow = name,
            "{topics} of the source on prefixes of topics or on all topics are not copied; {how}"
        );
    }
    if group_patterns > 0 {
        info!(
            flow = name,
            "{} of the source on prefixes of groups or on all groups are not copied: they would hold \
             for the target's own groups too; create by hand what is right there",
            counted(group_patterns, "ACL")
        );
    }
}

/// The first of many, and how many more there are.
fn named(acls: &[Acl]) -> String {
    let shown = &acls[..acls.len().min(ACLS_NAMED)];
    let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
    let more = acls.len() - shown.len();
    let more = (more > 0).then(|| format!("; and {more} more"));
    shown.join("; ") + &more.unwrap_or_default()
}

/// What a weaker guarantee means, what is done about it, and what can be done.
fn consequence(weakness: Weakness) -> String {
    let again = limits::HALT_RETRY.as_secs();
    match weakness {
        Weakness::Unremembered => String::from(
            "records may be copied twice when the target forgets a producer (after a day without new \
             records, by their timestamps); Kafka offers it from 2.8 on",
        ),
        Weakness::Unfenced(_) => String::from(
            "until the next record is copied, one that a former connection sent may still arrive and \
             be there twice",
        ),
        Weakness::NotIdempotent(refusal) => format!(
            "batches go one at a time and are looked for in the target's log when their fate is \
             unclear: nothing is lost, what arrives late may be there twice. Asked again every \
             {again} s; {}",
            match refusal {
                Refusal::Answered(ErrorCode::CLUSTER_AUTHORIZATION_FAILED) => {
                    "grant IdempotentWrite on the cluster (Kafka before 2.8) or Write on a topic"
                }
                Refusal::Answered(_) | Refusal::NotOffered => {
                    "only a target with idempotent producers mends it"
                }
            }
        ),
    }
}

/// Logs a notice about the flow's transactions.
fn transactions(name: &str, notice: &Notice) {
    match notice {
        Notice::TransactionAborted { cause } => warn!(
            flow = name,
            "a transaction is given up ({cause}); going on at the committed positions"
        ),
        Notice::TransactionsWait {
            transactional_id,
            failure,
        } => error!(
            flow = name,
            "the target does not let this flow write under the transactional id \
             {transactional_id}: {failure}; {} Trying again.",
            transactions_hint(failure)
        ),
        _ => {}
    }
}

/// Logs a notice about whole topics.
fn topic(name: &str, notice: &Notice) {
    match notice {
        Notice::TopicCreated {
            remote_topic,
            partition_count,
        } => {
            // A negative count has left the number to the brokers.
            let count = usize::try_from(*partition_count).ok();
            let count = count.map(|count| format!(" with {}", counted(count, "partition")));
            info!(
                flow = name,
                "created topic {remote_topic}{}",
                count.unwrap_or_default()
            );
        }
        Notice::TopicNotCreated {
            remote_topic,
            failure,
        } => error!(
            flow = name,
            "cannot create topic {remote_topic} on the target: {failure}; {} Trying again.",
            creation_hint(failure)
        ),
        Notice::PartitionsAdded { remote_topic } => {
            info!(flow = name, "added partitions to topic {remote_topic}");
        }
        Notice::TooFewPartitions {
            remote_topic,
            failure,
        } => error!(
            flow = name,
            "topic {remote_topic} has fewer partitions than its source and cannot grow: {failure}; \
             the missing partitions are not copied until it has them"
        ),
        Notice::TopicStarted {
            topic,
            remote_topic,
            partition_count,
        } => {
            info!(
                flow = name,
                "copying {} of {topic} to {remote_topic}",
                counted(*partition_count, "partition")
            );
        }
        Notice::TopicSkipped { topic, reason } => {
            warn!(flow = name, "topic {topic} is not copied: {reason}");
        }
        of_state => state_topic(name, of_state),
    }
}

/// Logs a notice about the state topic.
fn state_topic(name: &str, notice: &Notice) {
    match notice {
        Notice::ForeignState => warn!(
            flow = name,
            "the state topic holds records that kmirror did not write; they are passed over"
        ),
        Notice::NewerState { version } => error!(
            flow = name,
            "the state topic holds records of format {version}, written by a newer kmirror: nothing \
             is copied; run that one"
        ),
        Notice::UnfitStateTopic { topic, policy } => error!(
            flow = name,
            "{topic} has cleanup.policy={policy} and would forget: nothing is copied until it is \
             compact; kafka-configs --alter --entity-type topics --entity-name {topic} --add-config \
             cleanup.policy=compact"
        ),
        Notice::FewReplicas {
            topic,
            replicas,
            brokers,
        } => warn!(
            flow = name,
            "{topic} has {} on {brokers} brokers: when a broker is lost, positions have to be proven \
             without it; give it more with kafka-reassign-partitions \
             (kmirror.state.topic.replication.factor decides only when it is created)",
            counted(*replicas, "replica")
        ),
        _ => {}
    }
}

fn transactions_hint(failure: &Failure) -> &'static str {
    use Failure::{Refused, Unsupported};
    match failure {
        Refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, _) => {
            "grant Write and Describe on that TransactionalId to kmirror's principal."
        }
        Refused(ErrorCode::INVALID_TRANSACTION_TIMEOUT, _) => {
            "set kmirror.transaction.timeout.ms to the target's transaction.max.timeout.ms or less."
        }
        Unsupported(_) => "transactions need Kafka 2.5 or later.",
        _ => "nothing is copied until it does.",
    }
}

fn creation_hint(failure: &Failure) -> &'static str {
    use Failure::Refused;
    match failure {
        Refused(ErrorCode::INVALID_REPLICATION_FACTOR, _) => {
            "the target has fewer brokers than replicas are asked for: set replication.factor (for \
             remote topics) or offset.storage.replication.factor under the target's alias."
        }
        Refused(
            ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            _,
        ) => "grant Create on the cluster or the topic, or create the topic by hand.",
        Refused(ErrorCode::POLICY_VIOLATION | ErrorCode::INVALID_CONFIG, _) => {
            "create the topic by hand, or leave the property out with config.properties.exclude."
        }
        Refused(ErrorCode::TOPIC_ALREADY_EXISTS, _) => {
            "it is there, but this client has not been shown it: unless it has just been created, grant \
             Describe on it."
        }
        _ => "records of this topic wait on the source.",
    }
}

fn partition(flow: &str, partition: &str, notice: &PartitionNotice) {
    match notice {
        PartitionNotice::Halted(reason) => {
            let next = if reason.may_pass() {
                format!("looking again in {} s", limits::HALT_RETRY.as_secs())
            } else {
                String::from("waiting for a restart")
            };
            match reason {
                HaltReason::TopicMissing => warn!(flow, partition, "halted: {reason}; {next}"),
                _ => error!(flow, partition, "halted: {reason}; {next}"),
            }
        }
        PartitionNotice::Resumed => info!(flow, partition, "looking again after a halt"),
        PartitionNotice::Gap {
            from_offset,
            to_offset: i64::MAX,
            cause,
        } => error!(
            flow,
            partition,
            "source offsets from {from_offset} on are gone ({cause}); going on with what the topic \
             has now"
        ),
        PartitionNotice::Gap {
            from_offset,
            to_offset,
            cause,
        } => error!(
            flow,
            partition,
            "source offsets {from_offset} to {} are gone, up to {} records ({cause}); going on",
            to_offset - 1,
            to_offset - from_offset
        ),
        PartitionNotice::StoredElsewhere {
            base_offset,
            expected,
        } => warn!(
            flow,
            partition,
            "the target stored a batch at offset {base_offset} where {expected} was expected: others \
             write to this remote partition too, or the batch is there twice; proving what is there \
             before anything else is written"
        ),
        PartitionNotice::Begins {
            wanted,
            instead,
            source_offset,
            source,
        } => {
            let instead = match instead {
                Some(instead) => format!(" has committed nothing for it, so {instead} holds"),
                None => String::new(),
            };
            info!(
                flow,
                partition,
                "begins at source offset {source_offset} ({wanted}{instead}); offsets {} to \
                 {source_offset} are not copied, {} in all, and the source's log ends at {}",
                source.start_offset,
                counted_offsets(source_offset - source.start_offset),
                source.end_offset
            );
        }
        of_lineage => lineage(flow, partition, of_lineage),
    }
}

/// A number of offsets, of which compaction and transactions may have taken records.
fn counted_offsets(count: i64) -> String {
    format!(
        "up to {}",
        counted(usize::try_from(count).unwrap_or(0), "record")
    )
}

/// Logs under which lineage a partition goes on.
fn lineage(flow: &str, partition: &str, notice: &PartitionNotice) {
    match notice {
        PartitionNotice::LineageContinued {
            cause,
            source_offset,
            unmatched_records: unmatched_records @ 1..,
            ..
        } => warn!(
            flow,
            partition,
            "going on at source offset {source_offset} ({cause}); {unmatched_records} records that \
             came late are on the target twice"
        ),
        PartitionNotice::LineageContinued {
            cause,
            source_offset,
            ..
        } => debug!(
            flow,
            partition, "proven up to source offset {source_offset}, going on there ({cause})"
        ),
        PartitionNotice::LineageOpened {
            because: NewBecause::First,
            source_offset,
            ..
        } => debug!(flow, partition, "starting at source offset {source_offset}"),
        PartitionNotice::LineageOpened {
            because,
            cause,
            is_sequenced,
            source_offset,
            unmatched_records: 0,
        } => info!(
            flow,
            partition,
            "going on at source offset {source_offset} {}: {because} ({cause})",
            identity(*is_sequenced)
        ),
        PartitionNotice::LineageOpened {
            because,
            cause,
            is_sequenced,
            source_offset,
            unmatched_records,
        } => warn!(
            flow,
            partition,
            "going on at source offset {source_offset} {}: {because} ({cause}); up to \
             {unmatched_records} records may now be on the target twice",
            identity(*is_sequenced)
        ),
        _ => {}
    }
}

const fn identity(is_sequenced: bool) -> &'static str {
    if is_sequenced {
        "under a new producer epoch"
    } else {
        "without a producer id"
    }
}

/// Logs where the flow `name` stands.
pub fn status(name: &str, status: &FlowStatus) {
    let counters = &status.counters;
    info!(
        flow = name,
        "{}, {} records copied, lag {} records, {} halted{}",
        counted(status.partitions, "partition"),
        counters.records,
        status.lag,
        status.halted.len(),
        exceptions(counters)
    );
    for (weakness, partitions) in &status.weaker {
        warn!(
            flow = name,
            "still not exactly once for {}: {weakness}",
            counted(*partitions, "partition")
        );
    }
    for side in &status.unreachable {
        warn!(flow = name, "the {side} cluster still does not answer");
    }
    for halted in &status.halted {
        let reason = halted.halted.as_deref().unwrap_or_default();
        warn!(
            flow = name,
            partition = %format_args!("{} -> {}", halted.source, halted.remote_topic),
            "still halted: {reason}"
        );
    }
}

/// What should not have happened, as far as it has, to follow a list of numbers.
fn exceptions(counters: &Counters) -> String {
    let opened = counters.lineages_opened.iter();
    let opened = opened.filter(|(because, _)| **because != NewBecause::First);
    let numbers = [
        (opened.map(|(_, count)| count).sum(), "lineages opened anew"),
        (counters.producers_forgotten, "times a producer forgotten"),
        (counters.unmatched_records, "records perhaps twice"),
        (counters.foreign_records, "records of others"),
        (counters.gap_records, "records in gaps"),
    ];
    let numbers = numbers.iter().filter(|(count, _)| *count > 0);
    numbers
        .map(|(count, what)| format!(", {count} {what}"))
        .collect()
}

/// One property, as it was and as it is.
fn config_change(change: &ConfigChange) -> String {
    let ConfigChange {
        name,
        value,
        former,
    } = change;
    let value = value.as_deref().unwrap_or("the target's default");
    match former {
        Some(former) => format!("{name} = {value} (was {former})"),
        None => format!("{name} = {value}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::policy::acls::{AclOperation, PatternType, Permission, ResourceType};

    #[test]
    fn a_status_names_only_what_is_out_of_the_ordinary() {
        assert_eq!(exceptions(&Counters::default()), "");
        let first = BTreeMap::from([(NewBecause::First, 7)]);
        let ordinary = Counters {
            lineages_opened: first,
            records: 9,
            ..Counters::default()
        };
        assert_eq!(exceptions(&ordinary), "");
        let counters = Counters {
            lineages_opened: BTreeMap::from([
                (NewBecause::First, 7),
                (NewBecause::Forgotten, 1),
                (NewBecause::Broken, 2),
            ]),
            producers_forgotten: 1,
            unmatched_records: 4,
            ..Counters::default()
        };
        assert_eq!(
            exceptions(&counters),
            ", 3 lineages opened anew, 1 times a producer forgotten, 4 records perhaps twice"
        );
    }

    #[test]
    fn of_many_acls_a_line_names_the_first() {
        let acls = (0..ACLS_NAMED + 2).map(|number| Acl {
            permission: Permission::Allow,
            resource: ResourceType::Topic,
            pattern: PatternType::Literal,
            name: Arc::from("t"),
            principal: Arc::from(format!("User:{number}")),
            host: Arc::from("*"),
            operation: AclOperation::READ,
        });
        let acls: Vec<Acl> = acls.collect();
        let first = "ALLOW User:0 READ on topic t from host *";
        assert_eq!(named(&acls[..1]), first);
        let line = named(&acls);
        assert_eq!(line.matches("ALLOW").count(), ACLS_NAMED);
        assert!(
            line.starts_with(first) && line.ends_with("; and 2 more"),
            "{line}"
        );
    }
}
