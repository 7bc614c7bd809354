//! The two ends of a partition: who leads it there, and whether its topic is still the same.
//!
//! A broker that has just started may answer from metadata of long ago. So one answer in which a
//! topic is missing or has another id only suspends its partitions; the next answer decides.

use std::time::Instant;

use kmirror_protocol::wire::Uuid;

use super::{
    Action, ClusterView, Flow, PartitionId, RecoveryCause, Side, TopicView, halt::HaltReason,
    limits,
};

/// One end of a partition, as metadata shows it.
#[derive(Debug)]
pub(super) struct End {
    /// Who leads it; `None` also while it is not certain that the topic is still the same.
    pub(super) leader: Option<Leader>,
    /// The topic's id; zero as long as the cluster has told none.
    pub(super) topic_id: Uuid,
    is_in_doubt: bool,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: i32,
    pub(super) epoch: i32,
}

/// What metadata says about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    There,
    InDoubt,
    Missing,
    Recreated,
}

/// What follows from it.
enum Change {
    Found,
    Suspended,
    Halt(HaltReason),
}

impl End {
    pub(super) fn new(topic: &TopicView, partition: i32) -> Self {
        Self {
            leader: leader(topic, partition),
            topic_id: topic.topic_id,
            is_in_doubt: false,
        }
    }

    fn look(&mut self, topic: Option<&TopicView>, partition: i32) -> Sight {
        if let Some(topic) = topic
            && self.may_be(topic)
        {
            // During a rolling upgrade some brokers tell ids and some do not.
            if !topic.topic_id.is_zero() {
                self.topic_id = topic.topic_id;
            }
            let found = leader(topic, partition);
            // A broker that lags behind may still name a former leader.
            let is_older = matches!((self.leader, found), (Some(known), Some(found))
                if found.epoch >= 0 && found.epoch < known.epoch && !self.is_in_doubt);
            if !is_older {
                self.leader = found;
            }
            self.is_in_doubt = false;
            return Sight::There;
        }
        self.leader = None;
        match topic {
            _ if !std::mem::replace(&mut self.is_in_doubt, true) => Sight::InDoubt,
            Some(_) => Sight::Recreated,
            None => Sight::Missing,
        }
    }

    fn may_be(&self, topic: &TopicView) -> bool {
        self.topic_id.is_zero() || topic.topic_id.is_zero() || self.topic_id == topic.topic_id
    }
}

fn leader(topic: &TopicView, partition: i32) -> Option<Leader> {
    let view = topic.partitions.get(partition)?;
    Some(Leader {
        node: view.leader?,
        epoch: view.leader_epoch,
    })
}

impl Flow {
    /// Takes over who leads what on one side, halts partitions whose topic is gone or another one,
    /// and asks again before long while something is amiss.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        side: Side,
        view: &ClusterView,
        actions: &mut Vec<Action>,
    ) {
        let mut changes = Vec::with_capacity(self.slots.len());
        let mut is_missing = false;
        for slot in &mut self.slots {
            let partition = &slot.partition;
            let (end, topic) = match side {
                Side::Source => (&mut slot.source, &partition.source.topic),
                Side::Target => (&mut slot.target, &partition.remote_topic),
            };
            let sight = end.look(view.topics.get(topic), partition.source.partition);
            let change = match (side, sight) {
                (_, Sight::InDoubt) => Change::Suspended,
                (_, Sight::There) => Change::Found,
                (Side::Source, Sight::Missing) => Change::Halt(HaltReason::TopicMissing),
                (Side::Source, Sight::Recreated) => Change::Halt(HaltReason::TopicRecreated),
                (Side::Target, Sight::Missing) => Change::Halt(HaltReason::RemoteTopicMissing),
                (Side::Target, Sight::Recreated) => Change::Halt(HaltReason::RemoteTopicRecreated),
            };
            is_missing |= sight == Sight::Missing;
            changes.push((partition.id, change, slot.target.leader.is_some()));
        }
        for (id, change, has_target) in changes {
            let is_found = matches!(change, Change::Found);
            self.with_partition(now, id, actions, |partition| {
                partition.target_found(has_target);
                match change {
                    Change::Suspended => None,
                    Change::Found => partition.topic_found(side),
                    Change::Halt(reason) => partition.halt(now, reason),
                }
            });
            if is_found && self.proves() {
                match side {
                    Side::Source => self.follow_source(now, id, actions),
                    Side::Target => self.follow_target(now, id, actions),
                }
            }
        }
        if is_missing {
            self.discovery.refresh(side, now + limits::HALT_RETRY);
        }
    }

    /// Another leader of the source may have another log. Fetches tell (KIP-595), unless the epoch
    /// of the batch below is unknown.
    pub(super) fn follow_source(
        &mut self,
        now: Instant,
        id: PartitionId,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let Some(leader) = slot.source.leader else {
            return;
        };
        if let Some(recovery) = &mut slot.recovery {
            recovery.source_moved(leader.epoch);
        } else {
            self.with_partition(now, id, actions, |partition| {
                partition.source_led_by(leader.epoch);
                None
            });
        }
    }

    /// After a leader moved on the target nothing that was acknowledged is believed before it has
    /// been found in the new leader's log, even when there is nothing to send (R8). Nor is a proof
    /// that ended while nobody led.
    fn follow_target(&mut self, now: Instant, id: PartitionId, actions: &mut Vec<Action>) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let Some(leader) = slot.target.leader else {
            return;
        };
        if let Some(recovery) = &mut slot.recovery {
            recovery.target_moved(leader.epoch);
        } else if slot.proven_under != Some(leader) {
            self.recover(now, id, RecoveryCause::LeaderMoved, actions);
        }
    }

    /// Whether partitions wait for a leader on one side, or will when their halt is over.
    pub(super) fn lacks_leaders(&self, side: Side) -> bool {
        self.slots.iter().any(|slot| {
            let end = match side {
                Side::Source => &slot.source,
                Side::Target => &slot.target,
            };
            let halt = slot.partition.halt_reason();
            end.leader.is_none() && halt.is_none_or(HaltReason::retries)
        })
    }
}
