//! What must hold at every moment of every run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use bytes::Bytes;
use kmirror_protocol::records::BatchHeader;

use super::cluster::Cluster;
use crate::{
    flow::{Action, Event, Flow, Outgoing, PartitionId, RequestId, limits},
    offsets::source_offsets::decode_all,
};

/// A batch as the target would recognise it again.
type Key = (PartitionId, i64, i32);

/// What is under way, and what was ever sent.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Broker, and what it was sent: partition and producer id.
    requests: BTreeMap<RequestId, (i32, Vec<(PartitionId, i64)>)>,
    fetches: BTreeMap<RequestId, Vec<PartitionId>>,
    sent: BTreeMap<Key, ([u8; 61], Bytes)>,
    acknowledged: BTreeSet<(PartitionId, i64)>,
    /// Offsets below these were not to be copied.
    pub(super) starts: BTreeMap<(String, i32), i64>,
    /// The most batches of one partition that were ever under way together.
    pub(super) in_flight_max: usize,
}

impl Checks {
    pub(super) fn forget_flow(&mut self) {
        *self = Self {
            starts: std::mem::take(&mut self.starts),
            in_flight_max: self.in_flight_max,
            ..Self::default()
        };
    }

    /// A flow that waits for a time in the past would never sleep.
    pub(super) fn between_events(&self, now: Instant, flow: &Flow) {
        if let Some(deadline) = flow.deadline() {
            assert!(deadline > now, "the flow wants to be woken in the past");
        }
        let held: usize = flow
            .slots
            .iter()
            .map(|slot| slot.partition.queued_bytes())
            .sum();
        assert_eq!(flow.transfer.held.bytes, held, "bytes held");
    }

    pub(super) fn action(
        &mut self,
        action: &Action,
        flow: &Flow,
        source: &Cluster,
        target: &Cluster,
    ) {
        match action {
            Action::Produce {
                request,
                node,
                batches,
                ..
            } => {
                assert!(!batches.is_empty());
                let ids: BTreeSet<_> = batches.iter().map(|(id, _)| *id).collect();
                assert_eq!(ids.len(), batches.len(), "a partition twice in one Produce");
                for (id, batch) in batches {
                    self.batch((*request, *node), *id, batch);
                }
            }
            Action::Fetch {
                request,
                partitions,
                ..
            } => {
                let ids: Vec<_> = partitions.iter().map(|one| one.id).collect();
                for id in &ids {
                    let busy = self.fetches.values().flatten().any(|other| other == id);
                    assert!(!busy, "a partition in two Fetch requests");
                }
                let different: BTreeSet<_> = ids.iter().collect();
                assert_eq!(different.len(), ids.len(), "a partition twice in one Fetch");
                self.fetches.insert(*request, ids);
            }
            Action::StorePositions { records, .. } => {
                for ((topic, partition), next_offset) in decode_all("A", records) {
                    self.position(flow, source, target, (&topic, partition), next_offset);
                }
            }
            _ => {}
        }
    }

    fn batch(&mut self, (request, node): (RequestId, i32), id: PartitionId, batch: &Outgoing) {
        let header = BatchHeader::parse(&batch.header).unwrap();
        let under_way = self.requests.values().flat_map(|(other, batches)| {
            let same = batches.iter().filter(|(other, _)| *other == id);
            same.map(|_| *other)
        });
        let in_flight = under_way.clone().count() + 1;
        // A new leader that has forgotten the producer would take a later batch before an earlier.
        let is_split = under_way.clone().any(|other| other != node);
        assert!(!is_split, "a partition's batches in flight to two brokers");
        self.in_flight_max = self.in_flight_max.max(in_flight);
        let limit = if self.acknowledged.contains(&(id, header.producer_id)) {
            limits::IN_FLIGHT_PER_PARTITION_MAX
        } else {
            1
        };
        assert!(in_flight <= limit, "{in_flight} in flight, {limit} allowed");
        let key = (id, header.producer_id, header.base_sequence);
        let frozen = self
            .sent
            .entry(key)
            .or_insert_with(|| (batch.header, batch.payload.clone()));
        assert_eq!(frozen.0, batch.header, "a resent batch has another header");
        assert_eq!(frozen.1, batch.payload, "a resent batch has other bytes");
        let request = self.requests.entry(request).or_insert((node, Vec::new()));
        request.1.push((id, header.producer_id));
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Produced { request, result } => {
                let sent = self.requests.remove(request).unwrap_or_default();
                let producers: BTreeMap<_, _> = sent.1.into_iter().collect();
                for (id, result) in result.iter().flatten() {
                    if let (Ok(_), Some(producer)) = (result, producers.get(id)) {
                        self.acknowledged.insert((*id, *producer));
                    }
                }
            }
            Event::Fetched { request, .. } => {
                self.fetches.remove(request);
            }
            _ => {}
        }
    }

    /// Everything below a stored position is on the target.
    fn position(
        &self,
        flow: &Flow,
        source: &Cluster,
        target: &Cluster,
        (topic, partition): (&str, i32),
        next_offset: i64,
    ) {
        let find = |cluster: &Cluster, topic: &str| {
            let index = usize::try_from(partition).unwrap();
            cluster
                .topics
                .get(topic)
                .and_then(|topic| topic.logs.get(index))
                .map(super::cluster::Log::seen)
        };
        let remote = flow.options.policy.remote_topic("A", topic);
        let (Some(source), Some(target)) = (find(source, topic), find(target, &remote)) else {
            return;
        };
        let start = self.starts.get(&(topic.to_owned(), partition));
        let start = start.copied().unwrap_or_default();
        let copied: BTreeSet<_> = target.into_iter().map(|(_, value)| value).collect();
        for (offset, value) in source {
            assert!(
                offset < start || offset >= next_offset || copied.contains(&value),
                "{topic}-{partition}: position {next_offset} stored, offset {offset} not copied"
            );
        }
    }
}
