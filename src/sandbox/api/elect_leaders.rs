//! ElectLeaders: elects leaders of partitions.
//!
//! Every broker answers as the controller: Kafka's brokers forward to it.
//! Source: `ReplicationControlManager.electLeaders`.

use kmirror_protocol::{
    ErrorCode,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders::{PartitionResult, ReplicaElectionResult},
    },
};

use super::{ApiError, Call, Cluster, Outcome, code_and_message};
use crate::sandbox::elections::Election;

/// What became of the partitions of one topic.
type TopicResults = (String, Vec<(i32, Result<(), ApiError>)>);

pub(super) fn handle(
    cluster: &mut Cluster,
    call: &Call<'_>,
    request: &ElectLeadersRequest<'_>,
) -> Outcome {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => return refused(call, ErrorCode::INVALID_REQUEST),
    };
    let results = match &request.topic_partitions {
        None => elect_all(cluster, election),
        Some(topics) => {
            let topics = topics.iter().map(|topic| {
                let partitions = topic.partitions.iter();
                let results = partitions.map(|index| {
                    let elected = elect(cluster, topic.topic, index, election);
                    (index, elected)
                });
                (topic.topic.to_owned(), results.collect())
            });
            topics.collect()
        }
    };
    let results = results.iter();
    let results = results.map(|(topic, partitions)| ReplicaElectionResult {
        topic,
        partition_result: partitions.iter().map(partition_result).collect(),
    });
    call.reply::<ElectLeadersRequest<'_>>(&ElectLeadersResponse {
        replica_election_results: results.collect(),
        ..Default::default()
    })
}

fn refused(call: &Call<'_>, error_code: ErrorCode) -> Outcome {
    call.reply::<ElectLeadersRequest<'_>>(&ElectLeadersResponse {
        error_code,
        ..Default::default()
    })
}

fn partition_result<'a>(
    (partition_id, elected): &'a (i32, Result<(), ApiError>),
) -> PartitionResult<'a> {
    let (error_code, error_message) = code_and_message(elected);
    PartitionResult {
        partition_id: *partition_id,
        error_code,
        error_message,
    }
}

/// Elections of all partitions; those that need none are not told of.
fn elect_all(cluster: &mut Cluster, election: Election) -> Vec<TopicResults> {
    let topics = cluster.topics.values();
    let topics = topics.map(|topic| {
        let indexes = topic.partitions.iter().map(|partition| partition.index);
        (topic.name.clone(), indexes.collect())
    });
    let topics: Vec<(String, Vec<i32>)> = topics.collect();
    let elections = topics.into_iter().map(|(topic, indexes)| {
        let results = indexes.into_iter();
        let results = results.map(|index| (index, elect(cluster, &topic, index, election)));
        let results = results.filter(|(_, elected)| {
            let code = elected.as_ref().err().map(|error| error.code);
            code != Some(ErrorCode::ELECTION_NOT_NEEDED)
        });
        let results = results.collect();
        (topic, results)
    });
    elections.collect()
}

fn elect(
    cluster: &mut Cluster,
    topic: &str,
    index: i32,
    election: Election,
) -> Result<(), ApiError> {
    let elected = cluster.change(topic, index, |partition, rules| {
        partition.hold_election(election, rules)
    });
    elected.map_err(|code| ApiError::new(code, format!("{topic}-{index}: {code}")))
}
