//! Where a source position is recorded, in MirrorMaker 2's own formats.
//!
//! Pure: no I/O, no clock. Offsets count records. [`source_offsets`] is the format of
//! `mm2-offsets.<source>.internal`; [`murmur2`] places its keys as Kafka's producer does.

pub mod murmur2;
pub mod source_offsets;
pub mod state;
