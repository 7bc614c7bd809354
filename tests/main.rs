#![expect(clippy::unwrap_used, reason = "test code")]

mod cli;
mod conformance;
mod engine;
mod readme;
mod real_kafka_harness;
mod replicate;
mod sandbox;
mod support;
