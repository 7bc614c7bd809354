#![expect(clippy::unwrap_used, reason = "test code")]

mod bad_input;
mod cli;
mod clients;
mod conformance;
mod engine;
mod fault_proxy;
mod kills;
mod layering;
mod readme;
mod real_kafka_harness;
mod replicate;
mod sandbox;
mod schemas;
mod simulate;
mod support;
