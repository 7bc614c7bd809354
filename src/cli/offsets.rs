//! `kmirror offsets`: where copying stands as it is stored, and setting where it goes on.

use std::io::Write;

use serde_json::{Value, json};

use super::{EXIT_CONFIG, EXIT_RETRY, EXIT_USAGE, FileArgs, load};
use crate::{
    cluster::Cluster,
    config::{Config, Delivery, FlowConfig},
    flow::LogRange,
    observe::counted,
    offsets::reset::Move,
    policy::StartAt,
    runtime::{
        connect,
        stored::{self, FlowFacts, PartitionFacts, Planned, ResetError},
    },
};

/// What `offsets` does.
#[derive(Debug, clap::Subcommand)]
pub(super) enum OffsetsCommand {
    /// Show what is stored about every partition, and what both clusters have; changes nothing.
    List {
        #[command(flatten)]
        file: FileArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set where copying goes on, while kmirror is stopped; without --yes only say what would be.
    Reset(ResetArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The flow; not needed where the file has one.
    #[arg(long, value_name = "A->B")]
    flow: Option<String>,
    /// The topic on the source.
    #[arg(long)]
    topic: String,
    /// A partition of it, more than once for several; without any, all of them.
    #[arg(long = "partition", value_name = "N")]
    partitions: Vec<i32>,
    /// Where copying goes on: earliest, latest, timestamp:2026-03-01T06:00:00Z, offset:N or
    /// group:NAME (of the source).
    #[arg(long, value_name = "WHERE", value_parser = start)]
    to: StartAt,
    /// Write nothing, which is also what happens without --yes.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Write it.
    #[arg(long)]
    yes: bool,
    /// Say that no process copies the flow: needed in at-least-once and transactional delivery,
    /// where none leaves a sign of life.
    #[arg(long)]
    stopped: bool,
}

fn start(text: &str) -> Result<StartAt, String> {
    // A partition for which a group has committed nothing is left as it is.
    StartAt::parse(text, &StartAt::Earliest)
}

/// Runs the command; the exit code.
pub(super) async fn run(command: &OffsetsCommand) -> u8 {
    match command {
        OffsetsCommand::List { file, json } => list(file, *json).await,
        OffsetsCommand::Reset(args) => reset(args).await,
    }
}

/// The clusters of a flow, source first.
fn ends(config: &Config, flow: &FlowConfig) -> Option<(Cluster, Cluster)> {
    let end = |alias: &str| Some(connect(config.cluster(alias)?, &config.limits));
    Some((end(&flow.source)?, end(&flow.target)?))
}

const fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::ExactlyOnce => "exactly-once",
        Delivery::AtLeastOnce => "at-least-once",
        Delivery::Transactional => "transactional",
    }
}

async fn list(file: &FileArgs, as_json: bool) -> u8 {
    let config = match load(file) {
        Ok((config, _)) => config,
        Err(code) => return code,
    };
    let (mut text, mut flows) = (String::new(), Vec::new());
    let mut code = 0;
    for flow in &config.flows {
        let Some((source, target)) = ends(&config, flow) else {
            continue;
        };
        match stored::gather(flow, &source, &target).await {
            Ok(facts) => {
                text += &table(flow, &facts);
                flows.push(flow_json(flow, &facts));
            }
            Err(failure) => {
                eprintln!("kmirror: flow {}: {failure}", flow.name());
                code = EXIT_RETRY;
            }
        }
    }
    if as_json {
        text = format!("{:#}\n", json!({ "flows": flows }));
    }
    // Who reads it may close the pipe once enough is read.
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

/// A row for each partition, under names as `kafka-consumer-groups` has them.
fn table(flow: &FlowConfig, facts: &FlowFacts) -> String {
    const HEAD: [&str; 10] = [
        "TOPIC",
        "PARTITION",
        "NEXT-OFFSET",
        "MM2-OFFSET",
        "LOG-START",
        "LOG-END",
        "LAG",
        "REMOTE-TOPIC",
        "REMOTE-END",
        "MISSING",
    ];
    let mut rows = vec![HEAD.map(String::from)];
    for it in &facts.partitions {
        let number =
            |number: Option<i64>| number.map_or_else(|| String::from("-"), |it| it.to_string());
        let next = it.next_offset(flow.delivery);
        rows.push([
            it.place.topic.to_string(),
            it.place.partition.to_string(),
            number(it.stored.next_offset()),
            number(it.position),
            number(it.source.map(|range| range.start_offset)),
            number(it.source.map(|range| range.end_offset)),
            number(lag(next, it.source)),
            it.remote_topic.clone(),
            number(it.remote.map(|range| range.end_offset)),
            it.stored.missing_offsets().to_string(),
        ]);
    }
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = format!("flow {} ({})\n", flow.name(), delivery_name(flow.delivery));
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 7 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += &format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    for it in &facts.partitions {
        text += &remarks(it);
    }
    text
}

/// What is stored about a partition beside numbers.
fn remarks(facts: &PartitionFacts) -> String {
    let place = &facts.place;
    let mut text = String::new();
    if let Some(reset) = facts.stored.pending_reset() {
        text += &format!(
            "  {}-{} was reset to {}; kmirror goes on there when it is started\n",
            place.topic, place.partition, reset.source_offset
        );
    }
    for gap in &facts.stored.gaps {
        let to = match gap.to_offset {
            i64::MAX => String::from("on"),
            to => format!("to {}", to - 1),
        };
        text += &format!(
            "  {}-{} lacks offsets from {} {to}: {}\n",
            place.topic, place.partition, gap.from_offset, gap.cause
        );
    }
    text
}

fn lag(next: Option<i64>, source: Option<LogRange>) -> Option<i64> {
    Some(source?.end_offset.saturating_sub(next?).max(0))
}

fn range_json(range: Option<LogRange>) -> Value {
    range.map_or(
        Value::Null,
        |range| json!({ "startOffset": range.start_offset, "endOffset": range.end_offset }),
    )
}

fn flow_json(flow: &FlowConfig, facts: &FlowFacts) -> Value {
    let partition = |it: &PartitionFacts| {
        let gaps: Vec<Value> = it
            .stored
            .gaps
            .iter()
            .map(|gap| {
                let to = Some(gap.to_offset).filter(|to| *to < i64::MAX);
                json!({
                    "fromOffset": gap.from_offset, "toOffset": to, "cause": gap.cause.to_string(),
                    "noticedMs": gap.noticed_ms,
                })
            })
            .collect();
        let owner = it.stored.owner.as_ref().map(|owner| {
            json!({
                "generation": owner.generation, "instance": owner.instance.to_string(),
                "sinceMs": owner.since_ms,
            })
        });
        json!({
            "topic": &*it.place.topic,
            "partition": it.place.partition,
            "nextOffset": it.stored.next_offset(),
            "mirrorMakerOffset": it.position,
            "source": range_json(it.source),
            "lag": lag(it.next_offset(flow.delivery), it.source),
            "remoteTopic": it.remote_topic,
            "remote": range_json(it.remote),
            "missingOffsets": it.stored.missing_offsets(),
            "gaps": gaps,
            "owner": owner,
            "resetTo": it.stored.pending_reset().map(|reset| reset.source_offset),
        })
    };
    json!({
        "flow": flow.name(),
        "delivery": delivery_name(flow.delivery),
        "partitions": facts.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

/// Says what stands in the way, and answers the code.
fn refuse(code: u8, problem: &str) -> u8 {
    eprintln!("kmirror: {problem}; nothing was written");
    code
}

async fn reset(args: &ResetArgs) -> u8 {
    let config = match load(&args.file) {
        Ok((config, _)) => config,
        Err(code) => return code,
    };
    let mut named = config.flows.iter().filter(|flow| {
        let wanted = args.flow.as_ref();
        wanted.is_none_or(|wanted| *wanted == flow.name())
    });
    let (Some(flow), None) = (named.next(), named.next()) else {
        let known: Vec<String> = config.flows.iter().map(FlowConfig::name).collect();
        let problem = format!("--flow must name one of {}", known.join(", "));
        return refuse(EXIT_USAGE, &problem);
    };
    let Some((source, target)) = ends(&config, flow) else {
        return EXIT_CONFIG;
    };
    let facts = match stored::gather(flow, &source, &target).await {
        Ok(facts) => facts,
        Err(failure) => return refuse(EXIT_RETRY, &failure.to_string()),
    };
    let partitions = match selected(args, &facts) {
        Ok(partitions) => partitions,
        Err(problem) => return refuse(EXIT_USAGE, &problem),
    };
    let planned = match stored::plan(flow, &source, &partitions, &args.to).await {
        Ok(planned) => planned,
        Err(failure) => return refuse(EXIT_RETRY, &failure.to_string()),
    };
    println!("flow {} ({})", flow.name(), delivery_name(flow.delivery));
    let Some(moves) = print_plan(&planned, &partitions) else {
        return refuse(EXIT_USAGE, "not every partition can be reset so");
    };
    if moves.is_empty() {
        println!("nothing to reset");
        return 0;
    }
    if let Some(problem) = unspeakable(flow, &moves) {
        return refuse(EXIT_CONFIG, &problem);
    }
    if !args.yes {
        println!("nothing was written; stop kmirror and add --yes to do it");
        return 0;
    }
    if flow.delivery != Delivery::ExactlyOnce && !args.stopped {
        let problem = "in this delivery a process that copies leaves no sign of life: stop it, and say so with --stopped";
        return refuse(EXIT_USAGE, problem);
    }
    println!(
        "watching for {} s whether kmirror runs",
        stored::silence(flow).as_secs()
    );
    let timeout = config.limits.request_timeout;
    match stored::reset(flow, &target, &facts, &moves, timeout).await {
        Ok(()) => {
            println!("reset {}", counted(moves.len(), "partition"));
            0
        }
        Err(error @ (ResetError::Running { .. } | ResetError::NoTopic { .. })) => {
            refuse(EXIT_RETRY, &error.to_string())
        }
        Err(error) => {
            eprintln!("kmirror: {error}; some of it may have been written: do it again");
            EXIT_RETRY
        }
    }
}

/// The partitions that the arguments name.
fn selected(args: &ResetArgs, facts: &FlowFacts) -> Result<Vec<PartitionFacts>, String> {
    let of_topic = facts.partitions.iter();
    let of_topic = of_topic.filter(|it| *it.place.topic == *args.topic);
    let of_topic: Vec<&PartitionFacts> = of_topic.collect();
    if of_topic.is_empty() {
        return Err(format!("the flow copies no topic {:?}", args.topic));
    }
    let is_there = |number: &i32| of_topic.iter().any(|it| it.place.partition == *number);
    if let Some(number) = args.partitions.iter().find(|number| !is_there(number)) {
        return Err(format!("topic {} has no partition {number}", args.topic));
    }
    let is_wanted = |it: &&&PartitionFacts| {
        args.partitions.is_empty() || args.partitions.contains(&it.place.partition)
    };
    Ok(of_topic
        .iter()
        .filter(is_wanted)
        .map(|it| (*it).clone())
        .collect())
}

/// Prints what would become of each partition; what is to be written, unless some of it is
/// impossible.
fn print_plan(planned: &[Planned], partitions: &[PartitionFacts]) -> Option<Vec<Move>> {
    let (mut moves, mut is_possible) = (Vec::new(), true);
    for (plan, facts) in planned.iter().zip(partitions) {
        let called = format!("{}-{}", facts.place.topic, facts.place.partition);
        match plan {
            Planned::NoCommit(_) => {
                println!("  {called}: the group has committed nothing for it; it stays as it is");
            }
            Planned::Impossible(_, problem) => {
                is_possible = false;
                println!("  {called}: {problem}");
            }
            Planned::Move { change, .. } if change.from == Some(change.to) => {
                println!("  {called}: is at {} already", change.to);
            }
            Planned::Move {
                change,
                deleted_from,
            } => {
                println!("  {called}: {}", words(change, *deleted_from));
                moves.push(change.clone());
            }
        }
    }
    is_possible.then_some(moves)
}

fn words(change: &Move, deleted_from: Option<i64>) -> String {
    let records = |count: u64| {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        format!("up to {}", counted(count, "record"))
    };
    let from = change.from;
    let from = from.map_or_else(|| String::from("nothing stored"), |from| from.to_string());
    let what = match (change.repeated(), change.skipped()) {
        (0, 0) => String::from("copying begins there"),
        (0, skipped) => format!("{} will be missing on the target", records(skipped)),
        (repeated, _) => format!("{} will be on the target twice", records(repeated)),
    };
    let deleted = deleted_from
        .map(|wanted| format!(" (the source has deleted {wanted} to {})", change.to - 1));
    format!(
        "{from} -> {}{}: {what}",
        change.to,
        deleted.unwrap_or_default()
    )
}

/// MirrorMaker 2's format cannot say "before offset 0": without a position, where new partitions
/// begin decides.
fn unspeakable(flow: &FlowConfig, moves: &[Move]) -> Option<String> {
    if flow.delivery == Delivery::ExactlyOnce {
        return None;
    }
    let begins = |change: &&Move| {
        let Move { place, to, .. } = change;
        *to == 0 && *flow.starts.of(&place.topic, place.partition) != StartAt::Earliest
    };
    let place = &moves.iter().find(begins)?.place;
    Some(format!(
        "a position before offset 0 cannot be stored in this delivery, and {}-{} would begin \
         anew as kmirror.start says: set kmirror.start.topics = {}=earliest first",
        place.topic, place.partition, place.topic
    ))
}
