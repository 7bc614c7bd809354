//! Every error code of the protocol, at every place where a flow hears one: each has its remedy.
//!
//! Whatever is answered, one of three things follows: the same is asked again before long, the flow
//! does without, or the partition halts and says why. Nothing is forgotten, nothing panics.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kmirror_protocol::{ErrorCode, wire::Uuid};

use super::{brokers::refused, epoch, options, partition::Bench};
use crate::{
    flow::{
        Action, ClusterView, ConfigEntry, ConfigOrigin, Delivery, Event, Failure, Flow,
        FlowOptions, Footing, LogRange, PartitionView, Refusal, Side, StateRead, TopicConfig,
        TopicView,
        halt::HaltReason,
        limits,
        partition::{Outgoing, PartitionNotice},
        recovery::Start,
        retry::Remedy,
    },
    offsets::state::{Anchor, Lineage},
};

/// Longer than any wait before something is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// More turns than any question needs.
const TURNS_MAX: usize = 10_000;

pub(super) fn failures() -> impl Iterator<Item = Failure> {
    let codes = ErrorCode::ALL.iter().copied();
    let codes = codes.filter(|code| *code != ErrorCode::NONE);
    // A code that no Kafka knows yet may come as well.
    let codes = codes.chain([ErrorCode(31_000), ErrorCode(-7)]);
    let text = || String::from("something");
    let others = [
        Failure::NoAnswer(text()),
        Failure::Unsupported(text()),
        Failure::Malformed(text()),
    ];
    codes.map(refused).chain(others)
}

fn view(id: &str, topics: &[&str]) -> ClusterView {
    let partition = PartitionView {
        leader: Some(1),
        leader_epoch: 0,
        replica_count: 3,
    };
    let topics = topics.iter().map(|name| {
        let topic = TopicView {
            topic_id: Uuid::ZERO,
            partitions: [(0, partition)].into_iter().collect(),
        };
        (Arc::from(*name), topic)
    });
    ClusterView {
        cluster_id: Some(String::from(id)),
        broker_count: 3,
        topics: topics.collect(),
    }
}

/// A flow whose clusters answer what they must, up to where a question is answered with a failure.
struct Asked {
    flow: Flow,
    now: Instant,
    /// Whether the remote topic is still to be created.
    is_new: bool,
    /// Requests that have not been looked at.
    actions: Vec<Action>,
}

impl Asked {
    fn new(delivery: Delivery, is_new: bool) -> Self {
        let options = FlowOptions {
            delivery,
            ..options()
        };
        let now = epoch();
        Self {
            flow: Flow::new(options, now),
            now,
            is_new,
            actions: Vec::new(),
        }
    }

    /// The requests that are due now.
    fn due(&mut self) -> Vec<Action> {
        self.tell(Event::DeadlineReached);
        self.flow.schedule(self.now, &mut self.actions);
        std::mem::take(&mut self.actions)
    }

    fn tell(&mut self, event: Event) {
        self.flow.handle(self.now, event, &mut self.actions);
    }

    /// What goes well.
    fn answer(&self, action: &Action) -> Option<Event> {
        let target: &[&str] = if self.is_new {
            &["mm2-offsets.A.internal", "kmirror-state.A.internal"]
        } else {
            &["mm2-offsets.A.internal", "kmirror-state.A.internal", "A.t"]
        };
        Some(match action {
            Action::AskMetadata(Side::Source) => Event::Metadata {
                side: Side::Source,
                result: Ok(view("source", &["t"])),
            },
            Action::AskMetadata(Side::Target) => Event::Metadata {
                side: Side::Target,
                result: Ok(view("target", target)),
            },
            Action::LoadPositions { .. } => Event::PositionsLoaded(Ok(Vec::new())),
            Action::InspectTopics { side, .. } => Event::TopicsInspected {
                side: *side,
                result: Ok(Vec::new()),
            },
            Action::ReadState { wait, .. } if wait.is_zero() => {
                Event::StateRead(Ok(StateRead::default()))
            }
            Action::AskConfigs(topics) => {
                let config = |topic: &Arc<str>| TopicConfig {
                    topic: Arc::clone(topic),
                    entries: vec![ConfigEntry {
                        name: String::from("retention.ms"),
                        value: Some(String::from("1000")),
                        origin: ConfigOrigin::Topic,
                        is_read_only: false,
                        is_sensitive: false,
                    }],
                };
                Event::Configs(Ok(topics.iter().map(config).collect()))
            }
            Action::AskProducerId(partition) => Event::ProducerId {
                partition: *partition,
                result: Ok((5, 0)),
            },
            Action::AskLogRanges {
                request,
                partitions,
                ..
            } => {
                let range = LogRange {
                    start_offset: 3,
                    end_offset: 3,
                };
                let ranges = partitions.iter().map(|(id, _)| (*id, Ok(range)));
                Event::LogRanges {
                    request: *request,
                    result: Ok(ranges.collect()),
                }
            }
            _ => return None,
        })
    }

    /// Lets everything go well until something like `wanted` is asked; the first of these.
    fn reach(&mut self, wanted: fn(&Action) -> bool) -> Option<Action> {
        let until = self.now + PATIENCE;
        for _ in 0..TURNS_MAX {
            let mut due = self.due();
            if let Some(found) = due.iter().position(wanted) {
                return Some(due.swap_remove(found));
            }
            let answers: Vec<Event> = due.iter().filter_map(|it| self.answer(it)).collect();
            let is_idle = answers.is_empty();
            answers.into_iter().for_each(|event| self.tell(event));
            if is_idle {
                self.now = self.flow.deadline()?.max(self.now);
                if self.now > until {
                    return None;
                }
            }
        }
        panic!("a loop without an end");
    }

    fn halted(&self) -> Option<String> {
        self.flow.partition_statuses().find_map(|it| it.halted)
    }
}

/// A question, and how the answer to it looks when a broker refuses what was asked.
type Question = (&'static str, Delivery, bool, fn(&Action) -> bool);

const QUESTIONS: [Question; 12] = {
    use Delivery::{AtLeastOnce, ExactlyOnce};
    [
        ("source metadata", ExactlyOnce, false, |it| {
            matches!(it, Action::AskMetadata(Side::Source))
        }),
        ("target metadata", ExactlyOnce, false, |it| {
            matches!(it, Action::AskMetadata(Side::Target))
        }),
        ("positions", ExactlyOnce, false, |it| {
            matches!(it, Action::LoadPositions { .. })
        }),
        ("the state topic's settings", ExactlyOnce, false, |it| {
            matches!(
                it,
                Action::InspectTopics {
                    side: Side::Target,
                    ..
                }
            )
        }),
        ("the state topic", ExactlyOnce, false, |it| {
            matches!(it, Action::ReadState { .. })
        }),
        ("a record of the state", ExactlyOnce, false, |it| {
            matches!(it, Action::WriteState { .. })
        }),
        ("a producer id for a proof", ExactlyOnce, false, |it| {
            matches!(it, Action::AskProducerId(_))
        }),
        ("the source's settings", ExactlyOnce, true, |it| {
            matches!(it, Action::AskConfigs(_))
        }),
        ("a new topic", ExactlyOnce, true, |it| {
            matches!(it, Action::CreateTopics(_))
        }),
        ("a producer id", AtLeastOnce, false, |it| {
            matches!(it, Action::AskProducerId(_))
        }),
        ("the start of a log", AtLeastOnce, false, |it| {
            matches!(it, Action::AskLogRanges { .. })
        }),
        ("records", AtLeastOnce, false, |it| {
            matches!(it, Action::Fetch { .. })
        }),
    ]
};

#[test]
fn whatever_a_broker_answers_it_is_asked_again_or_done_without_or_the_partition_halts() {
    for (what, delivery, is_new, wanted) in QUESTIONS {
        for failure in failures() {
            let mut asked = Asked::new(delivery, is_new);
            let action = asked.reach(wanted);
            let action = action.unwrap_or_else(|| panic!("{what} is not asked for"));
            asked.tell(action.failed(&failure).unwrap());
            let is_for_good = failure.remedy() == Remedy::Halt;
            let follows = asked.reach(wanted).is_some();
            let does_without = match what {
                // Taken on trust, as what may not be looked at.
                "the state topic's settings" => is_for_good,
                // Batches go without sequence numbers.
                "a producer id" | "a producer id for a proof" => is_for_good,
                _ => false,
            };
            assert!(
                follows || does_without,
                "{what}: {failure} is neither asked again nor done without: {:?}",
                asked.halted()
            );
        }
    }
}

#[test]
fn a_halt_says_why_and_only_what_cannot_pass_by_itself_halts() {
    for failure in failures() {
        let mut asked = Asked::new(Delivery::AtLeastOnce, false);
        let action = asked
            .reach(|it| matches!(it, Action::Fetch { .. }))
            .unwrap();
        asked.tell(action.failed(&failure).unwrap());
        let halts = matches!(
            failure.remedy(),
            Remedy::Halt | Remedy::SequenceBroken | Remedy::RestartProducer
        );
        let words = format!("the source answers {failure}");
        let expected = halts.then_some(words);
        assert_eq!(asked.halted(), expected, "{failure}");
    }
}

/// What follows from an answer to a batch.
#[derive(Debug, PartialEq, Eq)]
enum Follows {
    SentAgain,
    Proven,
    Halts,
    /// A new producer id is asked for.
    Renewed,
    /// It is fetched again.
    FetchedAgain,
}

/// A partition that has sent its first batch under this identity; at least once without one.
fn sent(lineage: Option<Lineage>) -> (Bench, Outgoing) {
    let mut bench = Bench::new(3);
    if let Some(lineage) = lineage {
        let log = std::mem::take(&mut bench.log);
        bench = Bench {
            log,
            ..Bench::at(0)
        };
        bench.partition = bench.partition.proving();
        bench.partition.start(start(lineage), None);
        bench.fetch();
    }
    let batch = bench.send_batches().remove(0);
    (bench, batch)
}

fn start(lineage: Lineage) -> Start {
    Start {
        anchor: Anchor {
            lineage,
            carried_epoch: 0,
            ..Anchor::BLANK
        },
        target_epoch: 0,
        is_established: false,
        is_shared: false,
        footing: Footing {
            refusal: (!lineage.is_sequenced()).then_some(Refusal::NotOffered),
            ..Footing::default()
        },
        foreign_records: 0,
    }
}

fn after(lineage: Option<Lineage>, failure: Failure) -> Follows {
    let (mut bench, batch) = sent(lineage);
    let sent = (batch.base_sequence, batch.stint);
    let notice = bench.partition.produced(bench.now, sent, Err(failure));
    if bench.partition.take_recovery_cause().is_some() {
        return Follows::Proven;
    }
    if let Some(PartitionNotice::Halted(reason)) = notice {
        assert!(
            matches!(
                reason,
                HaltReason::TargetRefuses(_)
                    | HaltReason::BatchTooLarge { .. }
                    | HaltReason::TargetDiverged(_)
            ),
            "{reason:?}"
        );
        return Follows::Halts;
    }
    bench.now += limits::BACKOFF_MAX;
    if bench.partition.wants_producer_id(bench.now) {
        return Follows::Renewed;
    }
    match bench.partition.next_batch(bench.now) {
        Some(again) => {
            assert_eq!(again.header, batch.header, "the same bytes again (I6)");
            Follows::SentAgain
        }
        None => Follows::FetchedAgain,
    }
}

#[test]
fn every_answer_to_a_batch_leads_to_a_proof_a_resend_or_a_halt() {
    let lineage = Lineage {
        producer_id: 7,
        epoch: 0,
    };
    let before_append = [
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::CONCURRENT_TRANSACTIONS,
        ErrorCode::CORRUPT_MESSAGE,
        ErrorCode::THROTTLING_QUOTA_EXCEEDED,
    ];
    for failure in failures() {
        let remedy = failure.remedy();
        let is_sequence = matches!(remedy, Remedy::SequenceBroken | Remedy::RestartProducer);
        let denied = refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
        let once = match remedy {
            _ if is_sequence || failure.is_ambiguous() || failure == denied => Follows::Proven,
            Remedy::Halt => Follows::Halts,
            _ => Follows::SentAgain,
        };
        assert_eq!(after(Some(lineage), failure.clone()), once, "{failure}");

        let is_early = before_append.iter().any(|code| failure == refused(*code));
        let unsequenced = match remedy {
            _ if failure.is_ambiguous() => Follows::Proven,
            Remedy::Halt => Follows::Halts,
            _ if is_early => Follows::SentAgain,
            _ => Follows::Proven,
        };
        let found = after(Some(Lineage::UNSEQUENCED), failure.clone());
        assert_eq!(found, unsequenced, "without sequence numbers: {failure}");

        let at_least_once = match remedy {
            Remedy::Halt | Remedy::SequenceBroken => Follows::Halts,
            Remedy::RestartProducer => Follows::Renewed,
            _ => Follows::SentAgain,
        };
        let found = after(None, failure.clone());
        assert_eq!(found, at_least_once, "at least once: {failure}");
    }
}

#[test]
fn without_sequence_numbers_one_batch_is_under_way_and_says_so() {
    let (mut bench, batch) = sent(Some(Lineage::UNSEQUENCED));
    let header = kmirror_protocol::records::BatchHeader::parse(&batch.header).unwrap();
    let producer = header.producer();
    assert_eq!(producer, kmirror_protocol::records::BatchProducer::NONE);
    assert!(bench.send_batches().is_empty());
    let sent = (batch.base_sequence, batch.stint);
    bench.partition.produced(bench.now, sent, Ok(0));
    assert_eq!(bench.send_batches().len(), 1, "and then the next");
    assert!(bench.send_batches().is_empty());

    let anchor = bench.partition.take_anchor((Uuid::ZERO, Uuid::ZERO));
    let anchor = anchor.unwrap();
    assert_eq!(anchor.0.lineage, Lineage::UNSEQUENCED);
    assert_eq!(anchor.0.next_sequence, 0);
    assert_eq!(anchor.0.previous.unwrap().sequence, -1);
}
