//! What the brokers of the two model clusters answer.

use std::sync::Arc;

use kmirror_protocol::ErrorCode;

use super::{
    cluster::Topic,
    world::{GroupQuestion, World},
};
use crate::flow::{
    Action, ConfigEntry, ConfigOrigin, Event, Failure, FetchPartition, FetchedRecords, LogRange,
    NewTopic, Outgoing, PartitionId, PerTopicConfig, PublishedKind, RequestId, Side, TopicConfig,
    acls::AclChange,
    groups::{CommittedOffset, GroupList, GroupState, ListedGroup},
    topic_configs::ConfigChange,
};
use crate::policy::{Acl, acls::ResourceType};

impl World {
    /// What the cluster answers; `None` when a Fetch finds nothing and may wait.
    pub(super) fn serve(&mut self, action: &Action, must_answer: bool) -> Option<Event> {
        let is_down = match action {
            Action::Fetch { node, .. }
            | Action::AskLogRanges { node, .. }
            | Action::AskOffsetsForTimes { node, .. } => {
                self.faults.down.contains(&(Side::Source, *node))
            }
            Action::Produce { node, .. } => self.faults.down.contains(&(Side::Target, *node)),
            Action::AskMetadata(side) => self.faults.deaf.contains(side),
            Action::AskConfigs(_)
            | Action::AskCommitted { .. }
            | Action::AskGroups(Side::Source) => self.faults.deaf.contains(&Side::Source),
            _ => self.faults.deaf.contains(&Side::Target),
        };
        if is_down {
            return Some(unanswered(action));
        }
        Some(match action {
            Action::Fetch {
                request,
                node,
                bytes_max,
                partitions,
                ..
            } => {
                return self.serve_fetch(*request, *node, *bytes_max, partitions, must_answer);
            }
            Action::Produce {
                request,
                node,
                batches,
                ..
            } => self.serve_produce(*request, *node, batches),
            Action::AskLogRanges {
                request,
                node,
                partitions,
                ..
            } => {
                let result = partitions
                    .iter()
                    .map(|(id, _)| (*id, self.log_range(*node, *id)));
                Event::LogRanges {
                    request: *request,
                    result: Ok(result.collect()),
                }
            }
            Action::AskOffsetsForTimes {
                request,
                node,
                partitions,
                ..
            } => {
                let found = partitions
                    .iter()
                    .map(|(id, millis)| (*id, self.offset_for_time(*node, *id, *millis)));
                Event::OffsetsForTimes {
                    request: *request,
                    result: Ok(found.collect()),
                }
            }
            other => self.serve_admin(other),
        })
    }

    /// Records here are as old as their offset, in milliseconds.
    fn offset_for_time(
        &mut self,
        node: i32,
        id: PartitionId,
        millis: i64,
    ) -> Result<Option<i64>, Failure> {
        let range = self.log_range(node, id)?;
        let found = millis.max(range.start_offset);
        Ok(Some(found).filter(|offset| *offset < range.end_offset))
    }

    fn serve_admin(&mut self, action: &Action) -> Event {
        match action {
            Action::AskMetadata(side) => {
                let cluster = match side {
                    Side::Source => &self.source,
                    Side::Target => &self.target,
                };
                let mut view = self.stale.remove(side).unwrap_or_else(|| cluster.view());
                if *side == Side::Target {
                    self.hidden.retain(|_, until| *until > self.now);
                    view.topics
                        .retain(|name, _| !self.hidden.contains_key(name));
                }
                Event::Metadata {
                    side: *side,
                    result: Ok(view),
                }
            }
            Action::AskConfigs(topics) => Event::Configs(self.configs(topics)),
            Action::CreateTopics(topics) => Event::TopicsCreated(
                topics
                    .iter()
                    .map(|topic| (Arc::clone(&topic.name), self.create(topic)))
                    .collect(),
            ),
            Action::AddPartitions(topics) => Event::PartitionsAdded(
                topics
                    .iter()
                    .map(|(topic, count)| (Arc::clone(topic), self.grow(topic, *count)))
                    .collect(),
            ),
            Action::LoadPositions { .. } => Event::PositionsLoaded(match self.faults.positions {
                Some(code) => Err(refused(code)),
                None => Ok(self.target.positions.clone()),
            }),
            Action::StorePositions { records, .. } => {
                Event::PositionsStored(match self.faults.positions {
                    Some(code) => Err(refused(code)),
                    None => {
                        self.target.positions.extend(records.iter().cloned());
                        Ok(())
                    }
                })
            }
            Action::AskProducerId(id) => Event::ProducerId {
                partition: *id,
                result: Ok(self.target.producer_id()),
            },
            other => self.serve_groups(other),
        }
    }

    /// Groups, and what is published.
    fn serve_groups(&mut self, action: &Action) -> Event {
        match action {
            Action::CreatePublished { kind, .. } => Event::PublishedCreated {
                kind: *kind,
                result: Ok(()),
            },
            Action::Publish { kind, records, .. } => Event::Published {
                kind: *kind,
                result: match self.faults.publication {
                    Some(code) => Err(refused(code)),
                    None => {
                        let topic = match kind {
                            PublishedKind::OffsetSyncs => &mut self.source.syncs,
                            PublishedKind::Checkpoints => &mut self.target.checkpoints,
                        };
                        topic.extend(records.iter().cloned());
                        Ok(())
                    }
                },
            },
            Action::AskTopicConfigs { side, topics } => Event::TopicConfigs {
                side: *side,
                result: Ok(self.topic_configs(*side, topics)),
            },
            Action::AlterTopicConfigs(changes) => Event::TopicConfigsAltered(
                changes
                    .iter()
                    .map(|(topic, changes)| (Arc::clone(topic), self.alter(topic, changes)))
                    .collect(),
            ),
            Action::AskAcls { side, with_groups } => Event::Acls {
                side: *side,
                result: self.acls(*side, *with_groups),
            },
            Action::ChangeAcls { change, acls } => Event::AclsChanged(
                acls.iter()
                    .map(|acl| self.change_acl(*change, acl))
                    .collect(),
            ),
            Action::LoadCheckpoints { .. } => Event::CheckpointsLoaded(
                self.group_answer(GroupQuestion::Checkpoints)
                    .map(|()| self.target.checkpoints.clone()),
            ),
            Action::AskCommitted { group } => Event::Committed {
                group: Arc::clone(group),
                result: self.group_offsets(Side::Source, group),
            },
            Action::AskGroups(side) => Event::Groups {
                side: *side,
                result: self
                    .group_answer(GroupQuestion::List(*side))
                    .map(|()| self.groups(*side)),
            },
            Action::AskGroupOffsets { side, groups } => Event::GroupOffsets {
                side: *side,
                result: self.group_answer(GroupQuestion::Offsets(*side)).map(|()| {
                    let groups = groups.iter();
                    groups
                        .map(|group| (Arc::clone(group), self.group_offsets(*side, group)))
                        .collect()
                }),
            },
            Action::CommitGroupOffsets(commits) => Event::GroupOffsetsCommitted(
                commits
                    .iter()
                    .map(|(group, offsets)| (Arc::clone(group), self.commit(group, offsets)))
                    .collect(),
            ),
            other => unreachable!("served elsewhere: {other:?}"),
        }
    }

    fn topic_configs(&self, side: Side, topics: &[Arc<str>]) -> PerTopicConfig {
        let cluster = match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        };
        let known = topics.iter().filter_map(|name| {
            let config = config(name, cluster.topics.get(name)?);
            Some((Arc::clone(name), Ok(config)))
        });
        known.collect()
    }

    /// Sets properties; one that is deleted is a default again.
    fn alter(&mut self, topic: &Arc<str>, changes: &[ConfigChange]) -> Result<(), Failure> {
        if let Some(code) = self.faults.alteration {
            return Err(refused(code));
        }
        let topic = self.target.topics.get_mut(topic).expect("it is compared");
        for change in changes {
            topic.configs.retain(|(name, _)| *name != change.name);
            let set = change
                .value
                .clone()
                .map(|value| (change.name.clone(), value));
            topic.configs.extend(set);
        }
        Ok(())
    }

    fn acls(&self, side: Side, with_groups: bool) -> Result<Vec<Acl>, Failure> {
        let cluster = match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        };
        if let Some(code) = self.faults.acls.get(&side) {
            return Err(refused(*code));
        }
        let is_asked = |acl: &&Acl| with_groups || acl.resource == ResourceType::Topic;
        Ok(cluster.acls.iter().filter(is_asked).cloned().collect())
    }

    fn change_acl(&mut self, change: AclChange, acl: &Acl) -> Result<(), Failure> {
        let of_one = self.faults.refused_principal;
        let of_one = of_one.filter(|(principal, _)| *acl.principal == **principal);
        let of_one = of_one.map(|(_, code)| code);
        if let Some(code) = self.faults.acl_changes.or(of_one) {
            return Err(refused(code));
        }
        match change {
            AclChange::Create => self.target.acls.insert(acl.clone()),
            AclChange::Remove => self.target.acls.remove(acl),
        };
        Ok(())
    }

    fn groups(&self, side: Side) -> GroupList {
        let cluster = match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        };
        let is_hidden = side == Side::Target && self.faults.hides_groups;
        let groups = cluster.groups.iter().filter(|_| !is_hidden);
        let groups = groups.map(|(id, group)| ListedGroup {
            id: Arc::clone(id),
            protocol_type: group.protocol_type.to_owned(),
            state: Some(if group.is_in_use {
                GroupState::InUse
            } else {
                GroupState::Empty
            }),
        });
        GroupList {
            groups: groups.collect(),
            is_complete: !is_hidden,
        }
    }

    /// Whether a question about groups is answered.
    fn group_answer(&self, question: GroupQuestion) -> Result<(), Failure> {
        match &self.faults.groups {
            Some((refused, failure)) if *refused == question => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    fn group_offsets(&self, side: Side, id: &Arc<str>) -> Result<Vec<CommittedOffset>, Failure> {
        self.group_answer(GroupQuestion::OffsetsOfEach(side))?;
        if self.faults.secret_group == Some(&**id) {
            return Err(refused(ErrorCode::GROUP_AUTHORIZATION_FAILED));
        }
        let cluster = match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        };
        let offsets = cluster
            .groups
            .get(id)
            .into_iter()
            .flat_map(|it| &it.offsets);
        let offsets = offsets.map(|((topic, partition), offset)| CommittedOffset {
            topic: Arc::clone(topic),
            partition: *partition,
            offset: *offset,
            metadata: String::new(),
        });
        Ok(offsets.collect())
    }

    fn commit(&mut self, id: &Arc<str>, offsets: &[CommittedOffset]) -> Result<(), Failure> {
        self.group_answer(GroupQuestion::Commit)?;
        let group = self.target.groups.entry(Arc::clone(id)).or_default();
        if group.is_in_use {
            return Err(refused(ErrorCode::UNKNOWN_MEMBER_ID));
        }
        for offset in offsets {
            let place = (Arc::clone(&offset.topic), offset.partition);
            group.offsets.insert(place, offset.offset);
        }
        Ok(())
    }

    fn configs(&self, topics: &[Arc<str>]) -> Result<Vec<TopicConfig>, Failure> {
        let is_secret = |topic: &Arc<str>| self.faults.secret_topic == Some(&**topic);
        if let Some(code) = self.faults.configs {
            return Err(refused(code));
        }
        if topics.iter().any(is_secret) {
            return Err(refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
        }
        let known = topics.iter().filter_map(|name| {
            let topic = self.source.topics.get(name)?;
            Some(config(name, topic))
        });
        Ok(known.collect())
    }

    fn create(&mut self, topic: &NewTopic) -> Result<(), Failure> {
        if let Some(code) = self.faults.creation {
            return Err(refused(code));
        }
        if self.target.topics.contains_key(&topic.name) {
            return Err(refused(ErrorCode::TOPIC_ALREADY_EXISTS));
        }
        self.target
            .create(&topic.name, topic.partition_count.max(1), 3);
        if let Some(created) = self.target.topics.get_mut(&topic.name) {
            created.configs.clone_from(&topic.configs);
        }
        self.hidden
            .insert(Arc::clone(&topic.name), self.now + self.faults.creation_lag);
        Ok(())
    }

    fn grow(&mut self, topic: &Arc<str>, count: i32) -> Result<(), Failure> {
        if let Some(code) = self.faults.creation {
            return Err(refused(code));
        }
        let missing = refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let topic = self.target.topics.get_mut(topic).ok_or(missing)?;
        if i32::try_from(topic.logs.len()).is_ok_and(|has| has >= count) {
            return Err(refused(ErrorCode::INVALID_PARTITIONS));
        }
        topic.grow(count, 3);
        Ok(())
    }

    fn log_range(&mut self, node: i32, id: PartitionId) -> Result<LogRange, Failure> {
        let (topic, partition) = self.name(Side::Source, id);
        let log = self.source.log(&topic, partition);
        let log = log.ok_or_else(|| refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
        if log.leader != Some(node) {
            return Err(refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        Ok(LogRange {
            start_offset: log.start_offset,
            end_offset: log.end_offset,
        })
    }

    fn serve_fetch(
        &mut self,
        request: RequestId,
        node: i32,
        bytes_max: usize,
        partitions: &[FetchPartition],
        must_answer: bool,
    ) -> Option<Event> {
        let (mut results, mut room, mut is_empty) = (Vec::new(), bytes_max, true);
        for one in partitions {
            let (topic, partition) = self.name(Side::Source, one.id);
            let is_known = self.is_known(Side::Source, one.id);
            let result = match self.source.log(&topic, partition) {
                _ if !is_known => Err(ErrorCode::UNKNOWN_TOPIC_ID),
                None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                Some(log) if log.leader != Some(node) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                Some(log) => log.fetch(one.fetch_offset, one.bytes_max.min(room)),
            };
            let result = result.map(|fetched| {
                let fits = is_empty || fetched.records.len() <= room;
                let records = if fits {
                    fetched.records
                } else {
                    bytes::Bytes::new()
                };
                room = room.saturating_sub(records.len());
                FetchedRecords { records, ..fetched }
            });
            is_empty &= result
                .as_ref()
                .is_ok_and(|fetched| fetched.records.is_empty());
            results.push((one.id, result.map_err(refused)));
        }
        self.garble(&mut results);
        (must_answer || !is_empty).then_some(Event::Fetched {
            request,
            result: Ok(results),
        })
    }

    fn serve_produce(
        &mut self,
        request: RequestId,
        node: i32,
        batches: &[(PartitionId, Outgoing)],
    ) -> Event {
        let limit = self.faults.batch_bytes_max.unwrap_or(usize::MAX);
        let mut results = Vec::new();
        for (id, batch) in batches {
            let (topic, partition) = self.name(Side::Target, *id);
            let refusal = self
                .faults
                .refused
                .get(&(topic.clone(), partition))
                .copied();
            // After the append, as when replicas are slow.
            let is_slow = self.faults.one_in > 0 && self.rng.u32(0..self.faults.one_in) == 0;
            let is_known = self.is_known(Side::Target, *id);
            let result = match (refusal, self.target.log(&topic, partition)) {
                _ if !is_known => Err(ErrorCode::UNKNOWN_TOPIC_ID),
                (Some(code), _) => Err(code),
                (None, None) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (None, Some(log)) if log.leader != Some(node) => {
                    Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
                }
                (None, Some(log)) => log.append(batch, limit),
            };
            let result = if is_slow {
                result.and(Err(ErrorCode::REQUEST_TIMED_OUT))
            } else {
                result
            };
            results.push((*id, result.map_err(refused)));
        }
        self.garble(&mut results);
        Event::Produced {
            request,
            result: Ok(results),
        }
    }

    /// Whether a request that calls its topic by id finds it (KIP-516).
    fn is_known(&self, side: Side, id: PartitionId) -> bool {
        let names = self.flow.names(id).unwrap();
        let (cluster, topic, topic_id) = match side {
            Side::Source => (&self.source, names.topic, names.topic_id),
            Side::Target => (&self.target, names.remote_topic, names.remote_topic_id),
        };
        let topic = cluster.topics.get(topic);
        topic_id.is_zero() || topic.is_none_or(|topic| topic.id == topic_id)
    }

    fn garble<T: Clone>(&self, results: &mut [T]) {
        if self.faults.garbles_answers && results.len() > 1 {
            let last = results.len() - 1;
            results[last] = results[0].clone();
        }
    }

    fn name(&self, side: Side, id: PartitionId) -> (String, i32) {
        let names = self.flow.names(id).unwrap();
        let topic = match side {
            Side::Source => names.topic,
            Side::Target => names.remote_topic,
        };
        (topic.to_string(), names.partition)
    }
}

pub(super) fn refused(code: ErrorCode) -> Failure {
    Failure::Refused(code, None)
}

/// The configuration of a source topic: its own settings, and one that is a mere default.
fn config(name: &Arc<str>, topic: &Topic) -> TopicConfig {
    let entry = |name: &str, value: &str, origin| ConfigEntry {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        origin,
        is_read_only: false,
        is_sensitive: false,
    };
    let own = topic.configs.iter();
    let mut entries: Vec<_> = own
        .map(|(name, value)| entry(name, value, ConfigOrigin::Topic))
        .collect();
    for name in ["flush.ms", "retention.bytes", "retention.ms"] {
        if !topic.configs.iter().any(|(own, _)| own == name) {
            entries.push(entry(name, "9", ConfigOrigin::Default));
        }
    }
    entries.push(entry("preallocate", "true", ConfigOrigin::StaticBroker));
    TopicConfig {
        topic: Arc::clone(name),
        entries,
    }
}

/// What the flow hears when nobody answers.
pub(super) fn unanswered(action: &Action) -> Event {
    let failure = Failure::NoAnswer(String::from("the connection broke"));
    action.failed(&failure).expect("it is a request")
}
