//! What the README of the crate says is what the crate holds.

#![expect(
    clippy::unwrap_used,
    reason = "test code; the setting does not reach helper functions"
)]

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use kmirror_protocol::api::{IMPLEMENTED, Implemented};

const OPEN: &str = "<!-- apis -->\n";
const CLOSE: &str = "<!-- /apis -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_table_of_apis_is_that_of_the_code() {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(OPEN).unwrap();
    let (table, after) = rest.split_once(CLOSE).unwrap();
    let expected = table_markdown();
    if env::var_os("UPDATE_GOLDEN").is_some() && table.trim() != expected.trim() {
        fs::write(path, format!("{before}{OPEN}\n{expected}\n{CLOSE}{after}")).unwrap();
        return;
    }
    assert_eq!(
        table.trim(),
        expected.trim(),
        "run with UPDATE_GOLDEN=1 to bring the README up to date"
    );
}

fn table_markdown() -> String {
    let mut table =
        "| key | API | versions | flexible | KIPs |\n|---|---|---|---|---|\n".to_owned();
    let headers = file_headers();
    for api in IMPLEMENTED {
        let Implemented {
            key,
            versions,
            flexible_from,
        } = api;
        let opens = |header: &&String| header.contains(&format!("//! {key} (API key "));
        let header = headers.iter().find(opens).unwrap();
        let kips: Vec<_> = kips_in(header).iter().map(u32::to_string).collect();
        let flexible = match *flexible_from {
            i16::MAX => "–".to_owned(),
            from => from.to_string(),
        };
        table += &format!(
            "| {} | {key} | {}–{} | {flexible} | {} |\n",
            key.number(),
            versions.start(),
            versions.end(),
            kips.join(", "),
        );
    }
    table
}

/// How every file of messages opens: its API, and which change came with which version.
fn file_headers() -> Vec<String> {
    let files = fs::read_dir(root().join("src/messages")).unwrap();
    files
        .map(|file| {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let header = text.lines().take_while(|line| line.starts_with("//!"));
            header.map(|line| format!("{line}\n")).collect()
        })
        .collect()
}

/// The KIPs whose changes are implemented: what is not supported comes last.
fn kips_in(header: &str) -> BTreeSet<u32> {
    let implemented = header.split("ot supported: ").next().unwrap();
    let numbers = implemented.split("KIP-").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..end].parse().unwrap()
    });
    numbers.collect()
}

#[test]
fn the_package_holds_what_a_user_needs_and_no_more() {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    for needed in ["LICENSE", "README.md", "src/lib.rs", "examples/dump_log.rs"] {
        assert!(
            files.lines().any(|file| file == needed),
            "{needed} is not in\n{files}"
        );
    }
    for needless in ["tests/", "benches/"] {
        assert!(!files.contains(needless), "{needless} is in\n{files}");
    }
}
