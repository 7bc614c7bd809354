//! Puts what partitions want into requests: one broker at a time, within the byte budget.
//!
//! To one source broker a few Fetch requests may be under way, each for partitions of its own, so
//! that idle partitions in a long poll hold up no busy one. To one target broker requests follow
//! each other; each carries at most one batch per partition, because a broker takes no more, and a
//! partition named twice in one request would silently lose its first batch
//! (`KafkaApis.handleProduceRequest`).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    Action, Failure, FetchPartition, FetchedRecords, Flow, LogRange, Outgoing, PartitionId,
    PerPartition, RequestId, Side, limits, retry::Remedy,
};

/// Requests under way, and the bytes they may bring.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    next_request: u64,
    under_way: BTreeMap<RequestId, UnderWay>,
    fetchers: BTreeMap<i32, Fetcher>,
    /// Record bytes held by all partitions.
    pub(super) queued_bytes: usize,
    /// Record bytes that answers under way may bring.
    reserved_bytes: usize,
}

/// What a request was for.
#[derive(Debug)]
enum UnderWay {
    Fetch {
        node: i32,
        lane: u8,
        reserved_bytes: usize,
        partitions: Vec<PartitionId>,
    },
    LogRanges {
        partitions: Vec<PartitionId>,
    },
    Produce {
        batches: Vec<(PartitionId, i32)>,
    },
}

/// The Fetch requests to one source broker.
#[derive(Debug, Default)]
struct Fetcher {
    busy_lanes: BTreeSet<u8>,
    /// Partitions that may want a Fetch.
    waiting: BTreeSet<PartitionId>,
    /// Where the next request starts in `waiting`, so that each partition comes first in turn.
    first: u32,
}

impl Transfer {
    fn request(&mut self, what: UnderWay) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.under_way.insert(request, what);
        request
    }

    /// The bytes that one more answer may bring, at most `wanted`; `None` to wait for room.
    ///
    /// When nothing is held and nothing is coming, an answer is always let in: a budget below one
    /// batch must not stop the flow.
    fn room(&self, budget: usize, wanted: usize) -> Option<usize> {
        let wanted = wanted.min(budget).max(1);
        let held = self.queued_bytes + self.reserved_bytes;
        let free = budget.saturating_sub(held);
        if free >= wanted || held == 0 {
            return Some(wanted);
        }
        (free >= wanted / 4).then_some(free)
    }
}

impl Flow {
    pub(super) fn schedule_transfer(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let touched = std::mem::take(&mut self.touched);
        self.ask_producer_ids(now, &touched, actions);
        self.ask_log_ranges(now, &touched, actions);
        self.produce(now, &touched, actions);
        self.fetch(now, &touched, actions);
    }

    fn ask_producer_ids(
        &mut self,
        now: Instant,
        touched: &BTreeSet<PartitionId>,
        actions: &mut Vec<Action>,
    ) {
        for id in touched {
            let Some(slot) = self.slot_mut(*id) else {
                continue;
            };
            if slot.partition.wants_producer_id(now) {
                slot.partition.producer_id_asked();
                actions.push(Action::AskProducerId(*id));
            }
        }
    }

    fn ask_log_ranges(
        &mut self,
        now: Instant,
        touched: &BTreeSet<PartitionId>,
        actions: &mut Vec<Action>,
    ) {
        let mut by_node: BTreeMap<i32, Vec<PartitionId>> = BTreeMap::new();
        for id in touched {
            let Some(slot) = self.slot_mut(*id) else {
                continue;
            };
            let Some(leader) = slot.source_leader else {
                continue;
            };
            if slot.partition.wants_log_range(now) {
                slot.partition.log_range_asked();
                by_node.entry(leader.node).or_default().push(*id);
            }
        }
        for (node, partitions) in by_node {
            let what = UnderWay::LogRanges {
                partitions: partitions.clone(),
            };
            let request = self.transfer.request(what);
            actions.push(Action::AskLogRanges {
                request,
                node,
                partitions,
            });
        }
    }

    /// Sends rounds of at most one batch per partition until no partition may send more.
    fn produce(
        &mut self,
        now: Instant,
        touched: &BTreeSet<PartitionId>,
        actions: &mut Vec<Action>,
    ) {
        let mut candidates: Vec<PartitionId> = touched.iter().copied().collect();
        while !candidates.is_empty() {
            let mut by_node: BTreeMap<i32, Vec<(PartitionId, Outgoing)>> = BTreeMap::new();
            candidates.retain(|id| {
                let Some(slot) = self.slot_mut(*id) else {
                    return false;
                };
                let Some(leader) = slot.target_leader else {
                    return false;
                };
                let Some(batch) = slot.partition.next_batch(now) else {
                    return false;
                };
                by_node.entry(leader.node).or_default().push((*id, batch));
                true
            });
            for (node, batches) in by_node {
                self.send_batches(node, batches, actions);
            }
        }
    }

    fn send_batches(
        &mut self,
        node: i32,
        batches: Vec<(PartitionId, Outgoing)>,
        actions: &mut Vec<Action>,
    ) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (id, batch) in batches {
            let len = batch.header.len() + batch.payload.len();
            if bytes + len > limits::PRODUCE_BYTES_MAX && !part.is_empty() {
                self.send_request(node, std::mem::take(&mut part), actions);
                bytes = 0;
            }
            bytes += len;
            part.push((id, batch));
        }
        self.send_request(node, part, actions);
    }

    fn send_request(
        &mut self,
        node: i32,
        batches: Vec<(PartitionId, Outgoing)>,
        actions: &mut Vec<Action>,
    ) {
        let sent = batches
            .iter()
            .map(|(id, batch)| (*id, batch.base_sequence))
            .collect();
        let request = self.transfer.request(UnderWay::Produce { batches: sent });
        actions.push(Action::Produce {
            request,
            node,
            batches,
        });
    }

    fn fetch(&mut self, now: Instant, touched: &BTreeSet<PartitionId>, actions: &mut Vec<Action>) {
        for id in touched {
            let Some(slot) = self.slot(*id) else { continue };
            if let (Some(leader), Some(_)) = (slot.source_leader, slot.partition.wants_fetch(now)) {
                self.transfer
                    .fetchers
                    .entry(leader.node)
                    .or_default()
                    .waiting
                    .insert(*id);
            }
        }
        let nodes: Vec<i32> = self.transfer.fetchers.keys().copied().collect();
        for node in nodes {
            self.fetch_from(now, node, actions);
        }
    }

    fn fetch_from(&mut self, now: Instant, node: i32, actions: &mut Vec<Action>) {
        let lanes = self.options.fetch_lanes.max(1);
        let Some(fetcher) = self.transfer.fetchers.get_mut(&node) else {
            return;
        };
        let Some(lane) = (0..lanes).find(|lane| !fetcher.busy_lanes.contains(lane)) else {
            return;
        };
        if fetcher.waiting.is_empty() {
            return;
        }
        let Some(bytes_max) = self
            .transfer
            .room(self.options.memory_bytes, self.options.fetch_bytes_max)
        else {
            return;
        };
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
            wait: fetch_wait(lane, lanes),
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
            let Some(leader) = slot.source_leader.filter(|leader| leader.node == node) else {
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
                bytes_max,
            });
        }
        taken
    }

    pub(super) fn producer_id(
        &mut self,
        now: Instant,
        id: PartitionId,
        result: Result<(i64, i16), Failure>,
        actions: &mut Vec<Action>,
    ) {
        self.with_partition(now, id, actions, |partition| {
            partition.producer_id_granted(now, result)
        });
    }

    pub(super) fn log_ranges(
        &mut self,
        now: Instant,
        request: RequestId,
        result: PerPartition<LogRange>,
        actions: &mut Vec<Action>,
    ) {
        let Some(UnderWay::LogRanges { partitions }) = self.transfer.under_way.remove(&request)
        else {
            return;
        };
        for (id, result) in each_answered(&partitions, result) {
            self.note_failure(now, Side::Source, result.as_ref().err());
            self.with_partition(now, id, actions, |partition| {
                partition.log_range_found(now, result)
            });
        }
    }

    pub(super) fn fetched(
        &mut self,
        now: Instant,
        request: RequestId,
        result: PerPartition<FetchedRecords>,
        actions: &mut Vec<Action>,
    ) {
        let Some(UnderWay::Fetch {
            node,
            lane,
            reserved_bytes,
            partitions,
        }) = self.transfer.under_way.remove(&request)
        else {
            return;
        };
        self.transfer.reserved_bytes -= reserved_bytes;
        if let Some(fetcher) = self.transfer.fetchers.get_mut(&node) {
            fetcher.busy_lanes.remove(&lane);
        }
        for (id, result) in each_answered(&partitions, result) {
            self.note_failure(now, Side::Source, result.as_ref().err());
            self.with_partition(now, id, actions, |partition| partition.fetched(now, result));
        }
    }

    pub(super) fn produced(
        &mut self,
        now: Instant,
        request: RequestId,
        result: PerPartition<i64>,
        actions: &mut Vec<Action>,
    ) {
        let Some(UnderWay::Produce { batches }) = self.transfer.under_way.remove(&request) else {
            return;
        };
        let partitions: Vec<PartitionId> = batches.iter().map(|(id, _)| *id).collect();
        let sequences: BTreeMap<PartitionId, i32> = batches.into_iter().collect();
        for (id, result) in each_answered(&partitions, result) {
            let Some(base_sequence) = sequences.get(&id).copied() else {
                continue;
            };
            self.note_failure(now, Side::Target, result.as_ref().err());
            self.with_partition(now, id, actions, |partition| {
                partition.produced(now, base_sequence, result)
            });
        }
    }

    /// Asks for metadata when a failure suggests that leaders have moved.
    fn note_failure(&mut self, now: Instant, side: Side, failure: Option<&Failure>) {
        if failure.is_some_and(|failure| failure.remedy() == Remedy::RefreshMetadata) {
            self.discovery.refresh(side, now);
        }
    }
}

/// How long a broker may hold the request of a lane.
///
/// Only the first lane waits long. The others are for partitions that became ready while it waits
/// for idle ones: they come back soon, so that a lane is always about to be free.
const fn fetch_wait(lane: u8, lanes: u8) -> Duration {
    if lane == 0 || lanes == 1 {
        limits::FETCH_WAIT
    } else {
        limits::FETCH_WAIT_SHORT
    }
}

/// What each partition of a request was answered: the first answer counts, silence is a failure.
fn each_answered<T>(
    asked: &[PartitionId],
    result: PerPartition<T>,
) -> Vec<(PartitionId, Result<T, Failure>)> {
    let mut answers = match result {
        Ok(answers) => answers,
        Err(failure) => return asked.iter().map(|id| (*id, Err(failure.clone()))).collect(),
    };
    let mut missing: BTreeSet<PartitionId> = asked.iter().copied().collect();
    answers.retain(|(id, _)| missing.remove(id));
    answers.extend(missing.into_iter().map(|id| {
        let text = String::from("the broker left the partition out of its answer");
        (id, Err(Failure::Malformed(text)))
    }));
    answers
}
