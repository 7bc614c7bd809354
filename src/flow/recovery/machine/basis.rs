//! Where a proof starts: at an anchor, at a stored position, or at the beginning.

use super::{hint::Hinted, *};

/// Where a proof starts.
impl Recovery {
    /// The cheap path: nothing but the lineage has written since its newest anchor, as far as all
    /// arithmetic says; its last batch and that batch's counterpart settle it.
    pub(super) fn cheap_path(
        &self,
        around: &Surroundings<'_>,
        newest: &Anchor,
        first: Option<&Anchor>,
        source: LogRange,
        target: LogRange,
    ) -> Option<Stage> {
        let is_plain = self.facts.may_compact == Some(false)
            && first == Some(newest)
            && newest.mapping == self.mapping_rules(around)
            && newest.source_offset >= source.start_offset
            && !self.has_source_diverged
            && !self.is_lineage_over
            && !self.is_memory_void
            && !self.cause.is_idempotence_refused()
            && !matches!(
                self.cause,
                RecoveryCause::BaseOffset { .. } | RecoveryCause::SourceMoved
            );
        let producer = self.producer(newest.lineage.producer_id)?;
        let source_end = TailEvidence::source_end(newest, target.end_offset, &producer)?;
        // What retention has deleted cannot be compared.
        let is_there = source_end <= source.end_offset && target.start_offset < target.end_offset;
        let is_worth_it = is_plain && is_there && newest.target_offset < target.end_offset;
        is_worth_it.then(|| Stage::Tail {
            anchor: Box::new(*newest),
            tail: None,
            source_end,
        })
    }

    pub(super) fn producer(&self, producer_id: i64) -> Option<ActiveProducer> {
        let producers = self.facts.producers.as_ref()?.as_ref()?;
        let mut producers = producers.iter();
        producers
            .find(|producer| producer.producer_id == producer_id)
            .copied()
    }

    /// What decides which source records are copied, as a number: the rules' version, the
    /// isolation level, and whether the cleaner may take records out.
    pub(super) fn mapping_rules(&self, around: &Surroundings<'_>) -> u32 {
        const RULES: u32 = 1;
        let may_compact = self.facts.may_compact.unwrap_or(true);
        (RULES << 8) | (u32::from(around.options.read_committed) << 1) | u32::from(may_compact)
    }

    pub(super) fn prove(&mut self, around: &Surroundings<'_>, basis: Basis) {
        let (Some(source), Some(target)) = (self.facts.source, self.facts.target) else {
            return self.go_to(Stage::Source);
        };
        let lineage = Self::newest_lineage(around).unwrap_or(Lineage::UNSEQUENCED);
        let (source_offset, target_offset, next_sequence) = match &basis {
            Basis::Anchor(anchor) => {
                let is_newest = anchor.lineage == lineage && lineage.is_sequenced();
                let sequence = is_newest.then_some(anchor.next_sequence);
                (anchor.source_offset, anchor.target_offset, sequence)
            }
            Basis::Hint {
                source_offset,
                target_offset,
                ..
            } => (*source_offset, *target_offset, None),
            Basis::Beginning => (source.start_offset, target.start_offset, None),
        };
        let is_source_cut =
            source_offset < source.start_offset || matches!(basis, Basis::Beginning);
        let is_target_cut = target_offset < target.start_offset;
        let anchor = match &basis {
            Basis::Anchor(anchor) => Some(&**anchor),
            Basis::Hint { .. } | Basis::Beginning => None,
        };
        let at = Point {
            source_offset,
            target_offset,
        };
        let is_open = is_source_cut || is_target_cut;
        self.mapping
            .begin(around, self.generation, (anchor, at), is_open);
        // What is remembered of a former epoch says nothing of this one's records.
        let remembered = self
            .producer(lineage.producer_id)
            .filter(|producer| producer.producer_epoch == i32::from(lineage.epoch))
            .filter(|_| !self.is_memory_void);
        let mut proof = Proof::new(ProofStart {
            source_offset: source_offset.max(source.start_offset),
            target_offset: target_offset.max(target.start_offset),
            target_end: target.end_offset,
            lineage,
            next_sequence,
            is_source_cut,
            is_target_cut,
            skip_to_sequence: remembered
                .filter(|producer| is_target_cut && producer.last_sequence >= 0)
                .map(|producer| producer.last_sequence),
            deleted_max: target.start_offset.abs_diff(target_offset),
            counted_epoch: anchors::carried_epoch(around.state.anchors(&around.place), lineage),
        });
        proof.count_others(around.known_target_offset, Self::own_producers(around));
        self.go_to(Stage::Proof {
            basis,
            proof: Box::new(proof),
        });
    }

    /// Positions that MM2 stored (or kmirror, when its own state is lost): everything below is
    /// supposed to be on the target, and perhaps something above.
    pub(super) fn take_over(
        &mut self,
        around: &mut Surroundings<'_>,
        stored_offset: i64,
        source: LogRange,
        target: LogRange,
    ) -> Step {
        if stored_offset > source.end_offset {
            return Err(End::Halt(HaltReason::SourceTruncated {
                next_offset: stored_offset,
                log_end_offset: source.end_offset,
            }));
        }
        if target.end_offset == 0 && stored_offset > source.start_offset {
            let halt = HaltReason::Unproven {
                stored_offset,
                proven_offset: source.start_offset,
            };
            return self.adopt(around, source, target, halt);
        }
        self.go_to(Stage::Hint(Hint::new(stored_offset, source.start_offset)));
        Ok(true)
    }

    /// Takes records from before a stored position: the first of them must be on the target, at its
    /// own time or later.
    pub(super) fn hinted(
        &mut self,
        around: &Surroundings<'_>,
        mut hint: Hint,
        fetched: FetchedRecords,
    ) -> Step {
        let stored_offset = hint.stored_offset;
        let hinted = if !fetched.records.is_empty() {
            self.asks_alone = false;
            hint.take(fetched).map_err(End::Halt)?
        } else if self.is_nothing_left(fetched.readable_end() >= stored_offset) {
            hint.nothing_there()
        } else {
            // What is below a position is readable before long, unless others filled the answer.
            return Ok(false);
        };
        self.bytes_factor = match hinted {
            Hinted::Cut => self.bytes_factor.saturating_mul(2),
            _ => 1,
        };
        match hinted {
            Hinted::Ask | Hinted::Cut => self.go_to(Stage::Hint(hint)),
            Hinted::Record {
                source_offset,
                timestamp,
            } => self.go_to(Stage::HintTime {
                stored_offset,
                source_offset,
                timestamp,
            }),
            // Nothing that the source has could be missing.
            Hinted::Nothing => self.prove(
                around,
                Basis::Hint {
                    source_offset: stored_offset,
                    target_offset: self.facts.target.map_or(0, |range| range.end_offset),
                    stored_offset,
                },
            ),
        }
        Ok(true)
    }

    /// A partition of which nothing is known.
    pub(super) fn begin(
        &mut self,
        around: &mut Surroundings<'_>,
        source: LogRange,
        target: LogRange,
    ) -> Step {
        if target.start_offset < target.end_offset {
            let halt = HaltReason::Unexplained {
                start_offset: target.start_offset,
                end_offset: target.end_offset,
            };
            return self.adopt(around, source, target, halt);
        }
        self.begin_at(around, Search::new(around.start_at.clone(), source))
    }

    /// Opens the first lineage where a new partition begins, unless a question comes first.
    fn begin_at(&mut self, around: &mut Surroundings<'_>, search: Search) -> Step {
        let Some(target) = self.facts.target else {
            return Ok(false);
        };
        match search.begin() {
            Begin::Ask => {
                self.go_to(Stage::Begin(Box::new(search)));
                Ok(true)
            }
            Begin::At(start) => {
                let missing = start.deleted_from.map(|from_offset| {
                    let missing = Missing {
                        from_offset,
                        to_offset: start.source_offset,
                        cause: GapCause::Deleted,
                    };
                    (missing, around.source_topic_id)
                });
                self.notices.extend(search.notice(start));
                let because = NewBecause::First;
                self.open_at(around, start.source_offset, target, because, missing)
            }
            Begin::Beyond(reason) if self.source_looks >= limits::EVIDENCE_ATTEMPTS => {
                Err(End::Halt(reason))
            }
            // The log may have grown since it was looked at.
            Begin::Beyond(_) => self.look_at_source_again(around),
        }
    }

    /// Takes the answer to what the beginning of a new partition takes more than the log's range.
    pub(super) fn start_found(
        &mut self,
        around: &mut Surroundings<'_>,
        found: Option<i64>,
    ) -> Step {
        let Stage::Begin(search) = &self.stage else {
            return Ok(false);
        };
        let mut search = (**search).clone();
        search.answered(found);
        self.begin_at(around, search)
    }

    /// What to do about a remote partition that no state explains, as the operator has said.
    pub(super) fn adopt(
        &mut self,
        around: &mut Surroundings<'_>,
        source: LogRange,
        target: LogRange,
        halt: HaltReason,
    ) -> Step {
        if self.looks == 0 {
            // What is not explained yet may be by what another owner has stored meanwhile.
            return self.look_again(around);
        }
        let source_offset = match around.options.adopt {
            Adopt::Ask => return Err(End::Halt(halt)),
            Adopt::Prove => {
                self.prove(around, Basis::Beginning);
                return Ok(true);
            }
            Adopt::Stored => around.stored_offset.unwrap_or(source.start_offset),
            Adopt::Earliest => source.start_offset,
            Adopt::Latest => source.end_offset,
        };
        self.open_at(around, source_offset, target, NewBecause::First, None)
    }

    /// Goes on where an operator has said, behind whatever the target has by now.
    pub(super) fn go_on_at_reset(
        &mut self,
        around: &mut Surroundings<'_>,
        reset: &Reset,
        source: LogRange,
        target: LogRange,
    ) -> Step {
        let wanted = reset.source_offset;
        if wanted > source.end_offset {
            if self.source_looks >= limits::EVIDENCE_ATTEMPTS {
                return Err(End::Halt(HaltReason::SourceTruncated {
                    next_offset: wanted,
                    log_end_offset: source.end_offset,
                }));
            }
            // A new leader of the source may not know yet how far its log is committed.
            return self.look_at_source_again(around);
        }
        let missing = decide::deleted(wanted, source, false);
        let missing = missing.map(|missing| (missing, around.source_topic_id));
        let source_offset = wanted.max(source.start_offset);
        self.open_at(around, source_offset, target, NewBecause::Reset, missing)
    }

    /// The topic was created again: what is there now comes after what the old one had.
    pub(super) fn append_recreated(
        &mut self,
        around: &mut Surroundings<'_>,
        newest: &Anchor,
        source: LogRange,
        target: LogRange,
    ) -> Step {
        let missing = Missing {
            from_offset: newest.source_offset,
            to_offset: i64::MAX,
            cause: GapCause::Recreated,
        };
        let missing = Some((missing, newest.source_topic_id));
        self.open_at(
            around,
            source.start_offset,
            target,
            NewBecause::Gap,
            missing,
        )
    }

    /// Opens a lineage at a position that needs no proof, once it is known which record comes
    /// before it on the target.
    pub(super) fn open_at(
        &mut self,
        around: &mut Surroundings<'_>,
        source_offset: i64,
        target: LogRange,
        because: NewBecause,
        missing: Option<(Missing, Uuid)>,
    ) -> Step {
        let at = Point {
            source_offset,
            target_offset: target.end_offset,
        };
        self.mapping
            .begin(around, self.generation, (None, at), false);
        let is_empty = target.start_offset == target.end_offset;
        let opening = Opening {
            position: Position {
                source_offset,
                source_epoch: -1,
                target_offset: target.end_offset,
                previous: (is_empty && target.end_offset > 0)
                    .then(|| deleted_record(self.target_epoch)),
                is_shared: false,
                unmatched_records: 0,
            },
            because,
            missing,
        };
        if is_empty {
            return self.open(around, opening);
        }
        self.go_to(Stage::Last(Box::new(opening)));
        Ok(true)
    }
}

/// What stands for a record that the target has deleted: all that can be checked later is whether
/// its log still goes as far in this epoch.
pub(super) const fn deleted_record(target_epoch: i32) -> RecordIdentity {
    RecordIdentity {
        producer_id: -1,
        producer_epoch: -1,
        sequence: -1,
        leader_epoch: target_epoch,
    }
}
