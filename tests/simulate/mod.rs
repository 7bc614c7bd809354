//! A deterministic simulation: the real flow between two clusters in memory, in virtual time.
//!
//! ```text
//!   plan ----------> world --------------> oracle ---> summary, or a shrunk plan that fails
//!   (seed: faults,   (clusters, network,   (loss, duplicates, order,
//!    writes, knobs)   processes, clock)     record by record)
//! ```
//!
//! * [`plan`] decides everything up front; [`options`] how the flow is configured.
//! * [`world`] moves time; [`serving`] and [`network`] carry requests, [`faults`] breaks things.
//! * [`past`] is what a run may begin with.
//! * [`transactional`] is what transactions need beside.
//! * [`groups`] are those who read the source and may go on on the target.
//! * [`retention`] is what clusters delete, and what was there before.
//! * [`instance`] is a process, [`operations`] carries out its flow's actions by real requests.
//! * [`checks`] looks at every step, with [`trust`] in what was acknowledged, [`oracle`] at the end,
//!   [`maps`] whenever a process dies too.
//! * [`shrink`] makes a failing plan small.
//!
//! `KMIRROR_SCHEDULES` sets how many schedules run, all classes together, from
//! `KMIRROR_FIRST_SEED` on; `KMIRROR_CLASS` leaves only one class; `KMIRROR_SEED=class:seed` repeats one with everything that happens on stderr,
//! with `KMIRROR_SHRINK` set only what is left of it when it has been made small.

mod checks;
mod clusters;
mod describe;
mod faults;
mod groups;
mod instance;
mod mailbox;
mod maps;
mod network;
mod operations;
mod options;
mod oracle;
mod past;
mod plan;
mod retention;
mod runner;
mod serving;
mod shrink;
mod transactional;
mod trust;
mod workload;
mod world;

use oracle::Outcome;
use plan::{Class, Plan};
use world::World;

/// Runs a plan; a panic of the flow is one of its failures.
fn run(plan: &Plan, is_traced: bool) -> Outcome {
    let plan = plan.clone();
    let run = move || {
        let mut world = World::new(plan, is_traced);
        world.run();
        Outcome::of(&world)
    };
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            failures: vec![format!("panic: {}", words.unwrap_or_default())],
            ..Outcome::default()
        }
    })
}

#[test]
fn every_schedule_ends_as_its_mode_of_delivery_promises() {
    runner::run_all();
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for class in Class::ALL {
        let plan = Plan::new(class, 3);
        let (first, second) = (run(&plan, false), run(&plan, false));
        assert_eq!(first.fingerprint, second.fingerprint, "{}", class.name());
        assert_eq!(first.requests, second.requests, "{}", class.name());
        assert!(first.requests > 0);
    }
}
