//! Puts what partitions want into requests: one broker at a time, within the byte budget.
//!
//! To one source broker a few Fetch requests may be under way, each for partitions of its own, so
//! that idle partitions in a long poll hold up no busy one. To one target broker requests follow
//! each other; each carries at most one batch per partition, because a broker takes no more, and a
//! partition named twice in one request would silently lose its first batch
//! (`KafkaApis.handleProduceRequest`).

mod fetch;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use self::fetch::Fetcher;
use super::{
    Action, Failure, FetchedRecords, Flow, LogRange, Notice, Outgoing, Partition, PartitionId,
    PartitionNotice, PerPartition, RequestId, Side, limits, retry::Remedy, starts::StartQuestion,
    transaction::commit::Transactions,
};

/// Requests under way, and the bytes they may bring.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    next_request: u64,
    under_way: BTreeMap<RequestId, UnderWay>,
    fetchers: BTreeMap<i32, Fetcher>,
    /// The broker whose turn it is when there is room for one more answer.
    next_node: i32,
    /// What all partitions hold together.
    pub(super) held: Held,
    /// Record bytes that answers under way may bring.
    pub(super) reserved_bytes: usize,
    /// Brokers of whose failure the operator has been told.
    failing: BTreeSet<(Side, i32)>,
}

/// What partitions hold, in record bytes and batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: usize,
    /// Those of them that move only when the target takes batches again.
    pub(super) stalled_bytes: usize,
    /// Batches sent and not yet answered.
    pub(super) in_flight: usize,
}

impl Held {
    pub(super) fn of(partition: &Partition) -> Self {
        let bytes = partition.queued_bytes();
        Self {
            bytes,
            stalled_bytes: if partition.is_stalled() { bytes } else { 0 },
            in_flight: partition.in_flight(),
        }
    }

    /// Counts what a partition holds now in place of what it held before.
    pub(super) const fn replace(&mut self, before: Self, after: Self) {
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.stalled_bytes = self.stalled_bytes + after.stalled_bytes - before.stalled_bytes;
        self.in_flight = self.in_flight + after.in_flight - before.in_flight;
    }
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
        node: i32,
        partitions: Vec<PartitionId>,
    },
    StartTimes {
        node: i32,
        partitions: Vec<PartitionId>,
    },
    Produce {
        node: i32,
        /// With the base sequence and the stint of each.
        batches: Vec<(PartitionId, (i32, u32))>,
    },
}

impl Transfer {
    pub(super) fn next_request_id(&mut self) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        request
    }

    fn request(&mut self, what: UnderWay) -> RequestId {
        let request = self.next_request_id();
        self.under_way.insert(request, what);
        request
    }
}

impl Flow {
    pub(super) fn schedule_transfer(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let touched = std::mem::take(&mut self.touched);
        self.ask_producer_ids(now, &touched, actions);
        self.ask_log_ranges(now, &touched, actions);
        self.ask_starts(now, &touched, actions);
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
            let Some(leader) = slot.source.leader else {
                continue;
            };
            if slot.partition.wants_log_range(now) {
                slot.partition.log_range_asked();
                by_node.entry(leader.node).or_default().push(*id);
            }
        }
        for (node, partitions) in by_node {
            let what = UnderWay::LogRanges {
                node,
                partitions: partitions.clone(),
            };
            let request = self.transfer.request(what);
            actions.push(Action::AskLogRanges {
                request,
                side: Side::Source,
                node,
                partitions: partitions.into_iter().map(|id| (id, -1)).collect(),
            });
        }
    }

    /// Asks what the starts of new partitions take more than the range of their logs.
    fn ask_starts(
        &mut self,
        now: Instant,
        touched: &BTreeSet<PartitionId>,
        actions: &mut Vec<Action>,
    ) {
        let mut by_node: BTreeMap<i32, Vec<(PartitionId, i64)>> = BTreeMap::new();
        for id in touched {
            let Some(slot) = self.slot_mut(*id) else {
                continue;
            };
            let leader = slot.source.leader;
            match (slot.partition.wants_start(now), leader) {
                (Some(StartQuestion::Time(millis)), Some(leader)) => {
                    slot.partition.start_asked();
                    by_node.entry(leader.node).or_default().push((*id, millis));
                }
                (Some(StartQuestion::Committed(group)), _) => {
                    slot.partition.start_asked();
                    self.ask_committed(group, *id, None, actions);
                }
                (Some(StartQuestion::Time(_)), None) | (None, _) => {}
            }
        }
        for (node, partitions) in by_node {
            let what = UnderWay::StartTimes {
                node,
                partitions: partitions.iter().map(|(id, _)| *id).collect(),
            };
            actions.push(Action::AskOffsetsForTimes {
                request: self.transfer.request(what),
                side: Side::Source,
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
            // Brokers before 2.8 refuse a request as a whole when one of its batches has sequence
            // numbers that this client may not use: those without travel apart (KIP-679).
            let mut grouped: BTreeMap<(i32, bool), Vec<(PartitionId, Outgoing)>> = BTreeMap::new();
            candidates.retain(|id| {
                if !self.admits(now, *id) {
                    return false;
                }
                let Some(slot) = self.slot_mut(*id) else {
                    return false;
                };
                let Some(leader) = slot.target.leader else {
                    return false;
                };
                // What is in flight to the former leader must be answered first, or the new one
                // could see a later batch before an earlier one.
                let is_elsewhere = slot.sent_to.is_some_and(|node| node != leader.node);
                if is_elsewhere && slot.partition.in_flight() > 0 {
                    return false;
                }
                let Some(batch) = slot.partition.next_batch(now) else {
                    return false;
                };
                slot.sent_to = Some(leader.node);
                let group = (leader.node, slot.partition.is_sequenced());
                self.transfer.held.in_flight += 1;
                self.note_sent(batch.header.len() + batch.payload.len());
                grouped.entry(group).or_default().push((*id, batch));
                true
            });
            for ((node, _), batches) in grouped {
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
            .map(|(id, batch)| (*id, (batch.base_sequence, batch.stint)))
            .collect();
        let request = self.transfer.request(UnderWay::Produce {
            node,
            batches: sent,
        });
        actions.push(Action::Produce {
            request,
            node,
            batches,
            within: self.transactions.as_ref().map(Transactions::membership),
        });
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
        let under_way = self.transfer.under_way.remove(&request);
        if let Some(UnderWay::LogRanges { node, partitions }) = under_way {
            let asked = (node, partitions.as_slice());
            self.source_told(now, asked, result, Partition::log_range_found, actions);
        }
    }

    /// Takes the offsets at which new partitions begin.
    pub(super) fn start_times(
        &mut self,
        now: Instant,
        request: RequestId,
        result: PerPartition<Option<i64>>,
        actions: &mut Vec<Action>,
    ) {
        let under_way = self.transfer.under_way.remove(&request);
        if let Some(UnderWay::StartTimes { node, partitions }) = under_way {
            let asked = (node, partitions.as_slice());
            self.source_told(now, asked, result, Partition::start_found, actions);
        }
    }

    /// Hands each partition what a source broker has told of it.
    fn source_told<T>(
        &mut self,
        now: Instant,
        (node, partitions): (i32, &[PartitionId]),
        result: PerPartition<T>,
        take: impl Fn(&mut Partition, Instant, Result<T, Failure>) -> Option<PartitionNotice>,
        actions: &mut Vec<Action>,
    ) {
        self.note_broker(Side::Source, node, result.as_ref().err(), actions);
        for (id, result) in each_answered(partitions, result) {
            self.note_failure(now, Side::Source, result.as_ref().err());
            self.with_partition(now, id, actions, |partition| take(partition, now, result));
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
        self.note_broker(Side::Source, node, result.as_ref().err(), actions);
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
        let under_way = self.transfer.under_way.remove(&request);
        let Some(UnderWay::Produce { node, batches }) = under_way else {
            return;
        };
        self.note_broker(Side::Target, node, result.as_ref().err(), actions);
        let partitions: Vec<PartitionId> = batches.iter().map(|(id, _)| *id).collect();
        let sent: BTreeMap<PartitionId, (i32, u32)> = batches.into_iter().collect();
        for (id, result) in each_answered(&partitions, result) {
            let Some(sent) = sent.get(&id).copied() else {
                continue;
            };
            self.note_failure(now, Side::Target, result.as_ref().err());
            self.with_partition(now, id, actions, |partition| {
                partition.produced(now, sent, result)
            });
        }
    }

    /// Tells the operator, once, of a broker that answers no request for records, and of its return.
    pub(super) fn note_broker(
        &mut self,
        side: Side,
        node: i32,
        failure: Option<&Failure>,
        actions: &mut Vec<Action>,
    ) {
        let failing = &mut self.transfer.failing;
        let notice = match failure {
            Some(failure) if failing.insert((side, node)) => Notice::Waiting {
                side,
                purpose: "records",
                failure: failure.clone(),
            },
            None if failing.remove(&(side, node)) => Notice::BrokerReached { side, node },
            _ => return,
        };
        actions.push(Action::Report(notice));
    }

    /// Asks for metadata when a failure suggests that leaders have moved.
    pub(super) fn note_failure(&mut self, now: Instant, side: Side, failure: Option<&Failure>) {
        if failure.is_some_and(|failure| failure.remedy() == Remedy::RefreshMetadata) {
            self.discovery.refresh(side, now);
        }
    }
}

/// What each partition of a request was answered: the first answer counts, silence is a failure.
pub(super) fn each_answered<T>(
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
