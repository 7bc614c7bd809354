//! Where a source position is recorded, in MirrorMaker 2's own formats and in ours.
//!
//! Pure: no I/O, no clock. Offsets count records. [`source_offsets`] is the format of
//! `mm2-offsets.<source>.internal`; [`murmur2`] places its keys as Kafka's producer does; [`state`] is
//! what kmirror keeps of its own; [`mirror_records`] is what it tells MM2's readers beside positions.
//! [`ledger`] reads both as somebody does who copies nothing, and [`reset`] sets where copying goes on.

pub mod exact_map;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod ledger;
pub mod mirror_records;
pub mod murmur2;
pub mod reset;
pub mod source_offsets;
pub mod state;
