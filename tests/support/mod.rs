//! What the integration tests share.

pub(crate) mod java;
pub(crate) mod java_client;
pub(crate) mod kafka;
pub(crate) mod kmirror;
mod metadata_probe;
pub(crate) mod own_reader;
