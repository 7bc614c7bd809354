//! What happened in a run, and when.

use std::{io::Write as _, thread, time::Instant};

/// What has happened, told when the run fails; with `KMIRROR_KILLS`, told at once.
pub(super) struct Journal {
    seed: u64,
    kills: u32,
    began_at: Instant,
    is_loud: bool,
    notes: Vec<String>,
}

impl Journal {
    /// Of a run with this seed and so many kills, beginning now.
    pub(super) fn new(seed: u64, kills: u32) -> Self {
        Self {
            seed,
            kills,
            began_at: now(),
            is_loud: std::env::var_os("KMIRROR_KILLS").is_some(),
            notes: Vec::new(),
        }
    }

    /// Notes something, and when.
    pub(super) fn note(&mut self, text: &str) {
        let note = format!("{:8.3} s: {text}", (now() - self.began_at).as_secs_f64());
        if self.is_loud {
            #[expect(
                clippy::explicit_write,
                reason = "what a passing test says by `eprintln` is never shown"
            )]
            writeln!(std::io::stderr(), "{note}").unwrap();
        }
        self.notes.push(note);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if thread::panicking() {
            let (seed, kills) = (self.seed, self.kills);
            eprintln!(
                "--- KMIRROR_SEED={seed} KMIRROR_KILLS={kills} fails:\n{}",
                self.notes.join("\n")
            );
        }
    }
}

/// The time, by a clock that only goes forward.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes live in real time"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
