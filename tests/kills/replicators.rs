//! The processes of kmirror: one, for a while two.

use std::{fs, path::PathBuf, process::ExitStatus, thread};

use rustix::process::Signal;

use super::{LEASE, REQUEST_TIMEOUT, verdict::Expectation};
use crate::support::{java::Installation, kmirror::Kmirror};

/// A file as MM2 users have it, for one topic.
pub(super) fn properties(source: &str, target: &str, topic: &str, replicas: u16) -> String {
    let delivery = match Expectation::chosen() {
        Expectation::ExactlyOnce => "exactly-once",
        Expectation::AtLeastOnce => "at-least-once",
    };
    format!(
        "clusters = A, B\n\
         A.bootstrap.servers = {source}\n\
         B.bootstrap.servers = {target}\n\
         A->B.enabled = true\n\
         A->B.topics = {topic}\n\
         replication.factor = {replicas}\n\
         offset.storage.replication.factor = 3\n\
         emit.heartbeats.enabled = false\n\
         kmirror.http.listen = \n\
         emit.checkpoints.enabled = false\n\
         emit.offset-syncs.enabled = false\n\
         sync.topic.configs.enabled = false\n\
         kmirror.positions.interval.ms = 100\n\
         kmirror.discovery.interval.ms = 500\n\
         kmirror.delivery = {delivery}\n\
         kmirror.lease.ms = {}\n\
         kmirror.request.timeout.ms = {}\n",
        LEASE.as_millis(),
        REQUEST_TIMEOUT.as_millis(),
    )
}

/// All that run, the oldest first.
pub(super) struct Replicators {
    properties: String,
    running: Vec<(usize, Kmirror)>,
    started: usize,
    /// Those that ended by themselves, and how.
    pub(super) ended: Vec<(usize, ExitStatus)>,
    /// Those that were started again because another had taken them over.
    pub(super) taken_over: Vec<usize>,
    /// Where the logs of those that ended are kept, until the test has passed.
    logs: PathBuf,
}

impl Replicators {
    /// Starts none yet. `name` tells its logs from others'.
    pub(super) fn new(installation: &Installation, name: &str, properties: String) -> Self {
        Self {
            properties,
            running: Vec::new(),
            started: 0,
            ended: Vec::new(),
            taken_over: Vec::new(),
            logs: installation.run_dir(name),
        }
    }

    pub(super) fn start(&mut self) {
        self.started += 1;
        self.running
            .push((self.started, Kmirror::run(&self.properties)));
    }

    /// Ends one at once (SIGKILL), where two run the older or the newer. Answers its number.
    pub(super) fn kill(&mut self, older: bool) -> usize {
        let index = if older { 0 } else { self.running.len() - 1 };
        let (number, kmirror) = self.running.remove(index);
        self.keep(number, &kmirror.kill9());
        number
    }

    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Freezes the oldest (SIGSTOP).
    pub(super) fn freeze(&self) {
        self.running[0].1.signal(Signal::STOP);
    }

    /// Lets the oldest go on (SIGCONT).
    pub(super) fn thaw(&self) {
        self.running[0].1.signal(Signal::CONT);
    }

    /// Does what an operator would. One of two may end by itself, the last may not. One that
    /// another has taken over copies nothing more, so it is started again when the other is dead.
    pub(super) fn tend(&mut self) {
        let ended = |(_, kmirror): &mut (usize, Kmirror)| kmirror.end().is_some();
        if let Some(index) = self.running.iter_mut().position(ended) {
            let (number, mut kmirror) = self.running.remove(index);
            let (status, log) = kmirror.wait();
            self.keep(number, &log);
            self.ended.push((number, status));
            assert!(
                !self.running.is_empty(),
                "replicator {number} ended by itself with {status}:\n{log}"
            );
        }
        if let [(number, last)] = &self.running[..]
            && last.log().contains("has taken it over")
        {
            self.taken_over.push(*number);
            self.stop_all();
            self.start();
        }
    }

    /// Stops all in order (SIGTERM).
    pub(super) fn stop_all(&mut self) {
        for (number, kmirror) in std::mem::take(&mut self.running) {
            let (status, log) = kmirror.stop();
            self.keep(number, &log);
            assert_eq!(status.code(), Some(0), "replicator {number}: {log}");
        }
    }

    fn keep(&self, number: usize, log: &str) {
        fs::write(self.logs.join(format!("kmirror-{number}.log")), log).unwrap();
    }
}

impl Drop for Replicators {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "logs of replicators that ended are in {}",
                self.logs.display()
            );
        } else {
            let _ = fs::remove_dir_all(&self.logs);
        }
    }
}
