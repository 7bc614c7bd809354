//! Record batches and the message formats before them.

#![expect(
    clippy::unwrap_used,
    reason = "test code; the setting for tests does not reach helper functions"
)]

mod batches;
mod bounds;
mod describe;
mod golden;
mod legacy;
mod payloads;
