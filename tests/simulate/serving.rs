//! The brokers' end of connections: requests are served one after another, some are answered
//! wrongly, some late, some never.

use bytes::Bytes;
use kmirror::{
    flow::Side,
    sandbox::{Client, Outcome},
};
use kmirror_protocol::{
    ApiKey, ErrorCode, frame,
    header::RequestHeader,
    messages::{
        FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse,
        ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse,
        fetch::{FetchResponsePartition, FetchResponseTopic},
        list_offsets::{ListOffsetsResponsePartition, ListOffsetsResponseTopic},
        produce::{ProduceResponsePartition, ProduceResponseTopic},
    },
    records::{LogEntry, batches},
    wire::{Decode, Reader},
};

use super::{
    clusters::joined,
    network::{ConnectionId, Request},
    plan::{InjectedApi, MS},
    world::{Step, World, trace},
};

impl World {
    /// Serves what has reached a broker on a connection.
    pub(super) fn serve(&mut self, id: ConnectionId) {
        loop {
            let Some(connection) = self.network.connections.get_mut(&id) else {
                return;
            };
            if connection.parked.is_some() {
                return;
            }
            let (side, node) = (connection.side, connection.node);
            let Some(request) = connection.queue.front() else {
                if !connection.is_open {
                    self.network.sweep();
                }
                return;
            };
            if request.arrives_at > self.now {
                return;
            }
            let until = self.stalled.get(&(side, node)).copied().unwrap_or(0);
            if until > self.now {
                self.at(until, Step::Arrive(id));
                return;
            }
            let Some(request) = connection.queue.pop_front() else {
                return;
            };
            self.serve_one(id, (side, node), request);
        }
    }

    fn serve_one(&mut self, id: ConnectionId, (side, node): (Side, i32), request: Request) {
        let is_heard = |world: &Self| {
            let connection = world.network.connections.get(&id);
            connection.is_some_and(|connection| connection.is_open)
        };
        if !is_heard(self) {
            self.served_late = Some(self.now);
            trace!(
                self,
                "{side} broker {node} serves a request of one who is gone"
            );
        }
        let injected = self.injected(side, &request.body);
        if let Some((answer, false)) = injected {
            self.answer(id, request.id, answer);
            return;
        }
        let now = self.now;
        let cluster = self.side(side);
        let time = cluster.time(now);
        let mut client = Client::default();
        let outcome = cluster
            .cluster
            .handle_from(time, node, &mut client, &request.body);
        match (outcome, injected) {
            (Outcome::Parked { ticket, .. }, Some((answer, _))) => {
                self.side(side).cluster.forget(ticket);
                self.answer(id, request.id, answer);
            }
            (Outcome::Reply(_) | Outcome::Throttled { .. }, Some((answer, _))) => {
                self.answer(id, request.id, answer);
            }
            (Outcome::Reply(pieces) | Outcome::Throttled { pieces, .. }, None) => {
                self.answer(id, request.id, joined(&pieces));
            }
            (Outcome::Parked { ticket, .. }, None) if is_heard(self) => {
                if let Some(connection) = self.network.connections.get_mut(&id) {
                    connection.parked = Some((ticket, request));
                }
            }
            (Outcome::Parked { ticket, .. }, None) => self.side(side).cluster.forget(ticket),
            (Outcome::NoReply, _) => {}
            (Outcome::Close(why), _) => {
                if self.side(side).cluster.is_running(node) {
                    let what = format!("{side} broker {node} closes a connection: {why}");
                    self.checks.violation(self.now, &what);
                }
                self.close(id, 0, (self.now, 1), "the broker closed the connection");
            }
        }
        self.poll_cluster(side);
    }

    /// Sends an answer back.
    fn answer(&mut self, id: ConnectionId, request: u64, answer: Bytes) {
        let at = self.now + self.latency();
        let at = self.network.answer(id, at);
        self.at(at, Step::Answer(id, request, answer));
    }

    /// Answers what has been held back and need no longer be.
    pub(super) fn poll_clusters(&mut self) {
        self.poll_cluster(Side::Source);
        self.poll_cluster(Side::Target);
    }

    fn poll_cluster(&mut self, side: Side) {
        let now = self.now;
        let cluster = self.side(side);
        let time = cluster.time(now);
        for (ticket, outcome) in cluster.cluster.poll(time) {
            let Some(id) = self.network.parked(side, ticket) else {
                continue;
            };
            let connection = self.network.connections.get_mut(&id);
            let parked = connection.and_then(|connection| connection.parked.take());
            if let (
                Some((_, request)),
                Outcome::Reply(pieces) | Outcome::Throttled { pieces, .. },
            ) = (parked, outcome)
            {
                self.answer(id, request.id, joined(&pieces));
            }
            // The next request of the connection has its turn.
            self.at(now + MS / 10, Step::Arrive(id));
        }
    }

    /// The wrong answer to a request, if it gets one, and whether it is served all the same.
    fn injected(&mut self, side: Side, body: &Bytes) -> Option<(Bytes, bool)> {
        if self.injections.is_empty() && self.revoked_until <= self.now {
            return None;
        }
        let mut reader = Reader::new(body);
        let header = RequestHeader::read(&mut reader).ok()?;
        if side == Side::Target
            && self.revoked_until > self.now
            && let Some(pieces) = unauthorized(reader.clone(), &header)
        {
            trace!(self, "{side}: sequence numbers are refused");
            return Some((joined(&pieces), false));
        }
        let api = match ApiKey::from_number(header.api_key)? {
            ApiKey::Produce => InjectedApi::Produce,
            ApiKey::Fetch => InjectedApi::Fetch,
            ApiKey::ListOffsets => InjectedApi::ListOffsets,
            _ => return None,
        };
        let found = self
            .injections
            .values()
            .copied()
            .find(|it| it.side == side && it.api == api)?;
        if self.rng.u32(0..found.one_in) > 0 {
            return None;
        }
        let version = header.api_version;
        let pieces = match api {
            InjectedApi::Produce => refused_produce(&mut reader, version, found.code),
            InjectedApi::Fetch => refused_fetch(&mut reader, version, found.code),
            InjectedApi::ListOffsets => refused_list_offsets(&mut reader, version, found.code),
        };
        trace!(self, "{side}: {api:?} is answered {}", found.code);
        Some((joined(&pieces?), found.is_served))
    }
}

fn request<'a, R>(reader: &mut Reader<'a>, version: i16) -> Option<R>
where
    R: kmirror_protocol::Request + Decode<'a>,
{
    let version = R::version(version);
    if version.flexible {
        reader.skip_tagged_fields().ok()?;
    }
    R::read(reader, version).ok()
}

const CORRELATION_ID: i32 = 7;

/// What brokers before 2.8 answer to those without IdempotentWrite on the cluster (KIP-679).
fn unauthorized(mut reader: Reader<'_>, header: &RequestHeader<'_>) -> Option<Vec<Bytes>> {
    let (version, code) = (header.api_version, ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    match ApiKey::from_number(header.api_key)? {
        ApiKey::InitProducerId => {
            let response = InitProducerIdResponse {
                error_code: code,
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdResponse::default()
            };
            frame::encode_response::<InitProducerIdRequest<'_>>(&response, version, CORRELATION_ID)
                .ok()
        }
        ApiKey::Produce => {
            let asked: ProduceRequest<'_> = request(&mut reader.clone(), version)?;
            let partitions = asked.topic_data.iter().flat_map(|it| it.partition_data);
            let mut blobs = partitions.filter_map(|it| it.records);
            let is_sequenced = blobs.any(|blob| {
                let mut entries = batches(blob.as_slice());
                entries.any(|entry| {
                    matches!(entry, Ok(LogEntry::Batch(batch)) if batch.header.producer_id >= 0)
                })
            });
            is_sequenced.then(|| refused_produce(&mut reader, version, code))?
        }
        _ => None,
    }
}

fn refused_produce(reader: &mut Reader<'_>, version: i16, code: ErrorCode) -> Option<Vec<Bytes>> {
    let asked: ProduceRequest<'_> = request(reader, version)?;
    let topics = asked.topic_data.iter().map(|topic| ProduceResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|partition| ProduceResponsePartition {
                index: partition.index,
                error_code: code,
                base_offset: -1,
                ..ProduceResponsePartition::default()
            })
            .collect(),
    });
    let response = ProduceResponse {
        responses: topics.collect(),
        ..ProduceResponse::default()
    };
    frame::encode_response::<ProduceRequest<'_>>(&response, version, CORRELATION_ID).ok()
}

fn refused_fetch(reader: &mut Reader<'_>, version: i16, code: ErrorCode) -> Option<Vec<Bytes>> {
    let asked: FetchRequest<'_> = request(reader, version)?;
    let topics = asked.topics.iter().map(|topic| FetchResponseTopic {
        topic: topic.topic,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| FetchResponsePartition {
                partition_index: partition.partition,
                error_code: code,
                high_watermark: -1,
                ..FetchResponsePartition::default()
            })
            .collect(),
    });
    let response = FetchResponse {
        responses: topics.collect(),
        ..FetchResponse::default()
    };
    frame::encode_response::<FetchRequest<'_>>(&response, version, CORRELATION_ID).ok()
}

fn refused_list_offsets(
    reader: &mut Reader<'_>,
    version: i16,
    code: ErrorCode,
) -> Option<Vec<Bytes>> {
    let asked: ListOffsetsRequest<'_> = request(reader, version)?;
    let topics = asked.topics.iter().map(|topic| ListOffsetsResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| ListOffsetsResponsePartition {
                partition_index: partition.partition_index,
                error_code: code,
                ..ListOffsetsResponsePartition::default()
            })
            .collect(),
    });
    let response = ListOffsetsResponse {
        topics: topics.collect(),
        ..ListOffsetsResponse::default()
    };
    frame::encode_response::<ListOffsetsRequest<'_>>(&response, version, CORRELATION_ID).ok()
}
