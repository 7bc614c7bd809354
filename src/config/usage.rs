//! What becomes of every key of a file: in effect, misplaced, without effect, unknown.
//!
//! MM2 ignores most mistakes in silence; here each gets a notice that says what would work.

use super::{
    error::{Place, Report},
    layers::{Layer, is_well_typed},
    properties::Entry,
    settings::{self, Scope, Setting, Status},
};

/// Where a key stands, by its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position<'a> {
    Top,
    Cluster(&'a str),
    Flow(&'a str, &'a str),
}

/// Prefixes that lead to one client, and what its settings are looked up as.
const ROLES: [(&str, Scope); 14] = [
    ("source.consumer.", Scope::Consumer),
    ("target.consumer.", Scope::Consumer),
    ("consumer.override.", Scope::Consumer),
    ("consumer.", Scope::Consumer),
    ("source.producer.", Scope::Producer),
    ("target.producer.", Scope::Producer),
    ("producer.override.", Scope::Producer),
    ("producer.", Scope::Producer),
    ("source.admin.", Scope::Admin),
    ("target.admin.", Scope::Admin),
    ("admin.override.", Scope::Admin),
    ("admin.", Scope::Admin),
    ("source.cluster.", Scope::Client),
    ("target.cluster.", Scope::Client),
];

/// Reports on every key.
pub(super) fn check(
    entries: &[Entry],
    raw: &Layer<'_>,
    aliases: &[String],
    report: &mut Report<'_>,
) {
    for entry in entries {
        check_text(entry, report);
        check_entry(entry, raw, aliases, report);
    }
}

fn check_text(entry: &Entry, report: &mut Report<'_>) {
    if !entry.is_ascii {
        let problem = "characters outside ASCII are read as ISO-8859-1";
        report.notice(Place::of(entry), problem, r"write them as \uXXXX");
    }
    if entry.written().contains(" #") {
        let problem = "a comment after a value is part of the value";
        report.notice(
            Place::of(entry),
            problem,
            "give the comment a line of its own",
        );
    }
}

fn check_entry(entry: &Entry, raw: &Layer<'_>, aliases: &[String], report: &mut Report<'_>) {
    let Some((position, rest)) = position(&entry.key, aliases) else {
        return check_unknown_flow(entry, aliases, report);
    };
    if let Position::Flow(source, target) = position
        && source == target
    {
        let problem = "source and target of a flow are the same cluster";
        return report.error(Place::of(entry), problem, "remove the line");
    }
    let (scopes, name) = scopes(position, rest);
    let found = settings::named(name);
    let here = found
        .iter()
        .find(|setting| setting.scopes.iter().any(|scope| scopes.contains(scope)));
    if let Some(setting) = here {
        check_setting(entry, *setting, position, raw, report);
    } else if found.is_empty() {
        check_unknown(entry, position, name, aliases, report);
    } else {
        report_misplaced(entry, &found, position, name, aliases, report);
    }
}

/// Cuts the prefix of a key. `None` for a flow between clusters that are not both known.
fn position<'a>(key: &'a str, aliases: &'a [String]) -> Option<(Position<'a>, &'a str)> {
    for source in aliases {
        for target in aliases {
            let rest = key
                .strip_prefix(source.as_str())
                .and_then(|rest| rest.strip_prefix("->"))
                .and_then(|rest| rest.strip_prefix(target.as_str()))
                .and_then(|rest| rest.strip_prefix('.'));
            if let Some(rest) = rest {
                return Some((Position::Flow(source, target), rest));
            }
        }
    }
    if key.contains("->") {
        return None;
    }
    let is_top_level = settings::named(key)
        .iter()
        .any(|setting| setting.scopes.iter().any(|scope| scope.is_top_level()));
    if !is_top_level {
        // The longest alias, since one may begin with another: us and us.west.
        let owner = aliases
            .iter()
            .filter_map(|alias| Some((alias, key.strip_prefix(alias.as_str())?.strip_prefix('.')?)))
            .max_by_key(|(alias, _)| alias.len());
        if let Some((alias, rest)) = owner {
            return Some((Position::Cluster(alias), rest));
        }
    }
    Some((Position::Top, key))
}

/// The scopes in which the rest of a key is looked up, and the name without its role.
fn scopes<'a>(position: Position<'_>, rest: &'a str) -> (Vec<Scope>, &'a str) {
    use Scope::{Client, Flow, FlowOnly, Process, Worker, WorkerShared};
    let plain = match position {
        Position::Top => vec![Process, Client, Flow, WorkerShared],
        Position::Cluster(_) => vec![Client, Worker, WorkerShared],
        Position::Flow(..) => vec![Flow, FlowOnly],
    };
    // consumer.poll.timeout.ms is a setting of the flow, not of its consumer.
    let found = settings::named(rest);
    if found
        .iter()
        .any(|setting| setting.scopes.iter().any(|s| plain.contains(s)))
    {
        return (plain, rest);
    }
    for (prefix, scope) in ROLES {
        match rest.strip_prefix(prefix) {
            // Without an alias it is nobody's client.
            Some(name) if position == Position::Top => return (Vec::new(), name),
            Some(name) => return (vec![scope, Client], name),
            None => {}
        }
    }
    (plain, rest)
}

/// A setting in a place where it works.
fn check_setting(
    entry: &Entry,
    setting: Setting,
    position: Position<'_>,
    raw: &Layer<'_>,
    report: &mut Report<'_>,
) {
    let place = Place::of(entry);
    if !is_well_typed(entry, setting, report) {
        return;
    }
    if setting.scopes.contains(&Scope::WorkerShared)
        && matches!(position, Position::Cluster(_))
        && let Some(other) = raw.get(setting.name)
    {
        let problem = format!(
            "has no effect: {} in line {} wins",
            setting.name, other.line
        );
        return report.notice(place, problem, "remove one of them");
    }
    match setting.status {
        Status::Implemented => {}
        Status::Renamed(new) => {
            let problem = format!("is the old name of {new}");
            report.notice(place, problem, "rename it; both set, the new name wins");
        }
        Status::Needless(reason) => report.notice(place, format!("has no effect: {reason}"), ""),
        Status::Unsupported(_) if is_off(&entry.value) => {}
        Status::Unsupported(reason) => {
            report.notice(place, format!("is not supported: {reason}"), "");
        }
    }
}

/// What is switched off is not missed.
fn is_off(value: &str) -> bool {
    let value = value.trim();
    ["", "false", "disabled", "none"]
        .iter()
        .any(|off| value.eq_ignore_ascii_case(off))
}

/// A setting that MM2 reads elsewhere.
fn report_misplaced(
    entry: &Entry,
    found: &[Setting],
    position: Position<'_>,
    name: &str,
    aliases: &[String],
    report: &mut Report<'_>,
) {
    let pair = match position {
        Position::Flow(source, target) => Some((source, target)),
        _ => pair_of(position, aliases),
    };
    let written = found
        .iter()
        .flat_map(|setting| setting.scopes)
        .map(|scope| with_aliases(&scope.written(name), pair))
        .collect::<Vec<_>>()
        .join(" or ");
    let hint = format!("write {written}");
    report.notice(Place::of(entry), "has no effect in this place", &hint);
}

/// Two aliases for examples.
fn pair_of<'a>(position: Position<'a>, aliases: &'a [String]) -> Option<(&'a str, &'a str)> {
    let [first, second, ..] = aliases else {
        return None;
    };
    Some(match position {
        Position::Cluster(target) if target == first => (second, target),
        Position::Cluster(target) => (first, target),
        _ => (first, second),
    })
}

/// Puts real aliases for the letters in [`Scope::written`].
fn with_aliases(written: &str, pair: Option<(&str, &str)>) -> String {
    let Some((source, target)) = pair else {
        return written.to_owned();
    };
    let one = |form: &str| {
        if let Some(rest) = form.strip_prefix("A->B.") {
            format!("{source}->{target}.{rest}")
        } else if let Some(rest) = form.strip_prefix("A.") {
            format!("{source}.{rest}")
        } else if let Some(rest) = form.strip_prefix("B.").or_else(|| form.strip_prefix("X.")) {
            format!("{target}.{rest}")
        } else {
            form.to_owned()
        }
    };
    written
        .split(", ")
        .map(one)
        .collect::<Vec<_>>()
        .join(" or ")
}

fn check_unknown_flow(entry: &Entry, aliases: &[String], report: &mut Report<'_>) {
    let problem = "has no effect: not both ends of the flow are in clusters";
    let hint = format!("clusters has {}", aliases.join(", "));
    report.notice(Place::of(entry), problem, &hint);
}

/// A key that no table row explains. MM2 ignores it; one of ours must be a mistake.
fn check_unknown(
    entry: &Entry,
    position: Position<'_>,
    name: &str,
    aliases: &[String],
    report: &mut Report<'_>,
) {
    let place = Place::of(entry);
    if position == Position::Top
        && let Some((alias, rest)) = entry.key.split_once('.')
        && settings::find(rest, Scope::Client).is_some()
    {
        let problem = format!("has no effect: {alias:?} is not in clusters");
        let hint = format!("clusters has {}", aliases.join(", "));
        return report.notice(place, problem, &hint);
    }
    let hint = nearest(name).map_or_else(String::new, |nearest| {
        let prefix = entry.key.strip_suffix(name).unwrap_or_default();
        format!("did you mean {prefix}{nearest}?")
    });
    if name.starts_with("kmirror.") {
        report.error(place, "is not a setting", &hint);
    } else {
        report.notice(place, "is not a setting and has no effect", &hint);
    }
}

/// The setting with the most similar name, if it is similar at all.
fn nearest(name: &str) -> Option<&'static str> {
    settings::all()
        .filter(|setting| !setting.name.ends_with('*'))
        .map(|setting| (strsim::jaro_winkler(name, setting.name), setting.name))
        .filter(|&(similarity, _)| similarity >= 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
