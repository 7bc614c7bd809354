//! What goes into a flow and what comes out of it.

use std::{sync::Arc, time::Duration};

use super::{
    ClusterView, Failure, FetchedRecords, LogRange, NewTopic, Outgoing, PartitionId,
    PartitionNotice, RequestId, Side, TopicConfig, TopicPartition,
};
use crate::offsets::source_offsets::StoredRecord;

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
    LoadPositions(Arc<str>),
    /// Write records to the offsets topic, each by its key's partition.
    StorePositions {
        /// The offsets topic.
        topic: Arc<str>,
        /// How many partitions it has.
        partition_count: i32,
        /// What to write.
        records: Vec<StoredRecord>,
    },
    /// Ask a source broker where logs start and end.
    AskLogRanges {
        /// Ties the answer to this.
        request: RequestId,
        /// The broker.
        node: i32,
        /// The partitions, all led by it.
        partitions: Vec<PartitionId>,
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
    },
    /// Tell the operator.
    Report(Notice),
    /// Everything is stored; the flow is over.
    Stopped,
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
    /// Record bytes of this partition.
    pub bytes_max: usize,
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
    /// A cluster answers again.
    Reached(Side),
    /// Positions were read; copying goes on from them.
    PositionsLoaded {
        /// How many partitions have one.
        partitions: usize,
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
    /// Both aliases name one cluster: nothing is copied.
    SameCluster {
        /// The id that both clusters gave.
        cluster_id: String,
    },
}
