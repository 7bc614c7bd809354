//! The connections to the brokers of one cluster, made on demand, and who could not be reached.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

use super::{
    Lane,
    backoff::Backoff,
    connection::Connection,
    dial::Dialer,
    error::{Broker, DisconnectCause, RequestError},
    lock,
    metadata::BrokerAddress,
};

/// Whom a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// Whichever bootstrap server answers.
    Bootstrap,
    /// The broker of an id.
    Node(i32),
}

/// All connections of one cluster: at most one per peer and lane.
#[derive(Debug)]
pub(super) struct Peers {
    dialer: Dialer,
    slots: Mutex<HashMap<(Peer, Lane), Slot>>,
    reach: Mutex<HashMap<Peer, Reach>>,
}

/// Locked while connecting, so that callers share one attempt.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// What is known of how a peer can be reached.
#[derive(Debug, Default)]
struct Reach {
    backoff: Option<Backoff>,
    /// The last host and port that accepted a connection.
    reached_at: Option<(String, u16)>,
}

impl Peers {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            slots: Mutex::default(),
            reach: Mutex::default(),
        }
    }

    pub(super) const fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// The open connection of a peer and lane, or a new one to the first candidate that answers.
    ///
    /// An open connection to an address that is no candidate any more is left to those who hold
    /// it. While a peer is backing off, the error of the last attempt is returned at once.
    pub(super) async fn connect(
        &self,
        peer: Peer,
        lane: Lane,
        candidates: &[Arc<Broker>],
    ) -> Result<Connection, RequestError> {
        let slot = Arc::clone(lock(&self.slots).entry((peer, lane)).or_default());
        let mut slot = slot.lock().await;
        if let Some(connection) = &*slot
            && connection.is_open()
            && candidates
                .iter()
                .any(|candidate| **candidate == *connection.broker())
        {
            return Ok(connection.clone());
        }
        *slot = None;
        let began = Instant::now();
        if let Some(error) = self.backing_off(peer, began) {
            return Err(error);
        }
        let mut last_error = None;
        for candidate in candidates {
            match self.dialer.dial(candidate).await {
                Ok(connection) => {
                    self.reached(peer, candidate);
                    *slot = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(self.failed(peer, began, last_error))
    }

    /// Why a peer is left alone at present.
    pub(super) fn backing_off(&self, peer: Peer, now: Instant) -> Option<RequestError> {
        let reach = lock(&self.reach);
        let backoff = reach.get(&peer)?.backoff.as_ref()?;
        backoff.error(now).cloned()
    }

    /// An open control connection to one of the cluster's brokers, whichever.
    pub(super) fn open_control(&self) -> Option<Connection> {
        let slots = lock(&self.slots);
        let open = slots.iter().filter_map(|((peer, lane), slot)| {
            let wanted = matches!(peer, Peer::Node(_)) && *lane == Lane::Control;
            let connection = wanted.then(|| slot.try_lock().ok())??.clone();
            connection.filter(Connection::is_open)
        });
        fastrand::choice(open.collect::<Vec<_>>())
    }

    /// Forgets the bootstrap server, so that its name is resolved anew when it is needed again.
    pub(super) fn forget_bootstrap(&self) {
        lock(&self.slots).remove(&(Peer::Bootstrap, Lane::Control));
    }

    /// Forgets brokers that the cluster no longer has.
    pub(super) fn retain(&self, brokers: &BTreeMap<i32, BrokerAddress>) {
        let known = |peer: &Peer| match peer {
            Peer::Bootstrap => true,
            Peer::Node(id) => brokers.contains_key(id),
        };
        lock(&self.slots).retain(|(peer, _), _| known(peer));
        lock(&self.reach).retain(|peer, _| known(peer));
    }

    fn reached(&self, peer: Peer, broker: &Broker) {
        let reach = Reach {
            backoff: None,
            reached_at: Some((broker.host.clone(), broker.port)),
        };
        lock(&self.reach).insert(peer, reach);
    }

    fn failed(&self, peer: Peer, began: Instant, error: Option<RequestError>) -> RequestError {
        let Some(error) = error else {
            return self.nobody_to_ask();
        };
        let mut reach = lock(&self.reach);
        let reach = reach.entry(peer).or_default();
        let error = advertised(peer, reach, error);
        let times = (began, Instant::now());
        let backoff = Backoff::failed(
            reach.backoff.as_ref(),
            times,
            fastrand::f64(),
            error.clone(),
        );
        reach.backoff = Some(backoff);
        error
    }

    fn nobody_to_ask(&self) -> RequestError {
        self.dialer
            .error_without_broker(None, DisconnectCause::NoBootstrapServer)
    }
}

/// Says of an advertised address that was never reachable where to look.
fn advertised(peer: Peer, reach: &Reach, error: RequestError) -> RequestError {
    match (peer, error) {
        (
            Peer::Node(_),
            RequestError::Disconnected {
                origin,
                cause: cause @ DisconnectCause::Connect { .. },
            },
        ) if reach.reached_at != Some((origin.broker.host.clone(), origin.broker.port)) => {
            let address = origin.broker.address();
            RequestError::Disconnected {
                origin,
                cause: DisconnectCause::AdvertisedAddress {
                    address: address.into(),
                    reason: cause.to_string().into(),
                },
            }
        }
        (_, error) => error,
    }
}
