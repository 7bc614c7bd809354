//! Who fetches next, over which connection, and how much an answer may bring.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Transfer, UnderWay};
use crate::flow::{Action, FetchPartition, Flow, PartitionId, limits};

/// The Fetch requests to one source broker.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    pub(super) busy_lanes: BTreeSet<u8>,
    /// Partitions that may want a Fetch.
    waiting: BTreeSet<PartitionId>,
    /// Whether there is one among them that may have records at once.
    has_busy_waiting: bool,
    /// Where the next request starts in `waiting`, so that each partition comes first in turn.
    first: u32,
}

impl Fetcher {
    fn is_used(&self) -> bool {
        !(self.busy_lanes.is_empty() && self.waiting.is_empty())
    }
}

impl Transfer {
    /// What one Fetch may ask for: a share of the budget, so that idle brokers, which hold theirs
    /// for as long as they hold the request, leave room for all the others.
    fn share(&self, budget: usize, lanes: u8, wanted: usize) -> usize {
        let brokers = self.fetchers.values().filter(|fetcher| fetcher.is_used());
        let shares = brokers.count().max(1) * usize::from(lanes);
        wanted.min(budget / shares).max(1)
    }

    /// The bytes that one more answer may bring, at most `wanted`; `None` to wait for room.
    ///
    /// When all that is held is stalled and nothing is coming, an answer is always let in: neither
    /// a budget below one batch nor partitions whose target is away may stop the flow.
    fn room(&self, budget: usize, wanted: usize) -> Option<usize> {
        let held = self.held.bytes + self.reserved_bytes;
        let free = budget.saturating_sub(held);
        if free >= wanted || held == self.held.stalled_bytes {
            return Some(wanted);
        }
        (free >= wanted.div_ceil(4)).then_some(free)
    }
}

impl Flow {
    pub(super) fn fetch(
        &mut self,
        now: Instant,
        touched: &BTreeSet<PartitionId>,
        actions: &mut Vec<Action>,
    ) {
        for id in touched {
            let Some(slot) = self.slot(*id) else { continue };
            if let (Some(leader), Some(_)) = (slot.source.leader, slot.partition.wants_fetch(now)) {
                let is_idle = slot.partition.is_idle();
                let fetcher = self.transfer.fetchers.entry(leader.node).or_default();
                fetcher.waiting.insert(*id);
                fetcher.has_busy_waiting |= !is_idle;
            }
        }
        let (first, fetchers) = (self.transfer.next_node, &self.transfer.fetchers);
        let in_turn = fetchers.range(first..).chain(fetchers.range(..first));
        let nodes: Vec<i32> = in_turn.map(|(node, _)| *node).collect();
        let (budget, wanted) = (self.options.memory_bytes, self.options.fetch_bytes_max);
        let lanes = self.options.fetch_lanes.max(1);
        let wanted = self.transfer.share(budget, lanes, wanted);
        for node in nodes {
            let Some(lane) = self.free_lane(node, lanes) else {
                continue;
            };
            let Some(bytes_max) = self.transfer.room(budget, wanted) else {
                // It is first when there is room again, or others would take it for ever.
                self.transfer.next_node = node;
                return;
            };
            self.fetch_from(now, node, lane, bytes_max, actions);
        }
    }

    /// A connection to a broker on which a Fetch can be made, if partitions wait for one.
    ///
    /// Idle partitions do not go on without those in the short requests beside them: together they
    /// wait long in one request, apart they would ask many times a second for ever.
    fn free_lane(&self, node: i32, lanes: u8) -> Option<u8> {
        let fetcher = self.transfer.fetchers.get(&node)?;
        let lane = (0..lanes).find(|lane| !fetcher.busy_lanes.contains(lane))?;
        let is_apart = lane == 0 && !fetcher.busy_lanes.is_empty() && !fetcher.has_busy_waiting;
        (!fetcher.waiting.is_empty() && !is_apart).then_some(lane)
    }

    fn fetch_from(
        &mut self,
        now: Instant,
        node: i32,
        lane: u8,
        bytes_max: usize,
        actions: &mut Vec<Action>,
    ) {
        let partitions = self.take_waiting(now, node);
        if partitions.is_empty() {
            return;
        }
        let wanted: usize = partitions.iter().map(|partition| partition.bytes_max).sum();
        let bytes_max = bytes_max.min(wanted);
        self.transfer.reserved_bytes += bytes_max;
        let request = self.transfer.request(UnderWay::Fetch {
            node,
            lane,
            reserved_bytes: bytes_max,
            partitions: partitions.iter().map(|partition| partition.id).collect(),
        });
        if let Some(fetcher) = self.transfer.fetchers.get_mut(&node) {
            fetcher.busy_lanes.insert(lane);
        }
        actions.push(Action::Fetch {
            request,
            node,
            lane,
            wait: fetch_wait(lane, self.options.fetch_lanes),
            bytes_max,
            partitions,
        });
    }

    /// Takes the waiting partitions of a broker that still want a Fetch from it, in turn.
    fn take_waiting(&mut self, now: Instant, node: i32) -> Vec<FetchPartition> {
        let Some(fetcher) = self.transfer.fetchers.get_mut(&node) else {
            return Vec::new();
        };
        let waiting = std::mem::take(&mut fetcher.waiting);
        fetcher.has_busy_waiting = false;
        let first = PartitionId(fetcher.first);
        let in_turn: Vec<PartitionId> = waiting
            .range(first..)
            .chain(waiting.range(..first))
            .copied()
            .collect();
        if let Some(id) = in_turn.first() {
            fetcher.first = id.0.wrapping_add(1);
        }
        let mut taken = Vec::with_capacity(in_turn.len());
        for id in in_turn {
            let Some(slot) = self.slot_mut(id) else {
                continue;
            };
            let Some(leader) = slot.source.leader.filter(|leader| leader.node == node) else {
                continue;
            };
            let Some((fetch_offset, bytes_max)) = slot.partition.wants_fetch(now) else {
                continue;
            };
            slot.partition.fetch_sent();
            taken.push(FetchPartition {
                id,
                fetch_offset,
                leader_epoch: leader.epoch,
                last_fetched_epoch: slot.partition.last_fetched_epoch(),
                bytes_max,
            });
        }
        taken
    }
}

/// How long a broker may hold the request of a lane.
///
/// Only the first lane waits long. The others are for partitions that became ready while it waits
/// for idle ones: they come back soon, so that a lane is always about to be free.
const fn fetch_wait(lane: u8, lanes: u8) -> Duration {
    if lane == 0 || lanes <= 1 {
        limits::FETCH_WAIT
    } else {
        limits::FETCH_WAIT_SHORT
    }
}
