//! What goes into a flow and what comes out of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    AbortCause, ClusterView, Failure, FetchedRecords, InTransaction, LogRange, NewTopic, Outgoing,
    PartitionId, PartitionNotice, PositionsInTransaction, RequestId, Side, TopicConfig,
    TopicPartition, TransactionAnswer, TransactionQuestion, Weakness,
};
use super::{
    acls::AclChange,
    groups::{CommittedOffset, GroupList, PerGroup},
    topic_configs::{ConfigChange, ConfigChanges},
};
use crate::{
    offsets::source_offsets::StoredRecord,
    policy::{Acl, acls::LeftOut},
};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A time that [`Flow::deadline`](super::Flow::deadline) named has come.
    DeadlineReached,
    /// A cluster's topics and leaders.
    Metadata {
        /// Which cluster.
        side: Side,
        /// What it answered.
        result: Result<ClusterView, Failure>,
    },
    /// The configuration of source topics that are about to be created on the target.
    Configs(Result<Vec<TopicConfig>, Failure>),
    /// The outcome of a creation, topic by topic.
    TopicsCreated(Vec<(Arc<str>, Result<(), Failure>)>),
    /// The outcome of adding partitions, topic by topic.
    PartitionsAdded(Vec<(Arc<str>, Result<(), Failure>)>),
    /// Everything in the offsets topic, oldest first.
    PositionsLoaded(Result<Vec<StoredRecord>, Failure>),
    /// The outcome of storing positions.
    PositionsStored(Result<(), Failure>),
    /// What was read of the state topic.
    StateRead(Result<StateRead, Failure>),
    /// The offset of the last record that a write appended, by partition of the state topic.
    StateWritten(Result<BTreeMap<i32, i64>, Failure>),
    /// Which producers the target's leaders remember.
    Producers {
        /// The request that asked.
        request: RequestId,
        /// Per partition, or one failure for all.
        result: PerPartition<Vec<ActiveProducer>>,
    },
    /// Up to where logs agree with a leader epoch.
    EpochEnds {
        /// The request that asked.
        request: RequestId,
        /// Per partition, or one failure for all.
        result: PerPartition<EpochEnd>,
    },
    /// The first offset whose timestamp is not below the one asked for; `None` when there is none.
    OffsetsForTimes {
        /// The request that asked.
        request: RequestId,
        /// Per partition, or one failure for all.
        result: PerPartition<Option<i64>>,
    },
    /// What a group has committed on the source, for partitions that begin there.
    Committed {
        /// The group.
        group: Arc<str>,
        /// All that it has committed.
        result: Result<Vec<CommittedOffset>, Failure>,
    },
    /// Records that are compared, not copied.
    WindowFetched {
        /// The request that asked.
        request: RequestId,
        /// Per partition, or one failure for all.
        result: PerPartition<FetchedRecords>,
    },
    /// The configuration of topics, wherever they are and whatever for.
    TopicsInspected {
        /// Which cluster.
        side: Side,
        /// Per topic that exists, or one failure for all.
        result: Result<PerTopicConfig, Failure>,
    },
    /// The outcome of creating a topic for others to read.
    PublishedCreated {
        /// For what.
        kind: PublishedKind,
        /// The outcome.
        result: Result<(), Failure>,
    },
    /// The outcome of writing to a topic for others to read.
    Published {
        /// Of what.
        kind: PublishedKind,
        /// The outcome.
        result: Result<(), Failure>,
    },
    /// The configuration of topics that are copied, or of their remote topics.
    TopicConfigs {
        /// Which cluster.
        side: Side,
        /// Per topic that exists, or one failure for all.
        result: Result<PerTopicConfig, Failure>,
    },
    /// The outcome of changing properties of remote topics, topic by topic.
    TopicConfigsAltered(Vec<(Arc<str>, Result<(), Failure>)>),
    /// The ACLs of a cluster.
    Acls {
        /// Which cluster.
        side: Side,
        /// All of them, or why they are not to be had.
        result: Result<Vec<Acl>, Failure>,
    },
    /// The outcome of changing ACLs, one by one, in the order of the request.
    AclsChanged(Vec<Result<(), Failure>>),
    /// Everything in the checkpoints topic, oldest first.
    CheckpointsLoaded(Result<Vec<StoredRecord>, Failure>),
    /// The groups of a cluster.
    Groups {
        /// Which cluster.
        side: Side,
        /// What its brokers answered.
        result: Result<GroupList, Failure>,
    },
    /// What groups have committed.
    GroupOffsets {
        /// On which cluster.
        side: Side,
        /// Per group, or one failure for all.
        result: Result<PerGroup<Vec<CommittedOffset>>, Failure>,
    },
    /// The outcome of committing for groups on the target.
    GroupOffsetsCommitted(PerGroup<()>),
    /// What a transaction coordinator answered.
    TransactionAnswered {
        /// The request that asked.
        request: RequestId,
        /// The answer, of the kind that was asked for.
        result: Result<TransactionAnswer, Failure>,
    },
    /// The machine slept, or the process was stopped, for so long: what it knows may be old.
    Paused(Duration),
    /// Where logs start and end.
    LogRanges {
        /// The request that asked.
        request: RequestId,
        /// Per partition, or one failure for all.
        result: PerPartition<LogRange>,
    },
    /// A producer id and epoch for one partition.
    ProducerId {
        /// For whom.
        partition: PartitionId,
        /// The id and its epoch.
        result: Result<(i64, i16), Failure>,
    },
    /// Record batches.
    Fetched {
        /// The request that asked.
        request: RequestId,
        /// Per partition, or one failure for all.
        result: PerPartition<FetchedRecords>,
    },
    /// Acknowledgements: the base offset that each batch got.
    Produced {
        /// The request that carried the batches.
        request: RequestId,
        /// Per partition, or one failure for all.
        result: PerPartition<i64>,
    },
    /// The process is asked to end.
    Stop,
}

/// What an answer says of each partition, or why there is no answer.
pub type PerPartition<T> = Result<Vec<(PartitionId, Result<T, Failure>)>, Failure>;

/// What an answer says of the configuration of each topic that exists.
pub type PerTopicConfig = Vec<(Arc<str>, Result<TopicConfig, Failure>)>;

/// Something that `runtime` must do.
#[derive(Debug)]
pub enum Action {
    /// Ask a cluster for all its topics and leaders.
    AskMetadata(Side),
    /// Ask the source for the configuration of topics.
    AskConfigs(Vec<Arc<str>>),
    /// Create topics on the target.
    CreateTopics(Vec<NewTopic>),
    /// Raise partition counts on the target, each to the given number.
    AddPartitions(Vec<(Arc<str>, i32)>),
    /// Read the whole offsets topic.
    LoadPositions {
        /// Its name.
        topic: Arc<str>,
        /// Whether it is a failure that an open transaction hides what it ends with.
        is_whole: bool,
    },
    /// Write records to the offsets topic, each by its key's partition.
    StorePositions {
        /// The offsets topic.
        topic: Arc<str>,
        /// How many partitions it has.
        partition_count: i32,
        /// What to write.
        records: Vec<StoredRecord>,
        /// The transaction that they are part of, if they are.
        within: Option<PositionsInTransaction>,
    },
    /// Create a topic for others to read, unless it is there.
    CreatePublished {
        /// For what.
        kind: PublishedKind,
        /// On which cluster.
        side: Side,
        /// The topic.
        topic: NewTopic,
    },
    /// Append records to the one partition of a topic for others to read.
    Publish {
        /// What they are.
        kind: PublishedKind,
        /// On which cluster.
        side: Side,
        /// The topic.
        topic: Arc<str>,
        /// What to write.
        records: Vec<StoredRecord>,
    },
    /// Ask for the configuration of topics that are copied, or of their remote topics.
    AskTopicConfigs {
        /// Which cluster.
        side: Side,
        /// Their names there.
        topics: Vec<Arc<str>>,
    },
    /// Change properties of remote topics.
    AlterTopicConfigs(ConfigChanges),
    /// Ask for the ACLs on topics.
    AskAcls {
        /// Which cluster.
        side: Side,
        /// Whether those on groups are wanted too.
        with_groups: bool,
    },
    /// Change ACLs of the target.
    ChangeAcls {
        /// What becomes of them.
        change: AclChange,
        /// Which.
        acls: Vec<Acl>,
    },
    /// Read the whole checkpoints topic.
    LoadCheckpoints {
        /// Its name.
        topic: Arc<str>,
    },
    /// Ask all brokers of a cluster for their groups.
    AskGroups(Side),
    /// Ask for all that groups have committed.
    AskGroupOffsets {
        /// On which cluster.
        side: Side,
        /// The groups.
        groups: Vec<Arc<str>>,
    },
    /// Commit for groups on the target, from outside.
    CommitGroupOffsets(Vec<(Arc<str>, Vec<CommittedOffset>)>),
    /// Ask about the flow's transactional id.
    AskTransaction {
        /// Ties the answer to this.
        request: RequestId,
        /// The id.
        transactional_id: Arc<str>,
        /// What to ask, and whom.
        question: TransactionQuestion,
    },
    /// Read the state topic from these offsets, by partition, to its end; partitions that are not
    /// named from their start. When there is nothing, wait a while for something.
    ReadState {
        /// The state topic.
        topic: Arc<str>,
        /// Where reading starts.
        from: BTreeMap<i32, i64>,
        /// How long to wait when there is nothing.
        wait: Duration,
    },
    /// Append records to the state topic, each to the partition of its key, in this order.
    WriteState {
        /// The state topic.
        topic: Arc<str>,
        /// How many partitions it has.
        partition_count: i32,
        /// What to write.
        records: Vec<StoredRecord>,
    },
    /// Ask a target broker which producers it remembers.
    AskProducers {
        /// Ties the answer to this.
        request: RequestId,
        /// The broker.
        node: i32,
        /// The partitions, all led by it.
        partitions: Vec<PartitionId>,
    },
    /// Ask a broker up to where its logs agree with a leader epoch (KIP-320).
    AskEpochEnds {
        /// Ties the answer to this.
        request: RequestId,
        /// Which cluster.
        side: Side,
        /// The broker.
        node: i32,
        /// The partitions, all led by it.
        partitions: Vec<EpochQuestion>,
    },
    /// Ask for what a group has committed on the source.
    AskCommitted {
        /// The group.
        group: Arc<str>,
    },
    /// Ask a broker for the first offset whose timestamp is not below one.
    AskOffsetsForTimes {
        /// Ties the answer to this.
        request: RequestId,
        /// Which cluster.
        side: Side,
        /// The broker.
        node: i32,
        /// Partitions, all led by it, with milliseconds since 1970.
        partitions: Vec<(PartitionId, i64)>,
    },
    /// Fetch records to compare them.
    FetchWindow {
        /// Ties the answer to this.
        request: RequestId,
        /// Which cluster.
        side: Side,
        /// The broker.
        node: i32,
        /// Whether nothing is wanted from the first undecided transaction on, and to be told which
        /// transactions were aborted; the source is read as copying does.
        read_committed: bool,
        /// How long the broker may hold the request while there is nothing to return.
        wait: Duration,
        /// Record bytes in the whole answer.
        bytes_max: usize,
        /// What to fetch.
        partitions: Vec<FetchPartition>,
    },
    /// Ask for the configuration of topics that exist already.
    InspectTopics {
        /// Which cluster.
        side: Side,
        /// Their names there.
        topics: Vec<Arc<str>>,
    },
    /// Ask a broker where logs start and end.
    AskLogRanges {
        /// Ties the answer to this.
        request: RequestId,
        /// Which cluster: the source's readable end is wanted (the high watermark), and of the
        /// target all that its leader has written (the log end, by the debugging replica's id).
        side: Side,
        /// The broker.
        node: i32,
        /// Partitions, all led by it, with the leader epoch that the flow believes in; -1 for any.
        partitions: Vec<(PartitionId, i32)>,
    },
    /// Ask the target for a producer id.
    AskProducerId(PartitionId),
    /// Fetch from a source broker.
    Fetch {
        /// Ties the answer to this.
        request: RequestId,
        /// The broker.
        node: i32,
        /// Which of the connections for fetching.
        lane: u8,
        /// How long the broker may hold the request while there is nothing to return.
        wait: Duration,
        /// Record bytes in the whole answer.
        bytes_max: usize,
        /// What to fetch.
        partitions: Vec<FetchPartition>,
    },
    /// Produce to a target broker.
    Produce {
        /// Ties the answer to this.
        request: RequestId,
        /// The broker.
        node: i32,
        /// One batch per partition, no partition twice.
        batches: Vec<(PartitionId, Outgoing)>,
        /// The transaction that they are part of, if they are.
        within: Option<InTransaction>,
    },
    /// Tell the operator.
    Report(Notice),
    /// Everything is stored; the flow is over.
    Stopped,
}

impl Action {
    /// What the flow hears when a request gets no answer; `None` when it expects none.
    #[must_use]
    pub fn failed(&self, failure: &Failure) -> Option<Event> {
        let lost = || failure.clone();
        let each = |topics: &mut dyn Iterator<Item = &Arc<str>>| {
            topics
                .map(|topic| (Arc::clone(topic), Err(lost())))
                .collect::<Vec<_>>()
        };
        Some(match self {
            Self::AskMetadata(side) => Event::Metadata {
                side: *side,
                result: Err(lost()),
            },
            Self::AskConfigs(_) => Event::Configs(Err(lost())),
            Self::InspectTopics { side, .. } => Event::TopicsInspected {
                side: *side,
                result: Err(lost()),
            },
            Self::CreateTopics(topics) => {
                Event::TopicsCreated(each(&mut topics.iter().map(|topic| &topic.name)))
            }
            Self::AddPartitions(topics) => {
                Event::PartitionsAdded(each(&mut topics.iter().map(|(topic, _)| topic)))
            }
            Self::LoadPositions { .. } => Event::PositionsLoaded(Err(lost())),
            Self::StorePositions { .. } => Event::PositionsStored(Err(lost())),
            Self::CreatePublished { kind, .. } => Event::PublishedCreated {
                kind: *kind,
                result: Err(lost()),
            },
            Self::Publish { kind, .. } => Event::Published {
                kind: *kind,
                result: Err(lost()),
            },
            Self::AskTopicConfigs { side, .. } => Event::TopicConfigs {
                side: *side,
                result: Err(lost()),
            },
            Self::AlterTopicConfigs(changes) => {
                Event::TopicConfigsAltered(each(&mut changes.iter().map(|(topic, _)| topic)))
            }
            Self::LoadCheckpoints { .. } => Event::CheckpointsLoaded(Err(lost())),
            Self::AskGroups(side) => Event::Groups {
                side: *side,
                result: Err(lost()),
            },
            Self::AskGroupOffsets { side, .. } => Event::GroupOffsets {
                side: *side,
                result: Err(lost()),
            },
            Self::CommitGroupOffsets(commits) => Event::GroupOffsetsCommitted(
                commits
                    .iter()
                    .map(|(group, _)| (Arc::clone(group), Err(lost())))
                    .collect(),
            ),
            Self::ReadState { .. } => Event::StateRead(Err(lost())),
            Self::WriteState { .. } => Event::StateWritten(Err(lost())),
            Self::AskProducerId(partition) => Event::ProducerId {
                partition: *partition,
                result: Err(lost()),
            },
            Self::Report(_) | Self::Stopped => return None,
            other => return other.request_failed(failure),
        })
    }

    fn request_failed(&self, failure: &Failure) -> Option<Event> {
        Some(match self {
            Self::AskCommitted { group } => Event::Committed {
                group: Arc::clone(group),
                result: Err(failure.clone()),
            },
            Self::AskAcls { side, .. } => Event::Acls {
                side: *side,
                result: Err(failure.clone()),
            },
            Self::ChangeAcls { acls, .. } => {
                Event::AclsChanged(acls.iter().map(|_| Err(failure.clone())).collect())
            }
            Self::AskLogRanges { request, .. } => Event::LogRanges {
                request: *request,
                result: Err(failure.clone()),
            },
            Self::AskProducers { request, .. } => Event::Producers {
                request: *request,
                result: Err(failure.clone()),
            },
            Self::AskEpochEnds { request, .. } => Event::EpochEnds {
                request: *request,
                result: Err(failure.clone()),
            },
            Self::AskOffsetsForTimes { request, .. } => Event::OffsetsForTimes {
                request: *request,
                result: Err(failure.clone()),
            },
            Self::FetchWindow { request, .. } => Event::WindowFetched {
                request: *request,
                result: Err(failure.clone()),
            },
            Self::Fetch { request, .. } => Event::Fetched {
                request: *request,
                result: Err(failure.clone()),
            },
            Self::Produce { request, .. } => Event::Produced {
                request: *request,
                result: Err(failure.clone()),
            },
            Self::AskTransaction { request, .. } => Event::TransactionAnswered {
                request: *request,
                result: Err(failure.clone()),
            },
            _ => return None,
        })
    }
}

/// What is published for others to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedKind {
    /// Which offset of the source is which on the target.
    OffsetSyncs,
    /// Where groups go on, on the target.
    Checkpoints,
}

/// One partition in a Fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which one.
    pub id: PartitionId,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// The leader epoch that the flow believes in; -1 when unknown.
    pub leader_epoch: i32,
    /// The leader epoch of the batch before `fetch_offset`; -1 when unknown. The broker compares
    /// it with its own log (KIP-595), and says where they part.
    pub last_fetched_epoch: i32,
    /// Record bytes of this partition.
    pub bytes_max: usize,
}

/// What was read of the state topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateRead {
    /// In log order, partition by partition.
    pub records: Vec<StateLogRecord>,
    /// Where each partition goes on: all below it has been read.
    pub next_offsets: BTreeMap<i32, i64>,
}

/// A record of the state topic and its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLogRecord {
    /// The partition of the state topic.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None` deletes the key.
    pub value: Option<Vec<u8>>,
}

/// A producer that a leader remembers (KIP-664), as of its log end, committed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence number of its last record; -1 when the epoch has none.
    pub last_sequence: i32,
    /// Where its open transaction starts; -1 when there is none.
    pub transaction_start_offset: i64,
}

/// Asks up to where a log agrees with a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochQuestion {
    /// Which partition.
    pub id: PartitionId,
    /// The leader epoch that the flow believes in; -1 when unknown.
    pub current_epoch: i32,
    /// The epoch in question.
    pub epoch: i32,
}

/// Up to where a log agrees with a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not above the one asked for; -1 when there is none.
    pub epoch: i32,
    /// The first offset after it; -1 when there is none.
    pub end_offset: i64,
}

/// Something an operator should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something about one partition.
    Partition {
        /// Which one.
        source: TopicPartition,
        /// Its remote topic.
        remote_topic: Arc<str>,
        /// What.
        notice: PartitionNotice,
    },
    /// A cluster cannot be reached or does not answer; it is asked again.
    Waiting {
        /// Which cluster.
        side: Side,
        /// What it was asked for.
        purpose: &'static str,
        /// What came back.
        failure: Failure,
    },
    /// A remote topic was given properties of its source.
    TopicConfigChanged {
        /// The remote topic.
        remote_topic: Arc<str>,
        /// What is different now.
        changes: Vec<ConfigChange>,
    },
    /// A remote topic does not take properties of its source.
    TopicConfigRefused {
        /// The remote topic.
        remote_topic: Arc<str>,
        /// What the target answers.
        failure: Failure,
    },
    /// The target does not know a property that is set on the source; it is left out.
    PropertyUnknown {
        /// The property.
        name: String,
    },
    /// A cluster has no authorizer, so that ACLs mean nothing.
    NoAuthorizer(Side),
    /// A cluster does not show its ACLs, or does not let them be changed.
    AclsDenied {
        /// Which cluster.
        side: Side,
        /// What it answers.
        failure: Failure,
    },
    /// ACLs of the target were changed.
    AclsChanged {
        /// What became of them.
        change: AclChange,
        /// Which, as they are on the target.
        acls: Vec<Acl>,
    },
    /// The target does not take ACLs, or does not let go of them.
    AclsRefused {
        /// What was to become of them.
        change: AclChange,
        /// Which.
        acls: Vec<Acl>,
        /// What it answers about the first.
        failure: Failure,
    },
    /// ACLs of the source hold for what is copied and are not copied.
    AclsLeftOut(LeftOut),
    /// What a group has committed may not be seen, or not be committed on the target.
    GroupRefused {
        /// On which cluster.
        side: Side,
        /// The group.
        group: Arc<str>,
        /// What its coordinator answers.
        failure: Failure,
    },
    /// A cluster answers again.
    Reached(Side),
    /// A broker answers requests for records again.
    BrokerReached {
        /// Of which cluster.
        side: Side,
        /// Its id.
        node: i32,
    },
    /// Positions were read; copying goes on from them.
    PositionsLoaded {
        /// How many partitions have one.
        partitions: usize,
    },
    /// A transaction was given up: everything goes on at the committed positions.
    TransactionAborted {
        /// Why.
        cause: AbortCause,
    },
    /// The target does not let the flow write transactions now; it is asked again.
    TransactionsWait {
        /// The flow's transactional id.
        transactional_id: Arc<str>,
        /// What came back.
        failure: Failure,
    },
    /// A remote topic was created.
    TopicCreated {
        /// Its name on the target.
        remote_topic: Arc<str>,
        /// Its partitions.
        partition_count: i32,
    },
    /// A topic could not be created on the target.
    TopicNotCreated {
        /// Its name on the target.
        remote_topic: Arc<str>,
        /// Why not.
        failure: Failure,
    },
    /// A remote topic grew.
    PartitionsAdded {
        /// Its name on the target.
        remote_topic: Arc<str>,
    },
    /// A remote topic has fewer partitions than its source and could not grow.
    TooFewPartitions {
        /// Its name on the target.
        remote_topic: Arc<str>,
        /// Why not.
        failure: Failure,
    },
    /// A topic is copied from now on.
    TopicStarted {
        /// Its name on the source.
        topic: Arc<str>,
        /// Its name on the target.
        remote_topic: Arc<str>,
        /// How many of its partitions are new.
        partition_count: usize,
    },
    /// A listed topic is not copied, for a reason that may surprise.
    TopicSkipped {
        /// Its name on the source.
        topic: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The guarantee has been weaker than the one asked for, for a while.
    GuaranteeWeakened {
        /// Why.
        weakness: Weakness,
        /// For how many partitions, so far.
        weaker: usize,
        /// Of how many.
        partitions: usize,
    },
    /// No partition has a weaker guarantee for this reason any more.
    GuaranteeRestored {
        /// The reason that has gone.
        weakness: Weakness,
    },
    /// The state topic holds records that kmirror did not write; they are passed over.
    ForeignState,
    /// The state topic holds records of a newer kmirror: nothing is written before that one runs.
    NewerState {
        /// Their format version.
        version: u64,
    },
    /// The state topic would forget: nothing is copied before that is mended.
    UnfitStateTopic {
        /// Its name.
        topic: Arc<str>,
        /// Its `cleanup.policy`.
        policy: String,
    },
    /// The state topic has fewer replicas than the target has brokers for.
    FewReplicas {
        /// Its name.
        topic: Arc<str>,
        /// The least that one of its partitions has.
        replicas: usize,
        /// The brokers of the target.
        brokers: usize,
    },
    /// Both aliases name one cluster: nothing is copied.
    SameCluster {
        /// The id that both clusters gave.
        cluster_id: String,
    },
}

/// Tells that a cluster is waited for, if there is anything new to tell.
pub(super) fn wait_for(
    side: Side,
    purpose: &'static str,
    news: Option<Failure>,
    actions: &mut Vec<Action>,
) {
    if let Some(failure) = news {
        actions.push(Action::Report(Notice::Waiting {
            side,
            purpose,
            failure,
        }));
    }
}
