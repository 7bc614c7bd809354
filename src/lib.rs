//! kmirror.

pub mod cluster;
