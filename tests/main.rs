#![expect(clippy::unwrap_used, reason = "test code")]

mod layering;
mod real_kafka_harness;
mod replicate;
mod sandbox;
mod support;
