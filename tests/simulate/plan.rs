//! What will be done to a pair of clusters and to the process between them, decided up front.
//!
//! A [`Plan`] follows from its class and seed alone. Everything in it names its own moment and its
//! own luck, so that taking one fault out leaves the others as they were: that is what makes a
//! failing plan shrinkable.

use kmirror::{
    flow::{Delivery, Side},
    sandbox::Profile,
};
use kmirror_protocol::ErrorCode;

use super::past::Past;

/// Microseconds of virtual time since the start of a run.
pub(super) type Micros = u64;

pub(super) const MS: Micros = 1_000;
pub(super) const SECOND: Micros = 1_000 * MS;

/// How many brokers each cluster has; every topic has a replica on each.
pub(super) const BROKERS: i32 = 3;

/// Which kinds of fault may happen; the names are those of the research model, but for the last
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Kills of the process.
    S1,
    /// And broken connections, clean leader moves, brokers that stop.
    S2,
    /// And processes that sleep while another takes over; offset holes on the source.
    S3,
    /// And unclean elections on the target.
    S4,
    /// The same without sleepers.
    S4b,
    /// S3, and producers that the target forgets.
    S5,
    /// The same without sleepers.
    S5b,
    /// S3, and compaction on the source.
    S6,
    /// The same without sleepers.
    S6b,
    /// S4, S5 and S6 together.
    S7,
    /// S3, and others who write to the remote topics.
    S8,
    /// S4, and others who write to the remote topics.
    S8b,
    /// S3, and a target that gives out no producer ids, or not to everybody at all times.
    S9,
    /// The same, and unclean elections on the target, and others who write to the remote topics.
    S9b,
    /// S3, and a target that cannot tell which producers it remembers (Kafka before 2.8).
    Old,
    /// Everything there is.
    Mixed,
    /// S3 with the other mode of delivery.
    Modes,
    /// S3 in transactions of the old protocol.
    T1,
    /// And of the new one (KIP-890).
    T2,
    /// S3, with consumer groups and offset syncs.
    Groups,
}

impl Class {
    pub(super) const ALL: [Self; 20] = [
        Self::S1,
        Self::S2,
        Self::S3,
        Self::S4,
        Self::S4b,
        Self::S5,
        Self::S5b,
        Self::S6,
        Self::S6b,
        Self::S7,
        Self::S8,
        Self::S8b,
        Self::S9,
        Self::S9b,
        Self::Old,
        Self::Mixed,
        Self::Modes,
        Self::T1,
        Self::T2,
        Self::Groups,
    ];

    /// How the flow delivers.
    pub(super) const fn delivery(self) -> Delivery {
        match self {
            Self::Modes => Delivery::AtLeastOnce,
            Self::T1 | Self::T2 => Delivery::Transactional,
            _ => Delivery::ExactlyOnce,
        }
    }

    /// The level of the feature `transaction.version` that the target has.
    pub(super) const fn transaction_version(self) -> i16 {
        match self {
            Self::T1 => 1,
            _ => 2,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::S4 => "S4",
            Self::S4b => "S4b",
            Self::S5 => "S5",
            Self::S5b => "S5b",
            Self::S6 => "S6",
            Self::S6b => "S6b",
            Self::S7 => "S7",
            Self::S8 => "S8",
            Self::S8b => "S8b",
            Self::S9 => "S9",
            Self::S9b => "S9b",
            Self::Old => "old",
            Self::Mixed => "mixed",
            Self::Modes => "modes",
            Self::T1 => "T1",
            Self::T2 => "T2",
            Self::Groups => "groups",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    const fn is_transactional(self) -> bool {
        matches!(self, Self::T1 | Self::T2)
    }

    /// The kinds of fault that it may have.
    fn kinds(self) -> Vec<Kind> {
        use Kind::{
            Break, CleanMove, ClockJump, Compact, Crash, Deletion, Foreign, Forget, Freeze, Inject,
            Overlap, Recreate, Revoke, SourceLoss, Stall, StateLoss, StopBroker, Unclean, Zombie,
        };
        let network = [Crash, Break, Stall, StopBroker, CleanMove, Inject];
        let sleepers = [Zombie, Overlap, Freeze];
        let more: &[Kind] = match self {
            Self::S1 => return vec![Crash],
            Self::S2 => &[],
            Self::S3 | Self::Old | Self::Modes | Self::T1 | Self::T2 | Self::Groups => &sleepers,
            Self::S9 => &[Zombie, Overlap, Freeze, Revoke],
            Self::S9b => &[Zombie, Overlap, Freeze, Revoke, Unclean, Foreign],
            Self::S4 => &[Zombie, Overlap, Freeze, Unclean],
            Self::S4b => &[Unclean],
            Self::S5 => &[Zombie, Overlap, Freeze, Forget],
            Self::S5b => &[Forget],
            Self::S6 => &[Zombie, Overlap, Freeze, Compact],
            Self::S6b => &[Compact],
            Self::S7 => &[Zombie, Overlap, Freeze, Unclean, Forget, Compact],
            Self::S8 => &[Zombie, Overlap, Freeze, Foreign],
            Self::S8b => &[Zombie, Overlap, Freeze, Unclean, Foreign],
            Self::Mixed => &[
                Zombie, Overlap, Freeze, Unclean, Forget, Compact, Foreign, Deletion, SourceLoss,
                Recreate, ClockJump, StateLoss,
            ],
        };
        [network.as_slice(), more].concat()
    }

    /// Whether the source writes transactions, whose markers leave holes in the offsets.
    const fn has_gaps(self) -> bool {
        !matches!(self, Self::S1 | Self::S2)
    }

    /// Whether every answer that is injected may pass by itself.
    const fn injects_mildly(self) -> bool {
        !matches!(self, Self::Mixed)
    }
}

/// What a fault is of, for switching kinds off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Crash,
    Zombie,
    Overlap,
    Freeze,
    Break,
    Stall,
    StopBroker,
    CleanMove,
    Inject,
    Unclean,
    Forget,
    Compact,
    Foreign,
    Deletion,
    SourceLoss,
    Recreate,
    ClockJump,
    StateLoss,
    Revoke,
    TargetDeletion,
    TargetCompaction,
}

/// A topic to which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// One of those that are copied, or their copies.
    Data,
    /// kmirror's own on the target: positions, or the state topic.
    Own,
}

/// What is answered in place of what a broker would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Injection {
    pub(super) side: Side,
    pub(super) api: InjectedApi,
    pub(super) code: ErrorCode,
    /// Whether the broker does what was asked all the same.
    pub(super) is_served: bool,
    /// One in so many requests.
    pub(super) one_in: u32,
}

/// The requests whose answers are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InjectedApi {
    Produce,
    Fetch,
    ListOffsets,
}

/// What happens. `pick` and `keep` are reduced to what there is to choose from at the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    /// The newest process dies, and another starts after a while.
    Crash { pause: Micros },
    /// The newest process sleeps; another starts, and the sleeper wakes later.
    Zombie { sleep: Micros },
    /// Another process starts beside the newest.
    Overlap,
    /// The newest process sleeps, and nobody takes over.
    Freeze { sleep: Micros },
    /// A connection breaks; of what it had sent a part is served up to so much later.
    Break { pick: u32, keep: u32, late: Micros },
    /// A broker does nothing for a while.
    Stall {
        side: Side,
        broker: i32,
        time: Micros,
    },
    /// A broker is down for a while.
    StopBroker {
        side: Side,
        broker: i32,
        time: Micros,
    },
    /// Another in-sync replica leads; with a `lag`, one that was held back for that long, so that
    /// what was not committed is lost.
    CleanMove {
        side: Side,
        which: Which,
        pick: u32,
        lag: Micros,
    },
    /// A replica that has not followed for as long as `lag` leads: what was committed is lost.
    Unclean {
        side: Side,
        which: Which,
        pick: u32,
        lag: Micros,
    },
    /// The target forgets producers: all that are old, or all on one broker.
    Forget { evicted_on: Option<i32>, pick: u32 },
    /// The source's topics are compacted.
    Compact,
    /// Somebody writes to a remote topic.
    Foreign { pick: u32, count: u32 },
    /// The source deletes its oldest records, per mille of what it has.
    Deletion { pick: u32, per_mille: u32 },
    /// The target deletes its oldest copies, per mille of what it has.
    TargetDeletion { pick: u32, per_mille: u32 },
    /// The copies are compacted.
    TargetCompaction,
    /// A source topic is deleted and created again.
    Recreate { pick: u32 },
    /// The wall clock of a cluster jumps, in milliseconds.
    ClockJump { side: Side, ms: i64 },
    /// The state topic is deleted.
    StateDeleted,
    /// kmirror's own topic gets records that it did not write.
    StateRubbish { pick: u32 },
    /// The target refuses producer ids, and batches that have one, for a while.
    Revoke { time: Micros },
    /// Wrong answers for a while.
    Inject { injection: Injection, time: Micros },
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) at: Micros,
    pub(super) kind: Kind,
    pub(super) what: What,
}

/// Something written to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) at: Micros,
    /// Which partition.
    pub(super) pick: u32,
    /// What its batch looks like.
    pub(super) seed: u64,
}

/// Somebody reads a part of what is in a partition of the source, and commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) at: Micros,
    pub(super) group: u8,
    /// Which partition.
    pub(super) pick: u32,
    /// How much of what it has before it, or behind it if it goes back.
    pub(super) per_mille: u32,
    pub(super) is_back: bool,
}

/// A run, but for what the flow makes of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) class: Class,
    pub(super) seed: u64,
    /// The partition counts of the topics.
    pub(super) topics: Vec<i32>,
    /// Which broker the target passes for.
    pub(super) target: Profile,
    pub(super) is_compacted: bool,
    pub(super) has_transactions: bool,
    /// What a process of long ago has left.
    pub(super) past: Option<Past>,
    /// When faults end and everything is mended.
    pub(super) heal_at: Micros,
    pub(super) writes: Vec<Write>,
    /// What consumer groups do.
    pub(super) reads: Vec<Read>,
    pub(super) faults: Vec<Fault>,
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn new(class: Class, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(scatter(seed, class));
        let kinds = swarm(&mut rng, class);
        let is_compacted = kinds.contains(&Kind::Compact);
        // A transaction whose marker an unclean election loses hangs for ever.
        let loses_markers = kinds.contains(&Kind::SourceLoss);
        let heal_at = rng.u64(2_000..7_000) * MS;
        let topics = match rng.u32(0..4) {
            0 => vec![2],
            1 => vec![1, 1],
            _ => vec![1],
        };
        let mut plan = Self {
            class,
            seed,
            topics,
            target: target(&mut rng, class),
            is_compacted,
            has_transactions: class.has_gaps() && !is_compacted && !loses_markers && rng.bool(),
            past: None,
            heal_at,
            writes: Vec::new(),
            reads: Vec::new(),
            faults: Vec::new(),
        };
        plan.writes = writes(&mut rng, heal_at);
        if class == Class::Groups {
            plan.reads = reads(&mut rng, heal_at);
        }
        for kind in &kinds {
            let most = if is_common(*kind) { 7 } else { 4 };
            for _ in 0..rng.u32(1..most) {
                let at = rng.u64(SECOND / 5..heal_at);
                let what = fault(&mut rng, class, *kind);
                let kind = *kind;
                plan.faults.push(Fault { at, kind, what });
            }
        }
        plan.add_later();
        plan.faults.sort_by_key(|fault| fault.at);
        if plan.has_transactions {
            plan.keep_markers();
        }
        plan
    }

    /// Adds what has luck of its own, so that it leaves everything else as it would be without.
    fn add_later(&mut self) {
        let mut rng = fastrand::Rng::with_seed(scatter(self.seed, self.class) ^ LATER);
        let (has_past, has_deletions) = (rng.u32(0..4) == 0, rng.u32(0..4) == 0);
        // Only a proof reads what is left; the identity of transactions is their coordinator's.
        let is_proving =
            self.class.delivery() == Delivery::ExactlyOnce && self.target == Profile::default();
        self.past = (has_past && is_proving).then(|| Past::new(&mut rng));
        // Which copies of an open transaction a reader of committed records has seen is not in the
        // books.
        if !has_deletions || self.class.is_transactional() {
            return;
        }
        // A cluster deletes by age only where the policy is not to compact.
        let kind = if self.is_compacted {
            Kind::TargetCompaction
        } else {
            Kind::TargetDeletion
        };
        for _ in 0..rng.u32(1..4) {
            let at = rng.u64(SECOND / 5..self.heal_at);
            let what = fault(&mut rng, self.class, kind);
            self.faults.push(Fault { at, kind, what });
        }
    }

    /// Lets no leader of the source be elected that lags behind, since what that does to an open
    /// transaction of the source is not settled in the books of the workload. And lets none end by
    /// a jump of the clock.
    fn keep_markers(&mut self) {
        for fault in &mut self.faults {
            match &mut fault.what {
                What::CleanMove {
                    side: Side::Source,
                    lag,
                    ..
                } => *lag = 0,
                What::ClockJump { side, .. } => *side = Side::Target,
                _ => {}
            }
        }
    }

    /// Whether there is a fault of a kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind)
    }
}

/// Chosen so that the seeds that failed once keep their runs.
const LATER: u64 = 68_963_172;

/// Neighbouring seeds, and one seed in several classes, give runs that have nothing in common
/// (Steele, Lea and Flood's SplitMix64).
pub(super) fn scatter(seed: u64, class: Class) -> u64 {
    let class = class.name().bytes().fold(0_u64, |sum, byte| {
        sum.wrapping_mul(257).wrapping_add(u64::from(byte))
    });
    let mut mixed = seed ^ class.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 31)
}

const fn is_common(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Crash | Kind::Break | Kind::CleanMove | Kind::Foreign | Kind::Compact
    )
}

/// The kinds that a seed has: some of the class's, so that each gets runs without the noise of the
/// others.
fn swarm(rng: &mut fastrand::Rng, class: Class) -> Vec<Kind> {
    let all = class.kinds();
    let off = if class == Class::Mixed { 55 } else { 30 };
    let mut kinds: Vec<Kind> = all.clone();
    kinds.retain(|_| rng.u32(0..100) >= off);
    if kinds.is_empty() {
        kinds.push(all[rng.usize(0..all.len())]);
    }
    kinds
}

/// Bursts and single batches, all before the end of faults.
fn writes(rng: &mut fastrand::Rng, heal_at: Micros) -> Vec<Write> {
    let count = rng.usize(15..60);
    let mut writes = Vec::with_capacity(count);
    while writes.len() < count {
        let mut at = rng.u64(0..heal_at);
        for _ in 0..rng.u32(1..8) {
            at += rng.u64(0..40) * MS;
            writes.push(Write {
                at: at.min(heal_at - MS),
                pick: rng.u32(..),
                seed: rng.u64(..),
            });
        }
    }
    writes.sort_by_key(|write| write.at);
    writes
}

/// Groups that read a part, all of it, or go back.
fn reads(rng: &mut fastrand::Rng, heal_at: Micros) -> Vec<Read> {
    let count = rng.usize(3..30);
    let one = |_| Read {
        at: rng.u64(0..heal_at),
        group: rng.u8(0..3),
        pick: rng.u32(..),
        per_mille: [rng.u32(0..1_000), 1_000][rng.usize(0..2)],
        is_back: rng.u32(0..8) == 0,
    };
    (0..count).map(one).collect()
}

fn target(rng: &mut fastrand::Rng, class: Class) -> Profile {
    match class {
        Class::S9 | Class::S9b if rng.bool() => Profile::NoIdempotence,
        Class::Old => Profile::Kafka21,
        _ => Profile::default(),
    }
}

fn side(rng: &mut fastrand::Rng) -> Side {
    if rng.u32(0..3) == 0 {
        Side::Source
    } else {
        Side::Target
    }
}

fn fault(rng: &mut fastrand::Rng, class: Class, kind: Kind) -> What {
    let pick = rng.u32(..);
    let broker = rng.i32(0..BROKERS);
    match kind {
        Kind::Crash => What::Crash {
            pause: [0, rng.u64(0..300) * MS][rng.usize(0..2)],
        },
        Kind::Zombie => What::Zombie {
            sleep: rng.u64(20..4_000) * MS,
        },
        Kind::Overlap => What::Overlap,
        Kind::Freeze => What::Freeze {
            sleep: rng.u64(20..4_000) * MS,
        },
        Kind::Break => {
            let most = [20, 500, 8_000][rng.usize(0..3)];
            What::Break {
                pick,
                keep: rng.u32(..),
                late: rng.u64(0..most) * MS,
            }
        }
        Kind::Stall => What::Stall {
            side: side(rng),
            broker,
            time: rng.u64(50..2_500) * MS,
        },
        Kind::StopBroker => What::StopBroker {
            side: side(rng),
            broker,
            time: rng.u64(50..2_500) * MS,
        },
        Kind::CleanMove | Kind::Unclean | Kind::SourceLoss | Kind::StateLoss => {
            loss(rng, kind, pick)
        }
        Kind::Forget => What::Forget {
            evicted_on: rng.bool().then_some(broker),
            pick,
        },
        Kind::Revoke => What::Revoke {
            time: rng.u64(100..5_000) * MS,
        },
        Kind::Compact => What::Compact,
        Kind::Foreign => What::Foreign {
            pick,
            count: rng.u32(1..4),
        },
        Kind::Deletion => What::Deletion {
            pick,
            per_mille: [rng.u32(1..1_000), 1_000][rng.usize(0..2)],
        },
        Kind::TargetDeletion => What::TargetDeletion {
            pick,
            per_mille: [rng.u32(1..1_000), 1_000][rng.usize(0..2)],
        },
        Kind::TargetCompaction => What::TargetCompaction,
        Kind::Recreate => What::Recreate { pick },
        Kind::ClockJump => What::ClockJump {
            side: side(rng),
            ms: rng.i64(-3_600_000..0),
        },
        Kind::Inject => What::Inject {
            injection: injection(rng, class),
            time: rng.u64(50..3_000) * MS,
        },
    }
}

/// An election, or what else becomes of kmirror's own topics.
fn loss(rng: &mut fastrand::Rng, kind: Kind, pick: u32) -> What {
    match kind {
        Kind::StateLoss if rng.bool() => What::StateRubbish { pick },
        Kind::StateLoss if rng.u32(0..3) == 0 => What::StateDeleted,
        Kind::CleanMove => What::CleanMove {
            side: side(rng),
            which: which(rng),
            pick,
            lag: [0, rng.u64(1..1_000) * MS][rng.usize(0..2)],
        },
        _ => What::Unclean {
            side: if kind == Kind::SourceLoss {
                Side::Source
            } else {
                Side::Target
            },
            which: if kind == Kind::StateLoss {
                Which::Own
            } else {
                Which::Data
            },
            pick,
            lag: rng.u64(1..1_500) * MS,
        },
    }
}

fn which(rng: &mut fastrand::Rng) -> Which {
    if rng.u32(0..4) == 0 {
        Which::Own
    } else {
        Which::Data
    }
}

/// What a leader may answer although it has appended the batch. Others are believed where
/// transactions must tell what they hold.
const LATE: [ErrorCode; 4] = [
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode::REQUEST_TIMED_OUT,
    ErrorCode::KAFKA_STORAGE_ERROR,
];

fn injection(rng: &mut fastrand::Rng, class: Class) -> Injection {
    let api = [
        InjectedApi::Produce,
        InjectedApi::Fetch,
        InjectedApi::ListOffsets,
    ][rng.usize(0..3)];
    let codes: Vec<ErrorCode> = ErrorCode::ALL
        .iter()
        .copied()
        .filter(|code| *code != ErrorCode::NONE)
        .filter(|code| !class.injects_mildly() || code.is_retriable())
        .collect();
    let code = codes[rng.usize(0..codes.len())];
    Injection {
        side: match api {
            InjectedApi::Produce => Side::Target,
            InjectedApi::Fetch => Side::Source,
            InjectedApi::ListOffsets => side(rng),
        },
        api,
        code,
        is_served: rng.bool() && (!class.is_transactional() || LATE.contains(&code)),
        one_in: rng.u32(1..4),
    }
}
