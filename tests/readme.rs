//! What the README says is what the program does.

use std::{fs, path::Path, process::Command};

use kmirror::{config::settings, observe::metrics};

use crate::support::golden::is_updating;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("README.md is at the root of the repository")
}

/// Holds the table between `<!-- name -->` and `<!-- /name -->` to what the program says it is.
fn assert_table(name: &str, expected: &str) {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let text = readme();
    let (before, rest) = text.split_once(&open).expect("a line that opens the table");
    let (table, after) = rest.split_once(&close).expect("a line that closes it");
    if is_updating() && table.trim() != expected.trim() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let expected = expected.trim_end();
        fs::write(
            path,
            format!("{before}{open}\n{expected}\n\n{close}{after}"),
        )
        .unwrap();
        return;
    }
    assert_eq!(
        table.trim(),
        expected.trim(),
        "run with UPDATE_GOLDEN=1 to bring the README up to date"
    );
}

#[test]
fn the_settings_and_metrics_are_those_of_the_tables() {
    assert_table("settings", &settings::table_markdown());
    assert_table("metrics", &metrics::table_markdown());
}

#[test]
fn every_properties_file_in_it_is_right() {
    let text = readme();
    let blocks: Vec<&str> = text
        .split("```properties\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "there is no example");
    let dir = tempfile::tempdir().unwrap();
    for block in blocks {
        let file = dir.path().join("mm2.properties");
        fs::write(&file, block).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_kmirror"))
            .args(["check", "--offline"])
            .arg(&file)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{block}\n{errors}");
    }
}
