//! The real binary as a child process.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// How long anything may take on a machine busy with other things.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// A running `kmirror run`; killed with this value at the latest.
pub(crate) struct Kmirror {
    child: Child,
    dir: tempfile::TempDir,
}

impl Kmirror {
    /// Runs a properties file.
    pub(crate) fn run(properties: &str) -> Self {
        Self::run_with(properties, &[])
    }

    /// Runs a properties file with further arguments.
    pub(crate) fn run_with(properties: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mm2.properties");
        fs::write(&file, properties).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kmirror"))
            .arg("run")
            .arg(&file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Waits until it has logged `text`.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        self.wait_until(&format!("{text:?} in the log"), |log| {
            log.contains(text).then_some(())
        });
    }

    /// Waits until `done` finds what it looks for; it is given the log.
    pub(crate) fn wait_until<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&str) -> Option<T>,
    ) -> T {
        wait_until(what, || {
            let log = self.log();
            let found = done(&log);
            assert!(
                found.is_some() || self.child.try_wait().unwrap().is_none(),
                "ended while waiting for {what}\n{log}"
            );
            found
        })
    }

    /// Asks it to stop (SIGTERM); returns how it ended and what it logged.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let status = wait_until("its end", || self.child.try_wait().unwrap());
        (status, self.log())
    }

    /// Ends it at once, as a crash would (SIGKILL); returns what it logged.
    pub(crate) fn kill9(mut self) -> String {
        self.signal(Signal::KILL);
        self.wait().1
    }

    /// How it ended, if it has.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Kmirror {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "--- log of kmirror\n{}",
                fs::read_to_string(self.log_file()).unwrap_or_default()
            );
        }
    }
}

/// Waits until `done` finds what it looks for.
pub(crate) fn wait_until<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    wait_for(WAIT_MAX, done).unwrap_or_else(|| panic!("waited {WAIT_MAX:?} for {what}"))
}
