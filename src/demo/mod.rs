//! The engine at work on two in-memory clusters, for people who want to see before they install.

pub mod load;
