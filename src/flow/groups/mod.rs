//! Consumer groups: where they stand on the source, told on the target.
//!
//! ```text
//!            AskGroups        AskGroupOffsets            Publish: checkpoints that are news
//!  interval ----------> ids ----------------> committed ---.
//!                                             translated ---+--> AskGroups on the target
//!                                                             --> AskGroupOffsets --> CommitGroupOffsets
//! ```
//!
//! One round at a time; what it has seen of the target it uses within the round or not at all. A
//! position is translated by the flow's own map, so never beyond its true image, and a group that
//! lags is told as exactly as one that is at the end. Nothing is told before it is known what was told
//! before. Source: `MirrorCheckpointConnector`, `MirrorCheckpointTask`, `CheckpointStore`.

mod decide;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use self::decide::{Place, Told, place_of, to_commit};
use super::{
    Action, CheckpointStatus, Failure, Flow, Notice, PublishedKind, Side, TopicPartition,
    Translated,
    event::wait_for,
    limits,
    published::{Published, PublishedTopic, Step},
    retry::{Attempts, Backoff, Remedy},
};
use crate::{
    offsets::{mirror_records::Checkpoint, source_offsets::StoredRecord},
    policy::NameFilter,
};

/// What a flow needs to know of groups from the configuration.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Groups to tell of.
    pub include: NameFilter,
    /// Groups not to tell of, although included.
    pub exclude: NameFilter,
    /// Where checkpoints are published, on the target.
    pub topic: PublishedTopic,
    /// How often checkpoints are published.
    pub checkpoints_interval: Duration,
    /// How often positions are committed on the target, if they are.
    pub sync_interval: Option<Duration>,
}

impl GroupOptions {
    /// Whether the lists accept a group; no where a list cannot be decided.
    #[must_use]
    pub fn lists(&self, group: &str) -> bool {
        let matches = |list: &NameFilter| list.matches(group).unwrap_or(false);
        matches(&self.include) && !matches(&self.exclude)
    }
}

/// A group as its cluster lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub id: Arc<str>,
    /// What its members speak: `consumer`, or empty for one that only commits.
    pub protocol_type: String,
    /// Whether somebody uses it; `None` when the cluster does not tell.
    pub state: Option<GroupState>,
}

/// The groups of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupList {
    /// Those that were heard of.
    pub groups: Vec<ListedGroup>,
    /// Whether every broker was heard: a group that is not among them does not exist.
    pub is_complete: bool,
}

/// Whether a group may be written to from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// There is no such group.
    Absent,
    /// It has offsets and no members.
    Empty,
    /// It has members, or will have.
    InUse,
}

/// What a group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset that it reads next; negative when it has committed none.
    pub offset: i64,
    /// What it has noted beside that.
    pub metadata: String,
}

/// What an answer says of each group.
pub type PerGroup<T> = Vec<(Arc<str>, Result<T, Failure>)>;

/// Where a round is.
#[derive(Debug)]
enum Stage {
    Idle,
    /// The groups of the source are asked for.
    Listing,
    /// What they have committed is.
    Fetching,
    /// How the target has them is.
    Comparing(ByGroup),
    /// What they have committed there is.
    FetchingTarget(BTreeMap<Arc<str>, (GroupState, Vec<Checkpoint>)>),
    /// New positions are being committed: how many for each group.
    Committing(BTreeMap<Arc<str>, usize>),
}

/// Where groups stand, translated.
type ByGroup = BTreeMap<Arc<str>, Vec<Checkpoint>>;

/// What a flow knows of groups.
#[derive(Debug)]
pub(super) struct Groups {
    options: GroupOptions,
    stage: Stage,
    topic: Published,
    /// `None` until it has been read what was told before.
    told: Option<Told>,
    is_loading: bool,
    load_failures: Backoff,
    checkpoints_at: Instant,
    sync_at: Option<Instant>,
    /// News that is not published yet, newest of each place.
    news: BTreeMap<Place, Checkpoint>,
    news_at: Instant,
    publishing: BTreeMap<Place, Checkpoint>,
    /// When the round began in which the groups were asked for, and the one that brought the news.
    listed_at: Instant,
    news_listed_at: Instant,
    /// How long after that each checkpoint was on the target.
    latencies: BTreeMap<Place, Duration>,
    checkpoints_published: u64,
    offsets_committed: u64,
    /// When the next round begins at the earliest, after one that failed.
    attempts: Attempts,
    /// Groups that may not be looked at or written to, and have been told of.
    refused: BTreeSet<Arc<str>>,
}

impl Groups {
    pub(super) fn new(options: GroupOptions, now: Instant) -> Self {
        Self {
            stage: Stage::Idle,
            topic: Published::new(options.topic.clone(), now),
            told: None,
            is_loading: false,
            load_failures: Backoff::new(),
            checkpoints_at: now,
            sync_at: options.sync_interval.map(|_| now),
            news: BTreeMap::new(),
            news_at: now,
            publishing: BTreeMap::new(),
            listed_at: now,
            news_listed_at: now,
            latencies: BTreeMap::new(),
            checkpoints_published: 0,
            offsets_committed: 0,
            attempts: Attempts::new(),
            refused: BTreeSet::new(),
            options,
        }
    }

    /// The topic of checkpoints.
    pub(super) const fn topic(&self) -> &Arc<str> {
        self.topic.name()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.told.is_none() {
            let retry_at = self.load_failures.until().unwrap_or(self.checkpoints_at);
            return (!self.is_loading).then_some(retry_at);
        }
        let round_at = matches!(self.stage, Stage::Idle).then(|| self.round_at());
        [self.publish_at(), round_at].into_iter().flatten().min()
    }

    fn round_at(&self) -> Instant {
        let due = self
            .sync_at
            .map_or(self.checkpoints_at, |at| at.min(self.checkpoints_at));
        self.attempts.until().map_or(due, |until| until.max(due))
    }

    /// When the topic is created, or news is published: at once, or when what keeps it from that is
    /// over.
    fn publish_at(&self) -> Option<Instant> {
        self.topic.deadline(self.news_due())
    }

    /// When there is news to publish, if there is any.
    fn news_due(&self) -> Option<Instant> {
        (!self.news.is_empty()).then_some(self.news_at)
    }

    /// What has been told so far, and committed.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.checkpoints_published, self.offsets_committed)
    }

    /// How long each checkpoint took to get to the target, by its place.
    pub(super) fn latencies(&self) -> impl Iterator<Item = CheckpointStatus> {
        let latencies = self.latencies.iter();
        latencies.map(
            |((group, remote_topic, partition), latency)| CheckpointStatus {
                group: group.clone(),
                remote_topic: remote_topic.clone(),
                partition: *partition,
                latency: *latency,
            },
        )
    }

    /// Whether a group is told of: a consumer's, or one that somebody commits to by hand.
    fn is_wanted(&self, group: &ListedGroup) -> bool {
        let is_consumer = matches!(group.protocol_type.as_str(), "consumer" | "");
        is_consumer && self.options.lists(&group.id)
    }

    /// Ends a round; the next one comes in its time.
    fn end_round(&mut self) {
        self.stage = Stage::Idle;
        self.attempts.succeed();
    }

    /// Ends a round that failed; what is new to the operator.
    fn fail_round(&mut self, now: Instant, failure: Failure) -> Option<Failure> {
        self.stage = Stage::Idle;
        self.attempts.fail(now, failure)
    }
}

impl Flow {
    pub(super) fn groups_deadline(&self) -> Option<Instant> {
        let groups = self.groups.as_ref().filter(|_| self.drain.is_none());
        groups.and_then(Groups::deadline)
    }

    pub(super) fn schedule_groups(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.drain.is_some() {
            return;
        }
        let Some(groups) = &mut self.groups else {
            return;
        };
        if groups.deadline().is_none_or(|at| at > now) {
            return;
        }
        if groups.told.is_none() {
            groups.is_loading = true;
            let topic = Arc::clone(groups.topic.name());
            actions.push(Action::LoadCheckpoints { topic });
            return;
        }
        self.publish_checkpoints(now, actions);
        let Some(groups) = &mut self.groups else {
            return;
        };
        if matches!(groups.stage, Stage::Idle) && groups.round_at() <= now {
            groups.stage = Stage::Listing;
            groups.listed_at = now;
            actions.push(Action::AskGroups(Side::Source));
        }
    }

    fn publish_checkpoints(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(groups) = &mut self.groups else {
            return;
        };
        let (kind, side) = (PublishedKind::Checkpoints, Side::Target);
        match groups.topic.next(now, groups.news_due()) {
            None => {}
            Some(Step::Create(topic)) => {
                actions.push(Action::CreatePublished { kind, side, topic });
            }
            Some(Step::Write) => {
                groups.publishing = std::mem::take(&mut groups.news);
                let records = groups.publishing.values().filter_map(Checkpoint::encode);
                actions.push(Action::Publish {
                    kind,
                    side,
                    topic: Arc::clone(groups.topic.name()),
                    records: records.collect(),
                });
            }
        }
    }

    pub(super) fn checkpoints_created(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let news = self.groups.as_mut();
        let news = news.and_then(|groups| groups.topic.created(now, result));
        wait_for(Side::Target, "storing checkpoints", news, actions);
    }

    pub(super) fn checkpoints_published(
        &mut self,
        now: Instant,
        result: Result<(), Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(groups) = &mut self.groups else {
            return;
        };
        let published = std::mem::take(&mut groups.publishing);
        if result.is_err() {
            for (place, checkpoint) in published {
                groups.news.entry(place).or_insert(checkpoint);
            }
        } else {
            let latency = now.saturating_duration_since(groups.news_listed_at);
            groups.checkpoints_published += u64::try_from(published.len()).unwrap_or(u64::MAX);
            let places = published.into_keys().map(|place| (place, latency));
            groups.latencies.extend(places);
        }
        let news = groups.topic.written(now, result);
        wait_for(Side::Target, "storing checkpoints", news, actions);
    }

    pub(super) fn checkpoints_loaded(
        &mut self,
        now: Instant,
        result: Result<Vec<StoredRecord>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(groups) = &mut self.groups else {
            return;
        };
        groups.is_loading = false;
        let failure = match result {
            Ok(records) => {
                groups.told = Some(Told::read(&records));
                return;
            }
            Err(failure) => failure,
        };
        if failure.is_missing_topic() || failure.remedy() == Remedy::Halt {
            // Without the right to look, everything is news (`CheckpointStore.readCheckpoints`).
            groups.told = Some(Told::default());
        } else {
            groups.load_failures.fail(now, 0);
        }
        let is_first = groups.load_failures.attempt() == 2;
        let is_news = is_first || failure.remedy() == Remedy::Halt && !failure.is_missing_topic();
        let news = is_news.then_some(failure);
        wait_for(Side::Target, "its checkpoints", news, actions);
    }

    /// Takes the groups of a cluster: of the source to tell of them, of the target to see which of
    /// them may be written to.
    pub(super) fn groups_listed(
        &mut self,
        now: Instant,
        side: Side,
        result: Result<GroupList, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(groups) = &mut self.groups else {
            return;
        };
        let list = match result {
            Ok(list) => list,
            Err(failure) => {
                let news = groups.fail_round(now, failure);
                return wait_for(side, "its groups", news, actions);
            }
        };
        match (side, std::mem::replace(&mut groups.stage, Stage::Idle)) {
            (Side::Source, Stage::Listing) => {
                let wanted = list.groups.iter().filter(|group| groups.is_wanted(group));
                let wanted: Vec<Arc<str>> = wanted.map(|group| Arc::clone(&group.id)).collect();
                groups.stage = Stage::Fetching;
                ask_offsets(Side::Source, wanted, actions);
            }
            (Side::Target, Stage::Comparing(translated)) => {
                let found = writable(translated, &list);
                let ids = found.keys().map(Arc::clone).collect();
                groups.stage = Stage::FetchingTarget(found);
                ask_offsets(Side::Target, ids, actions);
            }
            (_, stage) => groups.stage = stage,
        }
    }

    /// Takes what groups have committed.
    pub(super) fn group_offsets(
        &mut self,
        now: Instant,
        side: Side,
        result: Result<PerGroup<Vec<CommittedOffset>>, Failure>,
        actions: &mut Vec<Action>,
    ) {
        let Some(groups) = &mut self.groups else {
            return;
        };
        let answers = match result {
            Ok(answers) => answers,
            Err(failure) => {
                let news = groups.fail_round(now, failure);
                return wait_for(side, "the offsets of its groups", news, actions);
            }
        };
        match (side, std::mem::replace(&mut groups.stage, Stage::Idle)) {
            (Side::Source, Stage::Fetching) => self.positions_of_groups(now, answers, actions),
            (Side::Target, Stage::FetchingTarget(wanted)) => {
                self.commit_for_groups(&wanted, answers, actions);
            }
            (_, stage) => groups.stage = stage,
        }
    }

    /// Translates where the groups stand, and tells what is new of it.
    fn positions_of_groups(
        &mut self,
        now: Instant,
        answers: PerGroup<Vec<CommittedOffset>>,
        actions: &mut Vec<Action>,
    ) {
        let mut translated: ByGroup = BTreeMap::new();
        for (group, answer) in answers {
            match answer {
                Ok(offsets) => {
                    let found = offsets.iter().filter_map(|at| self.checkpoint(&group, at));
                    let found: Vec<Checkpoint> = found.collect();
                    if !found.is_empty() {
                        translated.insert(group, found);
                    }
                }
                Err(failure) => self.refuse_group(Side::Source, group, failure, actions),
            }
        }
        let Some(groups) = &mut self.groups else {
            return;
        };
        if groups.checkpoints_at <= now {
            groups.checkpoints_at = now + groups.options.checkpoints_interval;
            groups.news_at = now;
            groups.news_listed_at = groups.listed_at;
            let told = groups.told.get_or_insert_default();
            for checkpoint in translated.values().flatten() {
                if told.is_news(checkpoint) {
                    told.insert(checkpoint);
                    groups.news.insert(place_of(checkpoint), checkpoint.clone());
                }
            }
        }
        let is_sync_due = groups.sync_at.is_some_and(|at| at <= now);
        if is_sync_due {
            groups.sync_at = groups.options.sync_interval.map(|interval| now + interval);
        }
        if !is_sync_due || translated.is_empty() {
            return groups.end_round();
        }
        groups.stage = Stage::Comparing(translated);
        actions.push(Action::AskGroups(Side::Target));
    }

    /// Where a group stands on the target; `None` where nothing can be said, or nothing is to be.
    fn checkpoint(&self, group: &Arc<str>, at: &CommittedOffset) -> Option<Checkpoint> {
        let source = TopicPartition {
            topic: Arc::clone(&at.topic),
            partition: at.partition,
        };
        let id = self.by_source.get(&source)?;
        if at.offset < 0 || !self.options.topics.lists(&at.topic) {
            return None;
        }
        let Translated::At(found) = self.translate(&source, at.offset) else {
            return None;
        };
        Some(Checkpoint {
            group: group.to_string(),
            topic: self.slot(*id)?.partition.remote_topic.to_string(),
            partition: at.partition,
            upstream_offset: at.offset,
            downstream_offset: found.target_offset,
            metadata: at.metadata.clone(),
        })
    }

    fn commit_for_groups(
        &mut self,
        wanted: &BTreeMap<Arc<str>, (GroupState, Vec<Checkpoint>)>,
        answers: PerGroup<Vec<CommittedOffset>>,
        actions: &mut Vec<Action>,
    ) {
        let mut commits = Vec::new();
        for (group, answer) in answers {
            match (answer, wanted.get(&group)) {
                (Ok(present), Some((state, checkpoints))) => {
                    let offsets = to_commit(*state, checkpoints, &present);
                    if !offsets.is_empty() {
                        commits.push((group, offsets));
                    }
                }
                (Ok(_), None) => {}
                // What is not known to be behind is not written.
                (Err(failure), _) => self.refuse_group(Side::Target, group, failure, actions),
            }
        }
        let Some(groups) = &mut self.groups else {
            return;
        };
        if commits.is_empty() {
            return groups.end_round();
        }
        let counts = commits.iter();
        let counts = counts.map(|(group, offsets)| (Arc::clone(group), offsets.len()));
        groups.stage = Stage::Committing(counts.collect());
        actions.push(Action::CommitGroupOffsets(commits));
    }

    pub(super) fn group_offsets_committed(
        &mut self,
        results: PerGroup<()>,
        actions: &mut Vec<Action>,
    ) {
        let mut committed = Vec::with_capacity(results.len());
        for (group, result) in results {
            match result {
                Ok(()) => committed.push(group),
                Err(failure) => self.refuse_group(Side::Target, group, failure, actions),
            }
        }
        let Some(groups) = &mut self.groups else {
            return;
        };
        if let Stage::Committing(counts) = &groups.stage {
            let counts = committed.iter().filter_map(|group| counts.get(group));
            let count: usize = counts.sum();
            groups.offsets_committed += u64::try_from(count).unwrap_or(u64::MAX);
        }
        groups.end_round();
    }

    /// Leaves a group out of this round, and tells once when only somebody else can mend it. A group
    /// that somebody has begun to use meanwhile is no matter to tell.
    fn refuse_group(
        &mut self,
        side: Side,
        group: Arc<str>,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let Some(groups) = &mut self.groups else {
            return;
        };
        let is_news = failure.remedy() == Remedy::Halt
            && !failure.is_about_members()
            && groups.refused.len() < limits::REFUSED_GROUPS_TOLD
            && groups.refused.insert(Arc::clone(&group));
        if is_news {
            actions.push(Action::Report(Notice::GroupRefused {
                side,
                group,
                failure,
            }));
        }
    }
}

/// The groups that may be written to, as their cluster has just listed them.
fn writable(
    translated: ByGroup,
    list: &GroupList,
) -> BTreeMap<Arc<str>, (GroupState, Vec<Checkpoint>)> {
    let states: BTreeMap<&str, Option<GroupState>> =
        list.groups.iter().map(|it| (&*it.id, it.state)).collect();
    let found = translated.into_iter().filter_map(|(group, checkpoints)| {
        let state = match states.get(&*group) {
            Some(state) => (*state)?,
            None if list.is_complete => GroupState::Absent,
            None => return None,
        };
        (state != GroupState::InUse).then_some((group, (state, checkpoints)))
    });
    found.collect()
}

fn ask_offsets(side: Side, groups: Vec<Arc<str>>, actions: &mut Vec<Action>) {
    actions.push(Action::AskGroupOffsets { side, groups });
}
