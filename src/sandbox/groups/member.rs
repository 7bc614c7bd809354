//! One member of a group: what it told the coordinator, and which of its requests wait.

use std::collections::BTreeSet;

use bytes::Bytes;
use kmirror_protocol::wire::{Decode as _, Malformed, Reader, Version};

use crate::sandbox::{Ticket, Timestamp};

/// A way of assigning that a member supports, with what it says for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Protocol {
    pub(in crate::sandbox) name: String,
    pub(in crate::sandbox) metadata: Bytes,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Member {
    /// Set for a static member (KIP-345).
    pub(in crate::sandbox) instance_id: Option<String>,
    pub(in crate::sandbox) client_id: String,
    /// Empty until the leader has assigned.
    pub(in crate::sandbox) assignment: Bytes,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// By preference, the best first.
    pub(super) protocols: Vec<Protocol>,
    /// The JoinGroup request that waits, if one does.
    pub(super) awaiting_join: Option<Ticket>,
    /// The SyncGroup request that waits, if one does.
    pub(super) awaiting_sync: Option<Ticket>,
    /// Until its first join has been answered it can expire while it waits.
    pub(super) is_new: bool,
    /// When it is taken for dead unless it says something; none when it waited at that time.
    pub(super) session_deadline: Option<Timestamp>,
}

impl Member {
    /// What it said for a protocol; empty when it does not support it.
    pub(in crate::sandbox) fn metadata(&self, protocol_name: &str) -> Bytes {
        let mut protocols = self.protocols.iter();
        let protocol = protocols.find(|protocol| protocol.name == protocol_name);
        protocol.map(|it| it.metadata.clone()).unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol_name: &str) -> bool {
        self.protocols.iter().any(|it| it.name == protocol_name)
    }

    /// The protocol it likes best of some.
    pub(super) fn vote(&self, candidates: &BTreeSet<&str>) -> Option<&str> {
        let mut names = self.protocols.iter().map(|it| it.name.as_str());
        names.find(|name| candidates.contains(name))
    }

    /// Whether it need not send heartbeats, because the coordinator owes it an answer
    /// (`ClassicGroupMember.hasSatisfiedHeartbeat`).
    pub(super) const fn is_owed_an_answer(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Starts its session anew.
    pub(super) fn extend_session(&mut self, now: Timestamp) {
        self.session_deadline = Some(now.plus_ms(i64::from(self.session_timeout_ms)));
    }
}

/// The topics that a member of protocol type `consumer` subscribes to.
///
/// All versions begin like version 0 (`ConsumerProtocol`): version, topics, user data.
///
/// # Errors
///
/// [`Malformed`] when the metadata is not that of a consumer.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Result<Vec<String>, Malformed> {
    const PLAIN: Version = Version {
        number: 0,
        flexible: false,
    };
    let mut reader = Reader::new(metadata);
    i16::read(&mut reader, PLAIN)?;
    let count = i32::read(&mut reader, PLAIN)?;
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(<&str>::read(&mut reader, PLAIN)?.to_owned());
    }
    Option::<&[u8]>::read(&mut reader, PLAIN)?;
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_any_version_of_a_subscription() {
        let version_0 = b"\0\0\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        let version_1 = b"\0\x01\0\0\0\x01\0\x01a\0\0\0\x01u\0\0\0\0";
        assert_eq!(subscribed_topics(version_0).unwrap(), ["a", "bc"]);
        assert_eq!(subscribed_topics(version_1).unwrap(), ["a"]);
        for len in 0..version_0.len() {
            assert!(subscribed_topics(&version_0[..len]).is_err(), "{len} bytes");
        }
    }
}
