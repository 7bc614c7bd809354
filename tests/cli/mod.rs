//! The binary: what it prints, and the code it exits with.

mod check;
mod http;
mod offsets;
mod program;
mod sandbox;
mod scale;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// How the binary ended, and what it printed.
struct Output {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Output {
    /// The report of a run that printed nothing else.
    fn report(&self) -> (i32, &str) {
        assert_eq!(self.stderr, "");
        (self.code, &self.stdout)
    }
}

/// Runs the binary to its end in `dir`, whatever the environment of the tests is.
fn kmirror_in(dir: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_kmirror"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("KMIRROR_LOG")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Output {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same for what needs no file.
fn kmirror(arguments: &[&str]) -> Output {
    kmirror_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments)
}

/// The same with a file called `mm2.properties`, named after the other arguments. The clusters of
/// a test go on meanwhile.
async fn kmirror_with(properties: &str, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mm2.properties"), properties).unwrap();
    let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let run = move || {
        let arguments = arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = arguments.chain(["mm2.properties"]).collect();
        kmirror_in(dir.path(), &arguments)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}
