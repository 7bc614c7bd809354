//! Programs of others that tests need and a machine may lack.

use std::{
    io::{self, Write as _},
    process::Command,
    thread,
};

/// Says loudly why the calling test is skipped.
///
/// Panics instead when the environment variable `required_by` is 1.
pub(crate) fn skip(reason: &str, required_by: &str) {
    let required = std::env::var(required_by).is_ok_and(|value| value == "1");
    assert!(!required, "{required_by} is 1, but {reason}");
    let test = thread::current().name().unwrap_or("a test").to_owned();
    #[expect(
        clippy::explicit_write,
        reason = "what a passing test says by `eprintln` is never shown"
    )]
    writeln!(io::stderr(), "SKIPPED: {test}: {reason}").unwrap();
}

/// Runs a command to its end; a failure holds what it printed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Err(format!("{name} ended with {}:\n{out}{err}", output.status))
}
