#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kmirror::cluster::fuzzing::frame(
    bytes,
    kmirror_fuzz::heap_max
));
