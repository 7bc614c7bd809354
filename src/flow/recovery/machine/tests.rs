//! What a broker may answer while a position is being proven: each code has a decided remedy.

use std::sync::Arc;

use kmirror_protocol::ErrorCode;

use super::*;
use crate::{
    flow::{
        state::State,
        tests::{epoch, options},
    },
    offsets::state::Place,
};

const RANGE: LogRange = LogRange {
    start_offset: 0,
    end_offset: 9,
};

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    /// The failure is the answer: the recovery does without.
    Answered,
    /// It is asked again after a wait.
    AskedAgain,
    SourceRefuses,
    TargetRefuses,
}

fn anchor() -> Anchor {
    Anchor {
        counter: 1,
        generation: 1,
        lineage: Lineage {
            producer_id: 7,
            epoch: 0,
        },
        next_sequence: 3,
        source_offset: 3,
        source_epoch: 0,
        source_topic_id: Uuid::ZERO,
        target_offset: 3,
        target_topic_id: Uuid::ZERO,
        previous: Some(deleted()),
        mapping: 0,
        carried_epoch: -1,
        cut_count: 0,
    }
}

const fn deleted() -> RecordIdentity {
    basis::deleted_record(0)
}

/// The stage in which a question is asked.
fn stage_of(question: Question) -> Stage {
    let anchors = |check| Stage::Anchors {
        candidates: vec![anchor()],
        check: Some(check),
    };
    match question {
        Question::ProducerId => Stage::Claiming,
        Question::Policy | Question::Range(Side::Source) => Stage::Source,
        Question::Range(Side::Target) | Question::Producers => Stage::Target,
        Question::EpochEnd(Side::Source, epoch) => anchors(Check::SourceEpoch(epoch)),
        Question::EpochEnd(Side::Target, epoch) => anchors(Check::TargetEpoch(epoch)),
        Question::Time(timestamp) => Stage::HintTime {
            stored_offset: 3,
            source_offset: 2,
            timestamp,
        },
        Question::Window(Side::Source, _) => Stage::Hint {
            stored_offset: 3,
            asked_offset: 2,
        },
        Question::Window(Side::Target, offset) => anchors(Check::Previous(offset)),
    }
}

fn after(question: Question, failure: Failure) -> Follows {
    let (now, options) = (epoch(), options());
    let mut state = State::new(options.instance);
    let mut recovery = Recovery::new(RecoveryCause::Started, None);
    recovery.go_to(stage_of(question));
    recovery.facts.source = Some(RANGE);
    recovery.facts.target = Some(RANGE);
    recovery.open.push(question);
    let mut around = Surroundings {
        now,
        wall_ms: 0,
        options: &options,
        state: &mut state,
        place: Place {
            topic: Arc::from("t"),
            partition: 0,
        },
        seed: 0,
        source_topic_id: Uuid::ZERO,
        target_topic_id: Uuid::ZERO,
        source_epoch: 0,
        target_epoch: 0,
        own_generation: None,
        known_target_offset: 0,
        stored_offset: None,
        is_growth: false,
        map: None,
    };
    match recovery.answered(&mut around, question, Err(failure)) {
        Progress::Halted(HaltReason::SourceRefuses(_)) => Follows::SourceRefuses,
        Progress::Halted(HaltReason::TargetRefusesProof(_)) => Follows::TargetRefuses,
        Progress::Waits if recovery.backoff.is_waiting(now) => Follows::AskedAgain,
        Progress::Waits => Follows::Answered,
        other => panic!("{question:?}: {other:?}"),
    }
}

#[test]
fn every_failure_of_every_question_has_its_remedy() {
    let source = Follows::SourceRefuses;
    let target = Follows::TargetRefuses;
    // What follows when the answer is one for good, and when the API is missing.
    let questions = [
        (Question::ProducerId, Follows::Answered, Follows::Answered),
        (Question::Policy, Follows::Answered, Follows::Answered),
        (Question::Range(Side::Source), source, source),
        (Question::Range(Side::Target), target, target),
        (Question::Producers, target, Follows::Answered),
        (
            Question::EpochEnd(Side::Source, 0),
            source,
            Follows::Answered,
        ),
        (
            Question::EpochEnd(Side::Target, 0),
            target,
            Follows::Answered,
        ),
        (Question::Time(5), target, target),
        (Question::Window(Side::Source, 2), source, source),
        (Question::Window(Side::Target, 2), target, target),
    ];
    for (question, for_good, unsupported) in questions {
        for code in ErrorCode::ALL.iter().chain(&[ErrorCode(31_000)]) {
            let failure = Failure::Refused(*code, None);
            let expected = match failure.remedy() {
                Remedy::Halt => for_good,
                Remedy::Retry
                | Remedy::RefreshMetadata
                | Remedy::FindLogRange
                | Remedy::SequenceBroken
                | Remedy::RestartProducer => Follows::AskedAgain,
            };
            assert_eq!(after(question, failure), expected, "{question:?}: {code}");
        }
        let text = String::from("something");
        let missing = Failure::Unsupported(text.clone());
        assert_eq!(after(question, missing), unsupported, "{question:?}");
        for passing in [Failure::NoAnswer(text.clone()), Failure::Malformed(text)] {
            let found = after(question, passing.clone());
            assert_eq!(found, Follows::AskedAgain, "{question:?}: {passing}");
        }
    }
}
