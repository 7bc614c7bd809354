//! What is shown to people and machines: the log, and metrics over HTTP.
//!
//! Receives words and numbers; never asks a flow or a cluster for them.

pub mod http;
pub mod log;
pub mod metrics;

/// A count with its noun, in the plural unless it is 1.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
