//! The runs that a proof finds, against both logs: checked of every proof of these tests.

use super::{
    Verdict,
    logs::{Seen, SourceLog, TargetLog},
};
use crate::offsets::exact_map::Run;

/// Every run holds the live records of its source offsets, each at its place on the target, and
/// all runs together what was proven.
pub(super) fn check_runs(runs: &[Run], source: &SourceLog, target: &TargetLog, verdict: &Verdict) {
    // Otherwise counting led to a place where nothing agrees.
    if verdict.proven_records == 0 {
        return;
    }
    let count: i64 = runs.iter().map(|run| run.count).sum();
    assert_eq!(u64::try_from(count), Ok(verdict.proven_records), "{runs:?}");
    let is_behind =
        |a: &Run, b: &Run| a.source_next <= b.source_first && a.target_next <= b.target_first;
    assert!(runs.is_sorted_by(is_behind), "{runs:?}");
    for run in runs {
        assert!(run.is_valid() && run.source_next <= verdict.source_offset);
        check_run(run, source, target);
    }
}

fn check_run(run: &Run, source: &SourceLog, target: &TargetLog) {
    let live = source.live.iter();
    let live = live.filter(|(offset, _)| (run.source_first..run.source_next).contains(offset));
    let there = target.written.iter();
    let there = there.filter(|it| (run.target_first..run.target_next).contains(&it.offset));
    let (live, there): (Vec<_>, Vec<_>) = (live.collect(), there.collect());
    assert_eq!(live.len(), there.len(), "{run:?}");
    for ((_, record), copy) in live.iter().zip(there) {
        let copied = copy.record.as_ref().unwrap();
        let timestamp = if copy.has_append_time {
            record.timestamp
        } else {
            copied.timestamp
        };
        let copied = Seen {
            timestamp,
            ..copied.clone()
        };
        assert_eq!(*record, copied, "{run:?}");
    }
}
