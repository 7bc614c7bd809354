//! Questions about consumer groups: all brokers, or the coordinators of the groups.
//!
//! Each function asks once. What a failure means is the flow's business.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;

use super::{client::Client, convert::decoded, exchange::groups};
use crate::{
    cluster::{To, Topics},
    flow::{
        Failure,
        groups::{CommittedOffset, GroupList, PerGroup},
    },
};

/// Groups in one question: an answer of any usual size stays far below what a connection takes.
const GROUPS_PER_REQUEST: usize = 500;

/// All groups of a cluster, each as its coordinator lists it.
///
/// # Errors
///
/// The first [`Failure`] when no broker answers; with some answers the list says that it is not
/// complete.
pub(super) async fn list(cluster: &impl Client) -> Result<GroupList, Failure> {
    let requests = nodes(cluster).await?.into_iter().map(async |node| {
        let answer = cluster.ask(To::Node(node), groups::list()).await?;
        groups::listed(&decoded(&answer)?)
    });
    let mut list = GroupList {
        is_complete: true,
        ..GroupList::default()
    };
    let (mut refusal, mut has_answer) = (None, false);
    for answer in join_all(requests).await {
        match answer {
            Ok(groups) => {
                has_answer = true;
                list.groups.extend(groups);
            }
            Err(error) => {
                list.is_complete = false;
                refusal.get_or_insert(error);
            }
        }
    }
    match refusal {
        Some(failure) if !has_answer => Err(failure),
        _ => Ok(list),
    }
}

/// The brokers of a cluster, which has been asked for them already or is now.
async fn nodes(cluster: &impl Client) -> Result<Vec<i32>, Failure> {
    let known: Vec<i32> = cluster.metadata().brokers().keys().copied().collect();
    if !known.is_empty() {
        return Ok(known);
    }
    let metadata = cluster.refresh(Topics::none()).await?;
    Ok(metadata.brokers().keys().copied().collect())
}

/// What groups have committed, each by its coordinator.
pub(super) async fn offsets(
    cluster: &impl Client,
    asked: &[Arc<str>],
) -> PerGroup<Vec<CommittedOffset>> {
    let mut answers = Vec::with_capacity(asked.len());
    let mut by_node: BTreeMap<i32, Vec<Arc<str>>> = BTreeMap::new();
    for (group, node) in coordinators(cluster, asked).await {
        match node {
            Ok(node) => by_node.entry(node).or_default().push(group),
            Err(failure) => answers.push((group, Err(failure))),
        }
    }
    let requests = by_node.into_iter();
    let requests = requests.map(async |(node, groups)| offsets_of(cluster, node, &groups).await);
    answers.extend(join_all(requests).await.into_iter().flatten());
    answers
}

/// What one group has committed.
///
/// # Errors
///
/// [`Failure`] of its coordinator, or of the question who that is.
pub(super) async fn committed(
    cluster: &impl Client,
    group: &Arc<str>,
) -> Result<Vec<CommittedOffset>, Failure> {
    let answers = offsets(cluster, std::slice::from_ref(group)).await;
    let words = || Failure::Malformed(format!("no answer about group {group}"));
    answers.into_iter().next().ok_or_else(words)?.1
}

/// What groups of one coordinator have committed: several at a time, where it knows how.
async fn offsets_of(
    cluster: &impl Client,
    node: i32,
    asked: &[Arc<str>],
) -> PerGroup<Vec<CommittedOffset>> {
    let mut parts = Parts::of(asked);
    while let Some(part) = parts.next() {
        let answer = cluster
            .ask(To::Node(node), groups::fetch_offsets(part))
            .await;
        let answer =
            answer.and_then(|answer| Ok(groups::fetched_offsets(&decoded(&answer)?, part)));
        parts.answered(part, answer);
    }
    parts.answers
}

/// Commits for groups, each with its coordinator.
pub(super) async fn commit(
    cluster: &impl Client,
    commits: Vec<(Arc<str>, Vec<CommittedOffset>)>,
) -> PerGroup<()> {
    let asked: Vec<Arc<str>> = commits.iter().map(|(group, _)| Arc::clone(group)).collect();
    let mut commits: BTreeMap<Arc<str>, Vec<CommittedOffset>> = commits.into_iter().collect();
    let mut results = Vec::with_capacity(asked.len());
    for (group, node) in coordinators(cluster, &asked).await {
        let outcome = match (node, commits.remove(&group)) {
            (Ok(node), Some(offsets)) => commit_one(cluster, node, &group, &offsets).await,
            (Ok(_), None) => continue,
            (Err(failure), _) => Err(failure),
        };
        results.push((group, outcome));
    }
    results
}

async fn commit_one(
    cluster: &impl Client,
    node: i32,
    group: &str,
    offsets: &[CommittedOffset],
) -> Result<(), Failure> {
    let question = groups::commit_offsets(group, offsets);
    let answer = cluster.ask(To::Node(node), question).await?;
    groups::offsets_committed(&decoded(&answer)?)
}

/// Which broker coordinates each group.
async fn coordinators(cluster: &impl Client, asked: &[Arc<str>]) -> PerGroup<i32> {
    let mut parts = Parts::of(asked);
    while let Some(part) = parts.next() {
        let answer = cluster.ask(To::Any, groups::find_coordinators(part)).await;
        let answer = answer.and_then(|answer| Ok(groups::coordinators(&decoded(&answer)?, part)));
        parts.answered(part, answer);
    }
    parts.answers
}

/// Groups that are asked about many at once, and one by one where an answer speaks of the first only,
/// as brokers from before the versions do that take several.
struct Parts<'a, T> {
    rest: &'a [Arc<str>],
    at_once: usize,
    answers: PerGroup<T>,
}

impl<'a, T> Parts<'a, T> {
    const fn of(asked: &'a [Arc<str>]) -> Self {
        Self {
            rest: asked,
            at_once: GROUPS_PER_REQUEST,
            answers: Vec::new(),
        }
    }

    /// Those to ask about now.
    fn next(&self) -> Option<&'a [Arc<str>]> {
        let count = self.at_once.min(self.rest.len());
        (count > 0).then(|| &self.rest[..count])
    }

    /// Takes what was answered about them. Whoever an answer leaves out is not asked for again.
    fn answered(&mut self, part: &[Arc<str>], answer: Result<PerGroup<T>, Failure>) {
        let answer = answer.unwrap_or_else(|failure| {
            let each = part.iter();
            each.map(|group| (Arc::clone(group), Err(failure.clone())))
                .collect()
        });
        if part.len() > 1 && answer.len() <= 1 {
            self.at_once = 1;
        }
        let done = part.len().min(self.at_once);
        self.answers.extend(answer);
        self.rest = &self.rest[done..];
    }
}
