//! What flows have done and where they stand, as text that Prometheus reads.
//!
//! Two families of names: `kmirror_…`, and the names under which MirrorMaker 2's JMX beans usually
//! appear in Prometheus (`MirrorSourceMetrics` of Apache Kafka, by the rules that Strimzi ships for
//! the JMX exporter), where the number means the same. Receives numbers; never asks for them.
//!
//! The text is OpenMetrics 1.0. Labels hold aliases and topic names, never anything secret.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

/// Tells where every flow stands, when asked.
pub trait Reporter: Send + Sync + 'static {
    /// The numbers of every flow that runs.
    fn numbers(&self) -> Pin<Box<dyn Future<Output = Vec<FlowNumbers>> + Send + '_>>;
}

/// The numbers of one flow.
#[derive(Clone, Debug, Default)]
pub struct FlowNumbers {
    /// The alias of its source.
    pub source: String,
    /// The alias of its target.
    pub target: String,
    /// Why it is not ready: it is still finding out where it stands, or a cluster does not answer.
    pub waits_for: Option<String>,
    /// Whether the source does not answer.
    pub is_source_unreachable: bool,
    /// Whether the target does not answer.
    pub is_target_unreachable: bool,
    /// Record bytes held.
    pub queued_bytes: u64,
    /// Batches by what became of them, and why.
    pub batches: Vec<(&'static str, &'static str, u64)>,
    /// Lineages opened, by reason.
    pub lineages_opened: Vec<(&'static str, u64)>,
    /// Partitions whose guarantee is weaker than the one asked for, by reason.
    pub weaker_partitions: Vec<(&'static str, u64)>,
    /// Offsets that the source no longer had when their turn came.
    pub gap_records: u64,
    /// Own records found behind the last proven one: they may be there twice.
    pub unmatched_records: u64,
    /// Records of others on the remote partitions.
    pub foreign_records: u64,
    /// Times the target had forgotten a producer.
    pub producers_forgotten: u64,
    /// Checkpoints of groups on the target.
    pub checkpoints_published: u64,
    /// Positions of groups committed on the target.
    pub group_offsets_committed: u64,
    /// Its partitions.
    pub partitions: Vec<PartitionNumbers>,
    /// The newest checkpoint of each group on each remote partition.
    pub checkpoints: Vec<CheckpointNumbers>,
}

/// The numbers of a group's newest checkpoint on a remote partition.
#[derive(Clone, Debug)]
pub struct CheckpointNumbers {
    /// The group.
    pub group: String,
    /// The topic on the target.
    pub remote_topic: String,
    /// The partition's number.
    pub partition: i32,
    /// From asking the source for its groups until the checkpoint was on the target.
    pub latency_ms: f64,
}

/// The numbers of one partition.
#[derive(Clone, Debug)]
pub struct PartitionNumbers {
    /// The topic on the source.
    pub topic: Arc<str>,
    /// The topic on the target.
    pub remote_topic: Arc<str>,
    /// Its number, on both.
    pub partition: i32,
    /// Records on the target, acknowledged, since the process started.
    pub records: u64,
    /// Bytes of batches on the target, acknowledged, since the process started.
    pub bytes: u64,
    /// Everything below is on the target.
    pub copied_offset: Option<i64>,
    /// Records of the source that are not on the target.
    pub lag: Option<i64>,
    /// For how long records of the source have been missing on the target.
    pub behind_seconds: f64,
    /// How old the newest record of the batch acknowledged last was then, by its own timestamp.
    pub latency_ms: Option<i64>,
    /// Whether it stands still and wants attention.
    pub is_halted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// A metric with one value for each `T`, where there is one.
struct Single<T> {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    value: fn(&T) -> Option<f64>,
}

/// The values of further labels, and the number of what they tell apart.
type Counted = (Vec<&'static str>, u64);

/// A metric with a value for each of what further labels tell apart.
struct Labelled {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    values: fn(&FlowNumbers) -> Vec<Counted>,
}

// Prometheus keeps every value as a float.
const fn float(count: u64) -> f64 {
    count as f64
}

const fn signed(number: i64) -> f64 {
    number as f64
}

const fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

const FLOW: &[Single<FlowNumbers>] = &[
    Single {
        name: "kmirror_flow_ready",
        help: "1 when both clusters answer and every position is proven",
        kind: Kind::Gauge,
        value: |flow| Some(flag(flow.waits_for.is_none())),
    },
    Single {
        name: "kmirror_flow_partitions",
        help: "Partitions that are copied or halted",
        kind: Kind::Gauge,
        value: |flow| u32::try_from(flow.partitions.len()).ok().map(f64::from),
    },
    Single {
        name: "kmirror_flow_queued_bytes",
        help: "Record bytes held in memory",
        kind: Kind::Gauge,
        value: |flow| Some(float(flow.queued_bytes)),
    },
    Single {
        name: "kmirror_gap_records",
        help: "Offsets that the source no longer had when their turn came",
        kind: Kind::Counter,
        value: |flow| Some(float(flow.gap_records)),
    },
    Single {
        name: "kmirror_unmatched_records",
        help: "Own records found behind the last proven one: they may be on the target twice",
        kind: Kind::Counter,
        value: |flow| Some(float(flow.unmatched_records)),
    },
    Single {
        name: "kmirror_foreign_records",
        help: "Records of others met on remote partitions",
        kind: Kind::Counter,
        value: |flow| Some(float(flow.foreign_records)),
    },
    Single {
        name: "kmirror_producers_forgotten",
        help: "Times the target had forgotten a producer",
        kind: Kind::Counter,
        value: |flow| Some(float(flow.producers_forgotten)),
    },
    Single {
        name: "kmirror_checkpoints",
        help: "Checkpoints of groups published on the target",
        kind: Kind::Counter,
        value: |flow| Some(float(flow.checkpoints_published)),
    },
    Single {
        name: "kmirror_group_offsets_committed",
        help: "Positions of groups committed on the target",
        kind: Kind::Counter,
        value: |flow| Some(float(flow.group_offsets_committed)),
    },
];

const LABELLED: &[Labelled] = &[
    Labelled {
        name: "kmirror_cluster_unreachable",
        help: "1 while the cluster on this side does not answer",
        kind: Kind::Gauge,
        labels: &["side"],
        values: |flow| {
            vec![
                (vec!["source"], u64::from(flow.is_source_unreachable)),
                (vec!["target"], u64::from(flow.is_target_unreachable)),
            ]
        },
    },
    Labelled {
        name: "kmirror_batches",
        help: "Batches by what became of them: passed as they were, rebuilt, or dropped, and why",
        kind: Kind::Counter,
        labels: &["outcome", "reason"],
        values: |flow| {
            let batches = flow.batches.iter();
            batches
                .map(|(outcome, reason, count)| (vec![*outcome, *reason], *count))
                .collect()
        },
    },
    Labelled {
        name: "kmirror_lineages_opened",
        help: "Producer lineages opened, by reason; each but the first marks a moment when a record may have come twice",
        kind: Kind::Counter,
        labels: &["reason"],
        values: |flow| by_reason(&flow.lineages_opened),
    },
    Labelled {
        name: "kmirror_weaker_partitions",
        help: "Partitions whose guarantee is weaker than the one asked for, by reason",
        kind: Kind::Gauge,
        labels: &["reason"],
        values: |flow| by_reason(&flow.weaker_partitions),
    },
];

const PARTITION: &[Single<PartitionNumbers>] = &[
    Single {
        name: "kmirror_records",
        help: "Records on the target, acknowledged, since the process started",
        kind: Kind::Counter,
        value: |partition| Some(float(partition.records)),
    },
    Single {
        name: "kmirror_bytes",
        help: "Bytes of batches on the target, acknowledged, as they are on the wire",
        kind: Kind::Counter,
        value: |partition| Some(float(partition.bytes)),
    },
    Single {
        name: "kmirror_copied_offset",
        help: "Everything of the source below this offset is on the target",
        kind: Kind::Gauge,
        value: |partition| partition.copied_offset.map(signed),
    },
    Single {
        name: "kmirror_lag_records",
        help: "Records of the source that are not on the target; absent while that is not known",
        kind: Kind::Gauge,
        value: |partition| partition.lag.map(signed),
    },
    Single {
        name: "kmirror_lag_seconds",
        help: "For how long records of the source have been missing on the target, whatever their timestamps say",
        kind: Kind::Gauge,
        value: |partition| Some(partition.behind_seconds),
    },
    Single {
        name: "kmirror_partition_halted",
        help: "1 while the partition stands still and wants attention; the log says why",
        kind: Kind::Gauge,
        value: |partition| Some(flag(partition.is_halted)),
    },
];

/// `MirrorSourceMetrics`: its beans tell the remote topic.
const MIRROR_MAKER: &[Single<PartitionNumbers>] = &[
    Single {
        name: "kafka_connect_mirror_mirrorsourceconnector_record_count",
        help: "As MirrorMaker 2's record-count",
        kind: Kind::Gauge,
        value: |partition| Some(float(partition.records)),
    },
    Single {
        name: "kafka_connect_mirror_mirrorsourceconnector_byte_count",
        help: "In place of MirrorMaker 2's byte-count, which counts values only: bytes on the wire",
        kind: Kind::Gauge,
        value: |partition| Some(float(partition.bytes)),
    },
    Single {
        name: "kafka_connect_mirror_mirrorsourceconnector_replication_latency_ms",
        help: "As MirrorMaker 2's replication-latency-ms: the age of the newest record when it was acknowledged",
        kind: Kind::Gauge,
        value: |partition| partition.latency_ms.map(signed),
    },
];

/// `MirrorCheckpointMetrics`: of each place its own, where MM2's beans of a task all show the last.
const CHECKPOINT: &[Single<CheckpointNumbers>] = &[Single {
    name: "kafka_connect_mirror_mirrorcheckpointconnector_checkpoint_latency_ms",
    help: "As MirrorMaker 2's checkpoint-latency-ms: from asking the source for its groups until the newest checkpoint was on the target",
    kind: Kind::Gauge,
    value: |checkpoint| Some(checkpoint.latency_ms),
}];

fn by_reason(counts: &[(&'static str, u64)]) -> Vec<Counted> {
    let counts = counts.iter();
    counts
        .map(|(reason, count)| (vec![*reason], *count))
        .collect()
}

/// The metrics of these flows, as OpenMetrics text.
///
/// # Errors
///
/// None that is known; the encoder's type allows for some.
pub fn render(flows: Vec<FlowNumbers>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Flows(flows)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// The table of all metrics, as Markdown.
#[must_use]
pub fn table_markdown() -> String {
    let mut table = String::from("| metric | labels | kind | what it tells |\n|---|---|---|---|\n");
    let mut row = |name: &str, labels: &str, kind: Kind, help: &str| {
        let (suffix, kind) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        table.push_str(&format!(
            "| `{name}{suffix}` | {labels} | {kind} | {help} |\n"
        ));
    };
    for one in PARTITION {
        let labels = "`source`, `target`, `topic`, `partition`";
        row(one.name, labels, one.kind, one.help);
    }
    for one in FLOW {
        row(one.name, "`source`, `target`", one.kind, one.help);
    }
    for one in LABELLED {
        let own: Vec<String> = one
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = format!("`source`, `target`, {}", own.join(", "));
        row(one.name, &labels, one.kind, one.help);
    }
    for one in MIRROR_MAKER {
        let labels = "`source`, `target`, `topic` (the remote one), `partition`";
        row(one.name, labels, one.kind, one.help);
    }
    for one in CHECKPOINT {
        let labels = "`source`, `target`, `group`, `topic` (the remote one), `partition`";
        row(one.name, labels, one.kind, one.help);
    }
    table
}

#[derive(Debug)]
struct Flows(Vec<FlowNumbers>);

impl Collector for Flows {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FLOW {
            let mut metric = describe(&mut encoder, family.name, family.help, family.kind)?;
            for flow in &self.0 {
                if let Some(value) = (family.value)(flow) {
                    sample(&mut metric, family.kind, &ends(flow), value)?;
                }
            }
        }
        for family in LABELLED {
            let mut metric = describe(&mut encoder, family.name, family.help, family.kind)?;
            for flow in &self.0 {
                for (values, count) in (family.values)(flow) {
                    let mut labels = ends(flow);
                    labels.extend(family.labels.iter().copied().zip(values));
                    sample(&mut metric, family.kind, &labels, float(count))?;
                }
            }
        }
        self.encode_partitions(&mut encoder, PARTITION, |partition| &partition.topic)?;
        self.encode_partitions(&mut encoder, MIRROR_MAKER, |partition| {
            &partition.remote_topic
        })?;
        self.encode_checkpoints(&mut encoder)
    }
}

impl Flows {
    fn encode_partitions(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        families: &[Single<PartitionNumbers>],
        topic: fn(&PartitionNumbers) -> &Arc<str>,
    ) -> fmt::Result {
        for family in families {
            let mut metric = describe(encoder, family.name, family.help, family.kind)?;
            for flow in &self.0 {
                for partition in &flow.partitions {
                    let Some(value) = (family.value)(partition) else {
                        continue;
                    };
                    let number = partition.partition.to_string();
                    let mut labels = ends(flow);
                    labels.extend([("topic", &**topic(partition)), ("partition", &number)]);
                    sample(&mut metric, family.kind, &labels, value)?;
                }
            }
        }
        Ok(())
    }
}

impl Flows {
    fn encode_checkpoints(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for family in CHECKPOINT {
            let mut metric = describe(encoder, family.name, family.help, family.kind)?;
            for flow in &self.0 {
                for checkpoint in &flow.checkpoints {
                    let Some(value) = (family.value)(checkpoint) else {
                        continue;
                    };
                    let number = checkpoint.partition.to_string();
                    let mut labels = ends(flow);
                    labels.extend([
                        ("group", checkpoint.group.as_str()),
                        ("topic", &checkpoint.remote_topic),
                        ("partition", &number),
                    ]);
                    sample(&mut metric, family.kind, &labels, value)?;
                }
            }
        }
        Ok(())
    }
}

fn ends(flow: &FlowNumbers) -> Vec<(&'static str, &str)> {
    vec![("source", &flow.source), ("target", &flow.target)]
}

fn describe<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
    kind: Kind,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    let kind = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    encoder.encode_descriptor(name, help, None, kind)
}

fn sample(
    metric: &mut MetricEncoder<'_>,
    kind: Kind,
    labels: &[(&'static str, &str)],
    value: f64,
) -> fmt::Result {
    let labels = labels.to_vec();
    let mut one = metric.encode_family(&labels)?;
    match kind {
        Kind::Counter => one.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Kind::Gauge => one.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> FlowNumbers {
        let partition = |partition, lag| PartitionNumbers {
            topic: Arc::from("orders"),
            remote_topic: Arc::from("A.orders"),
            partition,
            records: 120,
            bytes: 4_096,
            copied_offset: Some(120),
            lag,
            behind_seconds: 1.5,
            latency_ms: lag.map(|_| 40),
            is_halted: lag.is_none(),
        };
        FlowNumbers {
            source: String::from("A"),
            target: String::from("B"),
            waits_for: Some(String::from("the target to answer")),
            is_target_unreachable: true,
            queued_bytes: 17,
            batches: vec![("passed", "", 9), ("rebuilt", "holes", 1)],
            lineages_opened: vec![("first", 2)],
            checkpoints: vec![CheckpointNumbers {
                group: String::from("readers"),
                remote_topic: String::from("A.orders"),
                partition: 1,
                latency_ms: 12.5,
            }],
            group_offsets_committed: 3,
            partitions: vec![partition(0, Some(3)), partition(1, None)],
            ..FlowNumbers::default()
        }
    }

    #[test]
    fn every_number_has_its_line() {
        let text = render(vec![numbers()]).unwrap();
        let expected = [
            r#"kmirror_flow_ready{source="A",target="B"} 0.0"#,
            r#"kmirror_flow_partitions{source="A",target="B"} 2.0"#,
            r#"kmirror_flow_queued_bytes{source="A",target="B"} 17.0"#,
            r#"kmirror_cluster_unreachable{source="A",target="B",side="source"} 0.0"#,
            r#"kmirror_cluster_unreachable{source="A",target="B",side="target"} 1.0"#,
            r#"kmirror_batches_total{source="A",target="B",outcome="rebuilt",reason="holes"} 1.0"#,
            r#"kmirror_lineages_opened_total{source="A",target="B",reason="first"} 2.0"#,
            r#"kmirror_records_total{source="A",target="B",topic="orders",partition="0"} 120.0"#,
            r#"kmirror_lag_records{source="A",target="B",topic="orders",partition="0"} 3.0"#,
            r#"kmirror_lag_seconds{source="A",target="B",topic="orders",partition="1"} 1.5"#,
            r#"kmirror_partition_halted{source="A",target="B",topic="orders",partition="1"} 1.0"#,
            r#"kafka_connect_mirror_mirrorsourceconnector_record_count{source="A",target="B",topic="A.orders",partition="0"} 120.0"#,
            r#"kafka_connect_mirror_mirrorcheckpointconnector_checkpoint_latency_ms{source="A",target="B",group="readers",topic="A.orders",partition="1"} 12.5"#,
            r#"kmirror_group_offsets_committed_total{source="A",target="B"} 3.0"#,
        ];
        for line in expected {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        // What is not known has no line: a zero would be a claim.
        let unknown = r#"kmirror_lag_records{source="A",target="B",topic="orders",partition="1"}"#;
        assert!(!text.contains(unknown), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn every_family_is_described_once_and_stands_in_the_table() {
        let text = render(vec![numbers(), FlowNumbers::default()]).unwrap();
        let described: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        let partitions = PARTITION.len() + MIRROR_MAKER.len();
        let families = FLOW.len() + LABELLED.len() + partitions + CHECKPOINT.len();
        assert_eq!(described.len(), families);
        for line in &described {
            let (name, _) = line.split_once(' ').unwrap();
            assert!(table_markdown().contains(&format!("`{name}")), "{name}");
            let count = described.iter().filter(|other| *other == line).count();
            assert_eq!(count, 1, "{name}");
        }
    }
}
