//! kmirror.

pub mod cli;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod flow;
pub mod offsets;
pub mod policy;
pub mod runtime;
pub mod sandbox;
