//! How requests call partitions, and which partition an answer speaks of.

use std::{collections::BTreeMap, sync::Arc};

use kmirror_protocol::wire::Uuid;

use crate::flow::{Flow, PartitionId, Side};

/// The first versions of Fetch and Produce that call topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// How requests to one cluster call a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The topic.
    pub topic: Arc<str>,
    /// The topic's id; zero when it is not known or the cluster has none.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: i32,
}

/// A partition in a request, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// Which one.
    pub id: PartitionId,
    /// How the request calls it.
    pub name: Name,
    /// What is asked.
    pub ask: T,
}

impl<T> Named<T> {
    /// Partitions of a flow as requests to one side call them; those that the flow does not know
    /// are left out.
    pub fn of(
        flow: &Flow,
        side: Side,
        asked: impl IntoIterator<Item = (PartitionId, T)>,
    ) -> Vec<Self> {
        let named = asked.into_iter().filter_map(|(id, ask)| {
            let name = Name::of(flow, side, id)?;
            Some(Self { id, name, ask })
        });
        named.collect()
    }
}

impl Name {
    fn of(flow: &Flow, side: Side, id: PartitionId) -> Option<Self> {
        let names = flow.names(id)?;
        let (topic, topic_id) = match side {
            Side::Source => (names.topic, names.topic_id),
            Side::Target => (names.remote_topic, names.remote_topic_id),
        };
        Some(Self {
            topic: Arc::clone(topic),
            topic_id,
            partition: names.partition,
        })
    }
}

/// Finds the partitions that an answer speaks of.
#[derive(Clone, Debug, Default)]
pub struct Names {
    by_name: BTreeMap<Arc<str>, BTreeMap<i32, PartitionId>>,
    names: BTreeMap<Uuid, Arc<str>>,
}

impl Names {
    /// The partitions of a request.
    #[must_use]
    pub fn of<T>(partitions: &[Named<T>]) -> Self {
        let mut names = Self::default();
        for Named { id, name, .. } in partitions {
            match names.by_name.get_mut(&name.topic) {
                Some(ids) => ids.insert(name.partition, *id),
                None => {
                    let ids = names.by_name.entry(Arc::clone(&name.topic)).or_default();
                    ids.insert(name.partition, *id)
                }
            };
            if !name.topic_id.is_zero() {
                let topic = || Arc::clone(&name.topic);
                names.names.entry(name.topic_id).or_insert_with(topic);
            }
        }
        names
    }

    /// The partition that an answer calls so; by id when the name is empty. `None` for one that
    /// was not asked about.
    #[must_use]
    pub fn find(&self, topic: &str, topic_id: Uuid, partition: i32) -> Option<PartitionId> {
        let topic = match topic {
            "" => self.names.get(&topic_id)?,
            name => name,
        };
        self.by_name.get(topic)?.get(&partition).copied()
    }
}

/// The highest version of Fetch or Produce that can name all topics of a request; `None` for any.
pub(super) fn version_max<T>(partitions: &[Named<T>]) -> Option<i16> {
    partitions
        .iter()
        .any(|partition| partition.name.topic_id.is_zero())
        .then_some(BY_NAME_MAX)
}

/// The highest version of Fetch and Produce that calls topics by name.
pub(super) const BY_NAME_MAX: i16 = TOPIC_IDS_FROM - 1;

/// Names each topic once, with what is asked of its partitions, in the order of the first of them.
///
/// Produce and others keep the topics of a request in a map: a second entry would be lost
/// (`mapKey` in Kafka's `ProduceRequest.json`).
pub(super) fn by_topic<'a, T, E>(
    partitions: &'a [Named<T>],
    entry: impl Fn(&'a Named<T>) -> E,
) -> Vec<(&'a Name, Vec<E>)> {
    let mut places = BTreeMap::new();
    let mut topics: Vec<(&Name, Vec<E>)> = Vec::new();
    for partition in partitions {
        let name = &partition.name;
        let place = places
            .entry((&*name.topic, name.topic_id))
            .or_insert(topics.len());
        match topics.get_mut(*place) {
            Some((_, entries)) => entries.push(entry(partition)),
            None => topics.push((name, vec![entry(partition)])),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid([1; 16]);
    const B: Uuid = Uuid([2; 16]);

    fn named(id: u32, topic: &str, topic_id: Uuid, partition: i32) -> Named<()> {
        Named {
            id: PartitionId(id),
            name: Name {
                topic: Arc::from(topic),
                topic_id,
                partition,
            },
            ask: (),
        }
    }

    #[test]
    fn partitions_are_found_by_name_and_by_id() {
        let names = Names::of(&[
            named(0, "a", A, 0),
            named(1, "b", B, 0),
            named(2, "a", A, 1),
            named(3, "old", Uuid::ZERO, 0),
        ]);
        let cases = [
            ("a", Uuid::ZERO, 1, Some(2)),
            ("", A, 1, Some(2)),
            ("", B, 0, Some(1)),
            ("b", Uuid::ZERO, 1, None),
            ("old", Uuid::ZERO, 0, Some(3)),
            ("", Uuid::ZERO, 0, None),
            ("c", A, 0, None),
        ];
        for (topic, topic_id, partition, expected) in cases {
            let found = names.find(topic, topic_id, partition);
            assert_eq!(found, expected.map(PartitionId), "{topic} {partition}");
        }
    }

    #[test]
    fn a_topic_is_named_once_however_its_partitions_are_mixed() {
        let partitions = [
            named(0, "b", B, 0),
            named(1, "a", A, 0),
            named(2, "b", B, 1),
            named(3, "b", A, 2),
        ];
        let topics: Vec<(&str, Uuid, Vec<u32>)> = by_topic(&partitions, |named| named.id.0)
            .into_iter()
            .map(|(name, ids)| (&*name.topic, name.topic_id, ids))
            .collect();
        let expected = [("b", B, vec![0, 2]), ("a", A, vec![1]), ("b", A, vec![3])];
        assert_eq!(topics, expected);
    }

    #[test]
    fn one_topic_without_an_id_means_names_for_all() {
        let (with, without) = (named(0, "a", A, 0), named(1, "b", Uuid::ZERO, 0));
        assert_eq!(version_max(std::slice::from_ref(&with)), None);
        assert_eq!(version_max(&[with, without]), Some(12));
    }
}
