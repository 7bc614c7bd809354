//! One partition's recovery: a question, its answer, the next question.
//!
//! Nothing is written to the target's partition while this goes on. Whatever fails is asked again
//! after a wait, from the beginning of its stage: evidence gathered from two leaders is no evidence.

use std::time::Instant;

use bytes::Bytes;
use kmirror_protocol::{
    records::{Batch, LogEntry, batches, decompress, records, sequence_after},
    wire::Uuid,
};

use super::{
    super::{
        ActiveProducer, Counters, EpochEnd, Failure, FetchedRecords, LogRange, PartitionNotice, Side,
        StartAt,
        delivery::{Adopt, OnGap, OnRecreated},
        halt::HaltReason,
        intake, limits,
        proof::{
            Progress as ProofProgress, Proof, ProofStart, TailEvidence, Verdict as Proven, Wants,
            tail_proves,
        },
        retry::{Backoff, Remedy},
        state::Ticket,
    },
    Progress, RecoveryCause, Start, Surroundings,
    anchors::{self, Check},
    decide::{self, Evidence, Missing, NewBecause, ProducerState, Verdict},
};
use crate::offsets::state::{
    Anchor, Claim, Entry, Gap, GapCause, Lineage, Owner, RecordIdentity,
};

/// What a recovery wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::flow) enum Question {
    /// A new producer id.
    ProducerId,
    /// Whether the source compacts the topic.
    Policy,
    /// Where a log starts and ends.
    Range(Side),
    /// What the target's leader remembers of producers.
    Producers,
    /// Up to where a log agrees with an epoch.
    EpochEnd(Side, i32),
    /// The first target offset with that timestamp or a later one.
    Time(i64),
    /// Records from an offset on.
    Window(Side, i64),
}

/// What it is told.
#[derive(Debug)]
pub(in crate::flow) enum Answer {
    /// A new producer id.
    ProducerId(i64),
    /// Whether the source compacts the topic.
    Policy {
        /// It does, or nobody may know.
        may_compact: bool,
    },
    /// Where a log starts and ends.
    Range(LogRange),
    /// The producers that the target's leader remembers; `None` when it cannot tell.
    Producers(Option<Vec<ActiveProducer>>),
    /// Up to where a log agrees with an epoch.
    EpochEnd(EpochEnd),
    /// The first offset with that timestamp or a later one, if there is one.
    Time(Option<i64>),
    /// Records.
    Window(FetchedRecords),
}

/// What is known so far.
#[derive(Debug, Default)]
struct Facts {
    may_compact: Option<bool>,
    source: Option<LogRange>,
    target: Option<LogRange>,
    /// `Some(None)`: the target cannot tell.
    producers: Option<Option<Vec<ActiveProducer>>>,
}

/// Where a proof may start.
#[derive(Clone, Debug)]
enum Basis {
    /// At an anchor that has been found true.
    Anchor(Box<Anchor>),
    /// At a record that must be on the target at this offset or later: all that positions of
    /// somebody else's say.
    Hint {
        source_offset: i64,
        target_offset: i64,
        /// Everything below is supposed to be on the target.
        stored_offset: i64,
    },
    /// At the beginning of both logs: there is no better evidence.
    Beginning,
}

#[derive(Debug)]
enum Stage {
    /// The owner's record, and the claim of a producer id if there is none, are to be written.
    Own,
    Claiming,
    Owning(Ticket),
    /// What the source says of the topic.
    Source,
    /// Late batches of a former process get time to arrive (R12).
    Quiet(Instant),
    /// What the target says of the partition.
    Target,
    /// The cheap path: the last batch on the target and its counterpart.
    Tail {
        anchor: Box<Anchor>,
        /// Where arithmetic says that the position is.
        source_end: i64,
        /// The answer that holds the target's last batch, and where its counterpart starts.
        tail: Option<(Bytes, i64)>,
    },
    Anchors {
        candidates: Vec<Anchor>,
        check: Option<Check>,
    },
    /// A position of MM2's: which record comes before it.
    Hint {
        stored_offset: i64,
    },
    /// And where on the target it can be at the earliest.
    HintTime {
        stored_offset: i64,
        source_offset: i64,
        timestamp: i64,
    },
    Proof {
        basis: Basis,
        proof: Box<Proof>,
    },
    /// The position needs no proof; which record comes before it on the target does.
    Last(Box<Opening>),
    /// The epochs of the producer id are used up.
    NewProducer(Box<Opening>),
    /// The anchor of a new lineage is being written (R3).
    Opening(Ticket, Box<Start>, Vec<PartitionNotice>),
}

/// A new lineage that is about to be opened.
#[derive(Clone, Debug)]
struct Opening {
    position: Position,
    because: NewBecause,
    /// With the id of the source topic that had it.
    missing: Option<(Missing, Uuid)>,
}

/// Where copying goes on.
#[derive(Clone, Copy, Debug)]
struct Position {
    source_offset: i64,
    source_epoch: i32,
    target_offset: i64,
    previous: Option<RecordIdentity>,
    is_shared: bool,
    unmatched_records: u64,
}

/// The recovery of one partition.
#[derive(Debug)]
pub(in crate::flow) struct Recovery {
    cause: RecoveryCause,
    stage: Stage,
    facts: Facts,
    open: Vec<Question>,
    /// Tells answers to questions of an abandoned stage from those that count.
    stint: u32,
    backoff: Backoff,
    attempt: u32,
    generation: u64,
    target_epoch: i32,
    /// The next source offset that was to be read when this began.
    former_offset: Option<i64>,
    /// The newest anchor was not true of the source any more.
    has_source_diverged: bool,
    /// By how much the next answer's bytes exceed the usual, because a batch did not fit.
    bytes_factor: usize,
}

impl Recovery {
    /// A recovery that has asked nothing yet. `former_offset` is the next source offset that was to
    /// be read, if the partition was running.
    #[must_use]
    pub(in crate::flow) fn new(cause: RecoveryCause, former_offset: Option<i64>) -> Self {
        Self {
            cause,
            stage: Stage::Own,
            facts: Facts::default(),
            open: Vec::new(),
            stint: 0,
            backoff: Backoff::new(),
            attempt: 0,
            generation: 0,
            target_epoch: -1,
            former_offset,
            has_source_diverged: false,
            bytes_factor: 1,
        }
    }

    /// By how much answers must exceed the usual size.
    #[must_use]
    pub(in crate::flow) const fn bytes_factor(&self) -> usize {
        self.bytes_factor
    }

    /// Why it is under way.
    #[must_use]
    pub(in crate::flow) const fn cause(&self) -> &RecoveryCause {
        &self.cause
    }

    /// Which answers count.
    #[must_use]
    pub(in crate::flow) const fn stint(&self) -> u32 {
        self.stint
    }

    /// When it wants to be looked at again.
    #[must_use]
    pub(in crate::flow) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Quiet(until) => Some(until),
            _ => self.backoff.until(),
        }
    }

    /// Notes that a question could not be asked, because nobody leads the partition.
    pub(in crate::flow) fn not_asked(&mut self, question: Question) {
        self.open.retain(|open| *open != question);
    }

    /// Starts over, because something else has become known.
    pub(in crate::flow) fn restart(&mut self, cause: RecoveryCause) {
        self.cause = cause;
        self.attempt = 0;
        self.go_to(Stage::Own);
    }

    /// Gathers the target's evidence again when its leader is another one now (R8).
    pub(in crate::flow) fn target_moved(&mut self, epoch: i32) {
        let depends = !matches!(
            self.stage,
            Stage::Own | Stage::Claiming | Stage::Owning(_) | Stage::Source | Stage::Quiet(_)
        );
        if depends && self.target_epoch != epoch {
            self.go_to(Stage::Target);
        }
    }

    fn go_to(&mut self, stage: Stage) {
        match stage {
            Stage::Own | Stage::Source => self.facts = Facts::default(),
            Stage::Target => {
                self.facts.target = None;
                self.facts.producers = None;
            }
            _ => {}
        }
        self.stint = self.stint.wrapping_add(1);
        self.open.clear();
        self.stage = stage;
    }

    /// Goes on as far as it can without an answer; the questions that are to be asked now.
    pub(in crate::flow) fn advance(&mut self, around: &mut Surroundings<'_>) -> (Progress, Vec<Question>) {
        if self.backoff.is_waiting(around.now) {
            return (Progress::Waits, Vec::new());
        }
        let progress = self.step(around);
        if !matches!(progress, Progress::Waits) {
            return (progress, Vec::new());
        }
        let mut wanted = self.wanted();
        wanted.retain(|question| !self.open.contains(question));
        self.open.extend(&wanted);
        (progress, wanted)
    }

    /// Moves from stage to stage while nothing has to be asked.
    fn step(&mut self, around: &mut Surroundings<'_>) -> Progress {
        loop {
            let moved = match &self.stage {
                Stage::Own => self.own(around),
                Stage::Owning(ticket) if around.state.has_settled(*ticket) => self.owned(around),
                Stage::Source => self.source_known(around),
                Stage::Quiet(until) if *until <= around.now => {
                    self.go_to(Stage::Target);
                    Ok(true)
                }
                Stage::Target => self.target_known(around),
                Stage::Opening(ticket, ..) if around.state.has_settled(*ticket) => {
                    self.opened(around)
                }
                _ => Ok(false),
            };
            match moved {
                Ok(true) => {}
                Ok(false) => return Progress::Waits,
                Err(End::Halt(reason)) => return Progress::Halted(reason),
                Err(End::Done(start, notices)) => return Progress::Done(*start, notices),
            }
        }
    }

    fn wanted(&self) -> Vec<Question> {
        match &self.stage {
            Stage::Claiming | Stage::NewProducer(_) => vec![Question::ProducerId],
            Stage::Source => {
                let policy = self.facts.may_compact.is_none().then_some(Question::Policy);
                let range = (self.facts.source.is_none()).then_some(Question::Range(Side::Source));
                policy.into_iter().chain(range).collect()
            }
            // The log end comes after the producers, so that it covers what they have written.
            Stage::Target if self.facts.producers.is_none() => vec![Question::Producers],
            Stage::Target => vec![Question::Range(Side::Target)],
            Stage::Tail { tail: None, .. } => {
                let end_offset = self.facts.target.map_or(0, |range| range.end_offset);
                vec![Question::Window(Side::Target, end_offset.saturating_sub(1))]
            }
            Stage::Tail {
                tail: Some((_, source_offset)),
                ..
            } => vec![Question::Window(Side::Source, *source_offset)],
            Stage::Anchors { check, candidates } => {
                let anchor = candidates.first();
                match (check, anchor) {
                    (Some(Check::SourceEpoch(epoch)), Some(_)) => {
                        vec![Question::EpochEnd(Side::Source, *epoch)]
                    }
                    (Some(Check::TargetEpoch(epoch)), Some(_)) => {
                        vec![Question::EpochEnd(Side::Target, *epoch)]
                    }
                    (Some(Check::Previous(offset)), Some(_)) => {
                        vec![Question::Window(Side::Target, *offset)]
                    }
                    _ => Vec::new(),
                }
            }
            Stage::Hint { stored_offset } => {
                vec![Question::Window(Side::Source, stored_offset.saturating_sub(1).max(0))]
            }
            Stage::HintTime { timestamp, .. } => vec![Question::Time(*timestamp)],
            Stage::Proof { proof, .. } => match proof.wants() {
                Wants::Source { offset } => vec![Question::Window(Side::Source, offset)],
                Wants::Target { offset } => vec![Question::Window(Side::Target, offset)],
                Wants::Nothing => Vec::new(),
            },
            Stage::Last(opening) => {
                let offset = opening.position.target_offset.saturating_sub(1);
                vec![Question::Window(Side::Target, offset)]
            }
            Stage::Own | Stage::Owning(_) | Stage::Quiet(_) | Stage::Opening(..) => Vec::new(),
        }
    }
}

/// How a step ends a recovery.
enum End {
    Halt(HaltReason),
    Done(Box<Start>, Vec<PartitionNotice>),
}

/// Whether a step has led to another stage.
type Step = Result<bool, End>;

/// Who writes the partition (R1, R9, R13).
impl Recovery {
    fn own(&mut self, around: &mut Surroundings<'_>) -> Step {
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
    fn take_ownership(&mut self, around: &mut Surroundings<'_>) {
        let former = around.state.owner(&around.place);
        self.generation = around
            .own_generation
            .unwrap_or_else(|| former.map_or(0, |owner| owner.generation) + 1);
        let owner = Owner {
            generation: self.generation,
            instance: around.options.instance,
            since_ms: around.wall_ms,
        };
        let ticket = around.state.put(&around.place, Entry::Owner(owner));
        self.go_to(Stage::Owning(ticket));
    }

    fn owned(&mut self, around: &Surroundings<'_>) -> Step {
        Self::refuse_others(around)?;
        self.go_to(Stage::Source);
        Ok(true)
    }

    /// A process that has owned the partition stops when another has taken it over (R9).
    fn refuse_superseded(around: &Surroundings<'_>) -> Result<(), End> {
        if around.own_generation.is_some() {
            Self::refuse_others(around)?;
        }
        Ok(())
    }

    fn refuse_others(around: &Surroundings<'_>) -> Result<(), End> {
        match around.state.owner(&around.place) {
            Some(owner) if owner.instance != around.options.instance => {
                Err(End::Halt(HaltReason::Superseded {
                    generation: owner.generation,
                    instance: owner.instance,
                }))
            }
            _ => Ok(()),
        }
    }

    /// The lineage written last, or the one that the claimed producer id starts with.
    fn newest_lineage(around: &Surroundings<'_>) -> Option<Lineage> {
        let newest = anchors::newest(around.state.anchors(&around.place));
        newest.map(|anchor| anchor.lineage)
    }
}

/// What the source and the target say.
impl Recovery {
    fn source_known(&mut self, around: &mut Surroundings<'_>) -> Step {
        let (Some(may_compact), Some(_)) = (self.facts.may_compact, self.facts.source) else {
            return Ok(false);
        };
        let newest = anchors::newest(around.state.anchors(&around.place));
        if let Some(newest) = newest
            && Self::is_recreated(newest, around)
            && around.options.on_recreated == OnRecreated::Halt
        {
            return Err(End::Halt(HaltReason::TopicRecreated));
        }
        if may_compact && newest.is_some() {
            let until = around.now + around.options.quiesce;
            self.go_to(Stage::Quiet(until));
        } else {
            self.go_to(Stage::Target);
        }
        Ok(true)
    }

    /// By the topic's id; where there are none, by a leader epoch that began anew.
    fn is_recreated(newest: &Anchor, around: &Surroundings<'_>) -> bool {
        let (then, now) = (newest.source_topic_id, around.source_topic_id);
        if then.is_zero() || now.is_zero() {
            return around.source_epoch >= 0 && around.source_epoch < newest.source_epoch;
        }
        then != now
    }

    fn target_known(&mut self, around: &mut Surroundings<'_>) -> Step {
        self.target_epoch = around.target_epoch;
        let (Some(source), Some(target)) = (self.facts.source, self.facts.target) else {
            return Ok(false);
        };
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
        let topic_ids = (around.source_topic_id, around.target_topic_id);
        let anchors = around.state.anchors(&around.place);
        let candidates = anchors::candidates(anchors, topic_ids, source, target);
        self.has_source_diverged = newest.source_offset > source.end_offset;
        if let Some(stage) = self.cheap_path(around, &newest, candidates.first(), source, target) {
            self.go_to(stage);
            return Ok(true);
        }
        self.try_anchors(around, candidates, target);
        Ok(true)
    }

    /// Goes on with the next anchor that may be true, or from the beginning when none is left.
    fn try_anchors(
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
                let anchor = anchor.clone();
                self.prove(around, Basis::Anchor(Box::new(anchor)));
            }
            check => self.go_to(Stage::Anchors { candidates, check }),
        }
    }
}

/// Where a proof starts.
impl Recovery {
    /// The cheap path: nothing but the lineage has written since its newest anchor, as far as all
    /// arithmetic says; its last batch and that batch's counterpart settle it.
    fn cheap_path(
        &self,
        around: &Surroundings<'_>,
        newest: &Anchor,
        first: Option<&Anchor>,
        source: LogRange,
        target: LogRange,
    ) -> Option<Stage> {
        let is_plain = self.facts.may_compact == Some(false)
            && first == Some(newest)
            && newest.mapping == self.mapping(around)
            && newest.source_offset >= source.start_offset
            && !self.has_source_diverged
            && !matches!(
                self.cause,
                RecoveryCause::BaseOffset { .. } | RecoveryCause::SourceMoved
            );
        let producer = self.producer(newest.lineage.producer_id)?;
        let source_end = TailEvidence::source_end(newest, target.end_offset, &producer)?;
        let is_worth_it = is_plain && newest.target_offset < target.end_offset;
        is_worth_it.then(|| Stage::Tail {
            anchor: Box::new(newest.clone()),
            tail: None,
            source_end,
        })
    }

    fn producer(&self, producer_id: i64) -> Option<ActiveProducer> {
        let producers = self.facts.producers.as_ref()?.as_ref()?;
        let mut producers = producers.iter();
        producers
            .find(|producer| producer.producer_id == producer_id)
            .copied()
    }

    /// What decides which source records are copied, as a number: the rules' version, the
    /// isolation level, and whether the cleaner may take records out.
    fn mapping(&self, around: &Surroundings<'_>) -> u32 {
        const RULES: u32 = 1;
        let may_compact = self.facts.may_compact.unwrap_or(true);
        (RULES << 8) | (u32::from(around.options.read_committed) << 1) | u32::from(may_compact)
    }

    fn prove(&mut self, around: &Surroundings<'_>, basis: Basis) {
        let (Some(source), Some(target)) = (self.facts.source, self.facts.target) else {
            return self.go_to(Stage::Source);
        };
        let lineage = Self::newest_lineage(around).unwrap_or(Lineage {
            producer_id: -1,
            epoch: -1,
        });
        let (source_offset, target_offset, next_sequence) = match &basis {
            Basis::Anchor(anchor) => {
                let is_newest = anchor.lineage == lineage;
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
        let remembered = self.producer(lineage.producer_id);
        let proof = Proof::new(ProofStart {
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
        });
        self.go_to(Stage::Proof {
            basis,
            proof: Box::new(proof),
        });
    }

    /// Positions that MM2 stored (or kmirror, when its own state is lost): everything below is
    /// supposed to be on the target, and perhaps something above.
    fn take_over(
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
        self.go_to(Stage::Hint { stored_offset });
        Ok(true)
    }

    /// Takes the record before a stored position: it must be on the target, at its own time or
    /// later.
    fn hinted(&mut self, around: &Surroundings<'_>, stored_offset: i64, fetched: FetchedRecords) {
        let asked = stored_offset.saturating_sub(1).max(0);
        if fetched.records.is_empty() && fetched.high_watermark > asked {
            // An open transaction hides it, or others filled the answer.
            return;
        }
        let target_end = self.facts.target.map_or(0, |range| range.end_offset);
        match first_record(asked, fetched) {
            Some((source_offset, timestamp)) => self.go_to(Stage::HintTime {
                stored_offset,
                source_offset,
                timestamp,
            }),
            // There is nothing to compare with: nothing comes after the position either.
            None => self.prove(
                around,
                Basis::Hint {
                    source_offset: stored_offset,
                    target_offset: target_end,
                    stored_offset,
                },
            ),
        }
    }

    /// A partition of which nothing is known.
    fn begin(
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
        // A partition that appears in a topic already copied is new: nothing of it may be skipped.
        let source_offset = match around.options.start_at {
            StartAt::Latest if !around.is_growth => source.end_offset,
            StartAt::Earliest | StartAt::Latest => source.start_offset,
        };
        self.open_at(around, source_offset, target, NewBecause::First, None)
    }

    /// What to do about a remote partition that no state explains, as the operator has said.
    fn adopt(
        &mut self,
        around: &mut Surroundings<'_>,
        source: LogRange,
        target: LogRange,
        halt: HaltReason,
    ) -> Step {
        let source_offset = match around.options.adopt {
            Adopt::Ask => return Err(End::Halt(halt)),
            Adopt::Prove => {
                self.prove(around, Basis::Beginning);
                return Ok(true);
            }
            Adopt::Earliest => source.start_offset,
            Adopt::Latest => source.end_offset,
        };
        self.open_at(around, source_offset, target, NewBecause::First, None)
    }

    /// The topic was created again: what is there now comes after what the old one had.
    fn append_recreated(
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
        self.open_at(around, source.start_offset, target, NewBecause::Gap, missing)
    }

    /// Opens a lineage at a position that needs no proof, once it is known which record comes
    /// before it on the target.
    fn open_at(
        &mut self,
        around: &mut Surroundings<'_>,
        source_offset: i64,
        target: LogRange,
        because: NewBecause,
        missing: Option<(Missing, Uuid)>,
    ) -> Step {
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
const fn deleted_record(target_epoch: i32) -> RecordIdentity {
    RecordIdentity {
        producer_id: -1,
        producer_epoch: -1,
        sequence: -1,
        leader_epoch: target_epoch,
    }
}

/// The offset and the timestamp of the first record that copying would take from an answer.
fn first_record(asked: i64, fetched: FetchedRecords) -> Option<(i64, i64)> {
    let taken = intake::take(asked, fetched, &mut Counters::default());
    let batch = taken.batches.first()?;
    let codec = batch.header.attributes.compression().ok()?;
    let plain = decompress(codec, &batch.payload, limits::DECOMPRESSED_BYTES_MAX).ok()?;
    let record = records(&plain, batch.header.record_count).next()?.ok()?;
    Some((batch.first_offset, record.timestamp(&batch.header)))
}

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
            Err(End::Done(start, notices)) => Progress::Done(*start, notices),
        }
    }

    fn take(
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
            (Question::Time(_), Answer::Time(offset)) => self.hint_found(around, offset),
            (Question::Window(side, offset), Answer::Window(fetched)) => {
                self.window(around, side, offset, fetched)
            }
            _ => Ok(false),
        }
    }

    fn producer_granted(&mut self, around: &mut Surroundings<'_>, producer_id: i64) -> Step {
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

    fn epoch_checked(
        &mut self,
        around: &Surroundings<'_>,
        side: Side,
        epoch: i32,
        end: EpochEnd,
    ) -> Step {
        let Some(target) = self.facts.target else {
            return Ok(false);
        };
        let Stage::Anchors { candidates, .. } = &mut self.stage else {
            return Ok(false);
        };
        let Some(anchor) = candidates.first() else {
            return Ok(false);
        };
        let offset = match side {
            Side::Source => anchor.source_offset,
            Side::Target => anchor.target_offset,
        };
        let is_true = anchors::agrees(epoch, end, offset);
        let next = match side {
            Side::Source => anchors::target_check(anchor, target),
            Side::Target => None,
        };
        if side == Side::Source && !is_true {
            self.has_source_diverged = true;
        }
        self.checked(around, is_true, next)
    }

    /// Draws the consequence of a check: the next one, the proof, or the next anchor.
    fn checked(&mut self, around: &Surroundings<'_>, is_true: bool, next: Option<Check>) -> Step {
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

    fn hint_found(&mut self, around: &mut Surroundings<'_>, offset: Option<i64>) -> Step {
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

    fn window(
        &mut self,
        around: &mut Surroundings<'_>,
        side: Side,
        offset: i64,
        fetched: FetchedRecords,
    ) -> Step {
        match &mut self.stage {
            Stage::Tail { .. } => self.tail_fetched(around, side, fetched),
            Stage::Anchors { candidates, .. } => {
                if fetched.records.is_empty() {
                    // Not committed yet: an anchor lies below what was acknowledged, so it will be.
                    return Ok(false);
                }
                let previous = candidates.first().and_then(|anchor| anchor.previous);
                let found = anchors::identity_at(&fetched.records, offset);
                let next = match (found, previous) {
                    // Compaction took the record: its epoch has to do.
                    (None, Some(previous)) => Some(Check::TargetEpoch(previous.leader_epoch)),
                    _ => None,
                };
                let is_true = found.is_none() || found == previous;
                self.checked(around, is_true, next)
            }
            Stage::Hint { stored_offset } => {
                let stored_offset = *stored_offset;
                self.hinted(around, stored_offset, fetched);
                Ok(true)
            }
            Stage::Last(opening) => {
                let Some(identity) = anchors::identity_at(&fetched.records, offset) else {
                    return Ok(false);
                };
                let mut opening = (**opening).clone();
                opening.position.previous = Some(identity);
                self.open(around, opening)
            }
            Stage::Proof { .. } => self.proof_fetched(around, side, fetched),
            _ => Ok(false),
        }
    }
}

/// The proof, and what follows from it.
impl Recovery {
    fn tail_fetched(
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
        let Some(source_offset) = tail_proves(&evidence) else {
            return self.leave_cheap_path(around, target);
        };
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

    fn leave_cheap_path(&mut self, around: &Surroundings<'_>, target: LogRange) -> Step {
        let Some(source) = self.facts.source else {
            return Ok(false);
        };
        let topic_ids = (around.source_topic_id, around.target_topic_id);
        let anchors = around.state.anchors(&around.place);
        let candidates = anchors::candidates(anchors, topic_ids, source, target);
        self.try_anchors(around, candidates, target);
        Ok(true)
    }

    fn proof_fetched(
        &mut self,
        around: &mut Surroundings<'_>,
        side: Side,
        fetched: FetchedRecords,
    ) -> Step {
        let Stage::Proof { proof, .. } = &mut self.stage else {
            return Ok(false);
        };
        let target_end = self.facts.target.map_or(0, |range| range.end_offset);
        let is_empty = fetched.records.is_empty();
        let is_committed = fetched.high_watermark >= target_end;
        let progress = match side {
            Side::Source => proof.take_source(fetched),
            // Nothing is built on what may still be lost (R4).
            Side::Target if !is_committed && is_empty => return Ok(false),
            Side::Target => proof.take_target(fetched),
        };
        let progress = match progress.map_err(End::Halt)? {
            ProofProgress::None if side == Side::Target && is_empty => {
                proof.nothing_left(side).map_err(End::Halt)?
            }
            other => other,
        };
        self.bytes_factor = match progress {
            ProofProgress::Cut => self.bytes_factor.saturating_mul(2),
            ProofProgress::Made | ProofProgress::None => 1,
        };
        self.conclude(around)
    }

    /// Draws the conclusion once the proof has its verdict.
    fn conclude(&mut self, around: &mut Surroundings<'_>) -> Step {
        let Stage::Proof { basis, proof } = &self.stage else {
            return Ok(false);
        };
        let (Some(proven), Some(source), Some(target)) =
            (proof.verdict(), self.facts.source, self.facts.target)
        else {
            return Ok(true);
        };
        let basis = basis.clone();
        if let Basis::Hint { stored_offset, .. } = basis
            && proven.source_offset < stored_offset
            && self.facts.may_compact == Some(false)
        {
            let halt = HaltReason::Unproven {
                stored_offset,
                proven_offset: proven.source_offset,
            };
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
        let newest = Self::newest_lineage(around);
        let producers = self.facts.producers.as_ref().and_then(Option::as_deref);
        let evidence = Evidence {
            lineage: anchor.lineage,
            anchored_sequence: anchor.next_sequence,
            is_newest: newest == Some(anchor.lineage),
            is_continuous: proven.continues,
            next_sequence: proven.next_sequence,
            state: ProducerState::of(producers, anchor.lineage.producer_id),
            is_deterministic: self.facts.may_compact == Some(false)
                && anchor.mapping == self.mapping(around)
                && !self.has_source_diverged,
        };
        match decide::decide(&evidence, self.attempt) {
            Verdict::Continue {
                next_sequence,
                is_remembered,
            } => Err(self.go_on(around, position, anchor.lineage, (next_sequence, is_remembered))),
            Verdict::Again => {
                self.attempt += 1;
                self.backoff.fail(around.now, around.seed);
                self.go_to(Stage::Target);
                Ok(true)
            }
            Verdict::New(because) => self.open_proven(around, position, because, None),
        }
    }

    fn position(&self, basis: &Basis, proven: &Proven, target: LogRange) -> Position {
        let known = match basis {
            Basis::Anchor(anchor) if anchor.target_offset == target.end_offset => anchor.previous,
            _ => None,
        };
        let unknown = (target.end_offset > 0).then(|| deleted_record(self.target_epoch));
        let source_epoch = match basis {
            Basis::Anchor(anchor) if proven.source_epoch < 0 => anchor.source_epoch,
            _ => proven.source_epoch,
        };
        Position {
            source_offset: proven.source_offset,
            source_epoch,
            target_offset: target.end_offset,
            previous: proven.tail.or(known).or(unknown),
            is_shared: proven.foreign_records > 0,
            unmatched_records: proven.unmatched_own_records,
        }
    }

    /// Which source records are gone that were not copied.
    fn missing(
        &self,
        around: &Surroundings<'_>,
        basis: &Basis,
        proven: &Proven,
        source: LogRange,
    ) -> Option<(Missing, Uuid)> {
        let newest = anchors::newest(around.state.anchors(&around.place));
        let reached = match basis {
            Basis::Anchor(anchor) => anchor.source_offset,
            Basis::Hint { stored_offset, .. } => *stored_offset,
            Basis::Beginning => newest.map_or(source.start_offset, |anchor| anchor.source_offset),
        };
        let lead_in = i64::try_from(proven.lead_in_records).unwrap_or(i64::MAX);
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

    fn open_proven(
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
    fn open(&mut self, around: &mut Surroundings<'_>, opening: Opening) -> Step {
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
        let claimed = around.state.claim(&around.place).map(|claim| claim.producer_id);
        let anchored = Self::newest_lineage(around).map(|lineage| lineage.producer_id);
        let Some(producer_id) = anchored.or(claimed) else {
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
    fn write_opening(
        &mut self,
        around: &mut Surroundings<'_>,
        opening: &Opening,
        lineage: Lineage,
    ) {
        let position = opening.position;
        let counters = around.state.anchors(&around.place).map(|anchor| anchor.counter);
        let counter = counters.max().map_or(1, |counter| counter + 1);
        let start = self.start(around, position, lineage, (0, false), counter);
        let mut notices = Vec::new();
        if let Some((missing, source_topic_id)) = opening.missing {
            let gap = Gap {
                from_offset: missing.from_offset,
                to_offset: missing.to_offset,
                cause: missing.cause,
                source_topic_id,
                noticed_ms: around.wall_ms,
            };
            around.state.put(&around.place, Entry::Gap(gap));
            notices.push(PartitionNotice::Gap {
                from_offset: missing.from_offset,
                to_offset: missing.to_offset,
                cause: missing.cause,
            });
        }
        notices.push(PartitionNotice::LineageOpened {
            because: opening.because,
            cause: self.cause.clone(),
            source_offset: position.source_offset,
            unmatched_records: position.unmatched_records,
        });
        let ticket = around.state.put(&around.place, Entry::Anchor(start.anchor));
        self.go_to(Stage::Opening(ticket, Box::new(start), notices));
    }

    fn opened(&mut self, around: &Surroundings<'_>) -> Step {
        Self::refuse_others(around)?;
        match std::mem::replace(&mut self.stage, Stage::Own) {
            Stage::Opening(_, start, notices) => Err(End::Done(start, notices)),
            other => {
                self.stage = other;
                Ok(false)
            }
        }
    }

    /// The newest lineage goes on.
    fn go_on(
        &self,
        around: &Surroundings<'_>,
        position: Position,
        lineage: Lineage,
        (next_sequence, is_established): (i32, bool),
    ) -> End {
        let counters = around.state.anchors(&around.place).map(|anchor| anchor.counter);
        let counter = counters.max().unwrap_or(0);
        let identity = (next_sequence, is_established);
        let start = self.start(around, position, lineage, identity, counter);
        let notice = PartitionNotice::LineageContinued {
            cause: self.cause.clone(),
            source_offset: position.source_offset,
            is_remembered: is_established,
        };
        End::Done(Box::new(start), vec![notice])
    }

    fn start(
        &self,
        around: &Surroundings<'_>,
        position: Position,
        lineage: Lineage,
        (next_sequence, is_established): (i32, bool),
        counter: u64,
    ) -> Start {
        Start {
            anchor: Anchor {
                counter,
                generation: self.generation,
                lineage,
                next_sequence,
                source_offset: position.source_offset,
                source_epoch: position.source_epoch,
                source_topic_id: around.source_topic_id,
                target_offset: position.target_offset,
                target_topic_id: around.target_topic_id,
                previous: position.previous,
                mapping: self.mapping(around),
            },
            target_epoch: self.target_epoch,
            is_established,
            is_shared: position.is_shared,
        }
    }

    /// What a failure means: a question that cannot be answered at all is answered by that, what
    /// may pass is asked again with its whole stage, and the rest halts the partition.
    fn failed(
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
            // Without the right to look, the cleaner must be expected.
            Question::Policy if is_hopeless => {
                self.facts.may_compact = Some(true);
                return Ok(true);
            }
            Question::EpochEnd(Side::Source, _) if matches!(failure, Failure::Unsupported(_)) => {
                let Some(target) = self.facts.target else {
                    return Ok(false);
                };
                let next = match &self.stage {
                    Stage::Anchors { candidates, .. } => candidates
                        .first()
                        .and_then(|anchor| anchors::target_check(anchor, target)),
                    _ => None,
                };
                return self.checked(around, true, next);
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
            _ if matches!(question, Question::Window(Side::Source, _)) => {
                self.go_to(Stage::Source);
            }
            _ => self.go_to(Stage::Target),
        }
        Ok(true)
    }
}

/// The batch of an answer that ends just before an offset.
fn batch_before(records: &[u8], end_offset: i64) -> Option<Batch<'_>> {
    let entries = batches(records).filter_map(Result::ok);
    let mut found = entries.filter_map(|entry| match entry {
        LogEntry::Batch(batch) => Some(batch),
        LogEntry::Legacy(_) => None,
    });
    found.find(|batch| batch.header.next_offset() == end_offset)
}
