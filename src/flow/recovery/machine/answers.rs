//! Answers, and what a failure means.

use super::*;

/// Answers.
impl Recovery {
    /// Takes the answer to a question of the present stint.
    pub(in crate::flow) fn answered(
        &mut self,
        around: &mut Surroundings<'_>,
        question: Question,
        result: Result<Answer, Failure>,
    ) -> Progress {
        self.open.retain(|open| *open != question);
        if let Err(End::Halt(reason)) = self.refuse_successor(around) {
            return Progress::Halted(reason);
        }
        let outcome = match result {
            Ok(answer) => {
                self.backoff.succeed();
                self.take(around, question, answer)
            }
            Err(failure) => self.failed(around, question, failure),
        };
        match outcome {
            Ok(_) => Progress::Waits,
            Err(End::Halt(reason)) => Progress::Halted(reason),
            Err(End::Done(start)) => Progress::Done(*start),
        }
    }

    pub(super) fn take(
        &mut self,
        around: &mut Surroundings<'_>,
        question: Question,
        answer: Answer,
    ) -> Step {
        match (question, answer) {
            (Question::ProducerId, Answer::ProducerId(id)) => self.producer_granted(around, id),
            (Question::Policy, Answer::Policy { may_compact }) => {
                self.facts.may_compact = Some(may_compact);
                Ok(true)
            }
            (Question::Range(Side::Source), Answer::Range(range)) => {
                self.facts.source = Some(range);
                Ok(true)
            }
            (Question::Range(Side::Target), Answer::Range(range)) => {
                self.facts.target = Some(range);
                Ok(true)
            }
            (Question::Producers, Answer::Producers(producers)) => {
                self.facts.producers = Some(producers);
                Ok(true)
            }
            (Question::EpochEnd(side, epoch), Answer::EpochEnd(end)) => {
                self.epoch_checked(around, side, epoch, end)
            }
            (Question::Time(Side::Target, _), Answer::Time(offset)) => {
                self.hint_found(around, offset)
            }
            (Question::Time(Side::Source, _), Answer::Time(offset))
            | (Question::Committed, Answer::Committed(offset)) => self.start_found(around, offset),
            (Question::Window(side, offset), Answer::Window(fetched)) => {
                self.window(around, side, offset, fetched)
            }
            (Question::Decided(_), Answer::Window(fetched)) => {
                self.proof_fetched(Side::Target, fetched)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn producer_granted(
        &mut self,
        around: &mut Surroundings<'_>,
        producer_id: i64,
    ) -> Step {
        let number = around.state.claim(&around.place).map(|claim| claim.number);
        let claim = Claim {
            number: number.map_or(0, |number| number + 1),
            producer_id,
        };
        match std::mem::replace(&mut self.stage, Stage::Own) {
            Stage::Claiming => {
                around.state.put(&around.place, Entry::Claim(claim));
                self.take_ownership(around);
                Ok(true)
            }
            Stage::NewProducer(opening) => {
                around.state.put(&around.place, Entry::Claim(claim));
                let lineage = Lineage {
                    producer_id,
                    epoch: 0,
                };
                self.write_opening(around, &opening, lineage);
                Ok(true)
            }
            other => {
                self.stage = other;
                Ok(false)
            }
        }
    }

    /// The target gives out no producer ids: batches go without sequence numbers, and nothing but a
    /// proof by content tells what became of them.
    pub(super) fn producer_refused(
        &mut self,
        around: &mut Surroundings<'_>,
        refusal: Refusal,
    ) -> Step {
        self.refusal = Some(refusal);
        match std::mem::replace(&mut self.stage, Stage::Own) {
            Stage::Claiming => self.take_ownership(around),
            Stage::NewProducer(opening) => {
                self.write_opening(around, &opening, Lineage::UNSEQUENCED);
            }
            other => {
                self.stage = other;
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn epoch_checked(
        &mut self,
        around: &Surroundings<'_>,
        side: Side,
        epoch: i32,
        end: EpochEnd,
    ) -> Step {
        match side {
            Side::Source => self.source_checked(around, |anchor| {
                if anchors::has_source_epoch(anchor) {
                    anchors::agrees(epoch, end, anchor.source_offset)
                } else {
                    anchors::reaches(end, anchor.source_offset)
                }
            }),
            Side::Target => {
                let Stage::Anchors { candidates, check } = &self.stage else {
                    return Ok(false);
                };
                let Some(anchor) = candidates.first() else {
                    return Ok(false);
                };
                let (is_true, next) = if matches!(check, Some(Check::LaterEpoch(_))) {
                    let from = anchors::later_from(epoch, end, anchor);
                    (from.is_some(), from.map(Check::Dense))
                } else {
                    (anchors::agrees(epoch, end, anchor.target_offset), None)
                };
                self.checked(around, is_true, next)
            }
        }
    }

    /// Takes what the source says of the anchor in question; the target's side comes next.
    fn source_checked(
        &mut self,
        around: &Surroundings<'_>,
        holds: impl FnOnce(&Anchor) -> bool,
    ) -> Step {
        let (Some(target), Stage::Anchors { candidates, .. }) = (self.facts.target, &self.stage)
        else {
            return Ok(false);
        };
        let Some(anchor) = candidates.first() else {
            return Ok(false);
        };
        let is_true = holds(anchor);
        let next = anchors::target_check(anchor, target);
        if !is_true {
            self.refuted.insert((anchor.generation, anchor.counter));
            self.has_source_diverged = true;
        }
        self.checked(around, is_true, next)
    }

    /// Draws the consequence of a check: the next one, the proof, or the next anchor.
    pub(super) fn checked(
        &mut self,
        around: &Surroundings<'_>,
        is_true: bool,
        next: Option<Check>,
    ) -> Step {
        let Some(target) = self.facts.target else {
            return Ok(false);
        };
        let Stage::Anchors { candidates, .. } = &mut self.stage else {
            return Ok(false);
        };
        let mut candidates = std::mem::take(candidates);
        if !is_true {
            candidates.remove(0);
            self.try_anchors(around, candidates, target);
        } else if next.is_some() {
            self.go_to(Stage::Anchors {
                candidates,
                check: next,
            });
        } else {
            let anchor = candidates.swap_remove(0);
            self.prove(around, Basis::Anchor(Box::new(anchor)));
        }
        Ok(true)
    }

    pub(super) fn hint_found(
        &mut self,
        around: &mut Surroundings<'_>,
        offset: Option<i64>,
    ) -> Step {
        let Some(target) = self.facts.target else {
            return Ok(false);
        };
        let Stage::HintTime {
            stored_offset,
            source_offset,
            ..
        } = self.stage
        else {
            return Ok(false);
        };
        // Without an offset nothing on the target is as new as the record before the position.
        self.prove(
            around,
            Basis::Hint {
                source_offset,
                target_offset: offset.unwrap_or(target.end_offset),
                stored_offset,
            },
        );
        Ok(true)
    }

    pub(super) fn window(
        &mut self,
        around: &mut Surroundings<'_>,
        side: Side,
        offset: i64,
        fetched: FetchedRecords,
    ) -> Step {
        let is_looking = matches!(self.stage, Stage::Anchors { .. } | Stage::Last(_));
        let is_empty = fetched.records.is_empty();
        // An anchor lies below what was acknowledged: what is not committed yet will be.
        if is_looking && is_empty && !self.is_nothing_left(fetched.high_watermark > offset) {
            return Ok(false);
        }
        match &mut self.stage {
            Stage::Tail { .. } => self.tail_fetched(around, side, fetched),
            Stage::Anchors { candidates, check } => {
                let Some(anchor) = candidates.first() else {
                    return Ok(false);
                };
                let found = anchors::identity_at(&fetched.records, offset);
                let (is_true, next) = match (found, anchor.previous) {
                    (found, _) if matches!(check, Some(Check::Dense(_))) => {
                        let is_dense = |first| anchors::is_dense(&first, offset, anchor);
                        (found.is_some_and(is_dense), None)
                    }
                    // Compaction took the record: its epoch has to do.
                    (None, Some(previous)) => {
                        (true, Some(Check::TargetEpoch(previous.leader_epoch)))
                    }
                    (Some(found), Some(previous)) if anchors::is_later(&found, &previous) => {
                        (true, Some(Check::LaterEpoch(previous.leader_epoch)))
                    }
                    (found, previous) => (found == previous, None),
                };
                self.checked(around, is_true, next)
            }
            Stage::Hint(hint) => {
                let hint = *hint;
                self.hinted(around, hint, fetched)
            }
            Stage::Last(opening) => {
                let mut opening = (**opening).clone();
                opening.position.previous = match anchors::identity_at(&fetched.records, offset) {
                    Some(identity) => Some(identity),
                    None if is_empty => Some(basis::deleted_record(self.target_epoch)),
                    None => return Ok(false),
                };
                self.open(around, opening)
            }
            Stage::Proof { .. } => self.proof_fetched(side, fetched),
            _ => Ok(false),
        }
    }

    /// What a failure means: a question that cannot be answered at all is answered by that, what
    /// may pass is asked again with its whole stage, and the rest halts the partition.
    pub(super) fn failed(
        &mut self,
        around: &mut Surroundings<'_>,
        question: Question,
        failure: Failure,
    ) -> Step {
        let is_hopeless = failure.remedy() == Remedy::Halt;
        match question {
            Question::Producers if matches!(failure, Failure::Unsupported(_)) => {
                self.facts.producers = Some(None);
                return Ok(true);
            }
            Question::ProducerId if is_hopeless => {
                return self.producer_refused(around, Refusal::of(&failure));
            }
            // Without the right to look, the cleaner must be expected.
            Question::Policy if is_hopeless => {
                self.facts.may_compact = Some(true);
                return Ok(true);
            }
            // Without epochs, a log that ends before the anchor is all that tells.
            Question::EpochEnd(Side::Source, _) if matches!(failure, Failure::Unsupported(_)) => {
                let source_end = self.facts.source.map_or(0, |range| range.end_offset);
                return self.source_checked(around, |anchor| anchor.source_offset <= source_end);
            }
            Question::EpochEnd(Side::Target, _) if matches!(failure, Failure::Unsupported(_)) => {
                return self.checked(around, false, None);
            }
            _ => {}
        }
        if is_hopeless {
            return Err(End::Halt(match question {
                Question::Policy
                | Question::Range(Side::Source)
                | Question::EpochEnd(Side::Source, _)
                | Question::Time(Side::Source, _)
                | Question::Committed
                | Question::Window(Side::Source, _) => HaltReason::SourceRefuses(failure),
                _ => HaltReason::TargetRefusesProof(failure),
            }));
        }
        self.backoff.fail(around.now, around.seed);
        match &self.stage {
            Stage::Claiming | Stage::NewProducer(_) | Stage::Source => {
                self.stint = self.stint.wrapping_add(1);
                self.open.clear();
            }
            Stage::Begin(_) => self.go_to(Stage::Source),
            _ if matches!(question, Question::Window(Side::Source, _)) => {
                self.go_to(Stage::Source);
            }
            _ => self.go_to(Stage::Target),
        }
        Ok(true)
    }
}
