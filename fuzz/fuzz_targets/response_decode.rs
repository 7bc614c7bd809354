#![no_main]

use kmirror_protocol::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::response_decode(bytes, kmirror_fuzz::heap_max));
