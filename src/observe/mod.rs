//! What is shown to people and machines: for now the log.
//!
//! Receives words and numbers; never asks a flow or a cluster for them.

pub mod log;
