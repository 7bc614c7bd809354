//! Groups in virtual time: what always holds, and what a real broker takes too long to show.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kmirror_protocol::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::sandbox::parked::ParkedRequests;

const START: Timestamp = Timestamp(1_700_000_000_000);
const INITIAL_DELAY_MS: i64 = 3_000;
const SESSION_TIMEOUT_MS: i32 = 10_000;
const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// One group, the time it is told, and the requests that wait.
struct World {
    groups: Groups,
    now: Timestamp,
    tickets: ParkedRequests,
    /// Of each request that waits: the member it came from, if it had one, and since when.
    waiting: BTreeMap<Ticket, (String, Timestamp)>,
    /// The answers that have not been looked at.
    ready: Vec<(Ticket, Answer)>,
    /// The ids that were given out.
    ids: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self {
            groups: Groups::new(INITIAL_DELAY_MS),
            now: START,
            tickets: ParkedRequests::default(),
            waiting: BTreeMap::new(),
            ready: Vec::new(),
            ids: Vec::new(),
        }
    }

    fn group(&self) -> &Group {
        self.groups.get("g").unwrap()
    }

    /// The answers that came, each to a request that waited.
    fn answers(&mut self) -> Vec<(Ticket, Answer)> {
        self.ready.extend(self.groups.take_answers());
        let answers = std::mem::take(&mut self.ready);
        for (ticket, answer) in &answers {
            assert!(
                self.waiting.remove(ticket).is_some(),
                "{answer:?} to nobody"
            );
        }
        answers
    }

    fn wait_until(&mut self, now: Timestamp) -> Vec<(Ticket, Answer)> {
        self.now = now;
        self.groups.advance(now);
        self.answers()
    }

    /// Joins as a member that asks as version 3 does, so at once.
    fn join(&mut self, member_id: &str, instance_id: Option<&str>, protocols: &[&str]) -> Ticket {
        let join = self.joining(member_id, instance_id, protocols);
        self.start_join(&join)
    }

    fn start_join(&mut self, join: &JoinGroup) -> Ticket {
        let ticket = self.tickets.ticket();
        let member_id = match join.member_id.as_str() {
            "" => &join.new_member_id,
            member_id => member_id,
        };
        self.ids.push(member_id.to_owned());
        self.groups.advance(self.now);
        self.groups.join(self.now, ticket, join);
        self.note_waiting(ticket, member_id);
        ticket
    }

    fn joining(&self, member_id: &str, instance_id: Option<&str>, protocols: &[&str]) -> JoinGroup {
        let protocols = protocols.iter().map(|name| Protocol {
            name: (*name).to_owned(),
            metadata: Bytes::new(),
        });
        JoinGroup {
            group_id: "g".to_owned(),
            member_id: member_id.to_owned(),
            new_member_id: format!("m{}", self.ids.len()),
            instance_id: instance_id.map(str::to_owned),
            client_id: "c".to_owned(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            protocol_type: "consumer".to_owned(),
            protocols: protocols.collect(),
            requires_known_member_id: false,
            supports_skipping_assignment: true,
        }
    }

    fn sync(&mut self, member_id: &str, generation: i32) -> Ticket {
        let ticket = self.tickets.ticket();
        let members = self.groups.get("g").map(|group| group.members.keys());
        let members: Vec<String> = members.into_iter().flatten().cloned().collect();
        let assignments = members.iter();
        let assignments = assignments.map(|id| (id.as_str(), Bytes::from(id.clone())));
        let sync = SyncGroup {
            group_id: "g",
            identity: identity(member_id),
            generation,
            protocol_type: None,
            protocol_name: None,
            assignments: assignments.collect(),
        };
        self.groups.advance(self.now);
        self.groups.sync(self.now, ticket, &sync);
        self.note_waiting(ticket, member_id);
        ticket
    }

    /// A member's older request is forgotten when a newer one takes its place, as in Kafka: who
    /// sent it has gone.
    fn note_waiting(&mut self, ticket: Ticket, member_id: &str) {
        self.ready.extend(self.groups.take_answers());
        let group = self.groups.get("g");
        let member = group.and_then(|group| group.members.get(member_id));
        let awaited = member.map(|it| [it.awaiting_join, it.awaiting_sync]);
        let mut known: Vec<Ticket> = self.ready.iter().map(|(ticket, _)| *ticket).collect();
        known.extend(awaited.into_iter().flatten().flatten());
        self.waiting
            .retain(|older, (of, _)| of != member_id || known.contains(older));
        self.waiting
            .insert(ticket, (member_id.to_owned(), self.now));
    }
}

fn identity(member_id: &str) -> Identity<'_> {
    Identity {
        member_id,
        instance_id: None,
    }
}

fn generations(answers: &[(Ticket, Answer)]) -> Vec<(Ticket, i32)> {
    let answers = answers.iter().filter_map(|(ticket, answer)| match answer {
        Answer::Join(answer) => Some((*ticket, answer.generation)),
        Answer::Sync(_) => None,
    });
    answers.collect()
}

#[test]
fn an_empty_group_waits_for_more_members_as_long_as_some_come() {
    let mut world = World::new();
    let first = world.join("", None, &["range"]);
    assert_eq!(world.groups.deadline(), Some(START.plus_ms(3_000)));
    assert_eq!(world.wait_until(START.plus_ms(2_999)), []);
    let second = world.join("", None, &["range"]);
    assert_eq!(world.wait_until(START.plus_ms(5_999)), []);
    let answers = world.wait_until(START.plus_ms(6_000));
    assert_eq!(generations(&answers), [(first, 1), (second, 1)]);
}

#[test]
fn an_empty_group_waits_no_longer_than_its_rebalance_timeout() {
    let mut world = World::new();
    let mut joins = BTreeSet::new();
    for at in 0..60 {
        assert_eq!(world.wait_until(START.plus_ms(at * 1_000)), []);
        joins.insert(world.join("", None, &["range"]));
    }
    let answers = world.wait_until(START.plus_ms(i64::from(REBALANCE_TIMEOUT_MS)));
    let answered: BTreeSet<Ticket> = answers.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(answered, joins);
}

#[test]
fn offsets_in_a_transaction_hide_the_others_from_who_wants_stable_ones() {
    let mut groups = Groups::new(0);
    let committed = |offset| CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let nobody = Committer {
        member_id: "",
        instance_id: None,
        generation: -1,
    };
    assert_eq!(groups.begin_commit_in_transaction("g", nobody), Ok(()));
    groups.commit("g", ("t", 0), committed(1));
    groups.commit_in_transaction(9, "g", ("t", 0), committed(2));
    let seen = |groups: &Groups, require_stable| {
        format!("{:?}", groups.offset("g", ("t", 0), require_stable))
    };
    let of = |offset| format!("{:?}", FetchedOffset::Committed(&committed(offset)));
    assert_eq!(seen(&groups, false), of(1));
    assert_eq!(seen(&groups, true), "Unstable");
    groups.complete_transaction(9, true);
    assert_eq!(seen(&groups, true), of(2));
}

#[test]
fn offsets_in_a_transaction_need_a_member_only_if_one_is_named() {
    let mut world = World::new();
    world.join("", None, &["range"]);
    world.wait_until(START.plus_ms(INITIAL_DELAY_MS));
    let cases = [
        (("", -1), Ok(())),
        (("m0", 1), Ok(())),
        (("m0", 0), Err(ErrorCode::ILLEGAL_GENERATION)),
        (("m0", -1), Err(ErrorCode::ILLEGAL_GENERATION)),
        (("someone", 1), Err(ErrorCode::UNKNOWN_MEMBER_ID)),
        (("", 1), Err(ErrorCode::UNKNOWN_MEMBER_ID)),
    ];
    for ((member_id, generation), expected) in cases {
        let committer = Committer {
            member_id,
            instance_id: None,
            generation,
        };
        let begun = world.groups.begin_commit_in_transaction("g", committer);
        assert_eq!(begun, expected, "{committer:?}");
        let nowhere = world.groups.begin_commit_in_transaction("other", committer);
        let expected = match generation {
            ..0 => Ok(()),
            _ => Err(ErrorCode::ILLEGAL_GENERATION),
        };
        assert_eq!(nowhere, expected, "{committer:?}");
        world.groups.delete("other").unwrap_or_default();
    }
}

/// Something that happens; numbers choose among the ids that were given out.
#[derive(Clone, Copy, Debug)]
enum Event {
    JoinNew {
        instance: Option<u8>,
        knows_ids: bool,
        protocol: u8,
    },
    JoinAgain {
        member: usize,
        protocol: u8,
    },
    Sync {
        member: usize,
        is_current: bool,
    },
    Heartbeat {
        member: usize,
    },
    Leave {
        member: usize,
    },
    Commit {
        member: usize,
    },
    Wait {
        ms: i64,
    },
}

fn protocols(number: u8) -> &'static [&'static str] {
    match number {
        0 => &["range", "sticky"],
        1 => &["sticky", "range"],
        2 => &["sticky"],
        _ => &["range"],
    }
}

fn event() -> impl Strategy<Value = Event> {
    let member = 0..20_usize;
    let protocol = 0..4_u8;
    let instance = prop_oneof![3 => Just(None), 1 => (0..2_u8).prop_map(Some)];
    prop_oneof![
        3 => (instance, any::<bool>(), protocol.clone()).prop_map(|(instance, knows_ids, protocol)| {
            Event::JoinNew { instance, knows_ids, protocol }
        }),
        6 => (member.clone(), protocol).prop_map(|(member, protocol)| {
            Event::JoinAgain { member, protocol }
        }),
        6 => (member.clone(), prop::bool::weighted(0.9)).prop_map(|(member, is_current)| {
            Event::Sync { member, is_current }
        }),
        2 => member.clone().prop_map(|member| Event::Heartbeat { member }),
        1 => member.clone().prop_map(|member| Event::Leave { member }),
        1 => member.prop_map(|member| Event::Commit { member }),
        3 => prop_oneof![0..100_i64, 0..70_000_i64].prop_map(|ms| Event::Wait { ms }),
    ]
}

impl World {
    /// The most recent ids are those of members, mostly.
    fn id(&self, member: usize) -> String {
        let recent = self.ids.iter().rev().cycle();
        recent.take(member + 1).last().cloned().unwrap_or_default()
    }

    fn happen(&mut self, event: Event) {
        self.groups.advance(self.now);
        let generation = self.groups.get("g").map_or(0, |group| group.generation);
        match event {
            Event::JoinNew {
                instance,
                knows_ids,
                protocol,
            } => {
                let instance = instance.map(|number| format!("i{number}"));
                let join = JoinGroup {
                    requires_known_member_id: knows_ids,
                    ..self.joining("", instance.as_deref(), protocols(protocol))
                };
                self.start_join(&join);
            }
            Event::JoinAgain { member, protocol } => {
                self.join(&self.id(member), None, protocols(protocol));
            }
            Event::Sync { member, is_current } => {
                self.sync(&self.id(member), generation - i32::from(!is_current));
            }
            Event::Heartbeat { member } => self.beat(&self.id(member), generation),
            Event::Leave { member } => {
                let id = self.id(member);
                let members = [identity(&id)].into_iter();
                let left = self.groups.leave(self.now, "g", members);
                assert_eq!(left.is_err(), self.groups.get("g").is_none());
            }
            Event::Commit { member } => {
                let committer = Committer {
                    member_id: &self.id(member),
                    instance_id: None,
                    generation,
                };
                let begun = self.groups.begin_commit(self.now, "g", committer);
                let state = self.groups.get("g").map(|group| group.state);
                assert!(begun.is_err() || state != Some(State::CompletingRebalance));
            }
            Event::Wait { ms } => {
                self.now = self.now.plus_ms(ms);
                self.groups.advance(self.now);
            }
        }
    }

    fn beat(&mut self, id: &str, generation: i32) {
        let beat = self
            .groups
            .heartbeat(self.now, "g", identity(id), generation);
        let group = self.groups.get("g");
        let is_member = group.is_some_and(|group| group.members.contains_key(id));
        assert_eq!(beat == Err(ErrorCode::UNKNOWN_MEMBER_ID), !is_member);
    }

    /// What holds after whatever has happened, beside what the answers say.
    fn check(&self) {
        for (ticket, (member_id, since)) in &self.waiting {
            let longest = i64::from(REBALANCE_TIMEOUT_MS);
            assert!(
                self.now.0 - since.0 <= longest,
                "{ticket:?} of {member_id} waits too long"
            );
        }
        let Some(group) = self.groups.get("g") else {
            return;
        };
        let members = &group.members;
        assert!(
            group.deadline().is_none_or(|at| at > self.now),
            "nothing is overdue"
        );
        assert_eq!(
            group.leader.is_some(),
            !members.is_empty(),
            "members have a leader"
        );
        assert!(
            group
                .leader
                .iter()
                .all(|leader| members.contains_key(leader))
        );
        assert!(group.state != State::Empty || members.is_empty());
        assert_eq!(
            group.join_timer.is_some(),
            group.state == State::PreparingRebalance
        );
        let mut tickets = BTreeSet::new();
        for (member_id, member) in members {
            assert!(!group.pending_members.contains_key(member_id));
            if let Some(instance_id) = &member.instance_id {
                assert_eq!(group.static_members.get(instance_id), Some(member_id));
            }
            let is_completing = group.state == State::CompletingRebalance;
            assert!(member.awaiting_sync.is_none() || is_completing);
            let is_preparing = group.state == State::PreparingRebalance;
            assert!(member.awaiting_join.is_none() || is_preparing);
            let awaited = [member.awaiting_join, member.awaiting_sync];
            for ticket in awaited.into_iter().flatten() {
                assert!(tickets.insert(ticket), "each request has one answer");
            }
        }
        assert!(
            self.waiting.keys().eq(&tickets),
            "{:?} and {tickets:?}",
            self.waiting
        );
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        let mut newest = 0;
        // The leader of each generation, as its members were told.
        let mut leaders: BTreeMap<i32, String> = BTreeMap::new();
        for event in events {
            world.happen(event);
            for (_, answer) in world.answers() {
                match answer {
                    Answer::Join(answer) if answer.error_code.is_ok() => {
                        prop_assert!(answer.generation > 0);
                        let is_leader = answer.leader == answer.member_id;
                        prop_assert_eq!(answer.members.is_empty(), !is_leader);
                        if world.group().static_members.is_empty() {
                            let leader = leaders.entry(answer.generation);
                            let leader = leader.or_insert_with(|| answer.leader.clone());
                            prop_assert_eq!(&*leader, &answer.leader);
                        }
                    }
                    Answer::Sync(answer) if answer.error_code.is_ok() => {
                        prop_assert_eq!(world.group().state, State::Stable);
                    }
                    Answer::Join(answer) => prop_assert_eq!(answer.generation, -1),
                    Answer::Sync(answer) => prop_assert!(answer.assignment.is_empty()),
                }
            }
            let generation = world.groups.get("g").map_or(0, |group| group.generation);
            prop_assert!(generation >= newest, "generations grow");
            newest = generation;
            world.check();
        }
        // Left alone, a group answers everyone and empties itself.
        world.wait_until(world.now.plus_ms(3_600_000));
        prop_assert!(world.waiting.is_empty());
        prop_assert!(world.groups.get("g").is_none_or(|group| group.state == State::Empty));
    }
}
