//! The proof, rule by rule and at random against a simpler one.

mod answers;
mod logs;
mod oracle;
mod random;
mod rules;
mod runs;
mod tail;
mod unsequenced;

use self::logs::{SourceLog, TargetLog};
use super::{Progress, Proof, ProofStart, Verdict, Wants};
use crate::flow::{Side, halt::HaltReason};

/// Answers a proof until it has a verdict: with answers of random size, at times empty, at times
/// too small for one batch.
fn prove(
    start: ProofStart,
    source: &SourceLog,
    target: &TargetLog,
    rng: &mut fastrand::Rng,
) -> Result<Verdict, HaltReason> {
    let mut proof = Proof::new(start);
    let mut bytes_max = 0;
    let mut found = Vec::new();
    for _ in 0..100_000 {
        let side = match proof.wants() {
            Wants::Nothing => break,
            Wants::Source { .. } => Side::Source,
            Wants::Decided { .. } | Wants::Target { .. } => Side::Target,
        };
        bytes_max += rng.usize(0..400);
        let progress = match proof.wants() {
            _ if rng.u8(0..20) == 0 => Progress::None,
            Wants::Source { offset } => proof.take_source(source.fetch(offset, bytes_max))?,
            Wants::Decided { offset } => {
                proof.take_target(target.fetch_decided(offset, bytes_max))?
            }
            Wants::Target { offset } => proof.take_target(target.fetch(offset, bytes_max))?,
            Wants::Nothing => Progress::None,
        };
        found.extend(proof.take_runs());
        match progress {
            Progress::Made => bytes_max = 0,
            Progress::None | Progress::Cut => {}
        }
        if bytes_max > 100_000 {
            // Only a log whose last batches are gone answers nothing for ever.
            proof.nothing_left(side)?;
            bytes_max = 0;
        }
    }
    let verdict = proof.verdict().expect("a proof ends");
    found.extend(proof.take_runs());
    runs::check_runs(&found, source, target, &verdict);
    Ok(verdict)
}
