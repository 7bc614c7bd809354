//! The state topic, as far as it has been read, and what waits to be written to it.
//!
//! It is read from its start once and followed from then on, so that another process that takes
//! over is noticed. Writes follow each other, none larger than a bound; each has a [`Ticket`]. A write
//! is *settled* once it
//! has been read back: then everything that was in the topic before it has been read too, which is
//! what makes two racing processes agree (R1, R3). What must not be gone before something else is
//! there, a map before the anchor that names its successor, is deleted *behind* that: once it is
//! acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{
    Action, Failure, Flow, Notice, RecoveryCause, Side, StateRead, TopicConfig, TopicPartition,
    halt::HaltReason,
    limits,
    recovery::place,
    retry::{Backoff, Remedy},
};
use crate::offsets::{
    exact_map::{Changes, ChunkKey, MapChunk},
    source_offsets::StoredRecord,
    state::{
        Anchor, Claim, Entry, Gap, Kind, Owner, Place, Reset, StateKey, StateRecord, Unusable,
        decode, encode, encode_deletion,
    },
};

/// What a key is to say; `None` deletes it.
type Pending = BTreeMap<StateKey, Option<Entry>>;

/// Names a write that is still to be made, or has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Whether the topic is fit to keep state in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inspection {
    #[default]
    Wanted,
    Asked,
    Passed,
    /// It deletes by age, so it would forget.
    Refused,
}

/// The state topic.
#[derive(Debug)]
pub(super) struct State {
    instance: Uuid,
    topic_id: Uuid,
    partition_count: Option<i32>,
    inspection: Inspection,
    inspect_again: Backoff,
    image: BTreeMap<StateKey, (i64, Entry)>,
    next_offsets: BTreeMap<i32, i64>,
    is_reading: bool,
    is_loaded: bool,
    read_failures: Backoff,
    /// What waits, write by write. All that is to be said of one place is in one of them, so that no
    /// anchor gets ahead of its map. Only the first is never empty.
    pending: VecDeque<Pending>,
    /// Records after which a write is full.
    write_records_max: usize,
    writing: Pending,
    /// Whether the topic was lost since the write under way was begun.
    is_write_void: bool,
    /// What is to be deleted once a write is acknowledged.
    behind: BTreeMap<StateKey, Ticket>,
    /// The number of the first write that is pending; the others follow it.
    next_write: u64,
    /// Writes that are acknowledged and not yet read back.
    unsettled: VecDeque<Unsettled>,
    settled: u64,
    write_failures: Backoff,
    has_foreign: bool,
    has_few_replicas: bool,
    newer: Option<u64>,
    /// Partitions that another process has taken over since they were last looked at.
    taken_over: BTreeSet<Place>,
    /// Generations that two processes have taken: neither may write under such a one (I14).
    contested: BTreeSet<(Place, u64)>,
    /// When each other process last wrote that it owns something, by the time of reading it.
    heard: BTreeMap<Uuid, Instant>,
}

/// An acknowledged write.
#[derive(Debug)]
struct Unsettled {
    number: u64,
    /// The last offset of each partition.
    last_offsets: BTreeMap<i32, i64>,
    written: Pending,
    acknowledged: Instant,
}

/// What a sight of the topic in metadata means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicSight {
    Same,
    /// It is another topic than before: what was in it is gone.
    Replaced,
}

impl State {
    /// Nothing is known yet; `instance` is this process.
    pub(super) const fn new(instance: Uuid, write_records_max: usize) -> Self {
        Self {
            instance,
            topic_id: Uuid([0; 16]),
            partition_count: None,
            inspection: Inspection::Wanted,
            inspect_again: Backoff::new(),
            image: BTreeMap::new(),
            next_offsets: BTreeMap::new(),
            is_reading: false,
            is_loaded: false,
            read_failures: Backoff::new(),
            pending: VecDeque::new(),
            write_records_max,
            writing: BTreeMap::new(),
            is_write_void: false,
            behind: BTreeMap::new(),
            next_write: 0,
            unsettled: VecDeque::new(),
            settled: 0,
            write_failures: Backoff::new(),
            has_foreign: false,
            has_few_replicas: false,
            newer: None,
            taken_over: BTreeSet::new(),
            contested: BTreeSet::new(),
            heard: BTreeMap::new(),
        }
    }

    /// Whether it has been read to its end once, and may be written.
    pub(super) fn is_ready(&self) -> bool {
        self.is_loaded && self.inspection == Inspection::Passed && self.newer.is_none()
    }

    /// The format version of records that only a newer kmirror understands.
    pub(super) const fn newer(&self) -> Option<u64> {
        self.newer
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.writing.is_empty() && self.behind.is_empty()
    }

    /// Notes what metadata says of the topic.
    pub(super) fn topic_seen(&mut self, topic: Option<(Uuid, i32)>) -> TopicSight {
        let Some((topic_id, partition_count)) = topic else {
            self.partition_count = None;
            return TopicSight::Same;
        };
        self.partition_count = Some(partition_count);
        let is_other = !self.topic_id.is_zero() && !topic_id.is_zero() && self.topic_id != topic_id;
        if !topic_id.is_zero() {
            self.topic_id = topic_id;
        }
        if !is_other {
            return TopicSight::Same;
        }
        self.forget();
        self.inspection = Inspection::Wanted;
        TopicSight::Replaced
    }

    /// Notes whether the topic has too few replicas; tells whether that is new.
    pub(super) fn replicas_seen(&mut self, are_few: bool) -> bool {
        !std::mem::replace(&mut self.has_few_replicas, are_few) && are_few
    }

    /// Starts reading anew. Gaps and resets are known nowhere else: they are written again.
    fn forget(&mut self) {
        for (key, (_, entry)) in std::mem::take(&mut self.image) {
            if matches!(entry, Entry::Gap(_) | Entry::Reset(_)) {
                self.put(&key.place, entry);
            }
        }
        self.next_offsets.clear();
        // What was written and not read back may be gone with the rest.
        self.unsettled.clear();
        self.is_write_void = !self.writing.is_empty();
        self.is_loaded = false;
    }

    /// Writes a record behind all that waits already, or with what waits of the same place.
    pub(super) fn put(&mut self, place: &Place, entry: Entry) -> Ticket {
        let key = entry.key(place);
        self.behind.remove(&key);
        self.enqueue(key, Some(entry))
    }

    fn enqueue(&mut self, key: StateKey, entry: Option<Entry>) -> Ticket {
        let known = self.pending.iter().position(|it| tells_of(it, &key.place));
        let has_room = |write: &Pending| write.len() < self.write_records_max;
        let at = known.unwrap_or_else(|| {
            if !self.pending.back().is_some_and(has_room) {
                self.pending.push_back(Pending::new());
            }
            self.pending.len() - 1
        });
        self.pending[at].insert(key, entry);
        self.ticket(at)
    }

    /// The name of a write by its place among those that are pending.
    fn ticket(&self, at: usize) -> Ticket {
        Ticket(self.next_write + u64::try_from(at).unwrap_or(u64::MAX))
    }

    /// The write to be made now. What has moved into it has left others empty: they are done with it.
    fn next_pending(&mut self) -> Pending {
        let next = self.pending.pop_front().unwrap_or_default();
        self.next_write += 1;
        while self.pending.front().is_some_and(Pending::is_empty) {
            self.pending.pop_front();
            self.next_write += 1;
        }
        next
    }

    /// Makes a write that has failed once more, under its name, with what has come to wait of the
    /// same places: two writes that tell of one place would go out in the wrong order later.
    fn enqueue_again(&mut self, failed: Pending) {
        let mut again = Pending::new();
        for write in &mut self.pending {
            again.extend(write.extract_if(.., |key, _| tells_of(&failed, &key.place)));
        }
        for (key, entry) in failed {
            again.entry(key).or_insert(entry);
        }
        self.pending.push_front(again);
        self.next_write = self.next_write.saturating_sub(1);
    }

    fn is_pending(&self, key: &StateKey) -> bool {
        self.pending.iter().any(|write| write.contains_key(key))
    }

    /// Writes what was read once more, unless something newer is to be written in its place anyway.
    fn put_again(&mut self, key: StateKey, known: Entry) {
        let is_due = self.is_pending(&key) || self.behind.contains_key(&key);
        // What is acknowledged and has not been read lies behind all that has.
        let mut unread = self.unsettled.iter();
        if is_due || unread.any(|write| write.written.contains_key(&key)) {
            return;
        }
        // What is under way may be in the topic already, before what has hidden it.
        let newest = self.writing.get(&key).cloned();
        self.enqueue(key, newest.unwrap_or(Some(known)));
    }

    /// Deletes once everything put so far is acknowledged.
    fn delete_behind(&mut self, key: StateKey) {
        if self.pending.is_empty() && self.writing.is_empty() {
            self.enqueue(key, None);
        } else {
            // The last one that is to be made or under way.
            let Ticket(after_it) = self.ticket(self.pending.len());
            self.behind.insert(key, Ticket(after_it.saturating_sub(1)));
        }
    }

    /// Deletes chunks that the map below an anchor has replaced, once everything put so far is
    /// acknowledged. A former owner may have come further than that in the meantime: recovery
    /// would start from its anchor, so its map stays for the next owner to delete.
    fn delete_map(&mut self, place: &Place, obsolete: BTreeSet<ChunkKey>, anchor: &Anchor) {
        let others = self.standing_anchors(place).filter(|other| {
            other.generation != anchor.generation && other.source_offset > anchor.source_offset
        });
        let ahead: BTreeSet<u64> = others.map(|other| other.generation).collect();
        let obsolete = obsolete.into_iter();
        for key in obsolete.filter(|key| !ahead.contains(&key.version.generation)) {
            let key = StateKey {
                place: place.clone(),
                kind: Kind::Map(key),
            };
            self.delete_behind(key);
        }
    }

    /// Writes an anchor and what the map below it has become, in one write; deletes what it has
    /// replaced behind that.
    pub(super) fn put_anchor(
        &mut self,
        place: &Place,
        anchor: Anchor,
        (chunks, obsolete): Changes,
    ) -> Ticket {
        for chunk in chunks {
            self.put(place, Entry::Map(chunk));
        }
        let ticket = self.put(place, Entry::Anchor(anchor));
        self.delete_map(place, obsolete, &anchor);
        ticket
    }

    /// Deletes what has waited for a write that is acknowledged now.
    fn release(&mut self, written: Ticket) {
        let due = self.behind.extract_if(.., |_, ticket| *ticket <= written);
        for (key, _) in due.collect::<Vec<_>>() {
            if !self.is_pending(&key) {
                self.enqueue(key, None);
            }
        }
    }

    /// Whether a write, and everything that was in the topic before it, has been read.
    pub(super) const fn has_settled(&self, ticket: Ticket) -> bool {
        self.settled > ticket.0
    }

    /// Who owns a partition: the highest generation, and of equal ones the last in the log.
    pub(super) fn owner(&self, place: &Place) -> Option<&Owner> {
        match self.get(place, Kind::Owner)? {
            (_, Entry::Owner(owner)) => Some(owner),
            _ => None,
        }
    }

    /// The other process that owns a partition which this one has owned under `generation`. An
    /// older generation is what a state topic shows that has lost its end.
    pub(super) fn successor(&self, place: &Place, generation: u64) -> Option<&Owner> {
        self.owner(place)
            .filter(|owner| owner.instance != self.instance && owner.generation >= generation)
    }

    /// Whether two processes have taken the same generation of a partition.
    pub(super) fn is_contested(&self, place: &Place, generation: u64) -> bool {
        self.contested.contains(&(place.clone(), generation))
    }

    /// The claim that counts: the newest number, and of equal ones the first in the log.
    pub(super) fn claim(&self, place: &Place) -> Option<&Claim> {
        let claims = self.claims(place);
        let first = claims.min_by_key(|(claim, offset)| (std::cmp::Reverse(claim.number), *offset));
        first.map(|(claim, _)| claim)
    }

    /// Every claim that was ever made for a partition, in no order, and the offset of each.
    pub(super) fn claims(&self, place: &Place) -> impl Iterator<Item = (&Claim, i64)> {
        self.of(place).filter_map(|(offset, entry)| match entry {
            Entry::Claim(claim) => Some((claim, *offset)),
            _ => None,
        })
    }

    /// The anchors of a partition, in no order.
    pub(super) fn anchors(&self, place: &Place) -> impl Iterator<Item = &Anchor> {
        self.of(place).filter_map(|(_, entry)| match entry {
            Entry::Anchor(anchor) => Some(anchor),
            _ => None,
        })
    }

    /// Those of them that no reset has made void.
    pub(super) fn standing_anchors(&self, place: &Place) -> impl Iterator<Item = &Anchor> {
        let reset = self.reset(place);
        let anchors = self.anchors(place);
        anchors.filter(move |anchor| reset.is_none_or(|reset| !reset.voids(anchor)))
    }

    fn reset(&self, place: &Place) -> Option<&Reset> {
        match self.get(place, Kind::Reset)? {
            (_, Entry::Reset(reset)) => Some(reset),
            _ => None,
        }
    }

    /// The reset with which copying of a partition begins: no owner has begun there yet.
    pub(super) fn pending_reset(&self, place: &Place) -> Option<&Reset> {
        let has_begun = self.standing_anchors(place).next().is_some();
        self.reset(place).filter(|_| !has_begun)
    }

    /// The chunks of the maps of a partition, of all versions.
    pub(super) fn map_chunks(&self, place: &Place) -> impl Iterator<Item = &MapChunk> {
        self.of(place).filter_map(|(_, entry)| match entry {
            Entry::Map(chunk) => Some(chunk),
            _ => None,
        })
    }

    /// The gaps of a partition, by their first offset.
    pub(super) fn gaps(&self, place: &Place) -> impl Iterator<Item = &Gap> {
        self.of(place).filter_map(|(_, entry)| match entry {
            Entry::Gap(gap) => Some(gap),
            _ => None,
        })
    }

    fn get(&self, place: &Place, kind: Kind) -> Option<&(i64, Entry)> {
        let place = place.clone();
        self.image.get(&StateKey { place, kind })
    }

    fn of(&self, place: &Place) -> impl Iterator<Item = &(i64, Entry)> {
        let records = self.image.range(first_key(place)..);
        let place = place.clone();
        records
            .take_while(move |(key, _)| key.place == place)
            .map(|(_, value)| value)
    }

    /// Whether the process that owns a partition has said nothing for `silence`, of this partition or any
    /// other. It is `taken_by` unless another one has followed that.
    pub(super) fn is_abandoned(
        &self,
        now: Instant,
        place: &Place,
        taken_by: Uuid,
        silence: Duration,
    ) -> bool {
        let owner = self.owner(place).map_or(taken_by, |owner| owner.instance);
        let heard = self.heard.get(&owner);
        heard.is_none_or(|heard| now.saturating_duration_since(*heard) >= silence)
    }

    /// Takes what was read; what of it says nothing.
    pub(super) fn take(&mut self, now: Instant, read: StateRead) -> Vec<Unusable> {
        let mut unusable = Vec::new();
        for record in read.records {
            // Whatever lies before this record has been read.
            self.next_offsets.insert(record.partition, record.offset);
            self.settle();
            match decode(&record.key, record.value.as_deref()) {
                Ok((key, entry)) => self.apply(now, key, record.offset, entry),
                Err(reason) => unusable.push(reason),
            }
        }
        self.next_offsets.extend(read.next_offsets);
        self.settle();
        unusable
    }

    fn apply(&mut self, now: Instant, key: StateKey, offset: i64, entry: Option<Entry>) {
        let Some(entry) = entry else {
            self.image.remove(&key);
            return;
        };
        if let (Entry::Owner(new), Some((_, Entry::Owner(known)))) = (&entry, self.image.get(&key))
            && new.contests(known)
        {
            self.contested.insert((key.place.clone(), new.generation));
        }
        // A late write of a former owner must not hide the present one, nor the lineage that this
        // one has opened meanwhile: an epoch must not be taken twice (B3). Nor may one that was
        // made again for want of an answer, and arrives after what followed it.
        if let Some((_, known)) = self.image.get(&key)
            && entry.age() < known.age()
        {
            let known = known.clone();
            if self.owns(&key.place) {
                self.put_again(key, known);
            }
            return;
        }
        if let Entry::Owner(owner) = &entry
            && owner.instance != self.instance
        {
            self.taken_over.insert(key.place.clone());
            self.heard.insert(owner.instance, now);
        }
        // A claim that is written twice keeps its first place.
        let offset = match (&entry, self.image.get(&key)) {
            (Entry::Claim(_), Some((first, _))) => *first,
            _ => offset,
        };
        self.image.insert(key, (offset, entry));
    }

    fn owns(&self, place: &Place) -> bool {
        self.owner(place)
            .is_some_and(|owner| owner.instance == self.instance)
    }

    fn settle(&mut self) {
        while let Some(write) = self.unsettled.front()
            && write.last_offsets.iter().all(|(partition, last)| {
                self.next_offsets
                    .get(partition)
                    .is_some_and(|next| next > last)
            })
        {
            self.settled = write.number + 1;
            self.unsettled.pop_front();
        }
    }

    /// Whether the topic has lost what it had acknowledged: reading goes on and does not bring it.
    fn has_lost_its_end(&self, now: Instant) -> bool {
        self.unsettled.front().is_some_and(|write| {
            now.saturating_duration_since(write.acknowledged) > limits::STATE_SETTLES_WITHIN
        })
    }

    /// When something that failed is tried again; a flow that ends reads no more.
    pub(super) fn deadline(&self, is_ending: bool) -> Option<Instant> {
        self.partition_count?;
        let reads = !self.is_reading && !is_ending;
        let writes = self.may_write();
        let inspects = self.inspection == Inspection::Wanted;
        let waits = [
            self.read_failures.until().filter(|_| reads),
            self.write_failures.until().filter(|_| writes),
            self.inspect_again.until().filter(|_| inspects),
        ];
        waits.into_iter().flatten().min()
    }

    fn may_write(&self) -> bool {
        self.is_loaded && self.writing.is_empty() && !self.pending.is_empty()
    }
}

fn first_key(place: &Place) -> StateKey {
    StateKey {
        place: place.clone(),
        kind: Kind::FIRST,
    }
}

/// Whether a write says something of a place.
fn tells_of(write: &Pending, place: &Place) -> bool {
    let next = write.range(first_key(place)..).next();
    next.is_some_and(|(key, _)| key.place == *place)
}

impl Flow {
    pub(super) fn schedule_state(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let topic = Arc::clone(&self.options.state_topic.name);
        let state = &mut self.state;
        let Some(partition_count) = state.partition_count else {
            return;
        };
        if state.inspection == Inspection::Wanted && !state.inspect_again.is_waiting(now) {
            state.inspection = Inspection::Asked;
            actions.push(Action::InspectTopics {
                side: Side::Target,
                topics: vec![Arc::clone(&topic)],
            });
        }
        if !state.is_reading && !state.read_failures.is_waiting(now) && self.drain.is_none() {
            state.is_reading = true;
            let wait = if state.is_loaded {
                limits::STATE_WAIT
            } else {
                Duration::ZERO
            };
            actions.push(Action::ReadState {
                topic: Arc::clone(&topic),
                from: state.next_offsets.clone(),
                wait,
            });
        }
        if state.may_write() && !state.write_failures.is_waiting(now) {
            state.writing = state.next_pending();
            actions.push(Action::WriteState {
                topic,
                partition_count,
                records: state.writing.iter().map(encoded).collect(),
            });
        }
    }

    pub(super) fn state_read(
        &mut self,
        now: Instant,
        result: Result<StateRead, Failure>,
        actions: &mut Vec<Action>,
    ) {
        self.state.is_reading = false;
        let read = match result {
            Ok(read) => read,
            Err(failure) => {
                if matches!(failure, Failure::Refused(ErrorCode::OFFSET_OUT_OF_RANGE, _)) {
                    // It has lost what was read before: what is known goes into what is left.
                    self.state.forget();
                    self.rewrite_state(now, actions);
                }
                return self.state_failed(now, "reading its state", failure, actions);
            }
        };
        self.state.read_failures.succeed();
        for reason in self.state.take(now, read) {
            match reason {
                Unusable::Foreign if !std::mem::replace(&mut self.state.has_foreign, true) => {
                    actions.push(Action::Report(Notice::ForeignState));
                }
                Unusable::Foreign => {}
                Unusable::Newer(version) => {
                    if self.state.newer.replace(version).is_none() {
                        actions.push(Action::Report(Notice::NewerState { version }));
                    }
                }
            }
        }
        let is_first = !std::mem::replace(&mut self.state.is_loaded, true);
        if self.state.has_lost_its_end(now) {
            self.state.forget();
            self.rewrite_state(now, actions);
            return;
        }
        if is_first {
            self.compare(now, actions);
            self.look_again(now);
        }
        self.check_ownership(now, actions);
    }

    pub(super) fn state_written(
        &mut self,
        now: Instant,
        result: Result<BTreeMap<i32, i64>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let state = &mut self.state;
        let written = std::mem::take(&mut state.writing);
        let is_void = std::mem::take(&mut state.is_write_void);
        match result {
            Ok(_) if is_void => {
                state.enqueue_again(written);
            }
            Ok(last_offsets) => {
                state.write_failures.succeed();
                let number = state.next_write.saturating_sub(1);
                state.unsettled.push_back(Unsettled {
                    number,
                    last_offsets,
                    written,
                    acknowledged: now,
                });
                state.settle();
                state.release(Ticket(number));
            }
            Err(failure) => {
                state.enqueue_again(written);
                self.state_failed(now, "writing its state", failure, actions);
            }
        }
    }

    fn state_failed(
        &mut self,
        now: Instant,
        purpose: &'static str,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let state = &mut self.state;
        let failures = if purpose == "reading its state" {
            &mut state.read_failures
        } else {
            &mut state.write_failures
        };
        failures.fail(now, 0);
        // The brokers of a new topic need a moment to learn who leads it.
        let is_worth_telling = failures.attempt() == 3;
        self.discovery.refresh(Side::Target, now);
        if is_worth_telling {
            actions.push(Action::Report(Notice::Waiting {
                side: Side::Target,
                purpose,
                failure,
            }));
        }
    }

    /// Takes the configuration of the state topic.
    pub(super) fn state_inspected(
        &mut self,
        now: Instant,
        result: Result<TopicConfig, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let was = std::mem::replace(&mut self.state.inspection, Inspection::Passed);
        let topic = Arc::clone(&self.options.state_topic.name);
        let refusal = match result {
            Ok(config) => {
                let policy = config
                    .entries
                    .iter()
                    .find(|entry| entry.name == "cleanup.policy")
                    .and_then(|entry| entry.value.as_deref());
                let is_fit =
                    policy.is_none_or(|policy| policy.split(',').map(str::trim).eq(["compact"]));
                (!is_fit).then(|| policy.unwrap_or_default().to_owned())
            }
            // What may not be looked at is taken on trust; what may pass is asked again.
            Err(failure) if failure.remedy() == Remedy::Halt => None,
            Err(_) => {
                self.state.inspection = Inspection::Wanted;
                self.state.inspect_again.fail(now, 0);
                return;
            }
        };
        self.state.inspect_again.succeed();
        if let Some(policy) = refusal {
            self.state.inspection = Inspection::Refused;
            if was != Inspection::Refused {
                actions.push(Action::Report(Notice::UnfitStateTopic { topic, policy }));
            }
        }
        self.compare(now, actions);
    }
}

impl Flow {
    /// Stops writing partitions that another process has taken over (R9).
    fn check_ownership(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for place in std::mem::take(&mut self.state.taken_over) {
            let source = TopicPartition {
                topic: Arc::clone(&place.topic),
                partition: place.partition,
            };
            let Some(id) = self.by_source.get(&source).copied() else {
                continue;
            };
            let generation = self.slot(id).and_then(|slot| slot.partition.generation());
            let successor = generation.and_then(|own| self.state.successor(&place, own));
            if let Some(reason) = successor.map(HaltReason::superseded_by) {
                self.with_partition(now, id, actions, |partition| {
                    partition.suspend();
                    partition.halt(now, reason)
                });
            }
        }
    }

    /// Writes what is known into a state topic that took the place of the former one, and has every
    /// position proven again: another process may own the partition by what the new topic says.
    pub(super) fn rewrite_state(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let mut entries = Vec::new();
        let mut running = Vec::new();
        for slot in &mut self.slots {
            let ids = (slot.source.topic_id, slot.target.topic_id);
            let place = place(&slot.partition.source);
            for entry in slot.partition.known_state(ids, self.options.instance) {
                entries.push((place.clone(), entry));
            }
            match &mut slot.recovery {
                Some(recovery) => recovery.restart(RecoveryCause::StateLost),
                None if slot.partition.is_proven() => running.push(slot.partition.id),
                None => {}
            }
        }
        for (place, entry) in entries {
            self.state.put(&place, entry);
        }
        for id in running {
            self.recover(now, id, RecoveryCause::StateLost, actions);
        }
    }
}

fn encoded((key, entry): (&StateKey, &Option<Entry>)) -> StoredRecord {
    match entry {
        Some(entry) => encode(&StateRecord {
            place: key.place.clone(),
            entry: entry.clone(),
        }),
        None => encode_deletion(key),
    }
}

#[cfg(test)]
mod tests;
