//! The real binary is killed, stopped, doubled and cut off from real brokers that die themselves,
//! while records keep coming; afterwards source and target are compared.
//!
//! ```text
//! load ──▶ source, 1 broker ══ proxy ══▶ kmirror ══ proxies ══▶ target, 3 brokers
//!            ▲                                                      ▲
//!            └──────────────── observer, readers ───────────────────┘   past the proxies
//! ```
//!
//! `KMIRROR_KILLS` says how often the replicator is killed and `KMIRROR_SEED` what else happens
//! meanwhile; equal seeds give equal lists of faults, not equal timing.

mod clusters;
mod faults;
mod journal;
mod load;
mod observer;
mod plan;
mod replicators;
mod restart_time;
mod run;
mod unclean;
mod verdict;

use std::time::Duration;

use verdict::Expectation;

/// What a run holds the replicator to, unless `KMIRROR_DELIVERY` says otherwise.
const EXPECTATION: Expectation = Expectation::ExactlyOnce;

/// How often an ordinary run kills the replicator.
const KILLS: u32 = 8;

/// The seed of an ordinary run: a broker dies, connections are reset, two replicators run, and
/// requests come late.
const SEED: u64 = 287;

/// After a longer pause a replicator proves its positions anew (`kmirror.lease.ms`).
const LEASE: Duration = Duration::from_secs(1);

/// After which a request counts as lost (`kmirror.request.timeout.ms`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

#[test]
fn whatever_is_killed_under_load_source_and_target_are_the_same_afterwards() {
    let expectation = Expectation::chosen();
    let kills = setting("KMIRROR_KILLS").unwrap_or(KILLS);
    let seed = setting("KMIRROR_SEED").unwrap_or(SEED);
    run::run(seed, kills, expectation);
}
