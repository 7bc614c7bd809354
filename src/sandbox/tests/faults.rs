//! Random failures and elections: what holds whatever happens.

use std::{collections::BTreeMap, ops::Range};

use kmirror_protocol::records::LogEntry;
use proptest::prelude::*;

use super::*;
use crate::sandbox::log::Log;

const BROKERS: i32 = 3;

/// What happens to the cluster; numbers are brokers.
#[derive(Clone, Copy, Debug)]
enum Event {
    Produce,
    HoldBack(i32),
    CatchUp(i32),
    DropFromIsr(i32),
    Stop(i32),
    Start(i32),
    Elect(i32),
    ElectUncleanly(i32),
    DeleteAll,
}

fn event(may_be_unclean: bool) -> impl Strategy<Value = Event> {
    let broker = || 0..BROKERS;
    let elect_uncleanly = move |id| {
        if may_be_unclean {
            Event::ElectUncleanly(id)
        } else {
            Event::Elect(id)
        }
    };
    prop_oneof![
        6 => Just(Event::Produce),
        2 => broker().prop_map(Event::HoldBack),
        3 => broker().prop_map(Event::CatchUp),
        1 => broker().prop_map(Event::DropFromIsr),
        1 => broker().prop_map(Event::Stop),
        2 => broker().prop_map(Event::Start),
        2 => broker().prop_map(Event::Elect),
        1 => broker().prop_map(elect_uncleanly),
        1 => Just(Event::DeleteAll),
    ]
}

/// A cluster, and a producer that goes on wherever the leader says its log ends.
struct Run {
    sandbox: Sandbox,
    produced: u32,
    /// What was acknowledged with acks -1: the payload at each offset.
    acknowledged: BTreeMap<i64, Vec<u8>>,
}

/// The payload at each base offset of a log in a range of offsets.
fn payloads(log: &Log, range: &Range<i64>) -> BTreeMap<i64, Vec<u8>> {
    let batches = log.batches();
    let batches = batches.filter(|batch| range.contains(&batch.header.base_offset));
    let batches = batches.map(|batch| (batch.header.base_offset, batch.payload().to_vec()));
    batches.collect()
}

/// Where both logs begin, for each deletes what is old by itself.
fn common_start(one: &Log, other: &Log) -> i64 {
    one.start_offset().max(other.start_offset())
}

impl Run {
    fn new(min_isr: &str) -> Self {
        let mut sandbox = Sandbox::new(3);
        sandbox.create_topic(BROKERS, &[("min.insync.replicas", min_isr)]);
        Self {
            sandbox,
            produced: 0,
            acknowledged: BTreeMap::new(),
        }
    }

    /// What a command answers is no matter: many make no sense at the moment.
    fn apply(&mut self, event: Event) {
        let cluster = &mut self.sandbox.cluster;
        match event {
            Event::Produce => self.produce(),
            Event::HoldBack(id) => drop(cluster.hold_back("t", 0, id)),
            Event::CatchUp(id) => drop(cluster.catch_up("t", 0, id)),
            Event::DropFromIsr(id) => drop(cluster.drop_from_isr("t", 0, id)),
            Event::Stop(id) => cluster.stop_broker(id),
            Event::Start(id) => cluster.start_broker(id),
            Event::Elect(id) => drop(cluster.elect_leader("t", 0, id)),
            Event::ElectUncleanly(id) => drop(cluster.elect_leader_uncleanly("t", 0, id)),
            Event::DeleteAll => {
                cluster.apply_retention(START.plus_ms(604_800_001));
            }
        }
    }

    fn produce(&mut self) {
        let leader = self.sandbox.cluster.partition("t", 0).unwrap().leader;
        if leader == -1 {
            return;
        }
        self.produced += 1;
        let value = self.produced.to_be_bytes();
        let mut builder = BatchBuilder::new(Compression::None);
        let record = NewRecord {
            timestamp: START.0,
            value: Some(&value),
            ..Default::default()
        };
        builder.push(&record).unwrap();
        let blob = builder.build().unwrap().to_vec();
        // No patience: what is not committed at once times out.
        let (code, offset) = self.sandbox.produce(leader, &blob);
        if code == ErrorCode::NONE {
            let Some(Ok(LogEntry::Batch(batch))) = kmirror_protocol::records::batches(&blob).next()
            else {
                unreachable!("one batch was built");
            };
            self.acknowledged.insert(offset, batch.payload.to_vec());
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let partition = self.sandbox.cluster.partition("t", 0).unwrap();
        let Some(leader) = partition.replica(partition.leader) else {
            prop_assert_eq!(partition.leader, -1);
            return Ok(());
        };
        prop_assert!(leader.is_online);
        prop_assert!(partition.isr.contains(&partition.leader));
        prop_assert_eq!(leader.log.epochs.latest(), Some(partition.leader_epoch));
        let committed = leader.log.high_watermark();
        for replica in &partition.replicas {
            let log = &replica.log;
            let id = replica.broker_id;
            prop_assert!(log.start_offset() <= log.high_watermark(), "broker {}", id);
            prop_assert!(log.high_watermark() <= log.end_offset(), "broker {}", id);
            if partition.isr.contains(&id) {
                prop_assert!(replica.is_online, "broker {}", id);
                prop_assert!(log.end_offset() >= committed, "broker {}", id);
                let range = common_start(log, &leader.log)..committed;
                let of_leader = payloads(&leader.log, &range);
                prop_assert_eq!(payloads(log, &range), of_leader, "broker {}", id);
            }
        }
        Ok(())
    }

    /// Ends all trouble.
    fn heal(&mut self) {
        for id in 0..BROKERS {
            self.sandbox.cluster.start_broker(id);
            self.sandbox.cluster.catch_up("t", 0, id).unwrap();
        }
    }

    fn check_healed(&self) -> Result<(), TestCaseError> {
        let partition = self.sandbox.cluster.partition("t", 0).unwrap();
        let mut isr = partition.isr.clone();
        isr.sort_unstable();
        prop_assert_eq!(isr, [0, 1, 2]);
        let leader = &partition.replica(partition.leader).unwrap().log;
        prop_assert_eq!(leader.high_watermark(), leader.end_offset());
        for replica in &partition.replicas {
            let log = &replica.log;
            prop_assert_eq!(log.end_offset(), leader.end_offset());
            prop_assert_eq!(log.high_watermark(), leader.end_offset());
            let range = common_start(log, leader)..leader.end_offset();
            prop_assert_eq!(payloads(log, &range), payloads(leader, &range));
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_while_elections_are_clean(
        min_isr in 1..=3_u8,
        events in prop::collection::vec(event(false), 1..80),
    ) {
        let mut run = Run::new(&min_isr.to_string());
        for event in events {
            run.apply(event);
            run.check()?;
        }
        run.heal();
        run.check_healed()?;
        let partition = run.sandbox.cluster.partition("t", 0).unwrap();
        let log = partition.log().unwrap();
        let kept = payloads(log, &(log.start_offset()..log.end_offset()));
        for (offset, payload) in &run.acknowledged {
            if *offset >= log.start_offset() {
                prop_assert_eq!(kept.get(offset), Some(payload), "offset {}", offset);
            }
        }
    }

    #[test]
    fn replicas_agree_in_the_end_whatever_was_lost(
        events in prop::collection::vec(event(true), 1..80),
    ) {
        let mut run = Run::new("1");
        for event in events {
            run.apply(event);
        }
        run.heal();
        run.check()?;
        run.check_healed()?;
    }
}
