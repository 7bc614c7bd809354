//! Makes a failing plan small: whole kinds of fault go first, then single faults, then writes.

use std::collections::BTreeSet;

use super::{Outcome, Plan, plan::Kind, run};

/// A failing plan, as small as it could be made.
#[derive(Debug)]
pub(super) struct Shrunk {
    pub(super) plan: Plan,
    /// What went wrong in the whole plan, and in the small one.
    failures: [Vec<String>; 2],
}

impl Shrunk {
    /// How the plan is called.
    pub(super) fn seed(&self) -> String {
        format!("{}:{}", self.plan.class.name(), self.plan.seed)
    }

    pub(super) fn unshrunk(plan: &Plan, outcome: &Outcome) -> Self {
        Self {
            plan: plan.clone(),
            failures: [outcome.failures.clone(), Vec::new()],
        }
    }
}

impl std::fmt::Display for Shrunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { plan, failures } = self;
        writeln!(
            f,
            "\nKMIRROR_SEED={} cargo test --test tests -- simulate::every_schedule --nocapture",
            self.seed()
        )?;
        for failure in &failures[0] {
            writeln!(f, "  fails: {failure}")?;
        }
        if failures[1].is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "  shrunk to {} writes and these faults:",
            plan.writes.len()
        )?;
        if let Some(past) = &plan.past {
            writeln!(f, "    {past:?}")?;
        }
        for fault in &plan.faults {
            writeln!(f, "    {:>8} ms {:?}", fault.at / 1_000, fault.what)?;
        }
        for failure in &failures[1] {
            writeln!(f, "  still fails: {failure}")?;
        }
        Ok(())
    }
}

/// Takes away all that can go while the plan still fails.
pub(super) fn shrink(plan: &Plan, outcome: &Outcome) -> Shrunk {
    let mut shrunk = Shrunk {
        plan: plan.clone(),
        failures: [outcome.failures.clone(), outcome.failures.clone()],
    };
    shrunk.attempt(|plan| plan.past = None);
    let kinds: BTreeSet<Kind> = plan.faults.iter().map(|fault| fault.kind).collect();
    for kind in kinds {
        shrunk.attempt(|plan| plan.faults.retain(|fault| fault.kind != kind));
    }
    let mut index = 0;
    while index < shrunk.plan.faults.len() {
        let has_shrunk = shrunk.attempt(|plan| {
            plan.faults.remove(index);
        });
        index += usize::from(!has_shrunk);
    }
    // Halves, quarters and so on of the writes.
    let mut size = shrunk.plan.writes.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < shrunk.plan.writes.len() {
            let end = (at + size).min(shrunk.plan.writes.len());
            let has_shrunk = shrunk.attempt(|plan| {
                plan.writes.drain(at..end);
            });
            at += if has_shrunk { 0 } else { size };
        }
        size /= 2;
    }
    shrunk
}

impl Shrunk {
    fn attempt(&mut self, change: impl Fn(&mut Plan)) -> bool {
        let mut smaller = self.plan.clone();
        change(&mut smaller);
        let outcome = run(&smaller, false);
        let still_fails = !outcome.failures.is_empty();
        if still_fails {
            self.plan = smaller;
            self.failures[1] = outcome.failures;
        }
        still_fails
    }
}
