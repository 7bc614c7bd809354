//! MM2's known weaknesses that the README says kmirror does not have, and which test shows it. Numbers
//! are those of the list that kmirror was designed after; those not named are not claimed.
//!
//! | no. | weakness of MM2 | shown by |
//! |---|---|---|
//! | 1 | places of groups are coarse | `side_by_side`, `groups`, `scenarios::groups_are_translated_across_the_markers_of_transactions` |
//! | 2 | a group is taken back on the target | `groups` (its last lines), `flow::groups::decide` |
//! | 3 | lost and re-created sources go unnoticed | `logs::records_deleted_before_they_were_copied_are_reported`, `kills::unclean`, `simulate` (re-created topics) |
//! | 4 | one bad partition stops a task | `halts` |
//! | 5 | errors are repeated for ever | `bad_input`, and here: each refusal is told once |
//! | 6, 7 | no lag, odd metrics | `cli::http` |
//! | 8, 28 | settings that have no effect, in silence | `cli::check`, `config` |
//! | 9 | every record is unpacked | `engine::topics::batches_of_every_codec_pass_as_they_are` |
//! | 10, 11 | configuration is kept in a topic | `side_by_side` (there is no `mm2-configs` topic) |
//! | 12 | a start that fails leaves nothing running | `bad_input::what_is_no_broker_is_named_and_asked_again_until_it_is_one` |
//! | 13 | new topics are noticed late, and disturb others | `topics` |
//! | 15 | duplicates after crashes | `restart`, `kills`, `takeover_under_load` |
//! | 16 | exactly once takes three settings | `restart` (none), `transactional` (one) |
//! | 19 | deleted source topics come back | here |
//! | 20 | settings are wiped and set again for ever | `topics::properties_follow_the_source_and_what_is_excluded_stays`, `flow::tests::topic_configs` |
//! | 21 | ACLs: full names only, never removed | `acls` |
//! | 22 | heartbeats and offset syncs need write access to the source | here |
//! | 23 | one cluster under two aliases | `bad_input::two_aliases_of_one_cluster_are_refused` |
//! | 24 | names that end with `internal` are left out | `side_by_side` |
//! | 30 | footprint | `cli::scale` |

use super::{Topic, assert_copied, properties, stop};
use crate::support::{
    java_client::{JavaClient, Load, ProduceOptions},
    kafka::{Kafka, KafkaOptions, Pair},
    kmirror::Kmirror,
};

fn create(java: &JavaClient, topic: &str) {
    java.create_topic(topic, 1, 1, &[]);
    let load = Load {
        seed: 1,
        partitions: 1,
        count: 100,
        value_size_max: 50,
        odd: false,
        keyed: false,
    };
    java.generate(topic, load, ProduceOptions::default());
}

/// A source where topics appear when somebody asks for them, and where rights can be taken away.
fn strict_source() -> Option<Pair> {
    let options = KafkaOptions {
        properties: &[
            (
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ),
            ("allow.everyone.if.no.acl.found", "true"),
            ("auto.create.topics.enable", "true"),
        ],
        ..KafkaOptions::default()
    };
    Some(Pair {
        source: Kafka::start(&options)?,
        target: Kafka::start(&KafkaOptions::default())?,
    })
}

#[test]
fn a_source_that_may_only_be_read_is_copied_and_stays_as_it_is() {
    let Some(pair) = strict_source() else { return };
    let source = pair.source.java();
    let published = ["heartbeats", "mm2-offset-syncs.B.internal"];
    for topic in published {
        source.deny(topic, "write");
    }
    create(&source, "read.first");
    create(&source, "read.second");
    let more = "heartbeats.topic.replication.factor = 1\n\
                offset-syncs.topic.replication.factor = 1\n\
                emit.heartbeats.enabled = true\n\
                emit.offset-syncs.enabled = true";
    let mut kmirror = Kmirror::run(&properties(&pair, "read", more));
    let copy = |kmirror: &mut Kmirror, name: &str| {
        let remote = format!("A.{name}");
        let (topic, copy) = (
            Topic::new(&pair.source, name),
            Topic::new(&pair.target, &remote),
        );
        assert_copied(kmirror, topic, copy);
    };
    copy(&mut kmirror, "read.first");
    copy(&mut kmirror, "read.second");
    kmirror.wait_for_log("storing heartbeats");
    kmirror.wait_for_log("storing offset syncs");

    // Whoever asks for its partitions now makes the topic anew.
    source.delete_topic("read.second");
    create(&source, "read.third");
    copy(&mut kmirror, "read.third");
    create(&source, "read.fourth");
    copy(&mut kmirror, "read.fourth");
    let topics = source.topics();
    assert!(!topics.contains(&String::from("read.second")), "{topics:?}");
    let log = stop(kmirror);
    for refused in ["storing heartbeats", "storing offset syncs"] {
        let told = log.lines().filter(|line| line.contains(refused)).count();
        assert_eq!(told, 1, "{refused}: {log}");
    }
}
