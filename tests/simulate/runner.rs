//! Runs many plans on all cores, and says what came of them.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Class, Outcome, Plan, run,
    shrink::{Shrunk, shrink},
};

/// How many schedules an ordinary run has.
const SCHEDULES: u64 = 10_000;

/// With so many schedules of each class everything happens that is looked for.
const REACHING: u64 = 50;

/// Failures that are shrunk and shown; more say little.
const SHOWN_MAX: usize = 5;

/// Seeds that failed once, one `class:seed` a line.
const FAILED_BEFORE: &str = include_str!("seeds.txt");

/// What one class came to.
#[derive(Clone, Debug, Default)]
struct Tally {
    schedules: u64,
    failed: u64,
    with_loss: u64,
    with_duplicates: u64,
    with_reordering: u64,
    lost: u64,
    duplicates: u64,
    reordered: u64,
    written: u64,
    requests: u64,
    lineages: u64,
    restarts: u64,
    map_asked: u64,
    map_inexact: u64,
    map_unknown: u64,
    acknowledged_lost: u64,
    wraps: u64,
    epochs_used_up: u64,
    requests_per_second_max: u32,
    held_beyond_max: usize,
    virtual_seconds: u64,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        self.schedules += 1;
        self.failed += u64::from(!outcome.failures.is_empty());
        self.with_loss += u64::from(outcome.lost > 0);
        self.with_duplicates += u64::from(outcome.duplicates > 0);
        self.with_reordering += u64::from(outcome.reordered > 0);
        self.lost += outcome.lost;
        self.duplicates += outcome.duplicates;
        self.reordered += outcome.reordered;
        self.written += outcome.written;
        self.requests += outcome.requests;
        self.lineages += outcome.lineages;
        self.restarts += outcome.restarts;
        self.map_asked += outcome.maps.asked;
        self.map_inexact += outcome.maps.asked - outcome.maps.exact;
        self.map_unknown += outcome.maps.unknown;
        self.acknowledged_lost += outcome.acknowledged_lost;
        self.wraps += outcome.wraps;
        self.epochs_used_up += outcome.epochs_used_up;
        let most = self.requests_per_second_max;
        self.requests_per_second_max = most.max(outcome.requests_per_second_max);
        self.held_beyond_max = self.held_beyond_max.max(outcome.held_beyond_max);
        self.virtual_seconds += outcome.time / super::plan::SECOND;
    }
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn parse(text: &str) -> (Class, u64) {
    let parsed = text
        .split_once(':')
        .and_then(|(class, seed)| Some((Class::named(class)?, seed.trim().parse().ok()?)));
    parsed.unwrap_or_else(|| panic!("`{text}` is not class:seed"))
}

/// Runs what the environment asks for, and fails if anything did.
pub(super) fn run_all() {
    if let Some(text) = setting("KMIRROR_SEED") {
        let (class, seed) = parse(&text);
        let mut plan = Plan::new(class, seed);
        if setting("KMIRROR_SHRINK").is_some() {
            plan = shrink(&plan, &run(&plan, false)).plan;
        }
        let outcome = run(&plan, true);
        assert!(outcome.failures.is_empty(), "{outcome:#?}");
        return;
    }
    let schedules = setting("KMIRROR_SCHEDULES").map_or(SCHEDULES, |text| text.parse().unwrap());
    let classes = match setting("KMIRROR_CLASS") {
        Some(name) => vec![Class::named(&name).unwrap()],
        None => Class::ALL.to_vec(),
    };
    let lines = FAILED_BEFORE.lines().map(str::trim);
    let before = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut todo: Vec<(Class, u64)> = before.map(parse).collect();
    todo.retain(|(class, _)| classes.contains(class));
    let each = schedules / u64::try_from(classes.len()).unwrap();
    let first = setting("KMIRROR_FIRST_SEED").map_or(0, |text| text.parse().unwrap());
    for seed in first..first + each {
        todo.extend(classes.iter().map(|class| (*class, seed)));
    }
    let (tallies, failures, took) = run_each(&todo);
    print(&tallies, took);
    let seeds: Vec<String> = failures.iter().map(Shrunk::seed).collect();
    eprintln!("failing: {}", seeds.join(" "));
    let mut shown: Vec<String> = failures.iter().map(Shrunk::to_string).collect();
    shown.truncate(SHOWN_MAX);
    assert!(failures.is_empty(), "{}", shown.join("\n"));
    if classes.len() == Class::ALL.len() && each >= REACHING {
        check_reach(&tallies);
    }
}

/// What seldom happens must have happened, or nothing has been shown of it.
fn check_reach(tallies: &BTreeMap<Class, Tally>) {
    let sum = |count: fn(&Tally) -> u64| -> u64 { tallies.values().map(count).sum() };
    assert!(sum(|it| it.wraps) > 0, "no sequence numbers have wrapped");
    assert!(sum(|it| it.epochs_used_up) > 0, "no epochs were used up");
    let unclean = tallies.get(&Class::S4);
    let lost = unclean.map_or(0, |it| it.acknowledged_lost);
    assert!(lost > 0, "S4 has lost nothing that had to be copied again");
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the machine takes is told, and decides nothing"
)]
fn run_each(todo: &[(Class, u64)]) -> (BTreeMap<Class, Tally>, Vec<Shrunk>, Duration) {
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let results: Mutex<(BTreeMap<Class, Tally>, Vec<Shrunk>)> = Mutex::default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((class, seed)) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let plan = Plan::new(*class, *seed);
                    let outcome = run(&plan, false);
                    let has_failed = !outcome.failures.is_empty();
                    let is_shown = {
                        let mut results = results.lock().unwrap();
                        results.0.entry(*class).or_default().add(&outcome);
                        results.1.len() < SHOWN_MAX
                    };
                    if has_failed {
                        let shrunk = if is_shown {
                            shrink(&plan, &outcome)
                        } else {
                            Shrunk::unshrunk(&plan, &outcome)
                        };
                        results.lock().unwrap().1.push(shrunk);
                    }
                }
            });
        }
    });
    let (tallies, failures) = results.into_inner().unwrap();
    (tallies, failures, started.elapsed())
}

fn print(tallies: &BTreeMap<Class, Tally>, took: Duration) {
    eprintln!(
        "class schedules failed | with loss  dup  reord | records: written acked-lost lost dup reord | map: asked inexact unknown | lineages wraps epochs up restarts requests  per s max  held beyond | virtual s"
    );
    let mut schedules = 0;
    for (class, tally) in tallies {
        schedules += tally.schedules;
        eprintln!(
            "{:5} {:9} {:6} | {:9} {:4} {:6} | {:16} {:10} {:4} {:3} {:5} | {:10} {:7} {:7} | {:8} {:5} {:9} {:8} {:8} {:10} {:12} | {:9}",
            class.name(),
            tally.schedules,
            tally.failed,
            tally.with_loss,
            tally.with_duplicates,
            tally.with_reordering,
            tally.written,
            tally.acknowledged_lost,
            tally.lost,
            tally.duplicates,
            tally.reordered,
            tally.map_asked,
            tally.map_inexact,
            tally.map_unknown,
            tally.lineages,
            tally.wraps,
            tally.epochs_used_up,
            tally.restarts,
            tally.requests,
            tally.requests_per_second_max,
            tally.held_beyond_max,
            tally.virtual_seconds,
        );
    }
    let ms = u64::try_from(took.as_millis()).unwrap().max(1);
    eprintln!(
        "{schedules} schedules in {:.1} s: {} per second",
        took.as_secs_f64(),
        schedules * 1_000 / ms
    );
}
