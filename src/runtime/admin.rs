//! Questions to a cluster that have one answer: topics, configurations, ACLs, offsets, producer ids.
//!
//! Each function makes its request once. What a failure means is the flow's business.

use std::{slice, sync::Arc, time::Duration};

use super::{
    client::Client,
    convert::decoded,
    exchange::{
        Named, Names, acls, offsets, producers,
        topics::{self, PerTopic},
    },
};
use crate::{
    cluster::To,
    flow::{
        ActiveProducer, EpochEnd, EpochQuestion, Failure, LogRange, NewTopic, PerPartition,
        PerTopicConfig, Side, TopicConfig, acls::AclChange, topic_configs::ConfigChanges,
    },
    policy::Acl,
};

/// The configuration of each topic, or why it may not be seen; those that are gone are left out.
///
/// # Errors
///
/// [`Failure`] of the whole request.
pub async fn inspect_topics(
    cluster: &impl Client,
    names: &[Arc<str>],
) -> Result<PerTopicConfig, Failure> {
    let answer = cluster
        .ask(To::Any, topics::describe_configs(names))
        .await?;
    Ok(topics::described_configs(&decoded(&answer)?, names))
}

/// The configuration of topics; those that are gone are left out.
///
/// # Errors
///
/// [`Failure`] of the whole request, or of the first topic that may not be described.
pub async fn topic_configs(
    cluster: &impl Client,
    names: &[Arc<str>],
) -> Result<Vec<TopicConfig>, Failure> {
    let inspected = inspect_topics(cluster, names).await?;
    inspected.into_iter().map(|(_, config)| config).collect()
}

/// Changes single properties of topics; each topic gets its own outcome.
pub async fn alter_topics(cluster: &impl Client, changes: &ConfigChanges) -> PerTopic {
    let outcome = async {
        let answer = cluster.ask(To::Any, topics::alter_configs(changes)).await?;
        Ok(topics::altered_configs(&decoded(&answer)?, changes))
    };
    let names = changes.iter().map(|(topic, _)| topic);
    outcome.await.unwrap_or_else(|failure| all(names, &failure))
}

/// The ACLs on topics, and on groups if they are wanted too.
///
/// # Errors
///
/// [`Failure`]; see [`acls::described`].
pub async fn acls(cluster: &impl Client, with_groups: bool) -> Result<Vec<Acl>, Failure> {
    let answer = cluster.ask(To::Any, acls::describe(with_groups)).await?;
    acls::described(&decoded(&answer)?)
}

/// Changes ACLs; each gets its own outcome, in the same order.
pub async fn change_acls(
    cluster: &impl Client,
    change: AclChange,
    wanted: &[Acl],
) -> Vec<Result<(), Failure>> {
    let outcome = async {
        Ok(match change {
            AclChange::Create => {
                let answer = cluster.ask(To::Any, acls::create(wanted)).await?;
                acls::created(&decoded(&answer)?, wanted.len())
            }
            AclChange::Remove => {
                let answer = cluster.ask(To::Any, acls::delete(wanted)).await?;
                acls::deleted(&decoded(&answer)?, wanted.len())
            }
        })
    };
    let failed = |failure: Failure| vec![Err(failure); wanted.len()];
    outcome.await.unwrap_or_else(failed)
}

/// Creates topics; each gets its own outcome.
pub async fn create_topics(
    cluster: &impl Client,
    wanted: &[NewTopic],
    timeout: Duration,
) -> PerTopic {
    let outcome = async {
        let question = topics::create_topics(wanted, timeout);
        let answer = cluster.ask(To::Controller, question).await?;
        Ok(topics::created_topics(&decoded(&answer)?, wanted))
    };
    let names = wanted.iter().map(|topic| &topic.name);
    outcome.await.unwrap_or_else(|failure| all(names, &failure))
}

/// Creates one topic.
///
/// # Errors
///
/// [`Failure`]; `TOPIC_ALREADY_EXISTS` where it is there.
pub async fn create_topic(
    cluster: &impl Client,
    topic: &NewTopic,
    timeout: Duration,
) -> Result<(), Failure> {
    let created = create_topics(cluster, slice::from_ref(topic), timeout).await;
    let words = || Failure::Malformed(format!("no answer about {}", topic.name));
    created.into_iter().next().ok_or_else(words)?.1
}

/// Raises partition counts; each topic gets its own outcome.
pub async fn add_partitions(
    cluster: &impl Client,
    wanted: &[(Arc<str>, i32)],
    timeout: Duration,
) -> PerTopic {
    let outcome = async {
        let question = topics::create_partitions(wanted, timeout);
        let answer = cluster.ask(To::Controller, question).await?;
        Ok(topics::created_partitions(&decoded(&answer)?, wanted))
    };
    let names = wanted.iter().map(|(name, _)| name);
    outcome.await.unwrap_or_else(|failure| all(names, &failure))
}

fn all<'a>(names: impl Iterator<Item = &'a Arc<str>>, failure: &Failure) -> PerTopic {
    names
        .map(|name| (Arc::clone(name), Err(failure.clone())))
        .collect()
}

/// A new producer id and its epoch, not tied to a transactional id.
///
/// # Errors
///
/// [`Failure`]; a broker in its first seconds answers `COORDINATOR_LOAD_IN_PROGRESS`.
pub async fn producer_id(cluster: &impl Client) -> Result<(i64, i16), Failure> {
    let answer = cluster.ask(To::Any, producers::init_producer_id()).await?;
    producers::producer_id(&decoded(&answer)?)
}

/// Where the logs of partitions start and end, as their leader `node` tells; what is asked of each
/// is that it lead in this epoch. See [`offsets::log_ends`] for what counts as the end.
///
/// # Errors
///
/// [`Failure`] of a whole request; `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH` or
/// `NOT_LEADER_OR_FOLLOWER` of a partition that is led elsewhere.
pub async fn log_ranges(
    cluster: &impl Client,
    side: Side,
    node: i32,
    partitions: &[Named<i32>],
) -> PerPartition<LogRange> {
    let names = Names::of(partitions);
    // A request names each partition once, so each end of the logs needs its own.
    let (starts, ends) = tokio::join!(
        cluster.ask(To::Node(node), offsets::log_starts(partitions)),
        cluster.ask(To::Node(node), offsets::log_ends(side, partitions)),
    );
    let (starts, ends) = (starts?, ends?);
    offsets::log_ranges(
        offsets::listed(&decoded(&starts)?, &names),
        offsets::listed(&decoded(&ends)?, &names),
    )
}

/// The producers that the logs of `node` remember; see [`producers::describe`].
///
/// # Errors
///
/// [`Failure`] of the whole request: `Unsupported` when the broker lacks DescribeProducers.
pub async fn active_producers<T>(
    cluster: &impl Client,
    node: i32,
    partitions: &[Named<T>],
) -> PerPartition<Vec<ActiveProducer>> {
    let answer = cluster
        .ask(To::Node(node), producers::describe(partitions))
        .await?;
    producers::described(&decoded(&answer)?, &Names::of(partitions))
}

/// Up to where the logs that `node` leads agree with leader epochs.
///
/// # Errors
///
/// [`Failure`] of the whole request: `Unsupported` when the broker lacks OffsetForLeaderEpoch.
pub async fn epoch_ends(
    cluster: &impl Client,
    node: i32,
    partitions: &[Named<EpochQuestion>],
) -> PerPartition<EpochEnd> {
    let answer = cluster
        .ask(To::Node(node), offsets::for_epochs(partitions))
        .await?;
    offsets::epoch_ends(&decoded(&answer)?, &Names::of(partitions))
}

/// The first offsets of logs that `node` leads whose timestamps are not below those asked for, in
/// milliseconds since 1970.
///
/// # Errors
///
/// [`Failure`] of the whole request.
pub async fn offsets_for_times(
    cluster: &impl Client,
    node: i32,
    partitions: &[Named<i64>],
) -> PerPartition<Option<i64>> {
    let answer = cluster
        .ask(To::Node(node), offsets::for_times(partitions))
        .await?;
    offsets::listed(&decoded(&answer)?, &Names::of(partitions))
}
