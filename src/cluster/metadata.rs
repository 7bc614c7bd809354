//! What is known of one cluster: its brokers, topics, partitions and leaders.
//!
//! Pure: no I/O, no clock. Answers of brokers are merged in; a broker that lags behind cannot
//! take the view back to an older leader (KIP-320), and what makes no sense is passed over.

use std::{collections::BTreeMap, sync::Arc};

use kmirror_protocol::{
    ErrorCode,
    messages::{
        MetadataResponse,
        metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
    wire::{Array, Uuid},
};

use super::limits::{BROKERS_MAX, PARTITIONS_MAX};

/// A view of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    cluster_id: Option<Arc<str>>,
    controller_id: Option<i32>,
    brokers: BTreeMap<i32, BrokerAddress>,
    topics: BTreeMap<Arc<str>, Arc<Topic>>,
    topic_errors: BTreeMap<Arc<str>, ErrorCode>,
}

/// Where a broker listens, as it advertises itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// A host name or address.
    pub host: Arc<str>,
    /// A TCP port.
    pub port: u16,
    /// The broker's rack, if it has one.
    pub rack: Option<Arc<str>>,
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id; `None` on clusters that have no topic ids.
    pub id: Option<Uuid>,
    /// Whether Kafka itself uses the topic, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// In the order of their numbers, without repetition; numbers may be missing.
    pub partitions: Vec<Partition>,
}

/// A partition and where it is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The partition's number.
    pub index: i32,
    /// Its leader; `None` while it has none.
    pub leader: Option<Leader>,
    /// The leader epoch known last; kept while there is no leader. `None` before Metadata v7.
    pub leader_epoch: Option<i32>,
    /// How many replicas it is assigned.
    pub replica_count: usize,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The broker's id.
    pub node: i32,
    /// The leader epoch; `None` on brokers that do not tell.
    pub epoch: Option<i32>,
}

/// What an answer was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All topics: what is missing from the answer is gone.
    All,
    /// Some topics: the others stay as they are.
    Named,
}

/// Why an answer was not merged; the view is as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeError {
    /// The answer comes from another cluster.
    OtherCluster {
        /// The cluster id so far.
        expected: Arc<str>,
        /// The cluster id of the answer.
        found: Arc<str>,
    },
    /// The answer names no broker.
    NoBrokers,
    /// The answer names more brokers or partitions than are accepted.
    TooMany {
        /// Which of them.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The answer is an error as a whole (Metadata v13).
    Refused(ErrorCode),
}

impl Topic {
    /// The partition of a number.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        let at = self
            .partitions
            .binary_search_by_key(&index, |partition| partition.index)
            .ok()?;
        self.partitions.get(at)
    }
}

impl Metadata {
    /// The cluster's id, once a broker has told it.
    #[must_use]
    pub const fn cluster_id(&self) -> Option<&Arc<str>> {
        self.cluster_id.as_ref()
    }

    /// The broker that acts as controller; on KRaft clusters any broker that forwards to it.
    #[must_use]
    pub const fn controller_id(&self) -> Option<i32> {
        self.controller_id
    }

    /// The brokers by id.
    #[must_use]
    pub const fn brokers(&self) -> &BTreeMap<i32, BrokerAddress> {
        &self.brokers
    }

    /// The topic of a name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topics in the order of their names.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// What a broker last said instead of describing a topic, such as
    /// `TOPIC_AUTHORIZATION_FAILED`.
    #[must_use]
    pub fn topic_error(&self, name: &str) -> Option<ErrorCode> {
        self.topic_errors.get(name).copied()
    }

    /// Who leads a partition; `None` when that is unknown or nobody does.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        self.topic(topic)?.partition(partition)?.leader
    }

    /// Takes in an answer.
    ///
    /// Per partition of the same topic (same id) an older leader epoch is ignored; a topic with
    /// another id is another topic and replaces the one of its name. Negative ids, empty hosts
    /// and impossible ports are passed over; of what is named twice the first counts.
    ///
    /// # Errors
    ///
    /// [`MergeError`]; nothing has been taken in then.
    pub fn merge(
        &mut self,
        response: &MetadataResponse<'_>,
        scope: Scope,
    ) -> Result<(), MergeError> {
        response.error_code.ok().map_err(MergeError::Refused)?;
        self.check_cluster_id(response.cluster_id)?;
        self.check_size(response, scope)?;
        let brokers = brokers(&response.brokers);
        if brokers.is_empty() {
            return Err(MergeError::NoBrokers);
        }
        self.brokers = brokers;
        self.controller_id = Some(response.controller_id).filter(|id| *id >= 0);
        if let Some(id) = response.cluster_id {
            self.cluster_id.get_or_insert_with(|| id.into());
        }
        self.merge_topics(&response.topics, scope);
        Ok(())
    }

    /// Forgets where brokers are, because one says so (KIP-1102); topics stay.
    pub(super) fn forget_brokers(&mut self) {
        self.brokers.clear();
        self.controller_id = None;
    }

    fn check_cluster_id(&self, found: Option<&str>) -> Result<(), MergeError> {
        match (&self.cluster_id, found) {
            (Some(expected), Some(found)) if **expected != *found => {
                Err(MergeError::OtherCluster {
                    expected: Arc::clone(expected),
                    found: found.into(),
                })
            }
            _ => Ok(()),
        }
    }

    fn check_size(&self, response: &MetadataResponse<'_>, scope: Scope) -> Result<(), MergeError> {
        let kept: usize = match scope {
            Scope::All => 0,
            Scope::Named => self.topics().map(|topic| topic.partitions.len()).sum(),
        };
        let named = response.topics.iter();
        let come: usize = named.map(|topic| topic.partitions.len()).sum();
        within("partitions", kept.saturating_add(come), PARTITIONS_MAX)?;
        within("brokers", response.brokers.len(), BROKERS_MAX)
    }

    fn merge_topics<'a>(&mut self, answered: &Array<'a, MetadataResponseTopic<'a>>, scope: Scope) {
        let mut before = BTreeMap::new();
        if scope == Scope::All {
            self.topic_errors.clear();
            before = std::mem::take(&mut self.topics);
        }
        let mut seen = std::collections::BTreeSet::new();
        for topic in answered {
            let Some(name) = topic.name.filter(|name| seen.insert(*name)) else {
                continue;
            };
            let before = before.get(name).or_else(|| self.topics.get(name)).cloned();
            self.merge_topic(name, &topic, before);
        }
    }

    fn merge_topic(
        &mut self,
        name: &str,
        topic: &MetadataResponseTopic<'_>,
        before: Option<Arc<Topic>>,
    ) {
        if topic.error_code.is_ok() {
            let topic = merged(name, topic, before.as_ref());
            // What has not changed is held once, however many views there are.
            let topic = match before {
                Some(before) if *before == topic => before,
                _ => Arc::new(topic),
            };
            self.topic_errors.remove(name);
            self.topics.insert(Arc::clone(&topic.name), topic);
            return;
        }
        self.topic_errors.insert(name.into(), topic.error_code);
        if topic.error_code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
            self.topics.remove(name);
        } else if let Some(before) = before {
            self.topics.insert(Arc::clone(&before.name), before);
        }
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), MergeError> {
    if found > limit {
        return Err(MergeError::TooMany { what, found, limit });
    }
    Ok(())
}

fn brokers<'a>(answered: &Array<'a, MetadataResponseBroker<'a>>) -> BTreeMap<i32, BrokerAddress> {
    let mut brokers = BTreeMap::new();
    for broker in answered {
        let port = u16::try_from(broker.port).unwrap_or_default();
        if broker.node_id < 0 || broker.host.is_empty() || port == 0 {
            continue;
        }
        brokers
            .entry(broker.node_id)
            .or_insert_with(|| BrokerAddress {
                host: broker.host.into(),
                port,
                rack: broker.rack.map(Arc::from),
            });
    }
    brokers
}

/// The topic as answered, with what `before` knows better.
fn merged(name: &str, answered: &MetadataResponseTopic<'_>, before: Option<&Arc<Topic>>) -> Topic {
    let id = Some(answered.topic_id).filter(|id| !id.is_zero());
    let before = before.filter(|before| before.id == id || before.id.is_none() || id.is_none());
    let known = before.map_or(&[][..], |before| &before.partitions);
    let mut partitions: BTreeMap<i32, Partition> = BTreeMap::new();
    for partition in &answered.partitions {
        if partition.partition_index >= 0 {
            partitions
                .entry(partition.partition_index)
                .or_insert_with(|| as_answered(&partition));
        }
    }
    for old in known {
        let new = partitions.entry(old.index).or_insert(*old);
        if new.leader_epoch.is_some() && new.leader_epoch < old.leader_epoch {
            *new = *old;
        }
    }
    Topic {
        name: before.map_or_else(|| name.into(), |before| Arc::clone(&before.name)),
        id: id.or_else(|| before.and_then(|before| before.id)),
        is_internal: answered.is_internal,
        partitions: partitions.into_values().collect(),
    }
}

fn as_answered(partition: &MetadataResponsePartition<'_>) -> Partition {
    let epoch = Some(partition.leader_epoch).filter(|epoch| *epoch >= 0);
    Partition {
        index: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(Leader {
            node: partition.leader_id,
            epoch,
        }),
        leader_epoch: epoch,
        replica_count: partition.replica_nodes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid([1; 16]);
    const OTHER_ID: Uuid = Uuid([2; 16]);

    fn broker(node_id: i32, host: &str, port: i32) -> MetadataResponseBroker<'_> {
        MetadataResponseBroker {
            node_id,
            host,
            port,
            rack: None,
        }
    }

    fn partition(index: i32, leader: i32, epoch: i32) -> MetadataResponsePartition<'static> {
        MetadataResponsePartition {
            partition_index: index,
            leader_id: leader,
            leader_epoch: epoch,
            ..MetadataResponsePartition::default()
        }
    }

    fn topic<'a>(
        name: &'a str,
        topic_id: Uuid,
        partitions: Vec<MetadataResponsePartition<'a>>,
    ) -> MetadataResponseTopic<'a> {
        MetadataResponseTopic {
            name: Some(name),
            topic_id,
            partitions: partitions.into(),
            ..MetadataResponseTopic::default()
        }
    }

    fn response<'a>(topics: Vec<MetadataResponseTopic<'a>>) -> MetadataResponse<'a> {
        MetadataResponse {
            brokers: vec![broker(1, "b1", 9092)].into(),
            cluster_id: Some("cluster-1"),
            topics: topics.into(),
            ..MetadataResponse::default()
        }
    }

    fn merged(responses: &[(MetadataResponse<'_>, Scope)]) -> Metadata {
        let mut metadata = Metadata::default();
        for (response, scope) in responses {
            metadata.merge(response, *scope).unwrap();
        }
        metadata
    }

    #[test]
    fn a_leader_gives_way_only_to_one_that_is_not_older() {
        let leader = |node, epoch| Some(Leader { node, epoch });
        let cases = [
            ((ID, 1, 5), (ID, 2, 4), leader(1, Some(5))),
            ((ID, 1, 5), (ID, 2, 5), leader(2, Some(5))),
            ((ID, 1, 5), (ID, 2, 6), leader(2, Some(6))),
            ((ID, 1, 5), (ID, -1, 6), None),
            ((ID, 1, 5), (ID, -1, 4), leader(1, Some(5))),
            ((ID, -1, 5), (ID, 2, 4), None),
            ((ID, 1, 5), (OTHER_ID, 2, 0), leader(2, Some(0))),
            ((Uuid::ZERO, 1, 5), (Uuid::ZERO, 2, 4), leader(1, Some(5))),
            ((ID, 1, 5), (Uuid::ZERO, 2, 4), leader(1, Some(5))),
            ((ID, 1, -1), (ID, 2, -1), leader(2, None)),
            ((ID, 1, 5), (ID, 2, -1), leader(2, None)),
        ];
        for (before, after, expected) in cases {
            let answer = |(id, leader, epoch)| {
                let topics = vec![topic("t", id, vec![partition(0, leader, epoch)])];
                (response(topics), Scope::Named)
            };
            let metadata = merged(&[answer(before), answer(after)]);
            let case = format!("{before:?} then {after:?}");
            assert_eq!(metadata.leader("t", 0), expected, "{case}");
        }
    }

    #[test]
    fn a_topic_of_another_id_brings_nothing_of_the_old_one_along() {
        let old = topic("t", ID, vec![partition(0, 1, 9), partition(1, 1, 9)]);
        let new = topic("t", OTHER_ID, vec![partition(0, 1, 0)]);
        let metadata = merged(&[
            (response(vec![old]), Scope::All),
            (response(vec![new]), Scope::All),
        ]);
        let topic = metadata.topic("t").unwrap();
        assert_eq!((topic.id, topic.partitions.len()), (Some(OTHER_ID), 1));
    }

    #[test]
    fn what_an_answer_leaves_out_is_gone_only_if_it_was_asked_for() {
        let a = || topic("a", ID, vec![partition(0, 1, 0), partition(1, 1, 0)]);
        let a_in_part = || topic("a", ID, vec![partition(1, 1, 1)]);
        let b = || topic("b", OTHER_ID, vec![partition(0, 1, 0)]);
        let names = |scope, topics| {
            let metadata = merged(&[
                (response(vec![a(), b()]), Scope::All),
                (response(topics), scope),
            ]);
            let topics = metadata.topics();
            topics
                .map(|topic| (topic.name.to_string(), topic.partitions.len()))
                .collect::<Vec<_>>()
        };
        let (a2, b1) = (("a".to_owned(), 2), ("b".to_owned(), 1));
        assert_eq!(names(Scope::All, vec![b()]), std::slice::from_ref(&b1));
        assert_eq!(names(Scope::Named, vec![b()]), [a2.clone(), b1.clone()]);
        assert_eq!(
            names(Scope::All, vec![a_in_part()]),
            std::slice::from_ref(&a2)
        );
        assert_eq!(names(Scope::Named, vec![]), [a2, b1]);
    }

    #[test]
    fn a_topic_that_cannot_be_described_keeps_its_partitions_unless_it_is_gone() {
        for (code, is_kept) in [
            (ErrorCode(29), true),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false),
        ] {
            for scope in [Scope::All, Scope::Named] {
                let failed = MetadataResponseTopic {
                    error_code: code,
                    ..topic("t", Uuid::ZERO, vec![])
                };
                let known = topic("t", ID, vec![partition(0, 1, 0)]);
                let first = (response(vec![known.clone()]), Scope::All);
                let metadata = merged(&[first.clone(), (response(vec![failed]), scope)]);
                assert_eq!(metadata.topic("t").is_some(), is_kept, "{code} {scope:?}");
                assert_eq!(metadata.topic_error("t"), Some(code), "{code} {scope:?}");

                let mut again = metadata;
                again.merge(&first.0, scope).unwrap();
                assert_eq!(again.topic_error("t"), None, "{code} {scope:?}");
            }
        }
    }

    #[test]
    fn nonsense_is_passed_over_and_of_repetitions_the_first_counts() {
        let mut answer = response(vec![
            topic(
                "t",
                ID,
                vec![partition(1, 1, 0), partition(-1, 1, 0), partition(1, 2, 9)],
            ),
            topic("t", OTHER_ID, vec![]),
        ]);
        answer
            .topics
            .to_mut()
            .push(MetadataResponseTopic::default());
        answer.controller_id = -1;
        answer.brokers = vec![
            broker(1, "first", 1),
            broker(1, "second", 1),
            broker(-2, "negative", 1),
            broker(2, "", 1),
            broker(3, "port", 0),
            broker(4, "port", 65_536),
        ]
        .into();
        let metadata = merged(&[(answer, Scope::All)]);
        let hosts: Vec<_> = metadata.brokers().values().map(|at| &*at.host).collect();
        assert_eq!((hosts, metadata.controller_id()), (vec!["first"], None));
        let topic = metadata.topic("t").unwrap();
        assert_eq!((metadata.topics().len(), topic.id), (1, Some(ID)));
        let indexes: Vec<_> = topic.partitions.iter().map(|known| known.index).collect();
        assert_eq!(indexes, [1]);
        let leader = topic.partition(1).and_then(|known| known.leader);
        assert_eq!(leader.map(|leader| leader.node), Some(1));
    }

    #[test]
    fn an_answer_that_is_refused_changes_nothing() {
        let known = || response(vec![topic("t", ID, vec![partition(0, 1, 0)])]);
        let other_cluster = MetadataResponse {
            cluster_id: Some("cluster-2"),
            ..known()
        };
        let no_brokers = MetadataResponse {
            brokers: vec![broker(-1, "b", 1)].into(),
            ..known()
        };
        let too_many = MetadataResponse {
            brokers: vec![broker(1, "b", 1); BROKERS_MAX + 1].into(),
            ..known()
        };
        let refused = MetadataResponse {
            error_code: ErrorCode::REBOOTSTRAP_REQUIRED,
            ..known()
        };
        let before = merged(&[(known(), Scope::All)]);
        for (answer, expected) in [
            (
                other_cluster,
                MergeError::OtherCluster {
                    expected: "cluster-1".into(),
                    found: "cluster-2".into(),
                },
            ),
            (no_brokers, MergeError::NoBrokers),
            (
                too_many,
                MergeError::TooMany {
                    what: "brokers",
                    found: BROKERS_MAX + 1,
                    limit: BROKERS_MAX,
                },
            ),
            (
                refused,
                MergeError::Refused(ErrorCode::REBOOTSTRAP_REQUIRED),
            ),
        ] {
            let mut metadata = before.clone();
            assert_eq!(metadata.merge(&answer, Scope::All), Err(expected));
            assert_eq!(metadata, before);
        }
    }
}
