//! One file per group of APIs: from a request to its answer.
//!
//! This file takes a request apart, hands it to the file of its API and frames the answer.
//! Source: Kafka's `KafkaApis` and `ControllerApis`; a rule that comes from elsewhere says so.

mod acls;
mod api_versions;
mod auto_create;
mod configs;
mod delete_records;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod groups;
mod groups_admin;
mod groups_coordinator;
mod groups_offsets;
mod groups_txn;
mod list_config_resources;
mod list_offsets;
mod log_dirs;
mod metadata;
mod offset_for_leader_epoch;
mod partitions;
mod produce;
mod producers;
mod quotas;
mod sasl;
mod scram;
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
    acls::{Operation, Resource},
    client::{Client, Sasl},
    groups::Answer,
    parked::{Parked, Sent, Waiting},
    quotas::Direction,
};

pub(super) use produce::Appended;

/// A request with its header read.
#[derive(Clone, Debug)]
struct Call<'a> {
    now: Timestamp,
    broker_id: i32,
    client: &'a Client,
    header: RequestHeader<'a>,
    /// What follows the fixed part of the header.
    rest: Reader<'a>,
    body: &'a Bytes,
}

impl<'a> Call<'a> {
    /// A request that has waited.
    fn of(now: Timestamp, sent: &'a Sent) -> Self {
        let call = Self::read(now, sent.broker_id, &sent.client, &sent.body);
        call.expect("a request waits only after its header has been read")
    }

    /// What is kept of the request while it waits.
    fn sent(&self) -> Sent {
        Sent {
            broker_id: self.broker_id,
            client: self.client.clone(),
            body: self.body.clone(),
        }
    }

    fn read(
        now: Timestamp,
        broker_id: i32,
        client: &'a Client,
        body: &'a Bytes,
    ) -> Result<Self, Malformed> {
        let mut rest = Reader::new(body);
        let header = RequestHeader::read(&mut rest)?;
        Ok(Self {
            now,
            broker_id,
            client,
            header,
            rest,
            body,
        })
    }

    const fn version(&self) -> i16 {
        self.header.api_version
    }

    /// Whether the client may do something; see [`Cluster::authorize`].
    ///
    /// # Errors
    ///
    /// The error of the resource's type.
    fn check(
        &self,
        cluster: &Cluster,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), ErrorCode> {
        cluster.authorize(self.client, operation, resource)
    }

    /// Counts bytes against the client's quota; answers for how many milliseconds it must wait.
    fn throttle_ms(&self, cluster: &mut Cluster, direction: Direction, bytes: f64) -> i32 {
        let ms = cluster
            .quotas
            .record(self.now, direction, self.who(), bytes);
        let fixed = cluster.throttle_ms.get(&self.broker_id);
        ms.max(fixed.copied().unwrap_or_default())
    }

    /// The user and the client id, as quotas name them.
    fn who(&self) -> (&'a str, &'a str) {
        let principal = self.client.principal.as_str();
        let user = principal.strip_prefix("User:").unwrap_or(principal);
        (user, self.header.client_id.unwrap_or_default())
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
    client: &mut Client,
    body: &Bytes,
) -> Outcome {
    if client.sasl == Sasl::ChosenBare {
        return sasl::authenticate_bare(&cluster.options.users, client, body);
    }
    let before = client.clone();
    match Call::read(now, broker_id, &before, body) {
        Ok(call) => dispatch(cluster, &call, client).unwrap_or_else(Outcome::Close),
        Err(fault) => Outcome::Close(fault.to_string()),
    }
}

/// An answer after which a client must wait, if at all.
fn throttled(outcome: Outcome, now: Timestamp, throttle_ms: i32) -> Outcome {
    match outcome {
        Outcome::Reply(pieces) if throttle_ms > 0 => Outcome::Throttled {
            pieces,
            until: now.plus_ms(i64::from(throttle_ms)),
        },
        outcome => outcome,
    }
}

/// The client changes when it says who it is.
#[expect(clippy::too_many_lines, reason = "a table: one line for each API")]
fn dispatch(
    cluster: &mut Cluster,
    call: &Call<'_>,
    client: &mut Client,
) -> Result<Outcome, String> {
    let profile = cluster.options.profile;
    let key = ApiKey::from_number(call.header.api_key);
    let is_served = |key: &ApiKey| {
        *key == ApiKey::ApiVersions
            || profile
                .versions(*key)
                .is_some_and(|it| it.contains(&call.version()))
    };
    let key = key.filter(is_served);
    let key = key.ok_or_else(|| unsupported(&call.header))?;
    sasl::check(&cluster.options.users, call.client, key)?;
    Ok(match key {
        ApiKey::Produce => produce::handle(cluster, call, &call.decode()?),
        ApiKey::Fetch => fetch::handle(cluster, call, &call.decode()?),
        ApiKey::ListOffsets => list_offsets::handle(cluster, call, &call.decode()?),
        ApiKey::Metadata => metadata::handle(cluster, call, &call.decode()?),
        ApiKey::OffsetCommit => groups_offsets::commit(cluster, call, &call.decode()?),
        ApiKey::OffsetFetch => groups_offsets::fetch(cluster, call, &call.decode()?),
        ApiKey::FindCoordinator => groups_coordinator::find(cluster, call, &call.decode()?),
        ApiKey::JoinGroup => groups::join(cluster, call, &call.decode()?),
        ApiKey::Heartbeat => groups::heartbeat(cluster, call, &call.decode()?),
        ApiKey::LeaveGroup => groups::leave(cluster, call, &call.decode()?),
        ApiKey::SyncGroup => groups::sync(cluster, call, &call.decode()?),
        ApiKey::DescribeGroups => groups_admin::describe(cluster, call, &call.decode()?),
        ApiKey::ListGroups => groups_admin::list(cluster, call, &call.decode()?),
        ApiKey::TxnOffsetCommit => groups_txn::commit(cluster, call, &call.decode()?),
        ApiKey::DeleteGroups => groups_admin::delete(cluster, call, &call.decode()?),
        ApiKey::OffsetDelete => groups_offsets::delete(cluster, call, &call.decode()?),
        ApiKey::ConsumerGroupDescribe => {
            groups_admin::describe_consumer_groups(cluster, call, &call.decode()?)
        }
        ApiKey::ApiVersions => api_versions::handle(&cluster.options, call)?,
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
        ApiKey::SaslHandshake => {
            let (outcome, state) = sasl::handshake(&cluster.options.users, call, &call.decode()?);
            client.sasl = state;
            outcome
        }
        ApiKey::SaslAuthenticate => {
            let (outcome, principal) =
                sasl::authenticate(&cluster.options.users, call, &call.decode()?);
            client.identify(principal);
            outcome
        }
        ApiKey::DescribeAcls => acls::describe(cluster, call, &call.decode()?),
        ApiKey::CreateAcls => acls::create(cluster, call, &call.decode()?),
        ApiKey::DeleteAcls => acls::delete(cluster, call, &call.decode()?),
        ApiKey::AlterConfigs => configs::replace(cluster, call, &call.decode()?),
        ApiKey::DescribeLogDirs => log_dirs::handle(cluster, call, &call.decode()?),
        ApiKey::DescribeClientQuotas => quotas::describe(cluster, call, &call.decode()?),
        ApiKey::AlterClientQuotas => quotas::alter(cluster, call, &call.decode()?),
        ApiKey::DescribeUserScramCredentials => scram::describe(cluster, call, &call.decode()?),
        ApiKey::AlterUserScramCredentials => scram::alter(cluster, call, &call.decode()?),
        ApiKey::ListConfigResources => {
            list_config_resources::handle(cluster, call, &call.decode()?)
        }
        ApiKey::DescribeTopicPartitions => {
            describe_topic_partitions::handle(cluster, call, &call.decode()?)
        }
    })
}

/// Tries a parked request again; `None` if it goes on waiting, which an expired one never does.
pub(super) fn retry(
    cluster: &mut Cluster,
    now: Timestamp,
    parked: &mut Parked,
    is_expired: bool,
) -> Option<Outcome> {
    let call = Call::of(now, &parked.sent);
    let decoded = "a request is parked only after it has been decoded";
    match &mut parked.waiting {
        Waiting::Fetch(context) => {
            let request = call.decode().expect(decoded);
            fetch::attempt(cluster, &call, &request, *context, is_expired).ok()
        }
        Waiting::Acks {
            topics,
            throttle_time_ms,
        } => {
            let request = call.decode().expect(decoded);
            let outcome = produce::acknowledge(
                cluster,
                &call,
                &request,
                (topics, *throttle_time_ms),
                is_expired,
            );
            outcome.map(|outcome| throttled(outcome, now, *throttle_time_ms))
        }
    }
}

/// Answers a JoinGroup or SyncGroup request that has waited.
pub(super) fn answer_member(now: Timestamp, sent: &Sent, answer: &Answer) -> Outcome {
    groups::reply(&Call::of(now, sent), answer)
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
