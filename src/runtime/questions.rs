//! Actions that are one question to a cluster as a whole, with one answer.

use std::{sync::Arc, time::Duration};

use super::{
    admin, convert,
    driver::Ends,
    exchange::topics,
    groups, now_ms,
    topic_reader::{self, OwnedRecord},
    topic_writer::{self, NO_TIMESTAMP},
    transactions,
};
use crate::{
    cluster::{Cluster, Topics},
    flow::{Action, Event},
    offsets::source_offsets::StoredRecord,
};

/// Performs an action; `None` for one that is no such question.
pub(super) async fn answer(ends: &Ends, action: Action, timeout: Duration) -> Option<Event> {
    let Ends { source, target } = ends;
    Some(match action {
        Action::AskMetadata(side) => {
            let result = ends.side(side).refresh_metadata(Topics::All).await;
            let result = result
                .map(|metadata| topics::cluster_view(&metadata))
                .map_err(|error| convert::failure(&error));
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
            let stored = records.map(|records| records.into_iter().filter_map(stored).collect());
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
            let (cluster, time) = (ends.side(side), now_ms());
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
async fn beside(ends: &Ends, action: Action, timeout: Duration) -> Option<Event> {
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
            result: groups::offsets(ends.side(side), &groups).await,
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
async fn stores(target: &Cluster, action: Action, timeout: Duration) -> Option<Event> {
    Some(match action {
        Action::LoadPositions { topic, is_whole } => {
            let records = if is_whole {
                topic_reader::read_whole(target, &topic).await
            } else {
                topic_reader::read_all(target, &topic).await
            };
            let stored = records.map(|records| records.into_iter().filter_map(stored).collect());
            Event::PositionsLoaded(stored)
        }
        Action::StorePositions {
            topic,
            partition_count,
            records,
            within: None,
        } => {
            let appended =
                topic_writer::append(target, &topic, partition_count, &records, now_ms(), timeout)
                    .await;
            Event::PositionsStored(appended.map(drop))
        }
        Action::StorePositions {
            topic,
            partition_count,
            records,
            within: Some(within),
        } => {
            let (times, within) = ((now_ms(), timeout), Arc::new(within));
            let appended = topic_writer::append_within(
                target,
                &topic,
                partition_count,
                &records,
                times,
                &within,
            );
            Event::PositionsStored(appended.await)
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

/// A record of the offsets topic; one without a key means nothing.
fn stored(record: OwnedRecord) -> Option<StoredRecord> {
    Some(StoredRecord {
        key: record.key?,
        value: record.value,
        ordered_by: None,
    })
}
