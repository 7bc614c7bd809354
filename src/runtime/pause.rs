//! Notices that the machine slept or the process stood still: what it knows may be old then.
//!
//! The monotonic clock stands still while the machine is suspended, the boot-time clock does not.
//! A process that was stopped (SIGSTOP), starved or paused with its virtual machine is late: it
//! looks at the clock long after it had asked to be woken. A virtual machine whose clocks all
//! stand still cannot be noticed here.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Sleep that counts: below it the two clocks may differ because they are read one after the other.
const SLEPT_MIN: Duration = Duration::from_secs(1);

/// Lateness that counts: a busy machine may be late by less.
const LATE_MIN: Duration = Duration::from_secs(5);

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    monotonic: Duration,
    boot: Duration,
}

impl Clocks {
    /// Reads both.
    pub(super) fn now() -> Self {
        Self {
            monotonic: duration(clock_gettime(ClockId::Monotonic)),
            boot: duration(clock_gettime(ClockId::Boottime)),
        }
    }
}

/// Neither clock has ever been negative.
fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Compares each look at the clocks with the one before.
#[derive(Debug)]
pub(super) struct Pauses {
    last: Clocks,
}

impl Pauses {
    /// Nothing is known of what came before `now`.
    pub(super) const fn new(now: Clocks) -> Self {
        Self { last: now }
    }

    /// How long it was away since the last look, if that counts; `wanted` is the time from that
    /// look to the next one that was asked for.
    pub(super) fn look(&mut self, now: Clocks, wanted: Duration) -> Option<Duration> {
        let awake = now.monotonic.saturating_sub(self.last.monotonic);
        let passed = now.boot.saturating_sub(self.last.boot);
        self.last = now;
        let (slept, late) = (passed.saturating_sub(awake), awake.saturating_sub(wanted));
        let slept = Some(slept).filter(|slept| *slept > SLEPT_MIN);
        let late = Some(late).filter(|late| *late > LATE_MIN);
        match (slept, late) {
            (None, None) => None,
            (slept, late) => Some(slept.unwrap_or_default() + late.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(monotonic: u64, boot: u64) -> Clocks {
        Clocks {
            monotonic: Duration::from_millis(monotonic),
            boot: Duration::from_millis(boot),
        }
    }

    #[test]
    fn only_sleep_and_long_lateness_count() {
        // Milliseconds: awake and passed since the last look, wanted, away.
        let cases = [
            (500, 500, 500, None),
            (500, 1_500, 500, None),
            (500, 1_501, 500, Some(1_001)),
            (500, 3_600_500, 500, Some(3_600_000)),
            (5_500, 5_500, 500, None),
            (5_501, 5_501, 500, Some(5_001)),
            (0, 6_000, 500, Some(6_000)),
            (10_500, 30_500, 500, Some(30_000)),
            (3_000, 5_000, 500, Some(2_000)),
            // Woken early by an event.
            (1, 1, 500, None),
        ];
        for (awake, passed, wanted, away) in cases {
            let mut pauses = Pauses::new(clocks(1_000, 2_000));
            let now = clocks(1_000 + awake, 2_000 + passed);
            let found = pauses.look(now, Duration::from_millis(wanted));
            assert_eq!(found, away.map(Duration::from_millis), "{awake} {passed}");
            assert_eq!(pauses.look(now, Duration::ZERO), None, "told twice");
        }
    }

    #[test]
    fn the_clocks_go_on_together_while_nothing_sleeps() {
        let first = Clocks::now();
        let mut pauses = Pauses::new(first);
        std::thread::yield_now();
        let second = Clocks::now();
        assert!(second.monotonic >= first.monotonic && second.boot >= first.boot);
        assert_eq!(pauses.look(second, Duration::from_secs(60)), None);
    }
}
