//! The target loses a tail that it has acknowledged: all of it is copied again, and nothing twice.

use super::{
    clusters::{Network, Site},
    faults::Alone,
    load::Load,
    observer::Observer,
    replicators::{Replicators, properties},
    verdict::{Expectation, Topic, assert_copied},
};
use crate::support::{
    java::Installation,
    kafka::{Kafka, pair},
    kmirror::wait_until,
};

/// What the leader takes alone.
const TAIL_RECORDS: i64 = 100;

/// What the replicator does while the tail is lost.
#[derive(Clone, Copy, Debug)]
enum Replicator {
    GoesOn,
    IsKilledBefore,
}

#[test]
fn an_unclean_election_costs_no_record_and_doubles_none() {
    if Expectation::chosen() == Expectation::AtLeastOnce {
        // Without proof of its position the replicator goes on behind the tail.
        return;
    }
    let Some(pair) = pair() else { return };
    let network = Network::start();
    let properties = [
        ("unclean.leader.election.enable", "true"),
        ("auto.leader.rebalance.enable", "false"),
    ];
    let Some(mut target) = Site::start(&network, 3, &properties) else {
        return;
    };
    for (topic, copy, replicator) in [
        ("tail.alive", "A.tail.alive", Replicator::GoesOn),
        ("tail.killed", "A.tail.killed", Replicator::IsKilledBefore),
    ] {
        lose_a_tail(&pair.source, &mut target, (topic, copy), replicator);
    }
}

fn lose_a_tail(
    source: &Kafka,
    target: &mut Site,
    (topic, copy): (&'static str, &'static str),
    replicator: Replicator,
) {
    let observer = Observer::new(&source.bootstrap());
    source.java().create_topic(topic, 1, 1, &[]);
    let load = Load::start(&source.bootstrap(), topic, 1, 1);
    let file = properties(&source.bootstrap(), &target.bootstrap(), topic, 2);
    let installation = Installation::or_skip().expect("brokers run");
    let mut replicators = Replicators::new(installation, topic, file);
    replicators.start();
    wait_until("the first records", || {
        let ends = target.observer.ends(copy)?;
        (ends[0] > 0).then_some(())
    });
    let alone = Alone::begin(target, copy, 0, TAIL_RECORDS);
    let is_killed = matches!(replicator, Replicator::IsKilledBefore);
    if is_killed {
        replicators.kill(true);
    }
    let before = wait_until("the leader's end", || target.observer.ends(copy));
    let left = alone.lose_tail(target, copy);
    if is_killed {
        // Nobody has written since: what is missing was lost.
        assert!(left < before[0], "{left} of {before:?}");
        replicators.start();
    }
    alone.end(target, copy);
    load.stop();
    let goal = wait_until("the source's end", || observer.ends(topic));
    wait_until(&format!("{copy} to end at {goal:?}"), || {
        replicators.tend();
        (target.observer.ends(copy)? == goal).then_some(())
    });
    replicators.stop_all();
    let (source, copy) = (
        Topic {
            kafka: source,
            name: topic,
        },
        Topic {
            kafka: &target.kafka,
            name: copy,
        },
    );
    assert_copied(source, copy, Expectation::ExactlyOnce);
}
