//! Time that passed unseen (R13), and the points that a later recovery starts from.

use std::time::{Duration, Instant};

use super::{
    Action, Delivery, Failure, Flow, PartitionId, RecoveryCause, Side, TopicConfig, recovery::place,
};
use crate::offsets::state::Entry;

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

    pub(super) fn anchors_deadline(&self) -> Option<Instant> {
        (!self.unanchored.is_empty()).then_some(self.anchors_at)
    }

    /// Writes the anchors that are due.
    pub(super) fn schedule_anchors(&mut self, now: Instant) {
        if self.unanchored.is_empty() || now < self.anchors_at {
            return;
        }
        self.anchors_at = now + self.options.anchor_interval;
        self.anchor_all();
    }

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
        let Some(anchor) = slot.partition.take_anchor(ids) else {
            return;
        };
        let place = place(&slot.partition.source);
        self.state.put(&place, Entry::Anchor(anchor));
    }

    /// Takes the configuration of topics that exist.
    pub(super) fn topics_inspected(
        &mut self,
        now: Instant,
        side: Side,
        result: Result<Vec<TopicConfig>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        match side {
            Side::Source => self.policies_answered(now, result, actions),
            Side::Target => {
                let none = TopicConfig::default();
                let config = match &result {
                    Ok(configs) => Ok(configs.first().unwrap_or(&none)),
                    Err(failure) => Err(failure),
                };
                self.state_inspected(now, config, actions);
            }
        }
    }
}
