//! Time that passed unseen (R13), and the points that a later recovery starts from.

use std::time::{Duration, Instant};

use super::{
    Action, Delivery, Failure, Flow, Partition, PartitionId, PerTopicConfig, RecoveryCause, Side,
    Slot, TopicConfig, halt::HaltReason, limits, recovery::place,
};
use crate::offsets::state::{Entry, Owner};

impl Slot {
    /// Whether the target's leader is the one under which the position was proven, all the time since
    /// as far as is known.
    fn leads_as_proven(&self) -> bool {
        self.recovery.is_none()
            && self.target.leader.is_some()
            && self.proven_under == self.target.leader
    }
}

impl Flow {
    /// Notes the time. After a pause longer than the lease another process may have taken over,
    /// or the target may have forgotten the producers: positions are proven again.
    pub(super) fn notice_time(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let pause = now.saturating_duration_since(self.seen);
        self.seen = self.seen.max(now);
        self.paused(now, pause, actions);
    }

    pub(super) fn paused(&mut self, now: Instant, pause: Duration, actions: &mut Vec<Action>) {
        if pause <= self.options.lease || !self.proves() {
            return;
        }
        let ids: Vec<PartitionId> = self.by_source.values().copied().collect();
        for id in ids {
            self.recover(now, id, RecoveryCause::Paused, actions);
        }
    }

    /// Whether positions are proven from the target's log.
    pub(super) fn proves(&self) -> bool {
        self.options.delivery == Delivery::ExactlyOnce
    }

    /// A flow that has nothing to do looks at the clock now and then, or it would take that for a
    /// pause.
    pub(super) fn lease_deadline(&self) -> Option<Instant> {
        self.proves().then(|| self.seen + self.options.lease / 2)
    }

    /// Milliseconds since 1970, by the clock of the start and the time that has passed since: a
    /// wall clock that jumps changes nothing.
    pub(super) fn wall_ms(&self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.started).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        self.options.started_ms.saturating_add(passed)
    }

    /// Twice in each lease, says that this process is alive, and takes up what another had taken
    /// over and is silent about now.
    pub(super) fn schedule_presence(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.proves() || now < self.presence_at || self.drain.is_some() {
            return;
        }
        self.presence_at = now + self.options.lease / 2;
        self.say_present(now);
        let silence = self.options.lease * limits::SILENT_LEASES;
        let partitions = self.slots.iter().map(|slot| &slot.partition);
        let left = partitions.filter(|partition| {
            let reason = partition.halt_reason();
            matches!(reason, Some(HaltReason::Superseded { instance, .. })
                if self.state.is_abandoned(now, &place(&partition.source), *instance, silence))
        });
        let left: Vec<PartitionId> = left.map(|partition| partition.id).collect();
        for id in left {
            self.with_partition(now, id, actions, Partition::stand_in);
            self.recover(now, id, RecoveryCause::OwnerSilent, actions);
        }
    }

    /// One record tells others that its writer lives: that of the first partition it owns. A proof
    /// may take longer than others wait.
    fn say_present(&mut self, now: Instant) {
        let owned = self.slots.iter().find_map(|slot| {
            let partition = &slot.partition;
            let generation = match &slot.recovery {
                Some(recovery) => recovery.owned_generation(),
                None => partition.generation(),
            };
            let generation = generation.filter(|_| partition.halt_reason().is_none())?;
            Some((place(&partition.source), generation))
        });
        let Some((place, generation)) = owned else {
            return;
        };
        let owner = Owner {
            generation,
            instance: self.options.instance,
            since_ms: self.wall_ms(now),
        };
        self.state.put(&place, Entry::Owner(owner));
    }

    pub(super) fn presence_deadline(&self) -> Option<Instant> {
        let is_present = self.proves() && !self.slots.is_empty() && self.drain.is_none();
        is_present.then_some(self.presence_at)
    }

    pub(super) fn anchors_deadline(&self) -> Option<Instant> {
        let is_due = !self.unanchored.is_empty() && self.confirming_since.is_none();
        is_due.then_some(self.anchors_at)
    }

    /// Has the anchors written that are due, once the target's leaders are known to be those of the
    /// proofs.
    pub(super) fn schedule_anchors(&mut self, now: Instant) {
        if !self.unanchored.is_empty() && now >= self.anchors_at {
            self.confirm_leaders(now);
        }
    }

    /// Has anchors written before their time, because much has been copied.
    pub(super) fn anchor_soon(&mut self) {
        self.anchors_at = self.anchors_at.min(self.anchored_at + limits::ANCHORS_WAIT);
    }

    /// Asks for the target's leaders, unless that is under way.
    ///
    /// No acknowledgement says under which leader epoch it was given. A leader that has gone and come
    /// back since the last look leaves no other trace, and an anchor that names the former epoch for
    /// a record of the later one is not believed (R10).
    pub(super) fn confirm_leaders(&mut self, now: Instant) {
        if self.confirming_since.is_none() {
            self.confirming_since = Some(now);
            self.discovery.refresh(Side::Target, now);
        }
    }

    /// Takes word of the target's leaders that was asked for at `asked_at`, after it has been followed:
    /// those that lead as they did led so all the time, for epochs only grow.
    pub(super) fn leaders_confirmed(&mut self, now: Instant, asked_at: Instant) {
        for slot in &mut self.slots {
            if slot.leads_as_proven() && slot.acknowledged_at.is_some_and(|at| at <= asked_at) {
                slot.acknowledged_at = None;
            }
        }
        if self.confirming_since.is_none_or(|since| asked_at < since) {
            return;
        }
        self.confirming_since = None;
        self.anchored_at = now;
        self.anchors_at = now + self.options.anchor_interval;
        for id in std::mem::take(&mut self.unanchored) {
            if self.slot(id).is_some_and(Slot::leads_as_proven) {
                self.anchor(id);
            }
        }
    }

    /// Writes what is left when the flow ends, whether or not the leaders are certain.
    pub(super) fn anchor_all(&mut self) {
        for id in std::mem::take(&mut self.unanchored) {
            self.anchor(id);
        }
    }

    /// Writes where a partition stands, all below being acknowledged (I4).
    pub(super) fn anchor(&mut self, id: PartitionId) {
        self.unanchored.remove(&id);
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let ids = (slot.source.topic_id, slot.target.topic_id);
        let Some((anchor, mut map)) = slot.partition.take_anchor(ids) else {
            return;
        };
        if !slot.partition.is_proven() {
            // Another process may own it by now: what is stored is not ours to delete.
            map.1.clear();
        }
        let place = place(&slot.partition.source);
        self.state.put_anchor(&place, anchor, map);
    }

    /// Writes where a partition stands, and its whole map, into a state topic that has none of it.
    pub(super) fn anchor_anew(&mut self, id: PartitionId) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let ids = (slot.source.topic_id, slot.target.topic_id);
        let place = place(&slot.partition.source);
        if let Some((anchor, map)) = slot.partition.take_anchor_anew(ids) {
            self.state.put_anchor(&place, anchor, map);
        }
    }

    /// Takes the configuration of topics that exist.
    pub(super) fn topics_inspected(
        &mut self,
        now: Instant,
        side: Side,
        result: Result<PerTopicConfig, Failure>,
        actions: &mut Vec<Action>,
    ) {
        match side {
            Side::Source => self.policies_answered(now, result, actions),
            Side::Target => {
                let config = result.and_then(|configs| {
                    let first = configs.into_iter().next();
                    first.map_or_else(|| Ok(TopicConfig::default()), |(_, config)| config)
                });
                self.state_inspected(now, config, actions);
            }
        }
    }
}
