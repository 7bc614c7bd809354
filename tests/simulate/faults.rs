//! Faults as they happen, and their end.

use std::{collections::BTreeMap, rc::Rc};

use kmirror::{
    flow::{Flow, Side},
    offsets::state::Entry,
};
use kmirror_protocol::records::{BatchBuilder, BatchProducer, BuiltBatch, Compression, NewRecord};

use super::{
    clusters::{Content, LogRecord, Place},
    instance::State,
    maps::Maps,
    network::InstanceId,
    options::{OFFSETS_TOPIC, STATE_TOPIC, remote, source_of},
    plan::{BROKERS, Kind, MS, Micros, SECOND, What, Which},
    world::{Phase, Shortened, Step, World, trace},
};

/// How long a flow may take to catch up once everything is mended.
pub(super) const HEAL_TIME: Micros = 240 * SECOND;

const DAY_MS: i64 = 86_400_000;

/// What the source had before a fault.
type Before = BTreeMap<Place, Vec<(i64, Rc<Content>)>>;

fn pick<T>(pick: u32, from: &[T]) -> Option<&T> {
    let index = usize::try_from(pick).ok()?.checked_rem(from.len())?;
    from.get(index)
}

impl World {
    pub(super) fn fault(&mut self, index: usize) {
        let what = self.plan.faults[index].what;
        trace!(self, "FAULT {what:?}");
        match what {
            // While a successor is on its way there is nobody to kill.
            What::Crash { pause } => {
                if let Some(id) = self.newest() {
                    self.kill(id);
                    self.at(self.now + pause, Step::Start);
                }
            }
            What::Zombie { sleep } => {
                if let Some(id) = self.newest() {
                    self.put_to_sleep(id, sleep);
                }
                self.start();
            }
            What::Overlap => self.start(),
            What::Freeze { sleep } => {
                if let Some(id) = self.newest() {
                    self.put_to_sleep(id, sleep);
                }
            }
            What::Break { pick, keep, late } => self.break_one(pick, keep, late),
            What::Stall { side, broker, time } => {
                self.stalled.insert((side, broker), self.now + time);
            }
            What::StopBroker { side, broker, time } => self.stop_broker(side, broker, time),
            What::CleanMove {
                side,
                which,
                pick,
                lag,
            } => self.move_leader(side, which, pick, lag, false),
            What::Unclean {
                side,
                which,
                pick,
                lag,
            } => self.move_leader(side, which, pick, lag, true),
            What::Inject { injection, time } => {
                self.injections.insert(index, injection);
                self.at(self.now + time, Step::EndInjection(index));
            }
            What::Revoke { time } => self.revoked_until = self.now + time,
            What::ClockJump { side, ms } => self.side(side).skew_ms += ms,
            What::Forget { evicted_on, pick } => self.forget_producers(evicted_on, pick),
            What::Foreign { pick, count } => self.write_foreign(pick, count),
            What::StateRubbish { pick } => self.write_rubbish(pick),
            What::StateDeleted => {
                let now = self.now;
                self.target.delete_topic(now, STATE_TOPIC);
            }
            What::Compact => {
                let time = self.source.time(self.now);
                for (topic, _) in self.source_places() {
                    let compacted = self.source.cluster.compact(&topic, time);
                    debug_assert!(compacted.is_ok());
                }
            }
            What::Deletion { pick, per_mille } => self.delete_some(pick, per_mille),
            What::TargetDeletion { pick, per_mille } => self.delete_copies(pick, per_mille),
            What::TargetCompaction => {
                for topic in 0..self.plan.topics.len() {
                    let topic = remote(&format!("t{topic}"));
                    self.target.compact(self.now, &topic);
                }
            }
            What::Recreate { pick } => self.recreate(pick),
        }
    }

    pub(super) fn kill(&mut self, id: InstanceId) {
        self.instances[id].state = State::Gone;
        let maps = Maps::stored(self);
        self.maps.add(maps);
        for connection in self.network.of_instance(id) {
            let keep = self.rng.usize(0..6);
            let most = [5, 300, 6_000][self.rng.usize(0..3)];
            let late = self.now + self.rng.u64(0..most) * MS;
            let step = self.rng.u64(0..50) * MS;
            self.close(connection, keep, (late, step), "nobody hears this");
        }
    }

    fn put_to_sleep(&mut self, id: InstanceId, sleep: Micros) {
        if self.instances[id].is_running() {
            self.instances[id].state = State::Asleep { since: self.now };
            self.at(self.now + sleep, Step::Wake(id));
        }
    }

    fn break_one(&mut self, which: u32, keep: u32, late: Micros) {
        let open = self.network.connections.iter();
        let open = open.filter(|(_, it)| it.is_open && !it.unanswered.is_empty());
        let open: Vec<_> = open.map(|(id, it)| (*id, it.queue.len())).collect();
        if let Some((id, waiting)) = pick(which, &open) {
            let keep = usize::try_from(keep).unwrap() % (waiting + 1);
            self.close(*id, keep, (self.now + late, MS), "the connection broke");
        }
    }

    fn stop_broker(&mut self, side: Side, broker: i32, time: Micros) {
        let before = self.source_contents();
        self.side(side).cluster.stop_broker(broker);
        self.note_losses(&before);
        for connection in self.network.to_broker(side, broker) {
            self.network.drop_queue(connection);
            self.close(connection, 0, (self.now, 1), "the broker is down");
        }
        self.at(self.now + time, Step::StartBroker(side, broker));
    }

    pub(super) fn start_broker(&mut self, side: Side, broker: i32) {
        let before = self.source_contents();
        self.side(side).cluster.start_broker(broker);
        self.note_losses(&before);
    }

    /// The partitions on one side to which something may happen.
    fn places(&mut self, side: Side, which: Which) -> Vec<Place> {
        let mut places = self.side(side).places();
        places.retain(|(topic, _)| {
            let is_own = topic == OFFSETS_TOPIC || topic == STATE_TOPIC;
            side == Side::Source || is_own == (which == Which::Own)
        });
        places
    }

    fn move_leader(&mut self, side: Side, which: Which, luck: u32, lag: Micros, is_unclean: bool) {
        let mut places = self.places(side, which);
        // Mostly one partition, sometimes all of them.
        if !luck.is_multiple_of(4)
            && let Some(one) = pick(luck / 16, &places).cloned()
        {
            places = vec![one];
        }
        for place in places {
            let (topic, partition) = &place;
            let cluster = &mut self.side(side).cluster;
            let leader = cluster.leader(topic, *partition);
            let others: Vec<i32> = (0..BROKERS).filter(|id| Some(*id) != leader).collect();
            let Some(broker) = pick(luck / 4, &others).copied() else {
                continue;
            };
            if lag == 0 {
                self.elect(side, &place, broker, is_unclean);
                continue;
            }
            // Errors mean that the broker is down: then there is nothing to hold back.
            let _ = cluster.hold_back(topic, *partition, broker);
            if is_unclean {
                let _ = cluster.drop_from_isr(topic, *partition, broker);
            }
            let elect = Step::Elect {
                side,
                place,
                broker,
                is_unclean,
            };
            self.at(self.now + lag, elect);
        }
    }

    pub(super) fn elect(&mut self, side: Side, place: &Place, broker: i32, is_unclean: bool) {
        if self.phase != Phase::Faulty {
            return;
        }
        let before = self.source_contents();
        let copies = (side == Side::Target).then(|| self.target.read(&place.0, place.1));
        let (topic, partition) = (&place.0, place.1);
        let cluster = &mut self.side(side).cluster;
        let elected = if is_unclean {
            cluster.elect_leader_uncleanly(topic, partition, broker)
        } else {
            cluster.elect_leader(topic, partition, broker)
        };
        for broker in 0..BROKERS {
            let _ = cluster.catch_up(topic, partition, broker);
        }
        let range = cluster.log_range(topic, partition);
        trace!(
            self,
            "{side} {topic}-{partition}: election of {broker}: {elected:?}, log {range:?}"
        );
        // Whoever had more has cut it off down to where all is deleted.
        let is_emptied = range.is_some_and(|range| range.start == range.end && range.end > 0);
        if let Some(source) = source_of(topic).filter(|_| is_emptied && elected.is_ok()) {
            self.forgetful.insert((source.to_owned(), partition));
        }
        self.note_losses(&before);
        // While no broker leads, the log of one that is away says nothing of what is lost.
        let is_unclean = is_unclean && elected.is_ok();
        if is_unclean && side == Side::Source {
            self.forget_deletions(place);
            let end_offset = self.source.end_offset(&place.0, place.1);
            let lost = before.get(place).into_iter().flatten();
            let lost = lost.filter(|(offset, _)| *offset >= end_offset).cloned();
            let branch = Shortened {
                end_offset,
                lost: lost.collect(),
                is_branch_deleted: false,
            };
            let branches = self.shortened.entry(place.clone()).or_default();
            branches.push(branch);
        }
        if let Some(copies) = copies.filter(|_| is_unclean) {
            self.note_lost_copies(place, copies);
        }
    }

    /// Notes what an unclean election has taken from a partition of the target.
    fn note_lost_copies(&mut self, place: &Place, mut copies: Vec<LogRecord>) {
        let (topic, partition) = place;
        let deleted = self.target.forget_deleted(place);
        let present = self.target.read(topic, *partition).into_iter();
        let present: BTreeMap<i64, Rc<Content>> = present
            .map(|record| (record.offset, record.content))
            .collect();
        copies.retain(|record| present.get(&record.offset) != Some(&record.content));
        let source = source_of(topic).map(|topic| (topic.to_owned(), *partition));
        self.checks
            .target_lost_records(place, source.as_ref(), &copies);
        let lost = self.lost_copies.entry(place.clone()).or_default();
        lost.extend(copies.into_iter().chain(deleted));
    }

    fn delete_copies(&mut self, luck: u32, per_mille: u32) {
        let places = self.places(Side::Target, Which::Data);
        let Some(place) = pick(luck, &places) else {
            return;
        };
        self.target.delete_oldest(self.now, place, per_mille);
        self.forget_lost_copies(place);
        let is_one_away = (0..BROKERS).any(|broker| !self.target.cluster.is_running(broker));
        // Nor does anything tell records of others from own ones whose producer was forgotten.
        let ever = self.target.read_ever(&place.0, place.1);
        let is_only_others = ever.iter().all(|it| self.foreign.contains(&*it.content));
        let may_forget = is_one_away || self.is_held_back(place) || is_only_others;
        let source = source_of(&place.0).filter(|_| may_forget);
        self.forgetful
            .extend(source.map(|topic| (topic.to_owned(), place.1)));
    }

    /// What the target lost and would have deleted by now leaves no trace: nothing of the epochs
    /// below its log start tells where one of them ended.
    fn forget_lost_copies(&mut self, place: &Place) {
        let range = self.target.cluster.log_range(&place.0, place.1);
        let start = range.map_or(0, |range| range.start);
        let lost = self.lost_copies.get(place).into_iter().flatten();
        let gone = lost.filter(|record| record.offset < start);
        let Some(topic) = source_of(&place.0) else {
            return;
        };
        let source = (topic.to_owned(), place.1);
        let ledger = self.workload.ledgers.entry(source).or_default();
        for record in gone {
            if let Some(entry) = ledger.get_mut(&record.content) {
                entry.is_lost_by_target = true;
            }
        }
    }

    /// What was deleted and lies beyond the end of a log that an unclean election has shortened can
    /// be known to nobody.
    fn forget_deletions(&mut self, place: &Place) {
        let end = self.source.end_offset(&place.0, place.1);
        let ledger = self.workload.ledgers.entry(place.clone()).or_default();
        for entry in ledger.values_mut() {
            entry.is_lost_by_source |= entry.deleted_at.iter().any(|at| *at >= end);
        }
    }

    fn forget_producers(&mut self, evicted_on: Option<i32>, luck: u32) {
        let time = self.target.time(self.now);
        match evicted_on {
            Some(broker) => {
                for (topic, partition) in self.places(Side::Target, Which::Data) {
                    let cluster = &mut self.target.cluster;
                    let _ = cluster.evict_producers(&topic, partition, broker);
                }
            }
            // Those of old records, or all.
            None if luck.is_multiple_of(2) => self.target.cluster.expire_producers(time),
            None => {
                let later = time.plus_ms(3 * DAY_MS);
                self.target.cluster.expire_producers(later);
            }
        }
    }

    fn write_foreign(&mut self, luck: u32, count: u32) {
        let places = self.places(Side::Target, Which::Data);
        let Some(place) = pick(luck, &places) else {
            return;
        };
        let time = self.target.time(self.now).0;
        for index in 0..count {
            let text = format!("foreign {luck} {index}").into_bytes();
            let batch = one_record(time, &text, &text);
            if self.target.produce(self.now, place, None, &batch) {
                self.foreign.insert(Content {
                    timestamp: time,
                    key: Some(text.clone()),
                    value: Some(text),
                    headers: Vec::new(),
                });
            }
        }
    }

    fn write_rubbish(&mut self, luck: u32) {
        let places = self.places(Side::Target, Which::Own);
        let Some(place) = pick(luck, &places) else {
            return;
        };
        let time = self.target.time(self.now).0;
        let batch = one_record(time, format!("key {luck}").as_bytes(), b"{\"rubbish\":");
        self.target.produce(self.now, place, None, &batch);
    }

    fn delete_some(&mut self, luck: u32, per_mille: u32) {
        if self.plan.is_compacted {
            return;
        }
        let places = self.source_places();
        let Some(place) = pick(luck, &places) else {
            return;
        };
        let Some(range) = self.source.cluster.log_range(&place.0, place.1) else {
            return;
        };
        let before = self.source_contents();
        let reached = self.reached(place);
        let len = range.end - range.start;
        let offset = range.start + len * i64::from(per_mille) / 1_000;
        self.source.delete_records(self.now, place, offset);
        let start = self.source.cluster.log_range(&place.0, place.1);
        let start = start.map_or(0, |range| range.start);
        let ledger = self.workload.ledgers.entry(place.clone()).or_default();
        for (offset, content) in before.get(place).into_iter().flatten() {
            if *offset < start
                && let Some(entry) = ledger.get_mut(content)
            {
                entry.deleted_at.push(*offset);
            }
        }
        let shortened = self.shortened.get_mut(place).into_iter().flatten();
        let mut is_any_deleted = false;
        for branch in shortened.filter(|it| start >= it.end_offset) {
            branch.is_branch_deleted = true;
            is_any_deleted = true;
        }
        if !is_any_deleted {
            return;
        }
        // What took the place of records that were copied and then lost, and was deleted before it
        // was seen, is known to nobody: nothing of its epoch is left below the position.
        for entry in ledger.values_mut() {
            entry.is_deleted_unseen |= entry.deleted_at.iter().any(|at| *at < reached);
        }
    }

    /// The highest position of a partition that any process has or has noted.
    fn reached(&self, (topic, partition): &Place) -> i64 {
        let noted = self.target.state_records();
        let noted = noted.filter_map(|(place, entry)| match entry {
            Entry::Anchor(anchor) if place.0 == *topic && place.1 == *partition => {
                Some(anchor.source_offset)
            }
            _ => None,
        });
        let statuses = self.instances.iter().map(|it| &it.flow);
        let statuses = statuses.flat_map(Flow::partition_statuses);
        let held = statuses.filter_map(|status| {
            let is_here = *status.source.topic == **topic && status.source.partition == *partition;
            status.copied_offset.filter(|_| is_here)
        });
        noted.chain(held).max().unwrap_or(0)
    }

    fn recreate(&mut self, luck: u32) {
        let places = self.source_places();
        let Some((topic, _)) = pick(luck, &places) else {
            return;
        };
        let before = self.source_contents();
        let gone: Vec<Place> = places.iter().filter(|it| it.0 == *topic).cloned().collect();
        self.source.delete_topic(self.now, topic);
        let count = i32::try_from(gone.len()).unwrap();
        self.source.create_topic(self.now, topic, count, &[]);
        self.recreated.extend(gone);
        self.note_losses(&before);
    }

    fn source_contents(&self) -> Before {
        let places = self.source_places().into_iter();
        let contents = places.map(|place| {
            let read = self.source.read(&place.0, place.1).into_iter();
            let read = read.map(|record| (record.offset, record.content)).collect();
            (place, read)
        });
        contents.collect()
    }

    /// Notes what the source had before and has no longer.
    fn note_losses(&mut self, before: &Before) {
        for (place, records) in before {
            let now = self.source.contents(&place.0, place.1);
            let ledger = self.workload.ledgers.entry(place.clone()).or_default();
            for (_, content) in records {
                if !now.contains_key(content)
                    && let Some(entry) = ledger.get_mut(content)
                {
                    entry.is_lost_by_source = true;
                }
            }
        }
    }

    /// Ends every fault and wakes every sleeper.
    pub(super) fn heal(&mut self) {
        trace!(self, "everything is mended");
        self.injections.clear();
        self.stalled.clear();
        self.revoked_until = 0;
        let before = self.source_contents();
        for side in [Side::Source, Side::Target] {
            self.side(side).skew_ms = 0;
            for broker in 0..BROKERS {
                self.side(side).cluster.start_broker(broker);
            }
            for (topic, partition) in self.side(side).places() {
                let cluster = &mut self.side(side).cluster;
                for broker in 0..BROKERS {
                    let _ = cluster.catch_up(&topic, partition, broker);
                }
            }
        }
        self.note_losses(&before);
        let committed = self.rng.bool();
        let now = self.now;
        if !self
            .workload
            .end_transaction(now, &mut self.source, committed)
        {
            self.checks.violation(now, "a transaction does not end");
        }
        for id in 0..self.instances.len() {
            self.at(self.now, Step::Wake(id));
        }
        let grace = self.rng.u64(0..3_000) * MS;
        self.at(self.now + grace, Step::Settle);
        self.phase = Phase::Healing {
            until: self.now + HEAL_TIME,
        };
    }

    /// Leaves one process, the newest or a new one.
    pub(super) fn settle(&mut self) {
        // Where several processes ran, any of them may own any partition: none is the last.
        let are_many = self.plan.has(Kind::Zombie) || self.plan.has(Kind::Overlap);
        let newest = self.newest().filter(|id| !self.instances[*id].is_stopped);
        let survivor = newest.filter(|_| self.knobs.keeps_survivor && !are_many);
        for id in 0..self.instances.len() {
            if self.instances[id].state != State::Gone && Some(id) != survivor {
                self.kill(id);
            }
        }
        if survivor.is_none() {
            self.start();
        }
        // A process that goes on has to see first who leads now.
        let sight = survivor.map_or(0, |_| self.knobs.sight());
        self.at(self.now + sight, Step::Look);
    }
}

fn one_record(timestamp: i64, key: &[u8], value: &[u8]) -> BuiltBatch {
    let mut builder = BatchBuilder::new(Compression::None).producer(BatchProducer::NONE);
    let record = NewRecord {
        timestamp,
        key: Some(key),
        value: Some(value),
        headers: &[],
    };
    builder.push(&record).unwrap();
    builder.build().unwrap()
}
