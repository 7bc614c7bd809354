//! Topics and their partitions.

use std::cmp::Ordering;

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{Timestamp, config::TopicConfig, log::Log};

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) config: TopicConfig,
    /// By ascending index from 0.
    pub(super) partitions: Vec<Partition>,
}

impl Topic {
    pub(super) fn partition(&self, index: i32) -> Result<&Partition, ErrorCode> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index))
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    pub(super) fn partition_mut(&mut self, index: i32) -> Result<&mut Partition, ErrorCode> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get_mut(index))
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    pub(super) fn replication_factor(&self) -> i16 {
        let first = self.partitions.first();
        let len = first.map_or(0, |partition| partition.replicas.len());
        i16::try_from(len).unwrap_or(i16::MAX)
    }

    /// See [`Cluster::apply_retention`](super::Cluster::apply_retention).
    pub(super) fn apply_retention(&mut self, now: Timestamp) {
        let rules = self.config.rules();
        if !rules.is_deletable {
            return;
        }
        for partition in &mut self.partitions {
            if let Ok(len) = usize::try_from(rules.retention_bytes) {
                partition.log.retain_bytes(len);
            }
            if rules.retention_ms >= 0 {
                let oldest = now.plus_ms(rules.retention_ms.saturating_neg());
                partition.log.retain_since(oldest);
            }
        }
    }
}

/// A partition: who holds it, who leads it, and its log.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: i32,
    /// All in sync, the preferred leader first.
    pub(super) replicas: Vec<i32>,
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    pub(super) log: Log,
}

impl Partition {
    /// A new partition, led by the first of its replicas.
    pub(super) fn new(index: i32, replicas: Vec<i32>) -> Self {
        Self {
            index,
            leader: replicas.first().copied().unwrap_or(-1),
            replicas,
            leader_epoch: 0,
            log: Log::new(),
        }
    }

    pub(super) fn elect(&mut self, broker_id: i32) -> Result<(), ErrorCode> {
        if !self.replicas.contains(&broker_id) {
            return Err(ErrorCode::REPLICA_NOT_AVAILABLE);
        }
        self.leader = broker_id;
        self.leader_epoch = self.leader_epoch.saturating_add(1);
        let offset = self.log.end_offset();
        self.log.epochs.begin(self.leader_epoch, offset);
        Ok(())
    }

    /// Whether a broker may answer as this partition's leader.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NOT_LEADER_OR_FOLLOWER`].
    pub(super) const fn ensure_led_by(&self, broker_id: i32) -> Result<(), ErrorCode> {
        if self.leader == broker_id {
            Ok(())
        } else {
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
        }
    }

    /// Whether a broker may answer as this partition's leader a client that believes in a leader
    /// epoch; -1 is none.
    ///
    /// Source: `Partition.getLocalLog` (KIP-320).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NOT_LEADER_OR_FOLLOWER`], [`ErrorCode::FENCED_LEADER_EPOCH`] for an older
    /// epoch than the current, [`ErrorCode::UNKNOWN_LEADER_EPOCH`] for a newer.
    pub(super) fn ensure_leader(&self, broker_id: i32, epoch: i32) -> Result<(), ErrorCode> {
        self.ensure_replica(broker_id, epoch)?;
        self.ensure_led_by(broker_id)
    }

    /// The same for a broker that may answer as any replica.
    ///
    /// # Errors
    ///
    /// As [`Partition::ensure_leader`].
    pub(super) fn ensure_replica(&self, broker_id: i32, epoch: i32) -> Result<(), ErrorCode> {
        if !self.replicas.contains(&broker_id) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        match epoch.cmp(&self.leader_epoch) {
            _ if epoch == -1 => Ok(()),
            Ordering::Less => Err(ErrorCode::FENCED_LEADER_EPOCH),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        }
    }
}

/// Why a name cannot be a topic's, in Kafka's words (`Topic.validate`).
pub(super) fn invalid_topic_name(name: &str) -> Option<String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > TOPIC_NAME_LEN_MAX {
        format!("the length of '{name}' is longer than the max allowed length 249")
    } else if !name.bytes().all(is_legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return None;
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// The length of the longest topic name, in bytes.
const TOPIC_NAME_LEN_MAX: usize = 249;

/// Whether a topic is the brokers' own, where clients may not write (`Topic.isInternal`).
pub(super) fn is_internal_topic(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}
