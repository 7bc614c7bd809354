//! Which room imports which: the table of the architecture, checked against the source text.
//!
//! Comments may speak of anything; code may not. Test modules of a room obey its rules too.

use std::{
    fs,
    path::{Path, PathBuf},
};

const CLOCKS: [&str; 3] = ["Instant::now", "SystemTime", ".elapsed("];
const SYSTEM: [&str; 4] = ["tokio", "std::net", "std::io", "std::fs"];

/// Where a rule is broken on purpose: an instant for tests in virtual time to start from.
const EXEMPT: (&str, &str) = ("src/flow/tests/mod.rs", "Instant::now");

/// What the code of a room never names.
struct Rule {
    path: &'static str,
    /// Rooms of this crate.
    rooms: Vec<&'static str>,
    /// Anything else: crates, paths, calls.
    words: Vec<&'static str>,
}

fn rules() -> Vec<Rule> {
    let rule = |path, rooms: &[&'static str], words: &[&[&'static str]]| Rule {
        path,
        rooms: [rooms, &["cli", "demo"]].concat(),
        words: words.concat(),
    };
    let (system, clocks) = (&SYSTEM[..], &CLOCKS[..]);
    let above_flow = &["cluster", "runtime", "observe", "config", "sandbox"];
    let above_offsets = &["flow", "cluster", "runtime", "observe", "config", "sandbox"];
    let above_policy = &[
        "offsets", "flow", "cluster", "runtime", "observe", "config", "sandbox",
    ];
    let above_cluster = &[
        "flow", "policy", "offsets", "runtime", "observe", "config", "sandbox",
    ];
    let above_config = &[
        "flow", "offsets", "cluster", "runtime", "observe", "sandbox",
    ];
    let above_observe = &["flow", "cluster", "runtime", "sandbox"];
    let beside_sandbox = &[
        "flow", "policy", "offsets", "cluster", "runtime", "observe", "config",
    ];
    vec![
        rule("src/policy", above_policy, &[system, clocks]),
        rule("src/offsets", above_offsets, &[system, clocks]),
        rule("src/flow", above_flow, &[system, clocks]),
        rule("src/cluster", above_cluster, &[]),
        rule(
            "src/config",
            above_config,
            &[&["tokio", "std::net"], clocks],
        ),
        rule("src/runtime", &["sandbox"], &[]),
        rule("src/observe", above_observe, &[]),
        rule("src/sandbox", beside_sandbox, &[]),
        rule(
            "protocol/src",
            &[],
            &[&["tokio", "std::net", "std::fs", "kmirror"], clocks],
        ),
    ]
}

/// The files of the sandbox that may touch sockets and clocks.
const SANDBOX_SERVER: &str = "src/sandbox/server";

#[test]
fn no_room_names_what_is_not_its_own() {
    let mut broken = Vec::new();
    for rule in rules() {
        for path in rust_files(&repository().join(rule.path)) {
            broken.extend(violations(&path, &rule.rooms, &rule.words));
        }
    }
    let pure = [&SYSTEM[..], &CLOCKS[..]].concat();
    let sandbox = rust_files(&repository().join("src/sandbox"));
    let pure_part = sandbox
        .iter()
        .filter(|path| !relative(path).starts_with(SANDBOX_SERVER));
    for path in pure_part {
        broken.extend(violations(path, &[], &pure));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_rooms_are_where_the_rules_look_for_them() {
    for room in [
        "src/policy",
        "src/offsets",
        "src/flow",
        "src/cluster",
        "src/sandbox",
        "protocol/src",
    ] {
        assert!(!rust_files(&repository().join(room)).is_empty(), "{room}");
    }
    assert!(
        repository()
            .join(SANDBOX_SERVER)
            .with_extension("rs")
            .is_file()
    );
}

#[test]
fn the_rules_see_code_and_nothing_else() {
    let (rooms, words) = (["flow"], ["tokio", "Instant::now"]);
    let cases = [
        ("use tokio::net;", true),
        ("use tokio as t;", true),
        ("use {std::fmt, tokio::net};", true),
        ("use crate::{cluster, flow::Event};", true),
        ("use crate::{\n    offsets::{self, X},\n    flow,\n};", true),
        ("use super::super::flow;", true),
        ("use super::super::{policy, flow};", true),
        ("use kmirror::flow;", true),
        ("let x = crate::flow::f();", true),
        ("let now = Instant::now();", true),
        ("let now = Instant :: now();", true),
        ("/* a comment */ use tokio;", true),
        ("let url = \"http://x\"; use tokio::net;", true),
        ("let quote = '\"'; use tokio::net;", true),
        ("let raw = r#\"a \" b\"#; use tokio::net;", true),
        ("// use tokio::net;", false),
        ("//! See crate::flow.", false),
        ("/* use tokio; /* nested */ use tokio; */", false),
        ("let text = \"tokio and crate::flow\";", false),
        ("let text = \"a \\\" tokio\";", false),
        ("let raw = r#\"tokio \" tokio\"#;", false),
        ("let flow = overflow(flow.x);", false),
        ("fn f<'a>(tokio_like: &'a str) {}", false),
        ("use super::flow::Own;", false),
        ("use super::{flow, other};", false),
        ("use crate::{room::flow, other};", false),
        ("use crate::room::{flow, other};", false),
        ("if flow { crate::room::go(); }", false),
    ];
    for (code, expected) in cases {
        // As if in `src/room/file.rs`, where `super::super` is the crate.
        assert_eq!(
            !named(code, 2, &rooms, &words).is_empty(),
            expected,
            "{code}"
        );
    }
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(repository()).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}

/// All Rust files of a room, whether it is a file or a directory; none if it does not exist yet.
fn rust_files(room: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let file = room.with_extension("rs");
    if file.is_file() {
        files.push(file);
    }
    for entry in fs::read_dir(room).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files.dedup();
    files
}

fn violations(path: &Path, rooms: &[&str], words: &[&str]) -> Vec<String> {
    let name = relative(path);
    let text = fs::read_to_string(path).unwrap();
    named(&text, depth(&name), rooms, words)
        .into_iter()
        .filter(|(_, what)| (name.as_str(), *what) != EXEMPT)
        .map(|(line, what)| format!("{name}:{line}: names {what}"))
        .collect()
}

/// How many `super` lead from a file to the root of its crate.
fn depth(name: &str) -> usize {
    let inside = name.split("src/").last().unwrap_or(name);
    inside.split('/').count() - usize::from(inside.ends_with("mod.rs"))
}

/// Where `text` names what it must not: line and name.
///
/// A room counts where a path from the crate's root leads to it; anything else counts wherever it
/// stands as a whole word.
fn named<'a>(
    text: &str,
    depth: usize,
    rooms: &[&'a str],
    words: &[&'a str],
) -> Vec<(usize, &'a str)> {
    let code = code_of(text);
    let mut found = Vec::new();
    for what in rooms {
        let at_root = places(&code, what).filter(|at| is_at_root(&code[..*at], depth));
        found.extend(at_root.map(|at| (at, *what)));
    }
    for what in words {
        found.extend(places(&code, what).map(|at| (at, *what)));
    }
    found
        .into_iter()
        .map(|(at, what)| (code[..at].matches('\n').count() + 1, what))
        .collect()
}

/// Where `what` stands as a whole word.
fn places<'a>(code: &'a str, what: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(what)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = code[..*at].chars().next_back();
            let after = code[at + what.len()..].chars().next();
            let begins = !what.starts_with(is_word) || !before.is_some_and(is_word);
            let ends = !what.ends_with(is_word) || !after.is_some_and(is_word);
            begins && ends
        })
}

/// Whether the path that ends where `before` does is the root of a crate.
fn is_at_root(before: &str, depth: usize) -> bool {
    let before = before.trim_end();
    if before.ends_with("crate::") || before.ends_with("kmirror::") {
        return true;
    }
    let mut head = before;
    let mut supers = 0;
    while let Some(shorter) = head.strip_suffix("super::") {
        (head, supers) = (shorter, supers + 1);
    }
    if supers > 0 {
        return supers >= depth;
    }
    // A branch of `use head::{…}`: what counts is the head.
    before.ends_with(['{', ','])
        && open_brace(before).is_some_and(|at| {
            let head = before[..at].trim_end();
            head.ends_with("::") && is_at_root(head, depth)
        })
}

/// The brace that is still open at the end of `text`, within one statement.
fn open_brace(text: &str) -> Option<usize> {
    let mut closed = 0;
    for (at, c) in text.char_indices().rev() {
        match c {
            '}' => closed += 1,
            '{' if closed > 0 => closed -= 1,
            '{' => return Some(at),
            ';' => return None,
            _ => {}
        }
    }
    None
}

/// The text without comments and without what is in quotes; lines stay where they are, and spaces
/// around `::` are gone.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_len(rest)
        } else if let Some(len) = literal_len(rest, code.chars().next_back()) {
            code.push('"');
            len
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    while code.contains(" ::") || code.contains(":: ") {
        code = code.replace(" ::", "::").replace(":: ", "::");
    }
    code
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string or character that `text` begins with, if it begins with one.
fn literal_len(text: &str, before: Option<char>) -> Option<usize> {
    let is_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if let Some(raw) = text
        .strip_prefix('r')
        .filter(|_| !is_word || before == Some('b'))
    {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 1 + hashes + 1;
            let len = text[body..]
                .find(&end)
                .map_or(text.len(), |at| body + at + end.len());
            return Some(len);
        }
    }
    if text.starts_with('"') {
        return Some(quoted_len(text, '"'));
    }
    // A lifetime has no closing quote where a character has one.
    let mut chars = text.strip_prefix('\'')?.chars();
    let is_char = match chars.next()? {
        '\\' => true,
        _ => chars.next() == Some('\''),
    };
    is_char.then(|| quoted_len(text, '\''))
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}
