#![no_main]

use kmirror_protocol::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::response_differential(
    bytes,
    kmirror_fuzz::oracle::response
));
