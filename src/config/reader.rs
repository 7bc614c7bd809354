//! Reads a whole file: what config providers give, clusters, flows, then every key that is left
//! over.

use super::{
    ClusterConfig, Config, FlowConfig, HeartbeatConfig, HostPort, Limits, Mistakes, Notice,
    ParseOptions, effective,
    error::{Place, Report, printable},
    flow::{Layers, millis, number},
    layers::{Layer, list_items},
    properties::{self, Duplicate, Entry, Malformed},
    providers::{self, Outside},
    security,
    settings::Scope,
    usage,
};

/// What [`Config::parse`] does; `outside` is where config providers look.
pub(super) fn read(
    file: &str,
    bytes: &[u8],
    options: &ParseOptions,
    outside: &dyn Outside,
) -> Result<(Config, Vec<Notice>), Mistakes> {
    let mut report = Report::new(file);
    let mut properties = match properties::parse(bytes) {
        Ok(properties) => properties,
        Err(malformed) => return Err(refused(&malformed, report)),
    };
    report_duplicates(&properties.duplicates, &mut report);
    providers::resolve(&mut properties.entries, outside, &mut report);
    let raw = Layer::raw(&properties.entries);
    let aliases = aliases(&raw, &mut report);
    let served = served(&aliases, options, &mut report);
    let heartbeats = heartbeats(&raw, &aliases, served.as_deref(), &mut report);
    let has_heartbeats = !heartbeats.is_empty();
    let flows = flows(
        &raw,
        &aliases,
        served.as_deref(),
        has_heartbeats,
        &mut report,
    );
    let is_used = |alias: &str| {
        let ends = flows.iter().map(|flow| (&flow.source, &flow.target));
        let beats = heartbeats.iter().map(|one| (&one.source, &one.target));
        ends.chain(beats)
            .any(|(source, target)| source == alias || target == alias)
    };
    let clusters = clusters(&raw, &aliases, is_used, &mut report);
    let limits = limits(&raw, &mut report);
    let http_listen = http_listen(&raw, &mut report);
    usage::check(&properties.entries, &raw, &aliases, &mut report);
    let effective = effective::of(file, &raw, &clusters, &flows, &heartbeats);
    let config = Config {
        clusters,
        flows,
        heartbeats,
        limits,
        http_listen,
        effective,
    };
    report.finish().map(|notices| (config, notices))
}

fn refused(malformed: &[Malformed], mut report: Report<'_>) -> Mistakes {
    for error in malformed {
        let hint = r"a backslash is written \\";
        report.error(Place::line(error.line), error.problem, hint);
    }
    report.finish().err().unwrap_or_default()
}

fn report_duplicates(duplicates: &[Duplicate], report: &mut Report<'_>) {
    for duplicate in duplicates {
        let problem = format!(
            "this line has no effect: line {} sets the key again",
            duplicate.line
        );
        let place = Place::line_and_key(duplicate.ignored_line, &duplicate.key);
        report.notice(place, problem, "");
    }
}

/// The aliases in `clusters`; those that cannot be used are reported and left out.
fn aliases(raw: &Layer<'_>, report: &mut Report<'_>) -> Vec<String> {
    let hint = "write clusters = A, B with the aliases of your clusters";
    let Some(entry) = raw.get("clusters") else {
        report.error(Place::key("clusters"), "is missing", hint);
        return Vec::new();
    };
    let mut aliases: Vec<String> = Vec::new();
    let items = list_items(&entry.value);
    if items.is_empty() {
        report.error(Place::of(entry), "is empty", hint);
    }
    for (index, (start, alias)) in items.into_iter().enumerate() {
        let place = Place::inside(entry, start);
        let shown = entry.shown_item(index, alias);
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if alias.is_empty() {
            report.error(place, "an alias is empty", "remove the comma");
        } else if !alias.chars().all(is_legal) {
            let problem = format!("{shown} cannot be an alias");
            report.error(place, problem, "use letters, digits, '.', '_' and '-'");
        } else if aliases.iter().any(|other| other == alias) {
            report.error(place, format!("the alias {shown} is listed twice"), "");
        } else if !entry.references().is_empty() && !stands_in_a_key(raw, alias) {
            // Messages name aliases, and one that no key has may be a secret.
            let problem = format!("{shown} is an alias that no key has");
            report.error(
                place,
                problem,
                "write keys for it, such as A.bootstrap.servers",
            );
        } else {
            aliases.push(alias.to_owned());
        }
    }
    aliases
}

/// Whether a key names the alias: then it stands in the file for all to see.
fn stands_in_a_key(raw: &Layer<'_>, alias: &str) -> bool {
    let prefix = format!("{alias}.");
    raw.iter().any(|(key, _)| {
        let ends = key.split_once("->");
        key.starts_with(&prefix)
            || ends.is_some_and(|(source, rest)| source == alias || rest.starts_with(&prefix))
    })
}

/// The targets named on the command line.
fn served(
    aliases: &[String],
    options: &ParseOptions,
    report: &mut Report<'_>,
) -> Option<Vec<String>> {
    let served = options.clusters_served.as_ref()?;
    for alias in served {
        if !aliases.contains(alias) {
            let hint = format!("known: {}", aliases.join(", "));
            let problem = format!("{alias:?} is not in clusters");
            report.error(Place::key("--clusters"), problem, &hint);
        }
    }
    Some(served.clone())
}

/// Every enabled flow whose target is served, sources in the order of `clusters`.
fn flows(
    raw: &Layer<'_>,
    aliases: &[String],
    served: Option<&[String]>,
    has_heartbeats: bool,
    report: &mut Report<'_>,
) -> Vec<FlowConfig> {
    let mut flows = Vec::new();
    let (mut enabled, mut running) = (0_usize, 0_usize);
    let mut hops = Vec::new();
    for source in aliases {
        for target in aliases.iter().filter(|&target| target != source) {
            let layers = Layers::new(raw, source, target);
            if !layers.is_enabled(raw, report) {
                continue;
            }
            enabled += 1;
            // Another process may run it. What is wrong with it is told where it is read.
            hops.extend(layers.hop(&mut Report::new("")));
            if served.is_none_or(|served| served.contains(target)) {
                running += 1;
                flows.extend(layers.read(report));
            }
        }
    }
    for flow in &mut flows {
        flow.topic_filter.hops.clone_from(&hops);
    }
    if enabled == 0 && !aliases.is_empty() {
        let hint = match aliases {
            [source, target, ..] => format!("write {source}->{target}.enabled = true"),
            _ => "a flow needs two clusters".to_owned(),
        };
        report.error(Place::FILE, "no flow is enabled", &hint);
    } else if running == 0 && enabled > 0 {
        let problem = "no enabled flow has one of these targets";
        let place = Place::key("--clusters");
        if has_heartbeats {
            report.notice(place, format!("{problem}: only heartbeats are emitted"), "");
        } else {
            report.error(place, problem, "name a target of a flow");
        }
    }
    flows
}

/// The heartbeats of every flow object whose target is served, copied or not.
fn heartbeats(
    raw: &Layer<'_>,
    aliases: &[String],
    served: Option<&[String]>,
    report: &mut Report<'_>,
) -> Vec<HeartbeatConfig> {
    let mut heartbeats = Vec::new();
    for source in aliases {
        for target in aliases.iter().filter(|&target| target != source) {
            if served.is_none_or(|served| served.contains(target)) {
                heartbeats.extend(Layers::new(raw, source, target).heartbeats(raw, report));
            }
        }
    }
    heartbeats
}

/// The clusters that are used. All are validated, used or not.
fn clusters(
    raw: &Layer<'_>,
    aliases: &[String],
    is_used: impl Fn(&str) -> bool,
    report: &mut Report<'_>,
) -> Vec<ClusterConfig> {
    let mut clusters = Vec::new();
    for alias in aliases {
        let layer = Layer::cluster(raw, alias);
        let bootstrap = bootstrap(alias, &layer, report);
        let entry = layer.get("bootstrap.servers");
        let client_id = layer.value_or_default("client.id", Scope::Worker, report);
        let security = security::read(alias, &layer, report);
        if is_used(alias) {
            clusters.push(ClusterConfig {
                alias: alias.clone(),
                bootstrap_shown: entry.map_or_else(String::new, |it| servers(it, &bootstrap)),
                bootstrap,
                client_id: client_id.to_owned(),
                security,
            });
        }
    }
    clusters
}

fn bootstrap(alias: &str, layer: &Layer<'_>, report: &mut Report<'_>) -> Vec<HostPort> {
    let key = format!("{alias}.bootstrap.servers");
    let hint = format!("write {key} = host:9092");
    let Some(entry) = layer.get("bootstrap.servers") else {
        report.error(Place::key(&key), "is missing", &hint);
        return Vec::new();
    };
    let items = list_items(&entry.value);
    if items.is_empty() {
        report.error(Place::of(entry), "is empty", &hint);
    }
    let mut servers = Vec::new();
    for (index, (start, item)) in items.into_iter().enumerate() {
        match host_port(item) {
            Ok(server) => servers.push(server),
            Err(problem) => {
                let place = Place::inside(entry, start);
                let shown = entry.shown_item(index, item);
                report.error(place, format!("{shown} {problem}"), "write host:port");
            }
        }
    }
    servers
}

/// The servers as reports show them.
fn servers(entry: &Entry, servers: &[HostPort]) -> String {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    if entry.references().is_empty() {
        servers.join(",")
    } else {
        printable(entry.written())
    }
}

/// Parses `host:port`, `[ipv6]:port` or `protocol://host:port`, as Kafka's `Utils.getHost`.
fn host_port(text: &str) -> Result<HostPort, &'static str> {
    let address = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = address.rsplit_once(':').ok_or("has no port")?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or("has an unclosed bracket")?,
        None => host,
    };
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '%');
    if host.is_empty() || !host.chars().all(is_legal) {
        return Err("has no valid host");
    }
    let port = port.parse().ok().filter(|&port: &u16| port != 0);
    Ok(HostPort {
        host: host.to_owned(),
        port: port.ok_or("has a bad port, which must be a number from 1 to 65535")?,
    })
}

fn http_listen(raw: &Layer<'_>, report: &mut Report<'_>) -> Option<HostPort> {
    let name = "kmirror.http.listen";
    let value = raw.value_or_default(name, Scope::Process, report).trim();
    if value.is_empty() {
        return None;
    }
    match (host_port(value), raw.get(name)) {
        (Ok(listen), _) => Some(listen),
        (Err(problem), Some(entry)) => {
            let hint = "write host:port, or nothing to serve nothing";
            let shown = entry.shown(format!("{value:?}"));
            report.error(Place::of(entry), format!("{shown} {problem}"), hint);
            None
        }
        (Err(problem), None) => unreachable!("the default of {name} {problem}"),
    }
}

fn limits(raw: &Layer<'_>, report: &mut Report<'_>) -> Limits {
    let mut read = |name| raw.value_or_default(name, Scope::Process, report);
    Limits {
        memory_bytes: number(read("kmirror.memory.bytes")),
        request_timeout: millis(read("kmirror.request.timeout.ms")),
        shutdown_timeout: millis(read("kmirror.shutdown.timeout.ms")),
    }
}
