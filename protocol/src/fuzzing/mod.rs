//! What must hold for any bytes at all; there only with the feature `fuzzing`.
//!
//! Each function takes the bytes that a fuzzer made up, and panics when this crate is wrong about
//! them. `fuzz/` has a target for each; tests run them on seeds and on what fuzzers once found.
//!
//! Where another implementation tells what is right, the caller brings it as a function, so that
//! this crate depends on none.

mod compression;
mod differential;
mod legacy;
mod messages;
mod records;

pub use compression::{Reference, decompress};
pub use differential::{PlainRecord, ReadBatch, records_differential};
pub use legacy::legacy_message_set;
pub use messages::{Recode, request_encode, response_decode, response_differential};
pub use records::{passthrough, record_batch};

/// The most that one input may unfold to, in bytes.
const OUTPUT_LEN_MAX: usize = 1 << 20;
