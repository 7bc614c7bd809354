#![doc = include_str!("../README.md")]
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
