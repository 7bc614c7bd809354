//! Who writes the partition: the owner's record, and the producer id.

use super::*;

/// Who writes the partition (R1, R9, R13).
impl Recovery {
    pub(super) fn own(&mut self, around: &mut Surroundings<'_>) -> Step {
        if let Some(version) = around.state.newer() {
            return Err(End::Halt(HaltReason::StateNewer { version }));
        }
        if !around.state.is_ready() {
            return Ok(false);
        }
        Self::refuse_superseded(around)?;
        let has_identity = around.state.claim(&around.place).is_some()
            || around.state.anchors(&around.place).next().is_some();
        if has_identity {
            self.take_ownership(around);
        } else {
            self.go_to(Stage::Claiming);
        }
        Ok(true)
    }

    /// Writes the owner's record; once it has been read back, whoever took over since is known.
    pub(super) fn take_ownership(&mut self, around: &mut Surroundings<'_>) {
        let former = around.state.owner(&around.place);
        let generation = around
            .own_generation
            .unwrap_or_else(|| former.map_or(0, |owner| owner.generation) + 1);
        self.take_generation(around, generation);
    }

    /// Writes the owner's record of a generation.
    pub(super) fn take_generation(&mut self, around: &mut Surroundings<'_>, generation: u64) {
        self.generation = generation;
        let owner = Owner {
            generation: self.generation,
            instance: around.options.instance,
            since_ms: around.wall_ms,
        };
        let ticket = around.state.put(&around.place, Entry::Owner(owner));
        self.go_to(Stage::Owning(ticket));
    }

    pub(super) fn owned(&mut self, around: &mut Surroundings<'_>) -> Step {
        Self::refuse_others(around, self.generation)?;
        if around.state.is_contested(&around.place, self.generation) {
            // Another process took the same one at the same time, and may not know yet.
            self.take_generation(around, self.generation + 1);
        } else {
            self.go_to(Stage::Source);
        }
        Ok(true)
    }

    /// A process that has owned the partition stops when another has taken it over (R9).
    pub(super) fn refuse_superseded(around: &Surroundings<'_>) -> Result<(), End> {
        match around.own_generation {
            Some(generation) => Self::refuse_others(around, generation),
            None => Ok(()),
        }
    }

    /// Nothing is concluded, by a step or an answer, once another process is known to have taken the
    /// partition over.
    pub(super) fn refuse_successor(&self, around: &Surroundings<'_>) -> Result<(), End> {
        if self.is_owned() {
            Self::refuse_others(around, self.generation)
        } else {
            Ok(())
        }
    }

    pub(super) fn refuse_others(around: &Surroundings<'_>, generation: u64) -> Result<(), End> {
        let successor = around.state.successor(&around.place, generation);
        successor.map_or(Ok(()), |owner| {
            Err(End::Halt(HaltReason::superseded_by(owner)))
        })
    }

    /// Every producer id under which the partition is known to have been written; -1 among them when
    /// that was without any.
    pub(super) fn own_producers(around: &Surroundings<'_>) -> BTreeSet<i64> {
        let anchors = around.state.anchors(&around.place);
        let anchored = anchors.map(|anchor| anchor.lineage.producer_id);
        let claims = around.state.claims(&around.place);
        let claimed = claims.map(|(claim, _)| claim.producer_id);
        anchored.chain(claimed).collect()
    }

    /// The lineage written last, or the one that the claimed producer id starts with.
    pub(super) fn newest_lineage(around: &Surroundings<'_>) -> Option<Lineage> {
        let newest = anchors::newest(around.state.anchors(&around.place));
        newest.map(|anchor| anchor.lineage)
    }
}
