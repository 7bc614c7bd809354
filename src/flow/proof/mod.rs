//! The prefix proof: up to which source offset is everything in the target's window, in order?
//!
//! After a start, a broken connection or a leader change, nothing that kmirror remembers says where
//! copying goes on; the target's log does. From a point at which both sides agreed (an anchor, or a
//! mere hint) the records that copying would send next are looked for in the target's window, in
//! order, each target record being used once. The position is the first live source record that is
//! not found: identical records are told apart by their number, and the position never passes a
//! record that the window lacks.
//!
//! ```text
//! source  a b c d e f           live records from `source_offset` on (`intake`, as when copying)
//!         | | |   .
//! target  a b X c e             window [target_offset, target_end)
//!                               proven: a b c; the position is that of d; e is unmatched
//! ```
//!
//! Any data record of the window may match, whoever wrote it, unless its transaction is aborted.
//! The target is asked as a `read_committed` reader asks, up to the first transaction that is not
//! decided, and from there on for all that it has: a match in what may yet be aborted leaves the
//! question open ([`Verdict::undecided`]).
//! Where both sides stand at the start of a batch, the batches' bytes are compared and nothing is
//! decompressed; elsewhere records are, one by one.
//!
//! Whether the lineage may go on is a second question. Only when its records in the window are
//! exactly the next ones of the source, under exactly the next sequence numbers, will the next
//! number go to the very record that a late writer would give it to (R2, R6).
//!
//! Pure: answers go in, [`Wants`] comes out. Holds at most one answer and one decompressed batch of
//! each side. [`tail_proves`] is the cheap way for the common case.

mod cursor;
mod runs;
mod source;
mod tail;
mod tally;
mod target;

use self::{
    cursor::{is_same_batch, is_same_record, peek},
    runs::FoundRuns,
    source::Source,
    tally::{Tally, Writer, sequence_distance},
    target::Target,
};
pub use source::{FirstLive, first_live};
pub use tail::{TailEvidence, tail_proves};

use std::collections::BTreeSet;

use kmirror_protocol::records::{BatchHeader, sequence_after};

use super::{FetchedRecords, Side, halt::HaltReason};
use crate::offsets::{
    exact_map::Run,
    state::{Lineage, RecordIdentity},
};

/// Where a proof starts, and what is known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofStart {
    /// Every source record below is on the target below `target_offset`, or in a gap.
    pub source_offset: i64,
    /// Where the window starts.
    pub target_offset: i64,
    /// Where it ends: the leader's log end when recovery began. All of it must be committed before
    /// the first answer is taken (R4).
    pub target_end: i64,
    /// The lineage whose continuation is asked for.
    pub lineage: Lineage,
    /// Its next sequence number at this point; `None` when the start is a hint and no lineage can
    /// be continued.
    pub next_sequence: Option<i32>,
    /// The source's log starts at `source_offset`, and the point of agreement was below it: the
    /// window's first own records may have no counterpart any more.
    pub is_source_cut: bool,
    /// The target's log starts at `target_offset`, and the point of agreement was below it: the
    /// source's first records may have no counterpart any more. Counting finds out how many.
    pub is_target_cut: bool,
    /// With `is_target_cut` and nothing of the lineage in the window: its last sequence number in
    /// the leader's memory. Source records up to it are passed by counting.
    pub skip_to_sequence: Option<i32>,
    /// With `is_target_cut`: how many copies it can have deleted since the point of agreement, for
    /// each has taken an offset. Where the sequence has gone on further, batches are missing that
    /// were never there: a target that had forgotten the producer took later ones (B5).
    pub deleted_max: u64,
    /// The leader epoch of all source records that the lineage carries: batches of another one are
    /// not passed by counting, for they may have taken the place of those that were copied.
    pub counted_epoch: i32,
}

/// What a proof needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Source records, fetched as copying fetches them.
    Source {
        /// From here on.
        offset: i64,
    },
    /// Target records as a `read_committed` reader gets them: up to the first open transaction.
    Decided {
        /// From here on.
        offset: i64,
    },
    /// Target records, whatever becomes of their transactions.
    Target {
        /// From here on.
        offset: i64,
    },
    /// Nothing: there is a verdict.
    Nothing,
}

/// What an answer has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The proof has gone on.
    Made,
    /// Nothing: the answer held nothing of use. Ask again, and if an answer to a request for this
    /// partition alone is empty too, call [`Proof::nothing_left`].
    None,
    /// Nothing: the answer held not even one whole batch. Ask for more bytes.
    Cut,
}

/// What a proof has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The first source offset that is not proven: where copying goes on. Past markers and holes
    /// only when they were read and everything before them was proven.
    pub source_offset: i64,
    /// The leader epoch of the last source batch below it; -1 when none was read.
    pub source_epoch: i32,
    /// Whether the lineage may go on: its records since the start are the source's next records,
    /// under the next sequence numbers, none is left over, and no one else has written any of them.
    pub continues: bool,
    /// Whether own records are missing between those that the log has: a hole stays one.
    pub is_torn: bool,
    /// The sequence number after the lineage's last record in the window.
    pub next_sequence: i32,
    /// The last record of the window, whoever wrote it; `None` when the window is empty.
    pub tail: Option<RecordIdentity>,
    /// Source records found in the window.
    pub proven_records: u64,
    /// Records of the lineage that are not the source's next ones: they may be copied twice.
    pub unmatched_own_records: u64,
    /// Records of former lineages that are not the source's next ones: late batches, which are there
    /// twice.
    pub unmatched_former_records: u64,
    /// The lineage's first records, of which the source no longer has the counterparts.
    pub lead_in_records: u64,
    /// Records of the lineage were left when the source had no more: its readable end is lower than
    /// it was, perhaps only for a moment after a leader change.
    pub is_source_short: bool,
    /// The first of the records found whose transaction is neither committed nor aborted: it counts
    /// as found, and nobody knows whether it is.
    pub undecided: Option<Undecided>,
}

/// A record of the target in a transaction of which nothing is known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// Its offset.
    pub offset: i64,
    /// Who writes the transaction.
    pub producer_id: i64,
}

/// A proof under way.
#[derive(Debug)]
pub struct Proof {
    start: ProofStart,
    source: Source,
    target: Target,
    tally: Tally,
    skip: Skip,
    /// Counting led to a place where nothing agrees: what was passed by counting proves nothing.
    is_void: bool,
    /// The window has no records of the lineage, and how far it went is known from the leader.
    is_remembered: bool,
    is_source_short: bool,
    /// What has been found since it was last taken.
    runs: Vec<Run>,
    wants: Wants,
    others: Others,
    undecided: Option<Undecided>,
}

/// Records that are nobody's of this flow, for the operator.
#[derive(Debug, Default)]
struct Others {
    /// Below, all has been counted before.
    from_offset: i64,
    records: u64,
    /// Whether the window has any that are not aborted, counted before or not.
    are_there: bool,
}

/// Source records to be passed by counting, because the target has deleted their copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Nothing,
    /// As many as the sequence number of the window's first own batch says.
    ToFirstOwn,
    Records(u64),
}

impl Others {
    fn meet(&mut self, header: &BatchHeader, left: u32, writer: Writer) {
        let is_new = header.base_offset >= self.from_offset;
        let is_own = matches!(writer, Writer::Own | Writer::Former);
        if is_own || header.attributes.is_control() {
            return;
        }
        self.are_there |= left > 0 && writer != Writer::Nobody;
        if is_new {
            self.records = self.records.saturating_add(u64::from(left));
            self.from_offset = header.next_offset();
        }
    }
}

impl Proof {
    /// Starts a proof.
    #[must_use]
    pub fn new(start: ProofStart) -> Self {
        let mut proof = Self {
            source: Source::new(start.source_offset),
            target: Target::new(start.target_offset, start.target_end),
            tally: Tally::new(start.lineage, start.next_sequence),
            skip: Skip::Nothing,
            is_void: false,
            is_remembered: false,
            is_source_short: false,
            runs: Vec::new(),
            wants: Wants::Nothing,
            others: Others::default(),
            undecided: None,
            start,
        };
        if start.is_target_cut {
            proof.start_counting();
        }
        proof.wants = proof.first_wants();
        proof
    }

    /// Counts records of other producers than these from a target offset on; see
    /// [`Proof::others_records`].
    pub fn count_others(&mut self, from_offset: i64, own_producers: BTreeSet<i64>) {
        self.others = Others {
            from_offset,
            ..Others::default()
        };
        self.tally.own_producers = own_producers;
    }

    /// How many records of others the window had, transactions included and markers not.
    #[must_use]
    pub const fn others_records(&self) -> u64 {
        self.others.records
    }

    /// Whether others may have copied more than was found: the window has records of transactions,
    /// aborted ones left out, that are not the source's next ones; or it has records of others, and
    /// the target has deleted some from before it.
    #[must_use]
    pub const fn may_have_more(&self) -> bool {
        self.tally.unmatched_transactional > 0
            || (self.start.is_target_cut && self.others.are_there)
    }

    /// What must be fetched next.
    #[must_use]
    pub const fn wants(&self) -> Wants {
        self.wants
    }

    /// Takes source records fetched at the offset that [`Wants::Source`] named. An answer that was
    /// not asked for is left aside, and one that says where the logs part says nothing here.
    ///
    /// # Errors
    ///
    /// [`HaltReason`] when a batch that the proof needs is damaged or cannot be read; the proof is
    /// then over without a verdict.
    pub fn take_source(&mut self, fetched: FetchedRecords) -> Result<Progress, HaltReason> {
        if !matches!(self.wants, Wants::Source { .. }) {
            return Ok(Progress::None);
        }
        let is_cut = self.source.take(fetched);
        self.go_on(is_cut)
    }

    /// Takes target records fetched as and where [`Wants::Decided`] or [`Wants::Target`] said. An
    /// answer that was not asked for is left aside, and one that says where the logs part says
    /// nothing here.
    ///
    /// # Errors
    ///
    /// As [`Proof::take_source`].
    pub fn take_target(&mut self, fetched: FetchedRecords) -> Result<Progress, HaltReason> {
        if !self.wants_target() || fetched.diverging.is_some() {
            return Ok(Progress::None);
        }
        let is_cut = self.target.take(fetched);
        self.go_on(is_cut)
    }

    /// Notes that a log has nothing at or above the wanted offset although its end is higher: the
    /// cleaner removes the last batches of a log whose newest segment is empty.
    ///
    /// # Errors
    ///
    /// As [`Proof::take_source`].
    pub fn nothing_left(&mut self, side: Side) -> Result<Progress, HaltReason> {
        match (side, self.wants) {
            (Side::Source, Wants::Source { .. }) => self.source.is_ended = true,
            (Side::Target, _) if self.wants_target() => self.target.end(),
            _ => return Ok(Progress::None),
        }
        self.go_on(false)
    }

    /// Where the source records are that were found in the window since this was last asked, in
    /// order. They say nothing when the verdict's position is not behind them. To be asked after
    /// every answer, or they would become many.
    pub fn take_runs(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.runs)
    }

    /// What was found, once nothing is wanted any more.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        if self.wants != Wants::Nothing {
            return None;
        }
        let tally = &self.tally;
        let (lead_in, unmatched_own) = tally.unmatched_own(self.start.is_source_cut);
        let mut verdict = Verdict {
            source_offset: self.start.source_offset,
            source_epoch: -1,
            continues: false,
            is_torn: false,
            next_sequence: tally.next_sequence,
            tail: self.target.tail,
            proven_records: 0,
            unmatched_own_records: tally.own,
            unmatched_former_records: tally.unmatched_former(self.start.is_source_cut),
            lead_in_records: 0,
            is_source_short: self.is_source_short,
            undecided: self.undecided,
        };
        let is_run = tally.is_run && unmatched_own == 0;
        let is_void = match self.skip {
            Skip::Nothing => self.is_void,
            Skip::ToFirstOwn => true,
            // What was passed by counting counts only when all that follows agrees.
            Skip::Records(_) => self.is_void || !(is_run || self.is_remembered),
        };
        if is_void {
            return Some(verdict);
        }
        verdict.source_offset = self.source.position();
        verdict.source_epoch = self.source.epoch_below(verdict.source_offset);
        verdict.is_torn =
            !tally.is_run && self.start.next_sequence.is_some() && !self.start.is_source_cut;
        // Where both sides meet inside a gap, nothing says how many records are missing.
        verdict.continues = is_run && (!self.start.is_source_cut || tally.proven > 0);
        verdict.proven_records = tally.proven;
        verdict.unmatched_own_records = unmatched_own;
        verdict.lead_in_records = lead_in;
        Some(verdict)
    }

    /// Decides how source records are passed whose copies the target has deleted.
    ///
    /// When the source has deleted some too, the numbers do not add up, and the records alone count.
    fn start_counting(&mut self) {
        let start = &self.start;
        if start.next_sequence.is_none() || start.is_source_cut {
            self.tally.is_run = false;
        } else if start.target_offset < start.target_end {
            self.skip = Skip::ToFirstOwn;
        } else {
            self.count_to_remembered();
        }
    }

    /// Passes what the leader remembers, of which the window shows nothing. What others have written
    /// is looked at from there on: it may hold what comes next.
    fn count_to_remembered(&mut self) {
        self.skip = Skip::Nothing;
        let last = self.start.skip_to_sequence.filter(|last| *last >= 0);
        let after = last.map(|last| sequence_after(last, 1));
        self.count_to(self.tally.next_sequence, after);
        self.is_remembered = !self.is_void;
        if self.is_remembered && self.others.are_there {
            self.target = Target::new(self.start.target_offset, self.start.target_end);
            self.tally.forget_unmatched_others();
        }
    }

    /// Passes as many source records as there are sequence numbers from `from` to `to`.
    fn count_to(&mut self, from: i32, to: Option<i32>) {
        let distance = to.and_then(|to| sequence_distance(from, to));
        let count = distance.and_then(|count| u64::try_from(count).ok());
        let count = count.filter(|count| *count <= self.start.deleted_max);
        let Some((to, count)) = to.zip(count) else {
            self.is_void = true;
            return;
        };
        self.tally.next_sequence = to;
        self.skip = Skip::Records(count);
    }

    /// What is wanted before anything was taken.
    fn first_wants(&self) -> Wants {
        match self.skip {
            Skip::Records(1..) => Wants::Source {
                offset: self.source.next_offset,
            },
            _ => self.target_wants(),
        }
    }

    const fn target_wants(&self) -> Wants {
        let offset = self.target.next_offset;
        if self.target.is_ended() {
            Wants::Nothing
        } else if self.target.asks_decided() {
            Wants::Decided { offset }
        } else {
            Wants::Target { offset }
        }
    }

    const fn wants_target(&self) -> bool {
        matches!(self.wants, Wants::Decided { .. } | Wants::Target { .. })
    }

    fn go_on(&mut self, is_cut: bool) -> Result<Progress, HaltReason> {
        let wanted = self.wants;
        self.wants = loop {
            if let Some(wants) = self.step()? {
                break wants;
            }
        };
        Ok(if self.wants != wanted {
            Progress::Made
        } else if is_cut {
            Progress::Cut
        } else {
            Progress::None
        })
    }

    /// Goes one batch further, on one side or both; answers what is wanted before it can.
    fn step(&mut self) -> Result<Option<Wants>, HaltReason> {
        if let Skip::Records(left @ 1..) = self.skip
            && !self.is_void
        {
            return self.skip_records(left);
        }
        if self.target.current.is_none() {
            if !self.target.load()? {
                if self.target.is_ended() && self.skip == Skip::ToFirstOwn {
                    self.count_to_remembered();
                    return Ok(None);
                }
                return Ok(Some(self.target_wants()));
            }
            self.enter_batch();
            return Ok(None);
        }
        if self.is_void {
            self.pass_target();
            return Ok(None);
        }
        if self.source.load()? {
            self.compare()?;
        } else if self.source.is_ended {
            self.is_source_short |= self.pass_target() == Some(Writer::Own);
        } else {
            return Ok(Some(self.source_wants()));
        }
        Ok(None)
    }

    const fn source_wants(&self) -> Wants {
        Wants::Source {
            offset: self.source.next_offset,
        }
    }

    /// Passes live source records by counting.
    fn skip_records(&mut self, left: u64) -> Result<Option<Wants>, HaltReason> {
        if self.source.load()? {
            if self.source.batch_epoch() != Some(self.start.counted_epoch) {
                self.is_void = true;
                return Ok(None);
            }
            let passed = self.source.skip(left)?;
            self.skip = Skip::Records(left.saturating_sub(u64::from(passed)));
        } else if self.source.is_ended {
            self.is_void = true;
        } else {
            return Ok(Some(self.source_wants()));
        }
        Ok(None)
    }

    /// Looks at a batch of the window that has just become the current one.
    fn enter_batch(&mut self) {
        let Some(batch) = &self.target.current else {
            return;
        };
        let (header, first_sequence, left) = (batch.header, batch.first_sequence, batch.left());
        let writer = self.tally.writer(batch);
        if self.skip == Skip::ToFirstOwn && writer == Writer::Own {
            self.skip = Skip::Nothing;
            self.count_to(self.tally.next_sequence, first_sequence);
        }
        if writer == Writer::Own {
            self.tally.follow(&header, first_sequence);
        }
        self.others.meet(&header, left, writer);
        if left == 0 || writer == Writer::Nobody || self.skip == Skip::ToFirstOwn {
            self.pass_target();
        }
    }

    /// Passes what is left of the current target batch, unmatched.
    fn pass_target(&mut self) -> Option<Writer> {
        let batch = self.target.current.take()?;
        let writer = self.tally.writer(&batch);
        self.tally.unmatched(writer, batch.left());
        Some(writer)
    }

    /// Compares the current batches: as a whole if both are, record by record otherwise.
    fn compare(&mut self) -> Result<(), HaltReason> {
        let Some(batch) = &self.target.current else {
            return Ok(());
        };
        let whole = self.source.whole().zip(batch.whole());
        if whole.is_some_and(|(source, target)| is_same_batch(source, target)) {
            let writer = self.tally.writer(batch);
            self.tally.matched(writer, batch.left());
            let (left, range) = (batch.left(), batch.range());
            note_undecided(&mut self.undecided, writer, &batch.header, range.0);
            self.runs.push(self.source.run(left, left, range));
            self.target.current = None;
            self.source.pass();
            return Ok(());
        }
        self.compare_records()
    }

    /// Compares record by record until one of the current batches is used up.
    fn compare_records(&mut self) -> Result<(), HaltReason> {
        let Some(batch) = &mut self.target.current else {
            return Ok(());
        };
        let Some((source_header, source_plain, mut source_mark)) = self.source.unfold()? else {
            return Ok(());
        };
        let (target_header, target_plain, mut target_mark) = batch.unfold()?;
        let source_fault = |fault: &dyn std::fmt::Display| self.source.fault(&fault.to_string());
        let target_fault = |fault: &dyn std::fmt::Display| batch.fault(&fault.to_string());
        let writer = self.tally.writer(batch);
        let mut found_runs = FoundRuns::default();
        let mut wanted = peek(&source_plain, source_mark).map_err(|fault| source_fault(&fault))?;
        while let Some((record, after_wanted)) = &wanted {
            let found = peek(&target_plain, target_mark).map_err(|fault| target_fault(&fault))?;
            let Some((found, after_found)) = found else {
                break;
            };
            target_mark = after_found;
            if is_same_record((&source_header, record), (&target_header, &found)) {
                let offset = found.offset(&target_header);
                self.tally.matched(writer, 1);
                note_undecided(&mut self.undecided, writer, &target_header, offset);
                found_runs.add(source_mark.left, offset);
                source_mark = *after_wanted;
                wanted = peek(&source_plain, source_mark).map_err(|fault| source_fault(&fault))?;
            } else {
                self.tally.unmatched(writer, 1);
            }
        }
        self.runs.extend(found_runs.on(&self.source));
        self.source.go_to(source_mark);
        self.target.go_to(target_mark);
        Ok(())
    }
}

/// Keeps the first record found that may yet be aborted.
fn note_undecided(
    first: &mut Option<Undecided>,
    writer: Writer,
    header: &BatchHeader,
    offset: i64,
) {
    if writer == Writer::Undecided {
        first.get_or_insert(Undecided {
            offset,
            producer_id: header.producer_id,
        });
    }
}

#[cfg(test)]
mod tests;
