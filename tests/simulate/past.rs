//! What a kmirror that has run for months has left on the target before a run begins.
//!
//! Sequence numbers wrap at 2^31 and epochs of a producer id are used up after 32,766 lineages: no
//! run lasts so long. So some begin just before: a last batch is on both sides, and the state topic
//! has the claim, the owner and the anchor of the process that copied it.

use kmirror::{
    flow::limits,
    offsets::{
        exact_map::{ExactMap, MapChunk, Point, TopicIds},
        source_offsets,
        state::{self, Anchor, Claim, Entry, Lineage, Owner, RecordIdentity, StateRecord},
    },
    runtime::exchange::writing,
};
use kmirror_protocol::{
    messages::{MetadataRequest, metadata::MetadataRequestTopic},
    records::{BatchProducer, BuiltBatch, LogEntry, batches, sequence_after},
    wire::Uuid,
};

use super::{
    clusters::{ClusterSide, Place},
    options::{OFFSETS_PARTITIONS, OFFSETS_TOPIC, STATE_TOPIC, remote},
    plan::Write,
    workload,
    world::World,
};

/// Where the process before had got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// What the batches look like that it copied last.
    seed: u64,
    /// The epoch of its lineage.
    epoch: i16,
    /// The sequence number of its last batch.
    base_sequence: i32,
}

impl Past {
    /// One in which sequence numbers are about to wrap, or epochs to be used up, or both.
    pub(super) fn new(rng: &mut fastrand::Rng) -> Self {
        let (wraps, is_old) = [(true, false), (false, true), (true, true)][rng.usize(0..3)];
        let before_wrap = rng.i32(0..60);
        let before_end = rng.i16(0..3);
        Self {
            seed: rng.u64(..),
            epoch: if is_old {
                limits::PRODUCER_EPOCH_MAX - before_end
            } else {
                before_end
            },
            base_sequence: if wraps {
                i32::MAX - before_wrap
            } else {
                before_wrap
            },
        }
    }
}

impl World {
    /// Puts the past of the plan, if it has one, onto both clusters.
    pub(super) fn leave_past(&mut self) {
        let Some(past) = self.plan.past else {
            return;
        };
        self.create_copies();
        let mut positions = Vec::new();
        let mut entries = Vec::new();
        for (index, place) in (0_u64..).zip(self.source_places()) {
            let anchor = self.leave_batch(&place, past, past.seed.wrapping_add(index));
            let (topic, partition) = &place;
            positions.extend(source_offsets::encode(
                "A",
                topic,
                *partition,
                anchor.source_offset,
            ));
            let place = state::Place {
                topic: topic.as_str().into(),
                partition: *partition,
            };
            let claim = Entry::Claim(Claim {
                number: 0,
                producer_id: anchor.lineage.producer_id,
            });
            let owner = Entry::Owner(Owner {
                generation: anchor.generation,
                instance: Uuid([0xff; 16]),
                since_ms: 0,
            });
            let map = map_up_to(&anchor).into_iter().map(Entry::Map);
            let known = [claim, owner].into_iter().chain(map);
            for entry in known.chain([Entry::Anchor(anchor)]) {
                let place = place.clone();
                entries.push(state::encode(&StateRecord { place, entry }));
            }
        }
        let wall_ms = self.target.time(self.now).0;
        let own = [
            (STATE_TOPIC, self.knobs.state_partitions, entries),
            (OFFSETS_TOPIC, OFFSETS_PARTITIONS, positions),
        ];
        for (topic, count, records) in own {
            let rounds = writing::rounds(count, &records, wall_ms, None).unwrap();
            for (partition, batch) in rounds.into_iter().flatten() {
                let place = (topic.to_owned(), partition);
                assert!(self.target.produce(self.now, &place, None, &batch));
            }
        }
    }

    fn create_copies(&mut self) {
        let compacted: &[(&str, &str)] = &[("cleanup.policy", "compact")];
        let configs = if self.plan.is_compacted {
            compacted
        } else {
            &[]
        };
        let target = &mut self.target;
        for (index, partitions) in self.plan.topics.iter().enumerate() {
            let name = remote(&format!("t{index}"));
            target.create_topic(self.now, &name, *partitions, configs);
        }
        let state_partitions = self.knobs.state_partitions;
        target.create_topic(self.now, STATE_TOPIC, state_partitions, compacted);
        target.create_topic(self.now, OFFSETS_TOPIC, OFFSETS_PARTITIONS, compacted);
    }

    /// Writes a batch to the source and copies it: the point that is reached.
    fn leave_batch(&mut self, place: &Place, past: Past, seed: u64) -> Anchor {
        let write = Write {
            at: self.now,
            pick: 0,
            seed,
        };
        let options = workload::Options {
            has_transactions: false,
            is_compacted: self.plan.is_compacted,
        };
        let source = &mut self.source;
        self.workload
            .write(self.now, source, place, &write, options);
        let (producer_id, _) = self.target.init_producer(self.now, None).unwrap();
        let (written, source_epoch) = only_batch(source, place);
        let producer = BatchProducer {
            producer_id,
            producer_epoch: past.epoch,
            base_sequence: past.base_sequence,
        };
        let copy = BuiltBatch {
            header: written.header.readdressed(producer),
            payload: written.payload,
        };
        let there = (remote(&place.0), place.1);
        assert!(self.target.produce(self.now, &there, None, &copy));
        let (stored, target_epoch) = only_batch(&self.target, &there);
        // The rules' version, committed records only, and whether the cleaner takes some out.
        let mapping = (1 << 8) | (1 << 1) | u32::from(self.plan.is_compacted);
        Anchor {
            counter: 1_000_001,
            generation: 1_000,
            lineage: Lineage {
                producer_id,
                epoch: past.epoch,
            },
            next_sequence: sequence_after(stored.header.last_sequence(), 1),
            source_offset: self.source.end_offset(&place.0, place.1),
            source_epoch,
            source_leader_epoch: -1,
            source_topic_id: topic_id(&mut self.source, &place.0),
            target_offset: self.target.end_offset(&there.0, there.1),
            target_topic_id: topic_id(&mut self.target, &there.0),
            previous: Some(RecordIdentity {
                producer_id,
                producer_epoch: past.epoch,
                sequence: stored.header.last_sequence(),
                leader_epoch: target_epoch,
            }),
            mapping,
            cut_count: 0,
            carried_epoch: source_epoch,
        }
    }
}

/// The map of logs that have nothing but a batch and its copy.
fn map_up_to(anchor: &Anchor) -> Vec<MapChunk> {
    let topics = TopicIds {
        source: anchor.source_topic_id,
        target: anchor.target_topic_id,
    };
    let mut map = ExactMap::new(topics, anchor.generation, Point::default());
    let count = i32::try_from(anchor.source_offset).unwrap();
    map.acknowledged(0, anchor.source_offset, 0, count);
    assert_eq!(map.version(), anchor.map_version());
    map.changes().0
}

/// The batch of a partition that has one, and its leader epoch.
fn only_batch(side: &ClusterSide, (topic, partition): &Place) -> (BuiltBatch, i32) {
    let pieces = side.cluster.log_batches(topic, *partition);
    let blob = bytes::Bytes::from(pieces.unwrap().concat());
    let Some(Ok(LogEntry::Batch(batch))) = batches(&blob).next() else {
        panic!("{topic}-{partition} has no batch");
    };
    let built = BuiltBatch {
        header: batch.header,
        payload: blob.slice_ref(batch.payload),
    };
    (built, batch.header.partition_leader_epoch)
}

fn topic_id(side: &mut ClusterSide, topic: &str) -> Uuid {
    let named = MetadataRequestTopic {
        name: Some(topic),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![named].into()),
        ..MetadataRequest::default()
    };
    let answer = side.ask(0, 0, &request, 12).unwrap();
    let response = answer.decode().unwrap();
    response.topics.first().unwrap().topic_id
}
