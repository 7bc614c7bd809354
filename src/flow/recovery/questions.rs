//! Puts the questions of many recovering partitions into few requests, and hands out the answers.
//!
//! One request per broker and kind carries the questions of all partitions that it leads, so that a
//! leader that moved with a thousand partitions costs a handful of requests.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    Progress, Recovery, RecoveryCause, Surroundings,
    machine::{Answer, Question},
};
use crate::{
    flow::{
        Action, ActiveProducer, EpochQuestion, Event, Failure, FetchPartition, FetchedRecords,
        Flow, LogRange, Notice, PartitionId, PartitionNotice, PerPartition, PerTopicConfig,
        RequestId, Side, TopicConfig, TopicPartition, limits,
    },
    offsets::state::Place,
};

/// The questions of one kind to one broker, and who asked them.
#[derive(Debug)]
pub(in crate::flow) struct Asked {
    side: Side,
    node: i32,
    /// Per partition the question and the stint in which it was asked.
    partitions: BTreeMap<PartitionId, (Question, u32)>,
}

/// Questions that one request can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Range(Side),
    Producers,
    EpochEnd(Side),
    Time(Side),
    Window(Side),
    Decided,
}

impl Kind {
    const fn side(self) -> Side {
        match self {
            Self::Range(side) | Self::EpochEnd(side) | Self::Time(side) | Self::Window(side) => {
                side
            }
            Self::Producers | Self::Decided => Side::Target,
        }
    }
}

/// Everything that has been asked and not yet answered.
#[derive(Debug, Default)]
pub(in crate::flow) struct Questions {
    requests: BTreeMap<RequestId, Asked>,
    /// Partitions that asked for a new producer id.
    producer_ids: BTreeMap<PartitionId, u32>,
    /// Partitions by the source topic whose policy is being asked for.
    policies: BTreeMap<Arc<str>, BTreeMap<PartitionId, u32>>,
}

impl Flow {
    /// Lets recoveries go on, and asks what they want to know.
    pub(in crate::flow) fn schedule_recoveries(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let touched: Vec<PartitionId> = self.recovering.iter().copied().collect();
        let mut grouped: BTreeMap<(i32, Kind), Vec<(PartitionId, Question)>> = BTreeMap::new();
        let mut topics: Vec<Arc<str>> = Vec::new();
        for id in touched {
            let wanted = self.advance_recovery(now, id, actions);
            for question in wanted {
                match kind_of(question) {
                    Some(kind) => match self.leader_of(id, kind.side()) {
                        Some(node) => grouped
                            .entry((node, kind))
                            .or_default()
                            .push((id, question)),
                        None => self.unasked(id, question),
                    },
                    None => self.ask_alone(id, question, &mut topics, actions),
                }
            }
        }
        for ((node, kind), mut questions) in grouped {
            if matches!(kind, Kind::Window(_) | Kind::Decided) {
                let alone = questions.extract_if(.., |(id, _)| self.asks_alone(*id));
                for question in alone.collect::<Vec<_>>() {
                    self.ask_together(node, kind, &[question], actions);
                }
            }
            for part in questions.chunks(limits::QUESTIONS_PER_REQUEST) {
                self.ask_together(node, kind, part, actions);
            }
        }
        if !topics.is_empty() {
            let side = Side::Source;
            actions.push(Action::InspectTopics { side, topics });
        }
    }

    fn asks_alone(&self, id: PartitionId) -> bool {
        let recovery = self.slot(id).and_then(|slot| slot.recovery.as_ref());
        recovery.is_some_and(|recovery| recovery.asks_alone())
    }

    /// Lets one recovery go on; the questions that it wants to be asked.
    fn advance_recovery(
        &mut self,
        now: Instant,
        id: PartitionId,
        actions: &mut Vec<Action>,
    ) -> Vec<Question> {
        let outcome = self.with_recovery(now, id, |recovery, around| recovery.advance(around));
        let Some((progress, wanted)) = outcome else {
            return Vec::new();
        };
        self.recovery_went(now, id, progress, actions);
        wanted
    }

    /// Runs something on a partition's recovery, with all that it may look at.
    fn with_recovery<T>(
        &mut self,
        now: Instant,
        id: PartitionId,
        change: impl FnOnce(&mut Recovery, &mut Surroundings<'_>) -> T,
    ) -> Option<T> {
        let wall_ms = self.wall_ms(now);
        let slot = self.slots.get_mut(usize::try_from(id.0).ok()?)?;
        let epoch = |end: &super::super::ends::End| end.leader.map_or(-1, |leader| leader.epoch);
        let partition = &slot.partition;
        if partition.halt_reason().is_some() || partition.is_stopping() {
            return None;
        }
        let recovery = slot.recovery.as_mut()?;
        let place = place(&partition.source);
        let mut around = Surroundings {
            now,
            wall_ms,
            options: &self.options,
            stored_offset: self.positions.stored(&partition.source),
            state: &mut self.state,
            place,
            seed: u64::from(id.0),
            source_topic_id: slot.source.topic_id,
            target_topic_id: slot.target.topic_id,
            source_epoch: epoch(&slot.source),
            target_epoch: epoch(&slot.target),
            own_generation: partition.generation(),
            known_target_offset: partition.known_target_offset(),
            start_at: partition.start_at(),
            map: partition.map(),
        };
        Some(change(recovery, &mut around))
    }

    /// Draws the consequences of what became of a recovery.
    fn recovery_went(
        &mut self,
        now: Instant,
        id: PartitionId,
        progress: Progress,
        actions: &mut Vec<Action>,
    ) {
        self.tell_of_recovery(id, actions);
        match progress {
            Progress::Waits => {
                let slot = self.slot(id);
                let deadline = slot.and_then(|slot| slot.recovery.as_ref()?.deadline());
                if let Some(at) = deadline.filter(|at| *at > now) {
                    self.timers.insert((at, id));
                }
            }
            Progress::Done(start) => {
                let (mut map, mut is_state_lost) = (None, false);
                if let Some(slot) = self.slot_mut(id) {
                    if let Some(recovery) = slot.recovery.take() {
                        is_state_lost = recovery.is_state_lost();
                        map = recovery.into_map();
                    }
                    slot.proven_under = slot.target.leader;
                }
                self.recovering.remove(&id);
                self.with_partition(now, id, actions, |partition| {
                    partition.start(start, map);
                    None
                });
                if let Some(slot) = self.slot_mut(id) {
                    slot.acknowledged_at = None;
                }
                if is_state_lost {
                    self.anchor_anew(id);
                }
                self.follow_source(now, id, actions);
            }
            Progress::Halted(reason) => {
                if let Some(slot) = self.slot_mut(id)
                    && let Some(recovery) = &mut slot.recovery
                {
                    let cause = recovery.cause().clone();
                    recovery.restart(cause);
                }
                self.with_partition(now, id, actions, |partition| partition.halt(now, reason));
            }
        }
    }

    fn tell_of_recovery(&mut self, id: PartitionId, actions: &mut Vec<Action>) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let Some(recovery) = &mut slot.recovery else {
            return;
        };
        for notice in recovery.take_notices() {
            slot.partition.count_notice(&notice);
            actions.push(Action::Report(Notice::Partition {
                source: slot.partition.source.clone(),
                remote_topic: Arc::clone(&slot.partition.remote_topic),
                notice,
            }));
        }
    }

    fn leader_of(&self, id: PartitionId, side: Side) -> Option<i32> {
        let slot = self.slot(id)?;
        let end = match side {
            Side::Source => &slot.source,
            Side::Target => &slot.target,
        };
        end.leader.map(|leader| leader.node)
    }

    /// A question that nobody can answer now is asked again when leaders are known.
    fn unasked(&mut self, id: PartitionId, question: Question) {
        if let Some(slot) = self.slot_mut(id)
            && let Some(recovery) = &mut slot.recovery
        {
            recovery.not_asked(question);
        }
    }

    fn ask_alone(
        &mut self,
        id: PartitionId,
        question: Question,
        topics: &mut Vec<Arc<str>>,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slot(id) else { return };
        let Some(recovery) = &slot.recovery else {
            return;
        };
        let stint = recovery.stint();
        if question == Question::ProducerId {
            self.questions.producer_ids.insert(id, stint);
            actions.push(Action::AskProducerId(id));
            return;
        }
        if question == Question::Committed {
            match recovery.start_group() {
                Some(group) => self.ask_committed(group, id, Some(stint), actions),
                None => self.unasked(id, question),
            }
            return;
        }
        let topic = Arc::clone(&slot.partition.source.topic);
        let asking = self.questions.policies.entry(Arc::clone(&topic));
        let is_new = matches!(asking, std::collections::btree_map::Entry::Vacant(_));
        asking.or_default().insert(id, stint);
        if is_new {
            topics.push(topic);
        }
    }

    fn ask_together(
        &mut self,
        node: i32,
        kind: Kind,
        questions: &[(PartitionId, Question)],
        actions: &mut Vec<Action>,
    ) {
        let request = self.transfer.next_request_id();
        let asked = questions.iter().filter_map(|(id, question)| {
            let recovery = self.slot(*id)?.recovery.as_ref()?;
            Some((*id, (*question, recovery.stint())))
        });
        let partitions = asked.collect();
        let asked = Asked {
            side: kind.side(),
            node,
            partitions,
        };
        self.questions.requests.insert(request, asked);
        actions.push(self.action_of(request, node, kind, questions));
    }

    fn action_of(
        &self,
        request: RequestId,
        node: i32,
        kind: Kind,
        questions: &[(PartitionId, Question)],
    ) -> Action {
        let epoch = |id: PartitionId, side| self.leader_epoch(id, side);
        let ids = questions.iter().map(|(id, _)| *id);
        match kind {
            Kind::Range(side) => Action::AskLogRanges {
                request,
                side,
                node,
                partitions: ids.map(|id| (id, epoch(id, side))).collect(),
            },
            Kind::Producers => Action::AskProducers {
                request,
                node,
                partitions: ids.collect(),
            },
            Kind::EpochEnd(side) => Action::AskEpochEnds {
                request,
                side,
                node,
                partitions: questions
                    .iter()
                    .filter_map(|(id, question)| match question {
                        Question::EpochEnd(_, asked) => Some(EpochQuestion {
                            id: *id,
                            current_epoch: epoch(*id, side),
                            epoch: *asked,
                        }),
                        _ => None,
                    })
                    .collect(),
            },
            Kind::Time(side) => Action::AskOffsetsForTimes {
                request,
                side,
                node,
                partitions: questions
                    .iter()
                    .filter_map(|(id, question)| match question {
                        Question::Time(_, timestamp) => Some((*id, *timestamp)),
                        _ => None,
                    })
                    .collect(),
            },
            Kind::Window(_) | Kind::Decided => self.window_action(request, node, kind, questions),
        }
    }

    fn window_action(
        &self,
        request: RequestId,
        node: i32,
        kind: Kind,
        questions: &[(PartitionId, Question)],
    ) -> Action {
        let side = kind.side();
        let mut factor_max = 1;
        let partitions = questions.iter().filter_map(|(id, question)| {
            let (Question::Window(_, fetch_offset) | Question::Decided(fetch_offset)) = question
            else {
                return None;
            };
            let recovery = self.slot(*id)?.recovery.as_ref()?;
            factor_max = factor_max.max(recovery.bytes_factor());
            let bytes_max = limits::WINDOW_PARTITION_BYTES_MAX * recovery.bytes_factor();
            Some(FetchPartition {
                id: *id,
                fetch_offset: *fetch_offset,
                leader_epoch: self.leader_epoch(*id, side),
                last_fetched_epoch: -1,
                bytes_max: bytes_max.min(limits::PARTITION_FETCH_BYTES_CAP),
            })
        });
        let partitions = partitions.collect();
        Action::FetchWindow {
            request,
            side,
            node,
            read_committed: match kind {
                Kind::Window(Side::Source) => self.options.read_committed,
                _ => kind == Kind::Decided,
            },
            wait: limits::WINDOW_WAIT,
            bytes_max: (limits::WINDOW_BYTES_MAX * factor_max)
                .min(limits::PARTITION_FETCH_BYTES_CAP),
            partitions,
        }
    }

    fn leader_epoch(&self, id: PartitionId, side: Side) -> i32 {
        let slot = self.slot(id);
        let end = slot.map(|slot| match side {
            Side::Source => &slot.source,
            Side::Target => &slot.target,
        });
        end.and_then(|end| end.leader)
            .map_or(-1, |leader| leader.epoch)
    }

    /// Hands an answer to the recovery that asked, unless it has gone on since.
    fn answer_recovery(
        &mut self,
        now: Instant,
        id: PartitionId,
        (question, stint): (Question, u32),
        result: Result<Answer, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let side = match question {
            Question::Policy | Question::Committed => Side::Source,
            _ => kind_of(question).map_or(Side::Target, Kind::side),
        };
        self.note_failure(now, side, result.as_ref().err());
        let progress = self.with_recovery(now, id, |recovery, around| {
            if recovery.stint() == stint {
                recovery.answered(around, question, result)
            } else {
                Progress::Waits
            }
        });
        if let Some(progress) = progress {
            self.recovery_went(now, id, progress, actions);
        }
    }

    fn answered<T>(
        &mut self,
        now: Instant,
        request: RequestId,
        result: PerPartition<T>,
        answer: impl Fn(T) -> Answer,
        actions: &mut Vec<Action>,
    ) {
        let Some(asked) = self.questions.requests.remove(&request) else {
            return;
        };
        self.note_broker(asked.side, asked.node, result.as_ref().err(), actions);
        let ids: Vec<PartitionId> = asked.partitions.keys().copied().collect();
        for (id, result) in super::super::transfer::each_answered(&ids, result) {
            if let Some(question) = asked.partitions.get(&id) {
                self.answer_recovery(now, id, *question, result.map(&answer), actions);
            }
        }
    }

    /// Takes an answer to a question of recoveries; gives others back.
    pub(in crate::flow) fn recovery_answered(
        &mut self,
        now: Instant,
        event: Event,
        actions: &mut Vec<Action>,
    ) {
        match event {
            Event::Producers { request, result } => {
                let answer = |producers: Vec<ActiveProducer>| Answer::Producers(Some(producers));
                self.answered(now, request, result, answer, actions);
            }
            Event::EpochEnds { request, result } => {
                self.answered(now, request, result, Answer::EpochEnd, actions);
            }
            Event::OffsetsForTimes { request, result } => {
                self.answered(now, request, result, Answer::Time, actions);
            }
            Event::WindowFetched { request, result } => {
                let answer = |fetched: FetchedRecords| Answer::Window(fetched);
                self.answered(now, request, result, answer, actions);
            }
            Event::LogRanges { request, result } => {
                let answer = |range: LogRange| Answer::Range(range);
                self.answered(now, request, result, answer, actions);
            }
            _ => {}
        }
    }

    /// Whether a request was made for recoveries.
    pub(in crate::flow) fn is_asked_for_recovery(&self, request: RequestId) -> bool {
        self.questions.requests.contains_key(&request)
    }

    /// Takes a producer id that a recovery asked for.
    pub(in crate::flow) fn producer_id_for_recovery(
        &mut self,
        now: Instant,
        id: PartitionId,
        result: Result<(i64, i16), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(stint) = self.questions.producer_ids.remove(&id) else {
            return self.producer_ids_offered(now, id, result.is_ok(), actions);
        };
        let result = result.map(|(producer_id, _)| Answer::ProducerId(producer_id));
        self.answer_recovery(now, id, (Question::ProducerId, stint), result, actions);
    }

    /// Takes what a group has committed for a partition whose recovery asked for it.
    pub(in crate::flow) fn recovery_committed(
        &mut self,
        now: Instant,
        id: PartitionId,
        stint: u32,
        result: Result<Option<i64>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let result = result.map(Answer::Committed);
        self.answer_recovery(now, id, (Question::Committed, stint), result, actions);
    }

    /// Takes the configuration of source topics that recoveries asked for.
    pub(in crate::flow) fn policies_answered(
        &mut self,
        now: Instant,
        result: Result<PerTopicConfig, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let asked = std::mem::take(&mut self.questions.policies);
        for (topic, partitions) in asked {
            let may_compact = match &result {
                // A topic that is not there any more is noticed by other means.
                Ok(configs) => match configs.iter().find(|(name, _)| *name == topic) {
                    Some((_, Ok(config))) => Ok(may_compact(config)),
                    Some((_, Err(failure))) => Err(failure.clone()),
                    None => Ok(false),
                },
                Err(failure) => Err(failure.clone()),
            };
            for (id, stint) in partitions {
                let answer = may_compact
                    .clone()
                    .map(|may_compact| Answer::Policy { may_compact });
                self.answer_recovery(now, id, (Question::Policy, stint), answer, actions);
            }
        }
    }

    /// Sends a partition back to where it has to find out where it stands.
    pub(in crate::flow) fn recover(
        &mut self,
        now: Instant,
        id: PartitionId,
        cause: RecoveryCause,
        actions: &mut Vec<Action>,
    ) {
        let notice = match cause {
            RecoveryCause::BaseOffset {
                base_offset,
                expected,
                ..
            } => Some(PartitionNotice::StoredElsewhere {
                base_offset,
                expected,
            }),
            _ => None,
        };
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        slot.carrying = None;
        match &mut slot.recovery {
            Some(recovery) => recovery.restart(cause),
            None => {
                let former_offset = slot.partition.next_fetch_offset();
                slot.recovery = Some(Box::new(Recovery::new(cause, former_offset)));
            }
        }
        self.recovering.insert(id);
        self.with_partition(now, id, actions, |partition| {
            partition.suspend();
            notice
        });
    }
}

/// How a place in the state topic is called.
pub(in crate::flow) fn place(partition: &TopicPartition) -> Place {
    Place {
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
    }
}

/// The kind of request that carries a question; `None` when it goes to no leader.
const fn kind_of(question: Question) -> Option<Kind> {
    Some(match question {
        Question::ProducerId | Question::Policy | Question::Committed => return None,
        Question::Range(side) => Kind::Range(side),
        Question::Producers => Kind::Producers,
        Question::EpochEnd(side, _) => Kind::EpochEnd(side),
        Question::Time(side, _) => Kind::Time(side),
        Question::Window(side, _) => Kind::Window(side),
        Question::Decided(_) => Kind::Decided,
    })
}

/// Whether the cleaner may take records out of a topic.
fn may_compact(config: &TopicConfig) -> bool {
    config
        .entries
        .iter()
        .find(|entry| entry.name == "cleanup.policy")
        .and_then(|entry| entry.value.as_deref())
        .is_some_and(|policy| policy.contains("compact"))
}
