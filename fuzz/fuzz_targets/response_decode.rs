#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kmirror_fuzz::response_decode(bytes));
