#![no_main]

use kmirror_protocol::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::request_encode(
    bytes,
    kmirror_fuzz::oracle::request
));
