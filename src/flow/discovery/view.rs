//! What clusters have, as the flow sees it.

use std::{collections::BTreeMap, sync::Arc};

use kmirror_protocol::wire::Uuid;

use crate::flow::limits;

/// A cluster's topics, as one broker sees them.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// The id of the cluster, when it has one.
    pub cluster_id: Option<String>,
    /// How many brokers it has.
    pub broker_count: usize,
    /// Its topics by name.
    pub topics: BTreeMap<Arc<str>, TopicView>,
}

/// One topic.
#[derive(Clone, Debug, Default)]
pub struct TopicView {
    /// Its id; zero when the cluster has no topic ids.
    pub topic_id: Uuid,
    /// Its partitions.
    pub partitions: PartitionViews,
}

/// Partitions by their numbers. Most topics have few, and of each cluster all topics are held: a
/// map would take several times the room.
#[derive(Clone, Debug, Default)]
pub struct PartitionViews(Vec<(i32, PartitionView)>);

impl PartitionViews {
    /// The partition of a number.
    #[must_use]
    pub fn get(&self, number: i32) -> Option<&PartitionView> {
        let at = self.0.binary_search_by_key(&number, |(number, _)| *number);
        self.0.get(at.ok()?).map(|(_, view)| view)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their numbers, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        self.0.iter().map(|(number, _)| *number)
    }

    /// All of them, by their numbers.
    pub fn views(&self) -> impl Iterator<Item = &PartitionView> {
        self.0.iter().map(|(_, view)| view)
    }
}

impl FromIterator<(i32, PartitionView)> for PartitionViews {
    /// Of a number that is named twice the first counts.
    fn from_iter<T: IntoIterator<Item = (i32, PartitionView)>>(views: T) -> Self {
        let mut views: Vec<(i32, PartitionView)> = views.into_iter().collect();
        views.sort_by_key(|(number, _)| *number);
        views.dedup_by_key(|(number, _)| *number);
        views.shrink_to_fit();
        Self(views)
    }
}

impl TopicView {
    /// The replicas of the topic, if a cluster of so many brokers should keep more of what must not
    /// get lost: fewer than its brokers, and than [`limits::STATE_REPLICAS`].
    #[must_use]
    pub fn too_few_replicas(&self, broker_count: usize) -> Option<usize> {
        let counts = self.partitions.views().map(|it| it.replica_count);
        let wanted = limits::STATE_REPLICAS.min(broker_count);
        counts.min().filter(|replicas| *replicas < wanted)
    }
}

/// One partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView {
    /// The broker that leads it, if one does.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 when the cluster does not tell.
    pub leader_epoch: i32,
    /// How many replicas it has.
    pub replica_count: usize,
}

/// The configuration of one topic on the source.
#[derive(Clone, Debug, Default)]
pub struct TopicConfig {
    /// The topic.
    pub topic: Arc<str>,
    /// Its entries.
    pub entries: Vec<ConfigEntry>,
}

/// One property of a topic.
#[derive(Clone, Debug)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when the source hides it.
    pub value: Option<String>,
    /// Where the source has the value from.
    pub origin: ConfigOrigin,
    /// Whether it can be set at all.
    pub is_read_only: bool,
    /// Whether the source hides its value.
    pub is_sensitive: bool,
}

/// Where a property has its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// Set on the topic.
    Topic,
    /// Set dynamically on brokers or the cluster, which MM2 copies as if it were set on the topic.
    DynamicBroker,
    /// Written in the broker's own file.
    StaticBroker,
    /// Built in.
    Default,
}

/// A topic to be created on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name there.
    pub name: Arc<str>,
    /// How many partitions it gets.
    pub partition_count: i32,
    /// How many replicas; -1 leaves it to the target.
    pub replication_factor: i16,
    /// The properties it gets.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic that keeps the newest record of each key for ever, as everything does that kmirror
    /// and MM2 keep for themselves (`MirrorUtils.createCompactedTopic`).
    #[must_use]
    pub fn compacted(name: Arc<str>, partition_count: i32, replication_factor: i16) -> Self {
        Self {
            name,
            partition_count,
            replication_factor,
            configs: vec![(String::from("cleanup.policy"), String::from("compact"))],
        }
    }
}
