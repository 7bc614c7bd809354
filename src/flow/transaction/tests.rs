//! The automaton of a transactional id: every answer at every stage.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::ErrorCode;
use proptest::prelude::*;

use super::{
    TransactionAnswer, TransactionEnd, TransactionOptions, TransactionProtocol,
    TransactionQuestion,
    machine::{Machine, Outcome, Stage},
};
use crate::{
    flow::{Failure, RequestId, TopicPartition, limits, tests::epoch},
    offsets::state::Lineage,
};

const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(60);
const NODE: i32 = 3;

const V1: TransactionProtocol = TransactionProtocol::V1;
const V2: TransactionProtocol = TransactionProtocol::V2;

fn producer(epoch: i16) -> Lineage {
    Lineage {
        producer_id: 9,
        epoch,
    }
}

fn place(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: Arc::from("A.t"),
        partition,
    }
}

fn refused(code: ErrorCode) -> Failure {
    Failure::Refused(code, None)
}

fn silence() -> Failure {
    Failure::NoAnswer(String::from("silence"))
}

/// A machine, its time, and the question that is under way.
struct Talk {
    machine: Machine,
    now: Instant,
    next_request: u64,
}

impl Talk {
    fn new() -> Self {
        Self {
            machine: Machine::new(TransactionOptions {
                transactional_id: Arc::from("id"),
                timeout: TIMEOUT,
            }),
            now: epoch(),
            next_request: 0,
        }
    }

    /// One whose positions have been read.
    fn running(protocol: TransactionProtocol) -> Self {
        let mut talk = Self::new();
        talk.told(TransactionAnswer::Coordinator(NODE));
        talk.told(TransactionAnswer::Producer(producer(5), protocol));
        assert_eq!(talk.machine.stage, Stage::Loading);
        assert_eq!(talk.machine.producer(), None);
        assert_eq!(talk.machine.loaded(), Some(producer(5)));
        talk
    }

    /// One that has been given something, and asks to commit it.
    fn committing(protocol: TransactionProtocol) -> Self {
        let mut talk = Self::running(protocol);
        talk.machine.sent(100);
        talk.begin_commit();
        talk.machine.drained(true);
        talk.machine.stored();
        talk
    }

    fn begin_commit(&mut self) {
        let (now, urgent) = (self.now, (false, true));
        self.machine.begin_commit(now, SECOND, urgent);
        assert_eq!(self.machine.stage, Stage::Draining);
    }

    /// One whose transaction has been given up.
    fn aborting(protocol: TransactionProtocol) -> Self {
        let mut talk = Self::running(protocol);
        if protocol == V1 {
            talk.enter();
        }
        talk.machine.sent(100);
        assert!(talk.machine.start_over(talk.now));
        talk
    }

    /// Lets a partition into the transaction.
    fn enter(&mut self) {
        assert!(!self.machine.admits(|| place(0)));
        let outcome = self.told(TransactionAnswer::Entered(vec![(place(0), Ok(()))]));
        assert_eq!(outcome, Some(Outcome::Entered));
    }

    /// The next question, however long it takes until it is asked.
    fn question(&mut self) -> Option<TransactionQuestion> {
        let request = RequestId(self.next_request);
        let question = self.machine.question(self.now, || request);
        if question.is_none()
            && let Some(at) = self.machine.deadline()
        {
            self.now = self.now.max(at);
        }
        let question = question.or_else(|| self.machine.question(self.now, || request));
        question.map(|(_, question)| question)
    }

    fn answer(&mut self, result: Result<TransactionAnswer, Failure>) -> Option<Outcome> {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.machine.answered(self.now, request, result)
    }

    /// Asks, and takes an answer.
    fn told(&mut self, answer: TransactionAnswer) -> Option<Outcome> {
        self.question().expect("something is asked");
        self.answer(Ok(answer))
    }

    /// Asks, and takes a failure.
    fn failed(&mut self, failure: Failure) -> Option<Outcome> {
        self.question().expect("something is asked");
        self.answer(Err(failure))
    }
}

#[test]
fn a_start_finds_the_coordinator_and_takes_the_id_from_anybody() {
    let mut talk = Talk::new();
    assert_eq!(talk.question(), Some(TransactionQuestion::FindCoordinator));
    assert_eq!(talk.question(), None, "one question at a time");
    talk.answer(Ok(TransactionAnswer::Coordinator(NODE)));
    let init = TransactionQuestion::Init {
        node: NODE,
        timeout: TIMEOUT,
        expected: None,
    };
    assert_eq!(talk.question(), Some(init));
    talk.answer(Ok(TransactionAnswer::Producer(producer(0), V2)));
    assert_eq!(talk.machine.stage, Stage::Loading);
    assert_eq!(talk.question(), None);
    assert!(
        !talk.machine.admits(|| place(0)),
        "before positions are read"
    );
    assert_eq!(talk.machine.loaded(), Some(producer(0)));
    assert!(talk.machine.admits(|| place(0)));
}

#[test]
fn under_the_old_protocol_partitions_are_let_in_before_they_are_written() {
    let mut talk = Talk::running(V1);
    for partition in [0, 1] {
        assert!(!talk.machine.admits(|| place(partition)));
    }
    let enter = TransactionQuestion::Enter {
        node: NODE,
        producer: producer(5),
        partitions: vec![place(0), place(1)],
    };
    assert_eq!(talk.question(), Some(enter));
    let results = vec![(place(0), Ok(())), (place(1), Ok(()))];
    let outcome = talk.answer(Ok(TransactionAnswer::Entered(results)));
    assert_eq!(outcome, Some(Outcome::Entered));
    assert!(talk.machine.admits(|| place(0)) && talk.machine.admits(|| place(1)));
    assert_eq!(talk.question(), None);
    // Positions enter like everything else, and each transaction anew.
    talk.begin_commit();
    talk.machine.drained(true);
    assert!(!talk.machine.admits_positions([place(7)].into_iter()));
    talk.told(TransactionAnswer::Entered(vec![(place(7), Ok(()))]));
    assert!(talk.machine.admits_positions([place(7)].into_iter()));
    talk.machine.stored();
    let outcome = talk.told(TransactionAnswer::Ended(None));
    assert_eq!(outcome, Some(Outcome::Committed(producer(5))));
    assert!(!talk.machine.admits(|| place(0)));
}

#[test]
fn a_partition_that_may_not_enter_keeps_no_other_out() {
    let mut talk = Talk::running(V1);
    for partition in [0, 1] {
        talk.machine.admits(|| place(partition));
    }
    let denied = refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    let left = refused(ErrorCode::OPERATION_NOT_ATTEMPTED);
    let results = vec![(place(0), Err(denied.clone())), (place(1), Err(left))];
    let outcome = talk.told(TransactionAnswer::Entered(results));
    assert_eq!(outcome, Some(Outcome::Refused(vec![(place(0), denied)])));
    let Some(TransactionQuestion::Enter { partitions, .. }) = talk.question() else {
        panic!("the other is not asked for again");
    };
    assert_eq!(partitions, [place(1)]);
}

#[test]
fn a_transaction_is_committed_when_it_is_old_or_large_or_the_flow_stops() {
    let begin = |bytes: usize, after: Duration, is_urgent: bool| {
        let mut talk = Talk::running(V2);
        talk.machine.sent(bytes);
        let (now, later) = (talk.now, talk.now + after);
        talk.machine.begin_commit(now, SECOND, (false, false));
        talk.machine.begin_commit(later, SECOND, (false, is_urgent));
        talk.machine.stage == Stage::Draining
    };
    let (short, much) = (Duration::from_millis(999), limits::TRANSACTION_BYTES_MAX);
    assert!(begin(1, SECOND, false) && begin(much, short, false) && begin(1, short, true));
    assert!(!begin(1, short, false) && !begin(much - 1, short, false));
    let mut idle = Talk::running(V2);
    idle.machine.begin_commit(idle.now, SECOND, (false, true));
    assert_eq!(idle.machine.stage, Stage::Running, "nothing to commit");
    assert_eq!(idle.machine.deadline(), None);
}

#[test]
fn a_transaction_that_the_coordinator_may_not_know_is_not_ended() {
    let drained = |mut talk: Talk, has_positions| {
        talk.machine.sent(1);
        talk.begin_commit();
        talk.machine.drained(has_positions);
        talk.machine.stage
    };
    let entered = || {
        let mut talk = Talk::running(V1);
        talk.machine.admits(|| place(0));
        talk.told(TransactionAnswer::Entered(vec![(place(0), Ok(()))]));
        talk
    };
    let cases = [
        (Talk::running(V2), false, Stage::Running),
        (Talk::running(V2), true, Stage::Storing),
        (Talk::running(V1), false, Stage::Running),
        (entered(), false, Stage::Committing),
        (entered(), true, Stage::Storing),
    ];
    for (talk, has_positions, expected) in cases {
        assert_eq!(drained(talk, has_positions), expected);
    }
}

#[test]
fn an_end_goes_on_with_what_the_coordinator_names() {
    for (protocol, next, expected) in [
        (V1, None, producer(5)),
        (V2, Some(producer(6)), producer(6)),
        (
            V2,
            Some(Lineage {
                producer_id: 10,
                epoch: 0,
            }),
            Lineage {
                producer_id: 10,
                epoch: 0,
            },
        ),
    ] {
        let mut talk = Talk::committing(protocol);
        let end = TransactionQuestion::End {
            node: NODE,
            producer: producer(5),
            protocol,
            commits: true,
        };
        assert_eq!(talk.question(), Some(end));
        let outcome = talk.answer(Ok(TransactionAnswer::Ended(next)));
        assert_eq!(outcome, Some(Outcome::Committed(expected)));
        assert_eq!(talk.machine.producer(), Some(expected));
        assert!(talk.machine.is_settled(false) && !talk.machine.is_settled(true));
    }
}

/// What a failure leads to, by the stage in which it comes.
#[test]
fn what_a_coordinator_refuses_is_asked_again_found_again_or_given_up() {
    use ErrorCode as Code;
    type Make = fn(TransactionProtocol) -> Talk;
    let stages: [(&str, Make); 2] = [("commit", Talk::committing), ("abort", Talk::aborting)];
    let again = [
        Code::CONCURRENT_TRANSACTIONS,
        Code::COORDINATOR_LOAD_IN_PROGRESS,
        Code::NOT_COORDINATOR,
        Code::COORDINATOR_NOT_AVAILABLE,
    ];
    for (name, make) in stages {
        for protocol in [V1, V2] {
            for code in again {
                let mut talk = make(protocol);
                let stage = talk.machine.stage;
                assert_eq!(talk.failed(refused(code)), None, "{name} {code}");
                assert_eq!(talk.machine.stage, stage, "{name} {code}");
                let is_lost = matches!(
                    code,
                    Code::NOT_COORDINATOR | Code::COORDINATOR_NOT_AVAILABLE
                );
                let finds = talk.question() == Some(TransactionQuestion::FindCoordinator);
                assert_eq!(finds, is_lost, "{name} {code}");
            }
        }
    }
    let unclear = [
        silence(),
        Failure::Malformed(String::new()),
        refused(Code::REQUEST_TIMED_OUT),
        refused(Code::UNKNOWN_SERVER_ERROR),
        refused(Code::INVALID_TXN_STATE),
        refused(Code::TRANSACTION_ABORTABLE),
        refused(Code::INVALID_PRODUCER_EPOCH),
        refused(Code::PRODUCER_FENCED),
        refused(Code::INVALID_PRODUCER_ID_MAPPING),
        refused(Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    ];
    for failure in unclear {
        let mut talk = Talk::committing(V2);
        let outcome = talk.failed(failure.clone());
        assert_eq!(outcome, Some(Outcome::Broken(failure)));
    }
    // A connection that could not be made has changed nothing.
    let mut talk = Talk::committing(V2);
    assert_eq!(talk.failed(Failure::Unreached(String::new())), None);
    assert_eq!(talk.machine.stage, Stage::Committing);
}

#[test]
fn a_lost_answer_to_a_commit_is_settled_before_anything_else() {
    // How the abort is answered, and which epoch goes on.
    let over = Err(refused(ErrorCode::INVALID_TXN_STATE));
    for (protocol, answer, expected) in [
        (V1, Ok(TransactionAnswer::Ended(None)), producer(5)),
        (V1, over.clone(), producer(5)),
        (
            V2,
            Ok(TransactionAnswer::Ended(Some(producer(6)))),
            producer(6),
        ),
        (V2, over, producer(5)),
    ] {
        let mut talk = Talk::committing(protocol);
        talk.failed(silence());
        assert!(talk.machine.start_over(talk.now));
        assert!(!talk.machine.is_settled(false));
        assert_eq!(talk.question(), Some(TransactionQuestion::FindCoordinator));
        talk.answer(Ok(TransactionAnswer::Coordinator(NODE)));
        let end = TransactionQuestion::End {
            node: NODE,
            producer: producer(5),
            protocol,
            commits: false,
        };
        assert_eq!(talk.question(), Some(end));
        assert_eq!(talk.answer(answer), None);
        let init = TransactionQuestion::Init {
            node: NODE,
            timeout: TIMEOUT,
            expected: Some(expected),
        };
        assert_eq!(talk.question(), Some(init));
        talk.answer(Ok(TransactionAnswer::Producer(producer(7), protocol)));
        assert_eq!(talk.machine.stage, Stage::Loading);
    }
}

#[test]
fn a_lost_answer_to_an_abort_or_an_init_is_asked_for_again() {
    let mut talk = Talk::aborting(V1);
    let asked = talk.question();
    assert_eq!(talk.answer(Err(silence())), None);
    talk.told(TransactionAnswer::Coordinator(NODE));
    assert_eq!(talk.question(), asked);
    talk.answer(Ok(TransactionAnswer::Ended(None)));
    let asked = talk.question();
    talk.answer(Err(silence()));
    talk.told(TransactionAnswer::Coordinator(NODE));
    assert_eq!(
        talk.question(),
        asked,
        "with the epoch that was known before"
    );
}

#[test]
fn an_answer_to_what_was_given_up_is_not_looked_at() {
    let mut talk = Talk::committing(V1);
    talk.question();
    assert!(talk.machine.start_over(talk.now));
    let ended = Ok(TransactionAnswer::Ended(None));
    assert_eq!(talk.answer(ended), None);
    assert_eq!(talk.machine.stage, Stage::Aborting);
    assert!(
        !talk.machine.start_over(talk.now),
        "there is nothing left to give up"
    );
}

#[test]
fn whoever_is_fenced_looks_who_has_the_id_and_does_not_fight() {
    let found = |producer_id, epoch, end| {
        Ok(TransactionAnswer::Described {
            producer: Lineage { producer_id, epoch },
            end,
        })
    };
    let (aborted, committed) = (
        Some(TransactionEnd::Aborted),
        Some(TransactionEnd::Committed),
    );
    let start = |expected| Stage::Starting { expected };
    let next = start(Some(producer(6)));
    let unknown = Err(refused(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND));
    let unsupported = Err(Failure::Unsupported(String::new()));
    let cases = [
        // The coordinator has aborted what took too long.
        (V1, found(9, 6, aborted), next),
        (V2, found(9, 6, aborted), next),
        // The commit whose answer was lost.
        (V2, found(9, 6, committed), next),
        (V1, found(9, 5, None), start(Some(producer(5)))),
        (V1, unknown, start(None)),
        // Somebody has begun anew.
        (V1, found(9, 6, committed), Stage::Taken),
        (V2, found(9, 6, None), Stage::Taken),
        (V1, found(9, 7, aborted), Stage::Taken),
        (V2, found(10, 6, aborted), Stage::Taken),
        (V1, unsupported, Stage::Taken),
    ];
    for (protocol, answer, expected) in cases {
        for code in [
            ErrorCode::PRODUCER_FENCED,
            ErrorCode::INVALID_PRODUCER_EPOCH,
        ] {
            let mut talk = Talk::aborting(protocol);
            assert_eq!(talk.failed(refused(code)), None);
            assert_eq!(
                talk.question(),
                Some(TransactionQuestion::Describe { node: NODE })
            );
            let outcome = talk.answer(answer.clone());
            assert_eq!(talk.machine.stage, expected, "{answer:?}");
            let is_taken = expected == Stage::Taken;
            assert_eq!(outcome, is_taken.then_some(Outcome::Taken));
            assert_eq!(talk.question().is_none(), is_taken);
        }
    }
}

/// Under the old protocol another process that began anew, and has given up a transaction of its
/// own, leaves the same traces as the coordinator that aborts what took too long (T1:104849).
#[test]
fn only_what_was_certainly_open_can_have_taken_too_long() {
    let fenced = || refused(ErrorCode::PRODUCER_FENCED);
    let described = || TransactionAnswer::Described {
        producer: producer(6),
        end: Some(TransactionEnd::Aborted),
    };

    let mut never_entered = Talk::running(V1);
    assert!(!never_entered.machine.admits(|| place(0)));
    let broken = never_entered.failed(fenced());
    assert_eq!(broken, Some(Outcome::Broken(fenced())));
    let now = never_entered.now;
    assert!(never_entered.machine.start_over(now));
    never_entered.told(TransactionAnswer::Coordinator(NODE));

    let mut perhaps_ended = Talk::aborting(V1);
    perhaps_ended.failed(silence());
    perhaps_ended.told(TransactionAnswer::Coordinator(NODE));

    let mut ended = Talk::running(V1);
    ended.enter();
    ended.machine.sent(100);
    ended.begin_commit();
    ended.machine.drained(true);
    ended.machine.stored();
    ended.told(TransactionAnswer::Ended(None));
    assert!(ended.machine.start_over(ended.now));

    for mut talk in [never_entered, perhaps_ended, ended] {
        assert_eq!(talk.failed(fenced()), None);
        assert_eq!(talk.told(described()), Some(Outcome::Taken));
    }
}

#[test]
fn a_missing_right_is_told_once_and_waited_for() {
    let denied = refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    let mut talk = Talk::new();
    let outcome = talk.failed(denied.clone());
    assert_eq!(outcome, Some(Outcome::Waiting(denied.clone())));
    let asked_at = talk.now;
    assert_eq!(talk.failed(denied), None);
    assert_eq!(talk.now, asked_at + limits::HALT_RETRY);
}

#[test]
fn a_commit_that_takes_too_long_is_noticed_before_the_coordinator_does() {
    let mut talk = Talk::running(V2);
    talk.machine.sent(1);
    talk.begin_commit();
    let due = talk.now + TIMEOUT / limits::COMMIT_TIMEOUT_PART;
    assert_eq!(talk.machine.deadline(), Some(due));
    assert!(!talk.machine.is_overdue(talk.now) && talk.machine.is_overdue(due));
    assert!(talk.machine.start_over(due) && !talk.machine.is_overdue(due));
}

fn ends() -> impl Strategy<Value = Option<TransactionEnd>> {
    let ends = vec![TransactionEnd::Committed, TransactionEnd::Aborted];
    prop::option::of(prop::sample::select(ends))
}

/// What a coordinator may say, sensible or not.
fn answers() -> impl Strategy<Value = Result<TransactionAnswer, Failure>> {
    let lineage =
        || (8..11_i64, 4..9_i16).prop_map(|(producer_id, epoch)| Lineage { producer_id, epoch });
    prop_oneof![
        3 => Just(Ok(TransactionAnswer::Coordinator(NODE))),
        3 => lineage().prop_map(|it| Ok(TransactionAnswer::Producer(it, V1))),
        3 => lineage().prop_map(|it| Ok(TransactionAnswer::Producer(it, V2))),
        3 => prop::option::of(lineage()).prop_map(|it| Ok(TransactionAnswer::Ended(it))),
        1 => (lineage(), ends()).prop_map(|(producer, end)| {
            Ok(TransactionAnswer::Described { producer, end })
        }),
        2 => Just(Ok(TransactionAnswer::Entered(vec![(place(0), Ok(()))]))),
        4 => prop::sample::select(ErrorCode::ALL).prop_map(|code| Err(refused(code))),
        1 => Just(Err(silence())),
    ]
}

proptest! {
    /// Whatever is answered: nothing is written between giving a transaction up and a new epoch,
    /// and the id is taken from others only at the start and when nobody else can have it.
    #[test]
    fn nothing_is_written_before_doubt_is_settled(answers in prop::collection::vec(answers(), 1..80)) {
        let mut talk = Talk::new();
        let mut is_in_doubt = false;
        let mut was_described = false;
        for answer in answers {
            if talk.machine.stage == Stage::Loading {
                talk.machine.loaded();
                is_in_doubt = false;
            }
            talk.machine.admits(|| place(0));
            if talk.machine.stage == Stage::Running {
                talk.machine.sent(1);
                talk.begin_commit();
                talk.machine.drained(true);
            }
            if talk.machine.stage == Stage::Storing
                && talk.machine.admits_positions([place(0)].into_iter())
            {
                talk.machine.stored();
            }
            let mut question = talk.question();
            if question.is_none() && talk.machine.is_overdue(talk.now) {
                prop_assert!(talk.machine.start_over(talk.now));
                is_in_doubt = true;
                was_described = false;
                question = talk.question();
            }
            let Some(question) = question else {
                prop_assert!(matches!(talk.machine.stage, Stage::Taken | Stage::Loading));
                break;
            };
            match &question {
                TransactionQuestion::Enter { .. }
                | TransactionQuestion::End { commits: true, .. } => prop_assert!(!is_in_doubt),
                TransactionQuestion::Init { expected: None, .. } => {
                    prop_assert!(!is_in_doubt || was_described);
                }
                TransactionQuestion::Describe { .. } => was_described = true,
                _ => {}
            }
            if let Some(Outcome::Broken(_)) = talk.answer(answer) {
                prop_assert!(talk.machine.start_over(talk.now));
                is_in_doubt = true;
                was_described = false;
            }
        }
    }
}
