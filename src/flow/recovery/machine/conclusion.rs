//! The proof, and what follows from it.

use super::{basis::deleted_record, *};

/// The proof, and what follows from it.
impl Recovery {
    pub(super) fn tail_fetched(
        &mut self,
        around: &mut Surroundings<'_>,
        side: Side,
        fetched: FetchedRecords,
    ) -> Step {
        let Some(target) = self.facts.target else {
            return Ok(false);
        };
        let Stage::Tail {
            anchor,
            source_end,
            tail,
        } = &mut self.stage
        else {
            return Ok(false);
        };
        if side == Side::Target {
            if fetched.records.is_empty() && fetched.high_watermark < target.end_offset {
                // Nothing is built on what may still be lost (R4).
                return Ok(false);
            }
            if let Some(batch) = batch_before(&fetched.records, target.end_offset) {
                let count = i64::from(batch.header.record_count);
                *tail = Some((fetched.records.clone(), source_end.saturating_sub(count)));
                return Ok(true);
            }
            return self.leave_cheap_path(around, target);
        }
        let producer_id = anchor.lineage.producer_id;
        let (anchor, source_end, tail) = (anchor.clone(), *source_end, tail.clone());
        let (Some(producer), Some((tail, _))) = (self.producer(producer_id), tail) else {
            return self.leave_cheap_path(around, target);
        };
        let (Some(target_batch), Some(source_batch)) = (
            batch_before(&tail, target.end_offset),
            batch_before(&fetched.records, source_end),
        ) else {
            return self.leave_cheap_path(around, target);
        };
        let evidence = TailEvidence {
            anchor: &anchor,
            target_end: target.end_offset,
            producer,
            target: target_batch,
            source: source_batch,
        };
        if self.look_again_if_stale(around) {
            return Ok(true);
        }
        let Some(source_offset) = tail_proves(&evidence) else {
            return self.leave_cheap_path(around, target);
        };
        let end = Point {
            source_offset,
            target_offset: target.end_offset,
        };
        self.mapping
            .begin_dense(around, self.generation, &anchor, end);
        let position = Position {
            source_offset,
            source_epoch: source_batch.header.partition_leader_epoch,
            target_offset: target.end_offset,
            previous: Some(anchors::identity(
                &target_batch.header,
                target.end_offset.saturating_sub(1),
            )),
            is_shared: false,
            unmatched_records: 0,
        };
        let next_sequence = sequence_after(producer.last_sequence, 1);
        Err(self.go_on(around, position, anchor.lineage, (next_sequence, true)))
    }

    pub(super) fn leave_cheap_path(&mut self, around: &Surroundings<'_>, target: LogRange) -> Step {
        let Some(source) = self.facts.source else {
            return Ok(false);
        };
        let candidates = self.candidates(around, source, target);
        self.try_anchors(around, candidates, target);
        Ok(true)
    }

    pub(super) fn proof_fetched(&mut self, side: Side, fetched: FetchedRecords) -> Step {
        let Stage::Proof { proof, .. } = &mut self.stage else {
            return Ok(false);
        };
        let (range, readable_end) = match side {
            Side::Source => (self.facts.source, fetched.readable_end()),
            Side::Target => (self.facts.target, fetched.high_watermark),
        };
        let is_empty = fetched.records.is_empty();
        let is_committed = range.is_some_and(|range| readable_end >= range.end_offset);
        let progress = match side {
            Side::Source => proof.take_source(fetched),
            // Nothing is built on what may still be lost (R4).
            Side::Target if !is_committed && is_empty => return Ok(false),
            Side::Target => proof.take_target(fetched),
        };
        let mut progress = progress.map_err(End::Halt)?;
        let is_at_end = is_empty && progress == ProofProgress::None;
        if !is_at_end {
            self.asks_alone = false;
        } else if self.is_nothing_left(is_committed)
            && let Stage::Proof { proof, .. } = &mut self.stage
        {
            progress = proof.nothing_left(side).map_err(End::Halt)?;
        }
        if let Stage::Proof { proof, .. } = &mut self.stage {
            self.mapping.take_from(proof);
        }
        self.bytes_factor = match progress {
            ProofProgress::Cut => self.bytes_factor.saturating_mul(2),
            ProofProgress::Made | ProofProgress::None => 1,
        };
        Ok(true)
    }

    /// Draws the conclusion once the proof has its verdict.
    pub(super) fn conclude(&mut self, around: &mut Surroundings<'_>) -> Step {
        if self.look_again_if_stale(around) {
            return Ok(true);
        }
        let Stage::Proof { basis, proof } = &self.stage else {
            return Ok(false);
        };
        let (Some(proven), Some(source), Some(target)) =
            (proof.verdict(), self.facts.source, self.facts.target)
        else {
            return Ok(false);
        };
        let basis = basis.clone();
        self.foreign_records = proof.others_records();
        let may_have_more = proof.may_have_more();
        if let Some(Undecided {
            offset,
            producer_id,
        }) = proven.undecided
        {
            if self.looks < limits::EVIDENCE_ATTEMPTS {
                return self.look_again(around);
            }
            return Err(End::Halt(HaltReason::Undecided {
                offset,
                producer_id,
            }));
        }
        if proven.is_source_short && self.source_looks < limits::EVIDENCE_ATTEMPTS {
            // A new leader of the source may not know yet how far its log is committed.
            return self.look_at_source_again(around);
        }
        if let Some(halt) = Self::unproven(around, &basis, &proven, may_have_more) {
            return self.adopt(around, source, target, halt);
        }
        let missing = self.missing(around, &basis, &proven, source);
        let position = self.position(&basis, &proven, target);
        let Basis::Anchor(anchor) = basis else {
            let because = NewBecause::First;
            return self.open_proven(around, position, because, missing);
        };
        if missing.is_some() {
            return self.open_proven(around, position, NewBecause::Gap, missing);
        }
        let evidence = self.evidence(around, &anchor, &proven);
        match decide::decide(&evidence, self.looks) {
            Verdict::Continue {
                next_sequence,
                is_remembered,
            } => Err(self.go_on(
                around,
                position,
                anchor.lineage,
                (next_sequence, is_remembered),
            )),
            Verdict::Again => self.look_again(around),
            Verdict::New(because) => self.open_proven(around, position, because, None),
        }
    }

    /// What speaks for the lineage of an anchor behind which this was proven, and against it.
    fn evidence(&self, around: &Surroundings<'_>, anchor: &Anchor, proven: &Proven) -> Evidence {
        let newest = Self::newest_lineage(around);
        let producers = self.facts.producers.as_ref().and_then(Option::as_deref);
        Evidence {
            lineage: anchor.lineage,
            anchored_sequence: anchor.next_sequence,
            is_newest: newest == Some(anchor.lineage),
            is_continuous: proven.continues,
            is_torn: proven.is_torn,
            next_sequence: proven.next_sequence,
            state: ProducerState::of(producers, anchor.lineage.producer_id),
            is_deterministic: self.facts.may_compact == Some(false)
                && anchor.mapping == self.mapping_rules(around)
                && !self.has_source_diverged
                && !self.is_lineage_over,
            is_refused: self.cause.is_idempotence_refused(),
            is_contradicted: self.is_memory_void,
        }
    }

    /// Gathers all evidence once more, a little later.
    pub(super) fn look_again(&mut self, around: &mut Surroundings<'_>) -> Step {
        self.looks += 1;
        self.backoff.fail(around.now, around.seed);
        // An owner stores its lineage before its first batch (R3): whatever is in the log by now is
        // in the state, too, when this has been read back.
        self.take_generation(around, self.generation);
        Ok(true)
    }

    /// What a stored position says of the target and no proof has found there.
    fn unproven(
        around: &Surroundings<'_>,
        basis: &Basis,
        proven: &Proven,
        may_have_more: bool,
    ) -> Option<HaltReason> {
        let stored_offset = match basis {
            Basis::Hint { stored_offset, .. } => Some(*stored_offset),
            // Somebody else has copied, perhaps, and has stored how far.
            Basis::Anchor(_) if may_have_more => around.stored_offset,
            Basis::Anchor(_) | Basis::Beginning => None,
        };
        let stored_offset = stored_offset.filter(|stored| proven.source_offset < *stored)?;
        Some(HaltReason::Unproven {
            stored_offset,
            proven_offset: proven.source_offset,
        })
    }

    pub(super) fn position(&self, basis: &Basis, proven: &Proven, target: LogRange) -> Position {
        let known = match basis {
            Basis::Anchor(anchor) if anchor.target_offset == target.end_offset => anchor.previous,
            _ => None,
        };
        let is_sequenced = match basis {
            Basis::Anchor(anchor) => anchor.lineage.is_sequenced(),
            Basis::Hint { .. } | Basis::Beginning => true,
        };
        let unknown = (target.end_offset > 0).then(|| deleted_record(self.target_epoch));
        let source_epoch = match basis {
            // Nothing was read below: it is as it was at the anchor.
            Basis::Anchor(anchor) if proven.source_offset == anchor.source_offset => {
                anchor.source_epoch
            }
            _ => proven.source_epoch,
        };
        Position {
            source_offset: proven.source_offset,
            source_epoch,
            target_offset: target.end_offset,
            previous: proven.tail.or(known).or(unknown),
            // Former lineages are no others: what a late process writes under them is to be noticed.
            // Without sequence numbers what does not match may be anybody's.
            is_shared: self.foreign_records > 0
                || (!is_sequenced && proven.unmatched_own_records > 0),
            unmatched_records: (proven.unmatched_own_records)
                .saturating_add(proven.unmatched_former_records),
        }
    }

    /// Which source records are gone that were not copied.
    pub(super) fn missing(
        &self,
        around: &Surroundings<'_>,
        basis: &Basis,
        proven: &Proven,
        source: LogRange,
    ) -> Option<(Missing, Uuid)> {
        let newest = anchors::newest(around.state.anchors(&around.place));
        let reached = match basis {
            // The source lost records, and what is left of it tells nothing of those below: which
            // of them took the place of others is not known.
            Basis::Anchor(anchor)
                if self.has_source_diverged && anchor.source_offset <= source.start_offset =>
            {
                0
            }
            Basis::Anchor(anchor) => anchor.source_offset,
            Basis::Hint { stored_offset, .. } => *stored_offset,
            // No anchor is true any more: the target may have lost whatever was copied.
            Basis::Beginning => 0,
        };
        // Own records count only when they are one run from the anchor on, or one of them may be
        // missing on the target as well, and only while the source had no other leader: a new one
        // may have put other records in the place of those that were copied.
        let is_run = match basis {
            Basis::Anchor(anchor) => {
                let count = i32::try_from(proven.lead_in_records).unwrap_or(i32::MAX);
                let is_same_log = around.source_epoch == anchor.source_epoch.max(0);
                is_same_log && sequence_after(anchor.next_sequence, count) == proven.next_sequence
            }
            Basis::Hint { .. } | Basis::Beginning => false,
        };
        let lead_in = i64::try_from(proven.lead_in_records).unwrap_or(i64::MAX);
        let lead_in = if is_run { lead_in } else { 0 };
        let reached = reached.saturating_add(lead_in);
        let deleted = decide::deleted(reached, source, proven.proven_records > 0);
        let diverged = newest
            .filter(|_| self.has_source_diverged)
            .map(|anchor| anchor.source_offset.max(self.former_offset.unwrap_or(0)))
            .filter(|to_offset| *to_offset > proven.source_offset)
            .map(|to_offset| Missing {
                from_offset: proven.source_offset,
                to_offset,
                cause: GapCause::Truncated,
            });
        let missing = deleted.or(diverged)?;
        Some((missing, around.source_topic_id))
    }
}
/// The batch of an answer that ends just before an offset.
pub(super) fn batch_before(records: &[u8], end_offset: i64) -> Option<Batch<'_>> {
    let entries = batches(records).filter_map(Result::ok);
    let mut found = entries.filter_map(|entry| match entry {
        LogEntry::Batch(batch) => Some(batch),
        LogEntry::Legacy(_) => None,
    });
    found.find(|batch| batch.header.next_offset() == end_offset)
}
