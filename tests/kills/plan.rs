//! Which faults a seed stands for. Pure.

use std::time::Duration;

use fastrand::Rng;
use kmirror::flow::Side;

use super::{LEASE, REQUEST_TIMEOUT};

/// The brokers of the target.
pub(super) const TARGET_NODES: [i32; 3] = [1, 2, 3];

/// One kill of the replicator, and what else goes on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) during: Option<Fault>,
    pub(super) moment: Moment,
    /// Where two run: whether the older is killed.
    pub(super) kills_older: bool,
}

/// When the replicator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So much later: perhaps before it copies anything.
    After(Duration),
    /// As soon as so many more records are on the target.
    Copied(i64),
}

/// What goes wrong besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The replicator is frozen for so long, and goes on.
    FreezeReplicator(Duration),
    /// The replicator is frozen, another takes its place, and then it goes on.
    ReplaceFrozenReplicator,
    /// Two replicators run.
    RunTwo,
    /// A broker of the target dies (SIGKILL).
    KillTarget(i32),
    /// A broker of the target is shut down in order: its leaders move before.
    StopTarget(i32),
    /// A broker of the target freezes for longer than its session: others lead, and it does not
    /// know.
    FreezeTarget(i32),
    /// The source dies (SIGKILL).
    KillSource,
    /// The leader of a partition of the target dies and takes with it what no other replica has.
    LoseTail,
    /// Requests to the target arrive after their sender is dead and its successor is at work.
    DelayRequests,
    /// The network between the replicator and some brokers is bad for so long.
    Network(Side, Nodes, Weather, Duration),
}

/// Which brokers of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nodes {
    All,
    /// The broker of this id.
    One(i32),
}

/// How a network is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// Everything takes so much longer, each way.
    Late(Duration),
    /// So many bytes of a connection pass in a second, each way.
    Slow(u32),
    /// No connection is accepted, and those there are get reset.
    Deaf,
    /// Connections are reset, at the beginning and at the end.
    Reset,
    /// Requests do not arrive.
    NoRequests,
    /// Answers do not arrive.
    NoAnswers,
    /// Nothing arrives.
    Nothing,
    /// What brokers answer is not what they sent.
    Garbled,
    /// Record batches have a wrong bit.
    Damaged,
    /// Each connection is cut when so many bytes of answers have passed.
    Cut(usize),
}

/// The cards that faults are dealt from: each once before any comes again.
const KINDS: u32 = 20;

/// The steps of a seed, with so many kills. Tails are lost only if `loses_tails`.
pub(super) fn plan(seed: u64, kills: u32, loses_tails: bool) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let mut deck = Vec::new();
    let steps = (0..kills).map(|_| {
        let during = rng.bool().then(|| {
            loop {
                if deck.is_empty() {
                    deck.extend(0..KINDS);
                    rng.shuffle(&mut deck);
                }
                let kind = deck.pop().expect("it has just been filled");
                let fault = fault(kind, &mut rng);
                if loses_tails || fault != Fault::LoseTail {
                    return fault;
                }
            }
        });
        let after = Moment::After(Duration::from_millis(rng.u64(0..1_000)));
        Step {
            during,
            // Under a fault nothing may be copied at all.
            moment: if during.is_some() || rng.u32(0..3) == 0 {
                after
            } else {
                Moment::Copied(rng.i64(0..400))
            },
            kills_older: rng.bool(),
        }
    });
    steps.collect()
}

fn fault(kind: u32, rng: &mut Rng) -> Fault {
    let past = |time: Duration, rng: &mut Rng| time.mul_f64(1.2 + rng.f64());
    let node = TARGET_NODES[rng.usize(0..TARGET_NODES.len())];
    match kind {
        0 => Fault::FreezeReplicator(past(LEASE, rng)),
        1 => Fault::ReplaceFrozenReplicator,
        2 => Fault::RunTwo,
        3 | 4 => Fault::KillTarget(node),
        5 => Fault::StopTarget(node),
        6 => Fault::FreezeTarget(node),
        7 => Fault::KillSource,
        8 => Fault::LoseTail,
        9 => Fault::DelayRequests,
        _ => network(kind - 10, node, rng),
    }
}

fn network(kind: u32, node: i32, rng: &mut Rng) -> Fault {
    let weather = match kind {
        0 => Weather::Late(Duration::from_millis(rng.u64(5..300))),
        1 => Weather::Slow(rng.u32(2_000..200_000)),
        2 => Weather::Deaf,
        3 => Weather::Reset,
        4 => Weather::NoRequests,
        5 => Weather::NoAnswers,
        6 => Weather::Nothing,
        7 => Weather::Garbled,
        8 => Weather::Damaged,
        _ => Weather::Cut(rng.usize(100..50_000)),
    };
    let side = if rng.u32(0..3) == 0 {
        Side::Source
    } else {
        Side::Target
    };
    let nodes = if side == Side::Source || rng.bool() {
        Nodes::All
    } else {
        Nodes::One(node)
    };
    // Now shorter, now longer than requests wait.
    let lasting = REQUEST_TIMEOUT.mul_f64(0.1 + 1.4 * rng.f64());
    Fault::Network(side, nodes, weather, lasting)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, mem::discriminant};

    use super::*;

    #[test]
    fn equal_seeds_give_equal_plans_and_others_do_not() {
        assert_eq!(plan(7, 50, true), plan(7, 50, true));
        assert_ne!(plan(7, 50, true), plan(8, 50, true));
    }

    #[test]
    fn every_kind_of_fault_comes_up_in_a_long_run() {
        let steps = plan(1, 300, true);
        assert_eq!(steps.len(), 300);
        let (mut faults, mut weathers) = (Vec::new(), Vec::new());
        for fault in steps.iter().filter_map(|step| step.during) {
            faults.push(discriminant(&fault));
            if let Fault::Network(_, _, weather, _) = fault {
                weathers.push(discriminant(&weather));
            }
        }
        let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
        let names: Vec<String> = faults.iter().map(|it| format!("{it:?}")).collect();
        assert_eq!(distinct(&names), 10);
        let names: Vec<String> = weathers.iter().map(|it| format!("{it:?}")).collect();
        assert_eq!(distinct(&names), 10);
    }

    #[test]
    fn no_tail_is_lost_where_that_is_not_wanted() {
        let steps = plan(1, 300, false);
        assert!(
            steps
                .iter()
                .all(|step| step.during != Some(Fault::LoseTail))
        );
    }
}
