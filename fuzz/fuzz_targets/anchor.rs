#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kmirror::offsets::fuzzing::anchor(bytes));
