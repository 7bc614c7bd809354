//! Actions that are one question with one answer.
//!
//! How the question is put and what the answer means is in [`super::exchange`]; which requests an
//! action takes, and in which order, is here and in what this calls. Nothing is retried.

use std::time::Duration;

use super::{
    admin,
    client::Client,
    exchange::{Named, topics},
    groups,
    topic_reader::{self, OwnedRecord},
    topic_writer::{self, NO_TIMESTAMP},
    transactions,
};
use crate::{
    cluster::Topics,
    flow::{Action, EpochQuestion, Event, Flow, RequestId, Side},
};

/// The two clusters of a flow.
#[derive(Clone, Debug)]
pub struct Ends<C> {
    /// Where records come from.
    pub source: C,
    /// Where they go.
    pub target: C,
}

impl<C> Ends<C> {
    /// One of them.
    pub const fn side(&self, side: Side) -> &C {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// An action, with the names of its partitions: while it is answered the flow goes on.
#[derive(Debug)]
pub struct Question(Asked);

#[derive(Debug)]
enum Asked {
    LogRanges(Leader, Vec<Named<i32>>),
    Producers(Leader, Vec<Named<()>>),
    EpochEnds(Leader, Vec<Named<EpochQuestion>>),
    OffsetsForTimes(Leader, Vec<Named<i64>>),
    /// It is about no partitions.
    Whole(Action),
}

/// Who leads the partitions of a question.
#[derive(Clone, Copy, Debug)]
struct Leader {
    request: RequestId,
    side: Side,
    node: i32,
}

impl Question {
    /// What an action of this flow asks.
    #[must_use]
    pub fn of(flow: &Flow, action: Action) -> Self {
        let leader = |request, side, node| Leader {
            request,
            side,
            node,
        };
        Self(match action {
            Action::AskLogRanges {
                request,
                side,
                node,
                partitions,
            } => Asked::LogRanges(
                leader(request, side, node),
                Named::of(flow, side, partitions),
            ),
            Action::AskProducers {
                request,
                node,
                partitions,
            } => {
                let partitions = partitions.into_iter().map(|id| (id, ()));
                let named = Named::of(flow, Side::Target, partitions);
                Asked::Producers(leader(request, Side::Target, node), named)
            }
            Action::AskEpochEnds {
                request,
                side,
                node,
                partitions,
            } => {
                let partitions = partitions.into_iter().map(|one| (one.id, one));
                Asked::EpochEnds(
                    leader(request, side, node),
                    Named::of(flow, side, partitions),
                )
            }
            Action::AskOffsetsForTimes {
                request,
                side,
                node,
                partitions,
            } => Asked::OffsetsForTimes(
                leader(request, side, node),
                Named::of(flow, side, partitions),
            ),
            other => Asked::Whole(other),
        })
    }
}

/// Answers a question; `None` for an action that is none.
///
/// `timeout` is how long a broker may take over what it does not answer at once.
pub async fn answer<C: Client>(
    ends: &Ends<C>,
    Question(asked): Question,
    timeout: Duration,
) -> Option<Event> {
    Some(match asked {
        Asked::LogRanges(at, asked) => Event::LogRanges {
            request: at.request,
            result: admin::log_ranges(ends.side(at.side), at.side, at.node, &asked).await,
        },
        Asked::Producers(at, asked) => Event::Producers {
            request: at.request,
            result: admin::active_producers(ends.side(at.side), at.node, &asked).await,
        },
        Asked::EpochEnds(at, asked) => Event::EpochEnds {
            request: at.request,
            result: admin::epoch_ends(ends.side(at.side), at.node, &asked).await,
        },
        Asked::OffsetsForTimes(at, asked) => Event::OffsetsForTimes {
            request: at.request,
            result: admin::offsets_for_times(ends.side(at.side), at.node, &asked).await,
        },
        Asked::Whole(action) => return whole(ends, action, timeout).await,
    })
}

/// Asks a cluster as a whole.
async fn whole<C: Client>(ends: &Ends<C>, action: Action, timeout: Duration) -> Option<Event> {
    let Ends { source, target } = ends;
    Some(match action {
        Action::AskMetadata(side) => {
            let known = ends.side(side).refresh(Topics::All).await;
            let result = known.map(|metadata| topics::cluster_view(&metadata));
            Event::Metadata { side, result }
        }
        Action::AskConfigs(topics) => Event::Configs(admin::topic_configs(source, &topics).await),
        Action::InspectTopics { side, topics } => Event::TopicsInspected {
            side,
            result: admin::inspect_topics(ends.side(side), &topics).await,
        },
        Action::CreateTopics(topics) => {
            Event::TopicsCreated(admin::create_topics(target, &topics, timeout).await)
        }
        Action::AddPartitions(topics) => {
            Event::PartitionsAdded(admin::add_partitions(target, &topics, timeout).await)
        }
        Action::AskProducerId(partition) => Event::ProducerId {
            partition,
            result: admin::producer_id(target).await,
        },
        Action::LoadCheckpoints { topic } => {
            let records = topic_reader::read_all(target, &topic).await;
            let stored = records.map(|records| {
                records
                    .into_iter()
                    .filter_map(OwnedRecord::stored)
                    .collect()
            });
            Event::CheckpointsLoaded(stored)
        }
        Action::CreatePublished { kind, side, topic } => Event::PublishedCreated {
            kind,
            result: admin::create_topic(ends.side(side), &topic, timeout).await,
        },
        Action::Publish {
            kind,
            side,
            topic,
            records,
        } => {
            let cluster = ends.side(side);
            let time = cluster.wall_ms();
            let appended = topic_writer::append(cluster, &topic, 1, &records, time, timeout);
            Event::Published {
                kind,
                result: appended.await.map(drop),
            }
        }
        other => return beside(ends, other, timeout).await,
    })
}

/// Performs an action on what goes along with the records: properties of topics, ACLs and groups.
async fn beside<C: Client>(ends: &Ends<C>, action: Action, timeout: Duration) -> Option<Event> {
    let target = &ends.target;
    Some(match action {
        Action::AskTopicConfigs { side, topics } => Event::TopicConfigs {
            side,
            result: admin::inspect_topics(ends.side(side), &topics).await,
        },
        Action::AlterTopicConfigs(changes) => {
            Event::TopicConfigsAltered(admin::alter_topics(target, &changes).await)
        }
        Action::AskAcls { side, with_groups } => Event::Acls {
            side,
            result: admin::acls(ends.side(side), with_groups).await,
        },
        Action::ChangeAcls { change, acls } => {
            Event::AclsChanged(admin::change_acls(target, change, &acls).await)
        }
        Action::AskGroups(side) => Event::Groups {
            side,
            result: groups::list(ends.side(side)).await,
        },
        Action::AskGroupOffsets { side, groups } => Event::GroupOffsets {
            side,
            result: Ok(groups::offsets(ends.side(side), &groups).await),
        },
        Action::AskCommitted { group } => Event::Committed {
            result: groups::committed(&ends.source, &group).await,
            group,
        },
        Action::CommitGroupOffsets(commits) => {
            Event::GroupOffsetsCommitted(groups::commit(target, commits).await)
        }
        other => return stores(target, other, timeout).await,
    })
}

/// Performs an action on what kmirror itself keeps on the target; `None` for any other.
async fn stores(target: &impl Client, action: Action, timeout: Duration) -> Option<Event> {
    Some(match action {
        Action::LoadPositions { topic, is_whole } => {
            let records = if is_whole {
                topic_reader::read_whole(target, &topic).await
            } else {
                topic_reader::read_all(target, &topic).await
            };
            let stored = records.map(|records| {
                records
                    .into_iter()
                    .filter_map(OwnedRecord::stored)
                    .collect()
            });
            Event::PositionsLoaded(stored)
        }
        Action::StorePositions {
            topic,
            partition_count,
            records,
            within,
        } => {
            let times = (target.wall_ms(), timeout);
            let within = within.as_ref();
            let appended = topic_writer::append_within(
                target,
                &topic,
                partition_count,
                &records,
                times,
                within,
            );
            Event::PositionsStored(appended.await.map(drop))
        }
        Action::AskTransaction {
            request,
            transactional_id,
            question,
        } => Event::TransactionAnswered {
            request,
            result: transactions::answer(target, &transactional_id, &question).await,
        },
        Action::ReadState { topic, from, wait } => {
            Event::StateRead(topic_reader::read_from(target, &topic, &from, wait).await)
        }
        Action::WriteState {
            topic,
            partition_count,
            records,
        } => Event::StateWritten(
            topic_writer::append(
                target,
                &topic,
                partition_count,
                &records,
                NO_TIMESTAMP,
                timeout,
            )
            .await,
        ),
        _ => return None,
    })
}
