//! What is done to a cluster from outside, where in Kafka time, failures and operators do it.

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{
    Cluster, Timestamp, compaction,
    config::TopicRules,
    replica::Replica,
    topic::{Partition, Topic},
};

impl Cluster {
    /// Deletes what the topics' `retention.ms` and `retention.bytes` say is too old, on every
    /// replica whose broker runs, but never what is not committed there.
    ///
    /// Kafka does so for whole segments every few minutes; here it is done for batches, and only
    /// when told to.
    pub fn apply_retention(&mut self, now: Timestamp) {
        for topic in self.topics.values_mut() {
            topic.apply_retention(now);
        }
    }

    /// Compacts every replica of a topic whose broker runs: of what is committed there, the
    /// newest batch apart, only the newest record of each key is kept, and a tombstone for
    /// `delete.retention.ms` from its first cleaning on.
    ///
    /// A topic whose `cleanup.policy` does not say compact stays as it is. Kafka compacts closed
    /// segments whenever enough is to be gained.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_TOPIC_OR_PARTITION`].
    pub fn compact(&mut self, topic: &str, now: Timestamp) -> Result<(), ErrorCode> {
        let topic = self.topics.get_mut(topic);
        let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let rules = topic.config.rules();
        if rules.is_compacted {
            let replicas = topic.partitions.iter_mut().flat_map(|it| &mut it.replicas);
            for replica in replicas.filter(|replica| replica.is_online) {
                compaction::compact(&mut replica.log, now, rules.delete_retention_ms);
            }
        }
        Ok(())
    }

    /// Forgets producers whose newest record is too old, as Kafka does every ten minutes.
    pub fn expire_producers(&mut self, now: Timestamp) {
        let expiration_ms = self.options.producer_id_expiration_ms;
        for replica in self.running_replicas() {
            replica.log.producers.expire(now, expiration_ms);
        }
    }

    /// Notes on every running broker what it knows of producers, as Kafka does when it begins a
    /// segment: a replica that cuts off the end of its log later remembers at least that.
    pub fn take_producer_snapshots(&mut self) {
        for replica in self.running_replicas() {
            replica.log.take_producer_snapshot();
        }
    }

    /// Lets one replica forget all producers.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_TOPIC_OR_PARTITION`], or [`ErrorCode::REPLICA_NOT_AVAILABLE`] when
    /// the broker holds no replica.
    pub fn evict_producers(
        &mut self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), ErrorCode> {
        let replica = self.partition_mut(topic, partition)?.replica_mut(broker_id);
        let replica = replica.ok_or(ErrorCode::REPLICA_NOT_AVAILABLE)?;
        replica.log.producers.clear();
        Ok(())
    }

    /// Makes another replica, which must be in sync, the leader of a partition.
    ///
    /// The leader epoch goes up, also if the replica leads already.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_TOPIC_OR_PARTITION`], [`ErrorCode::REPLICA_NOT_AVAILABLE`] when the
    /// broker is down or holds no replica, [`ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE`] when its
    /// replica is not in sync.
    pub fn elect_leader(
        &mut self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), ErrorCode> {
        self.change(topic, partition, |it, rules| it.elect(broker_id, rules))
    }

    /// Makes another replica the leader of a partition, in sync or not.
    ///
    /// What it has not is lost: the others cut it off. The leader epoch goes up.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_TOPIC_OR_PARTITION`], or [`ErrorCode::REPLICA_NOT_AVAILABLE`] when
    /// the broker is down or holds no replica.
    pub fn elect_leader_uncleanly(
        &mut self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), ErrorCode> {
        self.change(topic, partition, |it, rules| {
            it.elect_uncleanly(broker_id, rules)
        })
    }

    /// Lets a replica fetch nothing more from its leader; it stays in sync, as it does in Kafka
    /// for up to `replica.lag.time.max.ms`, so that nothing more is committed.
    ///
    /// # Errors
    ///
    /// As [`Cluster::evict_producers`].
    pub fn hold_back(
        &mut self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), ErrorCode> {
        self.set_held_back(topic, partition, broker_id, true)
    }

    /// Lets a replica that was held back fetch all it lacks, and back into sync if it had left.
    ///
    /// # Errors
    ///
    /// As [`Cluster::evict_producers`].
    pub fn catch_up(
        &mut self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), ErrorCode> {
        self.set_held_back(topic, partition, broker_id, false)
    }

    fn set_held_back(
        &mut self,
        topic: &str,
        partition: i32,
        broker_id: i32,
        is_held_back: bool,
    ) -> Result<(), ErrorCode> {
        self.change(topic, partition, |partition, rules| {
            let replica = partition.replica_mut(broker_id);
            let replica = replica.ok_or(ErrorCode::REPLICA_NOT_AVAILABLE)?;
            replica.is_held_back = is_held_back;
            if !is_held_back {
                partition.replicate(rules);
                partition.join_isr(rules);
            }
            Ok(())
        })
    }

    /// Takes a follower out of sync, as its leader does when it lags; [`Cluster::catch_up`] lets
    /// it back.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UNKNOWN_TOPIC_OR_PARTITION`], or [`ErrorCode::INVALID_REQUEST`] for the
    /// leader.
    pub fn drop_from_isr(
        &mut self,
        topic: &str,
        partition: i32,
        broker_id: i32,
    ) -> Result<(), ErrorCode> {
        self.change(topic, partition, |partition, rules| {
            partition.drop_from_isr(broker_id, rules)
        })
    }

    /// Ends a broker at once, as a crash would; what waits there is dropped.
    ///
    /// Its replicas fall out of sync, and in-sync replicas elsewhere take over what it led. Its
    /// connections are the caller's to close. A broker that is down already stays so.
    pub fn stop_broker(&mut self, broker_id: i32) {
        if self.broker(broker_id).is_none() || !self.stopped.insert(broker_id) {
            return;
        }
        self.parked.remove_broker(broker_id);
        self.change_all(|partition, rules| partition.broker_stopped(broker_id, rules));
    }

    /// Starts a broker again with the logs it had.
    ///
    /// Of each producer it remembers the newest batch only, as Kafka does. Its replicas catch up,
    /// and lead where nobody does.
    pub fn start_broker(&mut self, broker_id: i32) {
        if self.stopped.remove(&broker_id) {
            self.change_all(|partition, rules| partition.broker_started(broker_id, rules));
        }
    }

    fn running_replicas(&mut self) -> impl Iterator<Item = &mut Replica> {
        let partitions = self.topics.values_mut().flat_map(|it| &mut it.partitions);
        let replicas = partitions.flat_map(|partition| &mut partition.replicas);
        replicas.filter(|replica| replica.is_online)
    }

    /// Changes a partition and lets those who wait for it look again.
    pub(super) fn change<T>(
        &mut self,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Partition, &TopicRules) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let topic = self.topics.get_mut(topic);
        let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let rules = topic.config.rules().clone();
        let changed = change(topic.partition_mut(partition)?, &rules)?;
        self.parked.wake(topic.id, partition);
        Ok(changed)
    }

    fn change_all(&mut self, change: impl Fn(&mut Partition, &TopicRules)) {
        let mut changed: Vec<(Uuid, i32)> = Vec::new();
        for topic in self.topics.values_mut() {
            let Topic {
                id,
                config,
                partitions,
                ..
            } = topic;
            for partition in partitions {
                change(partition, config.rules());
                changed.push((*id, partition.index));
            }
        }
        for (topic_id, partition) in changed {
            self.parked.wake(topic_id, partition);
        }
    }
}
