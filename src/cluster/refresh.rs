//! One metadata request at a time, shared by all who want what it asks for.
//!
//! While a request is under way, what it does not cover gathers for the next one.

use std::{collections::BTreeSet, sync::Arc};

use kmirror_protocol::{
    Request,
    messages::{MetadataRequest, metadata::MetadataRequestTopic},
};
use tokio::sync::watch;

use super::{
    error::RequestError,
    metadata::{Metadata, Scope},
};

/// Which topics a refresh asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// All that the principal may describe.
    All,
    /// These; none at all still refreshes the brokers.
    Named(BTreeSet<Arc<str>>),
}

impl Topics {
    /// Only the brokers.
    #[must_use]
    pub const fn none() -> Self {
        Self::Named(BTreeSet::new())
    }

    /// The topics of these names.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Named(names.into_iter().map(Arc::from).collect())
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Named(_), Self::All) => false,
            (Self::Named(these), Self::Named(those)) => those.is_subset(these),
        }
    }

    fn extend(&mut self, other: Self) {
        match (self, other) {
            (Self::All, _) => {}
            (these, Self::All) => *these = Self::All,
            (Self::Named(these), Self::Named(those)) => these.extend(those),
        }
    }

    /// What an answer to the request tells.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::All => Scope::All,
            Self::Named(_) => Scope::Named,
        }
    }

    /// The request; it never makes a broker create a topic.
    #[must_use]
    pub fn request(&self) -> MetadataRequest<'_> {
        let topics = match self {
            Self::All => None,
            Self::Named(names) => Some(names.iter().map(|name| named(name)).collect()),
        };
        MetadataRequest {
            topics,
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        }
    }
}

pub(super) fn named(name: &str) -> MetadataRequestTopic<'_> {
    MetadataRequestTopic {
        name: Some(name),
        ..MetadataRequestTopic::default()
    }
}

/// The first version of Metadata that can refuse to create topics.
pub(super) const NEVER_CREATES_FROM: i16 = 4;
const _: () = assert!(*MetadataRequest::VERSIONS.end() >= NEVER_CREATES_FROM);

/// What a refresh came to: `None` until it has ended.
pub(super) type Outcome = Option<Result<Arc<Metadata>, RequestError>>;

/// The refresh under way and the one that gathers behind it.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    running: Option<Flight>,
    next: Option<Flight>,
}

/// One refresh and those who wait for it.
#[derive(Debug)]
struct Flight {
    topics: Topics,
    outcome: watch::Sender<Outcome>,
}

impl Refreshes {
    /// Joins a refresh that covers `topics`. True: nothing is running, so the caller must see to
    /// it that [`Refreshes::start`] is called.
    pub(super) fn join(&mut self, topics: Topics) -> (watch::Receiver<Outcome>, bool) {
        if let Some(running) = &self.running
            && running.topics.covers(&topics)
        {
            return (running.outcome.subscribe(), false);
        }
        let idle = self.running.is_none() && self.next.is_none();
        let next = match &mut self.next {
            Some(next) => {
                next.topics.extend(topics);
                next
            }
            None => self.next.insert(Flight {
                topics,
                outcome: watch::Sender::new(None),
            }),
        };
        (next.outcome.subscribe(), idle)
    }

    /// Begins the refresh that has gathered, if there is one; none may be running.
    pub(super) fn start(&mut self) -> Option<Topics> {
        self.running = self.next.take();
        self.running.as_ref().map(|flight| flight.topics.clone())
    }

    /// Tells the outcome of the refresh under way to those who wait, and begins the next.
    pub(super) fn finish(
        &mut self,
        outcome: Result<Arc<Metadata>, RequestError>,
    ) -> Option<Topics> {
        if let Some(flight) = self.running.take() {
            flight.outcome.send_replace(Some(outcome));
        }
        self.start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_share_what_is_running_and_gather_for_the_next() {
        let mut refreshes = Refreshes::default();
        let (_a, first) = refreshes.join(Topics::named(["a", "b"]));
        assert!(first);
        assert_eq!(refreshes.start(), Some(Topics::named(["a", "b"])));
        for (topics, is_shared) in [
            (Topics::named(["a"]), true),
            (Topics::none(), true),
            (Topics::named(["c"]), false),
            (Topics::named(["a", "d"]), false),
        ] {
            let (receiver, first) = refreshes.join(topics.clone());
            assert!(!first, "{topics:?}");
            let running = refreshes.running.as_ref().unwrap().outcome.subscribe();
            assert_eq!(receiver.same_channel(&running), is_shared, "{topics:?}");
        }
        let next = refreshes.finish(Ok(Arc::default()));
        assert_eq!(next, Some(Topics::named(["a", "c", "d"])));
        let (_all, _) = refreshes.join(Topics::All);
        assert_eq!(refreshes.finish(Ok(Arc::default())), Some(Topics::All));
        assert_eq!(refreshes.finish(Ok(Arc::default())), None);
    }
}
