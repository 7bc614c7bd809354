//! The clients that are programs of their own: Python scripts, and one in Go.
//!
//! What they need is downloaded and built once per target directory, below `tmp/clients`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use crate::support::{
    external::{run, skip},
    wait_for,
};

/// How long a scenario may take, on a machine busy with other things.
const SCENARIO_MAX: Duration = Duration::from_secs(300);

/// What of this directory is what a [`Command`] needs to begin.
type Made = Result<PathBuf, String>;

/// librdkafka, through its Python package.
pub(super) fn librdkafka(bootstrap: &str, scenario: &str) {
    script("librdkafka.py", bootstrap, scenario);
}

/// The client that is written in Python itself.
pub(super) fn kafka_python(bootstrap: &str, scenario: &str) {
    script("kafka_python.py", bootstrap, scenario);
}

/// The client that is written in Go.
pub(super) fn franz_go(bootstrap: &str, scenario: &str) {
    static PROGRAM: OnceLock<Made> = OnceLock::new();
    if let Some(program) = found(PROGRAM.get_or_init(build_go)) {
        carry_out(&mut Command::new(program), "franz-go", bootstrap, scenario);
    }
}

fn script(name: &str, bootstrap: &str, scenario: &str) {
    static PYTHON: OnceLock<Made> = OnceLock::new();
    if let Some(python) = found(PYTHON.get_or_init(install_python)) {
        let mut command = Command::new(python);
        let client = name.trim_end_matches(".py");
        carry_out(
            command.arg(sources().join(name)),
            client,
            bootstrap,
            scenario,
        );
    }
}

fn found(made: &Made) -> Option<&Path> {
    made.as_deref()
        .map_err(|reason| skip(reason, "KMIRROR_REQUIRE_CLIENTS"))
        .ok()
}

/// Runs one scenario to its end; fails with what it printed.
fn carry_out(command: &mut Command, client: &str, bootstrap: &str, scenario: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = File::create(&path).unwrap();
    let mut child = command
        .args([bootstrap, scenario, &format!("{client}-{scenario}")])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let status = wait_for(SCENARIO_MAX, || child.try_wait().unwrap());
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let log = fs::read_to_string(path).unwrap();
    let ended_well = status.is_some_and(|status| status.success());
    assert!(ended_well, "{client}, {scenario}: {status:?}\n{log}");
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// The directory for what is made, locked against other test processes.
fn lock_work_dir() -> (PathBuf, File) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&dir).unwrap();
    let lock = File::create(dir.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    (dir, lock)
}

/// Installs the packages, unless the same list has been installed before; answers the interpreter.
fn install_python() -> Made {
    let (dir, _lock) = lock_work_dir();
    let (environment, list) = (dir.join("python"), sources().join("requirements.txt"));
    let (python, done) = (
        environment.join("bin/python"),
        environment.join("installed"),
    );
    let wanted = fs::read(&list).unwrap();
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let _ = fs::remove_dir_all(&environment);
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(list))?;
    fs::write(done, wanted).unwrap();
    Ok(python)
}

/// Builds the program; Go itself knows what has to be done.
fn build_go() -> Made {
    let (dir, _lock) = lock_work_dir();
    let program = dir.join("franz-go");
    run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .current_dir(sources().join("franz-go")))?;
    Ok(program)
}
