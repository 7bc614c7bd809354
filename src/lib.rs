//! kmirror.

pub mod config;
pub mod policy;
