//! What happens when a broker, the network or a topic does not play along.

use kmirror::{cluster::Topics, demo::load::Load, flow::FlowStatus, runtime::FlowEnd};

use crate::support::{
    proxy::Gate,
    sandbox::{LOAD, Pair, eventually, next_status, status_when, stop},
};

/// Records of one round, per partition: several batches, so that several are in flight.
const ROUND: u64 = 40;

#[tokio::test]
async fn connections_that_break_lose_no_record_and_double_none() {
    const PARTITIONS: [i32; 3] = [0, 1, 2];
    let pair = Pair::start(1).await;
    let proxy = pair.target.proxy().await;
    pair.source.create_topic("t", 3, &[]).await;
    let engine = pair.engine(&format!("B.bootstrap.servers = {}", proxy.address));
    for round in 0..8 {
        let stored = || pair.target.ends("A.t").iter().sum::<i64>();
        let before = stored();
        // By turns: batches that the target stores and cannot acknowledge, and batches that never
        // arrive. In the first round all is well.
        let is_stored = round % 2 == 1;
        if is_stored {
            proxy.answers(Gate::Shut);
        } else if round > 0 {
            proxy.requests(Gate::Shut);
        }
        for partition in PARTITIONS {
            let first = u64::try_from(partition).unwrap() * 10_000 + round * ROUND;
            let topic = ("t", partition);
            pair.source.produce(topic, LOAD, first, ROUND).await;
        }
        if is_stored {
            eventually("batches are stored", || stored() > before).await;
        } else {
            status_when(&engine, |status| status.queued_bytes > 0 || round == 0).await;
        }
        if round > 0 {
            proxy.cut();
        }
        proxy.answers(Gate::Open);
        proxy.requests(Gate::Open);
        // All is acknowledged and every connection is up again: the next cut hits in full.
        let records = 3 * ROUND * (round + 1);
        status_when(&engine, |status| status.counters.records == records).await;
    }
    assert!(proxy.connections() > 8, "{}", proxy.connections());
    pair.finish(engine, &["t"]).await;
}

#[tokio::test]
async fn garbled_answers_of_a_source_are_survived() {
    let pair = Pair::start(1).await;
    let proxy = pair.source.proxy().await;
    pair.source.create_topic("t", 1, &[]).await;
    let engine = pair.engine(&format!("A.bootstrap.servers = {}", proxy.address));
    pair.source.produce(("t", 0), LOAD, 0, ROUND).await;
    pair.wait_for_copy("t").await;

    proxy.answers(Gate::Garbling);
    // The test's own client is connected past the proxy.
    let connections = proxy.connections();
    eventually("it connects again and again", || {
        proxy.connections() > connections + 3
    })
    .await;
    let is_unreachable = |status: &FlowStatus| !status.unreachable.is_empty();
    status_when(&engine, is_unreachable).await;

    proxy.answers(Gate::Open);
    pair.source
        .client
        .refresh_metadata(Topics::All)
        .await
        .unwrap();
    pair.source.produce(("t", 0), LOAD, ROUND, ROUND).await;
    pair.finish(engine, &["t"]).await;
}

#[tokio::test]
async fn leaders_on_many_brokers_may_move_while_their_partitions_are_copied() {
    let pair = Pair::start(3).await;
    pair.source.create_topic("t", 6, &[]).await;
    pair.target.create_topic("A.t", 6, &[]).await;
    let engine = pair.engine("");
    for round in 0..5 {
        for partition in 0..6 {
            let first = u64::try_from(partition).unwrap() * 10_000 + round * ROUND;
            pair.source
                .produce(("t", partition), LOAD, first, ROUND)
                .await;
            // Each election is seen by some requests that are already on their way.
            let leader = (partition + i32::try_from(round).unwrap()) % 3;
            for (side, topic) in [(&pair.source, "t"), (&pair.target, "A.t")] {
                let cluster = side.server.cluster();
                let elected = cluster
                    .lock()
                    .unwrap()
                    .elect_leader(topic, partition, leader);
                elected.unwrap();
            }
        }
    }
    pair.finish(engine, &["t"]).await;
}

#[tokio::test]
async fn source_and_target_that_are_the_same_cluster_are_refused() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 1, &[]).await;
    pair.source.produce(("t", 0), LOAD, 0, ROUND).await;
    let bootstrap = pair.source.server.bootstrap();
    let engine = pair.engine(&format!("B.bootstrap.servers = {bootstrap}"));
    assert_eq!(engine.ended().await, [FlowEnd::Refused]);
    let cluster = pair.source.server.cluster();
    let cluster = cluster.lock().unwrap();
    assert_eq!(cluster.topic_names().collect::<Vec<_>>(), ["t"]);
}

#[tokio::test]
async fn a_partition_that_halts_stops_no_other() {
    let pair = Pair::start(1).await;
    pair.source.create_topic("t", 2, &[]).await;
    pair.source.create_topic("u", 1, &[]).await;
    let small = [("max.message.bytes", "5000")];
    pair.target.create_topic("A.t", 2, &small).await;
    let large = Load {
        batch_bytes: 20_000,
        ..LOAD
    };
    pair.source.produce(("t", 0), LOAD, 0, 10).await;
    pair.source.produce(("t", 0), large, 10, 80).await;
    let engine = pair.engine("");
    let halted = status_when(&engine, |status| !status.halted.is_empty())
        .await
        .halted;
    assert_eq!(halted.len(), 1);
    assert_eq!(halted[0].source.to_string(), "t-0");
    assert_eq!(halted[0].copied_offset, Some(10));
    let reason = halted[0].halted.as_deref().unwrap();
    assert!(
        reason.contains("max.message.bytes") && reason.contains("offset 10"),
        "{reason}"
    );

    for (topic, partition) in [("t", 1), ("u", 0)] {
        pair.source
            .produce((topic, partition), LOAD, 0, ROUND)
            .await;
    }
    let others = || pair.target.ends("A.t") == [10, 40] && pair.target.ends("A.u") == [40];
    eventually("the other partitions are copied", others).await;
    assert_eq!(next_status(&engine).await.halted.len(), 1);
    stop(engine).await;
}

#[tokio::test]
async fn a_target_that_stalls_leaves_memory_within_its_budget() {
    const BUDGET: usize = 1 << 20;
    let pair = Pair::start(1).await;
    let proxy = pair.target.proxy().await;
    pair.source.create_topic("t", 4, &[]).await;
    let engine = pair.engine(&format!(
        "B.bootstrap.servers = {}\nkmirror.memory.bytes = {BUDGET}",
        proxy.address
    ));
    pair.source.produce(("t", 0), LOAD, 0, ROUND).await;
    pair.wait_for_copy("t").await;

    proxy.requests(Gate::Shut);
    let load = Load {
        value_bytes: 1_000,
        batch_bytes: 16 << 10,
        ..LOAD
    };
    for partition in 0..4 {
        pair.source
            .produce(("t", partition), load, 50_000, 2_000)
            .await;
    }
    let is_holding = |status: &FlowStatus| status.queued_bytes > BUDGET / 2;
    let mut held = vec![status_when(&engine, is_holding).await.queued_bytes];
    // Two seconds in which nothing may be added.
    for _ in 0..4 {
        held.push(next_status(&engine).await.queued_bytes);
    }
    assert!(held.iter().all(|bytes| *bytes <= BUDGET), "{held:?}");

    proxy.requests(Gate::Open);
    pair.finish(engine, &["t"]).await;
}
