//! The command line: one table of commands and flags, and what each prints.
//!
//! Results go to standard output, logs and errors to standard error. Exit codes follow sysexits.

mod offsets;

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{
    Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};

use crate::{
    cluster::RequestError,
    config::{ClusterConfig, Config, FlowConfig, HostPort, Notice, ParseOptions},
    demo,
    observe::{counted, http, log, metrics::Reporter},
    runtime::{
        Engine, FlowEnd,
        check::{self, ClusterFacts, Facts, Outlook, Severity},
        now_ms, report,
    },
    sandbox::{ClusterOptions, Profile, Timestamp, User, server::Server},
};

/// The command line was wrong.
pub const EXIT_USAGE: u8 = 64;
/// Something inside went wrong that never should.
pub const EXIT_INTERNAL: u8 = 70;
/// It did not finish; the same again may.
pub const EXIT_RETRY: u8 = 75;
/// The configuration cannot be run.
pub const EXIT_CONFIG: u8 = 78;

/// The last line of a `check` that connects to nothing.
const NOT_ASKED: &str = "no mistake in the file; what the clusters say was not asked";

/// How often `run` logs where each flow stands.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// How often `sandbox` deletes what is too old.
const CLEAN_UP_INTERVAL: Duration = Duration::from_secs(60);

/// Replicates Kafka clusters: one binary in place of MirrorMaker 2.
#[derive(Debug, Parser)]
#[command(
    name = "kmirror",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    /// What to log: error, warn, info, debug or trace, also per module as in
    /// `info,kmirror::cluster=debug` [default: info for run, warn otherwise]
    #[arg(
        long,
        global = true,
        env = "KMIRROR_LOG",
        hide_env_values = true,
        value_name = "LEVEL"
    )]
    log: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replicate as a MirrorMaker 2 properties file says, until SIGTERM or SIGINT.
    Run(FileArgs),
    /// Read a properties file, connect to its clusters, and say what would stand in the way.
    Check {
        #[command(flatten)]
        file: FileArgs,
        /// Only read the file; connect to nothing.
        #[arg(long)]
        offline: bool,
        /// Print every setting that holds, and where it stands in the file; connect to nothing.
        #[arg(long)]
        effective: bool,
    },
    /// Show or set the positions that are stored on the target.
    Offsets {
        #[command(subcommand)]
        command: offsets::OffsetsCommand,
    },
    /// Watch the engine copy between two in-memory clusters, then see both compared.
    Demo {
        /// How long the live load lasts.
        #[arg(long, value_name = "N", default_value_t = 10)]
        seconds: u64,
    },
    /// Serve a Kafka cluster that lives in memory, for trying things out, until SIGTERM or SIGINT.
    Sandbox(SandboxArgs),
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The properties file.
    file: PathBuf,
    /// Run only the flows whose target is one of these aliases.
    #[arg(long, num_args = 1.., value_name = "ALIAS")]
    clusters: Option<Vec<String>>,
}

#[derive(Debug, clap::Args)]
struct SandboxArgs {
    /// The first broker's port on 127.0.0.1, the others have the ones after it; 0 takes free ones.
    #[arg(long, value_name = "N", default_value_t = 9092)]
    port: u16,
    /// How many brokers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    brokers: u16,
    /// The broker whose API versions and limits it has.
    #[arg(long, value_name = "NAME", default_value = Profile::default().name(), value_parser = profiles())]
    profile: Profile,
    /// How many partitions a topic gets whose creator does not say.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
    /// Create topics only on request, not when a client asks for one that does not exist.
    #[arg(long)]
    no_auto_create: bool,
    /// How much a partition keeps; beyond it the oldest records are deleted.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    retain: u32,
    /// Somebody who may connect, with SASL PLAIN; without any, everybody may.
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = user)]
    users: Vec<User>,
}

fn user(text: &str) -> Result<User, &'static str> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => Ok(User {
            name: name.to_owned(),
            password: password.to_owned(),
        }),
        _ => Err("write a name, a colon and a password"),
    }
}

fn profiles() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::name))
        .map(|name| Profile::from_name(&name).unwrap_or_default())
}

/// Runs the program with the arguments of the process.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors. A closed terminal needs no message.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let default = if matches!(cli.command, Command::Run(_)) {
        "info"
    } else {
        "warn"
    };
    let filter = cli.log.as_deref().unwrap_or(default);
    if let Err(error) = log::start(filter) {
        eprintln!("kmirror: --log {filter}: {error}");
        return ExitCode::from(EXIT_USAGE);
    }
    let code = match cli.command {
        Command::Run(args) => run(&args).await,
        Command::Check {
            file,
            effective: true,
            ..
        } => effective(&file),
        Command::Check { file, offline, .. } => check(&file, offline).await,
        Command::Offsets { command } => offsets::run(&command).await,
        Command::Demo { seconds } => demo(seconds).await,
        Command::Sandbox(args) => sandbox(&args).await,
    };
    ExitCode::from(code)
}

/// Reads the file; prints every mistake in it and answers the exit code if it has any.
fn load(args: &FileArgs) -> Result<(Config, Vec<Notice>), u8> {
    let options = ParseOptions {
        clusters_served: args.clusters.clone(),
    };
    Config::load(&args.file, &options).map_err(|mistakes| {
        for finding in mistakes.findings() {
            eprintln!("{finding}");
        }
        let mistakes = counted(mistakes.errors.len(), "mistake");
        let file = args.file.display();
        eprintln!("kmirror: {file}: {mistakes}, nothing was started");
        EXIT_CONFIG
    })
}

async fn run(args: &FileArgs) -> u8 {
    let (config, notices) = match load(args) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for notice in &notices {
        warn!("{notice}");
    }
    let Some((mut terminate, mut interrupt)) = signals() else {
        return EXIT_INTERNAL;
    };
    info!(
        "kmirror {} starts {}",
        env!("CARGO_PKG_VERSION"),
        counted(config.flows.len(), "flow")
    );
    let engine = Engine::start(&config);
    if let Some(listen) = &config.http_listen {
        serve_http(listen, engine.reporter()).await;
    }
    watch(&engine, &mut terminate, &mut interrupt).await;
    info!("stopping: waiting for what is in flight, then storing positions");
    engine.stop();
    tokio::select! {
        ends = engine.ended() => exit_code(&ends),
        _ = terminate.recv() => EXIT_RETRY,
        _ = interrupt.recv() => EXIT_RETRY,
    }
}

/// Lets others see how the flows are. Copying does not depend on it.
async fn serve_http(listen: &HostPort, reporter: Arc<dyn Reporter>) {
    match TcpListener::bind((listen.host.as_str(), listen.port)).await {
        Ok(listener) => {
            info!(
                "http://{listen}/metrics tells how the flows are; /ready whether they are at work"
            );
            tokio::spawn(http::serve(listener, reporter));
        }
        Err(error) => warn!(
            "no metrics are served at {listen}: {error}; copying goes on; kmirror.http.listen = \
             host:port names another place, and without a value none"
        ),
    }
}

/// SIGTERM and SIGINT.
fn signals() -> Option<(Signal, Signal)> {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    if let (Ok(terminate), Ok(interrupt)) = signals {
        Some((terminate, interrupt))
    } else {
        error!("cannot listen for signals");
        None
    }
}

/// Logs where the flows stand until a signal comes or all of them have ended.
async fn watch(engine: &Engine, terminate: &mut Signal, interrupt: &mut Signal) {
    let mut ticks = tokio::time::interval(STATUS_INTERVAL);
    ticks.tick().await;
    let mut statuses: Vec<_> = engine
        .flows
        .iter()
        .map(|flow| flow.status.clone())
        .collect();
    let has_flows = !statuses.is_empty();
    let all_ended = async {
        for status in &mut statuses {
            // The sender goes when the flow ends.
            while status.changed().await.is_ok() {}
        }
    };
    tokio::pin!(all_ended);
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            // Without any, heartbeats are all there is to do.
            () = &mut all_ended, if has_flows => return,
            _ = ticks.tick() => {
                for flow in &engine.flows {
                    report::status(&flow.name(), &flow.status.borrow());
                }
            }
        }
    }
}

fn exit_code(ends: &[FlowEnd]) -> u8 {
    if ends.contains(&FlowEnd::Refused) {
        return EXIT_CONFIG;
    }
    if ends.contains(&FlowEnd::Cut) {
        warn!("stopped before everything was acknowledged; the tail will be copied again");
        return EXIT_RETRY;
    }
    info!("stopped");
    0
}

/// What `check` says of the notices.
fn noted(notices: &[Notice]) -> String {
    let lines = notices.iter().map(|notice| format!("note   {notice}\n"));
    lines.collect()
}

/// `check --effective`.
fn effective(args: &FileArgs) -> u8 {
    match load(args) {
        Ok((config, notices)) => {
            let text = format!("{}{}{NOT_ASKED}", noted(&notices), config.effective);
            // It is long: who reads it may close the pipe once enough is read.
            let _ = writeln!(std::io::stdout(), "{text}");
            0
        }
        Err(code) => code,
    }
}

async fn check(args: &FileArgs, offline: bool) -> u8 {
    let (config, notices) = match load(args) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    print!("{}", noted(&notices));
    let facts = if offline {
        Facts::new()
    } else {
        check::gather(&config).await
    };
    for cluster in &config.clusters {
        println!("{}", cluster_line(cluster, facts.get(&cluster.alias)));
    }
    let mut errors = 0;
    for flow in &config.flows {
        let outlook = check::examine(&config, flow, &facts);
        errors += print_outlook(flow, &outlook);
    }
    match errors {
        0 if offline => println!("{NOT_ASKED}"),
        0 => println!("nothing stands in the way"),
        1 => println!("1 error stands in the way"),
        _ => println!("{errors} errors stand in the way"),
    }
    match (errors, facts.values().all(Result::is_ok)) {
        (0, _) => 0,
        (_, true) => EXIT_CONFIG,
        (_, false) => EXIT_RETRY,
    }
}

async fn demo(seconds: u64) -> u8 {
    match demo::run(seconds).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("kmirror: {error}");
            EXIT_INTERNAL
        }
    }
}

async fn sandbox(args: &SandboxArgs) -> u8 {
    let Some((mut terminate, mut interrupt)) = signals() else {
        return EXIT_INTERNAL;
    };
    // Two of them are two clusters.
    let cluster_id = format!("kmirror-sandbox-{:08x}", fastrand::u32(..));
    let options = ClusterOptions {
        profile: args.profile,
        auto_create_topics: !args.no_auto_create,
        partition_count_default: args.partitions,
        users: args.users.clone(),
        retained_bytes_max: usize::try_from(args.retain).map_or(usize::MAX, |mib| mib << 20),
        ..ClusterOptions::new(&cluster_id, args.brokers)
    };
    let server = match Server::start_at(options, args.port, Timestamp(now_ms())).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("kmirror: {error}; choose others with --port, or free ones with --port 0");
            return EXIT_RETRY;
        }
    };
    print_welcome(args, &server);
    let mut ticks = tokio::time::interval(CLEAN_UP_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => return 0,
            _ = interrupt.recv() => return 0,
            _ = ticks.tick() => server.clean_up(),
        }
    }
}

/// Says what runs where, and a line to paste.
fn print_welcome(args: &SandboxArgs, server: &Server) {
    let bootstrap = server.bootstrap();
    println!(
        "Kafka in memory at {bootstrap} ({}, {}); its data ends with it, Ctrl-C stops it.",
        counted(usize::from(args.brokers), "broker"),
        args.profile.name(),
    );
    if args.no_auto_create {
        println!("Try: kafka-topics.sh --bootstrap-server {bootstrap} --create --topic test");
    } else {
        let sasl = match args.users.first() {
            Some(user) => format!(
                " -X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=PLAIN \
                 -X sasl.username={} -X sasl.password=...",
                user.name
            ),
            None => String::new(),
        };
        println!("Try: echo hello | kcat -P -b {bootstrap} -t test{sasl}");
    }
}

fn cluster_line(
    cluster: &ClusterConfig,
    facts: Option<&Result<ClusterFacts, RequestError>>,
) -> String {
    let found = match facts {
        None => String::from("not asked"),
        Some(Err(error)) => format!("no answer: {error}"),
        Some(Ok(facts)) => format!(
            "{}, {}, id {}",
            counted(facts.broker_count, "broker"),
            counted(facts.view.topics.len(), "topic"),
            facts.view.cluster_id.as_deref().unwrap_or("unknown")
        ),
    };
    format!(
        "cluster {} at {}: {found}",
        cluster.alias, cluster.bootstrap_shown
    )
}

/// Prints what a flow would do; returns how many errors stand in its way.
fn print_outlook(flow: &FlowConfig, outlook: &Outlook) -> usize {
    let partitions = outlook
        .topics
        .iter()
        .map(|(_, _, partitions)| partitions)
        .sum();
    println!("flow {}->{}", flow.source, flow.target);
    if outlook.is_compared {
        println!(
            "  copies {} with {}; creates {} on {}",
            counted(outlook.topics.len(), "topic"),
            counted(partitions, "partition"),
            counted(outlook.created, "topic"),
            flow.target
        );
    }
    for (topic, remote_topic, partitions) in &outlook.topics {
        println!(
            "    {topic} -> {remote_topic} ({})",
            counted(*partitions, "partition")
        );
    }
    for (reason, count) in &outlook.skipped {
        println!(
            "  leaves out {}: {}",
            counted(*count, "topic"),
            reason.as_str()
        );
    }
    let mut errors = 0;
    for finding in &outlook.findings {
        let label = match finding.severity {
            Severity::Error => "error  ",
            Severity::Warning => "warning",
        };
        errors += usize::from(finding.severity == Severity::Error);
        println!("  {label} {}; {}", finding.problem, finding.fix);
    }
    errors
}
