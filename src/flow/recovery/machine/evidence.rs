//! What the source and the target say, and which way leads from there to a proof.

use super::*;

/// What the source and the target say.
impl Recovery {
    pub(super) fn source_known(&mut self, around: &mut Surroundings<'_>) -> Step {
        let (Some(may_compact), Some(_)) = (self.facts.may_compact, self.facts.source) else {
            return Ok(false);
        };
        let newest = anchors::newest(around.state.anchors(&around.place));
        let reset = Self::reset(around)?;
        if let Some(newest) = newest
            && reset.is_none()
            && Self::is_recreated(newest, around)
            && around.options.on_recreated == OnRecreated::Halt
        {
            return Err(End::Halt(HaltReason::TopicRecreated));
        }
        // Without sequence numbers, too, nothing but time keeps late batches out (B13).
        let is_unfenced = newest.is_some_and(|newest| !newest.lineage.is_sequenced());
        // Whoever wrote before a reset had no reason to expect another owner.
        if (may_compact && newest.is_some()) || is_unfenced || reset.is_some() {
            let until = around.now + around.options.quiesce;
            self.go_to(Stage::Quiet(until));
        } else {
            self.go_to(Stage::Target);
        }
        Ok(true)
    }

    /// By the topic's id; where there are none, by a leader epoch that began anew.
    pub(super) fn is_recreated(newest: &Anchor, around: &Surroundings<'_>) -> bool {
        let (then, now) = (newest.source_topic_id, around.source_topic_id);
        if then.is_zero() || now.is_zero() {
            return around.source_epoch >= 0 && around.source_epoch < newest.source_epoch;
        }
        then != now
    }

    pub(super) fn target_known(&mut self, around: &mut Surroundings<'_>) -> Step {
        self.target_epoch = around.target_epoch;
        if self.facts.producers.is_none() {
            self.facts.newest = Self::newest_anchor(around);
        }
        let (Some(source), Some(target)) = (self.facts.source, self.facts.target) else {
            return Ok(false);
        };
        if let Some(reset) = Self::reset(around)?.cloned() {
            return self.go_on_at_reset(around, &reset, source, target);
        }
        let newest = anchors::newest(around.state.anchors(&around.place)).cloned();
        let Some(newest) = newest else {
            return match around.stored_offset {
                Some(stored_offset) => self.take_over(around, stored_offset, source, target),
                None => self.begin(around, source, target),
            };
        };
        if Self::is_recreated(&newest, around) {
            return self.append_recreated(around, &newest, source, target);
        }
        let ids = (newest.target_topic_id, around.target_topic_id);
        if !ids.0.is_zero() && !ids.1.is_zero() && ids.0 != ids.1 {
            let halt = HaltReason::RemoteTopicRecreated;
            return self.adopt(around, source, target, halt);
        }
        let candidates = self.candidates(around, source, target);
        self.has_source_diverged = !self.refuted.is_empty()
            || (!anchors::has_source_epoch(&newest) && newest.source_offset > source.end_offset);
        if let Some(stage) = self.cheap_path(around, &newest, candidates.first(), source, target) {
            self.go_to(stage);
            return Ok(true);
        }
        self.try_anchors(around, candidates, target);
        Ok(true)
    }

    /// Looks at the source's log once more after a wait, of which not many are granted.
    pub(super) fn look_at_source_again(&mut self, around: &Surroundings<'_>) -> Step {
        self.source_looks += 1;
        self.backoff.fail(around.now, around.seed);
        self.go_to(Stage::Source);
        Ok(true)
    }

    /// The anchors that may be true, the one that spares most first.
    pub(super) fn candidates(
        &self,
        around: &Surroundings<'_>,
        source: LogRange,
        target: LogRange,
    ) -> Vec<Anchor> {
        let topic_ids = (around.source_topic_id, around.target_topic_id);
        let anchors = around.state.standing_anchors(&around.place);
        let mut candidates = anchors::candidates(anchors, topic_ids, source, target);
        let is_refuted =
            |anchor: &Anchor| (self.refuted).contains(&(anchor.generation, anchor.counter));
        candidates.retain(|anchor| !is_refuted(anchor));
        candidates
    }

    /// The reset with which copying begins. That of a former topic of the same name says nothing of
    /// this one.
    fn reset<'a>(around: &'a Surroundings<'_>) -> Result<Option<&'a Reset>, End> {
        let Some(reset) = around.state.pending_reset(&around.place) else {
            return Ok(None);
        };
        let (then, now) = (reset.source_topic_id, around.source_topic_id);
        if then.is_zero() || now.is_zero() || then == now {
            return Ok(Some(reset));
        }
        match around.options.on_recreated {
            OnRecreated::Halt => Err(End::Halt(HaltReason::TopicRecreated)),
            OnRecreated::Append => Ok(None),
        }
    }

    fn newest_anchor(around: &Surroundings<'_>) -> Option<(u64, u64)> {
        let newest = anchors::newest(around.state.anchors(&around.place));
        newest.map(|anchor| (anchor.generation, anchor.counter))
    }

    /// Looks at the target again when a former process, which does not know yet that it is one, has
    /// written an anchor since: what is known of the log is older than what the state says of it.
    pub(super) fn look_again_if_stale(&mut self, around: &Surroundings<'_>) -> bool {
        let is_stale = self.facts.newest != Self::newest_anchor(around);
        if is_stale {
            self.go_to(Stage::Target);
        }
        is_stale
    }

    /// Goes on with the next anchor that may be true, or from the beginning when none is left.
    pub(super) fn try_anchors(
        &mut self,
        around: &Surroundings<'_>,
        candidates: Vec<Anchor>,
        target: LogRange,
    ) {
        let Some(anchor) = candidates.first() else {
            return self.prove(around, Basis::Beginning);
        };
        match anchors::first_check(anchor, target) {
            None => {
                let anchor = *anchor;
                self.prove(around, Basis::Anchor(Box::new(anchor)));
            }
            check => self.go_to(Stage::Anchors { candidates, check }),
        }
    }
}
