#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kmirror_protocol::fuzzing::record_batch(bytes));
