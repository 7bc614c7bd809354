//! Topics and their partitions.

use std::cmp::Ordering;

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{Timestamp, config::TopicConfig, log::Log, replica::Replica};

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
        let replicas = self.partitions.iter_mut().flat_map(|it| &mut it.replicas);
        for replica in replicas.filter(|replica| replica.is_online) {
            if let Ok(len) = usize::try_from(rules.retention_bytes) {
                replica.log.retain_bytes(len);
            }
            if rules.retention_ms >= 0 {
                let oldest = now.plus_ms(rules.retention_ms.saturating_neg());
                replica.log.retain_since(oldest);
            }
        }
    }
}

/// A partition: who holds it, who leads it, and the log of each replica.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) index: i32,
    /// The preferred leader first.
    pub(super) replicas: Vec<Replica>,
    /// The brokers whose replicas are in sync.
    pub(super) isr: Vec<i32>,
    /// The brokers whose replicas may lead though they are not in sync (KIP-966).
    pub(super) elr: Vec<i32>,
    /// -1 while there is none.
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    /// Where the leader's log ended when it was elected.
    pub(super) epoch_start_offset: i64,
}

impl Partition {
    /// A new partition, led by the first of its replicas whose broker runs.
    pub(super) fn new(
        index: i32,
        broker_ids: impl IntoIterator<Item = i32>,
        is_online: impl Fn(i32) -> bool,
    ) -> Self {
        let replicas = broker_ids.into_iter();
        let replicas = replicas.map(|id| Replica::new(id, is_online(id)));
        let mut replicas: Vec<Replica> = replicas.collect();
        let online = replicas.iter_mut().filter(|replica| replica.is_online);
        let isr: Vec<i32> = online
            .map(|replica| {
                replica.acknowledged = 0;
                replica.broker_id
            })
            .collect();
        let leader = isr.first().copied().unwrap_or(-1);
        let first = replicas.iter_mut().find(|it| it.broker_id == leader);
        if let Some(replica) = first {
            replica.log.epochs.begin(0, 0);
        }
        Self {
            index,
            replicas,
            isr,
            elr: Vec::new(),
            leader,
            leader_epoch: 0,
            epoch_start_offset: 0,
        }
    }

    pub(super) fn replica(&self, broker_id: i32) -> Option<&Replica> {
        let mut replicas = self.replicas.iter();
        replicas.find(|replica| replica.broker_id == broker_id)
    }

    pub(super) fn replica_mut(&mut self, broker_id: i32) -> Option<&mut Replica> {
        let mut replicas = self.replicas.iter_mut();
        replicas.find(|replica| replica.broker_id == broker_id)
    }

    /// The leader's log; without a leader the one of the preferred leader.
    pub(super) fn log(&self) -> Option<&Log> {
        let leader = self.replica(self.leader);
        let replica = leader.or_else(|| self.replicas.first());
        replica.map(|replica| &replica.log)
    }

    /// The log of a broker that leads the partition.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NOT_LEADER_OR_FOLLOWER`].
    pub(super) fn led_log_mut(&mut self, broker_id: i32) -> Result<&mut Log, ErrorCode> {
        if self.leader != broker_id {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let replica = self.replica_mut(broker_id);
        replica
            .map(|replica| &mut replica.log)
            .ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    /// The log of a broker that leads the partition, for a client that believes in a leader
    /// epoch; -1 is none.
    ///
    /// Source: `Partition.localLogWithEpochOrThrow` (KIP-320).
    ///
    /// # Errors
    ///
    /// [`ErrorCode::NOT_LEADER_OR_FOLLOWER`], [`ErrorCode::FENCED_LEADER_EPOCH`] for an older
    /// epoch than the current, [`ErrorCode::UNKNOWN_LEADER_EPOCH`] for a newer.
    pub(super) fn led_log(&self, broker_id: i32, epoch: i32) -> Result<&Log, ErrorCode> {
        let log = self.local_log(broker_id, epoch)?;
        if self.leader == broker_id {
            Ok(log)
        } else {
            Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
        }
    }

    /// The same of a broker that may answer as any replica.
    ///
    /// # Errors
    ///
    /// As [`Partition::led_log`].
    pub(super) fn local_log(&self, broker_id: i32, epoch: i32) -> Result<&Log, ErrorCode> {
        let replica = self.replica(broker_id);
        let replica = replica.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        match epoch.cmp(&self.leader_epoch) {
            _ if epoch == -1 => Ok(&replica.log),
            Ordering::Less => Err(ErrorCode::FENCED_LEADER_EPOCH),
            Ordering::Equal => Ok(&replica.log),
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
