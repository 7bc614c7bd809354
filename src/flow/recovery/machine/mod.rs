//! One partition's recovery: a question, its answer, the next question.
//!
//! Nothing is written to the target's partition while this goes on. Whatever fails is asked again
//! after a wait, from the beginning of its stage: evidence gathered from two leaders is no evidence.

mod answers;
mod basis;
mod conclusion;
mod evidence;
mod hint;
mod mapping;
mod opening;
mod own;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use bytes::Bytes;
use kmirror_protocol::{
    records::{Batch, LogEntry, batches, sequence_after},
    wire::Uuid,
};

use self::{hint::Hint, mapping::Mapping};
use super::{
    super::{
        ActiveProducer, EpochEnd, Failure, FetchedRecords, Footing, LogRange, PartitionNotice,
        Refusal, Side,
        delivery::{Adopt, OnGap, OnRecreated},
        halt::HaltReason,
        limits,
        proof::{
            Progress as ProofProgress, Proof, ProofStart, TailEvidence, Undecided,
            Verdict as Proven, Wants, tail_proves,
        },
        retry::{Backoff, Remedy},
        starts::{Begin, Search, StartQuestion},
        state::Ticket,
    },
    Progress, RecoveryCause, Start, Surroundings,
    anchors::{self, Check},
    decide::{self, Evidence, Missing, NewBecause, ProducerState, Verdict},
};
use crate::offsets::{
    exact_map::{ExactMap, Point},
    state::{Anchor, Claim, Entry, Gap, GapCause, Lineage, Owner, RecordIdentity, Reset},
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
    /// The first offset with that timestamp or a later one.
    Time(Side, i64),
    /// What the group that the partition begins at has committed for it.
    Committed,
    /// Records from an offset on.
    Window(Side, i64),
    /// Those of the target's records that no transaction can take back any more, from an offset on.
    Decided(i64),
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
    /// What the group has committed, if it has.
    Committed(Option<i64>),
    /// Records.
    Window(FetchedRecords),
}

/// What is known so far.
#[derive(Debug, Default)]
struct Facts {
    may_compact: Option<bool>,
    source: Option<LogRange>,
    target: Option<LogRange>,
    /// The newest anchor when the target was asked: generation and counter.
    newest: Option<(u64, u64)>,
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
    /// Nothing is known of the partition: where it begins.
    Begin(Box<Search>),
    /// A position of MM2's: which record comes before it.
    Hint(Hint),
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
    /// The anchor of a new lineage is being written, and the map below it (R3).
    Opening(Ticket, Box<Start>),
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
    /// How often the source has shown less than was copied of it.
    source_looks: u32,
    /// How often the evidence about the lineage has been gathered again.
    looks: u32,
    generation: u64,
    target_epoch: i32,
    /// The leader epoch of the source under which its log's range was asked for.
    source_epoch: i32,
    /// The next source offset that was to be read when this began.
    former_offset: Option<i64>,
    /// Why the target gives out no producer id, if it has said so.
    refusal: Option<Refusal>,
    /// Records of others that the proof met for the first time.
    foreign_records: u64,
    /// What there is to tell.
    notices: Vec<PartitionNotice>,
    mapping: Mapping,
    /// The newest anchor was not true of the source any more.
    has_source_diverged: bool,
    /// Anchors that the source has refuted, by generation and counter. Looked at again, it may have
    /// deleted what told so: of epochs that begin below its log's start it knows nothing.
    refuted: BTreeSet<(u64, u64)>,
    /// The lineage must not carry what comes next (B3).
    is_lineage_over: bool,
    /// What the target remembers of the lineage is not what was sent, or not all of it.
    is_memory_void: bool,
    /// By how much the next answer's bytes exceed the usual, because a batch did not fit.
    bytes_factor: usize,
    /// The next question for records goes alone: the last answer had none, which says nothing
    /// while other partitions may have filled it.
    asks_alone: bool,
}

impl Recovery {
    /// A recovery that has asked nothing yet. `former_offset` is the next source offset that was to
    /// be read, if the partition was running.
    #[must_use]
    pub(in crate::flow) fn new(cause: RecoveryCause, former_offset: Option<i64>) -> Self {
        let mapping = Mapping::new(cause == RecoveryCause::StateLost);
        Self {
            is_lineage_over: cause == RecoveryCause::EpochsUsedUp,
            is_memory_void: cause.voids_memory(),
            cause,
            stage: Stage::Own,
            facts: Facts::default(),
            open: Vec::new(),
            stint: 0,
            backoff: Backoff::new(),
            source_looks: 0,
            looks: 0,
            generation: 0,
            target_epoch: -1,
            source_epoch: -1,
            former_offset,
            refusal: None,
            foreign_records: 0,
            notices: Vec::new(),
            mapping,
            has_source_diverged: false,
            refuted: BTreeSet::new(),
            bytes_factor: 1,
            asks_alone: false,
        }
    }

    /// Whether its question for records must not share a request with those of others.
    #[must_use]
    pub(in crate::flow) const fn asks_alone(&self) -> bool {
        self.asks_alone
    }

    /// By how much answers must exceed the usual size.
    #[must_use]
    pub(in crate::flow) const fn bytes_factor(&self) -> usize {
        self.bytes_factor
    }

    /// What has become known and is not told yet.
    pub(in crate::flow) fn take_notices(&mut self) -> Vec<PartitionNotice> {
        std::mem::take(&mut self.notices)
    }

    /// Why it is under way.
    #[must_use]
    pub(in crate::flow) const fn cause(&self) -> &RecoveryCause {
        &self.cause
    }

    /// Whether the state was lost since it began, so that the state topic has no map.
    #[must_use]
    pub(in crate::flow) const fn is_state_lost(&self) -> bool {
        self.mapping.is_state_lost()
    }

    /// The map of what is below the position, once there is one.
    #[must_use]
    pub(in crate::flow) fn into_map(mut self) -> Option<ExactMap> {
        self.mapping.take()
    }

    /// Which answers count.
    #[must_use]
    pub(in crate::flow) const fn stint(&self) -> u32 {
        self.stint
    }

    /// Which group's position it wants to know.
    #[must_use]
    pub(in crate::flow) fn start_group(&self) -> Option<Arc<str>> {
        let Stage::Begin(search) = &self.stage else {
            return None;
        };
        match search.question()? {
            StartQuestion::Committed(group) => Some(group),
            StartQuestion::Time(_) => None,
        }
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
        self.is_lineage_over |= cause == RecoveryCause::EpochsUsedUp;
        self.is_memory_void |= cause.voids_memory();
        if cause == RecoveryCause::StateLost {
            self.mapping.state_lost();
        }
        self.cause = cause;
        self.source_looks = 0;
        self.looks = 0;
        self.go_to(Stage::Own);
    }

    /// Gathers the target's evidence again when its leader is another one now (R8).
    pub(in crate::flow) fn target_moved(&mut self, epoch: i32) {
        let depends = self.is_owned() && !matches!(self.stage, Stage::Source | Stage::Quiet(_));
        if depends && self.target_epoch != epoch {
            self.go_to(Stage::Target);
        }
    }

    /// Looks at the source again when its leader is another one now, which may have another log. An
    /// opening that is being written already is caught by the first Fetch, as any position is.
    pub(in crate::flow) fn source_moved(&mut self, epoch: i32) {
        let depends = self.facts.source.is_some() && !matches!(self.stage, Stage::Opening(..));
        if depends && self.source_epoch != epoch {
            self.go_to(Stage::Source);
        }
    }

    /// Under which generation this process owns the partition, once its record has been read back.
    #[must_use]
    pub(in crate::flow) fn owned_generation(&self) -> Option<u64> {
        self.is_owned().then_some(self.generation)
    }

    /// Whether the owner's record has been written and read back.
    const fn is_owned(&self) -> bool {
        !matches!(self.stage, Stage::Own | Stage::Claiming | Stage::Owning(_))
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
        self.asks_alone = false;
        self.stage = stage;
    }

    /// Whether an answer without records says that the log has none there, although its end is
    /// higher: only what is committed, and only when nobody else was asked about.
    fn is_nothing_left(&mut self, is_committed: bool) -> bool {
        std::mem::replace(&mut self.asks_alone, is_committed) && is_committed
    }

    /// Goes on as far as it can without an answer; the questions that are to be asked now.
    pub(in crate::flow) fn advance(
        &mut self,
        around: &mut Surroundings<'_>,
    ) -> (Progress, Vec<Question>) {
        if self.backoff.is_waiting(around.now) {
            return (Progress::Waits, Vec::new());
        }
        let progress = self.step(around);
        if !matches!(progress, Progress::Waits) {
            return (progress, Vec::new());
        }
        let mut wanted = self.wanted();
        wanted.retain(|question| !self.open.contains(question));
        if wanted.contains(&Question::Range(Side::Source)) {
            self.source_epoch = around.source_epoch;
        }
        self.open.extend(&wanted);
        (progress, wanted)
    }

    /// Moves from stage to stage while nothing has to be asked.
    fn step(&mut self, around: &mut Surroundings<'_>) -> Progress {
        loop {
            if let Err(End::Halt(reason)) = self.refuse_successor(around) {
                return Progress::Halted(reason);
            }
            let moved = match &self.stage {
                Stage::Own => self.own(around),
                Stage::Owning(ticket) if around.state.has_settled(*ticket) => self.owned(around),
                Stage::Source => self.source_known(around),
                Stage::Quiet(until) if *until <= around.now => {
                    self.go_to(Stage::Target);
                    Ok(true)
                }
                Stage::Target => self.target_known(around),
                Stage::Proof { proof, .. } if proof.verdict().is_some() => self.conclude(around),
                Stage::Opening(ticket, ..) if around.state.has_settled(*ticket) => self.opened(),
                _ => Ok(false),
            };
            match moved {
                Ok(true) => {}
                Ok(false) => return Progress::Waits,
                Err(End::Halt(reason)) => return Progress::Halted(reason),
                Err(End::Done(start)) => return Progress::Done(*start),
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
                    (Some(Check::SourceEpoch(epoch) | Check::SourceLeader(epoch)), Some(_)) => {
                        vec![Question::EpochEnd(Side::Source, *epoch)]
                    }
                    (Some(Check::TargetEpoch(epoch) | Check::LaterEpoch(epoch)), Some(_)) => {
                        vec![Question::EpochEnd(Side::Target, *epoch)]
                    }
                    (Some(Check::Previous(offset) | Check::Dense(offset)), Some(_)) => {
                        vec![Question::Window(Side::Target, *offset)]
                    }
                    _ => Vec::new(),
                }
            }
            Stage::Hint(hint) => vec![Question::Window(Side::Source, hint.asked_offset)],
            Stage::HintTime { timestamp, .. } => vec![Question::Time(Side::Target, *timestamp)],
            Stage::Begin(search) => match search.question() {
                Some(StartQuestion::Time(millis)) => vec![Question::Time(Side::Source, millis)],
                Some(StartQuestion::Committed(_)) => vec![Question::Committed],
                None => Vec::new(),
            },
            Stage::Proof { proof, .. } => match proof.wants() {
                Wants::Source { offset } => vec![Question::Window(Side::Source, offset)],
                Wants::Decided { offset } => vec![Question::Decided(offset)],
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
    Done(Box<Start>),
}

/// Whether a step has led to another stage.
type Step = Result<bool, End>;

#[cfg(test)]
mod tests;
