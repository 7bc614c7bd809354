//! The messages, one file per API: its tables and what changed in which version.
//!
//! Field names are Kafka's in snake case. A file's first line names the API key and the versions
//! it implements, both directions.

pub mod api_versions;
pub mod metadata;

pub use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use metadata::{MetadataRequest, MetadataResponse};
