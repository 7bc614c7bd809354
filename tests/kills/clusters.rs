//! Clusters of real brokers that the replicator reaches through proxies only.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use super::observer::Observer;
use crate::support::{
    kafka::{Kafka, KafkaOptions},
    kmirror::wait_until,
    proxy::Proxy,
};

/// A cluster, the proxy before each of its brokers, and a client past the proxies.
pub(super) struct Site {
    pub(super) kafka: Kafka,
    pub(super) proxies: BTreeMap<i32, Proxy>,
    pub(super) observer: Observer,
}

impl Site {
    /// Starts one; `None` skips the test.
    pub(super) fn start(
        network: &Network,
        brokers: u16,
        properties: &[(&str, &str)],
    ) -> Option<Self> {
        let proxies = RefCell::new(BTreeMap::new());
        let proxied = |node, upstream| {
            let proxy = network.handle.block_on(Proxy::start(upstream));
            let address: SocketAddr = proxy.address;
            // A start that found its ports taken has left others here.
            proxies.borrow_mut().insert(node, proxy);
            address
        };
        let kafka = Kafka::start(&KafkaOptions {
            brokers,
            properties,
            proxied: Some(&proxied),
            ..KafkaOptions::default()
        })?;
        let observer = Observer::new(&kafka.bootstrap());
        Some(Self {
            kafka,
            proxies: proxies.into_inner(),
            observer,
        })
    }

    /// The proxies' addresses, as in `bootstrap.servers`.
    pub(super) fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self
            .proxies
            .values()
            .map(|proxy| proxy.address.to_string())
            .collect();
        addresses.join(",")
    }

    /// Waits until every replica of a topic is in sync, has its preferred leader elected, and waits
    /// until that one leads.
    pub(super) fn settle(&self, topic: &str) {
        let keepers = || self.observer.keepers(topic);
        wait_until("all replicas in sync", || {
            keepers()?
                .iter()
                .all(|kept| kept.isr == kept.replicas)
                .then_some(())
        });
        self.observer.elect_preferred();
    }
}

/// The thread on which proxies run; it ends with this value.
pub(super) struct Network {
    handle: Handle,
    _ends: oneshot::Sender<()>,
}

impl Network {
    pub(super) fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel::<()>();
        thread::spawn(move || runtime.block_on(ended));
        Self {
            handle,
            _ends: ends,
        }
    }
}
