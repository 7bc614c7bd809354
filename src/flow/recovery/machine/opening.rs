//! The lineage under which copying goes on: a new one, or the newest.

use kmirror_protocol::ErrorCode;

use super::*;

/// Opening a lineage, or going on with one.
impl Recovery {
    pub(super) fn open_proven(
        &mut self,
        around: &mut Surroundings<'_>,
        position: Position,
        because: NewBecause,
        missing: Option<(Missing, Uuid)>,
    ) -> Step {
        let opening = Opening {
            position,
            because,
            missing,
        };
        self.open(around, opening)
    }

    /// Opens a new lineage: the next epoch of the producer id, or a new id when they are used up.
    pub(super) fn open(&mut self, around: &mut Surroundings<'_>, opening: Opening) -> Step {
        if let Some((missing, _)) = opening.missing
            && around.options.on_gap == OnGap::Halt
            && missing.cause != GapCause::Recreated
        {
            return Err(End::Halt(HaltReason::Gap {
                from_offset: missing.from_offset,
                to_offset: missing.to_offset,
                cause: missing.cause,
            }));
        }
        if self.cause.is_idempotence_refused() {
            // A producer id would be refused as well. It is asked for again later.
            self.refusal = Some(Refusal::Answered(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
            self.write_opening(around, &opening, Lineage::UNSEQUENCED);
            return Ok(true);
        }
        let claimed = around
            .state
            .claim(&around.place)
            .map(|claim| claim.producer_id);
        let newest = Self::newest_lineage(around).map(|lineage| lineage.producer_id);
        // An id from before a time without any is not taken up again: its epochs may be in no
        // anchor any more.
        let Some(producer_id) = newest.or(claimed).filter(|id| *id >= 0) else {
            self.go_to(Stage::NewProducer(Box::new(opening)));
            return Ok(true);
        };
        let producers = self.facts.producers.as_ref().and_then(Option::as_deref);
        let state = ProducerState::of(producers, producer_id);
        let anchors = around.state.anchors(&around.place);
        match decide::next_epoch(producer_id, anchors, state) {
            Some(epoch) => {
                let lineage = Lineage { producer_id, epoch };
                self.write_opening(around, &opening, lineage);
            }
            None => self.go_to(Stage::NewProducer(Box::new(opening))),
        }
        Ok(true)
    }

    /// Writes the first anchor of a lineage, before its first batch (R3), and the gap before it.
    pub(super) fn write_opening(
        &mut self,
        around: &mut Surroundings<'_>,
        opening: &Opening,
        lineage: Lineage,
    ) {
        let position = opening.position;
        let counters = around
            .state
            .anchors(&around.place)
            .map(|anchor| anchor.counter);
        let counter = counters.max().map_or(1, |counter| counter + 1);
        let mut start = self.start(around, position, lineage, (0, false), counter);
        start.footing.opened = Some(opening.because);
        start.footing.refusal = self.refusal.filter(|_| !lineage.is_sequenced());
        if let Some((missing, source_topic_id)) = opening.missing {
            let gap = Gap {
                from_offset: missing.from_offset,
                to_offset: missing.to_offset,
                cause: missing.cause,
                source_topic_id,
                noticed_ms: around.wall_ms,
            };
            // A process that ended before it wrote anything behind the gap has told of it already.
            let is_told = around
                .state
                .gaps(&around.place)
                .any(|known| known.is_same(&gap));
            if !is_told {
                around.state.put(&around.place, Entry::Gap(gap));
                self.notices.push(PartitionNotice::Gap {
                    from_offset: missing.from_offset,
                    to_offset: missing.to_offset,
                    cause: missing.cause,
                });
            }
        }
        // Told before it is written: a process that ends now leaves a lineage that its successor
        // goes on with, and nobody would say why.
        self.notices.push(PartitionNotice::LineageOpened {
            because: opening.because,
            cause: self.cause.clone(),
            is_sequenced: lineage.is_sequenced(),
            source_offset: position.source_offset,
            unmatched_records: position.unmatched_records,
        });
        let changes = self.mapping.changes();
        let ticket = around
            .state
            .put_anchor(&around.place, start.anchor, changes);
        self.go_to(Stage::Opening(ticket, Box::new(start)));
    }

    pub(super) fn opened(&mut self) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Own) {
            Stage::Opening(_, start) => Err(End::Done(start)),
            other => {
                self.stage = other;
                Ok(false)
            }
        }
    }

    /// The newest lineage goes on.
    pub(super) fn go_on(
        &mut self,
        around: &Surroundings<'_>,
        position: Position,
        lineage: Lineage,
        (next_sequence, is_established): (i32, bool),
    ) -> End {
        let counters = around
            .state
            .anchors(&around.place)
            .map(|anchor| anchor.counter);
        let counter = counters.max().unwrap_or(0);
        let identity = (next_sequence, is_established);
        let start = self.start(around, position, lineage, identity, counter);
        self.notices.push(PartitionNotice::LineageContinued {
            cause: self.cause.clone(),
            source_offset: position.source_offset,
            is_remembered: is_established,
            unmatched_records: position.unmatched_records,
        });
        End::Done(Box::new(start))
    }

    /// What tells whether a later leader still has the log up to a position whose own epoch nobody
    /// knows.
    fn source_leader_epoch(&self, position: Position) -> i32 {
        let end_offset = self.facts.source.map_or(0, |range| range.end_offset);
        let is_known = position.source_epoch >= 0 || position.source_offset > end_offset;
        if is_known { -1 } else { self.source_epoch }
    }

    pub(super) fn start(
        &mut self,
        around: &Surroundings<'_>,
        position: Position,
        lineage: Lineage,
        (next_sequence, is_established): (i32, bool),
        counter: u64,
    ) -> Start {
        let newest = anchors::newest(around.state.anchors(&around.place));
        let carried = newest.filter(|newest| newest.lineage == lineage);
        let at = Point {
            source_offset: position.source_offset,
            target_offset: position.target_offset,
        };
        let target_start = self.facts.target.map_or(0, |range| range.start_offset);
        let version = self.mapping.end(at, target_start);
        Start {
            anchor: Anchor {
                counter,
                generation: self.generation,
                lineage,
                next_sequence,
                source_offset: position.source_offset,
                source_epoch: position.source_epoch,
                source_leader_epoch: self.source_leader_epoch(position),
                source_topic_id: around.source_topic_id,
                target_offset: position.target_offset,
                target_topic_id: around.target_topic_id,
                previous: position.previous,
                mapping: self.mapping_rules(around),
                carried_epoch: carried.map_or(-1, |newest| newest.carried_epoch),
                cut_count: version.cut_count,
            },
            target_epoch: self.target_epoch,
            is_established,
            is_shared: position.is_shared,
            footing: Footing {
                is_blind: matches!(self.facts.producers, Some(None)),
                ..Footing::default()
            },
            foreign_records: self.foreign_records,
        }
    }
}
