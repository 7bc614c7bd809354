//! The numbers of running flows, for those who watch: asked for when somebody looks, so that they
//! cost nothing otherwise.

use std::{future::Future, pin::Pin};

use tokio::sync::{mpsc, oneshot};

use crate::{
    flow::{CheckpointStatus, FlowStatus, PartitionStatus, Side},
    observe::metrics::{CheckpointNumbers, FlowNumbers, PartitionNumbers, Reporter},
};

/// Where a flow, each of its partitions and the groups on them stand.
pub(super) type Standing = (FlowStatus, Vec<PartitionStatus>, Vec<CheckpointStatus>);

/// Asks one flow where it stands.
pub(super) type Question = oneshot::Sender<Standing>;

/// Questions to one flow that wait to be answered.
pub(super) const QUESTIONS_MAX: usize = 4;

/// All flows of a process.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: Vec<(String, String, mpsc::Sender<Question>)>,
}

impl Flows {
    pub(super) fn add(&mut self, source: &str, target: &str, questions: mpsc::Sender<Question>) {
        self.flows
            .push((source.to_owned(), target.to_owned(), questions));
    }
}

impl Reporter for Flows {
    fn numbers(&self) -> Pin<Box<dyn Future<Output = Vec<FlowNumbers>> + Send + '_>> {
        Box::pin(async {
            let mut all = Vec::with_capacity(self.flows.len());
            for (source, target, questions) in &self.flows {
                let (question, answer) = oneshot::channel();
                // One that has ended has no numbers any more.
                if questions.send(question).await.is_ok()
                    && let Ok(standing) = answer.await
                {
                    all.push(numbers(source, target, standing));
                }
            }
            all
        })
    }
}

fn numbers(source: &str, target: &str, (status, partitions, checkpoints): Standing) -> FlowNumbers {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let waits_for = waits_for(&status);
    let counters = status.counters;
    let passed = [("passed", "", counters.passed)];
    let rebuilt = counters.rebuilt.iter();
    let rebuilt = rebuilt.map(|(reason, count)| ("rebuilt", reason.label(), *count));
    let dropped = counters.dropped.iter();
    let dropped = dropped.map(|(reason, count)| ("dropped", reason.label(), *count));
    let lineages = counters.lineages_opened.iter();
    let weaker = status.weaker.iter();
    FlowNumbers {
        source: source.to_owned(),
        target: target.to_owned(),
        waits_for,
        is_source_unreachable: status.unreachable.contains(&Side::Source),
        is_target_unreachable: status.unreachable.contains(&Side::Target),
        queued_bytes: count(status.queued_bytes),
        batches: passed.into_iter().chain(rebuilt).chain(dropped).collect(),
        lineages_opened: lineages
            .map(|(reason, count)| (reason.label(), *count))
            .collect(),
        weaker_partitions: weaker
            .map(|(weakness, partitions)| (weakness.label(), count(*partitions)))
            .collect(),
        gap_records: counters.gap_records,
        unmatched_records: counters.unmatched_records,
        foreign_records: counters.foreign_records,
        producers_forgotten: counters.producers_forgotten,
        checkpoints_published: status.checkpoints_published,
        group_offsets_committed: status.group_offsets_committed,
        partitions: partitions.into_iter().map(partition_numbers).collect(),
        checkpoints: checkpoints.into_iter().map(checkpoint_numbers).collect(),
    }
}

fn partition_numbers(status: PartitionStatus) -> PartitionNumbers {
    PartitionNumbers {
        topic: status.source.topic,
        remote_topic: status.remote_topic,
        partition: status.source.partition,
        records: status.records,
        bytes: status.bytes,
        copied_offset: status.copied_offset,
        lag: status.lag,
        behind_seconds: status.behind.as_secs_f64(),
        latency_ms: status.latency_ms,
        is_halted: status.halted.is_some(),
    }
}

fn checkpoint_numbers(status: CheckpointStatus) -> CheckpointNumbers {
    CheckpointNumbers {
        group: status.group,
        remote_topic: status.remote_topic,
        partition: status.partition,
        latency_ms: status.latency.as_secs_f64() * 1_000.0,
    }
}

/// What must happen before the flow is at work.
fn waits_for(status: &FlowStatus) -> Option<String> {
    if let Some(side) = status.unreachable.first() {
        return Some(format!("the {side} cluster to answer"));
    }
    if !status.is_discovered {
        return Some(String::from("its clusters to say which topics they have"));
    }
    // A halted partition may never be proven; it is told of elsewhere.
    let unproven = status.unproven.saturating_sub(status.halted.len());
    (unproven > 0).then(|| format!("the positions of {unproven} partitions to be proven"))
}
