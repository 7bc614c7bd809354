//! The test harness for real Kafka does what the other tests rely on.

use crate::support::kafka::{Kafka, KafkaOptions};

#[test]
fn a_broker_starts_and_answers() {
    let Some(kafka) = Kafka::start(&KafkaOptions::default()) else {
        return;
    };
    assert!(kafka.answers(1));
}
