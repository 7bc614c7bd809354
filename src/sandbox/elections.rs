//! Who leads a partition, who is in sync with the leader, and what of the log is committed.
//!
//! Source: Kafka's `PartitionChangeBuilder` and `Partition.maybeIncrementLeaderHW`, with eligible
//! leader replicas (KIP-966).

use kmirror_protocol::ErrorCode;

use super::{config::TopicRules, topic::Partition};

/// What Kafka calls an election type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// Of the first replica.
    Preferred,
    /// Of any replica, in sync or not, while there is no leader.
    Unclean,
}

impl Partition {
    /// How many replicas must be in sync for anything to be committed.
    pub(super) fn min_isr(&self, rules: &TopicRules) -> usize {
        rules.min_insync_replicas.min(self.replicas.len())
    }

    /// Lets followers fetch what the leader has, and commits what all in-sync replicas have.
    ///
    /// While too few are in sync nothing more is committed.
    pub(super) fn replicate(&mut self, rules: &TopicRules) {
        let min_isr = self.min_isr(rules);
        let mut replicas = self.replicas.iter();
        let Some(at) = replicas.position(|it| it.broker_id == self.leader) else {
            return;
        };
        let (before, rest) = self.replicas.split_at_mut(at);
        let Some((leader, after)) = rest.split_first_mut() else {
            return;
        };
        let mut committed = leader.log.end_offset();
        for follower in before.iter_mut().chain(after.iter_mut()) {
            follower.follow(&leader.log);
            if self.isr.contains(&follower.broker_id) {
                committed = committed.min(follower.acknowledged);
            }
        }
        if self.isr.len() >= min_isr {
            leader.log.raise_high_watermark(committed);
        }
        for follower in before.iter_mut().chain(after.iter_mut()) {
            follower.learn(&leader.log);
        }
    }

    /// Makes a replica the leader that has all that is committed.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::REPLICA_NOT_AVAILABLE`] when the broker holds no replica or does not run,
    /// [`ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE`] when its replica is not in sync.
    pub(super) fn elect(&mut self, broker_id: i32, rules: &TopicRules) -> Result<(), ErrorCode> {
        self.ensure_online(broker_id)?;
        if !self.is_eligible(broker_id) {
            return Err(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE);
        }
        self.lead(broker_id, rules);
        Ok(())
    }

    /// Makes any replica the leader; what it has not is lost.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::REPLICA_NOT_AVAILABLE`] when the broker holds no replica or does not run.
    pub(super) fn elect_uncleanly(
        &mut self,
        broker_id: i32,
        rules: &TopicRules,
    ) -> Result<(), ErrorCode> {
        self.ensure_online(broker_id)?;
        if !self.is_eligible(broker_id) {
            self.isr.clear();
            self.elr.clear();
        }
        self.lead(broker_id, rules);
        self.join_isr(rules);
        Ok(())
    }

    /// Holds an election as the controller does when it is asked to.
    ///
    /// Source: `ReplicationControlManager.electLeader`.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::ELECTION_NOT_NEEDED`], [`ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE`],
    /// [`ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE`].
    pub(super) fn hold_election(
        &mut self,
        election: Election,
        rules: &TopicRules,
    ) -> Result<(), ErrorCode> {
        let preferred = self.replicas.first().map_or(-1, |it| it.broker_id);
        match election {
            Election::Preferred if self.leader == preferred => Err(ErrorCode::ELECTION_NOT_NEEDED),
            Election::Preferred => {
                let elected = self.elect(preferred, rules);
                elected.map_err(|_| ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)
            }
            Election::Unclean if self.leader != -1 => Err(ErrorCode::ELECTION_NOT_NEEDED),
            Election::Unclean => {
                self.elect_any(rules, true);
                match self.leader {
                    -1 => Err(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE),
                    _ => Ok(()),
                }
            }
        }
    }

    /// A broker is gone: its replica falls out of sync, and another one leads if it did.
    pub(super) fn broker_stopped(&mut self, broker_id: i32, rules: &TopicRules) {
        let Some(replica) = self.replica_mut(broker_id) else {
            return;
        };
        replica.is_online = false;
        self.shrink_isr(broker_id, rules);
        if self.leader == broker_id {
            self.elect_any(rules, rules.allows_unclean_election);
            if self.leader == broker_id {
                self.leader = -1;
                self.leader_epoch = self.leader_epoch.saturating_add(1);
            }
        }
        self.replicate(rules);
    }

    /// A broker is back: its replica catches up with the leader, or leads if nobody does.
    pub(super) fn broker_started(&mut self, broker_id: i32, rules: &TopicRules) {
        let Some(replica) = self.replica_mut(broker_id) else {
            return;
        };
        replica.is_online = true;
        replica.log.reload();
        if self.leader == -1 {
            self.elect_any(rules, rules.allows_unclean_election);
        }
        self.replicate(rules);
        self.join_isr(rules);
    }

    /// Takes a replica out of sync, never the leader's.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::INVALID_REQUEST`] for the leader.
    pub(super) fn drop_from_isr(
        &mut self,
        broker_id: i32,
        rules: &TopicRules,
    ) -> Result<(), ErrorCode> {
        if self.leader == broker_id {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        self.shrink_isr(broker_id, rules);
        self.replicate(rules);
        Ok(())
    }

    /// Lets every replica into sync that has caught up with the leader.
    ///
    /// Source: `Partition.isFollowerInSync`.
    pub(super) fn join_isr(&mut self, rules: &TopicRules) {
        let Some(leader) = self.replica(self.leader) else {
            return;
        };
        let committed = leader.log.high_watermark().max(self.epoch_start_offset);
        let joining = self.replicas.iter().filter(|replica| {
            replica.is_online
                && replica.acknowledged >= committed
                && !self.isr.contains(&replica.broker_id)
        });
        let joining: Vec<i32> = joining.map(|replica| replica.broker_id).collect();
        self.isr.extend(joining);
        self.update_elr(&[], rules);
        self.replicate(rules);
    }

    fn ensure_online(&self, broker_id: i32) -> Result<(), ErrorCode> {
        let replica = self.replica(broker_id).filter(|it| it.is_online);
        replica.map(|_| ()).ok_or(ErrorCode::REPLICA_NOT_AVAILABLE)
    }

    /// Whether a replica has all that is committed.
    fn is_eligible(&self, broker_id: i32) -> bool {
        let eligible = if self.isr.is_empty() {
            &self.elr
        } else {
            &self.isr
        };
        eligible.contains(&broker_id)
    }

    /// Elects the first replica that has all that is committed, or any if that is allowed.
    fn elect_any(&mut self, rules: &TopicRules, may_be_unclean: bool) {
        let online = self.replicas.iter().filter(|replica| replica.is_online);
        let online: Vec<i32> = online.map(|replica| replica.broker_id).collect();
        let eligible = online.iter().find(|id| self.is_eligible(**id));
        if let Some(id) = eligible {
            self.lead(*id, rules);
        } else if let Some(id) = online.first()
            && may_be_unclean
        {
            let elected = self.elect_uncleanly(*id, rules);
            debug_assert!(elected.is_ok());
        }
    }

    fn lead(&mut self, broker_id: i32, rules: &TopicRules) {
        self.leader_epoch = self.leader_epoch.saturating_add(1);
        self.leader = broker_id;
        if !self.isr.contains(&broker_id) {
            self.isr.push(broker_id);
            self.update_elr(&[], rules);
        }
        let epoch = self.leader_epoch;
        for replica in &mut self.replicas {
            replica.acknowledged = -1;
            if replica.broker_id == broker_id {
                let end_offset = replica.log.end_offset();
                replica.log.epochs.begin(epoch, end_offset);
                self.epoch_start_offset = end_offset;
            }
        }
        self.replicate(rules);
    }

    fn shrink_isr(&mut self, broker_id: i32, rules: &TopicRules) {
        let before = self.isr.clone();
        self.isr.retain(|id| *id != broker_id);
        self.update_elr(&before, rules);
    }

    /// Replicas that have left the ISR stay eligible while too few are in sync, for nothing has
    /// been committed without them.
    ///
    /// Source: `PartitionChangeBuilder.maybePopulateTargetElr`.
    fn update_elr(&mut self, isr_before: &[i32], rules: &TopicRules) {
        if self.isr.len() >= self.min_isr(rules) {
            self.elr.clear();
            return;
        }
        self.elr.extend(isr_before);
        self.elr.sort_unstable();
        self.elr.dedup();
        self.elr.retain(|id| !self.isr.contains(id));
    }
}
