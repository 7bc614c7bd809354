//! What the integration tests share.

pub(crate) mod java;
pub(crate) mod java_client;
pub(crate) mod kafka;
mod metadata_probe;
