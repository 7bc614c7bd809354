//! Reads a whole file: clusters first, then flows, then every key that is left over.

use super::{
    ClusterConfig, Config, FlowConfig, HeartbeatConfig, HostPort, Limits, Mistakes, Notice,
    ParseOptions,
    error::{Place, Report},
    flow::{Layers, millis, number},
    layers::{Layer, list_items},
    properties,
    settings::Scope,
    usage,
};

/// What [`Config::parse`] does.
pub(super) fn read(
    file: &str,
    bytes: &[u8],
    options: &ParseOptions,
) -> Result<(Config, Vec<Notice>), Mistakes> {
    let mut report = Report::new(file);
    let properties = match properties::parse(bytes) {
        Ok(properties) => properties,
        Err(malformed) => {
            for error in malformed {
                let hint = r"a backslash is written \\";
                report.error(Place::line(error.line), error.problem, hint);
            }
            return Err(report.finish().err().unwrap_or_default());
        }
    };
    for duplicate in &properties.duplicates {
        let problem = format!(
            "this line has no effect: line {} sets the key again",
            duplicate.line
        );
        let place = Place::line_and_key(duplicate.ignored_line, &duplicate.key);
        report.notice(place, problem, "");
    }
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
    let config = Config {
        clusters,
        flows,
        heartbeats,
        limits,
        http_listen,
    };
    report.finish().map(|notices| (config, notices))
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
    for (start, alias) in items {
        let place = Place::inside(entry, start);
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if alias.is_empty() {
            report.error(place, "an alias is empty", "remove the comma");
        } else if !alias.chars().all(is_legal) {
            let problem = format!("{alias:?} cannot be an alias");
            report.error(place, problem, "use letters, digits, '.', '_' and '-'");
        } else if aliases.iter().any(|other| other == alias) {
            report.error(place, format!("the alias {alias:?} is listed twice"), "");
        } else {
            aliases.push(alias.to_owned());
        }
    }
    aliases
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
        let client_id = layer.value_or_default("client.id", Scope::Worker, report);
        if is_used(alias) {
            clusters.push(ClusterConfig {
                alias: alias.clone(),
                bootstrap,
                client_id: client_id.to_owned(),
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
    for (start, item) in items {
        match host_port(item) {
            Ok(server) => servers.push(server),
            Err(problem) => {
                let place = Place::inside(entry, start);
                report.error(place, format!("{item:?} {problem}"), "write host:port");
            }
        }
    }
    servers
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
            report.error(Place::of(entry), format!("{value:?} {problem}"), hint);
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
