//! A figure: how long after a crash the copying goes on.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use super::{
    load::Load,
    observer::Observer,
    replicators::{Replicators, properties},
};
use crate::support::{java::Installation, kafka::pair, kmirror::wait_until, wait_for};

/// How often it is taken.
const RESTARTS: usize = 20;

/// For what is sure to happen.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[test]
#[ignore = "takes a figure, for an idle machine"]
fn time_from_a_kill_to_the_first_record_that_came_after_it() {
    let Some(pair) = pair() else { return };
    let (source, target) = (pair.source.bootstrap(), pair.target.bootstrap());
    pair.source.java().create_topic("restart", 3, 1, &[]);
    let load = Load::start(&source, "restart", 3, 1);
    let file = properties(&source, &target, "restart", 1).replace(
        "storage.replication.factor = 3",
        "storage.replication.factor = 1",
    );
    let installation = Installation::or_skip().expect("brokers run");
    let mut replicators = Replicators::new(installation, "restart-time", file);
    replicators.start();
    let (there, here) = (Observer::new(&source), Observer::new(&target));
    wait_until("the first records", || {
        let ends = here.ends("A.restart")?;
        ends.iter().all(|end| *end > 100).then_some(())
    });
    let mut times: Vec<Duration> = (0..RESTARTS)
        .map(|_| {
            let started_at = now();
            replicators.kill(true);
            replicators.start();
            let ends = there.ends("restart").unwrap();
            let has_new =
                |copied: Vec<i64>| copied.iter().zip(&ends).any(|(copied, end)| copied > end);
            // The target is asked as fast as it answers: this is what is measured.
            wait_for(WAIT_MAX, || {
                here.ends("A.restart").is_some_and(has_new).then_some(())
            })
            .unwrap();
            now() - started_at
        })
        .collect();
    times.sort();
    load.stop();
    replicators.stop_all();
    writeln!(
        std::io::stderr(),
        "from SIGKILL and restart to the first record produced since: median {:?}, least {:?}, most {:?} of {RESTARTS}",
        times[RESTARTS / 2],
        times[0],
        times[RESTARTS - 1]
    )
    .unwrap();
}

#[expect(clippy::disallowed_methods, reason = "this is what is measured")]
fn now() -> Instant {
    Instant::now()
}
