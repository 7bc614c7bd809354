//! Which acknowledgements a process may believe, seen from outside (I7, I8).
//!
//! The books here are kept from what a process hears and sends, never from what it thinks. An
//! acknowledgement for another place than the one expected, and the sight of a new leader, end the
//! trust in a partition: until its position has been proven again nothing is sent there, and the
//! position does not move. Answers to what was sent before a proof count for nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kmirror::flow::{
    Action, ClusterView, Event, Flow, LogRange, Notice, Outgoing, PartitionId, PartitionNotice,
    PerPartition, RequestId, Side, recovery::decide::NewBecause,
};
use kmirror_protocol::records::{BatchHeader, sequence_after};

use super::{
    clusters::{LogRecord, Place},
    network::InstanceId,
    options::source_of,
};

/// A record as the target acknowledged it: offset, producer, epoch, sequence number.
type Acknowledged = (i64, i64, i16, i32);

/// Why a partition is not trusted, and up to where it was copied then.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    invariant: &'static str,
    copied_offset: i64,
}

/// A batch that was sent since the last proof.
#[derive(Clone, Copy, Debug)]
struct Sent {
    base_sequence: i32,
    records: i64,
    is_acknowledged: bool,
}

/// What one process knows of one partition of the target.
#[derive(Debug)]
struct Known {
    leader_epoch: i32,
    /// Nothing is sent before the first proof either.
    doubt: Option<Doubt>,
    /// Whether the log has been looked at since the last proof and under the newest leader seen.
    is_looked_at: bool,
    /// Where the log ended when it was last looked at, and which request asked.
    end: Option<(RequestId, i64)>,
    /// Where the first of `sent` goes.
    next_offset: Option<i64>,
    sent: VecDeque<Sent>,
    /// Counts proofs.
    stint: u32,
}

impl Known {
    const fn new() -> Self {
        Self {
            leader_epoch: -1,
            doubt: Some(Doubt {
                invariant: "I8",
                // What was stored before is shown, and nothing has been heard.
                copied_offset: i64::MAX,
            }),
            is_looked_at: false,
            end: None,
            next_offset: None,
            sent: VecDeque::new(),
            stint: 0,
        }
    }

    fn doubt(&mut self, invariant: &'static str, copied_offset: i64) {
        self.doubt.get_or_insert(Doubt {
            invariant,
            copied_offset,
        });
    }

    /// Notes that the position is proven; whether by what was seen of the present leader.
    fn proven(&mut self) -> bool {
        self.doubt = None;
        self.next_offset = self.end.map(|(_, end_offset)| end_offset);
        self.sent.clear();
        self.stint += 1;
        std::mem::take(&mut self.is_looked_at)
    }

    fn send(&mut self, header: &BatchHeader) {
        let sent = Sent {
            base_sequence: header.base_sequence,
            records: i64::from(header.record_count),
            is_acknowledged: false,
        };
        let mut known = self.sent.iter_mut();
        match known.find(|it| it.base_sequence == sent.base_sequence) {
            Some(again) => *again = sent,
            None => self.sent.push_back(sent),
        }
    }

    /// Takes an acknowledgement; the place that was expected if it names another.
    fn acknowledge(
        &mut self,
        base_sequence: i32,
        base_offset: i64,
        is_shared: bool,
    ) -> Option<i64> {
        let mut sent = self.sent.iter();
        let index = sent.position(|it| it.base_sequence == base_sequence)?;
        let before: i64 = self.sent.iter().take(index).map(|it| it.records).sum();
        let expected = self.next_offset.map(|next| next + before);
        self.sent[index].is_acknowledged = true;
        if index == 0 {
            self.next_offset = Some(base_offset);
        }
        while let Some(first) = self.sent.front().filter(|it| it.is_acknowledged) {
            self.next_offset = self.next_offset.map(|next| next + first.records);
            self.sent.pop_front();
        }
        expected
            .filter(|expected| *expected != base_offset && !(is_shared && base_offset > *expected))
    }
}

/// A batch of a request, and the stint in which it was sent.
#[derive(Clone, Debug)]
struct Asked {
    partition: PartitionId,
    place: Place,
    header: BatchHeader,
    stint: u32,
}

/// What is known of all processes.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Whether others write to the remote topics.
    is_shared: bool,
    known: BTreeMap<(InstanceId, Place), Known>,
    produces: BTreeMap<(InstanceId, RequestId), Vec<Asked>>,
    looks: BTreeMap<(InstanceId, RequestId), Vec<(PartitionId, Place)>>,
    /// Source partitions of which somebody has sent records without sequence numbers.
    unsequenced: BTreeSet<Place>,
    /// What the target has acknowledged, by source partition.
    acknowledged: BTreeMap<Place, BTreeSet<Acknowledged>>,
}

impl Trust {
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            is_shared,
            ..Self::default()
        }
    }

    /// Notes what a process is about to hear.
    pub(super) fn event(&mut self, id: InstanceId, event: &Event, flow: &Flow) {
        match event {
            Event::Metadata {
                side: Side::Target,
                result: Ok(view),
            } => self.leaders_seen(id, view, flow),
            Event::LogRanges { request, result } => self.looked(id, *request, result),
            Event::Produced { request, result } => self.answered(id, *request, result, flow),
            _ => {}
        }
    }

    fn leaders_seen(&mut self, id: InstanceId, view: &ClusterView, flow: &Flow) {
        for (name, topic) in &view.topics {
            let Some(source) = source_of(name) else {
                continue;
            };
            let partitions = &topic.partitions;
            for (number, partition) in partitions.numbers().zip(partitions.views()) {
                let place = (source.to_owned(), number);
                let copied_offset = copied_offset(flow, &place);
                let known = self.known.entry((id, place)).or_insert_with(Known::new);
                if partition.leader.is_some() && partition.leader_epoch > known.leader_epoch {
                    known.leader_epoch = partition.leader_epoch;
                    known.is_looked_at = false;
                    known.doubt("I8", copied_offset);
                }
            }
        }
    }

    fn looked(&mut self, id: InstanceId, request: RequestId, result: &PerPartition<LogRange>) {
        let asked = self.looks.remove(&(id, request)).unwrap_or_default();
        let answers = result.iter().flatten();
        for (partition, range) in answers {
            let place = asked.iter().find(|(asked, _)| asked == partition);
            if let (Some((_, place)), Ok(range)) = (place, range)
                && let Some(known) = self.known.get_mut(&(id, place.clone()))
                && known.end.is_none_or(|(newest, _)| newest < request)
            {
                known.end = Some((request, range.end_offset));
            }
        }
    }

    fn answered(
        &mut self,
        id: InstanceId,
        request: RequestId,
        result: &PerPartition<i64>,
        flow: &Flow,
    ) {
        let asked = self.produces.remove(&(id, request)).unwrap_or_default();
        let answers = result.iter().flatten();
        for (partition, base_offset) in answers {
            let batch = asked.iter().find(|batch| batch.partition == *partition);
            let (Some(batch), Ok(base_offset)) = (batch, base_offset) else {
                continue;
            };
            self.note_acknowledged(batch, *base_offset);
            let Some(known) = self.known.get_mut(&(id, batch.place.clone())) else {
                continue;
            };
            let base_sequence = batch.header.base_sequence;
            // Without sequence numbers nobody can tell own records from those of others.
            let is_shared = self.is_shared || self.unsequenced.contains(&batch.place);
            if known.stint == batch.stint
                && known.doubt.is_none()
                && known
                    .acknowledge(base_sequence, *base_offset, is_shared)
                    .is_some()
            {
                known.doubt("I7", copied_offset(flow, &batch.place));
            }
        }
    }

    fn note_acknowledged(&mut self, batch: &Asked, base_offset: i64) {
        let header = &batch.header;
        let place = self.acknowledged.entry(batch.place.clone()).or_default();
        place.extend((0..header.record_count).map(|delta| {
            let sequence = if header.base_sequence < 0 {
                -1
            } else {
                sequence_after(header.base_sequence, delta)
            };
            let offset = base_offset + i64::from(delta);
            (offset, header.producer_id, header.producer_epoch, sequence)
        }));
    }

    /// How many of these records of a partition's copy were acknowledged.
    pub(super) fn count_acknowledged(&self, place: &Place, records: &[LogRecord]) -> u64 {
        let Some(acknowledged) = self.acknowledged.get(place) else {
            return 0;
        };
        let known = records.iter().filter(|record| {
            let producer = record.producer;
            let (id, epoch) = (producer.producer_id, producer.producer_epoch);
            acknowledged.contains(&(record.offset, id, epoch, producer.base_sequence))
        });
        u64::try_from(known.count()).unwrap_or(u64::MAX)
    }

    /// What is wrong with something that a process does.
    pub(super) fn action(&mut self, id: InstanceId, action: &Action, flow: &Flow) -> Vec<String> {
        match action {
            Action::AskLogRanges {
                request,
                side: Side::Target,
                partitions,
                ..
            } => {
                let ids = partitions.iter().map(|(partition, _)| *partition);
                let places = ids.filter_map(|it| Some((it, place_of(flow, it)?)));
                let places: Vec<_> = places.collect();
                for (_, place) in &places {
                    let known = self.known.entry((id, place.clone()));
                    known.or_insert_with(Known::new).is_looked_at = true;
                }
                self.looks.insert((id, *request), places);
                Vec::new()
            }
            Action::Produce {
                request, batches, ..
            } => self.produce(id, *request, batches, flow),
            Action::Report(Notice::Partition { source, notice, .. }) => {
                let place = (source.topic.to_string(), source.partition);
                self.told(id, place, notice).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn produce(
        &mut self,
        id: InstanceId,
        request: RequestId,
        batches: &[(PartitionId, Outgoing)],
        flow: &Flow,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut asked = Vec::new();
        for (partition, batch) in batches {
            let Some(place) = place_of(flow, *partition) else {
                continue;
            };
            let header = BatchHeader::parse(&batch.header).unwrap();
            let key = (id, place.clone());
            let known = self.known.entry(key).or_insert_with(Known::new);
            if let Some(Doubt { invariant, .. }) = known.doubt {
                wrong.push(format!(
                    "{invariant}: {place:?}: process {id} sends before a proof"
                ));
            }
            known.send(&header);
            if header.producer_id < 0 {
                self.unsequenced.insert(place.clone());
            }
            asked.push(Asked {
                partition: *partition,
                place,
                header,
                stint: known.stint,
            });
        }
        self.produces.insert((id, request), asked);
        wrong
    }

    fn told(&mut self, id: InstanceId, place: Place, notice: &PartitionNotice) -> Option<String> {
        let is_proof = match notice {
            // The same leader's log, and nothing under way: only the sequence begins anew.
            PartitionNotice::LineageOpened { because, .. } => *because != NewBecause::SourceLed,
            PartitionNotice::LineageContinued { .. } => true,
            _ => false,
        };
        if !is_proof {
            return None;
        }
        let known = self.known.entry((id, place.clone()));
        let is_of_present_leader = known.or_insert_with(Known::new).proven();
        (!is_of_present_leader)
            .then(|| format!("I8: {place:?}: process {id} has a proof older than the leader"))
    }

    /// What is wrong with where a process believes to be.
    pub(super) fn look(&self, id: InstanceId, flow: &Flow) -> Option<String> {
        let from = (id, (String::new(), i32::MIN));
        let mine = self
            .known
            .range(from..)
            .take_while(|((it, _), _)| *it == id);
        let mut doubted = mine.filter_map(|((_, place), known)| Some((place, known.doubt?)));
        doubted.find_map(|(place, doubt)| {
            let copied = copied_offset(flow, place);
            let Doubt {
                invariant,
                copied_offset,
            } = doubt;
            (copied > copied_offset).then(|| {
                format!(
                    "{invariant}: {place:?}: process {id} believes {copied} where {copied_offset} \
                     was certain"
                )
            })
        })
    }
}

fn place_of(flow: &Flow, partition: PartitionId) -> Option<Place> {
    let names = flow.names(partition)?;
    Some((names.topic.to_string(), names.partition))
}

fn copied_offset(flow: &Flow, (topic, partition): &Place) -> i64 {
    let mut statuses = flow.partition_statuses();
    let status =
        statuses.find(|it| *it.source.topic == **topic && it.source.partition == *partition);
    status.and_then(|it| it.copied_offset).unwrap_or(0)
}
