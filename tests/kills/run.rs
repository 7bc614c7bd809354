//! A seeded run: faults under load, and the comparison at its end.

use std::{
    thread,
    time::{Duration, Instant},
};

use kmirror::flow::Side;

use super::{
    clusters::{Network, Site},
    faults::Alone,
    journal::{Journal, now},
    load::Load,
    plan::{Fault, Moment, Nodes, Step, plan},
    replicators::{Replicators, properties},
    verdict::{Expectation, Topic, assert_copied, has_same_last},
};
use crate::support::{java::Installation, kmirror::wait_until, proxy::Gate, wait_for};

const TOPIC: &str = "numbers";
const COPY: &str = "A.numbers";
const PARTITIONS: usize = 3;

/// So that leaders move when brokers die, and one may be elected that has not everything.
const TARGET_REPLICAS: u16 = 2;

const TARGET: [(&str, &str); 3] = [
    ("min.insync.replicas", "1"),
    ("unclean.leader.election.enable", "true"),
    // Leaders move when a run wants them to.
    ("auto.leader.rebalance.enable", "false"),
];

/// How long copying may take to come as far as the source is.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);

/// What a leader takes alone before it dies.
const TAIL_RECORDS: i64 = 30;

/// Kills the replicator so often while everything else happens that the seed stands for; panics
/// unless the target has then what `expectation` says. Skipped without Java.
pub(super) fn run(seed: u64, kills: u32, expectation: Expectation) {
    let Some(installation) = Installation::or_skip() else {
        return;
    };
    let mut journal = Journal::new(seed, kills);
    let network = Network::start();
    let (source, target) = thread::scope(|scope| {
        let target = scope.spawn(|| Site::start(&network, 3, &TARGET));
        (Site::start(&network, 1, &[]), target.join().unwrap())
    });
    let (Some(source), Some(target)) = (source, target) else {
        return;
    };
    journal.note("the brokers run");
    let partitions = i32::try_from(PARTITIONS).unwrap();
    source.kafka.java().create_topic(TOPIC, partitions, 1, &[]);
    let load = Load::start(&source.kafka.bootstrap(), TOPIC, partitions, seed);
    let file = properties(
        &source.bootstrap(),
        &target.bootstrap(),
        TOPIC,
        TARGET_REPLICAS,
    );
    let mut run = Run {
        replicators: Replicators::new(installation, "kills", file),
        source,
        target,
        expectation,
        alone: None,
        steps: 0,
    };
    run.replicators.start();
    for step in plan(seed, kills, expectation == Expectation::ExactlyOnce) {
        run.step(step, &mut journal);
    }
    load.stop();
    journal.note("the load has stopped");
    let count = run.finish();
    journal.note(&format!("{count} records are copied as they should be"));
}

struct Run {
    replicators: Replicators,
    source: Site,
    target: Site,
    expectation: Expectation,
    /// While a leader of the target is without followers.
    alone: Option<Alone>,
    steps: usize,
}

impl Run {
    fn step(&mut self, step: Step, journal: &mut Journal) {
        self.steps += 1;
        journal.note(&format!("step {}: {step:?}", self.steps));
        let began_at = now();
        if let Some(fault) = step.during {
            self.begin(fault, journal);
        }
        match step.moment {
            Moment::After(time) => thread::sleep(time),
            Moment::Copied(records) => self.wait_for_more(records),
        }
        self.replicators.tend();
        let killed = self.replicators.kill(step.kills_older);
        if self.replicators.count() == 0 {
            self.replicators.start();
        }
        journal.note(&format!("replicator {killed} is killed"));
        if let Some(fault) = step.during {
            self.end(fault, began_at);
            journal.note("healed");
            self.catch_up();
        }
        self.replicators.tend();
        let ends = (
            self.source.observer.ends(TOPIC),
            self.target.observer.ends(COPY),
        );
        let (ended, taken_over) = (&self.replicators.ended, &self.replicators.taken_over);
        journal.note(&format!(
            "source and target end at {ends:?}; ended by themselves: {ended:?}; taken over: \
             {taken_over:?}"
        ));
    }

    fn begin(&mut self, fault: Fault, journal: &mut Journal) {
        let kafka = &mut self.target.kafka;
        match fault {
            Fault::FreezeReplicator(time) => {
                self.replicators.freeze();
                thread::sleep(time);
                self.replicators.thaw();
            }
            Fault::ReplaceFrozenReplicator => {
                self.replicators.freeze();
                self.replicators.start();
                self.catch_up();
                journal.note("the other has taken over");
                self.replicators.thaw();
            }
            Fault::RunTwo => self.replicators.start(),
            Fault::KillTarget(node) => kafka.kill9(node),
            Fault::StopTarget(node) => kafka.stop(node),
            Fault::FreezeTarget(node) => kafka.freeze(node),
            Fault::KillSource => self.source.kafka.kill9(1),
            Fault::LoseTail => {
                let partition = self.steps % PARTITIONS;
                let alone = Alone::begin(&mut self.target, COPY, partition, TAIL_RECORDS);
                journal.note(&format!("{alone:?}"));
                self.alone = Some(alone);
            }
            Fault::DelayRequests => {
                for proxy in Nodes::All.of(&self.target) {
                    proxy.present_requests(Gate::Shut);
                }
            }
            Fault::Network(side, nodes, weather, _) => {
                nodes
                    .of(self.site(side))
                    .for_each(|proxy| weather.begin(side, proxy));
            }
        }
    }

    /// Ends a fault that began then. Brokers that were down come back only after what others could
    /// take is copied.
    fn end(&mut self, fault: Fault, began_at: Instant) {
        match fault {
            Fault::FreezeReplicator(_) | Fault::ReplaceFrozenReplicator | Fault::RunTwo => {}
            Fault::KillTarget(node) | Fault::StopTarget(node) => {
                self.catch_up();
                self.target.kafka.restart(node);
                self.target.settle(COPY);
            }
            Fault::FreezeTarget(node) => {
                self.catch_up();
                self.target.kafka.thaw(node);
                self.target.settle(COPY);
            }
            Fault::KillSource => self.source.kafka.restart(1),
            Fault::LoseTail => {
                let alone = self.alone.take().expect("the fault has begun");
                alone.lose_tail(&mut self.target, COPY);
                alone.end(&mut self.target, COPY);
            }
            Fault::DelayRequests => {
                self.catch_up();
                Nodes::All
                    .of(&self.target)
                    .for_each(|proxy| proxy.requests(Gate::Open));
            }
            Fault::Network(side, nodes, weather, lasting) => {
                thread::sleep(lasting.saturating_sub(now() - began_at));
                nodes
                    .of(self.site(side))
                    .for_each(|proxy| weather.end(proxy));
            }
        }
    }

    const fn site(&self, side: Side) -> &Site {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Waits until so many more records are on the target than now.
    fn wait_for_more(&mut self, records: i64) {
        let total = |run: &Self| {
            run.target
                .observer
                .ends(COPY)
                .map_or(0, |ends| ends.iter().sum())
        };
        let enough: i64 = total(self) + records;
        wait_until(&format!("{records} more records"), || {
            self.replicators.tend();
            (total(self) >= enough).then_some(())
        });
    }

    /// Waits until all is copied that is on the source now.
    fn catch_up(&mut self) {
        let goal = wait_until("the source's ends", || self.source.observer.ends(TOPIC));
        let mut seen = (None, None);
        let caught_up = wait_for(CATCH_UP_MAX, || {
            self.replicators.tend();
            // The target first: meanwhile the source may only grow.
            seen.0 = self.target.observer.ends(COPY);
            seen.1 = self.source.observer.ends(TOPIC);
            let here = seen.0.as_ref()?;
            let is_within = seen
                .1
                .iter()
                .flatten()
                .zip(here)
                .all(|(there, here)| here <= there);
            assert!(
                is_within || self.expectation == Expectation::AtLeastOnce,
                "records came twice: target and source end at {seen:?}"
            );
            let is_there = here.iter().zip(&goal).all(|(here, goal)| here >= goal);
            is_there.then_some(())
        });
        assert!(
            caught_up.is_some(),
            "waited {CATCH_UP_MAX:?} for a target that ends at {goal:?}; target and source end at \
             {seen:?}"
        );
    }
}

impl Run {
    /// Waits until all is copied, stops the replicators and compares; answers how many records the
    /// source has.
    fn finish(mut self) -> usize {
        self.catch_up();
        let (source, copy) = (
            Topic {
                kafka: &self.source.kafka,
                name: TOPIC,
            },
            Topic {
                kafka: &self.target.kafka,
                name: COPY,
            },
        );
        if self.expectation == Expectation::AtLeastOnce {
            // Where records come again, the ends say nothing of the last.
            wait_until("the last records", || {
                has_same_last(source, copy).then_some(())
            });
        }
        self.replicators.stop_all();
        assert_copied(source, copy, self.expectation)
    }
}
