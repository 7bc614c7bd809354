//! Kafka's wire protocol: bytes to messages and back, record batches, compression, checksums.
//!
//! Never does I/O, reads a clock or starts a task: a caller brings bytes and takes bytes.
//!
//! * [`messages`] holds one file per API, each a declarative table of fields and versions.
//!   Decoded messages borrow from the frame; record payloads are never copied.
//! * [`records`] reads, patches, builds and checks record batches.
//! * [`wire`] is the one cursor for reading and the one for writing.
//! * [`frame`] and [`header`] put a message on the wire and take it off.
//!
//! Input is never trusted: decoding does not panic, does not recurse on input, and never
//! allocates from a length that the remaining bytes could not fill.

#![warn(clippy::as_conversions, clippy::indexing_slicing, missing_docs)]

pub mod api;
pub mod error_code;
pub mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "generate")]
pub mod generate;
pub mod header;
pub mod messages;
pub mod records;
pub mod wire;

pub use api::{ApiKey, Request};
pub use error_code::ErrorCode;
pub use wire::{Malformed, Version};
