//! A small compacted topic that is written for others to read: heartbeats, offset syncs, checkpoints.
//!
//! It is created at once unless it is there, for its readers wait for it, and written when there is
//! something to write, one request at a time. Whatever fails is tried again, after a moment or, if only somebody else can mend it, after a longer one; the copying of
//! records never waits for it. What is told of failures is told once, until something succeeds.
//! Source: `MirrorUtils.createCompactedTopic`.

use std::{sync::Arc, time::Instant};

use kmirror_protocol::ErrorCode;

use super::{
    Failure, NewTopic, limits,
    retry::{Attempts, Remedy},
};

/// Which topic, and how it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Replicas of a new one; -1 leaves it to the cluster.
    pub replication_factor: i16,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the topic; answer with [`Published::created`].
    Create(NewTopic),
    /// Write what there is; answer with [`Published::written`].
    Write,
}

/// What is known of one such topic.
#[derive(Debug)]
pub struct Published {
    topic: PublishedTopic,
    /// From when on it is to be created, unless it is there as far as is known.
    wanted_since: Option<Instant>,
    is_busy: bool,
    attempts: Attempts,
    /// Not before this, after a refusal that only somebody else can take back.
    refused_until: Option<Instant>,
}

impl Published {
    /// Nothing is known of it yet.
    #[must_use]
    pub const fn new(topic: PublishedTopic, now: Instant) -> Self {
        Self {
            topic,
            wanted_since: Some(now),
            is_busy: false,
            attempts: Attempts::new(),
            refused_until: None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.topic.name
    }

    /// Whether the last thing that was tried has failed.
    #[must_use]
    pub const fn is_failing(&self) -> bool {
        self.attempts.is_failing()
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// What is to be done, with a write that is due at `write_at`, if there is something to write; an
    /// answer to it is expected.
    pub fn next(&mut self, now: Instant, write_at: Option<Instant>) -> Option<Step> {
        if self.deadline(write_at).is_none_or(|at| at > now) {
            return None;
        }
        self.is_busy = true;
        if self.wanted_since.is_none() {
            return Some(Step::Write);
        }
        let PublishedTopic {
            name,
            replication_factor,
        } = &self.topic;
        let new = NewTopic::compacted(Arc::clone(name), 1, *replication_factor);
        Some(Step::Create(new))
    }

    /// When something is to be done, with a write that is due at `write_at`; `None` while an answer
    /// is awaited, and while there is nothing to do.
    #[must_use]
    pub fn deadline(&self, write_at: Option<Instant>) -> Option<Instant> {
        let due = self.wanted_since.into_iter().chain(write_at).min()?;
        let waits = [self.attempts.until(), self.refused_until];
        let waits = waits.into_iter().flatten().max();
        (!self.is_busy).then(|| waits.map_or(due, |until| until.max(due)))
    }

    /// Takes the outcome of a creation; returns what is new to the operator.
    ///
    /// Whoever may not create the topic may still write to it, if somebody else has created it.
    pub fn created(&mut self, now: Instant, result: Result<(), Failure>) -> Option<Failure> {
        match result {
            Err(failure) if !may_be_there(&failure) => self.failed(now, failure),
            _ => {
                self.is_busy = false;
                self.wanted_since = None;
                None
            }
        }
    }

    /// Takes the outcome of a write; returns what is new to the operator.
    pub fn written(&mut self, now: Instant, result: Result<(), Failure>) -> Option<Failure> {
        if let Err(failure) = result {
            // It may have been deleted; to ask for one that is there costs nothing.
            self.wanted_since = Some(now);
            return self.failed(now, failure);
        }
        self.is_busy = false;
        self.attempts.succeed();
        self.refused_until = None;
        None
    }

    fn failed(&mut self, now: Instant, failure: Failure) -> Option<Failure> {
        self.is_busy = false;
        let is_refused = failure.remedy() == Remedy::Halt;
        self.refused_until = is_refused.then(|| now + limits::HALT_RETRY);
        self.attempts.fail(now, failure)
    }
}

/// Whether the topic may be there although creating it failed so.
const fn may_be_there(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Unsupported(_)
            | Failure::Refused(
                ErrorCode::TOPIC_ALREADY_EXISTS
                    | ErrorCode::TOPIC_AUTHORIZATION_FAILED
                    | ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
                _
            )
    )
}

#[cfg(test)]
mod tests {
    use super::{super::tests::epoch, *};

    fn published() -> Published {
        Published::new(
            PublishedTopic {
                name: "heartbeats".into(),
                replication_factor: 3,
            },
            epoch(),
        )
    }

    fn refused(code: ErrorCode) -> Result<(), Failure> {
        Err(Failure::Refused(code, None))
    }

    #[test]
    fn the_topic_comes_before_the_first_write() {
        let (mut topic, now) = (published(), epoch());
        let Some(Step::Create(new)) = topic.next(now, Some(now)) else {
            panic!("no topic");
        };
        assert_eq!((&*new.name, new.partition_count), ("heartbeats", 1));
        assert_eq!(topic.next(now, Some(now)), None, "one thing at a time");
        assert_eq!(topic.created(now, Ok(())), None);
        for _ in 0..3 {
            assert_eq!(topic.next(now, Some(now)), Some(Step::Write));
            assert_eq!(topic.written(now, Ok(())), None);
        }
    }

    #[test]
    fn its_readers_find_it_before_there_is_something_to_read() {
        let (mut topic, now) = (published(), epoch());
        assert!(matches!(topic.next(now, None), Some(Step::Create(_))));
        assert_eq!(topic.deadline(None), None);
        assert_eq!(topic.created(now, Ok(())), None);
        assert_eq!((topic.deadline(None), topic.next(now, None)), (None, None));
        let later = now + limits::HALT_RETRY;
        assert_eq!(topic.deadline(Some(later)), Some(later));
    }

    #[test]
    fn whoever_may_not_create_the_topic_writes_to_it_all_the_same() {
        for code in [
            ErrorCode::TOPIC_ALREADY_EXISTS,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        ] {
            let (mut topic, now) = (published(), epoch());
            topic.next(now, Some(now));
            assert_eq!(topic.created(now, refused(code)), None);
            assert_eq!(topic.next(now, Some(now)), Some(Step::Write), "{code}");
        }
    }

    #[test]
    fn every_failure_is_tried_again_and_told_once() {
        let codes = ErrorCode::ALL.iter();
        for code in codes.filter(|code| **code != ErrorCode::NONE) {
            let (mut topic, mut now) = (published(), epoch());
            topic.next(now, Some(now));
            topic.created(now, Ok(()));
            let mut told = 0;
            for _ in 0..6 {
                let news = match topic.next(now, Some(now)).unwrap() {
                    Step::Write => topic.written(now, refused(*code)),
                    Step::Create(_) => topic.created(now, Ok(())),
                };
                told += u32::from(news.is_some());
                let next = topic.deadline(Some(now)).unwrap();
                assert!(next <= now + limits::HALT_RETRY, "{code}");
                now = next;
            }
            assert_eq!(told, 1, "{code}");
            // Once it has worked again, the next failure is news.
            assert_eq!(topic.next(now, Some(now)), Some(Step::Write));
            topic.written(now, Ok(()));
            assert!(!topic.attempts.is_told);
        }
    }

    #[test]
    fn a_topic_that_was_deleted_is_created_again() {
        let (mut topic, now) = (published(), epoch());
        topic.next(now, Some(now));
        topic.created(now, Ok(()));
        topic.next(now, Some(now));
        topic.written(now, refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        let now = topic.deadline(Some(now)).unwrap();
        assert!(matches!(topic.next(now, Some(now)), Some(Step::Create(_))));
    }
}
