//! What the targets bring: other implementations to compare with, and a measure of the heap.

#[path = "../../protocol/tests/support/oracle.rs"]
pub mod oracle;
#[path = "../../protocol/tests/support/reference.rs"]
pub mod reference;
#[path = "../../protocol/tests/support/seeds.rs"]
pub mod seeds;

/// How many bytes of heap `run` holds at a time.
pub fn heap_max(run: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(run).bytes_max
}
