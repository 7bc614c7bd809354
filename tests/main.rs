#![expect(clippy::unwrap_used, reason = "test code")]

mod bad_input;
mod conformance;
mod engine;
mod real_kafka_harness;
mod replicate;
mod sandbox;
mod support;
