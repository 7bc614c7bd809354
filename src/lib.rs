//! kmirror.

pub mod cluster;
pub mod config;
pub mod policy;
