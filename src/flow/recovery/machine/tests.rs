//! What a broker may answer while a position is being proven: each code has a decided remedy.

use std::{collections::BTreeMap, sync::Arc};

use kmirror_protocol::{
    ErrorCode,
    records::{BatchBuilder, BatchProducer, Compression, NewRecord},
};

use super::*;
use crate::{
    flow::{
        StateLogRecord, StateRead,
        state::State,
        tests::{epoch, options},
    },
    offsets::state::{Place, StateRecord, encode},
    policy::StartAt,
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
        lineage: Lineage {
            producer_id: 7,
            epoch: 0,
        },
        next_sequence: 3,
        source_offset: 3,
        source_epoch: 0,
        target_offset: 3,
        previous: Some(deleted()),
        ..Anchor::BLANK
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
    let begin = |wanted| Stage::Begin(Box::new(Search::new(wanted, RANGE)));
    match question {
        Question::ProducerId => Stage::Claiming,
        Question::Policy | Question::Range(Side::Source) => Stage::Source,
        Question::Range(Side::Target) | Question::Producers => Stage::Target,
        Question::EpochEnd(Side::Source, epoch) => anchors(Check::SourceEpoch(epoch)),
        Question::EpochEnd(Side::Target, epoch) => anchors(Check::TargetEpoch(epoch)),
        Question::Time(Side::Source, millis) => begin(StartAt::Timestamp(millis)),
        Question::Committed => begin(StartAt::Group {
            group: Arc::from("g"),
            otherwise: Box::default(),
        }),
        Question::Time(Side::Target, timestamp) => Stage::HintTime {
            stored_offset: 3,
            source_offset: 2,
            timestamp,
        },
        Question::Window(Side::Source, _) => Stage::Hint(Hint::new(3, 0)),
        Question::Window(Side::Target, offset) => anchors(Check::Previous(offset)),
        Question::Decided(offset) => Stage::Proof {
            basis: Basis::Beginning,
            proof: Box::new(Proof::new(ProofStart {
                source_offset: 0,
                target_offset: offset,
                target_end: offset + 1,
                lineage: Lineage::UNSEQUENCED,
                next_sequence: None,
                is_source_cut: false,
                is_target_cut: false,
                skip_to_sequence: None,
                deleted_max: 0,
                counted_epoch: 0,
            })),
        },
    }
}

/// One record of the state topic.
fn read_of(place: Place, entry: Entry) -> StateRead {
    let stored = encode(&StateRecord { place, entry });
    StateRead {
        records: vec![StateLogRecord {
            partition: 0,
            offset: 0,
            key: stored.key,
            value: stored.value,
        }],
        next_offsets: BTreeMap::from([(0, 1)]),
    }
}

/// A recovery whose partition has one anchor, and what it may look at.
fn with_recovery<T>(change: impl FnOnce(&mut Recovery, &mut Surroundings<'_>) -> T) -> T {
    let (now, options) = (epoch(), options());
    let place = Place {
        topic: Arc::from("t"),
        partition: 0,
    };
    let mut state = State::new(options.instance, options.state_write_records_max);
    let read = read_of(place.clone(), Entry::Anchor(anchor()));
    assert_eq!(state.take(now, read), []);
    let mut recovery = Recovery::new(RecoveryCause::Started, None);
    recovery.facts.may_compact = Some(false);
    recovery.facts.source = Some(RANGE);
    recovery.facts.target = Some(RANGE);
    recovery.facts.newest = Some((1, 1));
    let mut around = Surroundings {
        now,
        wall_ms: 0,
        options: &options,
        state: &mut state,
        place,
        seed: 0,
        source_topic_id: Uuid::ZERO,
        target_topic_id: Uuid::ZERO,
        source_epoch: 0,
        target_epoch: 0,
        own_generation: None,
        known_target_offset: 0,
        stored_offset: None,
        start_at: &StartAt::Earliest,
        map: None,
    };
    change(&mut recovery, &mut around)
}

fn after(question: Question, failure: Failure) -> Follows {
    with_recovery(|recovery, around| {
        recovery.go_to(stage_of(question));
        recovery.facts.source = Some(RANGE);
        recovery.facts.target = Some(RANGE);
        recovery.open.push(question);
        match recovery.answered(around, question, Err(failure)) {
            Progress::Halted(HaltReason::SourceRefuses(_)) => Follows::SourceRefuses,
            Progress::Halted(HaltReason::TargetRefusesProof(_)) => Follows::TargetRefuses,
            Progress::Waits if recovery.backoff.is_waiting(around.now) => Follows::AskedAgain,
            Progress::Waits => Follows::Answered,
            other => panic!("{question:?}: {other:?}"),
        }
    })
}

/// The lineage's producer as the target's leader remembers it: seven records from the anchor on.
const fn remembered(producer_epoch: i32) -> ActiveProducer {
    ActiveProducer {
        producer_id: 7,
        producer_epoch,
        last_sequence: 8,
        transaction_start_offset: -1,
    }
}

/// An answer without records.
const fn nothing(high_watermark: i64) -> Answer {
    Answer::Window(FetchedRecords {
        records: Bytes::new(),
        high_watermark,
        last_stable_offset: high_watermark,
        aborted: Vec::new(),
        diverging: None,
    })
}

#[test]
fn a_log_that_retention_has_emptied_has_no_last_batch_to_compare() {
    for (start_offset, is_cheap) in [(0, true), (8, true), (9, false)] {
        let stage = with_recovery(|recovery, around| {
            recovery.facts.producers = Some(Some(vec![remembered(0)]));
            let newest = Anchor {
                mapping: recovery.mapping_rules(around),
                ..anchor()
            };
            let target = LogRange {
                start_offset,
                ..RANGE
            };
            recovery.cheap_path(around, &newest, Some(&newest), RANGE, target)
        });
        assert_eq!(stage.is_some(), is_cheap, "from {start_offset}");
    }
}

#[test]
fn copies_that_are_gone_are_counted_only_by_what_is_remembered_of_their_lineage() {
    let first_question = |producer_epoch| {
        with_recovery(|recovery, around| {
            recovery.facts.producers = Some(Some(vec![remembered(producer_epoch)]));
            recovery.facts.target = Some(LogRange {
                start_offset: 9,
                ..RANGE
            });
            recovery.prove(around, Basis::Anchor(Box::new(anchor())));
            recovery.wanted()
        })
    };
    assert_eq!(first_question(0), [Question::Window(Side::Source, 3)]);
    assert_eq!(first_question(-1), [], "nothing is passed");
}

#[test]
fn an_answer_without_records_says_something_only_when_no_other_partition_was_asked_about() {
    let question = Question::Decided(3);
    let ends = |high_watermarks: &[i64]| {
        with_recovery(|recovery, around| {
            recovery.prove(around, Basis::Anchor(Box::new(anchor())));
            let mut alone = Vec::new();
            for high_watermark in high_watermarks {
                assert_eq!(recovery.wanted(), [question]);
                let answered = recovery.answered(around, question, Ok(nothing(*high_watermark)));
                assert!(matches!(answered, Progress::Waits));
                alone.push(recovery.asks_alone());
            }
            (alone, recovery.wanted().is_empty())
        })
    };
    assert_eq!(ends(&[9, 9]), (vec![true, true], true));
    assert_eq!(ends(&[9]), (vec![true], false), "others may have filled it");
    assert_eq!(ends(&[8, 8]), (vec![false, false], false), "not committed");
    assert_eq!(ends(&[8, 9]), (vec![false, true], false));
}

#[test]
fn an_anchor_whose_record_is_gone_with_all_behind_it_is_known_by_its_epoch() {
    with_recovery(|recovery, around| {
        let question = Question::Window(Side::Target, 2);
        recovery.go_to(stage_of(question));
        recovery.facts.target = Some(RANGE);
        for _ in 0..2 {
            assert_eq!(recovery.wanted(), [question]);
            let answered = recovery.answered(around, question, Ok(nothing(9)));
            assert!(matches!(answered, Progress::Waits));
        }
        assert_eq!(recovery.wanted(), [Question::EpochEnd(Side::Target, 0)]);
    });
}

#[test]
fn an_anchor_under_a_later_epoch_is_believed_when_only_the_lineage_wrote_since() {
    const LATER: i32 = 4;
    // The log has the anchor's record, at offset 2, under a later epoch that begins at offset 1.
    let window = |base_sequence| {
        let producer = BatchProducer {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence,
        };
        let mut builder = BatchBuilder::new(Compression::None)
            .appended_at(1, LATER)
            .producer(producer);
        for _ in 0..2 {
            builder.push(&NewRecord::default()).unwrap();
        }
        let Answer::Window(empty) = nothing(9) else {
            unreachable!()
        };
        Answer::Window(FetchedRecords {
            records: Bytes::from(builder.build().unwrap().to_vec()),
            ..empty
        })
    };
    let asked = |is_dense: bool| {
        with_recovery(|recovery, around| {
            let anchor = Anchor {
                previous: Some(RecordIdentity {
                    producer_id: 7,
                    producer_epoch: 0,
                    sequence: 2,
                    leader_epoch: 0,
                }),
                ..anchor()
            };
            recovery.go_to(Stage::Anchors {
                candidates: vec![anchor],
                check: Some(Check::Previous(2)),
            });
            let mut asked = Vec::new();
            while let Stage::Anchors { check, .. } = &recovery.stage {
                asked.push(check.unwrap());
                let question = recovery.wanted()[0];
                let answer = match question {
                    Question::EpochEnd(..) => Answer::EpochEnd(EpochEnd {
                        epoch: 0,
                        end_offset: 1,
                    }),
                    _ if is_dense || asked.len() == 1 => window(1),
                    _ => window(2),
                };
                let _ = recovery.answered(around, question, Ok(answer));
            }
            let Stage::Proof { basis, .. } = &recovery.stage else {
                panic!("{:?}", recovery.stage)
            };
            (asked, matches!(basis, Basis::Anchor(_)))
        })
    };
    let checks = vec![Check::Previous(2), Check::LaterEpoch(0), Check::Dense(1)];
    assert_eq!(asked(true), (checks.clone(), true));
    assert_eq!(asked(false), (checks, false), "another record is between");
}

#[test]
fn who_owns_a_partition_says_so_while_its_position_is_being_proven() {
    let generation = |stage: Stage| {
        with_recovery(|recovery, _| {
            recovery.generation = 5;
            recovery.go_to(stage);
            recovery.owned_generation()
        })
    };
    assert_eq!(generation(Stage::Own), None);
    assert_eq!(generation(Stage::Claiming), None);
    assert_eq!(generation(Stage::Source), Some(5));
    assert_eq!(generation(Stage::Quiet(epoch())), Some(5));
    assert_eq!(generation(stage_of(Question::Range(Side::Target))), Some(5));
}

#[test]
fn nothing_is_concluded_from_an_answer_that_came_after_the_news_of_a_successor() {
    with_recovery(|recovery, around| {
        recovery.generation = 3;
        let question = Question::EpochEnd(Side::Target, 0);
        recovery.go_to(stage_of(question));
        let successor = Owner {
            generation: 4,
            instance: Uuid([9; 16]),
            since_ms: 0,
        };
        let stored = encode(&StateRecord {
            place: around.place.clone(),
            entry: Entry::Owner(successor),
        });
        let read = StateRead {
            records: vec![StateLogRecord {
                partition: 0,
                offset: 1,
                key: stored.key,
                value: stored.value,
            }],
            next_offsets: BTreeMap::from([(0, 2)]),
        };
        assert_eq!(around.state.take(around.now, read), []);
        let end = EpochEnd {
            epoch: 0,
            end_offset: 9,
        };
        let progress = recovery.answered(around, question, Ok(Answer::EpochEnd(end)));
        assert!(
            matches!(
                progress,
                Progress::Halted(HaltReason::Superseded { generation: 4, .. })
            ),
            "{progress:?}"
        );
    });
}

#[test]
fn what_a_former_leader_of_the_source_told_is_asked_again() {
    let asks_again = |stage: Stage, told_under, leads| {
        with_recovery(|recovery, _| {
            recovery.go_to(stage);
            recovery.facts.source = Some(RANGE);
            recovery.source_epoch = told_under;
            recovery.source_moved(leads);
            recovery.facts.source.is_none()
        })
    };
    let target = || stage_of(Question::Range(Side::Target));
    assert!(asks_again(target(), 3, 4));
    assert!(!asks_again(target(), 3, 3));
    assert!(asks_again(Stage::Quiet(epoch()), 3, 4));
}

#[test]
fn an_anchor_behind_a_gap_is_checked_against_what_the_source_has_of_its_leader() {
    let is_believed = |end_offset| {
        with_recovery(|recovery, around| {
            let anchor = Anchor {
                source_epoch: -1,
                source_leader_epoch: 2,
                previous: None,
                ..anchor()
            };
            recovery.try_anchors(around, vec![anchor], RANGE);
            let question = Question::EpochEnd(Side::Source, 2);
            assert_eq!(recovery.wanted(), [question]);
            let end = EpochEnd {
                epoch: 2,
                end_offset,
            };
            let _ = recovery.answered(around, question, Ok(Answer::EpochEnd(end)));
            let basis = match &recovery.stage {
                Stage::Proof { basis, .. } => matches!(basis, Basis::Anchor(_)),
                other => panic!("{other:?}"),
            };
            (basis, recovery.has_source_diverged)
        })
    };
    assert_eq!(is_believed(3), (true, false));
    assert_eq!(is_believed(2), (false, true));
}

/// The source has lost what an anchor tells of, and then deletes all that could show it: what came in
/// the place of the copied records is missing, and known to be.
#[test]
fn an_anchor_that_was_refuted_once_is_not_believed_later() {
    with_recovery(|recovery, around| {
        recovery.facts.source = Some(RANGE);
        recovery.facts.target = Some(RANGE);
        recovery.facts.may_compact = Some(false);
        recovery.facts.producers = Some(None);
        assert!(recovery.target_known(around).is_ok());
        let question = Question::EpochEnd(Side::Source, 0);
        assert_eq!(recovery.wanted(), [question]);
        let end = EpochEnd {
            epoch: 0,
            end_offset: 0,
        };
        let _ = recovery.answered(around, question, Ok(Answer::EpochEnd(end)));
        assert!(recovery.has_source_diverged);
        recovery.has_source_diverged = false;
        assert!(recovery.target_known(around).is_ok());
        assert!(recovery.has_source_diverged);
        assert!(
            matches!(
                &recovery.stage,
                Stage::Proof {
                    basis: Basis::Beginning,
                    ..
                }
            ),
            "{:?}",
            recovery.stage
        );
    });
}

/// What becomes of a partition with a reset of this generation to offset 5, when the source's log
/// starts and ends there: where copying begins, and what counts as missing.
fn after_reset(
    generation: u64,
    (start_offset, end_offset): (i64, i64),
) -> Option<(i64, Option<Missing>)> {
    with_recovery(|recovery, around| {
        let reset = Entry::Reset(Reset {
            generation,
            source_offset: 5,
            source_topic_id: Uuid::ZERO,
            since_ms: 0,
        });
        around
            .state
            .take(around.now, read_of(around.place.clone(), reset));
        recovery.facts.source = Some(LogRange {
            start_offset,
            end_offset,
        });
        recovery.facts.producers = Some(None);
        recovery.stage = Stage::Target;
        let step = recovery.target_known(around);
        assert!(matches!(step, Ok(true)));
        match &recovery.stage {
            Stage::Last(opening) => {
                assert_eq!(opening.because, NewBecause::Reset);
                assert_eq!(opening.position.target_offset, 9);
                let missing = opening.missing.map(|(missing, _)| missing);
                Some((opening.position.source_offset, missing))
            }
            _ => None,
        }
    })
}

#[test]
fn a_reset_begins_a_lineage_behind_what_the_target_has() {
    assert_eq!(after_reset(1, (0, 9)), Some((5, None)));
    assert_eq!(after_reset(4, (0, 5)), Some((5, None)));
    let missing = Missing {
        from_offset: 5,
        to_offset: 7,
        cause: GapCause::Deleted,
    };
    assert_eq!(after_reset(1, (7, 9)), Some((7, Some(missing))));
    assert_eq!(after_reset(1, (0, 4)), None, "the log is looked at again");
    assert_eq!(after_reset(0, (0, 9)), None, "an owner has begun there");
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
        (Question::Time(Side::Target, 5), target, target),
        (Question::Time(Side::Source, 5), source, source),
        (Question::Committed, source, source),
        (Question::Window(Side::Source, 2), source, source),
        (Question::Window(Side::Target, 2), target, target),
        (Question::Decided(2), target, target),
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
