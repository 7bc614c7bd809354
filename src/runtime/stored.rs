//! What is stored about the flows of a configuration, and changing it: `kmirror offsets`.
//!
//! Looks at both clusters beside whatever copies, and writes only what [`reset`] is asked to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::wire::Uuid;

use super::{
    admin,
    client::Client,
    exchange::{Named, names::Name, topics},
    groups, now_ms,
    topic_reader::{self, OwnedRecord},
    topic_writer::{self, NO_TIMESTAMP},
};
use crate::{
    cluster::{Cluster, Topics},
    config::{Delivery, FlowConfig},
    flow::{
        ClusterView, Failure, LogRange, PartitionId, PerPartition, Side, StateLogRecord,
        groups::CommittedOffset,
        limits,
        starts::{Begin, Search, StartQuestion},
    },
    offsets::{
        ledger::{Ledger, Stored},
        reset::{By, Move, position_record, state_records},
        source_offsets::StoredRecord,
        state::{Entry, Place, decode, topic_name},
    },
    policy::{Decision, StartAt},
};

/// Where one partition of a flow stands.
#[derive(Clone, Debug)]
pub struct PartitionFacts {
    /// The source partition.
    pub place: Place,
    /// The id of its topic; zero when the source has none.
    pub source_topic_id: Uuid,
    /// The topic on the target.
    pub remote_topic: String,
    /// The source's log; `None` while nobody leads it.
    pub source: Option<LogRange>,
    /// The remote partition's log; `None` when it is missing or nobody leads it.
    pub remote: Option<LogRange>,
    /// What the state topic says.
    pub stored: Stored,
    /// The next offset by MirrorMaker 2's topic.
    pub position: Option<i64>,
}

impl PartitionFacts {
    /// The next offset to copy, as far as it is stored for the flow's delivery; the truth is never
    /// below. Where positions are proven, an anchor may be older than MirrorMaker 2's position, which
    /// is stored every second; where they are not, only that one counts.
    #[must_use]
    pub fn next_offset(&self, delivery: Delivery) -> Option<i64> {
        if delivery != Delivery::ExactlyOnce {
            return self.position;
        }
        match self.stored.pending_reset() {
            Some(reset) => Some(reset.source_offset),
            None => self.stored.next_offset().max(self.position),
        }
    }
}

/// How long owners must have been silent before a position is set: as long as another process waits
/// before it takes over.
#[must_use]
pub fn silence(flow: &FlowConfig) -> Duration {
    flow.lease * limits::SILENT_LEASES
}

/// Where the partitions of a flow stand.
#[derive(Clone, Debug)]
pub struct FlowFacts {
    /// The wanted partitions, by topic and number.
    pub partitions: Vec<PartitionFacts>,
    /// Up to where the state topic has been read, by partition; `None` when there is none.
    state_read: Option<BTreeMap<i32, i64>>,
    /// How many partitions the offsets topic has; `None` when there is none.
    offsets_partitions: Option<i32>,
    ledger: Ledger,
}

/// Reads what is stored about a flow. Writes nothing.
///
/// # Errors
///
/// The first [`Failure`]; nothing is retried.
pub async fn gather(
    flow: &FlowConfig,
    source: &Cluster,
    target: &Cluster,
) -> Result<FlowFacts, Failure> {
    let (there, here) = tokio::try_join!(source.refresh(Topics::All), target.refresh(Topics::All))?;
    let (there, here) = (topics::cluster_view(&there), topics::cluster_view(&here));
    let state_topic = topic_name(&flow.source);
    let (mut state, mut state_read) = (Vec::new(), None);
    if here.topics.contains_key(state_topic.as_str()) {
        let from = BTreeMap::new();
        let read = topic_reader::read_from(target, &state_topic, &from, Duration::ZERO).await?;
        state = read.records.into_iter().map(keyed).collect();
        state_read = Some(read.next_offsets);
    }
    let offsets_topic = here.topics.get(flow.offsets_topic.name.as_str());
    let mut positions = Vec::new();
    if offsets_topic.is_some() {
        let read = topic_reader::read_all(target, &flow.offsets_topic.name).await?;
        positions = read.into_iter().filter_map(OwnedRecord::stored).collect();
    }
    let ledger = Ledger::of(&flow.source, &state, &positions);
    if let Some(version) = ledger.newer {
        return Err(Failure::Unsupported(format!(
            "topic {state_topic} holds records of format {version}, written by a newer kmirror: \
             use that one"
        )));
    }
    let mut partitions = wanted(flow, &there, &ledger);
    let (sources, remotes) = tokio::try_join!(
        ranges(source, &there, &partitions, |it| &it.place.topic),
        ranges(target, &here, &partitions, |it| &it.remote_topic),
    )?;
    for (index, facts) in partitions.iter_mut().enumerate() {
        facts.source = sources.get(&index).copied();
        facts.remote = remotes.get(&index).copied();
    }
    Ok(FlowFacts {
        partitions,
        state_read,
        offsets_partitions: offsets_topic
            .map(|topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)),
        ledger,
    })
}

fn keyed(record: StateLogRecord) -> StoredRecord {
    StoredRecord {
        key: record.key,
        value: record.value,
        ordered_by: None,
    }
}

/// The partitions that a flow copies; a topic that cannot be decided about is left out, as `check`
/// says.
fn wanted(flow: &FlowConfig, source: &ClusterView, ledger: &Ledger) -> Vec<PartitionFacts> {
    let mut partitions = Vec::new();
    for (topic, view) in &source.topics {
        let decision = flow.topic_filter.wanted(&flow.policy, &flow.target, topic);
        if decision != Ok(Decision::Wanted) {
            continue;
        }
        for number in view.partitions.numbers() {
            let place = Place {
                topic: Arc::clone(topic),
                partition: number,
            };
            partitions.push(PartitionFacts {
                stored: ledger.stored(&place),
                position: ledger.positions.get(&(topic.to_string(), number)).copied(),
                place,
                source_topic_id: view.topic_id,
                remote_topic: flow.policy.remote_topic(&flow.source, topic),
                source: None,
                remote: None,
            });
        }
    }
    partitions
}

/// The logs of partitions that somebody leads, by the partition's place in the list.
async fn ranges(
    cluster: &Cluster,
    view: &ClusterView,
    partitions: &[PartitionFacts],
    topic_of: impl Fn(&PartitionFacts) -> &str,
) -> Result<BTreeMap<usize, LogRange>, Failure> {
    let mut found = BTreeMap::new();
    for (node, asked) in by_leader(view, partitions, topic_of, |_| -1) {
        // The readable end is what counts for people, on either side.
        let ranges = admin::log_ranges(cluster, Side::Source, node, &asked).await;
        found.extend(by_index(ranges)?);
    }
    Ok(found)
}

fn by_leader<T>(
    view: &ClusterView,
    partitions: &[PartitionFacts],
    topic_of: impl Fn(&PartitionFacts) -> &str,
    ask: impl Fn(usize) -> T,
) -> BTreeMap<i32, Vec<Named<T>>> {
    let mut by_leader: BTreeMap<i32, Vec<Named<T>>> = BTreeMap::new();
    for (index, facts) in partitions.iter().enumerate() {
        let Some((topic, view)) = view.topics.get_key_value(topic_of(facts)) else {
            continue;
        };
        let partition = facts.place.partition;
        let leader = view.partitions.get(partition).and_then(|it| it.leader);
        let (Some(node), Ok(id)) = (leader, u32::try_from(index)) else {
            continue;
        };
        by_leader.entry(node).or_default().push(Named {
            id: PartitionId(id),
            name: Name {
                topic: Arc::clone(topic),
                topic_id: view.topic_id,
                partition,
            },
            ask: ask(index),
        });
    }
    by_leader
}

fn by_index<T>(answers: PerPartition<T>) -> Result<Vec<(usize, T)>, Failure> {
    let each = answers?.into_iter();
    each.map(|(id, answer)| Ok((usize::try_from(id.0).unwrap_or(usize::MAX), answer?)))
        .collect()
}

/// What becomes of one partition by a reset.
#[derive(Clone, Debug)]
pub enum Planned {
    /// Copying goes on elsewhere.
    Move {
        /// From where to where.
        change: Move,
        /// The offset that was asked for, where the source has deleted it.
        deleted_from: Option<i64>,
    },
    /// The group has committed nothing for it: it stays as it is.
    NoCommit(Place),
    /// It cannot be done, for this reason.
    Impossible(Place, String),
}

/// Works out where copying of partitions would go on. Writes nothing.
///
/// # Errors
///
/// The first [`Failure`]; nothing is retried.
pub async fn plan(
    flow: &FlowConfig,
    source: &Cluster,
    partitions: &[PartitionFacts],
    to: &StartAt,
) -> Result<Vec<Planned>, Failure> {
    let answers = match StartQuestion::of(to) {
        None => None,
        Some(StartQuestion::Time(millis)) => Some(times(source, partitions, millis).await?),
        Some(StartQuestion::Committed(group)) => {
            let committed = groups::committed(source, &group).await?;
            Some(committed_by(partitions, &committed))
        }
    };
    let each = partitions.iter().enumerate();
    Ok(each
        .map(|(index, facts)| {
            let answer = answers.as_ref().map(|found| found.get(&index).copied());
            plan_one(flow.delivery, facts, to, answer)
        })
        .collect())
}

fn plan_one(
    delivery: Delivery,
    facts: &PartitionFacts,
    to: &StartAt,
    answer: Option<Option<i64>>,
) -> Planned {
    let place = facts.place.clone();
    let Some(range) = facts.source else {
        let problem = String::from("nobody leads it on the source; wait until somebody does");
        return Planned::Impossible(place, problem);
    };
    if matches!((to, answer), (StartAt::Group { .. }, Some(None))) {
        return Planned::NoCommit(place);
    }
    let mut search = Search::new(to.clone(), range);
    if let Some(answer) = answer {
        search.answered(answer);
    }
    match search.begin() {
        Begin::At(start) => Planned::Move {
            change: Move {
                from: facts.next_offset(delivery),
                source_topic_id: facts.source_topic_id,
                place,
                to: start.source_offset,
            },
            deleted_from: start.deleted_from,
        },
        Begin::Beyond(_) | Begin::Ask => {
            let end = range.end_offset;
            Planned::Impossible(
                place,
                format!("{to} is beyond the source's log, which ends at {end}"),
            )
        }
    }
}

async fn times(
    source: &Cluster,
    partitions: &[PartitionFacts],
    millis: i64,
) -> Result<BTreeMap<usize, i64>, Failure> {
    let view = topics::cluster_view(&source.metadata());
    let mut found = BTreeMap::new();
    for (node, asked) in by_leader(&view, partitions, |it| &it.place.topic, |_| millis) {
        let offsets = by_index(admin::offsets_for_times(source, node, &asked).await)?;
        let offsets = offsets.into_iter();
        found.extend(offsets.filter_map(|(index, offset)| Some((index, offset?))));
    }
    Ok(found)
}

fn committed_by(
    partitions: &[PartitionFacts],
    committed: &[CommittedOffset],
) -> BTreeMap<usize, i64> {
    let of = |place: &Place| {
        let mut all = committed.iter().filter(|it| it.offset >= 0);
        all.find(|it| it.topic == place.topic && it.partition == place.partition)
    };
    let each = partitions.iter().enumerate();
    each.filter_map(|(index, facts)| Some((index, of(&facts.place)?.offset)))
        .collect()
}

/// Why nothing was reset, or not all.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResetError {
    /// A cluster does not do what it was asked for.
    #[error("{0}")]
    Failure(Failure),
    /// A process copies the flow.
    #[error(
        "kmirror is copying this flow: its owner has written to {topic} while this was watched. Stop it \
         (SIGTERM), on every machine, and try again"
    )]
    Running {
        /// The state topic.
        topic: String,
    },
    /// There is nowhere to write it.
    #[error("topic {topic} does not exist on {target}: start kmirror once, or MirrorMaker 2")]
    NoTopic {
        /// Which.
        topic: String,
        /// The alias of the target.
        target: String,
    },
    /// A process began to copy while it was written.
    #[error(
        "a kmirror (instance {instance}) was started at the same moment: it stands down, and goes on \
         at the new positions after three leases, or when it is restarted; see `kmirror offsets list`"
    )]
    Started {
        /// Its id.
        instance: Uuid,
    },
}

impl From<Failure> for ResetError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Writes where copying goes on, once the owners of the partitions have been silent for three leases:
/// a process that owns anything says so twice in each.
///
/// The state topic comes first. A machine that dies in between leaves a reset that holds in
/// exactly-once delivery, and MirrorMaker 2's position as it was.
///
/// # Errors
///
/// [`ResetError`]; after [`ResetError::Running`] and [`ResetError::NoTopic`] nothing has been
/// written.
pub async fn reset(
    flow: &FlowConfig,
    target: &Cluster,
    facts: &FlowFacts,
    moves: &[Move],
    timeout: Duration,
) -> Result<(), ResetError> {
    let missing = |topic: String| ResetError::NoTopic {
        topic,
        target: flow.target.clone(),
    };
    let proves = flow.delivery == Delivery::ExactlyOnce;
    let state_topic = topic_name(&flow.source);
    if facts.state_read.is_none() && proves {
        return Err(missing(state_topic));
    }
    let offsets_topic = &flow.offsets_topic.name;
    let Some(offsets_partitions) = facts.offsets_partitions else {
        return Err(missing(offsets_topic.clone()));
    };
    if facts.state_read.is_some() {
        if is_owned(target, &state_topic, facts, moves, silence(flow)).await? {
            return Err(ResetError::Running { topic: state_topic });
        }
        let by = By {
            instance: Uuid(fastrand::u128(..).to_be_bytes()),
            now_ms: now_ms(),
        };
        write_state(target, &state_topic, (facts, moves), (by, proves), timeout).await?;
    }
    let positions: Vec<StoredRecord> = moves
        .iter()
        .map(|change| position_record(&flow.source, change))
        .collect();
    let topic = Arc::from(offsets_topic.as_str());
    let now_ms = now_ms();
    topic_writer::append(
        target,
        &topic,
        offsets_partitions,
        &positions,
        now_ms,
        timeout,
    )
    .await?;
    Ok(())
}

async fn write_state(
    target: &Cluster,
    topic: &str,
    (facts, moves): (&FlowFacts, &[Move]),
    (by, proves): (By, bool),
    timeout: Duration,
) -> Result<(), ResetError> {
    let records: Vec<StoredRecord> = moves
        .iter()
        .flat_map(|change| state_records(change, &facts.ledger.stored(&change.place), by, proves))
        .collect();
    if records.is_empty() {
        return Ok(());
    }
    let read = facts.state_read.as_ref();
    let count = i32::try_from(read.map_or(0, BTreeMap::len)).unwrap_or(i32::MAX);
    let name = Arc::from(topic);
    topic_writer::append(target, &name, count, &records, NO_TIMESTAMP, timeout).await?;
    if !proves {
        return Ok(());
    }
    let from = BTreeMap::new();
    let read = topic_reader::read_from(target, topic, &from, Duration::ZERO).await?;
    let state: Vec<StoredRecord> = read.records.into_iter().map(keyed).collect();
    let ledger = Ledger::of("", &state, &[]);
    let rival = moves
        .iter()
        .find_map(|change| ledger.rival(&change.place, by.instance));
    match rival {
        Some(owner) => Err(ResetError::Started {
            instance: owner.instance,
        }),
        None => Ok(()),
    }
}

/// Whether the owner of one of these partitions writes to the state topic behind what has been read
/// of it, within a time. Processes that copy other topics between the same clusters write there too.
async fn is_owned(
    target: &Cluster,
    topic: &str,
    facts: &FlowFacts,
    moves: &[Move],
    watch: Duration,
) -> Result<bool, Failure> {
    let places: BTreeSet<&Place> = moves.iter().map(|change| &change.place).collect();
    let owners = places.iter().filter_map(|place| {
        let stored = facts.ledger.by_place.get(*place)?;
        Some(stored.owner.as_ref()?.instance)
    });
    let owners: BTreeSet<Uuid> = owners.collect();
    if owners.is_empty() {
        return Ok(false);
    }
    let is_sign = |record: &StateLogRecord| match decode(&record.key, record.value.as_deref()) {
        Ok((key, _)) if places.contains(&key.place) => true,
        Ok((_, Some(Entry::Owner(owner)))) => owners.contains(&owner.instance),
        Ok(_) | Err(_) => false,
    };
    let mut from = facts.state_read.clone().unwrap_or_default();
    let until = Instant::now() + watch;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let found = topic_reader::read_from(target, topic, &from, left).await?;
        if found.records.iter().any(is_sign) {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
        from.extend(found.next_offsets);
    }
}
