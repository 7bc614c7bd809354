//! Heartbeats: that a flow is alive, told on its target at an interval.
//!
//! MM2 has one emitter for each ordered pair of clusters, whether or not anything is copied between
//! them, and so this machine is one of its own. What copies the heartbeats on, and so shows which
//! clusters are upstream of which, is the flow that replicates their topic. Never reads anything, and
//! never stops trying. Source: `MirrorHeartbeatConnector`, `MirrorHeartbeatTask`.

use std::time::{Duration, Instant};

use super::{
    Failure, Notice, Side,
    published::{Published, PublishedTopic, Step},
};

/// What an emitter needs to know from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatOptions {
    /// The alias of the source.
    pub source_alias: String,
    /// The alias of the target.
    pub target_alias: String,
    /// The topic on the target, `heartbeats`.
    pub topic: PublishedTopic,
    /// How often.
    pub interval: Duration,
}

/// One emitter.
#[derive(Debug)]
pub struct Heartbeats {
    interval: Duration,
    topic: Published,
    emit_at: Instant,
}

impl Heartbeats {
    /// Nothing is known of the target yet.
    #[must_use]
    pub fn new(options: &HeartbeatOptions, now: Instant) -> Self {
        Self {
            interval: options.interval,
            topic: Published::new(options.topic.clone(), now),
            emit_at: now,
        }
    }

    /// What is to be done now, one thing at a time; [`Step::Write`] is a heartbeat with the time
    /// of now.
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        let step = self.topic.next(now, Some(self.emit_at))?;
        if step == Step::Write {
            self.emit_at = now + self.interval;
        }
        Some(step)
    }

    /// When there is something to do again; `None` while an answer is awaited.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.topic.deadline(Some(self.emit_at))
    }

    /// Takes the outcome of a creation; returns what to tell the operator.
    pub fn created(&mut self, now: Instant, result: Result<(), Failure>) -> Option<Notice> {
        self.topic.created(now, result).map(notice)
    }

    /// Takes the outcome of a heartbeat; returns what to tell the operator.
    pub fn emitted(&mut self, now: Instant, result: Result<(), Failure>) -> Option<Notice> {
        self.topic.written(now, result).map(notice)
    }
}

const fn notice(failure: Failure) -> Notice {
    Notice::Waiting {
        side: Side::Target,
        purpose: "storing heartbeats",
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::epoch, *};

    #[test]
    fn there_is_a_heartbeat_each_interval() {
        let interval = Duration::from_secs(1);
        let options = HeartbeatOptions {
            source_alias: "A".into(),
            target_alias: "B".into(),
            topic: PublishedTopic {
                name: "heartbeats".into(),
                replication_factor: 3,
            },
            interval,
        };
        let mut now = epoch();
        let mut emitter = Heartbeats::new(&options, now);
        assert!(matches!(emitter.poll(now), Some(Step::Create(_))));
        assert_eq!(emitter.created(now, Ok(())), None);
        for _ in 0..3 {
            assert_eq!(emitter.poll(now), Some(Step::Write));
            assert_eq!(emitter.poll(now), None);
            assert_eq!(emitter.emitted(now, Ok(())), None);
            assert_eq!(emitter.poll(now), None);
            assert_eq!(emitter.deadline(), Some(now + interval));
            now += interval;
        }
    }
}
