//! Fetch sessions: what a client fetches time and again, remembered by the broker (KIP-227).
//!
//! A session belongs to one broker. A fetch first *begins*, which checks and advances the session,
//! and when it is answered it *ends*, which leaves out the partitions that have nothing new.
//! Source: Kafka's `FetchManager`, `FetchSession`, `CachedPartition` and `FetchSessionCacheShard`;
//! one cache for each broker, not eight, and no sessions of followers.

use std::collections::BTreeMap;

use kmirror_protocol::{ErrorCode, messages::fetch::FetchRequestPartition, wire::Uuid};

use super::{Timestamp, random::Random};

/// How many sessions a broker keeps (`max.incremental.fetch.session.cache.slots`).
const SESSIONS_MAX: usize = 1_000;

/// After how long without use, or from what age on, a session may make room for another
/// (`FetchSessionCache`, two minutes).
const EVICTION_MS: i64 = 120_000;

/// Asks for everything, and for a new session.
const INITIAL_EPOCH: i32 = 0;
/// Asks for everything, and for no session.
const FINAL_EPOCH: i32 = -1;
/// Names no session.
const NO_SESSION: i32 = 0;

/// A partition as a fetch names it: by the topic's name and no id, or by its id. A session fills in
/// the name that it has learnt for an id; what it keeps has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartitionKey {
    pub(super) topic: String,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
}

/// What a fetch says about sessions.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) broker_id: i32,
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) uses_topic_ids: bool,
    pub(super) partitions: Vec<(PartitionKey, FetchRequestPartition)>,
    pub(super) forgotten: Vec<PartitionKey>,
}

/// How a fetch goes on once it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// It reads what it names.
    Sessionless,
    /// The same, and its answer opens a session.
    Full,
    /// It reads all partitions of a session.
    Incremental {
        session_id: i32,
        /// The epoch of the next request; another means that somebody else went on.
        next_epoch: i32,
    },
}

/// What an answer says about a partition, as far as sessions care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) records_len: usize,
    pub(super) high_watermark: i64,
    pub(super) log_start_offset: i64,
    pub(super) is_error: bool,
    /// A diverging epoch or a preferred replica: it is told every time.
    pub(super) is_redirect: bool,
}

#[derive(Debug)]
struct CachedPartition {
    wanted: FetchRequestPartition,
    high_watermark: i64,
    log_start_offset: i64,
    /// Partitions are read by ascending turn; one that had records goes to the end.
    turn: u64,
}

impl CachedPartition {
    const fn new(wanted: FetchRequestPartition, turn: u64) -> Self {
        Self {
            wanted,
            high_watermark: -1,
            log_start_offset: -1,
            turn,
        }
    }

    /// Whether an answer must be told, which is then remembered.
    fn update(&mut self, answered: Answered) -> bool {
        let is_told = answered.records_len > 0
            || answered.high_watermark != self.high_watermark
            || answered.log_start_offset != self.log_start_offset
            || answered.is_error
            || answered.is_redirect;
        // After an error the partition is told once more.
        self.high_watermark = if answered.is_error {
            -1
        } else {
            answered.high_watermark
        };
        self.log_start_offset = answered.log_start_offset;
        is_told
    }
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    created_at: Timestamp,
    used_at: Timestamp,
    partitions: BTreeMap<PartitionKey, CachedPartition>,
    /// The names that ids had when they were read.
    names: BTreeMap<Uuid, String>,
    next_turn: u64,
}

impl Session {
    const fn turn(&mut self) -> u64 {
        self.next_turn = self.next_turn.saturating_add(1);
        self.next_turn
    }

    /// Learns the names of ids that have one now.
    fn learn(&mut self, names: &BTreeMap<Uuid, String>) {
        for key in self.partitions.keys() {
            if let Some(name) = names.get(&key.topic_id) {
                self.names.insert(key.topic_id, name.clone());
            }
        }
    }

    fn want(&mut self, key: PartitionKey, wanted: FetchRequestPartition) {
        let turn = self.turn();
        let cached = self.partitions.entry(key);
        cached
            .and_modify(|cached| cached.wanted = wanted.clone())
            .or_insert_with(|| CachedPartition::new(wanted, turn));
    }
}

/// The epoch after one (`FetchMetadata.nextEpoch`).
const fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        ..0 => FINAL_EPOCH,
        i32::MAX => 1,
        _ => epoch + 1,
    }
}

/// The sessions of all brokers.
#[derive(Debug, Default)]
pub(super) struct FetchSessions {
    /// By broker and session id.
    sessions: BTreeMap<(i32, i32), Session>,
}

impl FetchSessions {
    /// Begins a fetch: checks the session that it names, and brings it up to date.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::FETCH_SESSION_ID_NOT_FOUND`], [`ErrorCode::INVALID_FETCH_SESSION_EPOCH`],
    /// [`ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR`].
    pub(super) fn begin(&mut self, now: Timestamp, asked: Asked) -> Result<Context, ErrorCode> {
        let id = (asked.broker_id, asked.session_id);
        if matches!(asked.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            self.sessions.remove(&id);
            return Ok(match asked.session_epoch {
                FINAL_EPOCH => Context::Sessionless,
                _ => Context::Full,
            });
        }
        let session = self.sessions.get_mut(&id);
        let session = session.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != asked.session_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_topic_ids != asked.uses_topic_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        for (key, wanted) in asked.partitions {
            session.want(key, wanted);
        }
        for key in &asked.forgotten {
            session.partitions.remove(key);
        }
        if session.partitions.is_empty() {
            self.sessions.remove(&id);
            return Ok(Context::Sessionless);
        }
        session.used_at = now;
        session.epoch = next_epoch(session.epoch);
        Ok(Context::Incremental {
            session_id: asked.session_id,
            next_epoch: session.epoch,
        })
    }

    /// What a session reads, in order; `names` are the topics that there are.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::FETCH_SESSION_ID_NOT_FOUND`] when it has gone since the fetch began,
    /// [`ErrorCode::INVALID_FETCH_SESSION_EPOCH`] when another fetch went on with it.
    pub(super) fn partitions(
        &mut self,
        broker_id: i32,
        session_id: i32,
        next_epoch: i32,
        names: &BTreeMap<Uuid, String>,
    ) -> Result<Vec<(PartitionKey, FetchRequestPartition)>, ErrorCode> {
        let session = self.sessions.get_mut(&(broker_id, session_id));
        let session = session.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != next_epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        session.learn(names);
        let mut in_order: Vec<_> = session.partitions.iter().collect();
        in_order.sort_by_key(|(_, cached)| cached.turn);
        let in_order = in_order.into_iter();
        Ok(in_order
            .map(|(key, cached)| {
                let learnt = session.names.get(&key.topic_id);
                let topic = learnt.unwrap_or(&key.topic).clone();
                (
                    PartitionKey {
                        topic,
                        ..key.clone()
                    },
                    cached.wanted.clone(),
                )
            })
            .collect())
    }

    /// Ends an incremental fetch for one partition: whether its answer must be told.
    pub(super) fn is_told(
        &mut self,
        broker_id: i32,
        session_id: i32,
        key: &PartitionKey,
        answered: Answered,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&(broker_id, session_id)) else {
            return true;
        };
        let turn = session.turn();
        let Some(cached) = session.partitions.get_mut(key) else {
            return true;
        };
        if answered.records_len > 0 {
            cached.turn = turn;
        }
        cached.update(answered)
    }

    /// Ends a full fetch: opens a session of what was answered, if there is room; else 0.
    pub(super) fn open(
        &mut self,
        now: Timestamp,
        random: &mut Random,
        (broker_id, uses_topic_ids): (i32, bool),
        names: &BTreeMap<Uuid, String>,
        answered: Vec<(PartitionKey, FetchRequestPartition, Answered)>,
    ) -> i32 {
        let count = self.of_broker(broker_id).count();
        if count >= SESSIONS_MAX && !self.evict(now, broker_id, answered.len()) {
            return NO_SESSION;
        }
        let session_id = loop {
            let id = i32::try_from(random.next() >> 33).unwrap_or(NO_SESSION);
            if id != NO_SESSION && !self.sessions.contains_key(&(broker_id, id)) {
                break id;
            }
        };
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            created_at: now,
            used_at: now,
            partitions: BTreeMap::new(),
            names: BTreeMap::new(),
            next_turn: 0,
        };
        for (key, wanted, answered) in answered {
            let mut cached = CachedPartition::new(wanted, session.turn());
            cached.high_watermark = answered.high_watermark;
            cached.log_start_offset = answered.log_start_offset;
            session.partitions.insert(key, cached);
        }
        session.learn(names);
        self.sessions.insert((broker_id, session_id), session);
        session_id
    }

    fn of_broker(&self, broker_id: i32) -> impl Iterator<Item = (i32, &Session)> {
        let all = self
            .sessions
            .range((broker_id, i32::MIN)..=(broker_id, i32::MAX));
        all.map(|((_, id), session)| (*id, session))
    }

    /// Removes the session unused for longest if that is long enough; else the smallest of those
    /// that are old and not larger than the new one. Answers whether one was removed.
    fn evict(&mut self, now: Timestamp, broker_id: i32, new_len: usize) -> bool {
        let is_past = |then: Timestamp| now > then.plus_ms(EVICTION_MS);
        let stalest = self.of_broker(broker_id);
        let stalest = stalest.min_by_key(|(id, session)| (session.used_at, *id));
        let stale = stalest.filter(|(_, session)| is_past(session.used_at));
        let smallest = || {
            // Kafka looks at the age when the session is used.
            let is_old =
                |session: &Session| session.used_at > session.created_at.plus_ms(EVICTION_MS);
            let old = self
                .of_broker(broker_id)
                .filter(|(_, session)| is_old(session));
            let smallest = old.min_by_key(|(id, session)| (session.partitions.len(), *id));
            smallest.filter(|(_, session)| session.partitions.len() < new_len)
        };
        let Some((id, _)) = stale.or_else(smallest) else {
            return false;
        };
        self.sessions.remove(&(broker_id, id)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn key(partition: i32) -> PartitionKey {
        PartitionKey {
            topic: "t".to_owned(),
            topic_id: Uuid::ZERO,
            partition,
        }
    }

    fn wanted(partition: i32) -> (PartitionKey, FetchRequestPartition) {
        let wanted = FetchRequestPartition {
            partition,
            ..Default::default()
        };
        (key(partition), wanted)
    }

    const QUIET: Answered = Answered {
        records_len: 0,
        high_watermark: 5,
        log_start_offset: 0,
        is_error: false,
        is_redirect: false,
    };

    fn asked(session_id: i32, session_epoch: i32) -> Asked {
        Asked {
            broker_id: 0,
            session_id,
            session_epoch,
            uses_topic_ids: false,
            partitions: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    fn open(sessions: &mut FetchSessions, now: Timestamp, len: i32) -> i32 {
        let partitions = (0..len).map(|partition| {
            let (key, wanted) = wanted(partition);
            (key, wanted, QUIET)
        });
        let mut random = Random::new(u64::try_from(sessions.sessions.len()).unwrap());
        let names = BTreeMap::new();
        sessions.open(now, &mut random, (0, false), &names, partitions.collect())
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, START, 1);
        let told =
            |sessions: &mut FetchSessions, answered| sessions.is_told(0, id, &key(0), answered);
        assert!(!told(&mut sessions, QUIET));
        let cases = [
            Answered {
                high_watermark: 6,
                ..QUIET
            },
            Answered {
                high_watermark: 6,
                log_start_offset: 2,
                ..QUIET
            },
        ];
        for changed in cases {
            assert!(told(&mut sessions, changed), "{changed:?}");
            assert!(!told(&mut sessions, changed), "{changed:?} again");
        }
        let last = cases[1];
        let repeated = [
            Answered {
                records_len: 1,
                ..last
            },
            Answered {
                is_redirect: true,
                ..last
            },
            Answered {
                is_error: true,
                ..last
            },
        ];
        for case in repeated {
            assert!(told(&mut sessions, case), "{case:?}");
            assert!(told(&mut sessions, case), "{case:?} again");
        }
        assert!(told(&mut sessions, last), "an error is over");
        assert!(!told(&mut sessions, last));
    }

    #[test]
    fn partitions_with_records_go_to_the_end() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, START, 3);
        sessions.is_told(
            0,
            id,
            &key(0),
            Answered {
                records_len: 9,
                ..QUIET
            },
        );
        let order = sessions.partitions(0, id, 1, &BTreeMap::new()).unwrap();
        let order: Vec<i32> = order.iter().map(|(key, _)| key.partition).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn a_session_goes_on_only_where_it_was_left() {
        let mut sessions = FetchSessions::default();
        let id = open(&mut sessions, START, 1);
        let mut begin = |asked| sessions.begin(START, asked);
        let other_broker = Asked {
            broker_id: 1,
            ..asked(id, 1)
        };
        let by_id = Asked {
            uses_topic_ids: true,
            ..asked(id, 1)
        };
        let not_found = Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        let wrong_epoch = Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        assert_eq!(begin(other_broker), not_found);
        assert_eq!(begin(asked(id, 2)), wrong_epoch);
        assert_eq!(begin(by_id), Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        let next = Context::Incremental {
            session_id: id,
            next_epoch: 2,
        };
        assert_eq!(begin(asked(id, 1)), Ok(next));
        assert_eq!(begin(asked(id, 1)), wrong_epoch);
        let forgotten = Asked {
            forgotten: vec![key(0)],
            ..asked(id, 2)
        };
        assert_eq!(begin(forgotten), Ok(Context::Sessionless));
        assert_eq!(begin(asked(id, 3)), not_found);
    }

    #[test]
    fn a_full_cache_makes_room_only_for_what_is_worth_it() {
        let full = |used_ms: i64| {
            let mut sessions = FetchSessions::default();
            let first = open(&mut sessions, START, 2);
            for _ in 1..SESSIONS_MAX {
                open(&mut sessions, START, 3);
            }
            let used = START.plus_ms(used_ms);
            sessions.begin(used, asked(first, 1)).unwrap();
            (sessions, first)
        };
        let still_there = |sessions: &FetchSessions, id| sessions.sessions.contains_key(&(0, id));
        // When the first one was used, when another is opened and how large; who goes.
        let (mut sessions, first) = full(1);
        assert_eq!(open(&mut sessions, START.plus_ms(2), 9), NO_SESSION);
        let opened = open(&mut sessions, START.plus_ms(EVICTION_MS + 1), 1);
        assert!(
            opened != NO_SESSION && still_there(&sessions, first),
            "one unused goes"
        );

        let (mut sessions, first) = full(EVICTION_MS + 1);
        for session in sessions.sessions.values_mut() {
            session.used_at = START.plus_ms(EVICTION_MS + 1);
        }
        let now = START.plus_ms(EVICTION_MS + 2);
        assert_eq!(open(&mut sessions, now, 1), NO_SESSION, "too small");
        assert_ne!(open(&mut sessions, now, 3), NO_SESSION);
        assert!(!still_there(&sessions, first), "the smallest old one goes");
    }

    #[test]
    fn epochs_begin_again_after_the_last() {
        for (epoch, next) in [(0, 1), (1, 2), (i32::MAX, 1), (-1, -1)] {
            assert_eq!(next_epoch(epoch), next);
        }
    }
}
