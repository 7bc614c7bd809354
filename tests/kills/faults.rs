//! What the faults of a plan do to clusters and networks.

use kmirror::flow::Side;

use super::{
    clusters::Site,
    plan::{Nodes, Weather},
};
use crate::support::{
    kmirror::wait_until,
    proxy::{Gate, Proxy},
};

impl Weather {
    /// Makes the network behind a proxy so.
    pub(super) fn begin(self, side: Side, proxy: &Proxy) {
        match self {
            Self::Late(latency) => both(proxy, Gate::Late(latency)),
            Self::Slow(per_second) => both(proxy, Gate::Slow(per_second)),
            Self::Deaf => {
                proxy.accepting(false);
                proxy.reset();
            }
            Self::Reset => proxy.reset(),
            Self::NoRequests => proxy.requests(Gate::Shut),
            Self::NoAnswers => proxy.answers(Gate::Shut),
            Self::Nothing => both(proxy, Gate::Shut),
            Self::Garbled => proxy.answers(Gate::Garbling),
            Self::Damaged if side == Side::Source => proxy.answers(Gate::Damaging),
            Self::Damaged => proxy.requests(Gate::Damaging),
            Self::Cut(after) => proxy.answers(Gate::Cutting(after)),
        }
    }

    /// Makes the network good again. What was held back arrives now.
    pub(super) fn end(self, proxy: &Proxy) {
        both(proxy, Gate::Open);
        proxy.accepting(true);
        if self == Self::Reset {
            proxy.reset();
        }
    }
}

fn both(proxy: &Proxy, gate: Gate) {
    proxy.requests(gate);
    proxy.answers(gate);
}

impl Nodes {
    /// The proxies of these brokers.
    pub(super) fn of(self, site: &Site) -> impl Iterator<Item = &Proxy> {
        let proxies = site.proxies.iter();
        proxies
            .filter(move |(node, _)| self == Self::All || self == Self::One(**node))
            .map(|(_, proxy)| proxy)
    }
}

/// A partition whose leader has records that no other replica has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    partition: usize,
    leader: i32,
    follower: i32,
}

impl Alone {
    /// Kills the follower of a partition that has two replicas, and waits until the leader has
    /// taken `records` more, alone.
    pub(super) fn begin(site: &mut Site, topic: &str, partition: usize, records: i64) -> Self {
        let kept = wait_until("a leader", || {
            let kept = site.observer.keepers(topic)?.get(partition)?.clone();
            (kept.leader != -1 && kept.isr == kept.replicas).then_some(kept)
        });
        let [one, other] = kept.replicas[..] else {
            panic!("two replicas are needed: {kept:?}");
        };
        let leader = kept.leader;
        let follower = if leader == one { other } else { one };
        site.kafka.kill9(follower);
        let observer = &site.observer;
        wait_until("a leader without followers", || {
            (observer.keepers(topic)?.get(partition)?.isr == [leader]).then_some(())
        });
        let end = || observer.ends(topic)?.get(partition).copied();
        let before = wait_until("the leader's end", end);
        wait_until("records on the leader alone", || {
            (end()? >= before + records).then_some(())
        });
        Self {
            partition,
            leader,
            follower,
        }
    }

    /// Kills the leader and has the follower elected, which misses records; answers its end when it
    /// leads.
    pub(super) fn lose_tail(self, site: &mut Site, topic: &str) -> i64 {
        site.kafka.kill9(self.leader);
        site.kafka.restart(self.follower);
        wait_until("an unclean election", || {
            let kept = site.observer.keepers(topic)?.get(self.partition)?.clone();
            (kept.leader == self.follower).then_some(())
        });
        wait_until("the end of what is left", || {
            site.observer.ends(topic)?.get(self.partition).copied()
        })
    }

    /// Brings the old leader back.
    pub(super) fn end(self, site: &mut Site, topic: &str) {
        site.kafka.restart(self.leader);
        site.settle(topic);
    }
}
