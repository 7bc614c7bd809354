//! One file per group of APIs: from a request to its answer.
//!
//! This file takes a request apart, hands it to the file of its API and frames the answer.
//! Source: Kafka's `KafkaApis` and `ControllerApis`; a rule that comes from elsewhere says so.

mod api_versions;
mod configs;
mod delete_records;
mod elect_leaders;
mod fetch;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod partitions;
mod produce;
mod producers;
mod topics;
mod transactional_produce;
mod transactions;
mod transactions_described;

use std::collections::BTreeSet;

use bytes::Bytes;
use kmirror_protocol::{
    ApiKey, ErrorCode, Malformed, Request, frame,
    header::RequestHeader,
    messages::leaders::NodeEndpoint,
    wire::{Decode, Reader},
};

use super::{
    Cluster, Outcome, Timestamp,
    parked::{Parked, Waiting},
};

pub(super) use produce::Appended;

/// The APIs that are served, in all versions of the message tables.
const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::DescribeConfigs,
    ApiKey::CreatePartitions,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
];

/// A request with its header read.
#[derive(Clone, Debug)]
struct Call<'a> {
    now: Timestamp,
    broker_id: i32,
    header: RequestHeader<'a>,
    /// What follows the fixed part of the header.
    rest: Reader<'a>,
    body: &'a Bytes,
}

impl<'a> Call<'a> {
    fn read(now: Timestamp, broker_id: i32, body: &'a Bytes) -> Result<Self, Malformed> {
        let mut rest = Reader::new(body);
        let header = RequestHeader::read(&mut rest)?;
        Ok(Self {
            now,
            broker_id,
            header,
            rest,
            body,
        })
    }

    const fn version(&self) -> i16 {
        self.header.api_version
    }

    /// The message; bytes after it are passed over, as librdkafka sends them.
    ///
    /// # Errors
    ///
    /// Why the connection must be closed.
    fn decode<R: Request + Decode<'a>>(&self) -> Result<R, String> {
        if !R::VERSIONS.contains(&self.version()) {
            return Err(unsupported(&self.header));
        }
        let version = R::version(self.version());
        let mut reader = self.rest.clone();
        let read = |reader: &mut Reader<'a>| {
            if version.flexible {
                reader.skip_tagged_fields()?;
            }
            R::read(reader, version)
        };
        read(&mut reader).map_err(|fault| format!("{} v{}: {fault}", R::KEY, version.number))
    }

    /// The answer to a request of type `R`.
    fn reply<R: Request>(&self, response: &R::Response<'_>) -> Outcome {
        let id = self.header.correlation_id;
        match frame::encode_response::<R>(response, self.version(), id) {
            Ok(pieces) => Outcome::Reply(pieces),
            Err(fault) => Outcome::Close(format!("the answer to {}: {fault}", R::KEY)),
        }
    }
}

fn unsupported(header: &RequestHeader<'_>) -> String {
    let RequestHeader {
        api_key,
        api_version,
        ..
    } = header;
    let name = ApiKey::from_number(*api_key).map_or("unknown API", ApiKey::name);
    format!("{name} (API key {api_key}) version {api_version} is not served")
}

/// An error of one item in a request, with words where Kafka has some.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ApiError {
    code: ErrorCode,
    message: Option<String>,
}

impl ApiError {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

/// The code and the words of a result.
fn code_and_message<T>(result: &Result<T, ApiError>) -> (ErrorCode, Option<&str>) {
    match result {
        Ok(_) => (ErrorCode::NONE, None),
        Err(error) => (error.code, error.message.as_deref()),
    }
}

/// See [`Cluster::handle`].
pub(super) fn handle(
    cluster: &mut Cluster,
    now: Timestamp,
    broker_id: i32,
    body: &Bytes,
) -> Outcome {
    match Call::read(now, broker_id, body) {
        Ok(call) => dispatch(cluster, &call).unwrap_or_else(Outcome::Close),
        Err(fault) => Outcome::Close(fault.to_string()),
    }
}

fn dispatch(cluster: &mut Cluster, call: &Call<'_>) -> Result<Outcome, String> {
    let key = ApiKey::from_number(call.header.api_key);
    Ok(match key.ok_or_else(|| unsupported(&call.header))? {
        ApiKey::Produce => produce::handle(cluster, call, &call.decode()?),
        ApiKey::Fetch => fetch::handle(cluster, call, &call.decode()?),
        ApiKey::ListOffsets => list_offsets::handle(cluster, call, &call.decode()?),
        ApiKey::Metadata => metadata::handle(cluster, call, &call.decode()?),
        ApiKey::ApiVersions => api_versions::handle(call)?,
        ApiKey::CreateTopics => topics::create(cluster, call, &call.decode()?),
        ApiKey::DeleteTopics => topics::delete(cluster, call, &call.decode()?),
        ApiKey::DeleteRecords => delete_records::handle(cluster, call, &call.decode()?),
        ApiKey::InitProducerId => transactions::init_producer_id(cluster, call, &call.decode()?),
        ApiKey::OffsetForLeaderEpoch => {
            offset_for_leader_epoch::handle(cluster, call, &call.decode()?)
        }
        ApiKey::AddPartitionsToTxn => transactions::add_partitions(cluster, call, &call.decode()?),
        ApiKey::AddOffsetsToTxn => transactions::add_offsets(cluster, call, &call.decode()?),
        ApiKey::EndTxn => transactions::end(cluster, call, &call.decode()?),
        ApiKey::DescribeTransactions => {
            transactions_described::describe(cluster, call, &call.decode()?)
        }
        ApiKey::ListTransactions => transactions_described::list(cluster, call, &call.decode()?),
        ApiKey::DescribeConfigs => configs::describe(cluster, call, &call.decode()?),
        ApiKey::CreatePartitions => partitions::create(cluster, call, &call.decode()?),
        ApiKey::ElectLeaders => elect_leaders::handle(cluster, call, &call.decode()?),
        ApiKey::IncrementalAlterConfigs => configs::alter(cluster, call, &call.decode()?),
        ApiKey::DescribeCluster => metadata::describe_cluster(cluster, call, &call.decode()?),
        ApiKey::DescribeProducers => producers::describe(cluster, call, &call.decode()?),
        _ => return Err(unsupported(&call.header)),
    })
}

/// Tries a parked request again; `None` if it goes on waiting, which an expired one never does.
pub(super) fn retry(
    cluster: &Cluster,
    now: Timestamp,
    parked: &mut Parked,
    is_expired: bool,
) -> Option<Outcome> {
    let call = Call::read(now, parked.broker_id, &parked.body);
    let call = call.expect("a request is parked only after its header has been read");
    let decoded = "a request is parked only after it has been decoded";
    match &mut parked.waiting {
        Waiting::Fetch => {
            let request = call.decode().expect(decoded);
            fetch::attempt(cluster, &call, &request, is_expired).ok()
        }
        Waiting::Acks(topics) => {
            let request = call.decode().expect(decoded);
            produce::acknowledge(cluster, &call, &request, topics, is_expired)
        }
    }
}

/// Where brokers listen, each once and by ascending id; those that do not exist are left out.
fn node_endpoints(
    cluster: &Cluster,
    broker_ids: impl Iterator<Item = i32>,
) -> Vec<NodeEndpoint<'_>> {
    let ids: BTreeSet<i32> = broker_ids.collect();
    let brokers = ids.into_iter().filter_map(|id| cluster.broker(id));
    brokers
        .map(|broker| NodeEndpoint {
            node_id: broker.id,
            host: &broker.host,
            port: i32::from(broker.port),
            rack: None,
        })
        .collect()
}
